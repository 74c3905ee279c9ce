"""How a dense mesh stands in space: the head's pose, and a mesh for 68 landmarks.

Jaw, cheeks and lips move with the expression and count little in a fit of the head.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from fsgan_core.faces.mesh import BROW_L, BROW_R, CANONICAL, FACE_OVAL, SKIN_COUNT, carry_mesh, read_landmarks68
from fsgan_core.faces.pose import HeadPose, fit_head_pose, solve_pose
from fsgan_core.runtime.arrays import AnyArray, Matrix, Mesh, Points68, Vector
from fsgan_core.runtime.memo import remember_results

_MOUTH_LINE = 58.0  # mm below the eyes: from here down skin moves with lips and jaw
_LOWER_FACE_WEIGHT = 0.05
_BROW_WEIGHT = 0.3
_OVAL_WEIGHT = 0.3  # the outline slides over the skin when the head turns
_DEPTH_ORIGIN = -3.0  # mm from the generic face's origin to where the networks' depth is zero, median over footage
_REMEMBERED_POSES = 16  # faces: analysis asks three times for the pose of the face that it has just measured
_DEPTH_WEIGHT = 0.25  # of a depth over that of x or y: the networks guess depth


@cache
def compute_rigidity() -> Vector:
    """Computes how much each vertex says about the skull: weights (478,), 0..1."""
    weights = np.ones(len(CANONICAL))
    weights[list(FACE_OVAL)] = _OVAL_WEIGHT
    weights[[*BROW_R, *BROW_L]] = _BROW_WEIGHT
    weights[CANONICAL[:, 1] > _MOUTH_LINE] = _LOWER_FACE_WEIGHT
    weights[SKIN_COUNT:] = 0.0
    weights.setflags(write=False)
    return weights


def fit_rigid(source: AnyArray, target: AnyArray, weights: Vector) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Fits scale, rotation and shift that take points to others, by weighted least squares (Umeyama, PAMI 1991).

    Args:
        source: (k, d).
        target: (..., k, d): one set of points, or many.
        weights: (k,), not negative.

    Returns:
        Scale (...,), rotation (..., d, d) and shift (..., d): target is about scale * source @ rotation.T + shift.
    """
    share = weights / weights.sum()
    source_mean = share @ source
    target_mean = np.einsum("k,...kd->...d", share, target)
    centred = source - source_mean
    moment = np.einsum("...ki,kj->...ij", target - target_mean[..., None, :], centred * share[:, None])
    u, values, vt = np.linalg.svd(moment)
    sign = np.ones(values.shape)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (values * sign).sum(-1) / np.maximum((share[:, None] * centred**2).sum(), 1e-12)
    return scale, rotation, target_mean - scale[..., None] * (rotation @ source_mean)


def fit_mesh_pose(mesh: Mesh, pixel_aspect: float = 1.0) -> HeadPose:
    """Fits the generic face to a mesh.

    Args:
        mesh: (478, 3), plate coordinates.
        pixel_aspect: Width of a pixel over its height.

    >>> from fsgan_core.faces.pose import CAMERA_DISTANCE, make_rotation
    >>> head = HeadPose(make_rotation(25, 5, 10), np.array([960, 540]), scale=4.0, distance=CAMERA_DISTANCE, error=0.0)
    >>> mesh = np.column_stack([head.project(CANONICAL), compute_depth(head.rotation, head.scale)])
    >>> [round(angle, 2) for angle in fit_mesh_pose(mesh).angles]
    [25.0, 5.0, 10.0]
    """
    return _fit_points(np.asarray(mesh, np.float64) * (pixel_aspect, 1.0, 1.0))


@remember_results(_REMEMBERED_POSES)
def _fit_points(points: Mesh) -> HeadPose:
    return solve_pose(points[:, :2], CANONICAL, compute_rigidity(), depths=points[:, 2], depth_weight=_DEPTH_WEIGHT)


def fit_mesh_to_landmarks(landmarks: Points68, pixel_aspect: float = 1.0) -> Mesh:
    """Makes a mesh for landmarks: the generic face in their pose, bent so that it meets them.

    Args:
        landmarks: (68, 2), plate coordinates.
        pixel_aspect: Width of a pixel over its height.

    Returns:
        float64 (478, 3), plate coordinates.

    >>> from fsgan_core.faces.pose import FACE_MODEL
    >>> mesh = fit_mesh_to_landmarks(4.0 * FACE_MODEL[:, :2] + (960, 540))
    >>> bool(np.allclose(read_landmarks68(mesh), 4.0 * FACE_MODEL[:, :2] + (960, 540)))
    True
    """
    landmarks = np.asarray(landmarks, np.float64)
    pose = fit_head_pose(landmarks, pixel_aspect)
    mesh = np.column_stack([pose.project(CANONICAL) / (pixel_aspect, 1.0), compute_depth(pose.rotation, pose.scale)])
    return carry_mesh(mesh, read_landmarks68(mesh), landmarks)


def compute_depth(rotation: Matrix, scale: float) -> Vector:
    """Computes the depth (478,) of the generic face in a pose, in rows, from the networks' zero."""
    return np.asarray(scale * ((CANONICAL @ rotation.T)[:, 2] - _DEPTH_ORIGIN))
