"""`fsgan worker`: a process that stays, with models and clips warm, and does what it is told line by line.

The protocol is `contract.protocol`. Threads: the reader takes requests from standard input and answers at once what
can be answered at once; two lanes do the rest, one request at a time each: renders and analyses in the main thread,
questions in another; the writer hands events to the client, so that nothing ever waits for a client that does not
read; the heart beats, and looks whether the parent is still there.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, MachineError, ProtocolError
from fsgan_core.contract.protocol import NO_REQUEST
from fsgan_core.contract.version import __version__
from fsgan_core.runtime.events import Event
from fsgan_core.worker import handlers
from fsgan_core.worker.outbox import Outbox

__all__ = ["Worker"]

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0  # seconds
IDLE_SECONDS = 600.0  # seconds without a render, after which pixels are given back
GRACE_SECONDS = 20.0  # seconds that a cancelled job may take to stop when the client has gone
READ_SIZE = 1 << 16
INTERNAL_ERROR = "InternalError"


class _WorkerRequest:
    """A request that waits or runs. frames: those that were begun and not finished."""

    def __init__(self, request: protocol.ProtocolRequest) -> None:
        self.request = request
        self.cancelled = threading.Event()
        self.start_time = time.monotonic()
        self.open_frames: set[int] = set()


class Worker:
    """Reads requests from `source` and writes events to `sink`, both descriptors, until the source ends or `quit`
    comes.

    device: for requests that name none. log_file: told to the client. parent: process that, when it is no longer the
    parent, means the end; 0 is not to look. on_beat: called with every heartbeat.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        *,
        device: str = "auto",
        log_file: str = "",
        parent: int = 0,
        heartbeat: float = HEARTBEAT_SECONDS,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._outbox = Outbox(sink)
        self._device = device
        self._log_file = log_file
        self._parent_id = parent
        self._heartbeat_seconds = heartbeat
        self._on_beat = on_beat
        self._handler = handlers.RequestHandler(device)
        self._main_queue: queue.SimpleQueue[_WorkerRequest | None] = queue.SimpleQueue()
        self._question_queue: queue.SimpleQueue[_WorkerRequest | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._requests: dict[int, _WorkerRequest] = {}  # waiting and running ones by number
        self._running_request: _WorkerRequest | None = None  # of the main lane
        self._is_greeted = False
        self._ended = threading.Event()
        self._last_active = time.monotonic()
        self._main_thread = threading.main_thread()

    def run(self) -> int:
        """The exit code: 0. Renders are done in the calling thread."""
        self._main_thread = threading.current_thread()
        threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (
                ("reader", self._read_requests),
                ("heart", self._send_heartbeats),
                ("questions", lambda: self._run_queue(self._question_queue)),
            )
        ]
        self._outbox.start()
        with _forward_log(self._outbox):
            for thread in threads:
                thread.start()
            try:
                self._run_queue(self._main_queue)
            finally:
                self._shut_down()
        self._outbox.close()
        return 0

    # What comes in.

    def _read_requests(self) -> None:
        splitter = protocol.LineSplitter()
        try:
            while data := os.read(self._source, READ_SIZE):
                for line in splitter.feed(data):
                    self._handle_line(line)
            log.info("the client has closed its end")
        except OSError as error:
            log.info("the client cannot be read: %s", error)
        self._force_shut_down()

    def _handle_line(self, line: bytes | None) -> None:
        try:
            if line is None:
                raise ProtocolError(f"a line was longer than {protocol.MAX_LINE_BYTES} bytes")
            self._handle_request(protocol.parse_request(line))
        except ProtocolError as error:
            self._send_failure(error.request_id, error)

    def _handle_request(self, request: protocol.ProtocolRequest) -> None:
        """Raises ProtocolError."""
        if isinstance(request, protocol.HelloRequest):
            self._greet(request)
        elif isinstance(request, protocol.QuitRequest):
            self._outbox.put(protocol.ResultEvent(request.id))
            self._shut_down()
        elif not self._is_greeted:
            raise _attach_request(request, ProtocolError("say hello first"))
        elif isinstance(request, protocol.PingRequest):
            self._outbox.put(protocol.PongEvent(request.id))
        elif isinstance(request, protocol.CancelRequest):
            self._outbox.put(protocol.ResultEvent(request.id, {"found": self._cancel(request.target)}))
        else:
            self._enqueue(request)

    def _greet(self, request: protocol.HelloRequest) -> None:
        if request.protocol != protocol.PROTOCOL_VERSION:
            raise _attach_request(
                request,
                ProtocolError(
                    f"the client speaks protocol {request.protocol}, this worker (fsgan {__version__}) "
                    f"{protocol.PROTOCOL_VERSION}; install the same version of both"
                ),
            )
        self._is_greeted = True
        log.info("client: %s", request.client or "without a name")
        self._outbox.put(
            protocol.HelloEvent(
                request.id,
                protocol.PROTOCOL_VERSION,
                __version__,
                os.getpid(),
                sys.executable,
                self._device,
                self._log_file,
            )
        )

    def _enqueue(self, request: protocol.ProtocolRequest) -> None:
        task = _WorkerRequest(request)
        with self._lock:
            if request.id == NO_REQUEST or request.id in self._requests:
                raise _attach_request(
                    request, ProtocolError(f"{request.name}: the number {request.id} is taken or none")
                )
            self._requests[request.id] = task
        lane = self._main_queue if isinstance(request, protocol.QUEUED_REQUESTS) else self._question_queue
        lane.put(task)

    def _cancel(self, number: int) -> bool:
        with self._lock:
            task = self._requests.get(number)
        if task is None:
            return False
        task.cancelled.set()
        return True

    # What is done.

    def _run_queue(self, lane: queue.SimpleQueue[_WorkerRequest | None]) -> None:
        while (task := lane.get()) is not None:
            if lane is self._main_queue:
                self._running_request = task
                self._last_active = time.monotonic()
            try:
                self._execute(task)
            finally:
                with self._lock:
                    self._requests.pop(task.request.id, None)
                if lane is self._main_queue:
                    self._running_request = None
                    self._last_active = time.monotonic()

    def _execute(self, task: _WorkerRequest) -> None:
        """One request to its end; whatever goes wrong, the worker goes on."""
        request = task.request
        task.start_time = time.monotonic()
        try:
            if task.cancelled.is_set():
                raise CancelledError("cancelled before it began")
            self._outbox.put(protocol.ProgressEvent(request.id, step="start", subject=request.name))
            data = self._handler.answer(request, lambda event: self._send_event(task, event), task.cancelled.is_set)
            self._outbox.put(protocol.ResultEvent(request.id, data))
        except FsganError as error:
            self._send_failure(request.id, error)
        except MemoryError:
            self._handler.release_memory()
            self._send_failure(request.id, MachineError("this machine has not enough memory for the job"))
        except Exception as error:
            log.exception("request %d, %s", request.id, request.name)
            self._send_failure(request.id, error)

    def _send_event(self, task: _WorkerRequest, event: Event) -> None:
        """A step of a job, from any thread."""
        number = task.request.id
        if event.kind == "frame":
            task.open_frames.discard(event.frame or 0)
            path = handlers.make_frame_path(task.request, event.frame or 0)
            self._outbox.put(
                protocol.FrameEvent(
                    number,
                    frame=event.frame or 0,
                    state=event.state,
                    path=path,
                    done=event.done,
                    total=event.total,
                    seconds=round(event.seconds, 4),
                    message=event.message,
                )
            )
            return
        if event.kind == "begin":
            task.open_frames.add(event.frame or 0)
        self._outbox.put(
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

    def _send_failure(self, number: int, error: Exception) -> None:
        if isinstance(error, FsganError):
            self._outbox.put(protocol.ErrorEvent(number, type(error).__name__, error.exit_code, str(error)))
            return
        message = f"internal error, {type(error).__name__}: {error}; the worker's log says where"
        self._outbox.put(protocol.ErrorEvent(number, INTERNAL_ERROR, 1, message))

    # The end.

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(self._heartbeat_seconds):
            if self._parent_id and os.getppid() != self._parent_id:
                log.info("the parent process %d has gone", self._parent_id)
                self._outbox.abandon()
                self._force_shut_down()
                return
            running = self._running_request
            busy = running.request.id if running is not None else NO_REQUEST
            seconds = round(time.monotonic() - running.start_time, 1) if running is not None else 0.0
            waiting = max(0, len(self._requests) - (running is not None))
            self._outbox.put(
                protocol.HeartbeatEvent(
                    busy=busy,
                    frames=tuple(sorted(running.open_frames)) if running else (),
                    waiting=waiting,
                    memory=measure_resident_bytes(),
                    seconds=seconds,
                )
            )
            if running is None and time.monotonic() - self._last_active > IDLE_SECONDS:
                self._handler.release_memory()
            self._on_beat()

    def _shut_down(self) -> None:
        """Cancels what runs and waits, and lets the lanes run out."""
        self._ended.set()
        with self._lock:
            tasks = list(self._requests.values())
        for task in tasks:
            task.cancelled.set()
        self._main_queue.put(None)
        self._question_queue.put(None)

    def _force_shut_down(self) -> None:
        """Nobody will ask for anything any more. What does not stop in time is stopped; what is to be told still is, to
        a client that has only closed its end of the one pipe."""
        self._shut_down()
        self._main_thread.join(GRACE_SECONDS)
        if self._main_thread.is_alive() and self._requests:
            log.warning("not stopped in %g s; the process ends itself", GRACE_SECONDS)
            logging.shutdown()
            os._exit(0)


def _attach_request(request: protocol.ProtocolRequest, error: ProtocolError) -> ProtocolError:
    error.request_id = request.id
    return error


@contextmanager
def _forward_log(outbox: Outbox) -> Iterator[None]:
    """The log of fsgan_core, from "info" on, also goes to the client."""
    handler = _LogHandler(outbox)
    logger = logging.getLogger("fsgan_core")
    level = logger.level
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _LogHandler(logging.Handler):
    def __init__(self, outbox: Outbox) -> None:
        super().__init__(logging.INFO)
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self._outbox.put(protocol.LogEvent(level=record.levelname.lower(), message=message[:4000]))


def measure_resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell it in a file."""
    try:
        with Path("/proc/self/statm").open(encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
