"""The curve between linear Rec.709 light and display-like values: sRGB's, with a soft shoulder instead of a limit.

The curve works on a pixel's largest component (by magnitude). Up to KNEE of the display it is sRGB's; above, the sRGB
value s becomes KNEE + SHOULDER asinh((s - KNEE) / SHOULDER), continuous up to the second derivative, which brings
linear 64 to 0.994. The other two components keep their ratio to the largest one in linear light, so hues hold.
Negative values run through the curve mirrored. Everything is monotone (along a ray from black) and has an exact
inverse.

All functions but `in_chunks` take and return float64 planes (3, n) and leave their argument alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

KNEE = 0.8
"""Display value up to which the curve is sRGB's."""
SHOULDER_WIDTH = 0.034
"""Width of the shoulder (display): linear 64 comes to 0.994, where half a float32 step is 2e-6 of the value."""
SHOULDER_END = 64.0
"""Linear value above which the curve goes on as a straight line over sRGB's, so that a small overshoot in display
stays a small factor in light (display 1.05 is linear 530, 1.2 is linear 5100)."""
LINEAR_LIMIT = 1e9
"""Larger light than this is not told apart."""

REC709_LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Shares of linear R, G and B in luminance (ITU-R BT.709)."""
LUMA_WEIGHTS = np.array(REC709_LUMINANCE, np.float32)
"""The same as float32, for display-like images: `image @ LUMA_WEIGHTS` is their luma."""

_CHUNK_PIXELS = 1 << 13  # pixels at a time: temporary arrays stay in the processor's cache
_TOE_LINEAR, _TOE_DISPLAY, _TOE_SLOPE = 0.0031308, 0.04045, 12.92  # IEC 61966-2-1


def apply_in_chunks(rgb: np.ndarray, *steps: Callable[[np.ndarray], np.ndarray]) -> None:
    """Run steps on planes of a C-contiguous float32 (..., 3) picture, in place."""
    pixels = rgb.reshape(-1, 3)
    for start in range(0, len(pixels), _CHUNK_PIXELS):
        planes = pixels[start : start + _CHUNK_PIXELS].T.astype(np.float64, order="C")
        for step in steps:
            planes = step(planes)
        pixels[start : start + _CHUNK_PIXELS] = planes.T


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """sRGB's curve from linear to display, mirrored below 0 and continued above 1."""
    size = np.abs(linear)
    curved = _encode_power(np.maximum(size, _TOE_LINEAR))
    np.multiply(size, _TOE_SLOPE, out=curved, where=size <= _TOE_LINEAR)
    return np.copysign(curved, linear, out=curved)


def decode_srgb(display: np.ndarray) -> np.ndarray:
    size = np.abs(display)
    curved = _decode_power(size)
    np.divide(size, _TOE_SLOPE, out=curved, where=size <= _TOE_DISPLAY)
    return np.copysign(curved, display, out=curved)


def encode(linear: np.ndarray) -> np.ndarray:
    """From linear Rec.709 to display."""
    top = _compute_peak(linear)
    bright = np.flatnonzero(top > _KNEE_LINEAR)
    if bright.size:
        scale, top = np.ones_like(top), top[bright]
        scale[bright] = _decode_power(_encode_shoulder(_encode_power(top))) / top
        linear = linear * scale
    return encode_srgb(linear)


def decode(display: np.ndarray) -> np.ndarray:
    """Inverse of `encode`."""
    linear = decode_srgb(display)
    top = _compute_peak(display)
    bright = np.flatnonzero(top > KNEE)
    if bright.size:
        scale, top = np.ones_like(top), top[bright]
        scale[bright] = _decode_power(_decode_shoulder(top)) / _decode_power(top)
        linear *= scale
    return linear


def _compute_peak(planes: np.ndarray) -> np.ndarray:
    """(n,) largest magnitude among the three components."""
    size = np.abs(planes)
    return np.maximum(np.maximum(size[0], size[1]), size[2])


def _encode_power(linear: np.ndarray) -> np.ndarray:
    """sRGB's curve above its straight toe."""
    curved = np.log(linear)
    curved *= 1.0 / 2.4
    np.exp(curved, out=curved)
    curved *= 1.055
    curved -= 0.055
    return curved


def _decode_power(display: np.ndarray) -> np.ndarray:
    linear = display + 0.055
    linear *= 1.0 / 1.055
    np.log(linear, out=linear)
    linear *= 2.4
    return np.exp(linear, out=linear)


def _evaluate_scalar(function: Callable[[np.ndarray], np.ndarray], value: float) -> float:
    return float(function(np.array([value]))[0])


# Where the straight line begins: sRGB's value, the curve's value, and its slope over sRGB's value.
_SHOULDER_END_SRGB = _evaluate_scalar(_encode_power, SHOULDER_END)
_SHOULDER_END_DISPLAY = KNEE + SHOULDER_WIDTH * float(np.arcsinh((_SHOULDER_END_SRGB - KNEE) / SHOULDER_WIDTH))
_SHOULDER_END_SLOPE = 1.0 / float(np.hypot(1.0, (_SHOULDER_END_SRGB - KNEE) / SHOULDER_WIDTH))
_KNEE_LINEAR = _evaluate_scalar(_decode_power, KNEE)
DISPLAY_LIMIT = _SHOULDER_END_DISPLAY + _SHOULDER_END_SLOPE * (
    _evaluate_scalar(_encode_power, LINEAR_LIMIT) - _SHOULDER_END_SRGB
)
"""What `encode` makes of LINEAR_LIMIT."""


def _encode_shoulder(curved: np.ndarray) -> np.ndarray:
    """Display of sRGB values above the knee; slope 1 and curvature 0 at the knee."""
    bent = KNEE + SHOULDER_WIDTH * np.arcsinh((curved - KNEE) / SHOULDER_WIDTH)
    return np.where(
        curved <= _SHOULDER_END_SRGB, bent, _SHOULDER_END_DISPLAY + _SHOULDER_END_SLOPE * (curved - _SHOULDER_END_SRGB)
    )


def _decode_shoulder(display: np.ndarray) -> np.ndarray:
    bent = KNEE + SHOULDER_WIDTH * np.sinh((np.minimum(display, _SHOULDER_END_DISPLAY) - KNEE) / SHOULDER_WIDTH)
    return np.where(
        display <= _SHOULDER_END_DISPLAY,
        bent,
        _SHOULDER_END_SRGB + (display - _SHOULDER_END_DISPLAY) / _SHOULDER_END_SLOPE,
    )
