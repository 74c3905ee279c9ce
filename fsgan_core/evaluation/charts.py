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
from fsgan_core.evaluation.metrics import FIGURES, Figure, mean
from fsgan_core.plates.sequence import frames_text
from fsgan_core.runtime.atomic import atomic_file

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["comparison", "lines", "plots", "table", "write_json"]

_RESULT, _TARGET, _LOST = "#c2410c", "#64748b", "#fecaca"


def table(evaluation: Evaluation) -> Table:
    """One row per figure: mean, worst frame, what it means."""
    from rich.table import Table

    shown = Table(title=f"{Path(evaluation.result).name}: {len(evaluation.frames)} frames", title_justify="left")
    shown.add_column("figure")
    for name in ("mean", "worst", "in frame"):
        shown.add_column(name, justify="right")
    shown.add_column("what it is", overflow="fold")
    for figure in FIGURES:
        worst = evaluation.worst(figure.name, high=figure.better != "high") if figure.better else None
        value = evaluation.figures[figure.name][evaluation.frames.index(worst)] if worst is not None else math.nan
        shown.add_row(figure.label, _text(figure, evaluation.means[figure.name]), _text(figure, value, unit=False),
                      "" if worst is None else str(worst), figure.meaning)
    return shown


def lines(evaluation: Evaluation) -> list[str]:
    """What stands below the table: faces that were lost, the matte, remarks."""
    found = len(evaluation.frames) - len(evaluation.target_lost)
    said = [f"a face in {found - len(evaluation.lost)} of the {found} frames whose target shows one"]
    if evaluation.lost:
        said[0] += f"; lost in {frames_text(evaluation.lost)}"
    if evaluation.target_lost:
        said.append(f"no face in the target: {frames_text(evaluation.target_lost)}")
    total = evaluation.outside_total
    said.append(f"{total or 'no'} pixel{'' if total == 1 else 's'} changed outside the matte ({evaluation.matte})")
    return [*said, *evaluation.notes]


def comparison(evaluations: Sequence[Evaluation], names: Sequence[str] = ()) -> Table:
    """Means of several evaluations, one row each, and their mean. names: of the rows; else the results' names."""
    from rich.table import Table

    shown = Table(title="means over frames", title_justify="left")
    shown.add_column("result")
    for figure in FIGURES:
        shown.add_column(f"{figure.label}{', ' + figure.unit if figure.unit else ''}", justify="right")
    shown.add_column("lost", justify="right")
    rows = list(names) or [Path(evaluation.result).name for evaluation in evaluations]
    for name, evaluation in zip(rows, evaluations, strict=True):
        shown.add_row(name, *(_text(figure, evaluation.means[figure.name], unit=False) for figure in FIGURES),
                      str(len(evaluation.lost)))
    if len(evaluations) > 1:
        shown.add_section()
        means = [mean(evaluation.means[figure.name] for evaluation in evaluations) for figure in FIGURES]
        shown.add_row("mean", *(_text(figure, value, unit=False) for figure, value in zip(FIGURES, means, strict=True)),
                      str(sum(len(evaluation.lost) for evaluation in evaluations)))
    return shown


def write_json(evaluation: Evaluation, path: Path | str) -> Path:
    """Raises OutputError."""
    path = Path(path)
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(evaluation.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def plots(evaluation: Evaluation, path: Path | str) -> Path:
    """Every figure over the frames, as PNG; frames without a face in the result are shaded. Raises OutputError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    path = Path(path)
    panels = [("identity", "identity_target"), ("ssim", ""), ("euler", ""), ("landmarks", ""),
              ("flicker_result", "flicker_target"), ("sharpness", ""), ("edge", ""), ("outside", "")]
    picture = Picture(figsize=(14, 11), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(4, 2, sharex=True).ravel()
    for panel, (name, contrast) in zip(axes, panels, strict=True):
        _panel(panel, evaluation, name, contrast)
    for panel in axes[-2:]:
        panel.set_xlabel("frame")
    picture.suptitle(f"{Path(evaluation.result).name} against {Path(evaluation.target).name}", fontsize=12)
    kept = io.BytesIO()
    picture.savefig(kept, format="png", dpi=100)
    with atomic_file(path) as temporary:
        temporary.write_bytes(kept.getvalue())
    return path


def _panel(panel: Any, evaluation: Evaluation, name: str, contrast: str) -> None:
    figure = next(figure for figure in FIGURES if figure.name == name.removesuffix("_result"))
    frames, scale = np.array(evaluation.frames), figure.scale
    if contrast:
        panel.plot(frames, evaluation.figures[contrast] * scale, color=_TARGET, linewidth=1, marker=".", markersize=3,
                   label="target")
    panel.plot(frames, evaluation.figures[name] * scale, color=_RESULT, linewidth=1.2, marker=".", markersize=4,
               label="result")
    for frame in evaluation.lost:
        panel.axvspan(frame - 0.5, frame + 0.5, color=_LOST, linewidth=0)
    if name == "sharpness":
        panel.axhline(1.0, color=_TARGET, linewidth=1)
    else:
        low, high = panel.get_ylim()
        panel.set_ylim(min(0.0, low), high if np.nanmax(evaluation.figures[name], initial=0.0) > 0 else 1.0)
    value = evaluation.means[figure.name]
    panel.set_title(f"{figure.label}: mean {_text(figure, value)}", fontsize=10, loc="left")
    panel.set_ylabel(figure.unit)
    panel.grid(alpha=0.3)
    if contrast:
        panel.legend(fontsize=8, loc="best")


def _text(figure: Figure, value: float, *, unit: bool = True) -> str:
    """A number as a person reads it; "-" when there is none."""
    if math.isnan(value):
        return "-"
    number = "inf" if math.isinf(value) else f"{value * figure.scale:.{figure.digits}f}"
    return f"{number} {figure.unit}".strip() if unit else number
