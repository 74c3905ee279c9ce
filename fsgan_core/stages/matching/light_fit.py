"""Low-order light on a face, fitted to samples of its skin: spherical harmonics, by reweighted least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.runtime.arrays import Matrix, Points3D, Vector
from fsgan_core.stages.image_ops import sum_channels

ORDER_PENALTIES = np.array([0.0, *[0.002] * 3, *[0.02] * 5])  # that hold back a bend more than a slope
COLOUR_PENALTIES = np.array([0.0, *[0.005] * 3, *[0.05] * 5])  # that hold back light of several colours
MIN_PENALTY = 1e-9  # keeps a system solvable
FIT_ROUNDS, STEADY = 12, 1e-4  # reweighted least squares: at most; change of a term at which they end
MIN_SPREAD = 0.1  # logarithm: a smaller difference from the model is no outlier
FAR_OUTLIER = 6.0  # spreads
MAD_TO_DEVIATION = 1.48  # standard deviation of normal noise over its median absolute deviation


def compute_light_basis(normals: Points3D) -> Matrix:
    """Computes real spherical harmonics up to order 2, (n, 9), not normalised.

    >>> compute_light_basis(np.array([[0.0, 0.0, -1.0]])).round(2).tolist()[0][:4]
    [1.0, 0.0, 0.0, -1.0]
    """
    x, y, z = np.asarray(normals).T
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)


@dataclass(frozen=True)
class LightFit:
    """Light fitted to a face.

    Attributes:
        light: (n, 3) logarithm of the skin's colour at each sample, as the model has it.
        weights: (n,) how much each sample counted.
    """

    light: Matrix
    weights: Vector


def fit_light(colours: Matrix, normals: Points3D, weights: Vector) -> LightFit:
    """Fits light to samples of skin by reweighted least squares; all channels share their weights.

    Args:
        colours: (n, 3) logarithms of scene-linear R, G, B.
        normals: (n, 3).
        weights: (n,) how much a sample shows skin; not all 0.
    """
    basis = compute_light_basis(normals)
    counted = np.asarray(weights > 0)
    weights, known = weights[counted], basis[counted]
    luma = colours[counted] @ LUMA_WEIGHTS
    tint = colours[counted] - luma[:, None]
    current, terms = weights, np.full((basis.shape[1], 3), np.inf)
    for _ in range(FIT_ROUNDS):
        # On half a sphere the terms have a mean; without it the penalties leave the level alone.
        mean = current @ known / current.sum()
        mean[0] = 0
        centred = known - mean
        share = (centred * current[:, None]).T / current.sum()
        system = share @ centred
        level = np.linalg.solve(system + np.diag(ORDER_PENALTIES + MIN_PENALTY), share @ luma)
        shift = np.linalg.solve(system + np.diag(COLOUR_PENALTIES + MIN_PENALTY), share @ tint)
        before, terms = terms, level[:, None] + shift
        distance = np.sqrt((luma - centred @ level) ** 2 + sum_channels((tint - centred @ shift) ** 2))
        spread = max(MIN_SPREAD, MAD_TO_DEVIATION * _compute_weighted_median(distance, weights))
        # Huber's weights are steady from frame to frame; what is far off (hair, a beard) does not count at all.
        far = distance / spread
        current = weights / np.maximum(far, 1) / (1 + (far / FAR_OUTLIER) ** 4)
        if np.abs(terms - before).max() < STEADY:
            break
    every = np.zeros(len(basis))
    every[counted] = current
    return LightFit((basis - mean) @ terms, every)


def _compute_weighted_median(values: Vector, weights: Vector) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(total, total[-1] / 2)), len(values) - 1)])
