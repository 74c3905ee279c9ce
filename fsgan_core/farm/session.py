"""A farm session's own process: it stays over tasks, so that imports, models and plans of views are there already.

`fsgan farm session start` begins it, each `fsgan farm task` of the session hands its arguments on to it and prints
what comes back, `fsgan farm session stop` ends it. They meet at a socket in the session's folder: a file that only its
user can open, no port. What is done is what the task would have done, by the same code; so a task that finds no such
process, or whose process dies, does its work by itself.

On the socket, one JSON object per line. From the task: {"arguments": [...], "folder": its working directory,
"environment": what decides about pixels, "version": ...}. To it: {"pid": N} or {"refused": why}, then {"out": text} and
{"err": text}, last {"exit": code}. The end of the connection without a code is the process's death; the other way
round, a task that has gone: then the process ends as a cancelled task does, so that nothing half-cancelled stays.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import MachineError
from fsgan_core.contract.version import __version__

__all__ = ["SESSION_VARIABLE", "run_in_session", "serve_session", "start_session", "stop_session"]

log = logging.getLogger(__name__)

MainFunction = Callable[..., int]  # `fsgan_core.cli.main`

SESSION_VARIABLE = "FSGAN_SESSION"  # the session's folder
SOCKET_NAME, LOG_NAME = "socket", "session.log"
START_SECONDS = 60.0  # seconds until the process must be there
ANSWER_SECONDS = 120.0  # seconds until it must answer: its imports, from a slow file server, are among them
GRACE_SECONDS = 20.0  # seconds that a cancelled task may take to stop
IDLE_SECONDS = 3600.0  # seconds without a task after which it ends
POLL_SECONDS = 0.5  # seconds between two looks at the task and the folder

# Variables that decide about pixels, many of them read once, at a library's import: a task with others than the
# process has is not for it.
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


def select_deciding_variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(DECIDING_PREFIXES) and name != SESSION_VARIABLE
    }


# The task's side.


def run_in_session(arguments: Sequence[str]) -> int | None:
    """The exit code of a command that the session's process has done; None where the task must do it by itself.

    What is told of that goes to standard error.
    """
    folder = os.environ.get(SESSION_VARIABLE, "")
    if not folder:
        return None
    try:
        with _connect(Path(folder)) as connection:
            return _send_command(connection, arguments)
    except (OSError, ValueError) as error:
        _print_warning(f"no session process ({error}); this task works by itself")
    return None


@contextlib.contextmanager
def _connect(folder: Path) -> Iterator[socket.socket]:
    """Raises OSError."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has none")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(folder / SOCKET_NAME))
        yield connection


def _send_command(connection: socket.socket, arguments: Sequence[str]) -> int | None:
    """Raises OSError, TimeoutError among them."""
    asked = {
        "arguments": list(arguments),
        "folder": os.getcwd(),  # noqa: PTH109
        "environment": select_deciding_variables(os.environ),
        "version": __version__,
    }
    connection.sendall(json.dumps(asked).encode() + b"\n")
    with connection.makefile("rb") as lines:
        first = lines.readline()
        connection.settimeout(None)  # from here on the engine's limit holds
        for line in [first] if first else lines:
            said = json.loads(line)
            if "refused" in said:
                _print_warning(f"the session's process does not take it ({said['refused']}); this task works by itself")
                return None
        for line in lines:
            if not line.endswith(b"\n"):
                break  # it died while it wrote
            said = json.loads(line)
            if "exit" in said:
                return int(said["exit"])
            stream = sys.stdout if "out" in said else sys.stderr
            stream.write(said.get("out", "") or said.get("err", ""))
            stream.flush()
    _print_warning("the session's process has died; this task goes on by itself, and keeps the frames that are there")
    return None


def _print_warning(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


# Start and stop.


def start_session(folder: Path, program: Sequence[str] = (sys.executable, "-m", "fsgan_core.cli")) -> str:
    """Starts the process of a session; what became of it, in words. Never raises: without it tasks only begin later."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        _end_process(folder)
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
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if (folder / SOCKET_NAME).exists():
            return f"session process {process.pid}; its log is {folder / LOG_NAME}"
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
    said = (folder / LOG_NAME).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"no session process ({said[-1] if said else 'it does not start'}); each task works by itself"


def stop_session(folder: Path) -> str:
    """Ends the process; what became of it, in words. Never raises."""
    try:
        return "the session's process has ended" if _end_process(folder) else "there was no session process"
    except TimeoutError:
        return f"the session's process does not end within {GRACE_SECONDS:g} s"
    except OSError as error:
        return f"the session's process could not be asked to end ({error})"


def _end_process(folder: Path) -> bool:
    """The process ends when its socket's name is gone. Whether there was one. Raises OSError, TimeoutError."""
    try:
        with _connect(folder) as connection:
            (folder / SOCKET_NAME).unlink(missing_ok=True)
            connection.settimeout(GRACE_SECONDS)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1 << 16):
                    pass
            return True
    except (FileNotFoundError, ConnectionRefusedError):
        (folder / SOCKET_NAME).unlink(missing_ok=True)  # of one that was killed
        return False


# The process.


def serve_session(folder: Path, main: MainFunction) -> int:
    """Takes commands at the folder's socket, one at a time, until the socket's name is gone. main: runs one. Raises
    MachineError."""
    if not hasattr(socket, "AF_UNIX"):
        raise MachineError("this system has no local sockets for Python")
    environment = select_deciding_variables(os.environ)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            listening.bind(str(folder / SOCKET_NAME))
        except OSError as error:
            raise MachineError(f"there can be no socket in {folder}: {error}") from error
        listening.listen(8)
        guard = _ProcessGuard(folder / SOCKET_NAME)
        guard.start()
        import fsgan_core.farm.tasks  # noqa: F401 - what every task needs, before the first one asks
        from fsgan_core.render.warm_cache import WarmCache

        warm = WarmCache()
        while True:
            connection, _ = listening.accept()
            with connection:
                if not _serve_command(connection, environment, functools.partial(main, warm=warm), guard):
                    return 0
                warm.trim()


def _serve_command(
    connection: socket.socket, environment: Mapping[str, str], run: MainFunction, guard: _ProcessGuard
) -> bool:
    """One command to its end; whether the process may go on."""
    connection.settimeout(START_SECONDS)
    try:
        with connection.makefile("rb") as lines:
            line = lines.readline(1 << 20)
        connection.settimeout(None)
        asked = json.loads(line) if line else None
        if asked is None:
            return True  # a look whether we are there
        refused = explain_refusal(asked, environment)
        _send_message(connection, {"refused": refused} if refused else {"pid": os.getpid()})
        if refused:
            return True
        guard.watch(connection)
        code = _run_command(connection, asked, run)
        guard.watch(None)  # from here on the task may go
        if code is None or code == 130:
            return False  # the task is gone, or we are asked to end: what is left is not for the next one
        _send_message(connection, {"exit": code})
    except (OSError, ValueError) as error:
        log.warning("a task's connection: %s", error)
    return True


def explain_refusal(asked: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Why a process with this environment must not do what is asked; "" where it may."""
    if asked.get("version") != __version__:
        return f"it is version {__version__}"
    theirs = asked.get("environment", {})
    other = sorted(name for name in {*theirs, *environment} if theirs.get(name) != environment.get(name))
    return f"it has another {', '.join(other)}" if other else ""


def _run_command(connection: socket.socket, asked: Mapping[str, Any], run: MainFunction) -> int | None:
    """The exit code; None for a fault of ours, which the task shall meet by itself."""
    before, variables, streams = os.getcwd(), dict(os.environ), (sys.stdout, sys.stderr)  # noqa: PTH109
    lock = threading.Lock()
    sys.stdout, sys.stderr = _SocketStream(connection, "out", lock), _SocketStream(connection, "err", lock)
    try:
        os.chdir(asked["folder"])
        return run(asked["arguments"])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except Exception:
        traceback.print_exc(file=streams[1])
        return None
    finally:
        sys.stdout, sys.stderr = streams
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(before)


def _send_message(connection: socket.socket, said: Mapping[str, Any]) -> None:
    """Raises OSError."""
    connection.sendall(json.dumps(said).encode() + b"\n")


class _SocketStream(io.TextIOBase):
    """What a command prints, to the task that asked for it. Where that has gone, to nobody."""

    encoding = "utf-8"

    def __init__(self, connection: socket.socket, name: str, lock: threading.Lock) -> None:
        self._connection = connection
        self._channel = name
        self._lock = lock

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock, contextlib.suppress(OSError):
            _send_message(self._connection, {self._channel: text})
        return len(text)


class _ProcessGuard(threading.Thread):
    """Ends the process when its socket's name is gone, when nobody needs it, and, politely, when the task that it works
    for has gone."""

    def __init__(self, name: Path) -> None:
        super().__init__(name="guard", daemon=True)
        self._socket_path = name
        self._inode = name.stat().st_ino
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._last_change = time.monotonic()
        self._deadline = 0.0

    def watch(self, task: socket.socket | None) -> None:
        with self._lock:
            self._connection = task
            self._last_change = time.monotonic()

    def run(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            with self._lock:
                self._check()

    def _check(self) -> None:
        if self._deadline:
            if time.monotonic() > self._deadline:
                os._exit(MachineError.exit_code)
        elif not self._is_ours() or (self._connection is None and time.monotonic() - self._last_change > IDLE_SECONDS):
            os._exit(0)
        elif self._connection is not None and _is_disconnected(self._connection):
            self._deadline = time.monotonic() + GRACE_SECONDS
            os.kill(os.getpid(), signal.SIGTERM)  # as an engine cancels a task

    def _is_ours(self) -> bool:
        try:
            return self._socket_path.stat().st_ino == self._inode
        except OSError:
            return False


def _is_disconnected(task: socket.socket) -> bool:
    try:
        return task.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
