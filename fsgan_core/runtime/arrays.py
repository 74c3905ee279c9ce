"""Names for the arrays that travel between functions.

An alias says what an array means: its shape, dtype, range and unit. The type checker sees the dtype; the shape is for
the reader. Arrays are row-major with row 0 on top, colour is R, G, B, and point coordinates are x, y in pixels of the
image that the function speaks of (x right, y down; the centre of the first pixel is 0, 0).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Angles",
    "AnyArray",
    "BoxArray",
    "ColourPlanes",
    "Descriptor",
    "Flags",
    "HalfImage",
    "Image",
    "Image8",
    "ImageStack8",
    "IndexArray",
    "IntegerPlane",
    "Mask",
    "Matrix",
    "Matte",
    "Mesh",
    "Names",
    "Plane",
    "PlaneStack",
    "Planes",
    "PointMap",
    "PointStack",
    "Points",
    "Points3D",
    "Points68",
    "Points98",
    "Triangles",
    "Vector",
    "Vertices",
]

# Pictures.

Image: TypeAlias = npt.NDArray[np.float32]
"""Picture: float32 (height, width, channels); scene-linear or display-like, the function says which; unclamped."""

Image8: TypeAlias = npt.NDArray[np.uint8]
"""8-bit picture: uint8 (height, width, 3), 0..255, sRGB."""

HalfImage: TypeAlias = npt.NDArray[np.float16]
"""Picture in a file's half floats: float16 (height, width, channels), unclamped."""

Matte: TypeAlias = npt.NDArray[np.float32]
"""Coverage of each pixel: float32 (height, width), 0 (outside) to 1 (inside)."""

Mask: TypeAlias = npt.NDArray[np.bool_]
"""Yes or no for each pixel: bool (height, width)."""

Plane: TypeAlias = npt.NDArray[np.float32]
"""One channel with any values (luma, depth, a difference): float32 (height, width), unclamped."""

IntegerPlane: TypeAlias = npt.NDArray[np.uint32]
"""One channel of whole numbers (ids): uint32 (height, width)."""

PointMap: TypeAlias = npt.NDArray[np.float32]
"""For each pixel, where to read another picture: float32 (height, width, 2), x and y in pixels of that picture."""

ColourPlanes: TypeAlias = npt.NDArray[np.float64]
"""Pixels as three planes for colour arithmetic: float64 (3, n), linear or display-like, unclamped."""

Planes: TypeAlias = npt.NDArray[np.float32]
"""Channels as a network takes them: float32 (channels, height, width); colour in -1..1, mattes in 0..1."""

PlaneStack: TypeAlias = npt.NDArray[np.float32]
"""`Planes` of several pictures: float32 (n, channels, height, width)."""

ImageStack8: TypeAlias = npt.NDArray[np.uint8]
"""8-bit pictures or mattes of one size: uint8 (n, height, width, channels)."""

# Geometry.

Points: TypeAlias = npt.NDArray[np.floating[Any]]
"""Points of a picture: float (n, 2), x and y in pixels."""

PointStack: TypeAlias = npt.NDArray[np.floating[Any]]
"""Points of several pictures: float (n, points, 2), x and y; the function says in which unit."""

Points68: TypeAlias = npt.NDArray[np.floating[Any]]
"""Landmarks in the order of iBUG 300-W: float (68, 2), x and y in pixels."""

Points98: TypeAlias = npt.NDArray[np.floating[Any]]
"""Landmarks in the order of WFLW: float (98, 2), x and y in pixels."""

Points3D: TypeAlias = npt.NDArray[np.floating[Any]]
"""Points in space: float (n, 3), x right, y down, z away from the camera, in millimetres."""

Mesh: TypeAlias = npt.NDArray[np.floating[Any]]
"""The dense face (`faces.mesh`): float (478, 3), x and y in pixels, z in rows away from the camera; 0 is the head."""

Vertices: TypeAlias = npt.NDArray[np.floating[Any]]
"""Vertices of a mesh: float (n, 2) in pixels, or (n, 3) in millimetres; the function says which."""

Triangles: TypeAlias = npt.NDArray[np.integer[Any]]
"""Triangles of a mesh: integer (n, 3), indices of vertices."""

BoxArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""Rectangle around a face: float (4,), x, y, width, height in pixels."""

Angles: TypeAlias = npt.NDArray[np.floating[Any]]
"""Head pose: float (3,) or (n, 3), yaw, pitch, roll in degrees."""

Matrix: TypeAlias = npt.NDArray[np.floating[Any]]
"""Matrix of a linear map or a system of equations: float (rows, columns)."""

# Numbers.

Vector: TypeAlias = npt.NDArray[np.floating[Any]]
"""A list of numbers, such as weights or distances: float (n,)."""

IndexArray: TypeAlias = npt.NDArray[np.integer[Any]]
"""Positions in another array: integer (n,)."""

Flags: TypeAlias = npt.NDArray[np.bool_]
"""Yes or no for each item of a list: bool (n,)."""

Names: TypeAlias = npt.NDArray[np.str_]
"""A name for each item of a list: str (n,)."""

Descriptor: TypeAlias = npt.NDArray[np.floating[Any]]
"""What a recogniser computes from a face: float (128,); the closer two are, the more alike the faces."""

AnyArray: TypeAlias = npt.NDArray[Any]
"""Any shape and dtype; only where a function truly takes every array."""
