"""A person's own shape at rest, and the difference between two people's, on the dense mesh.

Shapes are (478, 3) millimetres on the head, in the axes of `faces.pose`. A face that meets the target's mesh exactly
has the target's proportions, and looks like neither person; moved part of the way to the source's it looks like the
source on the target's head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.face import Face
from fsgan_core.faces.landmarkers.landmarks import measure_mouth_opening
from fsgan_core.faces.mesh import (
    BROW_L,
    BROW_R,
    CANONICAL,
    FACE_OVAL,
    INNER_LIPS,
    IRIS_L,
    IRIS_R,
    LIDS_L,
    LIDS_R,
    OUTER_LIPS,
    VERTEX_COUNT,
    read_landmarks68,
)
from fsgan_core.faces.mesh_pose import compute_rigidity, fit_rigid
from fsgan_core.faces.pose import CAMERA_DISTANCE
from fsgan_core.runtime.arrays import AnyArray, Mesh, Points3D, Vector
from fsgan_core.stages.image_ops import smoothstep
from fsgan_core.stages.mesh_warp import square_mesh

REST_OPENING = 0.08  # of the eyes' distance: a mouth open this far halves a frame's weight
MIN_FRAME_WEIGHT = 1e-3
OUTLINE_FADE = 25.0  # mm from the outline, over which proportions begin to change
OPENING_REACH = 8.0  # mm around an opening, that follows its edge
REGION_REACH = 12.0  # mm around a feature, that move with it
ABOVE_EYES, FOREHEAD_RIGIDITY = -8.0, 0.05  # mm on the generic head; skin above it moves with the brows
REST_OF_FACE = 0.25  # how much the rest of the face counts against a feature, far from all features

NOSE = (1, 2, 4, 5, 6, 19, 45, 48, 49, 51, 64, 94, 98, 102, 115, 129, 168, 195, 197, 219, 220, 275, 278, 279, 281, 294)
"""Vertices of the nose: bridge, tip and wings."""


def fit_head(mesh: Mesh) -> tuple[float, AnyArray, Vector]:
    """Fits the generic head to a mesh in square pixels: pixels per mm, rotation (3, 3), place of the origin (3,)."""
    scale, rotation, origin = fit_rigid(CANONICAL, mesh, compute_rigidity() * FOREHEAD_SHARES)
    return float(scale), rotation, origin


def bring_to_head(mesh: Mesh) -> Points3D:
    """Brings a mesh in square pixels to millimetres on the head (478, 3): pose and perspective taken out."""
    scale, _, origin = fit_head(mesh)
    camera = (mesh - origin) / scale
    camera[:, :2] *= 1 + camera[:, 2:] / CAMERA_DISTANCE
    scale, rotation, origin = fit_head(camera)
    return np.asarray((camera - origin) @ rotation / scale)


def fit_rest_mesh(faces: Mapping[int, Face], pixel_aspect: float = 1.0) -> Points3D:
    """Fits a person's own shape at rest: the mean over all frames, those with an open mouth counting less.

    Returns:
        (478, 3) mm. The generic face if there are no faces.
    """
    total, weights = np.zeros((VERTEX_COUNT, 3)), 0.0
    for face in faces.values():
        mesh = square_mesh(face.get_mesh(pixel_aspect), pixel_aspect)
        opening = float(measure_mouth_opening(read_landmarks68(mesh)))
        weight = face.confidence / (1 + (opening / REST_OPENING) ** 2) + MIN_FRAME_WEIGHT
        total += weight * bring_to_head(mesh)
        weights += weight
    return total / weights if weights else np.array(CANONICAL)


def compute_likeness(sources: Sequence[tuple[Points3D, int]], target: Points3D) -> Points3D:
    """Compares the source's proportions with the target's; outline and openings stay the target's.

    A still that smiles with open lips is not a person whose lips are apart: both edges of an opening move alike.

    Args:
        sources: Shape at rest and number of frames of each source clip.
        target: Shape at rest of the target.

    Returns:
        (478, 3) mm to add to the target's shape.
    """
    counts = np.array([max(count, 1) for _, count in sources], np.float64)
    mean = np.tensordot(counts / counts.sum(), np.stack([shape for shape, _ in sources]), 1)
    return _keep_opening_edges((mean - target) * OUTLINE_SHARES[:, None])


def _keep_opening_edges(change: Points3D) -> Points3D:
    """Makes the edges of lids and lips move alike, as a line that may shift, tilt and widen; skin around follows."""
    correction = np.zeros_like(change)
    for ring in (LIDS_R, LIDS_L, INNER_LIPS):
        edge = list(ring)
        basis = np.column_stack([np.ones(len(edge)), CANONICAL[edge, 0]])
        alike = basis @ np.linalg.lstsq(basis, change[edge], rcond=None)[0]
        distance = np.linalg.norm(CANONICAL[:, None] - CANONICAL[edge][None], axis=-1)
        near = np.exp(-((distance / OPENING_REACH) ** 2))
        near[edge] = np.eye(len(edge))
        reach = near.max(1)
        correction += reach[:, None] * (near @ (alike - change[edge])) / np.maximum(near.sum(1, keepdims=True), 1e-9)
    return np.asarray(change + correction * OUTLINE_SHARES[:, None])


def weigh_regions(params: ReenactParams) -> Vector:
    """Computes how much of the source's proportions each vertex takes over, (478,), by the parameters."""
    amounts = np.array([params.likeness_eyes, params.likeness_nose, params.likeness_mouth, params.likeness_brows, 1.0])
    return np.asarray(params.likeness * REGION_SHARES @ amounts)


def displace_mesh(mesh: Mesh, change: Points3D, pixel_aspect: float = 1.0) -> Mesh:
    """Moves the vertices of a mesh by millimetres on the head as it is posed.

    Args:
        mesh: (478, 3), plate coordinates.
        change: (478, 3) mm.
        pixel_aspect: Width of a pixel over its height.
    """
    scale, rotation, _ = fit_head(square_mesh(mesh, pixel_aspect))
    return np.asarray(mesh + scale * change @ rotation.T / (pixel_aspect, 1.0, 1.0))


def _measure_distances(vertices: Sequence[int]) -> Vector:
    """Distance (478,) in mm of each vertex of the generic face to the nearest of some."""
    return np.asarray(np.linalg.norm(CANONICAL[:, None] - CANONICAL[list(vertices)][None], axis=-1).min(1))


def _make_region_shares() -> AnyArray:
    """(478, 5): shares of eyes, nose, mouth, brows and the rest in each vertex; rows sum to 1.

    A feature's own vertices have no share of the rest, so that an amount of 0 leaves them where they are.
    """
    regions = ((*LIDS_R, *LIDS_L), NOSE, OUTER_LIPS, (*BROW_R, *BROW_L))
    near = np.exp(-((np.stack([_measure_distances(region) for region in regions], 1) / REGION_REACH) ** 2))
    shares = np.column_stack([near, REST_OF_FACE * (1 - near.max(1))])
    for iris, lids in ((IRIS_R, LIDS_R), (IRIS_L, LIDS_L)):  # an eyeball moves as its lids do
        shares[iris] = shares[list(lids)].mean(0)
    return np.asarray(shares / shares.sum(1, keepdims=True))


FOREHEAD_SHARES = np.where(CANONICAL[:, 1] < ABOVE_EYES, FOREHEAD_RIGIDITY, 1.0)
REGION_SHARES = _make_region_shares()
OUTLINE_SHARES = smoothstep(_measure_distances(FACE_OVAL) / OUTLINE_FADE)
