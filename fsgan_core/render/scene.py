"""What is known of a section of a clip before any pixel is changed: tracks, chosen people, the plan of views."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fsgan_core.clips.inputs import ClipInput, JobInputs
from fsgan_core.clips.tracks import (
    ClipSection,
    choose_person,
    get_clip_track,
    select_source_frames,
    split_into_sections,
)
from fsgan_core.contract.errors import NoFaceError, ShotError
from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.track import Face, Track
from fsgan_core.plates.colour import Codec
from fsgan_core.runtime.arrays import Points3D
from fsgan_core.runtime.events import EventListener, ignore_event
from fsgan_core.stages.drive import PLATE_CLIP, DrivenFrame, drive_faces
from fsgan_core.stages.motion.performance import correct_performer
from fsgan_core.stages.recognition import Recognition
from fsgan_core.stages.views import FramePlan, ViewRef, WeightedView, list_used_views, plan_views
from fsgan_core.stages.warp_points import Performer, compute_likeness, measure_performer

__all__ = ["JobScenes", "Scene", "SourceClip", "select_proportions"]

log = logging.getLogger(__name__)

LIKENESS_DIGITS = 4  # of a likeness in mm: kept short, so that it is the same number on every machine


RecognitionFinder = Callable[[JobInputs, "Scene", EventListener], Recognition | None]


@dataclass(frozen=True)
class SourceClip:
    """A clip that views come from: whose face, the stops that bring it to display brightness, the way to display."""

    clip_input: ClipInput
    performer: Performer
    exposure: float
    codec: Codec


@dataclass(frozen=True)
class Scene:
    """One section of the target.

    seen: frames that were analysed. faces: the target person's face by frame. wanted: the face that it shall show (the
    same, for a swap). plan: the views of each frame; empty where no source is needed. likeness: source's proportions
    minus the target's, (68, 3) mm, or None. recognition: what makes the source be recognised, or None; one for all
    sections. exposure: stops of the target's codec. driven: what a drive makes of each
    frame; its views are of the target's own clip and of the driver.
    """

    number: int
    analysed_frames: frozenset[int]
    faces: Mapping[int, Face]
    codec: Codec
    exposure: float
    pixel_aspect: float
    view_clips: tuple[SourceClip, ...] = ()
    frame_plans: Mapping[int, FramePlan] = field(default_factory=dict)
    likeness: np.ndarray | None = None
    recognition: Recognition | None = None
    driven_frames: Mapping[int, DrivenFrame] = field(default_factory=dict)


def select_proportions(scene: Scene, params: ReenactParams) -> tuple[Points3D | None, Points3D | None]:
    """Selects what decides, beside the landmarks, where features go.

    Returns:
        Likeness and recognition; None where the amount is 0. Then it is not in the keys either: a face that is moved by
        hand in one frame changes the likeness a little, and would make every frame stale.
    """
    known = scene.recognition
    return (
        scene.likeness if params.likeness > 0 else None,
        known.moves if known is not None and params.recognition > 0 else None,
    )


class JobScenes:
    """The scene of any frame of a job; a section is analysed when the first of its frames is asked for.

    job: "swap" or "drive". with_views: whether sources are needed at all (mask and blend work without, and so does an
    inpaint that looks at no other views). recognise: finds `Scene.recognition` for a scene that has no plan yet. Safe
    from several threads.
    """

    def __init__(
        self,
        inputs: JobInputs,
        job: str,
        *,
        with_views: bool = True,
        recognise: RecognitionFinder | None = None,
        on_event: EventListener = ignore_event,
    ) -> None:
        self._inputs = inputs
        self._job = job
        self._needs_views = with_views
        self._find_recognition = recognise if inputs.stages.reenact.recognition > 0 else None
        self.on_event = on_event
        self._lock = threading.RLock()
        self._target_scenes: dict[int, Scene] = {}
        self._full_scenes: dict[int, Scene] = {}
        self._source_clips: tuple[SourceClip, ...] | None = None
        self._known_recognition: tuple[Recognition | None] | None = None
        self._sections = split_into_sections(inputs.target.sequence.frames)
        self._section_numbers = {
            frame: number for number, section in enumerate(self._sections) for frame in section.core_frames
        }

    def __call__(self, frame: int) -> Scene:
        """The scene of an available frame. Raises NoFaceError (source), TrackError, PlateError, EngineError."""
        number = self._section_numbers[frame]
        with self._lock:
            if number not in self._full_scenes:
                self._full_scenes[number] = self._complete_scene(self._get_target_scene(number))
            return self._full_scenes[number]

    def get_recognition(self) -> Recognition | None:
        """What all sections go by: the first one with a face decides, since a face that changed between sections would
        jump. Raises as a call does."""
        if self._find_recognition is None:
            return None
        with self._lock:
            if self._known_recognition is None:
                targets = (self._get_target_scene(number) for number in range(len(self._sections)))
                first = next((scene for scene in targets if scene.faces), None)
                self._known_recognition = (
                    self._find_recognition(self._inputs, self._add_sources(first), self.on_event)
                    if first is not None
                    else None,
                )
            return self._known_recognition[0]

    def _get_target_scene(self, number: int) -> Scene:
        """The section with its faces alone."""
        if number not in self._target_scenes:
            self._target_scenes[number] = self._analyse_section(number, self._sections[number])
        return self._target_scenes[number]

    def _analyse_section(self, number: int, section: ClipSection) -> Scene:
        inputs = self._inputs
        track = self._get_track(inputs.target, section.frames, of_target=True)
        exposure = inputs.stages.colour.exposure
        exposure = track.exposure if exposure is None else exposure
        codec = inputs.config.make_codec(inputs.working_space, exposure)
        scene = Scene(number, frozenset(track.frames), {}, codec, exposure, track.pixel_aspect)
        try:
            person = choose_person(inputs.target, track, inputs, of_target=True)
        except NoFaceError as error:
            log.warning("%s", error)
            return scene
        return replace(scene, faces=person.faces)

    def _complete_scene(self, scene: Scene) -> Scene:
        if not scene.faces:
            return scene
        if self._job == "drive":
            return self._plan_drive(scene)
        return self._plan_swap(scene) if self._needs_views else scene

    def _add_sources(self, scene: Scene) -> Scene:
        """The scene with its sources, and no plan."""
        views = self.get_source_clips()
        proportions = compute_likeness(
            [view.performer for view in views], measure_performer(scene.faces, scene.pixel_aspect)
        )
        return replace(scene, view_clips=views, likeness=np.round(proportions, LIKENESS_DIGITS))

    def _plan_swap(self, scene: Scene) -> Scene:
        scene = self._add_sources(scene)
        sources, names = (
            [view.performer for view in scene.view_clips],
            [view.clip_input.name for view in scene.view_clips],
        )
        list_used_views(
            sources, self._inputs.stages.reenact, names
        )  # a wrong choice is told before a search, not after it
        known = self.get_recognition()
        plan = plan_views(
            sources,
            measure_performer(scene.faces, scene.pixel_aspect),
            self._inputs.stages.reenact,
            names,
            known.unlikeness if known is not None else None,
        )
        return replace(scene, frame_plans=plan, recognition=known)

    def _plan_drive(self, scene: Scene) -> Scene:
        inputs = self._inputs
        if len(inputs.sources) != 1:
            raise ShotError(f"a drive takes one driver, not {len(inputs.sources)}")
        plate = measure_performer(scene.faces, scene.pixel_aspect)
        driver = self.get_source_clips()[0]
        driven = drive_faces(
            plate,
            driver.performer,
            inputs.stages.drive,
            first=inputs.target.sequence.frames[0],
            driver_first=driver.clip_input.sequence.frames[0],
            reenact=inputs.stages.reenact,
        )
        codec = inputs.config.make_codec(inputs.target.space, scene.exposure)
        views = (
            SourceClip(inputs.target, correct_performer(plate), scene.exposure, codec),
            replace(driver, performer=correct_performer(driver.performer)),
        )
        plan = {
            frame: FramePlan(
                (
                    WeightedView(ViewRef(PLATE_CLIP, frame), 1.0, 1.0),
                    *(WeightedView(patch.view, 0.0, 0.0) for patch in one.patches),
                ),
                flags=one.flags,
            )
            for frame, one in driven.items()
        }
        return replace(scene, view_clips=views, frame_plans=plan, driven_frames=driven)

    def get_source_clips(self) -> tuple[SourceClip, ...]:
        """The sources with their tracks; the same for every section."""
        if self._source_clips is None:
            self._source_clips = tuple(self._make_source_clip(item) for item in self._inputs.sources)
        return self._source_clips

    def _make_source_clip(self, clip_input: ClipInput) -> SourceClip:
        frames = (
            clip_input.sequence.frames if self._job == "drive" else select_source_frames(clip_input.sequence.frames)
        )
        track = self._get_track(clip_input, frames, of_target=False)
        person = choose_person(clip_input, track, self._inputs, of_target=False)
        if not person.faces:
            raise NoFaceError(f"no face was found in the source {clip_input.clip.path}")
        codec = self._inputs.config.make_codec(clip_input.space, track.exposure)
        return SourceClip(clip_input, measure_performer(person.faces, track.pixel_aspect), track.exposure, codec)

    def _get_track(self, clip_input: ClipInput, frames: tuple[int, ...], of_target: bool) -> Track:
        return get_clip_track(clip_input, frames, self._inputs, self.on_event, of_target=of_target)
