"""What a report measures keeps to its time."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from fsgan_core.contract.errors import WeightsError
from fsgan_core.report import measure
from fsgan_core.report.figures import MATTE_AREA
from tests.report.made_up_report import make_look

COST = 0.05  # seconds


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame takes COST to measure."""

    def measure_slowly(*_: Any) -> dict[str, float]:
        time.sleep(COST)
        return {"identity": 0.3}

    monkeypatch.setattr(measure, "_describe_source", lambda *_: [1, 2, 3])
    monkeypatch.setattr(measure, "_measure_frame", measure_slowly)


def run(frames: list[int], budget: float | None, known: dict[int, dict[str, float]] | None = None) -> Any:
    nothing: Any = None
    return measure.measure_faces(nothing, nothing, frames, {}, known=known or {}, budget=budget)


def test_stops_when_the_time_is_used_up(slow: None) -> None:
    found = run(list(range(100)), 2.0)
    assert 1 <= len(found.rows) <= 2.0 / COST
    assert found.source_frames == 3


def test_too_little_time_loads_no_network(slow: None) -> None:
    """To load the networks and to measure four source frames takes about two seconds."""
    assert run([1, 2], 1.8).rows == {} and run([1, 2], -5.0).rows == {}


def test_no_limit_measures_all_but_known_frames(slow: None) -> None:
    found = run([1, 2, 3], None, {2: {"identity": 0.9}})
    assert found.rows == {1: {"identity": 0.3}, 2: {"identity": 0.9}, 3: {"identity": 0.3}} and found.reused == 1


def test_weights_that_are_not_allowed_are_no_failure(slow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise WeightsError("not allowed here")

    monkeypatch.setattr(measure, "_describe_source", refuse)
    assert run([1], None).problem == "not allowed here"


def test_frames_without_a_track_have_their_matte_area_only() -> None:
    rows: dict[int, dict[str, float]] = {}
    numbers = [look.number for look in measure.measure_looks(map(make_look, (1, 2, 3)), {}, rows)]
    assert numbers == [1, 2, 3] and all(row[MATTE_AREA] == 1.0 for row in rows.values())
    assert all(row["light"] != row["light"] for row in rows.values())


@pytest.mark.parametrize(("budget", "count"), [(0.2, None), (4.0, 10), (None, measure.MAX_SOURCE_FRAMES)])
def test_the_source_is_measured_within_its_share(
    monkeypatch: pytest.MonkeyPatch, budget: float | None, count: int | None
) -> None:
    """What was measured before is cached, so only new frames take time."""
    known: set[int] = set()

    def measure_sources(*_: Any, most: int) -> list[int]:
        time.sleep(COST * max(0, most - len(known)))
        known.update(range(most))
        return list(range(most))

    monkeypatch.setattr(measure, "measure_source_descriptors", measure_sources)
    inputs: Any = SimpleNamespace(sources=(), config=None)
    found = measure._describe_source(inputs, budget, lambda event: None)
    if count is None:
        assert found is None
    else:
        assert found is not None and count / 2 <= len(found) <= 2 * count
