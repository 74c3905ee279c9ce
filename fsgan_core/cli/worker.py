"""`fsgan worker`: standard input and output become the protocol's alone, everything else goes to the log."""

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

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

DESCRIPTION = """\
Stays and does what it is told on standard input, one JSON object per line; answers on standard output. The
Nuke nodes are done by such a process; docs/worker.md says how a script of yours can use one.

  fsgan worker --log worker.log
"""

MAX_LOG_BYTES = 4 << 20  # bytes; then the log is copied to FILE.1 and begun anew
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--log", metavar="FILE", default="", help="what would go to standard error goes there")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log everything")
    parser.set_defaults(json=False, quiet=False)


def run_worker(options: Namespace, presenter: Presenter) -> int:
    """Raises OutputError."""
    bounded = _redirect_standard_error(options.log)
    source, sink = _claim_standard_streams()
    logger = logging.getLogger("fsgan_core")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    usual, logger.handlers = logger.handlers, [handler]
    logger.setLevel(logging.DEBUG if options.verbose else logging.INFO)
    faulthandler.enable(file=sys.stderr)
    parent = os.getppid()
    try:
        from fsgan_core.worker.server import Worker

        return Worker(source, sink, device=options.device, log_file=options.log, parent=parent, on_beat=bounded).run()
    finally:
        logger.handlers = usual


def _claim_standard_streams() -> tuple[int, int]:
    """Descriptors of the protocol. What a library reads from standard input is empty from now on, what one prints goes
    to standard error."""
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
    """Standard error to the log file; returns what keeps the file from growing without end. Raises OutputError."""
    if not log:
        return lambda: None
    path = Path(log).expanduser()
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
            return  # a full disk: the log is not worth an end

    limit_log_size()
    return limit_log_size
