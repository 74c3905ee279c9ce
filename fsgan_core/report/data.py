"""What a report says, as one structure of plain data. The page, the JSON file and the CSV file are all made from it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fsgan_core.evaluation.metrics import nanmean
from fsgan_core.runtime.atomic import write_atomically

__all__ = [
    "Fact",
    "Figure",
    "Remark",
    "ReportChanges",
    "ReportData",
    "ReportFrame",
    "SettingChange",
    "write_report_csv",
    "write_report_json",
]

REPORT_FORMAT = 1
"""Version of report.json. It rises when a key changes its meaning or goes away."""


@dataclass(frozen=True)
class Figure:
    """One kind of measurement, with a value for each frame.

    Attributes:
        name: Key in JSON, CSV and `--fail-on`.
        label: Name for people.
        meaning: What it says, for people.
        panel: Name of the plot that shows it; figures of one panel share a plot. Empty: it is not plotted.
        values: One for each frame of the report; None where it was not measured.
        unit: Unit of the shown number.
        scale: Factor from a value to the shown number.
        digits: Decimals of the shown number.
        better: Which way is good: "low", "high" or "" for neither.
        limit: The highest value that passes; None if there is no limit.
        ideal: The best possible value.
    """

    name: str
    label: str
    meaning: str
    panel: str
    values: tuple[float | None, ...]
    unit: str = ""
    scale: float = 1.0
    digits: int = 2
    better: str = "low"
    limit: float | None = None
    ideal: float = 0.0

    @property
    def measured_values(self) -> list[float]:
        """The values of the frames that have one."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """Mean over the frames that have a value; None without any."""
        mean = nanmean(self.measured_values)
        return None if math.isnan(mean) else mean

    @property
    def worst_place(self) -> int | None:
        """Place of the worst frame in the list of frames; None if nothing was measured, or no value is worse."""
        found = [(value, place) for place, value in enumerate(self.values) if value is not None]
        if not found or not self.better:
            return None
        choose = min if self.better == "high" else max
        return choose(found, key=lambda one: one[0])[1]

    def format(self, value: float | None, *, unit: bool = True) -> str:
        """Formats a value as people read it; "-" for None."""
        if value is None:
            return "-"
        number = f"{value * self.scale:.{self.digits}f}"
        return f"{number} {self.unit}".strip() if unit else number


@dataclass(frozen=True)
class ReportFrame:
    """One frame of the result.

    Attributes:
        number: Frame number.
        state: "rendered", "kept", "passed" or "failed".
        flags: Flags that the render set.
        message: Why it failed.
        verdict: Worst verdict on its figures: "pass", "look", "fail", or "" if nothing was judged.
        key: First digits of the frame's key: two frames of one key are the same picture.
    """

    number: int
    state: str
    flags: tuple[str, ...] = ()
    message: str = ""
    verdict: str = ""
    key: str = ""


@dataclass(frozen=True)
class Remark:
    """Something to look at.

    Attributes:
        name: Flag or figure that it is about.
        frames: Frames to look at.
        reason: What is the matter, in words.
        advice: What to do about it.
    """

    name: str
    frames: tuple[int, ...]
    reason: str
    advice: str = ""


@dataclass(frozen=True)
class Fact:
    """A line of a table: what, and its value."""

    label: str
    value: str


@dataclass(frozen=True)
class SettingChange:
    """A value that is not what it was in the last report.

    Attributes:
        label: What it is.
        before: Its value in the last report.
        after: Its value now.
        better: True if it became better, False if worse, None if that cannot be said.
    """

    label: str
    before: str
    after: str
    better: bool | None = None


@dataclass(frozen=True)
class ReportChanges:
    """What changed since the last report of the shot that shows other pictures.

    Attributes:
        since: When the last report was made.
        settings: Changed settings, engines, weights and versions.
        figures: Changed means.
        frames: Frames whose picture is another one.
    """

    since: str
    settings: tuple[SettingChange, ...] = ()
    figures: tuple[SettingChange, ...] = ()
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """All that a report says, without its pictures.

    Attributes:
        title: Title.
        command: "swap" or "drive".
        made: When the report was made, as an ISO date and time with its zone.
        output: Pattern of the result's files.
        frames: The frames.
        figures: The figures; their values are in the order of `frames`.
        remarks: What to look at, worst first.
        summary: Source, target, result, frames, states.
        settings: Parameters that differ from their defaults.
        weights: Weights with their licence class.
        surroundings: Colour, machine and versions.
        times: Seconds by stage.
        engines: Stage -> engine that ran.
        notes: Notes of the render, and what the report leaves out.
        measured: How the figures were measured, in words.
        measured_fully: Every frame was measured, and identity against as many source frames as `fsgan evaluate` takes.
        changes: Since the last report; None if there was none.
    """

    title: str
    command: str
    made: str
    output: str
    frames: tuple[ReportFrame, ...]
    figures: tuple[Figure, ...] = ()
    remarks: tuple[Remark, ...] = ()
    summary: tuple[Fact, ...] = ()
    settings: tuple[Fact, ...] = ()
    weights: tuple[Fact, ...] = ()
    surroundings: tuple[Fact, ...] = ()
    times: tuple[Fact, ...] = ()
    engines: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    measured_fully: bool = False
    changes: ReportChanges | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The frame numbers."""
        return tuple(frame.number for frame in self.frames)

    def find_figure(self, name: str) -> Figure | None:
        """Finds a figure by its name; None if there is none."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data for JSON."""
        data = asdict(self)
        data["format"] = REPORT_FORMAT
        for figure, entry in zip(self.figures, data["figures"], strict=True):
            entry["values"] = [_round_value(value) for value in figure.values]
            entry["mean"] = _round_value(figure.mean)
            place = figure.worst_place
            entry["worst_frame"] = None if place is None else self.frames[place].number
        for name in ("summary", "settings", "weights", "surroundings", "times"):
            data[name] = {fact.label: fact.value for fact in getattr(self, name)}
        return data


def _round_value(value: float | None) -> float | None:
    return round(value, 6) if value is not None and math.isfinite(value) else None


def write_report_json(data: ReportData, path: Path) -> Path:
    """Writes a report as JSON and returns the path.

    Raises:
        OutputError: The file cannot be written.
    """
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def write_report_csv(data: ReportData, path: Path) -> Path:
    """Writes the figures of a report as CSV, a row per frame, and returns the path.

    A value that was not measured is empty. A text that a spreadsheet would take for a formula gets a quote in front.

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["frame", "state", "flags", "verdict", *(figure.name for figure in data.figures)])
    for place, frame in enumerate(data.frames):
        values = [figure.values[place] for figure in data.figures]
        cells = ["" if value is None else f"{value:.6g}" for value in values]
        rows.writerow([frame.number, frame.state, _quote_formula(" ".join(frame.flags)), frame.verdict, *cells])
    with write_atomically(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return path


def _quote_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
