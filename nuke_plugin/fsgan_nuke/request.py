"""A request on its way to the worker: what has been heard of it, and how it ended."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any, Callable, Deque, Iterator, Mapping, Optional, Set, Union

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError
from fsgan_nuke.process import WorkerProcess

log = logging.getLogger(__name__)

MAX_EVENTS = 5000

EventCallback = Callable[[protocol.ProtocolEvent], None]


class PendingRequest:
    """A request on its way. Made by Client.request; may be used from any thread.

    frames: those that are in the making. done, total: frames finished and wanted. Exactly one of `result` and `error`
    is set in the end.
    """

    def __init__(
        self,
        canceller: Callable[[PendingRequest], None],
        message: protocol.ProtocolRequest,
        on_event: Optional[EventCallback],
        on_end: Optional[Callable[[PendingRequest], None]],
    ) -> None:
        self.message = message
        self.result: Optional[Mapping[str, Any]] = None
        self.error: Optional[FsganError] = None
        self.frames: Set[int] = set()
        self.done = 0
        self.total = 0
        self.has_begun = False
        self.cancel_time = 0.0  # when that was asked for
        self.process: Optional[WorkerProcess] = None
        self.tries = 0
        self._canceller = canceller
        self._on_event = on_event
        self._on_end = on_end
        self._events: Deque[protocol.ProtocolEvent] = deque(maxlen=MAX_EVENTS)
        self._condition = threading.Condition()

    @property
    def id(self) -> int:
        return self.message.id

    @property
    def has_ended(self) -> bool:
        return self.result is not None or self.error is not None

    def cancel(self) -> None:
        """Asks for an end; returns at once. A worker that does not obey in time is killed."""
        self._canceller(self)

    def wait(self, timeout: Optional[float] = None) -> Mapping[str, Any]:
        """The result. Raises the FsganError that the worker told, CancelledError, WorkerError, or TimeoutError."""
        with self._condition:
            if not self._condition.wait_for(lambda: self.has_ended, timeout):
                raise TimeoutError(f"{self.message.name} is not done after {timeout:g} s")
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def follow(self, interval: float = 0.25) -> Iterator[Optional[protocol.ProtocolEvent]]:
        """Events as they come, in the caller's thread, and None when there was none for `every` seconds; until the
        end. For one reader."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._events or self.has_ended, interval)
                event = self._events.popleft() if self._events else None
                over = event is None and self.has_ended
            if over:
                return
            yield event

    def handle_event(self, event: protocol.ProtocolEvent) -> None:
        """By the client."""
        if isinstance(event, protocol.ProgressEvent):
            self.has_begun = self.has_begun or event.step == "start"
            if event.step == "begin" and event.frame is not None:
                self.frames.add(event.frame)
                self.total = event.total
        elif isinstance(event, protocol.FrameEvent):
            self.frames.discard(event.frame)
            self.done, self.total = event.done, event.total
        with self._condition:
            self._events.append(event)
            self._condition.notify_all()
        call_safely(self._on_event, event)

    def finish(self, outcome: Union[Mapping[str, Any], FsganError]) -> None:
        """By the client; the first outcome counts."""
        with self._condition:
            if self.has_ended:
                return
            if isinstance(outcome, FsganError):
                self.error = outcome
            else:
                self.result = outcome
            self._condition.notify_all()
        call_safely(self._on_end, self)


def call_safely(function: Optional[Callable[[Any], None]], value: Any) -> None:
    """A callback's error is its own."""
    if function is None:
        return
    try:
        function(value)
    except Exception:
        log.exception("a callback failed")
