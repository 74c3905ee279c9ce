"""Renders a shot in a process of its own and prints what it cost, as JSON: for the rows about whole shots.

    python -m benchmarks.shot_run SHOT.toml --frames 3-14 [--cores 1] [--rounds 3] [--parts] [--report FOLDER]

Frame 1 and 2 are rendered first, so that what a clip costs once is not counted. Then the frames are rendered, in turns
with `--parts`: the files alone (every frame read, and written again as a result is) and the work alone (plates that are
in memory, results that are not written).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from fsgan_core.contract.shot import Shot
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.plates.stream import BackgroundWriter, read_ahead
from fsgan_core.render import pipeline
from fsgan_core.render.pipeline import PictureListener, RenderJob
from fsgan_core.render.plan import RenderPlan, plan_shot_job
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.report.kept_looks import KeptLooks
from fsgan_core.report.write import write_report
from fsgan_core.runtime.events import RenderResult
from fsgan_core.runtime.process_memory import measure_peak_bytes
from fsgan_core.runtime.threads import count_cores, count_frame_workers, limit_render_threads

WARM_FRAMES = (1, 2)
MATTE_REACH = 2  # frames that a matte is averaged with


def prepare(plan: RenderPlan, on_picture: PictureListener | None = None) -> RenderJob:
    """Renders the first frames without writing them; returns a job that has yet to render its own frames."""
    warm = WarmCache()
    with mock.patch.object(pipeline, "write_exr"):
        RenderJob(replace(plan, frames=WARM_FRAMES), force=True, warm=warm).run()
    job = RenderJob(plan, force=True, warm=warm, on_picture=on_picture)
    job.renderer._keeps_pictures = False  # only a worker of Nuke keeps them
    return job


def copy_files(plan: RenderPlan) -> None:
    """Reads every frame and writes it again, with the threads of a render."""
    sequence, options = plan.inputs.target.sequence, plan.inputs.stages.output
    workers = count_frame_workers(plan.count_written_bytes(sequence.read(plan.frames[0])))

    def copy_frame(frame: int) -> None:
        path = Path(plan.output).parent / "copy" / format_output_path(plan.output, frame).name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer.submit(write_exr, path, sequence.read(frame), compression=options.compression, depth=options.depth)

    with limit_render_threads(workers), BackgroundWriter(limit=workers, workers=workers) as writer:
        for _ in read_ahead(copy_frame, plan.frames, workers=workers, ahead=workers):
            pass


def measure(work: Callable[[], object]) -> dict[str, float]:
    """Measures wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def measure_rounds(plan: RenderPlan, rounds: int, parts: bool, figures: dict[str, Any]) -> RenderResult:
    """Measures the render, and its parts in turns with it; adds lists of seconds to `figures`."""
    results: list[RenderResult] = []
    for _ in range(rounds):
        job = prepare(plan)
        figures.setdefault("whole", []).append(measure(lambda job=job: results.append(job.run())))  # type: ignore[misc]
        if not parts:
            continue
        figures.setdefault("files", []).append(measure(lambda: copy_files(plan)))
        sequence = plan.inputs.target.sequence
        plates = {frame: sequence.read(frame) for frame in sequence.frames if frame <= plan.frames[-1] + MATTE_REACH}
        with mock.patch.object(sequence, "read", plates.__getitem__), mock.patch.object(pipeline, "write_exr"):
            job = prepare(plan)
            figures.setdefault("work", []).append(measure(job.run))
    return results[-1]


def measure_report(plan: RenderPlan, folder: Path, shot: Shot) -> dict[str, float]:
    """Measures what a report adds to a render: while the render runs, and after it."""
    kept, during = KeptLooks(), list[float]()

    def keep(job: RenderJob, frame: int, plate: Plate) -> None:
        start = time.thread_time()
        kept.keep(job, frame, plate)
        during.append(time.thread_time() - start)

    result = prepare(plan, keep).run()
    after = measure(lambda: write_report(folder, shot, result, kept=kept))
    return {
        "wall": after["wall"],
        "processor": after["processor"] + sum(during),
        "while_rendering": sum(during),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shot", type=Path)
    parser.add_argument("--frames", default="")
    parser.add_argument("--cores", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: options.cores]))
    shot = Shot.load(options.shot)
    plan = plan_shot_job(shot, frames=options.frames)
    figures: dict[str, Any] = {"cores": count_cores(), "frames": len(plan.frames)}
    result = measure_rounds(plan, options.rounds, options.parts, figures)
    figures["render_seconds"] = dict(result.seconds)
    figures["peak_bytes"] = measure_peak_bytes()
    if options.report:
        figures["report"] = measure_report(plan, options.report, shot)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
