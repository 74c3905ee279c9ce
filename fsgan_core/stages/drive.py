"""Drive: the plate's own actor takes on another performer's expression.

This module plans the goal face of each frame and which frames it is made from.

Everything is measured in millimetres on the head (axes of `faces.pose`), relative to each person's own face at rest, so
neither the head's pose nor a wide mouth counts as expression. The gaps of lids and lips are treated separately:
landmarks never show an eye or a mouth as quite shut, but closed lids and lips must touch. `motion.liquify` makes the
picture: the plate's own frame, moved. Only what that frame does not show (teeth behind closed lips, an eye behind its
lids) comes from other frames of the same actor, or from the driver if the plate never shows an open mouth.

The plan covers the whole clip, uses tracks only, and is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fsgan_core.contract.curve import get_largest_value
from fsgan_core.contract.errors import NoFaceError
from fsgan_core.contract.landmarks import BROWS, CHIN, JAW, MOUTH, MOUTH_CORNERS
from fsgan_core.contract.params import DriveParams, ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces.face import Face
from fsgan_core.faces.pose import extract_angles, fit_head_pose, make_rotation
from fsgan_core.runtime.arrays import Angles, AnyArray, Matrix, Points, Points3D, Vector
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.fading import find_cheapest_path, smooth_weights
from fsgan_core.stages.motion.performance import (
    LOWER_LIDS,
    LOWER_LIPS,
    UPPER_LIDS,
    UPPER_LIPS,
    Performance,
    measure_landmark_bias,
    measure_performance,
    project_change,
    resample_performance,
)
from fsgan_core.stages.warp_points import NOSE_BASE, Performer

PLATE_CLIP, DRIVER_CLIP = 0, 1  # ViewRef.clip of a patch
MIN_MARGIN, MIN_TURNED_MARGIN = 0.35, 0.8  # of the face: least margin of the region; if the head is turned

# Of the chin's travel, how much each point of the jaw's outline makes, ear to ear: the jaw hinges near the ears. As the
# chin goes down it also goes back.
_JAW_SHARES = np.array([0, 0, 0.06, 0.2, 0.42, 0.68, 0.88, 1, 1, 1, 0.88, 0.68, 0.42, 0.2, 0.06, 0, 0])
_JAW_DIRECTION = np.array([0.0, 1.0, 0.5])
_NECK_PIVOT = np.array([0.0, 60.0, 90.0])  # mm: where head and neck meet
MAX_TURN = 15.0  # degrees that a head is turned away from how the plate shows it
TURN_TOLERANCE = 1.0  # degrees: a turn limited by more is flagged
TIME_TOLERANCE = 1e-9  # frames

# How lips and lids open.
_PROPORTION_RANGE = (0.7, 1.4)  # of one person's size over the other's
_UPPER_LIP_SHARE, _LOWER_LIP_SHARE = 0.3, 0.7  # of a change of the gap
# Landmark of the outer lip, index of the inner gap that it follows, share: a lip keeps its thickness.
_OUTER_LIP_SHARES = (
    (50, 0, -0.3),
    (51, 1, -0.3),
    (52, 2, -0.3),
    (58, 0, 0.7),
    (57, 1, 0.7),
    (56, 2, 0.7),
    (49, 0, -0.15),
    (53, 2, -0.15),
    (59, 0, 0.35),
    (55, 2, 0.35),
)
_MAX_LID_OPENNESS = 1.6  # of the usual openness
_UPPER_LID_SHARE, _LOWER_LID_SHARE = -0.85, 0.15  # of a change of the gap, down

# Choice of patches: a difference that costs one unit, and costs in these units.
_LIPS_UNIT, _LIDS_UNIT, _POSE_UNIT = 2.0, 0.3, 8.0  # mm, share of the open eye, degrees
_OTHER_FRAME_COST = 1.0  # of any frame other than the plate's own
_SWITCH_COST = 3.0
_MAX_POOL = 300  # frames considered
_MISSING_EYE_COST, _MISSING_EYE_START, _MISSING_EYE_RANGE = 4, 0.3, 0.3  # shares of the open eye that the frame lacks
_SHOWN_MOUTH_STRETCH = 1.6  # times the gap that a frame shows: so far its mouth can be opened
_NEED_START, _NEED_RANGE = 1.0, 2.0  # mm of opening beyond that: the driver's mouth begins to be needed, and all of it
_MISSING_TEETH_COST, _MISSING_TEETH_RANGE = 4, 3.0  # mm beyond _NEED_START
_SPARE_TEETH_COST, _SPARE_TEETH_START, _SPARE_TEETH_RANGE = 3, 2.0, 3.0  # mm of opening shown
_CLOSED_START, _CLOSED_RANGE = 1.5, 1.0  # mm of opening wanted, below which teeth are spare
_FADE_FRAMES = 1  # on either side, over which patches come and go
_MIN_WEIGHT = 0.02
_WEIGHT_DIGITS = 4


@dataclass(frozen=True)
class Patch:
    """A part of the face that is taken from another frame.

    Attributes:
        view: The frame, of PLATE_CLIP or DRIVER_CLIP.
        part: "mouth", "eyes" or "inner mouth".
        weight: 0..1.
    """

    view: ViewRef
    part: str
    weight: float


@dataclass(frozen=True)
class DrivenFrame:
    """One frame of a drive.

    Attributes:
        face: The actor's in the plate, gaps corrected.
        goal_face: The face it is to have.
        patches: Weights of one part sum to at most 1; the plate's own frame gives the rest.
        head_turn: Yaw, pitch and roll in degrees that the head is turned by.
        flags: "driver-held" (outside the driver's clip, whose nearest frame is held), "turn-limited".
    """

    face: Face
    goal_face: Face
    patches: tuple[Patch, ...] = ()
    head_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flags: tuple[str, ...] = ()


def drive_faces(
    plate: Performer,
    driver: Performer,
    params: DriveParams,
    *,
    first: int,
    driver_first: int,
    reenact: ReenactParams | None = None,
) -> dict[int, DrivenFrame]:
    """Plan what every frame of the plate becomes.

    Args:
        plate: The actor in the plate.
        driver: The person whose expression is wanted.
        params: Settings of the drive; the amounts may change over time.
        first: First frame of the plate's clip.
        driver_first: First frame of the driver's clip; the two meet if `params.offset` is 0.
        reenact: For `inner_mouth`: "source" always takes the driver's, "target" never.

    Returns:
        By frame of the plate; empty if the plate shows no face.

    Raises:
        NoFaceError: The driver shows no face.
        ParameterError: A rest frame shows no face.
    """
    if not plate.faces:
        return {}
    if not driver.faces:
        raise NoFaceError("the driver shows no face; check its colour space, or name the person with --driver-person")
    own_bias, driver_bias = measure_landmark_bias(plate), measure_landmark_bias(driver)
    own = measure_performance(plate, own_bias, params.plate_rest, "plate_rest")
    other = measure_performance(driver, driver_bias, params.rest, "rest")
    times = driver_first + params.offset + params.speed * (own.frames - first)
    acted = resample_performance(other, times)
    change, lid_ratio, lip_gaps = _compute_change(own, acted, params)
    own_mean, other_mean = own.head_angles.mean(0), other.head_angles.mean(0)
    turn = _list_amounts(params, "pose", own, 2) * ((acted.head_angles - other_mean) - (own.head_angles - own_mean))
    patches = _plan_patches(plate, own, change, lid_ratio, lip_gaps, driver, times, reenact or ReenactParams())
    held = (times < other.frames[0] - TIME_TOLERANCE) | (times > other.frames[-1] + TIME_TOLERANCE)

    driven = {}
    for t, frame in enumerate(own.frames):
        start = own.faces[t]
        landmarks = start.landmarks + project_change(change[t], own.poses[t]) / (plate.pixel_aspect, 1.0)
        limited = MAX_TURN * np.tanh(turn[t] / MAX_TURN)
        if limited.any():
            landmarks = landmarks + project_turn(
                start, own.rest_shape + own.offsets[t] + change[t], limited, plate.pixel_aspect
            )
        flags = [
            name
            for name, on in (
                ("driver-held", held[t] and len(other.frames) > 1),
                ("turn-limited", np.abs(turn[t] - limited).max() > TURN_TOLERANCE),
            )
            if on
        ]
        driven[int(frame)] = DrivenFrame(
            start,
            start.with_landmarks(landmarks),
            patches[t],
            (float(limited[0]), float(limited[1]), float(limited[2])),
            tuple(flags),
        )
    return driven


def resolve_drive_stages(stages: Stages) -> Stages:
    """Resolve the stages of a drive.

    Face and plate are one picture, so nothing has to be matched, and motion eases out by itself. With `engine=auto`,
    blend is a plain `over` and inpaint is `fill`, since there is no face to complete.
    """
    engine = "over" if stages.blend.engine == "auto" else stages.blend.engine
    filling = "fill" if stages.inpaint.engine == "auto" else stages.inpaint.engine
    return replace(
        stages,
        inpaint=stages.inpaint.replace(engine=filling),
        blend=stages.blend.replace(engine=engine, colour=0.0, sharpness=0.0, detail=0.0, grain=0.0),
    )


def compute_drive_margin(params: DriveParams) -> float:
    """Return the least margin of the region, as a share of the face: a head that turns moves more around it."""
    return MIN_TURNED_MARGIN if get_largest_value(params.pose) > 0 else MIN_MARGIN


# The actor's change of expression.


def _list_amounts(params: DriveParams, name: str, own: Performance, dimensions: int) -> AnyArray:
    """A parameter of every frame of the plate, as the first of several dimensions."""
    amounts = np.array([getattr(params.at_frame(int(frame)), name) for frame in own.frames], np.float64)
    return amounts.reshape(-1, *(1,) * (dimensions - 1))


def _compute_change(own: Performance, acted: Performance, params: DriveParams) -> tuple[AnyArray, Matrix, Matrix]:
    """Compute how the actor's points move, and how far lids and lips are open afterwards.

    An amount up to 1 mixes: 0 is the actor's own, 1 the driver's. Above 1 the driver's is exaggerated.

    Returns:
        Movement of the points, (n, 68, 3) mm; openness of the lids, (n, 2); gaps of the inner lips, (n, 3) mm.
    """
    across, down = _compare_proportions(own.rest_shape, acted.rest_shape)

    def mix_expression(name: str, acted_values: AnyArray, own_values: AnyArray) -> AnyArray:
        amount = _list_amounts(params, name, own, np.ndim(acted_values))
        return np.asarray(amount * acted_values - np.minimum(amount, 1.0) * own_values)

    change = np.zeros_like(own.offsets)
    change[:, BROWS] = mix_expression("brows", acted.offsets[:, BROWS], own.offsets[:, BROWS])
    change[:, MOUTH] = mix_expression("mouth", acted.offsets[:, MOUTH] * (across, down, down), own.offsets[:, MOUTH])
    chin = mix_expression("jaw", acted.chin_drop * down, own.chin_drop)
    change[:, JAW] = chin[:, None, None] * _JAW_SHARES[:, None] * _JAW_DIRECTION

    gaps = np.maximum(own.lip_gaps + mix_expression("mouth", acted.lip_gaps * down, own.lip_gaps), 0)
    opened_gaps = own.lip_gaps + change[:, LOWER_LIPS, 1] - change[:, UPPER_LIPS, 1]
    missing = gaps - opened_gaps
    change[:, UPPER_LIPS, 1] -= _UPPER_LIP_SHARE * missing
    change[:, LOWER_LIPS, 1] += _LOWER_LIP_SHARE * missing
    for outer, inner, share in _OUTER_LIP_SHARES:
        change[:, outer, 1] += share * missing[:, inner]

    widened = mix_expression("eyes", acted.lid_openness - 1, own.lid_openness - 1)
    lids = np.clip(own.lid_openness + widened, 0, _MAX_LID_OPENNESS)
    before, after = np.repeat(own.lid_openness, 2, axis=1), np.repeat(lids, 2, axis=1)
    usual = np.median(own.lid_gaps, axis=0)
    left = np.where(after < before, after / np.maximum(before, 1e-6), 1.0)
    opened = own.lid_gaps * (left - 1) + usual * np.maximum(after - before, 0)  # shut lids leave nothing open
    change[:, UPPER_LIDS, 1] = _UPPER_LID_SHARE * opened
    change[:, LOWER_LIDS, 1] = _LOWER_LID_SHARE * opened
    return change, lids, gaps


def _compare_proportions(own: Points3D, other: Points3D) -> tuple[float, float]:
    """The actor's mouth width and lower face height over the driver's."""

    def measure_sizes(rest: Points3D) -> Vector:
        right, left = MOUTH_CORNERS
        return np.array([np.linalg.norm(rest[left] - rest[right]), np.linalg.norm(rest[CHIN] - rest[NOSE_BASE])])

    across, down = np.clip(measure_sizes(own) / np.maximum(measure_sizes(other), 1e-6), *_PROPORTION_RANGE)
    return float(across), float(down)


def project_turn(face: Face, points: Points3D, angles: Angles, pixel_aspect: float) -> Points:
    """Project a turn of the head on its neck to movements in the picture.

    Args:
        face: The face before the turn.
        points: (n, 3) mm on the head.
        angles: Yaw, pitch, roll in degrees.
        pixel_aspect: Width of a pixel over its height.

    Returns:
        (n, 2) what the points move by, plate coordinates.
    """
    pose = fit_head_pose(face.landmarks, pixel_aspect)
    yaw, pitch, roll = np.array(extract_angles(pose.rotation)) + angles
    new = replace(pose, rotation=make_rotation(yaw, pitch, roll))
    new = replace(new, translation=new.translation + pose.project(_NECK_PIVOT) - new.project(_NECK_PIVOT))
    return np.asarray((new.project(points) - pose.project(points)) / (pixel_aspect, 1.0))


# Patches from other frames.


def _plan_patches(
    plate: Performer,
    own: Performance,
    change: AnyArray,
    lids: Matrix,
    gaps: Matrix,
    driver: Performer,
    times: Vector,
    reenact: ReenactParams,
) -> list[tuple[Patch, ...]]:
    """For each frame of the plate the parts that come from other frames."""
    frames = own.frames
    pool = np.array(
        [index for index, frame in enumerate(frames) if plate.faces[int(frame)].origin != "bridged"]
        or range(len(frames))
    )
    pool = pool[sample_evenly(len(pool), _MAX_POOL)]
    away = np.linalg.norm(own.head_angles[:, None, :2] - own.head_angles[None, pool, :2], axis=2) / _POSE_UNIT
    uncertainty = np.array([1 - plate.faces[int(frame)].confidence for frame in frames[pool]])
    elsewhere = away + _OTHER_FRAME_COST + uncertainty

    shown, goal = own.offsets[:, MOUTH, :2], (own.offsets + change)[:, MOUTH, :2]
    gap, own_gap = gaps.mean(1), own.lip_gaps.mean(1)
    lips = np.sqrt(((goal[:, None] - shown[None, pool]) ** 2).sum(3).mean(2)) / _LIPS_UNIT
    lips = lips + _compute_mouth_cost(gap[:, None], own_gap[None, pool]) + elsewhere
    own_lips = np.sqrt(((goal - shown) ** 2).sum(2).mean(1)) / _LIPS_UNIT + _compute_mouth_cost(gap, own_gap)
    mouth = _choose_patch_frames(own_lips, lips)

    eyes = np.abs(lids[:, None] - own.lid_openness[None, pool]).max(2) / _LIDS_UNIT + elsewhere
    # A lid that closes slides over what is there; one that opens needs an eye.
    lacking = (lids - own.lid_openness).max(1)
    own_eyes = np.maximum(lacking, 0) / _LIDS_UNIT + _MISSING_EYE_COST * np.clip(
        (lacking - _MISSING_EYE_START) / _MISSING_EYE_RANGE, 0, 1
    )
    eye = smooth_weights(_choose_patch_frames(own_eyes, eyes), frames, _FADE_FRAMES)

    shows = mouth[:, 0] * own_gap + mouth[:, 1:] @ own_gap[pool]
    need = np.clip((gap - _SHOWN_MOUTH_STRETCH * shows - _NEED_START) / _NEED_RANGE, 0, 1)
    if reenact.inner_mouth == "source":
        need = np.clip(gap / _NEED_RANGE, 0, 1)
    elif reenact.inner_mouth == "target":
        need = np.zeros(len(gap))
    need = smooth_weights(need[:, None], frames, _FADE_FRAMES)[:, 0]
    mouth = smooth_weights(mouth, frames, _FADE_FRAMES)
    drivers = np.array(sorted(driver.faces))
    nearest = drivers[np.abs(drivers[None] - np.clip(times, drivers[0], drivers[-1])[:, None]).argmin(1)]

    result = []
    for t in range(len(frames)):
        patches = [
            Patch(ViewRef(PLATE_CLIP, int(frames[pool[v]])), part, round(float(share), _WEIGHT_DIGITS))
            for part, shares in (("mouth", mouth), ("eyes", eye))
            for v, share in enumerate(shares[t, 1:])
            if share > _MIN_WEIGHT
        ]
        if need[t] > _MIN_WEIGHT:
            driver_view = ViewRef(DRIVER_CLIP, int(nearest[t]))
            patches.append(Patch(driver_view, "inner mouth", round(float(need[t]), _WEIGHT_DIGITS)))
        result.append(tuple(patches))
    return result


def _compute_mouth_cost(goal_gap: AnyArray, shown_gap: AnyArray) -> AnyArray:
    """Cost of a frame that lacks teeth where they are needed, or shows teeth where lips must touch; gaps in mm."""
    missing = goal_gap - _SHOWN_MOUTH_STRETCH * shown_gap - _NEED_START
    lacking = _MISSING_TEETH_COST * np.clip(missing / _MISSING_TEETH_RANGE, 0, 1)
    spare = _SPARE_TEETH_COST * np.clip((shown_gap - _SPARE_TEETH_START) / _SPARE_TEETH_RANGE, 0, 1)
    spare = spare * np.clip((_CLOSED_START - goal_gap) / _CLOSED_RANGE, 0, 1)
    return np.asarray(lacking + spare)


def _choose_patch_frames(own: Vector, others: Matrix) -> Matrix:
    """The cheapest path through the clip: (n, 1 + views), 1 for the chosen frame, own frame first."""
    cost = np.column_stack([own, others])
    return np.eye(cost.shape[1])[find_cheapest_path(cost, _SWITCH_COST)]
