"""Functions that Nuke calls around a render. Without a GUI, on a farm, they render the frames that a Write needs."""

from __future__ import annotations

import os
import re
from typing import Any, Sequence

import nuke

from fsgan_core.contract.errors import FsganError, InputError
from fsgan_nuke import drawing, graph, input_writes, node_render, paths, stereo
from fsgan_nuke.farm import results_are_rendered
from fsgan_nuke.frame_choice import format_frames
from fsgan_nuke.host import print_line
from fsgan_nuke.node_job import make_node_job, parse_frame_numbers

_unwritten_inputs: dict[str, str] = {}  # node -> why its inputs could not be written when the script was loaded
_rendered_frames: set[tuple[str, str, int]] = set()  # node, view, frame: rendered or checked by this process


def on_script_loaded() -> None:
    """Without a GUI, writes the inputs that only Nuke can render: it cannot do that during another render.

    Errors are kept and raised by the Write that needs the input.
    """
    if nuke.GUI or results_are_rendered():
        return
    _unwritten_inputs.clear()
    _rendered_frames.clear()
    writes = [write for write in nuke.allNodes("Write", nuke.root()) if not write["disable"].value()]
    needed_nodes = {
        (fsgan_node.fullName(), view): fsgan_node
        for write in writes
        for fsgan_node in graph.iterate_render_nodes(write)
        for view in stereo.list_written_views(write)
    }
    for (name, view), node in needed_nodes.items():
        try:
            input_writes.write_inputs(node, make_node_job(node, view=view))
        except FsganError as error:
            _unwritten_inputs[str(name)] = str(error)


def on_before_render() -> None:
    """Without a GUI, renders what a Write needs, and makes the nodes above it show those files.

    This happens before the first frame, because Nuke may read the files' headers before it calls `on_before_frame`.
    With a GUI, drawings over the picture are turned off while the Write renders.
    """
    if nuke.GUI:
        drawing.hide_drawings()
        return
    root, write = nuke.root(), nuke.thisNode()
    nodes = list(graph.iterate_render_nodes(write))
    for node in nodes:
        try:
            pattern = paths.get_result_pattern(node)
        except FsganError as error:
            raise RuntimeError(f"{node.fullName()}: {error}") from error
        for knob, value in (
            ("result", pattern),
            ("first", min(int(node["first"].value()), int(root.firstFrame()))),
            ("last", max(int(node["last"].value()), int(root.lastFrame()))),
            ("ready", 1),
            ("missing_results", "error"),
        ):
            node[knob].setValue(value)
    frames = list_write_frames(write, list(nuke.rawArgs))
    for view in stereo.list_written_views(write):
        for node in nodes:
            try:
                render_missing_frames(node, frames, view)
            except RuntimeError as error:
                if "--cont" not in nuke.rawArgs:
                    raise
                print_line(str(error))  # the frames without a file fail one by one


def on_after_render() -> None:
    """Turns drawings on again that were off during the render."""
    drawing.show_hidden_drawings()


def on_before_frame() -> None:
    """Without a GUI, renders the FSGAN frames that are still missing for a frame of a Write.

    `on_before_render` has done it, unless the frames come from a script (`nuke -t`) and not from the command line. A
    failure stops Nuke's render with its message. With a GUI nothing is rendered without the artist asking.
    """
    if nuke.GUI:
        return
    for view in stereo.list_written_views(nuke.thisNode()):
        for node in graph.iterate_render_nodes(nuke.thisNode()):
            render_missing_frames(node, [int(nuke.frame())], view)


def list_write_frames(write: Any, arguments: Sequence[str]) -> list[int]:
    """Lists the frames that a Write is about to render.

    Args:
        write: The Write.
        arguments: Nuke's command line. If it gives no frames, they are those of the Write or the script under -x; in
            other modes only the current frame is certain.
    """
    ranges = [
        argument[2:] or "".join(arguments[place + 1 : place + 2])
        for place, argument in enumerate(arguments)
        if argument.startswith("-F")
    ]
    try:
        named = [frame for text in ranges for frame in parse_frame_numbers(text)]
    except InputError:
        named = []
    if named:
        return sorted(set(named))
    if not any(re.fullmatch(r"-[a-zA-Z]{0,2}[xX][a-zA-Z]{0,2}", argument) for argument in arguments):
        return [int(nuke.frame())]
    first, last = int(nuke.root().firstFrame()), int(nuke.root().lastFrame())
    if write["use_limit"].value():
        first, last = max(first, int(write["first"].value())), min(last, int(write["last"].value()))
    return list(range(first, last + 1))


def render_missing_frames(node: Any, frames: Sequence[int], view: str) -> None:
    """Renders those frames of one view of a node that are not up to date. Raises RuntimeError, which stops Nuke."""
    name = str(node.fullName())
    asked = [frame for frame in frames if (name, view, frame) not in _rendered_frames]
    pattern = paths.get_result_pattern(node, view)
    if results_are_rendered():
        asked = [frame for frame in asked if not os.path.isfile(input_writes.fill_frame(pattern, frame))]
    if not asked:
        return
    text = format_frames(asked)
    try:
        if name in _unwritten_inputs:
            raise FsganError(_unwritten_inputs[name])
        job = make_node_job(node, text, view)
        missing = [branch for branch in job.branches if input_writes.find_frames_to_write(branch, asked)]
        if missing:
            raise FsganError(
                f"the input '{missing[0].name}' is not written for these frames; press Render on the node in a "
                "session with a GUI, or call fsgan_nuke.farm_callbacks.on_script_loaded() before the render"
            )
        node_render.start_render(node, text, include_upstream=False, views=(view,))
    except FsganError as error:
        raise RuntimeError(f"{name}, frame {text}: {error}") from error
    _rendered_frames.update((name, view, frame) for frame in asked)
