"""An appearance map for people: a contact sheet of the views by yaw and pitch, and a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from fsgan_core.contract.errors import OutputError
from fsgan_core.contract.view_grid import VIEW_EXCLUDED, VIEW_SPARE, VIEW_USED, GridSquare, build_view_grid
from fsgan_core.report.contact_sheet import draw_text, make_canvas, write_picture
from fsgan_core.report.view_map import PICTURE_SIDE, MapView, ViewMap
from fsgan_core.runtime.arrays import Image8

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["describe_view_map", "make_view_table", "write_view_sheet"]

MAX_TABLE_ROWS = 24
"""Rows of a table."""

_GAP, _CAPTION_HEIGHT, _LEFT_MARGIN, _TOP_MARGIN = 4, 16, 60, 44
_WANTED_COLOUR, _LACKING_COLOUR, _EXCLUDED_COLOUR = (70, 110, 160), (214, 120, 40), (200, 80, 74)
_DIM_COLOUR, _TEXT_COLOUR = (150, 150, 150), (235, 235, 235)


def write_view_sheet(view_map: ViewMap, path: Path | str, *, title: str = "") -> Path:
    """Writes a PNG with a square for each pose, showing its most used view, and returns the path.

    A blue frame marks poses of the target, an orange one poses of the target without a near view. The angles that are
    lacking are listed below.

    Raises:
        OutputError: There is no view, or the file cannot be written.
    """
    data = view_map.to_dict()
    grid = build_view_grid(data["views"], data["poses"])
    if not grid.squares:
        raise OutputError(f"cannot write {path}: there is no view to show")
    side = PICTURE_SIDE + 2 * _GAP
    width = max(_LEFT_MARGIN + len(grid.columns) * side + _GAP, 560)
    foot = 24 * (len(view_map.lacking) + 3)
    sheet = make_canvas(_TOP_MARGIN + len(grid.rows) * (side + _CAPTION_HEIGHT) + 24 + foot, width)
    draw_text(sheet, title or ", ".join(view_map.clips), (_GAP * 2, 26), 0.6)
    bottom = _TOP_MARGIN + len(grid.rows) * (side + _CAPTION_HEIGHT)
    for column, yaw in enumerate(grid.columns):
        draw_text(sheet, f"{yaw:+g}", (_LEFT_MARGIN + column * side + side // 2 - 14, bottom + 16), 0.42, _DIM_COLOUR)
    for row, pitch in enumerate(grid.rows):
        draw_text(
            sheet,
            f"{pitch:+g}",
            (_GAP * 2, _TOP_MARGIN + row * (side + _CAPTION_HEIGHT) + side // 2),
            0.42,
            _DIM_COLOUR,
        )
    for (column, row), square in grid.squares.items():
        _draw_square(
            sheet[_TOP_MARGIN + row * (side + _CAPTION_HEIGHT) :, _LEFT_MARGIN + column * side :],
            square,
            view_map.views,
        )
    y = bottom + 48
    draw_text(
        sheet,
        "yaw, positive to the picture's right; pitch, positive up; degrees. Blue: the target goes there. "
        "Orange: and no view is near.",
        (_GAP * 2, y),
        0.42,
        _DIM_COLOUR,
    )
    for number, line in enumerate(describe_view_map(view_map), start=1):
        draw_text(
            sheet,
            line,
            (_GAP * 2, y + 24 * number),
            0.5,
            _LACKING_COLOUR if view_map.lacking and number > 1 else _TEXT_COLOUR,
        )
    return write_picture(path, sheet)


def _draw_square(place: Image8, square: GridSquare, views: tuple[MapView, ...]) -> None:
    """place: the sheet from the square's upper left corner on."""
    if square.target_frames:
        colour = _LACKING_COLOUR if square.lacking_frames else _WANTED_COLOUR
        place[: PICTURE_SIDE + 2 * _GAP, : PICTURE_SIDE + 2 * _GAP] = colour
        place[2 : PICTURE_SIDE + 2 * _GAP - 2, 2 : PICTURE_SIDE + 2 * _GAP - 2] = [value // 3 for value in colour]
    inside = place[_GAP : _GAP + PICTURE_SIDE, _GAP : _GAP + PICTURE_SIDE]
    used = [views[number] for number in square.views if views[number].state == VIEW_USED]
    caption = f"{square.target_frames} fr." if square.target_frames else ""
    if square.views:
        first = views[square.views[0]]
        picture = cv2.imread(first.picture) if first.picture else None
        if picture is not None and picture.shape == inside.shape:
            inside[:] = picture[..., ::-1]
        if not used:
            inside[:] = inside // 3
            cv2.line(inside, (8, 8), (PICTURE_SIDE - 8, PICTURE_SIDE - 8), _EXCLUDED_COLOUR, 2, cv2.LINE_AA)
        caption = first.name + (f" +{len(square.views) - 1}" if len(square.views) > 1 else "")
        if first.leads:
            caption += f", leads {first.leads}"
    draw_text(
        place,
        caption,
        (_GAP, PICTURE_SIDE + 2 * _GAP + 12),
        0.36,
        _TEXT_COLOUR if used or not square.views else _DIM_COLOUR,
    )


def make_view_table(view_map: ViewMap) -> Table:
    """Makes a table of the most used views, a row each; without a target, of one view for each pose."""
    from rich.table import Table

    table = Table(title=f"views of {', '.join(view_map.clips)}", title_justify="left")
    for name in ("view", "yaw", "pitch", "mouth", "weight", "leads", "light"):
        table.add_column(name, justify="left" if name == "view" else "right")
    if view_map.target and not view_map.problem:
        rows = [view for view in view_map.views if view.leads or view.light >= 0.05]
    else:
        grid = build_view_grid([view.__dict__ for view in view_map.views])
        rows = [view_map.views[square.views[0]] for _, square in sorted(grid.squares.items())]
    for view in sorted(rows, key=lambda one: (-one.leads, -one.light))[:MAX_TABLE_ROWS]:
        table.add_row(
            view.name,
            f"{view.yaw:+.1f}",
            f"{view.pitch:+.1f}",
            f"{view.mouth:.2f}",
            f"{view.weight:g}",
            str(view.leads),
            f"{view.light:.1f}",
        )
    return table


def describe_view_map(view_map: ViewMap) -> Iterator[str]:
    """Describes what the picture leaves out: how many views there are, and which angles are lacking."""
    counts = {
        state: sum(view.state == state for view in view_map.views) for state in (VIEW_USED, VIEW_EXCLUDED, VIEW_SPARE)
    }
    yield (
        ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        + (" view" if len(view_map.views) == 1 else " views")
        + (f"; {view_map.target} frames of the target" if view_map.target else "")
    )
    yield from view_map.faults
    if view_map.problem:
        yield view_map.problem
    if view_map.target and not view_map.lacking and not view_map.problem:
        yield "the source has a view near every angle of the target"
    for lack in view_map.lacking:
        yield f"lacking: {lack.text}; frames {lack.frames if len(lack.frames) < 60 else lack.frames[:56] + ' ...'}"
