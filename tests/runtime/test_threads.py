"""How many frames at a time, and how many threads each library uses."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import cv2
import OpenImageIO as oiio
import pytest
import threadpoolctl
import torch

from fsgan_core.runtime import threads

PLATE_4K = 4 * 3840 * 2160 * 3


@pytest.mark.parametrize(
    ("cores", "gibibytes", "plate", "frames"),
    [
        (2, 24, PLATE_4K, 2),
        (16, 128, PLATE_4K, 16),
        (16, 8, PLATE_4K, 3),  # an eighth of the memory
        (64, 8, PLATE_4K // 9, 32),
        (16, 0, PLATE_4K, 3),  # unknown memory
        (4, 8, 1 << 40, 1),
    ],
)
def test_frames_at_a_time(monkeypatch: pytest.MonkeyPatch, cores: int, gibibytes: int, plate: int, frames: int) -> None:
    monkeypatch.setattr(threads, "count_cores", lambda: cores)
    monkeypatch.setattr(threads, "measure_usable_memory", lambda: gibibytes << 30)
    assert threads.count_frame_workers(plate) == frames


def test_limits_of_a_control_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(threads, "_CGROUP_FOLDER", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert threads.count_cores() == 8
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert threads.count_cores() == 3
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert threads.count_cores() == 8
    if hasattr(os, "sysconf"):
        (tmp_path / "memory.max").write_text("1000000\n")
        assert threads.measure_usable_memory() == 1000000


def read_counts() -> tuple[int, ...]:
    blas = [int(pool["num_threads"]) for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return (torch.get_num_threads(), cv2.getNumThreads(), oiio.get_int_attribute("exr_threads"), max(blas))


def test_libraries_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count_cores", lambda: 4)
    before = read_counts()
    torch.set_num_threads(4)
    cv2.setNumThreads(4)
    start = read_counts()
    try:
        with threads.limit_render_threads(2):
            assert read_counts() == (2, 2, start[2], 1)
            assert threads.get_network_threads() == 4
            with threads.limit_render_threads(4):
                assert read_counts()[:2] == (1, 1)
                assert threads.get_network_threads() == 4
        assert read_counts() == start and threads.get_network_threads() == 4
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_libraries_are_looked_for_again_only_after_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    find, found = threadpoolctl.ThreadpoolController, []

    def count() -> threadpoolctl.ThreadpoolController:
        found.append(find())
        return found[-1]

    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", count)
    threads._find_libraries.cache_clear()
    for _ in range(3):
        with threads.limit_algebra_threads():
            assert len(found) == 1
    monkeypatch.setitem(sys.modules, "one_more", types.ModuleType("one_more"))
    with threads.limit_algebra_threads():
        assert len(found) == 2
