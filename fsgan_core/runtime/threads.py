"""How many threads work on a shot, so that results do not depend on it and memory stays bounded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["count_frame_workers", "limit_algebra_threads"]

MAX_WORKERS = 4
MAX_WORKING_BYTES = 1 << 30  # of all frames that are worked on at once, beside what is kept in memory
PLATES_PER_FRAME = 3  # whole plates that a frame holds while it is worked on and written

_limits_lock = threading.Lock()
_active_blocks = 0
_thread_limits: list[Any] = []


@contextmanager
def limit_algebra_threads() -> Iterator[None]:
    """Linear algebra on one thread while the block runs.

    Split over threads, sums come out in another order on a machine with another number of processors, and the same
    shot would differ in its last bits. Our systems are small, too: one thread each is faster, and frames run side by
    side instead.
    """
    from threadpoolctl import threadpool_limits

    global _active_blocks
    with _limits_lock:
        _active_blocks += 1
        _thread_limits.append(threadpool_limits(limits=1, user_api="blas"))
    try:
        yield
    finally:
        # Where several threads are in such blocks, the last one out gives the processors back.
        with _limits_lock:
            _active_blocks -= 1
            while _thread_limits and not _active_blocks:
                _thread_limits.pop().restore_original_limits()


def count_frame_workers(plate_bytes: int) -> int:
    """How many frames are worked on side by side, for plates of that size."""
    room = MAX_WORKING_BYTES // (PLATES_PER_FRAME * max(1, plate_bytes))
    return max(1, min(MAX_WORKERS, room, os.cpu_count() or 1))
