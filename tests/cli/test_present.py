"""Progress bars, and the log as JSON."""

from __future__ import annotations

import json
import logging
import re

import pytest

from fsgan_core.cli.present import Presenter, summarise_result
from fsgan_core.runtime.events import PASSED, Event, FrameReport, RenderResult


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


@pytest.mark.parametrize(
    ("command", "says"),
    [("swap", "1 without a face (passed through unchanged)"), ("mask", "1 without a face; ")],
)
def test_frames_without_a_face_have_not_passed_a_check(command: str, says: str) -> None:
    result = RenderResult(command, "o.####.exr", "ACEScg", (FrameReport(1, PASSED, "o.0001.exr"),), {}, {})
    assert says in summarise_result(result)[0] and result.to_dict()["counts"]["passed"] == 1


class TestNoTerminal:
    """Standard error is a file or a pipe."""

    def test_line_for_each_clip_then_every_ten_seconds(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock = [100.0]
        monkeypatch.setattr("fsgan_core.cli.present.time.monotonic", lambda: clock[0])
        with Presenter() as presenter:
            for done in range(1, 751):
                presenter.on_event(Event("analyse", "plate", done, 750))
                clock[0] += 0.04  # 30 s for the clip
            presenter.on_event(Event("analyse", "still", 1, 1))
            for done in range(1, 7):
                clock[0] += 4
                presenter.on_event(Event("frame", "swap", done, 6, 1000 + done, "rendered"))
        assert capsys.readouterr().err.splitlines() == [
            "analysing 750 frames of plate",
            "analysing plate: 251 of 750",
            "analysing plate: 501 of 750",
            "analysing 1 frame of still",
            "swap: 3 of 6",
            "swap: 6 of 6",
        ]

    def test_name_cannot_forge_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Presenter() as presenter:
            presenter.on_event(Event("analyse", "a\nopenjd_fail: x", 1, 2))
        assert len(capsys.readouterr().err.splitlines()) == 1

    @pytest.mark.parametrize("how", [{"quiet": True}, {"json": True}])
    def test_none_for_programs_and_if_quiet(self, how: dict[str, bool], capsys: pytest.CaptureFixture[str]) -> None:
        with Presenter(**how) as presenter:
            presenter.on_event(Event("analyse", "plate.mov", 1, 2))
        assert "analysing" not in capsys.readouterr().err


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
