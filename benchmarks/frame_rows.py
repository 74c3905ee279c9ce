"""Rows about single frames of a swap: against seamlessClone, against the plate's size, and after a knob."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cv2
import numpy as np

from benchmarks.clips import FRAME_720P, HD, NAMES, UHD, Footage
from benchmarks.kernel_replay import KernelReplay
from benchmarks.plain_exr import copy_plainly, read_plainly, write_plainly
from benchmarks.table import Row, count_seconds
from fsgan_core.contract.shot import Shot
from fsgan_core.plates.kept_chunks import find_changed_rows
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render import pipeline
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime import events

WARM_FRAMES = 2  # rendered before anything is counted: per-clip work, and the mattes of the frames around
MATTE_REACH = 2  # frames after the last one that its matte is averaged with
PROCESSOR_CLOCK = SimpleNamespace(perf_counter=time.thread_time)
KNOBS = {"blend.mix": 0.9, "blend.colour": 0.8}
CLONE_SIDE = 1.3  # of the region that seamlessClone blends, over the face's box


@dataclass
class SwapLine:
    """Renders the frames of a shot one after the other, as a render does in the middle of a clip.

    Frame by frame the key is computed, the plate read, every stage run and the file written. What a clip costs once
    (tracks, plan, atlas, views, irises) is done by the first frames, which nobody counts.
    """

    shot: Shot
    warm: WarmCache = field(default_factory=WarmCache)
    stage_seconds: dict[str, list[float]] = field(default_factory=dict)

    def render(self, frame: int, settings: dict[str, Any] | None = None) -> float:
        """Renders a frame, and returns its processor seconds."""
        shot = self.shot
        if settings:
            shot = replace(shot, stages=shot.stages.with_settings(settings))
        stage_seconds: dict[str, float] = {}

        def run() -> None:
            result = RenderJob(plan_shot_job(shot, frames=str(frame)), force=True, warm=self.warm).run()
            if result.failures:
                raise RuntimeError(f"frame {frame}: {result.failures[0][1]}")
            stage_seconds.update(result.seconds)

        with mock.patch.object(events, "time", PROCESSOR_CLOCK), mock.patch.object(pipeline, "time", PROCESSOR_CLOCK):
            taken = count_seconds(run)
        del stage_seconds["total"]
        stage_seconds["rest"] = taken - sum(stage_seconds.values())
        for stage, seconds in stage_seconds.items():
            self.stage_seconds.setdefault(stage, []).append(seconds)
        return taken

    def warm_up(self) -> None:
        """Renders the first frames."""
        for frame in range(1, WARM_FRAMES + 1):
            self.render(frame)
        self.stage_seconds.clear()

    def clone(self, frame: int) -> float:
        """Reads a plate, blends the region by seamlessClone in 8 bits and writes the plate; returns its seconds."""
        plan = plan_shot_job(self.shot, frames=str(frame))
        config = plan.inputs.config
        source, copied = self._get_paths(frame)
        scenes = RenderJob(plan, warm=self.warm).scenes
        x, y, width, height = scenes(frame).faces[frame].box

        def run() -> None:
            pixels = copy_plainly(source, copied)
            wide, high = round(CLONE_SIDE * width), round(CLONE_SIDE * height)
            left, top = round(x + width / 2 - wide / 2), round(y + height / 2 - high / 2)
            region = np.ascontiguousarray(pixels[max(0, top) : top + high, max(0, left) : left + wide])
            picture = config.to_srgb8(region, plan.inputs.working_space)
            mask = np.zeros(picture.shape[:2], np.uint8)
            centre = picture.shape[1] // 2, picture.shape[0] // 2
            cv2.ellipse(mask, centre, (round(width / 2), round(height / 2)), 0, 0, 360, 255, -1)
            cv2.seamlessClone(np.ascontiguousarray(picture[:, ::-1]), picture, mask, centre, cv2.NORMAL_CLONE)

        return count_seconds(run)

    def use_files(self, frame: int) -> float:
        """Reads a plate and writes the lines that its result changes, by OpenImageIO; returns the processor seconds."""
        source, copied = self._get_paths(frame)
        changed = find_changed_rows(
            read_plainly(source), read_plainly(format_output_path(self.shot.output.path, frame))
        )
        return count_seconds(lambda: write_plainly(copied, np.ascontiguousarray(read_plainly(source)[changed])))

    def _get_paths(self, frame: int) -> tuple[Path, Path]:
        return format_output_path(self.shot.target.path, frame), Path(self.shot.output.path).parent / "copy.exr"

    def describe_stages(self) -> str:
        """Describes where the time goes: medians of the processor seconds of each stage."""
        medians = {stage: statistics.median(seconds) for stage, seconds in self.stage_seconds.items()}
        parts = sorted(medians.items(), key=lambda part: -part[1])
        return ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in parts)


def measure_stages(footage: Footage, rounds: int) -> Iterator[Row]:
    """All stages of a 1280x720 frame against seamlessClone and plain files."""
    recorded = WARM_FRAMES + 1
    line = SwapLine(footage.make_shot(FRAME_720P, recorded + rounds + MATTE_REACH))
    line.warm_up()
    kernels = KernelReplay()
    with kernels.record():
        line.render(recorded)
    line.stage_seconds.clear()
    line.clone(recorded), kernels.repeat()
    turns = [
        (line.render(frame), line.clone(frame), count_seconds(kernels.repeat), line.use_files(frame))
        for frame in range(recorded + 1, recorded + rounds + 1)
    ]
    taken, reference, computed, filed = (statistics.median(seconds) for seconds in zip(*turns, strict=True))
    yield Row(
        "all stages of a 1280x720 frame, classical engines",
        "cv2.seamlessClone of the region, and the frame's files by OpenImageIO",
        taken,
        statistics.median(whole / other for whole, other, *_ in turns),
        3.0,
        least=statistics.median((one + two) / other for _, other, one, two in turns),
        least_of="its library kernels alone",
        notes=(
            line.describe_stages(),
            f"the reference takes {reference:.3f} s; {len(kernels.calls)} kernels called alone {computed:.3f} s, the "
            f"frame read and its changed lines written by OpenImageIO alone {filed:.3f} s",
        ),
    )


def measure_plate_sizes(footage: Footage, rounds: int) -> Iterator[Row]:
    """A frame of HD and of 4K with the same face, less what OpenImageIO takes for its files."""
    lines = {size: SwapLine(footage.make_shot(size, WARM_FRAMES + rounds + MATTE_REACH)) for size in (HD, UHD)}
    spent: dict[tuple[int, int], list[float]] = {size: [] for size in lines}
    filed: dict[tuple[int, int], list[float]] = {size: [] for size in lines}
    for line in lines.values():
        line.warm_up()
    for frame in range(WARM_FRAMES + 1, WARM_FRAMES + rounds + 1):
        for size, line in lines.items():
            spent[size].append(line.render(frame))
            filed[size].append(line.use_files(frame))
    own = {size: [a - b for a, b in zip(spent[size], filed[size], strict=True)] for size in lines}
    yield Row(
        "a 4K frame less its file work, face fixed",
        "the same of HD",
        statistics.median(own[UHD]),
        statistics.median(a / b for a, b in zip(own[UHD], own[HD], strict=True)),
        1.1,
        notes=tuple(
            f"{NAMES[size]}: frame {statistics.median(spent[size]):.3f} s, files {statistics.median(filed[size]):.3f} s"
            f" ({line.describe_stages()})"
            for size, line in lines.items()
        ),
    )


def measure_knob(footage: Footage, rounds: int) -> Iterator[Row]:
    """The first frame of a warm worker after a knob in blend: one that only mixes, and one that seats the face anew."""
    full_seconds: dict[str, list[float]] = {}
    line = SwapLine(footage.make_shot(FRAME_720P, WARM_FRAMES + rounds + MATTE_REACH))
    line.warm_up()
    fulls: list[float] = []
    knobs: dict[str, list[float]] = {knob: [] for knob in KNOBS}
    stages: dict[str, dict[str, list[float]]] = {knob: {} for knob in KNOBS}
    for frame in range(WARM_FRAMES + 1, WARM_FRAMES + rounds + 1):
        line.stage_seconds = full_seconds
        fulls.append(line.render(frame))
        for knob, value in KNOBS.items():
            line.stage_seconds = stages[knob]
            knobs[knob].append(line.render(frame, {knob: value}))
    for knob, seconds in knobs.items():
        line.stage_seconds = stages[knob]
        yield Row(
            f"first frame of a warm worker after {knob}",
            "full swap of that frame",
            statistics.median(seconds),
            statistics.median(one / full for one, full in zip(seconds, fulls, strict=True)),
            round(1 / 3, 3),
            notes=(line.describe_stages(),),
        )
