"""Writes inputs that only Nuke can render to files, by the Write nodes inside our gizmos; only changed frames."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from typing import Any, Iterable, Mapping, Sequence

import nuke

from fsgan_core.contract.errors import CancelledError, OutputError
from fsgan_core.contract.plain_data import parse_json
from fsgan_nuke import graph, stereo
from fsgan_nuke.host import keep_undo, use_full_size
from fsgan_nuke.node_job import InputBranch, NodeJob, parse_frame_numbers

# Knobs that do not change a node's picture. A rendered file counts by its size and time (read_file_states).
APPEARANCE_KNOBS = (
    "name",
    "label",
    "note_font",
    "note_font_size",
    "note_font_color",
    "tile_color",
    "gl_color",
    "selected",
    "hide_input",
    "icon",
    "indicators",
    "autolabel",
    "help",
    "xpos",
    "ypos",
    "bookmark",
    "postage_stamp",
    "status_line",
    "status",
    "files_size",
    "render_frames",
    "render_alone",
    "rendered",
)


BATCH_FRAMES = 5  # between two moments in which the artist can cancel, and the viewer is served


def write_inputs(node: Any, job: NodeJob) -> None:
    """Writes the inputs that only Nuke can render. On the main thread, and not during a render of Nuke itself."""
    for branch in job.branches:
        write_branch(node, branch, list_branch_frames(job, branch))


def list_branch_frames(job: NodeJob, branch: InputBranch) -> list[int]:
    """Lists the frames of an input that a job needs: those that it renders, or the whole clip. On the main thread."""
    if branch.needs_whole_clip:
        return list(range(int(branch.node.firstFrame()), int(branch.node.lastFrame()) + 1))
    return parse_frame_numbers(str(job.shot.get("frames", "")))


def write_branch(node: Any, branch: InputBranch, frames: Sequence[int]) -> list[int]:
    """Writes those of `frames` that are missing or have changed. On the main thread.

    Returns:
        The numbers of the written frames.

    Raises:
        CancelledError: The artist cancelled Nuke's render.
        OutputError: Nuke's render failed; the message quotes Nuke.
    """
    digests = find_frames_to_write(branch, frames)
    for first, last in group_batches(digests):
        write_frames(node, branch, {frame: digests[frame] for frame in range(first, last + 1)})
    return list(digests)


def write_frames(node: Any, branch: InputBranch, digests: Mapping[int, str]) -> None:
    """Writes consecutive frames of a branch and records their digests. On the main thread.

    Raises:
        CancelledError: The artist cancelled Nuke's render.
        OutputError: Nuke's render failed; the message quotes Nuke.
    """
    write = graph.find_inner_node(node, f"Write_{branch.name}")
    try:
        with keep_undo(), use_full_size():
            write["file"].setValue(branch.pattern)
            if branch.layer:
                write["channels"].setValue(branch.layer)
            write["disable"].setValue(False)
            try:
                nuke.execute(write, min(digests), max(digests), 1, [branch.view])
            finally:
                write["disable"].setValue(True)
    except RuntimeError as error:
        if str(error).startswith("Cancelled"):
            raise CancelledError("cancelled") from error
        raise OutputError(f"{node.name()}: the input '{branch.name}' could not be written: {error}") from error
    record = _read_record(_get_record_path(branch))
    record.update({str(frame): digest for frame, digest in digests.items()})
    _write_record(_get_record_path(branch), record)


def find_frames_to_write(branch: InputBranch, frames: Sequence[int]) -> dict[int, str]:
    """Finds those of `frames` that are missing or have changed; returns frame -> digest of what it depends on."""
    record = _read_record(_get_record_path(branch))
    text = describe_tree(branch.node) + (f"\nlayer {branch.layer}" if branch.layer else "")
    digests = {frame: _compute_digest(text, read_file_states(branch.node, frame, branch.view)) for frame in frames}
    return {
        frame: digest
        for frame, digest in digests.items()
        if record.get(str(frame)) != digest or not os.path.isfile(fill_frame(branch.path, frame))
    }


def describe_tree(node: Any) -> str:
    """Describes what decides a node's picture, as text: classes and knobs of the node and all nodes above it."""
    parts = []
    for upstream_node in graph.list_upstream_nodes(node):
        if graph.get_node_class(upstream_node) == "FSGAN_Analyse":
            continue  # it passes its picture on
        knobs = sorted(
            (knob, upstream_node[knob].toScript()) for knob in upstream_node.knobs() if knob not in APPEARANCE_KNOBS
        )
        parts.append(f"{upstream_node.Class()} {knobs}")
    return "\n".join(parts)


def read_file_states(node: Any, frame: int, view: str) -> list[Any]:
    """Reads size and time of every file that is read above a node for one frame of a view."""
    states = []
    for upstream_node in graph.list_upstream_nodes(node):
        if upstream_node.Class() == "Read" or graph.is_fsgan_node(upstream_node):
            path = fill_frame(
                stereo.fill_view(
                    str(
                        upstream_node["result"].value()
                        if graph.is_fsgan_node(upstream_node) and "result" in upstream_node.knobs()
                        else nuke.filename(upstream_node) or ""
                    ),
                    view,
                ),
                frame,
            )
            try:
                state = os.stat(path)
                states.append([path, state.st_size, state.st_mtime_ns])
            except OSError:
                states.append([path])
    return states


def fill_frame(pattern: str, frame: int) -> str:
    """Fills a frame number into a path, as in name.####.exr or name.%04d.exr; other paths are returned unchanged."""
    hashes = pattern.count("#")
    if hashes:
        return pattern.replace("#" * hashes, f"{frame:0{hashes}d}")
    return pattern % frame if "%" in pattern else pattern


def group_runs(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Groups frames into ranges (first, last) without gaps."""
    runs: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if runs and frame == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return runs


def group_batches(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Groups frames into ranges (first, last) without gaps, of at most BATCH_FRAMES frames."""
    return [
        (start, min(start + BATCH_FRAMES - 1, last))
        for first, last in group_runs(frames)
        for start in range(first, last + 1, BATCH_FRAMES)
    ]


def _compute_digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _get_record_path(branch: InputBranch) -> str:
    """Returns the file that records which frames of a branch were written."""
    return f"{os.path.dirname(branch.path)}/written.{branch.view}.json"


def _read_record(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as file:
            data = parse_json(file.read())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_record(path: str, record: dict[str, str]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(beside, path)
