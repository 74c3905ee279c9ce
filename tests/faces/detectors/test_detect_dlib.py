from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.detectors import detect_dlib
from fsgan_core.faces.detectors.choose_detector import make_detector
from fsgan_core.faces.detectors.detect_dlib import CnnDetector, HogDetector
from fsgan_core.faces.geometry import compute_overlap

ASTRONAUT = (176.0, 70.0, 102.0, 102.0)  # box of the face
PATCH = (325.0, 330.0, 70.0, 70.0)  # the patches on the suit, which HOG takes for faces


def turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(picture, matrix, (width, height))


class TestHog:
    def test_the_patches_on_the_suit_do_not_win(self, detector: HogDetector, astronaut: np.ndarray) -> None:
        found = detector.detect(astronaut)
        assert compute_overlap(found[0].box, ASTRONAUT) > 0.7
        assert found[0].confidence > 0.9
        assert all(other.confidence < 0.12 for other in found[1:])

    def test_hog_alone_is_fooled(self, detector: HogDetector, astronaut: np.ndarray) -> None:
        """The reason for the check by landmarks."""
        assert len(detector.find_candidates(astronaut)) > 1

    def test_glasses_and_hat(self, detector: HogDetector, grace_hopper: np.ndarray) -> None:
        found = detector.detect(grace_hopper)
        assert found[0].confidence > 0.8 and compute_overlap(found[0].box, (165, 140, 200, 200)) > 0.7

    @pytest.mark.parametrize("degrees", [-35, 35])
    def test_tilted_head(self, detector: HogDetector, astronaut: np.ndarray, degrees: float) -> None:
        found = detector.detect(turned(astronaut, degrees))
        assert found[0].confidence > 0.5 and 85 < found[0].box[2] < 120

    def test_face_of_sixty_pixels(self, detector: HogDetector, astronaut: np.ndarray) -> None:
        small = cv2.resize(astronaut, None, fx=0.58, fy=0.58, interpolation=cv2.INTER_AREA)
        canvas = np.full((480, 640, 3), 90, np.uint8)
        canvas[100 : 100 + small.shape[0], 200 : 200 + small.shape[1]] = small
        found = detector.detect(canvas)
        assert found[0].confidence > 0.8 and 52 < found[0].box[2] < 68

    def test_no_face(self, detector: HogDetector) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
        assert all(found.confidence < 0.15 for found in detector.detect(noise))

    @pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3)])
    def test_tiny_pictures(self, detector: HogDetector, shape: tuple[int, ...]) -> None:
        assert detector.detect(np.zeros(shape, np.uint8)) == []

    def test_the_answer_comes_with_landmarks(self, detector: HogDetector, astronaut: np.ndarray) -> None:
        landmarks = detector.detect(astronaut)[0].landmarks
        assert landmarks is not None and landmarks.shape == (68, 2)


@pytest.mark.usefixtures("dlib_extra")
class TestCnn:
    def test_finds_the_face(self, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(detect_dlib, "_COARSE_PIXELS", 60_000)  # quick enough for a test
        found = make_detector("dlib-cnn").detect(np.ascontiguousarray(astronaut[20:220, 130:330]))
        assert len(found) == 1 and compute_overlap(found[0].box, (46, 50, 102, 102)) > 0.6
        assert found[0].confidence > 0.8

    def test_unreadable_model_is_an_engine_error(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        broken = tmp_path / "broken.dat"
        broken.write_bytes(b"nothing")
        monkeypatch.setattr(models, "find_dlib_model", lambda name: broken)
        with pytest.raises(EngineError, match="reinstall"):
            CnnDetector()
