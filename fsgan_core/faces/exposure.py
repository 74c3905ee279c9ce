"""How bright a face is, and the stops that bring it to a usual level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from fsgan_core.contract.landmarks import EYE_L, EYE_R, FACE_OUTLINE, MOUTH_OUTER
from fsgan_core.plates.curve import REC709_LUMINANCE

TARGET_FACE_LEVEL = 0.5  # display-like luminance of a face's median pixel in ordinary footage
_LUMINANCE_WEIGHTS = np.array(REC709_LUMINANCE)
_MAX_STOPS = 16.0  # stops
_MAX_SAMPLES = 400


class Encoder(Protocol):
    """A codec of plates.colour: to display-like values."""

    def encode(self, rgb: np.ndarray) -> np.ndarray: ...


class CodecSource(Protocol):
    """A colour config of plates.colour."""

    def make_codec(self, space: str, exposure: float = 0.0) -> Encoder: ...


def sample_skin(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """float32 (n, 3): some of the plate's own pixel values inside the face's outline, without eyes and mouth; n is
    at most 400, 0 when the face lies outside. rgb (height, width, 3); landmarks (68, 2) in array coordinates."""
    height, width = rgb.shape[:2]
    outline = landmarks[list(FACE_OUTLINE)]
    low = np.clip(np.floor(outline.min(0)).astype(int), 0, (width - 1, height - 1))
    high = np.clip(np.ceil(outline.max(0)).astype(int) + 1, low + 1, (width, height))
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillPoly(mask, [np.round(outline - low).astype(np.int32)], 1)
    for hole in (landmarks[EYE_R], landmarks[EYE_L], landmarks[MOUTH_OUTER]):
        cv2.fillPoly(mask, [np.round(hole - low).astype(np.int32)], 0)
    pixels = rgb[low[1] : high[1], low[0] : high[0]][mask > 0]
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    return np.asarray(pixels[:: max(1, len(pixels) // _MAX_SAMPLES)][:_MAX_SAMPLES], np.float32)


def measure_face_exposure(samples: Sequence[np.ndarray], config: CodecSource, space: str) -> float:
    """Stops, to a hundredth, that bring the median over frames of the samples' median luminance to USUAL; 0 when
    there are no samples or nothing but black. samples: (n, 3) each, in `space`."""
    medians = [_find_median_pixel(pixels) for pixels in samples if len(pixels)]
    medians = [pixel for pixel in medians if pixel is not None and pixel.max() > 0]
    if not medians:
        return 0.0
    return solve_exposure(np.array(medians, np.float32), config, space, TARGET_FACE_LEVEL)


def solve_exposure(pixels: np.ndarray, config: CodecSource, space: str, level: float) -> float:
    """Stops that bring the median luminance of `pixels` (n, 3) to the display-like `level`."""
    low, high = -_MAX_STOPS, _MAX_STOPS
    for _ in range(14):
        middle = (low + high) / 2
        display = config.make_codec(space, middle).encode(pixels.reshape(1, -1, 3).astype(np.float32))
        if float(np.median(display.reshape(-1, 3) @ _LUMINANCE_WEIGHTS)) < level:
            low = middle
        else:
            high = middle
    return round((low + high) / 2, 2) + 0.0


def guess_frame_exposure(rgb: np.ndarray, config: CodecSource, space: str) -> float:
    """A first guess from a whole frame, before a face is known: 0 for a frame of usual brightness, else what brings
    its middle to a usual level."""
    step = max(1, int(np.sqrt(rgb[..., 0].size / 4096)))
    pixels = rgb[::step, ::step].reshape(-1, 3)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(pixels) or pixels.max() <= 0:
        return 0.0
    stops = solve_exposure(pixels, config, space, 0.4)
    return stops if abs(stops) > 2.5 else 0.0


def _find_median_pixel(pixels: np.ndarray) -> np.ndarray | None:
    """The pixel of median luminance, so that channels stay together."""
    order = np.argsort(pixels @ _LUMINANCE_WEIGHTS)
    middle = order[len(order) * 2 // 5 : len(order) * 3 // 5 + 1]
    return np.asarray(pixels[middle].mean(axis=0)) if len(middle) else None
