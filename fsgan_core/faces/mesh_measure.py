"""Measures the mesh of one face in a picture, from about where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.geometry import Box
from fsgan_core.faces.mesh_network import fit_square_to_mesh, measure_meshes
from fsgan_core.runtime.arrays import Image8, Mesh

_SIDE_PER_BOX = 1.75  # side of the mesh network's region over that of a box of `faces.pose`
_FAINT_PROBABILITY = 0.1  # probability of a face below which a second look is not worth its time
# A region that the first look's mesh fits, so that the answer need not be repeated.
_SETTLED_SHIFT = 0.06  # of the side
_SETTLED_RATIO = 1.1
_SETTLED_ANGLE = 0.12  # radians
_MAX_SETTLING = 2  # repetitions


@dataclass(frozen=True)
class MeasuredMesh:
    """A mesh in a picture.

    Attributes:
        mesh: (478, 3), pixels of the picture.
        probability: 0..1, that this is a face.
    """

    mesh: Mesh
    probability: float


def fit_square_to_box(box: Box) -> RotatedSquare:
    """Makes the mesh network's region around a box of `faces.pose`."""
    x, y, width, height = box
    return RotatedSquare(np.array([x + width / 2, y + height / 2]), max(width, height, 1.0) * _SIDE_PER_BOX)


def measure_mesh(picture: Image8, square: RotatedSquare, device: str = "cpu") -> MeasuredMesh:
    """Measures the mesh of one face: the mean of a plain and a mirrored look at the region that the face fits.

    Args:
        picture: RGB, square pixels.
        square: About where the face is.
        device: Where the network runs, such as "cpu" or "cuda".

    Raises:
        WeightsError: The network is missing or damaged.
    """
    for _ in range(1 + _MAX_SETTLING):
        (mesh,), (probability,) = measure_meshes(picture, [square], device)
        own = fit_square_to_mesh(mesh)
        if probability < _FAINT_PROBABILITY or _is_settled(square, own):
            break
        square = own
    if probability >= _FAINT_PROBABILITY:
        (other,), (second,) = measure_meshes(picture, [own], device, mirrored=True)
        mesh, probability = (mesh + other) / 2, min(probability, second)
    return MeasuredMesh(mesh, float(probability))


def _is_settled(square: RotatedSquare, own: RotatedSquare) -> bool:
    turn = (own.angle - square.angle + np.pi) % (2 * np.pi) - np.pi
    return bool(
        np.linalg.norm(own.centre - square.centre) < _SETTLED_SHIFT * square.side
        and 1 / _SETTLED_RATIO < own.side / square.side < _SETTLED_RATIO
        and abs(turn) < _SETTLED_ANGLE
    )
