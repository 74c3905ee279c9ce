import sys
import types

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces import models
from fsgan_core.faces.geometry import apply_affine, fit_similarity
from fsgan_core.faces.landmarkers import landmarks as module
from fsgan_core.faces.landmarkers.landmarks import (
    DlibLandmarker,
    FanLandmarker,
    make_landmarker,
    measure_eye_distance,
    measure_eye_opening,
    measure_mouth_opening,
)
from fsgan_core.faces.pose import FACE_MODEL, MIRROR_ORDER
from tests.faces.helpers import head, shifted

BOX = (176.0, 70.0, 102.0, 102.0)


@pytest.fixture(scope="module")
def found(landmarker: DlibLandmarker, astronaut: np.ndarray) -> np.ndarray:
    return landmarker.locate(astronaut, [BOX])[0]


class TestDlib:
    def test_points_are_where_a_face_has_them(self, found: np.ndarray) -> None:
        fit = fit_similarity(FACE_MODEL[:, :2], found)
        assert np.linalg.norm(apply_affine(fit, FACE_MODEL[:, :2]) - found, axis=1).max() < 0.2 * measure_eye_distance(
            found
        )
        np.testing.assert_allclose(found[36:48].mean(0), (225, 103), atol=3)

    def test_the_detectors_box_hardly_matters(
        self, landmarker: DlibLandmarker, astronaut: np.ndarray, found: np.ndarray
    ) -> None:
        for box in ((170.0, 76.0, 96.0, 96.0), (182.0, 66.0, 110.0, 110.0)):
            moved = landmarker.locate(astronaut, [box])[0]
            assert np.linalg.norm(moved - found, axis=1).mean() < 0.006 * measure_eye_distance(found)

    def test_follows_a_fraction_of_a_pixel(
        self, landmarker: DlibLandmarker, astronaut: np.ndarray, found: np.ndarray
    ) -> None:
        for x, y in ((0.25, 0.0), (0.5, 0.7), (3.3, -2.6)):
            moved = landmarker.locate_from(shifted(astronaut, x, y), found)
            error = moved - found - (x, y)
            assert np.abs(error.mean(0)).max() < 0.1
            assert np.sqrt((error**2).sum(1).mean()) < 0.005 * measure_eye_distance(found) + 0.05

    def test_size_of_the_face_does_not_matter(
        self, landmarker: DlibLandmarker, astronaut: np.ndarray, found: np.ndarray
    ) -> None:
        large = cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        there = landmarker.locate_from(large, found * 3 + 1)
        assert np.linalg.norm((there - 1) / 3 - found, axis=1).mean() < 0.012 * measure_eye_distance(found)

    def test_mirror_image_has_mirrored_points(
        self, landmarker: DlibLandmarker, astronaut: np.ndarray, found: np.ndarray
    ) -> None:
        mirrored = np.ascontiguousarray(astronaut[:, ::-1])
        there = landmarker.locate_from(mirrored, (found * (-1, 1) + (511, 0))[MIRROR_ORDER])
        back = (there * (-1, 1) + (511, 0))[MIRROR_ORDER]
        assert np.linalg.norm(back - found, axis=1).mean() < 0.004 * measure_eye_distance(found)

    def test_tilted_face(self, landmarker: DlibLandmarker, astronaut: np.ndarray, found: np.ndarray) -> None:
        matrix = cv2.getRotationMatrix2D((227.0, 114.0), 40, 1.0)
        turned = cv2.warpAffine(astronaut, matrix, (512, 512), flags=cv2.INTER_CUBIC)
        there = landmarker.locate_from(turned, apply_affine(matrix, found) + 2.0)
        assert np.linalg.norm(there - apply_affine(matrix, found), axis=1).mean() < 0.012 * measure_eye_distance(found)

    def test_shakes_half_as_much_as_the_bare_predictor(self, landmarker: DlibLandmarker, astronaut: np.ndarray) -> None:
        """On a face that drifts by fractions of a pixel with fresh noise in every frame."""
        dlib = models.import_dlib()
        noise = np.random.default_rng(7)
        averaged, bare = [], []
        for step in range(6):
            picture = shifted(astronaut, 0.37 * step, 0.21 * step).astype(float) + noise.normal(size=(512, 512, 3)) * 4
            picture = np.clip(picture, 0, 255).astype(np.uint8)
            motion = (0.37 * step, 0.21 * step)
            averaged.append(landmarker.locate(picture, [BOX])[0] - motion)
            shape = landmarker._predictor(picture, dlib.rectangle(176, 70, 278, 172))
            bare.append(np.array([(p.x, p.y) for p in shape.parts()]) - motion)
        assert np.std(averaged, axis=0).mean() < 0.5 * np.std(bare, axis=0).mean()

    def test_no_boxes(self, landmarker: DlibLandmarker, astronaut: np.ndarray) -> None:
        assert landmarker.locate(astronaut, []).shape == (0, 68, 2)

    def test_box_outside_the_picture_is_finite(self, landmarker: DlibLandmarker, astronaut: np.ndarray) -> None:
        assert np.isfinite(landmarker.locate(astronaut, [(900.0, -300.0, 80.0, 80.0)])).all()


class TestMake:
    def test_auto_never_fetches(self, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(module, "_load_fan", lambda device: pytest.fail("tried to fetch"))
        assert make_landmarker("auto").name == "mesh"

    def test_unknown_name(self) -> None:
        with pytest.raises(EngineError, match="choose one of auto, hrnet, mesh, fan, dlib"):
            make_landmarker("dlib5")

    @pytest.mark.usefixtures("dlib_extra")
    def test_unreadable_model(self, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
        monkeypatch.setattr(models, "find_dlib_model", lambda name: f"{tmp_path}/none.dat")
        with pytest.raises(EngineError, match="reinstall"):
            DlibLandmarker()


class FakeFan:
    """Answers as face-alignment does."""

    def get_landmarks_from_image(self, picture: np.ndarray, detected_faces: list[list[float]]) -> list[np.ndarray]:
        return [np.full((68, 2), corners[0], np.float32) for corners in detected_faces]


class TestFan:
    def test_one_answer_per_box(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_load_fan", lambda device: FakeFan())
        fan = FanLandmarker()
        picture = np.zeros((50, 50, 3), np.uint8)
        found = fan.locate(picture, [(1.0, 2.0, 20.0, 20.0), (5.0, 2.0, 20.0, 20.0)])
        assert found.shape == (2, 68, 2) and found.dtype == np.float64 and found[1, 0, 0] == 5
        assert fan.locate(picture, []).shape == (0, 68, 2)

    def test_what_cannot_be_fetched_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError("no network")

        fake = types.ModuleType("face_alignment")
        fake.FaceAlignment = refuse  # type: ignore[attr-defined]
        fake.LandmarksType = types.SimpleNamespace(TWO_D=1)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "face_alignment", fake)
        with pytest.raises(EngineError, match=r"no network.*choose mesh"):
            FanLandmarker()
        monkeypatch.setitem(sys.modules, "face_alignment", None)
        with pytest.raises(EngineError, match="need the package face-alignment"):
            FanLandmarker()


class TestOpenings:
    def test_relative_to_the_eyes(self) -> None:
        landmarks = head()
        assert measure_mouth_opening(landmarks * 5) == pytest.approx(measure_mouth_opening(landmarks))
        wide = landmarks.copy()
        wide[65:68, 1] += 40
        assert measure_mouth_opening(wide) > measure_mouth_opening(landmarks) + 0.1
        shut = landmarks.copy()
        shut[[41, 40, 47, 46]] = shut[[37, 38, 43, 44]]
        assert measure_eye_opening(shut) == pytest.approx(0) and measure_eye_opening(landmarks) > 0.05

    def test_many_at_once(self) -> None:
        assert measure_eye_opening(np.stack([head(), head(10)])).shape == (2,)
        assert measure_mouth_opening(np.stack([head(), head(10)])).shape == (2,)
