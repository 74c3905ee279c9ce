"""Soft erosion of a face matte, as published with FSGAN: a wide cone blur with a solid core and a soft rim.

The published code divides the rim by the largest value in the whole batch, so a frame's edge depends on its neighbours,
and a batch without a face divides by zero. Here each matte is normalised by itself, and an empty one stays empty.
"""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.runtime.arrays import Matrix, Matte

EROSION_KERNEL = 21  # pixels of a 256-pixel crop, published
EROSION_THRESHOLD = 0.6  # published


def erode_softly(
    matte: Matte, kernel: int = EROSION_KERNEL, threshold: float = EROSION_THRESHOLD
) -> tuple[Matte, Matte]:
    """Erode a matte softly.

    Args:
        matte: The matte.
        kernel: Size of the cone in pixels, odd.
        threshold: Value of the blurred matte from which on a pixel belongs to the core.

    Returns:
        The soft matte: 1 in the core, elsewhere the blurred matte over its largest value there. The hard matte: 1 in
            the core, 0 elsewhere.
    """
    blurred = cv2.filter2D(np.asarray(matte, np.float32), cv2.CV_32F, make_cone(kernel), borderType=cv2.BORDER_CONSTANT)
    core = blurred >= threshold
    rim = np.where(core, 0.0, blurred)
    top = float(rim.max(initial=0.0))
    soft = np.where(core, 1.0, rim / top if top > 0 else 0.0)
    return soft.astype(np.float32), core.astype(np.float32)


def make_cone(size: int) -> Matrix:
    """Make the kernel of the cone blur: (size, size), largest distance from the middle minus distance, sum 1."""
    offset = np.arange(size) - size // 2
    distance = np.hypot(offset[:, None], offset[None, :])
    kernel = distance.max() - distance
    return np.asarray(kernel / kernel.sum(), np.float32)
