"""How visible a seam is: the step of colour across the matte's edge, beyond the plate's own step there."""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.runtime.arrays import AnyArray, Image8, Mask, Matte

__all__ = ["compute_edge_difference"]

INSIDE_SHARE = 0.9
"""Share of the highest matte from which a pixel counts as inside (the new face alone). Outside, the matte is 0; between
lies the soft edge, across which the step is taken."""
EDGE_SIGMA = 0.06
"""Deviation of the Gaussian that averages each side, as a share of the distance of the outer eye corners."""
MIN_EDGE_SIGMA = 1.5
"""Least deviation of that Gaussian, in pixels."""
_MIN_WEIGHT = 1e-3  # weight (0..1) below which a side is absent
_KERNEL_SIGMAS = 4.0  # deviations at which the Gaussian ends
_LINE_HALF_WIDTH = 1.0  # pixels; how far from the middle between both sides a pixel is still on the edge


def compute_edge_difference(result: Image8, target: Image8, matte: Matte, eye_distance: float) -> float:
    """Measures how much larger the step across the matte's edge is in the result than in the target.

    Inside and outside are local means on either side of each place on the edge, so grain does not count, nor does a
    jaw against a dark wall, where target and result step alike.

    Args:
        result: The picture with the new face.
        target: The picture that it was made from, of the same size.
        matte: The matte that was mixed with.
        eye_distance: Distance of the outer eye corners in pixels.

    Returns:
        Mean along the edge of max(0, CIEDE2000(inside, outside) of the result minus the same of the target). 1 is
        about what an eye can just tell side by side. NaN without an edge (no matte, or matte everywhere).
    """
    reach = max(MIN_EDGE_SIGMA, EDGE_SIGMA * eye_distance)
    is_inside, is_outside = matte >= INSIDE_SHARE * max(float(matte.max(initial=0.0)), 1e-3), matte <= 0
    if not is_inside.any() or not is_outside.any():
        return float("nan")
    part = _find_bounds(~is_outside, int(np.ceil(_KERNEL_SIGMAS * reach)))
    inside, outside = is_inside[part].astype(np.float32), is_outside[part].astype(np.float32)
    inside_weight, outside_weight = _blur(inside, reach), _blur(outside, reach)
    edge = (inside_weight > _MIN_WEIGHT) & (outside_weight > _MIN_WEIGHT) & _find_edge_line(inside, outside)
    if not edge.any():
        return float("nan")
    outside_colour = None  # of the plate: nothing changed there
    steps = []
    for picture in (result, target):
        lab = cv2.cvtColor(picture[part].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        if outside_colour is None:
            outside_colour = _blur(lab * outside[..., None], reach)[edge] / outside_weight[edge, None]
        inside_colour = _blur(lab * inside[..., None], reach)[edge] / inside_weight[edge, None]
        steps.append(_compute_ciede2000(inside_colour, outside_colour))
    return float(np.maximum(steps[0] - steps[1], 0).mean())


def _find_bounds(mask: Mask, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )


def _find_edge_line(inside: Matte, outside: Matte) -> Mask:
    """The pixels that lie as far from the inside as from the outside, to a pixel."""
    apart = [
        cv2.distanceTransform((side == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for side in (inside, outside)
    ]
    return np.asarray(np.abs(apart[0] - apart[1]) <= _LINE_HALF_WIDTH)


def _blur(picture: AnyArray, sigma: float) -> AnyArray:
    size = 2 * int(np.ceil(_KERNEL_SIGMAS * sigma)) + 1
    return cv2.GaussianBlur(picture, (size, size), sigma, borderType=cv2.BORDER_CONSTANT)


def _compute_ciede2000(one: AnyArray, other: AnyArray) -> AnyArray:
    from skimage.color import deltaE_ciede2000

    return np.asarray(deltaE_ciede2000(one.astype(np.float64), other.astype(np.float64)))
