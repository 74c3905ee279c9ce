"""`fsgan report` on a shot that was rendered, from the files to the page."""

from __future__ import annotations

import base64
import csv
import json
import platform
import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import escape

from fsgan_core.cli import main
from fsgan_core.clips.inputs import open_inputs
from fsgan_core.clips.shot_file import load_shot, save_shot
from fsgan_core.contract.errors import OutputError
from fsgan_core.contract.shot import Clip
from fsgan_core.contract.version import __version__
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE, read_xmp
from fsgan_core.render.inspection import inspect_file
from fsgan_core.render.pipeline import render_shot
from fsgan_core.report.contact_sheet import write_picture
from fsgan_core.report.figures import PANELS
from fsgan_core.report.write import make_report, write_report
from tests.report.chromium import Chromium, find_chromium
from tests.small_shot import Small, plate_of

FRAMES = 3


@pytest.fixture(scope="module")
def rendered(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shot file of three rendered frames with all layers, in a folder with a hostile name."""
    folder = tmp_path_factory.mktemp("shot") / "<img src=x onerror=alert(1)>"
    shot = small.shot(folder, f"1-{FRAMES}", layers="all")
    result = render_shot(shot)
    assert not result.failures
    save_shot(folder / "shot.toml", shot)
    make_report(folder / "report", shot, result, measure="none")
    return folder / "shot.toml"


def report(shot: Path, *words: str) -> int:
    return main(["report", str(shot), "--device", "cpu", *words])


def test_all_figures_and_limits(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(rendered, "--json", "--fail-on", "identity>0.01", "--fail-on", "mean identity>2") == 1
    said = json.loads(capsys.readouterr().out)
    assert len(said["broken_limits"]) == 1 and said["broken_limits"][0].startswith("identity>0.01: ")
    folder = Path(said["report"]).parent
    assert folder == rendered.parent / "report"
    data = json.loads((folder / "report.json").read_text())
    figures = {one["name"]: one for one in data["figures"]}
    measured = {name for name, one in figures.items() if all(value is not None for value in one["values"])}
    assert {"identity", "identity_to_target", "gaze", "lids", "lips", "landmarks", "euler"} <= measured
    assert {"light", "tone", "edge", "matte_area", "seconds", "seconds.reenact"} <= measured
    assert [value is None for value in figures["flicker"]["values"]] == [True, False, True]
    rows = list(csv.DictReader((folder / "report.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == ["1", "2", "3"]
    assert figures["identity"]["mean"] == pytest.approx(said["means"]["identity"], abs=1e-6)
    assert data["settings"]["output.layers"] == "all"
    assert report(rendered, "--quiet", "--fail-on", "identity<0.01") == 0


def test_a_second_report_measures_nothing_again(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of the same key keep their figures."""
    assert report(rendered, "--quiet") == 0
    before = json.loads((rendered.parent / "report" / "report.json").read_text())

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("fsgan_core.report.measure._measure_frame", refuse)
    assert report(rendered, "--quiet") == 0
    after = json.loads((rendered.parent / "report" / "report.json").read_text())
    assert [one["values"] for one in before["figures"]] == [one["values"] for one in after["figures"]]


def test_wrong_limits_are_refused_before_any_work(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(rendered, "--fail-on", "identity") == 2
    assert "is not a limit" in capsys.readouterr().err
    assert main(["render", str(rendered), "--report", str(rendered.parent / "no"), "--fail-on", "sharpness>1"]) == 2
    assert "did you mean sharpness_off?" in capsys.readouterr().err
    assert not (rendered.parent / "no").exists()


def test_a_report_that_fails_says_that_the_frames_are_done(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OutputError("cannot write page: the disk is full")

    monkeypatch.setattr("fsgan_core.report.write.make_report", fail)
    assert main(["render", str(rendered), "--report", str(tmp_path / "r"), "--quiet"]) == OutputError.exit_code
    assert f"{FRAMES} of {FRAMES} frames are finished, but their report is not: cannot write page" in (
        capsys.readouterr().err
    )


def test_frames_that_were_kept_have_no_time(rendered: Path, tmp_path: Path) -> None:
    """The check of a frame takes a moment, which is no time of a render: a comparison would say "worse"."""
    shot = load_shot(rendered)
    result = render_shot(shot)
    assert {one.state for one in result.frames} == {"kept"}
    made = make_report(tmp_path, shot, result, measure="none")
    seconds = made.data.find_figure("seconds")
    assert seconds is not None and seconds.mean is None


def test_missing_frames_are_failures(rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(rendered, "--frames", "3-4", "--measure", "none", "--output", str(tmp_path / "r")) == 1
    assert "frame 4: there is no" in capsys.readouterr().err
    assert "Not rendered" in (tmp_path / "r" / "summary.html").read_text()


def test_frames_that_the_target_lacks_are_skipped_and_no_failures(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Swap, report and verify say the same; once the target has the frames, report asks for a render."""
    shutil.copytree(small.folder, tmp_path / "in")
    late = tmp_path / "in" / "plate.0002.exr"
    content = late.read_bytes()
    late.unlink()
    shot = Small(tmp_path / "in").shot(tmp_path, "1-3", output__missing="skip")
    save_shot(tmp_path / "shot.toml", shot)
    make_report(tmp_path / "report", shot, render_shot(shot), measure="none")
    gate = ["--measure", "none", "--fail-on", "failed>0"]
    line = "skipped 2 (1 frame): no file of the target (output.missing=skip)"
    assert report(tmp_path / "shot.toml", *gate) == 0
    assert capsys.readouterr().out.count(line) == 1
    assert (tmp_path / "report" / "summary.md").read_text().count(line) == 1
    assert report(tmp_path / "shot.toml", *gate, "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == [2]
    assert main(["verify", str(tmp_path / "shot.toml"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "verify: 2 whole, 1 skipped; " in said and said.count(line) == 1
    assert main(["verify", str(tmp_path / "shot.toml"), "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["counts"], told["skipped"]) == ({"whole": 2, "skipped": 1}, [2])
    late.write_bytes(content)
    assert report(tmp_path / "shot.toml", *gate) == 1
    captured = capsys.readouterr()
    assert "the last render skipped it, but the target has it now: render the shot" in captured.err
    assert line not in captured.out


def test_a_report_on_frames_without_a_face_is_not_marked(small: Small, tmp_path: Path) -> None:
    """The frames say that they hold no synthesised pixels, and so do their notice, sheet, movie and page."""
    plate = read_image(small.folder / "plate.0001.exr")
    for frame in (1, 2):
        write_exr(tmp_path / f"t.{frame:04d}.exr", replace(plate, pixels=np.full_like(plate.pixels, 0.2)))
    shot = replace(small.shot(tmp_path / "out"), target=Clip(str(tmp_path / "t.####.exr")))
    make_report(tmp_path / "report", shot, render_shot(shot), measure="none")
    for name in ("contact_sheet.jpg", "preview.mp4"):
        assert inspect_file(tmp_path / "report" / name).is_synthetic is None
    assert "No frame of the result holds synthesised face pixels" in (tmp_path / "report" / "summary.md").read_text()
    pictures = re.findall(r"/9j/[A-Za-z0-9+/]+=*", (tmp_path / "report" / "summary.html").read_text())
    assert pictures and not any(DIGITAL_SOURCE_TYPE.encode() in base64.b64decode(picture) for picture in pictures)


def test_sheet_and_movie_of_an_unsigned_report_are_marked(rendered: Path) -> None:
    """Without a studio's key there is no manifest; the XMP packet says that the faces are synthesised."""
    for name in ("contact_sheet.jpg", "preview.mp4"):
        statement = inspect_file(rendered.parent / "report" / name)
        assert statement.is_synthetic is True and "release" not in statement.facts


def test_the_release_stands_in_report_sheet_and_movie(small: Small, tmp_path: Path) -> None:
    release = {"consent__reference": "R-17 <b>", "consent__scope": "sequence 010", "consent__expires": "2090-01-31"}
    shot = small.shot(tmp_path, "1-2", **release)
    make_report(tmp_path / "report", shot, render_shot(shot), measure="none")
    settings = json.loads((tmp_path / "report" / "report.json").read_text())["settings"]
    expected = {"consent.reference": "R-17 <b>", "consent.scope": "sequence 010", "consent.expires": "2090-01-31"}
    assert expected.items() <= settings.items()
    page = (tmp_path / "report" / "summary.html").read_text()
    for label, value in expected.items():
        assert f'<tr><th scope="row">{label}</th><td>{escape(value)}</td></tr>' in page
    for name in ("contact_sheet.jpg", "preview.mp4"):
        xmp = ElementTree.fromstring(read_xmp(tmp_path / "report" / name))
        texts = {one.tag.rpartition("}")[2]: "".join(one.itertext()).strip() for one in xmp.iter()}
        assert texts["UsageTerms"] == "R-17 <b>; sequence 010; until 2090-01-31"
        assert texts["DigitalSourceType"] == DIGITAL_SOURCE_TYPE
        assert inspect_file(tmp_path / "report" / name).facts["release"] == texts["UsageTerms"]
    pictures = [base64.b64decode(text) for text in re.findall(r"/9j/[A-Za-z0-9+/]+=*", page)]
    marked = [picture for picture in pictures if DIGITAL_SOURCE_TYPE.encode() in picture]
    assert 0 < len(marked) < len(pictures), "the target's own pictures have no mark"
    assert all(b"R-17 &lt;b&gt;; sequence 010; until 2090-01-31" in picture for picture in marked)


def test_another_release_is_no_other_picture(small: Small, tmp_path: Path) -> None:
    for reference, mix in (("R-17", "1.0"), ("R-18", "1.0"), ("R-18", "0.5")):
        shot = small.shot(tmp_path, "1-2", consent__reference=reference, blend__mix=mix)
        result = render_shot(shot)
        assert result.list_frames("rendered") == (1, 2), "the metadata state the release"
        changes = make_report(tmp_path / "report", shot, result, measure="none").data.changes
        assert (changes.frames if changes else ()) == ((1, 2) if mix == "0.5" else ())


@pytest.mark.skipif(not find_chromium(), reason="Chromium is not installed (apt install chromium)")
def test_the_page_of_a_real_render(rendered: Path, tmp_path: Path) -> None:
    """Player, layers, plots, facts, atlas and view map; nothing in the console, nothing loaded."""
    folder = tmp_path / "r"
    folder.mkdir()
    shutil.copy(rendered.parent / "report" / "result.json", folder)  # the times of the render
    assert report(rendered, "--quiet", "--output", str(folder)) == 0
    page = folder / "summary.html"
    with Chromium(tmp_path / "profile") as browser:
        browser.open(page)
        browser.wait_for("Number(document.getElementById('player').dataset.drawn)")
        views = browser.evaluate("[...document.querySelectorAll('button[data-view]')].map((one) => one.dataset.view)")
        assert views == ["after", "before", "wipe", "matte", "difference", "reenacted", "completed", "mattes"]
        for key in "2345678":
            browser.press(key)
            browser.wait_for(
                "document.getElementById('player').dataset.view", lambda value, k=key: value == views[int(k) - 1]
            )
        assert browser.evaluate("document.querySelectorAll('.atlas img').length") == 1
        assert browser.evaluate("document.querySelectorAll('.map img').length") >= 1
        assert browser.evaluate("document.body.textContent").count("<img src=x onerror=alert(1)>") == 1
        _check_plots(browser)
        _check_facts(browser, rendered)
        assert browser.messages == [] and browser.requests == [page.as_uri()]


def _check_plots(browser: Chromium) -> None:
    """The page has a plot, with lines or bars, of each figure that the report promises."""
    script = (
        "Object.fromEntries([...document.querySelectorAll('.plot')].map((one) => [one.dataset.plot, "
        "[...one.querySelectorAll('svg polyline, svg path')].map((line) => line.getAttribute('points') ?? "
        "line.getAttribute('d'))]))"
    )
    lines = browser.evaluate(script)
    assert set(lines) == {panel.name for panel in PANELS}
    assert {"gaze", "lids", "lips", "light", "landmarks", "pose", "flicker", "matte", "edge"} <= set(lines)
    assert len(lines["identity"]) == 2  # to the source and to the target
    assert len(lines["seconds"]) >= 4  # stages
    for name, drawn in lines.items():
        assert drawn and all(drawn), name
    assert [len(line.split()) for line in lines["identity"]] == [FRAMES, FRAMES]
    assert len(lines["flicker"][0].split()) == FRAMES - 2  # the first and the last frame lack a neighbour
    stages = browser.evaluate(
        "[...document.querySelectorAll('[data-plot=seconds] .entry')].map((one) => one.textContent.split(' ')[0])"
    )
    assert {"reenact", "mask", "inpaint", "blend"} <= set(stages)


def _check_facts(browser: Chromium, rendered: Path) -> None:
    """The tables hold what was set and nothing else, the licence class, colour, machine and versions."""
    script = (
        "Object.fromEntries([...document.querySelectorAll('.facts')].map((one) => [one.querySelector('h3').textContent,"
        " Object.fromEntries([...one.querySelectorAll('tr')].map((row) => [row.querySelector('th').textContent, "
        "row.querySelector('td').textContent]))]))"
    )
    tables = browser.evaluate(script)
    shot = load_shot(rendered)
    assert tables["Settings that differ from the defaults"] == {
        "output.layers": "all",
        "target, track": shot.target.track,
        "source 1, track": shot.source[0].track,
    }
    assert tables["Weights and licence class"] == {"licence classes of all": "none: no network drew pixels"}
    surroundings = tables["Colour, machine, versions"]
    inputs = open_inputs(shot.source, shot.target, shot.stages)
    colour = {
        "OCIO config": inputs.config.name,
        "colour space of source": "sRGB",
        "colour space of plate": "ACEScg",
        "working space": "ACEScg",
        "colour space of the result": "ACEScg",
    }
    assert colour.items() <= surroundings.items() and inputs.config.name
    assert surroundings["report made on"].startswith(f"{platform.node()}, {platform.system()} {platform.machine()}, ")
    assert surroundings["device of the networks"] == "cpu"
    versions = {"fsgan": __version__, "Python": platform.python_version(), "numpy": np.__version__}
    assert versions.items() <= surroundings.items()
    assert {"torch", "opencv-python", "OpenImageIO", "opencolorio", "av"} <= set(surroundings)


def test_a_limit_of_a_render_is_measured(rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report has no time for identity on a short shot, and says so; a limit takes the time."""
    words = ["render", str(rendered), "--device", "cpu", "--report", str(tmp_path / "r"), "--force"]
    assert main(words) == 0
    assert "Identity, gaze, lids, lips, landmarks and pose" in capsys.readouterr().out
    page = (tmp_path / "r" / "summary.md").read_text()
    assert "## How it was measured" in page and "Identity, gaze" in page
    assert main([*words, "--json", "--fail-on", "identity>1.9"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert any("source frames" in line for line in said["measured"]) and said["broken_limits"] == []


def test_the_contact_sheet_of_an_earlier_version_goes(rendered: Path) -> None:
    """Only our own picture in the folder of a report; one without the mark stays."""
    folder = rendered.parent / "report"
    former = folder / "contact_sheet.png"
    empty = np.zeros((8, 8, 3), np.uint8)
    for is_ours in (False, True):
        write_picture(former, empty, is_synthetic=is_ours)
        assert report(rendered, "--quiet", "--measure", "none") == 0
        assert former.exists() is not is_ours
    elsewhere = rendered.parent / "other" / "contact_sheet.png"
    elsewhere.parent.mkdir()
    write_picture(elsewhere, empty, is_synthetic=True)
    assert report(rendered, "--quiet", "--measure", "none", "--output", str(elsewhere.parent)) == 0
    assert elsewhere.exists()


def test_limits_of_a_render(rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`fsgan render --report DIR --fail-on LIMIT` renders, reports, and says by its exit code whether a limit broke."""
    words = ["render", str(rendered), "--device", "cpu", "--report", str(tmp_path / "r"), "--json"]
    assert main([*words, "--fail-on", "light>-1", "--fail-on", "failed>0"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False and said["exit_code"] == 1
    assert [line.partition(":")[0] for line in said["broken_limits"]] == ["light>-1"]
    assert Path(said["report"]).is_file()
    assert main([*words, "--fail-on", "failed>0"]) == 0
    assert json.loads(capsys.readouterr().out)["broken_limits"] == []
    assert main(["render", str(rendered), "--fail-on", "failed>0"]) == 2
    assert "give --report, too" in capsys.readouterr().err


def test_a_target_without_a_face_is_told_so(small: Small, tmp_path: Path) -> None:
    """Not that its track is missing: the render has just made it."""
    write_exr(tmp_path / "t.0001.exr", plate_of(np.full((512, 512, 3), 60, np.uint8), 1))
    shot = replace(small.shot(tmp_path / "out"), target=Clip(str(tmp_path / "t.####.exr")))
    write_report(tmp_path / "report", shot, render_shot(shot))
    told = " ".join(json.loads((tmp_path / "report" / "report.json").read_text())["measured"])
    assert "no face of the target was found in these frames" in told and "not in the cache" not in told
