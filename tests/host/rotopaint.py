"""nuke.rotopaint: shapes with animated points in the `curves` of a Roto.

Names and signatures are the stubs'. A point without a view is refused as they refuse it, though Foundry's guide says
that it may be left out. The text of a keyed shape is after single published scripts: a `px` with a frame and a triple
(tangent, point, tangent) for each point, floats as their bits in hexadecimal; that there is one `px` for each key is
this file's reading.
"""

from __future__ import annotations

import struct
import types
from collections.abc import Iterator
from typing import Any

from tests.host.api import CURVE_CLASSES, offered
from tests.host.knobs import Knob

__all__ = ["CurveKnob", "make_submodule"]


def number(value: float) -> str:
    """As a Roto writes it: 0, or the bits of a float32."""
    return "0" if value == 0 else f"x{struct.unpack('>I', struct.pack('>f', value))[0]:08x}"


@offered(curves=True)
class AnimControlPoint:
    def __init__(self, x: float = 0.0, y: float = 0.0) -> None:
        self._still = (float(x), float(y))
        self._keys: dict[float, tuple[float, float]] = {}

    def addPositionKey(self, time: float, positionOrDim: Any, view: str) -> None:
        x, y = positionOrDim[:2]
        self._keys[float(time)] = (float(x), float(y))

    def getControlPointKeyTimes(self, view: str = "main") -> list[float]:
        return sorted(self._keys)

    def getPosition(self, time: float, view: str = "main") -> Any:
        if not self._keys:
            return (*self._still, 1.0)
        return (*self._keys[min(self._keys, key=lambda frame: (abs(frame - time), frame))], 1.0)


@offered(curves=True)
class ShapeControlPoint:
    def __init__(self, x: float = 0.0, y: float = 0.0) -> None:
        self.center = AnimControlPoint(x, y)
        self.leftTangent, self.rightTangent = AnimControlPoint(), AnimControlPoint()
        self.featherCenter = AnimControlPoint()
        self.featherLeftTangent, self.featherRightTangent = AnimControlPoint(), AnimControlPoint()


@offered(curves=True)
class AnimAttributes:
    kVisibleAttribute = "vis"

    def __init__(self) -> None:
        self._keys: dict[str, dict[float, float]] = {}

    def addKey(self, time: float, name: str, value: float, view: str) -> None:
        self._keys.setdefault(name, {})[float(time)] = float(value)

    def getValue(self, time: float, indexOrName: str, view: str) -> float:
        keys = self._keys.get(indexOrName, {})
        before = [frame for frame in keys if frame <= time]
        return keys[max(before)] if before else 1.0


class _Element:
    name: str

    def __init__(self, name: str) -> None:
        self.name = name
        self._attributes = AnimAttributes()

    def getAttributes(self) -> AnimAttributes:
        return self._attributes


@offered(curves=True)
class Shape(_Element):
    def __init__(self, knob: CurveKnob, type: str = "bezier") -> None:
        if type not in ("bezier", "bspline"):
            raise ValueError(f"a shape is a bezier or a bspline, not {type}")
        super().__init__("Bezier1")
        self._kind = type
        self._points: list[ShapeControlPoint] = []

    def append(self, shapeControlPoint: ShapeControlPoint) -> None:
        if not isinstance(shapeControlPoint, ShapeControlPoint):
            raise TypeError("a shape takes ShapeControlPoints")
        self._points.append(shapeControlPoint)

    def __getitem__(self, index: int) -> ShapeControlPoint:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[ShapeControlPoint]:
        return iter(self._points)

    def _text(self) -> str:
        frames = sorted({frame for point in self._points for frame in point.center._keys}) or [0.0]
        keys = []
        for frame in frames:
            places = [point.center.getPosition(frame) for point in self._points]
            triples = " ".join(f"{{0 0}} {{{number(x)} {number(y)}}} {{0 0}}" for x, y, _ in places)
            keys.append(f"{{px {number(frame)} {triples}}}")
        visible = " ".join(
            f"{number(frame)} {number(value)}" for frame, value in sorted(self._attributes._keys.get("vis", {}).items())
        )
        shown = f" {{a vis {{{visible}}}}}" if visible else " {a}"
        return f"{{curvegroup {self.name} 512 {self._kind} {{{{cc {{f 8192}} {' '.join(keys)}}} idem}}{shown}}}"


@offered(curves=True)
class Layer(_Element):
    def __init__(self, name: str = "Root") -> None:
        super().__init__(name)
        self._elements: list[Shape] = []

    def append(self, element: Shape) -> None:
        self._elements.append(element)

    def __getitem__(self, index: int) -> Shape:
        return self._elements[index]

    def __len__(self) -> int:
        return len(self._elements)

    def __iter__(self) -> Iterator[Shape]:
        return iter(self._elements)


class CurveKnob(Knob):
    """The knob `curves` of a Roto; its text is what the shapes were when changed() was last called."""

    __setattr__ = object.__setattr__  # it has attributes that other knobs have not

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, label)
        self.rootLayer = Layer()
        self._string = ""

    def changed(self) -> None:
        shapes = " ".join(shape._text() for shape in self.rootLayer)
        self._string = f"{{{{v x3f99999a}} {{f 0}} {{n {{layer Root {{f 0}} {shapes}}}}}}}"
        self._changed()

    def _text(self) -> str:
        return self._string

    def _set_text(self, text: str) -> None:
        self._string = text


def make_submodule() -> types.ModuleType:
    module = types.ModuleType("nuke.rotopaint", "Stand-in; see docs/stand-in.md.")
    module.__dict__.update(CURVE_CLASSES, CurveKnob=CurveKnob)
    return module
