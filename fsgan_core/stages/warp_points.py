"""Face points: the 68 landmarks, a forehead that landmarks lack, a person's shape at rest, and expressions.

Shapes and changes are in millimetres on the head, in the axes of `faces.pose`: x to the picture's right, y down, z away
from the viewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import ConvexHull

from fsgan_core.contract.landmarks import (
    BROW_L,
    BROW_R,
    BROWS,
    EYES,
    INNER_EYE_CORNERS,
    JAW,
    LANDMARK_COUNT,
    MOUTH,
    OUTER_EYE_CORNERS,
    TRACKABLE_LANDMARKS,
)
from fsgan_core.faces.face import Face
from fsgan_core.faces.pose import FACE_MODEL, HeadPose, fit_head_pose
from fsgan_core.runtime.arrays import Matrix, Points, Points3D, Points68, Vector

BROWS_TO_MOUTH = slice(BROW_R.start, MOUTH.stop)  # all landmarks but the jaw
# Single landmarks.
EYE_OUTER_R, EYE_OUTER_L = OUTER_EYE_CORNERS
EYE_INNER_R, EYE_INNER_L = INNER_EYE_CORNERS
NOSE_TIP, NOSE_BASE = TRACKABLE_LANDMARKS["nose_tip"], TRACKABLE_LANDMARKS["nose_base"]
TEMPLE_R, TEMPLE_L = JAW.start, JAW.stop - 1
INNER_LIP_TOP, INNER_LIP_BOTTOM = 62, 66  # middles of the inner lips
# Right, then left: outer end of the brow, outer corner of the eye, temple.
EYE_SIDES = ((BROW_R.start, EYE_OUTER_R, TEMPLE_R), (BROW_L.stop - 1, EYE_OUTER_L, TEMPLE_L))

HEAD_WIDTH = 144.0  # mm: of the generic head, the unit of lengths given "of the face"

# Hairline and middle of the forehead of an average adult, mm, temple to temple.
HAIRLINE = np.array(
    [
        (-71, -18, 66),
        (-66, -42, 48),
        (-53, -63, 28),
        (-30, -74, 14),
        (0, -78, 9),
        (30, -74, 14),
        (53, -63, 28),
        (66, -42, 48),
        (71, -18, 66),
    ],
    np.float64,
)
MID_FOREHEAD = np.array([(-50, -42, 18), (-26, -48, 1), (0, -49, -4), (26, -48, 1), (50, -42, 18)], np.float64)

FOREHEAD_POINTS = np.vstack([HAIRLINE, MID_FOREHEAD])  # in the order of `compute_control_points`
CONTROL_POINT_COUNT = LANDMARK_COUNT + len(FOREHEAD_POINTS)

# The forehead follows the misfit of these landmarks to the generic head: temples and brows.
_FOREHEAD_ANCHORS = np.array([TEMPLE_R, TEMPLE_L, *range(BROWS.start, BROWS.stop)])
ANCHOR_REACH = 40.0  # mm: how far an anchor pulls

OPENING_STIFFNESS, FOREHEAD_STIFFNESS = 0.1, 3.0  # times the stiffness of other points

# The fit of a face at rest.
REST_OPENING = 0.08  # of the eyes' distance: a mouth open this far halves a frame's weight
MIN_FRAME_WEIGHT = 1e-3
REST_PRIOR = (0.05, 0.05, 2.0)  # weight of the generic face in x, y and depth, which few clips show


def locate_forehead(landmarks: Points68, pixel_aspect: float = 1.0, up: float = 1.0) -> tuple[Points, Points]:
    """Estimate where the forehead is: the generic one in the head's pose, shifted by the misfit of brows and temples.

    Args:
        landmarks: Plate coordinates.
        pixel_aspect: Width of a pixel over its height.
        up: How high the hairline lies: 1 as on an average head, 0 on the brows.

    Returns:
        Hairline (9, 2), temple to temple, and middle of the forehead (5, 2), plate coordinates.
    """
    pose = fit_head_pose(landmarks, pixel_aspect)
    square = landmarks * (pixel_aspect, 1.0)
    misfit = square - pose.project(FACE_MODEL)
    brow_line = FACE_MODEL[BROWS, 1].mean()

    def place_points(points: Points3D) -> Points:
        raised = points.copy()
        raised[:, 1] = brow_line + (points[:, 1] - brow_line) * up
        placed = pose.project(raised) + compute_forehead_shares(points) @ misfit
        return np.asarray(placed / (pixel_aspect, 1.0))

    return place_points(HAIRLINE), place_points(MID_FOREHEAD)


def compute_forehead_shares(points: Points3D) -> Matrix:
    """Compute how much each point of the forehead goes along with each landmark: (n, 68), rows sum to 1."""
    shares = np.zeros((len(points), LANDMARK_COUNT))
    distance = np.linalg.norm(points[:, None] - FACE_MODEL[_FOREHEAD_ANCHORS][None], axis=2)
    near = np.exp(-((distance / ANCHOR_REACH) ** 2)) + 1e-6
    shares[:, _FOREHEAD_ANCHORS] = near / near.sum(1, keepdims=True)
    return shares


def compute_control_points(landmarks: Points68, pixel_aspect: float = 1.0) -> Points:
    """List the points that a face is warped by: (82, 2), the 68 landmarks, hairline, middle of the forehead."""
    return np.vstack([landmarks, *locate_forehead(landmarks, pixel_aspect)])


def compute_outline(landmarks: Points68, pixel_aspect: float = 1.0, up: float = 1.0) -> tuple[Points, Points]:
    """Outline the face by two polygons; the face is their union.

    The first runs from jaw to hairline. The second is the hull of hairline, brows and eyes: on the far side of a turned
    head, brow and lid stand out beyond temple and jaw. Arguments as for `locate_forehead`.
    """
    hairline = locate_forehead(landmarks, pixel_aspect, up)[0]
    upper = np.vstack([hairline, landmarks[[TEMPLE_R, TEMPLE_L]], landmarks[BROWS], landmarks[EYES]])
    hull = ConvexHull(upper * (pixel_aspect, 1.0)).vertices
    return np.vstack([landmarks[JAW], hairline[::-1]]), upper[hull]


def measure_face_width(landmarks: Points68, pixel_aspect: float = 1.0) -> float:
    """Measure the width of the head in square pixels, whichever way it is turned."""
    return HEAD_WIDTH * fit_head_pose(landmarks, pixel_aspect).scale


def make_spline_stiffness(amount: float) -> Vector:
    """Make the stiffness of each control point of a warp by landmarks.

    Lips and lids carry the expression, so the warp must meet them; the forehead's points are only estimated.
    """
    stiffness = np.full(CONTROL_POINT_COUNT, amount)
    stiffness[EYES] *= OPENING_STIFFNESS
    stiffness[MOUTH] *= OPENING_STIFFNESS
    stiffness[LANDMARK_COUNT:] *= FOREHEAD_STIFFNESS
    return stiffness


@dataclass(frozen=True)
class Performer:
    """One person through a clip.

    Attributes:
        faces: By frame.
        pixel_aspect: Width of a pixel of the clip over its height.
        rest_shape: (68, 3) mm, `fit_rest_shape` of the faces.
        faults: Frames of damaged pictures -> the number of pixels around the face that are no numbers; infinite if the
            frame cannot be decoded.
    """

    faces: Mapping[int, Face]
    pixel_aspect: float
    rest_shape: Points3D
    faults: Mapping[int, float] = field(default_factory=dict)


def measure_performer(faces: Mapping[int, Face], pixel_aspect: float = 1.0) -> Performer:
    """Measure a person's own shape from the faces of a clip."""
    return Performer(faces, pixel_aspect, fit_rest_shape(faces, pixel_aspect))


def measure_expression(face: Face, performer: Performer) -> Points:
    """Measure how far a face's landmarks are from the person's own face at rest in the same pose.

    Returns:
        (68, 2) mm, the head's roll taken out.
    """
    pose = fit_head_pose(face.landmarks, performer.pixel_aspect)
    rows, values = _build_equations(pose, face.landmarks * (performer.pixel_aspect, 1.0))
    residual = values - np.einsum("pki,pi->pk", rows, performer.rest_shape)
    roll = np.radians(pose.angles[2])
    unroll = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return np.asarray(residual @ unroll.T)


def fit_rest_shape(faces: Mapping[int, Face], pixel_aspect: float = 1.0) -> Points3D:
    """Fit a person's own proportions at rest.

    Least squares over all frames, pulled towards the generic face. Frames with an open mouth count less, so that speech
    does not become shape.

    Returns:
        (68, 3) mm. The generic face if there are no faces.
    """
    normal = np.zeros((LANDMARK_COUNT, 3, 3))
    right = np.zeros((LANDMARK_COUNT, 3))
    total = 0.0
    for face in faces.values():
        pose, points = fit_head_pose(face.landmarks, pixel_aspect), face.landmarks * (pixel_aspect, 1.0)
        rows, values = _build_equations(pose, points)
        opening = np.linalg.norm(points[INNER_LIP_TOP] - points[INNER_LIP_BOTTOM]) / np.linalg.norm(
            points[EYE_OUTER_L] - points[EYE_OUTER_R]
        )
        weight = float(face.confidence / (1 + (opening / REST_OPENING) ** 2) + MIN_FRAME_WEIGHT)
        normal += weight * np.einsum("pki,pkj->pij", rows, rows)
        right += weight * np.einsum("pki,pk->pi", rows, values)
        total += weight
    if total == 0:
        return FACE_MODEL.copy()
    prior = np.diag(REST_PRIOR) * total
    return np.linalg.solve(normal + prior, (right + FACE_MODEL @ prior)[..., None])[..., 0]


def _build_equations(pose: HeadPose, points: Points) -> tuple[Matrix, Matrix]:
    """For each point the two linear equations (in mm) that the picture gives for its place on the head."""
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2] / pose.distance
    rows = pose.rotation[None, :2, :] / depth[:, None, None]
    return rows, (points - pose.translation) / pose.scale


def displace_landmarks(landmarks: Points68, change: Points3D, pixel_aspect: float = 1.0) -> Points68:
    """Move landmarks by millimetres on the head as it is posed.

    Args:
        landmarks: Plate coordinates.
        change: (68, 3) mm.
        pixel_aspect: Width of a pixel over its height.
    """
    move = np.einsum("pki,pi->pk", compute_landmark_jacobian(landmarks, pixel_aspect), change)
    return np.asarray(landmarks + move / (pixel_aspect, 1.0))


def compute_landmark_jacobian(landmarks: Points68, pixel_aspect: float = 1.0) -> Matrix:
    """Compute how far each landmark moves in the picture for 1 mm on the posed head: (68, 2, 3), square pixels."""
    pose = fit_head_pose(landmarks, pixel_aspect)
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2] / pose.distance
    return np.asarray(pose.scale * pose.rotation[None, :2, :] / depth[:, None, None])
