"""What a node shows: the frames that exist, through the Read inside it."""

from __future__ import annotations

import os
from typing import Any, Sequence

from fsgan_nuke import graph, input_writes, paths, stereo
from fsgan_nuke.host import keep_undo


def show_result(node: Any) -> None:
    """Makes the node show the existing frames of any view."""
    output = paths.get_result_pattern(node)
    frames = sorted({frame for view in stereo.list_views() for frame in list_frames(stereo.fill_view(output, view))})
    if not frames:
        return
    first, last = frames[0], frames[-1]
    target = graph.find_connected(node, "target")
    if target is not None:  # so that `missing frames` says what to show in all frames of the target
        first, last = min(first, int(target.firstFrame())), max(last, int(target.lastFrame()))
    with keep_undo():
        for knob, value in (("result", output), ("first", first), ("last", last), ("ready", 1)):
            shown_value = node[knob].value()
            if (paths.to_hash_pattern(str(shown_value)) if knob == "result" else shown_value) != value:
                node[knob].setValue(value)
        _set_rendered_curve(node["rendered"], frames)
    read = graph.find_inner_node(node, "Result")
    if read is not None and "reload" in read.knobs():
        read["reload"].execute()


def _set_rendered_curve(knob: Any, frames: Sequence[int]) -> None:
    """Sets the hidden curve that says in which frames there is a file: 1 or 0.

    Each run has keys at both ends and 0 on both sides, so that the curve is right with any interpolation.
    """
    keys: dict[int, int] = {}
    for first, last in input_writes.group_runs(frames):
        keys.update({first - 1: 0, first: 1, last: 1, last + 1: 0})
    curve = " ".join(f"x{frame} {value}" for frame, value in sorted(keys.items()))
    knob.fromScript(f"{{{{curve {curve}}}}}")  # as in a script


def clear_result(node: Any) -> None:
    """Makes the node show its target again, as before its first render."""
    with keep_undo():
        node["result"].setValue("")
        node["ready"].setValue(0)


def list_frames(pattern: str) -> list[int]:
    """Lists the frame numbers of a pattern's files, ascending."""
    folder, name = os.path.split(pattern)
    prefix, _, suffix = name.partition("#")
    suffix = suffix.lstrip("#")
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    digits = [
        file_name[len(prefix) : len(file_name) - len(suffix)]
        for file_name in names
        if file_name.startswith(prefix) and file_name.endswith(suffix)
    ]
    return sorted(int(number) for number in digits if number.lstrip("-").isdigit())
