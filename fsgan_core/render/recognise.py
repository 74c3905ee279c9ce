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

from fsgan_core.clips.inputs import Inputs, check_rgb
from fsgan_core.contract.errors import PlateError, TrackError
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces import models
from fsgan_core.faces.measure import FaceGauge, squared
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import region_of
from fsgan_core.render.engines import Machine, choose_engine, draws_anew
from fsgan_core.render.frames import CODE, FrameMaker, face_digest
from fsgan_core.render.scene import Scene
from fsgan_core.runtime.atomic import atomic_file
from fsgan_core.runtime.cache import cache_folder, code_digest, digest, kept_file
from fsgan_core.runtime.events import Event, Listener, ignore
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.runtime.threads import one_thread_algebra
from fsgan_core.stages.image_ops import display_of
from fsgan_core.stages.recognition import (
    Recognition,
    ShownFace,
    SwappedFrame,
    close_up,
    descriptors,
    recognisable,
    unlikeness,
)
from fsgan_core.stages.views import ViewRef, plan_views, promising_views
from fsgan_core.stages.warp_points import Actor, actor

if TYPE_CHECKING:
    from fsgan_core.networks.architectures.dlib_resnet import FaceResNet

__all__ = ["recognised"]

log = logging.getLogger(__name__)

FORMAT = "fsgan-recognition"
VERSION = 2
DIGITS = 2  # of millimetres: kept short, so that it is the same number on most machines
UNLIKE_DIGITS = 3  # likewise
TARGET_FRAMES = 6
SOURCE_FRAMES = 24
VIEWS = 100  # that are bent and looked at: those that cost least without
PERSON, LOOKED_AT, SWAPPED, MOVED = (0, 10), (10, 35), (35, 65), (65, 100)  # percent of the search, about
AROUND = 1.1  # of the face: what the gauge and the descriptor see of it

# The usual swap, by engines that need no weights; a matte by itself is right enough, and its neighbours take time.
USUAL = {"reenact.engine": "warp", "mask.engine": "geometric", "mask.smooth": "0", "inpaint.engine": "fill",
         "blend.engine": "poisson"}


def recognised(inputs: Inputs, scene: Scene, listen: Listener = ignore) -> Recognition | None:
    """What the source is recognised by in `scene`, whose plan is not needed. None where that does not apply: a network
    draws the face anew, or no face is found in what would be measured.

    Kept in the file that the parameters name, for good, or in the cache under what it is made from. Raises PlateError,
    EngineError (dlib's descriptor is missing), TrackError (the named file is none of ours).
    """
    engine = choose_engine("reenact", inputs.stages, Machine(inputs.device))
    if draws_anew(engine, inputs.stages.reenact.prewarp):
        return None
    named = inputs.stages.reenact.recognition_file
    if named and Path(named).expanduser().exists():
        return _or_none(load(Path(named).expanduser()))
    sampled = _Sampled.of(inputs, scene)
    if not sampled.target or not sampled.source:
        return None
    if named:
        path = Path(named).expanduser()
    else:
        path = cache_folder() / "recognition" / f"{_key(inputs, scene, sampled)}.json"
    return _or_none(kept_file(path, lambda: _found(inputs, scene, sampled, listen), save, load))


def _or_none(known: Recognition) -> Recognition | None:
    return known if known.moves.any() or known.unlike else None


@dataclass(frozen=True)
class _Sampled:
    """target: frames that are swapped. source: views that the person is known from. A track may hold frames that a clip
    has not."""

    target: tuple[int, ...]
    source: tuple[ViewRef, ...]

    @staticmethod
    def of(inputs: Inputs, scene: Scene) -> _Sampled:
        frames = sorted(scene.faces.keys() & set(inputs.target.sequence.frames))
        views = [ViewRef(number, frame) for number, clip in enumerate(scene.views)
                 for frame in sorted(clip.actor.faces.keys() & set(clip.item.sequence.frames))]
        return _Sampled(tuple(frames[i] for i in sample_evenly(len(frames), TARGET_FRAMES)),
                        tuple(views[i] for i in sample_evenly(len(views), SOURCE_FRAMES)))


def _key(inputs: Inputs, scene: Scene, sampled: _Sampled) -> str:
    """Of the pictures those that are looked at in any case; which other views are follows from the faces."""
    target = [inputs.target.sequence.fingerprint(frame) for frame in sampled.target]
    source = [scene.views[ref.clip].item.sequence.fingerprint(ref.frame) for ref in sampled.source]
    clips = [(clip.item.space, clip.exposure, _faces(clip.actor.faces)) for clip in scene.views]
    return digest("recognition", VERSION, code_digest((*CODE, "render/recognise.py", "faces/measure.py")),
                  inputs.config.digest, inputs.working, inputs.target.space, scene.exposure, _faces(scene.faces), clips,
                  target, source, list(sampled.target), [(ref.clip, ref.frame) for ref in sampled.source])


def _faces(faces: Mapping[int, Face]) -> list[tuple[int, str]]:
    return [(frame, face_digest(face)) for frame, face in sorted(faces.items())]


def _found(inputs: Inputs, scene: Scene, sampled: _Sampled, listen: Listener) -> Recognition:
    """No views and no moves where no face is found."""
    from fsgan_core.networks.architectures.dlib_resnet import load_face_resnet
    from fsgan_core.networks.inference import steady_kernels

    begun = time.perf_counter()
    name = inputs.target.name
    stages = Stages().with_settings(USUAL)
    inputs = replace(inputs, stages=replace(stages, colour=inputs.stages.colour), holdout=None)

    def told(span: tuple[int, int], done: int, total: int) -> None:
        listen(Event("recognise", name, span[0] + (span[1] - span[0]) * done // max(total, 1), 100))

    with one_thread_algebra(), steady_kernels("cpu", True, 1):  # pictures so small are slower on two threads
        network = models.shared(("descriptor", "torch"),
                                lambda: load_face_resnet(models.dlib_model(models.RESNET)))
        told(PERSON, 0, 1)
        person = descriptors((face for ref in sampled.source if (face := _shown_view(scene, ref)) is not None), network)
        unlike = _unlike(inputs, scene, sampled, person, network, partial(told, LOOKED_AT)) if len(person) else {}
        frames = []
        usual = _usual(inputs, scene, unlike)
        for number, frame in enumerate(sampled.target if len(person) else ()):
            told(SWAPPED, number, len(sampled.target))
            try:
                frames += _swapped(usual, frame)
            except PlateError as error:
                log.info("frame %d has no part in the likeness: %s", frame, error)
        if not frames:
            log.warning("no face was found to tell the source by: features stay where the target's are")
            return Recognition(np.zeros((68, 3)))
        moves = recognisable(frames, person, network, partial(told, MOVED))
    log.info("likeness of %s: %d views looked at, features move by %.1f mm at most, %.1f s", name, len(unlike),
             float(np.linalg.norm(moves, axis=1).max()), time.perf_counter() - begun)
    return Recognition(np.round(moves, DIGITS), unlike)


def _unlike(inputs: Inputs, scene: Scene, sampled: _Sampled, person: np.ndarray, network: FaceResNet,
            told: Callable[[int, int], None]) -> dict[ViewRef, float]:
    """Of the views that would be taken by tracks alone, how unlike the person they are on the target's face."""
    refs = promising_views(*_actors(scene), sampled.target, ReenactParams(), _names(scene), VIEWS)
    shown: dict[ViewRef, ShownFace] = {}
    for number, ref in enumerate(refs):
        told(number, 2 * len(refs))
        face = _shown_view(scene, ref)
        if face is not None:
            shown[ref] = close_up(face)
    maker = FrameMaker(inputs, lambda _: scene)
    targets = [face for frame in sampled.target if (face := _shown_target(maker, frame)) is not None]
    if not targets or not shown:
        return {}
    found = unlikeness(list(shown.values()), targets, person, network,
                       lambda done, total: told(total + done, 2 * total))
    return {ref: round(float(value), UNLIKE_DIGITS) for ref, value in zip(shown, found, strict=True)}


def _usual(inputs: Inputs, scene: Scene, unlike: Mapping[ViewRef, float]) -> FrameMaker:
    """Makes the frames of the usual swap. inputs: with its parameters."""
    scene = replace(scene, plan=plan_views(*_actors(scene), ReenactParams(), _names(scene), unlike), recognition=None)
    return FrameMaker(inputs, lambda _: scene)


def _actors(scene: Scene) -> tuple[list[Actor], Actor]:
    return [clip.actor for clip in scene.views], actor(scene.faces, scene.pixel_aspect)


def _names(scene: Scene) -> list[str]:
    return [clip.item.name for clip in scene.views]


def _swapped(maker: FrameMaker, frame: int) -> list[SwappedFrame]:
    """The frame as `maker` swaps it; empty where no face is found in it. Raises PlateError."""
    blend, scene = maker.blended(frame), maker.scene_of(frame)
    face, aspect = scene.faces[frame], scene.pixel_aspect
    window = region_of(face.box, AROUND, aspect)
    before, after = (_shown(plate, window, scene.codec) for plate in (maker.target(frame).plate, blend.plate))
    matte = np.zeros((window.height, window.width), np.float32)
    common = blend.region.intersect(window)
    rows, columns = (slice(low, high) for low, high in ((common.y, common.bottom), (common.x, common.right)))
    matte[_from(rows, window.y), _from(columns, window.x)] = blend.matte[_from(rows, blend.region.y),
                                                                         _from(columns, blend.region.x)]
    before, after, matte = (squared(picture, aspect) for picture in (before, after, matte))
    x, y, width, height = face.box
    gauge = FaceGauge()
    there = gauge.follow(before, hint=((x - window.x) * aspect, y - window.y, width * aspect, height))
    now = gauge.again(after, there) if there is not None else None
    if there is None or now is None:
        return []
    return [SwappedFrame(after, matte, now.landmarks, there.landmarks)]


def _from(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)


def _shown(plate: Plate, window: Window, codec: Codec) -> np.ndarray:
    """uint8 (h, w, 3) of the window, as a display shows it."""
    return np.round(np.clip(display_of(plate, window, codec), 0, 1) * 255).astype(np.uint8)


def _shown_target(maker: FrameMaker, frame: int) -> ShownFace | None:
    """The target's face as a display shows it; None where it cannot be read."""
    scene = maker.scene_of(frame)
    face, aspect = scene.faces[frame], scene.pixel_aspect
    window = region_of(face.box, AROUND, aspect)
    try:
        picture = squared(_shown(maker.target(frame).plate, window, scene.codec), aspect)
    except PlateError as error:
        log.info("frame %d has no part in the choice of views: %s", frame, error)
        return None
    return ShownFace(picture, (face.landmarks - (window.x, window.y)) * (aspect, 1.0))


def _shown_view(scene: Scene, ref: ViewRef) -> ShownFace | None:
    """A view as a display shows it; None where it cannot be read."""
    clip = scene.views[ref.clip]
    try:
        plate = clip.item.sequence.read(ref.frame)
        check_rgb(plate, str(clip.item.sequence.path_of(ref.frame)))
    except PlateError as error:
        log.info("source frame %d has no part in the likeness: %s", ref.frame, error)
        return None
    face, aspect = clip.actor.faces[ref.frame], plate.pixel_aspect
    window = region_of(face.box, AROUND, aspect)
    shown = ShownFace(squared(_shown(plate, window, clip.codec), aspect),
                      (face.landmarks - (window.x, window.y)) * (aspect, 1.0))
    return shown.mirrored() if ref.mirrored else shown


def save(path: Path, known: Recognition) -> None:
    """Writes it, whole or not at all: views as [clip's number, frame, mirrored, unlike]. Raises OutputError."""
    views = [[ref.clip, ref.frame, ref.mirrored, value] for ref, value in sorted(known.unlike.items())]
    data = {"format": FORMAT, "version": VERSION, "millimetres": known.moves.tolist(), "views": views}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(data) + "\n", encoding="utf-8", newline="\n")


def load(path: Path) -> Recognition:
    """Raises TrackError for a file that is none of ours."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if (data.get("format"), data.get("version")) != (FORMAT, VERSION):
            raise TrackError(f"{path} is not this program's, or another version's: name another file, or remove it and "
                             "it is made anew")
        moves = np.array(data["millimetres"], np.float64).reshape(68, 3)
        unlike = {ViewRef(int(clip), int(frame), bool(mirrored)): float(value)
                  for clip, frame, mirrored, value in data["views"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrackError(f"{path} cannot be read: {error}") from error
    return Recognition(moves, unlike)
