"""Searches for what makes the source recognisable in a target: the best views, and how far to move features.

The search runs once for a pair of clips; its result is kept. It warps views to a few of the target's faces and measures
how alike they are. Then it swaps the same frames in memory, with default parameters whatever the shot sets. So no
parameter that an artist changes can change the result or start a new search.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fsgan_core.clips.inputs import JobInputs, check_rgb
from fsgan_core.contract.errors import PlateError, TrackError
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces import models
from fsgan_core.faces.measure import FaceGauge, to_square_pixels
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.render.context import make_context
from fsgan_core.render.engines import NetworkRuntime, choose_engine, draws_whole_face
from fsgan_core.render.frames import FrameRenderer
from fsgan_core.render.keys import KEYED_CODE, compute_face_digest
from fsgan_core.render.scene import Scene
from fsgan_core.runtime.arrays import Image8, Matrix
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_code_digest, compute_digest, get_cache_folder, load_or_compute
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.stages.image_ops import to_display
from fsgan_core.stages.recognition import (
    Recognition,
    ShownFace,
    SwappedFrame,
    compute_descriptors,
    find_recognition_moves,
    make_close_up,
    measure_unlikeness,
)
from fsgan_core.stages.views import ViewRef, find_promising_views, plan_views
from fsgan_core.stages.warp_points import Performer, measure_performer

if TYPE_CHECKING:
    from fsgan_core.networks.architectures.dlib_resnet import FaceResNet

__all__ = ["find_recognition"]

log = logging.getLogger(__name__)

RECOGNITION_FORMAT = "fsgan-recognition"
RECOGNITION_VERSION = 2
MOVE_DIGITS = 2  # decimal places of a millimetre; few, so that most machines get the same number
UNLIKENESS_DIGITS = 3  # for the same reason
MAX_SAMPLED_FRAMES = 6
MAX_PERSON_VIEWS = 24
MAX_MEASURED_VIEWS = 100  # those that cost least by their tracks alone
PROGRESS_PERSON, PROGRESS_VIEWS, PROGRESS_SWAPS, PROGRESS_MOVES = (
    (0, 10),
    (10, 35),
    (35, 65),
    (65, 100),
)  # percent of the search, approximate
WINDOW_MARGIN = 1.1  # shares of the face's box; what the gauge and the descriptor see around it

# Engines that need no weights. Mattes are not smoothed over time: one frame's matte is good enough here, and neighbours
# take time.
DEFAULT_SWAP_SETTINGS = {
    "reenact.engine": "warp",
    "mask.engine": "geometric",
    "mask.smooth": "0",
    "inpaint.engine": "fill",
    "blend.engine": "poisson",
}


def find_recognition(inputs: JobInputs, scene: Scene, on_event: EventListener = ignore_event) -> Recognition | None:
    """Finds what makes the source recognisable in a scene; searches only if no earlier result is stored.

    Args:
        inputs: The job. If its parameter `reenact.recognition_file` names a file, the result is read from it or written
            to it; otherwise the result is cached under what it depends on.
        scene: Its plan of views is not needed.
        on_event: Called with the progress of the search.

    Returns:
        None if it does not apply: a network draws the whole face, or no face is found to measure.

    Raises:
        PlateError: A picture cannot be read.
        EngineError: The descriptor of dlib is not installed.
        TrackError: The named file holds something else.
    """
    engine = choose_engine("reenact", inputs.stages, NetworkRuntime(inputs.device))
    if draws_whole_face(engine, inputs.stages.reenact.prewarp):
        return None
    named = inputs.stages.reenact.recognition_file
    if named and Path(named).expanduser().exists():
        return _none_if_empty(load_recognition(Path(named).expanduser()))
    sampled = _SampledFrames.from_scene(inputs, scene)
    if not sampled.target_frames or not sampled.source_views:
        return None
    if named:
        path = Path(named).expanduser()
    else:
        path = get_cache_folder() / "recognition" / f"{_compute_recognition_key(inputs, scene, sampled)}.json"
    return _none_if_empty(
        load_or_compute(
            path, lambda: _search_recognition(inputs, scene, sampled, on_event), save_recognition, load_recognition
        )
    )


def _none_if_empty(recognition: Recognition) -> Recognition | None:
    return recognition if recognition.moves.any() or recognition.unlikeness else None


@dataclass(frozen=True)
class _SampledFrames:
    """The frames that the search looks at; only frames that are in both the track and the clip.

    Attributes:
        target_frames: Frames to swap.
        source_views: Views that show what the person looks like.
    """

    target_frames: tuple[int, ...]
    source_views: tuple[ViewRef, ...]

    @staticmethod
    def from_scene(inputs: JobInputs, scene: Scene) -> _SampledFrames:
        frames = sorted(scene.faces.keys() & set(inputs.target.sequence.frames))
        views = [
            ViewRef(number, frame)
            for number, clip in enumerate(scene.view_clips)
            for frame in sorted(clip.performer.faces.keys() & set(clip.clip_input.sequence.frames))
        ]
        return _SampledFrames(
            tuple(frames[i] for i in sample_evenly(len(frames), MAX_SAMPLED_FRAMES)),
            tuple(views[i] for i in sample_evenly(len(views), MAX_PERSON_VIEWS)),
        )


def _compute_recognition_key(inputs: JobInputs, scene: Scene, sampled: _SampledFrames) -> str:
    """Only the sampled pictures are part of the key; which other views are measured follows from the faces."""
    target = [inputs.target.sequence.compute_fingerprint(frame) for frame in sampled.target_frames]
    source = [
        scene.view_clips[ref.clip].clip_input.sequence.compute_fingerprint(ref.frame) for ref in sampled.source_views
    ]
    clips = [(clip.clip_input.space, clip.exposure, _digest_faces(clip.performer.faces)) for clip in scene.view_clips]
    return compute_digest(
        "recognition",
        RECOGNITION_VERSION,
        compute_code_digest((*KEYED_CODE, "render/recognise.py", "faces/measure.py")),
        inputs.config.digest,
        inputs.working_space,
        inputs.target.space,
        scene.exposure,
        _digest_faces(scene.faces),
        clips,
        target,
        source,
        list(sampled.target_frames),
        [(ref.clip, ref.frame) for ref in sampled.source_views],
    )


def _digest_faces(faces: Mapping[int, Face]) -> list[tuple[int, str]]:
    return [(frame, compute_face_digest(face)) for frame, face in sorted(faces.items())]


def _search_recognition(
    inputs: JobInputs, scene: Scene, sampled: _SampledFrames, on_event: EventListener
) -> Recognition:
    """Returns no views and no moves if no face is found."""
    from fsgan_core.networks.architectures.dlib_resnet import load_face_resnet
    from fsgan_core.networks.inference import use_steady_kernels

    start_time = time.perf_counter()
    name = inputs.target.name
    stages = Stages().with_settings(DEFAULT_SWAP_SETTINGS)
    inputs = replace(inputs, stages=replace(stages, colour=inputs.stages.colour), holdout=None)

    def report_progress(span: tuple[int, int], done: int, total: int) -> None:
        on_event(Event("recognise", name, span[0] + (span[1] - span[0]) * done // max(total, 1), 100))

    with limit_algebra_threads(), use_steady_kernels("cpu", True, 1):  # a second thread slows down such small pictures
        network = models.get_shared(
            ("descriptor", "torch"), lambda: load_face_resnet(models.find_dlib_model(models.RESNET_FILE))
        )
        report_progress(PROGRESS_PERSON, 0, 1)
        person = compute_descriptors(
            (face for ref in sampled.source_views if (face := _read_view_face(scene, ref)) is not None), network
        )
        unlike = (
            _measure_view_unlikeness(inputs, scene, sampled, person, network, partial(report_progress, PROGRESS_VIEWS))
            if len(person)
            else {}
        )
        frames = []
        renderer = _make_default_renderer(inputs, scene, unlike)
        for number, frame in enumerate(sampled.target_frames if len(person) else ()):
            report_progress(PROGRESS_SWAPS, number, len(sampled.target_frames))
            try:
                frames += _swap_frame(renderer, frame)
            except PlateError as error:
                log.info("frame %d is not used for the likeness: %s", frame, error)
        if not frames:
            log.warning("no face was found to measure the likeness: features stay at the target's positions")
            return Recognition(np.zeros((68, 3)))
        moves = find_recognition_moves(frames, person, network, partial(report_progress, PROGRESS_MOVES))
    log.info(
        "likeness of %s: %d views measured, features move by %.1f mm at most, %.1f s",
        name,
        len(unlike),
        float(np.linalg.norm(moves, axis=1).max()),
        time.perf_counter() - start_time,
    )
    return Recognition(np.round(moves, MOVE_DIGITS), unlike)


def _measure_view_unlikeness(
    inputs: JobInputs,
    scene: Scene,
    sampled: _SampledFrames,
    person: Matrix,
    network: FaceResNet,
    on_progress: Callable[[int, int], None],
) -> dict[ViewRef, float]:
    """Measures how unlike the person each promising view is on the target's face."""
    refs = find_promising_views(
        *_measure_performers(scene), sampled.target_frames, ReenactParams(), _list_clip_names(scene), MAX_MEASURED_VIEWS
    )
    shown_faces: dict[ViewRef, ShownFace] = {}
    for number, ref in enumerate(refs):
        on_progress(number, 2 * len(refs))
        face = _read_view_face(scene, ref)
        if face is not None:
            shown_faces[ref] = make_close_up(face)
    renderer = FrameRenderer(make_context(inputs, lambda _: scene))
    targets = [face for frame in sampled.target_frames if (face := _read_target_face(renderer, frame)) is not None]
    if not targets or not shown_faces:
        return {}
    unlikeness_values = measure_unlikeness(
        list(shown_faces.values()), targets, person, network, lambda done, total: on_progress(total + done, 2 * total)
    )
    return {
        ref: round(float(value), UNLIKENESS_DIGITS) for ref, value in zip(shown_faces, unlikeness_values, strict=True)
    }


def _make_default_renderer(inputs: JobInputs, scene: Scene, unlikeness: Mapping[ViewRef, float]) -> FrameRenderer:
    """Makes the renderer of the default swap; `inputs` already have its parameters."""
    scene = replace(
        scene,
        frame_plans=plan_views(*_measure_performers(scene), ReenactParams(), _list_clip_names(scene), unlikeness),
        recognition=None,
    )
    return FrameRenderer(make_context(inputs, lambda _: scene))


def _measure_performers(scene: Scene) -> tuple[list[Performer], Performer]:
    return [clip.performer for clip in scene.view_clips], measure_performer(scene.faces, scene.pixel_aspect)


def _list_clip_names(scene: Scene) -> list[str]:
    return [clip.clip_input.name for clip in scene.view_clips]


def _swap_frame(renderer: FrameRenderer, frame: int) -> list[SwappedFrame]:
    """Swaps a frame; returns an empty list if no face is found in it. Raises PlateError."""
    blend, scene = renderer.render_blended(frame), renderer.context.get_scene(frame)
    face, aspect = scene.faces[frame], scene.pixel_aspect
    window = compute_region(face.box, WINDOW_MARGIN, aspect)
    target_picture, swapped_picture = (
        _to_display_bytes(plate, window, scene.codec) for plate in (renderer.get_target(frame).plate, blend.plate)
    )
    matte = np.zeros((window.height, window.width), np.float32)
    common = blend.region.intersect(window)
    rows, columns = (slice(low, high) for low, high in ((common.y, common.bottom), (common.x, common.right)))
    matte[_shift_slice(rows, window.y), _shift_slice(columns, window.x)] = blend.matte[
        _shift_slice(rows, blend.region.y), _shift_slice(columns, blend.region.x)
    ]
    target_picture, swapped_picture, matte = (
        to_square_pixels(picture, aspect) for picture in (target_picture, swapped_picture, matte)
    )
    x, y, width, height = face.box
    gauge = FaceGauge()
    target_shape = gauge.follow(target_picture, hint=((x - window.x) * aspect, y - window.y, width * aspect, height))
    new_shape = gauge.measure_again(swapped_picture, target_shape) if target_shape is not None else None
    if target_shape is None or new_shape is None:
        return []
    return [SwappedFrame(swapped_picture, matte, new_shape.landmarks, target_shape.landmarks)]


def _shift_slice(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)


def _to_display_bytes(plate: Plate, window: Window, codec: Codec) -> Image8:
    """The window of a plate as a display shows it."""
    return np.round(np.clip(to_display(plate, window, codec), 0, 1) * 255).astype(np.uint8)


def _read_target_face(renderer: FrameRenderer, frame: int) -> ShownFace | None:
    """The target's face as a display shows it; None if the frame cannot be read."""
    scene = renderer.context.get_scene(frame)
    face, aspect = scene.faces[frame], scene.pixel_aspect
    window = compute_region(face.box, WINDOW_MARGIN, aspect)
    try:
        picture = to_square_pixels(_to_display_bytes(renderer.get_target(frame).plate, window, scene.codec), aspect)
    except PlateError as error:
        log.info("frame %d is not used to choose views: %s", frame, error)
        return None
    return ShownFace(picture, (face.landmarks - (window.x, window.y)) * (aspect, 1.0))


def _read_view_face(scene: Scene, ref: ViewRef) -> ShownFace | None:
    """A view as a display shows it; None if the frame cannot be read."""
    clip = scene.view_clips[ref.clip]
    try:
        plate = clip.clip_input.sequence.read(ref.frame)
        check_rgb(plate, str(clip.clip_input.sequence.get_frame_path(ref.frame)))
    except PlateError as error:
        log.info("source frame %d is not used for the likeness: %s", ref.frame, error)
        return None
    face, aspect = clip.performer.faces[ref.frame], plate.pixel_aspect
    window = compute_region(face.box, WINDOW_MARGIN, aspect)
    shown_face = ShownFace(
        to_square_pixels(_to_display_bytes(plate, window, clip.codec), aspect),
        (face.landmarks - (window.x, window.y)) * (aspect, 1.0),
    )
    return shown_face.mirror() if ref.mirrored else shown_face


def save_recognition(path: Path, recognition: Recognition) -> None:
    """Writes a recognition to a file, atomically. Raises OutputError.

    Each view is stored as [number of the clip, frame, mirrored, unlikeness].
    """
    views = [[ref.clip, ref.frame, ref.mirrored, value] for ref, value in sorted(recognition.unlikeness.items())]
    data = {
        "format": RECOGNITION_FORMAT,
        "version": RECOGNITION_VERSION,
        "millimetres": recognition.moves.tolist(),
        "views": views,
    }
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data) + "\n", encoding="utf-8", newline="\n")


def load_recognition(path: Path) -> Recognition:
    """Reads a recognition from its file. Raises TrackError if the file holds something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if (data.get("format"), data.get("version")) != (RECOGNITION_FORMAT, RECOGNITION_VERSION):
            raise TrackError(
                f"{path} was not written by this version of this program: name another file, or remove it and "
                "it will be written again"
            )
        moves = np.array(data["millimetres"], np.float64).reshape(68, 3)
        unlike = {
            ViewRef(int(clip), int(frame), bool(mirrored)): float(value)
            for clip, frame, mirrored, value in data["views"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrackError(f"{path} cannot be read: {error}") from error
    return Recognition(moves, unlike)
