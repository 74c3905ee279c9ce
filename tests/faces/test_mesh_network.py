"""The dense face of the public-domain astronaut, and its regions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.faces import mesh as face_mesh
from fsgan_core.faces.detectors.detect_blaze import find_faces
from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.mesh_network import (
    FACE_THRESHOLD,
    fit_square_to_detection,
    fit_square_to_mesh,
    measure_crops,
    measure_meshes,
)

CASES = np.load(Path(__file__).parents[1] / "data" / "parity" / "mediapipe.npz")
EYE_DISTANCE = 46.0  # pixels of the astronaut


@pytest.fixture(scope="module")
def square(astronaut: np.ndarray) -> RotatedSquare:
    (face,) = find_faces(astronaut)
    meshes, _ = measure_meshes(astronaut, [fit_square_to_detection(face.box, face.keypoints)])
    return fit_square_to_mesh(meshes[0])


class TestOriginal:
    """The points of the original interpreter, put together."""

    def test_skin_where_nothing_is_finer(self) -> None:
        (mesh,), (probability,) = measure_crops([CASES["face_mesh/picture"]])
        skin = CASES["face_mesh/mesh"].reshape(468, 3)
        np.testing.assert_allclose(mesh[[10, 1, 152, 234, 454]], skin[[10, 1, 152, 234, 454]], atol=1e-3)
        np.testing.assert_allclose(mesh[:468, 2], skin[:, 2], atol=1e-3)
        assert probability == pytest.approx(float(CASES["face_mesh/face"][0]), abs=1e-5)

    def test_lips_eyes_and_irises(self) -> None:
        (mesh,), _ = measure_crops([CASES["face_mesh/picture"]])
        case = {
            name: CASES[f"face_mesh/{name}"] for name in ("lips", "left_eye", "right_eye", "left_iris", "right_iris")
        }
        np.testing.assert_allclose(mesh[[61, 291, 13, 14], :2], case["lips"][[0, 10, 35, 25]], atol=1e-3)
        np.testing.assert_allclose(mesh[[33, 133], :2], case["left_eye"][[0, 8]], atol=1e-3)
        np.testing.assert_allclose(mesh[[263, 362], :2], case["right_eye"][[0, 8]], atol=1e-3)
        np.testing.assert_allclose(mesh[face_mesh.IRIS_R, :2], case["left_iris"], atol=1e-3)
        np.testing.assert_allclose(mesh[face_mesh.IRIS_L, :2], case["right_iris"], atol=1e-3)
        assert np.ptp(mesh[face_mesh.IRIS_R, 2]) == 0
        assert mesh[468, 2] == pytest.approx(mesh[list(face_mesh.LIDS_R), 2].mean())


class TestMeshes:
    def test_lies_on_the_face(self, astronaut: np.ndarray, square: RotatedSquare) -> None:
        (mesh,), (probability,) = measure_meshes(astronaut, [square])
        assert probability > FACE_THRESHOLD
        np.testing.assert_allclose(mesh[468, :2], (203, 101), atol=2.5)
        np.testing.assert_allclose(mesh[473, :2], (247, 104), atol=2.5)
        np.testing.assert_allclose(mesh[152, :2], (221, 177), atol=3)
        assert mesh[1, 2] < mesh[234, 2], "the nose is nearer than an ear"

    def test_settles(self, astronaut: np.ndarray, square: RotatedSquare) -> None:
        """The region of a mesh gives nearly the same mesh again."""
        (first,), _ = measure_meshes(astronaut, [square])
        (second,), _ = measure_meshes(astronaut, [fit_square_to_mesh(first)])
        assert np.abs(first - second)[:, :2].max() < 0.03 * EYE_DISTANCE

    def test_a_mirrored_look(self, astronaut: np.ndarray, square: RotatedSquare) -> None:
        (plain,), _ = measure_meshes(astronaut, [square])
        (mirrored,), _ = measure_meshes(astronaut, [square], mirrored=True)
        assert np.abs(plain - mirrored)[:, :2].mean() < 0.02 * EYE_DISTANCE

    def test_batch_equals_single(self, astronaut: np.ndarray, square: RotatedSquare) -> None:
        squares = [square, RotatedSquare(square.centre + 3, square.side * 1.1, 0.2), square]
        together, probabilities = measure_meshes(astronaut, squares)
        for number, one in enumerate(squares):
            (alone,), (probability,) = measure_meshes(astronaut, [one])
            assert np.array_equal(together[number], alone) and probabilities[number] == probability
        none, _ = measure_meshes(astronaut, [])
        assert none.shape == (0, 478, 3)

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_turned_pictures(self, astronaut: np.ndarray, square: RotatedSquare, turns: int) -> None:
        """A quarter turn of picture and region turns the mesh."""
        side = len(astronaut)
        x, y = square.centre
        for _ in range(turns):
            x, y = y, side - 1 - x
        turned = RotatedSquare(np.array([x, y]), square.side, square.angle - turns * np.pi / 2)
        (mesh,), _ = measure_meshes(np.ascontiguousarray(np.rot90(astronaut, turns)), [turned])
        (expected,), _ = measure_meshes(astronaut, [square])
        for _ in range(turns):
            expected = np.stack([expected[:, 1], side - 1 - expected[:, 0], expected[:, 2]], 1)
        np.testing.assert_allclose(mesh, expected, atol=0.02 * EYE_DISTANCE)

    def test_no_face(self, astronaut: np.ndarray) -> None:
        _, (probability,) = measure_meshes(astronaut, [RotatedSquare(np.array([60.0, 60.0]), 100.0)])
        assert probability < FACE_THRESHOLD

    def test_beyond_the_picture(self, astronaut: np.ndarray) -> None:
        meshes, _ = measure_meshes(astronaut, [RotatedSquare(np.array([-90.0, 800.0]), 100.0)])
        assert np.isfinite(meshes).all()


def test_points_go_to_the_crop_and_back() -> None:
    square = RotatedSquare(np.array([30.0, 50.0]), 40.0, 0.4)
    points = np.array([[0.0, 0.0], [20.0, 20.0], [40.0, 10.0]])
    matrix = square.compute_matrix(40)
    there = square.to_picture(points, 40) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(there + 0.5, points, atol=1e-9)
    np.testing.assert_allclose(square.to_picture(np.array([20.0, 20.0]), 40), square.centre, atol=1e-9)


@pytest.mark.parametrize("clip", ["lp_d19", "asl_eat", "latentsync_1", "grid_pwij3p"])
def test_footage(footage: Path, clip: str) -> None:
    """Followed by the last mesh alone, the mesh stays on the face; it settles where the detector finds it again."""
    capture = cv2.VideoCapture(str(footage / "clips" / f"{clip}.mp4"))
    mesh = None
    for number in range(16):
        _, frame = capture.read()
        picture = np.ascontiguousarray(frame[..., ::-1])
        if mesh is None:
            face = find_faces(picture)[0]
            square = fit_square_to_detection(face.box, face.keypoints)
        else:
            square = fit_square_to_mesh(mesh)
        (mesh,), (probability,) = measure_meshes(picture, [square])
        assert probability > 0.9, number
    face = find_faces(picture)[0]
    width = np.ptp(mesh[:, 0])
    assert np.abs(mesh[[468, 473], :2] - face.keypoints[:2]).max() < 0.1 * width
