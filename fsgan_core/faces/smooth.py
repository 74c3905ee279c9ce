"""Smoothing of a face over time, without lag and without losing its expression.

The published method averages landmarks over 7 frames and mixes the raw ones back by motion. Measured on footage, that
mean slides over the skin wherever camera or head shake (up to 1.4 % of the eye distance, RMS) and flattens speech to
half. Here the picture itself says how it moved under each landmark (see `optical_flow`). The trajectory is the one that
agrees best, in least squares, with where the landmarks were measured and with how the picture moved between frames,

    sum |x(t) - measured(t)|^2 / s^2  +  sum |x(t+1) - x(t) - moved(t)|^2 / q^2,

both made robust. So measuring noise is averaged, over about sqrt(2) s/q frames, but motion never is. Lids and lips are
held to the measurement more tightly. Where a whole part leaves its smooth course by more than its usual noise (a
blink), the measurement is taken as it is. Where repeated answers for a part of the face scatter widely, something hides
it: there the landmarks follow the head instead of the hand in front of it. Box: centre over 25 frames, size over 51,
pose over 5, as published. The 98 landmarks of a network are smoothed in the same way, each with the motion of the 68
around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import solveh_banded

from fsgan_core.contract import landmarks as landmarks_ibug
from fsgan_core.faces import landmarks_wflw
from fsgan_core.faces.geometry import apply_affine, fit_similarity, make_square_box
from fsgan_core.runtime.arrays import AnyArray, BoxArray, IndexArray, Mask, Points68, Points98, Vector

# Windows of the box and the pose in frames, as published.
_CENTRE_WINDOW = 25
_SIZE_WINDOW = 51
_POSE_WINDOW = 5
_MAX_CENTRE_LAG = 0.1  # share of the box's size; a face that runs must not leave its box
_EYE_DISTANCE_MM = 90.0  # mm; distance of the outer eye corners of an average adult

# The trajectory of the landmarks. Lengths are mm on an average face.
_LANDMARK_NOISE = 0.5  # mm; of one measured landmark, s in the module's text
_SMOOTHING_STRENGTH = 3.0  # (s / q)^2 at amount 1
_LIVELY_SHARE = 0.3  # share of that strength for lids and lips
_ROUNDS = 4  # of reweighting
_UNKNOWN_MISS = 0.3  # mm; of a motion that was not measured
_UNSEEN_PULL = 1e-6  # weight of a place where nothing was measured, over that of a measurement
_DRIFT_TOLERANCE = 12.0  # times the usual drift; from there on a step counts less
_MIN_DRIFT = 0.2  # mm; the least drift that this tolerance is taken from
_NOISE_TOLERANCE = 4.0  # times the usual noise; from there on a measurement counts less

# Parts of the face that something hides.
_HIDDEN_SCATTER = 1.7  # mm of scatter from which a part of the face counts as hidden
_UNSURE_SCATTER = 1.3  # mm of scatter from which a landmark is measured worse than usual
_SCATTER_POWER = 6  # how sharply both set in
_MAX_NOISE_FACTOR = 4.0  # times the usual noise, at most: a scattered answer is still an answer
_FULLY_VISIBLE = 0.9  # visibility (0..1) above which no landmark is corrected
_HEAD_MISS = 0.1  # mm; miss of a hidden landmark that moves with the head

# Where the face goes on from one measurement to the next, over a gap.
_MAX_SPEED = 0.25  # box sizes per frame
_SIZE_RATIOS = (0.67, 1.5)  # size of the box after the gap over that before it
_BRIDGED_CONFIDENCE = 0.5  # factor for a face that is bridged
_MIN_USUAL_DEVIATION = 0.15  # mm; the least deviation of a part that counts as its usual noise


@dataclass(frozen=True)
class LandmarkLayout:
    """The parts of a face in an order of landmarks.

    Attributes:
        parts: Landmarks that move as one; the jaw comes first.
        first_lively: Index of the first landmark of lids and lips, which end the order.
        eye_corners: Outer corners of the right and the left eye.
    """

    parts: tuple[slice | IndexArray, ...]
    first_lively: int
    eye_corners: tuple[int, int]


IBUG_LAYOUT = LandmarkLayout(
    (
        landmarks_ibug.JAW,
        landmarks_ibug.BROW_R,
        landmarks_ibug.BROW_L,
        landmarks_ibug.NOSE,
        landmarks_ibug.EYE_R,
        landmarks_ibug.EYE_L,
        landmarks_ibug.MOUTH,
    ),
    landmarks_ibug.EYE_R.start,
    landmarks_ibug.OUTER_EYE_CORNERS,
)
WFLW_LAYOUT = LandmarkLayout(
    (
        landmarks_wflw.CONTOUR,
        landmarks_wflw.BROW_R,
        landmarks_wflw.BROW_L,
        landmarks_wflw.NOSE,
        np.r_[landmarks_wflw.EYE_R, landmarks_wflw.PUPIL_R],
        np.r_[landmarks_wflw.EYE_L, landmarks_wflw.PUPIL_L],
        landmarks_wflw.MOUTH,
    ),
    landmarks_wflw.EYE_R.start,
    landmarks_wflw.OUTER_EYE_CORNERS,
)


@dataclass(frozen=True)
class UnsmoothedFace:
    """A face as it was measured. Everything is in square pixels.

    Attributes:
        place: Position among the analysed frames.
        landmarks: (68, 2).
        scatter: (68,), see `track.Face`.
        motion: (68, 3), see `track.Face`.
        box: (4,), x, y, width, height.
        euler: (yaw, pitch, roll) in degrees.
        confidence: 0..1.
        wflw: (98, 2), see `track.Face`.
    """

    place: int
    landmarks: Points68
    scatter: Vector | None
    motion: AnyArray | None
    box: BoxArray
    euler: tuple[float, float, float]
    confidence: float
    wflw: Points98 | None = None


@dataclass(frozen=True)
class SmoothedFace:
    """A final face. Everything is in square pixels.

    Attributes:
        place: Position among the analysed frames.
        landmarks: (68, 2).
        box: (4,), x, y, width, height.
        euler: (yaw, pitch, roll) in degrees.
        confidence: 0..1.
        is_bridged: Nothing was measured at this place.
        wflw: (98, 2); None if no face of the same run has them.
    """

    place: int
    landmarks: Points68
    box: BoxArray
    euler: tuple[float, float, float]
    confidence: float
    is_bridged: bool
    wflw: Points98 | None = None


def smooth_faces(samples: Sequence[UnsmoothedFace], *, gap: int, amount: float) -> list[SmoothedFace]:
    """Makes the final faces of one person.

    Args:
        samples: Measured faces, in any order.
        gap: Places that are bridged at most where the face goes on.
        amount: Scales the smoothing; 0 is none.
    """
    final: list[SmoothedFace] = []
    for run in split_runs(sorted(samples, key=lambda sample: sample.place), gap):
        final.extend(_smooth_run(run, amount))
    return final


def split_runs(samples: Sequence[UnsmoothedFace], gap: int) -> list[list[UnsmoothedFace]]:
    """Splits a person's faces where the face does not go on: a gap that is too long, a cut in the clip, a jump.

    Args:
        samples: Ascending by place.
        gap: Missing places that a run may contain at most.
    """
    parts: list[list[UnsmoothedFace]] = []
    for sample in samples:
        if parts and _is_continuous(parts[-1][-1], sample, gap):
            parts[-1].append(sample)
        else:
            parts.append([sample])
    return parts


def _is_continuous(before: UnsmoothedFace, after: UnsmoothedFace, gap: int) -> bool:
    step = after.place - before.place
    if step == 1:
        return after.motion is not None
    if step - 1 > gap:
        return False
    size_before, size_after = before.box[3], after.box[3]
    moved = np.hypot(*(_compute_centre(after.box) - _compute_centre(before.box)))
    return bool(
        moved < _MAX_SPEED * (1 + step) * min(size_before, size_after)
        and _SIZE_RATIOS[0] < size_after / size_before < _SIZE_RATIOS[1]
    )


def _smooth_run(run: list[UnsmoothedFace], amount: float) -> list[SmoothedFace]:
    first, count = run[0].place, run[-1].place - run[0].place + 1
    at = np.array([sample.place - first for sample in run])
    places = np.arange(count)
    seen = np.zeros(count, bool)
    seen[at] = True

    def fill_gaps(values: AnyArray, at: AnyArray = at) -> AnyArray:
        flat = values.reshape(len(at), -1)
        return np.stack([np.interp(places, at, column) for column in flat.T], axis=1).reshape(count, *values.shape[1:])

    measured = fill_gaps(np.array([sample.landmarks for sample in run]))
    boxes = fill_gaps(np.array([sample.box for sample in run]))
    angles = np.radians(np.array([sample.euler for sample in run]))
    angles = np.degrees(fill_gaps(np.unwrap(angles, axis=0)))
    confidence = fill_gaps(np.array([sample.confidence for sample in run]))
    confidence[~seen] *= _BRIDGED_CONFIDENCE
    with_wflw = [sample for sample in run if sample.wflw is not None]
    seen_wflw = np.zeros(count, bool)
    seen_wflw[[sample.place - first for sample in with_wflw]] = True
    wflw = fill_gaps(np.array([sample.wflw for sample in with_wflw]), np.flatnonzero(seen_wflw)) if with_wflw else None
    if amount > 0 and count > 1:
        motion = np.full((count - 1, 68, 3), np.nan)
        for before, sample in pairwise(run):
            if sample.motion is not None and sample.place == before.place + 1:
                motion[sample.place - first - 1] = sample.motion
        scatter = fill_gaps(np.array([np.zeros(68) if s.scatter is None else s.scatter for s in run]))
        landmarks = smooth_landmarks(measured, motion, seen, amount, scatter)
        if wflw is not None:
            wflw = smooth_landmarks(wflw, _estimate_wflw_motion(motion), seen_wflw, amount, layout=WFLW_LAYOUT)
        boxes = _smooth_boxes(boxes, amount)
        angles = average_window(angles, round(_POSE_WINDOW // 2 * amount))
    else:
        landmarks = measured
    return [
        SmoothedFace(
            first + i,
            landmarks[i],
            boxes[i],
            (angles[i, 0], angles[i, 1], angles[i, 2]),
            float(confidence[i]),
            not seen[i],
            None if wflw is None else wflw[i],
        )
        for i in range(count)
    ]


def _estimate_wflw_motion(motion: AnyArray) -> AnyArray:
    """Motion (n, 98, 3) under the 98 landmarks from that under their neighbours of the 68, (n, 68, 3)."""
    near = np.abs(landmarks_wflw.FROM_IBUG)
    return np.concatenate(
        [landmarks_wflw.FROM_IBUG @ motion[..., :2], near / near.sum(axis=1, keepdims=True) @ motion[..., 2:]], axis=-1
    )


def smooth_landmarks(
    measured: AnyArray,
    motion: AnyArray,
    seen: Mask,
    amount: float,
    scatter: AnyArray | None = None,
    layout: LandmarkLayout = IBUG_LAYOUT,
) -> AnyArray:
    """Smooths the landmarks of one run, as the module's text says.

    Args:
        measured: (n, k, 2), square pixels, in the order of `layout`.
        motion: (n - 1, k, 3), pixels: x, y and miss of the picture's motion from each frame to the next; NaN where
            unknown.
        seen: bool (n,): where `measured` is a measurement rather than filled in.
        amount: Scales the span that is averaged over.
        scatter: (n, k), mm, see `track.Face`.
        layout: The order of the landmarks.

    Returns:
        float64 (n, k, 2), square pixels.
    """
    right, left = layout.eye_corners
    unit = np.median(np.linalg.norm(measured[:, left] - measured[:, right], axis=1)) / _EYE_DISTANCE_MM  # pixels per mm
    points = measured / unit
    scatter = np.zeros(points.shape[:2]) if scatter is None else _share_scatter(scatter, layout)
    visible = 1 / (1 + (scatter / _HIDDEN_SCATTER) ** _SCATTER_POWER)
    steps = np.diff(points, axis=0)
    known = np.isfinite(motion[..., 0])
    moved = np.where(known[..., None], motion[..., :2] / unit, steps)
    miss = np.where(known, motion[..., 2] / unit, _UNKNOWN_MISS)
    moved, miss = _move_hidden_landmarks(points, moved, miss, np.minimum(visible[:-1], visible[1:]))
    strength = np.full(points.shape[1], _SMOOTHING_STRENGTH * amount**2)
    strength[layout.first_lively :] *= _LIVELY_SHARE
    drift = _LANDMARK_NOISE / np.sqrt(strength)
    noise = _LANDMARK_NOISE * np.minimum(1 + (scatter / _UNSURE_SCATTER) ** _SCATTER_POWER, _MAX_NOISE_FACTOR)
    pull = np.where(seen, 1.0, _UNSEEN_PULL)[:, None] / noise**2
    follow = 1 / (drift**2 + (2 * miss) ** 2)
    now_pull, now_follow = pull, follow
    smooth = points
    for _ in range(_ROUNDS):
        smooth = _solve_trajectory(points, moved, now_pull, now_follow)
        off = np.linalg.norm(np.diff(smooth, axis=0) - moved, axis=-1)
        now_follow = follow / (1 + (off / (_DRIFT_TOLERANCE * np.maximum(drift, _MIN_DRIFT))) ** 2) ** 2
        away = np.linalg.norm(smooth - points, axis=-1)
        now_pull = pull / (1 + (away / (_NOISE_TOLERANCE * noise)) ** 2)
    result: AnyArray = _restore_lively_parts(smooth, points, seen, visible, layout) * unit
    return result


def _share_scatter(scatter: AnyArray, layout: LandmarkLayout) -> AnyArray:
    """Scatter (n, k) shared within each part of the face, except the long outline of the jaw."""
    shared = scatter.copy()
    for part in layout.parts[1:]:
        shared[:, part] = np.sqrt((scatter[:, part] ** 2).mean(axis=1, keepdims=True))
    return shared


def _move_hidden_landmarks(
    points: AnyArray, moved: AnyArray, miss: AnyArray, visible: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """`moved` (n - 1, k, 2) and its miss, with hidden landmarks moving as the visible ones do as a whole."""
    moved, miss = moved.copy(), miss.copy()
    for step in np.flatnonzero(visible.min(axis=1) < _FULLY_VISIBLE):
        share = visible[step]
        weights = share**2 / (0.2 + miss[step]) ** 2
        fit = fit_similarity(points[step], points[step] + moved[step], weights)
        whole = apply_affine(fit, points[step]) - points[step]
        moved[step] = share[:, None] * moved[step] + (1 - share[:, None]) * whole
        miss[step] = share * miss[step] + (1 - share) * _HEAD_MISS
    return moved, miss


def _solve_trajectory(points: AnyArray, moved: AnyArray, pull: AnyArray, follow: AnyArray) -> AnyArray:
    """The least-squares trajectory of each landmark: one tridiagonal system each."""
    count = len(points)
    if count == 1:
        return points
    result = np.empty_like(points)
    for k in range(points.shape[1]):
        bands = np.zeros((2, count))
        bands[1] = pull[:, k]
        bands[1, :-1] += follow[:, k]
        bands[1, 1:] += follow[:, k]
        bands[0, 1:] = -follow[:, k]
        right = pull[:, k, None] * points[:, k]
        push = follow[:, k, None] * moved[:, k]
        right[1:] += push
        right[:-1] -= push
        result[:, k] = solveh_banded(bands, right, check_finite=False)
    return result


def _restore_lively_parts(
    smooth: AnyArray, points: AnyArray, seen: Mask, visible: AnyArray, layout: LandmarkLayout
) -> AnyArray:
    """Smooth, except for parts of the face that leave their smooth course by far more than usual for several frames.

    Those are as measured. A single point or a single frame that jumps is a slip, not an expression.
    """
    result = smooth.copy()
    away = np.where(seen[:, None, None], points - smooth, 0.0)
    for part in layout.parts:
        off = away[:, part]
        distance = np.sort((off**2).sum(-1), axis=1)
        size = np.sqrt(distance[:, :-1].mean(1))  # all but the farthest point
        usual = max(float(np.median(size[seen])), _MIN_USUAL_DEVIATION)
        share = np.clip((size / usual - 2) / 2, 0, 1)
        share = share * share * (3 - 2 * share) * _measure_agreement(off) * visible[:, part].mean(1) ** 2
        result[:, part] += share[:, None, None] * off
    return result


def _measure_agreement(off: AnyArray) -> Vector:
    """How much a frame's deviations (n, k, 2) are shared by the frame before or after it: (n,), 0..1."""
    flat = off.reshape(len(off), -1)
    norm = np.linalg.norm(flat, axis=1) + 1e-12
    likeness = np.zeros(len(off) + 1)
    likeness[1:-1] = (flat[1:] * flat[:-1]).sum(1) / (norm[1:] * norm[:-1])
    result: Vector = np.clip(2 * np.maximum(likeness[:-1], likeness[1:]), 0.0, 1.0)
    return result


def _smooth_boxes(boxes: AnyArray, amount: float) -> AnyArray:
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    sides = boxes[:, 3:4]
    size = average_window(sides, round(_SIZE_WINDOW // 2 * amount))
    centre = average_window(centres, round(_CENTRE_WINDOW // 2 * amount))
    off = centre - centres
    far = np.linalg.norm(off, axis=1, keepdims=True)
    centre = centres + off * np.minimum(1.0, _MAX_CENTRE_LAG * size / np.maximum(far, 1e-9))
    return np.array([make_square_box(c, float(s[0])) for c, s in zip(centre, size, strict=True)])


def average_window(values: AnyArray, half: int) -> AnyArray:
    """Averages values (n, k) over 2 * half + 1 frames, over fewer towards the ends, so that the window stays centred.

    >>> average_window(np.array([[0.0], [3.0], [6.0], [0.0]]), 1).ravel()
    array([0., 3., 3., 0.])
    """
    count = len(values)
    if half < 1 or count < 2:
        return values
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    reach = np.minimum(half, np.minimum(np.arange(count), np.arange(count)[::-1]))
    low, high = np.arange(count) - reach, np.arange(count) + reach + 1
    return np.asarray((total[high] - total[low]) / (high - low)[:, None])


def _compute_centre(box: BoxArray) -> Vector:

    return np.asarray(box[:2] + box[2:] / 2)
