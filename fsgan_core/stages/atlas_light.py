"""The light on a view of the atlas: a low-order model on the normals of the mesh, fitted robustly."""

from __future__ import annotations

import numpy as np

from fsgan_core.runtime.arrays import AnyArray, Image, Matrix, Matte

ROUNDS = 6  # of reweighted least squares
OUTLIER_UNIT = 0.15  # natural logarithm of light: a larger difference is no low-order light
RIDGE = 0.002  # weight, for each sample, that holds the second order back
FIRST_ORDER_RIDGE = 0.0002
MIN_SAMPLES = 50.0  # sum of weights: fewer give only a level


def fit_light_planes(logs: Image, normals: Image, weight: Matte) -> Image:
    """Fits the light of each colour channel.

    Args:
        logs: (height, width, 3) natural logarithm of light over albedo.
        normals: (height, width, 3) of the skin, in the view.
        weight: How much each pixel counts.

    Returns:
        (height, width, 3) the logarithm of the light at each pixel.
    """
    basis = compute_light_basis(normals)
    flat, values, weights = basis.reshape(-1, basis.shape[-1]), logs.reshape(-1, 3), weight.ravel().astype(np.float64)
    total = weights.sum()
    if total < MIN_SAMPLES:
        level = (values * weights[:, None]).sum(0) / max(total, 1e-6)
        return np.broadcast_to(level, logs.shape).astype(np.float32)
    ridge = total * np.diag([0.0] + [FIRST_ORDER_RIDGE] * 3 + [RIDGE] * 5)
    kept = np.ones_like(weights)
    for _ in range(ROUNDS):
        rows = flat * (weights * kept)[:, None]
        coefficients = np.linalg.solve(rows.T @ flat + ridge, rows.T @ values)
        residual = np.abs(values - flat @ coefficients).mean(1)
        kept = 1 / (1 + (residual / OUTLIER_UNIT) ** 2)
    return np.asarray(flat @ coefficients, np.float32).reshape(logs.shape)


def compute_light_basis(normals: AnyArray) -> Matrix:
    """Computes the nine spherical harmonics up to order two, unnormalised (Ramamoorthi and Hanrahan 2001).

    >>> compute_light_basis(np.array([0.0, 0.0, -1.0])).tolist()
    [1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 2.0]
    """
    x, y, z = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)
