"""Small objects that Nuke hands out: formats, frame ranges, layers, boxes, the environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests.host.api import current_host, offered


@offered()
class Format:
    def __init__(
        self, width: int, height: int, x: int = 0, y: int = 0, r: int = 0, t: int = 0, pixelAspect: float = 1.0
    ) -> None:
        self._width, self._height = int(width), int(height)
        self._box = (int(x), int(y), int(r) or int(width), int(t) or int(height))
        self._aspect = float(pixelAspect)
        self._format_name: str | None = None

    def _spec(self) -> str:
        box = " ".join(map(str, self._box))
        return f"{self._width} {self._height} {box} {self._aspect:g} {self._format_name or ''}".strip()

    def __repr__(self) -> str:
        return f"<Format {self._spec()}>"

    def width(self) -> int:
        return self._width

    def height(self) -> int:
        return self._height

    def x(self) -> int:
        return self._box[0]

    def y(self) -> int:
        return self._box[1]

    def r(self) -> int:
        return self._box[2]

    def t(self) -> int:
        return self._box[3]

    def pixelAspect(self) -> float:
        return self._aspect

    def name(self) -> str | None:
        return self._format_name

    def setName(self, name: str) -> None:
        self._format_name = name


def parse_format(text: str) -> Format:
    """`width height [x y r t] [aspect] [name]`. Raises ValueError."""
    words = text.split()
    numbers: list[float] = []
    while words and re.fullmatch(r"-?\d+(\.\d+)?", words[0]):
        numbers.append(float(words.pop(0)))
    if len(numbers) == 7:
        found = Format(*[int(n) for n in numbers[:6]])
        found._aspect = numbers[6]
    elif len(numbers) == 3:
        found = Format(int(numbers[0]), int(numbers[1]), pixelAspect=numbers[2])
    elif len(numbers) == 2:
        found = Format(int(numbers[0]), int(numbers[1]))
    elif len(numbers) == 6:
        found = Format(*[int(n) for n in numbers])
    else:
        raise ValueError(f"no format: {text!r}; it is 'width height x y r t aspect name'")
    if words:
        found._format_name = " ".join(words)
    return found


@offered()
class FrameRange:
    """first-last by increment; from text "1-100x2" or from numbers."""

    def __init__(self, first: Any = 1, last: int | None = None, increment: int = 1) -> None:
        if isinstance(first, str):
            found = re.fullmatch(r"\s*(-?\d+)(?:-(-?\d+)(?:x(-?\d+))?)?\s*", first)
            if found is None:
                raise RuntimeError(f"no frame range: {first!r}")
            first, last, increment = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        self._first, self._last, self._step = int(first), int(first if last is None else last), int(increment)
        self._next = 0

    def __repr__(self) -> str:
        return f"{self._first}-{self._last}" + (f"x{self._step}" if self._step != 1 else "")

    __str__ = __repr__

    def _frames(self) -> list[int]:
        return list(range(self._first, self._last + (1 if self._step > 0 else -1), self._step))

    def first(self) -> int:
        return self._first

    def last(self) -> int:
        return self._last

    def increment(self) -> int:
        return self._step

    def frames(self) -> int:
        return len(self._frames())

    def getFrame(self, n: int) -> int:
        return self._frames()[n]

    def isInRange(self, n: int) -> bool:
        return n in self._frames()

    def minFrame(self) -> int:
        return min(self._frames())

    def maxFrame(self) -> int:
        return max(self._frames())

    def setFirst(self, n: int) -> None:
        self._first = int(n)

    def setLast(self, n: int) -> None:
        self._last = int(n)

    def setIncrement(self, n: int) -> None:
        self._step = int(n)

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames())


@offered()
class FrameRanges:
    """Several ranges: from text "1-5 10", from a list of frames, or from ranges."""

    def __init__(self, given: Any = None, *more: Any) -> None:
        self._ranges: list[FrameRange] = []
        if isinstance(given, str):
            self._ranges = [FrameRange(word) for word in given.split()]
        elif isinstance(given, Iterable) and not isinstance(given, FrameRange):
            self._ranges = [item if isinstance(item, FrameRange) else FrameRange(int(item)) for item in given]
        elif given is not None:
            self._ranges = [given, *more]

    def add(self, r: FrameRange) -> None:
        if not isinstance(r, FrameRange):
            raise TypeError("FrameRanges.add takes a nuke.FrameRange")
        self._ranges.append(r)

    def clear(self) -> None:
        self._ranges.clear()

    def compact(self) -> None:
        frames = sorted(set(self.toFrameList()))
        self._ranges = []
        while frames:
            last = next((i for i in range(1, len(frames)) if frames[i] != frames[i - 1] + 1), len(frames))
            self._ranges.append(FrameRange(frames[0], frames[last - 1]))
            frames = frames[last:]

    def size(self) -> int:
        return len(self._ranges)

    def minFrame(self) -> int:
        return min(self.toFrameList())

    def maxFrame(self) -> int:
        return max(self.toFrameList())

    def toFrameList(self) -> list[int]:
        return [frame for item in self._ranges for frame in item._frames()]

    def __iter__(self) -> Iterator[FrameRange]:
        return iter(list(self._ranges))

    def __str__(self) -> str:
        return " ".join(map(str, self._ranges))

    __repr__ = __str__


@offered()
class Layer:
    """Making one defines its channels for the session."""

    def __init__(self, name: str, channels: Iterable[str] | None = None) -> None:
        self._layer = name
        if channels is not None:
            if isinstance(channels, str):
                raise TypeError("the channels of a layer are a list")
            current_host().channels.define(name, list(channels))

    def name(self) -> str:
        return self._layer

    def channels(self) -> list[str]:
        return current_host().channels.of_layer(self._layer)

    def visible(self) -> bool:
        return True


@offered()
class Info:
    """A box of pixels: what Node.bbox gives. y up."""

    def __init__(self, x: float, y: float, w: float, h: float) -> None:
        self._x, self._y, self._w, self._h = x, y, w, h

    def x(self) -> float:
        return self._x

    def y(self) -> float:
        return self._y

    def w(self) -> float:
        return self._w

    def h(self) -> float:
        return self._h

    def __repr__(self) -> str:
        return f"<bbox {self._x} {self._y} {self._w} x {self._h}>"


@offered()
class OutputContext:
    def __init__(self) -> None:
        self._frame, self._view = float(current_host().frame), 0

    def frame(self) -> float:
        return self._frame

    def setFrame(self, frame: float) -> None:
        self._frame = float(frame)

    def view(self) -> int:
        return self._view


@offered(any_thread=True)
class GlobalsEnvironment:
    """nuke.env."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def has_key(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> list[str]:
        return list(self._values)

    def values(self) -> list[Any]:
        return list(self._values.values())

    def items(self) -> list[tuple[str, Any]]:
        return list(self._values.items())

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)


# What a fresh Nuke knows; other layers come from nuke.Layer, from add_layer in a script, and from files that are read.
_BUILT_IN = {
    "rgba": ["rgba.red", "rgba.green", "rgba.blue", "rgba.alpha"],
    "depth": ["depth.Z"],
    "forward": ["forward.u", "forward.v"],
    "backward": ["backward.u", "backward.v"],
    "mask": ["mask.a"],
    "motion": ["forward.u", "forward.v", "backward.u", "backward.v"],
    "rotopaint_mask": ["rotopaint_mask.a"],
    "disparityL": ["disparityL.x", "disparityL.y"],
    "disparityR": ["disparityR.x", "disparityR.y"],
    "deep": ["deep.front", "deep.back"],
    "mask_splinewarp": ["mask_splinewarp.a"],
    "mask_planartrack": ["mask_planartrack.a"],
}
_SHORT = {
    "rgb": ("rgba.red", "rgba.green", "rgba.blue"),
    "alpha": ("rgba.alpha",),
    "red": ("rgba.red",),
    "green": ("rgba.green",),
    "blue": ("rgba.blue",),
    "none": (),
    "black": (),
    "white": (),
}


class Channels:
    """The layers of a session. "all" expands to everything that is defined."""

    def __init__(self) -> None:
        self.layers: dict[str, list[str]] = {name: list(channels) for name, channels in _BUILT_IN.items()}
        self.defined: list[str] = []

    def define(self, layer: str, channels: Iterable[str]) -> None:
        known = self.layers.setdefault(layer, [])
        for channel in channels:
            full = channel if "." in channel else f"{layer}.{channel}"
            if full not in known:
                known.append(full)
        if layer not in _BUILT_IN and layer not in self.defined:
            self.defined.append(layer)

    def of_layer(self, layer: str) -> list[str]:
        return list(self.layers.get(layer, []))

    def names(self) -> list[str]:
        return list(dict.fromkeys(channel for channels in self.layers.values() for channel in channels))

    def check(self, name: str, where: str) -> None:
        """Raises RuntimeError for a layer or channel that is not defined."""
        if (
            name not in self.layers
            and name not in _SHORT
            and name not in ("all", "true", "false")
            and name not in self.names()
        ):
            raise RuntimeError(f"{where}: no layer or channel {name!r} is defined (nuke.Layer, or add_layer in text)")

    def expand(self, text: str) -> tuple[str, ...]:
        """Full channel names behind what a channel knob says."""
        found: list[str] = []
        words = text.split()
        for word in words:
            if word.startswith("-") or word in ("true", "false"):
                continue
            if word == "all":
                found += self.names()
            elif word in _SHORT:
                found += _SHORT[word]
            else:
                found += self.layers.get(word, [word])
        return tuple(dict.fromkeys(found))
