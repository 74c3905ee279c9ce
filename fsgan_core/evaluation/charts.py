"""An evaluation for people and machines: a table, plots over frames, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.evaluation.metric_limits import METRICS, Metric
from fsgan_core.evaluation.metrics import nanmean
from fsgan_core.evaluation.verdicts import FAIL, LOOK, find_worst_verdict, judge_value
from fsgan_core.plates.sequence import format_frames
from fsgan_core.runtime.atomic import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "describe_evaluation",
    "make_comparison_table",
    "make_evaluation_table",
    "write_csv",
    "write_json",
    "write_plots",
]

TABLE_WIDTH = 100
"""Columns of a terminal that the table of an evaluation fits."""
_RESULT_COLOUR, _TARGET_COLOUR, _LOST_COLOUR, _LIMIT_COLOUR = "#c2410c", "#64748b", "#fecaca", "#15803d"
# Panels of the plots: a metric, and what it is compared with.
_PANELS = (
    ("identity", "identity_target"),
    ("ssim", ""),
    ("gaze", ""),
    ("lids", ""),
    ("lips", ""),
    ("euler", ""),
    ("light", ""),
    ("tone", ""),
    ("landmarks", ""),
    ("landmarks_dlib", ""),
    ("flicker_result", "flicker_target"),
    ("sharpness", ""),
    ("edge", ""),
    ("outside", ""),
)


def make_evaluation_table(evaluation: Evaluation) -> Table:
    """Makes a table with a row per metric: mean, which way is good, limit, verdict, worst frame.

    It fits TABLE_WIDTH columns. docs/evaluate.md says what each metric means.
    """
    from rich.table import Table

    table = Table(title=f"{Path(evaluation.result).name}: {len(evaluation.frames)} frames", title_justify="left")
    table.add_column("metric")
    table.add_column("mean", justify="right")
    table.add_column("good")
    table.add_column("at most", justify="right")
    table.add_column("verdict")
    for name in ("worst", "in frame"):
        table.add_column(name, justify="right")
    verdicts = evaluation.verdicts
    for metric in METRICS:
        worst = evaluation.find_worst_frame(metric.name, high=metric.better != "high") if metric.better else None
        value = evaluation.metrics[metric.name][evaluation.frames.index(worst)] if worst is not None else math.nan
        table.add_row(
            metric.label,
            _format_metric(metric, evaluation.means[metric.name]),
            metric.better,
            "" if metric.limit is None else _format_metric(metric, metric.limit, unit=False),
            verdicts.get(metric.name, ""),
            _format_metric(metric, value, unit=False),
            "" if worst is None else str(worst),
        )
    return table


def describe_evaluation(evaluation: Evaluation) -> list[str]:
    """Describes what the table leaves out: the verdict, frames to look at, faces that were lost, the matte, notes."""
    face_count = len(evaluation.frames) - len(evaluation.target_lost)
    lines = [f"a face in {face_count - len(evaluation.lost)} of the {face_count} frames whose target shows one"]
    if evaluation.lost:
        lines[0] += f"; lost in {format_frames(evaluation.lost)}"
    if evaluation.target_lost:
        lines.append(f"no face in the target: {format_frames(evaluation.target_lost)}")
    total = evaluation.outside_total
    lines.append(f"{total or 'no'} pixel{'' if total == 1 else 's'} changed outside the matte ({evaluation.matte})")
    lines.append(
        f"verdict: {evaluation.verdict}"
        + _format_verdict_frames(evaluation, FAIL)
        + _format_verdict_frames(evaluation, LOOK)
    )
    return [*lines, *evaluation.notes]


def _format_verdict_frames(evaluation: Evaluation, verdict: str) -> str:
    """The frames with a verdict, as the end of a line."""
    frames = [frame for frame in evaluation.frames if evaluation.judge_frame(frame) == verdict]
    return f"; {verdict}: {format_frames(frames)}" if frames else ""


def make_comparison_table(evaluations: Sequence[Evaluation], names: Sequence[str] = ()) -> Table:
    """Makes a table of the means of several evaluations, a row each with its verdict, and their mean.

    Args:
        evaluations: One for each result.
        names: Names of the rows; empty takes the results' file names.
    """
    from rich.table import Table

    table = Table(title="means over frames", title_justify="left")
    table.add_column("result")
    for metric in METRICS:
        table.add_column(f"{metric.label}{', ' + metric.unit if metric.unit else ''}", justify="right")
    table.add_column("lost", justify="right")
    table.add_column("verdict")
    rows = list(names) or [Path(evaluation.result).name for evaluation in evaluations]
    for name, evaluation in zip(rows, evaluations, strict=True):
        table.add_row(
            name,
            *(_format_metric(metric, evaluation.means[metric.name], unit=False) for metric in METRICS),
            str(len(evaluation.lost)),
            evaluation.verdict,
        )
    if len(evaluations) > 1:
        table.add_section()
        means = [nanmean(evaluation.means[metric.name] for evaluation in evaluations) for metric in METRICS]
        table.add_row(
            "mean",
            *(_format_metric(metric, value, unit=False) for metric, value in zip(METRICS, means, strict=True)),
            str(sum(len(evaluation.lost) for evaluation in evaluations)),
            find_worst_verdict(judge_value(metric, value) for metric, value in zip(METRICS, means, strict=True)),
        )
    return table


def write_json(evaluation: Evaluation, path: Path | str) -> Path:
    """Writes an evaluation as JSON and returns the path.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(path)
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(evaluation.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def write_csv(evaluation: Evaluation, path: Path | str) -> Path:
    """Writes an evaluation as CSV, a row per frame, and returns the path; a value that could not be measured is empty.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(path)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["frame", "verdict", *(metric.name for metric in METRICS)])
    for place, frame in enumerate(evaluation.frames):
        values = [float(evaluation.metrics[metric.name][place]) for metric in METRICS]
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
        rows.writerow([frame, evaluation.judge_frame(frame), *cells])
    with write_atomically(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return path


def write_plots(evaluation: Evaluation, path: Path | str) -> Path:
    """Plots every metric over the frames, as PNG, and returns the path; frames without a face in the result are shaded.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EngineError('charts need matplotlib: pip install "fsgan[charts]"') from error

    path = Path(path)
    picture = Figure(figsize=(14, 19), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(7, 2, sharex=True).ravel()
    for panel, (name, contrast) in zip(axes, _PANELS, strict=False):
        _draw_panel(panel, evaluation, name, contrast)
    for panel in axes[len(_PANELS) :]:
        panel.set_axis_off()
    for panel in axes[-2:]:
        panel.set_xlabel("frame")
    picture.suptitle(f"{Path(evaluation.result).name} against {Path(evaluation.target).name}", fontsize=12)
    encoded = io.BytesIO()
    picture.savefig(encoded, format="png", dpi=100)
    with write_atomically(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
    return path


def _draw_panel(panel: Any, evaluation: Evaluation, name: str, contrast: str) -> None:
    metric = next(metric for metric in METRICS if metric.name == name.removesuffix("_result"))
    frames, scale = np.array(evaluation.frames), metric.scale
    if contrast:
        panel.plot(
            frames,
            evaluation.metrics[contrast] * scale,
            color=_TARGET_COLOUR,
            linewidth=1,
            marker=".",
            markersize=3,
            label="target",
        )
    panel.plot(
        frames,
        evaluation.metrics[name] * scale,
        color=_RESULT_COLOUR,
        linewidth=1.2,
        marker=".",
        markersize=4,
        label="result",
    )
    if metric.limit:
        panel.axhline(metric.limit * scale, color=_LIMIT_COLOUR, linewidth=1, linestyle="--")
    for frame in evaluation.lost:
        panel.axvspan(frame - 0.5, frame + 0.5, color=_LOST_COLOUR, linewidth=0)
    if name == "sharpness":
        panel.axhline(1.0, color=_TARGET_COLOUR, linewidth=1)
    else:
        low, high = panel.get_ylim()
        panel.set_ylim(min(0.0, low), high if np.nanmax(evaluation.metrics[name], initial=0.0) > 0 else 1.0)
    value = evaluation.means[metric.name]
    panel.set_title(f"{metric.label}: mean {_format_metric(metric, value)}", fontsize=10, loc="left")
    panel.set_ylabel(metric.unit)
    panel.grid(alpha=0.3)
    if contrast:
        panel.legend(fontsize=8, loc="best")


def _format_metric(metric: Metric, value: float, *, unit: bool = True) -> str:
    """A number as a person reads it; "-" if there is none."""
    if math.isnan(value):
        return "-"
    number = "inf" if math.isinf(value) else f"{value * metric.scale:.{metric.digits}f}"
    return f"{number} {metric.unit}".strip() if unit else number
