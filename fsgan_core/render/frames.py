"""Every stage's picture of a frame, made when asked for: the same code for a swap in memory and for single stages with
files between them.

A `FrameMaker` holds what frames share (opened clips, scenes, values kept in memory up to a number of bytes) and
answers, for a frame, `reenacted`, `mattes`, `completed` and `blended`. An upstream stage may be replaced by the files
that it wrote; since those hold the same float32 pixels, the result is the same bit for bit. Beside each picture stands
its key, which is known without making the picture.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import Input, Inputs, check_rgb, holdout_frame, holdout_matte
from fsgan_core.contract import layers
from fsgan_core.contract.errors import PlateError, TrackError
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.contract.version import __version__
from fsgan_core.faces.track import Face
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import region_of
from fsgan_core.render.engines import Chosen, Machine, choose_engine, draws_anew
from fsgan_core.render.provenance import named_as_ours, provenance
from fsgan_core.render.scene import Scene
from fsgan_core.runtime.cache import ByteLRU, code_digest, digest
from fsgan_core.runtime.events import Clock
from fsgan_core.runtime.threads import MOST_WORKERS
from fsgan_core.stages.drive import DRIVER, drive_margin
from fsgan_core.stages.fsgan_crop import view_margin
from fsgan_core.stages.mask import META_TEXTURE, texture_text
from fsgan_core.stages.plate_match import BANDS, GRAIN_BANDS
from fsgan_core.stages.reenact import VIEW_MARGIN, View, mirrored_view, prepare_view
from fsgan_core.stages.views import FramePlan, ViewRef, WeightedView

__all__ = ["NO_FACE", "FrameMaker", "TargetFrame"]

log = logging.getLogger(__name__)

NO_FACE = "no-face"
BRIDGED = "bridged"

# Bytes kept in memory: whole plates, crops of source views, mattes on the region.
PLATES_LIMIT = 768 << 20
VIEWS_LIMIT = 256 << 20
MATTES_LIMIT = 256 << 20

# What decides how a frame looks.
CODE = ("faces", "plates", "stages", "networks", "clips/inputs.py", "clips/tracks.py", "render/scene.py",
        "render/frames.py", "render/final.py")

STAGES = ("reenact", "mask", "inpaint", "blend")
NAMED_FILES = ("network", "recognition_file")  # parameters


@dataclass(frozen=True)
class TargetFrame:
    """original: as in the file. plate: the same with RGB in the working space (the same object where that is so)."""

    original: Plate
    plate: Plate

    @property
    def nbytes(self) -> int:
        return self.plate.pixels.nbytes + (self.original.pixels.nbytes if self.original is not self.plate else 0)


@dataclass(frozen=True)
class Blend:
    """Result of the last stage: the whole target plate in the working space, and the soft matte on the region."""

    plate: Plate
    matte: np.ndarray
    region: Window


class FrameMaker:
    """Stage pictures and keys of the frames of one job. Pictures may be asked for in any order.

    scene_of: frame -> its Scene. upstream: stage name -> its files, read instead of made. like: a maker whose clips
    are the same ones, unchanged on disk, and looked at with the same analysis and colour; what it keeps in memory is
    shared.
    """

    def __init__(
        self,
        inputs: Inputs,
        scene_of: Callable[[int], Scene],
        *,
        upstream: Mapping[str, Input] | None = None,
        clock: Clock | None = None,
        like: FrameMaker | None = None,
    ) -> None:
        self.inputs = inputs
        self.stages = inputs.stages
        self.scene_of = scene_of
        self.upstream = dict(upstream or {})
        self.clock = clock or Clock()
        machine = Machine(inputs.device, inputs.stages.weights.precision)
        # A drive's picture is made in place of the reenactment.
        self.engines: dict[str, Chosen] = {stage: choose_engine(stage, inputs.stages, machine)
                                           for stage in (*STAGES, "drive")}
        # Frames come in ascending order: a plate is wanted until its own turn, a matte by its later neighbours too.
        ahead = inputs.stages.mask.smooth + MOST_WORKERS + 1
        self._plates: ByteLRU[int, TargetFrame] = ByteLRU(PLATES_LIMIT, lambda frame: frame.nbytes, ahead)
        self._views: ByteLRU[tuple[int, ViewRef, float], View] = ByteLRU(
            VIEWS_LIMIT, lambda view: view.display.nbytes + view.matte.nbytes)
        self._measured: ByteLRU[int, Plate] = ByteLRU(MATTES_LIMIT, lambda plate: plate.pixels.nbytes,
                                                      ahead + inputs.stages.mask.smooth)
        self._base = ("1", __version__, code_digest(CODE),
                      inputs.config.digest, inputs.working, inputs.target.space)
        if like is not None:
            self._plates, self._views = like._plates, like._views
            if like._measured_by() == self._measured_by():
                self._measured = like._measured

    @property
    def bytes(self) -> int:
        """What is kept in memory."""
        return self._plates.bytes + self._views.bytes + self._measured.bytes

    def _measured_by(self) -> str:
        """What the mattes kept in memory depend on, beside the clips."""
        return digest(self._engine_part("mask"), self._params("mask").to_dict(), self.stages.reenact.margin,
                      self.stages.drive.to_dict())

    # The target and its face.

    def has_face(self, frame: int) -> bool:
        """Raises TrackError for a frame that was never looked at."""
        scene = self.scene_of(frame)
        if frame not in scene.seen:
            raise TrackError(f"frame {frame} is not in the track {self.inputs.target.clip.track}; analyse it as well")
        return frame in scene.faces

    def region(self, frame: int) -> Window:
        """Where the stages work: the same for all of them."""
        scene = self.scene_of(frame)
        margin = self.stages.reenact.margin
        if scene.driven:
            margin = max(margin, drive_margin(self.stages.drive))
        return region_of(scene.faces[frame].box, margin, scene.pixel_aspect)

    def target(self, frame: int) -> TargetFrame:
        """The target's frame. Raises PlateError."""
        with self.clock.time("read"):
            return self._plates.get(frame, lambda: self._read_target(frame))

    def _read_target(self, frame: int) -> TargetFrame:
        item = self.inputs.target
        original = item.sequence.read(frame)
        check_rgb(original, str(item.sequence.path_of(frame)))
        if item.space == self.inputs.working:
            return TargetFrame(original, original)
        return TargetFrame(original, converted(original, self.inputs, item.space, self.inputs.working))

    # Pictures.

    def reenacted(self, frame: int) -> Plate:
        if "reenact" in self.upstream:
            return self._from_file("reenact", frame)
        plate = self._reenact(frame, self.scene_of(frame).plan[frame])
        return replace(plate, metadata={**plate.metadata, **self._provenance(frame, "reenact")})

    def _reenact(self, frame: int, plan: FramePlan) -> Plate:
        scene = self.scene_of(frame)
        target = self.target(frame).plate
        if frame in scene.driven:
            return self._drive(scene, target, frame)
        views = {chosen.view: self._view(scene, chosen.view) for chosen in plan.views}
        with self.clock.time("reenact"):
            function, params = self.engines["reenact"].function("reenact"), self._params("reenact")
            plate: Plate = function(target, scene.wanted[frame], self.region(frame), plan, views, scene.codec, params,
                                    *proportions(scene, params))
        return plate

    def _drive(self, scene: Scene, target: Plate, frame: int) -> Plate:
        driven, measured, holdout = scene.driven[frame], self._measure(frame), self._holdout(frame)
        views = {patch.view: self._view(scene, patch.view) for patch in driven.patches}
        with self.clock.time("reenact"):
            function = self.engines["drive"].function("picture")
            plate: Plate = function(target, driven, measured, views, scene.codec, self._params("mask"), holdout)
        return plate

    def _view(self, scene: Scene, ref: ViewRef) -> View:
        """A source's picture, ready to be warped."""
        # Makers that share what they keep may want it cut differently wide.
        wide = [view_margin(found.weight.crop) for role, found in self.engines["reenact"].installed.items()
                if role == "reenact"]
        margin = max([VIEW_MARGIN, *wide])
        if ref.mirrored:
            return mirrored_view(self._view(scene, replace(ref, mirrored=False)))
        return self._views.get((scene.number, ref, margin), lambda: self._read_view(scene, ref, margin))

    def _read_view(self, scene: Scene, ref: ViewRef, margin: float) -> View:
        with self.clock.time("views"):
            source = scene.views[ref.clip]
            plate = source.item.sequence.read(ref.frame)
            check_rgb(plate, str(source.item.sequence.path_of(ref.frame)))
            # The skin of a view is found with usual settings: those of the shot say what of the target is replaced.
            return prepare_view(plate, source.actor.faces[ref.frame], source.codec, MaskParams(), margin)

    def mattes(self, frame: int) -> Plate:
        if "mask" in self.upstream:
            return self._from_file("mask", frame)
        scene = self.scene_of(frame)
        neighbours = [(scene.faces[near], self._measure(near)) for near in self.neighbours(frame)
                      if near == frame or self._is_readable(near)]
        holdout = self._holdout(frame)
        with self.clock.time("mask"):
            combine = self.engines["mask"].function("combine")
            plate: Plate = combine(scene.faces[frame], self.region(frame), neighbours, self._params("mask"),
                                   self.target(frame).plate, holdout)
            if frame in scene.driven:
                function = self.engines["drive"].function("mattes")
                plate = function(plate, self.target(frame).plate, scene.driven[frame], self._params("mask"), holdout)
        return replace(plate, metadata={**plate.metadata, **self._provenance(frame, "mask")})

    def neighbours(self, frame: int) -> list[int]:
        """Frames that the matte of `frame` is averaged with, itself among them; none where there is no face."""
        faces = self.scene_of(frame).faces
        if frame not in faces:
            return []
        there = self.inputs.target.sequence.frames
        reach = self.stages.mask.smooth
        return [near for near in range(frame - reach, frame + reach + 1)
                if near == frame or (near in faces and _held(there, near))]

    def _is_readable(self, frame: int) -> bool:
        """Whether a neighbour's plate can be read. One that cannot be read counts as not being there."""
        if frame in self._measured:
            return True
        try:
            self.target(frame)
        except PlateError:
            return False
        return True

    def _measure(self, frame: int) -> Plate:
        scene = self.scene_of(frame)

        def measured() -> Plate:
            target = self.target(frame).plate
            with self.clock.time("mask"):
                function = self.engines["mask"].function("measure")
                plate: Plate = function(target, scene.faces[frame], self.region(frame), scene.codec,
                                        self._params("mask"))
            return plate

        return self._measured.get(frame, measured)

    def completed(self, frame: int, reenacted: Plate | None = None, mattes: Plate | None = None) -> Plate:
        if "inpaint" in self.upstream:
            return self._from_file("inpaint", frame)
        first = self.reenacted(frame) if reenacted is None else reenacted
        mattes = self.mattes(frame) if mattes is None else mattes
        holdout = self._holdout(frame)
        with self.clock.time("inpaint"):
            function = self.engines["inpaint"].function("inpaint")
            scene = self.scene_of(frame)
            plate: Plate = function(first, mattes, lambda: self._others(frame), scene.codec, self._params("inpaint"),
                                    holdout, scene.faces[frame])
        said = self._provenance(frame, "inpaint", first.metadata, mattes.metadata)
        return replace(plate, metadata={**plate.metadata, **said})

    def _others(self, frame: int) -> Iterator[Plate]:
        """Reenactments of further views, made one by one as they are asked for."""
        scene = self.scene_of(frame)
        if frame not in scene.plan or not self.stages.inpaint.other_views:
            return
        if draws_anew(self.engines["reenact"], self.stages.reenact.prewarp) and frame not in scene.driven:
            return  # a network draws the whole face from any view: another one shows no more of it
        for ref in scene.plan[frame].others:
            yield self._reenact(frame, FramePlan((WeightedView(ref, 1.0, 1.0),)))

    def blended(self, frame: int, completed: Plate | None = None, mattes: Plate | None = None) -> Blend:
        completed = self.completed(frame) if completed is None else completed
        mattes = self.mattes(frame) if mattes is None else mattes
        scene = self.scene_of(frame)
        target = self.target(frame).plate
        holdout = self._holdout(frame)
        with self.clock.time("blend"):
            function = self.engines["blend"].function("blend")
            result = function(target, completed, mattes, scene.faces[frame], scene.codec,
                              self._params("blend"), holdout)
        metadata = self._provenance(frame, "blend", completed.metadata, mattes.metadata)
        plate = replace(result.plate, metadata={**target.metadata, **metadata})
        return Blend(plate, result.matte, completed.data_window)

    def _holdout(self, frame: int) -> np.ndarray | None:
        if self.inputs.holdout is None:
            return None
        return holdout_matte(self.inputs.holdout, frame, self.region(frame))

    def _from_file(self, stage: str, frame: int) -> Plate:
        """A stage's picture as its file has it, on the region. Raises PlateError."""
        with self.clock.time("read"):
            plate = self.upstream[stage].sequence.read(frame).crop(self.region(frame))
        metadata = named_as_ours(plate.metadata)
        if stage == "mask" and not metadata.get(META_TEXTURE):
            log.warning("the mask's files have lost %s: sharpness and grain are not matched", META_TEXTURE)
            metadata[META_TEXTURE] = texture_text((0.0,) * (BANDS + GRAIN_BANDS))
        return replace(plate, metadata=metadata)

    def _params(self, stage: str) -> Any:
        """The stage's parameters with the engine that was chosen in place of "auto"."""
        return getattr(self.stages, stage).replace(engine=self.engines[stage].name)

    # Keys.

    def key(self, stage: str, frame: int) -> str:
        """Digest of everything that the stage's picture of this frame depends on. Raises PlateError (an input that is
        not there)."""
        if stage in self.upstream:
            return digest("file", stage, self.upstream[stage].sequence.fingerprint(frame))
        if not self.has_face(frame):
            return digest(stage, NO_FACE, self._base, self.inputs.target.sequence.fingerprint(frame))
        own = (stage, self._base, self._engine_part(stage), self._asked(stage), self._target_part(frame))
        return digest(own, *getattr(self, f"_{stage}_part")(frame))

    def _asked(self, stage: str) -> dict[str, Any]:
        """The stage's parameters without files that they name: what is in those counts, not where they lie."""
        return {name: value for name, value in self._params(stage).to_dict().items() if name not in NAMED_FILES}

    def _engine_part(self, stage: str) -> tuple[Any, ...]:
        engine = self.engines[stage]
        return (engine.name, engine.weights(), engine.machine.precision if engine.installed else "")

    def _target_part(self, frame: int) -> tuple[Any, ...]:
        scene = self.scene_of(frame)
        region = self.region(frame)
        return (self.inputs.target.sequence.fingerprint(frame), face_digest(scene.faces[frame]),
                (region.x, region.y, region.width, region.height), scene.exposure)

    def _reenact_part(self, frame: int) -> tuple[Any, ...]:
        scene = self.scene_of(frame)
        plan = scene.plan[frame]
        views = [(self._view_part(scene, chosen.view), round(chosen.light, 6), round(chosen.detail, 6))
                 for chosen in plan.views]
        return (face_digest(scene.wanted[frame]), list(plan.flags), round(plan.inner_mouth, 6),
                [round(part, 6) for part in (*plan.blink.shut, *plan.blink.way)], views,
                *proportions(scene, self.stages.reenact), self._driven_part(scene, frame))

    def _driven_part(self, scene: Scene, frame: int) -> tuple[Any, ...] | None:
        if frame not in scene.driven:
            return None
        one = scene.driven[frame]
        return (self._engine_part("drive"), face_digest(one.face), face_digest(one.wanted), list(one.turn),
                self._params("mask").to_dict(), self._holdout_part(frame),
                [(self._view_part(scene, patch.view), patch.part, patch.weight) for patch in one.patches])

    def _view_part(self, scene: Scene, ref: ViewRef) -> tuple[Any, ...]:
        source = scene.views[ref.clip]
        return (source.item.name, ref.frame, ref.mirrored, source.item.sequence.fingerprint(ref.frame),
                source.item.space, source.exposure, face_digest(source.actor.faces[ref.frame]))

    def _mask_part(self, frame: int) -> tuple[Any, ...]:
        return ([self._target_part(near) for near in self.neighbours(frame)], self._holdout_part(frame),
                self._driven_part(self.scene_of(frame), frame))

    def _inpaint_part(self, frame: int) -> tuple[Any, ...]:
        scene = self.scene_of(frame)
        others: list[Any] = []
        if self.stages.inpaint.other_views and frame in scene.plan:
            others = [self._view_part(scene, ref) for ref in scene.plan[frame].others]
        return (self.key("reenact", frame), self.key("mask", frame), others, self._holdout_part(frame))

    def _blend_part(self, frame: int) -> tuple[Any, ...]:
        return (self.key("inpaint", frame), self.key("mask", frame), self._holdout_part(frame))

    def _holdout_part(self, frame: int) -> tuple[Any, ...] | None:
        item = self.inputs.holdout
        if item is None:
            return None
        return (item.sequence.fingerprint(holdout_frame(item, frame)), item.channel, item.clip.part)

    # Provenance.

    def flags(self, frame: int) -> tuple[str, ...]:
        """What is worth knowing about a frame: "no-face", "bridged", and what the choice of views found."""
        scene = self.scene_of(frame)
        if frame not in scene.faces:
            return (NO_FACE,)
        found = [BRIDGED] if scene.faces[frame].origin == BRIDGED else []
        if frame in scene.plan:
            found += scene.plan[frame].flags
        return tuple(found)

    def _provenance(self, frame: int, stage: str, *before: Mapping[str, Any]) -> dict[str, Any]:
        """Metadata of a stage's picture: what the stages before it say, and this one."""
        scene = self.scene_of(frame)
        sources: tuple[str, ...] = ()
        if stage == "reenact":
            sources = tuple(scene.views[chosen.view.clip].item.name for chosen in scene.plan[frame].views)
        if stage == "blend":
            # A target that already holds a synthesised face (another person's, in an earlier pass) goes on saying so.
            old = self.target(frame).plate.metadata
            before = ({layers.META_SOURCE: old.get(layers.META_SOURCE, "")}, *before)
        driver = scene.views[DRIVER].item.name if frame in scene.driven and stage == "reenact" else ""
        engine = self.engines["drive" if driver else stage]
        return provenance(engine, box=scene.faces[frame].box, space=self.inputs.working,
                          flags=self.flags(frame), before=before, sources=sources, driver=driver)


def converted(plate: Plate, inputs: Inputs, source: str, destination: str, names: tuple[str, ...] = RGB) -> Plate:
    """A plate with three of its channels brought to another colour space."""
    if source == destination:
        return plate
    pixels = plate.pixels.copy()
    where = plate.index(names)
    pixels[..., where] = inputs.config.convert(plate.get(*names), source, destination)
    return replace(plate, pixels=pixels)


def proportions(scene: Scene, params: ReenactParams) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What decides, beside the landmarks, where features go; None where it has no part: a face that is moved by hand
    in one frame changes the likeness a little, and would make every frame another one."""
    known = scene.recognition
    return (scene.likeness if params.likeness > 0 else None,
            known.moves if known is not None and params.recognition > 0 else None)


def face_digest(face: Face) -> str:
    """Digest of what stages can see of a face."""
    landmarks = np.asarray(face.landmarks, np.float64)
    return digest(list(face.box), landmarks, face.wflw, list(face.euler), face.confidence, face.origin)


def _held(frames: Sequence[int], frame: int) -> bool:
    """Whether a sorted sequence holds a number."""
    place = bisect_left(frames, frame)
    return place < len(frames) and frames[place] == frame
