"""The views of a source and what a shot needs of them.

All views by pose, what the plan makes of each, and the angles that the source lacks; with thumbnails of the views,
cached as PNG files.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fsgan_core.clips.inputs import check_rgb, open_inputs
from fsgan_core.contract.errors import InputError, NoFaceError, ParameterError, PlateError
from fsgan_core.contract.shot import Clip, Stages
from fsgan_core.contract.view_grid import VIEW_SPARE, VIEW_USED, build_view_grid, format_pose
from fsgan_core.faces.appearance import AppearanceMap
from fsgan_core.faces.face import Face
from fsgan_core.faces.landmarkers.landmarks import measure_mouth_opening
from fsgan_core.plates.colour import ColourConfig
from fsgan_core.plates.plate import Window
from fsgan_core.plates.sequence import format_frames, select_frames
from fsgan_core.render.scene import JobScenes, SourceClip
from fsgan_core.render.source_faults import describe_source_faults
from fsgan_core.report.contact_sheet import write_picture
from fsgan_core.runtime.arrays import Angles, IndexArray, Vector
from fsgan_core.runtime.cache import compute_digest, get_cache_folder
from fsgan_core.runtime.events import (
    CancelCheck,
    Event,
    EventListener,
    ignore_event,
    never_cancelled,
    raise_if_cancelled,
)
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.stages.allowed_views import ViewChoice, ViewRef, choose_views, format_view_name, list_used_views
from fsgan_core.stages.leading_view import MAX_OUTSIDE, FramePlan, plan_views
from fsgan_core.stages.view_costs import POSE_UNIT
from fsgan_core.stages.warp_points import Performer, measure_performer

__all__ = ["MapView", "MissingAngle", "PoseCount", "ViewMap", "make_view_map"]

log = logging.getLogger(__name__)

LACKING_DEGREES = POSE_UNIT
"""Degrees to the nearest view above which an angle counts as lacking."""
PICTURE_SIDE = 96
"""Side of a thumbnail, in pixels."""
PICTURE_MARGIN = 1.5
"""Side of a thumbnail over that of the face's box."""


@dataclass(frozen=True)
class MapView:
    """A source frame that shows the face.

    Attributes:
        name: As `reenact.exclude` takes it.
        clip: Number of the source clip.
        frame: Frame number.
        yaw: Degrees.
        pitch: Degrees.
        roll: Degrees.
        mouth: Opening of the mouth, as a share of the eye distance.
        confidence: Of the face, 0..1.
        state: "used", "excluded" or "spare" (see `stages.allowed_views`).
        weight: Weight that the artist gave.
        leads: Frames of the target whose detail comes from this view.
        light: How many frames' worth of low frequencies come from it.
        picture: Path of a PNG, or "".
    """

    name: str
    clip: int
    frame: int
    yaw: float
    pitch: float
    roll: float
    mouth: float
    confidence: float
    state: str
    weight: float = 1.0
    leads: int = 0
    light: float = 0.0
    picture: str = ""


@dataclass(frozen=True)
class PoseCount:
    """A pose of the target in whole degrees: how many frames show it, and how many of them lack a view."""

    yaw: int
    pitch: int
    frames: int
    lacking: int


@dataclass(frozen=True)
class MissingAngle:
    """An angle that the source lacks.

    Attributes:
        yaw: Degrees.
        pitch: Degrees.
        count: How many frames of the target show it.
        frames: These frames, as ranges.
        degrees: Distance from the nearest view, in the worst of these frames.
        nearest: Name of that view.
        text: Description for a person.
    """

    yaw: float
    pitch: float
    count: int
    frames: str
    degrees: float
    nearest: str
    text: str


@dataclass(frozen=True)
class ViewMap:
    """The views of a source by pose, and what a target needs of them.

    Attributes:
        clips: Short names of the sources.
        views: All views.
        target: How many of the target's frames show the face; 0 without a target.
        poses: The target's poses.
        lacking: Angles that the source lacks.
        problem: Why there is no plan (no view is left, or a named one does not exist), else "".
        faults: What is the matter with pictures of the sources, for a person.
    """

    clips: tuple[str, ...]
    views: tuple[MapView, ...]
    target: int = 0
    poses: tuple[PoseCount, ...] = ()
    lacking: tuple[MissingAngle, ...] = ()
    problem: str = ""
    faults: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data for JSON."""
        return asdict(self)


def make_view_map(
    sources: Sequence[Clip],
    stages: Stages,
    target: Clip | None = None,
    *,
    frames: str = "",
    pictures: bool = True,
    all_pictures: bool = True,
    planned: bool = True,
    device: str = "cpu",
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> ViewMap:
    """Maps the views of some sources, and what a target's frames need of them.

    Clips that have no track yet are analysed.

    Args:
        sources: Clips of the person whose face is wanted.
        stages: Parameters of the stages.
        target: The clip to change.
        frames: Frames of the target; empty takes all. The plan spans the clip in any case.
        pictures: Whether thumbnails are made.
        all_pictures: False makes only those that a grid of squares shows, which takes less time.
        planned: False leaves out which views lead the frames, which takes less time.
        device: Where networks run, such as "cpu" or "cuda".
        on_event: Called with progress.
        is_cancelled: Asked between frames.

    Raises:
        FsganError: As a render does, except for a choice of views that leaves none; that is the map's `problem`.
    """
    if not sources:
        raise InputError("name at least one source: a still, a sequence or a movie")
    inputs = open_inputs(sources, target or sources[0], stages, device=device)

    def relay_event(event: Event) -> None:
        raise_if_cancelled(is_cancelled)
        on_event(event)

    scenes = JobScenes(inputs, "swap", with_views=False, on_event=relay_event)
    with limit_algebra_threads():
        clips = scenes.get_source_clips()
        names = [clip.clip_input.name for clip in clips]
        chosen, problem = _try_choose_views(clips, stages, names)
        faces: dict[int, Face] = {}
        plan: dict[int, FramePlan] = {}
        if target is not None:
            wanted = select_frames(frames, inputs.target.sequence.frames, "skip")
            try:
                faces, plan = _plan_frames(scenes, clips, wanted, stages, names, planned)
            except (NoFaceError, ParameterError) as error:
                problem = problem or str(error)
                faces = {frame: scenes(frame).faces[frame] for frame in wanted if frame in scenes(frame).faces}
    parts = _sum_view_parts(plan)
    views = tuple(
        _make_map_view(ref, one, clips[ref.clip].performer, names, parts.get(ref, (0, 0.0)))
        for ref, one in chosen.items()
    )
    poses, lacking = _compare_poses(faces, [view for view in views if view.state == VIEW_USED], stages)
    if pictures:
        wanted_refs = list(chosen) if all_pictures else _list_grid_views(list(chosen), views, poses)
        shown = _make_pictures(inputs.config, clips, {ref: chosen[ref] for ref in wanted_refs}, relay_event)
        views = tuple(replace(view, picture=shown.get(ref, "")) for ref, view in zip(chosen, views, strict=True))
    faults = tuple(describe_source_faults(clips, chosen))
    return ViewMap(tuple(names), views, len(faces), poses, lacking, problem, faults)


def _try_choose_views(
    clips: Sequence[SourceClip], stages: Stages, names: Sequence[str]
) -> tuple[dict[ViewRef, ViewChoice], str]:
    actors = [clip.performer for clip in clips]
    try:
        return choose_views(actors, stages.reenact, names), ""
    except ParameterError as error:
        plain = stages.reenact.replace(views=(), exclude=(), weights=())
        return choose_views(actors, plain, names), str(error)


def _plan_frames(
    scenes: JobScenes,
    clips: Sequence[SourceClip],
    frames: Sequence[int],
    stages: Stages,
    names: Sequence[str],
    planned: bool,
) -> tuple[dict[int, Face], dict[int, FramePlan]]:
    """The target's faces and the plan of these frames; every section is planned once, whole, as a render does."""
    faces: dict[int, Face] = {}
    plan: dict[int, FramePlan] = {}
    by_section: dict[int, dict[int, FramePlan]] = {}
    actors = [clip.performer for clip in clips]
    list_used_views(actors, stages.reenact, names)
    for frame in frames:
        scene = scenes(frame)
        if frame not in scene.faces:
            continue
        faces[frame] = scene.faces[frame]
        if not planned:
            continue
        if scene.number not in by_section:
            who = measure_performer(scene.faces, scene.pixel_aspect)
            by_section[scene.number] = plan_views(actors, who, stages.reenact, names)
        plan[frame] = by_section[scene.number][frame]
    return faces, plan


def _list_grid_views(refs: Sequence[ViewRef], views: Sequence[MapView], poses: Sequence[PoseCount]) -> list[ViewRef]:
    """The views that a grid of squares shows: the first one of each square."""
    grid = build_view_grid([asdict(view) for view in views], [asdict(pose) for pose in poses])
    return [refs[square.views[0]] for square in grid.squares.values() if square.views]


def _sum_view_parts(plan: Mapping[int, FramePlan]) -> dict[ViewRef, tuple[int, float]]:
    """Sums, by view, how many frames it leads and how many frames' worth of light it gives."""
    sums: dict[ViewRef, tuple[int, float]] = {}
    for frame in plan.values():
        for place, part in enumerate(frame.views):
            leads, light = sums.get(part.view, (0, 0.0))
            sums[part.view] = leads + (place == 0), light + part.light
    return sums


def _make_map_view(
    ref: ViewRef, one: ViewChoice, performer: Performer, names: Sequence[str], part: tuple[int, float]
) -> MapView:
    yaw, pitch, roll = (round(angle, 1) for angle in one.face.euler)
    mouth = float(measure_mouth_opening(one.face.landmarks * (performer.pixel_aspect, 1.0)))
    return MapView(
        format_view_name(ref, names),
        ref.clip,
        ref.frame,
        yaw,
        pitch,
        roll,
        round(mouth, 3),
        round(one.face.confidence, 3),
        one.state,
        one.weight,
        part[0],
        round(part[1], 2),
    )


def _compare_poses(
    faces: Mapping[int, Face], used: Sequence[MapView], stages: Stages
) -> tuple[tuple[PoseCount, ...], tuple[MissingAngle, ...]]:
    """Where the target's faces look, and what of that the used views do not show."""
    if not faces:
        return (), ()
    frames = sorted(faces)
    asked = np.array([faces[frame].euler[:2] for frame in frames])
    far = np.full(len(frames), np.inf)
    near = np.zeros(len(frames), int)
    lacks = np.ones(len(frames), bool)
    if used:
        offered = np.array([(view.yaw, view.pitch) for view in used])
        distance = np.linalg.norm(asked[:, None] - offered[None], axis=2)
        far, near = distance.min(1), distance.argmin(1)
        appearance = AppearanceMap(offered, stages.reenact.minimum_radius)
        outside = np.array([appearance.query(float(yaw), float(pitch)).outside_degrees for yaw, pitch in asked])
        lacks = (far > LACKING_DEGREES) | (outside > MAX_OUTSIDE)
    cells: dict[tuple[int, int], list[int]] = {}
    for (yaw, pitch), lacking in zip(np.rint(asked).astype(int), lacks, strict=True):
        counted = cells.setdefault((int(yaw), int(pitch)), [0, 0])
        counted[0] += 1
        counted[1] += int(lacking)
    poses = tuple(PoseCount(yaw, pitch, *counted) for (yaw, pitch), counted in sorted(cells.items()))
    return poses, _find_missing_angles(
        asked[lacks], np.asarray(frames)[lacks], far[lacks], [used[index].name if used else "" for index in near[lacks]]
    )


def _find_missing_angles(
    poses: Angles, frames: IndexArray, far: Vector, nearest: Sequence[str]
) -> tuple[MissingAngle, ...]:
    """The fewest angles that stand for all of these poses within LACKING_DEGREES, those of most frames first."""
    if not len(poses):
        return ()
    crowds = AppearanceMap(poses, LACKING_DEGREES)
    angles = []
    for centre, members in zip(crowds.kept_indices, crowds.compute_cells(), strict=True):
        yaw, pitch = (round(float(angle), 1) for angle in poses[centre])
        worst = members[np.argmax(far[members])]
        degrees = round(float(far[worst]), 1) if np.isfinite(far[worst]) else 0.0
        text = f"{format_pose(yaw, pitch)}: {len(members)} frame{'s' if len(members) > 1 else ''}"
        if nearest[worst]:
            text += f", up to {degrees:.0f} degrees from the nearest view ({nearest[worst]})"
        angles.append(
            MissingAngle(
                yaw,
                pitch,
                len(members),
                format_frames([int(frame) for frame in frames[members]], limit=0),
                degrees,
                nearest[worst],
                text,
            )
        )
    return tuple(sorted(angles, key=lambda lack: -lack.count))


def _make_pictures(
    config: ColourConfig, clips: Sequence[SourceClip], chosen: Mapping[ViewRef, ViewChoice], on_event: EventListener
) -> dict[ViewRef, str]:
    """Small pictures of all views that a person may choose from; one that cannot be made is logged and left out."""
    offered = [(ref, one.face) for ref, one in chosen.items() if one.state != VIEW_SPARE]
    paths: dict[ViewRef, str] = {}
    for done, (ref, face) in enumerate(offered, start=1):
        clip = clips[ref.clip]
        try:
            path = _compute_picture_path(config, clip, face)
            if not path.is_file():
                _make_picture(clip, face, path)
                on_event(Event("views", clip.clip_input.name, done, len(offered), ref.frame))
            paths[ref] = str(path)
        except PlateError as error:
            log.warning("frame %d of %s has no picture: %s", ref.frame, clip.clip_input.name, error)
    return paths


def _compute_picture_path(config: ColourConfig, clip: SourceClip, face: Face) -> Path:
    """Computes the path of the face's PNG in the cache from everything that decides its pixels. Raises PlateError."""
    x, y, width, height = (round(float(value), 2) for value in face.box)
    key = compute_digest(
        "view",
        1,
        clip.clip_input.sequence.compute_fingerprint(face.frame),
        (x, y, width, height),
        clip.exposure,
        clip.codec.space,
        config.compute_digest(clip.codec.space),
        PICTURE_SIDE,
        PICTURE_MARGIN,
    )
    return get_cache_folder() / "views" / f"{key}.png"


def _make_picture(clip: SourceClip, face: Face, path: Path) -> None:
    """Raises PlateError, OutputError."""
    item, (x, y, width, height) = clip.clip_input, face.box
    plate = item.sequence.read(face.frame)
    check_rgb(plate, str(item.sequence.get_frame_path(face.frame)))
    side = max(2, round(height * PICTURE_MARGIN))
    across = max(2, round(side / clip.performer.pixel_aspect))
    window = Window(round(x + width / 2 - across / 2), round(y + height / 2 - side / 2), across, side)
    shown = clip.codec.encode(plate.crop(window).get("R", "G", "B"))
    small = cv2.resize(
        shown, (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_AREA if side > PICTURE_SIDE else cv2.INTER_LINEAR
    )
    write_picture(path, np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8))
