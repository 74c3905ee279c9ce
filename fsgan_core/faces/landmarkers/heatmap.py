"""Landmarks to heat maps and back, as the published networks use them (FSGANv2, arXiv 2202.12972).

The reenactment network takes heat maps; the landmark network answers with them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fsgan_core.runtime.arrays import Points

HeatMaps: TypeAlias = npt.NDArray[np.floating[Any]]
"""float (n, height, width): a map for each landmark, largest where the landmark is."""

# The cone around a point, as published.
CONE_RADIUS = float(np.sqrt(2.0))  # share of the crop's side at which the cone reaches 0
CONE_POWER = 8
CONE_FLOOR = 0.8  # values below this become 0
_MAP_RADIUS = CONE_RADIUS * (1 - CONE_FLOOR ** (1 / CONE_POWER))  # share of the crop's side at which a map reaches 0
_PEAK_THRESHOLD = 0.5  # of a map stretched to 0..1; values below do not count towards the point


def draw_heat_maps(landmarks: Points, size: int) -> HeatMaps:
    """Draws one heat map for each landmark.

    A map is ((sqrt2 - distance) / sqrt2) ^ 8 at pixel centres, then (m - 0.8) / 0.2 with negatives set to 0; the
    distance is in units of the crop's side.

    Args:
        landmarks: (n, 2), x and y as shares 0..1 of the crop.
        size: Side of a map in pixels.

    Returns:
        float32 (n, size, size), 0..1.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 2)
    maps = np.zeros((len(points), size, size), np.float32)
    # A map is 0 outside a small disc, so only the square around the disc is computed.
    reach = int(np.ceil(_MAP_RADIUS * size)) + 1
    first = np.floor(np.clip(points, -2.0, 3.0) * size).astype(int) - reach
    for heat_map, (x, y), (left, top) in zip(maps, points, first, strict=True):
        rows, columns = (slice(max(0, low), max(0, min(size, low + 2 * reach + 1))) for low in (top, left))
        down = ((np.arange(size)[rows] + 0.5) / size - y) ** 2
        across = ((np.arange(size)[columns] + 0.5) / size - x) ** 2
        distance = np.sqrt(down[:, None] + across[None, :])
        cone = np.clip((CONE_RADIUS - distance) / CONE_RADIUS, 0.0, None) ** CONE_POWER
        heat_map[rows, columns] = np.maximum((cone - CONE_FLOOR) / (1 - CONE_FLOOR), 0.0)
    return maps


def decode_heat_maps(maps: HeatMaps) -> Points:
    """Reads the landmark out of each heat map.

    Each map is stretched to 0..1, values below 0.5 are dropped, and the centre of mass is taken at pixel centres. A
    flat map gives the crop's middle.

    Args:
        maps: (n, height, width), any range.

    Returns:
        float64 (n, 2), x and y as shares 0..1 of the crop.

    >>> decode_heat_maps(draw_heat_maps(np.array([[0.25, 0.5]]), 64)).round(3)
    array([[0.25, 0.5 ]])
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
