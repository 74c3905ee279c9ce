import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.identity import FaceDescriber, compare_descriptors, compute_descriptor, crop_face_chip
from fsgan_core.faces.landmarks import DlibLandmarker


@pytest.fixture(scope="module")
def described(landmarker: DlibLandmarker, astronaut: np.ndarray, grace_hopper: np.ndarray) -> dict[str, np.ndarray]:
    collins = landmarker.locate(astronaut, [(176.0, 70.0, 102.0, 102.0)])[0]
    hopper = landmarker.locate(grace_hopper, [(170.0, 135.0, 195.0, 195.0)])[0]
    mirror = np.ascontiguousarray(astronaut[:, ::-1])
    mirrored = landmarker.locate(mirror, [(234.0, 70.0, 102.0, 102.0)])[0]
    return {
        "collins": compute_descriptor(astronaut, collins),
        "hopper": compute_descriptor(grace_hopper, hopper),
        "shaken": compute_descriptor(astronaut, collins + 0.5),
        "mirrored": compute_descriptor(mirror, mirrored),
        "chip": crop_face_chip(astronaut, collins),
    }


def test_same_person_is_near_another_far(described: dict[str, np.ndarray]) -> None:
    assert described["collins"].shape == (128,) and described["collins"].dtype == np.float64
    assert compare_descriptors(described["collins"], described["shaken"]) < 0.15
    assert compare_descriptors(described["collins"], described["mirrored"]) < 0.4
    assert compare_descriptors(described["collins"], described["hopper"]) > 0.6


def test_chip_is_upright_and_filled(described: dict[str, np.ndarray]) -> None:
    chip = described["chip"]
    assert chip.shape == (150, 150, 3) and chip.dtype == np.uint8
    assert chip[60:110, 50:100].mean() > 100  # skin in the middle


def test_unreadable_model(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(models, "find_dlib_model", lambda name: f"{tmp_path}/none.dat")
    with pytest.raises(EngineError, match="reinstall"):
        FaceDescriber()
