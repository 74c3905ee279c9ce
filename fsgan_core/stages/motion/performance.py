"""What a performer's face does through a clip: expression in millimetres on the head, away from the face at rest.

Landmarks are read with care: they leave a gap between lips that are closed and a third of an eye that is shut, and
brows that rise or a mouth that opens bend the fit of the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from fsgan_core.contract.errors import ParameterError
from fsgan_core.faces.pose import FACE_MODEL, HeadPose, fit_head_pose
from fsgan_core.faces.track import Face
from fsgan_core.stages.warp_points import Performer

UPPER_LIDS, LOWER_LIDS = np.array([37, 38, 43, 44]), np.array([41, 40, 47, 46])
UPPER_LIPS, LOWER_LIPS = np.array([61, 62, 63]), np.array([67, 66, 65])  # inner
_CHIN, _LOWER_LIP = slice(7, 10), slice(56, 59)
_DEFAULT_JAW_SHARE = 0.6  # chin's way over the lower lip's, where a clip does not say

_DEFAULT_SHUT_SHARE = (
    0.25  # a lid gap that landmarks give for a shut eye, over the open one, where a clip shows no blink
)
_SLIT_SHARE = 0.1  # of the open eye: a gap that lashes close
_MAX_SHUT_LIPS = 3.0  # mm: most that landmarks give for closed lips
_DEPTH_VARIANCE = 0.1  # variance of depth over that of x and y in what an expression moves

# What moves by itself: jaw, brows, lids without the eyes' corners, lips.
_SOFT_LANDMARKS = np.r_[0:27, 37, 38, 40, 41, 43, 44, 46, 47, 48:68]


@dataclass(frozen=True)
class Performance:
    """What a performer's face does through a clip.

    frames: (n,) ascending. moved: (n, 68, 3) mm away from the face at rest. lids: (n, 2) openness of the right and the
    left eye, 0 shut, 1 as usual. lid_gaps: (n, 4) mm, right eye first. lips: (n, 3) mm between the inner lips. chin:
    (n,) mm down. turn: (n, 3) yaw, pitch, roll. rest: (68, 3) mm, the face at rest. faces: `settled`, and their poses.
    """

    frames: np.ndarray
    offsets: np.ndarray
    lid_openness: np.ndarray
    lid_gaps: np.ndarray
    lip_gaps: np.ndarray
    chin_drop: np.ndarray
    head_angles: np.ndarray
    rest_shape: np.ndarray
    faces: tuple[Face, ...]
    poses: tuple[HeadPose, ...]


@dataclass(frozen=True)
class LandmarkBias:
    """lids, lids_shut: (2,) mm that landmarks give for right and left eye open and shut; lips_shut: for closed lips."""

    open_lids: np.ndarray
    shut_lids: np.ndarray
    shut_lips: float


def measure_landmark_bias(performer: Performer) -> LandmarkBias:
    """How landmarks read on this person, from the clip itself: the usual gap of open lids, the least ones seen."""
    gaps = [_measure_gaps(face, performer.pixel_aspect) for face in performer.faces.values()]
    lids = np.array([lid for lid, _ in gaps]).reshape(-1, 2, 2).mean(2)
    lips = np.array([lip for _, lip in gaps]).mean(1)
    wide = np.percentile(lids, 90, axis=0)
    usual = np.array([np.median(eye[eye > 0.7 * most]) for eye, most in zip(lids.T, wide, strict=True)])
    least = np.percentile(lids, 2, axis=0)
    shut = np.where(least < 0.6 * usual, least, _DEFAULT_SHUT_SHARE * usual)
    closed = min(float(np.percentile(lips, 10)), float(lips.min()) + 1.0, _MAX_SHUT_LIPS)
    return LandmarkBias(usual, shut, max(closed, 0.0) + 0.2)


def correct_gaps(face: Face, pixel_aspect: float, bias: LandmarkBias) -> Face:
    """The face with lids and inner lips as far open as they are: gaps that landmarks give for shut ones become 0."""
    pose = fit_head_pose(face.landmarks, pixel_aspect)
    lids, lips = _measure_gaps(face, pixel_aspect)
    shut = np.repeat(bias.shut_lids + _SLIT_SHARE * bias.open_lids, 2)
    sure = (shut + np.repeat(bias.open_lids, 2)) / 2
    lid_change = _unbias_gaps(lids, shut, sure) - lids
    lip_change = _unbias_gaps(lips, np.full(3, bias.shut_lips), np.full(3, 4 * bias.shut_lips + 1.0)) - lips
    change = np.zeros((68, 3))
    change[UPPER_LIDS, 1], change[LOWER_LIDS, 1] = -0.7 * lid_change, 0.3 * lid_change
    change[UPPER_LIPS, 1], change[LOWER_LIPS, 1] = -0.5 * lip_change, 0.5 * lip_change
    return face.with_landmarks(face.landmarks + project_change(change, pose) / (pixel_aspect, 1.0))


def measure_lid_gaps(face: Face, pixel_aspect: float) -> np.ndarray:
    """(4,) gaps of the lids in mm, right eye first."""
    return _measure_gaps(face, pixel_aspect)[0]


def _unbias_gaps(gaps: np.ndarray, shut: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Gaps as they are: from `sure` on what landmarks say, below it less, down to 0 at `shut`."""
    low = np.maximum(0, sure * (gaps - shut) / np.maximum(sure - shut, 1e-6))
    return np.where(gaps >= sure, gaps, low)


def _measure_gaps(face: Face, pixel_aspect: float, pose: HeadPose | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Gaps in mm of the lids (4,), right eye first, and of the inner lips (3,), along the head's own down."""
    pose = pose or fit_head_pose(face.landmarks, pixel_aspect)
    points = face.landmarks * (pixel_aspect, 1.0)
    down = pose.rotation[:2, 1]
    along = points @ (down / (down @ down)) / pose.scale
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2] / pose.distance

    def measure_gap(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
        return np.asarray((along[lower] - along[upper]) * (depth[lower] + depth[upper]) / 2)

    return measure_gap(UPPER_LIDS, LOWER_LIDS), measure_gap(UPPER_LIPS, LOWER_LIPS)


def project_change(change: np.ndarray, pose: HeadPose) -> np.ndarray:
    """(68, 2) square pixels that points of the head move in the picture when they move by `change` (68, 3) mm."""
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2:] / pose.distance
    return np.asarray(pose.scale * (change @ pose.rotation.T)[:, :2] / depth)


def measure_performance(
    performer: Performer, bias: LandmarkBias, rest_frame: int | None = None, name: str = "rest"
) -> Performance:
    """A performer's expression, relative to the face at rest: found over the clip (brows: the median; mouth and jaw:
    frames with closed lips count most), or the one of `rest_frame`. Raises ParameterError when that has no face."""
    frames = np.array(sorted(performer.faces))
    faces = [correct_gaps(performer.faces[int(frame)], performer.pixel_aspect, bias) for frame in frames]
    if rest_frame is not None and rest_frame not in performer.faces:
        raise ParameterError(
            f"drive.{name} = {rest_frame}: that frame shows no face; the face is seen in {frames[0]} to {frames[-1]}"
        )
    poses = [fit_rigid_pose(face, performer) for face in faces]
    offsets = np.array([_lift_to_head(face, pose, performer) for face, pose in zip(faces, poses, strict=True)])
    gaps = [_measure_gaps(face, performer.pixel_aspect, pose) for face, pose in zip(faces, poses, strict=True)]
    lids, lips = np.array([lid for lid, _ in gaps]), np.maximum(np.array([lip for _, lip in gaps]), 0)
    if rest_frame is not None:
        at_rest = offsets[int(np.searchsorted(frames, rest_frame))]
    else:
        closed = 1 / (1 + (lips.mean(1) / 1.5) ** 2) ** 2 * np.array([face.confidence + 1e-3 for face in faces])
        at_rest = np.median(offsets, axis=0)
        speaking = np.r_[0:17, 48:68]
        at_rest[speaking] = np.tensordot(closed / closed.sum(), offsets[:, speaking], 1)
    moved = offsets - at_rest
    for brow in (slice(17, 22), slice(22, 27)):  # hair and creases are taken for a brow, most often at one point of it
        five = moved[:, brow]
        moved[:, brow] = np.median([five[:, [0, 0, 1, 2, 3]], five, five[:, [1, 2, 3, 4, 4]]], axis=0)
    lip, chin = moved[:, _LOWER_LIP, 1].mean(1), moved[:, _CHIN, 1].mean(1)
    # The outline's points are the least steady ones: the chin is taken to follow the lower lip, as much as this
    # person's does.
    prior = 4.0 * len(frames)
    follow = float(np.clip((lip @ chin + prior * _DEFAULT_JAW_SHARE) / (lip @ lip + prior), 0.2, 0.9))
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


def resample_performance(acted: Performance, times: np.ndarray) -> Performance:
    """The performance at any times, between frames by monotone cubics (which never overshoot: closed lips stay
    closed); outside the clip the first or the last frame is held."""
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
    """The head's pose without what the face does: brows, lids, mouth and jaw are taken to be at rest. With them, brows
    that rise would count as a head that tilts."""
    points = face.landmarks.copy()
    for _ in range(2):
        at_rest = fit_head_pose(points, performer.pixel_aspect).project(performer.rest_shape[_SOFT_LANDMARKS]) / (
            performer.pixel_aspect,
            1.0,
        )
        points[_SOFT_LANDMARKS] += 1.7 * (
            at_rest - points[_SOFT_LANDMARKS]
        )  # these points hold the fit back: a little further is there
    return fit_head_pose(points, performer.pixel_aspect)


def _lift_to_head(face: Face, pose: HeadPose, performer: Performer) -> np.ndarray:
    """(68, 3) mm: the likeliest move on the head that takes the person's own face to these landmarks. Depth, which a
    picture hardly shows, is moved as little as will do."""
    depth = 1 + (FACE_MODEL @ pose.rotation.T)[:, 2:] / pose.distance
    points = face.landmarks * (performer.pixel_aspect, 1.0)
    seen = ((points - pose.translation) / pose.scale) * depth - (performer.rest_shape @ pose.rotation.T)[:, :2]
    rows = pose.rotation[:2]
    prior = np.diag([1.0, 1.0, _DEPTH_VARIANCE])
    lift = prior @ rows.T @ np.linalg.inv(rows @ prior @ rows.T + 1e-3 * np.eye(2))
    return np.asarray(seen @ lift.T)


def correct_performer(performer: Performer) -> Performer:
    """The actor with every face `settled`, as views for patches are wanted."""
    bias = measure_landmark_bias(performer)
    faces: Mapping[int, Face] = {
        frame: correct_gaps(face, performer.pixel_aspect, bias) for frame, face in performer.faces.items()
    }
    return replace(performer, faces=faces)
