"""Plane geometry on landmarks: similarity fits, affine maps, normalised face crops.

Points are float64 (..., 2), x right, y down, the centre of pixel (i, j) at exactly (i, j). An affine map is a
(2, 3) matrix that takes source points to destination points.
"""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.runtime.arrays import AnyArray, Matrix, Points, Vector

Box = tuple[float, float, float, float]
"""A rectangle: x and y of the upper left corner, width, height; in pixels."""

_MAX_UNFILTERED_SHRINK = 0.6  # below this scale a crop is averaged down first, against aliasing


def fit_similarity(source: Points, destination: Points) -> Matrix:
    """Fits the rotation, scale and shift that take one set of points to another, by least squares.

    Args:
        source: (n, 2).
        destination: (n, 2).

    Returns:
        The affine map, (2, 3).

    >>> square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    >>> fit_similarity(square, 2 * square + (3, 0)).round(6) + 0.0
    array([[2., 0., 3.],
           [0., 2., 0.]])
    """
    source_mean, destination_mean = np.mean(source, axis=0), np.mean(destination, axis=0)
    a = (source - source_mean) @ np.array([1, 1j])
    b = (destination - destination_mean) @ np.array([1, 1j])
    c = (np.conj(a) * b).mean() / max((np.abs(a) ** 2).mean(), 1e-12)
    linear = np.array([[c.real, -c.imag], [c.imag, c.real]])
    return np.column_stack([linear, destination_mean - linear @ source_mean])


def apply_affine(matrix: Matrix, points: Points) -> Points:
    """Maps `points` (..., 2) by the affine map `matrix` (2, 3).

    >>> apply_affine(np.array([[2, 0, 3], [0, 2, 0]]), np.array([[1, 1], [0, 5]]))
    array([[ 5,  2],
           [ 3, 10]])
    """
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert_affine(matrix: Matrix) -> Matrix:
    """Inverts an affine map (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def compose_affine(second: Matrix, first: Matrix) -> Matrix:
    """Makes the affine map (2, 3) that applies `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def compute_scale(matrix: Matrix) -> float:
    """Computes the linear magnification of an affine map.

    >>> compute_scale(np.array([[0, -2, 7], [2, 0, 1]]))
    2.0
    """
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def resize_picture(picture: AnyArray, scale: float) -> tuple[AnyArray, Matrix]:
    """Resizes a picture by about `scale`, anti-aliased.

    Returns:
        The picture, whose sides are rounded to whole pixels, and the exact affine map of its points.
    """
    height, width = picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return picture, np.eye(2, 3)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x, y = size[0] / width, size[1] / height
    return small, np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2]])


def sample_crop(picture: AnyArray, matrix: Matrix, size: int, border: int = cv2.BORDER_REPLICATE) -> AnyArray:
    """Cuts a square out of a picture through an affine map, anti-aliased.

    Args:
        picture: uint8 or float32, (height, width) or (height, width, channels).
        matrix: Picture to crop, (2, 3).
        size: Side of the crop in pixels.
        border: OpenCV's border mode outside the picture; by default the border pixels are repeated.

    Returns:
        (size, size) or (size, size, channels), of the type of `picture`.
    """
    scale = compute_scale(matrix)
    corners = apply_affine(invert_affine(matrix), np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64))
    pad = 2.0 + 2.0 / max(scale, 1e-6)
    low = np.floor(corners.min(0) - pad).astype(int)
    high = np.ceil(corners.max(0) + pad).astype(int)
    height, width = picture.shape[:2]
    x0, y0 = int(np.clip(low[0], 0, width - 1)), int(np.clip(low[1], 0, height - 1))
    x1, y1 = int(np.clip(high[0], x0 + 1, width)), int(np.clip(high[1], y0 + 1, height))
    part = np.ascontiguousarray(picture[y0:y1, x0:x1])
    matrix = compose_affine(matrix, np.array([[1.0, 0.0, x0], [0.0, 1.0, y0]]))
    if scale < _MAX_UNFILTERED_SHRINK:
        part, shrink = resize_picture(part, scale)
        matrix = compose_affine(matrix, invert_affine(shrink))
    # cv2.remap-style warps are limited to 32767 pixels a side; a face crop never comes near.
    return cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def compute_overlap(a: Box, b: Box) -> float:
    """Computes the intersection over union of two boxes, 0..1.

    >>> compute_overlap((0, 0, 2, 2), (1, 0, 2, 2))
    0.3333333333333333
    """
    common = _measure_common_area(a, b)
    return common / max(a[2] * a[3] + b[2] * b[3] - common, 1e-12)


def compute_coverage(a: Box, b: Box) -> float:
    """Computes which share of the smaller of two boxes lies in the other one, 0..1.

    >>> compute_coverage((0, 0, 4, 4), (3, 0, 2, 2))
    0.5
    """
    return _measure_common_area(a, b) / max(min(a[2] * a[3], b[2] * b[3]), 1e-12)


def _measure_common_area(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def grow_box(box: Box, factor: float) -> Box:
    """Makes a box `factor` times as wide and high, about the same middle."""
    x, y, width, height = box
    return (x - width * (factor - 1) / 2, y - height * (factor - 1) / 2, width * factor, height * factor)


def make_square_box(centre: Vector, side: float) -> Box:
    """Makes the box with this centre (x, y) and side."""
    return (float(centre[0] - side / 2), float(centre[1] - side / 2), float(side), float(side))
