"""Low-order light on a face, fitted to samples of its skin: spherical harmonics, by reweighted least squares."""

from __future__ import annotations

import numpy as np

from fsgan_core.runtime.arrays import AnyArray, Matrix, Points3D, Vector

PENALTIES = np.array([0.0, *[0.002] * 3, *[0.02] * 5])  # that hold back a bend more than a slope
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


def fit_light(colours: Matrix, normals: Points3D, weights: Vector) -> Matrix:
    """Fits light to samples of skin by reweighted least squares; all channels share their weights.

    Args:
        colours: (n, 3) logarithms of scene-linear R, G, B.
        normals: (n, 3).
        weights: (n,) how much a sample shows skin; not all 0.

    Returns:
        (n, 3) logarithm of the skin's colour at each sample, as the model has it.
    """
    basis = compute_light_basis(normals)
    counted = np.asarray(weights > 0)
    weights, known = weights[counted], basis[counted]
    values = colours[counted]
    current, terms = weights, np.full((basis.shape[1], 3), np.inf)
    for _ in range(FIT_ROUNDS):
        # On half a sphere the terms have a mean; without it the penalties leave the level alone.
        mean = current @ known / current.sum()
        mean[0] = 0
        centred = known - mean
        share = (centred * current[:, None]).T / current.sum()
        system = share @ centred + np.diag(PENALTIES + MIN_PENALTY)
        before, terms = terms, np.linalg.solve(system, share @ values)
        distance = np.linalg.norm(values - centred @ terms, axis=1)
        spread = max(MIN_SPREAD, MAD_TO_DEVIATION * compute_weighted_median(distance, weights))
        # Huber's weights are steady from frame to frame; what is far off (hair, a beard) does not count at all.
        far = distance / spread
        current = weights / np.maximum(far, 1) / (1 + (far / FAR_OUTLIER) ** 4)
        if np.abs(terms - before).max() < STEADY:
            break
    return np.asarray((basis - mean) @ terms)


def compute_weighted_median(values: AnyArray, weights: AnyArray) -> float:
    """Computes the median of values, each of which counts as much as its weight; without any weight all count alike."""
    if not np.any(weights):
        return float(np.median(values))
    return float(np.quantile(values, 0.5, weights=weights, method="inverted_cdf"))
