"""A plate: one frame with its pixels, channel names, windows, pixel aspect and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB
from fsgan_core.runtime.arrays import AnyArray, Image, IntegerPlane, Plane


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels in plate coordinates, as in EXR: x right, y down.

    Attributes:
        x: First column.
        y: First row.
        width: Number of columns.
        height: Number of rows.

    >>> Window(0, 0, 4, 4).intersect(Window(2, 1, 9, 9))
    Window(x=2, y=1, width=2, height=3)
    """

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """Last column + 1."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """Last row + 1."""
        return self.y + self.height

    def intersect(self, other: Window) -> Window:
        """Computes the common part; its width or height is 0 if there is none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Window(x, y, max(0, min(self.right, other.right) - x), max(0, min(self.bottom, other.bottom) - y))

    @property
    def empty(self) -> bool:
        """Whether it has no pixels."""
        return self.width <= 0 or self.height <= 0

    def contains(self, other: Window) -> bool:
        """Whether all of `other` is inside."""
        return self.intersect(other) == other


@dataclass(frozen=True)
class TypedValue:
    """A metadata value with its EXR type, for types that plain Python does not distinguish.

    Attributes:
        type: EXR's name of the type ("timecode", "keycode", "rational", "m44f", "box2i", "floatvector", ...).
        value: Tuple of numbers or texts, row by row for a matrix; bytes for an unknown type.
    """

    type: str
    value: Any


@dataclass(frozen=True)
class Plate:
    """One frame.

    Attributes:
        pixels: (data_window.height, data_window.width, len(channels)); values as in the file (scene-linear for EXR).
        channels: Full EXR names ("R", "A", "matte.face", ...).
        data_window: Where the pixels are.
        display_window: The format, in the same coordinates. Either window may extend beyond the other.
        pixel_aspect: Width of a pixel divided by its height.
        metadata: All other attributes of the file: text, int and float as they are, others as TypedValue.
        formats: Type of each channel in the file ("half", "float", "uint", ...), in the order of `channels`. Empty lets
            the writer choose.
        integers: Exact values of channels that an EXR keeps as "uint" (ids), by name. `pixels` has them rounded to
            float32. They are written wherever `pixels` still has the rounded value.
    """

    pixels: Image
    channels: tuple[str, ...]
    data_window: Window
    display_window: Window
    pixel_aspect: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = ()
    integers: Mapping[str, IntegerPlane] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (self.data_window.height, self.data_window.width, len(self.channels))
        if self.pixels.shape != expected:
            raise PlateError(f"plate pixels have shape {self.pixels.shape}, but windows and channels need {expected}")
        for name, exact in self.integers.items():
            if exact.shape != expected[:2]:
                raise PlateError(f"the exact values of {name} have shape {exact.shape}, not {expected[:2]}")

    def find_channels(self, names: Sequence[str]) -> list[int]:
        """Finds the positions of channels. Raises PlateError, which lists the channels, if one is missing."""
        missing = [name for name in names if name not in self.channels]
        if missing:
            raise PlateError(f"the plate has no channel {', '.join(missing)}; it has {', '.join(self.channels)}")
        return [self.channels.index(name) for name in names]

    def get(self, *names: str, window: Window | None = None) -> Image:
        """Copies channels, in the order of `names`, of a part of the data window. Raises PlateError if one is missing.

        Args:
            names: The channels.
            window: The part; all of it if None.
        """
        self.find_channels(names)
        return self.get_known(*names, window=window)

    def get_known(self, *names: str, window: Window | None = None) -> Image:
        """Copies channels as `get` does; one that the plate does not have is 0."""
        pixels = self.pixels if window is None else self.pixels[compute_slices(window, self.data_window)]
        pairs = [(self.channels.index(name), at) for at, name in enumerate(names) if name in self.channels]
        copied = (np.empty if len(pairs) == len(names) else np.zeros)((*pixels.shape[:2], len(names)), np.float32)
        if copied.size and pairs:  # OpenCV refuses arrays without pixels
            cv2.mixChannels([pixels], [copied], [number for pair in pairs for number in pair])
        return copied

    def get_matte(self, name: str) -> Plane:
        """Copies one channel; zeros if the plate does not have it."""
        if name not in self.channels:
            return np.zeros(self.pixels.shape[:2], np.float32)
        return np.ascontiguousarray(self.pixels[..., self.channels.index(name)])

    def crop(self, window: Window) -> Plate:
        """Puts the plate on another data window; pixels that it does not have are 0."""
        return replace(
            self,
            pixels=_reframe_array(self.pixels, self.data_window, window),
            data_window=window,
            integers={name: _reframe_array(exact, self.data_window, window) for name, exact in self.integers.items()},
        )

    def with_metadata(self, **values: Any) -> Plate:
        """Copies the plate with added or changed metadata; the pixels are shared."""
        return replace(self, metadata={**self.metadata, **values})


def compute_slices(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Computes the (rows, columns) of window `inner` in an array that covers `outer`.

    >>> compute_slices(Window(2, 3, 4, 5), Window(1, 1, 10, 10))
    (slice(2, 7, None), slice(1, 5, None))
    """
    return (slice(inner.y - outer.y, inner.bottom - outer.y), slice(inner.x - outer.x, inner.right - outer.x))


def _reframe_array(array: AnyArray, old: Window, new: Window) -> AnyArray:
    """Moves an array from window `old` to `new`; new pixels are 0."""
    moved = np.zeros((new.height, new.width, *array.shape[2:]), array.dtype)
    common = new.intersect(old)
    if not common.empty:
        moved[compute_slices(common, new)] = array[compute_slices(common, old)]
    return moved


def count_bad_pixels(plate: Plate, window: Window) -> int:
    """Counts the pixels of a window in which red, green or blue is NaN or infinite."""
    part = plate.pixels[compute_slices(window.intersect(plate.data_window), plate.data_window)]
    return int(np.count_nonzero(~np.isfinite(part[..., plate.find_channels(RGB)]).all(axis=-1)))
