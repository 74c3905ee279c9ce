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

from fsgan_core.clips.inputs import ClipInput, JobInputs, check_rgb, get_holdout_frame, read_holdout_matte
from fsgan_core.contract import layers
from fsgan_core.contract.errors import PlateError, TrackError
from fsgan_core.contract.layers import META_TEXTURE, RGB
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.contract.version import __version__
from fsgan_core.faces.track import Face
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.render.engines import NetworkRuntime, choose_engines, draws_whole_face
from fsgan_core.render.provenance import make_provenance, strip_foreign_prefixes
from fsgan_core.render.scene import Scene
from fsgan_core.runtime.cache import ByteLRU, compute_code_digest, compute_digest
from fsgan_core.runtime.events import StageClock
from fsgan_core.runtime.threads import MAX_WORKERS
from fsgan_core.stages.drive import DRIVER_CLIP, compute_drive_margin
from fsgan_core.stages.interface import FaceFrame, SourceView
from fsgan_core.stages.masking import format_texture
from fsgan_core.stages.neural.fsgan_crop import compute_view_margin
from fsgan_core.stages.plate_match import BAND_COUNT, GRAIN_BAND_COUNT
from fsgan_core.stages.reenactment import VIEW_MARGIN, mirror_view, prepare_view
from fsgan_core.stages.views import FramePlan, ViewRef, WeightedView

__all__ = ["NO_FACE", "FrameRenderer", "TargetFrame"]

log = logging.getLogger(__name__)

NO_FACE = "no-face"
BRIDGED = "bridged"

# Bytes kept in memory: whole plates, crops of source views, mattes on the region.
PLATES_LIMIT = 768 << 20
VIEWS_LIMIT = 256 << 20
MATTES_LIMIT = 256 << 20

# What decides how a frame looks.
KEYED_CODE = (
    "faces",
    "plates",
    "stages",
    "networks",
    "clips/inputs.py",
    "clips/tracks.py",
    "render/scene.py",
    "render/frames.py",
    "render/final.py",
)

RENDER_STAGES = ("reenact", "mask", "inpaint", "blend")
FILE_PARAMS = ("network", "recognition_file")  # parameters


@dataclass(frozen=True)
class TargetFrame:
    """original: as in the file. plate: the same with RGB in the working space (the same object where that is so)."""

    original: Plate
    plate: Plate

    @property
    def nbytes(self) -> int:
        return self.plate.pixels.nbytes + (self.original.pixels.nbytes if self.original is not self.plate else 0)


@dataclass(frozen=True)
class BlendResult:
    """Result of the last stage: the whole target plate in the working space, and the soft matte on the region."""

    plate: Plate
    matte: np.ndarray
    region: Window


class FrameRenderer:
    """Stage pictures and keys of the frames of one job. Pictures may be asked for in any order.

    scene_of: frame -> its Scene. upstream: stage name -> its files, read instead of made. like: a maker whose clips
    are the same ones, unchanged on disk, and looked at with the same analysis and colour; what it keeps in memory is
    shared.
    """

    def __init__(
        self,
        inputs: JobInputs,
        get_scene: Callable[[int], Scene],
        *,
        upstream: Mapping[str, ClipInput] | None = None,
        clock: StageClock | None = None,
        like: FrameRenderer | None = None,
    ) -> None:
        self.inputs = inputs
        self.stages = inputs.stages
        self.get_scene = get_scene
        self.upstream = dict(upstream or {})
        self.clock = clock or StageClock()
        machine = NetworkRuntime(inputs.device, inputs.stages.weights.precision)
        self.engines = choose_engines(inputs.stages, machine)
        # Frames come in ascending order: a plate is wanted until its own turn, a matte by its later neighbours too.
        ahead = inputs.stages.mask.smooth + MAX_WORKERS + 1
        self._plates: ByteLRU[int, TargetFrame] = ByteLRU(PLATES_LIMIT, lambda frame: frame.nbytes, ahead)
        self._views: ByteLRU[tuple[int, ViewRef, float], SourceView] = ByteLRU(
            VIEWS_LIMIT, lambda view: view.display.nbytes + view.matte.nbytes
        )
        self._measured_mattes: ByteLRU[int, Plate] = ByteLRU(
            MATTES_LIMIT, lambda plate: plate.pixels.nbytes, ahead + inputs.stages.mask.smooth
        )
        self._key_base = (
            "1",
            __version__,
            compute_code_digest(KEYED_CODE),
            inputs.config.digest,
            inputs.working_space,
            inputs.target.space,
        )
        if like is not None:
            self._plates, self._views = like._plates, like._views
            if like._compute_mattes_digest() == self._compute_mattes_digest():
                self._measured_mattes = like._measured_mattes

    @property
    def used_bytes(self) -> int:
        """What is kept in memory."""
        return self._plates.used_bytes + self._views.used_bytes + self._measured_mattes.used_bytes

    def _compute_mattes_digest(self) -> str:
        """What the mattes kept in memory depend on, beside the clips."""
        return compute_digest(
            self._make_engine_part("mask"),
            self._get_params("mask").to_dict(),
            self.stages.reenact.margin,
            self.stages.drive.to_dict(),
        )

    # The target and its face.

    def has_face(self, frame: int) -> bool:
        """Raises TrackError for a frame that was never looked at."""
        scene = self.get_scene(frame)
        if frame not in scene.analysed_frames:
            raise TrackError(f"frame {frame} is not in the track {self.inputs.target.clip.track}; analyse it as well")
        return frame in scene.faces

    def get_region(self, frame: int) -> Window:
        """Where the stages work: the same for all of them."""
        scene = self.get_scene(frame)
        margin = self.stages.reenact.margin
        if scene.driven_frames:
            margin = max(margin, compute_drive_margin(self.stages.drive))
        return compute_region(scene.faces[frame].box, margin, scene.pixel_aspect)

    def get_target(self, frame: int) -> TargetFrame:
        """The target's frame. Raises PlateError."""
        with self.clock.time("read"):
            return self._plates.get(frame, lambda: self._read_target(frame))

    def get_face_frame(self, frame: int, *, with_holdout: bool = True) -> FaceFrame:
        """Gets what every stage needs of a frame that has a face. Raises PlateError."""
        scene = self.get_scene(frame)
        return FaceFrame(
            plate=self.get_target(frame).plate,
            face=scene.faces[frame],
            region=self.get_region(frame),
            codec=scene.codec,
            holdout=self._read_holdout(frame) if with_holdout else None,
        )

    def _read_target(self, frame: int) -> TargetFrame:
        item = self.inputs.target
        original = item.sequence.read(frame)
        check_rgb(original, str(item.sequence.get_frame_path(frame)))
        if item.space == self.inputs.working_space:
            return TargetFrame(original, original)
        return TargetFrame(original, convert_plate(original, self.inputs, item.space, self.inputs.working_space))

    # Pictures.

    def render_reenacted(self, frame: int) -> Plate:
        if "reenact" in self.upstream:
            return self._read_upstream("reenact", frame)
        plate = self._reenact_plan(frame, self.get_scene(frame).frame_plans[frame])
        return replace(plate, metadata={**plate.metadata, **self._collect_provenance(frame, "reenact")})

    def _reenact_plan(self, frame: int, plan: FramePlan) -> Plate:
        scene = self.get_scene(frame)
        if frame in scene.driven_frames:
            return self._drive_frame(scene, frame)
        face_frame = self.get_face_frame(frame)
        views = {chosen.view: self._get_view(scene, chosen.view) for chosen in plan.views}
        with self.clock.time("reenact"):
            params = self._get_params("reenact")
            likeness, recognition = select_proportions(scene, params)
            return self.engines.reenact.load().reenact(
                face_frame, plan=plan, views=views, params=params, likeness=likeness, recognition=recognition
            )

    def _drive_frame(self, scene: Scene, frame: int) -> Plate:
        driven, measured = scene.driven_frames[frame], self._measure_mattes(frame)
        face_frame = self.get_face_frame(frame)
        views = {patch.view: self._get_view(scene, patch.view) for patch in driven.patches}
        with self.clock.time("reenact"):
            return self.engines.drive.load().drive_picture(
                face_frame, driven=driven, measured=measured, views=views, params=self._get_params("mask")
            )

    def _get_view(self, scene: Scene, ref: ViewRef) -> SourceView:
        """A source's picture, ready to be warped."""
        # Makers that share what they keep may want it cut differently wide.
        wide = [
            compute_view_margin(found.info.crop)
            for role, found in self.engines.reenact.installed_weights.items()
            if role == "reenact"
        ]
        margin = max([VIEW_MARGIN, *wide])
        if ref.mirrored:
            return mirror_view(self._get_view(scene, replace(ref, mirrored=False)))
        return self._views.get((scene.number, ref, margin), lambda: self._read_view(scene, ref, margin))

    def _read_view(self, scene: Scene, ref: ViewRef, margin: float) -> SourceView:
        with self.clock.time("views"):
            source = scene.view_clips[ref.clip]
            plate = source.clip_input.sequence.read(ref.frame)
            check_rgb(plate, str(source.clip_input.sequence.get_frame_path(ref.frame)))
            # The skin of a view is found with usual settings: those of the shot say what of the target is replaced.
            return prepare_view(plate, source.performer.faces[ref.frame], source.codec, MaskParams(), margin)

    def render_mattes(self, frame: int) -> Plate:
        if "mask" in self.upstream:
            return self._read_upstream("mask", frame)
        scene = self.get_scene(frame)
        neighbours = [
            (scene.faces[near], self._measure_mattes(near))
            for near in self.list_neighbours(frame)
            if near == frame or self._is_readable(near)
        ]
        face_frame = self.get_face_frame(frame)
        with self.clock.time("mask"):
            params = self._get_params("mask")
            plate = self.engines.mask.load().combine_mattes(face_frame, neighbours=neighbours, params=params)
            if frame in scene.driven_frames:
                plate = self.engines.drive.load().drive_mattes(
                    face_frame, driven=scene.driven_frames[frame], mattes=plate, params=params
                )
        return replace(plate, metadata={**plate.metadata, **self._collect_provenance(frame, "mask")})

    def list_neighbours(self, frame: int) -> list[int]:
        """Frames that the matte of `frame` is averaged with, itself among them; none where there is no face."""
        faces = self.get_scene(frame).faces
        if frame not in faces:
            return []
        there = self.inputs.target.sequence.frames
        reach = self.stages.mask.smooth
        return [
            near
            for near in range(frame - reach, frame + reach + 1)
            if near == frame or (near in faces and _contains_sorted(there, near))
        ]

    def _is_readable(self, frame: int) -> bool:
        """Whether a neighbour's plate can be read. One that cannot be read counts as not being there."""
        if frame in self._measured_mattes:
            return True
        try:
            self.get_target(frame)
        except PlateError:
            return False
        return True

    def _measure_mattes(self, frame: int) -> Plate:
        def run_measurement() -> Plate:
            # Without the hold-out: a measurement is shared with the neighbouring frames.
            face_frame = self.get_face_frame(frame, with_holdout=False)
            with self.clock.time("mask"):
                return self.engines.mask.load().measure_mattes(face_frame, params=self._get_params("mask"))

        return self._measured_mattes.get(frame, run_measurement)

    def render_completed(self, frame: int, reenacted: Plate | None = None, mattes: Plate | None = None) -> Plate:
        if "inpaint" in self.upstream:
            return self._read_upstream("inpaint", frame)
        first = self.render_reenacted(frame) if reenacted is None else reenacted
        mattes = self.render_mattes(frame) if mattes is None else mattes
        face_frame = self.get_face_frame(frame)
        with self.clock.time("inpaint"):
            plate = self.engines.inpaint.load().inpaint(
                face_frame,
                reenacted=first,
                mattes=mattes,
                further_views=lambda: self._render_further_views(frame),
                params=self._get_params("inpaint"),
            )
        said = self._collect_provenance(frame, "inpaint", first.metadata, mattes.metadata)
        return replace(plate, metadata={**plate.metadata, **said})

    def _render_further_views(self, frame: int) -> Iterator[Plate]:
        """Reenactments of further views, made one by one as they are asked for."""
        scene = self.get_scene(frame)
        if frame not in scene.frame_plans or not self.stages.inpaint.other_views:
            return
        if draws_whole_face(self.engines.reenact, self.stages.reenact.prewarp) and frame not in scene.driven_frames:
            return  # a network draws the whole face from any view: another one shows no more of it
        for ref in scene.frame_plans[frame].further_views:
            yield self._reenact_plan(frame, FramePlan((WeightedView(ref, 1.0, 1.0),)))

    def render_blended(self, frame: int, completed: Plate | None = None, mattes: Plate | None = None) -> BlendResult:
        completed = self.render_completed(frame) if completed is None else completed
        mattes = self.render_mattes(frame) if mattes is None else mattes
        face_frame = self.get_face_frame(frame)
        with self.clock.time("blend"):
            result = self.engines.blend.load().blend(
                face_frame, completed=completed, mattes=mattes, params=self._get_params("blend")
            )
        metadata = self._collect_provenance(frame, "blend", completed.metadata, mattes.metadata)
        plate = replace(result.plate, metadata={**face_frame.plate.metadata, **metadata})
        return BlendResult(plate, result.matte, completed.data_window)

    def _read_holdout(self, frame: int) -> np.ndarray | None:
        if self.inputs.holdout is None:
            return None
        return read_holdout_matte(self.inputs.holdout, frame, self.get_region(frame))

    def _read_upstream(self, stage: str, frame: int) -> Plate:
        """A stage's picture as its file has it, on the region. Raises PlateError."""
        with self.clock.time("read"):
            plate = self.upstream[stage].sequence.read(frame).crop(self.get_region(frame))
        metadata = strip_foreign_prefixes(plate.metadata)
        if stage == "mask" and not metadata.get(META_TEXTURE):
            log.warning("the mask's files have lost %s: sharpness and grain are not matched", META_TEXTURE)
            metadata[META_TEXTURE] = format_texture((0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT))
        return replace(plate, metadata=metadata)

    def _get_params(self, stage: str) -> Any:
        """The stage's parameters with the engine that was chosen in place of "auto"."""
        return getattr(self.stages, stage).replace(engine=self.engines[stage].name)

    # Keys.

    def compute_stage_key(self, stage: str, frame: int) -> str:
        """Digest of everything that the stage's picture of this frame depends on. Raises PlateError (an input that is
        not there)."""
        if stage in self.upstream:
            return compute_digest("file", stage, self.upstream[stage].sequence.compute_fingerprint(frame))
        if not self.has_face(frame):
            return compute_digest(
                stage, NO_FACE, self._key_base, self.inputs.target.sequence.compute_fingerprint(frame)
            )
        own = (
            stage,
            self._key_base,
            self._make_engine_part(stage),
            self._make_params_part(stage),
            self._make_target_part(frame),
        )
        return compute_digest(own, *getattr(self, f"_make_{stage}_part")(frame))

    def _make_params_part(self, stage: str) -> dict[str, Any]:
        """The stage's parameters without files that they name: what is in those counts, not where they lie."""
        return {name: value for name, value in self._get_params(stage).to_dict().items() if name not in FILE_PARAMS}

    def _make_engine_part(self, stage: str) -> tuple[Any, ...]:
        engine = self.engines[stage]
        return (engine.name, engine.get_weight_hashes(), engine.runtime.precision if engine.installed_weights else "")

    def _make_target_part(self, frame: int) -> tuple[Any, ...]:
        scene = self.get_scene(frame)
        region = self.get_region(frame)
        return (
            self.inputs.target.sequence.compute_fingerprint(frame),
            compute_face_digest(scene.faces[frame]),
            (region.x, region.y, region.width, region.height),
            scene.exposure,
        )

    def _make_reenact_part(self, frame: int) -> tuple[Any, ...]:
        scene = self.get_scene(frame)
        plan = scene.frame_plans[frame]
        views = [
            (self._make_view_part(scene, chosen.view), round(chosen.light, 6), round(chosen.detail, 6))
            for chosen in plan.views
        ]
        return (
            compute_face_digest(scene.goal_faces[frame]),
            list(plan.flags),
            round(plan.inner_mouth, 6),
            [round(part, 6) for part in (*plan.blink.shut_shares, *plan.blink.lid_travel)],
            views,
            *select_proportions(scene, self.stages.reenact),
            self._make_driven_part(scene, frame),
        )

    def _make_driven_part(self, scene: Scene, frame: int) -> tuple[Any, ...] | None:
        if frame not in scene.driven_frames:
            return None
        one = scene.driven_frames[frame]
        return (
            self._make_engine_part("drive"),
            compute_face_digest(one.face),
            compute_face_digest(one.goal_face),
            list(one.head_turn),
            self._get_params("mask").to_dict(),
            self._make_holdout_part(frame),
            [(self._make_view_part(scene, patch.view), patch.part, patch.weight) for patch in one.patches],
        )

    def _make_view_part(self, scene: Scene, ref: ViewRef) -> tuple[Any, ...]:
        source = scene.view_clips[ref.clip]
        return (
            source.clip_input.name,
            ref.frame,
            ref.mirrored,
            source.clip_input.sequence.compute_fingerprint(ref.frame),
            source.clip_input.space,
            source.exposure,
            compute_face_digest(source.performer.faces[ref.frame]),
        )

    def _make_mask_part(self, frame: int) -> tuple[Any, ...]:
        return (
            [self._make_target_part(near) for near in self.list_neighbours(frame)],
            self._make_holdout_part(frame),
            self._make_driven_part(self.get_scene(frame), frame),
        )

    def _make_inpaint_part(self, frame: int) -> tuple[Any, ...]:
        scene = self.get_scene(frame)
        others: list[Any] = []
        if self.stages.inpaint.other_views and frame in scene.frame_plans:
            others = [self._make_view_part(scene, ref) for ref in scene.frame_plans[frame].further_views]
        return (
            self.compute_stage_key("reenact", frame),
            self.compute_stage_key("mask", frame),
            others,
            self._make_holdout_part(frame),
        )

    def _make_blend_part(self, frame: int) -> tuple[Any, ...]:
        return (
            self.compute_stage_key("inpaint", frame),
            self.compute_stage_key("mask", frame),
            self._make_holdout_part(frame),
        )

    def _make_holdout_part(self, frame: int) -> tuple[Any, ...] | None:
        item = self.inputs.holdout
        if item is None:
            return None
        return (item.sequence.compute_fingerprint(get_holdout_frame(item, frame)), item.channel, item.clip.part)

    # Provenance.

    def list_flags(self, frame: int) -> tuple[str, ...]:
        """What is worth knowing about a frame: "no-face", "bridged", and what the choice of views found."""
        scene = self.get_scene(frame)
        if frame not in scene.faces:
            return (NO_FACE,)
        found = [BRIDGED] if scene.faces[frame].origin == BRIDGED else []
        if frame in scene.frame_plans:
            found += scene.frame_plans[frame].flags
        return tuple(found)

    def _collect_provenance(self, frame: int, stage: str, *before: Mapping[str, Any]) -> dict[str, Any]:
        """Metadata of a stage's picture: what the stages before it say, and this one."""
        scene = self.get_scene(frame)
        sources: tuple[str, ...] = ()
        if stage == "reenact":
            sources = tuple(
                scene.view_clips[chosen.view.clip].clip_input.name for chosen in scene.frame_plans[frame].views
            )
        if stage == "blend":
            # A target that already holds a synthesised face (another person's, in an earlier pass) goes on saying so.
            old = self.get_target(frame).plate.metadata
            before = ({layers.META_SOURCE: old.get(layers.META_SOURCE, "")}, *before)
        driver = (
            scene.view_clips[DRIVER_CLIP].clip_input.name if frame in scene.driven_frames and stage == "reenact" else ""
        )
        engine = self.engines["drive" if driver else stage]
        return make_provenance(
            engine,
            box=scene.faces[frame].box,
            space=self.inputs.working_space,
            flags=self.list_flags(frame),
            before=before,
            sources=sources,
            driver=driver,
        )


def convert_plate(
    plate: Plate, inputs: JobInputs, source: str, destination: str, names: tuple[str, ...] = RGB
) -> Plate:
    """A plate with three of its channels brought to another colour space."""
    if source == destination:
        return plate
    pixels = plate.pixels.copy()
    where = plate.find_channels(names)
    pixels[..., where] = inputs.config.convert(plate.get(*names), source, destination)
    return replace(plate, pixels=pixels)


def select_proportions(scene: Scene, params: ReenactParams) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What decides, beside the landmarks, where features go; None where it has no part: a face that is moved by hand
    in one frame changes the likeness a little, and would make every frame another one."""
    known = scene.recognition
    return (
        scene.likeness if params.likeness > 0 else None,
        known.moves if known is not None and params.recognition > 0 else None,
    )


def compute_face_digest(face: Face) -> str:
    """Digest of what stages can see of a face."""
    landmarks = np.asarray(face.landmarks, np.float64)
    return compute_digest(list(face.box), landmarks, face.wflw, list(face.euler), face.confidence, face.origin)


def _contains_sorted(frames: Sequence[int], frame: int) -> bool:
    """Whether a sorted sequence holds a number."""
    place = bisect_left(frames, frame)
    return place < len(frames) and frames[place] == frame
