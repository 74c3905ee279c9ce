"""A smooth warp between two sets of face points, and sampling a picture through it.

The map is a thin-plate spline from the region's pixels to the view's (Bookstein 1989), with a stiffness per point
that keeps it from following noise; where it would fold, its displacement is smoothed until it does not.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline

from fsgan_core.plates.plate import Window

# The spline is evaluated at this many points across, FINEST to COARSEST pixels apart; in between it is interpolated.
GRID_POINTS, FINEST_STEP, COARSEST_STEP = 85, 2, 4
MIN_CELL_AREA = 0.02  # a cell counts as folding when it keeps less than this share of the typical cell


def fit_spline_map(
    destination: np.ndarray, source: np.ndarray, region: Window, stiffness: np.ndarray, aspect: float = 1.0
) -> np.ndarray:
    """float32 (region.height, region.width, 2): for every pixel of `region` the x, y in the source's coordinates.

    destination, source: (n, 2) matching points, plate coordinates of either picture. stiffness: (n,), 0 meets the
    point exactly; 0.1 gives way by a few percent of the face where neighbours disagree. aspect: of the region's pixels,
    so that the map bends as it does on square ones.
    """
    square = np.array([aspect, 1.0])
    centre, scale = destination.mean(0), np.ptp(destination * square, axis=0).max()
    knots = (destination - centre) * square / scale
    n = len(knots)
    target = np.zeros((n + 3, 2))
    target[:n] = source
    coefficients = np.linalg.solve(_build_spline_system(knots, stiffness), target)

    step = int(np.clip(region.width // GRID_POINTS, FINEST_STEP, COARSEST_STEP))
    x = np.arange(-step, region.width + 2 * step, step)
    y = np.arange(-step, region.height + 2 * step, step)
    grid = (np.stack(np.meshgrid(x + region.x, y + region.y), -1).reshape(-1, 2) - centre) * square / scale
    values = (
        _evaluate_kernel(grid, knots) @ coefficients[:n]
        + np.column_stack([np.ones(len(grid)), grid]) @ coefficients[n:]
    )
    coarse = remove_folds(values.reshape(len(y), len(x), 2))
    rows, columns = np.arange(region.height), np.arange(region.width)
    fine = np.stack([RectBivariateSpline(y, x, coarse[..., k])(rows, columns) for k in (0, 1)], -1)
    if has_folds(fine):  # a cubic may overshoot into a fold, straight lines cannot
        fine = np.stack([RectBivariateSpline(y, x, coarse[..., k], kx=1, ky=1)(rows, columns) for k in (0, 1)], -1)
    return fine.astype(np.float32)


def compute_spline_shares(knots: np.ndarray, places: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """(m, n): how much a value at each of `knots` (n, 2) counts at each of `places` (m, 2), in the spline of
    `spline_map`; square pixels."""
    centre, scale = knots.mean(0), np.ptp(knots, axis=0).max()
    unit, at = (knots - centre) / scale, (places - centre) / scale
    basis = np.column_stack([_evaluate_kernel(at, unit), np.ones(len(at)), at])
    return np.asarray(np.linalg.solve(_build_spline_system(unit, stiffness).T, basis.T).T[:, : len(knots)])


def compute_cell_areas(mapping: np.ndarray) -> np.ndarray:
    """(h, w) signed area that a cell of the map covers in the source, in cells; negative where it is flipped."""
    dy, dx = np.gradient(mapping, axis=(0, 1))
    return np.asarray(dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0])


def compute_corner_areas(mapping: np.ndarray) -> np.ndarray:
    """(4, h - 1, w - 1) signed area of the parallelogram at each corner of each cell. Where all four have one sign,
    the cell does not fold anywhere in between, interpolated bilinearly."""
    right, down = np.diff(mapping, axis=1), np.diff(mapping, axis=0)
    return np.stack(
        [
            right[r : len(right) - 1 + r, :, 0] * down[:, c : down.shape[1] - 1 + c, 1]
            - right[r : len(right) - 1 + r, :, 1] * down[:, c : down.shape[1] - 1 + c, 0]
            for r in (0, 1)
            for c in (0, 1)
        ]
    )


def has_folds(mapping: np.ndarray) -> bool:
    """Whether any cell is flipped against the others."""
    areas = compute_corner_areas(mapping)
    return bool((areas * np.sign(np.median(areas)) <= 0).any())


def remove_folds(mapping: np.ndarray, rounds: int = 40) -> np.ndarray:
    """The map (h, w, 2) with folds damped: around flipped cells the displacement from the best affine map is smoothed,
    wider from round to round; what still folds in the end comes nearer to the affine map as a whole. No cell of the
    result is flipped."""
    height, width = mapping.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    basis = np.column_stack([np.ones(height * width), x.ravel(), y.ravel()])
    affine = (basis @ np.linalg.lstsq(basis, mapping.reshape(-1, 2), rcond=None)[0]).reshape(mapping.shape)
    usual = float(np.median(compute_cell_areas(affine)))
    offset = mapping - affine
    if usual == 0:
        return mapping
    for turn in range(rounds + 200):
        flipped = (compute_corner_areas(affine + offset) / usual).min(0) < MIN_CELL_AREA
        if not flipped.any():
            break
        if turn >= rounds:
            offset = offset * 0.8
            continue
        sigma = 1.0 + 0.25 * turn
        at: np.ndarray = np.zeros((height, width), np.float32)
        at[:-1, :-1] = flipped
        at = np.asarray(cv2.dilate(at, np.ones((4, 4)), anchor=(2, 2)), np.float32)
        near = np.clip(cv2.GaussianBlur(at, (0, 0), sigma) * 2, 0, 1)[..., None]
        smooth = cv2.GaussianBlur(offset, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        offset = offset + near * (smooth - offset)
    return affine + offset


def sample_picture(picture: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    """`picture` (h, w) or (h, w, c), float32, at the array coordinates `mapping` (H, W, 2); its border is continued.

    Lanczos of 8 x 8 taps near 1:1, so that nothing softens; where the map shrinks the picture, that is first filtered
    to what the new raster can hold, as much as each pixel needs; more across than down, or less, where the map as a
    whole shrinks so (pixels that are not square).
    """
    across, down = (_smooth_shrink(np.hypot(*np.gradient(mapping[..., k]))) for k in (0, 1))
    shrink = np.sqrt(across * down)
    ratio = float(np.clip(np.median(across) / max(float(np.median(down)), 1e-6), 0.125, 8.0))
    if abs(np.log2(ratio)) < 0.3:
        ratio = 1.0
    level = np.log2(np.maximum(shrink, 1e-3)) * 2  # half octaves
    first = int(np.floor(max(float(level.min()), -abs(np.log2(ratio)))))
    result = _resample_lanczos(_filter_picture(picture, first, ratio), mapping)
    for step in range(first + 1, int(np.ceil(level.max())) + 1):
        coarser = _resample_lanczos(_filter_picture(picture, step, ratio), mapping)
        share = np.clip(level - (step - 1), 0, 1)
        result += (share if picture.ndim == 2 else share[..., None]) * (coarser - result)
    return result


def _smooth_shrink(need: np.ndarray) -> np.ndarray:
    """From pixel to pixel the need of filtering changes slowly."""
    return cv2.GaussianBlur(need.astype(np.float32), (0, 0), 4)


def _filter_picture(picture: np.ndarray, level: int, ratio: float) -> np.ndarray:
    """`picture` without what a raster coarser by `level` half octaves cannot hold; by `ratio` more across than down."""
    shrink = 2.0 ** (level / 2) * np.sqrt([ratio, 1 / ratio])
    if (shrink <= 1).all():
        return picture
    across, down = (_make_gaussian(0.5 * np.sqrt(max(size**2 - 1, 0.0))) for size in shrink)
    return cv2.sepFilter2D(picture, -1, across, down, borderType=cv2.BORDER_REPLICATE)


def _make_gaussian(sigma: float) -> np.ndarray:
    return cv2.getGaussianKernel(2 * int(np.ceil(4 * sigma)) + 1, sigma) if sigma > 0.05 else np.ones((1, 1))


def _resample_lanczos(picture: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, mapping[..., 0], mapping[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)


def _build_spline_system(knots: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """(n + 3, n + 3): the spline's equations at its knots, and that it has no part that an affine map could have."""
    n = len(knots)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _evaluate_kernel(knots, knots) + np.diag(stiffness + 1e-9)
    system[:n, n:] = np.column_stack([np.ones(n), knots])
    system[n:, :n] = system[:n, n:].T
    return system


def _evaluate_kernel(points: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """r^2 log r between two sets of points."""
    square = (points**2).sum(1)[:, None] + (knots**2).sum(1)[None] - 2.0 * points @ knots.T
    square = np.maximum(square, 0.0)
    return np.asarray(0.5 * square * np.log(square + 1e-30))
