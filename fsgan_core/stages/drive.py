"""Drive: the plate's own actor wears another performer's expression. Which face is wanted, and what it is made from.

Everything is measured in millimetres on the head (axes of faces.pose), relative to each one's own face at rest, so
that neither the head's pose nor a wide mouth counts as expression. The gaps of lids and lips are treated by
themselves: landmarks never say that an eye or a mouth is quite shut, and what must touch must touch. The picture is
made by stages.liquify: the plate's own frame, moved; only what that frame does not show (teeth behind closed lips, an
eye behind its lids) comes from other frames of the same actor or, an open mouth that the plate never shows, from the
driver.

From tracks alone, clip-wide and deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fsgan_core.contract.errors import NoFaceError
from fsgan_core.contract.landmarks import BROWS, JAW
from fsgan_core.contract.params import DriveParams, ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces.pose import extract_angles, fit_head_pose, make_rotation
from fsgan_core.faces.track import Face
from fsgan_core.runtime.sampling import sample_evenly
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
from fsgan_core.stages.views import ViewRef
from fsgan_core.stages.warp_points import Performer

PLATE_CLIP, DRIVER_CLIP = 0, 1  # ViewRef.clip of a patch
ALL_LIPS = slice(48, 68)

# How much of the chin's way each point of the jaw's outline goes, ear to ear; it hinges near the ears, and as the chin
# goes down it goes back.
_JAW_SHARES = np.array([0, 0, 0.06, 0.2, 0.42, 0.68, 0.88, 1, 1, 1, 0.88, 0.68, 0.42, 0.2, 0.06, 0, 0])
_JAW_DIRECTION = np.array([0.0, 1.0, 0.5])
_NECK_PIVOT = np.array([0.0, 60.0, 90.0])  # mm: where head and neck meet
MAX_TURN = 15.0  # degrees that a head is turned away from how the plate shows it

# Choice of patches: what costs one unit.
_LIPS_UNIT, _LIDS_UNIT, _POSE_UNIT = 2.0, 0.3, 8.0  # mm, share of the open eye, degrees
_OTHER_FRAME_COST = 1.0  # what any frame other than the plate's own costs
_SWITCH_COST = 3.0
_FADE_FRAMES = 1  # frames over which patches come and go
_MIN_WEIGHT = 0.02


@dataclass(frozen=True)
class Patch:
    """A part of the face that another frame shows better. part: "mouth", "eyes" or "inner mouth". weight: 0..1."""

    view: ViewRef
    part: str
    weight: float


@dataclass(frozen=True)
class DrivenFrame:
    """One frame of a drive.

    face: the actor's in the plate, wanted: where its landmarks are to go, both `settled`. patches: weights of one part
    sum to at most 1; the plate's own frame gives the rest. turn: (yaw, pitch, roll), degrees that the head is turned
    by. flags: "driver-held" (outside the driver's clip: its nearest frame is held), "turn-limited".
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
    """What every frame of `plate` becomes.

    first, driver_first: the first frames of the two clips, which meet when `params.offset` is 0. reenact: for
    `inner_mouth`: "source" always takes the driver's, "target" never. Faces in `plate.faces` come back `settled`.
    Raises NoFaceError (nobody drives), ParameterError (a rest frame without a face).
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
    turn = params.pose * ((acted.head_angles - other_mean) - (own.head_angles - own_mean))
    patches = _plan_patches(plate, own, change, lid_ratio, lip_gaps, driver, times, reenact or ReenactParams())
    held = (times < other.frames[0] - 1e-9) | (times > other.frames[-1] + 1e-9)

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
                ("turn-limited", np.abs(turn[t] - limited).max() > 1.0),
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
    """The stages of a drive: face and plate are one picture, so nothing has to be matched, and what moves eases out by
    itself, so a blend that is left to choose is a plain `over`; nor is there a face that a network should complete."""
    engine = "over" if stages.blend.engine == "auto" else stages.blend.engine
    filling = "fill" if stages.inpaint.engine == "auto" else stages.inpaint.engine
    return replace(
        stages,
        inpaint=stages.inpaint.replace(engine=filling),
        blend=stages.blend.replace(engine=engine, colour=0.0, sharpness=0.0, grain=0.0),
    )


def compute_drive_margin(params: DriveParams) -> float:
    """Least margin of the region, of the face: a head that turns moves more around it."""
    return 0.8 if params.pose > 0 else 0.35


# From the driver to the actor.


def _compute_change(
    own: Performance, acted: Performance, params: DriveParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the actor's points move by, (n, 68, 3) mm; the openness of the lids, (n, 2), and the gaps of the inner
    lips, (n, 3), that come of it.

    An amount up to 1 mixes: 0 is the actor's own, 1 the driver's. Above 1 the driver's is exaggerated.
    """
    across, down = _compare_proportions(own.rest_shape, acted.rest_shape)

    def mix_expression(amount: float, wanted: np.ndarray, present: np.ndarray) -> np.ndarray:
        return np.asarray(amount * wanted - min(amount, 1.0) * present)

    change = np.zeros_like(own.offsets)
    change[:, BROWS] = mix_expression(params.brows, acted.offsets[:, BROWS], own.offsets[:, BROWS])
    change[:, ALL_LIPS] = mix_expression(
        params.mouth, acted.offsets[:, ALL_LIPS] * (across, down, down), own.offsets[:, ALL_LIPS]
    )
    chin = mix_expression(params.jaw, acted.chin_drop * down, own.chin_drop)
    change[:, JAW] = chin[:, None, None] * _JAW_SHARES[:, None] * _JAW_DIRECTION

    gaps = np.maximum(own.lip_gaps + mix_expression(params.mouth, acted.lip_gaps * down, own.lip_gaps), 0)
    came = own.lip_gaps + change[:, LOWER_LIPS, 1] - change[:, UPPER_LIPS, 1]
    missing = gaps - came
    change[:, UPPER_LIPS, 1] -= 0.3 * missing
    change[:, LOWER_LIPS, 1] += 0.7 * missing
    for outer, inner, share in (
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
    ):
        change[:, outer, 1] += share * missing[:, inner]  # a lip keeps its thickness

    lids = np.clip(own.lid_openness + mix_expression(params.eyes, acted.lid_openness - 1, own.lid_openness - 1), 0, 1.6)
    before, after = np.repeat(own.lid_openness, 2, axis=1), np.repeat(lids, 2, axis=1)
    usual = np.median(own.lid_gaps, axis=0)
    left = np.where(after < before, after / np.maximum(before, 1e-6), 1.0)
    opened = own.lid_gaps * (left - 1) + usual * np.maximum(after - before, 0)  # shut lids leave nothing open
    change[:, UPPER_LIDS, 1] = -0.85 * opened
    change[:, LOWER_LIDS, 1] = 0.15 * opened
    return change, lids, gaps


def _compare_proportions(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The actor's mouth width and lower face height over the driver's."""

    def measure_sizes(rest: np.ndarray) -> np.ndarray:
        return np.array([np.linalg.norm(rest[54] - rest[48]), np.linalg.norm(rest[8] - rest[33])])

    across, down = np.clip(measure_sizes(own) / np.maximum(measure_sizes(other), 1e-6), 0.7, 1.4)
    return float(across), float(down)


def project_turn(face: Face, points: np.ndarray, angles: np.ndarray, pixel_aspect: float) -> np.ndarray:
    """(68, 2) plate coordinates: what `points` (68, 3) mm of the head move in the picture when it turns by `angles`
    (yaw, pitch, roll, degrees) on its neck."""
    pose = fit_head_pose(face.landmarks, pixel_aspect)
    yaw, pitch, roll = np.array(extract_angles(pose.rotation)) + angles
    new = replace(pose, rotation=make_rotation(yaw, pitch, roll))
    new = replace(new, translation=new.translation + pose.project(_NECK_PIVOT) - new.project(_NECK_PIVOT))
    return np.asarray((new.project(points) - pose.project(points)) / (pixel_aspect, 1.0))


# What another frame shows better.


def _plan_patches(
    plate: Performer,
    own: Performance,
    change: np.ndarray,
    lids: np.ndarray,
    gaps: np.ndarray,
    driver: Performer,
    times: np.ndarray,
    reenact: ReenactParams,
) -> list[tuple[Patch, ...]]:
    """Per frame of the plate the parts that come from elsewhere."""
    frames = own.frames
    pool = np.array(
        [index for index, frame in enumerate(frames) if plate.faces[int(frame)].origin != "bridged"]
        or range(len(frames))
    )
    pool = pool[sample_evenly(len(pool), 300)]
    away = np.linalg.norm(own.head_angles[:, None, :2] - own.head_angles[None, pool, :2], axis=2) / _POSE_UNIT
    doubt = np.array([1 - plate.faces[int(frame)].confidence for frame in frames[pool]])
    elsewhere = away + _OTHER_FRAME_COST + doubt

    shown, wanted = own.offsets[:, ALL_LIPS, :2], (own.offsets + change)[:, ALL_LIPS, :2]
    gap, own_gap = gaps.mean(1), own.lip_gaps.mean(1)
    lips = np.sqrt(((wanted[:, None] - shown[None, pool]) ** 2).sum(3).mean(2)) / _LIPS_UNIT
    lips = lips + _compute_mouth_cost(gap[:, None], own_gap[None, pool]) + elsewhere
    own_lips = np.sqrt(((wanted - shown) ** 2).sum(2).mean(1)) / _LIPS_UNIT + _compute_mouth_cost(gap, own_gap)
    mouth = _choose_frames(own_lips, lips)

    eyes = np.abs(lids[:, None] - own.lid_openness[None, pool]).max(2) / _LIDS_UNIT + elsewhere
    lacking = (lids - own.lid_openness).max(
        1
    )  # a lid that closes slides over what is there; one that opens needs an eye
    own_eyes = np.maximum(lacking, 0) / _LIDS_UNIT + 4 * np.clip((lacking - 0.3) / 0.3, 0, 1)
    eye = _smooth_weights(_choose_frames(own_eyes, eyes), frames)

    shows = mouth[:, 0] * own_gap + mouth[:, 1:] @ own_gap[pool]
    need = np.clip((gap - 1.6 * shows - 1.0) / 2.0, 0, 1)
    if reenact.inner_mouth == "source":
        need = np.clip(gap / 2.0, 0, 1)
    elif reenact.inner_mouth == "target":
        need = np.zeros(len(gap))
    need, mouth = _smooth_weights(need[:, None], frames)[:, 0], _smooth_weights(mouth, frames)
    drivers = np.array(sorted(driver.faces))
    nearest = drivers[np.abs(drivers[None] - np.clip(times, drivers[0], drivers[-1])[:, None]).argmin(1)]

    result = []
    for t in range(len(frames)):
        found = [
            Patch(ViewRef(PLATE_CLIP, int(frames[pool[v]])), part, round(float(share), 4))
            for part, shares in (("mouth", mouth), ("eyes", eye))
            for v, share in enumerate(shares[t, 1:])
            if share > _MIN_WEIGHT
        ]
        if need[t] > _MIN_WEIGHT:
            found.append(Patch(ViewRef(DRIVER_CLIP, int(nearest[t])), "inner mouth", round(float(need[t]), 4)))
        result.append(tuple(found))
    return result


def _compute_mouth_cost(wanted: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """What it costs that a frame shows no teeth where they are wanted, or teeth where lips are to touch. mm."""
    lacking = 4 * np.clip((wanted - 1.6 * shown - 1.0) / 3.0, 0, 1)
    spare = 3 * np.clip((shown - 2.0) / 3.0, 0, 1) * np.clip((1.5 - wanted) / 1.0, 0, 1)
    return np.asarray(lacking + spare)


def _choose_frames(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, 1 + v) 1 for the plate's own frame or one of the other views: the cheapest way through the clip."""
    cost = np.column_stack([own, others])
    total = cost[0].copy()
    came_from = np.zeros(cost.shape, int)
    for t in range(1, len(cost)):
        best = int(np.argmin(total))
        stay = total <= total[best] + _SWITCH_COST
        came_from[t] = np.where(stay, np.arange(len(total)), best)
        total = np.where(stay, total, total[best] + _SWITCH_COST) + cost[t]
    shares = np.zeros(cost.shape)
    at = int(np.argmin(total))
    for t in range(len(cost) - 1, -1, -1):
        shares[t, at] = 1
        at = int(came_from[t, at])
    return shares


def _smooth_weights(weights: np.ndarray, frames: Sequence[int] | np.ndarray) -> np.ndarray:
    """Weights (n, v) averaged over frames at most _FADE away, by frame number."""
    numbers = np.asarray(frames)
    kernel = np.clip(1 - np.abs(numbers[:, None] - numbers[None]) / (_FADE_FRAMES + 1), 0, None)
    return np.asarray(kernel @ weights / kernel.sum(1, keepdims=True))
