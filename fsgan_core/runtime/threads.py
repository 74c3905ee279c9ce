"""Number of threads per shot: results must not depend on it, and memory must stay bounded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["bound_thread_memory", "count_frame_workers", "limit_algebra_threads"]

MAX_WORKERS = 4
MAX_WORKING_BYTES = 1 << 30  # of all frames that are rendered at once, without the caches
PLATES_PER_FRAME = 3  # whole plates in memory while a frame is rendered and written

THREAD_STACK_BYTES = 8 << 20

_limits_lock = threading.Lock()
_active_blocks = 0
_thread_limits: list[Any] = []


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
    from threadpoolctl import threadpool_limits

    global _active_blocks
    with _limits_lock:
        _active_blocks += 1
        _thread_limits.append(threadpool_limits(limits=1, user_api="blas"))
    try:
        yield
    finally:
        # If several threads are in such blocks, the last one to leave restores the limits.
        with _limits_lock:
            _active_blocks -= 1
            while _thread_limits and not _active_blocks:
                _thread_limits.pop().restore_original_limits()


def count_frame_workers(plate_bytes: int) -> int:
    """Gives the number of frames to render in parallel, for plates of `plate_bytes` bytes."""
    room = MAX_WORKING_BYTES // (PLATES_PER_FRAME * max(1, plate_bytes))
    return max(1, min(MAX_WORKERS, room, os.cpu_count() or 1))
