"""Smoothing of a face over time, without lag and without losing its expression.

The published method averages landmarks over 7 frames and mixes the raw ones back by motion. Measured on footage, that
mean slides over the skin wherever camera or head shake and flattens speech to half. Here the motion of the head is
taken out first: each frame's points are fitted, as a rigid body, to a shape at rest. Then the head's motion and the
shape in the head's own frame are smoothed separately, each by the trajectory that agrees best, in least squares, with
what was measured and bends least,

    sum |x(t) - measured(t)|^2  +  strength sum |x(t+1) - 2 x(t) + x(t-1)|^2   (Whittaker 1923),

which has no lag. It is weak: it takes out what changes from frame to frame. Where a part of the face, or the head,
leaves its smooth course by more than its usual noise (a blink, lips that meet, a jerk), the measurement is taken as it
is.

The box: centre over 25 frames, size over 51, pose over 5, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.linalg import solveh_banded

from fsgan_core.contract import landmarks as landmarks_ibug
from fsgan_core.faces import mesh
from fsgan_core.faces.geometry import make_square_box
from fsgan_core.faces.landmarkers import landmarks_wflw
from fsgan_core.faces.mesh_pose import compute_rigidity, fit_rigid
from fsgan_core.faces.pose import FACE_MODEL, RIGIDITY
from fsgan_core.runtime.arrays import AnyArray, BoxArray, IndexArray, Mask, Matrix, Mesh, Points68, Points98, Vector

# Windows of the box and the pose in frames, as published.
_CENTRE_WINDOW = 25
_SIZE_WINDOW = 51
_POSE_WINDOW = 5
_MAX_CENTRE_LAG = 0.1  # share of the box's size; a face that runs must not leave its box

# The trajectories. Lengths are mm on an average face.
_HEAD_STRENGTH = 0.3  # of the smoothing of the head's motion, at amount 1
_SHAPE_STRENGTH = 0.3  # of the smoothing of the shape in the head's frame
_UNSEEN_PULL = 1e-6  # weight of a place where nothing was measured, over that of a measurement
_MIN_NOISE = 0.04  # mm; the least deviation that counts as usual noise
_HEAD_NOISE = 0.1  # mm; the largest one of the head's motion
_MESH_NOISE = 0.1  # mm; the largest one of a mesh
_LANDMARK_NOISE = 0.5  # mm; the largest one of landmarks from other networks
_LIVELY_NOISE = 0.2  # mm; the same of lids and lips, whose speech is not noise
_PIXEL_NOISE = 0.1  # pixels; of the upper limit, for small faces
_NOISE_QUANTILE = 0.3  # of a part's deviations; what is larger may be speech
_NOISE_RANGE = (2.0, 4.0)  # times the usual noise, between which a deviation becomes a true movement
_PART_REACH = 8.0  # mm; how far a part of the face reaches over its edge, softly

# Where the face goes on from one measurement to the next, over a gap.
_MAX_SPEED = 0.25  # box sizes per frame
_SIZE_RATIOS = (0.67, 1.5)  # size of the box after the gap over that before it
_BRIDGED_CONFIDENCE = 0.5  # factor for a face that is bridged


@dataclass(frozen=True)
class PointLayout:
    """A set of points on a face.

    Attributes:
        shape: (k, d), the points of an average face in mm; d is 2 or 3.
        rigidity: (k,), weights of the points in a fit of the head.
        shares: (k, parts), how much each point belongs to each part of the face that moves as one; rows sum to 1.
        noise: (parts,), mm; the largest deviation that counts as usual noise.
    """

    shape: AnyArray
    rigidity: Vector
    shares: Matrix
    noise: Vector


@dataclass(frozen=True)
class FaceSample:
    """A face as it was measured, or as it is final. Everything is in square pixels.

    Attributes:
        place: Position among the analysed frames.
        box: (4,), x, y, width, height.
        euler: (yaw, pitch, roll) in degrees.
        confidence: 0..1.
        begins: Whether the face has nothing to do with the one in the place before, such as after a cut.
        mesh: (478, 3); None if it was not measured, or of a final face if no face of the same run has one.
        landmarks: (68, 2); None if they are read from the mesh.
        wflw: (98, 2), see `track.Face`.
        is_bridged: Of a final face: nothing was measured at this place.
    """

    place: int
    box: BoxArray
    euler: tuple[float, float, float]
    confidence: float
    begins: bool = False
    mesh: Mesh | None = None
    landmarks: Points68 | None = None
    wflw: Points98 | None = None
    is_bridged: bool = False


def smooth_faces(samples: Sequence[FaceSample], *, gap: int, amount: float) -> list[FaceSample]:
    """Makes the final faces of one person.

    Args:
        samples: Measured faces, in any order.
        gap: Places that are bridged at most where the face goes on.
        amount: Scales the smoothing; 0 is none.
    """
    final: list[FaceSample] = []
    for run in split_runs(sorted(samples, key=lambda sample: sample.place), gap):
        final.extend(_smooth_run(run, amount))
    return final


def split_runs(samples: Sequence[FaceSample], gap: int) -> list[list[FaceSample]]:
    """Splits a person's faces where the face does not go on: a gap that is too long, a cut in the clip, a jump.

    Args:
        samples: Ascending by place.
        gap: Missing places that a run may contain at most.
    """
    parts: list[list[FaceSample]] = []
    for sample in samples:
        if parts and _is_continuous(parts[-1][-1], sample, gap):
            parts[-1].append(sample)
        else:
            parts.append([sample])
    return parts


def _is_continuous(before: FaceSample, after: FaceSample, gap: int) -> bool:
    step = after.place - before.place
    if step == 1:
        return not after.begins
    if step - 1 > gap:
        return False
    size_before, size_after = before.box[3], after.box[3]
    moved = np.hypot(*(_compute_centre(after.box) - _compute_centre(before.box)))
    return bool(
        moved < _MAX_SPEED * (1 + step) * min(size_before, size_after)
        and _SIZE_RATIOS[0] < size_after / size_before < _SIZE_RATIOS[1]
    )


def _smooth_run(run: list[FaceSample], amount: float) -> list[FaceSample]:
    first, count = run[0].place, run[-1].place - run[0].place + 1
    at = np.array([sample.place - first for sample in run])
    seen = np.zeros(count, bool)
    seen[at] = True

    boxes = _fill_gaps(np.array([sample.box for sample in run]), at, count)
    angles = np.radians(np.array([sample.euler for sample in run]))
    angles = np.degrees(_fill_gaps(np.unwrap(angles, axis=0), at, count))
    confidence = _fill_gaps(np.array([sample.confidence for sample in run]), at, count)
    confidence[~seen] *= _BRIDGED_CONFIDENCE
    if amount > 0 and count > 1:
        boxes = _smooth_boxes(boxes, amount)
        angles = average_window(angles, round(_POSE_WINDOW // 2 * amount))

    def smooth_kind(name: str, layout: PointLayout) -> AnyArray | None:
        known = [sample for sample in run if getattr(sample, name) is not None]
        if not known:
            return None
        places = np.array([sample.place - first for sample in known])
        points = _fill_gaps(np.array([getattr(sample, name) for sample in known], np.float64), places, count)
        is_known = np.zeros(count, bool)
        is_known[places] = True
        return smooth_points(points, is_known, amount, layout)

    layouts = {"mesh": get_mesh_layout(), "landmarks": get_ibug_layout(), "wflw": get_wflw_layout()}
    points = {name: smooth_kind(name, layout) for name, layout in layouts.items()}
    return [
        FaceSample(
            first + i,
            boxes[i],
            (angles[i, 0], angles[i, 1], angles[i, 2]),
            float(confidence[i]),
            is_bridged=not seen[i],
            **{name: values[i] for name, values in points.items() if values is not None},
        )
        for i in range(count)
    ]


def _fill_gaps(values: AnyArray, at: IndexArray, count: int) -> AnyArray:
    """Values at all of `count` places, interpolated linearly from those at the places `at`."""
    if len(at) == count:
        return values
    flat = values.reshape(len(at), -1)
    right = np.clip(np.searchsorted(at, np.arange(count)), 1, max(1, len(at) - 1)) if len(at) > 1 else None
    if right is None:
        return np.repeat(values, count, axis=0)
    share = np.clip((np.arange(count) - at[right - 1]) / (at[right] - at[right - 1]), 0, 1)[:, None]
    return np.asarray((1 - share) * flat[right - 1] + share * flat[right]).reshape(count, *values.shape[1:])


def smooth_points(points: AnyArray, seen: Mask, amount: float, layout: PointLayout) -> AnyArray:
    """Smooths the points of one run, as the module's text says.

    Args:
        points: (n, k, d), square pixels.
        seen: bool (n,): where `points` are a measurement rather than filled in.
        amount: Scales the span that is averaged over; 0 returns the points as they are.
        layout: The points.

    Returns:
        float64 (n, k, d), square pixels.
    """
    points = np.asarray(points, np.float64)
    if amount <= 0 or len(points) < 3:
        return points
    scale, rotation, shift = fit_rigid(layout.shape, points, layout.rigidity)
    unit = float(np.median(scale))  # pixels per mm
    pixel_noise = _PIXEL_NOISE / unit
    pull = np.where(seen, 1.0, _UNSEEN_PULL)
    # The head's motion: where a few points of the shape at rest go, so that shift, turn and size count as one length.
    frame = layout.shape * scale[:, None, None] @ rotation.transpose(0, 2, 1) + shift[:, None]
    corners = _get_corners(layout.shape)
    anchors = corners * scale[:, None, None] @ rotation.transpose(0, 2, 1) + shift[:, None]
    wider = max(1.0, amount)  # a stronger smoothing also leaves larger deviations
    head_noise = wider * np.maximum(np.array([_HEAD_NOISE]), pixel_noise)
    whole = np.ones((len(corners), 1))
    smooth = unit * _settle(anchors / unit, pull, seen, _HEAD_STRENGTH * amount**2, whole, head_noise)
    new_scale, new_rotation, new_shift = fit_rigid(corners, smooth, np.ones(len(corners)))
    # The shape in the head's own frame, in mm.
    local = (points - frame) @ rotation / scale[:, None, None]
    local = _settle(
        local, pull, seen, _SHAPE_STRENGTH * amount**2, layout.shares, np.maximum(layout.noise, pixel_noise)
    )
    shape = (layout.shape + local) * new_scale[:, None, None]
    return np.asarray(shape @ new_rotation.transpose(0, 2, 1) + new_shift[:, None])


def _settle(values: AnyArray, pull: Vector, seen: Mask, strength: float, shares: Matrix, noise: Vector) -> AnyArray:
    """Smooths values (n, k, d) in mm; parts that move by clearly more than `noise` keep what was measured."""
    smooth = solve_trajectory(values, pull, strength)
    away = np.where(seen[:, None, None], values - smooth, 0.0)
    weights = shares / shares.sum(0)
    size = np.sqrt((away**2).sum(-1) @ weights)  # (n, parts)
    usual = np.clip(np.quantile(size[seen], _NOISE_QUANTILE, axis=0), _MIN_NOISE, noise)
    low, high = _NOISE_RANGE
    share = np.clip((size / usual - low) / (high - low), 0, 1)
    share = share * share * (3 - 2 * share)
    return np.asarray(smooth + (share @ shares.T)[..., None] * away)


def solve_trajectory(values: AnyArray, pull: Vector, strength: float) -> AnyArray:
    """Finds the trajectory that is near to the values and bends little, in least squares.

    Args:
        values: (n, ...), n at least 3.
        pull: (n,), weights of the values.
        strength: Weight of the bends.
    """
    count = len(values)
    bend = np.zeros((count - 2, count))
    rows = np.arange(count - 2)
    bend[rows, rows], bend[rows, rows + 1], bend[rows, rows + 2] = 1, -2, 1
    bands = np.zeros((3, count))
    for row, offset in enumerate((2, 1, 0)):
        bands[row, offset:] = np.einsum("ij,ij->j", bend[:, : count - offset], bend[:, offset:]) * strength
    bands[2] += pull
    flat = values.reshape(count, -1) * pull[:, None]
    return np.asarray(solveh_banded(bands, flat, check_finite=False)).reshape(values.shape)


def _get_corners(shape: AnyArray) -> AnyArray:
    """Points that span the head, in mm: the ends of a cross around the middle of a shape."""
    dimensions = shape.shape[1]
    middle, reach = shape.mean(0), 60.0
    return np.asarray(middle + reach * np.concatenate([np.eye(dimensions), -np.eye(dimensions)]))


@cache
def get_mesh_layout() -> PointLayout:
    """Gives the layout of a mesh."""
    parts = [
        [*mesh.LIDS_R],
        [*mesh.LIDS_L],
        list(range(mesh.SKIN_COUNT, mesh.VERTEX_COUNT)),
        [*mesh.BROW_R],
        [*mesh.BROW_L],
        [*mesh.OUTER_LIPS, *mesh.INNER_LIPS],
    ]
    shape = mesh.CANONICAL
    distance = np.stack([np.linalg.norm(shape[:, None] - shape[part], axis=-1).min(1) for part in parts], axis=1)
    distance[: mesh.SKIN_COUNT, 2] = np.inf  # the irises move by themselves
    nearness = np.exp(-((distance / _PART_REACH) ** 2))
    nearness /= np.maximum(nearness.sum(1, keepdims=True), 1.0)
    nearness[mesh.SKIN_COUNT :] = np.eye(len(parts))[2]
    return PointLayout(
        shape,
        compute_rigidity(),
        np.column_stack([nearness, 1 - nearness.sum(1)]),
        np.full(len(parts) + 1, _MESH_NOISE),
    )


@cache
def get_ibug_layout() -> PointLayout:
    """Gives the layout of the 68 landmarks."""
    parts = landmarks_ibug.LANDMARK_REGIONS
    shares = np.zeros((landmarks_ibug.LANDMARK_COUNT, len(parts)))
    for column, (first, end) in enumerate(parts.values()):
        shares[first:end, column] = 1.0
    is_lively = np.array([name.startswith(("eye", "mouth")) for name in parts])
    noise = np.where(is_lively, _LIVELY_NOISE, _LANDMARK_NOISE)
    return PointLayout(FACE_MODEL[:, :2], RIGIDITY, shares, noise)


@cache
def get_wflw_layout() -> PointLayout:
    """Gives the layout of the 98 landmarks; each belongs to the part of the 68 around it."""
    ibug = get_ibug_layout()
    near = np.abs(landmarks_wflw.FROM_IBUG)
    near = near / near.sum(1, keepdims=True)
    return PointLayout(landmarks_wflw.FROM_IBUG @ ibug.shape, near @ ibug.rigidity, near @ ibug.shares, ibug.noise)


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
