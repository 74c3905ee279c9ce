"""FSGAN_Analyse: its job for the worker, its track file, and the track as curves on the node."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import nuke

from fsgan_core.contract.errors import InputError, TrackError
from fsgan_core.contract.stage_graph import NODES
from fsgan_nuke import graph, paths, stereo, tracks
from fsgan_nuke.colour import read_project_colour
from fsgan_nuke.host import keep_undo
from fsgan_nuke.knob_values import read_knobs
from fsgan_nuke.node_job import InputBranch, NodeJob, list_sampled_frames, make_clip


def make_analysis_job(node: Any, view: str) -> NodeJob:
    """Makes the job that analyses one view of the clip above the node.

    Raises:
        InputError: Nothing is connected, or the script has no file.
        ColourError: The script's colour management cannot be handed to the worker.
    """
    colour = read_project_colour()
    branches: list[InputBranch] = []
    clip = make_clip(node, "target", view, colour, branches)
    if clip is None:
        raise InputError(f"{node.name()}: nothing is connected")
    frames = list_sampled_frames(node, view=view)
    settings = {stage: read_knobs(node, stage, view, frames=frames) for stage in ("analyse", "colour", "output")}
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
    """Loads the track of the person that an FSGAN_Analyse chooses, in one view, without offsets.

    Raises:
        TrackError: There is no track file, or no such person in it.
    """
    path = paths.get_track_path(node, view)
    if node["person"].value() == "point":
        return tracks.load_face_track(
            path, point=[node["person_point"].getValueAt(nuke.frame(), index, view) for index in (0, 1)]
        )
    return tracks.load_face_track(path, int(node["person_index"].value()) if node["person"].value() == "index" else 0)


def fill_curves(node: Any, view: str) -> None:
    """Sets the node's curves of one view from its track file. If the clip has no face, the curves are cleared.

    Raises:
        TrackError: There is no track file, or it is damaged.
    """
    split = view != stereo.list_views()[0]
    try:
        curves: Optional[Mapping[str, Any]] = tracks.make_curves(load_node_track(node, view))
    except TrackError as error:
        if "has no person" not in str(error):
            raise
        curves = None
    # Nuke's signatures of these methods differ between kinds of knobs; a view is named only where there are several.
    in_view = {"view": view} if stereo.has_several_views() else {}
    with keep_undo():
        for name in ("centre", "face_size", "face_box", "yaw", "pitch", "roll", "confidence"):
            knob = node[name]
            if split:
                knob.splitView(view)
            knob.clearAnimated(**in_view)
            if curves is not None:
                for index, part in enumerate(curves[name]):
                    knob.setAnimated(index, **in_view)
                    curve = knob.animation(index, **in_view)
                    curve.addKey([nuke.AnimationKey(frame, value) for frame, value in part.items()])


def _is_source_only(node: Any) -> bool:
    """Whether every node that uses the node's picture uses it as a source or driver."""
    uses: set[str] = set()
    for render_node in graph.list_render_nodes():
        for name in NODES[graph.get_node_class(render_node)].inputs:
            analyse_node = graph.find_analyse_node(graph.find_connected(render_node, name))
            if analyse_node is not None and analyse_node[0].fullName() == node.fullName():
                uses.add(name)
    return bool(uses) and uses <= {"source", "driver"}


def list_nodes_below(node: Any) -> list[Any]:
    """Lists the FSGAN nodes that use an FSGAN_Analyse."""
    nodes_below = []
    for render_node in graph.list_render_nodes():
        analyse_nodes = (
            graph.find_analyse_node(graph.find_connected(render_node, name))
            for name in NODES[graph.get_node_class(render_node)].inputs
        )
        if any(
            analyse_node is not None and analyse_node[0].fullName() == node.fullName() for analyse_node in analyse_nodes
        ):
            nodes_below.append(render_node)
    return nodes_below
