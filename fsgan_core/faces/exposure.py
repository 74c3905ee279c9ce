"""How bright a face is, and the stops that bring it to a usual level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from fsgan_core.contract.landmarks import EYE_L, EYE_R, FACE_OUTLINE, MOUTH_OUTER
from fsgan_core.plates.curve import REC709_LUMINANCE
from fsgan_core.runtime.arrays import AnyArray, Image, Points68

TARGET_FACE_LEVEL = 0.5  # display-like luminance of a face's median pixel in ordinary footage
_LUMINANCE_WEIGHTS = np.array(REC709_LUMINANCE)
_MAX_STOPS = 16.0  # stops, either way
_BISECTIONS = 14  # halve 32 stops to less than a hundredth
_MAX_SAMPLES = 400  # pixels per face
_GUESS_SAMPLES = 4096  # pixels of a whole frame that a first guess looks at, about
_GUESS_LEVEL = 0.4  # display-like luminance that a first guess brings the frame's median to
_ROUNDING = 0.02  # stops; more than what rounding changes
_USUAL_RANGE = 2.5  # stops; a frame that needs less is of usual brightness and stays as it is


class Encoder(Protocol):
    """A codec of `plates.colour`, as far as analysis needs it."""

    def encode(self, rgb: Image) -> Image:
        """Converts scene values to display-like ones, about 0..1."""
        ...


class CodecSource(Protocol):
    """A colour config of `plates.colour`, as far as analysis needs it."""

    def make_codec(self, space: str, exposure: float = 0.0) -> Encoder:
        """Makes the codec of a colour space; `exposure` in stops."""


def sample_skin(rgb: Image, landmarks: Points68) -> Image:
    """Picks some of the plate's own pixels inside the face's outline, without eyes and mouth.

    Args:
        rgb: (height, width, 3).
        landmarks: Array coordinates of `rgb`.

    Returns:
        float32 (n, 3); n is at most 400, and 0 when the face lies outside the picture.
    """
    height, width = rgb.shape[:2]
    outline = landmarks[list(FACE_OUTLINE)]
    low = np.clip(np.floor(outline.min(0)).astype(int), 0, (width - 1, height - 1))
    high = np.clip(np.ceil(outline.max(0)).astype(int) + 1, low + 1, (width, height))
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillPoly(mask, [np.round(outline - low).astype(np.int32)], 1)
    for hole in (landmarks[EYE_R], landmarks[EYE_L], landmarks[MOUTH_OUTER]):
        cv2.fillPoly(mask, [np.round(hole - low).astype(np.int32)], 0)
    inside = np.flatnonzero(mask)
    rows, columns = np.divmod(inside[:: max(1, len(inside) // _MAX_SAMPLES)][:_MAX_SAMPLES], mask.shape[1])
    pixels = rgb[rows + low[1], columns + low[0]]
    return np.asarray(pixels[np.isfinite(pixels).all(axis=1)], np.float32)


def measure_face_exposure(samples: Sequence[Image], config: CodecSource, space: str) -> float:
    """Measures the stops that bring a face to the usual level, TARGET_FACE_LEVEL.

    The level of the face is the median over frames of each frame's median pixel.

    Args:
        samples: Skin pixels of each frame, (n, 3), in `space`.
        config: Colour config.
        space: Colour space of the samples.

    Returns:
        Stops, to a hundredth; 0 when there are no samples or all are black.
    """
    medians = [_find_median_pixel(pixels) for pixels in samples if len(pixels)]
    medians = [pixel for pixel in medians if pixel is not None and pixel.max() > 0]
    if not medians:
        return 0.0
    return solve_exposure(np.array(medians, np.float32), config, space, TARGET_FACE_LEVEL)


def solve_exposure(pixels: AnyArray, config: CodecSource, space: str, level: float) -> float:
    """Finds the stops, to a hundredth, that bring the median luminance of `pixels` (n, 3) to `level` (display-like)."""
    low, high = -_MAX_STOPS, _MAX_STOPS
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _measure_level(pixels, config, space, middle) < level:
            low = middle
        else:
            high = middle
    return round((low + high) / 2, 2) + 0.0


def _measure_level(pixels: AnyArray, config: CodecSource, space: str, stops: float) -> float:
    """Measures the median luminance (display-like) of `pixels` (n, 3) after `stops`."""
    display = config.make_codec(space, stops).encode(pixels.reshape(1, -1, 3).astype(np.float32))
    return float(np.median(display.reshape(-1, 3) @ _LUMINANCE_WEIGHTS))


def guess_frame_exposure(rgb: Image, config: CodecSource, space: str) -> float:
    """Guesses the stops from a whole frame, before a face is found.

    Returns:
        0 for a frame of usual brightness, else the stops that bring its median to a usual level.
    """
    step = max(1, int(np.sqrt(rgb[..., 0].size / _GUESS_SAMPLES)))
    pixels = rgb[::step, ::step].reshape(-1, 3)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(pixels) or pixels.max() <= 0:
        return 0.0
    if _needs_no_more_than(_USUAL_RANGE, pixels, config, space):
        return 0.0
    stops = solve_exposure(pixels, config, space, _GUESS_LEVEL)
    return stops if abs(stops) > _USUAL_RANGE else 0.0


def _needs_no_more_than(stops: float, pixels: AnyArray, config: CodecSource, space: str) -> bool:
    """Whether less than `stops`, either way, bring the median of a frame to the usual level: two looks, not many."""
    within = stops - _ROUNDING
    return (
        _measure_level(pixels, config, space, -within) < _GUESS_LEVEL <= _measure_level(pixels, config, space, within)
    )


def _find_median_pixel(pixels: AnyArray) -> AnyArray | None:
    """Mean of the pixels of about median luminance, so that the channels stay together."""
    order = np.argsort(pixels @ _LUMINANCE_WEIGHTS)
    middle = order[len(order) * 2 // 5 : len(order) * 3 // 5 + 1]
    return np.asarray(pixels[middle].mean(axis=0)) if len(middle) else None
