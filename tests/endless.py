"""A guard against work that does not end, which a busy machine cannot set off."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


@contextlib.contextmanager
def no_endless_work(limit: float = 20.0) -> Iterator[None]:
    """Fails if the block computes longer than any right answer could take.

    Only the seconds of this thread count: those of the whole process hold the threads of torch, which may still spin
    after another test.

    Args:
        limit: processor seconds; many times what is needed, a small part of what an endless block would take.
    """
    started = time.thread_time()
    yield
    assert time.thread_time() - started < limit
