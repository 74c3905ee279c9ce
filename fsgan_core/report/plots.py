"""Plots over frames as SVG, without a library: a report needs lines, bars, limits and places to click, in few bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from fsgan_core.report.data import Figure, ReportData
from fsgan_core.report.figures import PANELS, SECONDS, SECONDS_PREFIX, Panel

__all__ = ["Plot", "make_plots"]

WIDTH, HEIGHT = 580, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 20  # margins
SPARSE_SHARE = 0.6
"""Share of the frames below which a figure is drawn with dots, because lines alone would hide where it was measured."""
MAX_STAGES = 6
_TICKS = 3
_LINE_TEXTS = {
    "identity": "to the source (low is good)",
    "identity_to_target": "to the target's own face (high is replaced)",
}
_DOT_COUNT = 60  # frames up to which every value has a dot


@dataclass(frozen=True)
class Legend:
    """A line of a legend: colour class and text."""

    colour: str
    text: str


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        name: Name of its panel.
        title: Title.
        svg: The drawing.
        mean: Mean of the main figure, for people.
        limit: Limit of the main figure, for people, or "".
        meaning: What the main figure says.
        worst_frame: Number of the worst frame, or None.
        worst_text: Its value, for people.
        legends: What the lines are, if there are several.
        measured: On how many frames, in words; empty if on all.
        is_bad: The worst value is above the limit.
    """

    name: str
    title: str
    svg: Markup
    mean: str
    limit: str
    meaning: str
    worst_frame: int | None
    worst_text: str
    legends: tuple[Legend, ...]
    measured: str
    is_bad: bool


def make_plots(data: ReportData) -> list[Plot]:
    """Makes the plots of all panels that have a value."""
    found = []
    for panel in PANELS:
        figures = [figure for name in panel.figures if (figure := data.find_figure(name)) is not None]
        if figures and figures[0].measured_values:
            found.append(_make_plot(panel, figures, data))
    return found


def _make_plot(panel: Panel, figures: Sequence[Figure], data: ReportData) -> Plot:
    main = figures[0]
    place = main.worst_place
    worst = None if place is None else main.values[place]
    count = len(main.measured_values)
    if panel.name == "seconds":
        drawing, legends = _draw_bars(main, data)
    else:
        drawing = _draw_lines([figure for figure in figures if figure.measured_values], data.numbers)
        shown = [figure for figure in figures if figure.measured_values]
        legends = tuple(Legend(f"line{index}", _describe_line(one)) for index, one in enumerate(shown))
        legends = legends if len(legends) > 1 else ()
    return Plot(
        panel.name,
        panel.title,
        drawing,
        main.format(main.mean),
        "" if main.limit is None else main.format(main.limit),
        main.meaning,
        None if place is None else data.numbers[place],
        main.format(worst),
        legends,
        "" if count == len(data.frames) else f"{count} of {len(data.frames)} frames",
        worst is not None and main.limit is not None and worst > main.limit,
    )


def _describe_line(figure: Figure) -> str:
    return _LINE_TEXTS.get(figure.name, figure.label)


def _draw_lines(figures: Sequence[Figure], numbers: Sequence[int]) -> Markup:
    main = figures[0]
    values = [value * figure.scale for figure in figures for value in figure.measured_values]
    if main.limit is not None:
        values.append(main.limit * main.scale * 1.05)
    low, high = min(0.0, *values), max(values)
    if main.name in ("ssim", "sharpness_off", "matte_area"):
        low = min(values)
    axes = _Axes(numbers, low, high)
    parts = [axes.draw_grid()]
    if main.limit is not None:
        y = axes.get_y(main.limit * main.scale)
        parts.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text class="limit-text" x="{WIDTH - RIGHT}" y="{y - 4}" text-anchor="end">limit</text>'
        )
    for index, figure in enumerate(figures):
        parts += _draw_line(figure, numbers, axes, index)
    place = main.worst_place
    if place is not None and (value := main.values[place]) is not None:
        x, y = axes.get_x(numbers[place]), axes.get_y(value * main.scale)
        parts.append(f'<circle class="worst" cx="{x}" cy="{y}" r="5"/>')
    return axes.wrap(parts, main.label)


def _draw_line(figure: Figure, numbers: Sequence[int], axes: _Axes, index: int) -> list[str]:
    points = [
        (axes.get_x(number), axes.get_y(value * figure.scale))
        for number, value in zip(numbers, figure.values, strict=True)
        if value is not None
    ]
    parts = [f'<polyline class="line{index}" points="{" ".join(f"{x},{y}" for x, y in points)}"/>']
    if len(points) <= _DOT_COUNT or len(points) < SPARSE_SHARE * len(numbers):
        parts += [f'<circle class="dot{index}" cx="{x}" cy="{y}" r="2.4"/>' for x, y in points]
    return parts


def _draw_bars(total: Figure, data: ReportData) -> tuple[Markup, tuple[Legend, ...]]:
    """Bars of the seconds of each frame, one colour for each of the slowest stages."""
    stages = [one for one in data.figures if one.name.startswith(SECONDS_PREFIX)]
    stages.sort(key=lambda one: -(one.mean or 0.0) * len(one.measured_values))
    numbers = data.numbers
    width = max(1.0, 0.8 * (WIDTH - LEFT - RIGHT) / max(2, numbers[-1] - numbers[0] + 1))
    axes = _Axes(numbers, 0.0, max(total.measured_values), inset=width / 2 + 2)
    base = [0.0] * len(numbers)
    parts, legends = [axes.draw_grid()], []
    groups = [(one.label, [one]) for one in stages[:MAX_STAGES]]
    if len(stages) > MAX_STAGES:
        groups.append(("other", stages[MAX_STAGES:]))
    for index, (label, members) in enumerate(groups):
        path, sum_seconds = [], 0.0
        for place, number in enumerate(numbers):
            value = sum(member.values[place] or 0.0 for member in members)
            if value > 0:
                bottom, top = axes.get_y(base[place]), axes.get_y(base[place] + value)
                path.append(f"M{axes.get_x(number) - width / 2:.1f} {bottom}v{top - bottom:.1f}h{width:.1f}V{bottom}z")
                base[place] += value
                sum_seconds += value
        parts.append(f'<path class="bar{index}" d="{"".join(path)}"/>')
        mean = sum_seconds / max(1, len(total.measured_values))
        legends.append(Legend(f"bar{index}", f"{label} {mean:.2f} s"))
    return axes.wrap(parts, SECONDS), tuple(legends)


class _Axes:
    """Maps frame numbers and values to the drawing."""

    def __init__(self, numbers: Sequence[int], low: float, high: float, inset: float = 0.0) -> None:
        self._first, self._last = numbers[0], numbers[-1]
        self._left, self._right = LEFT + inset, WIDTH - RIGHT - inset
        self._step = _choose_step(max(high - low, 1e-9) / _TICKS)
        self._low = math.floor(low / self._step + 1e-9) * self._step
        self._high = max(math.ceil(high / self._step - 1e-9) * self._step, self._low + self._step)

    def get_x(self, number: int) -> float:
        share = 0.5 if self._first == self._last else (number - self._first) / (self._last - self._first)
        return round(self._left + share * (self._right - self._left), 1)

    def get_y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def draw_grid(self) -> str:
        parts = []
        digits = max(0, -math.floor(math.log10(self._step) + 1e-9))
        for index in range(round((self._high - self._low) / self._step) + 1):
            value = self._low + index * self._step
            y = self.get_y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.{digits}f}</text>')
        marks = {self._first: "start", self._last: "end"}
        for number, anchor in marks.items():
            parts.append(f'<text x="{self.get_x(number)}" y="{HEIGHT - 4}" text-anchor="{anchor}">{number}</text>')
        return "".join(parts)

    def wrap(self, parts: Sequence[str], label: str) -> Markup:
        return Markup(
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)} over frames" '
            f'data-first="{self._first}" data-last="{self._last}" data-width="{WIDTH}" '
            f'data-left="{self._left:.1f}" data-right="{self._right:.1f}">{"".join(parts)}'
            f'<line class="cursor" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>'
        )


def _choose_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
