"""The points that a face is warped by and outlined with: 68 landmarks, and a forehead that landmarks lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R, JAW, MOUTH_INNER, MOUTH_OUTER, NOSE
from fsgan_core.faces.pose import FACE_MODEL, MIRROR_ORDER, HeadPose, fit_head_pose
from fsgan_core.faces.track import Face

BROWS = slice(BROW_R.start, BROW_L.stop)
EYES = slice(EYE_R.start, EYE_L.stop)
LIPS, INNER_LIPS = MOUTH_OUTER, MOUTH_INNER

# Hairline and middle of the forehead of an average adult, mm, in the axes of faces.pose; temple to temple.
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

FOREHEAD_POINTS = np.vstack([HAIRLINE, MID_FOREHEAD])  # as they stand behind the landmarks in `control_points`

# The landmarks whose misfit to the generic head the forehead follows: temples and brows.
_FOREHEAD_ANCHORS = np.array([0, 16, *range(17, 27)])


def locate_forehead(landmarks: np.ndarray, pixel_aspect: float = 1.0, up: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Hairline (9, 2), temple to temple, and mid forehead (5, 2), plate coordinates.

    The generic head's, posed as the landmarks say, shifted by what brows and temples differ from it. up: 1 is the
    hairline, 0 the brows.
    """
    pose = fit_head_pose(landmarks, pixel_aspect)
    square = landmarks * (pixel_aspect, 1.0)
    misfit = square - pose.project(FACE_MODEL)
    brow_line = FACE_MODEL[17:27, 1].mean()

    def place_points(points: np.ndarray) -> np.ndarray:
        raised = points.copy()
        raised[:, 1] = brow_line + (points[:, 1] - brow_line) * up
        placed = pose.project(raised) + compute_forehead_shares(points) @ misfit
        return np.asarray(placed / (pixel_aspect, 1.0))

    return place_points(HAIRLINE), place_points(MID_FOREHEAD)


def compute_forehead_shares(points: np.ndarray) -> np.ndarray:
    """(n, 68): how much each of the forehead's `points` (n, 3) mm goes along with each landmark."""
    shares = np.zeros((len(points), 68))
    distance = np.linalg.norm(points[:, None] - FACE_MODEL[_FOREHEAD_ANCHORS][None], axis=2)
    near = np.exp(-((distance / 40.0) ** 2)) + 1e-6
    shares[:, _FOREHEAD_ANCHORS] = near / near.sum(1, keepdims=True)
    return shares


def compute_control_points(landmarks: np.ndarray, pixel_aspect: float = 1.0) -> np.ndarray:
    """(82, 2): the 68 landmarks, hairline, mid forehead."""
    return np.vstack([landmarks, *locate_forehead(landmarks, pixel_aspect)])


def compute_outline(landmarks: np.ndarray, pixel_aspect: float = 1.0, up: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The face as two polygons (n, 2) whose union it is: from jaw to hairline, and the hull of hairline, brows and
    eyes, since on the far side of a turned head brow and lid stand out beyond temple and jaw."""
    hairline = locate_forehead(landmarks, pixel_aspect, up)[0]
    upper = np.vstack([hairline, landmarks[[0, 16]], landmarks[BROWS], landmarks[EYES]])
    hull = ConvexHull(upper * (pixel_aspect, 1.0)).vertices
    return np.vstack([landmarks[JAW], hairline[::-1]]), upper[hull]


def measure_face_width(landmarks: np.ndarray, pixel_aspect: float = 1.0) -> float:
    """Width of the head in square pixels, whatever way it is turned: the unit of lengths given "of the face"."""
    return 144.0 * fit_head_pose(landmarks, pixel_aspect).scale


def _make_likeness_shares() -> np.ndarray:
    """How much of a person's proportions each landmark may carry over. Brows and nose make a likeness; lids and lips
    make hardly any (measured with a face descriptor) but carry the expression; the jaw's outline is the target's,
    whose head wears the face."""
    shares = np.zeros(68)
    shares[BROWS] = shares[NOSE] = 1.0
    shares[EYES] = shares[LIPS] = shares[INNER_LIPS] = 0.2
    return shares


LIKENESS_SHARES = _make_likeness_shares()


@dataclass(frozen=True)
class Performer:
    """One person through a clip. shape: (68, 3) mm, `personal_shape` of the faces."""

    faces: Mapping[int, Face]
    pixel_aspect: float
    rest_shape: np.ndarray


def measure_performer(faces: Mapping[int, Face], pixel_aspect: float = 1.0) -> Performer:
    """An actor with his or her own shape measured."""
    return Performer(faces, pixel_aspect, fit_rest_shape(faces, pixel_aspect))


def mirror_performer(performer: Performer) -> Performer:
    """The actor in the mirror, flipped about x = 0."""
    faces = {frame: face.mirror() for frame, face in performer.faces.items()}
    return Performer(faces, performer.pixel_aspect, (performer.rest_shape * (-1, 1, 1))[MIRROR_ORDER])


def compute_likeness(sources: Sequence[Performer], target: Performer) -> np.ndarray:
    """(68, 3) mm: what the source's proportions differ from the target's, where they make a likeness (LIKENESS)."""
    weights = np.array([max(len(source.faces), 1) for source in sources], np.float64)
    mean = np.tensordot(weights / weights.sum(), np.stack([source.rest_shape for source in sources]), 1)
    return np.asarray((mean - target.rest_shape) * LIKENESS_SHARES[:, None])


def measure_expression(face: Face, performer: Performer) -> np.ndarray:
    """(68, 2) mm: what a face's landmarks differ from the actor's own face at rest in the same pose, roll taken out."""
    pose = fit_head_pose(face.landmarks, performer.pixel_aspect)
    rows, values = _build_equations(pose, face.landmarks * (performer.pixel_aspect, 1.0))
    residual = values - np.einsum("pki,pi->pk", rows, performer.rest_shape)
    roll = np.radians(pose.angles[2])
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return np.asarray(residual @ turn.T)


def fit_rest_shape(faces: Mapping[int, Face], pixel_aspect: float = 1.0) -> np.ndarray:
    """(68, 3) mm: the person's own proportions at rest, in the axes of faces.pose.

    Least squares over all frames, pulled towards the generic face (depth strongly: few clips show it); frames with an
    open mouth count less, so that speech does not become shape.
    """
    normal = np.zeros((68, 3, 3))
    right = np.zeros((68, 3))
    total = 0.0
    for face in faces.values():
        pose, points = fit_head_pose(face.landmarks, pixel_aspect), face.landmarks * (pixel_aspect, 1.0)
        rows, values = _build_equations(pose, points)
        opening = np.linalg.norm(points[62] - points[66]) / np.linalg.norm(points[45] - points[36])
        weight = float(face.confidence / (1 + (opening / 0.08) ** 2) + 1e-3)
        normal += weight * np.einsum("pki,pkj->pij", rows, rows)
        right += weight * np.einsum("pki,pk->pi", rows, values)
        total += weight
    if total == 0:
        return FACE_MODEL.copy()
    prior = np.diag([0.05, 0.05, 2.0]) * total
    return np.linalg.solve(normal + prior, (right + FACE_MODEL @ prior)[..., None])[..., 0]


def _build_equations(pose: HeadPose, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per point the two linear equations (in mm) that the picture gives for its place on the head."""
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2] / pose.distance
    rows = pose.rotation[None, :2, :] / depth[:, None, None]
    return rows, (points - pose.translation) / pose.scale


def displace_landmarks(landmarks: np.ndarray, change: np.ndarray, pixel_aspect: float = 1.0) -> np.ndarray:
    """`landmarks` (68, 2) moved by `change` (68, 3) mm on the head as it is posed."""
    move = np.einsum("pki,pi->pk", compute_landmark_jacobian(landmarks, pixel_aspect), change)
    return np.asarray(landmarks + move / (pixel_aspect, 1.0))


def compute_landmark_jacobian(landmarks: np.ndarray, pixel_aspect: float = 1.0) -> np.ndarray:
    """(68, 2, 3): square pixels that each landmark moves in the picture for each mm on the head as it is posed."""
    pose = fit_head_pose(landmarks, pixel_aspect)
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2] / pose.distance
    return np.asarray(pose.scale * pose.rotation[None, :2, :] / depth[:, None, None])
