"""Where the new face's features have to be for the source to be recognised: found once for a pair of clips and kept.

A few frames of the target are swapped in memory with everything at its default, whatever the shot asks of its stages:
so no knob that an artist turns changes the answer or has it looked for again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fsgan_core.contract.errors import PlateError, TrackError
from fsgan_core.contract.knobs import knobs_of
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces import models
from fsgan_core.faces.identity import descriptor
from fsgan_core.faces.track import Face
from fsgan_core.plates.atomic import atomic_file
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import region_of
from fsgan_core.render.cache import cache_folder, code_digest, digest, kept_file
from fsgan_core.render.engines import Machine, choose_engine, draws_anew
from fsgan_core.render.events import Event, Listener, ignore
from fsgan_core.render.frames import CODE, FrameMaker, face_digest
from fsgan_core.render.inputs import Inputs, check_rgb
from fsgan_core.render.measure import FaceGauge, squared
from fsgan_core.render.metrics import evenly
from fsgan_core.render.scene import Scene
from fsgan_core.render.threads import one_thread_algebra
from fsgan_core.stages.mesh import actor
from fsgan_core.stages.picture import display_of
from fsgan_core.stages.recognition import SwappedFrame, recognisable
from fsgan_core.stages.views import FramePlan, plan_views

__all__ = ["recognised"]

log = logging.getLogger(__name__)

FORMAT = "fsgan-recognition"
VERSION = 1
DIGITS = 2  # of millimetres: kept short, so that it is the same number on most machines
TARGET_FRAMES = 6
SOURCE_FRAMES = 24
AROUND = 1.1  # of the face: what the gauge and the descriptor see of it

# The usual swap, by engines that need no weights; a matte by itself is right enough, and its neighbours take time.
USUAL = {"reenact.engine": "warp", "mask.engine": "geometric", "mask.smooth": "0", "inpaint.engine": "fill",
         "blend.engine": "poisson"}


def recognised(inputs: Inputs, scene: Scene, listen: Listener = ignore) -> np.ndarray | None:
    """(68, 3) mm, in the axes of faces.pose: how far each landmark that the warp aims at is to move in every frame of
    `scene`, times `reenact.recognition`. None where that does not apply: a network draws the face anew, or no face
    is found in what would be measured.

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


def _or_none(moves: np.ndarray) -> np.ndarray | None:
    return moves if moves.any() else None


@dataclass(frozen=True)
class _Sampled:
    """target: frames that are swapped. source: (clip, frame) of views that the person is known from. A track may hold
    frames that a clip has not."""

    target: tuple[int, ...]
    source: tuple[tuple[int, int], ...]

    @staticmethod
    def of(inputs: Inputs, scene: Scene) -> _Sampled:
        frames = sorted(scene.faces.keys() & set(inputs.target.sequence.frames))
        views = [(number, frame) for number, clip in enumerate(scene.views)
                 for frame in sorted(clip.actor.faces.keys() & set(clip.item.sequence.frames))]
        return _Sampled(tuple(frames[i] for i in evenly(len(frames), TARGET_FRAMES)),
                        tuple(views[i] for i in evenly(len(views), SOURCE_FRAMES)))


def _key(inputs: Inputs, scene: Scene, sampled: _Sampled) -> str:
    """Of the pictures those that are looked at in any case; which views are shown follows from the faces."""
    target = [inputs.target.sequence.fingerprint(frame) for frame in sampled.target]
    source = [scene.views[number].item.sequence.fingerprint(frame) for number, frame in sampled.source]
    clips = [(clip.item.space, clip.exposure, _faces(clip.actor.faces)) for clip in scene.views]
    return digest("recognition", VERSION, code_digest((*CODE, "render/recognise.py", "render/measure.py")),
                  inputs.config.digest, inputs.working, inputs.target.space, scene.exposure, _faces(scene.faces), clips,
                  target, source, list(sampled.target), list(sampled.source))


def _faces(faces: Mapping[int, Face]) -> list[tuple[int, str]]:
    return [(frame, face_digest(face)) for frame, face in sorted(faces.items())]


def _usual_plan(inputs: Inputs, scene: Scene) -> Mapping[int, FramePlan]:
    """The plan of views with usual parameters."""
    asked, usual = inputs.stages.reenact, ReenactParams()
    names = [knob.name for knob in knobs_of(ReenactParams) if knob.group == "views" or knob.name == "inner_mouth"]
    if all(getattr(asked, name) == getattr(usual, name) for name in names):
        return scene.plan
    return plan_views([clip.actor for clip in scene.views], actor(scene.faces, scene.pixel_aspect), usual,
                      [clip.item.name for clip in scene.views])


def _found(inputs: Inputs, scene: Scene, sampled: _Sampled, listen: Listener) -> np.ndarray:
    """Zeros where the gauge finds no face."""
    from fsgan_core.networks.dlib_resnet import load_face_resnet
    from fsgan_core.networks.inference import steady_kernels

    begun = time.perf_counter()
    name = inputs.target.name

    def told(done: int, total: int) -> None:
        listen(Event("recognise", name, done, total))

    usual = replace(inputs, stages=replace(Stages().with_settings(USUAL), colour=inputs.stages.colour), holdout=None)
    scene = replace(scene, plan=_usual_plan(inputs, scene), recognition=None)
    maker = FrameMaker(usual, lambda frame: scene)
    with one_thread_algebra():
        frames = []
        for number, frame in enumerate(sampled.target):
            told(number, 3 * len(sampled.target))
            try:
                frames += _swapped(maker, scene, frame)
            except PlateError as error:
                log.info("frame %d has no part in the likeness: %s", frame, error)
        person = [found for number, frame in sampled.source for found in _described(scene, number, frame)]
        if not frames or not person:
            log.warning("no face was found to tell the source by: features stay where the target's are")
            return np.zeros((68, 3))
        network = models.shared(("descriptor", "torch"),
                                lambda: load_face_resnet(models.dlib_model(models.RESNET)))
        with steady_kernels("cpu", True, 1):  # pictures so small are slower on two
            moves = recognisable(frames, np.array(person), network, lambda done, total: told(total // 2 + done,
                                                                                             total + total // 2))
    log.info("likeness of %s: features move by %.1f mm at most, %.1f s", name,
             float(np.linalg.norm(moves, axis=1).max()), time.perf_counter() - begun)
    return np.round(moves, DIGITS)


def _swapped(maker: FrameMaker, scene: Scene, frame: int) -> list[SwappedFrame]:
    """The frame as the usual swap makes it; empty where no face is found in it. Raises PlateError."""
    blend = maker.blended(frame)
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


def _described(scene: Scene, number: int, frame: int) -> list[np.ndarray]:
    """The descriptor of a source frame; empty where it cannot be read."""
    clip = scene.views[number]
    try:
        plate = clip.item.sequence.read(frame)
        check_rgb(plate, str(clip.item.sequence.path_of(frame)))
    except PlateError as error:
        log.info("source frame %d has no part in the likeness: %s", frame, error)
        return []
    face, aspect = clip.actor.faces[frame], plate.pixel_aspect
    window = region_of(face.box, AROUND, aspect)
    picture = squared(_shown(plate, window, clip.codec), aspect)
    return [descriptor(picture, (face.landmarks - (window.x, window.y)) * (aspect, 1.0))]


def save(path: Path, moves: np.ndarray) -> None:
    """Writes the moves (68, 3), whole or not at all. Raises OutputError."""
    data = {"format": FORMAT, "version": VERSION, "millimetres": moves.tolist()}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(data) + "\n", encoding="utf-8", newline="\n")


def load(path: Path) -> np.ndarray:
    """float64 (68, 3). Raises TrackError for a file that is none of ours."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        moves = np.array(data["millimetres"], np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackError(f"{path} cannot be read: {error}") from error
    if (data.get("format"), data.get("version")) != (FORMAT, VERSION) or moves.shape != (68, 3):
        raise TrackError(f"{path} is not this program's, or another version's")
    return moves
