"""Faces measured afresh for evaluation: always by the mesh network, whatever made the picture.

A face is measured in a square around the place where it must be (where the target's face is), so that target and result
are treated alike. The mesh is the mean over a few slightly moved and mirrored crops; it is not smoothed over time.
Where dlib's model of 68 landmarks is installed, it judges too. A measurement depends only on the pixels near the face;
it is cached under their digest, in memory and optionally in a folder.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError, OutputError, WeightsError
from fsgan_core.faces.detectors.choose_detector import make_detector
from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.geometry import Box, grow_box
from fsgan_core.faces.identity import compute_descriptor
from fsgan_core.faces.landmarkers.landmarks import DlibLandmarker, make_landmarker
from fsgan_core.faces.mesh import VERTEX_COUNT, read_landmarks68
from fsgan_core.faces.mesh_network import FACE_THRESHOLD, fit_square_to_mesh, measure_meshes
from fsgan_core.faces.mesh_pose import fit_mesh_pose
from fsgan_core.faces.pose import compute_face_box
from fsgan_core.runtime.array_files import ARRAY_FILE_ERRORS
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Mesh, Points68, Vector
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import seal_bytes, unseal_bytes

log = logging.getLogger(__name__)

MEASURE_VERSION = 3
"""Part of every cache key. Raise it when the way of measuring changes."""

_REGION_OVER_BOX = 1.65  # that square's side over the side of the face's box (faces.pose), for a frontal face
_CUT_SCALE = 1.9  # sides of that square; side of the part of the picture that a measurement sees
_MIN_CUT_REACH = 8.0  # pixels; half the side of that part, at least
_MIN_SQUARE_SIDE = 8  # pixels; a smaller face cannot be measured
_MAX_OFF_CENTRE = 0.3  # sides of the square within which a face counts as the expected one
_SEARCH_REACH = 1.0  # sides of the square within which a lost face is searched
_CROP_SHIFTS = ((0.0, 0.0, 1.0), (0.02, -0.015, 1.04))  # x and y in sides of the square, and a factor of its side
_DLIB_ROUNDS = 3  # refinements of dlib's landmarks
_MAX_KEPT = 4096  # measurements in memory
_MESH_VALUES, _DLIB_VALUES, _DESCRIPTOR_VALUES = VERTEX_COUNT * 3, 68 * 2, 128
_VALUE_COUNT = 4 + 1 + 3 + _MESH_VALUES + _DLIB_VALUES + _DESCRIPTOR_VALUES


@dataclass(frozen=True)
class FacePlace:
    """Where a face should be.

    Attributes:
        box: The square that the mesh network looks at, (x, y, width, height) in array pixels, before it is turned.
        roll: How far the square is turned about its middle: the head's roll in degrees.
    """

    box: Box
    roll: float = 0.0


@dataclass(frozen=True)
class MeasuredFace:
    """A measured face.

    Attributes:
        mesh: float64 (478, 3), array pixels; z in rows.
        euler: (yaw, pitch, roll) in degrees.
        descriptor: float64 (128,).
        place: Where it was searched.
        dlib_landmarks: dlib's landmarks, float64 (68, 2), array pixels; None if its model is not installed.
    """

    mesh: Mesh
    euler: tuple[float, float, float]
    descriptor: Descriptor
    place: FacePlace
    dlib_landmarks: Points68 | None = None

    @property
    def landmarks(self) -> Points68:
        """The 68 landmarks that are read from the mesh, float64 (68, 2), array pixels."""
        return read_landmarks68(self.mesh)

    @property
    def packed_values(self) -> Vector:
        """All of it in one array, float64; what is absent is NaN."""
        dlib = np.full((68, 2), np.nan) if self.dlib_landmarks is None else self.dlib_landmarks
        parts = (self.place.box, (self.place.roll,), self.euler, self.mesh.ravel(), dlib.ravel(), self.descriptor)
        return np.concatenate(parts)

    @classmethod
    def unpack(cls, values: Vector) -> MeasuredFace:
        """Makes the face of packed values."""
        box, roll, euler, mesh, dlib, descriptor = np.split(values, np.cumsum([4, 1, 3, _MESH_VALUES, _DLIB_VALUES]))
        return cls(
            mesh.reshape(VERTEX_COUNT, 3),
            (float(euler[0]), float(euler[1]), float(euler[2])),
            descriptor,
            FacePlace((float(box[0]), float(box[1]), float(box[2]), float(box[3])), float(roll[0])),
            None if np.isnan(dlib[0]) else dlib.reshape(68, 2),
        )

    def shift(self, x: float, y: float) -> MeasuredFace:
        """Returns the face moved by x and y array pixels."""
        left, top, width, height = self.place.box
        return replace(
            self,
            mesh=self.mesh + np.array([x, y, 0.0]),
            place=replace(self.place, box=(left + x, top + y, width, height)),
            dlib_landmarks=None if self.dlib_landmarks is None else self.dlib_landmarks + np.array([x, y]),
        )


class FaceGauge:
    """Measures faces and caches the measurements. One thread at a time."""

    def __init__(self, folder: Path | None = None, pixel_aspect: float = 1.0) -> None:
        """Sets up the cache.

        Args:
            folder: Where measurements are kept between processes; None keeps them in memory only.
            pixel_aspect: Width of a pixel over its height.
        """
        self._folder = folder
        self._pixel_aspect = pixel_aspect
        self._memory: OrderedDict[str, Vector] = OrderedDict()

    def find(self, picture: Image8, near: Sequence[float] | None = None) -> FacePlace | None:
        """Finds a face anywhere in a picture.

        Args:
            picture: RGB.
            near: Box near which to search; None takes the largest face.

        Returns:
            The place of the face; None if there is none.
        """
        square_pixels = to_square_pixels(picture, self._pixel_aspect)
        places = [_make_place(face.square, self._pixel_aspect) for face in make_detector("mesh").detect(square_pixels)]
        if near is not None:
            places = [place for place in places if _compute_box_distance(place.box, near) < _SEARCH_REACH]
            return min(places, key=lambda place: _compute_box_distance(place.box, near), default=None)
        return max(places, key=lambda place: place.box[3], default=None)

    def measure_at(self, picture: Image8, place: FacePlace, rough: bool = False) -> MeasuredFace | None:
        """Measures the face at a place.

        Args:
            picture: RGB.
            place: Where the face should be.
            rough: Quick: a less steady mesh, no landmarks of dlib, and a descriptor of zeros.

        Returns:
            The face; None if there is none at the place.
        """
        x, y, width, height = place.box
        centre = np.array([x + width / 2, y + height / 2])
        reach = np.maximum(np.array([width, height]) * (_CUT_SCALE / 2), _MIN_CUT_REACH)
        low = np.maximum(np.floor(centre - reach).astype(int), 0)
        high = np.minimum(np.ceil(centre + reach).astype(int) + 1, picture.shape[1::-1])
        if (high - low < 2).any() or height < _MIN_SQUARE_SIDE:
            return None
        part = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
        numbers = (float(centre[0] - low[0]), float(centre[1] - low[1]), height, place.roll, self._pixel_aspect)
        kind = "rough" if rough else "face" if _find_dlib_landmarker() is None else "face, dlib"
        key = _compute_measurement_key(kind, part, numbers)
        values = self.recall_or_measure(key, lambda: _measure_part(part, numbers, rough))
        if not len(values):
            return None
        face = MeasuredFace.unpack(values).shift(float(low[0]), float(low[1]))
        return replace(face, place=place)  # exactly, without the rounding of the shift

    def follow(
        self, picture: Image8, last: MeasuredFace | None = None, hint: Box | None = None, *, search: bool = True
    ) -> MeasuredFace | None:
        """Measures a clip's face in its next frame.

        Args:
            picture: RGB.
            last: The face in the frame before.
            hint: The box (`faces.pose.compute_face_box`) of the face; None takes the place of `last`.
            search: Search the whole picture if the face is not near either.

        Returns:
            The face; None if there is none.
        """
        near = grow_box(hint, _REGION_OVER_BOX) if hint is not None else last.place.box if last is not None else None
        if near is not None:
            face = self._measure_near(picture, FacePlace(near, last.place.roll if last is not None else 0.0))
            if face is not None:
                return face
        place = self.find(picture, near) if search else None
        return self._measure_near(picture, place) if place is not None else None

    def _measure_near(self, picture: Image8, place: FacePlace) -> MeasuredFace | None:
        """Measures the face near a place: first roughly, then in the square that suits it."""
        rough = self.measure_at(picture, place, rough=True)
        return self.measure_at(picture, self._compute_place(rough.mesh)) if rough is not None else None

    def measure_again(self, picture: Image8, face: MeasuredFace) -> MeasuredFace | None:
        """Measures the face of this picture at the place where `face` was measured in another picture."""
        return self.measure_at(picture, face.place)

    def compute_box(self, face: MeasuredFace) -> Box:
        """Computes the square around a face (`faces.pose.compute_face_box`), on whole pixels."""
        x, y, width, height = compute_face_box(face.landmarks, self._pixel_aspect)
        return (float(round(x)), float(round(y)), float(round(width)), float(round(height)))

    def _compute_place(self, mesh: Mesh) -> FacePlace:
        return _make_place(fit_square_to_mesh(mesh * (self._pixel_aspect, 1.0, 1.0)), self._pixel_aspect)

    def recall_or_measure(self, key: str, measure: Callable[[], Vector]) -> Vector:
        """Returns the cached measurement of `key`, or measures and caches it.

        Returns:
            The packed values of a face, or an empty array if there is none.
        """
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        path = self._folder / key[:2] / f"{key}.npy" if self._folder is not None else None
        values = _load_values(path) if path is not None else None
        if values is None:
            values = measure()
            if path is not None and not _save_values(path, values):
                self._folder = None
        self._memory[key] = values
        if len(self._memory) > _MAX_KEPT:
            self._memory.popitem(last=False)
        return values


def _make_place(square: RotatedSquare, aspect: float) -> FacePlace:
    """The place of a square in square pixels; in whole numbers, so that it hardly depends on how the face was found."""
    x, y = (float(value) for value in square.centre)
    width, height = float(round(square.side / aspect)), float(round(square.side))
    box = (float(round(x / aspect - width / 2)), float(round(y - height / 2)), width, height)
    return FacePlace(box, float(round(np.degrees(square.angle))))


def _find_dlib_landmarker() -> DlibLandmarker | None:
    """The landmarker of dlib, if it is installed and allowed."""
    try:
        landmarker = make_landmarker("dlib")
    except (EngineError, WeightsError):
        return None
    return landmarker if isinstance(landmarker, DlibLandmarker) else None


def _measure_part(part: Image8, place: tuple[float, float, float, float, float], rough: bool) -> Vector:
    """Packed values of the face at about a place; empty if there is none.

    Args:
        part: RGB; the mesh is in its pixels.
        place: Centre of the square (x, y), its side in square pixels, roll, pixel aspect.
        rough: See `FaceGauge.measure_at`.
    """
    x, y, side, roll, aspect = place
    picture = to_square_pixels(part, aspect)
    centre = np.array([x * aspect, y])
    squares = [
        RotatedSquare(centre + np.array([dx, dy]) * side, side * scale, float(np.radians(roll)))
        for dx, dy, scale in (_CROP_SHIFTS[:1] if rough else _CROP_SHIFTS)
    ]
    answers = [
        measure_meshes(picture, squares, mirrored=mirrored) for mirrored in ((False,) if rough else (False, True))
    ]
    mesh = np.mean([meshes.mean(axis=0) for meshes, _ in answers], axis=0)
    probability = float(np.mean([found.mean() for _, found in answers]))
    middle = (mesh[:, :2].min(axis=0) + mesh[:, :2].max(axis=0)) / 2
    if probability < FACE_THRESHOLD or np.linalg.norm(middle - centre) > _MAX_OFF_CENTRE * side:
        return np.zeros(0)
    landmarks = read_landmarks68(mesh)
    dlib: Points68 = np.full((68, 2), np.nan)
    descriptor: Descriptor = np.zeros(128)
    if not rough:
        descriptor = compute_descriptor(picture, landmarks)
        landmarker = _find_dlib_landmarker()
        if landmarker is not None:
            dlib = landmarker.locate_from(picture, landmarks, rounds=_DLIB_ROUNDS) / (aspect, 1.0)
    square = (x - side / aspect / 2, y - side / 2, side / aspect, side)
    euler = fit_mesh_pose(mesh).angles
    mesh = mesh / (aspect, 1.0, 1.0)
    return MeasuredFace(mesh, euler, descriptor, FacePlace(square, roll), dlib).packed_values


def to_square_pixels(picture: AnyArray, aspect: float) -> AnyArray:
    """Resamples a picture to square pixels; (x, y) goes to (x * aspect, y), up to a fixed fraction of a pixel."""
    if aspect == 1.0:
        return picture
    matrix = np.array([[aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])
    size = (max(1, round(picture.shape[1] * aspect)), picture.shape[0])
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _compute_box_distance(box: Sequence[float], other: Sequence[float]) -> float:
    """Distance of the centres over the larger side of `other`."""
    x, y = (box[i] + box[i + 2] / 2 - other[i] - other[i + 2] / 2 for i in (0, 1))
    return float(np.hypot(x, y) / max(other[2], other[3], 1e-6))


def _compute_measurement_key(kind: str, pixels: AnyArray, numbers: Sequence[float]) -> str:
    hashed = hashlib.blake2b(f"{MEASURE_VERSION} {kind} {pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    hashed.update(np.round(numbers, 3).astype("<f8").tobytes())
    hashed.update(pixels.tobytes())
    return hashed.hexdigest()


def _load_values(path: Path) -> Vector | None:
    """The cached values; None if there are none or they cannot be read."""
    try:
        values = np.load(io.BytesIO(unseal_bytes(path.read_bytes())), allow_pickle=False)
    except ARRAY_FILE_ERRORS:
        return None
    return values if values.shape in ((0,), (_VALUE_COUNT,)) else None


def _save_values(path: Path, values: Vector) -> bool:
    """Whether the values could be cached. If the cache is not writable, measuring goes on without it."""
    try:
        content = io.BytesIO()
        np.save(content, values.astype("<f8"))
        with write_atomically(path) as temporary:
            temporary.write_bytes(seal_bytes(content.getvalue()))
    except OutputError as error:
        log.warning("measurements are not cached: %s", error)
        return False
    return True
