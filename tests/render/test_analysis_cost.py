"""A few frames of a long clip: the log says what the analysis of the whole clip costs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from fsgan_core.render.analysis_cost import AnalysisCost
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.runtime.events import Event
from tests.small_shot import Small


def follow_analysis(
    monkeypatch: pytest.MonkeyPatch, rendered: int, total: int, seconds: float, name: str = "plate"
) -> None:
    """Follow the events of an analysis that takes `seconds` for each frame, after a first frame of a minute."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    cost = AnalysisCost("plate", rendered)
    for done in range(1, total + 1):
        clock[0] += 60 if done == 1 else seconds
        cost.follow(Event("analyse", name, done, total))


@pytest.mark.parametrize(
    ("rendered", "seconds", "said"),
    [(6, 0.4, "to render 6 frames, "), (6, 0.4, "about 5 minutes, once"), (1, 0.1, "about 75 s, once")],
)
def test_cost_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rendered: int, seconds: float, said: str
) -> None:
    follow_analysis(monkeypatch, rendered, 750, seconds)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and said in record.getMessage()
    assert record.getMessage().startswith("750 frames of plate are analysed")


@pytest.mark.parametrize(
    ("rendered", "total", "name"), [(6, 99, "plate"), (76, 750, "plate"), (750, 750, "plate"), (6, 750, "source")]
)
def test_nothing_for_short_clips_many_frames_and_sources(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rendered: int, total: int, name: str
) -> None:
    follow_analysis(monkeypatch, rendered, total, 0.4, name)
    assert not caplog.records


def test_a_drive_is_never_told_to_be_quick(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for can_be_quick in (True, False):
        clock = iter(range(1000))
        monkeypatch.setattr(time, "monotonic", lambda clock=clock: next(clock))
        cost = AnalysisCost("plate", 1, can_be_quick)
        for done in range(1, 101):
            cost.follow(Event("analyse", "plate", done, 100))
    assert ["--quick" in record.getMessage() for record in caplog.records] == [True, False]


def test_a_render_follows_its_target(small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_shot_job(small.shot(tmp_path, "1-2"))
    job = RenderJob(plan)
    for done in range(1, 31):
        job.scenes.on_event(Event("analyse", plan.inputs.target.name, done, 750))
    assert [record.getMessage()[:40] for record in caplog.records] == ["750 frames of plate are analysed to rend"]
