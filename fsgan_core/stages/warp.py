"""A smooth warp between two sets of face points, and sampling a picture through it.

The map is a thin-plate spline from the region's pixels to the view's (Bookstein 1989), with a stiffness per point
that keeps it from following noise; where it would fold, its displacement is smoothed until it does not.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline

from fsgan_core.plates.plate import Window

GRID = 4  # pixels between the points at which the spline is evaluated; in between it is interpolated
MIN_AREA = 0.02  # a cell counts as folding when it keeps less than this share of the typical cell


def spline_map(destination: np.ndarray, source: np.ndarray, region: Window, stiffness: np.ndarray) -> np.ndarray:
    """float32 (region.height, region.width, 2): for every pixel of `region` the x, y in the source's coordinates.

    destination, source: (n, 2) matching points, plate coordinates of either picture. stiffness: (n,), 0 meets the
    point exactly; 0.1 gives way by a few percent of the face where neighbours disagree.
    """
    centre, scale = destination.mean(0), np.ptp(destination, axis=0).max()
    knots = (destination - centre) / scale
    n = len(knots)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _kernel(knots, knots) + np.diag(stiffness + 1e-9)
    system[:n, n:] = np.column_stack([np.ones(n), knots])
    system[n:, :n] = system[:n, n:].T
    target = np.zeros((n + 3, 2))
    target[:n] = source
    coefficients = np.linalg.solve(system, target)

    x = np.arange(-GRID, region.width + 2 * GRID, GRID)
    y = np.arange(-GRID, region.height + 2 * GRID, GRID)
    grid = (np.stack(np.meshgrid(x + region.x, y + region.y), -1).reshape(-1, 2) - centre) / scale
    values = _kernel(grid, knots) @ coefficients[:n] + np.column_stack([np.ones(len(grid)), grid]) @ coefficients[n:]
    coarse = unfolded(values.reshape(len(y), len(x), 2))
    rows, columns = np.arange(region.height), np.arange(region.width)
    return np.stack([RectBivariateSpline(y, x, coarse[..., k])(rows, columns) for k in (0, 1)], -1).astype(np.float32)


def cell_areas(mapping: np.ndarray) -> np.ndarray:
    """(h, w) signed area that a cell of the map covers in the source, in cells; negative where it is flipped."""
    dy, dx = np.gradient(mapping, axis=(0, 1))
    return np.asarray(dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0])


def unfolded(mapping: np.ndarray, rounds: int = 40) -> np.ndarray:
    """The map (h, w, 2) with folds damped: around flipped cells the displacement from the best affine map is smoothed,
    wider from round to round; what still folds in the end becomes affine there."""
    height, width = mapping.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    basis = np.column_stack([np.ones(height * width), x.ravel(), y.ravel()])
    affine = (basis @ np.linalg.lstsq(basis, mapping.reshape(-1, 2), rcond=None)[0]).reshape(mapping.shape)
    orientation = np.sign(np.median(cell_areas(affine))) or 1.0
    floor = MIN_AREA * abs(np.median(cell_areas(affine)))
    offset = mapping - affine
    for turn in range(rounds):
        flipped = (cell_areas(affine + offset) * orientation < floor).astype(np.float32)
        if not flipped.any():
            break
        sigma = 1.0 + 0.25 * turn
        near = np.clip(cv2.GaussianBlur(cv2.dilate(flipped, np.ones((3, 3))), (0, 0), sigma) * 2, 0, 1)[..., None]
        smooth = cv2.GaussianBlur(offset, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        offset = offset + near * (smooth - offset)
    return affine + offset


def sample(picture: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    """`picture` (h, w) or (h, w, c), float32, at the array coordinates `mapping` (H, W, 2); its border is continued.

    Lanczos of 8 x 8 taps near 1:1, so that nothing softens; where the map shrinks the picture, that is first filtered
    to what the new raster can hold, as much as each pixel needs.
    """
    shrink = np.sqrt(np.abs(cell_areas(mapping.astype(np.float64)))).astype(np.float32)
    shrink = cv2.GaussianBlur(shrink, (0, 0), 4)  # from pixel to pixel the need changes slowly
    level = np.log2(np.maximum(shrink, 1.0)) * 2  # half octaves
    result = _lanczos(picture, mapping)
    for step in range(1, int(np.ceil(level.max())) + 1):
        sigma = 0.5 * np.sqrt(max(2.0**step - 1, 0))
        coarser = _lanczos(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), mapping)
        share = np.clip(level - (step - 1), 0, 1)
        result += (share if picture.ndim == 2 else share[..., None]) * (coarser - result)
    return result


def _lanczos(picture: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, mapping[..., 0], mapping[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)


def _kernel(points: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """r^2 log r between two sets of points."""
    square = (
        (points**2).sum(1)[:, None] + (knots**2).sum(1)[None] - 2.0 * points @ knots.T
    )
    square = np.maximum(square, 0.0)
    return np.asarray(0.5 * square * np.log(square + 1e-30))
