"""Verdicts on figures."""

from __future__ import annotations

import math

import pytest

from fsgan_core.evaluation.metric_limits import METRICS
from fsgan_core.evaluation.verdicts import find_worst_verdict, judge_value

BY_NAME = {metric.name: metric for metric in METRICS}


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("gaze", 0.02, "pass"),
        ("gaze", 0.03, "look"),
        ("gaze", 0.031, "fail"),
        ("sharpness_off", 1.3, "pass"),  # counted from 1, the ideal
        ("sharpness_off", 1.44, "look"),
        ("sharpness_off", 1.5, "fail"),
        ("sharpness_off", math.inf, "fail"),
        ("outside", 0.0, "pass"),
        ("outside", 1.0, "fail"),
        ("flicker", -3.0, "pass"),
        ("ssim", 0.1, ""),
        ("tone", math.nan, ""),
    ],
)
def test_value(name: str, value: float, verdict: str) -> None:
    assert judge_value(BY_NAME[name], value) == verdict


def test_worst() -> None:
    assert find_worst_verdict(["pass", "fail", "look", ""]) == "fail"
    assert find_worst_verdict(["", "pass"]) == "pass"
    assert find_worst_verdict([]) == ""
