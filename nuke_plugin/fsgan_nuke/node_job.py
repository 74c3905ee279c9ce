"""Makes the worker's job from a node: its knobs and inputs as a shot."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.stage_graph import INPUT_STAGES, NODE_STAGES, NODES
from fsgan_nuke import graph, offsets, paths, presets_menu, stereo
from fsgan_nuke.colour import ProjectColour, read_project_colour, read_space
from fsgan_nuke.host import use_full_size
from fsgan_nuke.knob_values import read_knobs

SOURCE_INPUT = {"FSGAN_Drive": "driver"}
MAX_FRAMES = 1_000_000
PLAIN_ALPHA = "rgba.alpha"


@dataclass(frozen=True)
class InputBranch:
    """An input that Nuke must write to files first, because the worker cannot read it directly.

    Attributes:
        name: Name of the input.
        node: The node that is connected to it.
        pattern: Path of the files, with %V if the script has several views.
        needs_whole_clip: Whether all frames are needed, not only those to render, because the clip is analysed.
        view: The view to write.
        layer: The layer to write; "" is what the Write inside the node says.
    """

    name: str
    node: Any
    pattern: str
    needs_whole_clip: bool
    view: str
    layer: str = ""

    @property
    def path(self) -> str:
        """The path pattern of this view's files."""
        return stereo.fill_view(self.pattern, self.view)


@dataclass(frozen=True)
class NodeJob:
    """The render of one view of one node.

    Attributes:
        node: Full name of the node.
        view: The view.
        shot: As in `protocol.RenderRequest`.
        stage: As in `protocol.RenderRequest`.
        upstream: As in `protocol.RenderRequest`.
        output: Path pattern of the frames, or the track file of an analysis.
        branches: Inputs to write first.
        analysis_side: "target" or "source" if the clip is analysed instead of rendered.
        report: Folder for a report on the render, "" for none.
    """

    node: str
    view: str
    shot: Mapping[str, Any]
    stage: str
    upstream: Mapping[str, Any]
    output: str
    branches: tuple[InputBranch, ...] = field(default_factory=tuple)
    analysis_side: Optional[str] = None
    report: str = ""

    @property
    def title(self) -> str:
        """The node's name for messages, with its view in a stereo script."""
        return self.node if self.view == "main" else f"{self.node} ({self.view})"


def make_node_job(node: Any, frames: str = "", view: str = "") -> NodeJob:
    """Makes the job of a node that renders.

    Args:
        node: The node.
        frames: Frame range; "" for that of its knob.
        view: The view; "" for the first that it renders.

    Raises:
        InputError: An input is not connected, the script has no file, or a knob has a value that cannot be used.
        ColourError: The script's colour management cannot be handed to the worker.
    """
    kind = graph.get_node_class(node)
    view = view or stereo.list_node_views(node)[0]
    if node.clones():
        raise InputError(f"{node.name()} is a clone; clones would overwrite each other's files, so declone it")
    colour = read_project_colour()
    branches: list[InputBranch] = []
    target = make_clip(node, "target", view, colour, branches)
    if target is None:
        raise InputError(f"{node.name()}: nothing is connected to 'target'")
    output = paths.get_result_pattern(node, view)
    _check_own_output(node, output)
    frames = frames or get_frames_text(node)
    shot: dict[str, Any] = {
        "version": 1,
        "job": "drive" if kind == "FSGAN_Drive" else "swap",
        "frames": frames,
        "target": target,
        "output": {"path": output, "colorspace": colour.working_space},
        "stages": collect_settings(node, colour, view, frames),
    }
    source = SOURCE_INPUT.get(kind, "source")
    if source in NODES[kind].inputs:
        clip = make_clip(node, source, view, colour, branches)
        if clip is None and kind != "FSGAN_Inpaint":
            raise InputError(f"{node.name()}: nothing is connected to '{source}'")
        shot["source"] = [clip] if clip is not None else []
    if "holdout" in NODES[kind].inputs:
        holdout_channel = _read_holdout_channel(node)
        holdout = make_clip(node, "holdout", view, colour, branches)
        if holdout is not None:
            shot["holdout"] = {key: value for key, value in holdout.items() if key in ("path", "part", "view")}
            if holdout_channel != PLAIN_ALPHA:
                shot["holdout"]["part"] = _get_file_channel(holdout_channel)
    upstream = {}
    for name in NODES[kind].inputs:
        if name in INPUT_STAGES:
            upstream[INPUT_STAGES[name]] = _make_stage_clip(node, name, view, colour, branches)
    return NodeJob(str(node.fullName()), view, shot, NODE_STAGES.get(kind, ""), upstream, output, tuple(branches))


def get_frames_text(node: Any) -> str:
    """Returns the frame range of a node: that of its knob (inside a swap, the swap's knob), else the target's."""
    swap = graph.find_swap(node)
    knob_text = str((swap or node)["frames"].value()).strip()
    if knob_text:
        return ",".join(knob_text.replace(",", " ").split())
    return get_input_range(node)


def get_input_range(node: Any) -> str:
    """Returns the frame range of a node's target; "" if nothing is connected."""
    target_node = graph.find_connected(node, "target")
    if target_node is None:
        return ""
    first, last = int(target_node.firstFrame()), int(target_node.lastFrame())
    return str(first) if first == last else f"{first}-{last}"


def parse_frame_numbers(text: str) -> list[int]:
    """Lists the frames of a range such as "1001-1048x2,1060", ascending. Raises InputError for other texts."""
    numbers: set[int] = set()
    for part in text.replace(",", " ").split():
        match = re.fullmatch(r"(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?", part)
        if match is None or match[3] == "0":
            raise InputError(f"'{text}' is not a frame range; write it like 1001-1048x2,1060")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < MAX_FRAMES:
            raise InputError(f"'{part}' has no frames, or too many; write it like 1001-1048x2,1060")
        numbers.update(range(first, last + 1, int(match[3] or 1)))
    return sorted(numbers)


def list_sampled_frames(node: Any, frames: str = "", view: str = "") -> list[int]:
    """Lists the frames in which animated knobs are read: the target's range, and what is rendered.

    It is the whole range even if one frame is rendered: its matte depends on its neighbours, and a drive is planned
    over the whole clip.
    """
    numbers = set(parse_frame_numbers(frames))
    target_node = graph.find_connected(node, "target", view)
    if target_node is not None:
        numbers.update(range(int(target_node.firstFrame()), int(target_node.lastFrame()) + 1))
    return sorted(numbers)


def _check_own_output(node: Any, output: str) -> None:
    """Raises InputError if another node writes the same files, for example a copy with `file` set."""
    if not paths.read_named_path(node, paths.OUTPUT_KNOB):
        return
    for other_node in graph.list_render_nodes():
        if other_node.fullName() != node.fullName() and output in {
            stereo.fill_view(paths.read_named_path(other_node, paths.OUTPUT_KNOB), view) for view in stereo.list_views()
        }:
            raise InputError(
                f"{node.fullName()} and {other_node.fullName()} would both write the same files; give one of "
                f"them another path under Output > file ({output})"
            )


def collect_settings(node: Any, colour: ProjectColour, view: str = "", frames: str = "") -> dict[str, Any]:
    """Collects the parameters of every stage from a node and the FSGAN nodes above it.

    Args:
        node: The node that renders.
        colour: The script's colour management.
        view: As in `make_node_job`.
        frames: The frames to render.

    Raises:
        InputError: A knob is animated whose parameter holds for the whole clip.
    """
    view = view or stereo.list_node_views(node)[0]
    sampled_frames = list_sampled_frames(node, frames, view)

    def read_stage(owner: Any, stage: str, prefix: str = "", owner_view: str = "") -> dict[str, Any]:
        return read_knobs(owner, stage, owner_view or view, prefix, sampled_frames)

    stages: dict[str, Any] = {}
    for upstream_node in graph.iterate_render_nodes(node):
        if graph.get_node_class(upstream_node) in NODE_STAGES and upstream_node.fullName() != node.fullName():
            stage = NODE_STAGES[graph.get_node_class(upstream_node)]
            stages[stage] = read_stage(upstream_node, stage)
    kind = graph.get_node_class(node)
    if kind in NODE_STAGES:
        stages[NODE_STAGES[kind]] = read_stage(node, NODE_STAGES[kind])
    else:
        stages["drive"] = read_stage(node, "drive")
        stages["mask"] = read_stage(node, "mask", "mask_")
    swap = graph.find_swap(node)
    preset = presets_menu.get_preset(node if swap is None else swap)
    if preset:
        stages["preset"] = preset
    whole_job = node if swap is None else graph.get_render_node(swap)  # what holds for all stages of a Swap
    stages["weights"] = read_stage(whole_job, "weights", "weights_")
    stages["consent"] = read_stage(whole_job, "consent", "consent_")
    stages["output"] = read_stage(node, "output")
    if swap is not None:  # all its stages read the same frames
        shared = read_stage(graph.get_render_node(swap), "output")
        stages["output"].update({name: value for name, value in shared.items() if name == "interlaced"})
    stages["colour"] = {"config": colour.config} if colour.config else {}
    analyse_node = graph.find_analyse_node(graph.find_connected(node, "target", view), view)
    if analyse_node is not None:
        analyser, analysed_view = analyse_node
        stages["analyse"] = read_stage(analyser, "analyse", owner_view=analysed_view)
        stages["colour"].update(read_stage(analyser, "colour", owner_view=analysed_view))
    return stages


def make_clip(
    node: Any, name: str, view: str, colour: ProjectColour, branches: list[InputBranch]
) -> Optional[dict[str, Any]]:
    """Makes the shot's clip for an input; None if nothing is connected.

    Args:
        node: The node.
        name: Name of the input.
        view: The view.
        colour: The script's colour management.
        branches: Gets the input added if Nuke must write it first.
    """
    input_node = graph.find_connected(node, name, view)
    if input_node is None:
        return None
    # Only Nuke knows which channel of a file it calls how: another one than alpha is written to a file by Nuke.
    channel = _read_holdout_channel(node) if name == "holdout" else PLAIN_ALPHA
    clip = _make_file_clip(input_node, view, colour) if channel == PLAIN_ALPHA else None
    if clip is None:
        clip = {"colorspace": colour.working_space}
    analyse_node = graph.find_analyse_node(input_node, view)
    if analyse_node is not None:
        track = offsets.write_offset_track(analyse_node[0], paths.get_track_path(*analyse_node), analyse_node[1])
        if track:
            clip["track"] = track
        person = read_person(*analyse_node)
        if person:
            clip["person"] = person
    if "path" not in clip:
        # A target with a track is not analysed again; a source or driver is used whole in any case.
        is_analysed = name == "target" and "track" in clip
        needs_whole_clip = name != "holdout" and not is_analysed
        layer = channel.partition(".")[0] if name == "holdout" else ""
        branch = InputBranch(name, input_node, paths.get_input_pattern(node, name), needs_whole_clip, view, layer)
        branches.append(branch)
        clip["path"] = branch.path
    return clip


def _read_holdout_channel(node: Any) -> str:
    """Reads which channel of the hold-out counts; inside a swap, the swap's knob says it."""
    owner = graph.find_swap(node) or node
    return str(owner["holdout_channel"].value()) if "holdout_channel" in owner.knobs() else PLAIN_ALPHA


def _get_file_channel(channel: str) -> str:
    """Returns what Nuke calls a channel in an EXR file.

    >>> _get_file_channel("rgba.red"), _get_file_channel("depth.Z")
    ('R', 'depth.Z')
    """
    layer, _, name = channel.partition(".")
    return name[:1].upper() if layer == "rgba" else channel


def _make_file_clip(input_node: Any, view: str, colour: ProjectColour) -> Optional[dict[str, Any]]:
    """Makes the clip of the file behind an input; None if the worker would see another picture than Nuke."""
    maker = graph.find_maker(input_node, view)
    if maker is None or maker[0].Class() != "Read":
        return None
    read, view = maker
    space = read_space(read, colour)
    has_frame_shift = str(read["frame"].value() or "") or read["frame_mode"].value() != "expression"
    path = stereo.fill_view(str(nuke.filename(read) or ""), view)
    if not space or has_frame_shift or read["premultiplied"].value() or not path:
        return None
    if not os.path.isabs(path):
        path = os.path.join(paths.get_script_folder(), path)
    clip = {"path": path.replace("\\", "/"), "colorspace": space}
    return {**clip, "view": view} if stereo.has_several_views() else clip


def _make_stage_clip(
    node: Any, name: str, view: str, colour: ProjectColour, branches: list[InputBranch]
) -> dict[str, Any]:
    """Makes the clip of an earlier stage: its own files if its node is connected, else files that Nuke writes."""
    input_node = graph.find_connected(node, name, view)
    maker = graph.find_maker(input_node, view)
    if maker is None:
        raise InputError(f"{node.name()}: nothing is connected to '{name}'")
    if NODE_STAGES.get(graph.get_node_class(maker[0])) == INPUT_STAGES[name]:
        return {"path": paths.get_result_pattern(*maker), "colorspace": colour.working_space}
    branch = InputBranch(name, input_node, paths.get_input_pattern(node, name), False, view)
    branches.append(branch)
    return {"path": branch.path, "colorspace": colour.working_space}


def read_person(analysed: Any, view: str) -> str:
    """Reads `Clip.person` from the knobs of an FSGAN_Analyse."""
    values = read_knobs(analysed, "analyse", view)
    choice = values["person"]
    if choice == "index":
        return str(values["person_index"])
    if choice == "point" and "person_point" in values:
        x, y = values["person_point"]
        with use_full_size():
            height = analysed.format().height()
        return f"{x - 0.5:g},{height - 0.5 - y:g}"  # Nuke counts rows from the bottom
    if choice == "reference":
        return str(values["person_reference"])
    return "largest"
