"""Fields and orientation of movie frames: which field comes first, de-interlacing, turning upright."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import numpy as np
from av import FFmpegError, VideoFormat, VideoFrame
from av.filter import Graph
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType

from fsgan_core.contract.errors import PlateError
from fsgan_core.runtime.arrays import Image

__all__ = ["DisplayMatrix", "deinterlace", "is_top_field_first", "read_display_matrix", "turn_upright"]


# "Bob Weaver" (libavfilter): interpolates the missing rows of the first field, from its own rows and from those of the
# frames before and after, as BBC's w3fdif and yadif do. One frame out for each frame in.
_DEINTERLACER = ("bwdif", "mode=send_frame:parity=auto:deint=all")

DisplayMatrix = tuple[int, int, int, int]
"""Signs of the matrix (a, b, c, d) that turns a stored picture upright: x' = a x + c y, y' = b x + d y."""
_TIME_BASE = Fraction(1, 1000)  # of a graph; only the order of frames counts
_UPRIGHT: DisplayMatrix = (1, 0, 0, 1)


def deinterlace(frame: VideoFrame, before: VideoFrame | None, after: VideoFrame | None) -> VideoFrame:
    """Makes a progressive frame of an interlaced one, at the time of its first field.

    The result depends on these three frames only, not on what was read before.

    Args:
        frame: The frame, planar.
        before: The frame before it; None for the first.
        after: The frame after it; None for the last.

    Raises:
        PlateError: The pixel format cannot be de-interlaced.
    """
    form = VideoFormat(frame.format.name, frame.width, frame.height)
    frames = [one if one is not None and _is_alike(one, frame) else None for one in (before, frame, after)]
    skipped = 1 if frames[0] is not None else 0
    try:
        graph = _build_graph(form, *_DEINTERLACER)
        for one in frames:
            if one is not None:
                graph.vpush(one)
        if frames[2] is None:
            graph.vpush(None)
        for _ in range(skipped):
            graph.vpull()
        return graph.vpull()
    except (FFmpegError, ValueError) as error:
        raise PlateError(f"frames of the pixel format {form.name} cannot be de-interlaced: {error}") from error


def is_top_field_first(frame: VideoFrame) -> bool:
    """Whether the top field of an interlaced frame is the first in time."""
    graph = _build_graph(VideoFormat(frame.format.name, frame.width, frame.height), "select", r"eq(interlace_type\,1)")
    graph.vpush(frame)
    try:
        graph.vpull()
    except FFmpegError:
        return False
    return True


def read_display_matrix(frame: VideoFrame) -> DisplayMatrix:
    """Reads how a frame has to be turned; turns by other than right angles are left out."""
    found = [
        data for data in cast("Iterator[SideData]", iter(frame.side_data)) if data.type == SideDataType.DISPLAYMATRIX
    ]
    if not found:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(memoryview(found[0]), "<i4")[:5].tolist()
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    if signs[0] and signs[3] and not signs[1] and not signs[2]:
        return (signs[0], 0, 0, signs[3])
    if signs[1] and signs[2] and not signs[0] and not signs[3]:
        return (0, signs[1], signs[2], 0)
    return _UPRIGHT


def turn_upright(pixels: Image, matrix: DisplayMatrix) -> Image:
    """Turns and mirrors a picture (height, width, channels) as its matrix says."""
    a, b, c, d = matrix
    if b:
        pixels = pixels.transpose(1, 0, 2)
    if a < 0 or c < 0:
        pixels = pixels[:, ::-1]
    if d < 0 or b < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _is_alike(one: VideoFrame, other: VideoFrame) -> bool:
    return (one.width, one.height, one.format.name) == (other.width, other.height, other.format.name)


def _build_graph(form: VideoFormat, name: str, options: str) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=form.width, height=form.height, format=form, time_base=_TIME_BASE)
    step, sink = graph.add(name, options), graph.add("buffersink")
    source.link_to(step)
    step.link_to(sink)
    graph.configure()
    return graph
