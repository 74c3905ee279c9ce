"""The messages from a worker, one class each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Type, Union

from fsgan_core.contract import errors
from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.protocol.message import NO_REQUEST, ProtocolEvent

INTERNAL_ERROR = errors.InternalError.__name__  # ErrorEvent.error for a fault in our own code
START_STEP = "start"  # ProgressEvent.step: the request has left the queue


@dataclass(frozen=True)
class HelloEvent(ProtocolEvent):
    """Answers `hello`.

    Attributes:
        protocol: PROTOCOL_VERSION of the worker.
        version: Version of fsgan_core.
        pid: Process number of the worker.
        executable: Its Python.
        device: Its default device.
        log: Its log file, or "".
    """

    name = "hello"

    protocol: int = 0
    version: str = ""
    pid: int = 0
    executable: str = ""
    device: str = ""
    log: str = ""


@dataclass(frozen=True)
class ProgressEvent(ProtocolEvent):
    """Tells how far a request has come.

    Attributes:
        step: "queued", "start", "analyse", "begin" (a frame begins), ...
        subject: Name of the clip or command.
        done: Finished steps.
        total: All steps.
        frame: Number of the frame, if the step is about one.
        message: Text for a person.
    """

    name = "progress"

    step: str = ""
    subject: str = ""
    done: int = 0
    total: int = 0
    frame: Union[int, None] = None
    message: str = ""


@dataclass(frozen=True)
class FrameEvent(ProtocolEvent):
    """Tells that a frame is finished.

    Attributes:
        frame: Number of the frame.
        state: "rendered", "kept", "passed" or "failed".
        path: The file.
        done: Finished frames.
        total: All frames.
        seconds: Time that the frame took.
        message: Why it failed.
        subject: The command, such as "swap".
    """

    name = "frame"

    frame: int = 0
    state: str = ""
    path: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    message: str = ""
    subject: str = ""


@dataclass(frozen=True)
class LogEvent(ProtocolEvent):
    """Passes on a line of the worker's log.

    Attributes:
        level: "debug", "info", "warning" or "error".
        message: The line.
        logger: The module that logged it.
        facts: Further fields of the record, such as a frame's seconds by stage.
    """

    name = "log"

    level: str = "info"
    message: str = ""
    logger: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResultEvent(ProtocolEvent):
    """Ends a request that succeeded; each request says what `data` holds."""

    name = "result"

    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorEvent(ProtocolEvent):
    """Ends a request that failed.

    Attributes:
        error: Class in contract.errors, or "InternalError" for a fault of the program.
        exit_code: As on the command line.
        message: Text for a person.
    """

    name = "error"

    error: str = ""
    exit_code: int = errors.InternalError.exit_code
    message: str = ""

    def make_error(self) -> FsganError:
        """Makes the error that the worker met, of its own class where that is known here."""
        cls = getattr(errors, self.error, FsganError)
        if not (isinstance(cls, type) and issubclass(cls, FsganError)) or cls is errors.FramesFailedError:
            cls = FsganError
        error = cls(self.message)
        error.exit_code = self.exit_code
        return error


@dataclass(frozen=True)
class HeartbeatEvent(ProtocolEvent):
    """Tells about once a second that the worker is alive.

    Attributes:
        busy: Number of the running request; NO_REQUEST for none.
        frames: Frames that are being rendered.
        waiting: Number of requests in the queues.
        memory: Bytes of memory that the worker uses; 0 if unknown.
        seconds: Time that the running request has taken.
    """

    name = "heartbeat"

    busy: int = NO_REQUEST
    frames: tuple[int, ...] = ()
    waiting: int = 0
    memory: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class PongEvent(ProtocolEvent):
    """Answers `ping`."""

    name = "pong"


EVENT_TYPES: Mapping[str, Type[ProtocolEvent]] = {
    cls.name: cls
    for cls in (HelloEvent, ProgressEvent, FrameEvent, LogEvent, ResultEvent, ErrorEvent, HeartbeatEvent, PongEvent)
}
FINAL_EVENTS = (ResultEvent, ErrorEvent, PongEvent, HelloEvent)  # the last event of each request
DROPPABLE_EVENTS = (ProgressEvent, LogEvent, HeartbeatEvent)
