"""Choices over the frames of a clip: the cheapest one, and one that fades."""

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


def find_cheapest_path(cost: Matrix, switch: float) -> IndexArray:
    """Find the item of each row of cost (frames, items), so that costs and changes of item are least (Viterbi 1967).

    Args:
        cost: Of each item in each frame.
        switch: Cost of a change.
    """
    total = cost[0].copy()
    came_from = np.zeros(cost.shape, int)
    for t in range(1, len(cost)):
        best = int(np.argmin(total))
        changes = total[best] + switch < total
        came_from[t] = np.where(changes, best, np.arange(len(total)))
        total = np.minimum(total, total[best] + switch) + cost[t]
    path = np.empty(len(cost), int)
    path[-1] = int(np.argmin(total))
    for t in range(len(cost) - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path
