"""Reads ahead and writes behind in threads, with bounded memory. Results do not depend on the threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


def read_ahead(
    read: Callable[[int], T], frames: Iterable[int], *, workers: int = 2, ahead: int = 4
) -> Iterator[tuple[int, T]]:
    """Yields (frame, read(frame)) in order, while threads read the next frames.

    An error of `read` is raised when its frame's turn comes. Leaving the loop early stops the threads.

    Args:
        read: Reads one frame.
        frames: Frame numbers.
        workers: Number of threads.
        ahead: Most results that are ready or in progress, besides the one that the caller holds.

    >>> list(read_ahead(lambda frame: frame * 2, [1, 2, 3]))
    [(1, 2), (2, 4), (3, 6)]
    """
    waiting: deque[tuple[int, Future[T]]] = deque()
    upcoming = iter(frames)
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="read-ahead")
    try:
        for frame in upcoming:
            waiting.append((frame, pool.submit(read, frame)))
            if len(waiting) >= max(1, ahead):
                break
        while waiting:
            frame, future = waiting.popleft()
            result = future.result()
            for following in upcoming:
                waiting.append((following, pool.submit(read, following)))
                break
            yield frame, result
            del result, future
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class BackgroundWriter:
    """Runs submitted calls in threads while the caller continues; a context manager that waits for them.

    At the end of the block the error of a failed call is raised, unless the block itself failed. After an error, calls
    that have not begun are dropped.

    Args:
        limit: Most unfinished calls; `submit` waits when it is reached.
        workers: Number of threads.
    """

    def __init__(self, limit: int = 4, workers: int = 2) -> None:
        self._slots = threading.BoundedSemaphore(max(1, limit))
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="write-behind")
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def submit(self, call: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        """Runs a call in a thread. Raises the error of an earlier call, if one failed."""
        self._slots.acquire()
        try:
            self._raise_earlier_error()
            self._pool.submit(self._run, call, args, keywords)
        except BaseException:
            self._slots.release()
            raise

    def _run(self, call: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        try:
            if self._error is None:
                call(*args, **keywords)
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
        finally:
            self._slots.release()

    def _raise_earlier_error(self) -> None:
        with self._lock:
            if self._error is not None:
                raise self._error

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self._raise_earlier_error()
