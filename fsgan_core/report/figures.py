"""Which figures a report shows, in which plots, and what to do about a bad one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fsgan_core.evaluation.metric_limits import METRICS, Metric
from fsgan_core.evaluation.verdicts import find_worst_verdict, judge_value
from fsgan_core.report.data import Figure

__all__ = [
    "MATTE_AREA",
    "NETWORK_FIGURES",
    "PANELS",
    "PICTURE_FIGURES",
    "SECONDS",
    "SECONDS_PREFIX",
    "Panel",
    "judge_frame",
    "make_figures",
]

SECONDS = "seconds"
MATTE_AREA = "matte_area"
SECONDS_PREFIX = "seconds."

PICTURE_FIGURES = ("light", "tone", "flicker", "edge", "sharpness_off", "ssim", MATTE_AREA)
"""Measured on every frame that is read: they need the pictures and the track, and no network."""
NETWORK_FIGURES = ("identity", "identity_to_target", "identity_target", "gaze", "lids", "lips", "landmarks", "euler")
"""Measured where there is time: each frame costs several runs of the mesh network and one of the descriptor's."""

_SWAP_FIGURES = ("identity", "gaze", "lids", "lips", "landmarks", "euler")
_METRICS: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
# In the page's own words; `evaluation.metrics` has the exact ones.
_MEANINGS: Mapping[str, str] = {
    "identity": "how much the face looks like the source: 0 is the same picture, below 0.6 the same person",
    "gaze": "how far the irises are from where the target's are, in shares of the eye's width",
    "lids": "how far the lids are more or less open than the target's, in shares of the eye's width",
    "lips": "how far the lips are more or less open than the target's, in shares of the distance between the eyes",
    "light": "how differently light and shadow lie on forehead, cheeks and chin",
    "tone": "how far the skin's mean colour is from the target's; 1 is about what an eye can just tell",
    "landmarks": "how far eyes, brows, nose, mouth and jaw are from the target's, in shares of the distance between "
    "the eyes",
    "euler": "how far the head is turned, tilted or nodded from the target's",
    "flicker": "how much more the face's brightness jumps from frame to frame than the plate's; below 0 is calmer",
    "sharpness_off": "by which factor the face is softer or crisper than the target's; 1 is equal",
    "edge": "how visible the edge of the matte is: its step of colour beyond the plate's own; 1 is about what an eye "
    "can just tell",
}
_LABELS: Mapping[str, str] = {
    "euler": "head pose",
    "tone": "skin tone",
    "edge": "colour at the matte's edge",
    "sharpness_off": "sharpness",
}
_UNITS: Mapping[str, str] = {"dE": "ΔE", "deg": "°", "x": "times", "/255": "of 255"}
_OWN_METRICS = (
    Metric(
        "identity_to_target",
        "identity, to the target",
        "the same distance, from the result to the target's own face in this frame; high means replaced",
        digits=3,
        better="",
    ),
    Metric(
        MATTE_AREA,
        "matte area",
        "sum of the matte over the area of the face's box; where no matte was written, of the pixels that changed",
        "%",
        100.0,
        digits=1,
        better="",
    ),
    Metric(SECONDS, "seconds", "time of all stages for the frame; frames that were kept have none", "s"),
)


@dataclass(frozen=True)
class Panel:
    """A plot.

    Attributes:
        name: Its name.
        title: Title for people.
        figures: Names of the figures that it shows, the main one first.
    """

    name: str
    title: str
    figures: tuple[str, ...]


PANELS = (
    Panel("identity", "Identity: distance from the source", ("identity", "identity_to_target")),
    Panel("gaze", "Gaze", ("gaze",)),
    Panel("lids", "Lids", ("lids",)),
    Panel("lips", "Lips", ("lips",)),
    Panel("light", "Light", ("light",)),
    Panel("tone", "Skin tone", ("tone",)),
    Panel("landmarks", "Landmarks", ("landmarks",)),
    Panel("pose", "Head pose", ("euler",)),
    Panel("flicker", "Flicker", ("flicker",)),
    Panel("sharpness", "Sharpness", ("sharpness_off",)),
    Panel("edge", "Colour at the matte's edge", ("edge",)),
    Panel("matte", "Matte area", (MATTE_AREA,)),
    Panel("seconds", "Seconds per stage", (SECONDS,)),
)


def make_figures(
    count: int,
    columns: Mapping[str, Sequence[float]],
    stage_seconds: Sequence[Mapping[str, float]],
    *,
    is_drive: bool = False,
) -> tuple[Figure, ...]:
    """Makes the figures of a report.

    Args:
        count: Number of frames.
        columns: Measured values by name, one for each frame; NaN where there is none. Absent names were not measured.
        stage_seconds: Stage -> seconds, for each frame; empty where it is not known.
        is_drive: The expression is meant to differ from the target's: figures that compare it have no limit.
    """
    panels = {figure: panel.name for panel in PANELS for figure in panel.figures}
    own = {metric.name: metric for metric in _OWN_METRICS}
    columns = dict(columns)
    columns[SECONDS] = [sum(one.values()) if one else math.nan for one in stage_seconds]
    figures = []
    for name in (*NETWORK_FIGURES, *PICTURE_FIGURES, SECONDS):
        metric = own.get(name) or _METRICS[name]
        values = tuple(_to_value(value) for value in columns.get(name, [math.nan] * count))
        limit = None if is_drive and name in _SWAP_FIGURES else metric.limit
        figures.append(
            Figure(
                name,
                _LABELS.get(name, metric.label),
                _MEANINGS.get(name, metric.meaning),
                panels.get(name, ""),
                values,
                _UNITS.get(metric.unit, metric.unit),
                metric.scale,
                metric.digits,
                metric.better,
                limit,
                metric.ideal,
            )
        )
    for stage in dict.fromkeys(stage for one in stage_seconds for stage in one):
        values = tuple(one.get(stage) for one in stage_seconds)
        figures.append(Figure(SECONDS_PREFIX + stage, stage, f"time of {stage}", "seconds", values, "s"))
    return tuple(figures)


def _to_value(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def judge_frame(figures: Sequence[Figure], place: int) -> str:
    """Returns the worst verdict on the figures of a frame; "" if nothing was judged."""
    found = []
    for figure in figures:
        metric, value = _METRICS.get(figure.name), figure.values[place]
        if metric is not None and value is not None and figure.limit is not None:
            found.append(judge_value(metric, value))
    return find_worst_verdict(found)
