"""`fsgan worker`: the protocol runs on standard input and output, everything else goes to the log."""

from __future__ import annotations

import faulthandler
import logging
import os
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import OutputError
from fsgan_core.runtime.user_paths import expand_home

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.worker.transports import Transport

DESCRIPTION = """\
Runs jobs for another program. Reads requests from standard input, one JSON object per line, and writes answers to
standard output. The Nuke nodes use such a process; docs/worker.md explains how your own script can use one.

  fsgan worker --log worker.log
"""

MAX_LOG_BYTES = 4 << 20  # bytes; a longer log is moved to FILE.1
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_flags(parser: ArgumentParser) -> None:
    """Add the flags of `fsgan worker`."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        help="where networks run: auto, cpu, cuda, cuda:1, mps (default: auto)",
    )
    parser.add_argument(
        "--log", metavar="FILE", default="", help="write the log to this file instead of standard error"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log everything")
    parser.set_defaults(json=False, quiet=False)


def run_worker(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan worker`.

    Raises:
        OutputError: The log cannot be written.
    """
    from fsgan_core.worker.transports import PipeTransport

    limit_log_size = _redirect_standard_error(options.log)
    source, sink = _claim_standard_streams()
    transport = PipeTransport(source, sink, os.getppid())
    return _serve(transport, options.log, limit_log_size, device=options.device, verbose=bool(options.verbose))


def serve_session(folder: Path) -> int:
    """Serve the tasks of a farm's session at a socket in its folder, until it is stopped or not needed any more.

    Raises:
        MachineError: There can be no socket in the folder.
        OutputError: The log in the folder cannot be written.
    """
    from fsgan_core.farm.session import IDLE_SECONDS, LOG_NAME, SOCKET_NAME
    from fsgan_core.worker.transports import SocketTransport

    log = str(folder / LOG_NAME)
    limit_log_size = _redirect_standard_error(log)
    transport = SocketTransport(folder / SOCKET_NAME)  # before the imports: tasks may come and wait
    return _serve(transport, log, limit_log_size, idle_limit=IDLE_SECONDS)


def _serve(
    transport: Transport,
    log_file: str,
    limit_log_size: Callable[[], None],
    *,
    device: str = "auto",
    verbose: bool = False,
    idle_limit: float = 0.0,
) -> int:
    """A worker that logs to standard error."""
    from fsgan_core.farm.session import select_deciding_variables

    variables = select_deciding_variables(os.environ)  # before the imports, which set some of them
    logger = logging.getLogger("fsgan_core")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    handler.setLevel(logging.DEBUG if verbose else logging.INFO)
    handlers_before, logger.handlers = logger.handlers, [handler]
    logger.setLevel(handler.level)
    faulthandler.enable(file=sys.stderr)
    try:
        import fsgan_core.farm.task_runner  # noqa: F401 - what the first request needs
        from fsgan_core.worker.server import Worker

        worker = Worker(
            transport,
            device=device,
            variables=variables,
            log_file=log_file,
            idle_limit=idle_limit,
            on_beat=limit_log_size,
        )
        return worker.run()
    finally:
        logger.handlers = handlers_before


def _claim_standard_streams() -> tuple[int, int]:
    """Return the descriptors of the protocol.

    From now on a library that reads standard input finds nothing, and what a library prints goes to standard error.
    """
    sys.stdout.flush()
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (source, sink):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return source, sink


def _redirect_standard_error(log: str) -> Callable[[], None]:
    """Redirect standard error to the log file; return a function that limits the size of the file."""
    if not log:
        return lambda: None
    path = expand_home(log)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise OutputError(f"the log {path} cannot be written: {error.strerror or error}") from error
    sys.stderr.flush()
    os.dup2(descriptor, 2)
    os.close(descriptor)

    def limit_log_size() -> None:
        try:
            if os.fstat(2).st_size > MAX_LOG_BYTES:
                shutil.copyfile(path, path.with_name(path.name + ".1"))
                os.ftruncate(2, 0)
        except OSError:
            return  # a full disk must not end the worker

    limit_log_size()
    return limit_log_size
