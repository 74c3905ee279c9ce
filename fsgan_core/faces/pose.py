"""Head pose from 68 landmarks: a generic face in millimetres, fitted by least squares.

Camera axes: x to the picture's right, y down, z away from the viewer. The fitted model is
    picture = scale * (R X)_xy / (1 + (R X)_z / CAMERA_DISTANCE) + translation
with CAMERA_DISTANCE in millimetres: a camera that looks at the face from this distance, wherever in the picture the
face is. So the angles are those of the head relative to the line of sight, as a network measures them that sees only a
crop of the face, and the lens need not be known.

R = Roll(z) Pitch(x) Yaw(y), each positive as: yaw, face turns to the picture's right; pitch, face looks up; roll,
head tilts clockwise in the picture. Roll is the last rotation, in the picture's plane, so undoing it in a picture
leaves yaw and pitch as they are. Pitch is the middle angle: the decomposition fails only at a pitch of 90 degrees; a
full profile (yaw 90) is safe.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.contract.landmarks import (
    BROWS,
    EYES,
    INNER_EYE_CORNERS,
    JAW,
    MOUTH_CORNERS,
    MOUTH_INNER,
    MOUTH_OUTER,
    NOSE,
    OUTER_EYE_CORNERS,
)
from fsgan_core.faces.geometry import Box, make_square_box
from fsgan_core.runtime.arrays import IndexArray, Matrix, Points, Points3D, Points68, Vector
from fsgan_core.runtime.memo import remember_results

CAMERA_DISTANCE = 1000.0  # mm; a talking head fills the frame at about 0.7 m to 1.5 m
REMEMBERED_POSES = 1024  # faces: every stage asks for the pose of the same few
BOX_SIDE = 156.0  # mm; the box that dlib's frontal detector draws around a face, median over footage
BOX_CENTRE = np.array([0.0, 33.0, 10.0])  # mm

# Right half of the face (picture's right), then the middle: index pairs (left, right) and x, y, z in mm.
# Origin: the middle between the outer corners of the eyes, which are 90 mm apart. The sizes of an average adult, then
# fitted to the landmarks of 22 people (378 frames of training footage, each person with equal weight, depth from the
# turned heads), to half a millimetre. Pitch 0 is where these people, on average, look into the lens.
_PAIRED_POINTS = (
    (0, 16, (77.5, 0, 59.5)),
    (1, 15, (75, 20.5, 54)),
    (2, 14, (71.5, 41, 48.5)),
    (3, 13, (67.5, 61, 40)),
    (4, 12, (60.5, 79, 29)),
    (5, 11, (50, 95, 15.5)),
    (6, 10, (35.5, 107, 2)),
    (7, 9, (18.5, 115, -8.5)),
    (17, 26, (60, -16, 14.5)),
    (18, 25, (50.5, -24, 6)),
    (19, 24, (37, -26.5, -2)),
    (20, 23, (24, -24, -8)),
    (21, 22, (11.5, -19, -11.5)),
    (31, 35, (13.5, 43.5, -22)),
    (32, 34, (7, 46, -25)),
    (36, 45, (45, 0, 8)),
    (37, 44, (37, -4.5, 4.5)),
    (38, 43, (27.5, -4.5, 3)),
    (39, 42, (19, 1.5, 2)),
    (40, 47, (28, 3.5, 2.5)),
    (41, 46, (37.5, 3.5, 4)),
    (48, 54, (25.5, 71, -10.5)),
    (49, 53, (16, 64.5, -22)),
    (50, 52, (6.5, 60.5, -27)),
    (58, 56, (7, 82, -24.5)),
    (59, 55, (16.5, 78.5, -19)),
    (60, 64, (21, 71, -13)),
    (61, 63, (6.5, 68, -25)),
    (67, 65, (7, 72.5, -23.5)),
)
_MIDDLE_POINTS = (
    (8, (118, -13)),
    (27, (-3, -13)),
    (28, (9, -21.5)),
    (29, (21, -30.5)),
    (30, (32.5, -39.5)),
    (33, (47.5, -27)),
    (51, (62.5, -28.5)),
    (57, (82.5, -25.5)),
    (62, (68.5, -26.5)),
    (66, (73.5, -24.5)),
)


def _make_face_model() -> Points3D:
    points = np.zeros((68, 3))
    for left, right, (x, y, z) in _PAIRED_POINTS:
        points[left], points[right] = (-x, y, z), (x, y, z)
    for index, (y, z) in _MIDDLE_POINTS:
        points[index] = (0, y, z)
    points.setflags(write=False)
    return points


def _make_mirror_order() -> IndexArray:
    order = np.arange(68)
    for left, right, _ in _PAIRED_POINTS:
        order[left], order[right] = right, left
    return order


FACE_MODEL = _make_face_model()
"""float64 (68, 3): landmarks of the generic face, in mm."""

MIRROR_ORDER = _make_mirror_order()
"""(68,): which landmark of a face is at each place of the mirrored face."""


def _make_rigidity() -> Vector:
    """How much each point says about the skull.

    Eye corners and nose say most; the jaw's outline slides along the skin as the head turns; brows and lips move by
    themselves.
    """
    weights = np.zeros(68)
    weights[JAW] = 0.12
    weights[6:11] = 0.05  # around the chin
    weights[BROWS] = 0.4
    weights[NOSE] = 1.0
    weights[EYES] = 0.6
    weights[[*OUTER_EYE_CORNERS, *INNER_EYE_CORNERS]] = 1.0
    weights[MOUTH_OUTER] = 0.06
    weights[list(MOUTH_CORNERS)] = 0.15
    weights[51] = 0.2  # middle of the upper lip
    weights[MOUTH_INNER] = 0.02
    return weights


RIGIDITY = _make_rigidity()
"""(68,): weights of the landmarks in a fit of the head."""


@dataclass(frozen=True)
class HeadPose:
    """The generic face as it stands in a picture.

    Attributes:
        rotation: (3, 3), model to camera axes.
        translation: (2,), where the model's origin is in the picture, in square pixels.
        scale: Pixels per millimetre at the origin.
        distance: Camera distance in mm.
        error: Weighted RMS distance of the fitted points from the landmarks, in pixels.
    """

    rotation: Matrix
    translation: Vector
    scale: float
    distance: float
    error: float

    def project(self, points: Points3D) -> Points:
        """Projects model points (..., 3) in mm to the picture, (..., 2) in square pixels."""
        turned = points @ self.rotation.T
        return self.scale * turned[..., :2] / (1 + turned[..., 2:] / self.distance) + self.translation

    @property
    def angles(self) -> tuple[float, float, float]:
        """(yaw, pitch, roll) in degrees."""
        return extract_angles(self.rotation)


def make_rotation(yaw: float, pitch: float, roll: float) -> Matrix:
    """Makes the rotation matrix (3, 3) of Euler angles in degrees; the inverse of `extract_angles`."""
    y, p, r = np.radians([-yaw, -pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)


def extract_angles(rotation: Matrix) -> tuple[float, float, float]:
    """Decomposes a rotation matrix (3, 3) into (yaw, pitch, roll) in degrees.

    >>> [round(angle, 3) for angle in extract_angles(make_rotation(yaw=20, pitch=-10, roll=5))]
    [20.0, -10.0, 5.0]
    """
    yaw = np.arctan2(rotation[2, 0], rotation[2, 2])
    pitch = -np.arcsin(np.clip(rotation[2, 1], -1.0, 1.0))
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


@remember_results(REMEMBERED_POSES)
def fit_head_pose(landmarks: Points68, pixel_aspect: float = 1.0) -> HeadPose:
    """Fits the generic face to landmarks.

    Args:
        landmarks: Plate coordinates.
        pixel_aspect: Width of a pixel over its height.
    """
    points = np.asarray(landmarks, np.float64) * (pixel_aspect, 1.0)
    return solve_pose(points, FACE_MODEL, RIGIDITY)


def measure_euler_angles(landmarks: Points68, pixel_aspect: float = 1.0) -> tuple[float, float, float]:
    """Measures (yaw, pitch, roll) in degrees of landmarks; signs as in the module's text.

    Args:
        landmarks: Plate coordinates.
        pixel_aspect: Width of a pixel over its height.

    >>> head = HeadPose(make_rotation(25, 5, 0), np.array([960, 540]), scale=4.0, distance=CAMERA_DISTANCE, error=0.0)
    >>> [round(angle, 2) for angle in measure_euler_angles(head.project(FACE_MODEL))]
    [25.0, 5.0, 0.0]
    """
    return fit_head_pose(landmarks, pixel_aspect).angles


def compute_face_box(landmarks: Points68, pixel_aspect: float = 1.0) -> Box:
    """Computes the face's box in plate coordinates, a square in square pixels.

    It comes from the fitted head, so it neither shrinks when the head turns nor grows when the mouth opens.
    """
    return compute_pose_box(fit_head_pose(landmarks, pixel_aspect), pixel_aspect)


def compute_pose_box(pose: HeadPose, pixel_aspect: float = 1.0) -> Box:
    """Computes the box of a head that is already fitted; see `compute_face_box`."""
    x, y, width, height = make_square_box(pose.project(BOX_CENTRE), BOX_SIDE * pose.scale)
    return (x / pixel_aspect, y, width / pixel_aspect, height)


def solve_pose(
    points: Points,
    model: Points3D,
    weights: Vector,
    distance: float = CAMERA_DISTANCE,
    depths: Vector | None = None,
    depth_weight: float = 0.0,
) -> HeadPose:
    """Fits a rigid model to points: weighted Gauss-Newton on rotation vector, log scale and translation.

    Args:
        points: (n, 2), square pixels.
        model: (n, 3), mm.
        weights: (n,), not negative.
        distance: Camera distance in mm.
        depths: (n,), rows away from the camera, from any origin; None if unknown.
        depth_weight: Weight of a depth over that of x or y.
    """
    rotation, scale, translation = _fit_weak_perspective(points, model, weights)
    root = np.sqrt(weights)[:, None]
    share = weights / weights.sum()
    count = len(model)
    none, one = np.zeros(count), np.ones(count)
    error, damping = np.inf, 1e-3
    for _ in range(50):
        turned = model @ rotation.T
        depth = 1 + turned[:, 2:] / distance
        flat = turned[:, :2] / depth
        residual = (points - translation - scale * flat) * root
        now = float((residual**2).sum())
        jacobian = np.empty((count, 2, 6))
        x, y, z = turned.T
        moved = np.array([(none, z, -y), (-z, none, x), (y, -x, none)])  # coordinate, axis: axis x turned
        jacobian[:, :, :3] = (scale * (moved[:2] - flat.T[:, None] * moved[2] / distance) / depth.T).transpose(2, 0, 1)
        jacobian[:, :, 3] = scale * flat
        jacobian[:, :, 4:] = np.eye(2)
        jacobian *= root[..., None]
        j, right = jacobian.reshape(-1, 6), residual.ravel()
        total = now
        if depths is not None:
            strength = np.sqrt(depth_weight) * root[:, 0]
            rows = np.column_stack([scale * moved[2].T, scale * z, np.outer(one, (0.0, 0.0))])
            off = depths - scale * z
            j = np.concatenate([j, (rows - share @ rows) * strength[:, None]])
            right = np.concatenate([right, (off - share @ off) * strength])
            total = float((right**2).sum())
        normal = j.T @ j
        normal[np.diag_indices(6)] *= 1 + damping
        step = np.linalg.solve(normal + 1e-12 * np.eye(6), j.T @ right)
        rotation = cv2.Rodrigues(step[:3])[0] @ rotation
        scale *= float(np.exp(np.clip(step[3], -0.5, 0.5)))
        translation = translation + step[4:]
        if abs(error - total) <= 1e-12 * (1 + total):
            break
        error = total
    return HeadPose(rotation, translation, scale, distance, float(np.sqrt(now / weights.sum())))


def _fit_weak_perspective(points: Points, model: Points3D, weights: Vector) -> tuple[Matrix, float, Vector]:
    """A closed-form start: the affine camera nearest to the points, made a rotation."""
    share = weights / weights.sum()
    model_mean, point_mean = share @ model, share @ points
    root = np.sqrt(share)[:, None]
    rows = np.linalg.lstsq((model - model_mean) * root, (points - point_mean) * root, rcond=None)[0].T  # (2, 3)
    u, values, vt = np.linalg.svd(rows, full_matrices=False)
    top = u @ vt
    rotation = np.vstack([top, np.cross(top[0], top[1])])
    scale = max(float(values.mean()), 1e-6)
    return rotation, scale, point_mean - scale * (rotation @ model_mean)[:2]
