"""What the Nuke plugin and the worker say to each other: one JSON object per line, over standard input and output.

A line is UTF-8 (everything beyond ASCII escaped), ends with a newline and is at most LONGEST bytes long. It is either
a request (to the worker) or an event (from it):

    {"request": "render", "id": 7, "shot": {...}, "frames": "1001-1010"}
    {"event": "frame", "id": 7, "frame": 1001, "state": "rendered", "path": "..."}

- The first request is `hello`; the worker answers it by its own `hello`. Other protocol: an `error`, kind
  "ProtocolError".
- Each request has a number of the client's choosing, never used twice. Its events carry that number; the last of them
  is a `result`, an `error` or a `pong`, and exactly one of these comes for each request.
- `render`, `analyse` and `views` wait in a queue and are done one at a time (QUEUED). `keys`, `describe`, `bundle` and
  `doctor` have a queue of their own, so that a node's status need not wait for another one's render. `hello`, `ping`,
  `cancel` and `quit` are answered at once.
- Fields that are not known are ignored, fields with a default may be left out. A request that is not known, or has
  wrong fields, is answered by an `error`; an event that is not known is passed over.
- `log`, `progress` and `heartbeat` are dropped where the reader is too slow; all others arrive.
- End of file on the worker's standard input ends the worker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Iterator, Mapping, Type, TypeVar, Union

from fsgan_core.contract.errors import ProtocolError

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 4 << 20  # bytes of a line, its newline among them

# States of a frame's file, as `keys` tells them.
FRAME_DONE = "done"
FRAME_STALE = "stale"
FRAME_MISSING = "missing"

NO_REQUEST = 0  # the number of events that belong to no request


T = TypeVar("T", bound="ProtocolMessage")


@dataclass(frozen=True)
class ProtocolMessage:
    """Base of all messages. id: of the request that it is, or belongs to; NO_REQUEST where it belongs to none."""

    kind: ClassVar[str] = ""  # "request" or "event"
    name: ClassVar[str] = ""

    id: int = NO_REQUEST

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what equals its default is left out, but for the number."""
        data: dict[str, Any] = {self.kind: self.name, "id": self.id}
        for declared in fields(self)[1:]:
            value = getattr(self, declared.name)
            if value != _FACTORY_DEFAULTS.get(str(declared.type), declared.default):
                data[declared.name] = value
        return data

    def to_line(self) -> bytes:
        """Raises ProtocolError for a message longer than LONGEST or that holds anything but plain data."""
        try:
            text = json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise ProtocolError(f"{self.name} cannot be written as JSON: {error}") from error
        line = text.encode("ascii") + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise ProtocolError(f"{self.name} is {len(line)} bytes long; {MAX_LINE_BYTES} are allowed")
        return line

    @classmethod
    def from_dict(cls: Type[T], data: Mapping[str, Any]) -> T:
        """Unknown fields are ignored. Raises ProtocolError for a value of the wrong type."""
        given: dict[str, Any] = {}
        for declared in fields(cls):
            if declared.name not in data:
                continue
            value = data[declared.name]
            if not _matches_type(value, str(declared.type)):
                raise ProtocolError(
                    f"{cls.name}.{declared.name} = {_shorten_repr(value)} is not of type {declared.type}"
                )
            given[declared.name] = tuple(value) if isinstance(value, list) else value
        return cls(**given)


class ProtocolRequest(ProtocolMessage):
    kind = "request"


class ProtocolEvent(ProtocolMessage):
    kind = "event"


# Requests.


@dataclass(frozen=True)
class HelloRequest(ProtocolRequest):
    """protocol: PROTOCOL of the client. client: its name and version, for the log."""

    name = "hello"

    protocol: int = 0
    client: str = ""


@dataclass(frozen=True)
class RenderRequest(ProtocolRequest):
    """Frames to files.

    shot: as `Shot.to_dict` gives it; paths should be absolute. stage: "" for the whole job, else "reenact", "mask",
    "inpaint" or "blend": then `shot.output` is the stage's, and `shot.source` may be missing where the stage needs
    none. upstream: the files of the stages before it, stage -> clip (a path, or a table as in the shot). frames: empty
    means the shot's. force: frames whose file is right as well. device: empty means the worker's. report: a folder for
    a report on what was rendered, as `--report`; not for a stage before "blend".

    Result: `RenderResult.to_dict` without its list of frames, which were told one by one; and "report", the page, where
    one was asked for and written.
    """

    name = "render"

    shot: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    force: bool = False
    device: str = ""
    report: str = ""


@dataclass(frozen=True)
class KeysRequest(ProtocolRequest):
    """Which frames of a render are done, stale or missing; the fields mean what they mean in Render.

    Nothing is analysed for it: where a clip was never analysed as it is now, frames with a file count as stale.

    Result: {"done": "1001-1003", "stale": "1004", "missing": "1005-1010", "total": 10, "changed": [{"frames": "1004",
    "parts": ["blend.mix"], "text": "blend.mix"}], "analysed": true, "output": "..."}; frames as ranges.
    """

    name = "keys"

    shot: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    device: str = ""


@dataclass(frozen=True)
class AnalyseRequest(ProtocolRequest):
    """Writes a track file. clip: a path, or a table as in the shot. output: the file. stages: as in the shot.

    Result: what `fsgan analyse --json` tells.
    """

    name = "analyse"

    clip: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    of_target: bool = True
    stages: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    device: str = ""


@dataclass(frozen=True)
class ViewsRequest(ProtocolRequest):
    """The appearance map of a shot's source: what its panel shows. shot: `source`, `target` (may be missing) and
    `stages` count. frames: of the target, empty means the shot's. pictures: whether small PNGs of the views are made;
    they are files in the cache, named in the answer.

    Result: what `fsgan views --json` tells.
    """

    name = "views"

    shot: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    pictures: bool = True
    device: str = ""


@dataclass(frozen=True)
class DoctorRequest(ProtocolRequest):
    """Result: what `fsgan doctor --json` tells, and "lines", the same for a person."""

    name = "doctor"


@dataclass(frozen=True)
class DescribeRequest(ProtocolRequest):
    """What menus are made of. allow: as `weights.allow`.

    Result: {"engines": {stage: {name: what it lacks, "" where it can run}}, best first; "auto": {stage: the engine that
    "auto" takes, "" for none}; "weights": [{"name", "role", "licence", "note", "default", "resolution", "installed",
    "allowed", "path"}]; "devices": [...]; "device": that the worker uses by itself; "version"}.
    """

    name = "describe"

    allow: str = "any"


@dataclass(frozen=True)
class BundleRequest(ProtocolRequest):
    """A job of a Nuke script for a render farm. script: the file. output: the job's folder. writes: names of the Writes
    to execute; none means all that are switched on. frames: of all of them; empty means as each one says. chunk: frames
    of a task. gpu: machines with one are wanted. nuke: Nuke on the farm's machines.

    Result: {"folder", "steps", "tasks", "notes", "files"}.
    """

    name = "bundle"

    script: str = ""
    output: str = ""
    writes: tuple[str, ...] = ()
    frames: str = ""
    chunk: int = 10
    gpu: bool = False
    nuke: str = "nuke"


@dataclass(frozen=True)
class CancelRequest(ProtocolRequest):
    """Ends another request: one that waits at once, one that runs within a frame. That one is answered by an `error`,
    kind "CancelledError"; this one by a result {"found": bool}."""

    name = "cancel"

    target: int = NO_REQUEST


@dataclass(frozen=True)
class PingRequest(ProtocolRequest):
    name = "ping"


@dataclass(frozen=True)
class QuitRequest(ProtocolRequest):
    """Cancels everything, answers, ends."""

    name = "quit"


# Events.


@dataclass(frozen=True)
class HelloEvent(ProtocolEvent):
    """The worker's `hello`. version: of fsgan_core. executable: its Python. device: that it uses by itself. log: its
    log file or ""."""

    name = "hello"

    protocol: int = 0
    version: str = ""
    pid: int = 0
    executable: str = ""
    device: str = ""
    log: str = ""


@dataclass(frozen=True)
class ProgressEvent(ProtocolEvent):
    """A step. step: "queued", "start", "analyse", "begin" (a frame is begun), ... subject: a clip's name, a command."""

    name = "progress"

    step: str = ""
    subject: str = ""
    done: int = 0
    total: int = 0
    frame: Union[int, None] = None
    message: str = ""


@dataclass(frozen=True)
class FrameEvent(ProtocolEvent):
    """A frame is finished. state: "rendered", "kept", "passed" or "failed". message: why it failed."""

    name = "frame"

    frame: int = 0
    state: str = ""
    path: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class LogEvent(ProtocolEvent):
    """level: "debug", "info", "warning" or "error"."""

    name = "log"

    level: str = "info"
    message: str = ""


@dataclass(frozen=True)
class ResultEvent(ProtocolEvent):
    """The end of a request that was done."""

    name = "result"

    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorEvent(ProtocolEvent):
    """The end of a request that was not done. error: the class in contract.errors, or "InternalError" (a fault of
    ours). exit_code: as the command line's."""

    name = "error"

    error: str = ""
    exit_code: int = 1
    message: str = ""


@dataclass(frozen=True)
class HeartbeatEvent(ProtocolEvent):
    """Every second or so. busy: the request that is worked on, NO_REQUEST for none. frames: those begun and not
    finished. waiting: requests in the queues. memory: bytes that the worker holds, 0 where that is not known."""

    name = "heartbeat"

    busy: int = NO_REQUEST
    frames: tuple[int, ...] = ()
    waiting: int = 0
    memory: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class PongEvent(ProtocolEvent):
    name = "pong"


REQUEST_TYPES: Mapping[str, Type[ProtocolRequest]] = {
    cls.name: cls
    for cls in (
        HelloRequest,
        RenderRequest,
        KeysRequest,
        AnalyseRequest,
        ViewsRequest,
        DoctorRequest,
        DescribeRequest,
        BundleRequest,
        CancelRequest,
        PingRequest,
        QuitRequest,
    )
}
EVENT_TYPES: Mapping[str, Type[ProtocolEvent]] = {
    cls.name: cls
    for cls in (HelloEvent, ProgressEvent, FrameEvent, LogEvent, ResultEvent, ErrorEvent, HeartbeatEvent, PongEvent)
}
QUEUED_REQUESTS = (
    RenderRequest,
    AnalyseRequest,
    ViewsRequest,
)  # done one after the other; the other long ones are questions
FINAL_EVENTS = (ResultEvent, ErrorEvent, PongEvent, HelloEvent)  # the last event of a request
DROPPABLE_EVENTS = (ProgressEvent, LogEvent, HeartbeatEvent)


def parse_request(line: bytes) -> ProtocolRequest:
    """The request in a line. Raises ProtocolError; its `request` is the number, as far as that could be read."""
    message = _parse_message(line, "request", REQUEST_TYPES)
    assert isinstance(message, ProtocolRequest)
    return message


def parse_event(line: bytes) -> ProtocolEvent:
    """The event in a line. Raises ProtocolError for anything else."""
    message = _parse_message(line, "event", EVENT_TYPES)
    assert isinstance(message, ProtocolEvent)
    return message


def _parse_message(line: bytes, kind: str, known: Mapping[str, Any]) -> ProtocolMessage:
    number = NO_REQUEST
    try:
        try:
            data = json.loads(line.decode("utf-8"))
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise ProtocolError(f"this line is no JSON: {_shorten_repr(line)} ({error})") from None
        if not isinstance(data, dict):
            raise ProtocolError(f"this line is no JSON object: {_shorten_repr(line)}")
        if _matches_type(data.get("id"), "int"):
            number = data["id"]
        name = data.get(kind)
        if not isinstance(name, str) or name not in known:
            raise ProtocolError(
                f"{_shorten_repr(name)} is no {kind} of protocol {PROTOCOL_VERSION}; there are {', '.join(known)}"
            )
        message: ProtocolMessage = known[name].from_dict(data)
        return message
    except ProtocolError as error:
        error.request_id = number
        raise


class LineSplitter:
    """Bytes as they come to whole lines; memory is bounded, whatever comes."""

    def __init__(self, longest: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = longest
        self._pending = bytearray()
        self._is_skipping = False

    def feed(self, data: bytes) -> Iterator[Union[bytes, None]]:
        """Each line without its end; None for one that was too long. Empty lines are left out."""
        parts = data.split(b"\n")
        for number, part in enumerate(parts):
            if not self._is_skipping:
                self._pending += part
                if len(self._pending) >= self._max_line_bytes:
                    self._pending.clear()
                    self._is_skipping = True
            if number == len(parts) - 1:
                return
            line, skipped = bytes(self._pending).strip(), self._is_skipping
            self._pending.clear()
            self._is_skipping = False
            if skipped:
                yield None
            elif line:
                yield line


_FACTORY_DEFAULTS: Mapping[str, Any] = {"Mapping[str, Any]": {}}  # of fields whose default is made by a factory


def _matches_type(value: Any, kind: str) -> bool:
    """Whether a value as JSON has it is of a field's declared type."""
    number = isinstance(value, int) and not isinstance(value, bool)
    if kind == "Union[int, None]":
        return value is None or number
    if kind in ("tuple[int, ...]", "tuple[str, ...]"):
        return isinstance(value, (list, tuple)) and all(_matches_type(item, kind[6:9]) for item in value)
    return {
        "int": number,
        "float": number or isinstance(value, float),
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "Mapping[str, Any]": isinstance(value, dict),
    }[kind]


def _shorten_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
