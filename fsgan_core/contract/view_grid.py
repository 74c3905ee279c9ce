"""The appearance map as a grid of squares by yaw and pitch; the view map panel and the contact sheet both draw it.

Views and poses of the target are plain mappings, as in the worker's answer to `views`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

GRID_STEPS = (2.5, 5.0, 10.0, 15.0)  # possible sides of a square, degrees
MAX_COLUMNS, MAX_ROWS = 12, 9
VIEW_USED, VIEW_EXCLUDED, VIEW_SPARE = "used", "excluded", "spare"  # states of a view


@dataclass(frozen=True)
class GridSquare:
    """One square of the grid.

    Attributes:
        views: Positions in the list of views; the one to show first comes first.
        target_frames: Number of target frames in this pose.
        lacking_frames: Number of those for which the source has no view near enough.
    """

    views: tuple[int, ...] = ()
    target_frames: int = 0
    lacking_frames: int = 0


@dataclass(frozen=True)
class ViewGrid:
    """The grid.

    Attributes:
        step: Side of a square in degrees.
        columns: Yaw at the centre of each column in degrees, ascending (to the right of the picture).
        rows: Pitch at the centre of each row in degrees, descending (up first).
        squares: (column, row) -> square, without the empty ones.
    """

    step: float
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    squares: Mapping[tuple[int, int], GridSquare]


def build_view_grid(
    views: Sequence[Mapping[str, Any]], poses: Sequence[Mapping[str, Any]] = (), step: float = 0.0
) -> ViewGrid:
    """Sorts views and poses into a grid.

    Args:
        views: Mappings with "yaw", "pitch", "state", and optionally "leads", "light", "weight". Spare views are left
            out.
        poses: Poses of the target: mappings with "yaw", "pitch", "frames", "lacking".
        step: Side of a square in degrees; 0 is the smallest of GRID_STEPS that fits into the largest grid.
    """
    shown = [place for place, view in enumerate(views) if view["state"] != VIEW_SPARE]
    points = [views[place] for place in shown] + list(poses)
    if not points:
        return ViewGrid(step or GRID_STEPS[-1], (), (), {})
    if not step:
        step = next((one for one in GRID_STEPS if _fits_in_grid(points, one)), GRID_STEPS[-1])
    right, up = _find_span(points, "yaw", step), _find_span(points, "pitch", step)
    columns = tuple(step * number for number in range(right[0], right[1] + 1))
    rows = tuple(step * number for number in range(up[1], up[0] - 1, -1))

    def locate_square(point: Mapping[str, Any]) -> tuple[int, int]:
        return _round_to_step(point["yaw"], step) - right[0], up[1] - _round_to_step(point["pitch"], step)

    held: dict[tuple[int, int], list[int]] = {}
    for place in shown:
        held.setdefault(locate_square(views[place]), []).append(place)
    target_frames: dict[tuple[int, int], int] = {}
    lacking: dict[tuple[int, int], int] = {}
    for pose in poses:
        key = locate_square(pose)
        target_frames[key] = target_frames.get(key, 0) + int(pose["frames"])
        lacking[key] = lacking.get(key, 0) + int(pose["lacking"])
    squares = {
        key: GridSquare(
            tuple(sorted(held.get(key, ()), key=lambda place: _rank_view(views[place], place))),
            target_frames.get(key, 0),
            lacking.get(key, 0),
        )
        for key in [*held, *target_frames]
    }
    return ViewGrid(step, columns, rows, squares)


def format_pose(yaw: float, pitch: float) -> str:
    """Describes a pose in words.

    Args:
        yaw: Degrees; above 0 is right.
        pitch: Degrees; above 0 is up.

    >>> format_pose(25, 10)
    '25 right, 10 up'
    >>> format_pose(1, -1)
    'front'
    """
    parts = [
        f"{abs(value):.0f} {names[value > 0]}"
        for value, names in ((yaw, ("left", "right")), (pitch, ("down", "up")))
        if abs(value) >= 2
    ]
    return ", ".join(parts) or "front"


def _rank_view(view: Mapping[str, Any], place: int) -> tuple[Any, ...]:
    """Sort key: the most used views first, the excluded ones last."""
    return view["state"] != VIEW_USED, -view.get("leads", 0), -view.get("light", 0.0), -view.get("weight", 1.0), place


def _round_to_step(value: float, step: float) -> int:
    return math.floor(value / step + 0.5)


def _find_span(points: Sequence[Mapping[str, Any]], axis: str, step: float) -> tuple[int, int]:
    numbers = [_round_to_step(point[axis], step) for point in points]
    return min(numbers), max(numbers)


def _fits_in_grid(points: Sequence[Mapping[str, Any]], step: float) -> bool:
    right, up = _find_span(points, "yaw", step), _find_span(points, "pitch", step)
    return right[1] - right[0] < MAX_COLUMNS and up[1] - up[0] < MAX_ROWS
