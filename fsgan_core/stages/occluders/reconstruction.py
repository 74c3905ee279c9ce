"""Grey-scale reconstruction: what of a matte hangs together with a seed."""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.runtime.arrays import Matte
from fsgan_core.stages.image_ops import slice_marked

DILATIONS = 8  # between two looks whether a reconstruction has ended


def reconstruct_by_dilation(seed: Matte, limit: Matte) -> Matte:
    """Spread a seed as far as a limit lets it: grey-scale reconstruction (Vincent 1993), over all eight neighbours.

    Args:
        seed: At most `limit`, everywhere.
        limit: What the result is nowhere above.

    >>> limit = np.array([[1.0, 0.5, 1.0, 0.0, 1.0]], np.float32)
    >>> reconstruct_by_dilation(np.array([[1.0, 0, 0, 0, 0]], np.float32), limit).tolist()
    [[1.0, 0.5, 0.5, 0.0, 0.0]]
    """
    # Where the seed is at its limit nothing changes any more, so only what lies around the rest is looked at.
    rows, columns = (slice(max(0, part.start - 1), part.stop + 1) for part in slice_marked(seed < limit))
    result, limit = seed.copy(), limit[rows, columns]
    kernel, grown = np.ones((3, 3), np.uint8), seed[rows, columns]
    while grown.size:
        before = grown
        for _ in range(DILATIONS):
            grown = np.minimum(cv2.dilate(grown, kernel), limit)
        if not (grown > before).any():
            break
    result[rows, columns] = grown
    return result
