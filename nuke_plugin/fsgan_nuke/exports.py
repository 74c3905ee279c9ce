"""Makes Nuke nodes from a track, one for each view, and takes edits of their points back into the track."""

from __future__ import annotations

import itertools
from typing import Any, Iterator

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import analysis, drawing, graph, status, stereo, tracks
from fsgan_nuke.host import one_undo_step

VIEW_MARK = "fsgan_view"  # knob of a node that was made from a track: the track's view


def to_tracker(node: Any) -> None:
    """Makes a Tracker with the steady landmarks."""
    for view, track in _iterate_tracks(node):
        make_node(node, "Tracker4", _format_knobs(tracks.make_tracker_knobs(track)), "FSGAN_Tracker", view)


def to_corner_pin(node: Any) -> None:
    """Makes a CornerPin2D that follows the face."""
    for view, track in _iterate_tracks(node):
        make_node(node, "CornerPin2D", _format_knobs(tracks.make_corner_pin_knobs(track)), "FSGAN_CornerPin", view)


def to_points(node: Any) -> None:
    """Makes a NoOp with each landmark as a pair of curves."""
    for view, track in _iterate_tracks(node):
        make_node(node, "NoOp", tracks.make_points_knobs(track), "FSGAN_Points", view)


def to_roto(node: Any) -> None:
    """Makes a Roto with the face's outline, keyed at every frame of the track and hidden in frames without the face."""
    import nuke.rotopaint as paint

    for view, track in _iterate_tracks(node):
        outlines = tracks.make_outlines(track)
        curves = make_node(node, "Roto", "", "FSGAN_Roto", view)["curves"]
        shape = paint.Shape(curves, type="bezier")
        shape.name = "face"
        hero = stereo.list_views()[0]  # its keys apply to every view
        for index, (x, y) in enumerate(outlines[min(outlines)]):
            shape.append(paint.ShapeControlPoint(x, y))
            for frame, points in outlines.items():
                shape[index].center.addPositionKey(frame, (points[index][0], points[index][1]), hero)
        if max(outlines) - min(outlines) >= len(outlines):
            attributes = shape.getAttributes()
            for frame in tracks.list_key_frames(outlines):
                attributes.addKey(frame, attributes.kVisibleAttribute, float(frame in outlines), hero)
        curves.rootLayer.append(shape)
        curves.changed()


def read_layers(node: Any) -> None:
    """Makes a Read of the rendered frames with all their layers, one for each view.

    Raises:
        InputError: Nothing is rendered yet, or without the layers.
    """
    renderer = graph.get_render_node(node)
    shown = str(renderer["result"].value() or "")
    if renderer["layers"].value() != "all" or not shown:
        raise InputError(f"{node.name()}: set Output > layers to 'all' and render first")
    first, last = int(renderer["first"].value()), int(renderer["last"].value())
    for view in stereo.list_node_views(renderer):
        knobs = f'file "{stereo.fill_view(shown, view)}" first {first} last {last} origfirst {first} origlast {last}'
        make_node(node, "Read", f"{knobs} origset true raw true", "FSGAN_Layers", view)


def take_edits(node: Any) -> None:
    """Writes the points that were moved in the selected Tracker or Points node into the track file, as overrides.

    Raises:
        InputError: Not exactly one such node is selected.
        TrackError: The track file or the Tracker cannot be read.
    """
    first_point = next(iter(tracks.POINT_KNOBS))
    edited_nodes = [
        selected_node
        for selected_node in nuke.selectedNodes()
        if selected_node.Class() == "Tracker4" or first_point in selected_node.knobs()
    ]
    if len(edited_nodes) != 1:
        raise InputError("select one Tracker or Points node whose points you moved, then press the button again")
    view = str(edited_nodes[0][VIEW_MARK].value()) if VIEW_MARK in edited_nodes[0].knobs() else ""
    if view not in stereo.list_views():
        view = stereo.list_views()[0]
    track = analysis.load_node_track(node, view)
    moved = tracks.find_moved_points(track, _read_points(edited_nodes[0], track))
    if moved:
        tracks.save_edits(track, moved)
        analysis.fill_curves(node, view)
        drawing.refresh_drawings(node)
    count = sum(len(points) for points in moved.values())
    status.show_status(
        node, status.Status(status.UP_TO_DATE, f"moved points taken: {count}" if count else "no point was moved")
    )


def _iterate_tracks(node: Any) -> Iterator[tuple[str, tracks.FaceTrack]]:
    for view in stereo.list_node_views(node):
        track = analysis.load_node_track(node, view)
        if not track.faces:
            raise InputError(f"{node.name()}: the track has no face in any frame")
        yield view, track


def _read_points(edited_node: Any, track: tracks.FaceTrack) -> dict[str, dict[int, tuple[float, float]]]:
    """Reads the points of a node that was made from a track: name -> frame -> point."""
    if edited_node.Class() == "Tracker4":
        return tracks.parse_tracker_points(edited_node["tracks"].toScript(False))
    return {
        name: {
            frame: (edited_node[name].getValueAt(frame, 0), edited_node[name].getValueAt(frame, 1))
            for frame in track.faces
        }
        for name in tracks.POINT_KNOBS
        if name in edited_node.knobs()
    }


def _format_knobs(knobs: dict[str, str]) -> str:
    return "\n".join(f"{knob} {text}" for knob, text in knobs.items())


def make_node(node: Any, kind: str, knobs: str, name: str, view: str) -> Any:
    """Makes a node beside ours, in the same group, from the text of its knobs, as one undo step.

    Args:
        node: Ours.
        kind: Class of the new node.
        knobs: Its knobs, as in a script.
        name: Its name.
        view: The view that it belongs to.
    """
    number = stereo.list_views().index(view)
    lines = ["inputs 0", f"xpos {int(node.xpos()) + 120 * (number + 1)}", f"ypos {int(node.ypos())}", knobs]
    if stereo.has_several_views():
        lines += ["addUserKnob {20 FSGAN}", f'addUserKnob {{1 {VIEW_MARK} l "" +INVISIBLE}}', f"{VIEW_MARK} {view}"]
        name = f"{name}_{view}"
    group = graph.find_owner(node) or nuke.root()
    with one_undo_step(f"FSGAN: {kind}"), group:
        names = (f"{name}{count or ''}" for count in itertools.count())
        free_name = next(candidate for candidate in names if group.node(candidate) is None)
        nuke.scriptReadText("\n".join([f"{kind} {{", f"name {free_name}", *lines, "}", ""]))
        return group.node(free_name)  # by name: small editions of Nuke do not list all nodes
