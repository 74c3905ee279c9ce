"""The published soft erosion of a face matte (FSGAN): a wide cone blur, its core solid, its rim soft.

The published code divides the rim by the largest value in the whole batch, so that a frame's edge depends on its
neighbours and a batch without a face divides by zero; here each matte is normalised by itself, and an empty one stays
empty.
"""

from __future__ import annotations

import cv2
import numpy as np

EROSION_KERNEL = 21  # pixels at 256, published
EROSION_THRESHOLD = 0.6


def erode_softly(
    matte: np.ndarray, kernel: int = EROSION_KERNEL, threshold: float = EROSION_THRESHOLD
) -> tuple[np.ndarray, np.ndarray]:
    """The soft and the hard matte, float32 (height, width), of `matte` (height, width), 0..1.

    Hard: 1 where the blurred matte reaches `threshold`, else 0. Soft: 1 there, elsewhere the blurred matte divided by
    its largest value there. kernel: odd size of the cone in pixels.
    """
    blurred = cv2.filter2D(np.asarray(matte, np.float32), cv2.CV_32F, make_cone(kernel), borderType=cv2.BORDER_CONSTANT)
    core = blurred >= threshold
    rim = np.where(core, 0.0, blurred)
    top = float(rim.max(initial=0.0))
    soft = np.where(core, 1.0, rim / top if top > 0 else 0.0)
    return soft.astype(np.float32), core.astype(np.float32)


def make_cone(size: int) -> np.ndarray:
    """float32 (size, size), sum 1: largest distance from the middle minus distance."""
    offset = np.arange(size) - size // 2
    distance = np.hypot(offset[:, None], offset[None, :])
    kernel = distance.max() - distance
    return np.asarray(kernel / kernel.sum(), np.float32)
