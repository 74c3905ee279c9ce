"""Landmarks to heat maps and back, as the published networks use them (FSGAN and FSGANv2, arXiv 2202.12972).

The reenactment network takes heat maps; the landmark network answers with them. Version 2 draws a cone around each
point. Version 1 had two ways: a Gaussian patch, and a blurred pixel for the network that works in steps. Which weights
take which is in their entry in the catalogue.
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

# The patch around a point, as published: side 6 s + 1 with s = size / PATCH_UNIT, and its deviation.
PATCH_UNIT = 128  # pixels of the picture
PATCH_DEVIATION = 0.25  # of the patch's side
PATCH_SHIFT = 1  # pixels that the patch lies up and left of the point: the published points are counted from 1
PATCH_LOST = 2  # pixels of what lies outside on the upper left that the published drawing does not cut off

# The blurred pixel, as published. The window is the smaller one at half size.
BLUR_REACH, BLUR_REACH_HALF = 6, 3  # pixels on each side of the point
BLUR_VARIANCE = 8.0  # pixels squared

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


def draw_patch_maps(landmarks: Points, size: int) -> HeatMaps:
    """Draws the heat maps of version 1: a Gaussian patch for each landmark.

    Args:
        landmarks: (n, 2), x and y as shares 0..1 of the crop.
        size: Side of a map in pixels.

    Returns:
        float32 (n, size, size), 0..1.
    """
    reach = 3 * max(1, round(size / PATCH_UNIT))
    profile = _make_profile(reach, 2 * (PATCH_DEVIATION * (2 * reach + 1)) ** 2)
    corners = _locate_pixels(landmarks, size) - PATCH_SHIFT - reach
    return np.stack(
        [np.outer(*(_place_patch(profile, first, size) for first in (top, left))) for left, top in corners]
    ).astype(np.float32)


def draw_blur_maps(landmarks: Points, size: int, is_half: bool = False) -> HeatMaps:
    """Draws the heat maps of version 1's network that works in steps: a blurred pixel for each landmark.

    The published code divides a batch by its largest value, which is that of any point whose pixel lies in the
    picture. Here each map is scaled by itself, so that a frame does not depend on others.

    Args:
        landmarks: (n, 2), x and y as shares 0..1 of the crop.
        size: Side of a map in pixels.
        is_half: Whether it is the second level of the pyramid, which has a smaller window.

    Returns:
        float32 (n, size, size), 0..1; 0 for a point outside the crop.
    """
    reach = BLUR_REACH_HALF if is_half else BLUR_REACH
    profile = _make_profile(reach, 2 * BLUR_VARIANCE)
    maps = np.zeros((len(landmarks), size, size), np.float32)
    for heat_map, (x, y) in zip(maps, _locate_pixels(landmarks, size), strict=True):
        if 0 <= x < size and 0 <= y < size:
            across, down = (_cut_profile(profile, place - reach, size) for place in (x, y))
            heat_map[:] = np.outer(down, across)
    return maps


def draw_pyramid_maps(landmarks: Points, size: int, kind: str = "cone") -> tuple[HeatMaps, HeatMaps]:
    """Draws the heat maps of both levels that a reenactment network takes.

    Args:
        landmarks: (n, 2), x and y as shares 0..1 of the crop.
        size: Side of the first level in pixels, even.
        kind: "cone", "patch" or "blur", as in the catalogue.

    Returns:
        float32 (n, size, size) and (n, size / 2, size / 2).
    """
    half = size // 2
    if kind == "patch":
        return draw_patch_maps(landmarks, size), draw_patch_maps(landmarks, half)
    if kind == "blur":
        return draw_blur_maps(landmarks, size), draw_blur_maps(landmarks, half, is_half=True)
    return draw_heat_maps(landmarks, size), draw_heat_maps(landmarks, half)


def _locate_pixels(landmarks: Points, size: int) -> npt.NDArray[np.int64]:
    """Finds the pixel (x, y) that holds each landmark; far outside the crop it is any pixel far outside."""
    return np.floor(np.clip(np.asarray(landmarks, np.float64).reshape(-1, 2), -2.0, 3.0) * size).astype(np.int64)


def _make_profile(reach: int, width: float) -> npt.NDArray[np.float64]:
    """Makes exp(-d ^ 2 / width) for d = -reach..reach."""
    return np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / width)


def _cut_profile(profile: npt.NDArray[np.float64], first: int, size: int) -> npt.NDArray[np.float64]:
    """Lays a profile on a line of zeros, with its start at `first`; what lies outside is cut off."""
    line = np.zeros(size)
    low, high = max(0, first), min(size, first + len(profile))
    if low < high:
        line[low:high] = profile[low - first : high - first]
    return line


def _place_patch(profile: npt.NDArray[np.float64], first: int, size: int) -> npt.NDArray[np.float64]:
    """Lays a patch's profile on a line of zeros; one that starts outside is moved inwards by up to PATCH_LOST pixels.

    As published, it keeps its last pixel's place all the same: as many pixels are cut off at its end.
    """
    moved = min(PATCH_LOST, max(0, -first))
    return _cut_profile(profile[: len(profile) - moved], first + moved, size)


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
