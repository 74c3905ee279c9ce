"""The picture of every stage for a frame, rendered when it is asked for.

The same code serves a swap in memory and single stages with files between them. A stage may be read from the files that
it wrote; since those hold the same float32 pixels, the result is the same bit for bit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from fsgan_core.clips.inputs import JobInputs, check_rgb, read_holdout_matte
from fsgan_core.contract.curve import get_largest_value
from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import META_SOURCE, META_TEXTURE, RGB, UV_U, UV_V
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.plates.exr_attributes import drop_colour_metadata
from fsgan_core.plates.kept_chunks import read_file_state
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.render.context import RenderContext
from fsgan_core.render.frame_pictures import BlendResult, StagePictures, TargetFrame
from fsgan_core.render.provenance import collect_provenance, strip_foreign_prefixes
from fsgan_core.render.scene import Scene, select_likeness, uses_iris_colour
from fsgan_core.render.source_glasses import recognise_source_glasses
from fsgan_core.render.staleness import list_dependencies
from fsgan_core.runtime.arrays import Image, Matte, Mesh
from fsgan_core.runtime.cache import ByteLRU, compute_digest
from fsgan_core.runtime.events import StageClock
from fsgan_core.runtime.threads import compute_working_bytes, count_cores
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.features.iris import IrisColour, IrisTint, compute_iris_tint, measure_iris
from fsgan_core.stages.image_ops import HALF_COVERED, to_display
from fsgan_core.stages.interface import AtlasPicture, FaceFrame, SeatedFace, SourceView
from fsgan_core.stages.leading_view import FramePlan, WeightedView
from fsgan_core.stages.masking import format_texture
from fsgan_core.stages.matching.plate_match import TEXTURE_LENGTH
from fsgan_core.stages.neural.fsgan_crop import compute_view_margin
from fsgan_core.stages.occluders.worn_glasses import USUAL_LENSES, Pair
from fsgan_core.stages.reenactment import VIEW_MARGIN, compute_goal_mesh, prepare_view, recognise_worn_glasses
from fsgan_core.stages.skin.atlas_frame import add_atlas_coordinates, paint_from_atlas, project_atlas

__all__ = ["FrameRenderer", "convert_plate"]

log = logging.getLogger(__name__)

# Bytes kept in memory: whole plates (at least), pictures of source views, measured mattes, display-like pictures of the
# regions, pictures of the stages before blend, faces in their place.
MIN_PLATE_BYTES = 768 << 20
MAX_VIEW_BYTES = 256 << 20
MAX_MATTE_BYTES = 256 << 20
MAX_DISPLAY_BYTES = 64 << 20
MAX_PICTURE_BYTES = 256 << 20
MAX_SEATED_BYTES = 64 << 20
MIX = "blend.mix"
GLASSES_MARGIN = 0.25  # around the target's face, where its glasses are looked for


class FrameRenderer:
    """Renders the pictures of one job's stages. They may be rendered in any order, from several threads.

    Args:
        context: The job.
        clock: Counts the time of each stage.
        keeps_pictures: Whether the pictures before blend stay in memory, for a render with another setting of blend.
        like: A renderer of the same clips, unchanged on disk, with the same analysis and colour. What it keeps in
            memory is shared.
    """

    def __init__(
        self,
        context: RenderContext,
        *,
        clock: StageClock | None = None,
        keeps_pictures: bool = False,
        like: FrameRenderer | None = None,
    ) -> None:
        self.context = context
        self.clock = clock or StageClock()
        # Frames come in ascending order: a plate is needed until its own turn, a matte by its later neighbours too.
        smooth = int(get_largest_value(context.inputs.stages.mask.smooth))
        ahead = smooth + count_cores() + 1
        plate_bytes = max(MIN_PLATE_BYTES, compute_working_bytes() // 2)
        self._plates: ByteLRU[int, TargetFrame] = ByteLRU(plate_bytes, lambda frame: frame.nbytes, ahead)
        self._views: ByteLRU[tuple[int, ViewRef, float, bool], SourceView] = ByteLRU(
            MAX_VIEW_BYTES, lambda view: view.display.nbytes + view.matte.nbytes
        )
        self._measured_mattes: ByteLRU[int, Plate] = ByteLRU(
            MAX_MATTE_BYTES, lambda plate: plate.pixels.nbytes, ahead + smooth
        )
        # A frame's mattes are measured for its earlier neighbours, and the picture is needed again in its own turn.
        self._displays: ByteLRU[int, Image] = ByteLRU(MAX_DISPLAY_BYTES, lambda picture: picture.nbytes, ahead + smooth)
        self._keeps_pictures = keeps_pictures
        self._pictures: ByteLRU[str, StagePictures] = ByteLRU(MAX_PICTURE_BYTES, lambda pictures: pictures.nbytes)
        self._seated: ByteLRU[str, SeatedFace | None] = ByteLRU(
            MAX_SEATED_BYTES, lambda face: face.nbytes if face else 0
        )
        self._latest = threading.local()
        # What is measured once in a section of the clip: a few numbers.
        self._iris_colours: ByteLRU[tuple[int, bool], tuple[IrisColour | None, IrisColour | None]] = ByteLRU(
            0, lambda _: 0
        )
        self._worn_glasses: ByteLRU[int, Pair] = ByteLRU(0, lambda _: 0)
        if like is not None:
            self._plates, self._views = like._plates, like._views
            self._pictures, self._seated = like._pictures, like._seated
            self._iris_colours, self._worn_glasses = like._iris_colours, like._worn_glasses
            if like._compute_mattes_digest() == self._compute_mattes_digest():
                self._measured_mattes, self._displays = like._measured_mattes, like._displays

    @property
    def used_bytes(self) -> int:
        """Bytes kept in memory."""
        caches = (self._plates, self._views, self._measured_mattes, self._displays, self._pictures, self._seated)
        return sum(cache.used_bytes for cache in caches)

    def _compute_mattes_digest(self) -> str:
        """What the mattes kept in memory depend on, beside the clips."""
        stages, engine = self.context.inputs.stages, self.context.engines.mask
        return compute_digest(
            engine.name,
            engine.get_weight_hashes(),
            engine.runtime.precision if engine.installed_weights else "",
            stages.mask.to_dict(),
            stages.reenact.margin,
            stages.drive.to_dict(),
        )

    # The target.

    def get_target(self, frame: int) -> TargetFrame:
        """Reads a frame of the target. Raises PlateError."""
        with self.clock.time("read"):
            return self._plates.get(frame, lambda: self._read_target(frame))

    def get_face_frame(self, frame: int, *, with_holdout: bool = True) -> FaceFrame:
        """Gets what every stage needs of a frame that has a face. Raises PlateError.

        The stages of a frame, one after the other in one thread, get the same value: what is found in it is kept in it.
        """
        plate = self.get_target(frame).plate
        latest: FaceFrame | None = getattr(self._latest, "face_frame", None)
        if with_holdout and latest is not None and latest.plate is plate and self._latest.frame == frame:
            return latest
        scene, region = self.context.get_scene(frame), self.context.get_region(frame)
        face_frame = FaceFrame(
            plate=plate,
            face=scene.faces[frame],
            region=region,
            codec=scene.codec,
            holdout=self._read_holdout(frame) if with_holdout else None,
            make_display=lambda: self._displays.get(frame, lambda: to_display(plate, region, scene.codec)),
            look_for_glasses=(lambda: self._wears_glasses(scene))
            if self.context.inputs.stages.mask.keep_glasses and not self.context.is_driven(frame)
            else None,
        )
        if with_holdout:
            self._latest.frame, self._latest.face_frame = frame, face_frame
        return face_frame

    def _read_target(self, frame: int) -> TargetFrame:
        inputs = self.context.inputs
        clip_input = inputs.target
        path = clip_input.sequence.get_frame_path(frame)
        state = read_file_state(path) if clip_input.sequence.kind == "exr" else None
        original = clip_input.sequence.read(frame)
        check_rgb(original, str(path))
        plate = original
        if clip_input.space != inputs.working_space:
            plate = convert_plate(original, inputs, clip_input.space, inputs.working_space)
        return TargetFrame(original, plate, path, state)

    # Pictures.

    def render_reenacted(self, frame: int) -> Plate:
        """Renders, or reads, the picture of `reenact` on the region. Raises PlateError, EngineError."""
        if "reenact" in self.context.upstream:
            return self._read_upstream("reenact", frame)
        plate = self._reenact_plan(frame, self.context.get_scene(frame).frame_plans[frame])
        return self._add_provenance(plate, "reenact", frame)

    def _reenact_plan(self, frame: int, plan: FramePlan, *, with_coordinates: bool = True) -> Plate:
        """Reenacts the views of a plan; atlas coordinates are added where something reads them."""
        scene = self.context.get_scene(frame)
        if frame in scene.driven_frames:
            return self._drive_frame(scene, frame)
        face_frame = self.get_face_frame(frame)
        views = {view_choice.view: self._get_view(scene, view_choice.view) for view_choice in plan.views}
        with self.clock.time("reenact"):
            params = self.context.get_params("reenact", frame)
            likeness = select_likeness(scene, params)
            plate = self.context.engines.reenact.load().reenact(
                face_frame,
                plan=plan,
                views=views,
                params=params,
                likeness=likeness,
                iris_tint=self._get_iris_tint(scene, params),
            )
            is_painted = bool(params.atlas) and scene.atlas is not None
            if with_coordinates or is_painted:
                plate = add_atlas_coordinates(
                    plate, compute_goal_mesh(face_frame.face, params, likeness, face_frame.pixel_aspect)
                )
            if is_painted:
                plate = paint_from_atlas(plate, self._project_atlas(frame, face_frame, plate), face_frame.codec)
            return plate

    def _project_atlas(self, frame: int, face_frame: FaceFrame, reenacted: Plate) -> AtlasPicture:
        """The source's atlas where the reenacted picture says that it lies."""
        atlas = self.context.get_scene(frame).atlas
        if atlas is None:
            raise ValueError("the scene has no atlas")
        aspect = face_frame.pixel_aspect
        return project_atlas(atlas.get(), reenacted.get(UV_U, UV_V), face_frame.face.get_mesh(aspect), aspect)

    def _get_iris_tint(self, scene: Scene, params: ReenactParams) -> IrisTint | None:
        """Gets what gives the target's irises the source's colour, from a few frames of either."""
        if not uses_iris_colour(params):
            return None
        colours = self._iris_colours.get(
            (scene.number, self._keeps_glasses(scene)),  # views without their glasses are other pictures
            lambda: (
                measure_iris(
                    (view.display, view.window, view.face.get_mesh(view.pixel_aspect), view.pixel_aspect)
                    for view in (self._get_view(scene, ref) for ref in scene.iris_views)
                ),
                measure_iris(
                    (*self._show_face(scene, frame), self.get_target(frame).plate.pixel_aspect)
                    for frame in scene.open_eyed_frames
                    if self._is_readable(frame)
                ),
            ),
        )
        return compute_iris_tint(*colours, params.iris)

    def _get_measured_frame(self, scene: Scene, frame: int, margin: float = 0.0) -> FaceFrame:
        """A frame of the target with its face as measured, without what was changed by hand."""
        plate, face = self.get_target(frame).plate, scene.measured_faces[frame]
        return FaceFrame(plate, face, compute_region(face.box, margin, plate.pixel_aspect), scene.codec)

    def _show_face(self, scene: Scene, frame: int) -> tuple[Image, Window, Mesh]:
        """A frame of the target around its face, display-like, for what is measured over the clip."""
        shown = self._get_measured_frame(scene, frame)
        return to_display(shown.plate, shown.region, shown.codec), shown.region, shown.face.get_mesh(shown.pixel_aspect)

    def _drive_frame(self, scene: Scene, frame: int) -> Plate:
        driven, measured = scene.driven_frames[frame], self._measure_mattes(frame)
        face_frame = self.get_face_frame(frame)
        views = {patch.view: self._get_view(scene, patch.view) for patch in driven.patches}
        with self.clock.time("reenact"):
            plate = self.context.engines.drive.load().drive_picture(
                face_frame, driven=driven, measured=measured, views=views, params=self.context.get_params("mask", frame)
            )
            return add_atlas_coordinates(plate, driven.goal_face.get_mesh(face_frame.pixel_aspect))

    def _get_view(self, scene: Scene, ref: ViewRef) -> SourceView:
        """Gets a source's picture, ready to be warped."""
        # Renderers that share views may need them with different margins.
        network_margins = [
            compute_view_margin(weights.info.crop)
            for role, weights in self.context.engines.reenact.installed_weights.items()
            if role == "reenact"
        ]
        margin = max([VIEW_MARGIN, *network_margins])
        keep_glasses = self._keeps_glasses(scene)
        return self._views.get(
            (scene.number, ref, margin, keep_glasses), lambda: self._read_view(scene, ref, margin, keep_glasses)
        )

    def _keeps_glasses(self, scene: Scene) -> bool:
        """Tells whether the views keep their glasses; in a drive they are the actor's own."""
        return bool(scene.driven_frames) or self.context.inputs.stages.reenact.keep_source_glasses

    def _wears_glasses(self, scene: Scene) -> bool:
        """Tells whether the target wears glasses: the same for all frames, so that they do not blink."""
        target_frames = (
            self._get_measured_frame(scene, frame, GLASSES_MARGIN)
            for frame in scene.open_eyed_frames
            if self._is_readable(frame)
        )
        pair = self._worn_glasses.get(scene.number, lambda: recognise_worn_glasses(target_frames))
        return pair.sureness > HALF_COVERED and pair.lenses == USUAL_LENSES  # others are not drawn

    def _read_view(self, scene: Scene, ref: ViewRef, margin: float, keep_glasses: bool) -> SourceView:
        with self.clock.time("views"):
            source = scene.view_clips[ref.clip]
            plate = source.clip_input.sequence.read(ref.frame)
            check_rgb(plate, str(source.clip_input.sequence.get_frame_path(ref.frame)))
            # The shot's mask parameters are meant for the target; the skin of a view is found with default parameters.
            face = source.performer.faces[ref.frame]
            glasses = None if keep_glasses else recognise_source_glasses(source)
            return prepare_view(plate, face, source.codec, MaskParams(), margin, glasses)

    def render_mattes(self, frame: int) -> Plate:
        """Renders, or reads, the mask on the region. Raises PlateError, EngineError."""
        if "mask" in self.context.upstream:
            return self._read_upstream("mask", frame)
        scene = self.context.get_scene(frame)
        neighbours = [
            (scene.faces[neighbour], self._measure_mattes(neighbour))
            for neighbour in self.context.list_neighbours(frame)
            if neighbour == frame or self._is_readable(neighbour)
        ]
        face_frame = self.get_face_frame(frame)
        with self.clock.time("mask"):
            params = self.context.get_params("mask", frame)
            plate = self.context.engines.mask.load().combine_mattes(face_frame, neighbours=neighbours, params=params)
            if frame in scene.driven_frames:
                plate = self.context.engines.drive.load().drive_mattes(
                    face_frame, driven=scene.driven_frames[frame], mattes=plate, params=params
                )
        return self._add_provenance(plate, "mask", frame)

    def _is_readable(self, frame: int) -> bool:
        """Tells whether another frame's plate can be read; if not, mattes and irises are measured without it."""
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
            params = self.context.get_params("mask", frame)
            if self.context.is_driven(frame):  # glasses move with the face; they are no objects in front of it
                params = params.replace(keep_glasses=False)
            with self.clock.time("mask"):
                return self.context.engines.mask.load().measure_mattes(face_frame, params=params)

        return self._measured_mattes.get(frame, run_measurement)

    def render_completed(self, frame: int, reenacted: Plate | None = None, mattes: Plate | None = None) -> Plate:
        """Renders, or reads, the completed face on the region; takes pictures that are already rendered."""
        if "inpaint" in self.context.upstream:
            return self._read_upstream("inpaint", frame)
        reenacted_plate = self.render_reenacted(frame) if reenacted is None else reenacted
        mattes = self.render_mattes(frame) if mattes is None else mattes
        face_frame = self.get_face_frame(frame)
        has_atlas = self.context.uses_atlas(frame) and UV_U in reenacted_plate.channels
        with self.clock.time("inpaint"):
            plate = self.context.engines.inpaint.load().inpaint(
                face_frame,
                reenacted=reenacted_plate,
                mattes=mattes,
                further_views=lambda: self._render_further_views(frame),
                atlas=(lambda picture: self._project_atlas(frame, face_frame, picture)) if has_atlas else None,
                params=self.context.get_params("inpaint", frame),
            )
        return self._add_provenance(plate, "inpaint", frame, reenacted_plate, mattes)

    def _render_further_views(self, frame: int) -> Iterator[Plate]:
        """Reenactments of further views, one by one as they are taken."""
        for ref in self.context.list_further_views(frame):
            yield self._reenact_plan(frame, FramePlan((WeightedView(ref, 1.0, 1.0),)), with_coordinates=False)

    def render_stages_before_blend(self, frame: int) -> StagePictures:
        """Renders what blend reads, or takes it from memory if nothing that it depends on has changed.

        Raises PlateError, EngineError.
        """
        # Of stages that are read from files there is nothing to render, and their files may change.
        if not self._keeps_pictures or self.context.upstream:
            return self._render_stages_before_blend(frame)
        # Those of inpaint hold those of reenact and mask, which are rendered for it.
        key = compute_digest(list_dependencies(self.context, "inpaint", frame), self.context.list_flags(frame))
        return self._pictures.get(key, lambda: self._render_stages_before_blend(frame))

    def _render_stages_before_blend(self, frame: int) -> StagePictures:
        mattes = self.render_mattes(frame)
        reenacted = self.render_reenacted(frame) if "inpaint" not in self.context.upstream else None
        return StagePictures(reenacted, mattes, self.render_completed(frame, reenacted, mattes))

    def render_blended(self, frame: int, completed: Plate | None = None, mattes: Plate | None = None) -> BlendResult:
        """Renders the whole plate with the new face; takes pictures that are already rendered."""
        completed = self.render_completed(frame) if completed is None else completed
        mattes = self.render_mattes(frame) if mattes is None else mattes
        face_frame = self.get_face_frame(frame)
        with self.clock.time("blend"):
            result = self.context.engines.blend.load().blend(
                face_frame,
                completed=completed,
                mattes=mattes,
                params=self.context.get_params("blend", frame),
                keep=lambda seat: self._keep_seated(frame, seat),
            )
        # The metadata of an earlier pass, which replaced another face of the target, are kept.
        target_metadata = face_frame.plate.metadata
        earlier_metadata = ({META_SOURCE: target_metadata.get(META_SOURCE, "")}, completed.metadata, mattes.metadata)
        provenance = collect_provenance(self.context, "blend", frame, earlier_metadata)
        return BlendResult(
            replace(result.plate, metadata={**target_metadata, **provenance}), result.matte, completed.data_window
        )

    def _keep_seated(self, frame: int, seat: Callable[[], SeatedFace | None]) -> SeatedFace | None:
        """Seats a frame's face, or takes it from memory if nothing but its mix has changed."""
        if not self._keeps_pictures or self.context.upstream:
            return seat()
        listed = list_dependencies(self.context, "blend", frame)
        key = compute_digest({name: value for name, value in listed.items() if name != MIX})
        return self._seated.get(key, seat)

    def _add_provenance(self, plate: Plate, stage: str, frame: int, *made_from: Plate) -> Plate:
        provenance = collect_provenance(self.context, stage, frame, [picture.metadata for picture in made_from])
        return replace(plate, metadata={**plate.metadata, **provenance})

    def _read_holdout(self, frame: int) -> Matte | None:
        holdout = self.context.inputs.holdout
        if holdout is None:
            return None
        return read_holdout_matte(holdout, frame, self.context.get_region(frame))

    def _read_upstream(self, stage: str, frame: int) -> Plate:
        """Reads a stage's picture from its file, on the region. Raises PlateError."""
        with self.clock.time("read"):
            plate = self.context.upstream[stage].sequence.read(frame).crop(self.context.get_region(frame))
        metadata = strip_foreign_prefixes(plate.metadata)
        if stage == "mask" and not metadata.get(META_TEXTURE):
            log.warning("the mask's files have lost %s: sharpness and grain are not matched", META_TEXTURE)
            metadata[META_TEXTURE] = format_texture((0.0,) * TEXTURE_LENGTH)
        return replace(plate, metadata=metadata)


def convert_plate(
    plate: Plate, inputs: JobInputs, source: str, destination: str, names: tuple[str, ...] = RGB
) -> Plate:
    """Converts three channels of a plate to another colour space, and drops the metadata that state the old one."""
    if source == destination:
        return plate
    pixels = plate.pixels.copy()
    indices = plate.find_channels(names)
    pixels[..., indices] = inputs.config.convert(plate.get(*names), source, destination)
    return replace(plate, pixels=pixels, metadata=drop_colour_metadata(plate.metadata))
