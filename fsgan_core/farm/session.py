"""Starts and stops the process of a farm's session, and sends tasks to it.

`fsgan farm session start` starts a worker (`fsgan_core.worker`) that runs for a machine's whole session, so that
imports, models and plans of views stay in memory between tasks. Each `fsgan farm task` of the session sends its request
to that worker and presents the events that come back; `fsgan farm session stop` ends it. They connect through a local
socket in the session's folder, which only its user can open. The protocol is `contract.protocol`.

The worker runs the same code as the task would, so a task does not depend on it: if there is no worker, if the
worker refuses the task, or if it dies, the task runs in its own process.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, ProtocolError, SessionRefusedError
from fsgan_core.contract.safe_text import escape_line
from fsgan_core.contract.version import __version__
from fsgan_core.runtime.events import Event, EventListener, ignore_event

__all__ = [
    "IDLE_SECONDS",
    "LOG_NAME",
    "SESSION_VARIABLE",
    "SOCKET_NAME",
    "explain_refusal",
    "run_in_session",
    "select_deciding_variables",
    "start_session",
    "stop_session",
]

SESSION_VARIABLE = "FSGAN_SESSION"  # the session's folder
SOCKET_NAME, LOG_NAME = "socket", "session.log"  # in the session's folder
START_SECONDS = 60.0  # until the worker's socket must exist
ANSWER_SECONDS = 120.0  # until the worker must answer; includes its imports, even from a slow file server
STOP_SECONDS = 20.0  # until the worker must end
IDLE_SECONDS = 3600.0  # without a task, after which the worker ends
READ_SIZE = 1 << 16  # bytes

# Environment variables that can change pixels. Many of them are read once, when a library is imported, so the worker
# refuses a task with other values.
DECIDING_PREFIXES = (
    "FSGAN_",
    "OCIO",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "ONEDNN_",
    "ATEN_",
    "NPY_",
    "OPENCV_",
    "TORCH_",
    "CUDA_",
    "CUBLAS_",
    "NVIDIA_",
    "PYTHONPATH",
    "HOME",
)

# Errors of the worker, not of the task: the task then runs in its own process.
WORKER_FAULTS = (protocol.INTERNAL_ERROR, CancelledError.__name__, ProtocolError.__name__)

_HELLO_ID, _TASK_ID = 1, 2


def select_deciding_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Selects the environment variables that can change pixels.

    >>> select_deciding_variables({"OCIO": "show.ocio", "PATH": "/bin"})
    {'OCIO': 'show.ocio'}
    """
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(DECIDING_PREFIXES) and name != SESSION_VARIABLE
    }


def explain_refusal(request: protocol.FarmTaskRequest, variables: Mapping[str, str]) -> str:
    """Explains why a worker with these deciding variables must not run a task; empty if it may."""
    if request.version != __version__:
        return f"it is version {__version__}"
    names = {*request.variables, *variables}
    different = sorted(name for name in names if request.variables.get(name) != variables.get(name))
    return f"it has a different {', '.join(different)}" if different else ""


# A task.


def run_in_session(
    request: protocol.FarmTaskRequest, on_event: EventListener = ignore_event, log_level: str = "info"
) -> dict[str, Any] | None:
    """Has the session's worker run a task. What the worker logs is logged here.

    Args:
        request: The task; its number, version and variables are filled in here.
        on_event: Called with each step.
        log_level: The lowest level that is logged here.

    Returns:
        The result of the request. None: the task must run in this process; a warning on standard error says why, unless
        there is no session.

    Raises:
        FsganError: The task failed, with the error that the worker met.
    """
    folder = os.environ.get(SESSION_VARIABLE, "")
    if not folder:
        return None
    variables = select_deciding_variables(os.environ)
    request = replace(request, id=_TASK_ID, version=__version__, variables=variables)
    try:
        with _connect(Path(folder), log_level) as channel:
            return _run_task(channel, request, on_event)
    except _UnavailableError as reason:
        print(f"warning: {escape_line(str(reason))}", file=sys.stderr, flush=True)
        return None


class _UnavailableError(Exception):
    """The session's worker cannot run a task; the message is for a person."""


class _Channel:
    """A connection to a worker: requests out, events in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._splitter = protocol.LineSplitter()
        self._events: deque[protocol.ProtocolEvent] = deque()

    def send(self, request: protocol.ProtocolRequest) -> None:
        """Sends a request. Raises OSError."""
        self._connection.sendall(request.to_line())

    def receive(self) -> protocol.ProtocolEvent | None:
        """Waits for the next event; None is the end of the connection. Raises TimeoutError."""
        while not self._events:
            try:
                data = self._connection.recv(READ_SIZE)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not data:
                return None
            for line in self._splitter.feed(data):
                with suppress(ProtocolError):  # an event of a later version
                    self._events.append(protocol.parse_event(line or b""))
        return self._events.popleft()

    def receive_end(self, request_id: int) -> protocol.ProtocolEvent | None:
        """Waits for the last event of a request; None is the end of the connection. Raises TimeoutError."""
        while (event := self.receive()) is not None:
            if event.id == request_id and isinstance(event, protocol.FINAL_EVENTS):
                return event
        return None


@contextmanager
def _connect(folder: Path, log_level: str = "error") -> Iterator[_Channel]:
    """Connects to the session's worker and waits for its greeting. Raises _UnavailableError."""
    if not hasattr(socket, "AF_UNIX"):
        raise _UnavailableError("no session process (this system has no local sockets); this task works by itself")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        channel = _Channel(connection)
        try:
            connection.connect(str(folder / SOCKET_NAME))
            channel.send(protocol.HelloRequest(_HELLO_ID, protocol.PROTOCOL_VERSION, "a farm's task", log_level))
            greeting = channel.receive_end(_HELLO_ID)
        except OSError as error:
            raise _UnavailableError(f"no session process ({error}); this task works by itself") from error
        if not isinstance(greeting, protocol.HelloEvent):
            reason = greeting.message if isinstance(greeting, protocol.ErrorEvent) else "it does not answer"
            raise _UnavailableError(f"no session process ({reason}); this task works by itself")
        connection.settimeout(None)  # from here on the engine's own limit holds
        yield channel


def _run_task(channel: _Channel, request: protocol.FarmTaskRequest, on_event: EventListener) -> dict[str, Any]:
    """Raises _UnavailableError and FsganError."""
    with suppress(OSError):  # it has died; receiving says so
        channel.send(request)
    while (event := channel.receive()) is not None:
        if isinstance(event, protocol.LogEvent):
            _log_event(event)
        elif event.id != request.id:
            continue
        elif isinstance(event, protocol.ResultEvent):
            return dict(event.data)
        elif isinstance(event, protocol.ErrorEvent):
            _raise_error(event)
        else:
            _relay_event(event, on_event)
    raise _UnavailableError(
        "the session's process has died; this task goes on by itself, and keeps the frames that are there"
    )


def _raise_error(event: protocol.ErrorEvent) -> NoReturn:
    """Raises FsganError for a task that failed, _UnavailableError for a worker that did."""
    if event.error == SessionRefusedError.__name__:
        raise _UnavailableError(f"the session's process refuses this task ({event.message}); it works by itself")
    if event.error in WORKER_FAULTS:
        raise _UnavailableError(f"the session's process failed ({event.message}); this task goes on by itself")
    raise event.make_error()


def _relay_event(event: protocol.ProtocolEvent, on_event: EventListener) -> None:
    """Passes on a step of the task, as if it were done here."""
    if isinstance(event, protocol.FrameEvent):
        step = Event("frame", event.subject, event.done, event.total, event.frame, event.state, event.seconds)
        on_event(replace(step, message=event.message))
    elif isinstance(event, protocol.ProgressEvent) and event.step != protocol.START_STEP:
        on_event(Event(event.step, event.subject, event.done, event.total, event.frame, message=event.message))


def _log_event(event: protocol.LogEvent) -> None:
    """Adds a record of the worker's log to the log of this process."""
    logger = logging.getLogger(event.logger or __name__)
    level = getattr(logging, event.level.upper(), logging.INFO)
    if logger.isEnabledFor(level):
        logger.handle(
            logging.makeLogRecord(
                {
                    **event.facts,
                    "name": logger.name,
                    "levelno": level,
                    "levelname": event.level.upper(),
                    "msg": event.message,
                }
            )
        )


# Start and stop.


def start_session(folder: Path, program: Sequence[str] = (sys.executable, "-m", "fsgan_core.cli")) -> str:
    """Starts the worker of a session and returns what happened, for a person.

    It never raises: without a worker, tasks only start more slowly.

    Args:
        folder: The session's folder; made if it is not there, and closed to other users.
        program: The words that call `fsgan`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        _end_worker(folder)
        with (folder / LOG_NAME).open("ab") as errors:
            process = subprocess.Popen(
                [*program, "farm", "session", "serve", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
    except OSError as error:
        return f"no session process ({error}); each task works by itself"
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if (folder / SOCKET_NAME).exists():
            return f"session process {process.pid}; its log is {folder / LOG_NAME}"
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
    lines = (folder / LOG_NAME).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"no session process ({lines[-1] if lines else 'it does not start'}); each task works by itself"


def stop_session(folder: Path) -> str:
    """Ends the worker of a session and returns what happened, for a person. It never raises."""
    try:
        return "the session's process has ended" if _end_worker(folder) else "there was no session process"
    except TimeoutError:
        return f"the session's process does not end within {STOP_SECONDS:g} s"
    except OSError as error:
        return f"the session's process could not be stopped ({error})"


def _end_worker(folder: Path) -> bool:
    """Ends the worker; returns whether there was one. Raises OSError, TimeoutError."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no local sockets")
    name = folder / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(STOP_SECONDS)
        try:
            connection.connect(str(name))
        except (FileNotFoundError, ConnectionRefusedError):
            name.unlink(missing_ok=True)  # left by a worker that was killed
            return False
        with suppress(ConnectionError):
            connection.sendall(protocol.QuitRequest(_HELLO_ID).to_line())
            name.unlink(missing_ok=True)  # a worker that does not answer ends when its socket's name is gone
            while connection.recv(READ_SIZE):
                pass
    return True
