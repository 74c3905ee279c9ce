"""Runs the tasks of a Nuke script's job: analyse the clips of its FSGAN nodes, render the nodes' frames."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsgan_core.clips.tracks import MAX_WHOLE_CLIP, OVERLAP_FRAMES
from fsgan_core.contract import protocol
from fsgan_core.contract.errors import InputError, MachineError, PlateError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.contract.stage_graph import list_running_stages
from fsgan_core.farm.bundle import TRACKS_FOLDER, describe_engines
from fsgan_core.farm.shot_tasks import analyse_source, analyse_target, render_readable_frames
from fsgan_core.plates.sequence import format_frames, open_clip, parse_frames
from fsgan_core.render.engines import NetworkRuntime, choose_engine
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.requests import plan_request_job
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.events import (
    CancelCheck,
    Event,
    EventListener,
    RenderResult,
    ignore_event,
    never_cancelled,
)
from fsgan_core.runtime.text_files import read_text_file
from fsgan_core.runtime.user_paths import is_plain_file
from fsgan_core.stages.drive import resolve_drive_stages

__all__ = ["FarmNodeJob", "analyse_nodes", "load_node_jobs", "render_nodes"]

NODES_VERSION = 1
EXPECTED_FILE = "expected.json"  # in the work folder: each node's engines and weights on the machine that analysed


@dataclass(frozen=True)
class FarmNodeJob:
    """What one node renders.

    Attributes:
        node: Name of the node.
        request: The node's request to a worker.
        shot: The request's shot, parsed.
    """

    node: str
    request: protocol.RenderRequest
    shot: Shot


def load_node_jobs(path: Path) -> list[FarmNodeJob]:
    """Reads the file that Nuke wrote, in the order in which the nodes must be rendered.

    Raises:
        InputError: The file is missing, broken or of another version, or a shot in it is wrong.
    """
    try:
        data = parse_json(read_text_file(path))
        if data["version"] != NODES_VERSION:
            raise InputError(f"{path} has version {data['version']}; this program reads {NODES_VERSION}")
        requests = [
            (str(entry["node"]), dict(entry["shot"]), str(entry["stage"]), dict(entry["upstream"]))
            for entry in data["nodes"]
        ]
    except FileNotFoundError:
        raise InputError(f"there is no {path}; the job's step Prepare writes it") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return [
        FarmNodeJob(
            node,
            protocol.RenderRequest(shot=shot, stage=stage, upstream=upstream),
            Shot.from_dict({**shot, "source": shot.get("source") or "none"}),
        )
        for node, shot, stage, upstream in requests
    ]


def assign_track_files(job: FarmNodeJob, work: Path) -> FarmNodeJob:
    """Names the tracks that the job does not name, in the work folder."""
    shot = job.shot
    request_shot = dict(job.request.shot)
    target = (
        shot.target
        if shot.target.track
        else replace(shot.target, track=_make_track_path(shot, shot.target, True, work))
    )
    sources = (
        tuple(
            clip if clip.track else replace(clip, track=_make_track_path(shot, clip, False, work))
            for clip in shot.source
        )
        if request_shot.get("source")
        else shot.source
    )
    shot = replace(shot, target=target, source=sources)
    data = shot.to_dict()
    request_shot |= {
        name: data[name]
        for name in ("target", "source", "stages")
        if name in data and (name != "source" or request_shot.get("source"))
    }
    return FarmNodeJob(job.node, replace(job.request, shot=request_shot), shot)


def _make_track_path(shot: Shot, clip: Clip, of_target: bool, work: Path) -> str:
    """Names a clip's track file. Nodes that analyse the same clip with the same parameters share it."""
    digest = compute_digest(
        str(clip),
        of_target,
        shot.job if not of_target else "",
        shot.stages.analyse.to_dict(),
        shot.stages.colour.to_dict(),
        shot.stages.weights.to_dict(),
    )
    kind = "target" if of_target else "source"
    return str(work / TRACKS_FOLDER / f"{kind}.{digest[:16]}.json")


def analyse_nodes(
    path: Path, frames: str, work: Path, device: str = "cpu", on_event: EventListener = ignore_event
) -> dict[str, Any]:
    """Writes the track files of all nodes, each clip's once, and the engines and weights of this machine.

    Args:
        path: The file that Nuke wrote.
        frames: Frames to be rendered.
        work: The work folder.
        device: Where networks run, such as "cpu" or "cuda".
        on_event: Called with progress.

    Returns:
        Plain data for JSON: "command", "output", and "unread", the frames that could not be read.

    Raises:
        PlateError: A frame that must be rendered is missing.
        FsganError: As `write_track` and `load_node_jobs` do.
    """
    results: dict[str, Any] = {}
    jobs = load_node_jobs(path)
    with write_atomically(work / EXPECTED_FILE) as temporary:
        temporary.write_text(
            json.dumps({job.node: describe_node_engines(job, device) for job in jobs}, indent=1), encoding="utf-8"
        )
    for original_job in jobs:
        job = assign_track_files(original_job, work)
        for number, (original_clip, clip) in enumerate(
            zip((original_job.shot.target, *original_job.shot.source), (job.shot.target, *job.shot.source), strict=True)
        ):
            if original_clip.track or not clip.track or clip.track in results:
                continue
            if number:
                results[clip.track] = analyse_source(job.shot, number, device, on_event)
            else:
                results[clip.track] = analyse_target(
                    job.shot, _choose_target_frames(job.shot, frames), device, on_event
                )
    return {
        "command": "analyse-nodes",
        "output": ", ".join(results) or "every clip has its track already",
        "unread": sorted({frame for summary in results.values() for frame in summary["unread"]}),
    }


def describe_node_engines(job: FarmNodeJob, device: str) -> str:
    """Describes what decides a node's pixels besides its request: version, engines, weights."""
    shot = job.shot
    stages = resolve_drive_stages(shot.stages) if shot.job == "drive" else shot.stages
    running_stages = (job.request.stage,) if job.request.stage else list_running_stages(shot.job)
    machine = NetworkRuntime(device, stages.weights.precision)
    return describe_engines({stage: choose_engine(stage, stages, machine) for stage in running_stages})


def _check_node_engines(jobs: Sequence[FarmNodeJob], work: Path, device: str) -> None:
    """Raises MachineError if the installation here differs from that of the machine that analysed."""
    try:
        expected = dict(parse_json(read_text_file(work / EXPECTED_FILE)))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{work / EXPECTED_FILE} cannot be read ({error}); the job's step Analyse writes it"
        ) from error
    for job in jobs:
        engines = describe_node_engines(job, device)
        if expected.get(job.node) != engines:
            raise MachineError(
                f"{job.node}: this machine would not render the same: it has {engines}; the clips were "
                f"analysed with {expected.get(job.node)}. Install the same version and weights"
            )


def _choose_target_frames(shot: Shot, frames: str) -> str:
    """Chooses the frames of a target that are analysed, by the rule of `farm.bundle.choose_target_frames`."""
    rendered_frames = parse_frames(frames)
    with open_clip(shot.target, shot.stages.output.missing) as clip:
        available = clip.frames
    nearby_frames = (
        available
        if len(available) <= MAX_WHOLE_CLIP
        else tuple(
            frame
            for frame in available
            if rendered_frames[0] - OVERLAP_FRAMES <= frame <= rendered_frames[-1] + OVERLAP_FRAMES
        )
    )
    required_frames = (
        set(rendered_frames) if shot.stages.output.missing == "error" else set(rendered_frames) & set(available)
    )
    return format_frames(sorted({*nearby_frames, *required_frames}), limit=0)


def render_nodes(
    path: Path,
    frames: str,
    work: Path,
    *,
    device: str = "cpu",
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
    warm: WarmCache | None = None,
) -> list[tuple[str, RenderResult]]:
    """Renders frames of every node, in order, since a node reads what the one before it has written.

    If a frame fails, the nodes that need it list it as failed, too.

    Args:
        path: The file that Nuke wrote.
        frames: Frames to render.
        work: The work folder.
        device: Where networks run, such as "cpu" or "cuda".
        on_event: Called with progress.
        is_cancelled: Asked often; once it is true the render ends soon.
        warm: What this process keeps of earlier chunks.

    Returns:
        Name and result of each node.

    Raises:
        PlateError: A track file is missing.
        MachineError: The installation here differs from that of the machine that analysed.
        FsganError: As `RenderJob.run` does.
    """
    warm = warm or WarmCache()
    results = []
    jobs = load_node_jobs(path)
    _check_node_engines(jobs, work, device)
    for number, plain in enumerate(jobs):
        job = assign_track_files(plain, work)
        absent = [
            clip.track for clip in (job.shot.target, *job.shot.source) if clip.track and not is_plain_file(clip.track)
        ]
        if absent:
            raise PlateError(f"{job.node}: there is no track {absent[0]}; the job's step Analyse writes it")
        request = job.request

        relay_event = functools.partial(_relay_node_event, on_event, number, len(jobs))

        def plan_node_render(
            chunk: str, request: protocol.RenderRequest = request, on_event: EventListener = relay_event
        ) -> RenderJob:
            return RenderJob(
                plan_request_job(replace(request, frames=chunk), device),
                on_event=on_event,
                is_cancelled=is_cancelled,
                warm=warm,
            )

        results.append((job.node, render_readable_frames(job.shot, frames, plan_node_render, relay_event)))
    return results


def _relay_node_event(on_event: EventListener, number: int, count: int, event: Event) -> None:
    """Counts a node's step among the steps of all nodes."""
    if event.kind in ("begin", "frame") and event.total:
        event = replace(event, done=number * event.total + event.done, total=count * event.total)
    on_event(event)
