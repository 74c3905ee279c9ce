"""Sends events to a client from a separate thread, so that the sender never waits."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque

from fsgan_core.contract.errors import InternalError, ProtocolError
from fsgan_core.contract.protocol import DROPPABLE_EVENTS, FINAL_EVENTS, ErrorEvent, ProgressEvent, ProtocolEvent

__all__ = ["Outbox"]

log = logging.getLogger(__name__)

DROP_LIMIT = 2000  # waiting events; above it, events that may be lost are dropped
CLOSE_SECONDS = 10.0  # for the last events, when the worker ends


class Outbox:
    """Writes events in order, one line each. Safe from any thread.

    Args:
        sink: The descriptor that is written to.
    """

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._queue: deque[ProtocolEvent | None] = deque()
        self._condition = threading.Condition()
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._write_events, name="writer", daemon=True)

    def start(self) -> None:
        """Starts the thread that writes."""
        self._thread.start()

    def put(self, event: ProtocolEvent) -> None:
        """Adds an event, without waiting. A client that does not read loses progress, log and heartbeat events."""
        with self._condition:
            if self._is_abandoned or (len(self._queue) >= DROP_LIMIT and _can_drop(event)):
                return
            self._queue.append(event)
            self._condition.notify()

    def close(self) -> None:
        """Waits until all events are written, at most CLOSE_SECONDS."""
        with self._condition:
            self._queue.append(None)
            self._condition.notify()
        self._thread.join(CLOSE_SECONDS)

    def abandon(self) -> None:
        """Drops the events that wait: nobody reads them any more."""
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
                log.info("cannot write to the client: %s", error)
                self.abandon()
                break


def _can_drop(event: ProtocolEvent) -> bool:
    return isinstance(event, DROPPABLE_EVENTS) and not (isinstance(event, ProgressEvent) and event.step == "begin")


def _encode_event(event: ProtocolEvent) -> bytes:
    """Encodes an event. If that fails, the last event of a request becomes an error event; others become nothing."""
    try:
        return event.to_line()
    except ProtocolError as error:
        log.error("%s", error)
        if not isinstance(event, FINAL_EVENTS):
            return b""
        return ErrorEvent(event.id, InternalError.__name__, InternalError.exit_code, str(error)).to_line()
