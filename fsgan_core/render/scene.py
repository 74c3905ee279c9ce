"""What is known of a section of a clip before any pixel is changed: tracks, chosen people, the plan of views."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fsgan_core.clips.inputs import Input, Inputs
from fsgan_core.clips.tracks import Section, choose_person, clip_track, sections, source_frames
from fsgan_core.contract.errors import NoFaceError, ShotError
from fsgan_core.faces.track import Face, Track
from fsgan_core.plates.colour import Codec
from fsgan_core.runtime.events import Listener, ignore
from fsgan_core.stages.drive import PLATE, Driven, drive_faces
from fsgan_core.stages.performance import settled_actor
from fsgan_core.stages.recognition import Recognition
from fsgan_core.stages.views import FramePlan, ViewRef, WeightedView, plan_views, used_views
from fsgan_core.stages.warp_points import Actor, actor, likeness

__all__ = ["Scene", "Scenes", "SourceClip"]

log = logging.getLogger(__name__)

SHAPE_DIGITS = 4  # of a likeness in mm: kept short, so that it is the same number on every machine


Recognise = Callable[[Inputs, "Scene", Listener], Recognition | None]


@dataclass(frozen=True)
class SourceClip:
    """A clip that views come from: whose face, the stops that bring it to display brightness, the way to display."""

    item: Input
    actor: Actor
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
    seen: frozenset[int]
    faces: Mapping[int, Face]
    wanted: Mapping[int, Face]
    codec: Codec
    exposure: float
    pixel_aspect: float
    views: tuple[SourceClip, ...] = ()
    plan: Mapping[int, FramePlan] = field(default_factory=dict)
    likeness: np.ndarray | None = None
    recognition: Recognition | None = None
    driven: Mapping[int, Driven] = field(default_factory=dict)


class Scenes:
    """The scene of any frame of a job; a section is analysed when the first of its frames is asked for.

    job: "swap" or "drive". with_views: whether sources are needed at all (mask and blend work without, and so does an
    inpaint that looks at no other views). recognise: finds `Scene.recognition` for a scene that has no plan yet. Safe
    from several threads.
    """

    def __init__(self, inputs: Inputs, job: str, *, with_views: bool = True, recognise: Recognise | None = None,
                 listen: Listener = ignore) -> None:
        self._inputs = inputs
        self._job = job
        self._with_views = with_views
        self._recognise = recognise if inputs.stages.reenact.recognition > 0 else None
        self.listen = listen
        self._lock = threading.RLock()
        self._targets: dict[int, Scene] = {}
        self._scenes: dict[int, Scene] = {}
        self._sources: tuple[SourceClip, ...] | None = None
        self._known: tuple[Recognition | None] | None = None
        self._sections = sections(inputs.target.sequence.frames)
        self._number = {frame: number for number, section in enumerate(self._sections) for frame in section.core}

    def __call__(self, frame: int) -> Scene:
        """The scene of an available frame. Raises NoFaceError (source), TrackError, PlateError, EngineError."""
        number = self._number[frame]
        with self._lock:
            if number not in self._scenes:
                self._scenes[number] = self._whole(self._target(number))
            return self._scenes[number]

    def recognition(self) -> Recognition | None:
        """What all sections go by: the first one with a face decides, since a face that changed between sections would
        jump. Raises as a call does."""
        if self._recognise is None:
            return None
        with self._lock:
            if self._known is None:
                targets = (self._target(number) for number in range(len(self._sections)))
                first = next((scene for scene in targets if scene.faces), None)
                self._known = (self._recognise(self._inputs, self._before_views(first), self.listen)
                               if first is not None else None,)
            return self._known[0]

    def _target(self, number: int) -> Scene:
        """The section with its faces alone."""
        if number not in self._targets:
            self._targets[number] = self._found(number, self._sections[number])
        return self._targets[number]

    def _found(self, number: int, section: Section) -> Scene:
        inputs = self._inputs
        track = self._track(inputs.target, section.frames, of_target=True)
        exposure = inputs.stages.colour.exposure
        exposure = track.exposure if exposure is None else exposure
        codec = inputs.config.codec(inputs.working, exposure)
        scene = Scene(number, frozenset(track.frames), {}, {}, codec, exposure, track.pixel_aspect)
        try:
            person = choose_person(inputs.target, track, inputs, of_target=True)
        except NoFaceError as error:
            log.warning("%s", error)
            return scene
        return replace(scene, faces=person.faces, wanted=person.faces)

    def _whole(self, scene: Scene) -> Scene:
        if not scene.faces:
            return scene
        if self._job == "drive":
            return self._driven(scene)
        return self._swapped(scene) if self._with_views else scene

    def _before_views(self, scene: Scene) -> Scene:
        """The scene with its sources, and no plan."""
        views = self.source_clips()
        proportions = likeness([view.actor for view in views], actor(scene.faces, scene.pixel_aspect))
        return replace(scene, views=views, likeness=np.round(proportions, SHAPE_DIGITS))

    def _swapped(self, scene: Scene) -> Scene:
        scene = self._before_views(scene)
        sources, names = [view.actor for view in scene.views], [view.item.name for view in scene.views]
        used_views(sources, self._inputs.stages.reenact, names)  # a wrong choice is told before a search, not after it
        known = self.recognition()
        plan = plan_views(sources, actor(scene.faces, scene.pixel_aspect), self._inputs.stages.reenact, names,
                          known.unlike if known is not None else None)
        return replace(scene, plan=plan, recognition=known)

    def _driven(self, scene: Scene) -> Scene:
        inputs = self._inputs
        if len(inputs.sources) != 1:
            raise ShotError(f"a drive takes one driver, not {len(inputs.sources)}")
        plate = actor(scene.faces, scene.pixel_aspect)
        driver = self.source_clips()[0]
        driven = drive_faces(plate, driver.actor, inputs.stages.drive, first=inputs.target.sequence.frames[0],
                             driver_first=driver.item.sequence.frames[0], reenact=inputs.stages.reenact)
        codec = inputs.config.codec(inputs.target.space, scene.exposure)
        views = (SourceClip(inputs.target, settled_actor(plate), scene.exposure, codec),
                 replace(driver, actor=settled_actor(driver.actor)))
        plan = {frame: FramePlan((WeightedView(ViewRef(PLATE, frame), 1.0, 1.0),
                                  *(WeightedView(patch.view, 0.0, 0.0) for patch in one.patches)), flags=one.flags)
                for frame, one in driven.items()}
        wanted = {frame: one.wanted for frame, one in driven.items()}
        return replace(scene, views=views, plan=plan, wanted=wanted, driven=driven)

    def source_clips(self) -> tuple[SourceClip, ...]:
        """The sources with their tracks; the same for every section."""
        if self._sources is None:
            self._sources = tuple(self._source_clip(item) for item in self._inputs.sources)
        return self._sources

    def _source_clip(self, item: Input) -> SourceClip:
        frames = item.sequence.frames if self._job == "drive" else source_frames(item.sequence.frames)
        track = self._track(item, frames, of_target=False)
        person = choose_person(item, track, self._inputs, of_target=False)
        if not person.faces:
            raise NoFaceError(f"no face was found in the source {item.clip.path}")
        codec = self._inputs.config.codec(item.space, track.exposure)
        return SourceClip(item, actor(person.faces, track.pixel_aspect), track.exposure, codec)

    def _track(self, item: Input, frames: tuple[int, ...], of_target: bool) -> Track:
        return clip_track(item, frames, self._inputs, self.listen, of_target=of_target)
