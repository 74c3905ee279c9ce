"""Tracks as nodes of the host beside an FSGAN_Analyse, one for each view, and edits of theirs back into the track."""

from __future__ import annotations

from typing import Any, Iterator

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import analysis, graph, status, stereo, tracks

MARK = "fsgan_view"  # a knob of a node that was made from a track: which view's


def to_tracker(node: Any) -> None:
    for view, track in _tracks(node):
        _make(node, "Tracker4", _lines(tracks.tracker_knobs(track)), "FSGAN_Tracker", view)


def to_corner_pin(node: Any) -> None:
    for view, track in _tracks(node):
        _make(node, "CornerPin2D", _lines(tracks.corner_pin_knobs(track)), "FSGAN_CornerPin", view)


def to_points(node: Any) -> None:
    """A NoOp with each landmark as a pair of curves."""
    for view, track in _tracks(node):
        _make(node, "NoOp", tracks.points_knobs(track), "FSGAN_Points", view)


def to_roto(node: Any) -> None:
    """A Roto whose shape is keyed at every frame of the track, and is not there where the face is not."""
    import nuke.rotopaint as paint

    for view, track in _tracks(node):
        outlines = tracks.outlines(track)
        curves = _make(node, "Roto", "", "FSGAN_Roto", view)["curves"]
        shape = paint.Shape(curves, type="bezier")
        shape.name = "face"
        hero = stereo.names()[0]  # what is keyed there holds for every view
        for index, (x, y) in enumerate(outlines[min(outlines)]):
            shape.append(paint.ShapeControlPoint(x, y))
            for frame, points in outlines.items():
                shape[index].center.addPositionKey(frame, (points[index][0], points[index][1]), hero)
        if max(outlines) - min(outlines) >= len(outlines):
            attributes = shape.getAttributes()
            for frame in tracks.with_gaps(outlines):
                attributes.addKey(frame, attributes.kVisibleAttribute, float(frame in outlines), hero)
        curves.rootLayer.append(shape)
        curves.changed()


def take_edits(node: Any) -> None:
    """Points that were moved in the selected Tracker or node of points become overrides in the track file."""
    first = next(iter(tracks.POINTS))
    chosen = [one for one in nuke.selectedNodes() if one.Class() == "Tracker4" or first in one.knobs()]
    if len(chosen) != 1:
        raise InputError("select the one Tracker, or node of points, whose points you moved, then press this again")
    view = str(chosen[0][MARK].value()) if MARK in chosen[0].knobs() else ""
    if view not in stereo.names():
        view = stereo.names()[0]
    track = analysis.track_of(node, view)
    moved = tracks.moved_points(track, _points_of(chosen[0], track))
    if moved:
        tracks.save_edits(track, moved)
        analysis.fill_curves(node, view)
    count = sum(len(points) for points in moved.values())
    status.show(node, status.Status(status.UP_TO_DATE, f"{count} points taken" if count else "no point was moved"))


def _tracks(node: Any) -> Iterator[tuple[str, tracks.FaceTrack]]:
    for view in stereo.of(node):
        track = analysis.track_of(node, view)
        if not track.faces:
            raise InputError(f"{node.name()}: the track has no face in any frame")
        yield view, track


def _points_of(chosen: Any, track: tracks.FaceTrack) -> dict[str, dict[int, tuple[float, float]]]:
    """The points of a node that was made from a track, name -> frame -> point."""
    if chosen.Class() == "Tracker4":
        return tracks.tracker_points(chosen["tracks"].toScript(False))
    return {name: {frame: (chosen[name].getValueAt(frame, 0), chosen[name].getValueAt(frame, 1))
                   for frame in track.faces}
            for name in tracks.POINTS if name in chosen.knobs()}


def _lines(knobs: dict[str, str]) -> str:
    return "\n".join(f"{knob} {text}" for knob, text in knobs.items())


def _make(node: Any, kind: str, knobs: str, name: str, view: str) -> Any:
    """A node beside ours, in the same group, from the text of its knobs; one step of undo."""
    number = stereo.names().index(view)
    lines = ["inputs 0", f"xpos {int(node.xpos()) + 120 * (number + 1)}", f"ypos {int(node.ypos())}", knobs]
    if stereo.several():
        lines += ["addUserKnob {20 FSGAN}", f"addUserKnob {{1 {MARK} l \"\" +INVISIBLE}}", f"{MARK} {view}"]
        name = f"{name}_{view}"
    group = graph.owner(node) or nuke.root()
    nuke.Undo.begin(f"FSGAN: {kind}")
    try:
        with group:
            before = {one.name() for one in nuke.allNodes(kind, group)}
            nuke.scriptReadText("\n".join([f"{kind} {{", *lines, "}", ""]))
            made = next(one for one in nuke.allNodes(kind, group) if one.name() not in before)
            made.setName(name)
    finally:
        nuke.Undo.end()
    return made
