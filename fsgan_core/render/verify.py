"""Checks finished frames: are they there, whole, marked as synthetic, up to date, and the target outside the face?

Every byte of every file is read. Nothing is rendered or changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.contract import layers
from fsgan_core.contract.errors import FsganError, InputError
from fsgan_core.contract.protocol import FRAME_DONE
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.contract.stage_graph import FINAL
from fsgan_core.plates.exr_checksum import find_damage
from fsgan_core.plates.exr_writer import LOSSLESS_COMPRESSIONS, to_half
from fsgan_core.plates.image_reader import read_header, read_image
from fsgan_core.plates.plate import compute_slices
from fsgan_core.plates.sequence import format_output_path, open_clip, select_frames
from fsgan_core.render.changed_parts import describe_parts
from fsgan_core.render.final import EXTRA_CHANNELS, to_output_space
from fsgan_core.render.frame_status import compute_frame_states
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.runtime.events import Event, EventListener, ignore_event

__all__ = [
    "CHANGED",
    "DAMAGED",
    "MISSING",
    "STALE",
    "UNMARKED",
    "WHOLE",
    "VerifiedFrame",
    "verify_files",
    "verify_shot",
]

# States of a frame.
WHOLE = "whole"
MISSING = "missing"
DAMAGED = "damaged"
UNMARKED = "unmarked"
STALE = "stale"
CHANGED = "changed"
_UNSYNTHETIC_STAGE = "mask"  # the only stage whose pictures hold no new pixels


@dataclass(frozen=True)
class VerifiedFrame:
    """What was found out about one frame.

    Attributes:
        frame: Frame number.
        path: Its file.
        state: "whole"; or "missing", "damaged", "unmarked" (it does not say that it is synthetic), "stale" (the shot
            asks for something else now) or "changed" (pixels outside the face are not the target's).
        message: What is wrong; empty if nothing is.
    """

    frame: int
    path: str
    state: str
    message: str = ""


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
    output = job.plan.inputs.stages.output
    verified = []
    for verified_frame in _iterate_files(files, on_event):
        state = states[verified_frame.frame]
        if verified_frame.state == WHOLE and state.state != FRAME_DONE:
            verified_frame = VerifiedFrame(
                verified_frame.frame, verified_frame.path, STALE, f"changed since: {describe_parts(state.changed)}"
            )
        if verified_frame.state == WHOLE and job.plan.stage == FINAL and output.compression in LOSSLESS_COMPRESSIONS:
            message = _compare_with_target(job, verified_frame.frame, Path(verified_frame.path))
            verified_frame = replace(verified_frame, state=CHANGED, message=message) if message else verified_frame
        verified.append(verified_frame)
    return tuple(verified)


def _compare_with_target(job: RenderJob, frame: int, path: Path) -> str:
    """Compares a frame with the target where nothing may change, bit for bit.

    With `output.layers=all` that is where matte.soft is 0, else outside the region around the face.

    Returns:
        What is different; empty if nothing is.
    """
    source = job.plan.resolve_held_frame(frame)
    original = job.renderer.get_target(source)
    target, result = to_output_space(job.plan.inputs, original, original.plate), read_image(path)
    ours = EXTRA_CHANNELS if job.plan.inputs.stages.output.layers == "all" else ()
    if result.data_window != target.data_window or result.display_window != target.display_window:
        return "its windows are not the target's"
    may_change = np.zeros(result.pixels.shape[:2], bool)
    if layers.MATTE_SOFT in result.channels:
        may_change = result.get_matte(layers.MATTE_SOFT) > 0
    elif job.context.has_face(source):
        region = job.context.get_region(source).intersect(result.data_window)
        may_change[compute_slices(region, result.data_window)] = True
    formats = dict(zip(result.channels, result.formats, strict=True))
    for name in target.channels:
        if name in ours:
            continue
        if name not in result.channels:
            return f"it lacks the target's channel {name}"
        before, after = target.get_matte(name), result.get_matte(name)
        before = to_half(before).astype(np.float32) if formats[name] == "half" else before
        differs = np.ascontiguousarray(before).view(np.uint32) != np.ascontiguousarray(after).view(np.uint32)
        changed = differs & ~may_change
        if changed.any():
            row, column = np.argwhere(changed)[0]
            return (
                f"{int(changed.sum())} pixels of {name} outside the face are not the target's, the first at "
                f"x {column + result.data_window.x}, y {row + result.data_window.y}"
            )
    return ""


def _iterate_files(files: Mapping[int, Path], on_event: EventListener) -> Iterable[VerifiedFrame]:
    for done, (frame, path) in enumerate(files.items(), start=1):
        state, message = _verify_file(path)
        on_event(Event("verify", path.name, done, len(files), frame, message=message))
        yield VerifiedFrame(frame, str(path), state, message)


def _verify_file(path: Path) -> tuple[str, str]:
    """Finds the state of a file by itself, and what is wrong."""
    if not path.is_file():
        return MISSING, "there is no such file"
    try:
        metadata = read_header(path).metadata
    except FsganError as error:
        return DAMAGED, str(error)
    damage = find_damage(path)
    if damage:
        return DAMAGED, damage
    if _needs_mark(metadata) and metadata.get(layers.META_SYNTHETIC) != 1:
        return UNMARKED, f"{layers.META_SYNTHETIC} is not 1, although the frame was rendered"
    return WHOLE, ""


def _needs_mark(metadata: Mapping[str, Any]) -> bool:
    """Whether a picture holds synthesised pixels, by the stages that made it."""
    engines = [entry.partition("=")[0].strip() for entry in str(metadata.get(layers.META_ENGINE, "")).split(",")]
    return any(stage not in ("", _UNSYNTHETIC_STAGE) for stage in engines)
