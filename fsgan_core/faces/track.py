"""Who is where in a clip: the result of analysis, as plain data.

A person's `measured` faces are what was seen in each frame by itself; `faces` are final: smoothed over time, short
gaps bridged, manual overrides in place. `settle` makes the final ones from the measured ones, so a track can be
edited and settled again without reading a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fsgan_core.contract.errors import NoFaceError, TrackError
from fsgan_core.contract.landmarks import FACE_OFFSETS, find_face_offset
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.faces.geometry import Box, compute_overlap
from fsgan_core.faces.landmarks_wflw import MIRROR_ORDER as WFLW_MIRROR
from fsgan_core.faces.landmarks_wflw import carry_points
from fsgan_core.faces.pose import MIRROR_ORDER, compute_face_box, measure_euler_angles
from fsgan_core.faces.smooth import UnsmoothedFace, smooth_faces

TRACK_VERSION = 1
OFFSET_VERSION = 2  # of a track with offsets, which a program that knows of none would leave out
ORIGINS = ("detected", "followed", "bridged", "edited")
POSE_METHODS = ("pnp", "hopenet")
_DIGITS = 3  # a thousandth of a pixel or degree is kept


@dataclass(frozen=True)
class Face:
    """One face in one frame, in plate coordinates.

    box: (x, y, width, height), square in square pixels. landmarks: float64 (68, 2). euler: (yaw, pitch, roll) in
    degrees. confidence: 0..1. origin: "detected"; "followed" from the frame before where the detector was blind;
    "bridged" over a gap; "edited" by hand.
    Of measured faces: scatter, float64 (68,), how much repeated answers for a landmark differed (mm on an average
    face; large where something hides the face), None if not known. motion, float64 (68, 3), how far the picture moved
    under each landmark since the frame before (x, y, pixels) and how far back-tracking missed (pixels); None where
    there is no such frame.
    wflw: float64 (98, 2), where the landmark network placed them (the 68 are then taken from these), else None.
    """

    frame: int
    box: Box
    landmarks: np.ndarray
    euler: tuple[float, float, float]
    confidence: float
    origin: str = "detected"
    scatter: np.ndarray | None = None
    motion: np.ndarray | None = None
    wflw: np.ndarray | None = None

    def with_landmarks(self, landmarks: np.ndarray) -> Face:
        """The face with other `landmarks` (68, 2); the 98, where it has them, go along as their neighbours do."""
        wflw = None if self.wflw is None else carry_points(self.wflw, self.landmarks, landmarks)
        return replace(self, landmarks=landmarks, wflw=wflw)

    def mirror(self, axis: float = 0.0) -> Face:
        """The face in the flipped picture, each landmark in its own place of the order. axis: twice the x that stays
        where it is. Without what only measured faces have."""
        x, y, width, height = self.box
        yaw, pitch, roll = self.euler
        flip, shift = np.array([-1.0, 1.0]), np.array([axis, 0.0])
        wflw = None if self.wflw is None else (self.wflw * flip + shift)[WFLW_MIRROR]
        return replace(
            self,
            box=(axis - x - width, y, width, height),
            euler=(-yaw, pitch, -roll),
            scatter=None,
            motion=None,
            landmarks=(self.landmarks * flip + shift)[MIRROR_ORDER],
            wflw=wflw,
        )


@dataclass(frozen=True)
class FaceOverride:
    """What a person changed on one face. landmarks: put exactly there, by index. hidden: the frame has no face.
    ignored: what was measured there is wrong; bridge it. offset: added last, by the names of contract.landmarks."""

    landmarks: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    hidden: bool = False
    ignored: bool = False
    offset: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Person:
    """One person of a clip. index: 0 is the largest. descriptor: float64 (128,), mean over clear frames."""

    index: int
    faces: Mapping[int, Face]
    measured: Mapping[int, Face]
    descriptor: np.ndarray
    overrides: Mapping[int, FaceOverride] = field(default_factory=dict)

    @property
    def size(self) -> float:
        """Median height of the face's box, in plate rows."""
        return float(np.median([face.box[3] for face in self.measured.values()])) if self.measured else 0.0


@dataclass(frozen=True)
class UsedWeights:
    """Weights that had a part in an analysis. role: "landmarks" or "pose"; name, sha256 and licence as in the
    catalogue of networks."""

    role: str
    name: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Track:
    """A clip's analysis. `clip` is the clip's path as it was given; `frames` those analysed, ascending; `exposure`
    the stops that bring the chosen person's face to a usual display level; `gap` and `smooth` as in AnalyseParams;
    `related` is False for stills that have nothing to do with one another, which are not smoothed over time; `pose` is
    what measured the head's pose (one of POSES); `weights` those of networks of the catalogue."""

    clip: str
    frames: tuple[int, ...]
    width: int
    height: int
    pixel_aspect: float
    exposure: float
    people: tuple[Person, ...]
    detector: str
    landmarker: str
    gap: int = 8
    smooth: float = 1.0
    related: bool = True
    pose: str = "pnp"
    weights: tuple[UsedWeights, ...] = ()
    version: int = TRACK_VERSION

    def choose_person(self, params: AnalyseParams, reference_descriptor: np.ndarray | None = None) -> Person:
        """The person that `params` ask for. Raises NoFaceError when there is nobody, TrackError when there is no
        such person or no reference."""
        if not self.people:
            raise NoFaceError(
                f"no face was found in {self.clip} ({len(self.frames)} frames looked at); check the "
                "colour space, or set analyse.detector, analyse.minimum_confidence or "
                "analyse.minimum_size"
            )
        if params.person == "index":
            if params.person_index >= len(self.people):
                raise TrackError(f"{self.clip} has no person {params.person_index}; it has 0 to {len(self.people) - 1}")
            return self.people[params.person_index]
        if params.person == "point":
            if params.person_point is None:
                raise TrackError("analyse.person = point needs analyse.person_point = x,y")
            point = params.person_point
            return min(self.people, key=lambda person: _measure_point_distance(person, point))
        if params.person == "reference":
            if reference_descriptor is None:
                raise TrackError("analyse.person = reference needs analyse.person_reference, a still of the person")
            return min(self.people, key=lambda p: float(np.linalg.norm(p.descriptor - reference_descriptor)))
        return self.people[0]

    def with_override(
        self,
        person: int,
        frame: int,
        landmarks: Mapping[int, tuple[float, float]] | None = None,
        hidden: bool = False,
        ignored: bool = False,
        offset: Mapping[str, tuple[float, ...]] | None = None,
    ) -> Track:
        """A new track in which landmarks of one face are put where a person wants them (plate coordinates), or the
        face is hidden, or its measurement ignored, or something is added to it (`offset`, by the names of
        contract.landmarks). Without any of these the frame's override is taken away. Raises TrackError."""
        if not 0 <= person < len(self.people):
            raise TrackError(f"{self.clip} has no person {person}; it has {len(self.people)}")
        if frame not in self.frames:
            raise TrackError(f"frame {frame} of {self.clip} was not analysed")
        placed = {int(index): (float(x), float(y)) for index, (x, y) in (landmarks or {}).items()}
        if any(not 0 <= index < 68 for index in placed):
            raise TrackError(f"landmarks are numbered 0 to 67, not {', '.join(map(str, placed))}")
        try:
            added = {name: check_offset(name, values) for name, values in (offset or {}).items()}
        except ValueError as error:
            raise TrackError(str(error)) from error
        overrides = {key: value for key, value in self.people[person].overrides.items() if key != frame}
        if placed or hidden or ignored or added:
            overrides[frame] = FaceOverride(placed, hidden, ignored, added)
        people = list(self.people)
        people[person] = replace(people[person], overrides=dict(sorted(overrides.items())))
        return rebuild_faces(replace(self, people=tuple(people)))


def rebuild_faces(track: Track) -> Track:
    """The track with every person's final faces made anew from what was measured and overridden."""
    return replace(
        track, people=tuple(replace(person, faces=_build_final_faces(track, person)) for person in track.people)
    )


def make_face(
    frame: int,
    landmarks: np.ndarray,
    confidence: float,
    *,
    origin: str = "detected",
    pixel_aspect: float = 1.0,
    scatter: np.ndarray | None = None,
    motion: np.ndarray | None = None,
    wflw: np.ndarray | None = None,
    angles: tuple[float, float, float] | None = None,
) -> Face:
    """A face with its box from its landmarks, rounded as the file will hold it. angles: (yaw, pitch, roll) in degrees;
    None: from the landmarks."""
    landmarks = np.round(np.asarray(landmarks, np.float64), _DIGITS)
    box = tuple(round(value, _DIGITS) for value in compute_face_box(landmarks, pixel_aspect))
    angles = measure_euler_angles(landmarks, pixel_aspect) if angles is None else angles
    return Face(
        frame,
        box,  # type: ignore[arg-type]
        landmarks,
        _convert_to_tuple(np.round(angles, _DIGITS)),
        round(float(confidence), _DIGITS),
        origin,
        *(None if values is None else np.round(values, _DIGITS) for values in (scatter, motion, wflw)),
    )


def carry_overrides(track: Track, previous: Track) -> Track:
    """`track` with the manual overrides of an earlier analysis of the same clip, each given to the person that
    stands where the earlier one stood (or looks most like it)."""
    people = list(track.people)
    for old in previous.people:
        if not old.overrides or not people:
            continue
        best = max(range(len(people)), key=lambda i: _rate_likeness(people[i], old))
        merged = {**people[best].overrides, **old.overrides}
        people[best] = replace(people[best], overrides=dict(sorted(merged.items())))
    return rebuild_faces(replace(track, people=tuple(people)))


def _build_final_faces(track: Track, person: Person) -> dict[int, Face]:
    order = {frame: place for place, frame in enumerate(track.frames)}
    scale = np.array([track.pixel_aspect, 1.0])
    unseen = {frame for frame, override in person.overrides.items() if override.hidden or override.ignored}
    samples = [
        UnsmoothedFace(
            order[frame],
            face.landmarks * scale,
            face.scatter,
            None if face.motion is None else face.motion * (track.pixel_aspect, 1.0, 1.0),
            np.array(face.box) * (track.pixel_aspect, 1, track.pixel_aspect, 1),
            face.euler,
            face.confidence,
            None if face.wflw is None else face.wflw * scale,
        )
        for frame, face in person.measured.items()
        if frame in order and frame not in unseen
    ]
    faces: dict[int, Face] = {}
    for result in smooth_faces(samples, gap=track.gap, amount=track.smooth if track.related else 0.0):
        frame = track.frames[result.place]
        measured = person.measured.get(frame)
        origin = measured.origin if measured is not None and not result.is_bridged else "bridged"
        faces[frame] = _round_face(
            Face(
                frame,
                _convert_to_tuple(result.box / (track.pixel_aspect, 1, track.pixel_aspect, 1)),
                result.landmarks / scale,
                result.euler,
                result.confidence,
                origin,
                wflw=None if result.wflw is None else result.wflw / scale,
            )
        )
    for frame, override in person.overrides.items():
        if override.hidden:
            faces.pop(frame, None)
        elif frame in faces and override.landmarks:
            faces[frame] = _apply_override(faces[frame], override, track)
        elif len(override.landmarks) == 68:
            placed = np.array([override.landmarks[index] for index in range(68)])
            faces[frame] = make_face(frame, placed, 1.0, origin="edited", pixel_aspect=track.pixel_aspect)
        if override.offset and frame in faces:
            faces[frame] = _apply_offset(faces[frame], override.offset, track.pixel_aspect)
    return dict(sorted(faces.items()))


def _apply_override(face: Face, override: FaceOverride, track: Track) -> Face:
    landmarks = face.landmarks.copy()
    for index, point in override.landmarks.items():
        landmarks[index] = point
    angles = None
    if track.pose != "pnp":  # what the network said, and by how much the edit turns the head
        angles = _add_angles(
            face.euler,
            measure_euler_angles(landmarks, track.pixel_aspect),
            measure_euler_angles(face.landmarks, track.pixel_aspect),
        )
    # The box stays the smoothed one unless the whole face was moved.
    edited = make_face(
        face.frame,
        landmarks,
        face.confidence,
        origin="edited",
        pixel_aspect=track.pixel_aspect,
        wflw=face.with_landmarks(landmarks).wflw,
        angles=angles,
    )
    return edited if len(override.landmarks) > 34 else replace(edited, box=face.box)


def check_offset(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """The numbers of an offset. Raises ValueError for a name or numbers that are not possible."""
    try:
        declared = find_face_offset(name)
    except KeyError:
        raise ValueError(
            f"there is no offset '{name}'; a landmark's number or one of {', '.join(FACE_OFFSETS)}"
        ) from None
    found = tuple(float(value) for value in values)
    if len(found) != len(declared.neutral_value) or not np.isfinite(found).all():
        raise ValueError(f"the offset '{name}' takes {len(declared.neutral_value)} numbers, not {list(values)}")
    if declared.kind == "scale" and not 0.05 <= found[0] <= 20.0:
        raise ValueError(f"the offset '{name}' = {found[0]:g} is not possible: it takes 0.05 to 20")
    return found


def _apply_offset(face: Face, offset: Mapping[str, tuple[float, ...]], pixel_aspect: float) -> Face:
    """The face with what a person adds to it. An offset of nothing is the face as it was, and a little more changes it
    a little: so the angles are those that it had, and by how much the moved landmarks turn the head."""
    landmarks, box = face.landmarks.copy(), np.array(face.box, np.float64)
    turn = [0.0, 0.0, 0.0]
    for name, values in offset.items():
        declared = find_face_offset(name)
        if declared.kind == "move":
            landmarks[slice(*declared.landmarks)] += values
            box[:2] += np.array(values) * declared.moves_box
        elif declared.kind == "scale":
            box = np.r_[box[:2] - (values[0] - 1) / 2 * box[2:], values[0] * box[2:]]
        else:
            turn[("yaw", "pitch", "roll").index(name)] += values[0]
    angles = _add_angles(
        face.euler, measure_euler_angles(landmarks, pixel_aspect), measure_euler_angles(face.landmarks, pixel_aspect)
    )
    return _round_face(
        replace(
            face.with_landmarks(landmarks),
            box=_convert_to_tuple(box),
            euler=_add_angles(angles, turn, (0.0, 0.0, 0.0)),
            origin="edited",
        )
    )


def _add_angles(
    angles: tuple[float, float, float], plus: Sequence[float], minus: Sequence[float]
) -> tuple[float, float, float]:
    """angles + plus - minus, in degrees, each within -180 to 180."""
    total = np.array(angles) + plus - np.array(minus)
    return _convert_to_tuple((total + 180.0) % 360.0 - 180.0)


def _round_face(face: Face) -> Face:
    return replace(
        face,
        box=_convert_to_tuple(np.round(face.box, _DIGITS)),
        landmarks=np.round(face.landmarks, _DIGITS),
        wflw=None if face.wflw is None else np.round(face.wflw, _DIGITS),
        euler=_convert_to_tuple(np.round(face.euler, _DIGITS)),
        confidence=round(float(face.confidence), _DIGITS),
    )


def _convert_to_tuple(values: np.ndarray | Sequence[float]) -> Any:
    return tuple(float(value) + 0.0 for value in values)


def _measure_point_distance(person: Person, point: tuple[float, float]) -> float:
    """Median distance of the face's middle to the point, in plate pixels."""
    faces = person.faces or person.measured
    return float(
        np.median(
            [
                np.hypot(face.box[0] + face.box[2] / 2 - point[0], face.box[1] + face.box[3] / 2 - point[1])
                for face in faces.values()
            ]
        )
    )


def _rate_likeness(person: Person, other: Person) -> float:
    common = [frame for frame in person.measured if frame in other.measured]
    together = (
        float(np.mean([compute_overlap(person.measured[frame].box, other.measured[frame].box) for frame in common]))
        if common
        else 0.0
    )
    return together - float(np.linalg.norm(person.descriptor - other.descriptor))
