"""Knobs: what all have in common, and the numeric ones that can be animated."""

# Nuke's classes narrow what their bases take; so do these.
# mypy: disable-error-code="override"

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.host import tcl
from tests.host.api import current_host, offered
from tests.host.curves import AnimationCurve, Curve, number_text, parse_curve

if TYPE_CHECKING:
    from tests.host.nodes import Node

FLAGS = {
    "DISABLED": 128,
    "NO_ANIMATION": 256,
    "DO_NOT_WRITE": 512,
    "INVISIBLE": 1024,
    "STARTLINE": 4096,
    "ENDLINE": 8192,
    "KNOB_CHANGED_ALWAYS": 65536,
    "NO_UNDO": 524288,
    "ALWAYS_SAVE": 1048576,
    "READ_ONLY": 268435456,
    "NO_MULTIVIEW": 1073741824,
}

# Knobs that begin their own line unless told otherwise; a check box or a button stays beside what is before it.
_OWN_LINE = FLAGS["STARTLINE"]


@dataclass
class Component:
    """One number of a knob. An expression wins over the curve, the curve over the value."""

    value: float = 0.0
    curve: Curve | None = None
    expression: str | None = None


@offered()
class Knob:
    """Base of all knobs: a name, how it is shown, and a value that a script writes as one Tcl word."""

    _code = 0
    _starts_line = True
    _persistent = True

    def __init__(self, name: str, label: str | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a knob's name is a text, not {type(name).__name__}")
        self._name, self._label = name, label
        self._tooltip = ""
        self._flags = _OWN_LINE if self._starts_line else 0
        self._visible, self._enabled = True, True
        self._node: Node | None = None
        self._default_text = ""  # what a script leaves out
        self._empty_text = ""  # what addUserKnob alone would give
        self._declared = False  # by addUserKnob or addKnob
        self._user = False  # declared on this node, not by its gizmo

    def __repr__(self) -> str:
        return f"<{self.Class()} {self._name}>"

    # What a script holds.

    def _text(self) -> str:
        """The value as the content of one word, unquoted."""
        return ""

    def _set_text(self, text: str) -> None:
        """Takes what _text gave, or what a script says. Raises TclError or ValueError."""

    def _written(self) -> str:
        return tcl.quote(self._text())

    def _changed(self) -> None:
        if self._node is not None:
            self._node._knob_changed(self)

    def _frame(self) -> float:
        return float(current_host().frame)

    # Names and looks.

    def Class(self) -> str:
        return type(self).__name__

    def name(self) -> str:
        return self._name

    def setName(self, name: str) -> None:
        self._name = name

    def label(self) -> str:
        return self._name if self._label is None else self._label

    def setLabel(self, label: str) -> None:
        self._label = label

    def tooltip(self) -> str:
        return self._tooltip

    def setTooltip(self, tooltip: str) -> None:
        self._tooltip = tooltip

    def node(self) -> Any:
        return self._node

    def fullyQualifiedName(self, channel: int = -1) -> str:
        return f"{self._node.fullName() + '.' if self._node else ''}{self._name}"

    def visible(self) -> bool:
        return self._visible and not self._flags & FLAGS["INVISIBLE"]

    def setVisible(self, visible: bool) -> None:
        self._visible = bool(visible)

    def enabled(self) -> bool:
        return self._enabled and not self._flags & FLAGS["DISABLED"]

    def setEnabled(self, enabled: bool) -> None:
        self._enabled = bool(enabled)
        if enabled:
            self._flags &= ~FLAGS["DISABLED"]

    def setFlag(self, flag: int) -> None:
        if flag not in FLAGS.values():
            raise ValueError(f"{flag} is no single knob flag; known: {', '.join(FLAGS)}")
        self._flags |= flag

    def clearFlag(self, flag: int) -> None:
        self._flags &= ~flag

    def getFlag(self, flag: int) -> bool:
        return bool(self._flags & flag)

    # Values.

    def toScript(self, quote: bool = True, context: Any = None) -> str:
        return self._written() if quote else self._text()

    def fromScript(self, script: str) -> None:
        try:
            words = tcl.split(script)
        except tcl.TclError:
            words = []
        self._set_text(words[0] if len(words) == 1 else script)
        self._changed()

    def value(self) -> Any:
        return self._text()

    def getValue(self) -> Any:
        return self.value()

    def setValue(self, val: Any, chan: int = -1) -> bool:
        self._set_text(str(val))
        self._changed()
        return True

    def isAnimated(self, channel: int = -1) -> bool:
        return False

    def hasExpression(self, index: int = -1) -> bool:
        return False

    def clearAnimated(self, channel: int = -1) -> bool:
        return False


def _view_keyword(method: str, places: Sequence[int], keywords: dict[str, Any]) -> str | None:
    """The view that setAnimated or clearAnimated is given. The stubs name no arguments, so only a view is named."""
    if places or set(keywords) - {"view"}:
        raise TypeError(f"{method}: an index is given by position, a view by its name")
    if keywords and len(current_host().views()) < 2:
        raise TypeError(f"{method}: this script has one view; name none")
    return keywords.get("view")


@offered()
class Array_Knob(Knob):
    """Numbers, each with its own curve or expression."""

    _code = 9
    _size = 1
    _collapses = False  # whether equal components are given as one number

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, label)
        self._components = [Component() for _ in range(self._size)]
        self._split: dict[str, list[Component]] = {}  # of views that were split off
        self._range: tuple[float, float] | None = None
        self._default = [0.0] * self._size

    # Text.

    def _text(self) -> str:
        words = [self._component_text(component) for component in self._components]
        if self._split:  # a view and its numbers: how Nuke writes it is not known, this is the stand-in's own way
            words += [f"{view} {{{' '.join(map(self._component_text, parts))}}}" for view, parts in self._split.items()]
            return " ".join(words)
        plain = all(c.curve is None and c.expression is None for c in self._components)
        if plain and len(set(words)) == 1 and (self._collapses or len(words) == 1):
            return words[0]
        return " ".join(words)

    def _component_text(self, component: Component) -> str:
        if component.expression is not None and component.expression != "curve":
            quoted = tcl.quote(component.expression)
            return "{" + quoted + "}"
        if component.curve is not None:
            return "{" + component.curve.text() + "}"
        return number_text(component.value)

    def _written(self) -> str:
        text = self._text()
        bare = " " not in text and "{" not in text
        return text if bare else "{" + text + "}"

    def _set_text(self, text: str) -> None:
        words = tcl.split(text)
        if not words:
            raise tcl.TclError(f"knob {self._name}: no value")
        views = [place for place, word in enumerate(words) if place and word in current_host().views()]
        if views and len(words) == views[0] + 2 * len(views):
            self._split = {
                words[place]: [self._parse_component(word) for word in tcl.split(words[place + 1])] for place in views
            }
            words = words[: views[0]]
        if len(words) > len(self._components):
            raise tcl.TclError(f"knob {self._name} takes {len(self._components)} values, not {len(words)}: {text!r}")
        parsed = [self._parse_component(word) for word in words]
        if len(parsed) == 1:
            parsed = [replace(parsed[0]) for _ in self._components]
        for place, component in enumerate(parsed):
            self._components[place] = component

    def _parse_component(self, text: str) -> Component:
        number = self._parse_number(text)
        if number is not None:
            return Component(number)
        words = tcl.split(text)
        if words and words[0] == "curve":
            curve = parse_curve(words)
            return Component(curve.at(1), curve)
        # A trailing i is a mark of Nuke's own. Without quotes an expression with spaces is several words.
        return Component(0.0, None, " ".join(words[:-1] if len(words) > 1 and words[-1] == "i" else words))

    def _parse_number(self, text: str) -> float | None:
        try:
            return float(int(text, 16)) if text.startswith("0x") else float(text)
        except ValueError:
            return None

    # Numbers.

    def _parts(self, view: str | None = None) -> list[Component]:
        """The components of a view that was split off, else those that all other views share."""
        return self._split.get(view or "", self._components)

    def splitView(self, view: str | None = None) -> None:
        name = view or current_host().view
        if name not in current_host().views():
            raise ValueError(f"the script has no view {name!r}")
        self._split.setdefault(name, copy.deepcopy(self._components))

    def unsplitView(self, view: str | None = None) -> None:
        self._split.pop(view or current_host().view, None)

    def _number(self, index: int, frame: float, view: str | None = None) -> float:
        component = self._parts(view)[index]
        if component.expression is not None and component.expression != "curve":
            return current_host().expression(component.expression, self, frame)
        if component.curve is not None and component.curve.frames:
            return component.curve.at(frame)
        return component.value

    def _out(self, number: float) -> Any:
        return number

    def _get(self, index: int, frame: float, view: str | None = None) -> Any:
        if index >= len(self._components):
            raise IndexError(f"{self._name} has {len(self._components)} values, none is number {index}")
        if index >= 0:
            return self._out(self._number(index, frame, view))
        values = [self._out(self._number(place, frame, view)) for place in range(len(self._components))]
        return values[0] if len(values) == 1 or (self._collapses and len(set(values)) == 1) else values

    def _indices(self, index: int) -> Sequence[int]:
        return range(len(self._components)) if index < 0 else [index]

    def value(self, index: int = -1, view: str | None = None) -> Any:
        return self._get(index, self._frame(), view)

    def getValue(self, index: int = -1, view: str | None = None) -> Any:
        return self._get(index, self._frame(), view)

    def getValueAt(self, time: float, index: int = -1, view: str | None = None) -> Any:
        return self._get(index, float(time), view)

    def valueAt(self, time: float, index: int = -1, view: str | None = None) -> Any:
        return self._get(index, float(time), view)

    def setValue(self, value: Any, index: int = -1, time: float | None = None, view: str | None = None) -> bool:
        return self._assign(value, index, self._frame() if time is None else float(time), view)

    def setValueAt(self, value: Any, time: float, index: int = -1, view: str | None = None) -> bool:
        return self._assign(value, index, float(time), view)

    def _assign(self, value: Any, index: int, frame: float, view: str | None = None) -> bool:
        values = list(value) if isinstance(value, (list, tuple)) else [value] * len(self._indices(index))
        places = list(self._indices(index))
        if len(values) > len(places):
            raise TypeError(f"{self._name} takes {len(places)} values, {len(values)} were given")
        for place, item in zip(places, values, strict=False):
            if isinstance(item, bool) or not isinstance(item, (int, float)):
                item = self._foreign(item)
            component = self._parts(view)[place]
            component.value = float(item)
            if component.curve is not None:
                component.curve.set(frame, float(item))
        self._changed()
        return True

    def _foreign(self, item: Any) -> float:
        if isinstance(item, bool):
            return float(item)
        raise TypeError(f"knob {self._name} ({self.Class()}) takes numbers, not {type(item).__name__} {item!r}")

    # Animation.

    def setAnimated(self, index: int = -1, /, *places: int, **keywords: Any) -> bool:
        view = _view_keyword("setAnimated", places, keywords)
        if self._flags & FLAGS["NO_ANIMATION"]:
            return False
        for place in self._indices(index):
            if self._parts(view)[place].curve is None:
                self._parts(view)[place].curve = Curve()
        return True

    def isAnimated(self, index: int = -1, view: str | None = None) -> bool:
        """An expression animates a knob too: Nuke keeps it as the expression of an animation curve."""
        parts = [self._parts(view)[place] for place in self._indices(index)]
        return any(part.curve is not None or part.expression is not None for part in parts)

    def clearAnimated(self, index: int = -1, /, *places: int, **keywords: Any) -> bool:
        view = _view_keyword("clearAnimated", places, keywords)
        frame = self._frame()
        for place in self._indices(index):
            component = self._parts(view)[place]
            component.value = self._number(place, frame, view)
            component.curve = component.expression = None
        self._changed()
        return True

    def setKeyAt(self, time: float, index: int = -1, view: str | None = None) -> bool:
        for place in self._indices(index):
            value = self._number(place, float(time), view)
            component = self._parts(view)[place]
            component.curve = component.curve or Curve()
            component.curve.set(float(time), value)
        self._changed()
        return True

    def isKeyAt(self, time: float, index: int = -1, view: str | None = None) -> bool:
        curves = [self._parts(view)[place].curve for place in self._indices(index)]
        return any(curve is not None and float(time) in curve.frames for curve in curves)

    def removeKeyAt(self, time: float, index: int = -1, view: str | None = None) -> bool:
        curves = [self._parts(view)[place].curve for place in self._indices(index)]
        removed = [curve.remove(float(time)) for curve in curves if curve is not None]
        self._changed()
        return any(removed)

    def getKeyList(self) -> list[float]:
        return sorted({frame for c in self._components if c.curve for frame in c.curve.frames})

    def getNumKeys(self, index: int = 0) -> int:
        curve = self._parts()[max(index, 0)].curve
        return len(curve.frames) if curve else 0

    def animation(self, index: int = 0, view: str | None = None) -> AnimationCurve | None:
        return AnimationCurve(self, index, view) if self._parts(view)[index].curve is not None else None

    def animations(self, view: str | None = None) -> list[AnimationCurve]:
        return [AnimationCurve(self, place, view) for place, c in enumerate(self._parts(view)) if c.curve is not None]

    def setExpression(self, expression: str, channel: int = -1, view: str | None = None) -> bool:
        for place in self._indices(channel):
            self._parts(view)[place].expression = None if expression == "curve" else expression
        self._changed()
        return True

    def hasExpression(self, index: int = -1) -> bool:
        return any(self._components[place].expression is not None for place in self._indices(index))

    # Shape and range.

    def arraySize(self) -> int:
        return len(self._components)

    def dimensions(self) -> int:
        return 1

    def width(self) -> int:
        return len(self._components)

    def height(self) -> int:
        return 1

    def setRange(self, a: float, b: float) -> None:
        self._range = (float(a), float(b))

    def min(self) -> float:
        return self._range[0] if self._range else 0.0

    def max(self) -> float:
        return self._range[1] if self._range else 1.0

    minimum, maximum = min, max

    def defaultValue(self, index: int = 0) -> float:
        return self._default[max(index, 0)]

    def setDefaultValue(self, values: Sequence[float]) -> None:
        if not isinstance(values, (list, tuple)):
            raise TypeError("setDefaultValue takes a list of numbers")
        self._default = [float(value) for value in values]
        for component, value in zip(self._components, self._default, strict=False):
            component.value = value
        self._default_text = self._text()

    def notDefault(self) -> bool:
        return self._text() != self._default_text

    def singleValue(self, view: str | None = None) -> bool:
        return len({number_text(c.value) for c in self._components}) == 1

    def fromScript(self, script: str) -> None:
        words = tcl.split(script)
        # `{10 20}` and `10 20` are the same two numbers; `{{parent.x}}` is one expression.
        self._set_text(words[0] if len(words) == 1 and script.strip().startswith("{") else script)
        self._changed()

    def toScript(self, quote: bool = True, context: Any = None) -> str:
        return self._written() if quote else self._text()
