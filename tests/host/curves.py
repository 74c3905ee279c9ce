"""Animation: keys, their text in a script, and their value at a frame."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as field_of
from typing import TYPE_CHECKING, Any

from tests.host.api import offered
from tests.host.tcl import TclError

if TYPE_CHECKING:
    from tests.host.knobs import Array_Knob

_KEY = re.compile(
    r"(?:x(?P<x>-?[0-9.]+(?:e[+-]?[0-9]+)?)|(?P<y>-?[0-9.]+(?:e[+-]?[0-9]+)?)|(?P<letter>[KLCSRklcsr])"
    r"|(?P<slope>[stuv]-?[0-9.eE+-]+))$"
)


@dataclass
class Curve:
    """Keys of one component, frames ascending. letters: interpolation from that key on, where a script says so."""

    frames: list[float] = field_of(default_factory=list)
    values: list[float] = field_of(default_factory=list)
    letters: dict[float, str] = field_of(default_factory=dict)

    def at(self, frame: float) -> float:
        """Linear between keys (Nuke's default is smoother, within the same two values); held outside them."""
        if not self.frames:
            return 0.0
        place = bisect.bisect_right(self.frames, frame)
        if place == 0:
            return self.values[0]
        if place == len(self.frames):
            return self.values[-1]
        x0, x1 = self.frames[place - 1], self.frames[place]
        y0, y1 = self.values[place - 1], self.values[place]
        if self.letters.get(x0) == "K":
            return y0
        return y0 + (y1 - y0) * (frame - x0) / (x1 - x0)

    def set(self, frame: float, value: float) -> None:
        place = bisect.bisect_left(self.frames, frame)
        if place < len(self.frames) and self.frames[place] == frame:
            self.values[place] = value
        else:
            self.frames.insert(place, frame)
            self.values.insert(place, value)

    def remove(self, frame: float) -> bool:
        if frame not in self.frames:
            return False
        place = self.frames.index(frame)
        del self.frames[place], self.values[place]
        return True

    def text(self) -> str:
        """As in a script: `curve x1 0.5 x10 1`."""
        words = ["curve"]
        for frame, value in zip(self.frames, self.values, strict=True):
            words += [self.letters[frame]] if frame in self.letters else []
            words += [f"x{number_text(frame)}", number_text(value)]
        return " ".join(words)


def number_text(value: float) -> str:
    """A number as Nuke writes it: no point where there is nothing behind it."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.9g}"


def parse_curve(words: Sequence[str]) -> Curve:
    """The words of `curve x1 0.5 2 3`. A value without x is one frame after the one before it. Raises TclError."""
    curve = Curve()
    frame = 0.0
    explicit = False
    letter = ""
    for word in words[1:]:
        found = _KEY.match(word)
        if found is None:
            if word == "i":
                continue
            raise TclError(f"a curve has no {word!r}: {' '.join(words)[:120]}")
        if found["x"] is not None:
            frame, explicit = float(found["x"]), True
        elif found["letter"]:
            letter = found["letter"]
        elif found["y"] is not None:
            if not explicit and curve.frames:
                frame = curve.frames[-1] + 1
            curve.set(frame, float(found["y"]))
            if letter:
                curve.letters[frame] = letter
            explicit, letter = False, ""
    return curve


@offered()
class AnimationKey:
    x: float
    y: float

    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = float(x), float(y)
        self.la = self.ra = self.lslope = self.rslope = 0.0
        self.interpolation = self.extrapolation = 0
        self.selected = False


@offered()
class AnimationCurve:
    """One component of a knob, as knob.animation(i) gives it."""

    def __init__(self, knob: Array_Knob, index: int, view: str | None = None) -> None:
        self._knob, self._index, self._view = knob, index, view

    def _curve(self) -> Curve:
        component = self._knob._parts(self._view)[self._index]
        if component.curve is None:
            raise RuntimeError("the animation was cleared")
        return component.curve

    def addKey(self, *keys: Any) -> None:
        """Either a list of AnimationKey or a frame and a value."""
        curve = self._curve()
        if len(keys) == 2:
            curve.set(float(keys[0]), float(keys[1]))
        else:
            items = keys[0] if isinstance(keys[0], (list, tuple)) else [keys[0]]
            for key in items:
                if not isinstance(key, AnimationKey):
                    raise TypeError("addKey takes a list of nuke.AnimationKey")
                curve.set(key.x, key.y)
        self._knob._changed()

    def setKey(self, frame: float, value: float) -> AnimationKey:
        self._curve().set(float(frame), float(value))
        self._knob._changed()
        return AnimationKey(frame, value)

    def removeKey(self, keys: Any) -> None:
        for key in keys if isinstance(keys, (list, tuple)) else [keys]:
            self._curve().remove(key.x)
        self._knob._changed()

    def clear(self) -> None:
        curve = self._curve()
        curve.frames.clear()
        curve.values.clear()
        self._knob._changed()

    def keys(self) -> list[AnimationKey]:
        curve = self._curve()
        return [AnimationKey(x, y) for x, y in zip(curve.frames, curve.values, strict=True)]

    def size(self) -> int:
        return len(self._curve().frames)

    def evaluate(self, t: float) -> float:
        return self._knob._number(self._index, float(t), self._view)

    def constant(self) -> bool:
        return len(set(self._curve().values)) < 2

    def expression(self) -> str:
        return self._knob._components[self._index].expression or "curve"

    def setExpression(self, text: str) -> None:
        self._knob.setExpression(text, self._index)

    def noExpression(self) -> bool:
        return self._knob._components[self._index].expression is None

    def knob(self) -> Array_Knob:
        return self._knob

    def knobIndex(self) -> int:
        return self._index

    def toScript(self, selected: bool = False) -> str:
        return self._curve().text()
