"""Views: which source frames a target frame is made from, planned over a whole clip from tracks alone.

The appearance map gives three views and their barycentric weights for the target's pose (FSGAN, arXiv 1908.05932,
section 3.2). In each cell the view nearest in expression and shape is taken. One leading view gives the detail: the
cheapest path through the clip, where each frame costs what its view differs in pose, expression and shape, and a change
of view costs extra. Weights are smoothed over neighbouring frames, so views fade and never pop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.appearance import AppearanceMap
from fsgan_core.faces.face import Face
from fsgan_core.runtime.arrays import IndexArray, Mask, Matrix, Vector
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.fading import find_cheapest_path, smooth_weights
from fsgan_core.stages.view_costs import (
    POSE_UNIT,
    ViewCandidate,
    compute_view_costs,
    list_view_candidates,
    measure_turned_away,
    stack_angles,
)
from fsgan_core.stages.warp_points import Performer, measure_face_width

SWITCH_COST = 4.0  # of a change of the leading view
FADE_FRAMES = 3  # on either side, over which a change of view is spread
MIRROR_FROM = 9.0  # degrees: a view that hides a half by more is worse there than its mirror image
MAX_ENLARGEMENT = 2.5  # of the leading view: from here on a frame is flagged, the face is soft
MAX_COVERED = 0.01  # of the face: a view of which hands cover more is not used
MIN_WEIGHT = 0.02  # a view of less weight is not warped
MAX_OUTSIDE = 5.0  # degrees outside all views' poses from which on a frame is flagged


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
        flags: "pose-clamped", "small-source".
        mirror: Share of the mirror image in the half of the face that a view turns away, 0..1.
    """

    views: tuple[WeightedView, ...]
    further_views: tuple[ViewRef, ...] = ()
    flags: tuple[str, ...] = field(default=())
    mirror: float = 0.0


def plan_views(
    sources: Sequence[Performer],
    target: Performer,
    params: ReenactParams,
    names: Sequence[str],
    measure_cover: Callable[[ViewRef], float] | None = None,
) -> dict[int, FramePlan]:
    """Plan the views of every frame of the target.

    Args:
        sources: The person in each source clip.
        target: The person in the target.
        params: Settings of the reenact stage.
        names: A short name of each source clip, as `params.views` and the like use them.
        measure_cover: Measures the share of a view's face that hands cover, 0..1; asked only of views that would be
            used otherwise, because it looks at pictures. None if no view is covered.

    Raises:
        NoFaceError: No view is left.
        ParameterError: A setting names a view that does not exist.
    """
    pool = list_view_candidates(sources, params, names)
    if not target.faces:
        return {}
    frames = sorted(target.faces)
    faces = [target.faces[frame] for frame in frames]
    if params.as_published:
        return _plan_as_published(pool, faces, target, params.minimum_radius)
    pool, leading, light, clamped = _choose_uncovered(pool, faces, target, params, measure_cover)
    poses = stack_angles([one.face for one in pool])
    enlarged = _measure_enlargements(pool, faces, target)

    detail: Matrix = np.zeros((len(frames), len(pool)))
    detail[np.arange(len(frames)), leading] = 1.0
    if params.combine == "leading":
        light = detail.copy()
    detail, light = smooth_weights(detail, frames, FADE_FRAMES), smooth_weights(light, frames, FADE_FRAMES)
    if params.combine == "barycentric":
        detail = light

    mirror = choose_mirror(poses[leading, 0], faces, params)
    plans = {}
    for t, frame in enumerate(frames):
        chosen = [v for v in np.argsort(-detail[t], kind="stable") if max(detail[t, v], light[t, v]) > MIN_WEIGHT]
        sums = detail[t, chosen].sum(), light[t, chosen].sum()
        plans[frame] = FramePlan(
            views=tuple(
                WeightedView(pool[v].ref, float(light[t, v] / sums[1]), float(detail[t, v] / sums[0])) for v in chosen
            ),
            further_views=_choose_further_views(poses, set(chosen), pool),
            flags=_list_flags(bool(clamped[t]), float(enlarged[t, leading[t]])),
            mirror=float(mirror[t]),
        )
    return plans


def _list_flags(is_clamped: bool, enlargement: float) -> tuple[str, ...]:
    """The flags of a frame, by its pose and by how much its leading view is enlarged."""
    flags = {"pose-clamped": is_clamped, "small-source": enlargement > MAX_ENLARGEMENT}
    return tuple(name for name, is_set in flags.items() if is_set)


def choose_mirror(yaw: Vector, faces: Sequence[Face], params: ReenactParams) -> Vector:
    """Choose how much the mirror images of views count in each frame (`FramePlan.mirror`): all or nothing, with fades.

    Args:
        yaw: Of each frame's leading view, degrees.
        faces: Of the target.
        params: Settings of the reenact stage.
    """
    if not params.mirror:
        return np.zeros(len(faces))
    turned = measure_turned_away(yaw, stack_angles(faces)[:, 0])
    cost = np.column_stack([turned, np.full(len(turned), MIRROR_FROM)]) / POSE_UNIT
    choice = find_cheapest_path(cost, SWITCH_COST * params.hold)
    return smooth_weights(choice[:, None].astype(np.float64), [face.frame for face in faces], FADE_FRAMES)[:, 0]


def _measure_enlargements(pool: Sequence[ViewCandidate], faces: Sequence[Face], target: Performer) -> Matrix:
    """How much each view is enlarged for each face of the target, (faces, views)."""
    widths = [measure_face_width(face.landmarks, target.pixel_aspect) for face in faces]
    shown = [measure_face_width(one.face.landmarks, one.performer.pixel_aspect) for one in pool]
    return np.asarray(np.array(widths)[:, None] / np.maximum(shown, 1.0))


def _plan_as_published(
    pool: Sequence[ViewCandidate], faces: Sequence[Face], target: Performer, radius: float
) -> dict[int, FramePlan]:
    """Plan the published views of each face: the corners of the appearance map's triangle, by barycentric weights."""
    appearance = AppearanceMap(stack_angles([one.face for one in pool]), radius)
    enlarged = _measure_enlargements(pool, faces, target)
    plans = {}
    for t, face in enumerate(faces):
        mix = appearance.query(float(face.euler[0]), float(face.euler[1]))
        chosen = [
            (appearance.kept_indices[corner], float(weight))
            for corner, weight in sorted(zip(mix.indices, mix.weights, strict=True), key=lambda pair: -pair[1])
            if weight > 0
        ]
        plans[face.frame] = FramePlan(
            tuple(WeightedView(pool[number].ref, weight, weight) for number, weight in chosen),
            flags=_list_flags(mix.outside_degrees > MAX_OUTSIDE, float(enlarged[t, chosen[0][0]])),
        )
    return plans


def _choose_uncovered(
    pool: Sequence[ViewCandidate],
    faces: Sequence[Face],
    target: Performer,
    params: ReenactParams,
    measure_cover: Callable[[ViewRef], float] | None,
) -> tuple[list[ViewCandidate], IndexArray, Matrix, Mask]:
    """Choose views, look at them, and choose again without those that hands cover, until none is covered.

    Returns:
        The views that are left, all of them if hands cover every one; the leading one of each face, (faces,); shares in
        the low frequencies, (faces, views); and whether a pose lies outside the map, (faces,).
    """
    poses, target_poses = stack_angles([one.face for one in pool]), stack_angles(faces)
    pose, likeness = compute_view_costs(pool, faces, target, params)
    is_covered: dict[ViewRef, bool] = {}
    while True:
        uncovered = [number for number, one in enumerate(pool) if not is_covered.get(one.ref)]
        columns = uncovered or list(range(len(pool)))
        usable = [pool[number] for number in columns]
        leading = find_cheapest_path((pose + likeness)[:, columns], SWITCH_COST * params.hold)
        light, clamped = _compute_light_shares(
            target_poses, poses[columns], likeness[:, columns], params.minimum_radius
        )
        chosen = [usable[number].ref for number in np.union1d(leading, np.flatnonzero(light.any(0)))]
        new = [ref for ref in chosen if ref not in is_covered]
        if measure_cover is None or not uncovered or not new:
            return usable, leading, light, clamped
        is_covered.update({ref: measure_cover(ref) > MAX_COVERED for ref in new})


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
        for corner, weight in zip(query.indices, query.weights, strict=True):
            if weight > 0:
                members = np.asarray(cells[int(corner)])
                light[t, members[np.argmin(likeness[t, members])]] += weight
    return light, clamped


def _choose_further_views(poses: Matrix, chosen: set[int], pool: Sequence[ViewCandidate]) -> tuple[ViewRef, ...]:
    """The views that turn furthest to either side, and up: they show what a single pose hides."""
    extremes = [int(np.argmin(poses[:, 0])), int(np.argmax(poses[:, 0])), int(np.argmax(poses[:, 1]))]
    return tuple(dict.fromkeys(pool[v].ref for v in extremes if v not in chosen))
