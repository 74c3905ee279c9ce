"""The appearance map as a grid of squares by yaw and pitch: what the panel and the contact sheet lay out alike.

Views and the target's poses are plain mappings, as the worker's answer to `views` holds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

STEPS = (2.5, 5.0, 10.0, 15.0)  # degrees that a square may span
MOST_COLUMNS, MOST_ROWS = 12, 9
USED, EXCLUDED, SPARE = "used", "excluded", "spare"  # states of a view


@dataclass(frozen=True)
class Square:
    """views: places in the list of views, the one to show first. wanted: frames of the target in this pose; lacking:
    those of them for which the source has no view near enough."""

    views: tuple[int, ...] = ()
    wanted: int = 0
    lacking: int = 0


@dataclass(frozen=True)
class Grid:
    """step: degrees. columns: yaw of each column's middle, ascending (to the picture's right); rows: pitch of each
    row's middle, descending (up is above). squares: (column, row) -> Square, only where there is something."""

    step: float
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    squares: Mapping[tuple[int, int], Square]


def grid_of(views: Sequence[Mapping[str, Any]], poses: Sequence[Mapping[str, Any]] = (), step: float = 0.0) -> Grid:
    """The grid of some views ({"yaw", "pitch", "state", "leads", "light", "weight"}) and poses of the target ({"yaw",
    "pitch", "frames", "lacking"}). step: 0 is the finest that fits; a spare view is left out."""
    shown = [place for place, view in enumerate(views) if view["state"] != SPARE]
    points = [views[place] for place in shown] + list(poses)
    if not points:
        return Grid(step or STEPS[-1], (), (), {})
    if not step:
        step = next((one for one in STEPS if _fits(points, one)), STEPS[-1])
    right, up = _span(points, "yaw", step), _span(points, "pitch", step)
    columns = tuple(step * number for number in range(right[0], right[1] + 1))
    rows = tuple(step * number for number in range(up[1], up[0] - 1, -1))

    def where(point: Mapping[str, Any]) -> tuple[int, int]:
        return _number(point["yaw"], step) - right[0], up[1] - _number(point["pitch"], step)

    held: dict[tuple[int, int], list[int]] = {}
    for place in shown:
        held.setdefault(where(views[place]), []).append(place)
    wanted: dict[tuple[int, int], int] = {}
    lacking: dict[tuple[int, int], int] = {}
    for pose in poses:
        key = where(pose)
        wanted[key] = wanted.get(key, 0) + int(pose["frames"])
        lacking[key] = lacking.get(key, 0) + int(pose["lacking"])
    squares = {key: Square(tuple(sorted(held.get(key, ()), key=lambda place: _rank(views[place], place))),
                           wanted.get(key, 0), lacking.get(key, 0)) for key in [*held, *wanted]}
    return Grid(step, columns, rows, squares)


def degrees_text(yaw: float, pitch: float) -> str:
    """A pose for a person: "25 right, 10 up", in degrees; "front" within two of it."""
    parts = [f"{abs(value):.0f} {names[value > 0]}" for value, names in ((yaw, ("left", "right")),
                                                                        (pitch, ("down", "up"))) if abs(value) >= 2]
    return ", ".join(parts) or "front"


def _rank(view: Mapping[str, Any], place: int) -> tuple[Any, ...]:
    """The more a view is used the earlier; excluded ones last."""
    return view["state"] != USED, -view.get("leads", 0), -view.get("light", 0.0), -view.get("weight", 1.0), place


def _number(value: float, step: float) -> int:
    return math.floor(value / step + 0.5)


def _span(points: Sequence[Mapping[str, Any]], axis: str, step: float) -> tuple[int, int]:
    numbers = [_number(point[axis], step) for point in points]
    return min(numbers), max(numbers)


def _fits(points: Sequence[Mapping[str, Any]], step: float) -> bool:
    right, up = _span(points, "yaw", step), _span(points, "pitch", step)
    return right[1] - right[0] < MOST_COLUMNS and up[1] - up[0] < MOST_ROWS
