"""A request to the worker: its events, and how it ended."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any, Callable, Deque, Iterator, Mapping, Optional, Set, Union

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError
from fsgan_nuke.process import WorkerProcess

log = logging.getLogger(__name__)

MAX_EVENTS = 5000  # events that wait for a reader; older ones are dropped

EventCallback = Callable[[protocol.ProtocolEvent], None]


class PendingRequest:
    """A request to the worker, made by `Client.request`. It may be used from any thread.

    Attributes:
        message: The message that is sent.
        result: The result, after success.
        error: The error, after a failure.
        frames: Frames that are being rendered.
        done: Number of finished frames.
        total: Number of requested frames.
        has_begun: Whether the worker has started it.
        cancel_time: When it was cancelled, by time.monotonic(); 0 if it was not.
        process: The worker that it was sent to.
        tries: How often it was given to a worker.
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
        self.cancel_time = 0.0
        self.process: Optional[WorkerProcess] = None
        self.tries = 0
        self._canceller = canceller
        self._on_event = on_event
        self._on_end = on_end
        self._events: Deque[protocol.ProtocolEvent] = deque(maxlen=MAX_EVENTS)
        self._condition = threading.Condition()

    @property
    def id(self) -> int:
        """The number of the request."""
        return self.message.id

    @property
    def has_ended(self) -> bool:
        """Whether result or error is set."""
        return self.result is not None or self.error is not None

    def cancel(self) -> None:
        """Asks the worker to stop; returns at once. A worker that does not stop in time is killed."""
        self._canceller(self)

    def wait(self, timeout: Optional[float] = None) -> Mapping[str, Any]:
        """Waits for the result.

        Args:
            timeout: Seconds; None waits without limit.

        Raises:
            FsganError: What the worker reported, CancelledError, or WorkerError.
            TimeoutError: There is no result in time.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: self.has_ended, timeout):
                raise TimeoutError(f"{self.message.name} is not done after {timeout:g} s")
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def follow(self, interval: float = 0.25) -> Iterator[Optional[protocol.ProtocolEvent]]:
        """Iterates over the events until the end, in the caller's thread; for one reader.

        Args:
            interval: Seconds without an event, after which None is given.
        """
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._events or self.has_ended, interval)
                event = self._events.popleft() if self._events else None
                over = event is None and self.has_ended
            if over:
                return
            yield event

    def handle_event(self, event: protocol.ProtocolEvent) -> None:
        """Records an event; called by the client."""
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
        """Ends the request; called by the client. Only the first outcome counts."""
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
    """Calls a callback; its errors are only logged."""
    if function is None:
        return
    try:
        function(value)
    except Exception:
        log.exception("a callback failed")
