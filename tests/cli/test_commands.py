"""Commands with pixels: what a person types, and the files and words that come of it."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.cli.present import Presenter
from fsgan_core.contract.errors import EngineError, InputError
from fsgan_core.faces.track_file import load_track
from fsgan_core.report.write import read_frame_seconds
from fsgan_core.runtime import device
from fsgan_core.runtime.device import choose_device, list_devices
from fsgan_core.runtime.events import Event
from tests.small_shot import FRAMES, Small


def source(small: Small) -> list[str]:
    return ["--source", str(small.folder / "source.png"), "--source-track", str(small.folder / "source.json")]


def target(small: Small) -> list[str]:
    return ["--target", small.plate, "--target-track", str(small.folder / "plate.json")]


class TestAnalyse:
    def test_writes_a_track(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        track = tmp_path / "t.json"
        assert main(["analyse", "--target", small.plate, "--frames", "2-4", "-o", str(track)]) == 0
        said = capsys.readouterr().out
        assert "3 frames, 1 people" in said and "person 0: 3 frames" in said
        assert load_track(track).frames == (2, 3, 4)

    def test_json(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert (
            main(["analyse", "--source", str(small.folder / "source.png"), "-o", str(tmp_path / "t.json"), "--json"])
            == 0
        )
        said = capsys.readouterr()
        found = json.loads(said.out)
        assert found["ok"] and found["frames"] == 1 and found["people"][0]["frames"] == 1
        assert json.loads(said.err.splitlines()[0])["event"] == "analyse"

    @pytest.mark.parametrize("name", ["t.txt", "t"])
    def test_a_track_is_called_json(
        self, small: Small, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["analyse", "--target", small.plate, "-o", str(tmp_path / name)]) == 2
        assert ".json" in capsys.readouterr().err

    def test_nobody(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cv2.imwrite(str(tmp_path / "wall.png"), np.full((64, 64, 3), 90, np.uint8))
        assert main(["analyse", "--target", str(tmp_path / "wall.png"), "-o", str(tmp_path / "t.json")]) == 0
        assert "no face was found" in capsys.readouterr().out


class TestSwapReportEvaluate:
    def test_the_whole_way(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        result = str(tmp_path / "out" / "s.####.exr")
        report = tmp_path / "report"
        assert (
            main(
                [
                    "swap",
                    *source(small),
                    *target(small),
                    "-o",
                    result,
                    "--layers",
                    "all",
                    "--report",
                    str(report),
                    "--save-shot",
                    str(tmp_path / "shot.toml"),
                    "-v",
                ]
            )
            == 0
        )
        said = capsys.readouterr()
        assert f"{FRAMES} rendered" in said.out and "summary.html" in said.out
        assert "info: frame 3 rendered" in said.err and "engine poisson" in said.err
        assert {"contact_sheet.png", "summary.html", "summary.md", "result.json"} <= {p.name for p in report.iterdir()}
        assert any(path.stem == "preview" for path in report.iterdir())
        assert json.loads((report / "result.json").read_text())["counts"]["rendered"] == FRAMES
        assert cv2.imread(str(report / "contact_sheet.png")).shape[0] > 300
        assert "blend" in (report / "summary.md").read_text()

        assert (
            all(value > 0 for value in read_frame_seconds(report).values())
            and len(read_frame_seconds(report)) == FRAMES
        )
        assert main(["render", str(tmp_path / "shot.toml")]) == 0
        assert f"{FRAMES} kept" in capsys.readouterr().out
        (tmp_path / "timed").mkdir()
        (tmp_path / "timed" / "result.json").write_text(
            json.dumps(
                {
                    "frames": [
                        {"frame": 1, "seconds": {"read": 0.25, "blend": 0.75}},
                        {"frame": 2, "state": "kept"},
                        {"frame": 3, "seconds": {"blend": 2.0}},
                    ]
                }
            )
        )

        assert (
            main(
                [
                    "evaluate",
                    "--source",
                    str(small.folder / "source.png"),
                    "--target",
                    small.plate,
                    "--result",
                    result,
                    "--frames",
                    "1-3",
                    "--output",
                    str(tmp_path / "figures"),
                ]
            )
            == 0
        )
        assert "identity" in capsys.readouterr().out
        assert {path.name for path in (tmp_path / "figures").iterdir()} == {"evaluation.json", "evaluation.png"}
        assert (
            main(
                [
                    "evaluate",
                    "--source",
                    str(small.folder / "source.png"),
                    "--target",
                    small.plate,
                    "--result",
                    result,
                    "--frames",
                    "1-3",
                    "--report",
                    str(tmp_path / "timed"),
                    "--json",
                ]
            )
            == 0
        )
        found = json.loads(capsys.readouterr().out)
        assert found["ok"] and found["frames"] == [1, 2, 3] and found["outside_total"] == 0
        assert 0 <= found["means"]["edge"] < 10 and found["means"]["seconds"] == pytest.approx(1.5)
        assert found["means"]["identity"] < found["means"]["identity_target"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (None, "cannot be read"),
            ("[1]", "no result"),
            ("{", "no result"),
            ('{"frames": [{"frame": 1, "seconds": 3}]}', "no result"),
        ],
    )
    def test_a_report_that_is_none(self, tmp_path: Path, text: str | None, said: str) -> None:
        if text is not None:
            (tmp_path / "result.json").write_text(text)
        with pytest.raises(InputError, match=said):
            read_frame_seconds(tmp_path)

    def test_nothing_to_show(self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """All frames failed: a report without pictures, and the exit code says so."""

        def faulty(*_: object, **__: object) -> None:
            raise InputError("out of paint")

        monkeypatch.setattr("fsgan_core.stages.blending.blend", faulty)
        report = tmp_path / "report"
        assert (
            main(
                [
                    "swap",
                    *source(small),
                    *target(small),
                    "-f",
                    "1",
                    "-o",
                    str(tmp_path / "s.####.exr"),
                    "--report",
                    str(report),
                    "-q",
                ]
            )
            == 1
        )
        assert sorted(path.name for path in report.iterdir()) == ["result.json", "summary.html", "summary.md"]
        assert "out of paint" in (report / "summary.md").read_text()


def test_a_stage_is_of_one_job(small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["-o", str(tmp_path / "r.####.exr")]
    assert main(["reenact", *source(small), "--driver", "d.mov", *target(small), *output]) == 2
    assert "not both" in capsys.readouterr().err
    assert main(["reenact", *target(small), *output]) == 2
    assert "needs a source" in capsys.readouterr().err


def test_a_stage_of_a_drive(small: Small, tmp_path: Path) -> None:
    driver = ["--driver", str(small.folder / "source.png"), "--driver-track", str(small.folder / "source.json")]
    assert main(["mask", *driver, *target(small), "-f", "1", "-o", str(tmp_path / "m.####.exr"), "-q"]) == 0
    assert (tmp_path / "m.0001.exr").is_file()


class Terminal:
    """Stands for standard error on a terminal."""

    def __init__(self) -> None:
        self.text = ""
        self.encoding = "utf-8"

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


class TestTerminal:
    def test_bars_with_time_left(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        with Presenter() as presenter:
            presenter.on_event(Event("analyse", "plate", 5, 10))
            presenter.on_event(Event("frame", "swap", 1, 2, 7, "failed", 0.1, "truncated"))
            logging.getLogger("fsgan_core.test").warning("mind the gap")
            presenter.print_line("done")
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.text)
        assert "analysing plate" in shown and "5/10" in shown
        assert "frame 7: truncated" in shown and "warning: mind the gap" in shown
        assert capsys.readouterr().out == "done\n", "results are not mixed with bars"

    @pytest.mark.parametrize("how", [{"quiet": True}, {"json": True}])
    def test_no_bars(self, monkeypatch: pytest.MonkeyPatch, how: dict[str, bool]) -> None:
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        with Presenter(**how) as presenter:
            presenter.on_event(Event("analyse", "plate", 5, 10))
        assert "analysing" not in terminal.text

    def test_log_as_json_with_facts(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Presenter(json=True, verbose=1):
            logging.getLogger("fsgan_core.test").info("frame done", extra={"frame": 7})
            try:
                raise ValueError("why")
            except ValueError:
                logging.getLogger("fsgan_core.test").exception("it went wrong")
        first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
        assert (first["event"], first["level"], first["message"], first["frame"]) == ("log", "info", "frame done", 7)
        assert "ValueError: why" in second["message"]


class TestDevice:
    def test_cpu_is_always_there(self) -> None:
        assert choose_device("cpu") == "cpu" and list_devices()[-1] == "cpu"
        assert choose_device("auto") in list_devices()

    def test_what_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device, "list_devices", lambda: ("cuda:0", "cpu"))
        assert choose_device("auto") == choose_device("cuda") == "cuda:0"
        with pytest.raises(EngineError, match="torch finds cuda:0, cpu"):
            choose_device("cuda:1")
        with pytest.raises(InputError, match="abacus"):
            choose_device("abacus")
