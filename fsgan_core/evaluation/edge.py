"""What a seam is worth: the step of colour across the matte's edge, beyond the one that the plate has there itself."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["compute_edge_difference"]

INSIDE_SHARE = 0.9
"""From this share of the highest matte on a pixel counts as inside: the new face alone. Outside the matte is 0; what
lies between is the soft edge, across which the step is taken."""
EDGE_SIGMA = 0.06
"""Deviation of the Gaussian that each side is averaged with, over the distance of the outer eye corners."""
MIN_EDGE_SIGMA = 1.5
_MIN_WEIGHT = 1e-3  # weight of a side below which it is not there
_KERNEL_SIGMAS = 4.0  # where the Gaussian ends, in deviations


def compute_edge_difference(result: np.ndarray, target: np.ndarray, matte: np.ndarray, eye_distance: float) -> float:
    """How much larger the step across the matte's edge is in the result than in the target: mean along the edge of
    max(0, CIEDE2000(inside, outside) of the result - the same of the target).

    result, target: uint8 (h, w, 3), sRGB. matte: float32 (h, w), 0..1, what was mixed by. eyes: distance of the outer
    eye corners in pixels. Inside and outside are local means on either side of each place on the edge, so grain says
    nothing, and a jaw against a dark wall, where target and result step alike, counts for nothing. 1 is about what an
    eye can just tell side by side. NaN without an edge (no matte, or nothing but matte).
    """
    reach = max(MIN_EDGE_SIGMA, EDGE_SIGMA * eye_distance)
    inside, outside = matte >= INSIDE_SHARE * max(float(matte.max(initial=0.0)), 1e-3), matte <= 0
    if not inside.any() or not outside.any():
        return float("nan")
    part = _find_bounds(~outside, int(np.ceil(_KERNEL_SIGMAS * reach)))
    inside, outside = inside[part].astype(np.float32), outside[part].astype(np.float32)
    within, without = _blur(inside, reach), _blur(outside, reach)
    edge = (within > _MIN_WEIGHT) & (without > _MIN_WEIGHT) & _find_edge_line(inside, outside)
    if not edge.any():
        return float("nan")
    beyond = None
    steps = []
    for picture in (result, target):
        lab = cv2.cvtColor(picture[part].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        if beyond is None:
            beyond = _blur(lab * outside[..., None], reach)[edge] / without[edge, None]
        steps.append(_compute_ciede2000(_blur(lab * inside[..., None], reach)[edge] / within[edge, None], beyond))
    return float(np.maximum(steps[0] - steps[1], 0).mean())


def _find_bounds(there: np.ndarray, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )


def _find_edge_line(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """bool (h, w): the pixels that lie as far from the inside as from the outside, to a pixel."""
    apart = [
        cv2.distanceTransform((side == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for side in (inside, outside)
    ]
    return np.asarray(np.abs(apart[0] - apart[1]) <= 1.0)


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    size = 2 * int(np.ceil(_KERNEL_SIGMAS * sigma)) + 1
    return cv2.GaussianBlur(picture, (size, size), sigma, borderType=cv2.BORDER_CONSTANT)


def _compute_ciede2000(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    from skimage.color import deltaE_ciede2000

    return np.asarray(deltaE_ciede2000(one.astype(np.float64), other.astype(np.float64)))
