"""Print progress, status and failures as lines that a render farm's engine reads.

Open Job Description reads `openjd_progress: PERCENT`, `openjd_status: TEXT` and `openjd_fail: TEXT` in the output of a
task. Other engines can be configured to read the same lines (docs/farm.md).
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.safe_text import escape_line
from fsgan_core.runtime.failures import print_error
from fsgan_core.runtime.process_memory import measure_resident_bytes

if TYPE_CHECKING:
    from fsgan_core.runtime.events import Event

__all__ = ["PROGRESS_VARIABLE", "FarmProgress", "make_farm_progress"]

PROGRESS_VARIABLE = "FSGAN_PROGRESS"
OPENJD = "openjd"
MAX_LINE_LENGTH = 1000  # characters of a line

# The kind of event whose steps are a command's progress. Other events only change the status.
COUNTED_EVENTS = {
    "analyse": "analyse",
    "analyse-source": "analyse",
    "analyse-target": "analyse",
    "finetune": "train",
    "evaluate": "evaluate",
    "report": "report",
}


def make_farm_progress(options: Namespace) -> FarmProgress | None:
    """Make the farm progress if `--progress` or its variable asks for it, and the command can have it."""
    requested = getattr(options, "progress", None) or os.environ.get(PROGRESS_VARIABLE, "")
    if requested != OPENJD or options.command == "worker":
        return None
    return FarmProgress(COUNTED_EVENTS.get(getattr(options, "task", None) or options.command, "frame"))


class FarmProgress:
    """Prints the progress of one task.

    Args:
        counted_kind: The kind of event whose steps are the progress.
    """

    def __init__(self, counted_kind: str) -> None:
        self._counted_kind = counted_kind
        self._percent = -1.0
        self._status = ""

    def report_event(self, event: Event) -> None:
        """Print the progress and the status if the event changes them. May be called from any thread."""
        if event.kind == self._counted_kind and event.total:
            percent = min(100.0, 100.0 * event.done / event.total)
            if percent > self._percent:
                self._percent = percent
                _print_status_line(f"openjd_progress: {percent:.1f}")
        if event.kind == "begin":
            self._report_status(f"frame {event.frame}")
        elif event.kind not in ("frame", "unread"):
            self._report_status(f"{event.kind} {event.subject}")

    def report_failure(self, error: FsganError) -> None:
        """Print why the task failed."""
        _print_status_line(f"openjd_fail: {error}")

    def _report_status(self, status: str) -> None:
        if status != self._status:
            self._status = status
            _print_status_line(f"openjd_status: {status}")


def _print_status_line(line: str) -> None:
    """Print one line, without line breaks that would start another directive."""
    print_error(escape_line(" ".join(line.split()))[:MAX_LINE_LENGTH])


def format_frame_facts(record: logging.LogRecord) -> str:
    """Format the seconds per stage and the memory of a frame's log record; "" for other records."""
    seconds = getattr(record, "seconds", None)
    if not isinstance(seconds, dict) or not hasattr(record, "frame"):
        return ""
    memory = (
        getattr(record, "resident_bytes", None) or measure_resident_bytes()
    )  # of a session's process, or of this one
    stages = ", ".join(f"{stage} {stage_seconds:.2f}" for stage, stage_seconds in seconds.items())
    return f"; {sum(seconds.values()):.2f} s ({stages}); {memory / 2**20:.0f} MiB"
