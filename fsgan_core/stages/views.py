"""Which source frames a target frame is made from: the plan of views over a whole clip, from tracks alone.

The appearance map (paper, section 3.2) gives three views and their barycentric weights for the target's pose. From
each cell the view that is nearest in expression and shape stands in. One leading view gives the detail: the cheapest
way through the clip, where a frame costs what its view differs in pose, expression and shape, and a change of view
costs extra. Weights are smoothed over neighbouring frames, so that views fade and never pop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fsgan_core.contract.errors import NoFaceError, ParameterError
from fsgan_core.contract.landmarks import BROWS, EYES, MOUTH_INNER, MOUTH_OUTER
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.view_grid import VIEW_EXCLUDED, VIEW_SPARE, VIEW_USED
from fsgan_core.faces.appearance import AppearanceMap
from fsgan_core.faces.geometry import apply_affine, fit_similarity
from fsgan_core.faces.landmarks import measure_eye_opening, measure_mouth_opening
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.faces.track import Face
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages import warp_points
from fsgan_core.stages.motion.lids import OPEN_ENOUGH, Blink, measure_openness, open_eyes, plan_blink
from fsgan_core.stages.motion.performance import measure_landmark_bias
from fsgan_core.stages.warp_points import Performer

FADE_FRAMES = 3  # frames on either side over which a change of view is spread
POSE_UNIT = 10.0  # degrees that cost as much as one unit of expression
MOUTH_UNIT, EYE_UNIT = 0.08, 0.03  # openings, shares of the eye distance, that cost one unit of expression
EXPRESSION_UNIT = 2.0  # mm, root of the mean square over lids, lips and brows, that cost one unit
SHAPE_UNIT = 1.0  # mm on an average face, likewise over all but the jaw, head turned as it is, that cost one unit
EXPRESSION_COST = 1.0  # what a unit of a view's own expression costs
ERROR_UNIT = 3.0  # mm of misfit between landmarks and head that cost one unit
MAX_VIEWS = 400  # of a long source so many views are considered, evenly spread
SWITCH_COST = 4.0  # what a change of the leading view costs, in units
SHUT_EYE_COST = (
    6.0  # what an eye that is shut costs a view: a lid can be slid over an eye, no eye be shown that a lid hides
)
UNLIKE_UNIT = 0.02  # of the descriptor's unit, that a view shows less of its person than others, that cost one unit
MIRROR_COST = 4.0  # what a mirrored view costs more: a face is not the same on both sides
MIRROR_SWITCH_FACTOR = 3.0  # changes of view that a change into the mirror or out of it costs as much as
MIN_WEIGHT = 0.02  # a view of less weight is not warped at all
MAX_OUTSIDE = 5.0  # degrees outside all views' poses from which a frame is flagged
MIN_MOUTH_OPENING = 0.03  # an inner mouth open by less than this needs no teeth
INNER_LANDMARKS = slice(17, 68)
FRONTAL_FACE = FACE_MODEL[INNER_LANDMARKS, :2]  # mm


@dataclass(frozen=True, order=True)
class ViewRef:
    """A source frame: the number of the source clip in the shot, and the frame. mirrored: flipped, left for right."""

    clip: int
    frame: int
    mirrored: bool = False


@dataclass(frozen=True)
class WeightedView:
    """light: share in the low frequencies, barycentric. detail: share in the high ones, 1 for a single leading view."""

    view: ViewRef
    light: float
    detail: float


@dataclass(frozen=True)
class FramePlan:
    """views: leading first; light and detail each sum to 1. others: further views, for what these do not show.
    inner_mouth: share of the source's own inner mouth, 1, or of the target's, 0. blink: how eyes
    that the views show open are closed. flags: "pose-clamped", "mirrored-view"."""

    views: tuple[WeightedView, ...]
    further_views: tuple[ViewRef, ...] = ()
    inner_mouth: float = 1.0
    blink: Blink = field(default=Blink())
    flags: tuple[str, ...] = field(default=())


def plan_views(
    sources: Sequence[Performer],
    target: Performer,
    params: ReenactParams,
    names: Sequence[str],
    unlikeness: Mapping[ViewRef, float] | None = None,
) -> dict[int, FramePlan]:
    """A plan for every frame of `target`.

    sources: the person in each source clip. names: a short name of each clip, for `params.views` and such. unlike: of
    views that were looked at, how far they are from their person when they wear the target's expression
    (`stages.recognition.unlikeness`); the others count as the mean of these.
    Raises NoFaceError when no view is left, ParameterError for a view that is not there.
    """
    pool = _list_candidates(sources, params, names)
    if not target.faces:
        return {}
    frames = sorted(target.faces)
    faces = [target.faces[frame] for frame in frames]
    usual = measure_landmark_bias(target)
    poses, wanted_poses = _stack_angles([one.face for one in pool]), _stack_angles(faces)
    pose, likeness = _compute_costs(pool, faces, target, params, unlikeness or {})
    flipped = np.array([one.ref.mirrored for one in pool])
    leading = _find_cheapest_path(pose + likeness, SWITCH_COST * params.hold, flipped)

    detail = np.zeros((len(frames), len(pool)))
    detail[np.arange(len(frames)), leading] = 1.0
    light, clamped = _compute_light_shares(wanted_poses, poses, likeness, flipped, leading, params.minimum_radius)
    if params.combine == "leading":
        light = detail.copy()
    detail, light = _smooth_weights(detail, frames), _smooth_weights(light, frames)
    if params.combine == "barycentric":
        detail = light
    inner = _choose_mouth_shares(
        params,
        detail @ np.array([one.mouth_gap for one in pool]),
        np.array([_measure_mouth(face, target) for face in faces]),
    )
    inner = _smooth_weights(inner[:, None], frames)[:, 0]
    eyes = detail @ np.array([one.eye_openness for one in pool])

    plans = {}
    for t, frame in enumerate(frames):
        chosen = [v for v in np.argsort(-detail[t], kind="stable") if max(detail[t, v], light[t, v]) > MIN_WEIGHT]
        sums = detail[t, chosen].sum(), light[t, chosen].sum()
        plans[frame] = FramePlan(
            views=tuple(
                WeightedView(pool[v].ref, float(light[t, v] / sums[1]), float(detail[t, v] / sums[0])) for v in chosen
            ),
            further_views=_choose_further_views(poses, flipped, set(chosen), pool),
            inner_mouth=float(inner[t]),
            blink=plan_blink(faces[t], target.pixel_aspect, usual, eyes[t]),
            flags=(*(["pose-clamped"] if clamped[t] else []), *(["mirrored-view"] if flipped[leading[t]] else [])),
        )
    return plans


def find_promising_views(
    sources: Sequence[Performer],
    target: Performer,
    frames: Sequence[int],
    params: ReenactParams,
    names: Sequence[str],
    count: int,
) -> list[ViewRef]:
    """The views, at most `count`, that cost some of these frames of `target` least, ascending. Raises as
    `plan_views`."""
    pool = _list_candidates(sources, params, names)
    pose, likeness = _compute_costs(pool, [target.faces[frame] for frame in frames], target, params, {})
    cheapest = np.argsort((pose + likeness).min(0), kind="stable")[:count]
    return sorted(pool[index].ref for index in cheapest)


def _compute_costs(
    pool: Sequence[_Candidate],
    faces: Sequence[Face],
    target: Performer,
    params: ReenactParams,
    unlikeness: Mapping[ViewRef, float],
) -> tuple[np.ndarray, np.ndarray]:
    """What each view of the pool costs for each of the target's faces, (t, v) units: its pose, and all else."""
    pose = (
        np.linalg.norm(_stack_angles(faces)[:, None] - _stack_angles([one.face for one in pool])[None], axis=2)
        / POSE_UNIT
    )
    usual = measure_landmark_bias(target)
    shown = np.stack([_make_feature_vector(one.face, one.performer) for one in pool])
    wanted = np.stack([_make_feature_vector(open_eyes(face, target.pixel_aspect, usual), target) for face in faces])
    mean = sum(unlikeness.values()) / max(len(unlikeness), 1)
    preference = np.array(
        [
            one.own_cost
            - np.log(one.weight)
            + MIRROR_COST * one.ref.mirrored
            + (unlikeness.get(one.ref, mean) - mean) / UNLIKE_UNIT
            for one in pool
        ]
    )
    return pose, params.expression * _measure_distances(wanted, shown) + preference[None]


def _stack_angles(faces: Sequence[Face]) -> np.ndarray:
    """(n, 2) yaw and pitch, degrees."""
    return np.array([face.euler[:2] for face in faces])


def _compute_light_shares(
    wanted: np.ndarray, poses: np.ndarray, likeness: np.ndarray, flipped: np.ndarray, leading: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shares (t, v) of views in the low frequencies, by the appearance map; and (t,) whether a pose lies outside it.

    wanted (t, 2), poses (v, 2): yaw and pitch. likeness: (t, v), what a view costs beside its pose. leading: (t,); a
    view in the mirror has its light from there too, since it falls from the other side.
    """
    light = np.zeros(likeness.shape)
    clamped = np.zeros(len(wanted), bool)
    sides = {bool(side): np.flatnonzero(flipped == side) for side in np.unique(flipped[leading])}
    maps = {side: AppearanceMap(poses[members], radius) for side, members in sides.items()}
    cells = {side: one.compute_cells() for side, one in maps.items()}
    for t, (yaw, pitch) in enumerate(wanted):
        side = bool(flipped[leading[t]])
        query = maps[side].query(float(yaw), float(pitch))
        clamped[t] = query.outside_degrees > MAX_OUTSIDE
        for kept, weight in zip(query.indices, query.weights, strict=True):
            if weight > 0:
                members = sides[side][np.asarray(cells[side][int(kept)])]
                light[t, members[np.argmin(likeness[t, members])]] += weight
    return light, clamped


@dataclass(frozen=True)
class ViewChoice:
    """What becomes of a source frame. state: USED; EXCLUDED by `reenact.views` or `reenact.exclude`; SPARE:
    left out unasked, because its face is interpolated or the source has more than MAX_VIEWS. weight: the artist's
    preference."""

    face: Face
    state: str
    weight: float = 1.0


def choose_views(
    sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]
) -> dict[ViewRef, ViewChoice]:
    """Every source frame that shows the face, ascending; what the artist says of one frame moves no other in or out.

    sources, names: as for `plan_views`. Raises ParameterError for a view that is not there.
    """
    everything = {
        ViewRef(clip, frame): face for clip, who in enumerate(sources) for frame, face in sorted(who.faces.items())
    }
    use = _find_named_views(params.views, everything, names, "views")
    leave = _find_named_views(params.exclude, everything, names, "exclude")
    preferred: dict[ViewRef, float] = {}
    for text in params.weights:
        name, _, value = text.rpartition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if not name or not 0 < weight < 1e6:
            raise ParameterError(f"reenact.weights: '{text}' is not FRAME=WEIGHT with a weight above 0")
        preferred.update(dict.fromkeys(_find_named_views((name,), everything, names, "weights"), weight))
    wanted = [ref for ref in everything if not use or ref in use]
    seen = [ref for ref in wanted if everything[ref].origin != "bridged"] or wanted
    taken = {seen[index] for index in sample_evenly(len(seen), MAX_VIEWS)} | (preferred.keys() & set(seen))
    return {
        ref: ViewChoice(
            face,
            VIEW_EXCLUDED if ref in leave or (use and ref not in use) else VIEW_USED if ref in taken else VIEW_SPARE,
            preferred.get(ref, 1.0),
        )
        for ref, face in everything.items()
    }


def list_used_views(
    sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]
) -> dict[ViewRef, ViewChoice]:
    """Those of `chosen_views` that are used. Raises likewise, and NoFaceError when none is left."""
    used = {ref: one for ref, one in choose_views(sources, params, names).items() if one.state == VIEW_USED}
    if not used:
        raise NoFaceError(
            "no source view is left: the source shows no face, or reenact.views and reenact.exclude leave none"
        )
    return used


def format_view_name(ref: ViewRef, names: Sequence[str]) -> str:
    """A view as `reenact.exclude` and the like take it: FRAME; of several clips CLIP:FRAME, CLIP being the clip's
    name, or its number, 1 being the first, where the name is another one's too or would be read as something else."""
    if len(names) == 1:
        return str(ref.frame)
    name = names[ref.clip]
    plain = names.count(name) == 1 and not set(name) & set(",=") and not name.isdecimal()
    return f"{name if plain else ref.clip + 1}:{ref.frame}"


@dataclass(frozen=True)
class _Candidate:
    """A view that may be taken, and whose it is. weight: the artist's preference. doubt: what it costs by itself.
    mouth: `_mouth`. eyes: (2,), `openness`."""

    ref: ViewRef
    face: Face
    performer: Performer
    weight: float
    own_cost: float
    mouth_gap: float
    eye_openness: np.ndarray

    def mirror(self, performer: Performer) -> _Candidate:
        """The same in the mirror, where it is `who`."""
        return replace(
            self,
            ref=replace(self.ref, mirrored=True),
            face=performer.faces[self.ref.frame],
            performer=performer,
            eye_openness=self.eye_openness[::-1],
        )


def _list_candidates(sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]) -> list[_Candidate]:
    """The views that are used; those of the mirror behind the others."""
    chosen = list_used_views(sources, params, names)
    usual = {clip: measure_landmark_bias(sources[clip]) for clip in {ref.clip for ref in chosen}}
    pool = []
    for ref, one in chosen.items():
        who = sources[ref.clip]
        eyes = measure_openness(one.face, who.pixel_aspect, usual[ref.clip])
        doubt = _compute_own_cost(one.face, who) + SHUT_EYE_COST * float(np.maximum(OPEN_ENOUGH - eyes, 0).max())
        pool.append(_Candidate(ref, one.face, who, one.weight, doubt, _measure_mouth(one.face, who), eyes))
    if params.mirror:
        others = [warp_points.mirror_performer(who) for who in sources]
        pool += [one.mirror(others[one.ref.clip]) for one in pool]
    return pool


_VIEW_PATTERN = re.compile(r"(?:(?P<clip>.+):)?(?P<first>-?\d+)(?:-(?P<last>-?\d+))?")


def _find_named_views(
    texts: Sequence[str], known: Mapping[ViewRef, Face], names: Sequence[str], where: str
) -> set[ViewRef]:
    found = set()
    for text in texts:
        match = _VIEW_PATTERN.fullmatch(text.strip())
        matching = set()
        if match is not None:
            first = int(match["first"])
            last = int(match["last"] or first)
            clips = _find_named_clips(match["clip"], names)
            matching = {ref for ref in known if ref.clip in clips and first <= ref.frame <= last}
        if not matching:
            raise ParameterError(
                f"reenact.{where}: no source view is called '{text}'; it is written FRAME, "
                f"FIRST-LAST or CLIP:FRAME, with CLIP one of {', '.join(names)} and a frame that "
                "shows the face"
            )
        found |= matching
    return found


def _find_named_clips(text: str | None, names: Sequence[str]) -> set[int]:
    """Numbers of the clips that are meant: by name, else by number from 1; all where none is said."""
    if text is None:
        return set(range(len(names)))
    return {clip for clip, name in enumerate(names) if name == text} or {
        clip for clip in range(len(names)) if str(clip + 1) == text
    }


def _make_feature_vector(face: Face, performer: Performer) -> np.ndarray:
    """A face as one vector in units of cost: its expression, its shape as it is, and how far mouth and eyes stand open,
    whoever it is. The less a view has to be bent to the target's face, the more of its person it keeps."""
    landmarks = face.landmarks * (performer.pixel_aspect, 1.0)
    inner = landmarks[INNER_LANDMARKS]
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


def _make_expression_vector(face: Face, performer: Performer) -> np.ndarray:
    """What lids, lips and (half) brows differ from the actor's face at rest, in units of cost."""
    moved = warp_points.measure_expression(face, performer)
    parts = [
        0.5 * moved[BROWS],
        1.5 * moved[EYES],
        moved[MOUTH_OUTER],
        moved[MOUTH_INNER],
    ]
    vector = np.concatenate(parts).ravel()
    return np.asarray(vector / (EXPRESSION_UNIT * np.sqrt(len(vector) / 2)))


def _compute_own_cost(face: Face, performer: Performer) -> float:
    """What a view costs by itself: landmarks that hardly fit a head (the detector was wrong), and a strong expression
    of its own (a grimace cannot be warped into another one; a face at rest can)."""
    pose = warp_points.fit_head_pose(face.landmarks, performer.pixel_aspect)
    strength = float(np.linalg.norm(_make_expression_vector(face, performer)))
    return (pose.error / pose.scale / ERROR_UNIT) ** 2 + (1 - face.confidence) + EXPRESSION_COST * strength


def _measure_mouth(face: Face, performer: Performer) -> float:
    """How far the inner mouth is open, relative to the eyes' distance, in square pixels."""
    return float(measure_mouth_opening(face.landmarks * (performer.pixel_aspect, 1.0)))


def _measure_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of every row of `a` (n, k) to every row of `b` (m, k)."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(square, 0)))


def _find_cheapest_path(cost: np.ndarray, switch: float, flipped: np.ndarray) -> np.ndarray:
    """For each row of cost (t, v) the view, so that costs and changes of view together are least (Viterbi); between
    views and mirrored ones (`flipped`, bool (v,)) a change costs CROSSING times as much."""
    total = cost[0].copy()
    came_from = np.zeros(cost.shape, int)
    everyone = np.arange(len(total))
    for t in range(1, len(cost)):
        back, least = everyone.copy(), total.copy()
        for side in (False, True):
            if not (flipped == side).any():
                continue
            best = int(np.argmin(np.where(flipped == side, total, np.inf)))
            changed = total[best] + switch * np.where(flipped == side, 1.0, MIRROR_SWITCH_FACTOR)
            back, least = np.where(changed < least, best, back), np.minimum(changed, least)
        came_from[t] = back
        total = least + cost[t]
    path = np.empty(len(cost), int)
    path[-1] = int(np.argmin(total))
    for t in range(len(cost) - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path


def _smooth_weights(weights: np.ndarray, frames: Sequence[int]) -> np.ndarray:
    """Weights (t, v) averaged over frames at most FADE away, by frame number."""
    numbers = np.asarray(frames)
    kernel = np.clip(1 - np.abs(numbers[:, None] - numbers[None]) / (FADE_FRAMES + 1), 0, None)
    return np.asarray(kernel @ weights / kernel.sum(1, keepdims=True))


def _choose_mouth_shares(params: ReenactParams, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Share of the source's inner mouth per frame."""
    if params.inner_mouth != "auto":
        return np.full(len(target), 1.0 if params.inner_mouth == "source" else 0.0)
    enough = source >= 0.6 * target
    return np.where(enough | (target < MIN_MOUTH_OPENING), 1.0, 0.0)


def _choose_further_views(
    poses: np.ndarray, flipped: np.ndarray, chosen: set[int], pool: Sequence[_Candidate]
) -> tuple[ViewRef, ...]:
    """The views that turn furthest to either side, and up: they show what a single pose hides. None of the mirror:
    what is lit from the other side would show as a patch."""
    own = np.flatnonzero(~flipped)
    extremes = [
        int(own[np.argmin(poses[own, 0])]),
        int(own[np.argmax(poses[own, 0])]),
        int(own[np.argmax(poses[own, 1])]),
    ]
    return tuple(dict.fromkeys(pool[v].ref for v in extremes if v not in chosen))
