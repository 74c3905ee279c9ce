"""Which views show most of the source, and where the new face's features have to be for it to be recognised: found once
for a pair of clips and kept.

Views are bent to a few of the target's faces and looked at; then those frames are swapped in memory with everything at
its default, whatever the shot asks of its stages: so no knob that an artist turns changes the answer or has it looked
for again.
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
MOVE_DIGITS = 2  # of millimetres: kept short, so that it is the same number on most machines
UNLIKENESS_DIGITS = 3  # likewise
MAX_SAMPLED_FRAMES = 6
MAX_PERSON_VIEWS = 24
MAX_MEASURED_VIEWS = 100  # that are bent and looked at: those that cost least without
PROGRESS_PERSON, PROGRESS_VIEWS, PROGRESS_SWAPS, PROGRESS_MOVES = (
    (0, 10),
    (10, 35),
    (35, 65),
    (65, 100),
)  # percent of the search, about
WINDOW_MARGIN = 1.1  # of the face: what the gauge and the descriptor see of it

# The usual swap, by engines that need no weights; a matte by itself is right enough, and its neighbours take time.
DEFAULT_SWAP_SETTINGS = {
    "reenact.engine": "warp",
    "mask.engine": "geometric",
    "mask.smooth": "0",
    "inpaint.engine": "fill",
    "blend.engine": "poisson",
}


def find_recognition(inputs: JobInputs, scene: Scene, on_event: EventListener = ignore_event) -> Recognition | None:
    """What the source is recognised by in `scene`, whose plan is not needed. None where that does not apply: a network
    draws the face anew, or no face is found in what would be measured.

    Kept in the file that the parameters name, for good, or in the cache under what it is made from. Raises PlateError,
    EngineError (dlib's descriptor is missing), TrackError (the named file is none of ours).
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


def _none_if_empty(known: Recognition) -> Recognition | None:
    return known if known.moves.any() or known.unlikeness else None


@dataclass(frozen=True)
class _SampledFrames:
    """target: frames that are swapped. source: views that the person is known from. A track may hold frames that a clip
    has not."""

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
    """Of the pictures those that are looked at in any case; which other views are follows from the faces."""
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
    """No views and no moves where no face is found."""
    from fsgan_core.networks.architectures.dlib_resnet import load_face_resnet
    from fsgan_core.networks.inference import use_steady_kernels

    begun = time.perf_counter()
    name = inputs.target.name
    stages = Stages().with_settings(DEFAULT_SWAP_SETTINGS)
    inputs = replace(inputs, stages=replace(stages, colour=inputs.stages.colour), holdout=None)

    def report_progress(span: tuple[int, int], done: int, total: int) -> None:
        on_event(Event("recognise", name, span[0] + (span[1] - span[0]) * done // max(total, 1), 100))

    with limit_algebra_threads(), use_steady_kernels("cpu", True, 1):  # pictures so small are slower on two threads
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
        usual = _make_default_renderer(inputs, scene, unlike)
        for number, frame in enumerate(sampled.target_frames if len(person) else ()):
            report_progress(PROGRESS_SWAPS, number, len(sampled.target_frames))
            try:
                frames += _swap_frame(usual, frame)
            except PlateError as error:
                log.info("frame %d has no part in the likeness: %s", frame, error)
        if not frames:
            log.warning("no face was found to tell the source by: features stay where the target's are")
            return Recognition(np.zeros((68, 3)))
        moves = find_recognition_moves(frames, person, network, partial(report_progress, PROGRESS_MOVES))
    log.info(
        "likeness of %s: %d views looked at, features move by %.1f mm at most, %.1f s",
        name,
        len(unlike),
        float(np.linalg.norm(moves, axis=1).max()),
        time.perf_counter() - begun,
    )
    return Recognition(np.round(moves, MOVE_DIGITS), unlike)


def _measure_view_unlikeness(
    inputs: JobInputs,
    scene: Scene,
    sampled: _SampledFrames,
    person: np.ndarray,
    network: FaceResNet,
    on_progress: Callable[[int, int], None],
) -> dict[ViewRef, float]:
    """Of the views that would be taken by tracks alone, how unlike the person they are on the target's face."""
    refs = find_promising_views(
        *_measure_performers(scene), sampled.target_frames, ReenactParams(), _list_clip_names(scene), MAX_MEASURED_VIEWS
    )
    shown: dict[ViewRef, ShownFace] = {}
    for number, ref in enumerate(refs):
        on_progress(number, 2 * len(refs))
        face = _read_view_face(scene, ref)
        if face is not None:
            shown[ref] = make_close_up(face)
    maker = FrameRenderer(make_context(inputs, lambda _: scene))
    targets = [face for frame in sampled.target_frames if (face := _read_target_face(maker, frame)) is not None]
    if not targets or not shown:
        return {}
    found = measure_unlikeness(
        list(shown.values()), targets, person, network, lambda done, total: on_progress(total + done, 2 * total)
    )
    return {ref: round(float(value), UNLIKENESS_DIGITS) for ref, value in zip(shown, found, strict=True)}


def _make_default_renderer(inputs: JobInputs, scene: Scene, unlikeness: Mapping[ViewRef, float]) -> FrameRenderer:
    """Makes the frames of the usual swap. inputs: with its parameters."""
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
    """The frame as `maker` swaps it; empty where no face is found in it. Raises PlateError."""
    blend, scene = renderer.render_blended(frame), renderer.context.get_scene(frame)
    face, aspect = scene.faces[frame], scene.pixel_aspect
    window = compute_region(face.box, WINDOW_MARGIN, aspect)
    before, after = (
        _to_display_bytes(plate, window, scene.codec) for plate in (renderer.get_target(frame).plate, blend.plate)
    )
    matte = np.zeros((window.height, window.width), np.float32)
    common = blend.region.intersect(window)
    rows, columns = (slice(low, high) for low, high in ((common.y, common.bottom), (common.x, common.right)))
    matte[_shift_slice(rows, window.y), _shift_slice(columns, window.x)] = blend.matte[
        _shift_slice(rows, blend.region.y), _shift_slice(columns, blend.region.x)
    ]
    before, after, matte = (to_square_pixels(picture, aspect) for picture in (before, after, matte))
    x, y, width, height = face.box
    gauge = FaceGauge()
    there = gauge.follow(before, hint=((x - window.x) * aspect, y - window.y, width * aspect, height))
    now = gauge.measure_again(after, there) if there is not None else None
    if there is None or now is None:
        return []
    return [SwappedFrame(after, matte, now.landmarks, there.landmarks)]


def _shift_slice(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)


def _to_display_bytes(plate: Plate, window: Window, codec: Codec) -> np.ndarray:
    """uint8 (h, w, 3) of the window, as a display shows it."""
    return np.round(np.clip(to_display(plate, window, codec), 0, 1) * 255).astype(np.uint8)


def _read_target_face(renderer: FrameRenderer, frame: int) -> ShownFace | None:
    """The target's face as a display shows it; None where it cannot be read."""
    scene = renderer.context.get_scene(frame)
    face, aspect = scene.faces[frame], scene.pixel_aspect
    window = compute_region(face.box, WINDOW_MARGIN, aspect)
    try:
        picture = to_square_pixels(_to_display_bytes(renderer.get_target(frame).plate, window, scene.codec), aspect)
    except PlateError as error:
        log.info("frame %d has no part in the choice of views: %s", frame, error)
        return None
    return ShownFace(picture, (face.landmarks - (window.x, window.y)) * (aspect, 1.0))


def _read_view_face(scene: Scene, ref: ViewRef) -> ShownFace | None:
    """A view as a display shows it; None where it cannot be read."""
    clip = scene.view_clips[ref.clip]
    try:
        plate = clip.clip_input.sequence.read(ref.frame)
        check_rgb(plate, str(clip.clip_input.sequence.get_frame_path(ref.frame)))
    except PlateError as error:
        log.info("source frame %d has no part in the likeness: %s", ref.frame, error)
        return None
    face, aspect = clip.performer.faces[ref.frame], plate.pixel_aspect
    window = compute_region(face.box, WINDOW_MARGIN, aspect)
    shown = ShownFace(
        to_square_pixels(_to_display_bytes(plate, window, clip.codec), aspect),
        (face.landmarks - (window.x, window.y)) * (aspect, 1.0),
    )
    return shown.mirror() if ref.mirrored else shown


def save_recognition(path: Path, known: Recognition) -> None:
    """Writes it, whole or not at all: views as [clip's number, frame, mirrored, unlike]. Raises OutputError."""
    views = [[ref.clip, ref.frame, ref.mirrored, value] for ref, value in sorted(known.unlikeness.items())]
    data = {
        "format": RECOGNITION_FORMAT,
        "version": RECOGNITION_VERSION,
        "millimetres": known.moves.tolist(),
        "views": views,
    }
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data) + "\n", encoding="utf-8", newline="\n")


def load_recognition(path: Path) -> Recognition:
    """Raises TrackError for a file that is none of ours."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if (data.get("format"), data.get("version")) != (RECOGNITION_FORMAT, RECOGNITION_VERSION):
            raise TrackError(
                f"{path} is not this program's, or another version's: name another file, or remove it and "
                "it is made anew"
            )
        moves = np.array(data["millimetres"], np.float64).reshape(68, 3)
        unlike = {
            ViewRef(int(clip), int(frame), bool(mirrored)): float(value)
            for clip, frame, mirrored, value in data["views"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrackError(f"{path} cannot be read: {error}") from error
    return Recognition(moves, unlike)
