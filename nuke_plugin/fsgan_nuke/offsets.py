"""Keyable offsets of an FSGAN_Analyse: its knobs change the faces of its track, frame by frame.

The offsets are written to a second track file; the analysed one does not change. So the worker and a farm read a single
file, and a node below becomes stale only in the frames that an offset changes.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Any, Mapping, Sequence

from fsgan_core.contract.errors import TrackError
from fsgan_core.contract.landmarks import FACE_OFFSETS, FaceOffset
from fsgan_nuke import paths, tracks

OFFSET_PREFIX = "offset_"
NEUTRAL_TOLERANCE = 1e-4  # an offset closer to its neutral value has no effect
OFFSET_TRACK_VERSION = 2  # version of a track file with offsets

_written_tracks: dict[str, tuple[str, int, int, list[str]]] = {}  # file -> track and knobs that it was made from


def write_offset_track(node: Any, path: str, view: str) -> str:
    """Writes the track file with the node's offsets, if it has any.

    Args:
        node: The FSGAN_Analyse.
        path: The analysed track file.
        view: The view.

    Returns:
        The track file that nodes below must use: the one with offsets, else `path`; "" if there is no track yet.

    Raises:
        TrackError: The track file is damaged, or there is none although the node has offsets.
        InputError: The script was never saved.
        OSError: The file cannot be written.
    """
    used_offsets = [
        offset for offset in FACE_OFFSETS.values() if _is_used(node[OFFSET_PREFIX + offset.name], offset, view)
    ]
    try:
        state = os.stat(path)
    except OSError as error:
        if used_offsets:
            labels = ", ".join(f"'{offset.label}'" for offset in used_offsets)
            raise TrackError(
                f"{node.name()} has offsets ({labels}), but there is no track to add them to: press Analyse on it first"
            ) from error
        return ""
    if not used_offsets:
        return path
    knobs = [node[OFFSET_PREFIX + offset.name] for offset in used_offsets]
    offset_path = paths.get_offset_path(node, view)
    written_state = (path, state.st_mtime_ns, state.st_size, [str(knob.toScript()) for knob in knobs])
    if (
        _written_tracks.get(offset_path) == written_state
        and os.path.isfile(offset_path)
        and not any(knob.hasExpression() for knob in knobs)
    ):
        return offset_path  # a farm calls this for every frame
    data = tracks.read_track_data(path)
    changed = False
    for person in data["people"]:
        for frame in person["faces"]:
            added = {
                offset.name: value
                for offset in used_offsets
                if (value := _read_offset(node[OFFSET_PREFIX + offset.name], offset, int(frame), view)) is not None
            }
            if added:
                override = person.setdefault("overrides", {}).setdefault(frame, {})
                override["offset"] = combine_offsets(override.get("offset", {}), added)
                changed = True
    if not changed:
        return path
    data["version"] = OFFSET_TRACK_VERSION
    _write_if_changed(offset_path, json.dumps(data))
    _written_tracks[offset_path] = written_state
    return offset_path


def combine_offsets(offsets: Mapping[str, Any], new_offsets: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Combines the offsets of a track file with those of the knobs: scales are multiplied, others added.

    Args:
        offsets: Offsets in the file's form, name -> number or list of numbers.
        new_offsets: Offsets of the knobs, name -> numbers.

    Returns:
        Offsets in the file's form.
    """
    combined = dict(offsets)
    for name, values in new_offsets.items():
        if name in offsets:
            old_values = offsets[name] if isinstance(offsets[name], list) else [offsets[name]]
            is_scale = FACE_OFFSETS[name].kind == "scale"
            values = [
                old_value * values[index] if is_scale else old_value + values[index]
                for index, old_value in enumerate(old_values)
            ]
        combined[name] = [round(value, 4) for value in values] if len(values) > 1 else round(values[0], 4)
    return combined


def _is_used(knob: Any, offset: FaceOffset, view: str) -> bool:
    """Whether a knob may have an effect in any frame of a view."""
    if any(knob.isAnimated(index, view) for index in range(len(offset.neutral_value))) or knob.hasExpression():
        return True
    return _read_offset(knob, offset, 0, view) is not None


def _read_offset(knob: Any, offset: FaceOffset, frame: int, view: str) -> Any:
    """Reads an offset in one frame, in a track file's coordinates (rows from the top); None if it has no effect."""
    values = [float(knob.getValueAt(frame, index, view)) for index in range(len(offset.neutral_value))]
    if all(abs(value - offset.neutral_value[index]) <= NEUTRAL_TOLERANCE for index, value in enumerate(values)):
        return None
    return [values[0], -values[1]] if offset.kind == "move" else values


def _write_if_changed(path: str, text: str) -> None:
    """Writes a file, whole or not at all, if its text differs: its date is part of what makes frames stale."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    except (OSError, ValueError):
        pass
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(beside, path)
