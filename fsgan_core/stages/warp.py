"""A smooth warp between two sets of face points, and sampling a picture through it.

The map is a thin-plate spline from the region's pixels to the view's (Bookstein 1989), with a stiffness for each point
that keeps it from following noise. Where it would fold, its displacement is smoothed until it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from scipy.interpolate import make_interp_spline

from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matrix, Plane, PointMap, Points, Vector
from fsgan_core.runtime.memo import remember_results
from fsgan_core.stages.image_ops import shift_channels, slice_marked, weigh

# The spline is evaluated on a grid and interpolated between: points across the region, and pixels from one to the next.
GRID_POINTS, FINEST_STEP, COARSEST_STEP = 110, 2, 8
# Away from its points the spline is so smooth that every third point of the grid is enough: the error is below a
# hundredth of a pixel. Nearer to them than OUTER_MARGIN such steps all points are evaluated.
OUTER_FACTOR, OUTER_MARGIN = 3, 2
REMEMBERED_GRIDS = 64  # how their values are interpolated: the same for all maps of one size
FOLD_ROWS = 32  # of cells that are looked at together, so that they stay in the processor's cache
KERNEL_ROWS = 128  # points at a time, so that their distances to the knots stay in the processor's cache
LEAST_SQUARE = 1e-12  # added to the square of a distance: the logarithm needs more than 0, also after rounding
SYSTEM_RIDGE = 1e-9  # added to the stiffness, so that the system can be solved for points that coincide

# Removing folds.
MIN_CELL_AREA = 0.02  # share of the typical cell's area: a cell that keeps less of it counts as folded
SMOOTHING_ROUNDS, DAMPING_ROUNDS = 40, 200  # of smoothing around folds; of damping the whole map
FIRST_SIGMA, SIGMA_GROWTH = 1.0, 0.25  # cells: the smoothing, and what it grows by each round
DAMPING = 0.8  # share of the displacement that one round of damping leaves

# Filtering before a picture is shrunk.
OCTAVE_STEPS = 2  # filters for each halving of the size
MIN_SHRINK = 1e-3
MAX_RATIO = 8.0  # between shrinking across and down
SQUARE_LIMIT = 0.3  # octaves of difference between across and down that do not matter
NEED_SIGMA = 4  # pixels over which the need of filtering is smoothed
MIN_FILTER_SIGMA = 0.05  # pixels: a narrower filter does nothing
LANCZOS_TAPS = 4  # pixels to either side of a place that it is made from


def fit_spline_map(
    destination: Points, source: Points, region: Window, stiffness: Vector, aspect: float = 1.0
) -> PointMap:
    """Fit the map that takes each pixel of a region to a place in the source.

    Args:
        destination: (n, 2) points in the region, plate coordinates.
        source: (n, 2) the matching points, coordinates of the source's plate.
        region: The window that the map is for.
        stiffness: (n,) 0 meets a point exactly; 0.1 gives way by a few percent of the face if neighbours disagree.
        aspect: Width of the region's pixels over their height, so that the map bends as on square ones.

    Returns:
        Source coordinates of each pixel of `region`. No cell folds.
    """
    square = np.array([aspect, 1.0])
    centre, scale = destination.mean(0), np.ptp(destination * square, axis=0).max()
    knots = (destination - centre) * square / scale
    n = len(knots)
    target = np.zeros((n + 3, 2))
    target[:n] = source
    coefficients = np.linalg.solve(_build_spline_system(knots, stiffness), target)

    def evaluate(x: Vector, y: Vector) -> PointMap:
        places = (np.stack(np.meshgrid(x + region.x, y + region.y), -1).reshape(-1, 2) - centre) * square / scale
        return _evaluate_spline(places, knots, coefficients).reshape(len(y), len(x), 2)

    step = int(np.clip(region.width // GRID_POINTS, FINEST_STEP, COARSEST_STEP))
    x, y = (np.arange(-step, size + 2 * step, step, dtype=np.float64) for size in (region.width, region.height))
    low, high = destination.min(0) - (region.x, region.y), destination.max(0) - (region.x, region.y)
    coarse = remove_folds(_evaluate_grid(evaluate, x, y, low, high))
    # Single precision is enough for places counted from their middle.
    middle = coarse.mean((0, 1)).astype(np.float32)
    offsets = shift_channels(coarse, -middle).astype(np.float32)
    columns, rows = np.arange(region.width, dtype=np.float64), np.arange(region.height, dtype=np.float64)
    fine = _interpolate_grid(offsets, x, y, columns, rows)
    if has_folds(fine):  # a cubic may overshoot into a fold, straight lines cannot
        fine = _interpolate_grid(offsets, x, y, columns, rows, degree=1)
    return shift_channels(fine, middle)


def _evaluate_grid(
    evaluate: Callable[[Vector, Vector], PointMap], x: Vector, y: Vector, low: Vector, high: Vector
) -> PointMap:
    """A smooth map at all points of a grid: evaluated near the box from `low` to `high`, elsewhere at fewer points."""
    outer_x, outer_y = (np.append(at[:-1:OUTER_FACTOR], at[-1]) if len(at) > 4 * OUTER_FACTOR else at for at in (x, y))
    margin = OUTER_FACTOR * OUTER_MARGIN * (x[1] - x[0])
    rows, columns = (slice(*np.searchsorted(at, (low[k] - margin, high[k] + margin))) for k, at in ((1, y), (0, x)))
    outside = evaluate(outer_x, outer_y)
    values = _interpolate_grid(outside, outer_x, outer_y, x, y)
    values[rows, columns] = evaluate(x[columns], y[rows])
    return values


def _interpolate_grid(values: PointMap, x: Vector, y: Vector, to_x: Vector, to_y: Vector, degree: int = 3) -> PointMap:
    down, across = (_make_interpolation(*axis, degree).astype(values.dtype) for axis in ((y, to_y), (x, to_x)))
    return np.asarray(cv2.merge([down @ values[..., k] @ across.T for k in (0, 1)]))


@remember_results(REMEMBERED_GRIDS)
def _make_interpolation(at: Vector, to: Vector, degree: int) -> Matrix:
    """How much the value at each place of `at` counts at each place of `to`, in a spline that meets all of them."""
    return np.asarray(make_interp_spline(at, np.eye(len(at)), k=degree)(to))


def compute_spline_shares(knots: Points, places: Points, stiffness: Vector) -> Matrix:
    """Compute how much the value at each knot counts at each place, in the spline of `fit_spline_map`.

    Args:
        knots: (n, 2) square pixels.
        places: (m, 2) square pixels.
        stiffness: (n,) as for `fit_spline_map`.

    Returns:
        (m, n), rows sum to 1.
    """
    centre, scale = knots.mean(0), np.ptp(knots, axis=0).max()
    unit, at = (knots - centre) / scale, (places - centre) / scale
    basis = np.column_stack([_evaluate_kernel(at, unit), np.ones(len(at)), at])
    return np.asarray(np.linalg.solve(_build_spline_system(unit, stiffness).T, basis.T).T[:, : len(knots)])


def compute_cell_areas(mapping: PointMap) -> Plane:
    """Compute the signed area that each cell of a map covers in the source, in cells; negative if it is flipped."""
    dy, dx = np.asarray(np.gradient(mapping, axis=(0, 1)))
    return np.asarray(dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0])


def iterate_corner_areas(mapping: PointMap) -> Iterator[Plane]:
    """Compute the signed area of the parallelogram at each of the four corners of each cell.

    If all four of a cell have one sign, the bilinear map does not fold anywhere in it.
    """
    planes = np.ascontiguousarray(np.moveaxis(mapping, -1, 0))
    right, down = np.diff(planes, axis=2), np.diff(planes, axis=1)
    for rows in (slice(-1), slice(1, None)):
        for columns in (slice(-1), slice(1, None)):
            yield right[0, rows] * down[1, :, columns] - right[1, rows] * down[0, :, columns]


def has_folds(mapping: PointMap) -> bool:
    """Tell whether any cell is flipped against the others."""
    bands = (mapping[first : first + FOLD_ROWS + 1] for first in range(0, len(mapping) - 1, FOLD_ROWS))
    ends = [(area.min(), area.max()) for band in bands for area in iterate_corner_areas(band)]
    return bool(np.min(ends) <= 0 <= np.max(ends))


def remove_folds(mapping: PointMap) -> PointMap:
    """Damp the folds of a map until no cell is flipped.

    Around flipped cells the displacement from the best affine map is smoothed, wider in each round. If folds are left
    after SMOOTHING_ROUNDS rounds, the whole map moves towards the affine one.
    """
    height, width = mapping.shape[:2]
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    across, down = x @ mapping.mean(0) / (x @ x), y @ mapping.mean(1) / (y @ y)
    usual = float(across[0] * down[1] - across[1] * down[0])
    if usual == 0:
        return mapping
    affine = mapping.mean((0, 1)) + x[:, None] * across + y[:, None, None] * down
    offset = mapping - affine
    for number in range(SMOOTHING_ROUNDS + DAMPING_ROUNDS):
        flipped = np.minimum.reduce([area / usual for area in iterate_corner_areas(affine + offset)]) < MIN_CELL_AREA
        if not flipped.any():
            break
        if number >= SMOOTHING_ROUNDS:
            offset = offset * DAMPING
            continue
        sigma = FIRST_SIGMA + SIGMA_GROWTH * number
        near: Plane = np.zeros((height, width), np.float32)
        near[:-1, :-1] = flipped
        near = np.asarray(cv2.dilate(near, np.ones((4, 4)), anchor=(2, 2)), np.float32)
        share = np.clip(cv2.GaussianBlur(near, (0, 0), sigma) * 2, 0, 1)[..., None]
        smooth = cv2.GaussianBlur(offset, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        offset = offset + share * (smooth - offset)
    result: PointMap = affine + offset
    return result


def sample_picture(
    picture: Image, mapping: PointMap, where: Mask | None = None, *, has_clean_edges: bool = False
) -> Image:
    """Sample a picture through a map; the picture's border is continued.

    Lanczos with 8 x 8 taps near 1:1, so that nothing softens. What it overshoots ends at the brightest and the darkest
    value of the picture: in display-like values a little beyond a highlight of 9 would be a highlight of 600. Where the
    map shrinks the picture, the picture is first filtered to what the new raster can hold, as much as each pixel needs,
    and differently across and down if the map as a whole shrinks so (pixels that are not square).

    Args:
        picture: (height, width) or (height, width, channels).
        mapping: Array coordinates in `picture`.
        where: The pixels that count: the others are not filtered for their own sake. None if all count.
        has_clean_edges: What overshoots ends at the four pixels around the place already. Beyond a hard edge that is
            not along the raster it swings more and less from pixel to pixel, as saw teeth. Fine detail loses a little.
    """
    across, down = (_smooth_shrink(np.hypot(*np.gradient(mapping[..., k]))) for k in (0, 1))
    shrink = np.sqrt(across * down)
    ratio = float(np.clip(np.median(across) / max(float(np.median(down)), 1e-6), 1 / MAX_RATIO, MAX_RATIO))
    if abs(np.log2(ratio)) < SQUARE_LIMIT:
        ratio = 1.0
    level = np.log2(np.maximum(shrink, MIN_SHRINK)) * OCTAVE_STEPS
    if where is not None and where.any():
        level = np.clip(level, level[where].min(), level[where].max())
    first = int(np.floor(max(float(level.min()), -abs(np.log2(ratio)))))
    result = _resample_lanczos(picture, first, ratio, mapping, has_clean_edges)
    for step in range(first + 1, int(np.ceil(level.max())) + 1):
        # Each pixel is mixed from two neighbouring levels, so a level is made only where one of its pixels counts.
        part = slice_marked(level > step - 1)
        share = np.clip(level[part] - (step - 1), 0, 1)
        coarser = _resample_lanczos(picture, step, ratio, mapping[part], has_clean_edges)
        result[part] += weigh(coarser - result[part], share)
    return np.clip(result, picture.min(), picture.max(), out=result)


def _smooth_shrink(need: Plane) -> Plane:
    """Smooth the need of filtering, which then changes slowly from pixel to pixel."""
    return np.asarray(cv2.GaussianBlur(need.astype(np.float32), (0, 0), NEED_SIGMA))


def _resample_lanczos(picture: Image, level: int, ratio: float, mapping: PointMap, has_clean_edges: bool) -> Image:
    """Resample a picture without what a raster coarser by `level` half octaves cannot hold.

    Args:
        picture: As for `sample_picture`.
        level: Of the filter.
        ratio: The picture is filtered so many times more across than down.
        mapping: Array coordinates in `picture`.
        has_clean_edges: As for `sample_picture`.
    """
    shrink = 2.0 ** (level / OCTAVE_STEPS) * np.sqrt([ratio, 1 / ratio])
    x, y = mapping[..., 0], mapping[..., 1]
    if (shrink > 1).any():
        across, down = (_make_gaussian(0.5 * np.sqrt(max(size**2 - 1, 0.0))) for size in shrink)
        # Only what the map reaches is filtered.
        columns, rows = (
            _reach(at, len(kernel) // 2 + LANCZOS_TAPS, size)
            for at, kernel, size in zip((x, y), (across, down), picture.shape[1::-1], strict=True)
        )
        picture = np.asarray(cv2.sepFilter2D(picture[rows, columns], -1, across, down, borderType=cv2.BORDER_REPLICATE))
        x, y = x - np.float32(columns.start), y - np.float32(rows.start)
    first, beyond = cv2.convertMaps(x, y, cv2.CV_16SC2)  # the first of the pixels around each place, and how far beyond
    result: AnyArray = cv2.remap(picture, first, beyond, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    if not has_clean_edges:
        return result
    four = np.ones((2, 2), np.uint8)
    lowest, highest = (
        cv2.remap(ends, first, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        for ends in (cv2.erode(picture, four, anchor=(0, 0)), cv2.dilate(picture, four, anchor=(0, 0)))
    )
    return np.asarray(np.clip(result, lowest, highest))


def _reach(at: Plane, margin: int, size: int) -> slice:
    """The part of an axis of `size` pixels that places on it come near to."""
    first = int(np.clip(np.floor(at.min()) - margin, 0, size - 1))
    return slice(first, int(np.clip(np.ceil(at.max()) + margin + 1, first + 1, size)))


def _make_gaussian(sigma: float) -> Matrix:
    if sigma <= MIN_FILTER_SIGMA:
        return np.ones((1, 1))
    return np.asarray(cv2.getGaussianKernel(2 * int(np.ceil(4 * sigma)) + 1, sigma))


def _build_spline_system(knots: Points, stiffness: Vector) -> Matrix:
    """The spline's equations at its knots, (n + 3, n + 3); the last three keep affine maps out of the bending part."""
    n = len(knots)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _evaluate_kernel(knots, knots) + np.diag(stiffness + SYSTEM_RIDGE)
    system[:n, n:] = np.column_stack([np.ones(n), knots])
    system[n:, :n] = system[:n, n:].T
    return system


def _evaluate_spline(places: Points, knots: Points, coefficients: Matrix) -> Points:
    """A spline at places (m, 2): its affine part, and in single precision its bending part."""
    n = len(knots)
    values = np.column_stack([np.ones(len(places)), places]) @ coefficients[n:]
    left, right = _prepare_squares(places, knots)
    bending = (0.5 * coefficients[:n]).astype(np.float32)
    for first in range(0, len(places), KERNEL_ROWS):
        part = slice(first, first + KERNEL_ROWS)
        values[part] += _apply_kernel((left[part] @ right).astype(np.float32)) @ bending
    return np.asarray(values)


def _evaluate_kernel(points: Points, knots: Points) -> Matrix:
    """r^2 log r between two sets of points (Bookstein 1989)."""
    left, right = _prepare_squares(points, knots)
    return 0.5 * _apply_kernel(left @ right)


def _prepare_squares(points: Points, knots: Points) -> tuple[Matrix, Matrix]:
    """Two matrices whose product holds the squares of the distances between points and knots."""
    left = np.column_stack([points, (points**2).sum(1) + LEAST_SQUARE, np.ones(len(points))])
    return left, np.vstack([-2.0 * knots.T, np.ones(len(knots)), (knots**2).sum(1)])


def _apply_kernel(squares: Matrix) -> Matrix:
    """r^2 log r^2 of squares r^2; few passes over them are what makes it fast."""
    result = np.log(squares)
    result *= squares
    return np.asarray(result)
