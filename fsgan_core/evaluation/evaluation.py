"""The result of an evaluation: the values of every metric, their means and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fsgan_core.evaluation.metric_limits import METRICS
from fsgan_core.evaluation.metrics import (
    nanmean,
)
from fsgan_core.evaluation.verdicts import FAIL, PASS, find_worst_verdict, judge_value
from fsgan_core.runtime.arrays import Vector


@dataclass(frozen=True)
class Evaluation:
    """The measurements of a result.

    Attributes:
        source: Paths of the source clips.
        target: Path of the target.
        result: Path of the result.
        frames: Frame numbers of the target.
        metrics: float64, one value for each frame, by name (METRIC_NAMES and EXTRA_METRIC_NAMES of `metric_limits`);
            NaN where it could not be measured.
        source_faces: How many source frames identity was compared with.
        matte: What decided where "outside" begins.
        exact: The outside was compared on the file's own values.
        lost: Frames with a face in the target and none in the result.
        target_lost: Frames without a face in the target.
        unchanged: Frames whose face equals the target's in every pixel.
        notes: Remarks for people.
        seconds: How long the evaluation took.
        means: Mean of each metric over the frames that have it.
    """

    source: tuple[str, ...]
    target: str
    result: str
    frames: tuple[int, ...]
    metrics: Mapping[str, Vector]
    source_faces: int
    matte: str
    exact: bool
    lost: tuple[int, ...] = ()
    target_lost: tuple[int, ...] = ()
    unchanged: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    means: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "means", {name: nanmean(values) for name, values in self.metrics.items()})

    @property
    def outside_total(self) -> int:
        """Pixels changed outside the matte, over all frames."""
        return int(np.nansum(self.metrics["outside"]))

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict on each mean that has a limit, by name, and on the lost faces ("lost")."""
        verdicts = {metric.name: judge_value(metric, self.means[metric.name]) for metric in METRICS}
        verdicts["outside"] = FAIL if self.outside_total else verdicts["outside"]
        verdicts["lost"] = FAIL if self.lost else PASS
        return {name: verdict for name, verdict in verdicts.items() if verdict}

    @property
    def verdict(self) -> str:
        """The worst of the verdicts."""
        return find_worst_verdict(self.verdicts.values())

    def judge_frame(self, frame: int) -> str:
        """Returns the worst verdict on the figures of a frame; "" if the target shows no face in it."""
        if frame in self.target_lost:
            return ""
        if frame in self.lost:
            return FAIL
        place = self.frames.index(frame)
        return find_worst_verdict(judge_value(metric, float(self.metrics[metric.name][place])) for metric in METRICS)

    def find_worst_frame(self, name: str, *, high: bool = True) -> int | None:
        """Finds the frame with the highest (or lowest) value of a metric; None if no frame has it."""
        values = self.metrics[name]
        if np.isnan(values).all():
            return None
        return self.frames[int(np.nanargmax(values) if high else np.nanargmin(values))]

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data for JSON; a value that could not be measured is None."""
        return {
            "source": list(self.source),
            "target": self.target,
            "result": self.result,
            "frames": list(self.frames),
            "verdict": self.verdict,
            "verdicts": self.verdicts,
            "frame_verdicts": [self.judge_frame(frame) for frame in self.frames],
            "source_faces": self.source_faces,
            "matte": self.matte,
            "exact": self.exact,
            "means": {name: _to_json_number(value) for name, value in self.means.items()},
            "outside_total": self.outside_total,
            "lost": list(self.lost),
            "target_lost": list(self.target_lost),
            "unchanged": list(self.unchanged),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
            "figures": {name: [_to_json_number(value) for value in values] for name, values in self.metrics.items()},
        }


def _to_json_number(value: float) -> float | None:
    """The number rounded; None if it is not finite, which JSON cannot hold."""
    return round(float(value), 6) if math.isfinite(value) else None
