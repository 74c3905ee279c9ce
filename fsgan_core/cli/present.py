"""Show progress, results and errors: for people as text and progress bars, for programs as JSON."""

from __future__ import annotations

import json as jsonlib
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import FramesFailedError, FsganError
from fsgan_core.contract.safe_text import escape_line, escape_lines
from fsgan_core.runtime.failures import print_error

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table
    from rich.text import Text

    from fsgan_core.cli.progress import FarmProgress
    from fsgan_core.runtime.events import Event, RenderResult

__all__ = ["Presenter"]

# Text before the subject of a progress bar, by kind of event.
EVENT_LABELS = {
    "analyse": "analysing ",
    "collect": "cutting out faces of ",
    "train": "training on ",
    "evaluate": "measuring ",
    "verify": "checking ",
    "atlas": "fusing the views of ",
    "report": "writing the ",
}

LINE_SECONDS = 10.0  # between lines of progress where standard error is no terminal

# Fields that every log record has. All others come from the caller.
_STANDARD_FIELDS = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}


class Presenter:
    """Shows what happens. Only results go to standard output; progress, log and errors go to standard error.

    Progress bars are drawn only on a terminal. Elsewhere a line says what is analysed, and then one line every
    LINE_SECONDS how far the work is.

    Args:
        json: Whether to print the result as one JSON object, and events and log as JSON lines.
        quiet: Whether to print only errors.
        verbose: 0 logs warnings, 1 also what is done, 2 everything.
        farm_progress: Prints progress for a farm's engine.
    """

    def __init__(
        self, *, json: bool = False, quiet: bool = False, verbose: int = 0, farm_progress: FarmProgress | None = None
    ) -> None:
        self._farm_progress = farm_progress
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._announced: set[str] = set()
        self._last_line_time = time.monotonic()
        self._log_handler: logging.Handler | None = None
        self._previous_level = logging.NOTSET

    def __enter__(self) -> Presenter:
        self._set_up_log()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_progress()
        if self._log_handler is not None:
            logger = logging.getLogger("fsgan_core")
            logger.removeHandler(self._log_handler)
            logger.setLevel(self._previous_level)

    def _end_progress(self) -> None:
        """Stop the progress bars, so that results are printed below them."""
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.stop()

    def _begin_progress(self) -> Progress | None:
        if self._progress is None and not (self.json or self.quiet or self._farm_progress) and sys.stderr.isatty():
            self._progress = _make_progress_bars()
            self._tasks = {}
            self._progress.start()
        return self._progress

    def on_event(self, event: Event) -> None:
        """Show a step of the work. May be called from any thread."""
        if self.json:
            self._print_json_line(event.to_dict())
        if self._farm_progress is not None:
            self._farm_progress.report_event(event)
        if event.kind in ("begin", "unread"):
            return
        with self._lock:
            progress = self._begin_progress()
            if progress is None:
                self._print_progress_line(event)
                return
            key = (event.kind, event.subject)
            if key not in self._tasks:
                text = escape_line(EVENT_LABELS.get(event.kind, "") + event.subject)
                self._tasks[key] = progress.add_task(text, total=event.total)
            progress.update(self._tasks[key], completed=event.done, total=event.total)
            if event.kind == "train":
                text = escape_line(f"{EVENT_LABELS['train']}{event.subject}, {event.message}")
                progress.update(self._tasks[key], description=text)
            if event.state == "failed":
                line = escape_lines(f"frame {event.frame}: {event.message}")
                progress.console.print(line, style="red", markup=False)

    def _print_progress_line(self, event: Event) -> None:
        """Print a line of progress, if one is due; not for programs and farms, which have lines of their own."""
        if self.json or self.quiet or self._farm_progress:
            return
        now = time.monotonic()
        if event.kind == "analyse" and event.subject not in self._announced:
            self._announced.add(event.subject)
            line = f"analysing {event.total} frame{'' if event.total == 1 else 's'} of {event.subject}"
        elif now - self._last_line_time >= LINE_SECONDS:
            line = f"{EVENT_LABELS.get(event.kind, '')}{event.subject}: {event.done} of {event.total}"
        else:
            return
        self._last_line_time = now
        print_error(escape_line(line))

    def show_result(
        self,
        result: RenderResult,
        report: str = "",
        broken_limits: Sequence[str] = (),
        measured: Sequence[str] = (),
    ) -> int:
        """Print the result of a render, and return the exit code.

        Args:
            result: What the render returned.
            report: Page of its report, if it has one.
            broken_limits: Limits of --fail-on that are broken, each as a line.
            measured: What the report measured, and what it did not and why.
        """
        self._end_progress()
        failures = result.failures
        code = FramesFailedError.exit_code if failures or broken_limits else 0
        if failures and self._farm_progress is not None:
            self._farm_progress.report_failure(FramesFailedError(failures))
        if self.json:
            facts = (
                {"report": report, "broken_limits": list(broken_limits), "measured": list(measured)} if report else {}
            )
            self.print_json({"ok": code == 0, "exit_code": code, **result.to_dict(), **facts})
            return code
        if not self.quiet:
            for line in summarise_result(result):
                self.print_line(line)
        if failures:
            self.print_problem(str(FramesFailedError([(frame, escape_line(text)) for frame, text in failures])))
        for line in broken_limits:
            self.print_problem(f"limit {line}")
        if report:
            self.print_line(f"report: {report}")
            for line in measured:
                self.print_line(f"  {line}")
        return code

    def print_json(self, data: Mapping[str, Any] | list[Any]) -> None:
        """Print one JSON object on standard output."""
        print(jsonlib.dumps(data, default=str), flush=True)

    def print_line(self, line: str) -> None:
        """Print a line of a result, for people."""
        self._end_progress()
        if not self.quiet:
            print(escape_line(line), flush=True)

    def print_table(self, table: Table) -> None:
        """Print a table of a result, for people."""
        self._end_progress()
        if not self.quiet:
            from rich.console import Console

            class SafeConsole(Console):
                def render_str(self, text: str, **options: Any) -> Text:
                    return super().render_str(escape_line(text), **options)

            # A program that reads a pipe needs each row on one line.
            terminal = sys.stdout.isatty()
            SafeConsole(width=None if terminal else 10_000).print(table, crop=terminal)

    def print_problem(self, message: str) -> None:
        """Print what is wrong with a part of a result, also if only errors are shown."""
        self._end_progress()
        print_error(f"fsgan: {escape_lines(message)}")

    def show_error(self, error: FsganError) -> None:
        """Show the error that ended a command."""
        if self._farm_progress is not None:
            self._farm_progress.report_failure(error)
        if self.json:
            self.print_json(
                {
                    "ok": False,
                    "exit_code": error.exit_code,
                    "error": {"kind": type(error).__name__, "message": str(error)},
                }
            )
        print_error(f"fsgan: {escape_lines(str(error))}")

    def show_interrupted(self) -> None:
        """Show that the command was interrupted."""
        message = "interrupted; run the same command again to continue"
        if self.json:
            self.print_json({"ok": False, "exit_code": 130, "error": {"kind": "Interrupted", "message": message}})
        print_error(f"fsgan: {message}")

    def _print_json_line(self, data: Mapping[str, Any]) -> None:
        with self._lock:
            print_error(jsonlib.dumps(data, default=str))

    def _set_up_log(self) -> None:
        if self._farm_progress is not None and not self.quiet:
            self.verbose = max(1, self.verbose)  # people read a farm's log afterwards
        level = logging.ERROR if self.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbose, 2)]
        self._log_handler = _ConsoleLogHandler(self)
        self._log_handler.setLevel(level)
        logger = logging.getLogger("fsgan_core")
        self._previous_level = logger.level
        logger.setLevel(level)
        logger.addHandler(self._log_handler)


class _ConsoleLogHandler(logging.Handler):
    """Prints log records as JSON lines, as lines above the progress bars, or as plain lines."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        presenter = self._presenter
        if record.exc_info and (presenter.json or presenter.verbose > 1):
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        if presenter._farm_progress is not None:
            from fsgan_core.cli.progress import format_frame_facts

            message += format_frame_facts(record)
        if presenter.json:
            extra_fields = {name: value for name, value in record.__dict__.items() if name not in _STANDARD_FIELDS}
            presenter._print_json_line(
                {
                    "event": "log",
                    "level": record.levelname.lower(),
                    "logger": record.name,
                    "message": message,
                    **extra_fields,
                }
            )
        elif presenter._progress is not None:
            line = escape_lines(f"{record.levelname.lower()}: {message}")
            presenter._progress.console.print(line, markup=False, highlight=False)
        else:
            print_error(escape_lines(f"{record.levelname.lower()}: {message}"))


def summarise_result(result: RenderResult) -> list[str]:
    """Describe a result in a few lines."""
    names = {"rendered": "rendered", "kept": "kept", "passed": "without a face", "failed": "failed"}
    if result.command in ("swap", "drive", "blend"):  # other stages write an empty picture
        names["passed"] = "without a face (passed through unchanged)"
    counts = [f"{len(result.list_frames(state))} {name}" for state, name in names.items() if result.list_frames(state)]
    lines = [f"{result.command}: {', '.join(counts)}; {result.output} ({result.colorspace})"]
    engines = ", ".join(f"{stage} {name}" for stage, name in result.engines.items())
    lines.append(f"  engines: {engines}; device: {result.device}")
    lines += [f"  {note}" for note in result.notes]
    stage_seconds = [f"{stage} {seconds:.1f}" for stage, seconds in result.seconds.items() if seconds >= 0.05]
    lines.append(f"  seconds: {', '.join(stage_seconds)}")
    return lines


def _make_progress_bars() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
    )
