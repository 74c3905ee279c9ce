"""The command line, `fsgan COMMAND ...`: reads the options, calls one function of the core, presents its result."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from fsgan_core.contract.errors import FsganError, MachineError

__all__ = ["main"]

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The words after `fsgan`; None takes those of this process.

    Returns:
        The exit code: 0 done, 1 some frames failed, 2 wrong request, 3 a problem of this machine, 130 interrupted.
    """
    from fsgan_core.cli.parser import make_parser
    from fsgan_core.cli.present import Presenter
    from fsgan_core.cli.progress import make_farm_progress

    options = make_parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    presenter = Presenter(
        json=options.json, quiet=options.quiet, verbose=options.verbose, farm_progress=make_farm_progress(options)
    )
    try:
        with _interrupt_on_terminate(), presenter:
            return int(options.run(options, presenter))
    except FsganError as error:
        presenter.show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        presenter.show_interrupted()
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The program that read our output has ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        presenter.show_error(MachineError("this machine does not have enough memory for the job"))
        return MachineError.exit_code


@contextmanager
def _interrupt_on_terminate() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, so that half-written files are removed."""

    def raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous_handler = signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
