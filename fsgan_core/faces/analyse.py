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

import numpy as np

from fsgan_core.contract.errors import NoFaceError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip
from fsgan_core.faces import exposure as exposures
from fsgan_core.faces.detectors.choose_detector import make_detector
from fsgan_core.faces.detectors.detector_interface import Detector
from fsgan_core.faces.display_picture import DisplayPicture, make_display_picture
from fsgan_core.faces.exposure import guess_frame_exposure, measure_face_exposure, sample_skin
from fsgan_core.faces.face import Face, make_face
from fsgan_core.faces.face_thread import FaceThread, group_threads
from fsgan_core.faces.follow import FaceFollower
from fsgan_core.faces.geometry import Box, apply_affine
from fsgan_core.faces.landmarkers.landmarks import find_landmark_weights, make_landmarker
from fsgan_core.faces.mesh import read_landmarks68
from fsgan_core.faces.mesh_measure import measure_mesh
from fsgan_core.faces.mesh_network import measure_meshes
from fsgan_core.faces.pose_hopenet import HopenetPoser, find_pose_weights, make_poser
from fsgan_core.faces.track import MESH_LANDMARKER, Person, Track, UsedWeights, carry_overrides, rebuild_faces
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.stated_colour import NOTHING_STATED, StatedColour
from fsgan_core.plates.stream import read_ahead
from fsgan_core.runtime.arrays import Descriptor, Image, Points68
from fsgan_core.runtime.sampling import sample_evenly

log = logging.getLogger(__name__)

_PROBE_FRAMES = 5  # frames that are tried for a first look at a face
_PROBE_PIXELS = 520_000  # of the pictures for this look
_PROBE_CONFIDENCE = 0.3  # confidence (0..1) of a face in this first look
_EXPOSURE_TRIES = (0.0, 3.0, -3.0)  # stops around the guess
_EXPOSURE_TOLERANCE = 1.0  # stops from the usual level above which the analysis changes its exposure
_CLEARLY_USUAL = 0.8  # stops within which a quick look at a face is enough
_MAX_EXPOSURE_FRAMES = 24  # frames whose skin is sampled
_POSE_MARGIN = 0.75  # box sides around the face that the pose network's crop may reach
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

    def read_stated_colour(self) -> StatedColour:
        """Reads what the clip says about the colour of its pixels."""
        ...


class ColourSource(exposures.CodecSource, Protocol):
    """A colour config as analysis uses it; `plates.colour.ColourConfig` is one."""

    def resolve_space(self, name: str, path: str = "", kind: str = "exr", stated: StatedColour = NOTHING_STATED) -> str:
        """Resolves the colour space of a file; an empty `name` follows the file's rules."""
        ...


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
    frame_numbers = tuple(sequence.frames if frames is None else frames)
    clip = sequence.clip
    space = config.resolve_space(clip.colorspace, clip.path, sequence.kind, sequence.read_stated_colour())
    detector = make_detector(params.detector, device, allow)
    landmarker = make_landmarker(params.landmarks, device, allow)
    poser = make_poser(params.pose, device, allow)
    related = sequence.kind == "movie" or not re.search(r"[*?]", Path(sequence.clip.path).name)
    stops = (
        exposure
        if exposure is not None
        else _estimate_exposure(sequence, config, space, frame_numbers, detector, device)
    )
    follower = FaceFollower(
        detector,
        None if landmarker.name == MESH_LANDMARKER else landmarker,
        count=len(frame_numbers),
        gap=params.gap,
        minimum_size=params.minimum_size,
        minimum_confidence=params.minimum_confidence,
        related=related,
        device=device,
    )
    notes: dict[int, _ThreadMeasurements] = {}
    window, aspect = Window(0, 0, 0, 0), 1.0
    before: DisplayPicture | None = None
    codec = config.make_codec(space, stops)
    for place, (frame, plate) in enumerate(read_ahead(sequence.read, frame_numbers, workers=1, ahead=2)):
        picture = make_display_picture(plate, codec)
        window, aspect = plate.display_window, plate.pixel_aspect
        is_unrelated = before is None or before.rgb.shape != picture.rgb.shape
        for thread in follower.add_picture(place, picture, _compute_shift(before, picture), is_unrelated):
            _record_face(
                notes.setdefault(id(thread), _ThreadMeasurements()),
                thread,
                place,
                frame,
                picture,
                poser,
                every=max(1, len(frame_numbers) // _MAX_EXPOSURE_FRAMES),
            )
        before = picture
        if progress is not None:
            progress(place + 1, len(frame_numbers))
    people = _collect_people(follower.threads, notes, len(frame_numbers), params)
    track = Track(
        clip=sequence.clip.path,
        frames=frame_numbers,
        width=window.width,
        height=window.height,
        pixel_aspect=aspect,
        exposure=stops,
        people=tuple(person for person, _ in people),
        detector=detector.name,
        landmarker=landmarker.name,
        gap=params.gap,
        smooth=params.smooth,
        related=related,
        pose="pnp" if poser is None else poser.name,
        weights=find_used_weights(params, allow),
    )
    track = rebuild_faces(track) if previous is None else carry_overrides(track, previous)
    if exposure is None and people:
        chosen = track.people[0]
        if params.person != "reference" or reference is not None:
            chosen = track.choose_person(params, reference)
        track = replace(track, exposure=measure_face_exposure(people[chosen.index][1], config, space))
    log.info(
        "%s: %d frames, %d people, exposure %+.2f", sequence.clip.path, len(frame_numbers), len(people), track.exposure
    )
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
        UsedWeights(role, installed.info.name, installed.sha256, installed.info.licence)
        for role, installed in weights.items()
        if installed is not None
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
    return (make_detector(params.detector, device, allow).name, landmarks, weights.get("pose", "pnp"))


def _estimate_exposure(
    sequence: FrameSource,
    config: ColourSource,
    space: str,
    frame_numbers: Sequence[int],
    detector: Detector,
    device: str,
) -> float:
    """Stops to analyse the clip with: from a first face, else from the frame as a whole."""
    places = sample_evenly(len(frame_numbers), _PROBE_FRAMES)
    guess = 0.0
    for number, place in enumerate(places):
        plate = sequence.read(frame_numbers[place])
        picture = make_display_picture(plate, config.make_codec(space))
        if not number and _shows_usual_faces(picture, config, space, detector, device):
            return 0.0
        guess = guess_frame_exposure(picture.rgb, config, space)
        for stops in _EXPOSURE_TRIES:
            picture = make_display_picture(plate, config.make_codec(space, guess + stops))
            landmarks = _find_largest_face(picture, detector, device)
            if landmarks is not None:
                skin = sample_skin(picture.rgb, picture.to_array(landmarks))
                measured = measure_face_exposure([skin], config, space)
                return measured if abs(measured) > _EXPOSURE_TOLERANCE else 0.0
            if number:
                break  # all exposures are tried on the first frame alone
    return guess


def _shows_usual_faces(
    picture: DisplayPicture, config: ColourSource, space: str, detector: Detector, device: str
) -> bool:
    """Whether a quick look sees faces, all of a brightness that the analysis need not change.

    It spares most clips the thorough look, whose answer would be the same.
    """
    pixels, matrix = picture.view_pixels(detector.search_pixels)
    found = False
    for candidate in detector.find_candidates(pixels):
        (mesh,), (probability,) = measure_meshes(pixels, [candidate.square], device)
        if candidate.confidence * probability <= _PROBE_CONFIDENCE:
            continue
        landmarks = apply_affine(matrix, read_landmarks68(mesh))
        skin = sample_skin(picture.rgb, picture.to_array(landmarks))
        if abs(measure_face_exposure([skin], config, space)) > _CLEARLY_USUAL:
            return False
        found = True
    return found


def _find_largest_face(picture: DisplayPicture, detector: Detector, device: str) -> Points68 | None:
    """Landmarks of the largest face of a picture, in its pixels."""
    pixels, matrix = picture.view_pixels(_PROBE_PIXELS)
    faces = [face for face in detector.detect(pixels) if face.confidence > _PROBE_CONFIDENCE]
    if not faces:
        return None
    largest = max(faces, key=lambda face: face.box[2])
    landmarks = largest.landmarks
    if landmarks is None:
        landmarks = read_landmarks68(measure_mesh(pixels, largest.square, device).mesh)
    return apply_affine(matrix, landmarks)


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
    notes.faces[place] = make_face(
        frame,
        picture.to_plate(seen.landmarks),
        seen.confidence,
        origin=seen.origin,
        pixel_aspect=picture.pixel_aspect,
        begins=seen.begins,
        wflw=None if seen.wflw is None else picture.to_plate(seen.wflw),
        angles=None if poser is None else _measure_angles(poser, picture, thread.boxes[place]),
        mesh=picture.to_plate(seen.mesh),
    )
    if place % every == 0 or not notes.skin_samples:
        notes.skin_samples[place] = sample_skin(picture.rgb, picture.to_array(seen.landmarks))


def _measure_angles(poser: HopenetPoser, picture: DisplayPicture, box: Box) -> tuple[float, float, float]:
    x, y, width, height = box
    margin = _POSE_MARGIN * width
    part, matrix = picture.view((x - margin, y - margin, width + 2 * margin, height + 2 * margin))
    scale = matrix[[0, 1], [0, 1]]
    low = (np.array([x, y]) - matrix[:, 2]) / scale
    return poser.measure_angles(part, [(float(low[0]), float(low[1]), width / scale[0], height / scale[1])])[0]


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
