"""What a node asks of the worker: its knobs and inputs as a shot."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

import nuke
from fsgan_nuke import graph, paths
from fsgan_nuke.colour import Colour, project_colour, read_space
from fsgan_nuke.knobs import read_stage

from fsgan_core.contract.errors import InputError

STAGE = {"FSGAN_Reenact": "reenact", "FSGAN_Mask": "mask", "FSGAN_Inpaint": "inpaint", "FSGAN_Blend": "blend"}
SOURCE = {"FSGAN_Drive": "driver"}
# Which input of a stage holds the files of which stage before it.
UPSTREAM = {"reenacted": "reenact", "mattes": "mask", "completed": "inpaint"}


@dataclass(frozen=True)
class Branch:
    """An input that the host must write to files first, because the worker could not read it by itself.

    name: of the input. node: what is connected to it. whole: whether all of its frames are wanted, not only those to
    be rendered, since the analysis spans a clip.
    """

    name: str
    node: Any
    pattern: str
    whole: bool


@dataclass(frozen=True)
class Job:
    """One node's render. shot, stage, upstream: as in the protocol's Render. branches: to be written first."""

    node: str
    shot: Mapping[str, Any]
    stage: str
    upstream: Mapping[str, Any]
    output: str
    branches: tuple[Branch, ...] = field(default_factory=tuple)


def job_of(node: Any, frames: str = "") -> Job:
    """The job of one of our nodes that renders. frames: empty means those of its knob.

    Raises InputError (an input that is not connected, a script without a file) or ColourError.
    """
    kind = graph.kind_of(node)
    colour = project_colour()
    branches: list[Branch] = []
    target = _clip(node, "target", colour, branches)
    if target is None:
        raise InputError(f"{node.name()}: nothing is connected to 'target'")
    output = paths.result_pattern(node)
    shot: dict[str, Any] = {
        "version": 1,
        "job": "drive" if kind == "FSGAN_Drive" else "swap",
        "frames": frames or str(node["frames"].value()),
        "target": target,
        "output": {"path": output, "colorspace": colour.working},
        "stages": settings(node, colour),
    }
    source = SOURCE.get(kind, "source")
    if source in graph.INPUTS[kind]:
        clip = _clip(node, source, colour, branches)
        if clip is None and kind != "FSGAN_Inpaint":
            raise InputError(f"{node.name()}: nothing is connected to '{source}'")
        shot["source"] = [clip] if clip is not None else []
    if "holdout" in graph.INPUTS[kind]:
        holdout = _clip(node, "holdout", colour, branches)
        if holdout is not None:
            shot["holdout"] = {key: value for key, value in holdout.items() if key in ("path", "part")}
    upstream = {}
    for name in graph.INPUTS[kind]:
        if name in UPSTREAM:
            upstream[UPSTREAM[name]] = _stage_files(node, name, colour, branches)
    return Job(str(node.fullName()), shot, STAGE.get(kind, ""), upstream, output, tuple(branches))


def settings(node: Any, colour: Colour) -> dict[str, Any]:
    """The parameters of every stage, from this node and those of ours above it."""
    stages: dict[str, dict[str, Any]] = {}
    for one in graph.ours_above(node):
        if graph.kind_of(one) in STAGE and one.fullName() != node.fullName():
            stages[STAGE[graph.kind_of(one)]] = _read(one, STAGE[graph.kind_of(one)])
    kind = graph.kind_of(node)
    if kind in STAGE:
        stages[STAGE[kind]] = _read(node, STAGE[kind])
    else:
        stages["drive"] = _read(node, "drive")
        stages["mask"] = _read(node, "mask", "mask_")
    stages["weights"] = _read(node, "weights", "weights_")
    stages["output"] = _read(node, "output")
    stages["colour"] = {"config": colour.config} if colour.config else {}
    analysed = graph.analyse_node(graph.connected(node, "target"))
    if analysed is not None:
        stages["analyse"] = _read(analysed, "analyse")
        stages["colour"].update(_read(analysed, "colour"))
    return stages


def _read(node: Any, stage: str, prefix: str = "") -> dict[str, Any]:
    return read_stage(stage, lambda name: node[name].value(), lambda name: name in node.knobs(), prefix)


def _clip(node: Any, name: str, colour: Colour, branches: list[Branch]) -> Optional[dict[str, Any]]:
    """What is connected to an input, as a clip of the shot; None for nothing."""
    above = graph.connected(node, name)
    if above is None:
        return None
    clip = _file_of(above, colour)
    if clip is None:
        pattern = paths.input_pattern(node, name)
        branches.append(Branch(name, above, pattern, whole=name != "holdout"))
        clip = {"path": pattern, "colorspace": colour.working}
    analysed = graph.analyse_node(above)
    if analysed is not None:
        track = paths.track_path(analysed)
        if os.path.isfile(track):
            clip["track"] = track
        person = _person(analysed)
        if person:
            clip["person"] = person
    return clip


def _file_of(above: Any, colour: Colour) -> Optional[dict[str, Any]]:
    """The file behind an input where the worker would see what the host sees; None where it would not."""
    made = graph.maker(above)
    if made is None or made.Class() != "Read":
        return None
    space = read_space(made, colour)
    shifted = str(made["frame"].value() or "") or made["frame_mode"].value() != "expression"
    if not space or shifted or made["premultiplied"].value() or not nuke.filename(made):
        return None
    return {"path": str(nuke.filename(made)), "colorspace": space}


def _stage_files(node: Any, name: str, colour: Colour, branches: list[Branch]) -> dict[str, Any]:
    """The files of a stage before this one: its own where the node is connected to it, else written by the host."""
    above = graph.connected(node, name)
    if above is None:
        raise InputError(f"{node.name()}: nothing is connected to '{name}'")
    made = graph.maker(above)
    if STAGE.get(graph.kind_of(made)) == UPSTREAM[name]:
        return {"path": paths.result_pattern(made), "colorspace": colour.working}
    pattern = paths.input_pattern(node, name)
    branches.append(Branch(name, above, pattern, whole=False))
    return {"path": pattern, "colorspace": colour.working}


def _person(analysed: Any) -> str:
    """`Clip.person` from the knobs of an FSGAN_Analyse."""
    values = _read(analysed, "analyse")
    choice = values["person"]
    if choice == "index":
        return str(values["person_index"])
    if choice == "point" and "person_point" in values:
        x, y = values["person_point"]
        height = analysed.format().height()
        return f"{x - 0.5:g},{height - 0.5 - y:g}"  # the host counts rows from below
    if choice == "reference":
        return str(values["person_reference"])
    return "largest"
