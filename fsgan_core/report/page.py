"""The short page of a report as Markdown: engines, colour space and times of a render, and the frames to look at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsgan_core.clips.presets import describe_preset
from fsgan_core.contract.safe_text import escape_line
from fsgan_core.contract.shot import Shot
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.evaluation.metric_limits import METRICS
from fsgan_core.plates.sequence import format_frames
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.events import FAILED, KEPT, PASSED, RENDERED, RenderResult
from fsgan_core.runtime.user_paths import resolve_links

_MARKDOWN_SIGNS = re.compile(r"[\[\]|`]")

__all__ = ["ReportPage", "format_markdown", "make_render_page", "write_page"]

MAX_SAMPLES = 6  # of a parameter that changes over time, in the list of settings
SYNTHETIC_NOTICE = "The result holds synthesised face pixels; every frame's metadata says so."
UNCHANGED_NOTICE = "No frame of the result holds synthesised face pixels; every frame's metadata says so."


@dataclass(frozen=True)
class PageSection:
    """A heading with lines of text, and a table whose first row is its head."""

    heading: str
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class ReportPage:
    """A page with pictures and movies.

    Attributes:
        title: Title.
        sections: Text and tables, in order.
        pictures: (label, path); shown relative to the page's own folder.
        movies: (label, path), likewise.
    """

    title: str
    sections: tuple[PageSection, ...]
    pictures: tuple[tuple[str, Path], ...] = ()
    movies: tuple[tuple[str, Path], ...] = field(default=())


def make_render_page(
    result: RenderResult,
    shot: Shot | None = None,
    evaluation: Evaluation | None = None,
    *,
    pictures: Mapping[str, Path] | None = None,
    movies: Mapping[str, Path] | None = None,
    seconds: Mapping[str, float] | None = None,
    remarks: Sequence[str] = (),
    measured: Sequence[str] = (),
    is_synthetic: bool = True,
) -> ReportPage:
    """Makes the page of a render.

    Args:
        result: What the render returned.
        shot: The shot that was rendered.
        evaluation: Its evaluation.
        pictures: Paths by label.
        movies: Paths by label.
        seconds: Further times to list, such as the evaluation's.
        remarks: Further reasons to look at frames, such as figures beyond their limits.
        measured: How the figures were measured, and which were not and why.
        is_synthetic: Whether a frame holds synthesised pixels.
    """
    notice = SYNTHETIC_NOTICE if is_synthetic else UNCHANGED_NOTICE
    sections = [_make_summary_section(result, shot, notice), _make_time_section(result, dict(seconds or {}))]
    flagged = [
        f"{flag}: {format_frames(frames)}"
        for flag, frames in result.flagged_frames.items()
        if not any(note.startswith(f"{flag} in ") for note in result.notes)
    ]
    failed = [f"frame {frame} failed: {message}" for frame, message in result.failures]
    reasons = list(dict.fromkeys([*result.notes, *flagged, *failed, *remarks]))
    sections.append(PageSection("Frames to look at", tuple(reasons or ["nothing was flagged"])))
    if shot is not None:
        changed = [
            (f"{stage}.{name}", _format_value(value))
            for stage, values in shot.to_dict().get("stages", {}).items()
            if isinstance(values, dict)
            for name, value in values.items()
        ]
        base = "the preset" if shot.stages.preset else "their defaults"
        sections.append(
            PageSection(
                f"Settings that differ from {base}",
                () if changed else ("none",),
                (("parameter", "value"), *changed) if changed else (),
            )
        )
    if measured:
        sections.append(PageSection("How it was measured", tuple(measured)))
    if evaluation is not None:
        rows = [
            (
                metric.label,
                _format_number(evaluation.means[metric.name] * metric.scale, metric.digits),
                metric.unit,
                evaluation.verdicts.get(metric.name, ""),
                metric.meaning,
            )
            for metric in METRICS
        ]
        sections.append(
            PageSection("Measured", evaluation.notes, (("metric", "mean", "unit", "verdict", "meaning"), *rows))
        )
    return ReportPage(
        f"{result.command.capitalize()}: {Path(result.output).name}",
        tuple(sections),
        tuple((pictures or {}).items()),
        tuple((movies or {}).items()),
    )


def _make_summary_section(result: RenderResult, shot: Shot | None, notice: str) -> PageSection:
    rows = [("", "")]
    if shot is not None:
        rows += [("source", ", ".join(clip.path for clip in shot.source)), ("target", shot.target.path)]
        if shot.stages.preset:
            rows.append(("preset", describe_preset(shot.stages)))
    numbers = [report.frame for report in result.frames]
    rows += [("result", result.output), ("frames", f"{format_frames(numbers)} ({len(numbers)})")]
    names = {
        RENDERED: "rendered",
        KEPT: "kept from an earlier render",
        PASSED: "without a face, passed through",
        FAILED: "failed",
    }
    rows += [(name, str(len(result.list_frames(state)))) for state, name in names.items() if result.list_frames(state)]
    if result.skipped:
        rows.append(("skipped, no file", f"{format_frames(result.skipped)} ({len(result.skipped)})"))
    rows += [("colour space", result.colorspace), ("device", result.device)]
    rows += [(f"{stage} engine", engine) for stage, engine in result.engines.items()]
    return PageSection("What was done", (notice,), tuple(rows))


def _make_time_section(result: RenderResult, further: dict[str, float]) -> PageSection:
    spent = {**result.seconds, **further}
    total = spent.pop("total", None)
    count = len(result.list_frames(RENDERED))
    rows: list[tuple[str, ...]] = [("stage", "seconds", "per rendered frame")]
    rows += [
        (stage, f"{value:.2f}", f"{value / max(1, count):.3f}" if stage in result.seconds else "")
        for stage, value in spent.items()
    ]
    if total is not None:
        rows.append(("total", f"{total:.2f}", f"{total / max(1, count):.3f}"))
    if not count:  # all were kept or without a face, or `fsgan report` reads what an earlier render wrote
        rows = [row[:2] for row in rows]
    return PageSection(
        "Time", ("reading and writing run beside the stages: the rows may add up to more than the total",), tuple(rows)
    )


def format_markdown(page: ReportPage, folder: Path | None = None) -> str:
    """Formats a page as Markdown; pictures are named relative to `folder`, where the page will be."""
    out = [f"# {_escape_markdown(page.title)}", ""]
    for section in page.sections:
        out += [f"## {section.heading}", ""]
        out += [f"- {_escape_markdown(line)}" for line in section.lines] + ([""] if section.lines else [])
        if section.rows:
            head, *rows = [[_escape_markdown(cell) for cell in row] for row in section.rows]
            out += [
                _format_markdown_row(head),
                _format_markdown_row(["---"] * len(head)),
                *(_format_markdown_row(row) for row in rows),
                "",
            ]
    for label, path in page.pictures:
        label = _escape_markdown(label)
        out += [f"## {label}", "", f"![{label}](<{_quote_address(path, folder)}>)", ""]
    for label, path in page.movies:
        out += [f"[{_escape_markdown(label)}](<{_quote_address(path, folder)}>)", ""]
    return "\n".join(out)


def write_page(page: ReportPage, path: Path | str) -> Path:
    """Writes a page as Markdown and returns the path.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(path)
    with write_atomically(path) as temporary:
        temporary.write_text(format_markdown(page, path.parent), encoding="utf-8")
    return path


def _format_markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape_markdown(text: str) -> str:
    """Writes text so that it is shown as it is: one line, and neither HTML nor a link nor a table's border."""
    return _MARKDOWN_SIGNS.sub(r"\\\g<0>", escape_line(text).replace("&", "&amp;").replace("<", "&lt;"))


def _quote_address(path: Path, folder: Path | None) -> str:
    return escape_line(_make_relative(path, folder)).replace("<", "%3C").replace(">", "%3E")


def _make_relative(path: Path, folder: Path | None) -> str:
    if folder is not None and resolve_links(path).is_relative_to(resolve_links(folder)):
        path = resolve_links(path).relative_to(resolve_links(folder))
    return path.as_posix()


def _format_number(value: float, digits: int) -> str:
    return "-" if value != value else f"{value:.{digits}f}"


def _format_value(value: Any) -> str:
    if isinstance(value, dict):  # over time
        samples = [f"{frame}: {number:g}" for frame, number in value.items()]
        return ", ".join(samples if len(samples) <= MAX_SAMPLES else [*samples[: MAX_SAMPLES - 1], "...", samples[-1]])
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
