"""What a shot will cost on a farm: three of its frames are rendered, and scaled."""

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

    start: seconds until a process renders its first frame (imports, networks, plan of views). analyse: seconds of all
    clips, once. frame: seconds by frame, wall time. peak_bytes: of the process.
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
        """Of the whole job in chunks of so many frames."""
        tasks = math.ceil(self.frames / chunk)
        return self.analysis_seconds + self.frames * self.frame_seconds + tasks * self.start_seconds

    def estimate_wall_seconds(self, machines: int, chunk: int) -> float:
        """Until the last frame, with so many machines from the beginning."""
        rounds = math.ceil(math.ceil(self.frames / chunk) / machines)
        return self.analysis_seconds + rounds * (chunk * self.frame_seconds + self.start_seconds)

    def to_dict(self, chunk: int) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "sampled": list(self.sampled_frames),
            "seconds_start": round(self.start_seconds, 3),
            "seconds_analyse": round(self.analysis_seconds, 3),
            "seconds_frame": round(self.frame_seconds, 3),
            "seconds_stages": {stage: round(spent, 3) for stage, spent in self.stage_seconds.items()},
            "peak_bytes": self.peak_bytes,
            "cores": self.cores,
            "chunk": chunk,
            "machine_hours": round(self.estimate_machine_seconds(chunk) / 3600, 4),
            "wall_hours": {
                str(machines): round(self.estimate_wall_seconds(machines, chunk) / 3600, 4) for machines in (1, 10, 100)
            },
        }


TARGET_SAMPLES = 3
SOURCE_SAMPLES = 6


def estimate_cost(
    shot: Shot, device: str = "cpu", imported: float = 0.0, on_event: EventListener = ignore_event
) -> Estimate:
    """Renders three frames of the shot into a folder that goes away, and scales. Clips without a track file are
    analysed at a few frames alone. imported: seconds that the process took to get here. Raises as render_shot."""
    opened = plan_shot_job(shot, device=device)
    inputs = opened.inputs
    target = inputs.target.sequence
    sampled = [opened.frames[place] for place in sample_evenly(len(opened.frames), TARGET_SAMPLES)]
    with tempfile.TemporaryDirectory(prefix="fsgan-estimate-") as folder:
        analyse = 0.0

        def analyse_samples(clip: Clip, name: str, some: Sequence[int], all_frames: int, of_target: bool) -> Clip:
            nonlocal analyse
            if clip.track:
                return clip
            path = Path(folder) / f"{name}.json"
            laps = _StepTimer(on_event)
            write_track(
                clip,
                path,
                shot.stages,
                of_target=of_target,
                frames=format_frames(some, limit=0),
                device=device,
                on_event=laps,
            )
            analyse += laps.compute_step_seconds("analyse") * all_frames
            return replace(clip, track=str(path))

        sources = tuple(
            analyse_samples(
                item.clip,
                f"source{number}",
                [available[place] for place in sample_evenly(len(available), SOURCE_SAMPLES)],
                len(available),
                False,
            )
            for number, (item, available) in enumerate(
                (item, choose_analysed_frames(item, shot.job)) for item in inputs.sources
            )
        )
        track = analyse_samples(
            shot.target, "target", [opened.resolve_held_frame(frame) for frame in sampled], len(target.frames), True
        )
        trial = replace(
            shot,
            source=sources,
            target=track,
            output=Output(str(Path(folder) / "out" / "trial.####.exr"), shot.output.colorspace),
        )
        begun = time.perf_counter()
        result = render_shot(trial, frames=format_frames(sampled, limit=0), device=device, on_event=on_event)
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        again = render_shot(trial, frames=format_frames(sampled, limit=0), device=device, on_event=on_event, force=True)
        warm = time.perf_counter() - begun
    if again.failures:
        log.warning(
            "of the sampled frames %s failed: %s", format_frames(again.list_frames(FAILED)), again.failures[0][1]
        )
    per_stage: dict[str, list[float]] = {}
    for report in again.frames:
        for stage, spent in report.seconds.items():
            per_stage.setdefault(stage, []).append(spent)
    return Estimate(
        len(opened.frames),
        tuple(report.frame for report in result.frames),
        imported + max(0.0, first - warm),
        analyse,
        warm / len(sampled),
        {stage: statistics.median(spent) for stage, spent in per_stage.items()},
        measure_peak_bytes(),
        os.cpu_count() or 1,
    )


class _StepTimer:
    """Seconds between the steps of one kind of event; the first step holds what is done once."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._times: dict[str, list[float]] = {}
        self._start_time = time.perf_counter()

    def __call__(self, event: Event) -> None:
        self._times.setdefault(event.kind, []).append(time.perf_counter())
        self._on_event(event)

    def compute_step_seconds(self, kind: str) -> float:
        times = self._times.get(kind, [])
        if len(times) < 2:
            return times[0] - self._start_time if times else 0.0
        return (times[-1] - times[0]) / (len(times) - 1)
