"""The table of the quality benchmark, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fsgan_core.evaluation.metric_limits import METRICS
from fsgan_core.evaluation.metrics import nanmean
from fsgan_core.evaluation.verdicts import find_worst_verdict, judge_value

PARTS = ("tune", "validate", "hard")
SHOWN_METRICS = (
    *("identity", "gaze", "lids", "lips", "light", "tone", "landmarks", "landmarks_dlib"),
    *("euler", "flicker", "sharpness_off", "edge", "seconds"),
)


def format_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format a table of the engines' means, then one of the pairs for each engine."""
    metrics = [next(metric for metric in METRICS if metric.name == name) for name in SHOWN_METRICS]
    head = "".join(f" {metric.label}{', ' + metric.unit if metric.unit else ''} |" for metric in metrics)
    rule = "|---|" + " ---: |" * len(metrics) + "---|"

    def format_row(name: str, values: Mapping[str, float | None], verdict: str = "") -> str:
        cells = [values.get(metric.name) for metric in metrics]
        texts = [
            "-" if cell is None or math.isnan(cell) else f"{cell * metric.scale:.{metric.digits}f}"
            for metric, cell in zip(metrics, cells, strict=True)
        ]
        return f"| {name} | " + " | ".join(texts) + f" | {verdict} |"

    def format_mean(name: str, some: Sequence[Mapping[str, Any]]) -> list[str]:
        if not some:
            return []
        means = {metric.name: nanmean([to_float(row["means"].get(metric.name)) for row in some]) for metric in METRICS}
        verdict = find_worst_verdict(judge_value(metric, means[metric.name]) for metric in METRICS)
        return [format_row(f"{name} ({len(some)})", means, verdict)]

    text = ["## Means over pairs", "", f"| engines, pairs |{head} verdict |", rule]
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    for engine in engines:
        own = [row for row in rows if row["engine"] == engine]
        text += format_mean(f"**{engine}, all**", own)
        for part in PARTS:
            text += format_mean(f"{engine}, {part}", [row for row in own if row["part"] == part])
    text += [format_row("at most", {metric.name: metric.limit for metric in metrics if metric.limit is not None})]
    for engine in engines:
        own = [row for row in rows if row["engine"] == engine]
        text += ["", f"## {engine}", "", f"| pair |{head} verdict |", rule]
        for part in PARTS:
            some = [row for row in own if row["part"] == part]
            text += [format_row(row["pair"].replace("__", " > "), row["means"], row["verdict"]) for row in some]
            text += format_mean(f"**mean, {part}**", some)
        lost = sum(len(row["lost"]) for row in own)
        outside = sum(row["outside"] for row in own)
        text += ["", f"Faces lost: {lost}. Pixels changed outside the matte: {outside}."]
    return "\n".join(text) + "\n"


def to_float(value: float | None) -> float:
    return math.nan if value is None else value
