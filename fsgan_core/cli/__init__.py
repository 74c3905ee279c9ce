"""The command line: `fsgan COMMAND ...`. Parses, calls `render`, presents; knows nothing of pixels."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from fsgan_core.contract.errors import FsganError, MachineError

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code: 0 done, 1 some frames failed, 2 bad input, 3 machine trouble, 130 interrupted."""
    from fsgan_core.cli.options import make_parser
    from fsgan_core.cli.present import Presenter

    options = make_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _ended)
    presenter = Presenter(json=options.json, quiet=options.quiet, verbose=options.verbose)
    try:
        with presenter:
            return int(options.run(options, presenter))
    except FsganError as error:
        presenter.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        presenter.interrupted()
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        presenter.error(MachineError("this machine has not enough memory for the job"))
        return MachineError.exit_code


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    """A polite kill leaves by the same way as Ctrl-C: what is half-written goes away."""
    raise KeyboardInterrupt


