"""What a node asks of the worker: its knobs and inputs as a shot."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import graph, paths
from fsgan_nuke.colour import Colour, project_colour, read_space
from fsgan_nuke.knobs import read_stage

STAGE = {"FSGAN_Reenact": "reenact", "FSGAN_Mask": "mask", "FSGAN_Inpaint": "inpaint", "FSGAN_Blend": "blend"}
SOURCE = {"FSGAN_Drive": "driver"}
# Which input of a stage holds the files of which stage before it.
MOST_FRAMES = 1_000_000
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
    analysis: Optional[str] = None  # "target" or "source" where a clip is to be analysed instead
    report: str = ""  # a folder for a report on the render


def job_of(node: Any, frames: str = "") -> Job:
    """The job of one of our nodes that renders. frames: empty means those of its knob.

    Raises InputError (an input that is not connected, a script without a file) or ColourError.
    """
    kind = graph.kind_of(node)
    colour = project_colour()
    branches: list[Branch] = []
    target = clip_of(node, "target", colour, branches)
    if target is None:
        raise InputError(f"{node.name()}: nothing is connected to 'target'")
    output = paths.result_pattern(node)
    _refuse_double(node, output)
    shot: dict[str, Any] = {
        "version": 1,
        "job": "drive" if kind == "FSGAN_Drive" else "swap",
        "frames": frames or frames_text(node),
        "target": target,
        "output": {"path": output, "colorspace": colour.working},
        "stages": settings(node, colour),
    }
    source = SOURCE.get(kind, "source")
    if source in graph.INPUTS[kind]:
        clip = clip_of(node, source, colour, branches)
        if clip is None and kind != "FSGAN_Inpaint":
            raise InputError(f"{node.name()}: nothing is connected to '{source}'")
        shot["source"] = [clip] if clip is not None else []
    if "holdout" in graph.INPUTS[kind]:
        holdout = clip_of(node, "holdout", colour, branches)
        if holdout is not None:
            shot["holdout"] = {key: value for key, value in holdout.items() if key in ("path", "part")}
    upstream = {}
    for name in graph.INPUTS[kind]:
        if name in UPSTREAM:
            upstream[UPSTREAM[name]] = _stage_files(node, name, colour, branches)
    return Job(str(node.fullName()), shot, STAGE.get(kind, ""), upstream, output, tuple(branches))


def frames_text(node: Any) -> str:
    """Which frames a node renders: as its knob says (inside a swap, the swap's), else the target's."""
    swap = graph.swap_of(node)
    chosen = str((swap or node)["frames"].value()).strip()
    if chosen:
        return ",".join(chosen.replace(",", " ").split())
    above = graph.connected(node, "target")
    if above is None:
        return ""
    first, last = int(above.firstFrame()), int(above.lastFrame())
    return str(first) if first == last else f"{first}-{last}"


def frame_numbers(text: str) -> list[int]:
    """Frames of "1001-1048x2,1060", ascending. Raises InputError."""
    found: set[int] = set()
    for part in text.replace(",", " ").split():
        match = re.fullmatch(r"(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?", part)
        if match is None or match[3] == "0":
            raise InputError(f"'{text}' is no frame range; write it like 1001-1048x2,1060")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < MOST_FRAMES:
            raise InputError(f"'{part}' holds no frames, or too many; write it like 1001-1048x2,1060")
        found.update(range(first, last + 1, int(match[3] or 1)))
    return sorted(found)


def _refuse_double(node: Any, output: str) -> None:
    """Raises InputError where another node of the script writes the same files, as after a copy with `file` set."""
    if not paths.named(node, "file"):
        return
    for other in graph.every_one():
        if other.fullName() != node.fullName() and paths.named(other, "file") == output:
            raise InputError(f"{node.fullName()} and {other.fullName()} would both write {output}; give one of them "
                             "another path under Output > file")


def settings(node: Any, colour: Colour) -> dict[str, Any]:
    """The parameters of every stage, from this node and those of ours above it."""
    stages: dict[str, dict[str, Any]] = {}
    for one in graph.ours_above(node):
        if graph.kind_of(one) in STAGE and one.fullName() != node.fullName():
            stages[STAGE[graph.kind_of(one)]] = read_knobs(one, STAGE[graph.kind_of(one)])
    kind = graph.kind_of(node)
    if kind in STAGE:
        stages[STAGE[kind]] = read_knobs(node, STAGE[kind])
    else:
        stages["drive"] = read_knobs(node, "drive")
        stages["mask"] = read_knobs(node, "mask", "mask_")
    swap = graph.swap_of(node)
    stages["weights"] = read_knobs(node if swap is None else graph.renders(swap), "weights", "weights_")
    stages["output"] = read_knobs(node, "output")
    stages["colour"] = {"config": colour.config} if colour.config else {}
    analysed = graph.analyse_node(graph.connected(node, "target"))
    if analysed is not None:
        stages["analyse"] = read_knobs(analysed, "analyse")
        stages["colour"].update(read_knobs(analysed, "colour"))
    return stages


def read_knobs(node: Any, stage: str, prefix: str = "") -> dict[str, Any]:
    def value_of(name: str) -> Any:
        knob = node[name]
        return (knob.value(0), knob.value(1)) if knob.Class() == "XY_Knob" else knob.value()

    return read_stage(stage, value_of, lambda name: name in node.knobs(), prefix)


def clip_of(node: Any, name: str, colour: Colour, branches: list[Branch]) -> Optional[dict[str, Any]]:
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
    path = str(nuke.filename(made) or "")
    if not space or shifted or made["premultiplied"].value() or not path:
        return None
    if not os.path.isabs(path):
        path = os.path.join(paths.script_folder(), path)
    return {"path": path.replace("\\", "/"), "colorspace": space}


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
    values = read_knobs(analysed, "analyse")
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
