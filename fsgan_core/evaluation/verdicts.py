"""Verdicts on measured figures: pass, look, fail. The limits stand in `metric_limits.METRICS`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fsgan_core.evaluation.metric_limits import Metric

__all__ = ["FAIL", "LOOK", "LOOK_FACTOR", "PASS", "find_worst_verdict", "judge_value"]

PASS, LOOK, FAIL = "pass", "look", "fail"
LOOK_FACTOR = 1.5
"""Up to this multiple of the limit the verdict is LOOK: the figure alone does not decide, somebody has to look."""
_ORDER = ("", PASS, LOOK, FAIL)


def judge_value(metric: Metric, value: float) -> str:
    """Judges a value: PASS up to the metric's limit, LOOK up to LOOK_FACTOR times as far from the ideal, else FAIL.

    Returns:
        The verdict; "" if the metric has no limit or the value is NaN.

    >>> judge_value(Metric("gaze", "gaze", "", limit=0.02), 0.025)
    'look'
    """
    if metric.limit is None or math.isnan(value):
        return ""
    if value <= metric.limit:
        return PASS
    return LOOK if value <= metric.ideal + LOOK_FACTOR * (metric.limit - metric.ideal) else FAIL


def find_worst_verdict(verdicts: Iterable[str]) -> str:
    """Returns the worst of some verdicts; "" if there is none.

    >>> find_worst_verdict(["pass", "", "look"])
    'look'
    """
    return max(verdicts, key=_ORDER.index, default="")
