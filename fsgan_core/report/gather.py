"""The result of a render that is over, from its files: for `fsgan report`, which renders nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsgan_core.contract import layers
from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.shot import Shot
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render.context import NO_FACE
from fsgan_core.render.plan import SKIPPED_NOTE, describe_skipped_frames, plan_shot_job
from fsgan_core.render.provenance import read_flags
from fsgan_core.report.changes import is_same_output
from fsgan_core.report.write import RESULT_FILE
from fsgan_core.runtime.events import FAILED, KEPT, PASSED, FrameReport, RenderResult
from fsgan_core.runtime.text_files import read_text_file

__all__ = ["gather_rendered_frames"]

log = logging.getLogger(__name__)


def gather_rendered_frames(shot: Shot, folder: Path, frames: str = "", device: str = "cpu") -> RenderResult:
    """Gathers what is known of a shot's finished frames.

    The files decide: a frame without a readable file counts as failed, unless the target has none either and the shot
    skips such frames. Times and notes come from the last report in the folder, if it is about the same files.

    Args:
        shot: The shot.
        folder: Where its report is.
        frames: Frames to report on; empty is those of the shot.
        device: What networks run on.

    Raises:
        FsganError: Something is wrong with the shot.
    """
    plan = plan_shot_job(shot, frames=frames, device=device)
    last = _read_last_result(folder, shot.output.path)
    seconds = {report.frame: report.seconds for report in last.frames} if last else {}
    reports: list[FrameReport] = []
    engines: dict[str, str] = {}
    space = plan.inputs.output_space
    for frame in plan.frames:
        path = format_output_path(plan.output, frame)
        try:
            metadata = read_frame_metadata(path)
        except PlateError as error:
            message = str(error) if path.is_file() else f"there is no {path}; {_advise(frame, last)}"
            reports.append(FrameReport(frame, FAILED, str(path), message=message))
            continue
        flags = read_flags(metadata)
        state = PASSED if NO_FACE in flags else KEPT
        reports.append(FrameReport(frame, state, str(path), seconds.get(frame, {}), flags))
        engines |= _read_engines(metadata)
        space = str(metadata.get(layers.META_COLORSPACE, space))
    notes = [note for note in (last.notes if last else ()) if not note.startswith(SKIPPED_NOTE)]
    if plan.skipped_frames:
        notes.insert(0, describe_skipped_frames(plan.skipped_frames))
    return RenderResult(
        shot.job,
        shot.output.path,
        space,
        tuple(reports),
        last.seconds if last else {},
        engines,
        last.device if last else device,
        tuple(notes),
        plan.skipped_frames,
    )


def _advise(frame: int, last: RenderResult | None) -> str:
    """Says what to do about a frame that is not there."""
    if last is not None and frame in last.skipped:
        return "the last render skipped it, but the target has it now: render the shot"
    return "render the shot"


def _read_engines(metadata: Mapping[str, Any]) -> dict[str, str]:
    parts = (part.partition("=") for part in str(metadata.get(layers.META_ENGINE, "")).split(", "))
    return {stage: name for stage, _, name in parts if name}


def _read_last_result(folder: Path, output: str) -> RenderResult | None:
    try:
        result = RenderResult.from_dict(parse_json(read_text_file(folder / RESULT_FILE)))
        return result if is_same_output(result.output, output) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the times in %s are not used: %s", folder / RESULT_FILE, error)
        return None
