"""Reading ahead and writing behind, in threads, bounded in memory; the order of results never depends on them."""

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
    """(frame, read(frame)) in the order of `frames`, while the next ones are read in `workers` threads.

    At most `ahead` results lie ready or are in the making beside the one that the caller holds. An error of
    `read` is raised at its frame's turn. Leaving the loop early stops the threads.
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
    """Runs submitted calls in threads while the caller goes on; at most `limit` are unfinished at a time.

    `submit` waits when the limit is reached, and raises the error of an earlier call, if there was one. Leaving
    the block waits for all; an error of theirs is raised unless the block itself failed. After an error, calls
    that have not begun are dropped.
    """

    def __init__(self, limit: int = 4, workers: int = 2) -> None:
        self._slots = threading.BoundedSemaphore(max(1, limit))
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="write-behind")
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def submit(self, call: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        """Raises what an earlier call raised."""
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
