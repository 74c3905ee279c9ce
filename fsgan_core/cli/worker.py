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

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

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
    limit_log_size = _redirect_standard_error(options.log)
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

        return Worker(
            source, sink, device=options.device, log_file=options.log, parent=parent, on_beat=limit_log_size
        ).run()
    finally:
        logger.handlers = usual


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
            return  # a full disk must not end the worker

    limit_log_size()
    return limit_log_size
