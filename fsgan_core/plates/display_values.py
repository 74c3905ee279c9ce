"""The one invertible transform from a plate to display-like values and back.

    space -> linear Rec.709 with D65 white (rec709.py) -> exposure gain -> curve (curve.py) -> display-like RGB

The curve is that of sRGB up to 0.8 and has a soft shoulder above. Every step has an exact inverse.
"""

from __future__ import annotations

import numpy as np

from fsgan_core.plates import curve
from fsgan_core.plates.rec709 import Rec709Conversion
from fsgan_core.runtime.arrays import ColourPlanes, Image

SCENE_LIMIT = 65504.0
"""Scene value that replaces infinity and everything above it: the largest half float."""


class Codec:
    """Converts between a space and display-like values. Safe to use from several threads.

    Made by `ColourConfig.make_codec`.

    Attributes:
        space: Canonical name of the space.
        exposure: Stops added before the curve.
    """

    def __init__(self, space: str, exposure: float, way: Rec709Conversion, has_shoulder: bool = True) -> None:
        self._encode_curve = curve.encode if has_shoulder else curve.encode_srgb
        self._decode_curve = curve.decode if has_shoulder else curve.decode_srgb
        self._display_limit = curve.DISPLAY_LIMIT if has_shoulder else curve.SRGB_LIMIT
        self.space = space
        self.exposure = exposure
        self._conversion = way
        self._gain = 2.0**exposure

    def without_shoulder(self) -> Codec:
        """Gives the codec with the curve of sRGB alone: white becomes 1, and brighter light is not compressed."""
        return Codec(self.space, self.exposure, self._conversion, has_shoulder=False)

    def encode(self, rgb: Image) -> Image:
        """Converts pixels to display-like values.

        Linear 0 becomes 0, 0.18 becomes 0.46, 1.0 becomes 0.88 and 64 becomes 0.994 (after exposure); brighter light
        passes 1 slowly. Negative values stay negative. NaN becomes 0; values beyond the largest half float, and
        infinity, are limited to it.

        Args:
            rgb: (..., 3) in `space`.

        Returns:
            A new array of the same shape.
        """
        display = copy_rgb(rgb)
        _clamp_values(display, SCENE_LIMIT)
        self._conversion.apply_forward(display)
        _clamp_values(display, curve.LINEAR_LIMIT)  # a log space can turn large values into infinity
        curve.apply_in_chunks(display, self._conversion.to_rec709, self._apply_exposure, self._encode_curve)
        return display

    def decode(self, display: Image) -> Image:
        """Converts display-like values back to `space`: the inverse of `encode`.

        Finite and monotone for every value: above 1 light grows with the power 2.4, below 0 the curve is mirrored. NaN
        becomes 0.

        Args:
            display: (..., 3).

        Returns:
            A new array of the same shape.
        """
        rgb = copy_rgb(display)
        _clamp_values(rgb, self._display_limit)
        curve.apply_in_chunks(rgb, self._decode_curve, self._remove_exposure, self._conversion.from_rec709)
        self._conversion.apply_backward(rgb)
        return rgb

    def _apply_exposure(self, planes: ColourPlanes) -> ColourPlanes:
        planes = planes * self._gain
        return np.clip(planes, -curve.LINEAR_LIMIT, curve.LINEAR_LIMIT, out=planes)

    def _remove_exposure(self, planes: ColourPlanes) -> ColourPlanes:
        result: ColourPlanes = planes / self._gain
        return result


def copy_rgb(rgb: Image) -> Image:
    """Copies colours (..., 3) as float32, C-contiguous."""
    if rgb.shape[-1:] != (3,):
        raise ValueError(f"expected (..., 3) RGB, got shape {rgb.shape}")
    return np.array(rgb, np.float32, order="C", copy=True)


def _clamp_values(values: Image, limit: float) -> None:
    """Replaces NaN by 0 and limits all values to [-limit, limit], in place."""
    np.copyto(values, np.float32(0.0), where=np.isnan(values))
    np.clip(values, -limit, limit, out=values)
