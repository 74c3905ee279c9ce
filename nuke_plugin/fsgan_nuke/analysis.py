"""FSGAN_Analyse: its track file, and what the track says as curves on the node."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import nuke

from fsgan_core.contract.errors import InputError, TrackError
from fsgan_nuke import graph, paths, tracks
from fsgan_nuke.colour import project_colour
from fsgan_nuke.jobs import Branch, Job, clip_of, read_knobs


def analysis_of(node: Any) -> Job:
    """The analysis of the clip above the node. Raises InputError or ColourError."""
    colour = project_colour()
    branches: list[Branch] = []
    clip = clip_of(node, "target", colour, branches)
    if clip is None:
        raise InputError(f"{node.name()}: nothing is connected")
    settings = {"analyse": read_knobs(node, "analyse"), "colour": read_knobs(node, "colour")}
    if colour.config:
        settings["colour"]["config"] = colour.config
    return Job(str(node.fullName()), {"target": clip, "stages": settings}, "", {}, paths.track_path(node),
               tuple(branches), "source" if _feeds_source(node) else "target")


def track_of(node: Any) -> tracks.FaceTrack:
    """The track of the person that an FSGAN_Analyse chooses. Raises TrackError."""
    return tracks.load(paths.track_path(node), _index(node))


def fill_curves(node: Any, path: str) -> None:
    """Sets the node's curves from its track file; a clip without a face clears them. Raises TrackError."""
    try:
        found: Optional[Mapping[str, Any]] = tracks.curves_of(tracks.load(path, _index(node)))
    except TrackError as error:
        if "has no person" not in str(error):
            raise
        found = None
    for name in ("centre", "face_size", "yaw", "pitch", "roll", "confidence"):
        knob = node[name]
        knob.clearAnimated()
        if found is not None:
            for index, part in enumerate(found[name]):
                knob.setAnimated(index)
                curve = knob.animation(index)
                curve.addKey([nuke.AnimationKey(frame, value) for frame, value in part.items()])


def _index(node: Any) -> int:
    return int(node["person_index"].value()) if node["person"].value() == "index" else 0


def _feeds_source(node: Any) -> bool:
    """Whether all that hangs on the node's picture takes it as a source."""
    wanted: set[str] = set()
    for one in graph.every_one():
        for name in graph.INPUTS[graph.kind_of(one)]:
            above = graph.analyse_node(graph.connected(one, name))
            if above is not None and above.fullName() == node.fullName():
                wanted.add(name)
    return bool(wanted) and wanted <= {"source", "driver"}
