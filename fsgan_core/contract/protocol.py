"""The messages between a worker and its clients: one JSON object per line.

The Nuke plugin uses the worker's standard input and output, a task of a farm the local socket of its session.

A line is UTF-8 (non-ASCII characters escaped), ends with a newline and has at most MAX_LINE_BYTES bytes. It is a
request (to the worker) or an event (from it):

    {"request": "render", "id": 7, "shot": {...}, "frames": "1001-1010"}
    {"event": "frame", "id": 7, "frame": 1001, "state": "rendered", "path": "..."}

- The first request is `hello`; the worker answers with its own `hello`. If the client has another protocol version, the
  answer is an `error` of kind "ProtocolError".
- Each request has a number, chosen by the client and never used twice. Its events carry that number. The last of them
  is a `result`, an `error` or a `pong`; each request gets exactly one of these.
- `render`, `analyse`, `views`, `atlas` and `farm_task` wait in a queue and run one at a time (QUEUED_REQUESTS). `keys`,
  `describe`, `bundle` and `doctor` have a queue of their own, so that a node's status need not wait for another node's
  render. `hello`, `ping`, `cancel` and `quit` are answered at once.
- Unknown fields are ignored; fields with a default may be left out. A request that is unknown or has wrong fields is
  answered with an `error`. An unknown event is ignored.
- `log`, `progress` and `heartbeat` are dropped if the reader is too slow; all other events arrive.
- On pipes, the end of the worker's standard input ends the worker. On a socket the worker stays when a client leaves;
  but if a request of that client has not ended, it is cancelled and the worker ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Iterator, Mapping, Type, TypeVar, Union

from fsgan_core.contract import errors
from fsgan_core.contract.errors import FsganError, ProtocolError
from fsgan_core.contract.plain_data import parse_json

PROTOCOL_VERSION = 1
INTERNAL_ERROR = errors.InternalError.__name__  # ErrorEvent.error for a fault in our own code
MAX_LINE_BYTES = 4 << 20  # of a line, including its newline

# States of a frame's file in the result of `keys`.
FRAME_DONE = "done"
FRAME_STALE = "stale"
FRAME_MISSING = "missing"

START_STEP = "start"  # ProgressEvent.step: the request has left the queue

# Tasks of a farm's job, as `fsgan farm task` and FarmTaskRequest name them.
FARM_TASKS = (
    "analyse-source",
    "analyse-target",
    "finetune",
    "render",
    "report",
    "analyse-nodes",
    "render-nodes",
)

NO_REQUEST = 0  # number of events that belong to no request


T = TypeVar("T", bound="ProtocolMessage")


@dataclass(frozen=True)
class ProtocolMessage:
    """Base of all messages.

    Attributes:
        kind: "request" or "event".
        name: The name of this message on the wire.
        id: Number of the request; NO_REQUEST if the message belongs to none.
    """

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

    id: int = NO_REQUEST

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data. Fields with their default value are left out, except the number."""
        data: dict[str, Any] = {self.kind: self.name, "id": self.id}
        for declared in fields(self)[1:]:
            value = getattr(self, declared.name)
            if value != _FACTORY_DEFAULTS.get(str(declared.type), declared.default):
                data[declared.name] = value
        return data

    def to_line(self) -> bytes:
        """Encodes as one line.

        Raises:
            ProtocolError: The line is longer than MAX_LINE_BYTES, or a field holds more than plain data.
        """
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
        """Makes the message from plain data; ignores unknown fields. Raises ProtocolError for a wrong type."""
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
    """Base of messages to the worker."""

    kind = "request"


class ProtocolEvent(ProtocolMessage):
    """Base of messages from the worker."""

    kind = "event"


# Requests.


@dataclass(frozen=True)
class HelloRequest(ProtocolRequest):
    """Opens the conversation.

    Attributes:
        protocol: PROTOCOL_VERSION of the client.
        client: Name and version of the client, for the log.
        log_level: Lowest level of the log events to send: "debug", "info", "warning" or "error".
    """

    name = "hello"

    protocol: int = 0
    client: str = ""
    log_level: str = "info"


@dataclass(frozen=True)
class RenderRequest(ProtocolRequest):
    """Renders frames to files.

    Result: `RenderResult.to_dict` without its list of frames, which were sent one by one; and "report", the path of the
    page, if one was requested and written.

    Attributes:
        shot: As `Shot.to_dict` gives it. Paths should be absolute.
        stage: Empty for the whole job, or one stage: "reenact", "mask", "inpaint" or "blend". Then `shot.output` is the
            stage's output, and `shot.source` may be missing if the stage needs none.
        upstream: Files of the stages before it: stage -> clip (a path, or a table as in the shot).
        frames: Frame range; empty is the shot's.
        force: Render frames again even if they are up to date.
        device: Empty is the worker's.
        report: Folder for a report, as `--report`; empty writes none. Not for a stage before "blend".
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
    """Asks which frames of a render are done, stale or missing. The fields are those of RenderRequest.

    Nothing is analysed: if the analysis of a clip is not in the cache, frames that have a file count as stale.

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
    """Analyses a clip and writes its track file.

    Result: the same as `fsgan analyse --json`.

    Attributes:
        clip: A table as in the shot.
        output: The track file.
        of_target: Whether the clip is a target; else it is a source.
        stages: Parameters as in the shot.
        frames: Frame range; empty is the whole clip.
        device: Empty is the worker's.
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
    """Asks for the appearance map of a shot's source, which the view map panel shows.

    Result: the same as `fsgan views --json`.

    Attributes:
        shot: Only `source`, `target` (optional) and `stages` are read.
        frames: Frame range of the target; empty is the shot's.
        pictures: Make small PNGs of the views, as files in the cache whose paths are in the result.
        device: Empty is the worker's.
    """

    name = "views"

    shot: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    pictures: bool = True
    device: str = ""


@dataclass(frozen=True)
class AtlasRequest(ProtocolRequest):
    """Writes the atlas of a shot's source to an EXR file.

    Result: the same as `fsgan atlas --json`.

    Attributes:
        shot: Only `source` and `stages` are read.
        output: The EXR file.
        device: Empty is the worker's.
    """

    name = "atlas"

    shot: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    device: str = ""


@dataclass(frozen=True)
class DoctorRequest(ProtocolRequest):
    """Asks what is installed.

    Result: the same as `fsgan doctor --json`, and "lines", the same as text for a person.
    """

    name = "doctor"


@dataclass(frozen=True)
class DescribeRequest(ProtocolRequest):
    """Asks for engines, weights and devices, to fill menus.

    Result: {"engines": {stage: {name: what is missing, "" if it can run}}, best first; "auto": {stage: the engine that
    "auto" uses, "" for none}; "weights": [{"name", "role", "licence", "note", "default", "resolution", "installed",
    "allowed", "path"}]; "devices": [...]; "device": the worker's default; "version"}.

    Attributes:
        allow: As `weights.allow`.
    """

    name = "describe"

    allow: str = "any"


@dataclass(frozen=True)
class BundleRequest(ProtocolRequest):
    """Writes a render farm job of a Nuke script.

    Result: {"folder", "steps", "tasks", "notes", "files"}.

    Attributes:
        script: The Nuke script.
        output: Folder of the job.
        writes: Names of the Write nodes to execute; empty is all that are enabled.
        frames: Frame range of all of them; empty uses each node's own.
        chunk: Frames per task.
        gpu: Request machines with a GPU.
        nuke: Command that starts Nuke on the farm.
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
class FarmTaskRequest(ProtocolRequest):
    """One task of a farm's job, as `fsgan farm task` does it.

    Attributes:
        task: "render", "report", "analyse-target", ...: one of FARM_TASKS.
        shot: The bundle's shot file; for the tasks of a Nuke script, its nodes.json. An absolute path.
        work: Folder of tracks, times and the report. An absolute path.
        paths: Where things are on this machine, by name: "source.1", "target", "output", "weights.1", ...
        frames: Frame numbers and ranges; empty: those of the shot.
        number: Which source to analyse, from 1.
        iterations: Of fine-tuning.
        licence: Licence class of the source's footage, for fine-tuning.
        start: Weights that fine-tuning starts from.
        expect: Version, engines and weights of the machine that made the job; a machine with others refuses.
        device: Empty: the worker's.
        version: Version of fsgan of the client; a worker of another version refuses.
        variables: The client's environment variables that can change pixels; a worker with others refuses.

    Result: {"renders": [{"node": its name or "", "result": as `RenderResult.to_dict`}], "report": the page} for
    "render", "render-nodes" and "report"; {"facts": {...}} for the others. A refusal is an `error`,
    "SessionRefusedError".
    """

    name = "farm_task"

    task: str = ""
    shot: str = ""
    work: str = ""
    paths: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    number: int = 1
    iterations: int = 800
    licence: str = "unknown"
    start: str = ""
    expect: str = ""
    device: str = ""
    version: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CancelRequest(ProtocolRequest):
    """Cancels another request: at once if it waits, within a frame if it runs.

    That request is answered with an `error` of kind "CancelledError", this one with a result {"found": bool}.

    Attributes:
        target: Number of the request to cancel.
    """

    name = "cancel"

    target: int = NO_REQUEST


@dataclass(frozen=True)
class PingRequest(ProtocolRequest):
    """Asks whether the worker is alive."""

    name = "ping"


@dataclass(frozen=True)
class QuitRequest(ProtocolRequest):
    """Cancels all requests, answers, and ends the worker."""

    name = "quit"


# Events.


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


REQUEST_TYPES: Mapping[str, Type[ProtocolRequest]] = {
    cls.name: cls
    for cls in (
        HelloRequest,
        RenderRequest,
        KeysRequest,
        AnalyseRequest,
        ViewsRequest,
        AtlasRequest,
        DoctorRequest,
        DescribeRequest,
        BundleRequest,
        FarmTaskRequest,
        CancelRequest,
        PingRequest,
        QuitRequest,
    )
}
EVENT_TYPES: Mapping[str, Type[ProtocolEvent]] = {
    cls.name: cls
    for cls in (HelloEvent, ProgressEvent, FrameEvent, LogEvent, ResultEvent, ErrorEvent, HeartbeatEvent, PongEvent)
}
QUEUED_REQUESTS = (RenderRequest, AnalyseRequest, ViewsRequest, AtlasRequest, FarmTaskRequest)  # run one at a time
FINAL_EVENTS = (ResultEvent, ErrorEvent, PongEvent, HelloEvent)  # the last event of each request
DROPPABLE_EVENTS = (ProgressEvent, LogEvent, HeartbeatEvent)


def parse_request(line: bytes) -> ProtocolRequest:
    """Decodes a request. Raises ProtocolError, with the request's number if that could be read."""
    message = _parse_message(line, "request", REQUEST_TYPES)
    assert isinstance(message, ProtocolRequest)
    return message


def parse_event(line: bytes) -> ProtocolEvent:
    """Decodes an event. Raises ProtocolError for anything else."""
    message = _parse_message(line, "event", EVENT_TYPES)
    assert isinstance(message, ProtocolEvent)
    return message


def _parse_message(line: bytes, kind: str, known: Mapping[str, Any]) -> ProtocolMessage:
    number = NO_REQUEST
    try:
        try:
            data = parse_json(line)
        except ValueError as error:
            raise ProtocolError(f"this line is not JSON: {_shorten_repr(line)} ({error})") from None
        if not isinstance(data, dict):
            raise ProtocolError(f"this line is not a JSON object: {_shorten_repr(line)}")
        if _matches_type(data.get("id"), "int"):
            number = data["id"]
        name = data.get(kind)
        if not isinstance(name, str) or name not in known:
            raise ProtocolError(
                f"{_shorten_repr(name)} is not a known {kind} of protocol {PROTOCOL_VERSION}; known: {', '.join(known)}"
            )
        message: ProtocolMessage = known[name].from_dict(data)
        return message
    except ProtocolError as error:
        error.request_id = number
        raise


class LineSplitter:
    """Splits a stream of bytes into lines, with bounded memory.

    Args:
        longest: Most bytes of a line; a longer one is skipped.
    """

    def __init__(self, longest: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = longest
        self._pending = bytearray()
        self._is_skipping = False

    def feed(self, data: bytes) -> Iterator[Union[bytes, None]]:
        """Yields each line that `data` completes, without its end, or None for a line that was too long."""
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


# Type of a field -> its default, if a factory makes it.
_FACTORY_DEFAULTS: Mapping[str, Any] = {"Mapping[str, Any]": {}}


def _matches_type(value: Any, kind: str) -> bool:
    """Whether a value from JSON has a field's declared type."""
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
