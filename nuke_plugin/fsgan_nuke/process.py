"""One life of a worker: started in an environment of its own, spoken to, listened to, ended."""

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
MAX_LOGS = 10
MAX_GARBAGE = 20

# What the host set for its own libraries, which would break another interpreter's.
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
    """Raises WorkerError where no Python is known."""
    if not settings.python:
        raise WorkerError(
            "it is not known which Python runs the worker: run `python3 install.py --nuke`, or set FSGAN_PYTHON"
        )
    # -P: what lies in the working directory is not imported.
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
    """The host's environment without what is only for the host, and with what the settings say."""
    given = os.environ if inherited is None else inherited
    kept = {
        name: value
        for name, value in given.items()
        if name.upper() not in HOST_VARIABLES and not name.upper().startswith(HOST_PREFIXES)
    }
    if platform == "win32":
        # The host's folder of DLLs stands in PATH there.
        own = os.path.normcase(os.path.dirname(host))
        for name in [name for name in kept if name.upper() == "PATH"]:
            kept[name] = ";".join(part for part in kept[name].split(";") if os.path.normcase(part.rstrip("\\/")) != own)
    said = {"FSGAN_WEIGHTS": settings.weights, "FSGAN_CACHE": settings.cache, "PYTHONPATH": settings.root}
    kept.update({name: value for name, value in said.items() if value})
    kept.update(PYTHONNOUSERSITE="1", PYTHONUNBUFFERED="1")
    kept.update(settings.environment)
    return kept


def choose_log_file(folder: Path) -> Path:
    """A file for a new worker's log; of the older ones the newest few stay. Raises WorkerError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = sorted(folder.glob("worker-*.log*"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError as error:
        raise WorkerError(
            f"the folder of logs {folder} cannot be used: {error.strerror or error}; choose another one "
            "in the preferences"
        ) from error
    for path in old[MAX_LOGS:]:
        with suppress(OSError):  # another worker's
            path.unlink()
    return folder / f"worker-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


class WorkerProcess:
    """A started worker. on_event: each event, in the thread that reads. on_end: once, when the worker has ended.

    Raises WorkerError when it cannot be started.
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
        hidden: Dict[str, Any] = {"start_new_session": True}  # Ctrl-C in the host's terminal is the host's
        if sys.platform == "win32":
            hidden = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            # What goes wrong before the worker opens its log is in there too.
            with open(str(log_file), "ab") as errors:
                self._popen = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=dict(environment),
                    bufsize=0,
                    **hidden,
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
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def send(self, request: ProtocolRequest) -> None:
        """May wait where the worker does not read. Raises OSError (it has ended) and ProtocolError."""
        assert self._popen.stdin is not None
        line = memoryview(request.to_line())
        with self._send_lock:
            descriptor = self._popen.stdin.fileno() if not self._popen.stdin.closed else -1
            while line:
                line = line[os.write(descriptor, line) :]

    def end(self, grace: float) -> None:
        """Closes the worker's input, which ends it; what is left after `grace` seconds is killed."""
        if self._send_lock.acquire(timeout=0.1):  # held where somebody waits for the worker to read
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
        try:
            self._popen.kill()
            self._popen.wait(2.0)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("worker %d cannot be killed: %s", self.pid, error)

    def describe_ending(self) -> str:
        """How it ended, for a person."""
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
        """The last lines of its log."""
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
