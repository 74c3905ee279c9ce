"""Analysis of a clip: plates in, a track out.

Each plate is brought to what a person would see (square pixels, display-like values, the exposure that suits the
face) and handed to the follower. What it found goes back to plate coordinates, is smoothed over time and becomes a
Track. Analysis belongs to the clip, never to a chunk of it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from fsgan_core.contract.errors import NoFaceError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip
from fsgan_core.faces import exposure as exposures
from fsgan_core.faces.detect import Detector, make_detector
from fsgan_core.faces.exposure import Encoder, guess_frame_exposure, measure_face_exposure, sample_skin
from fsgan_core.faces.follow import FaceFollower, FaceThread, group_threads
from fsgan_core.faces.landmarks import Landmarker, find_landmark_weights, make_landmarker
from fsgan_core.faces.pose_hopenet import HopenetPoser, find_pose_weights, make_poser
from fsgan_core.faces.track import Face, Person, Track, UsedWeights, carry_overrides, make_face, rebuild_faces
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.stream import read_ahead
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image, Image8
from fsgan_core.runtime.sampling import sample_evenly

log = logging.getLogger(__name__)

_PROBE_FRAMES = 5  # frames that are tried for a first look at a face
_PROBE_CONFIDENCE = 0.3  # confidence (0..1) of a face in this first look
_EXPOSURE_TRIES = (0.0, 3.0, -3.0)  # stops around the guess
_EXPOSURE_TOLERANCE = 1.0  # stops from the usual level above which the analysis changes its exposure
_MAX_EXPOSURE_FRAMES = 24  # frames whose skin is sampled
_CLEAR_CONFIDENCE = 0.35  # confidence (0..1) that a person must reach in one frame at least, if anybody does


class FrameSource(Protocol):
    """A clip as analysis reads it; `plates.sequence.FrameSequence` is one.

    Attributes:
        clip: The clip as the user named it.
        kind: "exr", "image" or "movie".
        frames: The frame numbers, ascending.
    """

    clip: Clip
    kind: str
    frames: tuple[int, ...]

    def read(self, frame: int) -> Plate:
        """Reads one frame; raises PlateError."""
        ...


class ColourSource(exposures.CodecSource, Protocol):
    """A colour config as analysis uses it; `plates.colour.ColourConfig` is one."""

    def resolve_space(self, name: str, path: str = "", kind: str = "exr") -> str:
        """Resolves the colour space of a file; an empty `name` follows the file's rules."""
        ...


@dataclass(frozen=True)
class DisplayPicture:
    """A plate as a person would see it.

    Attributes:
        pixels: RGB, display-like, square pixels.
        rgb: The plate's own pixels, float32 (height, width, 3).
        data_window: Where `rgb` lies in the plate.
        pixel_aspect: Width of a plate's pixel over its height.
    """

    pixels: Image8
    rgb: Image
    data_window: Window
    pixel_aspect: float

    def to_plate(self, points: AnyArray) -> AnyArray:
        """Maps points (..., 2) of the picture to plate coordinates."""
        result: AnyArray = self.to_array(points) + np.array([self.data_window.x, self.data_window.y])
        return result

    def to_array(self, points: AnyArray) -> AnyArray:
        """Maps points (..., 2) of the picture to pixels of the plate's array."""
        width, height = self.pixels.shape[1] / self.rgb.shape[1], self.pixels.shape[0] / self.rgb.shape[0]
        result: AnyArray = (points + 0.5) / (width, height) - 0.5
        return result


def make_display_picture(plate: Plate, codec: Encoder) -> DisplayPicture:
    """Makes the picture of a plate that analysis looks at.

    Raises:
        PlateError: The plate has no R, G and B.
    """
    rgb = plate.get("R", "G", "B")
    pixels: AnyArray = np.round(np.clip(codec.encode(rgb), 0.0, 1.0) * 255.0).astype(np.uint8)
    if plate.pixel_aspect != 1.0:
        height, width = pixels.shape[:2]
        size = (max(1, round(width * plate.pixel_aspect)), height)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR if size[0] > width else cv2.INTER_AREA)
    return DisplayPicture(pixels, rgb, plate.data_window, plate.pixel_aspect)


@dataclass
class _ThreadMeasurements:
    """What is gathered of a thread, by place."""

    faces: dict[int, Face] = field(default_factory=dict)
    skin_samples: dict[int, Image] = field(default_factory=dict)


def analyse(
    sequence: FrameSource,
    config: ColourSource,
    params: AnalyseParams | None = None,
    frames: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    exposure: float | None = None,
    previous: Track | None = None,
    reference: Descriptor | None = None,
    device: str = "cpu",
    allow: str = "any",
) -> Track:
    """Finds who is where in a clip.

    Args:
        sequence: The clip.
        config: Resolves and converts its colours.
        params: None takes the defaults.
        frames: Frames to analyse, ascending; None is all.
        progress: Called with (done, total) after each frame.
        exposure: Stops before the tone curve; None measures them on the chosen person's face.
        previous: An earlier track of the clip, whose manual overrides are kept.
        reference: Descriptor of the person to choose, with `params.person = "reference"`.
        device: Where networks run, such as "cpu" or "cuda".
        allow: Licences of network weights that may be used, as in `weights.allow`.

    Returns:
        The track; without people if no frame shows a face.

    Raises:
        PlateError: A frame cannot be read.
        ColourError: A colour space is unknown.
        EngineError: A detector, landmarker or pose is unknown or not installed.
        WeightsError: Weights are missing, not allowed or damaged.
    """
    params = params or AnalyseParams()
    wanted = tuple(sequence.frames if frames is None else frames)
    space = config.resolve_space(sequence.clip.colorspace, sequence.clip.path, sequence.kind)
    detector = make_detector(params.detector, device)
    landmarker = make_landmarker(params.landmarks, device, allow)
    poser = make_poser(params.pose, device, allow)
    related = sequence.kind == "movie" or not re.search(r"[*?]", Path(sequence.clip.path).name)
    stops = exposure if exposure is not None else _estimate_exposure(sequence, config, space, wanted, detector)
    follower = FaceFollower(
        detector,
        landmarker,
        count=len(wanted),
        gap=params.gap,
        minimum_size=params.minimum_size,
        minimum_confidence=params.minimum_confidence,
        related=related,
    )
    notes: dict[int, _ThreadMeasurements] = {}
    window, aspect = Window(0, 0, 0, 0), 1.0
    before: DisplayPicture | None = None
    codec = config.make_codec(space, stops)
    for place, (frame, plate) in enumerate(read_ahead(sequence.read, wanted, workers=1, ahead=2)):
        picture = make_display_picture(plate, codec)
        window, aspect = plate.display_window, plate.pixel_aspect
        is_unrelated = before is None or before.pixels.shape != picture.pixels.shape
        for thread in follower.add_picture(place, picture.pixels, _compute_shift(before, picture), is_unrelated):
            _record_face(
                notes.setdefault(id(thread), _ThreadMeasurements()),
                thread,
                place,
                frame,
                picture,
                poser,
                every=max(1, len(wanted) // _MAX_EXPOSURE_FRAMES),
            )
        before = picture
        if progress is not None:
            progress(place + 1, len(wanted))
    found = _collect_people(follower.threads, notes, len(wanted), params)
    if not found and follower.misplaced_count:
        log.warning(
            "%s: the landmark network %s does not find faces that dlib confirms; check its weights with `fsgan "
            "weights verify`, or set analyse.landmarks to fan or dlib",
            sequence.clip.path,
            landmarker.name,
        )
    track = Track(
        clip=sequence.clip.path,
        frames=wanted,
        width=window.width,
        height=window.height,
        pixel_aspect=aspect,
        exposure=stops,
        people=tuple(person for person, _ in found),
        detector=detector.name,
        landmarker=landmarker.name,
        gap=params.gap,
        smooth=params.smooth,
        related=related,
        pose="pnp" if poser is None else poser.name,
        weights=find_used_weights(params, allow),
    )
    track = rebuild_faces(track) if previous is None else carry_overrides(track, previous)
    if exposure is None and found:
        chosen = track.people[0]
        if params.person != "reference" or reference is not None:
            chosen = track.choose_person(params, reference)
        track = replace(track, exposure=measure_face_exposure(found[chosen.index][1], config, space))
    log.info("%s: %d frames, %d people, exposure %+.2f", sequence.clip.path, len(wanted), len(found), track.exposure)
    return track


def compute_reference_descriptor(
    sequence: FrameSource,
    config: ColourSource,
    params: AnalyseParams | None = None,
    device: str = "cpu",
    allow: str = "any",
) -> Descriptor:
    """Computes the descriptor of the largest face in a still, or in a clip's first frames.

    Raises:
        NoFaceError: There is no face.
    """
    params = (params or AnalyseParams()).replace(person="largest")
    track = analyse(sequence, config, params, sequence.frames[:_PROBE_FRAMES], device=device, allow=allow)
    if not track.people:
        raise NoFaceError(f"no face was found in the reference {sequence.clip.path}")
    return track.people[0].descriptor


def find_used_weights(params: AnalyseParams, allow: str = "any") -> tuple[UsedWeights, ...]:
    """Finds the weights of the catalogue that an analysis with these parameters uses on this machine.

    Raises:
        EngineError: There is no such pose.
        WeightsError: Weights are missing, not allowed or damaged.
    """
    weights = {
        "landmarks": find_landmark_weights(params.landmarks, allow),
        "pose": find_pose_weights(params.pose, allow),
    }
    return tuple(
        UsedWeights(role, found.info.name, found.sha256, found.info.licence)
        for role, found in weights.items()
        if found is not None
    )


def list_analysers(params: AnalyseParams, device: str = "cpu", allow: str = "any") -> tuple[str, ...]:
    """Lists what an analysis with these parameters runs with on this machine, for cache keys.

    Returns:
        Detector, landmarks and pose, each by name, or by the digest of its weights.

    Raises:
        EngineError: A detector, landmarker or pose is unknown or not installed.
        WeightsError: Weights are missing, not allowed or damaged.
    """
    weights = {used.role: used.sha256 for used in find_used_weights(params, allow)}
    # The weights identify a network, so it need not be loaded here.
    landmarks = weights.get("landmarks") or make_landmarker(params.landmarks, device, allow).name
    return (make_detector(params.detector, device).name, landmarks, weights.get("pose", "pnp"))


def _estimate_exposure(
    sequence: FrameSource, config: ColourSource, space: str, wanted: Sequence[int], detector: Detector
) -> float:
    """Stops to analyse the clip with: from a first face, else from the frame as a whole."""
    landmarker: Landmarker = make_landmarker("dlib")
    places = sample_evenly(len(wanted), _PROBE_FRAMES)
    guess = 0.0
    for number, place in enumerate(places):
        plate = sequence.read(wanted[place])
        guess = guess_frame_exposure(plate.get("R", "G", "B"), config, space)
        for stops in _EXPOSURE_TRIES:
            picture = make_display_picture(plate, config.make_codec(space, guess + stops))
            found = [face for face in detector.detect(picture.pixels) if face.confidence > _PROBE_CONFIDENCE]
            if found:
                landmarks = landmarker.locate(picture.pixels, [max(found, key=lambda face: face.box[2]).box])[0]
                measured = measure_face_exposure([sample_skin(picture.rgb, picture.to_array(landmarks))], config, space)
                return measured if abs(measured) > _EXPOSURE_TOLERANCE else 0.0
            if number:
                break  # all exposures are tried on the first frame alone
    return guess


def _compute_shift(before: DisplayPicture | None, now: DisplayPicture) -> tuple[float, float]:
    """What the picture coordinates of something still gained since the picture before."""
    if before is None:
        return (0.0, 0.0)
    return (
        (before.data_window.x - now.data_window.x) * now.pixel_aspect,
        float(before.data_window.y - now.data_window.y),
    )


def _record_face(
    notes: _ThreadMeasurements,
    thread: FaceThread,
    place: int,
    frame: int,
    picture: DisplayPicture,
    poser: HopenetPoser | None,
    every: int,
) -> None:
    seen = thread.sightings[place]
    angles = None if poser is None else poser.measure_angles(picture.pixels, [thread.boxes[place]])[0]
    moved = None
    if seen.motion is not None:
        scale = picture.pixels.shape[1] / picture.rgb.shape[1]
        moved = seen.motion / (scale, 1.0, 1.0)
    notes.faces[place] = make_face(
        frame,
        picture.to_plate(seen.landmarks),
        seen.confidence,
        origin=seen.origin,
        pixel_aspect=picture.pixel_aspect,
        scatter=seen.scatter,
        motion=moved,
        wflw=None if seen.wflw is None else picture.to_plate(seen.wflw),
        angles=angles,
    )
    if place % every == 0 or not notes.skin_samples:
        notes.skin_samples[place] = sample_skin(picture.rgb, picture.to_array(seen.landmarks))


def _collect_people(
    threads: Sequence[FaceThread], notes: dict[int, _ThreadMeasurements], count: int, params: AnalyseParams
) -> list[tuple[Person, list[Image]]]:
    """People, the largest first, and skin samples of each."""
    found = []
    for group in group_threads(threads):
        measured = {face.frame: face for thread in group for face in notes[id(thread)].faces.values()}
        skin = [samples for thread in group for samples in notes[id(thread)].skin_samples.values()]
        descriptors = np.array([descriptor for thread in group for descriptor in thread.descriptors])
        person = Person(0, {}, dict(sorted(measured.items())), np.round(descriptors.mean(axis=0), 6))
        if person.size >= params.minimum_size:
            found.append((person, skin))
    # If somebody was seen clearly, drop those who never were.
    best = {id(person): max(face.confidence for face in person.measured.values()) for person, _ in found}
    if max(best.values(), default=0.0) >= _CLEAR_CONFIDENCE:
        found = [entry for entry in found if best[id(entry[0])] >= _CLEAR_CONFIDENCE]
    found.sort(key=lambda entry: -entry[0].size * np.sqrt(len(entry[0].measured) / count))
    return [(replace(person, index=index), skin) for index, (person, skin) in enumerate(found)]
