"""Who is where in a clip: the result of analysis, as plain data.

A person's `measured` faces are what was seen in each frame by itself. The `faces` are final: smoothed over time, short
gaps bridged, manual overrides applied. `rebuild_faces` makes the final faces from the measured ones, so a track can be
edited and rebuilt without reading a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fsgan_core.contract.errors import NoFaceError, TrackError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.faces.face import Face, convert_to_tuple, make_face, round_face
from fsgan_core.faces.face_override import FaceOverride, apply_offset, apply_override, check_offset
from fsgan_core.faces.geometry import compute_overlap
from fsgan_core.faces.mesh import carry_mesh, read_landmarks68
from fsgan_core.faces.mesh_pose import fit_mesh_to_landmarks
from fsgan_core.faces.smooth import FaceSample, smooth_faces
from fsgan_core.runtime.arrays import Descriptor, Mesh, Points68, Vector

TRACK_VERSION = 1
OFFSET_VERSION = 2  # of a track with offsets; a program without offsets must refuse it instead of ignoring them
POSE_METHODS = ("pnp", "hopenet")
MESH_LANDMARKER = "mesh"  # name of the landmarker that reads the landmarks from the mesh


@dataclass(frozen=True)
class Person:
    """One person of a clip.

    Attributes:
        index: 0 is the largest person.
        faces: Final faces by frame.
        measured: Faces as measured, by frame.
        descriptor: float64 (128,), mean over clear frames.
        overrides: Manual changes by frame.
    """

    index: int
    # What would fill a terminal is not printed.
    faces: Mapping[int, Face] = field(repr=False)
    measured: Mapping[int, Face] = field(repr=False)
    descriptor: Descriptor = field(repr=False)
    overrides: Mapping[int, FaceOverride] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> float:
        """Median height of the face's box, in plate rows."""
        return float(np.median([face.box[3] for face in self.measured.values()])) if self.measured else 0.0


@dataclass(frozen=True)
class UsedWeights:
    """Weights that were used in an analysis.

    Attributes:
        role: "landmarks" or "pose".
        name: As in the catalogue of networks, like the rest.
        sha256: Digest of the file.
        licence: Licence class.
    """

    role: str
    name: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Track:
    """A clip's analysis.

    Attributes:
        clip: The clip's path as it was given.
        frames: The analysed frames, ascending.
        width: Width of the display window in pixels.
        height: Height of the display window in pixels.
        pixel_aspect: Width of a pixel over its height.
        exposure: Stops that bring the chosen person's face to a usual display level.
        people: Largest first.
        detector: Name of the detector that was used.
        landmarker: Name of the landmarker that was used.
        gap: As in `AnalyseParams`.
        smooth: As in `AnalyseParams`.
        related: False for stills that have nothing to do with one another; they are not smoothed over time.
        pose: What measured the head's pose, one of POSE_METHODS.
        weights: The catalogue's weights that were used.
        version: Version of the file format.
    """

    clip: str
    frames: tuple[int, ...] = field(repr=False)
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

    def choose_person(self, params: AnalyseParams, reference_descriptor: Descriptor | None = None) -> Person:
        """Chooses the person that the parameters ask for.

        Args:
            params: `person` and its companions decide.
            reference_descriptor: Of the reference still, for `person = reference`.

        Raises:
            NoFaceError: The track has no people.
            TrackError: There is no such person, or the reference or point is missing.
        """
        if not self.people:
            raise NoFaceError(
                f"no face was found in {self.clip} (frames searched: {len(self.frames)}); check the "
                "colour space, or set analyse.detector, analyse.minimum_confidence or "
                "analyse.minimum_size"
            )
        if params.person == "index":
            if params.person_index >= len(self.people):
                known = "only person 0" if len(self.people) == 1 else f"persons 0 to {len(self.people) - 1}"
                raise TrackError(f"{self.clip} has no person {params.person_index}; it has {known}")
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
        """Returns a new track with one face changed by hand; without a change, the override is removed.

        Args:
            person: Index of the person.
            frame: Frame number.
            landmarks: Landmarks put exactly there, by index, in plate coordinates.
            hidden: The frame has no face.
            ignored: The measurement is wrong; bridge it.
            offset: Added to the face, by the names of `contract.landmarks.FACE_OFFSETS`.

        Raises:
            TrackError: There is no such person, frame, landmark or offset.
        """
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
    """Returns the track with every person's final faces made anew from what was measured and overridden."""
    return replace(
        track, people=tuple(replace(person, faces=_build_final_faces(track, person)) for person in track.people)
    )


def carry_overrides(track: Track, previous: Track) -> Track:
    """Returns `track` with the manual overrides of an earlier analysis of the same clip.

    Each override goes to the person who stands where the earlier one stood, or looks most like them.
    """
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
    is_read = track.landmarker == MESH_LANDMARKER and all(face.mesh is not None for face in person.measured.values())
    samples = [
        FaceSample(
            order[frame],
            np.array(face.box) * (track.pixel_aspect, 1, track.pixel_aspect, 1),
            face.euler,
            face.confidence,
            face.begins,
            None if face.mesh is None else face.mesh * (*scale, 1.0),
            None if is_read else face.landmarks * scale,
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
        landmarks, mesh = _join_points(result, scale)
        faces[frame] = round_face(
            Face(
                frame,
                convert_to_tuple(result.box / (track.pixel_aspect, 1, track.pixel_aspect, 1)),
                landmarks,
                result.euler,
                result.confidence,
                origin,
                wflw=None if result.wflw is None else result.wflw / scale,
                mesh=mesh,
            )
        )
    for frame, override in person.overrides.items():
        if override.hidden:
            faces.pop(frame, None)
        elif frame in faces and override.landmarks:
            faces[frame] = apply_override(faces[frame], override, track.pixel_aspect)
        elif len(override.landmarks) == 68:
            placed = np.array([override.landmarks[index] for index in range(68)])
            faces[frame] = make_face(frame, placed, 1.0, origin="edited", pixel_aspect=track.pixel_aspect)
        if override.offset and frame in faces:
            faces[frame] = apply_offset(faces[frame], override.offset, track.pixel_aspect)
    return dict(sorted(faces.items()))


def _join_points(result: FaceSample, scale: Vector) -> tuple[Points68, Mesh]:
    """Landmarks and mesh in plate coordinates that fit each other; chosen landmarks bend the mesh."""
    mesh = None if result.mesh is None else result.mesh / (*scale, 1.0)
    landmarks = None if result.landmarks is None else result.landmarks / scale
    if landmarks is None:
        assert mesh is not None
        return read_landmarks68(mesh), mesh
    if mesh is None:
        return landmarks, fit_mesh_to_landmarks(landmarks, float(scale[0]))
    return landmarks, carry_mesh(mesh, read_landmarks68(mesh), landmarks)


def _measure_point_distance(person: Person, point: tuple[float, float]) -> float:
    """Median distance of the face's middle from the point, in plate pixels."""
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
