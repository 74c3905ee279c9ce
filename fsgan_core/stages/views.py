"""Views: which source frames a target frame is made from, planned over a whole clip from tracks alone.

The appearance map gives three views and their barycentric weights for the target's pose (FSGAN, arXiv 1908.05932,
section 3.2). In each cell the view nearest in expression and shape is taken. One leading view gives the detail: the
cheapest path through the clip, where each frame costs what its view differs in pose, expression and shape, and a change
of view costs extra. Weights are smoothed over neighbouring frames, so views fade and never pop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fsgan_core.contract.errors import NoFaceError, ParameterError
from fsgan_core.contract.landmarks import BROWS, EYES, MOUTH_INNER, MOUTH_OUTER
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.view_grid import VIEW_EXCLUDED, VIEW_SPARE, VIEW_USED
from fsgan_core.faces.appearance import AppearanceMap
from fsgan_core.faces.face import Face
from fsgan_core.faces.geometry import apply_affine, fit_similarity
from fsgan_core.faces.landmarkers.landmarks import measure_eye_opening, measure_mouth_opening
from fsgan_core.faces.pose import FACE_MODEL, fit_head_pose
from fsgan_core.runtime.arrays import IndexArray, Mask, Matrix, Vector
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages import warp_points
from fsgan_core.stages.fading import smooth_weights
from fsgan_core.stages.features.mouth import DEFAULT_FPS, choose_inner_mouth
from fsgan_core.stages.features.openings import measure_lip_opening
from fsgan_core.stages.motion.lids import OPEN_ENOUGH, measure_openness, open_eyes
from fsgan_core.stages.motion.performance import measure_landmark_bias
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
SHUT_EYE_COST = 6.0  # of a shut eye: a lid can be moved over an eye, but nothing shows the eye behind a lid
SWITCH_COST = 4.0  # of a change of the leading view

FADE_FRAMES = 3  # on either side, over which a change of view is spread
MAX_VIEWS = 400  # that are considered, evenly spread over a long source
MAX_ARTIST_WEIGHT = 1e6
MAX_COVERED = 0.01  # of the face: a view of which hands cover more is not used
MIN_WEIGHT = 0.02  # a view of less weight is not warped
MAX_OUTSIDE = 5.0  # degrees outside all views' poses from which on a frame is flagged
FRONTAL_FACE = FACE_MODEL[BROWS_TO_MOUTH, :2]  # mm


@dataclass(frozen=True, order=True)
class ViewRef:
    """Reference to a source frame.

    Attributes:
        clip: Number of the source clip in the shot, from 0.
        frame: Frame number.
    """

    clip: int
    frame: int


@dataclass(frozen=True)
class WeightedView:
    """A view and its share of a frame.

    Attributes:
        view: The view.
        light: Share in the low frequencies, barycentric.
        detail: Share in the high frequencies, 1 for a single leading view.
    """

    view: ViewRef
    light: float
    detail: float


@dataclass(frozen=True)
class FramePlan:
    """What one target frame is made from.

    Attributes:
        views: Leading view first; light and detail each sum to 1.
        further_views: For what these do not show.
        inner_mouth: 1 takes the source's inner mouth, 0 the target's.
        flags: "pose-clamped".
    """

    views: tuple[WeightedView, ...]
    further_views: tuple[ViewRef, ...] = ()
    inner_mouth: float = 1.0
    flags: tuple[str, ...] = field(default=())


def plan_views(
    sources: Sequence[Performer],
    target: Performer,
    params: ReenactParams,
    names: Sequence[str],
    measure_cover: Callable[[ViewRef], float] | None = None,
    frames_per_second: float = DEFAULT_FPS,
) -> dict[int, FramePlan]:
    """Plan the views of every frame of the target.

    Args:
        sources: The person in each source clip.
        target: The person in the target.
        params: Settings of the reenact stage.
        names: A short name of each source clip, as `params.views` and the like use them.
        measure_cover: Measures the share of a view's face that hands cover, 0..1; asked only of views that would be
            used otherwise, because it looks at pictures. None if no view is covered.
        frames_per_second: Of the target.

    Raises:
        NoFaceError: No view is left.
        ParameterError: A setting names a view that does not exist.
    """
    pool = _list_candidates(sources, params, names)
    if not target.faces:
        return {}
    frames = sorted(target.faces)
    faces = [target.faces[frame] for frame in frames]
    if params.as_published:
        return _plan_as_published(pool, faces, params.minimum_radius)
    pool, leading, light, clamped = _choose_uncovered(pool, faces, target, params, measure_cover)
    poses = _stack_angles([one.face for one in pool])

    detail: Matrix = np.zeros((len(frames), len(pool)))
    detail[np.arange(len(frames)), leading] = 1.0
    if params.combine == "leading":
        light = detail.copy()
    detail, light = smooth_weights(detail, frames, FADE_FRAMES), smooth_weights(light, frames, FADE_FRAMES)
    if params.combine == "barycentric":
        detail = light
    if params.inner_mouth == "auto":
        inner = choose_inner_mouth(
            detail @ np.array([one.mouth_gap for one in pool]),
            np.array([_measure_mouth(face, target) for face in faces]),
            np.array(frames),
            frames_per_second,
        )
    else:
        inner = np.full(len(frames), 1.0 if params.inner_mouth == "source" else 0.0)
    inner = smooth_weights(inner[:, None], frames, FADE_FRAMES)[:, 0]

    plans = {}
    for t, frame in enumerate(frames):
        chosen = [v for v in np.argsort(-detail[t], kind="stable") if max(detail[t, v], light[t, v]) > MIN_WEIGHT]
        sums = detail[t, chosen].sum(), light[t, chosen].sum()
        plans[frame] = FramePlan(
            views=tuple(
                WeightedView(pool[v].ref, float(light[t, v] / sums[1]), float(detail[t, v] / sums[0])) for v in chosen
            ),
            further_views=_choose_further_views(poses, set(chosen), pool),
            inner_mouth=float(inner[t]),
            flags=("pose-clamped",) if clamped[t] else (),
        )
    return plans


def _plan_as_published(pool: Sequence[_Candidate], faces: Sequence[Face], radius: float) -> dict[int, FramePlan]:
    """Plan the published views of each face: the corners of the appearance map's triangle, by barycentric weights."""
    appearance = AppearanceMap(_stack_angles([one.face for one in pool]), radius)
    plans = {}
    for face in faces:
        mix = appearance.query(float(face.euler[0]), float(face.euler[1]))
        views = [
            WeightedView(pool[appearance.kept_indices[kept]].ref, float(weight), float(weight))
            for kept, weight in sorted(zip(mix.indices, mix.weights, strict=True), key=lambda pair: -pair[1])
            if weight > 0
        ]
        plans[face.frame] = FramePlan(
            tuple(views), flags=("pose-clamped",) if mix.outside_degrees > MAX_OUTSIDE else ()
        )
    return plans


def _choose_uncovered(
    pool: Sequence[_Candidate],
    faces: Sequence[Face],
    target: Performer,
    params: ReenactParams,
    measure_cover: Callable[[ViewRef], float] | None,
) -> tuple[list[_Candidate], IndexArray, Matrix, Mask]:
    """Choose views, look at them, and choose again without those that hands cover, until none is covered.

    Returns:
        The views that are left, all of them if hands cover every one; the leading one of each face, (faces,); shares in
        the low frequencies, (faces, views); and whether a pose lies outside the map, (faces,).
    """
    poses, target_poses = _stack_angles([one.face for one in pool]), _stack_angles(faces)
    pose, likeness = _compute_costs(pool, faces, target, params)
    is_covered: dict[ViewRef, bool] = {}
    while True:
        kept = [number for number, one in enumerate(pool) if not is_covered.get(one.ref)]
        columns = kept or list(range(len(pool)))
        usable = [pool[number] for number in columns]
        leading = _find_cheapest_path((pose + likeness)[:, columns], SWITCH_COST * params.hold)
        light, clamped = _compute_light_shares(
            target_poses, poses[columns], likeness[:, columns], params.minimum_radius
        )
        chosen = [usable[number].ref for number in np.union1d(leading, np.flatnonzero(light.any(0)))]
        new = [ref for ref in chosen if ref not in is_covered]
        if measure_cover is None or not kept or not new:
            return usable, leading, light, clamped
        is_covered.update({ref: measure_cover(ref) > MAX_COVERED for ref in new})


def _compute_costs(
    pool: Sequence[_Candidate],
    faces: Sequence[Face],
    target: Performer,
    params: ReenactParams,
) -> tuple[Matrix, Matrix]:
    """What each view costs for each of the target's faces, (faces, views) units: its pose, and everything else."""
    pose = (
        np.linalg.norm(_stack_angles(faces)[:, None] - _stack_angles([one.face for one in pool])[None], axis=2)
        / POSE_UNIT
    )
    bias = measure_landmark_bias(target)
    shown = np.stack([_make_feature_vector(one.face, one.performer) for one in pool])
    goals = np.stack([_make_feature_vector(open_eyes(face, target.pixel_aspect, bias), target) for face in faces])
    preference = np.array([one.own_cost - np.log(one.weight) for one in pool])
    return pose, params.expression * _measure_distances(goals, shown) + preference[None]


def _stack_angles(faces: Sequence[Face]) -> Matrix:
    """(n, 2) yaw and pitch in degrees."""
    return np.array([face.euler[:2] for face in faces])


def _compute_light_shares(target_poses: Matrix, poses: Matrix, likeness: Matrix, radius: float) -> tuple[Matrix, Mask]:
    """Compute the shares of views in the low frequencies by the appearance map.

    Args:
        target_poses: (frames, 2) yaw and pitch.
        poses: (views, 2) yaw and pitch.
        likeness: (frames, views) what a view costs apart from its pose.
        radius: Smallest distance of two views in the map, degrees.

    Returns:
        Shares, (frames, views), and whether a pose lies outside the map, (frames,).
    """
    light = np.zeros(likeness.shape)
    clamped = np.zeros(len(target_poses), bool)
    appearance = AppearanceMap(poses, radius)
    cells = appearance.compute_cells()
    for t, (yaw, pitch) in enumerate(target_poses):
        query = appearance.query(float(yaw), float(pitch))
        clamped[t] = query.outside_degrees > MAX_OUTSIDE
        for kept, weight in zip(query.indices, query.weights, strict=True):
            if weight > 0:
                members = np.asarray(cells[int(kept)])
                light[t, members[np.argmin(likeness[t, members])]] += weight
    return light, clamped


@dataclass(frozen=True)
class ViewChoice:
    """Whether a source frame is used as a view.

    Attributes:
        face: The face in it.
        state: VIEW_USED; VIEW_EXCLUDED by `reenact.views` or `reenact.exclude`; or VIEW_SPARE: left out because its
            face is interpolated or the source has more than MAX_VIEWS frames.
        weight: The artist's preference.
    """

    face: Face
    state: str
    weight: float = 1.0


def choose_views(
    sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]
) -> dict[ViewRef, ViewChoice]:
    """Choose the source frames to use as views; a setting for one frame does not change the choice of others.

    Arguments as for `plan_views`.

    Returns:
        Every source frame that shows the face, ascending.

    Raises:
        ParameterError: A setting names a view that does not exist.
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
        if not name or not 0 < weight < MAX_ARTIST_WEIGHT:
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
    """List the views of `choose_views` that are used.

    Raises:
        NoFaceError: No view is left.
        ParameterError: A setting names a view that does not exist.
    """
    used = {ref: one for ref, one in choose_views(sources, params, names).items() if one.state == VIEW_USED}
    if not used:
        raise NoFaceError(
            "no source view is left: the source shows no face, or reenact.views and reenact.exclude leave none"
        )
    return used


def format_view_name(ref: ViewRef, names: Sequence[str]) -> str:
    """Name a view as `reenact.exclude` and the like take it.

    FRAME if there is one source clip, else CLIP:FRAME. CLIP is the clip's name, or its number from 1 if the name is not
    unique or would be misread.

    >>> format_view_name(ViewRef(1, 1042), ["day", "night"])
    'night:1042'
    """
    if len(names) == 1:
        return str(ref.frame)
    name = names[ref.clip]
    plain = names.count(name) == 1 and not set(name) & set(",=") and not name.isdecimal()
    return f"{name if plain else ref.clip + 1}:{ref.frame}"


@dataclass(frozen=True)
class _Candidate:
    """A view that can be chosen.

    Attributes:
        ref: The view.
        face: The face in it.
        performer: Its person.
        weight: The artist's preference.
        own_cost: `_compute_own_cost`, and shut eyes.
        mouth_gap: `_measure_mouth`.
    """

    ref: ViewRef
    face: Face
    performer: Performer
    weight: float
    own_cost: float
    mouth_gap: float


def _list_candidates(sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]) -> list[_Candidate]:
    """The views that are used."""
    chosen = list_used_views(sources, params, names)
    biases = {clip: measure_landmark_bias(sources[clip]) for clip in {ref.clip for ref in chosen}}
    pool = []
    for ref, one in chosen.items():
        who = sources[ref.clip]
        eyes = measure_openness(one.face, who.pixel_aspect, biases[ref.clip])
        doubt = _compute_own_cost(one.face, who) + SHUT_EYE_COST * float(np.maximum(OPEN_ENOUGH - eyes, 0).max())
        pool.append(_Candidate(ref, one.face, who, one.weight, doubt, _measure_mouth(one.face, who)))
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
    """Numbers of the clips with a name; else by number from 1; all clips if `text` is None."""
    if text is None:
        return set(range(len(names)))
    return {clip for clip, name in enumerate(names) if name == text} or {
        clip for clip in range(len(names)) if str(clip + 1) == text
    }


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
    """What lids, lips and brows differ from the person's face at rest, in units of cost."""
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
    """The cost of a view that does not depend on the target's frame.

    Landmarks that do not fit a head (the detector was wrong) and a strong expression cost: a grimace cannot be warped
    into another one, a face at rest can.
    """
    pose = fit_head_pose(face.landmarks, performer.pixel_aspect)
    strength = float(np.linalg.norm(_make_expression_vector(face, performer)))
    return (pose.error / pose.scale / ERROR_UNIT) ** 2 + (1 - face.confidence) + EXPRESSION_COST * strength


def _measure_mouth(face: Face, performer: Performer) -> float:
    """How far the inner mouth is open, as a share of the outer eye corners' distance in square pixels."""
    return measure_lip_opening(face.get_mesh(performer.pixel_aspect), performer.pixel_aspect)


def _measure_distances(a: Matrix, b: Matrix) -> Matrix:
    """Distances of the rows of `a` (n, k) to the rows of `b` (m, k)."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(square, 0)))


def _find_cheapest_path(cost: Matrix, switch: float) -> IndexArray:
    """The view of each row of cost (frames, views), so that costs and changes of view are least (Viterbi 1967)."""
    total = cost[0].copy()
    came_from = np.zeros(cost.shape, int)
    for t in range(1, len(cost)):
        best = int(np.argmin(total))
        changes = total[best] + switch < total
        came_from[t] = np.where(changes, best, np.arange(len(total)))
        total = np.minimum(total, total[best] + switch) + cost[t]
    path = np.empty(len(cost), int)
    path[-1] = int(np.argmin(total))
    for t in range(len(cost) - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path


def _choose_further_views(poses: Matrix, chosen: set[int], pool: Sequence[_Candidate]) -> tuple[ViewRef, ...]:
    """The views that turn furthest to either side, and up: they show what a single pose hides."""
    extremes = [int(np.argmin(poses[:, 0])), int(np.argmax(poses[:, 0])), int(np.argmax(poses[:, 1]))]
    return tuple(dict.fromkeys(pool[v].ref for v in extremes if v not in chosen))
