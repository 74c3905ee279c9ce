"""Named regions of the face in texture coordinates, such as brows, lids, forehead and beard.

A region is a polygon of mesh vertices. It is the same for everybody, because the texture coordinates are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

import cv2
import numpy as np

from fsgan_core.contract.layers import ATLAS_REGIONS
from fsgan_core.faces.mesh import BROW_L, BROW_R, INNER_LIPS, LIDS_L, LIDS_R, MIRROR_ORDER, OUTER_LIPS, UV
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Matte, Points
from fsgan_core.stages.image_ops import draw_convex_hull, draw_polygon, make_disc

SOFTNESS = 0.004  # of the atlas: softness of a region's edge
BROW_GROWTH = 0.008  # of the atlas: hairs stand beyond the brow's vertices

# The ring around the lids, in the order of `faces.mesh.LIDS_R`.
LID_FOLD_R = (130, 25, 110, 24, 23, 22, 26, 112, 243, 190, 56, 28, 27, 29, 30, 247)
NOSTRIL_R = (79, 166, 59, 75, 60, 20, 238)
# Halves of regions that cross the middle of the face, from the upper to the lower middle.
NOSE_R = (168, 193, 245, 188, 114, 217, 198, 209, 102, 64, 98, 97, 2)
FOREHEAD_R = (10, 109, 67, 103, 54, 21, 71, 70, 63, 105, 66, 107, 9)
CHIN_R = (18, 83, 182, 106, 204, 211, 170, 149, 176, 148, 152)
BEARD_R = (2, 97, 98, 203, 206, 207, 187, 147, 137, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
CHEEK_R = (
    *(127, 234, 93, 132, 58, 138, 214, 212, 216, 206, 203, 129, 126, 47, 121, 232),
    *(231, 230, 229, 228, 31, 35, 143, 34),
)


def to_texels(uv: Points, size: int) -> Points:
    """Converts texture coordinates to pixels of an atlas: column and row.

    >>> to_texels(np.array([[0.0, 1.0], [0.5, 0.5]]), 4).tolist()
    [[-0.5, -0.5], [1.5, 1.5]]
    """
    u, v = np.moveaxis(np.asarray(uv, np.float64), -1, 0)
    return np.stack([u * size - 0.5, v * -size + (size - 0.5)], -1)


@cache
def draw_regions(size: int) -> Mapping[str, Matte]:
    """Draws every region of `contract.layers.ATLAS_REGIONS`.

    `lids` is the skin around the opening of the eyes, `eyes` the opening; `lips` leaves out the inner mouth; `beard`
    leaves out lips and mouth.

    Args:
        size: Side of the atlas, pixels.

    Returns:
        Name -> (size, size), 0..1.

    >>> sorted(draw_regions(64)) == sorted(ATLAS_REGIONS)
    True
    """
    eyes = np.maximum(_draw_ring(LIDS_R, size), _draw_ring(LIDS_L, size))
    folds = _draw_both_sides(LID_FOLD_R, size)
    mouth, lips = _draw_ring(INNER_LIPS, size), _draw_ring(OUTER_LIPS, size)
    brows = np.maximum(_draw_ring(BROW_R, size), _draw_ring(BROW_L, size))
    drawn = {
        "brows": np.asarray(cv2.dilate(brows, make_disc(BROW_GROWTH * size)), np.float32),
        "eyes": eyes,
        "lids": np.clip(folds - eyes, 0, 1),
        "lips": np.clip(lips - mouth, 0, 1),
        "nostrils": np.maximum(
            draw_convex_hull(_locate(NOSTRIL_R, size), _window(size), SOFTNESS * size),
            draw_convex_hull(_locate(_mirror(NOSTRIL_R), size), _window(size), SOFTNESS * size),
        ),
        "nose": _draw_across(NOSE_R, size),
        "forehead": _draw_across(FOREHEAD_R, size),
        "cheeks": _draw_both_sides(CHEEK_R, size),
        "chin": _draw_across(CHIN_R, size),
        "beard": np.clip(_draw_across(BEARD_R, size) - lips, 0, 1),
        "mouth": mouth,
    }
    for matte in drawn.values():
        matte.setflags(write=False)
    return MappingProxyType({name: drawn[name] for name in ATLAS_REGIONS})


@cache
def draw_face_area(size: int) -> Matte:
    """Draws where the mesh is in the atlas: (size, size), 0..1."""
    return draw_convex_hull(to_texels(UV, size), _window(size))


@cache
def draw_skin(size: int) -> Matte:
    """Draws where everybody has bare skin (no brows, eyes, lids, lips, mouth or nostrils): (size, size), 0..1."""
    regions = draw_regions(size)
    features = np.maximum.reduce([regions[name] for name in ("brows", "eyes", "lids", "lips", "mouth", "nostrils")])
    return np.asarray(draw_face_area(size) * (1 - features))


def _locate(vertices: Sequence[int], size: int) -> Points:
    return to_texels(UV[list(vertices)], size)


def _mirror(vertices: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(MIRROR_ORDER[vertex]) for vertex in vertices)


def _window(size: int) -> Window:
    return Window(0, 0, size, size)


def _draw_ring(vertices: Sequence[int], size: int) -> Matte:
    return draw_polygon(_locate(vertices, size), _window(size), SOFTNESS * size)


def _draw_both_sides(vertices: Sequence[int], size: int) -> Matte:
    return np.maximum(_draw_ring(vertices, size), _draw_ring(_mirror(vertices), size))


def _draw_across(half: Sequence[int], size: int) -> Matte:
    """A region whose outline is `half` and its mirror image."""
    return _draw_ring((*half, *_mirror(half)[-2:0:-1]), size)
