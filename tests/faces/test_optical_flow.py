import numpy as np
import pytest

from fsgan_core.faces.landmarks import DlibLandmarker
from fsgan_core.faces.optical_flow import measure_motion
from tests.faces.helpers import shifted


@pytest.fixture(scope="module")
def landmarks(landmarker: DlibLandmarker, astronaut: np.ndarray) -> np.ndarray:
    return landmarker.locate(astronaut, [(176.0, 70.0, 102.0, 102.0)])[0]


@pytest.mark.parametrize("step", [(0.0, 0.0), (0.3, -0.45), (4.2, 2.1)])
def test_known_motion_is_found(astronaut: np.ndarray, landmarks: np.ndarray, step: tuple[float, float]) -> None:
    found = measure_motion(astronaut, shifted(astronaut, *step), landmarks)
    error = np.linalg.norm(found[:, :2] - step, axis=1)
    assert np.median(error) < 0.03 and np.percentile(error, 90) < 0.15
    assert np.median(found[:, 2]) < 0.03


def test_guess_bridges_a_large_step(astronaut: np.ndarray, landmarks: np.ndarray) -> None:
    after = shifted(astronaut, 60.0, 30.0)
    found = measure_motion(astronaut, after, landmarks, landmarks + np.array([58.0, 31.0]))
    assert np.median(np.linalg.norm(found[:, :2] - (60, 30), axis=1)) < 0.1


def test_miss_is_large_where_the_picture_changed(astronaut: np.ndarray, landmarks: np.ndarray) -> None:
    after = astronaut.copy()
    after[110:170] = np.random.default_rng(1).integers(0, 255, after[110:170].shape)
    found = measure_motion(astronaut, after, landmarks)
    hidden = (landmarks[:, 1] > 118) & (landmarks[:, 1] < 162)
    assert np.median(found[hidden, 2]) > 10 * max(np.median(found[landmarks[:, 1] < 100, 2]), 0.01)


def test_flat_pictures_give_finite_numbers(landmarks: np.ndarray) -> None:
    flat = np.full((300, 300, 3), 128, np.uint8)
    assert np.isfinite(measure_motion(flat, flat, landmarks)).all()
    assert np.isfinite(measure_motion(flat, flat, landmarks + 5000)).all()
