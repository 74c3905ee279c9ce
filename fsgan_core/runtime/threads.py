"""How many frames at a time, and how many threads each library uses: the one place that decides.

A render works on as many frames at a time as cores and memory allow. Each frame is the work of one thread, so while a
render runs, libraries use only the cores that the frames leave. Results do not depend on any of these numbers.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = [
    "bound_thread_memory",
    "compute_working_bytes",
    "count_cores",
    "count_frame_workers",
    "get_network_threads",
    "limit_algebra_threads",
    "limit_library_threads",
    "limit_render_threads",
    "measure_usable_memory",
]

WORKING_SHARE = 1 / 8
"""Share of the machine's memory for the frames that are rendered at once, without the caches."""
MIN_WORKING_BYTES = 1 << 30
PLATES_PER_FRAME = 3
"""Whole plates in memory while a frame is rendered and written."""

THREAD_STACK_BYTES = 8 << 20

_OIIO_ATTRIBUTES = ("threads", "exr_threads")
_CGROUP_FOLDER = Path("/sys/fs/cgroup")
_limits_lock = threading.Lock()
_active_blocks = 0
_restorers: list[Callable[[], object]] = []
_network_threads = 0  # 0: no limit is set


def bound_thread_memory() -> None:
    """Bounds what threads reserve: their stacks, and OpenBLAS' buffers, of which it makes one for each core.

    Call it before numpy is imported. Variables that are set already stay. A process needs no more than one OpenBLAS
    thread, see `limit_algebra_threads`. Without these bounds, a machine with 64 cores reserves several GiB, and a shell
    with a large `ulimit -s` reserves as much for every thread.
    """
    threading.stack_size(THREAD_STACK_BYTES)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_STACKSIZE", f"{THREAD_STACK_BYTES >> 10}K")


@contextmanager
def limit_algebra_threads() -> Iterator[None]:
    """Limits linear algebra (BLAS) to one thread while the block runs.

    With more threads the order of sums depends on the number of processors, and the same shot would differ in its last
    bits on another machine. One thread is also faster for our small systems; frames run in parallel instead.
    """
    with _restore_after_last_block(
        lambda: _find_libraries(len(sys.modules)).limit(limits=1, user_api="blas").restore_original_limits
    ):
        yield


@functools.lru_cache(1)
def _find_libraries(modules: int) -> ThreadpoolController:
    """The libraries with threads of their own. They come with modules, so another number of these may mean more."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def limit_render_threads(frames: int) -> Iterator[None]:
    """Shares the cores among the frames of a render while the block runs.

    Torch and OpenCV get the cores that the frames leave, BLAS one. Files are read and written with all cores, because
    few frames are at that point at once. So does a pass of a network, of which one runs at a time: see
    `get_network_threads`.

    Args:
        frames: How many frames are rendered at a time.
    """
    cores = count_cores()
    with limit_library_threads(max(1, cores // max(1, frames)), files=cores, networks=cores):
        yield


@contextmanager
def limit_library_threads(count: int, *, files: int = 0, networks: int = 0) -> Iterator[None]:
    """Limits the threads of torch, OpenCV and OpenImageIO while the block runs, and those of BLAS to one.

    Args:
        count: Threads of torch and OpenCV, at most.
        files: Threads of OpenImageIO, at most; 0 is `count`.
        networks: Threads of a pass of a network, at most; 0 is `count`.
    """
    import cv2
    import OpenImageIO as oiio
    import torch

    torch_before = torch.get_num_threads()  # of this thread, and of threads that begin

    def set_limits() -> Callable[[], None]:
        global _network_threads
        networks_before, cv_before = _network_threads, cv2.getNumThreads()
        files_before = {name: oiio.get_int_attribute(name) for name in _OIIO_ATTRIBUTES}

        def restore() -> None:
            global _network_threads
            _network_threads = networks_before
            cv2.setNumThreads(cv_before)
            _set_file_threads(files_before)

        _network_threads = min(networks_before or torch_before, networks or count)
        cv2.setNumThreads(min(cv_before, count))
        _set_file_threads({name: min(value, files or count) for name, value in files_before.items()})
        return restore

    with _restore_after_last_block(set_limits), limit_algebra_threads():
        torch.set_num_threads(min(torch_before, count))
        try:
            yield
        finally:
            torch.set_num_threads(torch_before)


def _set_file_threads(counts: Mapping[str, int]) -> None:
    import OpenImageIO as oiio

    for name, value in counts.items():
        if value != oiio.get_int_attribute(name):
            oiio.attribute(name, value)


def get_network_threads() -> int:
    """Returns how many threads a pass of a network on the CPU uses; no other one runs at the same time."""
    import torch

    return _network_threads or int(torch.get_num_threads())


@contextmanager
def _restore_after_last_block(set_limits: Callable[[], Callable[[], object]]) -> Iterator[None]:
    """Runs a call that sets limits and returns what restores them; the last thread to leave such a block restores."""
    global _active_blocks
    with _limits_lock:
        _active_blocks += 1
        _restorers.append(set_limits())
    try:
        yield
    finally:
        with _limits_lock:
            _active_blocks -= 1
            while _restorers and not _active_blocks:
                _restorers.pop()()


def count_cores() -> int:
    """Counts the cores that this process may use: by its affinity and by the quota of its control group."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read_cgroup_value("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        available = min(available, math.ceil(int(quota) / int(period)))
    return max(1, available)


def measure_usable_memory() -> int:
    """Measures the memory that this process may use, in bytes: the machine's, or the limit of its control group.

    Returns:
        0 where the system does not report it.
    """
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 0
    limit = _read_cgroup_value("memory.max")
    return min(installed, int(limit)) if limit.isdigit() else installed


def _read_cgroup_value(name: str) -> str:
    try:
        return (_CGROUP_FOLDER / name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def count_frame_workers(plate_bytes: int) -> int:
    """Counts how many frames to render at a time: one for each core, if memory allows.

    Args:
        plate_bytes: Bytes of a plate in memory.
    """
    room = compute_working_bytes() // (PLATES_PER_FRAME * max(1, plate_bytes))
    return max(1, min(room, count_cores()))


def compute_working_bytes() -> int:
    """Computes how many bytes all frames that are rendered at once may take."""
    return max(MIN_WORKING_BYTES, int(WORKING_SHARE * measure_usable_memory()))
