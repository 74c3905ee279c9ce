"""Measures one frame, or three in a row, as plain functions on arrays.

Identity, SSIM, Euler angles and landmarks follow the paper's protocol (FSGAN, arXiv 1908.05932, section 5), with dlib's
face descriptor. Flicker, sharpness and the pixels changed outside the matte are what a compositor asks beyond it. Gaze,
lids, lips, light and tone are in `mesh_metrics`.

Pictures are uint8 RGB (height, width, 3), display-referred sRGB. Landmarks are float64 (68, 2) in array pixels, x then
y, the centre of the upper left pixel at (0, 0). A metric that cannot be measured (no face) is NaN; means leave NaN out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROWS, CHIN, OUTER_EYE_CORNERS
from fsgan_core.faces.identity import compare_descriptors
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Mask, Plane, Points, Points68, Vector

__all__ = [
    "compare_sharpness",
    "compute_euler_error",
    "compute_face_region",
    "compute_flicker",
    "compute_identity_distance",
    "compute_landmark_error",
    "compute_luma",
    "compute_ssim",
    "compute_symmetric_ratio",
    "count_changed_outside",
    "nanmean",
]
MAX_SOURCE_FRAMES = 40
"""Source frames that an identity is compared with, at most."""
SSIM_SIDE = 256
"""Side in pixels of the face crop for SSIM."""
SSIM_MARGIN = 1.2
"""The crop's side over the longer side of the landmarks' box."""
SSIM_WINDOW = 7
"""Side in pixels of a window."""
_SSIM_MEANS, _SSIM_VARIANCES = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # the publication's constants
_SSIM_COVARIANCE = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)  # of a sample
_SSIM_MIDDLE = np.float32(127.5)
SHARPNESS_PATCHES = 12
"""Squares across a face that sharpness is compared in."""
MIN_PATCH_SIDE = 3.0
"""Side of such a square in pixels, at least."""
_FLAT_ENERGY = 0.5  # squared steps of 255; less than rounding to 8 bits leaves in a Laplacian, keeps ratios finite
FOREHEAD_SHARE = 0.25
"""How far the face region reaches above the brows, over the distance from chin to brows."""
OUTSIDE_MARGIN = 0.15
"""Without a matte, the face region grown by this share of its size is what may have changed."""
_MIN_EYE_DISTANCE = 1e-6  # pixels; keeps relative distances finite


def compute_luma(rgb8: Image8) -> Plane:
    """Computes the Rec. 709 luma of 8-bit sRGB values, float32 (height, width), 0..255."""
    return rgb8.astype(np.float32) @ LUMA_WEIGHTS


def compute_face_hull(landmarks: Points68, margin: float = 0.0) -> Points:
    """Computes the hull of the landmarks, extended over part of the forehead.

    Args:
        landmarks: Array pixels.
        margin: Share of its size by which the hull is grown about its centre.

    Returns:
        float64 (n, 2), array pixels.
    """
    brows, chin = landmarks[BROWS], landmarks[CHIN]
    points = np.concatenate([landmarks, brows + (brows.mean(axis=0) - chin) * FOREHEAD_SHARE])
    centre = points.mean(axis=0)
    grown = (points - centre) * (1.0 + margin) + centre
    return np.asarray(cv2.convexHull(grown.astype(np.float32))[:, 0], np.float64)


def compute_face_region(landmarks: Points68, shape: tuple[int, int], margin: float = 0.0) -> Mask:
    """Fills the hull of `compute_face_hull` in a picture of `shape` (height, width)."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(compute_face_hull(landmarks, margin)).astype(np.int32), 1)
    return mask.astype(bool)


def compute_identity_distance(descriptor: Descriptor, sources: Sequence[Descriptor]) -> float:
    """Computes the Euclidean distance to the nearest of the sources' descriptors; NaN without any.

    Below 0.6 dlib calls two pictures the same person.
    """
    return min((compare_descriptors(descriptor, source) for source in sources), default=float("nan"))


def compute_euler_error(result: Sequence[float], target: Sequence[float]) -> float:
    """Computes the mean absolute difference of yaw, pitch and roll, in degrees.

    >>> compute_euler_error((10, 0, 179), (4, 0, -179))
    2.6666666666666665
    """
    difference = (np.asarray(result) - np.asarray(target) + 180.0) % 360.0 - 180.0
    return float(np.abs(difference).mean())


def compute_landmark_error(result: Points68, target: Points68, pixel_aspect: float = 1.0) -> float:
    """Computes the mean distance of the 68 points over the distance of the target's outer eye corners.

    Returns:
        0.01 is one percent.
    """
    square = np.array([pixel_aspect, 1.0])
    right, left = OUTER_EYE_CORNERS
    eyes = float(np.linalg.norm((target[right] - target[left]) * square))
    return float(np.linalg.norm((result - target) * square, axis=1).mean() / max(eyes, _MIN_EYE_DISTANCE))


def compute_flicker(before: Plane, now: Plane, after: Plane, region: Mask) -> float:
    """Computes the mean of |before - 2 now + after| inside `region`, in the unit of the pictures; NaN if it is empty.

    >>> steady, flash = np.zeros((1, 2)), np.full((1, 2), 3.0)
    >>> compute_flicker(steady, flash, steady, np.array([[True, False]]))
    6.0
    """
    if not region.any():
        return float("nan")
    return float(np.abs(before[region] - 2.0 * now[region] + after[region]).mean())


def compare_sharpness(result: AnyArray, target: AnyArray, region: Mask) -> float:
    """Compares the fine detail of two pictures of a face, patch by patch.

    The face is cut into squares, and each square's mean squared Laplacian is divided by that of the target. The median
    of these ratios is what most of the face says. A rim of glasses that is replaced, a beard or a catchlight is in few
    squares, so it does not count; in a variance over the whole face a rim alone is most of the sum.

    Args:
        result: Luma (height, width), 0..255.
        target: Likewise.
        region: The face (height, width).

    Returns:
        Result over target, 1 if they are equal. A picture of half the contrast gives 0.25. NaN if the region is empty.
    """
    rows, columns = np.nonzero(region)
    if not rows.size:
        return float("nan")
    side = max((np.ptp(columns) + 1) / SHARPNESS_PATCHES, MIN_PATCH_SIDE)
    down, across = ((rows - rows.min()) // side).astype(int), ((columns - columns.min()) // side).astype(int)
    patches = down * (int(across.max()) + 1) + across
    counts = np.bincount(patches)
    is_used = counts >= min(side * side, counts.max()) / 2.0
    energies = [
        np.bincount(patches, np.square(cv2.Laplacian(np.asarray(picture, np.float32), cv2.CV_32F)[region]))[is_used]
        / counts[is_used]
        for picture in (result, target)
    ]
    return float(np.median((energies[0] + _FLAT_ENERGY) / (energies[1] + _FLAT_ENERGY)))


def compute_symmetric_ratio(ratio: float) -> float:
    """Computes by which factor `ratio` is off 1, either way; 0 gives infinity.

    >>> compute_symmetric_ratio(0.25), compute_symmetric_ratio(4.0)
    (4.0, 4.0)
    """
    if np.isnan(ratio):
        return float("nan")
    return max(ratio, 1.0 / ratio) if ratio > 0.0 else float("inf")


def compute_ssim(result: Image8, target: Image8, landmarks: Points68, pixel_aspect: float = 1.0) -> float:
    """Computes the structural similarity of two pictures on the square around the landmarks, resized to 256 pixels.

    Returns:
        Up to 1, which is equal.
    """
    points = landmarks * (pixel_aspect, 1.0)
    low, high = points.min(axis=0), points.max(axis=0)
    side = float((high - low).max()) * SSIM_MARGIN
    corner = (low + high) / 2.0 - side / 2.0
    crops = [_crop_square(picture, corner, side, pixel_aspect) for picture in (result, target)]
    return _compute_similarity(*(crop.astype(np.float32) - _SSIM_MIDDLE for crop in crops))


def _compute_similarity(one: AnyArray, other: AnyArray) -> float:
    """The mean structural similarity (Wang et al. 2004) over windows of equal weight.

    Pictures are float32, values less _SSIM_MIDDLE: small numbers keep their digits in the squares.
    """
    first, second = (cv2.blur(picture, (SSIM_WINDOW, SSIM_WINDOW)) for picture in (one, other))
    mixed = cv2.blur(one * other, (SSIM_WINDOW, SSIM_WINDOW)) - first * second
    both = cv2.blur(one * one + other * other, (SSIM_WINDOW, SSIM_WINDOW)) - first * first - second * second
    first, second = first + _SSIM_MIDDLE, second + _SSIM_MIDDLE
    shares = (2 * first * second + _SSIM_MEANS) * (2 * _SSIM_COVARIANCE * mixed + _SSIM_VARIANCES)
    shares /= (first * first + second * second + _SSIM_MEANS) * (_SSIM_COVARIANCE * both + _SSIM_VARIANCES)
    edge = SSIM_WINDOW // 2
    return float(shares[edge:-edge, edge:-edge].mean(dtype=np.float64))


def _crop_square(picture: Image8, corner: Vector, side: float, pixel_aspect: float) -> AnyArray:
    """The square at `corner` (square pixels) as (256, 256, 3); black outside the picture, averaged when it shrinks."""
    columns, rows = max(1, round(side / pixel_aspect)), max(1, round(side))
    x, y = round(float(corner[0]) / pixel_aspect), round(float(corner[1]))
    height, width = picture.shape[:2]
    crop = np.zeros((rows, columns, 3), picture.dtype)
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + columns), min(height, y + rows)
    if x1 > x0 and y1 > y0:
        crop[y0 - y : y1 - y, x0 - x : x1 - x] = picture[y0:y1, x0:x1]
    shrinks = rows > SSIM_SIDE
    return cv2.resize(crop, (SSIM_SIDE, SSIM_SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def count_changed_outside(
    result: AnyArray, target: AnyArray, matte: AnyArray, tolerance: AnyArray | float = 0.0
) -> tuple[int, float]:
    """Counts the pixels that differ where the matte is zero.

    Args:
        result: (height, width, 3), any dtype; NaN in the same place counts as equal.
        target: Of the same shape.
        matte: (height, width).
        tolerance: Differences up to this are none; a number, or one for each value.

    Returns:
        How many pixels differ, and the largest difference.

    >>> before, after = np.zeros((2, 2, 3)), np.zeros((2, 2, 3))
    >>> after[0] = 0.5
    >>> count_changed_outside(after, before, matte=np.array([[1.0, 0.0], [0.0, 0.0]]))
    (1, 0.5)
    """
    outside = matte <= 0
    # Most pixels are equal; only the others get the costly comparison.
    unlike = result != target
    differs = (unlike[..., 0] | unlike[..., 1] | unlike[..., 2]) & outside
    a, b = result[differs].astype(np.float64), target[differs].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    difference[np.isnan(difference)] = np.inf
    allowed = tolerance[differs] if isinstance(tolerance, np.ndarray) else tolerance
    changed = difference > allowed
    return int(np.count_nonzero(changed.any(axis=1))), float(difference[changed].max(initial=0.0))


def nanmean(values: Iterable[float]) -> float:
    """Computes the mean without NaN; NaN if nothing is left.

    >>> nanmean([1.0, float("nan"), 3.0])
    2.0
    """
    numbers = [value for value in values if not np.isnan(value)]
    return float(np.mean(numbers)) if numbers else float("nan")
