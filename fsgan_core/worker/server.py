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

HEARTBEAT = 1.0  # seconds
IDLE = 600.0  # seconds without a render, after which pixels are given back
GRACE = 20.0  # seconds that a cancelled job may take to stop when the client has gone
CHUNK = 1 << 16
INTERNAL = "InternalError"


class _Task:
    """A request that waits or runs. frames: those that were begun and not finished."""

    def __init__(self, request: protocol.Request) -> None:
        self.request = request
        self.cancelled = threading.Event()
        self.begun = time.monotonic()
        self.frames: set[int] = set()


class Worker:
    """Reads requests from `source` and writes events to `sink`, both descriptors, until the source ends or `quit`
    comes.

    device: for requests that name none. log_file: told to the client. parent: process that, when it is no longer the
    parent, means the end; 0 is not to look. on_beat: called with every heartbeat.
    """

    def __init__(self, source: int, sink: int, *, device: str = "auto", log_file: str = "", parent: int = 0,
                 heartbeat: float = HEARTBEAT, on_beat: Callable[[], None] = lambda: None) -> None:
        self._source = source
        self._outbox = Outbox(sink)
        self._device = device
        self._log_file = log_file
        self._parent = parent
        self._heartbeat = heartbeat
        self._on_beat = on_beat
        self._jobs = handlers.Jobs(device)
        self._work: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._questions: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._tasks: dict[int, _Task] = {}  # waiting and running ones by number
        self._running: _Task | None = None  # of the main lane
        self._greeted = False
        self._ended = threading.Event()
        self._last = time.monotonic()
        self._main = threading.main_thread()

    def run(self) -> int:
        """The exit code: 0. Renders are done in the calling thread."""
        self._main = threading.current_thread()
        threads = [threading.Thread(target=target, name=name, daemon=True) for name, target in (
            ("reader", self._read), ("heart", self._beat), ("questions", lambda: self._lane(self._questions)))]
        self._outbox.start()
        with _log_to(self._outbox):
            for thread in threads:
                thread.start()
            try:
                self._lane(self._work)
            finally:
                self._end()
        self._outbox.close()
        return 0

    # What comes in.

    def _read(self) -> None:
        splitter = protocol.LineSplitter()
        try:
            while data := os.read(self._source, CHUNK):
                for line in splitter.feed(data):
                    self._take(line)
            log.info("the client has closed its end")
        except OSError as error:
            log.info("the client cannot be read: %s", error)
        self._leave()

    def _take(self, line: bytes | None) -> None:
        try:
            if line is None:
                raise ProtocolError(f"a line was longer than {protocol.LONGEST} bytes")
            self._accept(protocol.request_from(line))
        except ProtocolError as error:
            self._fail(error.request, error)

    def _accept(self, request: protocol.Request) -> None:
        """Raises ProtocolError."""
        if isinstance(request, protocol.Hello):
            self._greet(request)
        elif isinstance(request, protocol.Quit):
            self._outbox.put(protocol.Result(request.id))
            self._end()
        elif not self._greeted:
            raise _about(request, ProtocolError("say hello first"))
        elif isinstance(request, protocol.Ping):
            self._outbox.put(protocol.Pong(request.id))
        elif isinstance(request, protocol.Cancel):
            self._outbox.put(protocol.Result(request.id, {"found": self._cancel(request.target)}))
        else:
            self._enqueue(request)

    def _greet(self, request: protocol.Hello) -> None:
        if request.protocol != protocol.PROTOCOL:
            raise _about(request, ProtocolError(
                f"the client speaks protocol {request.protocol}, this worker (fsgan {__version__}) "
                f"{protocol.PROTOCOL}; install the same version of both"))
        self._greeted = True
        log.info("client: %s", request.client or "without a name")
        self._outbox.put(protocol.Greeting(request.id, protocol.PROTOCOL, __version__, os.getpid(),
                                           sys.executable, self._device, self._log_file))

    def _enqueue(self, request: protocol.Request) -> None:
        task = _Task(request)
        with self._lock:
            if request.id == NO_REQUEST or request.id in self._tasks:
                raise _about(request, ProtocolError(f"{request.name}: the number {request.id} is taken or none"))
            self._tasks[request.id] = task
        lane = self._work if isinstance(request, protocol.QUEUED) else self._questions
        lane.put(task)

    def _cancel(self, number: int) -> bool:
        with self._lock:
            task = self._tasks.get(number)
        if task is None:
            return False
        task.cancelled.set()
        return True

    # What is done.

    def _lane(self, lane: queue.SimpleQueue[_Task | None]) -> None:
        while (task := lane.get()) is not None:
            if lane is self._work:
                self._running = task
                self._last = time.monotonic()
            try:
                self._do(task)
            finally:
                with self._lock:
                    self._tasks.pop(task.request.id, None)
                if lane is self._work:
                    self._running = None
                    self._last = time.monotonic()

    def _do(self, task: _Task) -> None:
        """One request to its end; whatever goes wrong, the worker goes on."""
        request = task.request
        task.begun = time.monotonic()
        try:
            if task.cancelled.is_set():
                raise CancelledError("cancelled before it began")
            self._outbox.put(protocol.Progress(request.id, step="start", subject=request.name))
            data = self._jobs.answer(request, lambda event: self._hear(task, event), task.cancelled.is_set)
            self._outbox.put(protocol.Result(request.id, data))
        except FsganError as error:
            self._fail(request.id, error)
        except MemoryError:
            self._jobs.forget()
            self._fail(request.id, MachineError("this machine has not enough memory for the job"))
        except Exception as error:
            log.exception("request %d, %s", request.id, request.name)
            self._fail(request.id, error)

    def _hear(self, task: _Task, event: Event) -> None:
        """A step of a job, from any thread."""
        number = task.request.id
        if event.kind == "frame":
            task.frames.discard(event.frame or 0)
            path = handlers.frame_path(task.request, event.frame or 0)
            self._outbox.put(protocol.Frame(number, frame=event.frame or 0, state=event.state, path=path,
                                            done=event.done, total=event.total, seconds=round(event.seconds, 4),
                                            message=event.message))
            return
        if event.kind == "begin":
            task.frames.add(event.frame or 0)
        self._outbox.put(protocol.Progress(number, step=event.kind, subject=event.subject, done=event.done,
                                           total=event.total, frame=event.frame, message=event.message))

    def _fail(self, number: int, error: Exception) -> None:
        if isinstance(error, FsganError):
            self._outbox.put(protocol.Failure(number, type(error).__name__, error.exit_code, str(error)))
            return
        message = f"internal error, {type(error).__name__}: {error}; the worker's log says where"
        self._outbox.put(protocol.Failure(number, INTERNAL, 1, message))

    # The end.

    def _beat(self) -> None:
        while not self._ended.wait(self._heartbeat):
            if self._parent and os.getppid() != self._parent:
                log.info("the parent process %d has gone", self._parent)
                self._outbox.abandon()
                self._leave()
                return
            running = self._running
            busy = running.request.id if running is not None else NO_REQUEST
            seconds = round(time.monotonic() - running.begun, 1) if running is not None else 0.0
            waiting = max(0, len(self._tasks) - (running is not None))
            self._outbox.put(protocol.Heartbeat(busy=busy, frames=tuple(sorted(running.frames)) if running else (),
                                                waiting=waiting, memory=resident_bytes(), seconds=seconds))
            if running is None and time.monotonic() - self._last > IDLE:
                self._jobs.forget()
            self._on_beat()

    def _end(self) -> None:
        """Cancels what runs and waits, and lets the lanes run out."""
        self._ended.set()
        with self._lock:
            tasks = list(self._tasks.values())
        for task in tasks:
            task.cancelled.set()
        self._work.put(None)
        self._questions.put(None)

    def _leave(self) -> None:
        """Nobody will ask for anything any more. What does not stop in time is stopped; what is to be told still is, to
        a client that has only closed its end of the one pipe."""
        self._end()
        self._main.join(GRACE)
        if self._main.is_alive() and self._tasks:
            log.warning("not stopped in %g s; the process ends itself", GRACE)
            logging.shutdown()
            os._exit(0)


def _about(request: protocol.Request, error: ProtocolError) -> ProtocolError:
    error.request = request.id
    return error


@contextmanager
def _log_to(outbox: Outbox) -> Iterator[None]:
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
        self._outbox.put(protocol.Log(level=record.levelname.lower(), message=message[:4000]))


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell it in a file."""
    try:
        with Path("/proc/self/statm").open(encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
