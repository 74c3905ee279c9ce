"""Landmarks to heat maps, as the published reenactment network takes them, and heat maps back to landmarks, as the
published landmark network's are read (FSGANv2, arXiv 2202.12972)."""

from __future__ import annotations

import numpy as np

CONE_RADIUS = float(np.sqrt(2.0))  # of the crop's side: where a point's cone ends
CONE_POWER = 8
CONE_FLOOR = 0.8
_MAP_RADIUS = CONE_RADIUS * (1 - CONE_FLOOR ** (1 / CONE_POWER))  # of the crop's side: where a map reaches 0
_PEAK_THRESHOLD = 0.5


def draw_heat_maps(landmarks: np.ndarray, size: int) -> np.ndarray:
    """float32 (n, size, size), 0..1: one map for each of `landmarks` (n, 2), x and y as shares 0..1 of the crop.

    A map is ((sqrt2 - distance) / sqrt2) ^ 8 at pixel centres, then (m - 0.8) / 0.2 with negatives to 0; distance in
    units of the crop's side.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 2)
    maps = np.zeros((len(points), size, size), np.float32)
    # A map is 0 but for a small disc, so only the square around it is computed.
    reach = int(np.ceil(_MAP_RADIUS * size)) + 1
    first = np.floor(np.clip(points, -2.0, 3.0) * size).astype(int) - reach
    for one, (x, y), (left, top) in zip(maps, points, first, strict=True):
        rows, columns = (slice(max(0, low), max(0, min(size, low + 2 * reach + 1))) for low in (top, left))
        down = ((np.arange(size)[rows] + 0.5) / size - y) ** 2
        across = ((np.arange(size)[columns] + 0.5) / size - x) ** 2
        distance = np.sqrt(down[:, None] + across[None, :])
        cone = np.clip((CONE_RADIUS - distance) / CONE_RADIUS, 0.0, None) ** CONE_POWER
        one[rows, columns] = np.maximum((cone - CONE_FLOOR) / (1 - CONE_FLOOR), 0.0)
    return maps


def decode_heat_maps(maps: np.ndarray) -> np.ndarray:
    """float64 (n, 2), x and y as shares 0..1 of the crop, of heat maps (n, height, width).

    Each map is stretched to 0..1, values below 0.5 dropped, and the centre of mass taken at pixel centres. A flat map
    gives the crop's middle.
    """
    maps = np.asarray(maps, np.float64)
    low = maps.min(axis=(1, 2), keepdims=True)
    reach = maps.max(axis=(1, 2), keepdims=True) - low
    stretched = np.where(reach > 0, (maps - low) / np.where(reach > 0, reach, 1.0), 1.0)
    mass = np.where(stretched >= _PEAK_THRESHOLD, stretched, 0.0)
    height, width = maps.shape[1:]
    total = mass.sum(axis=(1, 2))
    x = mass.sum(axis=1) @ ((np.arange(width) + 0.5) / width) / total
    y = mass.sum(axis=2) @ ((np.arange(height) + 0.5) / height) / total
    return np.stack([x, y], axis=1)
