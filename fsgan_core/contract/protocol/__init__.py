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
- `render`, `analyse`, `views`, `atlas`, `draw_track` and `farm_task` wait in a queue and run one at a time
  (QUEUED_REQUESTS). `keys`, `describe`, `bundle` and `doctor` have a queue of their own, so that a node's status need
  not wait for another node's render. `hello`, `ping`, `cancel` and `quit` are answered at once.
- Unknown fields are ignored; fields with a default may be left out. A request that is unknown or has wrong fields is
  answered with an `error`. An unknown event is ignored.
- `log`, `progress` and `heartbeat` are dropped if the reader is too slow; all other events arrive.
- On pipes, the end of the worker's standard input ends the worker. On a socket the worker stays when a client leaves;
  but if a request of that client has not ended, it is cancelled and the worker ends.
"""

from __future__ import annotations

from fsgan_core.contract.protocol.events import (
    DROPPABLE_EVENTS,
    EVENT_TYPES,
    FINAL_EVENTS,
    INTERNAL_ERROR,
    START_STEP,
    ErrorEvent,
    FrameEvent,
    HeartbeatEvent,
    HelloEvent,
    LogEvent,
    PongEvent,
    ProgressEvent,
    ResultEvent,
)
from fsgan_core.contract.protocol.lines import (
    LineSplitter,
    parse_event,
    parse_request,
)
from fsgan_core.contract.protocol.message import (
    MAX_LINE_BYTES,
    NO_REQUEST,
    PROTOCOL_VERSION,
    ProtocolEvent,
    ProtocolMessage,
    ProtocolRequest,
)
from fsgan_core.contract.protocol.requests import (
    FARM_TASKS,
    FRAME_DONE,
    FRAME_MISSING,
    FRAME_STALE,
    QUEUED_REQUESTS,
    REQUEST_TYPES,
    AnalyseRequest,
    AtlasRequest,
    BundleRequest,
    CancelRequest,
    DescribeRequest,
    DoctorRequest,
    DrawTrackRequest,
    FarmTaskRequest,
    HelloRequest,
    KeysRequest,
    PingRequest,
    QuitRequest,
    RenderRequest,
    ViewsRequest,
)

__all__ = [
    "DROPPABLE_EVENTS",
    "EVENT_TYPES",
    "FARM_TASKS",
    "FINAL_EVENTS",
    "FRAME_DONE",
    "FRAME_MISSING",
    "FRAME_STALE",
    "INTERNAL_ERROR",
    "MAX_LINE_BYTES",
    "NO_REQUEST",
    "PROTOCOL_VERSION",
    "QUEUED_REQUESTS",
    "REQUEST_TYPES",
    "START_STEP",
    "AnalyseRequest",
    "AtlasRequest",
    "BundleRequest",
    "CancelRequest",
    "DescribeRequest",
    "DoctorRequest",
    "DrawTrackRequest",
    "ErrorEvent",
    "FarmTaskRequest",
    "FrameEvent",
    "HeartbeatEvent",
    "HelloEvent",
    "HelloRequest",
    "KeysRequest",
    "LineSplitter",
    "LogEvent",
    "PingRequest",
    "PongEvent",
    "ProgressEvent",
    "ProtocolEvent",
    "ProtocolMessage",
    "ProtocolRequest",
    "QuitRequest",
    "RenderRequest",
    "ResultEvent",
    "ViewsRequest",
    "parse_event",
    "parse_request",
]
