"""A plate as a person would see it: square pixels, display-like values.

Only the parts that somebody looks at are converted, after they are reduced to the size that is needed. So the cost
hardly depends on the size of the plate.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fsgan_core.faces.exposure import Encoder
from fsgan_core.faces.geometry import Box
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import AnyArray, Image, Image8, Matrix

_OVERSAMPLING = 3.0  # pixels that are read for each pixel of a reduced view, along an axis


class DisplayPicture:
    """A plate as a person would see it. Points of the picture are in square pixels of the plate's array.

    Attributes:
        rgb: The plate's own pixels, float32 (height, width, 3).
        data_window: Where `rgb` lies in the plate.
        pixel_aspect: Width of a plate's pixel over its height.
        width: Of the picture, in square pixels.
        height: Of the picture, in square pixels.
    """

    def __init__(
        self, rgb: Image, data_window: Window, pixel_aspect: float, convert: Callable[[AnyArray], Image8]
    ) -> None:
        """Takes the pixels of a plate and how they are converted to display-like 8 bits."""
        self.rgb = rgb
        self.data_window = data_window
        self.pixel_aspect = pixel_aspect
        self.height = rgb.shape[0]
        self.width = max(1, round(rgb.shape[1] * pixel_aspect))
        self._convert = convert
        self._across = self.width / rgb.shape[1]

    def view(self, box: Box | None = None, scale: float = 1.0) -> tuple[Image8, Matrix]:
        """Makes a part of the picture.

        Args:
            box: The part, clipped to the picture; None is all of it.
            scale: Size of the result over that of the picture, at most 1.

        Returns:
            RGB, and the affine map (2, 3) from its pixels to those of the picture.
        """
        rows, columns = self.rgb.shape[:2]
        x, y, width, height = box or (-0.5, -0.5, self.width, self.height)
        left, right = _clip_range(x / self._across, (x + width) / self._across, columns)
        top, bottom = _clip_range(y, y + height, rows)
        step = max(1, int(1 / (_OVERSAMPLING * scale)))
        part: AnyArray = np.ascontiguousarray(self.rgb[top:bottom:step, left:right:step])
        whole = (part.shape[1], part.shape[0])
        size = (max(1, round(whole[0] * step * self._across * scale)), max(1, round(whole[1] * step * scale)))
        if size != whole:
            is_smaller = size[0] * size[1] < whole[0] * whole[1]
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR)
        pixels = self._convert(part)
        # From pixels of the result to those of the thinned part, of the array, and to square pixels.
        ratio, scales = np.array(whole) / size, np.array([self._across, 1.0])
        first = np.array([left, top]) + step * (0.5 * ratio - 0.5)
        shift = (first + 0.5) * scales - 0.5
        return pixels, np.array([[step * ratio[0] * scales[0], 0.0, shift[0]], [0.0, step * ratio[1], shift[1]]])

    def view_pixels(self, count: float) -> tuple[Image8, Matrix]:
        """Makes the whole picture with about `count` pixels at most; see `view`."""
        return self.view(scale=min(1.0, float(np.sqrt(count / (self.width * self.height)))))

    def to_plate(self, points: AnyArray) -> AnyArray:
        """Maps points (..., 2), or vertices (..., 3), of the picture to plate coordinates."""
        result: AnyArray = self.to_array(points)
        result[..., :2] += (self.data_window.x, self.data_window.y)
        return result

    def to_array(self, points: AnyArray) -> AnyArray:
        """Maps points (..., 2), or vertices (..., 3), of the picture to pixels of the plate's array."""
        result = np.array(points, np.float64)
        if self._across != 1.0:
            result[..., 0] = (result[..., 0] + 0.5) / self._across - 0.5
        return result


def make_display_picture(plate: Plate, codec: Encoder) -> DisplayPicture:
    """Makes the picture of a plate that analysis looks at.

    Raises:
        PlateError: The plate has no R, G and B.
    """

    def convert(rgb: AnyArray) -> Image8:
        return np.asarray(np.round(np.clip(codec.encode(rgb), 0.0, 1.0) * 255.0).astype(np.uint8))

    first, second, third = plate.find_channels(("R", "G", "B"))
    in_a_row = (first + 1, first + 2) == (second, third)  # a view is enough, the frame need not be copied
    rgb = plate.pixels[..., first : first + 3] if in_a_row else plate.get("R", "G", "B")
    return DisplayPicture(rgb, plate.data_window, plate.pixel_aspect, convert)


def wrap_picture(pixels: AnyArray) -> DisplayPicture:
    """Wraps an RGB picture that is display-like already."""
    return DisplayPicture(pixels, Window(0, 0, pixels.shape[1], pixels.shape[0]), 1.0, lambda part: part)


def _clip_range(low: float, high: float, count: int) -> tuple[int, int]:
    first = int(np.clip(np.floor(low), 0, count - 1))
    return first, int(np.clip(np.ceil(high) + 1, first + 1, count))
