"""The atlas of a job's source: which views it is fused from, its file, and an artist's painted one."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import JobInputs, check_rgb, open_input
from fsgan_core.contract import layers
from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.params import MaskParams
from fsgan_core.contract.shot import Clip
from fsgan_core.contract.version import __version__
from fsgan_core.faces.face import Face
from fsgan_core.faces.landmarkers.landmarks import measure_eye_opening, measure_mouth_opening
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.render.source_clip import SourceClip
from fsgan_core.render.source_glasses import list_glasses_dependencies, recognise_source_glasses
from fsgan_core.runtime.cache import compute_code_digest, compute_digest, get_cache_folder, load_or_compute
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.runtime.user_paths import expand_home
from fsgan_core.stages.allowed_views import ViewRef, list_used_views
from fsgan_core.stages.mesh_warp import square_mesh
from fsgan_core.stages.reenactment import prepare_view
from fsgan_core.stages.skin.atlas import Atlas, AtlasView, choose_atlas_size, fuse_views
from fsgan_core.stages.skin.atlas_frame import find_changes
from fsgan_core.stages.skin.face_regions import draw_regions

__all__ = ["SourceAtlas", "compute_painted_digest"]

log = logging.getLogger(__name__)

ATLAS_VERSION = 1
ATLAS_CODE = (
    "faces",
    "plates",
    "stages",
    "networks",
    "clips/inputs.py",
    "render/atlas.py",
    "render/source_clip.py",
    "render/source_glasses.py",
)
MAX_VIEWS = 20
MAX_SAMPLE_BYTES = 400 << 20  # of all resampled views in memory

# The spread of the chosen views: a difference that counts one unit.
POSE_UNIT = 10.0  # degrees
MOUTH_UNIT = 0.15  # of the eyes' distance
TIME_UNIT = 0.35  # of the clip: what moves over the skin needs views from different times
EXPRESSION_LOSS = 0.6  # of a view's weight, that an open mouth takes
REST_MOUTH = 0.06  # of the eyes' distance: a mouth open by this much is hardly at rest


class SourceAtlas:
    """The atlas of a job's source. It is computed or read when it is first needed; thread-safe.

    Args:
        inputs: The job.
        clips: Its sources with their tracks.
        on_event: Called with the progress.
    """

    def __init__(self, inputs: JobInputs, clips: Sequence[SourceClip], on_event: EventListener = ignore_event) -> None:
        self._inputs = inputs
        self._clips = clips
        self._on_event = on_event
        self._lock = threading.Lock()
        self._atlas: Atlas | None = None

    @cached_property
    def digest(self) -> str:
        """What the atlas depends on, the painted file included; needs no pixels of the atlas."""
        inputs, painted = self._inputs, self._inputs.stages.reenact.atlas
        colour = ""
        with contextlib.suppress(PlateError):  # a missing file is an error when it is read
            colour = inputs.config.compute_digest(open_input(painted, inputs.config).space) if painted else ""
        return compute_digest(self._computed_key, compute_painted_digest(painted), colour)

    def get(self) -> Atlas:
        """Returns the atlas; where an artist has changed it, `painted` says so.

        Raises:
            PlateError: A source cannot be read; or the painted file is missing, of another size, or no atlas.
        """
        with self._lock:
            if self._atlas is None:
                computed = self._load_computed()
                painted = self._inputs.stages.reenact.atlas
                self._atlas = _read_painted_atlas(painted, computed, self._inputs, self._codec) if painted else computed
            return self._atlas

    def make_plate(self) -> Plate:
        """Makes the file's picture of the computed atlas, in the working space."""
        atlas = self._load_computed()
        regions = draw_regions(atlas.size)
        pixels = np.dstack([atlas.picture, atlas.confidence, *regions.values()]).astype(np.float32)
        window = Window(0, 0, atlas.size, atlas.size)
        return Plate(pixels, layers.ATLAS_CHANNELS, window, window, metadata=self._describe())

    def _describe(self) -> dict[str, Any]:
        return {
            layers.META_ATLAS: self._computed_key,
            layers.META_SYNTHETIC: 1,
            layers.META_SOURCE: ", ".join(dict.fromkeys(clip.clip_input.name for clip in self._clips)),
            layers.META_VERSION: __version__,
            layers.META_COLORSPACE: self._inputs.working_space,
        }

    @property
    def view_count(self) -> int:
        """How many views the atlas is fused from, at most."""
        return len(self._views)

    @property
    def _codec(self) -> Codec:
        first = next((clip for clip in self._clips if clip.performer.faces), self._clips[0])
        return self._inputs.config.make_codec(self._inputs.working_space, first.exposure)

    @property
    def _keeps_glasses(self) -> bool:
        return self._inputs.stages.reenact.keep_source_glasses

    @cached_property
    def _views(self) -> Mapping[ViewRef, Face]:
        sources, names = [clip.performer for clip in self._clips], [clip.clip_input.name for clip in self._clips]
        used = list_used_views(sources, self._inputs.stages.reenact, names)
        return choose_atlas_views({ref: choice.face for ref, choice in used.items()})

    @cached_property
    def _computed_key(self) -> str:
        inputs = self._inputs
        return compute_digest(
            "atlas",
            ATLAS_VERSION,
            [] if self._keeps_glasses else [list_glasses_dependencies(clip) for clip in self._clips],
            compute_code_digest(ATLAS_CODE),
            inputs.config.compute_digest(inputs.working_space, *(clip.clip_input.space for clip in self._clips)),
            inputs.working_space,
            [(clip.clip_input.space, clip.exposure, clip.performer.pixel_aspect) for clip in self._clips],
            [
                (
                    ref.clip,
                    ref.frame,
                    self._clips[ref.clip].clip_input.sequence.compute_fingerprint(ref.frame),
                    list(face.box),
                    face.landmarks,
                    face.get_mesh(self._clips[ref.clip].performer.pixel_aspect),
                )
                for ref, face in self._views.items()
            ],
        )

    def _load_computed(self) -> Atlas:
        path = get_cache_folder() / "atlases" / f"{self._computed_key}.exr"
        return load_or_compute(path, self._compute, _save_atlas, _load_atlas)

    def _compute(self) -> Atlas:
        meshes = {
            ref: square_mesh(face.get_mesh(aspect), aspect)
            for ref, face in self._views.items()
            for aspect in (self._clips[ref.clip].performer.pixel_aspect,)
        }
        size = choose_atlas_size(list(meshes.values()))
        most = max(4, MAX_SAMPLE_BYTES // (16 * size * size))
        views: list[AtlasView] = []
        total = min(most, len(self._views))
        with limit_algebra_threads():
            for number, (ref, face) in enumerate(list(self._views.items())[:most]):
                self._on_event(Event("atlas", self._clips[ref.clip].clip_input.name, number, total))
                view = self._read_view(ref, face)
                if view is not None:
                    views.append(view)
            if not views:
                raise PlateError("no view of the source can be read for the atlas")
            picture, confidence = fuse_views(views, size)
        self._on_event(Event("atlas", self._clips[0].clip_input.name, total, total))
        log.info("atlas: %d views, %d x %d texels", len(views), size, size)
        return Atlas(self._codec.decode(picture), confidence)

    def _read_view(self, ref: ViewRef, face: Face) -> AtlasView | None:
        clip = self._clips[ref.clip]
        try:
            plate = clip.clip_input.sequence.read(ref.frame)
            check_rgb(plate, str(clip.clip_input.sequence.get_frame_path(ref.frame)))
        except PlateError as error:
            log.info("source frame %d is not used for the atlas: %s", ref.frame, error)
            return None
        glasses = None if self._keeps_glasses else recognise_source_glasses(clip)
        view = prepare_view(plate, face, clip.codec, MaskParams(), glasses=glasses)
        opening = float(measure_mouth_opening(face.landmarks))
        rest = 1 / (1 + (opening / REST_MOUTH) ** 2)
        return AtlasView(view, face.get_mesh(plate.pixel_aspect), 1 - EXPRESSION_LOSS * (1 - rest))


def choose_atlas_views(faces: Mapping[ViewRef, Face], count: int = MAX_VIEWS) -> dict[ViewRef, Face]:
    """Chooses views that differ most in pose, mouth and time, the most frontal one at rest first.

    Args:
        faces: The views at hand.
        count: Most views to choose.

    Returns:
        The chosen ones, best first.
    """
    refs = sorted(faces)
    if not refs:
        return {}
    spans = {clip: [ref.frame for ref in refs if ref.clip == clip] for clip in {ref.clip for ref in refs}}
    features = np.array(
        [
            [
                faces[ref].euler[0] / POSE_UNIT,
                faces[ref].euler[1] / POSE_UNIT,
                measure_mouth_opening(faces[ref].landmarks) / MOUTH_UNIT,
                (ref.frame - spans[ref.clip][0]) / max(spans[ref.clip][-1] - spans[ref.clip][0], 1) / TIME_UNIT,
                2.0 * ref.clip,
            ]
            for ref in refs
        ]
    )
    eyes = np.array([measure_eye_opening(faces[ref].landmarks) for ref in refs]).reshape(len(refs), -1).mean(1)
    first = int(np.argmin(np.abs(features[:, :3]).sum(1) - eyes))
    chosen = [first]
    distance = np.linalg.norm(features - features[first], axis=1)
    while len(chosen) < min(count, len(refs)):
        farthest = int(np.argmax(distance))
        if distance[farthest] <= 0:
            break
        chosen.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(features - features[farthest], axis=1))
    return {refs[index]: faces[refs[index]] for index in chosen}


def compute_painted_digest(path: str) -> str:
    """Digests the contents of a file; empty if no file is named. A missing file has a digest of its own."""
    if not path:
        return ""
    file = expand_home(path)
    return compute_digest(file.read_bytes()) if file.is_file() else "missing"


def _save_atlas(path: Path, atlas: Atlas) -> None:
    window = Window(0, 0, atlas.size, atlas.size)
    pixels = np.dstack([atlas.picture, atlas.confidence]).astype(np.float32)
    write_exr(path, Plate(pixels, (*layers.RGB, layers.CONFIDENCE), window, window), depth="float")


def _load_atlas(path: Path) -> Atlas:
    plate = read_image(path)
    return Atlas(plate.get(*layers.RGB), plate.get_matte(layers.CONFIDENCE))


def _read_painted_atlas(path: str, computed: Atlas, inputs: JobInputs, codec: Codec) -> Atlas:
    """Reads an artist's atlas and marks what differs from the computed one. Raises PlateError."""
    clip = open_input(Clip(path), inputs.config)
    plate = clip.sequence.read(clip.sequence.frames[0])
    # The file says its own space if the metadata came through; else it is read like any EXR input.
    space = _find_metadata(plate, layers.META_COLORSPACE) or clip.space
    rgb = inputs.config.convert(_check_painted(plate, path, computed.size), space, inputs.working_space)
    changed = find_changes(rgb, computed.picture, codec.exposure)
    if not (changed > 0).any():
        log.info("%s is the computed atlas: nothing is painted", path)
    picture = np.where(changed[..., None] > 0, rgb, computed.picture).astype(np.float32)
    return Atlas(picture, np.maximum(computed.confidence, changed), changed)


def _check_painted(plate: Plate, path: str, size: int) -> Any:
    width, height = plate.display_window.width, plate.display_window.height
    if (width, height) != (size, size):
        what = "is not an atlas" if width != height else "has another size than this source's atlas"
        raise PlateError(
            f"{path} {what}: it is {width}x{height} pixels, the atlas is {size}x{size}. Write the atlas with "
            "`fsgan atlas` (in Nuke: Bake atlas), paint on that file and keep its format."
        )
    missing = [name for name in layers.RGB if name not in plate.channels]
    if missing:
        raise PlateError(
            f"{path} is not an atlas: it has no channel {', '.join(missing)}; it has {', '.join(plate.channels)}"
        )
    if _find_metadata(plate, layers.META_FACE):
        raise PlateError(f"{path} is not an atlas: it is a rendered frame. Write the atlas with `fsgan atlas`.")
    rgb = plate.crop(plate.display_window).get(*layers.RGB)
    if not np.isfinite(rgb).all():
        raise PlateError(f"{path} holds values that are not numbers; paint over them or write the atlas again")
    return rgb


def _find_metadata(plate: Plate, name: str) -> str:
    """An entry of the metadata; other programs put a prefix before our names ("exr/fsgan/key")."""
    return next((str(value) for key, value in plate.metadata.items() if key.endswith(name)), "")
