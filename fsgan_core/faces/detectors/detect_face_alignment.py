"""The face detectors of the package face-alignment: SFD and BlazeFace."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.detectors.detector_interface import Detection, drop_duplicates
from fsgan_core.faces.geometry import apply_affine, invert_affine, resize_picture
from fsgan_core.faces.mesh_measure import fit_square_to_box
from fsgan_core.runtime.arrays import Image8

_SEARCH_PIXELS = 520_000  # how large a picture is searched


class FanDetector:
    """A detector of face-alignment: "sfd" or "blazeface"."""

    search_pixels = fine_pixels = _SEARCH_PIXELS

    def __init__(self, name: str, device: str = "cpu") -> None:
        self.name = name
        self._network = _load_fan_detector(name, device)
        self._lock = threading.Lock()

    def detect(self, picture: Image8) -> list[Detection]:
        """Finds all faces; see `Detector.detect`."""
        small, matrix = resize_picture(picture, min(1.0, np.sqrt(_SEARCH_PIXELS / picture[..., 0].size)))
        with self._lock:
            rows: Sequence[Any] = self._network.detect_from_image(np.ascontiguousarray(small))
        back = invert_affine(matrix)
        detections = []
        for row in rows:
            low, high = apply_affine(back, np.asarray(row[:4], np.float64).reshape(2, 2))
            box = (*low, *(high - low))
            detections.append(Detection(box, float(np.clip(row[4], 0.0, 1.0)), fit_square_to_box(box)))
        return drop_duplicates(detections)

    def find_candidates(self, picture: Image8, fine: bool = False) -> list[Detection]:
        """Finds all faces, as `detect` does; this network is not faster with less proof."""
        return self.detect(picture)


def _load_fan_detector(name: str, device: str) -> Any:
    try:
        if name == "sfd":
            from face_alignment.detection.sfd import FaceDetector
        else:
            from face_alignment.detection.blazeface import FaceDetector
    except ImportError as error:
        raise EngineError(
            f"the detector '{name}' needs the package face-alignment; install it, or choose mesh"
        ) from error
    try:
        return FaceDetector(device=device)
    except Exception as error:  # a failed download may raise anything from URLError to RuntimeError
        raise models.make_fan_error(name, error) from error
