"""FSGAN_Analyse: its track file, and what the track says as curves on the node."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import nuke

from fsgan_core.contract.errors import InputError, TrackError
from fsgan_core.contract.stage_graph import NODES
from fsgan_nuke import graph, paths, stereo, tracks
from fsgan_nuke.colour import read_project_colour
from fsgan_nuke.node_job import InputBranch, NodeJob, make_clip, read_knobs


def make_analysis_job(node: Any, view: str) -> NodeJob:
    """The analysis of a view of the clip above the node. Raises InputError or ColourError."""
    colour = read_project_colour()
    branches: list[InputBranch] = []
    clip = make_clip(node, "target", view, colour, branches)
    if clip is None:
        raise InputError(f"{node.name()}: nothing is connected")
    settings = {"analyse": read_knobs(node, "analyse", view), "colour": read_knobs(node, "colour", view)}
    if colour.config:
        settings["colour"]["config"] = colour.config
    return NodeJob(
        str(node.fullName()),
        view,
        {"target": clip, "stages": settings},
        "",
        {},
        paths.get_track_path(node, view),
        tuple(branches),
        "source" if _is_source_only(node) else "target",
    )


def load_node_track(node: Any, view: str) -> tracks.FaceTrack:
    """The track of the person that an FSGAN_Analyse chooses, in a view; without its offsets. Raises TrackError."""
    path = paths.get_track_path(node, view)
    if node["person"].value() == "point":
        return tracks.load_face_track(
            path, point=[node["person_point"].getValueAt(nuke.frame(), index, view) for index in (0, 1)]
        )
    return tracks.load_face_track(path, int(node["person_index"].value()) if node["person"].value() == "index" else 0)


def fill_curves(node: Any, view: str) -> None:
    """Sets the node's curves of a view from its track file; a clip without a face clears them. Raises TrackError."""
    split = view != stereo.list_views()[0]
    try:
        found: Optional[Mapping[str, Any]] = tracks.make_curves(load_node_track(node, view))
    except TrackError as error:
        if "has no person" not in str(error):
            raise
        found = None
    for name in ("centre", "face_size", "yaw", "pitch", "roll", "confidence"):
        knob = node[name]
        if split:
            knob.splitView(view)
        knob.clearAnimated(-1, view)
        if found is not None:
            for index, part in enumerate(found[name]):
                knob.setAnimated(index, view)
                curve = knob.animation(index, view)
                curve.addKey([nuke.AnimationKey(frame, value) for frame, value in part.items()])


def _is_source_only(node: Any) -> bool:
    """Whether all that hangs on the node's picture takes it as a source."""
    wanted: set[str] = set()
    for one in graph.list_render_nodes():
        for name in NODES[graph.get_node_class(one)].inputs:
            above = graph.find_analyse_node(graph.find_connected(one, name))
            if above is not None and above[0].fullName() == node.fullName():
                wanted.add(name)
    return bool(wanted) and wanted <= {"source", "driver"}


def list_nodes_below(node: Any) -> list[Any]:
    """The nodes of ours that use an FSGAN_Analyse."""
    found = []
    for one in graph.list_render_nodes():
        used = (
            graph.find_analyse_node(graph.find_connected(one, name)) for name in NODES[graph.get_node_class(one)].inputs
        )
        if any(above is not None and above[0].fullName() == node.fullName() for above in used):
            found.append(one)
    return found
