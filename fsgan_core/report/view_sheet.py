"""An appearance map for people: a contact sheet of the views by yaw and pitch, and a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fsgan_core.contract.errors import OutputError
from fsgan_core.contract.view_grid import EXCLUDED, SPARE, USED, Square, grid_of
from fsgan_core.report.contact_sheet import letter, paper, write_png
from fsgan_core.report.view_map import SIDE, MapView, ViewMap

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["view_lines", "view_sheet", "view_table"]

ROWS = 24
"""Rows of a table."""

_GAP, _CAPTION, _LEFT, _TOP = 4, 16, 60, 44
_WANTED, _LACKING, _EXCLUDED = (70, 110, 160), (214, 120, 40), (200, 80, 74)
_DIM, _INK = (150, 150, 150), (235, 235, 235)


def view_sheet(found: ViewMap, path: Path | str, *, title: str = "") -> Path:
    """A PNG: a square for each pose, the most used view of it inside, a blue frame where the target goes, an orange one
    where it goes and the source has no view near enough; below, the angles that are lacking. Raises OutputError."""
    data = found.to_dict()
    grid = grid_of(data["views"], data["poses"])
    if not grid.squares:
        raise OutputError(f"cannot write {path}: there is no view to show")
    side = SIDE + 2 * _GAP
    width = max(_LEFT + len(grid.columns) * side + _GAP, 560)
    foot = 24 * (len(found.lacking) + 3)
    sheet = paper(_TOP + len(grid.rows) * (side + _CAPTION) + 24 + foot, width)
    letter(sheet, title or ", ".join(found.clips), (_GAP * 2, 26), 0.6)
    bottom = _TOP + len(grid.rows) * (side + _CAPTION)
    for column, yaw in enumerate(grid.columns):
        letter(sheet, f"{yaw:+g}", (_LEFT + column * side + side // 2 - 14, bottom + 16), 0.42, _DIM)
    for row, pitch in enumerate(grid.rows):
        letter(sheet, f"{pitch:+g}", (_GAP * 2, _TOP + row * (side + _CAPTION) + side // 2), 0.42, _DIM)
    for (column, row), square in grid.squares.items():
        _draw(sheet[_TOP + row * (side + _CAPTION):, _LEFT + column * side:], square, found.views)
    y = bottom + 48
    letter(sheet, "yaw, positive to the picture's right; pitch, positive up; degrees. Blue: the target goes there. "
                  "Orange: and no view is near.", (_GAP * 2, y), 0.42, _DIM)
    for number, line in enumerate(view_lines(found), start=1):
        letter(sheet, line, (_GAP * 2, y + 24 * number), 0.5, _LACKING if found.lacking and number > 1 else _INK)
    return write_png(path, sheet)


def _draw(place: np.ndarray, square: Square, views: tuple[MapView, ...]) -> None:
    """place: the sheet from the square's upper left corner on."""
    if square.wanted:
        colour = _LACKING if square.lacking else _WANTED
        place[:SIDE + 2 * _GAP, :SIDE + 2 * _GAP] = colour
        place[2:SIDE + 2 * _GAP - 2, 2:SIDE + 2 * _GAP - 2] = [value // 3 for value in colour]
    inside = place[_GAP:_GAP + SIDE, _GAP:_GAP + SIDE]
    used = [views[number] for number in square.views if views[number].state == USED]
    caption = f"{square.wanted} fr." if square.wanted else ""
    if square.views:
        first = views[square.views[0]]
        picture = cv2.imread(first.picture) if first.picture else None
        if picture is not None and picture.shape == inside.shape:
            inside[:] = picture[..., ::-1]
        if not used:
            inside[:] = inside // 3
            cv2.line(inside, (8, 8), (SIDE - 8, SIDE - 8), _EXCLUDED, 2, cv2.LINE_AA)
        caption = first.name + (f" +{len(square.views) - 1}" if len(square.views) > 1 else "")
        if first.leads:
            caption += f", leads {first.leads}"
    letter(place, caption, (_GAP, SIDE + 2 * _GAP + 12), 0.36, _INK if used or not square.views else _DIM)


def view_table(found: ViewMap) -> Table:
    """The views that are used most, a row each; without a target one for each pose."""
    from rich.table import Table

    shown = Table(title=f"views of {', '.join(found.clips)}", title_justify="left")
    for name in ("view", "yaw", "pitch", "mouth", "weight", "leads", "light"):
        shown.add_column(name, justify="left" if name == "view" else "right")
    if found.target and not found.problem:
        rows = [view for view in found.views if view.leads or view.light >= 0.05]
    else:
        grid = grid_of([view.__dict__ for view in found.views])
        rows = [found.views[square.views[0]] for _, square in sorted(grid.squares.items())]
    for view in sorted(rows, key=lambda one: (-one.leads, -one.light))[:ROWS]:
        shown.add_row(view.name, f"{view.yaw:+.1f}", f"{view.pitch:+.1f}", f"{view.mouth:.2f}", f"{view.weight:g}",
                      str(view.leads), f"{view.light:.1f}")
    return shown


def view_lines(found: ViewMap) -> Iterator[str]:
    """What is said below: how many there are, and what is lacking."""
    counts = {state: sum(view.state == state for view in found.views) for state in (USED, EXCLUDED, SPARE)}
    yield ", ".join(f"{count} {state}" for state, count in counts.items() if count) + " views" + (
        f"; {found.target} frames of the target" if found.target else "")
    if found.problem:
        yield found.problem
    if found.target and not found.lacking and not found.problem:
        yield "the source has a view near every angle of the target"
    for lack in found.lacking:
        yield f"lacking: {lack.text}; frames {lack.frames if len(lack.frames) < 60 else lack.frames[:56] + ' ...'}"
