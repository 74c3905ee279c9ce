"""Smoothing of weights over the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fsgan_core.runtime.arrays import IndexArray, Matrix, Vector


def smooth_weights(weights: Matrix, frames: Sequence[int] | IndexArray | Vector, fade_frames: int) -> Matrix:
    """Average weights over neighbouring frames with a tent filter, so that what they select fades in and out.

    Args:
        weights: (frames, items).
        frames: Frame numbers; gaps count.
        fade_frames: Frames on either side that have a share.

    >>> smooth_weights(np.array([[0.0], [1.0], [0.0]]), [1, 2, 3], 1).ravel().round(3).tolist()
    [0.333, 0.5, 0.333]
    """
    numbers = np.asarray(frames)
    kernel = np.clip(1 - np.abs(numbers[:, None] - numbers[None]) / (fade_frames + 1), 0, None)
    return np.asarray(kernel @ weights / kernel.sum(1, keepdims=True))
