"""One client of a worker: its unfinished requests, and the events that are sent to it."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

from fsgan_core.contract import protocol
from fsgan_core.contract.protocol import NO_REQUEST
from fsgan_core.runtime.events import Event
from fsgan_core.runtime.failures import explain_exception
from fsgan_core.runtime.process_memory import measure_resident_bytes
from fsgan_core.worker.handlers import make_frame_path
from fsgan_core.worker.outbox import Outbox
from fsgan_core.worker.transports import Connection

__all__ = ["QueuedRequest", "WorkerClient"]

log = logging.getLogger(__name__)

READ_SIZE = 1 << 16  # bytes
MAX_LOG_LENGTH = 4000  # characters of a log event
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class QueuedRequest:
    """A request that waits or runs.

    Attributes:
        client: The client that sent it.
        request: The request.
        cancelled: Set when the request must stop.
        start_time: Monotonic time of its start, in seconds.
        open_frames: Frames that were begun and are not finished.
    """

    def __init__(self, client: WorkerClient, request: protocol.ProtocolRequest) -> None:
        self.client = client
        self.request = request
        self.cancelled = threading.Event()
        self.start_time = time.monotonic()
        self.open_frames: set[int] = set()

    def send_step(self, event: Event) -> None:
        """Sends a step of the work. May be called from any thread."""
        number = self.request.id
        if event.kind == "frame":
            self.open_frames.discard(event.frame or 0)
            self.client.send(
                protocol.FrameEvent(
                    number,
                    frame=event.frame or 0,
                    state=event.state,
                    path=make_frame_path(self.request, event.frame or 0),
                    done=event.done,
                    total=event.total,
                    seconds=round(event.seconds, 4),
                    message=event.message,
                    subject=event.subject,
                )
            )
            return
        if event.kind == "begin":
            self.open_frames.add(event.frame or 0)
        self.client.send(
            protocol.ProgressEvent(
                number,
                step=event.kind,
                subject=event.subject,
                done=event.done,
                total=event.total,
                frame=event.frame,
                message=event.message,
            )
        )


class WorkerClient:
    """A client and its unfinished requests, by number."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox = Outbox(connection.sink)
        self.is_greeted = False
        self.log_level = logging.INFO
        self.requests: dict[int, QueuedRequest] = {}

    def start(self) -> None:
        """Begins to write events."""
        self._outbox.start()

    def read_lines(self) -> Iterator[bytes | None]:
        """Iterates over what the client sends until it leaves; None is a line that was too long."""
        splitter = protocol.LineSplitter()
        try:
            while data := os.read(self._connection.source, READ_SIZE):
                yield from splitter.feed(data)
            log.debug("the client has closed its end")
        except OSError as error:
            log.info("cannot read from the client: %s", error)

    def send(self, event: protocol.ProtocolEvent) -> None:
        """Sends an event, without waiting. May be called from any thread."""
        self._outbox.put(event)

    def send_failure(self, number: int, error: Exception) -> None:
        """Ends a request with an error."""
        known = explain_exception(error, ["worker"])
        self.send(protocol.ErrorEvent(number, type(known).__name__, known.exit_code, str(known)))

    def send_log(self, record: logging.LogRecord) -> None:
        """Sends a log record, if the client wants its level."""
        if record.levelno < self.log_level:
            return
        message = record.getMessage()[:MAX_LOG_LENGTH]
        if record.exc_info and self.log_level <= logging.DEBUG:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        if "frame" in fields:
            fields["resident_bytes"] = measure_resident_bytes()
        self.send(
            protocol.LogEvent(
                level=record.levelname.lower(),
                message=message,
                logger=record.name,
                facts=_make_plain(fields),
            )
        )

    def send_heartbeat(self, running: QueuedRequest | None, memory: int) -> None:
        """Sends a heartbeat. running: the request that the worker runs, for any client. memory: bytes."""
        if running is not None and running.client is not self:
            running = None
        self.send(
            protocol.HeartbeatEvent(
                busy=running.request.id if running is not None else NO_REQUEST,
                frames=tuple(sorted(running.open_frames)) if running is not None else (),
                waiting=max(0, len(self.requests) - (running is not None)),
                memory=memory,
                seconds=round(time.monotonic() - running.start_time, 1) if running is not None else 0.0,
            )
        )

    def abandon(self) -> None:
        """Drops the events that wait: nobody reads them any more."""
        self._outbox.abandon()

    def close(self) -> None:
        """Sends the events that wait, within a time limit, and ends the connection."""
        self._outbox.close()
        self._connection.shut_down()
        self._outbox.abandon()
        self._outbox.close()
        self._connection.close()


def _make_plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Converts facts to plain data for JSON; empty if that is not possible."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(fields, default=str, allow_nan=False)) if fields else {}
    except (TypeError, ValueError, RecursionError):
        return {}
    return plain
