"""Rows about whole shots, each rendered in a process of its own: cores, overlap, report, memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.clips import FRAME_720P, HD, NAMES, UHD, Footage
from benchmarks.table import Row
from fsgan_core.runtime.threads import count_cores

MATTE_REACH = 2  # frames after the last one that its matte is averaged with
FIRST_FRAME = 3  # the frames before it are rendered first and not counted
MANY_CORES = 16
MOST_GIB = 3.0


def measure_cores(footage: Footage, rounds: int, frames: int) -> Iterator[Row]:
    """Frames per second with all cores against one."""
    cores = min(MANY_CORES, count_cores())
    alone, together = [], []
    for _ in range(rounds):
        alone.append(_median(run_shot(footage, FRAME_720P, frames, "--cores", "1")["whole"]))
        together.append(_median(run_shot(footage, FRAME_720P, frames, "--cores", str(cores))["whole"]))
    yield Row(
        f"frames per second of 1280x720, {cores} cores ({frames} frames)",
        "one core",
        statistics.median(together),
        statistics.median(one / all_of_them for one, all_of_them in zip(alone, together, strict=True)),
        round(cores * 10 / MANY_CORES, 2),
        is_minimum=True,
        notes=(f"the aim is 10 at {MANY_CORES} cores; wall seconds, so that other programs matter",),
    )


def measure_overlap(footage: Footage, rounds: int, frames: int) -> Iterator[Row]:
    """A whole swap against the slower of its files and its work, HD and 4K; and the report of the HD one."""
    for size in (HD, UHD):
        report = footage.folder / f"report_{size[0]}"
        extra = ("--report", str(report)) if size == HD else ()
        found = run_shot(footage, size, frames, "--parts", "--rounds", str(rounds), *extra)
        slower = [max(a["wall"], b["wall"]) for a, b in zip(found["files"], found["work"], strict=True)]
        wall = [turn["wall"] for turn in found["whole"]]
        processor = {part: _median(found[part], "processor") for part in ("whole", "files", "work")}
        yield Row(
            f"whole swap, {frames} frames of {NAMES[size]}",
            "the slower of its files alone and its work alone",
            statistics.median(wall),
            statistics.median(one / other for one, other in zip(wall, slower, strict=True)),
            1.25,
            least=compute_least_overlap(processor["whole"], found["cores"], statistics.median(slower)),
            notes=(
                f"wall seconds: files {_median(found['files']):.2f}, work {_median(found['work']):.2f}; processor "
                f"seconds: whole {processor['whole']:.2f}, files {processor['files']:.2f}, work "
                f"{processor['work']:.2f}; {found['cores']} cores",
            ),
        )
        if extra:
            yield Row(
                f"report of that shot, {frames} frames of {NAMES[size]}",
                "the render of it",
                found["report"]["processor"],
                found["report"]["processor"] / processor["whole"],
                0.05,
                notes=(f"by wall seconds {found['report']['wall'] / wall[-1]:.3f}",),
            )


def compute_least_overlap(processor: float, cores: int, slower: float) -> float:
    """Compute the least that a swap takes on cores that are never idle, over the slower of its files and its work.

    Args:
        processor: Processor seconds of the swap. It takes over compressed lines from the target, so these are fewer
            than those of its files alone, which are compressed as a whole, and its work.
        cores: Cores of the machine.
        slower: Wall seconds of the slower of the two alone.

    >>> compute_least_overlap(10.0, 2, 4.0)
    1.25
    """
    return processor / cores / slower


def measure_memory(footage: Footage, small: int, large: int) -> Iterator[Row]:
    """The peak of a long 4K shot against that of a short one."""
    peaks = [run_shot(footage, UHD, count)["peak_bytes"] / 2**30 for count in (small, large)]
    yield Row(f"memory, 4K, {large} frames", f"4K, {small} frames", None, peaks[1] / peaks[0], 1.05)
    yield Row(f"the same in GiB, {count_cores()} frames at a time", "", None, peaks[1], MOST_GIB)


def run_shot(footage: Footage, size: tuple[int, int], frames: int, *options: str) -> dict[str, Any]:
    """Renders frames of a shot in a new process; returns its figures."""
    last = FIRST_FRAME + frames - 1
    shot = footage.make_shot(size, last + MATTE_REACH)
    path = footage.folder / f"shot_{size[0]}_{last}.toml"
    shot.save(path)
    command = [sys.executable, "-m", "benchmarks.shot_run", str(path), "--frames", f"{FIRST_FRAME}-{last}", *options]
    done = subprocess.run(
        command, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _median(turns: list[dict[str, float]], kind: str = "wall") -> float:
    return statistics.median(turn[kind] for turn in turns)
