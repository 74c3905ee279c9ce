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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from fsgan_core.contract.errors import NoFaceError, ParameterError
from fsgan_core.contract.params import DriveParams, ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces.pose import FACE, HeadPose, angles_of, head_pose, rotation_of
from fsgan_core.faces.track import Face
from fsgan_core.stages import mesh
from fsgan_core.stages.mesh import Actor
from fsgan_core.stages.views import ViewRef

PLATE, DRIVER = 0, 1  # ViewRef.clip of a patch
LIPS = slice(48, 68)
UPPER_LIDS, LOWER_LIDS = np.array([37, 38, 43, 44]), np.array([41, 40, 47, 46])
UPPER_LIPS, LOWER_LIPS = np.array([61, 62, 63]), np.array([67, 66, 65])  # inner
_CHIN, _LOWER_LIP = slice(7, 10), slice(56, 59)

# How much of the chin's way each point of the jaw's outline goes, ear to ear; it hinges near the ears, and as the chin
# goes down it goes back.
_JAW = np.array([0, 0, .06, .2, .42, .68, .88, 1, 1, 1, .88, .68, .42, .2, .06, 0, 0])
_JAW_WAY = np.array([0.0, 1.0, 0.5])
_USUAL_JAW = 0.6  # chin's way over the lower lip's, where a clip does not say
_PIVOT = np.array([0.0, 60.0, 90.0])  # mm: where head and neck meet
MOST_TURN = 15.0  # degrees that a head is turned away from how the plate shows it

_SHUT = 0.25  # a lid gap that landmarks give for a shut eye, over the open one, where a clip shows no blink
_SLIT = 0.1  # of the open eye: a gap that lashes close
_LIPS_SHUT = 3.0  # mm: most that landmarks give for closed lips
_DEPTH_SURE = 0.1  # variance of depth over that of x and y in what an expression moves

# Choice of patches: what costs one unit.
_LIPS_UNIT, _LIDS_UNIT, _POSE_UNIT = 2.0, 0.3, 8.0  # mm, share of the open eye, degrees
_FOREIGN = 1.0  # what any frame other than the plate's own costs
_SWITCH = 3.0
_FADE = 1  # frames over which patches come and go
_LEAST = 0.02


@dataclass(frozen=True)
class Patch:
    """A part of the face that another frame shows better. part: "mouth", "eyes" or "inner mouth". weight: 0..1."""

    view: ViewRef
    part: str
    weight: float


@dataclass(frozen=True)
class Driven:
    """One frame of a drive.

    face: the actor's in the plate, wanted: where its landmarks are to go, both `settled`. patches: weights of one part
    sum to at most 1; the plate's own frame gives the rest. turn: (yaw, pitch, roll), degrees that the head is turned
    by. flags: "driver-held" (outside the driver's clip: its nearest frame is held), "turn-limited".
    """

    face: Face
    wanted: Face
    patches: tuple[Patch, ...] = ()
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Performance:
    """What a performer's face does through a clip.

    frames: (n,) ascending. moved: (n, 68, 3) mm away from the face at rest. lids: (n, 2) openness of the right and the
    left eye, 0 shut, 1 as usual. lips: (n, 3) mm between the inner lips. chin: (n,) mm down. turn: (n, 3) yaw, pitch,
    roll. rest: (68, 3) mm, the face at rest; lid_gaps: (4,) mm of its open lids. bias: how landmarks read.
    """

    frames: np.ndarray
    moved: np.ndarray
    lids: np.ndarray
    lips: np.ndarray
    chin: np.ndarray
    turn: np.ndarray
    rest: np.ndarray
    lid_gaps: np.ndarray


def drive_faces(plate: Actor, driver: Actor, params: DriveParams, *, first: int, driver_first: int,
                reenact: ReenactParams | None = None) -> dict[int, Driven]:
    """What every frame of `plate` becomes.

    first, driver_first: the first frames of the two clips, which meet when `params.offset` is 0. reenact: for
    `inner_mouth`: "source" always takes the driver's, "target" never. Faces in `plate.faces` come back `settled`.
    Raises NoFaceError (nobody drives), ParameterError (a rest frame without a face).
    """
    if not plate.faces:
        return {}
    if not driver.faces:
        raise NoFaceError("the driver shows no face; check its colour space, or name the person with --driver-person")
    own_bias, driver_bias = reading(plate), reading(driver)
    own = performance(plate, own_bias, params.plate_rest, "plate_rest")
    other = performance(driver, driver_bias, params.rest, "rest")
    times = driver_first + params.offset + params.speed * (own.frames - first)
    acted = resampled(other, times)
    change, lid_ratio, lip_gaps = _change(own, acted, params)
    own_mean, other_mean = own.turn.mean(0), other.turn.mean(0)
    turn = params.pose * ((acted.turn - other_mean) - (own.turn - own_mean))
    patches = _patches(plate, own, change, lid_ratio, lip_gaps, driver, times, reenact or ReenactParams())
    held = (times < other.frames[0] - 1e-9) | (times > other.frames[-1] + 1e-9)

    driven = {}
    for t, frame in enumerate(own.frames):
        face = plate.faces[int(frame)]
        start = settled(face, plate.pixel_aspect, own_bias)
        move = mesh.displaced(face.landmarks, change[t], plate.pixel_aspect) - face.landmarks
        landmarks = start.landmarks + move
        limited = MOST_TURN * np.tanh(turn[t] / MOST_TURN)
        if limited.any():
            landmarks = landmarks + turned(face, own.rest + own.moved[t] + change[t], limited, plate.pixel_aspect)
        flags = [name for name, on in (("driver-held", held[t] and len(other.frames) > 1),
                                       ("turn-limited", np.abs(turn[t] - limited).max() > 1.0)) if on]
        driven[int(frame)] = Driven(start, replace(start, landmarks=landmarks), patches[t],
                                    (float(limited[0]), float(limited[1]), float(limited[2])), tuple(flags))
    return driven


def drive_stages(stages: Stages) -> Stages:
    """The stages of a drive: face and plate are one picture, so nothing has to be matched, and what moves eases out by
    itself, so a blend that is left to choose is a plain `over`."""
    engine = "over" if stages.blend.engine == "auto" else stages.blend.engine
    return replace(stages, blend=stages.blend.replace(engine=engine, colour=0.0, sharpness=0.0, grain=0.0))


def drive_margin(params: DriveParams) -> float:
    """Least margin of the region, of the face: a head that turns moves more around it."""
    return 0.8 if params.pose > 0 else 0.35


# What landmarks read on a person.


@dataclass(frozen=True)
class Reading:
    """lids, lids_shut: (2,) mm that landmarks give for right and left eye open and shut; lips_shut: for closed lips."""

    lids: np.ndarray
    lids_shut: np.ndarray
    lips_shut: float


def reading(who: Actor) -> Reading:
    """How landmarks read on this person, from the clip itself: the usual gap of open lids, the least ones seen."""
    gaps = [_gaps(face, who.pixel_aspect) for face in who.faces.values()]
    lids = np.array([lid for lid, _ in gaps]).reshape(-1, 2, 2).mean(2)
    lips = np.array([lip for _, lip in gaps]).mean(1)
    wide = np.percentile(lids, 90, axis=0)
    usual = np.array([np.median(eye[eye > 0.7 * most]) for eye, most in zip(lids.T, wide, strict=True)])
    least = np.percentile(lids, 2, axis=0)
    shut = np.where(least < 0.6 * usual, least, _SHUT * usual)
    return Reading(usual, shut, float(np.clip(np.percentile(lips, 3), 0, _LIPS_SHUT)))


def settled(face: Face, pixel_aspect: float, bias: Reading) -> Face:
    """The face with lids and inner lips as far open as they are: gaps that landmarks give for shut ones become 0."""
    pose = head_pose(face.landmarks, pixel_aspect)
    lids, lips = _gaps(face, pixel_aspect)
    shut = np.repeat(bias.lids_shut + _SLIT * bias.lids, 2)
    sure = (shut + np.repeat(bias.lids, 2)) / 2
    lid_change = _unbiased(lids, shut, sure) - lids
    lip_change = _unbiased(lips, np.full(3, bias.lips_shut), np.full(3, 4 * bias.lips_shut)) - lips
    change = np.zeros((68, 3))
    change[UPPER_LIDS, 1], change[LOWER_LIDS, 1] = -0.7 * lid_change, 0.3 * lid_change
    change[UPPER_LIPS, 1], change[LOWER_LIPS, 1] = -0.5 * lip_change, 0.5 * lip_change
    return replace(face, landmarks=face.landmarks + _seen(change, pose) / (pixel_aspect, 1.0))


def _unbiased(gaps: np.ndarray, shut: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Gaps as they are: from `sure` on what landmarks say, below it less, down to 0 at `shut`."""
    low = np.maximum(0, sure * (gaps - shut) / np.maximum(sure - shut, 1e-6))
    return np.where(gaps >= sure, gaps, low)


def _gaps(face: Face, pixel_aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaps in mm of the lids (4,), right eye first, and of the inner lips (3,), along the head's own down."""
    pose = head_pose(face.landmarks, pixel_aspect)
    points = face.landmarks * (pixel_aspect, 1.0)
    down = pose.rotation[:2, 1]
    along = points @ (down / (down @ down)) / pose.scale
    depth = 1 + (FACE @ pose.rotation.T)[:, 2] / pose.distance

    def gap(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
        return np.asarray((along[lower] - along[upper]) * (depth[lower] + depth[upper]) / 2)

    return gap(UPPER_LIDS, LOWER_LIDS), gap(UPPER_LIPS, LOWER_LIPS)


def _seen(change: np.ndarray, pose: HeadPose) -> np.ndarray:
    """(68, 2) square pixels that points of the head move in the picture when they move by `change` (68, 3) mm."""
    depth = 1 + (FACE @ pose.rotation.T)[:, 2:] / pose.distance
    return np.asarray(pose.scale * (change @ pose.rotation.T)[:, :2] / depth)


# What a performer does.


def performance(who: Actor, bias: Reading, rest_frame: int | None = None, name: str = "rest") -> Performance:
    """A performer's expression, relative to the face at rest: found over the clip (brows: the median; mouth and jaw:
    frames with closed lips count most), or the one of `rest_frame`. Raises ParameterError when that has no face."""
    frames = np.array(sorted(who.faces))
    faces = [settled(who.faces[int(frame)], who.pixel_aspect, bias) for frame in frames]
    if rest_frame is not None and rest_frame not in who.faces:
        raise ParameterError(f"drive.{name} = {rest_frame}: that frame shows no face; the face is seen in "
                             f"{frames[0]} to {frames[-1]}")
    offsets = np.array([_on_head(face, who) for face in faces])
    gaps = [_gaps(face, who.pixel_aspect) for face in faces]
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
    follow = float(np.clip((lip @ chin + prior * _USUAL_JAW) / (lip @ lip + prior), 0.2, 0.9))
    openness = (lids / np.repeat(bias.lids, 2)).reshape(-1, 2, 2).mean(2)
    turn = np.array([head_pose(face.landmarks, who.pixel_aspect).angles for face in faces])
    return Performance(frames, moved, np.maximum(openness, 0), lips, follow * lip, turn, who.shape + at_rest,
                       np.repeat(bias.lids, 2))


def resampled(acted: Performance, times: np.ndarray) -> Performance:
    """The performance at any times, between frames by monotone cubics (which never overshoot: closed lips stay
    closed); outside the clip the first or the last frame is held."""
    if len(acted.frames) == 1:
        index = np.zeros(len(times), int)
        return replace(acted, frames=times, **{key: getattr(acted, key)[index] for key in _TRACKS})
    inside = np.clip(times, acted.frames[0], acted.frames[-1])
    return replace(acted, frames=times, **{
        key: PchipInterpolator(acted.frames, getattr(acted, key), axis=0)(inside) for key in _TRACKS})


_TRACKS = ("moved", "lids", "lips", "chin", "turn")


def _on_head(face: Face, who: Actor) -> np.ndarray:
    """(68, 3) mm: the likeliest move on the head that takes the person's own face to these landmarks. Depth, which a
    picture hardly shows, is moved as little as will do."""
    pose = head_pose(face.landmarks, who.pixel_aspect)
    depth = 1 + (FACE @ pose.rotation.T)[:, 2:] / pose.distance
    points = face.landmarks * (who.pixel_aspect, 1.0)
    seen = ((points - pose.translation) / pose.scale) * depth - (who.shape @ pose.rotation.T)[:, :2]
    rows = pose.rotation[:2]
    prior = np.diag([1.0, 1.0, _DEPTH_SURE])
    lift = prior @ rows.T @ np.linalg.inv(rows @ prior @ rows.T + 1e-3 * np.eye(2))
    return np.asarray(seen @ lift.T)


# From the driver to the actor.


def _change(own: Performance, acted: Performance, params: DriveParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the actor's points move by, (n, 68, 3) mm; the openness of the lids, (n, 2), and the gaps of the inner
    lips, (n, 3), that come of it.

    An amount up to 1 mixes: 0 is the actor's own, 1 the driver's. Above 1 the driver's is exaggerated.
    """
    across, down = _proportions(own.rest, acted.rest)

    def mixed(amount: float, wanted: np.ndarray, present: np.ndarray) -> np.ndarray:
        return np.asarray(amount * wanted - min(amount, 1.0) * present)

    change = np.zeros_like(own.moved)
    change[:, mesh.BROWS] = mixed(params.brows, acted.moved[:, mesh.BROWS], own.moved[:, mesh.BROWS])
    change[:, LIPS] = mixed(params.mouth, acted.moved[:, LIPS] * (across, down, down), own.moved[:, LIPS])
    chin = mixed(params.jaw, acted.chin * down, own.chin)
    change[:, mesh.JAW] = chin[:, None, None] * _JAW[:, None] * _JAW_WAY

    gaps = np.maximum(own.lips + mixed(params.mouth, acted.lips * down, own.lips), 0)
    came = own.lips + change[:, LOWER_LIPS, 1] - change[:, UPPER_LIPS, 1]
    missing = gaps - came
    change[:, UPPER_LIPS, 1] -= 0.3 * missing
    change[:, LOWER_LIPS, 1] += 0.7 * missing
    for outer, inner, share in ((50, 0, -.3), (51, 1, -.3), (52, 2, -.3), (58, 0, .7), (57, 1, .7), (56, 2, .7),
                                (49, 0, -.15), (53, 2, -.15), (59, 0, .35), (55, 2, .35)):
        change[:, outer, 1] += share * missing[:, inner]  # a lip keeps its thickness

    lids = np.clip(own.lids + mixed(params.eyes, acted.lids - 1, own.lids - 1), 0, 1.6)
    opened = np.repeat(lids - own.lids, 2, axis=1) * own.lid_gaps
    change[:, UPPER_LIDS, 1] = -0.85 * opened
    change[:, LOWER_LIDS, 1] = 0.15 * opened
    return change, lids, gaps


def _proportions(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The actor's mouth width and lower face height over the driver's."""
    def sizes(rest: np.ndarray) -> np.ndarray:
        return np.array([np.linalg.norm(rest[54] - rest[48]), np.linalg.norm(rest[8] - rest[33])])

    across, down = np.clip(sizes(own) / np.maximum(sizes(other), 1e-6), 0.7, 1.4)
    return float(across), float(down)


def turned(face: Face, points: np.ndarray, angles: np.ndarray, pixel_aspect: float) -> np.ndarray:
    """(68, 2) plate coordinates: what `points` (68, 3) mm of the head move in the picture when it turns by `angles`
    (yaw, pitch, roll, degrees) on its neck."""
    pose = head_pose(face.landmarks, pixel_aspect)
    yaw, pitch, roll = np.array(angles_of(pose.rotation)) + angles
    new = replace(pose, rotation=rotation_of(yaw, pitch, roll))
    new = replace(new, translation=new.translation + pose.project(_PIVOT) - new.project(_PIVOT))
    return np.asarray((new.project(points) - pose.project(points)) / (pixel_aspect, 1.0))


# What another frame shows better.


def _patches(plate: Actor, own: Performance, change: np.ndarray, lids: np.ndarray, gaps: np.ndarray, driver: Actor,
             times: np.ndarray, reenact: ReenactParams) -> list[tuple[Patch, ...]]:
    """Per frame of the plate the parts that come from elsewhere."""
    frames = own.frames
    pool = np.array([index for index, frame in enumerate(frames) if plate.faces[int(frame)].origin != "bridged"]
                    or range(len(frames)))
    pool = pool[np.unique(np.linspace(0, len(pool) - 1, min(len(pool), 300)).round().astype(int))]
    away = np.linalg.norm(own.turn[:, None, :2] - own.turn[None, pool, :2], axis=2) / _POSE_UNIT
    doubt = np.array([1 - plate.faces[int(frame)].confidence for frame in frames[pool]])
    elsewhere = away + _FOREIGN + doubt

    shown, wanted = own.moved[:, LIPS, :2], (own.moved + change)[:, LIPS, :2]
    gap, own_gap = gaps.mean(1), own.lips.mean(1)
    lips = np.sqrt(((wanted[:, None] - shown[None, pool]) ** 2).sum(3).mean(2)) / _LIPS_UNIT
    lips = lips + _hidden_mouth(gap[:, None], own_gap[None, pool]) + elsewhere
    own_lips = np.sqrt(((wanted - shown) ** 2).sum(2).mean(1)) / _LIPS_UNIT + _hidden_mouth(gap, own_gap)
    mouth = _shares(own_lips, lips, frames)

    eyes = np.abs(lids[:, None] - own.lids[None, pool]).max(2) / _LIDS_UNIT + elsewhere
    lacking = (lids - own.lids).max(1)  # a lid that closes slides over what is there; one that opens needs an eye
    own_eyes = np.maximum(lacking, 0) / _LIDS_UNIT + 4 * np.clip((lacking - 0.3) / 0.3, 0, 1)
    eye = _shares(own_eyes, eyes, frames)

    seen = mouth[:, 0] * own_gap + mouth[:, 1:] @ own_gap[pool]
    need = np.clip((gap - 1.6 * seen - 1.0) / 2.0, 0, 1)
    if reenact.inner_mouth == "source":
        need = np.clip(gap / 2.0, 0, 1)
    elif reenact.inner_mouth == "target":
        need = np.zeros(len(gap))
    need = _faded(need[:, None], frames)[:, 0]
    drivers = np.array(sorted(driver.faces))
    nearest = drivers[np.abs(drivers[None] - np.clip(times, drivers[0], drivers[-1])[:, None]).argmin(1)]

    result = []
    for t in range(len(frames)):
        found = [Patch(ViewRef(PLATE, int(frames[pool[v]])), part, round(float(share), 4))
                 for part, shares in (("mouth", mouth), ("eyes", eye))
                 for v, share in enumerate(shares[t, 1:]) if share > _LEAST]
        if need[t] > _LEAST:
            found.append(Patch(ViewRef(DRIVER, int(nearest[t])), "inner mouth", round(float(need[t]), 4)))
        result.append(tuple(found))
    return result


def _hidden_mouth(wanted: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """What it costs that a frame shows no teeth where they are wanted, or teeth where lips are to touch. mm."""
    lacking = 4 * np.clip((wanted - 1.6 * shown - 1.0) / 3.0, 0, 1)
    spare = 3 * np.clip((shown - 2.0) / 3.0, 0, 1) * np.clip((1.5 - wanted) / 1.0, 0, 1)
    return np.asarray(lacking + spare)


def _shares(own: np.ndarray, others: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(n, 1 + v) shares of the plate's own frame and of each other view: the cheapest way through the clip, faded."""
    cost = np.column_stack([own, others])
    total = cost[0].copy()
    came_from = np.zeros(cost.shape, int)
    for t in range(1, len(cost)):
        best = int(np.argmin(total))
        stay = total <= total[best] + _SWITCH
        came_from[t] = np.where(stay, np.arange(len(total)), best)
        total = np.where(stay, total, total[best] + _SWITCH) + cost[t]
    shares = np.zeros(cost.shape)
    at = int(np.argmin(total))
    for t in range(len(cost) - 1, -1, -1):
        shares[t, at] = 1
        at = int(came_from[t, at])
    return _faded(shares, frames)


def _faded(weights: np.ndarray, frames: Sequence[int] | np.ndarray) -> np.ndarray:
    """Weights (n, v) averaged over frames at most _FADE away, by frame number."""
    numbers = np.asarray(frames)
    kernel = np.clip(1 - np.abs(numbers[:, None] - numbers[None]) / (_FADE + 1), 0, None)
    return np.asarray(kernel @ weights / kernel.sum(1, keepdims=True))


def settled_actor(who: Actor) -> Actor:
    """The actor with every face `settled`, as views for patches are wanted."""
    bias = reading(who)
    faces: Mapping[int, Face] = {frame: settled(face, who.pixel_aspect, bias) for frame, face in who.faces.items()}
    return replace(who, faces=faces)
