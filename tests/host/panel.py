"""A node's panel: its tabs and rows as data, and a picture of them for the documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.host import textknobs
from tests.host.knobs import FLAGS, Array_Knob, Knob
from tests.host.knobtypes import Boolean_Knob, ColorChip_Knob, Enumeration_Knob, Format_Knob

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from tests.host.nodes import Node


@dataclass(frozen=True)
class Widget:
    """One control. kind: number, numbers, check, menu, text, file, button, note, divider, channels, colour, code.

    range: where a slider begins and ends, None for no slider. value: as it is shown.
    """

    name: str
    kind: str
    label: str
    value: str = ""
    tooltip: str = ""
    range: tuple[float, float] | None = None
    items: tuple[str, ...] = ()
    enabled: bool = True
    count: int = 1


@dataclass(frozen=True)
class Row:
    """Controls on one line; or a group with rows of its own."""

    widgets: tuple[Widget, ...] = ()
    group: str = ""
    open: bool = True
    rows: tuple[Row, ...] = ()


@dataclass
class Tab:
    name: str
    label: str
    rows: list[Row] = field(default_factory=list)


def layout(node: Node, *, hidden: bool = False) -> list[Tab]:
    """The tabs of the user knobs, in order, without the tab "Node" that every panel ends with. hidden: with what is
    not visible."""
    tabs: list[Tab] = []
    levels: list[tuple[str, bool, list[Row]]] = []
    for knob in node._knobs.values():
        if not knob._declared or not (hidden or knob.visible()):
            continue
        if isinstance(knob, textknobs.Tab_Knob):
            _tab(knob, tabs, levels)
            continue
        if not tabs:
            tabs.append(Tab("User", "User"))
        rows = levels[-1][2] if levels else tabs[-1].rows
        widget = widget_of(knob)
        if rows and not knob._flags & FLAGS["STARTLINE"] and rows[-1].widgets and widget.kind != "divider":
            rows[-1] = Row((*rows[-1].widgets, widget))
        else:
            rows.append(Row((widget,)))
    if levels:
        raise ValueError(f"group {levels[-1][0]!r} of {node.fullName()} is not ended")
    return tabs


def _tab(knob: textknobs.Tab_Knob, tabs: list[Tab], levels: list[tuple[str, bool, list[Row]]]) -> None:
    if knob._kind == 0:
        if levels:
            raise ValueError(f"tab {knob._name!r} begins inside group {levels[-1][0]!r}")
        tabs.append(Tab(knob._name, knob.label()))
    elif knob._kind > 0:
        if not tabs:
            tabs.append(Tab("User", "User"))
        levels.append((knob.label(), knob.value(), []))
    else:
        if not levels:
            raise ValueError(f"{knob._name!r} ends a group that never began")
        label, is_open, rows = levels.pop()
        (levels[-1][2] if levels else tabs[-1].rows).append(Row(group=label, open=is_open, rows=tuple(rows)))


def widget_of(knob: Knob) -> Widget:
    shown: Knob = knob
    if isinstance(knob, textknobs.Link_Knob):
        shown = knob.getLinkedKnob()
    kind, value, items, count = _describe(shown)
    span = shown._range if isinstance(shown, Array_Knob) and kind in ("number", "numbers") else None
    label = knob.label()
    if kind in ("divider", "note") and knob._label is None:
        label = knob._name if kind == "note" else ""
    return Widget(knob._name, kind, label, value, knob._tooltip, span, items, knob.enabled() and shown.enabled(), count)


def _describe(knob: Knob) -> tuple[str, str, tuple[str, ...], int]:
    """kind, value, items, number of values."""
    if isinstance(knob, Enumeration_Knob):
        return "menu", knob.value(), tuple(knob._words()), 1
    if isinstance(knob, Boolean_Knob):
        return "check", "on" if knob.value() else "", (), 1
    if isinstance(knob, ColorChip_Knob):
        return "colour", knob._text(), (), 1
    if isinstance(knob, Array_Knob):
        count = len(knob._components)
        values = [f"{knob._number(place, knob._frame()):.6g}" for place in range(count)]
        return ("number" if count == 1 else "numbers"), " ".join(values), (), count
    if isinstance(knob, textknobs.Script_Knob):
        return "button", "", (), 1
    if isinstance(knob, textknobs.Text_Knob):
        divider = not knob._string and not knob._label
        return ("divider" if divider else "note"), plain(knob._string), (), 1
    if isinstance(knob, textknobs.Channel_Knob):
        return "channels", knob.value(), (), 1
    if isinstance(knob, textknobs.File_Knob):
        return "file", knob._string, (), 1
    if isinstance(knob, Format_Knob):
        return "menu", knob._text(), (), 1
    return "text", knob._text(), (), 1


def plain(text: str) -> str:
    """Without HTML."""
    return re.sub(r"<[^>]*>", "", re.sub(r"<br\s*/?>", "\n", text)).strip()


def flat(tabs: Sequence[Tab]) -> list[Widget]:
    """All controls in the order they are shown."""

    def walk(rows: Sequence[Row]) -> list[Widget]:
        found: list[Widget] = []
        for row in rows:
            found += [*row.widgets, *walk(row.rows)]
        return found

    return [widget for tab in tabs for widget in walk(tab.rows)]


# Drawing.

_COLOURS = {
    "page": "#2f2f2f",
    "title": "#4a4a4a",
    "tab": "#3a3a3a",
    "body": "#3f3f3f",
    "field": "#2a2a2a",
    "line": "#5c5c5c",
    "text": "#dcdcdc",
    "dim": "#8c8c8c",
    "knob": "#b8b8b8",
    "button": "#585858",
}
_WIDTH, _LINE, _LABEL, _PAD = 620, 26, 190, 10


def draw_panel(node: Node, path: Path | str, *, scale: int = 2, columns: int = 3) -> None:
    """A PNG with one card for every tab, at most `columns` beside each other."""
    from PIL import Image

    tabs = layout(node)
    cards = [_card(node, tabs, place, scale) for place in range(len(tabs))]
    columns = max(1, min(columns, len(cards)))
    lines = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    gap = _PAD * scale
    width = columns * (_WIDTH * scale + gap) + gap
    height = sum(max(card.height for card in line) + gap for line in lines) + gap
    page = Image.new("RGB", (width, height), _COLOURS["page"])
    y = gap
    for line in lines:
        for place, card in enumerate(line):
            page.paste(card, (gap + place * (_WIDTH * scale + gap), y))
        y += max(card.height for card in line) + gap
    page.save(path, optimize=True)


def _card(node: Node, tabs: list[Tab], current: int, scale: int) -> Image.Image:
    from PIL import Image, ImageDraw

    height = 2 * _LINE + 2 * _PAD + sum(_height(row) for row in tabs[current].rows)
    card = Image.new("RGB", (_WIDTH * scale, height * scale), _COLOURS["body"])
    pen = _Pen(ImageDraw.Draw(card), scale)
    pen.box(0, 0, _WIDTH, _LINE, "title")
    pen.text(_PAD, _LINE / 2, f"{node.name()}   ({node.Class()})", bold=True)
    pen.box(0, _LINE, _WIDTH, _LINE, "tab")
    x = float(_PAD)
    for place, tab in enumerate([*tabs, Tab("Node", "Node")]):
        wide = pen.width(tab.label) + 2 * _PAD
        if place == current:
            pen.box(x, _LINE + 3, wide, _LINE - 3, "body")
        pen.text(x + _PAD, _LINE * 1.5 + 1, tab.label, "text" if place == current else "dim")
        x += wide
    y = 2.0 * _LINE + _PAD
    for row in tabs[current].rows:
        y = _draw_row(pen, row, _PAD, y)
    return card


def _height(row: Row) -> int:
    if row.group:
        return _LINE + (sum(_height(inner) for inner in row.rows) + 4 if row.open else 0)
    if any(widget.kind == "divider" for widget in row.widgets):
        return _LINE // 2
    lines = max((widget.value.count("\n") + 1 for widget in row.widgets if widget.kind == "note"), default=1)
    return _LINE + (lines - 1) * 17


class _Pen:
    """Drawing in units of the layout."""

    def __init__(self, draw: ImageDraw.ImageDraw, scale: int) -> None:
        import matplotlib
        from PIL import ImageFont

        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.draw, self.scale = draw, scale
        self.font = ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), 12 * scale)
        self.bold = ImageFont.truetype(str(fonts / "DejaVuSans-Bold.ttf"), 12 * scale)

    def width(self, text: str) -> float:
        return float(self.draw.textlength(text, font=self.font)) / self.scale

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: str = "text",
        *,
        bold: bool = False,
        anchor: str = "lm",
        limit: float = 0.0,
    ) -> None:
        if limit:
            while text and self.width(text) > limit:
                text = text[:-2].rstrip("…") + "…" if len(text) > 2 else ""
        self.draw.text(
            (x * self.scale, y * self.scale),
            text,
            fill=_COLOURS[colour],
            font=self.bold if bold else self.font,
            anchor=anchor,
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        outline: bool = False,
        radius: float = 0.0,
    ) -> None:
        s = self.scale
        if width * s < 2 or height * s < 1:
            return  # a row that is longer than the panel is cut, as in Nuke
        self.draw.rounded_rectangle(
            (x * s, y * s, (x + width) * s - 1, (y + height) * s - 1),
            radius * s,
            fill=_COLOURS[colour],
            outline=_COLOURS["line"] if outline else None,
        )


def _draw_row(pen: _Pen, row: Row, left: float, y: float) -> float:
    if row.group:
        pen.text(left, y + _LINE / 2, ("▼ " if row.open else "▶ ") + row.group, bold=True)
        y += _LINE
        if row.open:
            for inner in row.rows:
                y = _draw_row(pen, inner, left + 12, y)
            y += 4
        return y
    x = left
    for place, widget in enumerate(row.widgets):
        room = _WIDTH - _PAD - x
        x = _draw_widget(pen, widget, x, y, room, first=place == 0, alone=len(row.widgets) == 1)
    return y + _height(row)


def _draw_widget(pen: _Pen, widget: Widget, x: float, y: float, room: float, *, first: bool, alone: bool) -> float:
    """Draws it and returns where the next one begins."""
    middle = y + _LINE / 2
    colour = "text" if widget.enabled else "dim"
    if widget.kind == "divider":
        pen.box(x, y + _LINE / 4, room, 1, "line")
        return x
    if widget.kind == "button":
        start = x + _LABEL if first else x
        wide = min(pen.width(plain(widget.label)) + 24, room)
        pen.box(start, y + 3, wide, _LINE - 6, "button", outline=True, radius=3)
        pen.text(start + wide / 2, middle, plain(widget.label), colour, anchor="mm", limit=wide - 6)
        return start + wide + 8
    if widget.kind == "check":
        start = x + _LABEL if first else x
        pen.box(start, y + 6, 14, 14, "field", outline=True)
        if widget.value:
            pen.text(start + 7, middle, "✓", colour, anchor="mm")
        pen.text(start + 20, middle, widget.label, colour)
        return start + 20 + pen.width(widget.label) + 12
    label = plain(widget.label)
    if first:
        pen.text(x + _LABEL - 8, middle, label, colour, anchor="rm", limit=_LABEL - 10)
        x, room = x + _LABEL, room - _LABEL
    elif label:
        pen.text(x, middle, label, colour)
        x, room = x + pen.width(label) + 8, room - pen.width(label) - 8
    return x + _field(pen, widget, x, y, room, colour, alone) + 8


def _field(pen: _Pen, widget: Widget, x: float, y: float, room: float, colour: str, alone: bool) -> float:
    """The part that holds the value; its width."""
    middle = y + _LINE / 2
    if widget.kind == "note":
        for number, line in enumerate(widget.value.split("\n")):
            pen.text(x, middle + number * 17, line, "text" if widget.enabled else "dim", limit=room)
        return min(pen.width(widget.value.split("\n")[0]), room)
    if widget.kind in ("number", "numbers"):
        return _numbers(pen, widget, x, y, room, colour, alone)
    wide = {"menu": 130.0, "channels": 130.0, "colour": 40.0}.get(widget.kind, room if alone else min(room, 150.0))
    wide = min(wide, room)
    pen.box(x, y + 3, wide, _LINE - 6, "field", outline=True, radius=2)
    if widget.kind in ("menu", "channels"):
        pen.text(x + wide - 14, middle, "▾", colour, anchor="mm")
    pen.text(x + 6, middle, widget.value.replace("\n", " "), colour, limit=wide - 26)
    return wide


def _numbers(pen: _Pen, widget: Widget, x: float, y: float, room: float, colour: str, alone: bool) -> float:
    middle, start = y + _LINE / 2, x
    for value in widget.value.split():
        wide = min(62.0, room)
        pen.box(x, y + 3, wide, _LINE - 6, "field", outline=True, radius=2)
        pen.text(x + 6, middle, value, colour, limit=wide - 10)
        x += wide + 4
    rest = start + room - x - 6
    if widget.range is not None and widget.count == 1 and alone and rest > 60:
        low, high = widget.range
        pen.box(x + 6, middle - 1, rest - 6, 2, "line")
        share = 0.0 if high == low else min(max((float(widget.value) - low) / (high - low), 0.0), 1.0)
        pen.box(x + 6 + share * (rest - 14), middle - 7, 8, 14, "knob", radius=2)
        x += rest
    return x - start


def panel_text(node: Any) -> str:
    """The layout as text, for a test to compare or a person to read."""
    lines: list[str] = []

    def walk(rows: Sequence[Row], indent: str) -> None:
        for row in rows:
            if row.group:
                lines.append(f"{indent}[{row.group}]")
                walk(row.rows, indent + "  ")
            else:
                lines.append(
                    indent
                    + " | ".join(
                        f"{w.label or w.name} ({w.kind}{' ' + w.value if w.value else ''})" for w in row.widgets
                    )
                )

    for tab in layout(node):
        lines.append(f"== {tab.label}")
        walk(tab.rows, "  ")
    return "\n".join(lines)
