"""What is found out about a section of a clip before any pixel changes: tracks, chosen people, the plan of views."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fsgan_core.clips.covered_views import get_covered_share
from fsgan_core.clips.inputs import ClipInput, JobInputs
from fsgan_core.clips.open_mouths import warn_of_open_mouths
from fsgan_core.clips.tracks import (
    ClipSection,
    choose_person,
    get_clip_track,
    select_source_frames,
    split_into_sections,
)
from fsgan_core.contract.errors import FsganError, NoFaceError, PlateError, ShotError
from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.face import Face
from fsgan_core.faces.track import Track
from fsgan_core.plates.colour import Codec
from fsgan_core.render.atlas import SourceAtlas
from fsgan_core.render.source_checks import check_colourfulness, warn_of_hidden_eyes
from fsgan_core.render.source_clip import SourceClip, choose_open_eyed_frames
from fsgan_core.render.source_faults import find_source_faults
from fsgan_core.runtime.arrays import Points3D
from fsgan_core.runtime.cache import is_cache_only
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.drive import PLATE_CLIP, DrivenFrame, drive_faces
from fsgan_core.stages.leading_view import FramePlan, WeightedView, plan_views
from fsgan_core.stages.motion.performance import correct_performer
from fsgan_core.stages.proportions import compute_likeness, fit_rest_mesh
from fsgan_core.stages.warp_points import measure_performer

__all__ = ["JobScenes", "Scene", "SourceClip", "select_likeness", "uses_iris_colour"]

log = logging.getLogger(__name__)

QUICK_SOURCE_FRAMES = 24  # of a source that a quick look analyses
LIKENESS_DIGITS = 4  # decimal places of a millimetre; few, so that every machine gets the same number


@dataclass(frozen=True)
class Scene:
    """One section of the target.

    Attributes:
        number: Of the section, from 0.
        analysed_frames: Frames that are in the track.
        faces: The target person's face by frame.
        measured_faces: The same as measured, without what was changed by hand. What is measured over the whole clip
            reads these: else a landmark that is moved in one frame would make every frame stale.
        codec: Converts the target's colours to a display's and back.
        exposure: Stops of the codec.
        pixel_aspect: Width of a pixel over its height.
        view_clips: The clips that views come from: the sources of a swap, the target and the driver of a drive.
        frame_plans: The views of each frame; empty if no source is needed.
        likeness: The source's proportions minus the target's, (478, 3) mm.
        atlas: The source's atlas; the same for all sections.
        driven_frames: What a drive changes in each frame.
        iris_views: Views that the colour of the source's irises is measured in.
        open_eyed_frames: Frames that the target's irises and glasses are measured in.
        person: Number of the target person in this section's track.
        other_people: Frame without the target person -> numbers of the people who are there.
    """

    number: int
    analysed_frames: frozenset[int]
    faces: Mapping[int, Face]
    codec: Codec
    exposure: float
    pixel_aspect: float
    view_clips: tuple[SourceClip, ...] = ()
    frame_plans: Mapping[int, FramePlan] = field(default_factory=dict)
    likeness: Points3D | None = None
    atlas: SourceAtlas | None = None
    driven_frames: Mapping[int, DrivenFrame] = field(default_factory=dict)
    iris_views: tuple[ViewRef, ...] = ()
    open_eyed_frames: tuple[int, ...] = ()
    measured_faces: Mapping[int, Face] = field(default_factory=dict)
    person: int = 0
    other_people: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def select_likeness(scene: Scene, params: ReenactParams) -> Points3D | None:
    """Selects the source's proportions, in mm, if they are used.

    Args:
        scene: With its sources.
        params: Settings of the reenact stage.

    Returns:
        None if the amount is 0; then they are not part of the keys either.
    """
    return scene.likeness if params.likeness > 0 else None


def uses_iris_colour(params: ReenactParams) -> bool:
    """Tells whether the plate's own eyes take on the source's colour."""
    return params.eyes == "target" and params.iris > 0


class JobScenes:
    """The scene of any frame of a job; a section is analysed when one of its frames is first asked for. Thread-safe.

    Args:
        inputs: The job.
        job: "swap" or "drive".
        with_views: Whether views of the sources are needed (mask and blend need none).
        on_event: Called with the progress of the analysis.
        quick_frames: For a quick look: the only frames of the target that are analysed. They are taken as stills, since
            those between may be missing: not smoothed, no gaps bridged.
    """

    def __init__(
        self,
        inputs: JobInputs,
        job: str,
        *,
        with_views: bool = True,
        on_event: EventListener = ignore_event,
        quick_frames: Sequence[int] | None = None,
    ) -> None:
        self._inputs = inputs
        self._is_quick = quick_frames is not None
        self._job = job
        self._needs_views = with_views
        self.on_event = on_event
        self._lock = threading.RLock()
        self._target_scenes: dict[int, Scene] = {}
        self._full_scenes: dict[int, Scene] = {}
        self._source_clips: tuple[SourceClip, ...] | None = None
        self._has_new_track = False
        self._atlas: SourceAtlas | None = None
        self._sections = split_into_sections(inputs.target.sequence.frames)
        if quick_frames is not None:
            analyse = inputs.stages.analyse.replace(smooth=0.0, gap=0)
            self._inputs = replace(inputs, stages=replace(inputs.stages, analyse=analyse))
            chosen = tuple(sorted(set(quick_frames)))
            self._sections = (ClipSection(chosen, chosen),)
        self._section_numbers = {
            frame: number for number, section in enumerate(self._sections) for frame in section.core_frames
        }

    def __call__(self, frame: int) -> Scene:
        """Returns the scene of an available frame.

        Raises:
            NoFaceError: No face was found in a source.
            TrackError: A track is missing, damaged or of another clip.
            PlateError: A picture cannot be read.
            EngineError: An engine or its weights are missing.
        """
        number = self._section_numbers[frame]
        with self._lock:
            if number not in self._full_scenes:
                self._full_scenes[number] = self._complete_scene(self._get_target_scene(number))
            return self._full_scenes[number]

    def _get_target_scene(self, number: int) -> Scene:
        """The scene of a section with its faces only."""
        if number not in self._target_scenes:
            self._target_scenes[number] = self._analyse_section(number, self._sections[number])
        return self._target_scenes[number]

    def _analyse_section(self, number: int, section: ClipSection) -> Scene:
        inputs = self._inputs
        track = self._get_track(inputs.target, section.frames, of_target=True)
        exposure = inputs.choose_exposure(track.exposure, of_target=True)
        codec = inputs.config.make_codec(inputs.working_space, exposure)
        scene = Scene(number, frozenset(track.frames), {}, codec, exposure, track.pixel_aspect)
        try:
            person = choose_person(inputs.target, track, inputs, of_target=True)
        except NoFaceError as error:
            log.warning("%s", error)
            return scene
        measured = {
            frame: person.measured[frame]
            for frame, face in person.faces.items()
            if frame in person.measured and face.origin != "bridged"
        }
        other_people = {
            frame: tuple(other.index for other in track.people if frame in other.faces)
            for frame in track.frames
            if frame not in person.faces
        }
        measured = measured or dict(person.faces)
        return replace(
            scene,
            faces=person.faces,
            measured_faces=measured,
            open_eyed_frames=choose_open_eyed_frames(measured, inputs.target.sequence.frames, scene.pixel_aspect),
            person=person.index,
            other_people=other_people,
        )

    def _complete_scene(self, scene: Scene) -> Scene:
        if not scene.faces:
            return scene
        if self._job == "drive":
            return self._plan_drive(scene)
        return self._plan_swap(scene) if self._needs_views else scene

    def _plan_swap(self, scene: Scene) -> Scene:
        clips, target = self.get_source_clips(), measure_performer(scene.faces, scene.pixel_aspect)
        target_codec = self._inputs.config.make_codec(self._inputs.target.space, scene.exposure)
        if not is_cache_only():  # it reads pixels
            check_colourfulness(clips, self._inputs.target, scene.faces, target_codec)
            warn_of_hidden_eyes(clips)
        sources = [clip.performer for clip in clips]
        names = [clip.clip_input.name for clip in clips]
        plan = plan_views(
            sources,
            target,
            self._inputs.stages.reenact,
            names,
            self._get_covered_share,
        )
        likeness = np.round(
            compute_likeness(
                [(fit_rest_mesh(who.faces, who.pixel_aspect), len(who.faces)) for who in sources if who.faces],
                fit_rest_mesh(scene.measured_faces, scene.pixel_aspect),
            ),
            LIKENESS_DIGITS,
        )
        iris_views = tuple(
            ViewRef(number, frame) for number, clip in enumerate(clips) for frame in clip.open_eyed_frames
        )
        return replace(
            scene,
            view_clips=clips,
            frame_plans=plan,
            likeness=likeness,
            atlas=self._get_atlas(),
            iris_views=iris_views,
        )

    def _get_covered_share(self, view: ViewRef) -> float:
        """The share of a view's face that hands cover."""
        source = self.get_source_clips()[view.clip]
        face, space = source.performer.faces[view.frame], source.clip_input.space
        colour = f"{self._inputs.config.compute_digest(space)} {source.exposure}"
        return get_covered_share(source.clip_input, face, source.codec, colour)

    def _plan_drive(self, scene: Scene) -> Scene:
        inputs = self._inputs
        if len(inputs.sources) != 1:
            raise ShotError(f"a drive needs exactly one driver, not {len(inputs.sources)}")
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
                    *(WeightedView(patch.view, 0.0, 0.0) for patch in driven_frame.patches),
                ),
                flags=driven_frame.flags,
            )
            for frame, driven_frame in driven.items()
        }
        return replace(scene, view_clips=views, frame_plans=plan, driven_frames=driven)

    def get_source_clips(self) -> tuple[SourceClip, ...]:
        """Returns the sources with their tracks; the same for every section.

        A source without a face, or one that cannot be read, is logged and has no faces, if there is another one. It
        keeps its place, because an artist names the clips by their numbers.
        """
        with self._lock:
            if self._source_clips is None:
                self._has_new_track = False
                clips: list[SourceClip] = []
                problems: list[FsganError] = []
                for clip_input in self._inputs.sources:
                    try:
                        clips.append(self._make_source_clip(clip_input))
                    except (NoFaceError, PlateError) as error:
                        problems.append(error)
                        clips.append(self._make_faceless_clip(clip_input))
                if problems and len(problems) == len(clips):
                    raise problems[0]
                for problem in problems:
                    log.warning("a source is not used: %s", problem)
                if self._job == "swap":
                    clips = list(find_source_faults(clips, self._inputs.stages.reenact))
                self._source_clips = tuple(clips)
                if self._job == "swap" and self._has_new_track:
                    warn_of_open_mouths(
                        [
                            (clip.clip_input.clip.path, clip.performer.faces, clip.performer.pixel_aspect)
                            for clip in clips
                        ]
                    )
            return self._source_clips

    def _get_atlas(self) -> SourceAtlas:
        if self._atlas is None:
            self._atlas = SourceAtlas(self._inputs, self.get_source_clips(), lambda event: self.on_event(event))
            if self._inputs.stages.reenact.atlas:
                self._atlas.get()  # an atlas that cannot be used concerns the whole job
        return self._atlas

    def _make_source_clip(self, clip_input: ClipInput) -> SourceClip:
        frames = (
            clip_input.sequence.frames if self._job == "drive" else select_source_frames(clip_input.sequence.frames)
        )
        if self._is_quick:
            frames = tuple(frames[index] for index in sample_evenly(len(frames), QUICK_SOURCE_FRAMES))
        track = self._get_track(clip_input, frames, of_target=False)
        person = choose_person(clip_input, track, self._inputs, of_target=False)
        if not person.faces:
            raise NoFaceError(f"no face was found in the source {clip_input.clip.path}")
        exposure = self._inputs.choose_exposure(track.exposure, of_target=False)
        codec = self._inputs.config.make_codec(clip_input.space, exposure)
        performer = measure_performer(person.faces, track.pixel_aspect)
        return SourceClip(clip_input, performer, exposure, codec, track.frames)

    def _make_faceless_clip(self, clip_input: ClipInput) -> SourceClip:
        codec = self._inputs.config.make_codec(clip_input.space)
        return SourceClip(clip_input, measure_performer({}), 0.0, codec)

    def _get_track(self, clip_input: ClipInput, frames: tuple[int, ...], of_target: bool) -> Track:
        # `find_source_faults` tells which frames of a swap's sources cannot be read.
        tells_unread = of_target or self._job == "drive"
        return get_clip_track(
            clip_input, frames, self._inputs, self._pass_on, of_target=of_target, tells_unread=tells_unread
        )

    def _pass_on(self, event: Event) -> None:
        """Pass on an event of an analysis; there is none if the track is a file or in the cache."""
        self._has_new_track = True
        self.on_event(event)
