"""Events on their way to the client: written by a thread of its own, so that who tells them never waits."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque

from fsgan_core.contract.errors import ProtocolError
from fsgan_core.contract.protocol import DROPPABLE_EVENTS, FINAL_EVENTS, ErrorEvent, ProgressEvent, ProtocolEvent

__all__ = ["Outbox"]

log = logging.getLogger(__name__)

DROP_LIMIT = 2000  # events that wait; from there on what may be dropped is dropped
CLOSE_SECONDS = 10.0  # seconds for the last events, when the worker ends


class Outbox:
    """Writes events to `sink`, a descriptor, one line each, in order. Safe from any thread."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._queue: deque[ProtocolEvent | None] = deque()
        self._condition = threading.Condition()
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._write_events, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, event: ProtocolEvent) -> None:
        """Never waits. A client that does not read misses progress, log and heartbeats."""
        with self._condition:
            if self._is_abandoned or (len(self._queue) >= DROP_LIMIT and _can_drop(event)):
                return
            self._queue.append(event)
            self._condition.notify()

    def close(self) -> None:
        """Waits until all is written, but not for ever."""
        with self._condition:
            self._queue.append(None)
            self._condition.notify()
        self._thread.join(CLOSE_SECONDS)

    def abandon(self) -> None:
        """Nobody reads any more."""
        with self._condition:
            self._is_abandoned = True
            self._queue.clear()
            self._queue.append(None)
            self._condition.notify()

    def _write_events(self) -> None:
        while True:
            with self._condition:
                while not self._queue:
                    self._condition.wait()
                event = self._queue.popleft()
            if event is None:
                break
            try:
                line = memoryview(_encode_event(event))
                while line:
                    line = line[os.write(self._sink, line) :]
            except OSError as error:
                log.info("the client cannot be written to: %s", error)
                self.abandon()
                break


def _can_drop(event: ProtocolEvent) -> bool:
    return isinstance(event, DROPPABLE_EVENTS) and not (isinstance(event, ProgressEvent) and event.step == "begin")


def _encode_event(event: ProtocolEvent) -> bytes:
    """An event that cannot be told becomes one that says so, where somebody waits for it."""
    try:
        return event.to_line()
    except ProtocolError as error:
        log.error("%s", error)
        return (
            ErrorEvent(event.id, "InternalError", 1, str(error)).to_line() if isinstance(event, FINAL_EVENTS) else b""
        )
