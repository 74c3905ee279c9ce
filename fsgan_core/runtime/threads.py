"""How many threads work on a shot, so that results do not depend on it and memory stays bounded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["frame_workers", "one_thread_algebra"]

MOST_WORKERS = 4
WORKING_BYTES = 1 << 30  # of all frames that are worked on at once, beside what is kept in memory
FRAME_SHARE = 3  # whole plates that a frame holds while it is worked on and written

_holding = threading.Lock()
_holders = 0
_limits: list[Any] = []


@contextmanager
def one_thread_algebra() -> Iterator[None]:
    """Linear algebra on one thread while the block runs.

    Split over threads, sums come out in another order on a machine with another number of processors, and the same
    shot would differ in its last bits. Our systems are small, too: one thread each is faster, and frames run side by
    side instead.
    """
    from threadpoolctl import threadpool_limits

    global _holders
    with _holding:
        _holders += 1
        _limits.append(threadpool_limits(limits=1, user_api="blas"))
    try:
        yield
    finally:
        # Where several threads are in such blocks, the last one out gives the processors back.
        with _holding:
            _holders -= 1
            while _limits and not _holders:
                _limits.pop().restore_original_limits()


def frame_workers(plate_bytes: int) -> int:
    """How many frames are worked on side by side, for plates of that size."""
    room = WORKING_BYTES // (FRAME_SHARE * max(1, plate_bytes))
    return max(1, min(MOST_WORKERS, room, os.cpu_count() or 1))
