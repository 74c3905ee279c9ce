"""An evaluation for people and machines: a table, plots over frames, JSON."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fsgan_core.evaluation.evaluate import Evaluation
from fsgan_core.evaluation.metrics import METRICS, Metric, nanmean
from fsgan_core.plates.sequence import format_frames
from fsgan_core.runtime.atomic import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["describe_evaluation", "make_comparison_table", "make_evaluation_table", "write_json", "write_plots"]

_RESULT_COLOUR, _TARGET_COLOUR, _LOST_COLOUR = "#c2410c", "#64748b", "#fecaca"


def make_evaluation_table(evaluation: Evaluation) -> Table:
    """One row per figure: mean, worst frame, what it means."""
    from rich.table import Table

    shown = Table(title=f"{Path(evaluation.result).name}: {len(evaluation.frames)} frames", title_justify="left")
    shown.add_column("figure")
    for name in ("mean", "worst", "in frame"):
        shown.add_column(name, justify="right")
    shown.add_column("what it is", overflow="fold")
    for figure in METRICS:
        worst = evaluation.find_worst_frame(figure.name, high=figure.better != "high") if figure.better else None
        value = evaluation.metrics[figure.name][evaluation.frames.index(worst)] if worst is not None else math.nan
        shown.add_row(
            figure.label,
            _format_metric(figure, evaluation.means[figure.name]),
            _format_metric(figure, value, unit=False),
            "" if worst is None else str(worst),
            figure.meaning,
        )
    return shown


def describe_evaluation(evaluation: Evaluation) -> list[str]:
    """What stands below the table: faces that were lost, the matte, remarks."""
    found = len(evaluation.frames) - len(evaluation.target_lost)
    said = [f"a face in {found - len(evaluation.lost)} of the {found} frames whose target shows one"]
    if evaluation.lost:
        said[0] += f"; lost in {format_frames(evaluation.lost)}"
    if evaluation.target_lost:
        said.append(f"no face in the target: {format_frames(evaluation.target_lost)}")
    total = evaluation.outside_total
    said.append(f"{total or 'no'} pixel{'' if total == 1 else 's'} changed outside the matte ({evaluation.matte})")
    return [*said, *evaluation.notes]


def make_comparison_table(evaluations: Sequence[Evaluation], names: Sequence[str] = ()) -> Table:
    """Means of several evaluations, one row each, and their mean. names: of the rows; else the results' names."""
    from rich.table import Table

    shown = Table(title="means over frames", title_justify="left")
    shown.add_column("result")
    for figure in METRICS:
        shown.add_column(f"{figure.label}{', ' + figure.unit if figure.unit else ''}", justify="right")
    shown.add_column("lost", justify="right")
    rows = list(names) or [Path(evaluation.result).name for evaluation in evaluations]
    for name, evaluation in zip(rows, evaluations, strict=True):
        shown.add_row(
            name,
            *(_format_metric(figure, evaluation.means[figure.name], unit=False) for figure in METRICS),
            str(len(evaluation.lost)),
        )
    if len(evaluations) > 1:
        shown.add_section()
        means = [nanmean(evaluation.means[figure.name] for evaluation in evaluations) for figure in METRICS]
        shown.add_row(
            "mean",
            *(_format_metric(figure, value, unit=False) for figure, value in zip(METRICS, means, strict=True)),
            str(sum(len(evaluation.lost) for evaluation in evaluations)),
        )
    return shown


def write_json(evaluation: Evaluation, path: Path | str) -> Path:
    """Raises OutputError."""
    path = Path(path)
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(evaluation.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def write_plots(evaluation: Evaluation, path: Path | str) -> Path:
    """Every figure over the frames, as PNG; frames without a face in the result are shaded. Raises OutputError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    path = Path(path)
    panels = [
        ("identity", "identity_target"),
        ("ssim", ""),
        ("euler", ""),
        ("landmarks", ""),
        ("flicker_result", "flicker_target"),
        ("sharpness", ""),
        ("edge", ""),
        ("outside", ""),
    ]
    picture = Picture(figsize=(14, 11), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(4, 2, sharex=True).ravel()
    for panel, (name, contrast) in zip(axes, panels, strict=True):
        _draw_panel(panel, evaluation, name, contrast)
    for panel in axes[-2:]:
        panel.set_xlabel("frame")
    picture.suptitle(f"{Path(evaluation.result).name} against {Path(evaluation.target).name}", fontsize=12)
    kept = io.BytesIO()
    picture.savefig(kept, format="png", dpi=100)
    with write_atomically(path) as temporary:
        temporary.write_bytes(kept.getvalue())
    return path


def _draw_panel(panel: Any, evaluation: Evaluation, name: str, contrast: str) -> None:
    figure = next(figure for figure in METRICS if figure.name == name.removesuffix("_result"))
    frames, scale = np.array(evaluation.frames), figure.scale
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
    for frame in evaluation.lost:
        panel.axvspan(frame - 0.5, frame + 0.5, color=_LOST_COLOUR, linewidth=0)
    if name == "sharpness":
        panel.axhline(1.0, color=_TARGET_COLOUR, linewidth=1)
    else:
        low, high = panel.get_ylim()
        panel.set_ylim(min(0.0, low), high if np.nanmax(evaluation.metrics[name], initial=0.0) > 0 else 1.0)
    value = evaluation.means[figure.name]
    panel.set_title(f"{figure.label}: mean {_format_metric(figure, value)}", fontsize=10, loc="left")
    panel.set_ylabel(figure.unit)
    panel.grid(alpha=0.3)
    if contrast:
        panel.legend(fontsize=8, loc="best")


def _format_metric(figure: Metric, value: float, *, unit: bool = True) -> str:
    """A number as a person reads it; "-" when there is none."""
    if math.isnan(value):
        return "-"
    number = "inf" if math.isinf(value) else f"{value * figure.scale:.{figure.digits}f}"
    return f"{number} {figure.unit}".strip() if unit else number
