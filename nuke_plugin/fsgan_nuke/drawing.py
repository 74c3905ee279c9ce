"""What FSGAN_Analyse draws over its picture: boxes, landmarks, mesh and pose of its track, and its doubtful frames.

Nuke has no drawing in the Viewer without a compiled plugin, so the worker draws the track to files (four mattes in one
EXR), and nodes inside the gizmo lay them over the picture. They do so only in a session with a GUI, and not while
anything is rendered, so that a drawing cannot get into a picture.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError, InputError
from fsgan_nuke import graph, input_writes, offsets, paths, results, status, stereo
from fsgan_nuke.analysis import load_node_track
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.doubtful import find_doubtful_frames
from fsgan_nuke.host import call_later, keep_undo
from fsgan_nuke.node_job import read_person
from fsgan_nuke.request import PendingRequest

OVERLAY_KNOB = "overlay"

_drawn: dict[str, tuple[str, int, int, str]] = {}  # path pattern -> track, its time and size, person
_hidden_nodes: list[Any] = []  # nodes whose drawing is off while something is rendered


def refresh_drawings(node: Any) -> None:
    """Draws the track of an FSGAN_Analyse if its drawing is on and the track has changed. On the main thread.

    Returns at once; the drawing appears when the worker has made it. Errors are shown on the node.
    """
    if not nuke.GUI or OVERLAY_KNOB not in node.knobs() or not node[OVERLAY_KNOB].value():
        return
    try:
        for view in stereo.list_node_views(node):
            _request_drawings(node, view)
    except (FsganError, OSError) as error:
        status.show_status(node, status.make_error_status(error))


def _request_drawings(node: Any, view: str) -> None:
    track = offsets.write_offset_track(node, paths.get_track_path(node, view), view)
    if not track:
        raise InputError(f"{node.name()} has no track to draw yet: press Analyse")
    file_state = os.stat(track)
    person = read_person(node, view)
    state = (track, file_state.st_mtime_ns, file_state.st_size, person)
    pattern = paths.get_drawing_pattern(node, view)
    if _drawn.get(pattern) == state and results.list_frames(pattern):
        _show_drawings(node)
        return
    _drawn[pattern] = state
    for frame in results.list_frames(pattern):  # a frame may have no face any more
        with suppress(OSError):
            os.remove(input_writes.fill_frame(pattern, frame))

    def on_end(request: PendingRequest) -> None:
        if request.error is not None:
            _drawn.pop(pattern, None)
        call_later(_on_drawn, node, request)

    get_shared_client().request(
        protocol.DrawTrackRequest(track=track, output=pattern, person=person),
        on_end=on_end,
    )


def _on_drawn(node: Any, request: PendingRequest) -> None:
    if not graph.exists(node):
        return
    if request.error is not None:
        status.show_status(node, status.make_error_status(request.error))
        return
    _show_drawings(node)


def _show_drawings(node: Any) -> None:
    """Makes the nodes inside show the drawings of all views. On the main thread."""
    pattern = paths.get_drawing_pattern(node)
    frames = sorted(
        {frame for view in stereo.list_views() for frame in results.list_frames(stereo.fill_view(pattern, view))}
    )
    if not frames:
        return
    with keep_undo():
        for knob, value in (("drawing", pattern), ("drawing_first", frames[0]), ("drawing_last", frames[-1])):
            node[knob].setValue(value)
    read = graph.find_inner_node(node, "Drawing")
    if read is not None and "reload" in read.knobs():
        read["reload"].execute()


def hide_drawings() -> None:
    """Turns all drawings off while Nuke renders, so that none gets into a picture. On the main thread."""
    with keep_undo():
        for node in graph.list_all_nodes():
            if OVERLAY_KNOB in node.knobs() and node[OVERLAY_KNOB].value():
                node[OVERLAY_KNOB].setValue(False)
                _hidden_nodes.append(node)


def show_hidden_drawings() -> None:
    """Turns the drawings on again that `hide_drawings` turned off. On the main thread."""
    with keep_undo():
        while _hidden_nodes:
            node = _hidden_nodes.pop()
            if graph.exists(node):
                node[OVERLAY_KNOB].setValue(True)


# Doubtful frames.


def previous_doubtful(node: Any) -> None:
    """Goes to the nearest doubtful frame before the viewer's."""
    _go_to_doubtful(node, -1)


def next_doubtful(node: Any) -> None:
    """Goes to the nearest doubtful frame after the viewer's."""
    _go_to_doubtful(node, 1)


def _go_to_doubtful(node: Any, direction: int) -> None:
    limit, here = float(node["doubtful_below"].value()), int(nuke.frame())
    reasons: dict[int, str] = {}
    for view in stereo.list_node_views(node):
        person = load_node_track(node, view).person
        reasons.update(find_doubtful_frames(paths.get_track_path(node, view), person, limit))
    ahead = [frame for frame in reasons if (frame - here) * direction > 0]
    if not ahead:
        where = "after" if direction > 0 else "before"
        line = f"no doubtful frame {where} this one; {len(reasons)} in the clip"
        status.show_status(node, status.Status(status.UP_TO_DATE, line))
        return
    frame = min(ahead, key=lambda candidate: abs(candidate - here))
    nuke.frame(frame)
    line = f"frame {frame}: {reasons[frame]}; {len(reasons)} doubtful frames"
    status.show_status(node, status.Status(status.STALE, line))
