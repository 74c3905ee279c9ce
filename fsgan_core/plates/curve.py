"""The curve between linear Rec.709 light and display-like values: that of sRGB, with a soft shoulder above.

The curve is applied to the largest component of a pixel (by magnitude). Up to the display value KNEE it is that of
sRGB. Above it, the sRGB value s becomes KNEE + SHOULDER_WIDTH * asinh((s - KNEE) / SHOULDER_WIDTH), which is continuous
up to the second derivative and maps linear 64 to 0.994. The other two components keep their ratio to the largest one in
linear light, so hues do not change. Negative values are mirrored. The curve is monotone along a ray from black and has
an exact inverse.

All functions except `apply_in_chunks` take and return float64 planes (3, n) and do not change their argument.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fsgan_core.runtime.arrays import ColourPlanes, Image

KNEE = 0.8
"""Display value up to which the curve is that of sRGB."""
SHOULDER_WIDTH = 0.034
"""Width of the shoulder (display): maps linear 64 to 0.994, where half a float32 step is 2e-6 of the value."""
SHOULDER_END = 64.0
"""Linear value above which the curve continues as a straight line over sRGB values, so that a small overshoot in
display stays a small factor in light (display 1.05 is linear 530, 1.2 is linear 5100)."""
LINEAR_LIMIT = 1e9
"""Brighter light than this (linear) is treated as this."""

REC709_LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of linear R, G and B in luminance (ITU-R BT.709)."""
LUMA_WEIGHTS = np.array(REC709_LUMINANCE, np.float32)
"""The same as float32, for display-like images: `image @ LUMA_WEIGHTS` is their luma."""

_CHUNK_PIXELS = 1 << 14  # pixels at a time: temporary arrays stay in the processor's cache
_TOE_LINEAR, _TOE_DISPLAY, _TOE_SLOPE = 0.0031308, 0.04045, 12.92  # IEC 61966-2-1


def apply_in_chunks(rgb: Image, *steps: Callable[[ColourPlanes], ColourPlanes]) -> None:
    """Applies functions on planes to a picture, in place and in chunks.

    Args:
        rgb: C-contiguous (..., 3).
        steps: Functions from planes to planes, in their order.
    """
    if not rgb.size:
        return
    pixels = rgb.reshape(-1, 1, 3)
    whole = cv2.split(pixels)
    for start in range(0, len(pixels), _CHUNK_PIXELS):
        chunk = [plane[start : start + _CHUNK_PIXELS, 0] for plane in whole]
        planes = np.array(chunk, np.float64)
        for step in steps:
            planes = step(planes)
        for old, new in zip(chunk, planes, strict=True):
            old[:] = new
    cv2.merge(whole, pixels)


def encode_srgb(linear: ColourPlanes) -> ColourPlanes:
    """Applies the curve of sRGB to linear planes, mirrored below 0 and continued above 1 (IEC 61966-2-1)."""
    size = np.abs(linear)
    curved = np.where(size <= _TOE_LINEAR, size * _TOE_SLOPE, _encode_power(np.maximum(size, _TOE_LINEAR)))
    return np.copysign(curved, linear, out=curved)


def decode_srgb(display: ColourPlanes) -> ColourPlanes:
    """Inverts `encode_srgb`."""
    size = np.abs(display)
    linear = np.where(size <= _TOE_DISPLAY, size / _TOE_SLOPE, _decode_power(size))
    return np.copysign(linear, display, out=linear)


def encode(linear: ColourPlanes) -> ColourPlanes:
    """Converts linear Rec.709 to display-like values."""
    top = _compute_peak(linear)
    bright = np.flatnonzero(top > _KNEE_LINEAR)
    if bright.size:
        scale, top = np.ones_like(top), top[bright]
        scale[bright] = _decode_power(_encode_shoulder(_encode_power(top))) / top
        linear = linear * scale
    return encode_srgb(linear)


def decode(display: ColourPlanes) -> ColourPlanes:
    """Inverts `encode`."""
    linear = decode_srgb(display)
    top = _compute_peak(display)
    bright = np.flatnonzero(top > KNEE)
    if bright.size:
        scale, top = np.ones_like(top), top[bright]
        scale[bright] = _decode_power(_decode_shoulder(top)) / _decode_power(top)
        linear *= scale
    return linear


def remove_shoulder(display: Image) -> Image:
    """Converts display-like values (..., 3) to the sRGB values of the same light: white becomes 1."""
    result = np.array(display, np.float32, order="C", copy=True)
    apply_in_chunks(result, decode, encode_srgb)
    return result


def add_shoulder(srgb: Image) -> Image:
    """Inverts `remove_shoulder`. What is multiplied or added to belongs in between: the shoulder's inverse explodes."""
    result = np.array(srgb, np.float32, order="C", copy=True)
    apply_in_chunks(result, decode_srgb, encode)
    return result


def _compute_peak(planes: ColourPlanes) -> ColourPlanes:
    """Gives the largest magnitude of the three components, (n,)."""
    size = np.abs(planes)
    result: ColourPlanes = np.maximum(np.maximum(size[0], size[1]), size[2])
    return result


def _encode_power(linear: ColourPlanes) -> ColourPlanes:
    """The curve of sRGB above its straight toe."""
    curved = np.log(linear)
    curved *= 1.0 / 2.4
    np.exp(curved, out=curved)
    curved *= 1.055
    curved -= 0.055
    return curved


def _decode_power(display: ColourPlanes) -> ColourPlanes:
    linear = display + 0.055
    linear *= 1.0 / 1.055
    np.log(linear, out=linear)
    linear *= 2.4
    return np.exp(linear, out=linear)


def _evaluate_scalar(function: Callable[[ColourPlanes], ColourPlanes], value: float) -> float:
    return float(function(np.array([value]))[0])


# Start of the straight line: sRGB value, display value, and slope (display over sRGB).
_SHOULDER_END_SRGB = _evaluate_scalar(_encode_power, SHOULDER_END)
_SHOULDER_END_DISPLAY = KNEE + SHOULDER_WIDTH * float(np.arcsinh((_SHOULDER_END_SRGB - KNEE) / SHOULDER_WIDTH))
_SHOULDER_END_SLOPE = 1.0 / float(np.hypot(1.0, (_SHOULDER_END_SRGB - KNEE) / SHOULDER_WIDTH))
_KNEE_LINEAR = _evaluate_scalar(_decode_power, KNEE)
SRGB_LIMIT = _evaluate_scalar(_encode_power, LINEAR_LIMIT)
"""sRGB value of LINEAR_LIMIT."""
DISPLAY_LIMIT = _SHOULDER_END_DISPLAY + _SHOULDER_END_SLOPE * (SRGB_LIMIT - _SHOULDER_END_SRGB)
"""Display value of LINEAR_LIMIT."""


def _encode_shoulder(curved: ColourPlanes) -> ColourPlanes:
    """Maps sRGB values above the knee to display; slope 1 and curvature 0 at the knee."""
    bent = KNEE + SHOULDER_WIDTH * np.arcsinh((curved - KNEE) / SHOULDER_WIDTH)
    return np.where(
        curved <= _SHOULDER_END_SRGB, bent, _SHOULDER_END_DISPLAY + _SHOULDER_END_SLOPE * (curved - _SHOULDER_END_SRGB)
    )


def _decode_shoulder(display: ColourPlanes) -> ColourPlanes:
    bent = KNEE + SHOULDER_WIDTH * np.sinh((np.minimum(display, _SHOULDER_END_DISPLAY) - KNEE) / SHOULDER_WIDTH)
    return np.where(
        display <= _SHOULDER_END_DISPLAY,
        bent,
        _SHOULDER_END_SRGB + (display - _SHOULDER_END_DISPLAY) / _SHOULDER_END_SLOPE,
    )
