"""The table of ratios: one row per measurement, and the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import OpenImageIO as oiio
import torch

from fsgan_core.runtime.threads import count_cores, limit_library_threads

Work = Callable[[], object]

HEAD = "| what | reference in the same run | seconds | ratio | aim | met |\n| --- | --- | --- | --- | --- | --- |"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        what: What is measured.
        reference: Against what.
        seconds: Of what is measured, the median; None where the row is not about time.
        ratio: To the reference, the median over the rounds.
        aim: At most, or at least.
        is_minimum: Whether the ratio must be at least the aim.
        least: What the ratio cannot fall below, by the same measurement; None: not known.
        least_of: Of what that is the ratio.
        notes: Lines that are printed below the table, such as where the time goes.
    """

    what: str
    reference: str
    seconds: float | None
    ratio: float
    aim: float
    is_minimum: bool = False
    least: float | None = None
    least_of: str = "cores never idle"
    notes: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether the aim is met, by the digits that the table shows."""
        shown = round(self.ratio, 2)
        return shown >= self.aim if self.is_minimum else shown <= self.aim

    def format(self) -> str:
        """Formats the row as Markdown."""
        seconds = "" if self.seconds is None else f"{self.seconds:.3f}"
        ratio = f"{self.ratio:.2f}" + ("" if self.least is None else f" ({self.least_of}: at least {self.least:.2f})")
        bound = f"at {'least' if self.is_minimum else 'most'} {self.aim:g}"
        return f"| {self.what} | {self.reference} | {seconds} | {ratio} | {bound} | {'yes' if self.is_met else 'no'} |"


def compare(what: str, work: Work, reference: str, reference_work: Work, aim: float, rounds: int) -> Row:
    """Measures the processor seconds of both sides, in turns; the first turn of each is not counted."""
    work(), reference_work()
    taken, ratios = [], []
    for _ in range(rounds):
        first, second = count_seconds(work), count_seconds(reference_work)
        taken.append(first)
        ratios.append(first / second)
    return Row(what, reference, statistics.median(taken), statistics.median(ratios), aim)


def count_seconds(work: Work) -> float:
    """Counts the processor seconds of a call, of all threads of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


@contextmanager
def use_one_core() -> Iterator[None]:
    """Makes this thread, the threads that it starts, and every library use one core."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if before:
        os.sched_setaffinity(0, {min(before)})
    try:
        with limit_library_threads(1):
            yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


def print_table(rows: Iterable[Row]) -> list[Row]:
    """Prints rows as they come, then their notes; returns them."""
    print(HEAD, flush=True)
    printed = []
    for row in rows:
        print(row.format(), flush=True)
        printed.append(row)
    notes = [(row.what, note) for row in printed for note in row.notes]
    if notes:
        print()
    for what, note in notes:
        print(f"- {what}: {note}")
    return printed


def describe_machine() -> str:
    """Describes the machine and the libraries in one line."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    memory = _read_memory_gib()
    return (
        f"{_read_processor_name()} ({platform.machine()}), {count_cores()} cores, {memory}load {load}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, OpenCV {cv2.__version__}, OpenImageIO "
        f"{oiio.VERSION_STRING}"
    )


def _read_processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _read_memory_gib() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ""
    return f"{size / 2**30:.0f} GiB, "
