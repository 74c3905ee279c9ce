"""Estimates what a shot will cost on a farm, from a render of three of its frames."""

from __future__ import annotations

import logging
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsgan_core.clips.tracks import write_track
from fsgan_core.contract.shot import Clip, Output, Shot
from fsgan_core.farm.bundle import choose_analysed_frames
from fsgan_core.plates.sequence import format_frames
from fsgan_core.render.pipeline import render_shot
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.runtime.events import FAILED, Event, EventListener, ignore_event
from fsgan_core.runtime.process_memory import measure_peak_bytes
from fsgan_core.runtime.sampling import sample_evenly

__all__ = ["Estimate", "estimate_cost"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Estimate:
    """What a shot will cost on machines like this one, each working on one chunk at a time.

    Attributes:
        frames: Number of frames of the shot.
        sampled_frames: Numbers of the frames that were rendered for the estimate.
        start_seconds: Time until a process renders its first frame (imports, networks, plan of views).
        analysis_seconds: Time to analyse all clips once.
        frame_seconds: Wall time per frame.
        stage_seconds: Median time per frame, by stage.
        peak_bytes: The most memory that the process held.
        cores: Processor cores of this machine.
    """

    frames: int
    sampled_frames: tuple[int, ...]
    start_seconds: float
    analysis_seconds: float
    frame_seconds: float
    stage_seconds: Mapping[str, float]
    peak_bytes: int
    cores: int

    def estimate_machine_seconds(self, chunk: int) -> float:
        """Estimates the machine time of the whole job in chunks of `chunk` frames."""
        tasks = math.ceil(self.frames / chunk)
        return self.analysis_seconds + self.frames * self.frame_seconds + tasks * self.start_seconds

    def estimate_wall_seconds(self, machines: int, chunk: int) -> float:
        """Estimates the time until the last frame, if `machines` machines start at once."""
        rounds = math.ceil(math.ceil(self.frames / chunk) / machines)
        return self.analysis_seconds + rounds * (chunk * self.frame_seconds + self.start_seconds)

    def to_dict(self, chunk: int) -> dict[str, Any]:
        """Converts to plain data for JSON, with the hours of a job in chunks of `chunk` frames."""
        return {
            "frames": self.frames,
            "sampled": list(self.sampled_frames),
            "seconds_start": round(self.start_seconds, 3),
            "seconds_analyse": round(self.analysis_seconds, 3),
            "seconds_frame": round(self.frame_seconds, 3),
            "seconds_stages": {stage: round(seconds, 3) for stage, seconds in self.stage_seconds.items()},
            "peak_bytes": self.peak_bytes,
            "cores": self.cores,
            "chunk": chunk,
            "machine_hours": round(self.estimate_machine_seconds(chunk) / 3600, 4),
            "wall_hours": {
                str(machines): round(self.estimate_wall_seconds(machines, chunk) / 3600, 4) for machines in (1, 10, 100)
            },
        }


TARGET_SAMPLES = 3
"""Frames of the target that are analysed and rendered."""
SOURCE_SAMPLES = 6
"""Frames of each source that are analysed."""


def estimate_cost(
    shot: Shot, device: str = "cpu", imported: float = 0.0, on_event: EventListener = ignore_event
) -> Estimate:
    """Estimates the cost of a shot from TARGET_SAMPLES of its frames, which are rendered into a temporary folder.

    Clips without a track file are analysed at a few frames only.

    Args:
        shot: The shot.
        device: Where networks run, such as "cpu" or "cuda".
        imported: Seconds that the process took for its start and imports.
        on_event: Called with progress.

    Raises:
        FsganError: As `render_shot` does.
    """
    plan = plan_shot_job(shot, device=device)
    inputs = plan.inputs
    target = inputs.target.sequence
    sampled = [plan.frames[position] for position in sample_evenly(len(plan.frames), TARGET_SAMPLES)]
    with tempfile.TemporaryDirectory(prefix="fsgan-estimate-") as folder:
        analysis_seconds = 0.0

        def analyse_samples(clip: Clip, name: str, samples: Sequence[int], frame_count: int, of_target: bool) -> Clip:
            nonlocal analysis_seconds
            if clip.track:
                return clip
            path = Path(folder) / f"{name}.json"
            timer = _StepTimer(on_event)
            write_track(
                clip,
                path,
                shot.stages,
                of_target=of_target,
                frames=format_frames(samples, limit=0),
                device=device,
                on_event=timer,
            )
            analysis_seconds += timer.compute_step_seconds("analyse") * frame_count
            return replace(clip, track=str(path))

        sources = tuple(
            analyse_samples(
                item.clip,
                f"source{number}",
                [available[position] for position in sample_evenly(len(available), SOURCE_SAMPLES)],
                len(available),
                False,
            )
            for number, (item, available) in enumerate(
                (item, choose_analysed_frames(item, shot.job)) for item in inputs.sources
            )
        )
        track = analyse_samples(
            shot.target, "target", [plan.resolve_held_frame(frame) for frame in sampled], len(target.frames), True
        )
        trial = replace(
            shot,
            source=sources,
            target=track,
            output=Output(str(Path(folder) / "out" / "trial.####.exr"), shot.output.colorspace),
        )
        start_time = time.perf_counter()
        result = render_shot(trial, frames=format_frames(sampled, limit=0), device=device, on_event=on_event)
        first_seconds = time.perf_counter() - start_time
        start_time = time.perf_counter()
        warm_result = render_shot(
            trial, frames=format_frames(sampled, limit=0), device=device, on_event=on_event, force=True
        )
        warm_seconds = time.perf_counter() - start_time
    if warm_result.failures:
        log.warning(
            "sampled frames %s failed: %s", format_frames(warm_result.list_frames(FAILED)), warm_result.failures[0][1]
        )
    per_stage: dict[str, list[float]] = {}
    for report in warm_result.frames:
        for stage, seconds in report.seconds.items():
            per_stage.setdefault(stage, []).append(seconds)
    return Estimate(
        len(plan.frames),
        tuple(report.frame for report in result.frames),
        imported + max(0.0, first_seconds - warm_seconds),
        analysis_seconds,
        warm_seconds / len(sampled),
        {stage: statistics.median(seconds) for stage, seconds in per_stage.items()},
        measure_peak_bytes(),
        os.cpu_count() or 1,
    )


class _StepTimer:
    """Measures the seconds between events of one kind. The first step is left out: it includes work done only once."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._times: dict[str, list[float]] = {}
        self._start_time = time.perf_counter()

    def __call__(self, event: Event) -> None:
        self._times.setdefault(event.kind, []).append(time.perf_counter())
        self._on_event(event)

    def compute_step_seconds(self, kind: str) -> float:
        """Computes the mean time of a step; 0 if there was none."""
        times = self._times.get(kind, [])
        if len(times) < 2:
            return times[0] - self._start_time if times else 0.0
        return (times[-1] - times[0]) / (len(times) - 1)
