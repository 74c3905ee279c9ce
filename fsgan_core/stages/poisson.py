"""Gradient-domain seating of a picture in another one (Perez, Gangnet, Blake, SIGGRAPH 2003).

The result keeps the face's gradients and takes the target's values at the border. It is the face plus a correction h
that is as smooth as can be inside the matte and meets (target - face) at its edge; h is what is solved for.
"""

from __future__ import annotations

import cv2
import numpy as np
import pyamg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

SOLVER_TOLERANCE = 1e-5  # relative residual that is solved for
MAX_DIRECT_UNKNOWNS = 150_000  # unknowns: three times faster than multigrid there, below 150 MB
BORDER_WEIGHT = 4.0  # weight of a border pixel's value against one link between neighbours


def solve_membrane(
    difference: np.ndarray, support: np.ndarray, trust: np.ndarray, reach: float, aspect: float = 1.0
) -> np.ndarray:
    """The correction h, float32 (h, w, c), zero outside `support`.

    difference: (h, w, c), target - face. support: bool (h, w), where h is solved. trust: (h, w), 0..1, how much a
    border pixel's difference is to be met; border pixels of no trust (hair behind a soft edge, an occluder) are free.
    reach: rows over which the correction fades inside; far larger than the face is Poisson's equation itself, less
    keeps what the border differs by from staining the whole face (a screened equation). Every channel's relative
    residual is below 1e-3. aspect: width of a pixel over its height.
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


def compute_relative_residual(system: sp.csr_matrix, solution: np.ndarray, right: np.ndarray) -> float:
    """|A x - b| / |b| of one channel; 0 where b is 0."""
    size = float(np.linalg.norm(right))
    return float(np.linalg.norm(system @ solution - right)) / size if size > 0 else 0.0


def _build_laplacian(support: np.ndarray, diagonal: np.ndarray, across: float = 1.0) -> sp.csr_matrix:
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


def _solve_system(system: sp.csr_matrix, right: np.ndarray) -> np.ndarray:
    """(n, c). Directly up to DIRECT pixels; beyond, where that would take too much memory, by algebraic multigrid."""
    if system.shape[0] <= MAX_DIRECT_UNKNOWNS:
        return _solve_directly(system, right)
    hierarchy = pyamg.ruge_stuben_solver(system, max_coarse=200)
    columns = []
    for channel in right.T:
        solution = hierarchy.solve(channel, tol=SOLVER_TOLERANCE, accel="cg", maxiter=60)
        if not compute_relative_residual(system, solution, channel) < 1e-3:
            solution = _solve_directly(system, channel)
        columns.append(solution)
    return np.column_stack(columns)


def _solve_directly(system: sp.csr_matrix, right: np.ndarray) -> np.ndarray:
    factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.asarray(factors.solve(right))
