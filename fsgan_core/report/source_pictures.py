"""The source in a report: its atlas, and its views by yaw and pitch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.clips.inputs import JobInputs
from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.shot import Shot
from fsgan_core.contract.view_grid import VIEW_USED, ViewGrid, build_view_grid
from fsgan_core.render.atlas import SourceAtlas
from fsgan_core.render.scene import JobScenes
from fsgan_core.report.player_frames import encode_jpeg
from fsgan_core.report.view_map import MapView, ViewMap, make_view_map
from fsgan_core.report.view_sheet import describe_view_map
from fsgan_core.runtime.arrays import AnyArray
from fsgan_core.runtime.cache import NotCachedError, use_cache_only
from fsgan_core.runtime.threads import limit_algebra_threads

__all__ = ["SourcePictures", "ViewCell", "make_source_pictures"]

log = logging.getLogger(__name__)

ATLAS_SIDE = 512
_QUALITY = 82


@dataclass(frozen=True)
class ViewCell:
    """A square of the view map.

    Attributes:
        picture: JPEG of its most used view; empty without one.
        caption: Name of that view, and how many others there are.
        note: How many frames it leads, or how many frames of the target lie here.
        kind: "used", "spare" (a view that the render does not use), "lacking" (the target goes here, and no view is
            near) or "empty".
    """

    picture: bytes = b""
    caption: str = ""
    note: str = ""
    kind: str = "empty"


@dataclass(frozen=True)
class SourcePictures:
    """What a report shows of the source.

    Attributes:
        atlas: JPEG; empty if there is no atlas.
        columns: Yaw of the columns, in words.
        rows: Pitch of each row in words, and its cells.
        lines: What the map leaves out, in words.
    """

    atlas: bytes = b""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, tuple[ViewCell, ...]], ...] = ()
    lines: tuple[str, ...] = ()


def make_source_pictures(
    inputs: JobInputs, scenes: JobScenes, shot: Shot, frames: str, *, planned: bool
) -> SourcePictures:
    """Makes the atlas and the view map from what the render has left in the cache; nothing is analysed anew.

    Args:
        inputs: The shot, opened.
        scenes: Its scenes.
        shot: The shot.
        frames: Frames of the target.
        planned: Whether the views that lead the frames are found, which takes as long as planning the render.

    Returns:
        What could be made; empty for a drive, and without sources.
    """
    if shot.job != "swap" or not inputs.sources:
        return SourcePictures()
    atlas, found = b"", None
    with use_cache_only(), limit_algebra_threads(), suppress(NotCachedError):
        try:
            atlas = _draw_atlas(inputs, scenes)
            found = make_view_map(
                shot.source,
                shot.stages,
                shot.target,
                frames=frames,
                all_pictures=False,
                planned=planned,
                device=inputs.device,
            )
        except FsganError as error:
            log.info("the report shows no views: %s", error)
    if found is None:
        return SourcePictures(atlas)
    data = found.to_dict()
    grid = build_view_grid(data["views"], data["poses"])
    rows = tuple((f"{pitch:+g}°", _make_row(grid, row, found)) for row, pitch in enumerate(grid.rows))
    return SourcePictures(atlas, tuple(f"{yaw:+g}°" for yaw in grid.columns), rows, tuple(describe_view_map(found)))


def _draw_atlas(inputs: JobInputs, scenes: JobScenes) -> bytes:
    atlas = SourceAtlas(inputs, scenes.get_source_clips()).get()
    picture: AnyArray = inputs.config.to_srgb8(np.ascontiguousarray(atlas.picture, np.float32), inputs.working_space)
    if picture.shape[0] > ATLAS_SIDE:
        picture = cv2.resize(picture, (ATLAS_SIDE, ATLAS_SIDE), interpolation=cv2.INTER_AREA)
    return encode_jpeg(picture, _QUALITY)


def _make_row(grid: ViewGrid, row: int, found: ViewMap) -> tuple[ViewCell, ...]:
    return tuple(_make_cell(grid, (column, row), found.views) for column in range(len(grid.columns)))


def _make_cell(grid: ViewGrid, place: tuple[int, int], views: Sequence[MapView]) -> ViewCell:
    square = grid.squares.get(place)
    if square is None:
        return ViewCell()
    target = f"{square.target_frames} frames of the target" if square.target_frames else ""
    if not square.views:
        return ViewCell(note=target, kind="lacking" if square.lacking_frames else "empty")
    view = views[square.views[0]]
    more = f" +{len(square.views) - 1}" if len(square.views) > 1 else ""
    kind = "lacking" if square.lacking_frames else "used" if view.state == VIEW_USED else "spare"
    note = f"leads {view.leads}" if view.leads else target
    return ViewCell(_read_picture(view.picture), view.name + more, note, kind)


def _read_picture(path: str) -> bytes:
    picture = cv2.imread(path) if path and Path(path).is_file() else None
    return b"" if picture is None else encode_jpeg(np.ascontiguousarray(picture[..., ::-1]), _QUALITY)
