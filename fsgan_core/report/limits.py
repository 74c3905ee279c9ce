"""Limits that a pipeline sets: `--fail-on "identity>0.5"`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fsgan_core.contract.errors import InputError
from fsgan_core.plates.sequence import format_frames
from fsgan_core.report.data import Figure, ReportData
from fsgan_core.report.figures import NETWORK_FIGURES, PICTURE_FIGURES, SECONDS, SECONDS_PREFIX

__all__ = ["FAIL_COUNTS", "Limit", "find_broken_limits", "parse_limit"]

FAIL_COUNTS = ("failed", "flagged")
"""Counts of frames that a limit may name beside the figures."""
_NAMES = (*FAIL_COUNTS, *NETWORK_FIGURES, *PICTURE_FIGURES, SECONDS)
_LIMIT = re.compile(
    r"^\s*(?P<mean>mean\s+)?(?P<name>[a-z_.]+)\s*(?P<sign>[<>])\s*(?P<value>-?\d+(\.\d+)?)\s*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Limit:
    """A limit.

    Attributes:
        text: As it was written.
        name: Name of a figure, or one of FAIL_COUNTS.
        sign: ">" fails above the value, "<" below.
        value: In the unit of report.json.
        of_mean: Compares the mean; otherwise a single frame is enough.
    """

    text: str
    name: str
    sign: str
    value: float
    of_mean: bool = False

    def is_broken_by(self, value: float) -> bool:
        """Tells whether a value is beyond the limit."""
        return value > self.value if self.sign == ">" else value < self.value


def parse_limit(text: str) -> Limit:
    """Reads a limit such as "identity>0.5" or "mean flicker>0.3".

    Raises:
        InputError: It is not a limit, or names a figure that does not exist. So a misspelt name is refused before
            anything is rendered or measured.

    >>> parse_limit("mean identity > 0.5").value
    0.5
    """
    found = _LIMIT.match(text)
    if found is None:
        raise InputError(
            f"'{text}' is not a limit; write a figure, > or <, and a number, such as \"identity>0.5\", or "
            '"mean identity>0.45" for the mean over all frames'
        )
    name = found["name"].lower()
    if name not in _NAMES and not name.startswith(SECONDS_PREFIX):
        raise InputError(_describe_unknown(name, _NAMES))
    return Limit(text.strip(), name, found["sign"], float(found["value"]), bool(found["mean"]))


def _describe_unknown(name: str, names: Sequence[str]) -> str:
    # "sharpness" is what the page calls sharpness_off.
    near = [one for one in names if one.startswith(name)] or difflib.get_close_matches(name, names)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names)}"
    return f"--fail-on: there is no figure '{name}'; {hint}"


def find_broken_limits(data: ReportData, limits: Iterable[Limit]) -> list[str]:
    """Finds which limits are broken, each as a line for people.

    A figure that was measured on no frame breaks its limit: a pipeline must not pass what nobody measured.

    Raises:
        InputError: A limit names a figure that does not exist.
    """
    found = []
    for limit in limits:
        if limit.name in FAIL_COUNTS:
            frames = _count_frames(data, limit.name)
            if limit.is_broken_by(len(frames)):
                found.append(f"{limit.text}: {len(frames)} {limit.name} frames: {format_frames(frames)}")
            continue
        figure = data.find_figure(limit.name)
        if figure is None:
            raise InputError(_describe_unknown(limit.name, [*FAIL_COUNTS, *(one.name for one in data.figures)]))
        message = _check_figure(figure, limit, data.numbers)
        if message:
            found.append(f"{limit.text}: {message}")
    return found


def _count_frames(data: ReportData, name: str) -> list[int]:
    if name == "failed":
        return [frame.number for frame in data.frames if frame.state == "failed"]
    return [frame.number for frame in data.frames if frame.flags]


def _check_figure(figure: Figure, limit: Limit, numbers: Sequence[int]) -> str:
    if figure.mean is None:
        return f"{figure.name} was measured on no frame (`fsgan report` measures all)"
    if limit.of_mean:
        return f"the mean is {figure.mean:.4g}" if limit.is_broken_by(figure.mean) else ""
    bad = [
        (value, number)
        for value, number in zip(figure.values, numbers, strict=True)
        if value is not None and limit.is_broken_by(value)
    ]
    if not bad:
        return ""
    worst = (max if limit.sign == ">" else min)(bad)
    frames = format_frames(sorted(number for _, number in bad))
    return f"{worst[0]:.4g} in frame {worst[1]}; beyond the limit: {frames}"
