"""Gradient-domain blending of one picture into another (Perez, Gangnet, Blake, SIGGRAPH 2003).

The result keeps the face's gradients and takes the target's values at the border. It is the face plus a correction h
that is as smooth as possible inside the matte and meets (target - face) at its edge; h is what is solved for.

The solver is a full multigrid with Chebyshev smoothing (Briggs, Henson, McCormick 2000; Adams et al. 2003). It works on
arrays of pixels, so no matrix is built. Coarse grids have the same equations on the pixels that the support touches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from fsgan_core.runtime.arrays import Image, Mask, Matrix, Matte, Vector
from fsgan_core.stages.image_ops import repeat_plane, weigh

BORDER_WEIGHT = 4.0  # of a border pixel's value; a link between neighbours has 1

# Multigrid. Residuals are relative to the right side, of the worst channel.
SOLVER_TOLERANCE = 3e-4  # residual at which it stops
MAX_RESIDUAL = 1e-3  # residual above which the system is solved directly after all: a support of thin strands
MAX_CYCLES = 10
MIN_RIGHT = 1e-20  # sum of squares: a smaller right side is 0
COARSEST_SIDE = 6  # pixels: a grid that is not larger than this is relaxed until it is solved
COARSEST_ROUNDS = 8

# Chebyshev smoothing: weights of Jacobi steps that damp the upper part of the eigenvalues (0..2) most.
SMOOTHED_RANGE, SMOOTHING_STEPS = (0.25, 2.0), 3


def solve_membrane(
    difference: Image, support: Mask, trust: Matte, reach: float, aspect: float = 1.0, held: Matte | None = None
) -> Image:
    """Solve for the correction h.

    Args:
        difference: target - face.
        support: Where h is solved.
        trust: How closely h meets the difference at each border pixel, 0..1. Pixels with 0 (hair behind a soft edge, an
            occluder) are free.
        reach: Rows over which the correction fades inside. Far more than the face's height gives Poisson's equation
            itself; less keeps a difference at the border from staining the whole face (a screened equation).
        aspect: Width of a pixel over its height.
        held: How closely h meets the difference at each pixel inside too; a link between neighbours has 1. None: it is
            free there.

    Returns:
        h, zero outside `support`. The relative residual of each channel is below `MAX_RESIDUAL`.
    """
    result = np.zeros(difference.shape, np.float32)
    if not support.any():
        return result
    border = support & (
        cv2.erode(support.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        == 0
    )
    x, y, width, height = cv2.boundingRect(support.astype(np.uint8))
    box = slice(y, y + height), slice(x, x + width)
    inside = support[box]
    hold = np.where(border, BORDER_WEIGHT * trust, 0.0 if held is None else held * support).astype(np.float32)[box]
    right = weigh(difference[box].astype(np.float32), hold)
    diagonal, across = hold + np.float32(1 / reach**2), 1 / aspect**2
    solution, residual = _solve_multigrid(inside, diagonal, across, right)
    if residual >= MAX_RESIDUAL:  # not if it is NaN
        solution[inside] = _solve_directly(inside, diagonal, across, right)
    result[box] = solution
    return result


@dataclass(frozen=True)
class _Grid:
    """One grid. Arrays are (height, width, 3), so that they go through whole pictures without broadcasting.

    Attributes:
        across: Weight of a link in a row; one in a column has 1.
        degree: A pixel's own coefficient in its equation.
        inverse: 1 over it; 0 outside the support.
        share: Makes what the next coarser grid knows, enlarged, a mean of its support; empty on the coarsest.
    """

    across: float
    degree: Image
    inverse: Image
    share: Image

    def step(self, values: Image, right: Image) -> Image:
        """Solve each pixel's equation for its neighbours as they are (Jacobi's step)."""
        kernel = np.array([[0, 1, 0], [self.across, 0, self.across], [0, 1, 0]], np.float32)
        result: Image = np.asarray(cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_CONSTANT), np.float32)
        result += right
        result *= self.inverse
        return result

    def relax(self, values: Image, right: Image) -> None:
        """Smooth the error of `values`, in place."""
        for weight in _CHEBYSHEV_WEIGHTS:
            cv2.addWeighted(values, 1 - weight, self.step(values, right), weight, 0, dst=values)

    def compute_residual(self, values: Image, right: Image) -> Image:
        """Compute right - A values, 0 outside the support."""
        result = self.step(values, right)
        result -= values
        result *= self.degree
        return result


def _compute_chebyshev_weights(low: float, high: float, count: int) -> list[float]:
    middle, half = (high + low) / 2, (high - low) / 2
    return [1 / (middle + half * math.cos(math.pi * (2 * k + 1) / (2 * count))) for k in range(count)]


_CHEBYSHEV_WEIGHTS = _compute_chebyshev_weights(*SMOOTHED_RANGE, SMOOTHING_STEPS)


def _solve_multigrid(support: Mask, diagonal: Matte, across: float, right: Image) -> tuple[Image, float]:
    """Solve the graph Laplacian of `support` plus a diagonal; give the solution and its residual."""
    size = np.maximum(_measure_squares(right), MIN_RIGHT)
    height, width = support.shape
    count = max(0, math.ceil(math.log2(min(height, width) / COARSEST_SIDE)))
    pad = ((0, -height % 2**count), (0, -width % 2**count))
    grids = _make_grids(np.pad(support.astype(np.float32), pad), np.pad(diagonal, pad), across, count)
    rights = [np.pad(right, (*pad, (0, 0)))]
    for _ in range(count):
        rights.append(_sum_cells(rights[-1]))
    values = np.zeros_like(rights[-1])
    for level in range(count, -1, -1):  # each grid starts from the solution of the next coarser one
        if level < count:
            values = _enlarge(values, grids[level])
        _run_cycle(grids[level:], values, rights[level])
    residual = math.inf
    for _ in range(MAX_CYCLES):
        left = _measure_squares(grids[0].compute_residual(values, rights[0]))
        residual = math.sqrt((left / size).max())
        if residual < SOLVER_TOLERANCE:
            break
        _run_cycle(grids, values, rights[0])
    return values[:height, :width], residual


def _make_grids(covered: Matte, diagonal: Matte, across: float, count: int) -> list[_Grid]:
    """A grid and `count` coarser ones; `covered` is 1 on the support."""
    kernel = np.array([[0, 1, 0], [across, 0, across], [0, 1, 0]], np.float32)
    degree = cv2.filter2D(covered, -1, kernel, borderType=cv2.BORDER_CONSTANT) + diagonal
    inverse = np.divide(covered, degree, out=np.zeros_like(degree), where=covered > 0)
    if count == 0:
        return [_Grid(across, repeat_plane(degree), repeat_plane(inverse), np.empty((0, 0, 3), np.float32))]
    touched = (_sum_cells(covered) > 0).astype(np.float32)
    share = cv2.resize(touched, covered.shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = np.divide(covered, share, out=np.zeros_like(share), where=share > 0)
    return [
        _Grid(across, repeat_plane(degree), repeat_plane(inverse), repeat_plane(share)),
        *_make_grids(touched, _sum_cells(diagonal * covered), across, count - 1),
    ]


def _run_cycle(grids: Sequence[_Grid], values: Image, right: Image) -> None:
    """Improve `values` in place: smooth them, correct them on the coarser grid, smooth them again (a V-cycle)."""
    if len(grids) == 1:
        for _ in range(COARSEST_ROUNDS):
            grids[0].relax(values, right)
        return
    grids[0].relax(values, right)
    coarse_right = _sum_cells(grids[0].compute_residual(values, right))
    correction = np.zeros_like(coarse_right)
    _run_cycle(grids[1:], correction, coarse_right)
    values += _enlarge(correction, grids[0])
    grids[0].relax(values, right)


def _sum_cells(picture: Image) -> Image:
    """Sums of 2 x 2 pixels."""
    size = picture.shape[1] // 2, picture.shape[0] // 2
    return np.asarray(4 * cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)


def _enlarge(picture: Image, grid: _Grid) -> Image:
    """A picture of the next coarser grid, interpolated within its support."""
    return (
        np.asarray(cv2.resize(picture, grid.share.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        * grid.share
    )


def _measure_squares(picture: Image) -> Vector:
    """Sum of the squares of each channel."""
    return np.array(cv2.sumElems(picture * picture)[:3])


def _solve_directly(support: Mask, diagonal: Matte, across: float, right: Image) -> Matrix:
    """Solve the same equations, (n, 3), by a sparse factorisation."""
    number = np.full(support.shape, -1, np.int32)
    count = int(support.sum())
    every = np.arange(count, dtype=np.int32)
    number[support] = every
    links = []
    for a, b, weight in ((number[:, :-1], number[:, 1:], across), (number[:-1], number[1:], 1.0)):
        both = (a >= 0) & (b >= 0)
        links.append((a[both], b[both], np.full(int(both.sum()), weight)))
    first, second, weights = (np.concatenate(column) for column in zip(*links, strict=True))
    degree = np.bincount(first, weights, count) + np.bincount(second, weights, count) + diagonal[support]
    system = sp.csc_matrix(
        (
            np.concatenate([degree, -weights, -weights]),
            (np.concatenate([every, first, second]), np.concatenate([every, second, first])),
        ),
        shape=(count, count),
    )
    factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.asarray(factors.solve(right[support].astype(np.float64)))
