"""The metrics of an evaluation: names, units, and the limits of the verdicts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One kind of measurement.

    Attributes:
        name: Key in `Evaluation.metrics` and in JSON.
        label: Name for people.
        meaning: What it says, for people.
        unit: Unit of the shown number.
        scale: Factor from the value to the shown number.
        digits: Decimals of the shown number.
        better: Which way is good: "low", "high" or "" for neither.
        limit: The highest value that passes; None if nothing is asked.
        ideal: The best possible value.
    """

    name: str
    label: str
    meaning: str
    unit: str = ""
    scale: float = 1.0
    digits: int = 2
    better: str = "low"
    limit: float | None = None
    ideal: float = 0.0


METRICS = (
    Metric(
        "identity",
        "identity",
        "distance of dlib's face descriptor to the nearest of up to 40 source frames",
        digits=3,
        limit=0.40,
    ),
    Metric("identity_target", "identity, untouched", "the same distance of the untouched target", digits=3, better=""),
    Metric("ssim", "SSIM", "structural similarity with the target on a 256 px face crop", digits=3, better="high"),
    Metric(
        "gaze",
        "gaze",
        "how far the irises are from where the target's are, over the eye's width; open eyes only",
        "%",
        100.0,
        limit=0.02,
    ),
    Metric(
        "lids",
        "lid opening",
        "difference from the target's, over the eye's width, mean of both eyes",
        "%",
        100.0,
        limit=0.03,
    ),
    Metric(
        "lips",
        "lip gap",
        "difference of the inner lips' gap from the target's, over the distance of the outer eye corners",
        "%",
        100.0,
        limit=0.02,
    ),
    Metric(
        "light",
        "light",
        "difference in the pattern of L* over patches of forehead, cheeks and chin, less the mean",
        "L*",
        limit=1.5,
    ),
    Metric("tone", "tone", "CIEDE2000 between the mean colours of these patches", "dE", limit=2.5),
    Metric(
        "euler", "Euler angles", "mean absolute difference of yaw, pitch and roll from the target's", "deg", limit=0.7
    ),
    Metric(
        "landmarks",
        "landmarks",
        "mean distance of the mesh's 68 landmarks from the target's, over the distance of the outer eye corners",
        "%",
        100.0,
        limit=0.012,
    ),
    Metric("landmarks_dlib", "landmarks, dlib", "the same by dlib's landmarks, if installed", "%", 100.0, limit=0.02),
    Metric(
        "flicker",
        "flicker",
        "mean absolute second difference over time in the face, result minus target",
        "/255",
        limit=0.3,
    ),
    Metric(
        "sharpness_off",
        "sharpness off by",
        "factor between the squared Laplacians of the face's patches (median), either way",
        "x",
        limit=1.3,
        ideal=1.0,
    ),
    Metric(
        "sharpness",
        "sharpness ratio",
        "squared Laplacian of the face's patches, result over target, median",
        "x",
        better="",
    ),
    Metric("edge", "edge", "step of colour across the matte's edge beyond the target's own, CIEDE2000", "dE"),
    Metric(
        "outside", "changed outside", "pixels that differ from the target outside the matte", "px", digits=0, limit=0.0
    ),
    Metric("outside_max", "largest change outside", "the largest such difference", "/255"),
    Metric("seconds", "seconds", "time that the stages took for the frame, where the render's report says so", "s"),
)
METRIC_NAMES = tuple(metric.name for metric in METRICS)
EXTRA_METRIC_NAMES = ("flicker_target", "flicker_result", "replaced", "target_yaw", "identity_to_target")
"""Also measured: both terms of the flicker, the share of the face's pixels that differ from the target at all, where
the target's head turns (degrees), and the distance of the result's face descriptor from the target's."""
