"""The grid of the appearance map: where views and poses come to lie."""

from __future__ import annotations

from typing import Any

import pytest

from fsgan_core.contract.view_grid import GRID_STEPS, build_view_grid, format_pose


def view(yaw: float, pitch: float, state: str = "used", **rest: float) -> dict[str, Any]:
    return {"yaw": yaw, "pitch": pitch, "state": state, "leads": 0, "light": 0.0, "weight": 1.0, **rest}


def pose(yaw: float, pitch: float, frames: int = 1, lacking: int = 0) -> dict[str, Any]:
    return {"yaw": yaw, "pitch": pitch, "frames": frames, "lacking": lacking}


def test_right_is_right_and_up_is_above() -> None:
    grid = build_view_grid([view(-20, 0), view(20, 10)], step=10)
    assert grid.columns == (-20, -10, 0, 10, 20) and grid.rows == (10, 0)
    assert grid.squares[(0, 1)].views == (0,) and grid.squares[(4, 0)].views == (1,)


def test_the_view_that_is_used_most_stands_first_and_excluded_ones_last() -> None:
    views = [view(0, 0, "excluded", leads=9), view(0, 1), view(1, 0, leads=3), view(1, 1, light=2.0)]
    assert build_view_grid(views, step=10).squares[(0, 0)].views == (2, 3, 1, 0)


def test_spare_views_are_left_out() -> None:
    assert build_view_grid([view(0, 0), view(40, 0, "spare")], step=10).columns == (0,)


def test_where_the_target_goes() -> None:
    grid = build_view_grid([view(0, 0)], [pose(1, 1, 5), pose(2, -1, 2), pose(30, 0, 4, 4)], step=10)
    front, side = grid.squares[(0, 0)], grid.squares[(3, 0)]
    assert (front.target_frames, front.lacking_frames, side.target_frames, side.lacking_frames, side.views) == (
        7,
        0,
        4,
        4,
        (),
    )


@pytest.mark.parametrize(("reach", "step"), [(5, 2.5), (25, 5.0), (50, 10.0), (90, 15.0), (400, 15.0)])
def test_the_finest_step_that_fits(reach: float, step: float) -> None:
    assert build_view_grid([view(-reach, 0), view(reach, 0)]).step == step and step in GRID_STEPS


def test_nothing() -> None:
    assert build_view_grid([]).squares == {}


@pytest.mark.parametrize(
    ("yaw", "pitch", "text"), [(0, 0, "front"), (-25.2, 1, "25 left"), (3, -10, "3 right, 10 down"), (0, 40, "40 up")]
)
def test_words(yaw: float, pitch: float, text: str) -> None:
    assert format_pose(yaw, pitch) == text
