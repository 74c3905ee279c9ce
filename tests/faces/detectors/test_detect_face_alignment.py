import sys
import types

import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces.detectors import detect_face_alignment
from fsgan_core.faces.detectors.detect_face_alignment import FanDetector


class FakeNetwork:
    """Answers as face-alignment's detectors do."""

    def __init__(self, rows: list[list[float]]) -> None:
        self._rows = rows

    def detect_from_image(self, picture: np.ndarray) -> list[list[float]]:
        assert picture.dtype == np.uint8 and picture[..., 0].size <= 530_000
        return self._rows


class TestFan:
    def test_boxes_come_back_to_the_pictures_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network = FakeNetwork([[96.0, 50.0, 196.0, 150.0, 0.9], [100.0, 52.0, 190.0, 150.0, 0.8]])
        monkeypatch.setattr(detect_face_alignment, "_load_fan_detector", lambda name, device: network)
        found = FanDetector("sfd").detect(np.zeros((1080, 1920, 3), np.uint8))
        assert len(found) == 1  # the second lies in the first
        assert found[0].confidence == 0.9
        np.testing.assert_allclose(found[0].box, (192, 100, 200, 200), atol=4)

    def test_what_cannot_be_fetched_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(**_: object) -> None:
            raise OSError("no network")

        for package in ("sfd", "blazeface"):
            module = types.ModuleType(f"face_alignment.detection.{package}")
            module.FaceDetector = refuse  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, "face_alignment", types.ModuleType("face_alignment"))
            monkeypatch.setitem(sys.modules, "face_alignment.detection", types.ModuleType("face_alignment.detection"))
            monkeypatch.setitem(sys.modules, f"face_alignment.detection.{package}", module)
            with pytest.raises(EngineError, match=r"no network.*choose mesh"):
                FanDetector(package)

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "face_alignment", None)
        monkeypatch.setitem(sys.modules, "face_alignment.detection", None)
        monkeypatch.setitem(sys.modules, "face_alignment.detection.sfd", None)
        with pytest.raises(EngineError, match="face-alignment; install it"):
            FanDetector("sfd")
