"""Events on their way to the client: written by a thread of its own, so that who tells them never waits."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque

from fsgan_core.contract.errors import ProtocolError
from fsgan_core.contract.protocol import DROPPABLE, ENDS, Event, Failure, Progress

__all__ = ["Outbox"]

log = logging.getLogger(__name__)

CROWDED = 2000  # events that wait; from there on what may be dropped is dropped
PATIENCE = 10.0  # seconds for the last events, when the worker ends


class Outbox:
    """Writes events to `sink`, a descriptor, one line each, in order. Safe from any thread."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._waiting: deque[Event | None] = deque()
        self._there = threading.Condition()
        self._gone = False
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, event: Event) -> None:
        """Never waits. A client that does not read misses progress, log and heartbeats."""
        with self._there:
            if self._gone or (len(self._waiting) >= CROWDED and _may_drop(event)):
                return
            self._waiting.append(event)
            self._there.notify()

    def close(self) -> None:
        """Waits until all is written, but not for ever."""
        with self._there:
            self._waiting.append(None)
            self._there.notify()
        self._thread.join(PATIENCE)

    def abandon(self) -> None:
        """Nobody reads any more."""
        with self._there:
            self._gone = True
            self._waiting.clear()
            self._waiting.append(None)
            self._there.notify()

    def _write(self) -> None:
        while True:
            with self._there:
                while not self._waiting:
                    self._there.wait()
                event = self._waiting.popleft()
            if event is None:
                break
            try:
                line = memoryview(_line(event))
                while line:
                    line = line[os.write(self._sink, line):]
            except OSError as error:
                log.info("the client cannot be written to: %s", error)
                self.abandon()
                break


def _may_drop(event: Event) -> bool:
    return isinstance(event, DROPPABLE) and not (isinstance(event, Progress) and event.step == "begin")


def _line(event: Event) -> bytes:
    """An event that cannot be told becomes one that says so, where somebody waits for it."""
    try:
        return event.to_line()
    except ProtocolError as error:
        log.error("%s", error)
        return Failure(event.id, "InternalError", 1, str(error)).to_line() if isinstance(event, ENDS) else b""
