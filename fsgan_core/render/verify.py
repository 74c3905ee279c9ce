"""Checks finished frames: are they there, whole, marked as synthetic, and what the shot asks for now?

Every byte of every file is read. Nothing is rendered, analysed or changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.contract import layers
from fsgan_core.contract.errors import FsganError, InputError
from fsgan_core.contract.protocol import FRAME_DONE
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.exr_checksum import find_damage
from fsgan_core.plates.image_reader import read_header
from fsgan_core.plates.sequence import format_output_path, open_clip, select_frames
from fsgan_core.render.changed_parts import describe_parts
from fsgan_core.render.frame_status import compute_frame_states
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.runtime.events import Event, EventListener, ignore_event

__all__ = ["DAMAGED", "MISSING", "STALE", "UNMARKED", "WHOLE", "VerifiedFrame", "verify_files", "verify_shot"]

# States of a frame.
WHOLE = "whole"
MISSING = "missing"
DAMAGED = "damaged"
UNMARKED = "unmarked"
STALE = "stale"
_UNSYNTHETIC_STAGE = "mask"  # the only stage whose pictures hold no new pixels


@dataclass(frozen=True)
class VerifiedFrame:
    """What was found out about one frame.

    Attributes:
        frame: Frame number.
        path: Its file.
        state: "whole"; or "missing", "damaged", "unmarked" (it does not say that it is synthetic) or "stale" (the shot
            asks for something else now).
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
    verified = []
    for verified_frame in _iterate_files(files, on_event):
        state = states[verified_frame.frame]
        if verified_frame.state == WHOLE and state.state != FRAME_DONE:
            verified_frame = VerifiedFrame(
                verified_frame.frame, verified_frame.path, STALE, f"changed since: {describe_parts(state.changed)}"
            )
        verified.append(verified_frame)
    return tuple(verified)


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
