"""Small plane geometry on landmarks: similarity fits, affine maps, normalised face crops.

Points are float64 (..., 2), x right, y down, the centre of pixel (i, j) at exactly (i, j). An affine map is a
(2, 3) matrix that takes source points to destination points.
"""

from __future__ import annotations

import cv2
import numpy as np

Box = tuple[float, float, float, float]


def fit_similarity(source: np.ndarray, destination: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Least-squares rotation, scale and shift, (2, 3), that takes `source` (n, 2) to `destination` (n, 2)."""
    weights = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    weights = weights / weights.sum()
    source_mean, destination_mean = weights @ source, weights @ destination
    a = (source - source_mean) @ np.array([1, 1j])
    b = (destination - destination_mean) @ np.array([1, 1j])
    c = (weights * np.conj(a) * b).sum() / max((weights * np.abs(a) ** 2).sum(), 1e-12)
    linear = np.array([[c.real, -c.imag], [c.imag, c.real]])
    return np.column_stack([linear, destination_mean - linear @ source_mean])


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`points` (..., 2) through the affine map (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert_affine(matrix: np.ndarray) -> np.ndarray:
    """The inverse affine map."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def compose_affine(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The affine map that applies `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def compute_scale(matrix: np.ndarray) -> float:
    """Linear magnification of an affine map."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def resize_picture(picture: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """`picture` magnified by about `scale`, anti-aliased, and the exact affine map of its points."""
    height, width = picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return picture, np.eye(2, 3)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x, y = size[0] / width, size[1] / height
    return small, np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2]])


def sample_crop(picture: np.ndarray, matrix: np.ndarray, size: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """A (size, size) crop of `picture` through the affine map `matrix` (picture to crop), anti-aliased; outside the
    picture its border is continued, or what else OpenCV's `border` says."""
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
    if scale < 0.6:
        part, shrink = resize_picture(part, scale)
        matrix = compose_affine(matrix, invert_affine(shrink))
    # cv2.remap-style warps are limited to 32767 pixels a side; a face crop never comes near.
    return cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def compute_overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def compute_coverage(a: Box, b: Box) -> float:
    """Share of the smaller of two boxes that lies in the other one."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / max(min(a[2] * a[3], b[2] * b[3]), 1e-12)


def make_square_box(centre: np.ndarray, side: float) -> Box:
    """The box of that centre and side."""
    return (float(centre[0] - side / 2), float(centre[1] - side / 2), float(side), float(side))
