"""The command line: `fsgan COMMAND ...`. Parses, calls `render`, presents; knows nothing of pixels."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from fsgan_core.contract.errors import FsganError, MachineError

if TYPE_CHECKING:
    from fsgan_core.render.warm_cache import WarmCache

__all__ = ["main"]

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, warm: WarmCache | None = None) -> int:
    """Runs a command; the exit code: 0 done, 1 some frames failed, 2 bad input, 3 machine trouble, 130 interrupted.

    warm: what a process that runs several commands keeps of them.
    """
    from fsgan_core.cli.parser import make_parser
    from fsgan_core.cli.present import Presenter
    from fsgan_core.cli.progress import make_farm_progress

    arguments = sys.argv[1:] if arguments is None else arguments
    options = make_parser().parse_args(arguments)
    options.arguments, options.warm, options.main = arguments, warm, main  # for a session's process
    presenter = Presenter(
        json=options.json, quiet=options.quiet, verbose=options.verbose, engine=make_farm_progress(options)
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
        # Whoever read our output has gone; nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        presenter.show_error(MachineError("this machine has not enough memory for the job"))
        return MachineError.exit_code


@contextmanager
def _interrupt_on_terminate() -> Iterator[None]:
    """A kill that can be caught leaves by the same way as Ctrl-C: what is half-written goes away."""

    def raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
