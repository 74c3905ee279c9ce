"""Performance: what a performer's face does through a clip, in millimetres on the head away from the face at rest.

Landmarks are biased: they leave a gap between closed lips and a third of an eye that is shut, and raised brows or an
open mouth bend the fit of the head. The clip itself shows by how much.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from fsgan_core.contract.errors import ParameterError
from fsgan_core.contract.landmarks import BROW_L, BROW_R, JAW, LANDMARK_COUNT, MOUTH
from fsgan_core.faces.face import Face
from fsgan_core.faces.mesh import LANDMARK_VERTICES
from fsgan_core.faces.pose import FACE_MODEL, HeadPose, fit_head_pose
from fsgan_core.runtime.arrays import Angles, AnyArray, IndexArray, Points, Points3D, Vector
from fsgan_core.stages.mesh_warp import square_mesh
from fsgan_core.stages.proportions import bring_to_head
from fsgan_core.stages.warp_points import Performer

log = logging.getLogger(__name__)

# Landmarks that face each other: lids (right eye first) and inner lips.
UPPER_LIDS, LOWER_LIDS = np.array([37, 38, 43, 44]), np.array([41, 40, 47, 46])
UPPER_LIPS, LOWER_LIPS = np.array([61, 62, 63]), np.array([67, 66, 65])
_CHIN, _LOWER_LIP = slice(7, 10), slice(56, 59)
_JAW_AND_LIPS = np.r_[JAW, MOUTH]
# What moves by itself: jaw, brows, lids without the eyes' corners, lips.
_SOFT_LANDMARKS = np.r_[JAW.start : BROW_L.stop, 37, 38, 40, 41, 43, 44, 46, 47, MOUTH]

# How landmarks read on a person.
_WIDE_PERCENTILE, _OPEN_SHARE = 90, 0.7  # of lid gaps; share of that gap from which on an eye counts as open
_SHUT_PERCENTILE, _BLINK_SHARE = 2, 0.6  # of lid gaps; share of the open gap below which the clip shows a blink
_DEFAULT_SHUT_SHARE = 0.25  # of the open gap, that landmarks leave of a shut eye, if the clip shows no blink
_SLIT_SHARE = 0.1  # of the open eye: a gap that lashes close
_CLOSED_LIPS_PERCENTILE, _CLOSED_LIPS_MARGIN = 10, 1.0  # of lip gaps; mm above the least one
_MAX_SHUT_LIPS = 3.0  # mm: most that landmarks leave between closed lips
_SHUT_LIPS_SLACK = 0.2  # mm
_SURE_LIPS_FACTOR, _SURE_LIPS_OFFSET = 4, 1.0  # times the gap of shut lips, plus mm: wider gaps are true
_LID_SPLIT = -0.7, 0.3  # of a change of the gap, that upper and lower lid move down
_LIP_SPLIT = -0.5, 0.5  # likewise of the inner lips

# The face at rest, and the fit of the head.
_REST_LIP_GAP = 1.5  # mm: lips open this far quarter a frame's weight
_MIN_CONFIDENCE = 1e-3
_DEFAULT_JAW_SHARE = 0.6  # of the lower lip's travel, that the chin makes, if the clip does not tell
_JAW_PRIOR = 4.0  # mm squared for each frame: weight of that default
_JAW_SHARE_RANGE = (0.2, 0.9)
_POSE_ROUNDS = 2
_OVERSHOOT = 1.7  # soft landmarks hold the fit back, so they go a little beyond their places at rest


@dataclass(frozen=True)
class Performance:
    """What a performer's face does through a clip.

    Attributes:
        frames: (n,) ascending.
        offsets: (n, 68, 3) mm away from the face at rest.
        lid_openness: (n, 2) of right and left eye, 0 shut, 1 as open as usual.
        lid_gaps: (n, 4) mm, right eye first.
        lip_gaps: (n, 3) mm between the inner lips.
        chin_drop: (n,) mm down.
        head_angles: (n, 3) yaw, pitch, roll in degrees.
        rest_shape: (68, 3) mm, the face at rest.
        faces: With corrected gaps (`correct_gaps`).
        poses: Of these faces.
    """

    frames: Vector
    offsets: AnyArray
    lid_openness: AnyArray
    lid_gaps: AnyArray
    lip_gaps: AnyArray
    chin_drop: Vector
    head_angles: Angles
    rest_shape: Points3D
    faces: tuple[Face, ...]
    poses: tuple[HeadPose, ...]


@dataclass(frozen=True)
class LandmarkBias:
    """What landmarks measure on one person, in mm.

    Attributes:
        open_lids: (2,) gap of right and left eye when open.
        shut_lids: (2,) when shut.
        shut_lips: Gap of closed lips.
    """

    open_lids: Vector
    shut_lids: Vector
    shut_lips: float


def measure_landmark_bias(performer: Performer) -> LandmarkBias:
    """Measure how landmarks read on a person, from the usual and the least gaps in the clip."""
    gaps = [_measure_gaps(face, performer.pixel_aspect) for face in performer.faces.values()]
    lids = np.array([lid for lid, _ in gaps]).reshape(-1, 2, 2).mean(2)
    lips = np.array([lip for _, lip in gaps]).mean(1)
    wide = np.percentile(lids, _WIDE_PERCENTILE, axis=0)
    usual = np.array([np.median(eye[eye > _OPEN_SHARE * most]) for eye, most in zip(lids.T, wide, strict=True)])
    least = np.percentile(lids, _SHUT_PERCENTILE, axis=0)
    shut = np.where(least < _BLINK_SHARE * usual, least, _DEFAULT_SHUT_SHARE * usual)
    closed = min(
        float(np.percentile(lips, _CLOSED_LIPS_PERCENTILE)), float(lips.min()) + _CLOSED_LIPS_MARGIN, _MAX_SHUT_LIPS
    )
    return LandmarkBias(usual, shut, max(closed, 0.0) + _SHUT_LIPS_SLACK)


def correct_gaps(face: Face, pixel_aspect: float, bias: LandmarkBias) -> Face:
    """Correct the landmarks of lids and inner lips, so that gaps of shut ones become 0."""
    pose = fit_head_pose(face.landmarks, pixel_aspect)
    lids, lips = _measure_gaps(face, pixel_aspect)
    shut = np.repeat(bias.shut_lids + _SLIT_SHARE * bias.open_lids, 2)
    sure = (shut + np.repeat(bias.open_lids, 2)) / 2
    lid_change = _unbias_gaps(lids, shut, sure) - lids
    sure_lips = np.full(3, _SURE_LIPS_FACTOR * bias.shut_lips + _SURE_LIPS_OFFSET)
    lip_change = _unbias_gaps(lips, np.full(3, bias.shut_lips), sure_lips) - lips
    change = np.zeros((LANDMARK_COUNT, 3))
    change[UPPER_LIDS, 1], change[LOWER_LIDS, 1] = _LID_SPLIT[0] * lid_change, _LID_SPLIT[1] * lid_change
    change[UPPER_LIPS, 1], change[LOWER_LIPS, 1] = _LIP_SPLIT[0] * lip_change, _LIP_SPLIT[1] * lip_change
    return face.with_landmarks(face.landmarks + project_change(change, pose) / (pixel_aspect, 1.0))


def measure_openness(face: Face, pixel_aspect: float, bias: LandmarkBias) -> Vector:
    """Measure how far right and left eye are open, (2,): 0 is shut, 1 as open as usual on this person."""
    gaps = _measure_gaps(correct_gaps(face, pixel_aspect, bias), pixel_aspect)[0].reshape(2, 2).mean(1)
    return np.asarray(np.maximum(gaps, 0) / np.maximum(bias.open_lids, 1e-6))


def _unbias_gaps(gaps: Vector, shut: Vector, sure: Vector) -> Vector:
    """The true gaps: as measured from `sure` on, smaller below it, 0 at `shut`."""
    low = np.maximum(0, sure * (gaps - shut) / np.maximum(sure - shut, 1e-6))
    return np.where(gaps >= sure, gaps, low)


def _measure_gaps(face: Face, pixel_aspect: float, pose: HeadPose | None = None) -> tuple[Vector, Vector]:
    """Gaps in mm of the lids (4,), right eye first, and of the inner lips (3,), along the head's own down direction."""
    pose = pose or fit_head_pose(face.landmarks, pixel_aspect)
    points = face.landmarks * (pixel_aspect, 1.0)
    down = pose.rotation[:2, 1]
    along = points @ (down / (down @ down)) / pose.scale
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2] / pose.distance

    def measure_gap(upper: IndexArray, lower: IndexArray) -> Vector:
        return np.asarray((along[lower] - along[upper]) * (depth[lower] + depth[upper]) / 2)

    return measure_gap(UPPER_LIDS, LOWER_LIDS), measure_gap(UPPER_LIPS, LOWER_LIPS)


def project_change(change: Points3D, pose: HeadPose) -> Points:
    """Project movements on the head to movements in the picture.

    Args:
        change: (68, 3) mm.
        pose: The head's pose.

    Returns:
        (68, 2) square pixels.
    """
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2:] / pose.distance
    return np.asarray(pose.scale * (change @ pose.rotation.T)[:, :2] / depth)


def measure_performance(
    performer: Performer, bias: LandmarkBias, rest_frame: int | None = None, name: str = "rest"
) -> Performance:
    """Measure a performer's expression relative to the face at rest.

    The face at rest is found over the clip: the median, and for mouth and jaw a mean in which closed lips count most.
    Or it is the face of `rest_frame`.

    Args:
        performer: The person.
        bias: How landmarks read on this person.
        rest_frame: A frame that shows the face at rest.
        name: Name of the parameter that set it, for the message.

    Raises:
        ParameterError: The rest frame shows no face.
    """
    frames = np.array(sorted(performer.faces))
    faces = [correct_gaps(performer.faces[int(frame)], performer.pixel_aspect, bias) for frame in frames]
    if rest_frame is not None and rest_frame not in performer.faces:
        raise ParameterError(
            f"drive.{name} = {rest_frame}: that frame shows no face; the face is seen in {frames[0]} to {frames[-1]}"
        )
    poses = [fit_rigid_pose(face, performer) for face in faces]
    offsets = np.array([_lift_to_head(face, performer) for face in faces])
    gaps = [_measure_gaps(face, performer.pixel_aspect, pose) for face, pose in zip(faces, poses, strict=True)]
    lids, lips = np.array([lid for lid, _ in gaps]), np.maximum(np.array([lip for _, lip in gaps]), 0)
    if rest_frame is None:
        log.info(
            "face at rest: computed over %d frames; if it smiles or frowns in all, name one with drive.%s",
            len(frames),
            name,
        )
    if rest_frame is not None:
        at_rest = offsets[int(np.searchsorted(frames, rest_frame))]
    else:
        closed = (
            1
            / (1 + (lips.mean(1) / _REST_LIP_GAP) ** 2) ** 2
            * np.array([face.confidence + _MIN_CONFIDENCE for face in faces])
        )
        at_rest = np.median(offsets, axis=0)
        at_rest[_JAW_AND_LIPS] = np.tensordot(closed / closed.sum(), offsets[:, _JAW_AND_LIPS], 1)
    moved = offsets - at_rest
    for brow in (BROW_R, BROW_L):  # one point of a brow often jumps to hair or a crease
        five = moved[:, brow]
        moved[:, brow] = np.median([five[:, [0, 0, 1, 2, 3]], five, five[:, [1, 2, 3, 4, 4]]], axis=0)
    lip, chin = moved[:, _LOWER_LIP, 1].mean(1), moved[:, _CHIN, 1].mean(1)
    # The jaw's landmarks are the least steady, so the chin follows the lower lip, as much as on this person.
    prior = _JAW_PRIOR * len(frames)
    follow = float(np.clip((lip @ chin + prior * _DEFAULT_JAW_SHARE) / (lip @ lip + prior), *_JAW_SHARE_RANGE))
    openness = (lids / np.repeat(bias.open_lids, 2)).reshape(-1, 2, 2).mean(2)
    return Performance(
        frames,
        moved,
        np.maximum(openness, 0),
        np.maximum(lids, 0),
        lips,
        follow * lip,
        np.array([pose.angles for pose in poses]),
        performer.rest_shape + at_rest,
        tuple(faces),
        tuple(poses),
    )


def resample_performance(acted: Performance, times: Vector) -> Performance:
    """Sample a performance at any times.

    Between frames by monotone cubics, which never overshoot, so closed lips stay closed. Outside the clip the first or
    the last frame is held.
    """
    if len(acted.frames) == 1:
        index = np.zeros(len(times), int)
        return replace(acted, frames=times, **{key: getattr(acted, key)[index] for key in _CURVE_FIELDS})
    inside = np.clip(times, acted.frames[0], acted.frames[-1])
    return replace(
        acted,
        frames=times,
        **{key: PchipInterpolator(acted.frames, getattr(acted, key), axis=0)(inside) for key in _CURVE_FIELDS},
    )


_CURVE_FIELDS = ("offsets", "lid_openness", "lid_gaps", "lip_gaps", "chin_drop", "head_angles")


def fit_rigid_pose(face: Face, performer: Performer) -> HeadPose:
    """Fit the head's pose with brows, lids, mouth and jaw at rest.

    Otherwise raised brows would count as a tilted head.
    """
    points = face.landmarks.copy()
    for _ in range(_POSE_ROUNDS):
        at_rest = fit_head_pose(points, performer.pixel_aspect).project(performer.rest_shape[_SOFT_LANDMARKS]) / (
            performer.pixel_aspect,
            1.0,
        )
        points[_SOFT_LANDMARKS] += _OVERSHOOT * (at_rest - points[_SOFT_LANDMARKS])
    return fit_head_pose(points, performer.pixel_aspect)


def _lift_to_head(face: Face, performer: Performer) -> Points3D:
    """(68, 3) mm: the movement on the head that takes the person's own face to this one, read in the mesh."""
    mesh = square_mesh(face.get_mesh(performer.pixel_aspect), performer.pixel_aspect)
    return bring_to_head(mesh)[list(LANDMARK_VERTICES)] - performer.rest_shape


def correct_performer(performer: Performer) -> Performer:
    """Correct the gaps of all faces of a performer, as views for patches need them."""
    bias = measure_landmark_bias(performer)
    faces: Mapping[int, Face] = {
        frame: correct_gaps(face, performer.pixel_aspect, bias) for frame, face in performer.faces.items()
    }
    return replace(performer, faces=faces)
