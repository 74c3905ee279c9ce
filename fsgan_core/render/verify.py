"""Checks finished frames: are they there, whole, marked as synthetic, up to date, and the target outside the face?

Every byte of every file is read. Nothing is rendered or changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsgan_core.contract import layers
from fsgan_core.contract.errors import FsganError, InputError, PlateError
from fsgan_core.contract.protocol import FRAME_DONE
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.exr_checksum import find_damage, find_obvious_damage
from fsgan_core.plates.image_file import OpenedImage
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.plates.sequence import format_output_path, open_clip, select_frames
from fsgan_core.render.changed_parts import describe_parts
from fsgan_core.render.compare_frame import find_changed_content, find_false_statement
from fsgan_core.render.context import NO_FACE
from fsgan_core.render.frame_status import FrameState, compute_frame_states
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.provenance import read_flags
from fsgan_core.runtime.events import Event, EventListener, ignore_event

__all__ = [
    "CHANGED",
    "DAMAGED",
    "MISSING",
    "SKIPPED",
    "STALE",
    "UNMARKED",
    "WHOLE",
    "VerifiedFrame",
    "verify_files",
    "verify_shot",
]

# States of a frame.
WHOLE = "whole"
SKIPPED = "skipped"
MISSING = "missing"
DAMAGED = "damaged"
UNMARKED = "unmarked"
STALE = "stale"
CHANGED = "changed"
_ADVICE: Mapping[str, str] = {
    MISSING: "render it",
    DAMAGED: "render it again, or copy it again",
    UNMARKED: "render it again with --force",
    STALE: "render it again",
    CHANGED: "render it again with --force",
}
_UNSYNTHETIC_STAGE = "mask"  # the only stage whose pictures hold no new pixels


@dataclass(frozen=True)
class VerifiedFrame:
    """What was found out about one frame.

    Attributes:
        frame: Frame number.
        path: Its file.
        state: "whole"; "skipped" (the target has no such frame, and the shot skips those); or "missing", "damaged",
            "unmarked" (it does not say that it is synthetic), "stale" (the shot asks for something else now) or
            "changed" (what it says of itself is not what the shot makes it say, or something outside the face is not
            the target's).
        message: What is wrong and what to do; empty if nothing is.
    """

    frame: int
    path: str
    state: str
    message: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether something is to be done about it."""
        return self.state not in (WHOLE, SKIPPED)


def verify_files(pattern: str, frames: str = "", on_event: EventListener = ignore_event) -> tuple[VerifiedFrame, ...]:
    """Checks files without a shot.

    Args:
        pattern: The files, such as "out/swap.####.exr".
        frames: Frames to check, such as "1001-1060"; empty is all from the first to the last file.
        on_event: Called with each frame.

    Raises:
        PlateError: There are no files.
        FrameRangeError: The frames are malformed.
        InputError: The files are not EXR.
    """
    clip = open_clip(Clip(pattern), missing="hold")
    if clip.kind != "exr":
        raise InputError(f"{pattern} is not an EXR; only EXR files carry a checksum")
    numbers = select_frames(frames, clip.frames, "hold")
    there = set(clip.frames)
    files = {
        number: clip.get_frame_path(number) if number in there else format_output_path(pattern, number)
        for number in numbers
    }
    return tuple(_iterate_files(files, on_event))


def verify_shot(
    shot: Shot, frames: str = "", *, device: str = "cpu", on_event: EventListener = ignore_event
) -> tuple[VerifiedFrame, ...]:
    """Checks the files of a shot, also whether they are what the shot asks for now.

    Args:
        shot: The shot.
        frames: Frames to check, such as "1001-1060"; empty is those of the shot.
        device: What the frames were rendered on: "cpu", "cuda:0", ...
        on_event: Called with each frame.

    Raises:
        FsganError: Something is wrong with the whole shot.
    """
    job = RenderJob(plan_shot_job(shot, frames=frames, device=device))
    files = {frame: format_output_path(job.plan.output, frame) for frame in job.plan.frames}
    states = {state.frame: state for state in compute_frame_states(job)}
    verified = []
    for verified_frame in _iterate_files(files, on_event):
        if verified_frame.state == WHOLE:
            state, message = _verify_content(job, states[verified_frame.frame], Path(verified_frame.path))
            verified_frame = replace(verified_frame, state=state, message=_add_advice(state, message))
        verified.append(verified_frame)
    for frame in job.plan.skipped_frames:
        verified.append(VerifiedFrame(frame, str(format_output_path(job.plan.output, frame)), SKIPPED))
    return tuple(sorted(verified, key=lambda one: one.frame))


def _verify_content(job: RenderJob, state: FrameState, path: Path) -> tuple[str, str]:
    """Finds the state of a whole file among the frames of a shot, and what is wrong."""
    if state.state != FRAME_DONE:
        return STALE, f"changed since: {describe_parts(state.changed)}"
    try:
        statement = find_false_statement(job, state.frame, path)
        if statement:
            return (UNMARKED if statement.startswith(layers.META_SYNTHETIC) else CHANGED), statement
        changed = find_changed_content(job, state.frame, path)
    except PlateError as error:
        return CHANGED, f"it cannot be compared with the target: {error}"
    return (CHANGED, changed) if changed else (WHOLE, "")


def _add_advice(state: str, message: str) -> str:
    """Adds what to do about a state to what is wrong."""
    return f"{message}; {_ADVICE[state]}" if message else ""


def _iterate_files(files: Mapping[int, Path], on_event: EventListener) -> Iterable[VerifiedFrame]:
    for done, (frame, path) in enumerate(files.items(), start=1):
        state, message = _verify_file(path)
        on_event(Event("verify", path.name, done, len(files), frame, message=message))
        yield VerifiedFrame(frame, str(path), state, _add_advice(state, message))


def _verify_file(path: Path) -> tuple[str, str]:
    """Finds the state of a file by itself, and what is wrong."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return MISSING, "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
    if stat.S_ISLNK(mode):
        return DAMAGED, f"it is a link to {os.readlink(path)}, which may change or get lost; put the file itself here"  # noqa: PTH115
    if not stat.S_ISREG(mode):
        return DAMAGED, f"it is {'a folder, which must be removed first' if stat.S_ISDIR(mode) else 'not a plain file'}"
    if not path.stat().st_size:
        return DAMAGED, "it is empty"
    try:
        metadata = read_frame_metadata(path)
        damage = find_damage(path) or find_obvious_damage(path)
        if not damage:
            _decode_pixels(path)
    except FsganError as error:
        return DAMAGED, str(error)
    if damage:
        return DAMAGED, damage
    unmarked = _find_missing_mark(metadata)
    return (UNMARKED, unmarked) if unmarked else (WHOLE, "")


def _decode_pixels(path: Path) -> None:
    """Reads the pixels of all flat parts. Raises PlateError if that fails, although the checksum is right."""
    with OpenedImage(path) as file:
        for index, spec in enumerate(file.specs):
            if not spec.deep:
                file.seek_part(index)
                file.read(0, spec.nchannels, "half" if str(spec.format) == "half" else "float")


def _find_missing_mark(metadata: Mapping[str, Any]) -> str:
    """Finds what a rendered frame should say of itself, and does not; empty if it says all."""
    if not metadata.get(layers.META_KEY):
        return f"it has no {layers.META_KEY}, so it does not say how it was rendered"
    mark = metadata.get(layers.META_SYNTHETIC)
    engines = [entry.partition("=")[0].strip() for entry in str(metadata.get(layers.META_ENGINE, "")).split(",")]
    stages = {stage for stage in engines if stage}
    if mark == 1 or stages == {_UNSYNTHETIC_STAGE}:
        return ""
    if not stages and NO_FACE in read_flags(metadata) and mark in (0, None):
        return ""  # nothing was changed
    return f"{layers.META_SYNTHETIC} is {'absent' if mark is None else repr(mark)}, although the frame was rendered"
