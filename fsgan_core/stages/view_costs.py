"""What a view costs for a frame of the target: how far its pose, expression and shape are away, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsgan_core.contract.landmarks import BROWS, EYES, MOUTH_INNER, MOUTH_OUTER
from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.face import Face
from fsgan_core.faces.geometry import apply_affine, fit_similarity
from fsgan_core.faces.landmarkers.landmarks import measure_eye_opening, measure_mouth_opening
from fsgan_core.faces.pose import FACE_MODEL, fit_head_pose
from fsgan_core.runtime.arrays import AnyArray, Matrix, Vector
from fsgan_core.stages import warp_points
from fsgan_core.stages.allowed_views import ViewRef, list_used_views
from fsgan_core.stages.motion.performance import measure_landmark_bias, measure_openness
from fsgan_core.stages.warp_points import BROWS_TO_MOUTH, Performer

# A difference that costs one unit.
POSE_UNIT = 10.0  # degrees of yaw and pitch
MOUTH_UNIT, EYE_UNIT = 0.08, 0.03  # of the eyes' distance: openings
EXPRESSION_UNIT = 2.0  # mm, root mean square over lids, lips and brows
SHAPE_UNIT = 1.0  # mm on an average face, root mean square over all but the jaw, as the head is turned
ERROR_UNIT = 3.0  # mm of misfit between landmarks and head
# Costs, in these units.
EXPRESSION_COST = 1.0  # per unit of a view's own expression
BROWS_WEIGHT, EYES_WEIGHT = 0.5, 1.5  # of parts of an expression; lips have 1
OPEN_ENOUGH = 0.9  # of the usual gap: an eye this far open is not shut
SHUT_EYE_COST = 6.0  # of a shut eye: a lid can be moved over an eye, but nothing shows the eye behind a lid
FRONTAL_FACE = FACE_MODEL[BROWS_TO_MOUTH, :2]  # mm


def compute_view_costs(
    pool: Sequence[ViewCandidate],
    faces: Sequence[Face],
    target: Performer,
    params: ReenactParams,
) -> tuple[Matrix, Matrix]:
    """Compute what each view costs for each face of the target, (faces, views): its pose, and everything else."""
    pose = (
        np.linalg.norm(stack_angles(faces)[:, None] - stack_angles([one.face for one in pool])[None], axis=2)
        / POSE_UNIT
    )
    shown = np.stack([_make_feature_vector(one.face, one.performer) for one in pool])
    goals = np.stack([_make_feature_vector(face, target) for face in faces])
    preference = np.array([one.own_cost - np.log(one.weight) for one in pool])
    return pose, params.expression * _measure_distances(goals, shown) + preference[None]


def stack_angles(faces: Sequence[Face]) -> Matrix:
    """Stack the yaw and pitch of faces, (n, 2), degrees."""
    return np.array([face.euler[:2] for face in faces])


def measure_turned_away(yaw: AnyArray, wanted: AnyArray) -> Vector:
    """Measures by how much a view hides the half of a face that the new face shows, degrees.

    Args:
        yaw: Of views.
        wanted: Of the new faces that they are drawn on.

    >>> measure_turned_away(np.array([20, 20, -20, 5]), np.array([20, 5, 15, -30])).tolist()
    [0, 15, 20, 5]
    """
    return np.asarray(np.minimum(np.abs(yaw), np.abs(yaw) - np.sign(yaw) * wanted))


@dataclass(frozen=True)
class ViewCandidate:
    """A view that can be chosen.

    Attributes:
        ref: The view.
        face: The face in it.
        performer: Its person.
        weight: The artist's preference.
        own_cost: `_compute_own_cost`, and shut eyes.
    """

    ref: ViewRef
    face: Face
    performer: Performer
    weight: float
    own_cost: float


def list_view_candidates(
    sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]
) -> list[ViewCandidate]:
    """List the views that are used, with what each costs by itself."""
    chosen = list_used_views(sources, params, names)
    biases = {clip: measure_landmark_bias(sources[clip]) for clip in {ref.clip for ref in chosen}}
    pool = []
    for ref, one in chosen.items():
        who = sources[ref.clip]
        eyes = measure_openness(one.face, who.pixel_aspect, biases[ref.clip])
        doubt = _compute_own_cost(one.face, who) + SHUT_EYE_COST * float(np.maximum(OPEN_ENOUGH - eyes, 0).max())
        pool.append(ViewCandidate(ref, one.face, who, one.weight, doubt))
    return pool


def _make_feature_vector(face: Face, performer: Performer) -> Vector:
    """A face as one vector in units of cost: expression, shape as the head is turned, openings of mouth and eyes.

    The less a view is warped, the more it still looks like its person.
    """
    landmarks = face.landmarks * (performer.pixel_aspect, 1.0)
    inner = landmarks[BROWS_TO_MOUTH]
    shape = (apply_affine(fit_similarity(inner, FRONTAL_FACE), inner) - FRONTAL_FACE) / (
        SHAPE_UNIT * np.sqrt(len(FRONTAL_FACE))
    )
    return np.concatenate(
        [
            _make_expression_vector(face, performer),
            shape.ravel(),
            [measure_mouth_opening(landmarks) / MOUTH_UNIT, measure_eye_opening(landmarks) / EYE_UNIT],
        ]
    )


def _make_expression_vector(face: Face, performer: Performer) -> Vector:
    """Measure how lids, lips and brows differ from the person's face at rest, in units of cost."""
    moved = warp_points.measure_expression(face, performer)
    parts = [
        BROWS_WEIGHT * moved[BROWS],
        EYES_WEIGHT * moved[EYES],
        moved[MOUTH_OUTER],
        moved[MOUTH_INNER],
    ]
    vector = np.concatenate(parts).ravel()
    return np.asarray(vector / (EXPRESSION_UNIT * np.sqrt(len(vector) / 2)))


def _compute_own_cost(face: Face, performer: Performer) -> float:
    """Compute the cost of a view that does not depend on the target's frame.

    Landmarks that do not fit a head (the detector was wrong) and a strong expression cost: a grimace cannot be warped
    into another one, a face at rest can.
    """
    pose = fit_head_pose(face.landmarks, performer.pixel_aspect)
    strength = float(np.linalg.norm(_make_expression_vector(face, performer)))
    return (pose.error / pose.scale / ERROR_UNIT) ** 2 + (1 - face.confidence) + EXPRESSION_COST * strength


def _measure_distances(a: Matrix, b: Matrix) -> Matrix:
    """Distances of the rows of `a` (n, k) to the rows of `b` (m, k)."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(square, 0)))
