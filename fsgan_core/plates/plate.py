"""A plate: one frame with its pixels, channel names, windows, pixel aspect and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fsgan_core.contract.errors import PlateError


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels in plate coordinates: x right, y down, as EXR counts. Upper left inclusive."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def intersect(self, other: Window) -> Window:
        """The common part; zero width or height when there is none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Window(x, y, max(0, min(self.right, other.right) - x), max(0, min(self.bottom, other.bottom) - y))

    @property
    def empty(self) -> bool:
        return self.width <= 0 or self.height <= 0

    def contains(self, other: Window) -> bool:
        return self.intersect(other) == other


@dataclass(frozen=True)
class TypedValue:
    """A metadata value of a type that plain Python does not tell apart.

    type: EXR's name for it ("timecode", "keycode", "rational", "m44f", "box2i", "floatvector", ...).
    value: a tuple of numbers or texts, row by row for a matrix; bytes for a type that is not known here.
    """

    type: str
    value: Any


@dataclass(frozen=True)
class Plate:
    """One frame.

    pixels: float32, (data_window.height, data_window.width, len(channels)), row 0 on top; values as in the
    file (scene-linear for EXR), unclamped. channels: full EXR names ("R", "A", "matte.face", ...).
    data_window and display_window: in the same pixel coordinates; either may stick out of the other.
    metadata: what the file said beyond the above; text, int and float as they are, everything else as Typed.
    formats: file type of each channel ("half", "float", "uint", ...), the same order as channels; empty =
    writer's choice. integers: exact values, uint32 (height, width), of the channels that an EXR keeps as
    "uint" (ids); `pixels` has them too, rounded to float32. They win on writing wherever the two agree.
    """

    pixels: np.ndarray
    channels: tuple[str, ...]
    data_window: Window
    display_window: Window
    pixel_aspect: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = ()
    integers: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (self.data_window.height, self.data_window.width, len(self.channels))
        if self.pixels.shape != expected:
            raise PlateError(f"plate pixels have shape {self.pixels.shape}, windows and channels say {expected}")
        for name, exact in self.integers.items():
            if exact.shape != expected[:2]:
                raise PlateError(f"the exact values of {name} have shape {exact.shape}, not {expected[:2]}")

    def find_channels(self, names: Sequence[str]) -> list[int]:
        """Positions of `names`. Raises PlateError that lists what is there."""
        missing = [name for name in names if name not in self.channels]
        if missing:
            raise PlateError(f"the plate has no channel {', '.join(missing)}; it has {', '.join(self.channels)}")
        return [self.channels.index(name) for name in names]

    def get(self, *names: str) -> np.ndarray:
        """float32 (height, width, len(names)); a copy."""
        return self.pixels[..., self.find_channels(names)]

    def get_matte(self, name: str) -> np.ndarray:
        """float32 (height, width) of one channel; zeros where the plate does not have it."""
        if name not in self.channels:
            return np.zeros(self.pixels.shape[:2], np.float32)
        return self.pixels[..., self.channels.index(name)]

    def crop(self, window: Window) -> Plate:
        """The same plate on another data window; zero where it has no pixels."""
        return replace(
            self,
            pixels=_reframe_array(self.pixels, self.data_window, window),
            data_window=window,
            integers={name: _reframe_array(exact, self.data_window, window) for name, exact in self.integers.items()},
        )

    def with_metadata(self, **values: Any) -> Plate:
        return replace(self, metadata={**self.metadata, **values})


def compute_slices(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Array slices (rows, columns) of `inner` in an array that covers `outer`."""
    return (slice(inner.y - outer.y, inner.bottom - outer.y), slice(inner.x - outer.x, inner.right - outer.x))


def _reframe_array(array: np.ndarray, old: Window, new: Window) -> np.ndarray:
    """`array`, which covers `old`, on `new`; zero where there was nothing."""
    moved = np.zeros((new.height, new.width, *array.shape[2:]), array.dtype)
    common = new.intersect(old)
    if not common.empty:
        moved[compute_slices(common, new)] = array[compute_slices(common, old)]
    return moved
