"""The command line, `fsgan COMMAND ...`: reads the options, calls one function of the core, presents its result."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

__all__ = ["main"]

EXIT_INTERRUPTED = 130
SAME_INTERRUPT = 1.0  # seconds in which signals count as one: a wrapper may pass on what the terminal sends as well
STOPPING_NOTE = b"\nfsgan: stopping after what is at work; Ctrl-C again stops at once\n"
LIGHT_COMMANDS = ("params", "nuke")  # they load no numerical libraries


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The words after `fsgan`; None takes those of this process.

    Returns:
        The exit code: 0 done, 1 some frames failed, 2 wrong request, 3 a problem of this machine, 4 a fault of this
        program, 130 interrupted.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    presenter: Presenter | None = None
    try:
        from fsgan_core.cli.parser import make_parser
        from fsgan_core.cli.present import Presenter
        from fsgan_core.cli.progress import make_farm_progress
        from fsgan_core.runtime.process_memory import check_address_space
        from fsgan_core.runtime.threads import bound_thread_memory

        bound_thread_memory()
        options = make_parser().parse_args(words)
        presenter = Presenter(
            json=options.json, quiet=options.quiet, verbose=options.verbose, farm_progress=make_farm_progress(options)
        )
        if options.command not in LIGHT_COMMANDS:
            check_address_space()
        with _handle_interrupts(), _report_thread_faults(words), presenter:
            code = int(options.run(options, presenter))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        if presenter is not None:
            presenter.show_interrupted()
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The program that read our output has ended.
        _abandon_standard_output()
        return 0
    except Exception as error:
        return _show_failure(error, words, presenter)


def _show_failure(error: Exception, words: Sequence[str], presenter: Presenter | None) -> int:
    """Show an error in one line; return the exit code."""
    from fsgan_core.contract.safe_text import escape_lines
    from fsgan_core.runtime.failures import explain_exception, print_error

    known = explain_exception(error, words)
    try:
        if presenter is None:
            print_error(f"fsgan: {escape_lines(str(known))}")
        else:
            presenter.show_error(known)
        sys.stdout.flush()
    except OSError as failure:
        # Standard output cannot be written, for example because its disk is full.
        _abandon_standard_output()
        if not isinstance(error, OSError):
            print_error(f"fsgan: {failure.strerror or failure}")
    return known.exit_code


def _abandon_standard_output() -> None:
    """Let what is still in the buffer of standard output go nowhere; the interpreter writes it when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _report_thread_faults(words: Sequence[str]) -> Iterator[None]:
    """Write the faults of other threads to a log file instead of printing tracebacks."""
    from fsgan_core.contract.safe_text import escape_lines
    from fsgan_core.runtime.failures import explain_exception, print_error

    def report(fault: threading.ExceptHookArgs) -> None:
        if fault.exc_value is not None:
            print_error(f"fsgan: {escape_lines(str(explain_exception(fault.exc_value, words)))}")

    previous_hook, threading.excepthook = threading.excepthook, report
    try:
        yield
    finally:
        threading.excepthook = previous_hook


@contextmanager
def _handle_interrupts() -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM.

    The first one raises KeyboardInterrupt: the threads end what they are at, and half-written files are removed. One
    that comes later ends the process at once. If it interrupted the waiting for the threads, native code would be torn
    down below them, and the process would abort.
    """
    interrupted_at: float | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted_at
        now = time.monotonic()
        if interrupted_at is None:
            interrupted_at = now
            if sys.stderr.isatty():
                os.write(2, STOPPING_NOTE)
            raise KeyboardInterrupt
        if now - interrupted_at > SAME_INTERRUPT:
            os._exit(EXIT_INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A program that is started in the background of a script ignores Ctrl-C, and goes on doing so.
    handled = [signal.SIGTERM] + ([signal.SIGINT] if signal.getsignal(signal.SIGINT) != signal.SIG_IGN else [])
    previous_handlers = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
