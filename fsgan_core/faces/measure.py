"""Faces measured afresh for evaluation: always by dlib's HOG detector and its 68 points, whatever made the picture.

A face is searched in a window around the place where it must be (where the target's face is), turned upright and
brought to one size, so that target and result are treated alike and small turns of the head do not decide whether a
face counts as found. Landmarks are not smoothed over time. A measurement depends only on the pixels near the face; it
is cached under their digest, in memory and optionally in a folder.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.contract.errors import OutputError
from fsgan_core.faces import models
from fsgan_core.faces.detect import HogDetector, make_detector
from fsgan_core.faces.geometry import Box, apply_affine, invert_affine, sample_crop
from fsgan_core.faces.identity import compute_descriptor
from fsgan_core.faces.landmarks import DlibLandmarker, make_landmarker
from fsgan_core.faces.pose import (
    BOX_CENTRE,
    BOX_SIDE,
    FACE_MODEL,
    compute_pose_box,
    fit_head_pose,
    measure_euler_angles,
)
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Points68, Vector
from fsgan_core.runtime.atomic import write_atomically

log = logging.getLogger(__name__)

MEASURE_VERSION = 2
"""Part of every cache key. Raise it when the way of measuring changes."""

_FACE_SIDE = 160  # pixels; side of a face's box in the searched window; the detector finds faces from 80
_WINDOW_SIDE = 352  # pixels
_CUT_SCALE = 3.2  # box sides; side of the part of the picture that a measurement sees
_MIN_CUT_REACH = 8.0  # pixels; half the side of that part, at least
_MAX_OFF_CENTRE = 0.5  # box sides from the expected place within which a face counts as the expected one
_SEARCH_REACH = 1.5  # box sides from there within which it is searched if it is not there
_MIN_CONFIDENCE = 0.15  # 0..1, of detections in a whole picture
_ROUGH_ROUNDS, _FULL_ROUNDS = 1, 3  # refinements of the landmarks
_MAX_KEPT = 4096  # measurements in memory
_VALUE_COUNT = 68 * 2 + 3 + 128


@dataclass(frozen=True)
class FacePlace:
    """Where a face should be.

    Attributes:
        box: (x, y, width, height), array pixels, as dlib's detector would draw it.
        roll: The head's roll in degrees.
    """

    box: Box
    roll: float = 0.0


@dataclass(frozen=True)
class MeasuredFace:
    """A measured face.

    Attributes:
        landmarks: float64 (68, 2), array pixels.
        euler: (yaw, pitch, roll) in degrees.
        descriptor: float64 (128,).
        place: Where it was searched.
    """

    landmarks: Points68
    euler: tuple[float, float, float]
    descriptor: Descriptor
    place: FacePlace

    @property
    def packed_values(self) -> Vector:
        """Landmarks, Euler angles and descriptor in one array, float64 (267,)."""
        return np.concatenate([self.landmarks.ravel(), self.euler, self.descriptor])


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
        detector = make_detector("dlib")
        assert isinstance(detector, HogDetector)
        places = []
        for found in detector.detect(to_square_pixels(picture, self._pixel_aspect)):
            if found.confidence >= _MIN_CONFIDENCE and found.landmarks is not None:
                places.append(self._compute_place(found.landmarks / (self._pixel_aspect, 1.0)))
        if near is not None:
            places = [place for place in places if _compute_box_distance(place.box, near) < _SEARCH_REACH]
            return min(places, key=lambda place: _compute_box_distance(place.box, near), default=None)
        return max(places, key=lambda place: place.box[2] * place.box[3], default=None)

    def measure_at(self, picture: Image8, place: FacePlace, rough: bool = False) -> MeasuredFace | None:
        """Measures the face at a place.

        Args:
            picture: RGB.
            place: Where the face should be.
            rough: Quick: less steady landmarks, and a descriptor of zeros.

        Returns:
            The face; None if there is none at the place.
        """
        x, y, width, height = place.box
        centre = np.array([x + width / 2, y + height / 2])
        reach = np.maximum(np.array([width, height]) * (_CUT_SCALE / 2), _MIN_CUT_REACH)
        low = np.maximum(np.floor(centre - reach).astype(int), 0)
        high = np.minimum(np.ceil(centre + reach).astype(int) + 1, picture.shape[1::-1])
        if (high - low < 2).any():
            return None
        part = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
        numbers = (float(centre[0] - low[0]), float(centre[1] - low[1]), height, place.roll, self._pixel_aspect)
        key = _compute_measurement_key("rough" if rough else "face", part, numbers)
        values = self.recall_or_measure(key, lambda: _measure_part(part, numbers, rough))
        if not len(values):
            return None
        yaw, pitch, roll = (float(value) for value in values[136:139])
        return MeasuredFace(values[:136].reshape(68, 2) + low, (yaw, pitch, roll), values[139:], place)

    def follow(
        self, picture: Image8, last: MeasuredFace | None = None, hint: Box | None = None, *, search: bool = True
    ) -> MeasuredFace | None:
        """Measures a clip's face in its next frame.

        Args:
            picture: RGB.
            last: The face in the frame before.
            hint: Box where the face should be; None takes the place of `last`.
            search: Search the whole picture if the face is not near either.

        Returns:
            The face; None if there is none.
        """
        near = hint if hint is not None else self.compute_box(last) if last is not None else None
        if near is not None:
            rough = self.measure_at(picture, FacePlace(near, last.euler[2] if last is not None else 0.0), rough=True)
            face = self.measure_at(picture, self._compute_place(rough.landmarks)) if rough is not None else None
            if face is not None:
                return face
        place = self.find(picture, near) if search else None
        return self.measure_at(picture, place) if place is not None else None

    def measure_again(self, picture: Image8, face: MeasuredFace) -> MeasuredFace | None:
        """Measures the face of this picture at the place where `face` was measured in another picture."""
        return self.measure_at(picture, face.place)

    def compute_box(self, face: MeasuredFace) -> Box:
        """Computes the square around a face as dlib's detector would draw it, on whole pixels."""
        return self._compute_place(face.landmarks).box

    def _compute_place(self, landmarks: Points68) -> FacePlace:
        # Whole numbers, so that the measurement does not depend on how the face was found.
        pose = fit_head_pose(landmarks, self._pixel_aspect)
        x, y, width, height = compute_pose_box(pose, self._pixel_aspect)
        box = (float(round(x)), float(round(y)), float(round(width)), float(round(height)))
        return FacePlace(box, float(round(pose.angles[2])))

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


def _measure_part(part: Image8, place: tuple[float, float, float, float, float], rough: bool) -> Vector:
    """Packed values, float64 (267,), of the face at about a place; empty if there is none.

    Args:
        part: RGB; the landmarks are in its pixels.
        place: Centre of the face's box (x, y), its side in square pixels, roll, pixel aspect.
        rough: See `FaceGauge.measure_at`.
    """
    x, y, side, roll, aspect = place
    picture = to_square_pixels(part, aspect)
    angle = np.radians(-roll)
    turn = _FACE_SIDE / max(side, 1.0) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    to_window = np.column_stack([turn, _WINDOW_SIDE / 2 - turn @ (x * aspect, y)])
    window = np.ascontiguousarray(sample_crop(picture, to_window, _WINDOW_SIDE))
    hog = models.get_shared(("hog",), lambda: models.import_dlib().get_frontal_face_detector())
    expected = (_WINDOW_SIDE / 2 - _FACE_SIDE / 2,) * 2 + (_FACE_SIDE,) * 2
    boxes = [(found.left(), found.top(), found.width(), found.height()) for found in hog(window, 0)]
    boxes = [box for box in boxes if _compute_box_distance(box, expected) < _MAX_OFF_CENTRE]
    if not boxes:
        return np.zeros(0)
    left, top, width, height = min(boxes, key=lambda box: _compute_box_distance(box, expected))
    guess = (FACE_MODEL[:, :2] - BOX_CENTRE[:2]) * (width / BOX_SIDE) + (left + width / 2, top + height / 2)
    landmarker = make_landmarker("dlib")
    assert isinstance(landmarker, DlibLandmarker)
    landmarks = landmarker.locate_from(
        picture, apply_affine(invert_affine(to_window), guess), rounds=_ROUGH_ROUNDS if rough else _FULL_ROUNDS
    )
    descriptor = np.zeros(128) if rough else compute_descriptor(picture, landmarks)
    return np.concatenate([(landmarks / (aspect, 1.0)).ravel(), measure_euler_angles(landmarks), descriptor])


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
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape in ((0,), (_VALUE_COUNT,)) else None


def _save_values(path: Path, values: Vector) -> bool:
    """Whether the values could be cached. If the cache is not writable, measuring goes on without it."""
    try:
        with write_atomically(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, values.astype("<f8"))
    except OutputError as error:
        log.warning("measurements are not cached: %s", error)
        return False
    return True
