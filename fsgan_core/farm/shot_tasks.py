"""The tasks of a shot's job on a farm: analyse a clip, render a chunk, gather the results."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsgan_core.clips.inputs import open_inputs
from fsgan_core.clips.tracks import write_track
from fsgan_core.contract.curve import get_largest_value
from fsgan_core.contract.errors import InputError, MachineError, PlateError
from fsgan_core.contract.layers import META_KEY
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.faces.track_file import load_track
from fsgan_core.farm.bundle import SIDECARS_FOLDER, choose_analysed_frames, describe_job_engines
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.plates.sequence import format_frames, format_output_path, open_clip, parse_frames
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import SKIPPED_NOTE, describe_skipped_frames, plan_shot_job
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.events import (
    FAILED,
    KEPT,
    CancelCheck,
    Event,
    EventListener,
    FrameReport,
    RenderResult,
    ignore_event,
    never_cancelled,
)
from fsgan_core.runtime.process_memory import measure_peak_bytes
from fsgan_core.runtime.text_files import read_text_file
from fsgan_core.runtime.user_paths import expand_home

__all__ = [
    "analyse_source",
    "analyse_target",
    "gather_result",
    "read_unread_frames",
    "render_chunk",
    "render_readable_frames",
]

log = logging.getLogger(__name__)

UNREAD_SUFFIX = ".unread.json"


def analyse_target(
    shot: Shot, frames: str = "", device: str = "cpu", on_event: EventListener = ignore_event
) -> dict[str, Any]:
    """Writes the target's track file.

    Args:
        shot: The shot; its target names the track file.
        frames: Frames that must exist; empty: all. A frame that has not arrived yet is an error, because the track
            would differ without it.
        device: Where networks run, such as "cpu" or "cuda".
        on_event: Called with progress.

    Returns:
        What `write_track` returns, and "unread", the frames that could not be read.

    Raises:
        PlateError: A frame is missing.
        FsganError: As `write_track` does.
    """
    inputs = open_inputs((), shot.target, shot.stages, device=device)
    required_frames = parse_frames(frames) if frames else inputs.target.sequence.frames
    absent = sorted(set(required_frames) - set(inputs.target.sequence.frames))
    if absent:
        raise PlateError(
            f"{shot.target.path} has no frame {format_frames(absent)} here (yet); start this task again "
            "when the plate is complete"
        )
    return _write_track_file(shot.target, shot, required_frames, device, on_event, of_target=True)


def analyse_source(
    shot: Shot, number: int, device: str = "cpu", on_event: EventListener = ignore_event
) -> dict[str, Any]:
    """Writes the track file of source `number`, counted from 1; returns the same as `analyse_target`.

    Raises:
        InputError: The shot has no such source, or the source names no track file.
        FsganError: As `write_track` does.
    """
    if not 1 <= number <= len(shot.source):
        raise InputError(f"the shot has no source {number}; it has {len(shot.source)}")
    clip = shot.source[number - 1]
    inputs = open_inputs((), clip, shot.stages, device=device)
    return _write_track_file(
        clip, shot, choose_analysed_frames(inputs.target, shot.job), device, on_event, of_target=False
    )


def _write_track_file(
    clip: Clip, shot: Shot, frames: Sequence[int], device: str, on_event: EventListener, *, of_target: bool
) -> dict[str, Any]:
    if not clip.track:
        raise InputError(f"the shot names no track file for {clip.path}; make the job with `fsgan farm bundle`")
    track = Path(clip.track)
    unread: dict[int, str] = {}

    def collect_unread(event: Event) -> None:
        if event.kind == "unread" and event.frame is not None:
            unread[event.frame] = event.message
        on_event(event)

    summary = write_track(
        replace(clip, track=""),
        track,
        shot.stages,
        of_target=of_target,
        frames=format_frames(frames, limit=0),
        device=device,
        on_event=collect_unread,
    )
    with write_atomically(track.with_suffix(UNREAD_SUFFIX)) as temporary:
        temporary.write_text(json.dumps(unread, indent=1) + "\n", encoding="utf-8")
    return {**summary, "unread": sorted(unread)}


def read_unread_frames(shot: Shot) -> Mapping[int, str]:
    """Reads which frames of the target could not be read when it was analysed, and why. Their faces are guesses.

    Raises:
        InputError: The file beside the track file is broken.
    """
    path = Path(shot.target.track).with_suffix(UNREAD_SUFFIX) if shot.target.track else None
    if path is None or not path.is_file():
        return {}
    try:
        return {int(frame): str(reason) for frame, reason in parse_json(read_text_file(path)).items()}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError) as error:
        raise InputError(f"{path} cannot be read ({error}); analyse the target again") from error


def render_chunk(
    shot: Shot,
    frames: str,
    work: Path,
    *,
    expect: str = "",
    device: str = "cpu",
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
    warm: WarmCache | None = None,
) -> RenderResult:
    """Renders a chunk, and writes its times into `work`, where the report finds them.

    Times are not written into the pictures: a picture that holds its own render time would never be the same twice, and
    files are compared bit for bit.

    Args:
        shot: The shot.
        frames: Frames of the chunk.
        work: The work folder.
        expect: Version, engines and weights that are required (`describe_job_engines`); empty: any.
        device: Where networks run, such as "cpu" or "cuda".
        on_event: Called with progress.
        is_cancelled: Asked often; once it is true the render ends soon.
        warm: What this process keeps of earlier chunks.

    Raises:
        MachineError: The installation here differs from `expect`.
        FsganError: As `render_readable_frames` does.
    """
    started = time.time()

    def plan_chunk_job(frames: str) -> RenderJob:
        plan = plan_shot_job(shot, frames=frames, device=device)
        job = RenderJob(plan, on_event=on_event, is_cancelled=is_cancelled, warm=warm)
        engines = describe_job_engines(job, tuned="reenact fsgan fine-tuned" in expect)
        if expect and engines != expect:
            raise MachineError(
                f"this machine would not render the same: it has {engines}; the job was made with {expect}."
                " Install the same version and weights, or make the job again"
            )
        return job

    result = render_readable_frames(shot, frames, plan_chunk_job, on_event)
    _write_sidecar(result, work, started)
    return result


def render_readable_frames(
    shot: Shot, frames: str, plan_job: Callable[[str], RenderJob], on_event: EventListener = ignore_event
) -> RenderResult:
    """Renders frames, except those that could not be read when the target was analysed; these are listed as failed.

    Args:
        shot: The shot.
        frames: Frames to render; empty: all.
        plan_job: Makes the job that renders some frames.
        on_event: Called with the frames that are not rendered.

    Raises:
        PlateError: A frame that was analysed is missing now.
        FsganError: As `RenderJob.run` does.
    """
    _check_plate(shot)
    unread = read_unread_frames(shot)
    chunk_frames = parse_frames(frames) if frames else ()
    unreadable = [frame for frame in chunk_frames if frame in unread]
    readable = [frame for frame in chunk_frames if frame not in unread]
    reports = tuple(
        FrameReport(
            frame,
            FAILED,
            str(format_output_path(shot.output.path, frame)),
            message=(
                f"could not be read when the plate was analysed ({unread[frame]}); "
                "repair it and analyse the target again"
            ),
        )
        for frame in unreadable
    )
    if unreadable and not readable:
        result = RenderResult(shot.job, shot.output.path, shot.output.colorspace, (), {"total": 0.0}, {}, "cpu")
    else:
        result = plan_job(format_frames(readable, limit=0) if unreadable else frames).run()
    for report in reports:
        on_event(
            Event("frame", shot.job, len(chunk_frames), len(chunk_frames), report.frame, FAILED, 0.0, report.message)
        )
    return replace(result, frames=tuple(sorted((*result.frames, *reports), key=lambda report: report.frame)))


def _check_plate(shot: Shot) -> None:
    """Raises PlateError if an analysed frame of the plate is not visible here; TrackError if the track is broken.

    A matte is averaged with its neighbours. If a file server's stale listing hides one of them, the matte would change
    a little without any error.
    """
    if not shot.target.track:
        return
    track = load_track(expand_home(shot.target.track))
    absent = sorted(set(track.frames) - set(open_clip(shot.target, shot.stages.output.missing).frames))
    if track.related and absent:
        raise PlateError(
            f"{shot.target.path} has no frame {format_frames(absent)} here (yet), which it had when it was "
            "analysed; start this task again when the plate is complete"
        )


def _write_sidecar(result: RenderResult, work: Path, started: float) -> None:
    numbers = [report.frame for report in result.frames]
    name = f"{numbers[0]}-{numbers[-1]}.{len(numbers)}.json"
    data = {
        "started": round(started, 3),
        "finished": round(time.time(), 3),
        "machine": platform.node(),
        "cores": os.cpu_count() or 1,
        "peak_bytes": measure_peak_bytes(),
        **result.to_dict(),
    }
    path = work / SIDECARS_FOLDER / name
    data["frames"] = _restore_older_times(path, data["frames"])
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _restore_older_times(path: Path, frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For frames that a second run only kept, restores the times of the run that rendered them."""
    older_entries = {entry["frame"]: entry for entry in _list_frame_entries(_read_json(path))}
    return [
        {**entry, "seconds": older_entries[entry["frame"]].get("seconds", {})}
        if entry["state"] == KEPT and entry["frame"] in older_entries
        else entry
        for entry in frames
    ]


def _list_frame_entries(chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lists a chunk's frames; entries of a damaged file that are none are left out."""
    entries = chunk.get("frames")
    return [
        entry
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
        and isinstance(entry.get("frame"), int)
        and isinstance(entry.get("state"), str)
        and isinstance(entry.get("seconds", {}), dict)
        and isinstance(entry.get("flags", []), list)
    ]


def _list_texts(chunk: Mapping[str, Any], key: str) -> list[str]:
    values = chunk.get(key)
    return [str(value) for value in values] if isinstance(values, list) else []


def _read_stage_seconds(chunk: Mapping[str, Any]) -> dict[str, float]:
    values = chunk.get("seconds")
    values = values if isinstance(values, dict) else {}
    return {str(stage): float(value) for stage, value in values.items() if isinstance(value, (int, float))}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = parse_json(read_text_file(path))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def gather_result(shot: Shot, frames: str, work: Path) -> RenderResult:
    """Gathers the results of all chunks.

    The files decide: a frame without a readable file is listed as failed, whatever its chunk reported. If a frame was
    run several times, the last run counts, by the clock of the file server.

    Args:
        shot: The shot.
        frames: Frames of the whole job.
        work: The work folder.
    """
    entries: dict[int, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    chunks = [
        _read_json(path)
        for path in sorted((work / SIDECARS_FOLDER).glob("*.json"), key=lambda path: (_read_change_time(path), path))
    ]
    for chunk in chunks:
        for entry in _list_frame_entries(chunk):
            earlier_entry = entries.get(entry["frame"], {})
            entries[entry["frame"]] = entry | (
                {"seconds": earlier_entry["seconds"]} if entry["state"] == KEPT and earlier_entry.get("seconds") else {}
            )
        for stage, stage_seconds in _read_stage_seconds(chunk).items():
            seconds[stage] = seconds.get(stage, 0.0) + stage_seconds
    # What a chunk left out because the target had no file may have been delivered and rendered since.
    skipped = {int(frame) for chunk in chunks for frame in _list_texts(chunk, "skipped")} - entries.keys()
    reports = []
    for frame in sorted(set(parse_frames(frames)) - skipped):
        entry = entries.get(frame, {})
        path = format_output_path(shot.output.path, frame)
        state, message = str(entry.get("state", KEPT)), str(entry.get("message", ""))
        if state != FAILED:
            state, message = (
                (state, message) if _is_readable(path) else (FAILED, f"{path} is not there or not readable")
            )
        flags = tuple(_list_texts(entry, "flags"))
        reports.append(FrameReport(frame, state, str(path), _read_stage_seconds(entry), flags, message))
    last = chunks[-1] if chunks else {}
    told = dict.fromkeys(note for chunk in chunks for note in _list_texts(chunk, "notes"))
    notes = [note for note in told if not note.startswith(SKIPPED_NOTE)]
    if skipped:
        notes.insert(0, describe_skipped_frames(sorted(skipped)))
    machines = sorted({str(chunk.get("machine")) for chunk in chunks})
    neighbours = _find_failed_neighbours(reports, int(get_largest_value(shot.stages.mask.smooth)))
    if neighbours:
        notes.append(
            f"{format_frames(neighbours)} lie beside failed frames and may have been rendered without them; once "
            "the failed frames are repaired, start these chunks again as well"
        )
    notes.append(
        f"{len(chunks)} chunks on {len(machines)} machine(s), {seconds.get('total', 0.0) / 3600:.2f} "
        "machine-hours of rendering"
    )
    return RenderResult(
        shot.job,
        shot.output.path,
        str(last.get("colorspace", shot.output.colorspace)),
        tuple(reports),
        seconds,
        last["engines"] if isinstance(last.get("engines"), dict) else {},
        str(last.get("device", "cpu")),
        tuple(notes),
        tuple(sorted(skipped)),
    )


def _read_change_time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _find_failed_neighbours(reports: Sequence[FrameReport], reach: int) -> list[int]:
    """Finds frames that did not fail, but whose matte is averaged with a frame that did."""
    failed = {report.frame for report in reports if report.state == FAILED}
    return [
        report.frame
        for report in reports
        if report.frame not in failed and any(abs(report.frame - failed_frame) <= reach for failed_frame in failed)
    ]


def _is_readable(path: Path) -> bool:
    try:
        return bool(read_frame_metadata(path).get(META_KEY))
    except PlateError:
        return False
