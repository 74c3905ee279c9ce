"""Gradient-domain blending of one picture into another (Perez, Gangnet, Blake, SIGGRAPH 2003).

The result keeps the face's gradients and takes the target's values at the border. It is the face plus a correction h
that is as smooth as possible inside the matte and meets (target - face) at its edge; h is what is solved for.
"""

from __future__ import annotations

import cv2
import numpy as np
import pyamg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from fsgan_core.runtime.arrays import Image, Mask, Matrix, Matte, Vector

SOLVER_TOLERANCE = 1e-5  # relative residual at which multigrid stops
MAX_RESIDUAL = 1e-3  # relative residual above which the system is solved directly after all
MAX_ITERATIONS, MAX_COARSE = 60, 200  # of multigrid; unknowns of its coarsest level
MAX_DIRECT_UNKNOWNS = 150_000  # up to here a direct solver is three times faster and needs less than 150 MB
BORDER_WEIGHT = 4.0  # of a border pixel's value; a link between neighbours has 1


def solve_membrane(difference: Image, support: Mask, trust: Matte, reach: float, aspect: float = 1.0) -> Image:
    """Solve for the correction h.

    Args:
        difference: target - face.
        support: Where h is solved.
        trust: How closely h meets the difference at each border pixel, 0..1. Pixels with 0 (hair behind a soft edge, an
            occluder) are free.
        reach: Rows over which the correction fades inside. Far more than the face's height gives Poisson's equation
            itself; less keeps a difference at the border from staining the whole face (a screened equation).
        aspect: Width of a pixel over its height.

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
    hold = np.where(border, BORDER_WEIGHT * trust, 0.0)[support]
    system = _build_laplacian(support, hold + 1 / reach**2, 1 / aspect**2)
    right = hold[:, None] * difference[support].astype(np.float64)
    result[support] = _solve_system(system, right)
    return result


def compute_relative_residual(system: sp.csr_matrix, solution: Vector, right: Vector) -> float:
    """Compute |A x - b| / |b| of one channel; 0 if b is 0."""
    size = float(np.linalg.norm(right))
    return float(np.linalg.norm(system @ solution - right)) / size if size > 0 else 0.0


def _build_laplacian(support: Mask, diagonal: Vector, across: float = 1.0) -> sp.csr_matrix:
    """The graph Laplacian of the pixels in `support`, links in a row weighing `across`, plus a diagonal."""
    number = np.full(support.shape, -1, np.int32)
    count = int(support.sum())
    number[support] = np.arange(count, dtype=np.int32)
    links = []
    for a, b, weight in ((number[:, :-1], number[:, 1:], across), (number[:-1], number[1:], 1.0)):
        both = (a >= 0) & (b >= 0)
        links.append((a[both], b[both], np.full(int(both.sum()), weight)))
    first, second, weights = (np.concatenate(column) for column in zip(*links, strict=True))
    degree = np.bincount(first, weights, count) + np.bincount(second, weights, count) + diagonal
    every = np.arange(count, dtype=np.int32)
    return sp.csr_matrix(
        (
            np.concatenate([degree, -weights, -weights]),
            (np.concatenate([every, first, second]), np.concatenate([every, second, first])),
        ),
        shape=(count, count),
    )


def _solve_system(system: sp.csr_matrix, right: Matrix) -> Matrix:
    """Solve for all channels, (n, c): directly for few unknowns, else by algebraic multigrid to save memory."""
    if system.shape[0] <= MAX_DIRECT_UNKNOWNS:
        return _solve_directly(system, right)
    hierarchy = pyamg.ruge_stuben_solver(system, max_coarse=MAX_COARSE)
    columns = []
    for channel in right.T:
        solution = hierarchy.solve(channel, tol=SOLVER_TOLERANCE, accel="cg", maxiter=MAX_ITERATIONS)
        if not compute_relative_residual(system, solution, channel) < MAX_RESIDUAL:
            solution = _solve_directly(system, channel)
        columns.append(solution)
    return np.column_stack(columns)


def _solve_directly(system: sp.csr_matrix, right: Matrix) -> Matrix:
    factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.asarray(factors.solve(right))
