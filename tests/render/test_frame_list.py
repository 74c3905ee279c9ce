"""The signed list of a sequence, written with the report and checked by `fsgan inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsgan_core.cli import main
from fsgan_core.contract.signing_files import CERTIFICATE_VARIABLE, KEY_VARIABLE, TRUST_VARIABLE
from fsgan_core.render.frame_list import name_frame_list
from fsgan_core.render.inspection import inspect_file
from tests.c2pa_certificates import Certificates, make_certificates
from tests.small_shot import Small


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    files = make_certificates(tmp_path / "studio")
    monkeypatch.setenv(CERTIFICATE_VARIABLE, str(files.chain))
    monkeypatch.setenv(KEY_VARIABLE, str(files.key))
    monkeypatch.setenv(TRUST_VARIABLE, str(files.authority))
    return files


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("out/swap.####.exr", "swap.frames.json"),
        ("out/swap_%04d.exr", "swap.frames.json"),
        ("out/####.exr", "frames.frames.json"),
        ("out/a.b.####.exr", "a.b.frames.json"),
    ],
)
def test_its_name(output: str, name: str) -> None:
    assert name_frame_list(output) == Path("out") / name


def test_a_report_signs_the_sequence(
    small: Small, tmp_path: Path, studio: Certificates, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    small.shot(folder, "1-2").save(tmp_path / "shot.toml")
    report = tmp_path / "report"
    assert main(["render", str(tmp_path / "shot.toml"), "--report", str(report), "--device", "cpu"]) == 0
    listing = folder / "swap.frames.json"
    assert list(json.loads(listing.read_text())["sha256"]) == ["swap.0001.exr", "swap.0002.exr"]
    for path in (report / "contact_sheet.jpg", report / "preview.mp4", listing, folder / "swap.0002.exr"):
        statement = inspect_file(path)
        assert statement.is_synthetic is True and statement.manifest is not None
        assert statement.manifest.state == "trusted" and statement.manifest.ingredients[0] == "plate.####.exr"
    assert inspect_file(folder / "swap.0001.exr").listed_in == "swap.frames.json"
    capsys.readouterr()
    assert main(["inspect", str(folder / "swap.0001.exr"), str(report / "preview.mp4")]) == 0
    text = capsys.readouterr().out
    assert "valid, and the signer is trusted (FSGAN_C2PA_TRUST), of swap.frames.json" in text
    assert "Test Signer, Test Studio" in text and "c2pa.created" in text
    _check_that_changes_show(folder, capsys)


def _check_that_changes_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame, listing = folder / "swap.0001.exr", folder / "swap.frames.json"
    content = frame.read_bytes()
    frame.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert main(["inspect", str(frame)]) == 1
    assert "the frame is not the one that swap.frames.json lists" in capsys.readouterr().out
    frame.write_bytes(content)
    assert main(["inspect", str(frame), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert found["manifest"]["state"] == "trusted"
    digests = listing.read_text()
    listing.write_text(digests.replace("swap.0002", "swap.0003"))
    assert main(["inspect", str(frame)]) == 1, "somebody edited the list"
    listing.write_text(digests)
    (folder / "swap.frames.json.c2pa").unlink()
    assert inspect_file(frame).manifest is None


def test_a_wrong_key_stops_a_render_before_it_begins(
    small: Small, tmp_path: Path, studio: Certificates, capsys: pytest.CaptureFixture[str]
) -> None:
    small.shot(tmp_path / "out", "1").save(tmp_path / "shot.toml")
    studio.key.unlink()
    words = ["render", str(tmp_path / "shot.toml"), "--device", "cpu"]
    assert main([*words, "--report", str(tmp_path / "report")]) == 2
    assert KEY_VARIABLE in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(words) == 0, "without a report there is nothing to sign"
