"""One worker process: starts it in its own environment, sends requests, reads events, and ends it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from fsgan_core.contract.errors import ProtocolError, WorkerError
from fsgan_core.contract.protocol import LineSplitter, ProtocolEvent, ProtocolRequest, parse_event
from fsgan_nuke.settings import Settings

log = logging.getLogger(__name__)

READ_BYTES = 1 << 16
MAX_LOGS = 10  # log files that are kept
MAX_GARBAGE = 20  # unreadable lines that are kept and logged

# Variables that Nuke sets for its own libraries. They would break another interpreter.
HOST_VARIABLES = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "PYTHONUSERBASE",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "TCL_LIBRARY",
    "TK_LIBRARY",
    "TIX_LIBRARY",
)
HOST_PREFIXES = ("QT_", "DYLD_")


def make_worker_command(settings: Settings, log_file: Path) -> List[str]:
    """Makes the worker's command line. Raises WorkerError if no Python is set."""
    if not settings.python:
        raise WorkerError("no Python is set for the worker: run `python3 install.py --nuke`, or set FSGAN_PYTHON")
    # -P: Python does not import files of the working directory.
    return [
        str(Path(settings.python).expanduser()),
        "-P",
        "-m",
        "fsgan_core.cli",
        "worker",
        "--device",
        settings.device,
        "--log",
        str(log_file),
    ]


def make_worker_environment(
    settings: Settings,
    inherited: Optional[Mapping[str, str]] = None,
    platform: str = sys.platform,
    host: str = sys.executable,
) -> Dict[str, str]:
    """Makes the worker's environment: Nuke's own, without variables for Nuke's libraries, plus the settings.

    Args:
        settings: The preferences.
        inherited: Nuke's environment; by default that of this process.
        platform: As sys.platform.
        host: Nuke's executable; its folder is removed from PATH on Windows.
    """
    inherited_variables = os.environ if inherited is None else inherited
    variables = {
        name: value
        for name, value in inherited_variables.items()
        if name.upper() not in HOST_VARIABLES and not name.upper().startswith(HOST_PREFIXES)
    }
    if platform == "win32":
        # On Windows, Nuke's folder of DLLs is in PATH.
        host_folder = os.path.normcase(os.path.dirname(host))
        for name in [name for name in variables if name.upper() == "PATH"]:
            variables[name] = ";".join(
                part for part in variables[name].split(";") if os.path.normcase(part.rstrip("\\/")) != host_folder
            )
    preferences = {"FSGAN_WEIGHTS": settings.weights, "FSGAN_CACHE": settings.cache, "PYTHONPATH": settings.root}
    variables.update({name: value for name, value in preferences.items() if value})
    variables.update(PYTHONNOUSERSITE="1", PYTHONUNBUFFERED="1")
    variables.update(settings.environment)
    return variables


def choose_log_file(folder: Path) -> Path:
    """Chooses a file for a new worker's log, and deletes old logs except the newest few.

    Raises:
        WorkerError: The folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old_logs = sorted(folder.glob("worker-*.log*"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError as error:
        raise WorkerError(
            f"the log folder {folder} cannot be used: {error.strerror or error}; choose another one in the preferences"
        ) from error
    for path in old_logs[MAX_LOGS:]:
        with suppress(OSError):  # another worker may use it
            path.unlink()
    return folder / f"worker-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


class WorkerProcess:
    """A started worker.

    Args:
        command: The command line.
        environment: The environment.
        log_file: Gets the worker's standard error.
        on_event: Called with each event, in the reader thread.
        on_end: Called once when the worker has ended, in the reader thread.

    Attributes:
        last_heard: Time of the latest data from the worker, by time.monotonic().
        garbage_lines: The first unreadable lines.
        garbage_count: Number of unreadable lines.

    Raises:
        WorkerError: The worker cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        on_event: Callable[[WorkerProcess, ProtocolEvent], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        self.log_file = log_file
        self.last_heard = time.monotonic()
        self.garbage_lines: List[str] = []
        self.garbage_count = 0
        self._on_event = on_event
        self._on_end = on_end
        self._send_lock = threading.Lock()
        options: Dict[str, Any] = {"start_new_session": True}  # Ctrl-C in Nuke's terminal does not reach the worker
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            # Errors before the worker opens its log go to the same file.
            with open(str(log_file), "ab") as errors:
                self._popen = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=dict(environment),
                    bufsize=0,
                    **options,
                )
        except OSError as error:
            raise WorkerError(
                f"the worker does not start: {command[0]}: {error.strerror or error}. Run `python3 "
                "install.py --nuke` again, or choose the worker's Python in the preferences"
            ) from error
        self._reader = threading.Thread(target=self._read_events, name="fsgan worker, reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process number."""
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._popen.poll() is None

    def send(self, request: ProtocolRequest) -> None:
        """Sends a request; blocks while the worker does not read.

        Raises:
            OSError: The worker has ended.
            ProtocolError: The request is too long.
        """
        assert self._popen.stdin is not None
        line = memoryview(request.to_line())
        with self._send_lock:
            descriptor = self._popen.stdin.fileno() if not self._popen.stdin.closed else -1
            while line:
                line = line[os.write(descriptor, line) :]

    def end(self, grace: float) -> None:
        """Closes the worker's input, which ends it; kills it if it still runs after `grace` seconds."""
        if self._send_lock.acquire(timeout=0.1):  # another thread may hold it while it waits for the worker to read
            self._close_input()
            self._send_lock.release()
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def _close_input(self) -> None:
        if self._popen.stdin is not None:
            with suppress(OSError):
                self._popen.stdin.close()

    def kill(self) -> None:
        """Kills the worker."""
        try:
            self._popen.kill()
            self._popen.wait(2.0)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("worker %d cannot be killed: %s", self.pid, error)

    def describe_ending(self) -> str:
        """Describes how the worker ended, for messages."""
        code = self._popen.poll()
        if code is None:
            return "it closed its output"
        if code < 0:
            try:
                return f"killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"killed by signal {-code}"
        return f"exit code {code}" if code < 256 else f"exit code 0x{code & 0xFFFFFFFF:08X}"

    def read_log_end(self, lines: int = 12) -> str:
        """Reads the last lines of the worker's log; "" if it cannot be read."""
        try:
            with open(str(self.log_file), "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 8000))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def _read_events(self) -> None:
        assert self._popen.stdout is not None
        splitter = LineSplitter()
        descriptor = self._popen.stdout.fileno()
        while True:
            try:
                data = os.read(descriptor, READ_BYTES)
            except OSError:
                break
            if not data:
                break
            self.last_heard = time.monotonic()
            for line in splitter.feed(data):
                self._handle_line(line)
        try:
            self._popen.wait(2.0)
        except subprocess.TimeoutExpired:
            log.warning("worker %d has closed its output and is killed", self.pid)
            self.kill()
        self._popen.stdout.close()
        with self._send_lock:
            self._close_input()
        self._on_end(self)

    def _handle_line(self, line: Optional[bytes]) -> None:
        try:
            if line is None:
                raise ProtocolError("a line without end")
            event = parse_event(line)
        except ProtocolError as error:
            self.garbage_count += 1
            if len(self.garbage_lines) < MAX_GARBAGE:
                self.garbage_lines.append(str(error)[:200])
                log.warning("from the worker: %s", str(error)[:200])
            return
        self._on_event(self, event)
