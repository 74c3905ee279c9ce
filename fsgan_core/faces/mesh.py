"""The dense face: one topology for everybody, a generic shape, texture coordinates, and what can be read from a mesh.

A mesh is float (478, 3): 468 vertices of the skin, then five points of the right iris and five of the left one (middle,
then four on its edge). x and y are pixels of the picture; z counts rows of square pixels away from the camera, from an
origin inside the head. As everywhere, the person's right is at the picture's left.

The numbering is that of the networks in `faces.mesh_network`. The generic shape is the mean of 22 people (training
footage, each person with equal weight, symmetric), in millimetres in the axes of `faces.pose`. The texture coordinates
are a mean-value embedding of that shape (Floater 2003): no triangle is flipped, the outline is convex.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from fsgan_core.contract.landmarks import LANDMARK_COUNT
from fsgan_core.runtime.arrays import AnyArray, IndexArray, Matrix, Mesh, Points, Points3D, Points68, Triangles, Vector
from fsgan_core.runtime.memo import remember_results

VERTEX_COUNT = 478
SKIN_COUNT = 468
IRIS_R, IRIS_L = slice(468, 473), slice(473, 478)
IRIS_CENTRE_R, IRIS_CENTRE_L = IRIS_R.start, IRIS_L.start

# Rings around the openings. Lids: outer corner, lower lid to the inner corner (ninth), upper lid back. Lips: right
# corner, lower lip to the left corner (eleventh), upper lip back.
LIDS_R = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LIDS_L = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
LID_INNER_CORNER = 8  # place in a ring
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
# Upper edge from the outer end to the inner one, then the lower edge back.
BROW_R = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
BROW_L = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
# The mesh's edge, from the middle of the forehead to the picture's right and around.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
# The vertex nearest to each landmark of iBUG 300-W.
LANDMARK_VERTICES = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)

REMEMBERED_NORMALS = 8  # meshes: those of a frame and of its view are asked for several times
_FULL_NORMAL = 1e-12  # square pixels: a shorter normal has no direction


def _load_model() -> tuple[Points3D, Points, Triangles, IndexArray]:
    with np.load(Path(__file__).with_name("mesh_model.npz"), allow_pickle=False) as file:
        model = (
            file["canonical"].astype(np.float64),
            file["uv"].astype(np.float64),
            file["triangles"].astype(np.int64),
            file["mirror"].astype(np.int64),
        )
    for array in model:
        array.setflags(write=False)
    return model


CANONICAL, UV, TRIANGLES, MIRROR_ORDER = _load_model()
"""Generic face (478, 3) in mm, the origin between the outer eye corners, which are 90 mm apart; texture coordinates
(478, 2), 0..1 from the lower left; triangles (852, 3) without eyes and mouth, wound clockwise in the picture; which
vertex of a mesh is at each place of the mirrored mesh."""


def read_landmarks68(mesh: Mesh) -> Points68:
    """Reads the 68 landmarks (..., 68, 2) of a mesh (..., 478, 3).

    >>> read_landmarks68(CANONICAL).shape
    (68, 2)
    """
    return np.asarray(mesh[..., LANDMARK_VERTICES, :2], np.float64)


def carry_mesh(mesh: Mesh, before: Points68, after: Points68) -> Mesh:
    """Moves a mesh along with the landmarks that are read from it; the skin around a moved landmark follows smoothly.

    Args:
        mesh: (478, 3).
        before: The landmarks as they are.
        after: The landmarks as they shall be.
    """
    result = np.array(mesh, np.float64)
    result[:, :2] += compute_landmark_shares() @ (np.asarray(after, np.float64) - before)
    return result


@cache
def compute_landmark_shares() -> Matrix:
    """Computes how much each vertex goes along with each landmark: (478, 68), rows sum to 1.

    It is the smoothest interpolation on the generic face (a biharmonic spline in three dimensions, kernel r).
    """
    knots = CANONICAL[list(LANDMARK_VERTICES)]
    system = np.zeros((LANDMARK_COUNT + 1, LANDMARK_COUNT + 1))
    system[:-1, :-1] = np.linalg.norm(knots[:, None] - knots, axis=-1)
    system[:-1, -1] = system[-1, :-1] = 1.0
    basis = np.column_stack([np.linalg.norm(CANONICAL[:, None] - knots, axis=-1), np.ones(VERTEX_COUNT)])
    shares = np.linalg.solve(system.T, basis.T).T[:, :-1]
    shares.setflags(write=False)
    return np.asarray(shares)


@remember_results(REMEMBERED_NORMALS)
def compute_vertex_normals(mesh: Mesh) -> AnyArray:
    """Computes the unit normals (478, 3) of the skin, out of the face: z is negative where it faces the camera.

    The points of an iris get the mean normal of their lids.

    Args:
        mesh: (478, 3), square pixels.

    >>> compute_vertex_normals(CANONICAL)[4].round(1).tolist()  # the tip of the nose
    [0.0, -0.1, -1.0]
    """
    corners = mesh[TRIANGLES]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((VERTEX_COUNT, 3))
    for corner in range(3):
        np.add.at(normals, TRIANGLES[:, corner], across)
    for iris, ring in ((IRIS_R, LIDS_R), (IRIS_L, LIDS_L)):
        normals[iris] = normals[list(ring)].mean(0)
    length = np.sqrt(np.maximum((normals**2).sum(1, keepdims=True), _FULL_NORMAL))
    return np.asarray(normals / length)


def compute_facing(mesh: Mesh) -> Vector:
    """Computes how much the skin at each vertex faces the camera: (478,), 1 straight at it, 0 edge on, -1 away.

    Args:
        mesh: (478, 3), square pixels.
    """
    return np.asarray(-compute_vertex_normals(mesh)[:, 2])
