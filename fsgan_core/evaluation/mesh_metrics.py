"""What the dense mesh says about a result: where the eyes look, how far lids and lips open, light, landmarks, pose.

Every function compares the mesh of the untouched target with the mesh of the result. Meshes are (478, 3) in square
pixels of the picture, in the order of `faces.mesh`. Distances are divided by a size of the target's face, so that the
size of the picture does not count: 0.01 is one percent. A figure that cannot be measured is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from fsgan_core.faces.mesh import (
    INNER_LIPS,
    IRIS_CENTRE_L,
    IRIS_CENTRE_R,
    LID_INNER_CORNER,
    LIDS_L,
    LIDS_R,
    compute_facing,
)
from fsgan_core.runtime.arrays import AnyArray, Image8, Mesh, Points, Vector

__all__ = [
    "LIGHT_PATCHES",
    "compare_gaze",
    "compare_lids",
    "compare_light",
    "compare_lips",
    "measure_gaze",
    "measure_lid_openings",
    "measure_lip_gap",
    "measure_patches",
]

MIN_OPEN_LIDS = 0.12
"""Lid opening over the eye's width from which an eye counts as open. Below it the iris is mostly covered."""
MIN_PATCH_FACING = 0.25
"""Cosine between a patch's normal and the line of sight below which the patch is too oblique to be read."""
MIN_PATCH_PIXELS = 6
"""Pixels that a patch must have."""
MIN_PATCHES = 3
"""Patches that a face must show for its light to be measured."""

_EYES = ((LIDS_R, IRIS_CENTRE_R), (LIDS_L, IRIS_CENTRE_L))
_LID_PAIRS = (3, 4, 5)  # places in a ring of the lower lid; the upper lid's are counted from the ring's end
_LIP_PAIRS = (4, 5, 6)  # places of the lower lip, likewise
_MIN_LENGTH = 1e-6  # pixels; keeps relative distances finite

LIGHT_PATCHES: Mapping[str, tuple[int, ...]] = {
    "forehead": (108, 109, 10, 338, 337, 151),
    "right cheek": (119, 118, 117, 50, 36),
    "left cheek": (348, 347, 346, 280, 266),
    "chin": (201, 208, 171, 175, 396, 428, 421, 200),
}
"""Patches of skin that light is read from: corners as vertices of the mesh. Nose, lips, eyes and brows are left out,
because their colour belongs to the person."""


def measure_gaze(mesh: Mesh) -> Points:
    """Measures where each iris is in its eye.

    Returns:
        (2, 2): for the right and the left eye the iris's offset from the middle between the eye's corners, along the
        line of the corners and at right angles to it, over the distance of the corners.
    """
    return np.array([_measure_iris(mesh, ring, iris) for ring, iris in _EYES])


def _measure_iris(mesh: Mesh, ring: Sequence[int], iris: int) -> Vector:
    first, second = mesh[ring[0], :2], mesh[ring[LID_INNER_CORNER], :2]
    if first[0] > second[0]:  # the axis points to the picture's right in both eyes
        first, second = second, first
    axis = second - first
    width = max(float(np.linalg.norm(axis)), _MIN_LENGTH)
    along = axis / width
    offset = (mesh[iris, :2] - (first + second) / 2) / width
    return np.array([offset @ along, offset @ (-along[1], along[0])])


def measure_lid_openings(mesh: Mesh) -> Vector:
    """Measures how far the lids of the right and the left eye are open, over the eye's width: (2,)."""
    openings = []
    for ring, _ in _EYES:
        width = np.linalg.norm(mesh[ring[0], :2] - mesh[ring[LID_INNER_CORNER], :2])
        openings.append(_measure_gap(mesh, ring, _LID_PAIRS) / max(float(width), _MIN_LENGTH))
    return np.array(openings)


def measure_lip_gap(mesh: Mesh) -> float:
    """Measures the gap between the inner lips over the distance of the outer eye corners."""
    return _measure_gap(mesh, INNER_LIPS, _LIP_PAIRS) / _measure_eye_distance(mesh)


def _measure_gap(mesh: Mesh, ring: Sequence[int], places: Sequence[int]) -> float:
    lower, upper = [ring[place] for place in places], [ring[-place] for place in places]
    return float(np.linalg.norm(mesh[lower, :2] - mesh[upper, :2], axis=1).mean())


def _measure_eye_distance(mesh: Mesh) -> float:
    return max(float(np.linalg.norm(mesh[LIDS_R[0], :2] - mesh[LIDS_L[0], :2])), _MIN_LENGTH)


def compare_gaze(result: Mesh, target: Mesh) -> float:
    """Compares where the eyes look: how far the irises are from where the target's are, over the eye's width.

    Returns:
        Mean over the eyes that are open in both; NaN if none is.
    """
    is_open = np.minimum(measure_lid_openings(result), measure_lid_openings(target)) >= MIN_OPEN_LIDS
    if not is_open.any():
        return float("nan")
    return float(np.linalg.norm(measure_gaze(result) - measure_gaze(target), axis=1)[is_open].mean())


def compare_lids(result: Mesh, target: Mesh) -> float:
    """Compares how far the lids are open: mean absolute difference of the openings, over the eye's width."""
    return float(np.abs(measure_lid_openings(result) - measure_lid_openings(target)).mean())


def compare_lips(result: Mesh, target: Mesh) -> float:
    """Compares the gap of the inner lips: absolute difference, over the distance of the target's outer eye corners."""
    gap = _measure_gap(result, INNER_LIPS, _LIP_PAIRS) / _measure_eye_distance(target)
    return abs(gap - measure_lip_gap(target))


# Light.


def measure_patches(picture: Image8, mesh: Mesh) -> AnyArray:
    """Measures the mean colour of the patches of skin.

    Args:
        picture: sRGB, square pixels.
        mesh: Pixels of `picture`.

    Returns:
        float64 (patches, 3), CIE L*a*b*; NaN for a patch that is too oblique, too small or not in the picture.
    """
    from skimage.color import rgb2lab

    facing = compute_facing(mesh)
    colours, patches = np.full((len(LIGHT_PATCHES), 3), np.nan), dict[int, AnyArray]()
    for row, vertices in enumerate(LIGHT_PATCHES.values()):
        corners = mesh[list(vertices), :2]
        if facing[list(vertices)].mean() < MIN_PATCH_FACING:
            continue
        low = np.floor(corners.min(axis=0)).astype(int)
        high = np.ceil(corners.max(axis=0)).astype(int) + 1
        if (low < 0).any() or high[0] > picture.shape[1] or high[1] > picture.shape[0]:
            continue
        inside = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.fillConvexPoly(inside, cv2.convexHull(np.rint(corners - low).astype(np.int32)), 1)
        if inside.sum() < MIN_PATCH_PIXELS:
            continue
        patches[row] = picture[low[1] : high[1], low[0] : high[0]][inside > 0]
    if patches:
        converted = rgb2lab(np.concatenate([*patches.values()])[None] / 255.0)[0]
        ends = np.cumsum([len(pixels) for pixels in patches.values()])
        colours[[*patches]] = [pixels.mean(axis=0) for pixels in np.split(converted, ends[:-1])]
    return colours


def compare_light(result: Image8, target: Image8, mesh: Mesh) -> tuple[float, float]:
    """Compares light and tone of the skin in the same places of two pictures.

    Args:
        result: sRGB, square pixels.
        target: Of the same size.
        mesh: The target's mesh, in pixels of both.

    Returns:
        light: How much the pattern of light differs: L* of each patch less the mean of the face's patches, root mean
            square of the differences.
        tone: CIEDE2000 between the mean colours of the patches.
        Both are NaN if fewer than MIN_PATCHES patches can be read.
    """
    from skimage.color import deltaE_ciede2000

    result_colours, target_colours = measure_patches(result, mesh), measure_patches(target, mesh)
    usable = ~(np.isnan(result_colours[:, 0]) | np.isnan(target_colours[:, 0]))
    if usable.sum() < MIN_PATCHES:
        return float("nan"), float("nan")
    result_colours, target_colours = result_colours[usable], target_colours[usable]
    difference = result_colours[:, 0] - target_colours[:, 0]
    light = float(np.sqrt(np.mean((difference - difference.mean()) ** 2)))
    return light, float(deltaE_ciede2000(result_colours.mean(axis=0), target_colours.mean(axis=0)))
