"""A face's surface as samples, and what is known at them, spread smoothly over a picture from a grid of knots."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Matrix, Mesh, Points, Points3D, Vector

FIELD_STEP, FIELD_SIGMA, FIELD_REACH = 0.03, 0.035, 0.15  # of the face
FAR_SHARE = 1e-3  # weight of samples that are far away: they alone count beyond the face
BACK_SHARE = 0.05  # weight of triangles that face away


@dataclass(frozen=True)
class FaceSurface:
    """A face's mesh as samples, one for each triangle.

    Attributes:
        places: (n, 2) x, y in pixels of the region.
        normals: (n, 3) unit vectors out of the face, in square pixels.
        areas: (n,) share of the face's width squared that a triangle covers in the picture.
        facing: (n,) 1 where the skin faces the camera, 0 where it is edge on or turned away.
        width: Of the face, in square pixels.
        aspect: Width of a pixel over its height.
        whole: What a field is spread over before a picture is cut out of it, in pixels of the picture.
        mesh: (478, 3), in pixels of the whole.
    """

    places: Points
    normals: Points3D
    areas: Vector
    facing: Vector
    width: float
    aspect: float
    whole: Window
    mesh: Mesh


def spread_over_picture(values: Matrix, surface: FaceSurface, shape: tuple[int, int]) -> Image:
    """Spreads values at the samples smoothly over a picture; beyond the face they go on.

    Args:
        values: (n, channels).
        surface: The face's.
        shape: Of the picture, (height, width).
    """
    x, y = place_knots(surface)
    # The knots that a cubic in the picture reads.
    across, down = _find_knots(x, shape[1]), _find_knots(y, shape[0])
    field = np.zeros((len(y), len(x), values.shape[1]), np.float32)
    field[down, across] = spread_to_knots(values, surface, x[across], y[down])
    return enlarge_field(field, surface.whole, shape)


def place_knots(surface: FaceSurface) -> tuple[Vector, Vector]:
    """Columns and rows of the knots of a field, in pixels of the picture."""
    whole, step = surface.whole, max(1.0, FIELD_STEP * surface.width)
    columns, rows = max(2, round(whole.width * surface.aspect / step)), max(2, round(whole.height / step))
    x = whole.x + (np.arange(columns) + 0.5) * whole.width / columns - 0.5
    return x, whole.y + (np.arange(rows) + 0.5) * whole.height / rows - 0.5


def enlarge_field(field: Image, whole: Window, shape: tuple[int, int]) -> Image:
    """A field's values at its knots, enlarged to the whole; the part of it that is a picture of `shape`."""
    spread = cv2.resize(field, (whole.width, whole.height), interpolation=cv2.INTER_CUBIC)
    part = spread[-whole.y : shape[0] - whole.y, -whole.x : shape[1] - whole.x]
    return np.ascontiguousarray(part, np.float32).reshape(*shape, field.shape[2])


def _find_knots(places: Vector, length: int) -> slice:
    """Those at 0..length, and two more at either end."""
    first, last = np.searchsorted(places, (0, length - 1))
    return slice(max(0, int(first) - 3), int(last) + 3)


def spread_to_knots(values: Matrix, surface: FaceSurface, x: Vector, y: Vector) -> Image:
    """Values at the crossings of columns x and rows y, (rows, columns, channels)."""
    across = ((x[:, None] - surface.places[:, 0]) * surface.aspect) ** 2
    down = (y[:, None] - surface.places[:, 1]) ** 2
    near, far = FIELD_SIGMA * surface.width, FIELD_REACH * surface.width
    weight = surface.areas * (BACK_SHARE + surface.facing)
    # The values, and 1 for the sum of the weights. All weights are positive, so single precision is enough for them.
    weighted = weight[:, None] * np.column_stack([values, np.ones(len(values))])
    far_weighted = (FAR_SHARE * weighted).astype(np.float32)
    near_across, near_down = np.exp(-0.5 * across / near**2), np.exp(-0.5 * down / near**2)
    far_across, far_down = 1 + (across / far**2).astype(np.float32), (down / far**2).astype(np.float32)
    total = np.empty((len(y), len(x), weighted.shape[1]))
    for channel in range(weighted.shape[1]):
        total[..., channel] = (near_down * weighted[:, channel]) @ near_across.T
    kernel = np.empty_like(far_across)
    for row in range(len(y)):
        np.add(far_across, far_down[row], out=kernel)
        np.multiply(kernel, kernel, out=kernel)
        np.reciprocal(kernel, out=kernel)
        total[row] += kernel @ far_weighted
    return np.asarray(total[..., :-1] / total[..., -1:], np.float32)
