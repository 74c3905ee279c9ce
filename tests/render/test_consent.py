"""The performer's release: what it allows, where it is written, and when a render is refused."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from fsgan_core.cli import main
from fsgan_core.contract import layers
from fsgan_core.contract.consent import REQUIRE_VARIABLE, check_consent, describe_consent
from fsgan_core.contract.errors import ConsentError, ParameterError
from fsgan_core.contract.params import ConsentParams
from fsgan_core.contract.shot import Shot
from fsgan_core.farm.bundle import make_bundle
from fsgan_core.farm.nuke_bundle import make_script_bundle
from fsgan_core.plates.image_reader import read_header
from fsgan_core.render.pipeline import render_shot
from tests.small_shot import Small

TODAY = datetime.date(2026, 11, 28)
RELEASE = ConsentParams("R-17", "sequence 010", "2026-11-28")


def test_the_last_day_still_counts() -> None:
    assert check_consent(RELEASE, TODAY) == ""
    assert check_consent(RELEASE, TODAY + datetime.timedelta(1)) == "the release R-17 expired on 2026-11-28"


def test_a_release_is_named_once() -> None:
    """Most people write the word into the name."""
    later = TODAY + datetime.timedelta(400)
    assert check_consent(ConsentParams("Release 17", expires="2026-11-28"), later).startswith("the Release 17 expired")
    assert check_consent(ConsentParams("17", expires="2026-11-28"), later).startswith("the release 17 expired")


@pytest.mark.parametrize("required", ["1", "0", ""])
def test_only_a_studio_that_requires_it_refuses(monkeypatch: pytest.MonkeyPatch, required: str) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, required)
    later = TODAY + datetime.timedelta(400)
    if required == "1":
        with pytest.raises(ConsentError, match=r"consent\.reference"):
            check_consent(ConsentParams(), TODAY)
        with pytest.raises(ConsentError, match=r"R-17 expired on 2026-11-28; renew it"):
            check_consent(RELEASE, later)
    else:
        assert check_consent(ConsentParams(), TODAY) == ""
        assert "expired" in check_consent(RELEASE, later)
    assert check_consent(RELEASE, TODAY) == ""


@pytest.mark.parametrize(
    ("consent", "match"),
    [
        (ConsentParams("R-17", expires="31.3.2027"), "YYYY-MM-DD"),
        (ConsentParams(expires="2027-03-31"), r"need consent\.reference"),
        (ConsentParams(" ", scope="all"), r"need consent\.reference"),
    ],
)
def test_what_makes_no_sense_is_an_error(consent: ConsentParams, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        check_consent(consent, TODAY)


def test_a_misspelt_rule_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "yes")
    with pytest.raises(ParameterError, match="it is 0 or 1"):
        check_consent(RELEASE, TODAY)


def test_frames_state_it_and_become_stale_with_it(small: Small, tmp_path: Path) -> None:
    plain = small.shot(tmp_path, "1")
    named = small.shot(tmp_path, "1", consent__reference="R-17", consent__expires="2999-12-31")
    assert describe_consent(named.stages.consent) == "R-17; until 2999-12-31"
    render_shot(plain)
    assert layers.META_CONSENT not in read_header(tmp_path / "swap.0001.exr").metadata
    assert render_shot(named).list_frames("rendered") == (1,)
    assert read_header(tmp_path / "swap.0001.exr").metadata[layers.META_CONSENT] == "R-17; until 2999-12-31"
    assert render_shot(named).list_frames("kept") == (1,)


def test_a_shot_file_has_a_place_for_it(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    path = tmp_path / "shot.toml"
    small.shot(tmp_path / "out", "1").save(path)
    assert main(["render", str(path)]) == 2, "no release"
    assert not (tmp_path / "out").exists(), "nothing was written"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + '\n[stages.consent]\nreference = "R-17"\nexpires = "2001-01-01"\n', encoding="utf-8")
    assert main(["render", str(path)]) == 2, "expired"
    path.write_text(text + '\n[stages.consent]\nreference = "R-17"\n', encoding="utf-8")
    assert Shot.load(path).stages.consent.reference == "R-17"
    assert main(["render", str(path)]) == 0


def test_the_command_line_says_why(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    path = tmp_path / "shot.toml"
    small.shot(tmp_path / "out", "1").save(path)
    assert main(["render", str(path), "--json"]) == 2
    assert "FSGAN_REQUIRE_CONSENT=1" in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]["message"]


def test_a_farm_job_is_refused_before_it_is_sent(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shot, job = tmp_path / "shot.toml", tmp_path / "job"
    expired = {"consent__reference": "R-17", "consent__expires": "2001-01-01"}
    small.shot(tmp_path / "out", "1", **expired).save(shot)
    assert "the release R-17 expired on 2001-01-01" in make_bundle(Shot.load(shot)).notes[0]
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    assert main(["farm", "bundle", str(shot), "-o", str(job)]) == 2
    small.shot(tmp_path / "out", "1").save(shot)
    assert main(["farm", "bundle", str(shot), "-o", str(job)]) == 2
    assert "FSGAN_REQUIRE_CONSENT=1" in capsys.readouterr().err and not job.exists()
    small.shot(tmp_path / "out", "1", consent__reference="R-17").save(shot)
    assert main(["farm", "bundle", str(shot), "-o", str(job)]) == 0
    assert 'reference = "R-17"' in (job / "shot.toml").read_text(encoding="utf-8")


SCRIPT = """Read {{ file plate.####.exr name Read1 }}
FSGAN_Swap {{ inputs 1 {knobs} name FSGAN_Swap1 }}
Write {{ file out.####.exr use_limit true first 1001 last 1002 name Write1 }}
"""


@pytest.mark.parametrize(
    ("knobs", "allowed"),
    [
        ("", False),
        ("consent_reference R-17", True),
        ("consent_reference R-17 consent_expires 2001-01-01", False),
        ('consent_reference "\\[value root.release]"', True),  # Nuke alone knows it
    ],
)
def test_the_job_of_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knobs: str, allowed: bool) -> None:
    script = tmp_path / "comp.nk"
    script.write_text(SCRIPT.format(knobs=knobs))
    make_script_bundle(script)
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    if allowed:
        make_script_bundle(script)
        return
    with pytest.raises(ConsentError):
        make_script_bundle(script)


def test_fine_tuning_on_a_person_needs_it(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    command = ["finetune", "--source", str(small.folder / "source.png"), "--from-scratch", "-o", str(tmp_path / "a")]
    command[-1] += ".safetensors"
    assert main(command) == 2
    assert "FSGAN_REQUIRE_CONSENT=1" in capsys.readouterr().err
    assert main([*command, "--set", "consent.reference=R-17", "--set", "consent.expires=2001-01-01"]) == 2
    assert "expired" in capsys.readouterr().err
    assert main([*command, "--set", "consent.reference=R-17"]) == 2
    assert "CONSENT" not in capsys.readouterr().err, "one still is too few to learn from"
    swap = ["swap", "--source", command[2], "--target", str(small.folder / "plate.####.exr"), "--finetune", "2"]
    assert main([*swap, "--output", str(tmp_path / "out" / "swap.####.exr")]) == 2
    assert "FSGAN_REQUIRE_CONSENT=1" in capsys.readouterr().err
