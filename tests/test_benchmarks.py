"""The benchmarks run and print their tables. No figure is judged: times depend on the machine."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks import shot_rows
from benchmarks.clips import Footage
from benchmarks.kernel_replay import KernelReplay
from benchmarks.table import Row

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_table(tmp_path: Path) -> None:
    folder = ("--folder", str(tmp_path))
    done = run("benchmarks", "--rows", "poisson", "colour", "--rounds", "1", "--poisson-sizes", "64", *folder)
    assert done.returncode == 0, done.stderr
    machine, empty, *table = done.stdout.splitlines()
    assert "cores" in machine and "torch" in machine and not empty
    assert [len(line.split("|")) for line in table] == [8] * 4
    assert "face of 64 px" in table[2] and "1000 x 1000" in table[3]


@pytest.mark.parametrize(
    ("ratio", "is_minimum", "is_met"), [(1.004, False, True), (1.02, False, False), (2, True, True)]
)
def test_aims(ratio: float, is_minimum: bool, is_met: bool) -> None:
    row = Row("a", "b", 0.5, ratio, 1.0, is_minimum)
    assert row.is_met == is_met
    assert row.format().endswith(f"| at {'least' if is_minimum else 'most'} 1 | {'yes' if is_met else 'no'} |")


def test_the_least_that_an_overlap_can_be_stands_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run_shot(*_: object) -> dict[str, Any]:
        turns = {"whole": (13.0, 20.0), "files": (5.0, 8.0), "work": (10.0, 16.0)}
        found = {part: [{"wall": wall, "processor": spent}] for part, (wall, spent) in turns.items()}
        return {**found, "cores": 2, "report": {"wall": 1.0, "processor": 1.0}}

    monkeypatch.setattr(shot_rows, "run_shot", run_shot)
    rows = list(shot_rows.measure_overlap(Footage(tmp_path), rounds=1, frames=6))
    overlaps = [row.format() for row in rows if row.what.startswith("whole swap")]
    assert len(overlaps) == 2
    assert all("| 13.000 | 1.30 (cores never idle: at least 1.00) | at most 1.25 | no |" in row for row in overlaps)
    assert "never idle" not in next(row for row in rows if row.what.startswith("report")).format()


def test_kernels_are_called_again_with_their_arrays() -> None:
    """Also by other threads; those that another kernel calls are part of it, and what is frozen later is no trouble."""
    picture, sums = np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32)
    kernels = KernelReplay()
    with kernels.record():
        thread = threading.Thread(target=lambda: cv2.blur(picture, (3, 3), dst=sums))
        thread.start()
        thread.join()
        np.median(picture)
        sums.setflags(write=False)
    assert [kernel.__name__ for kernel, *_ in kernels.calls] == ["blur", "median"]
    assert cv2.blur.__name__ == "blur" and inspect.isbuiltin(cv2.blur)
    kernels.repeat()
    again = kernels.calls[0][2]["dst"]
    assert again is not sums and np.array_equal(again, sums) and again.max() == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_rows_without_a_gpu() -> None:
    done = run("benchmarks.gpu")
    assert done.returncode == 3 and "no GPU" in done.stdout
    done = run("benchmarks.gpu", "--dry-run", "--no-frames")
    assert done.returncode == 4, done.stderr
    assert "| a swap frame, 3 views | eager |" in done.stdout
