from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.clips.tracks import track_faces
from fsgan_core.faces.detectors.detect_mesh import MeshDetector, choose_turn
from fsgan_core.faces.detectors.detector_interface import Detection
from fsgan_core.faces.geometry import compute_overlap
from fsgan_core.faces.mesh import read_landmarks68
from fsgan_core.faces.mesh_measure import fit_square_to_box, measure_mesh

FACE = (176.0, 70.0, 102.0, 102.0)


@pytest.fixture(scope="module")
def mesh_detector() -> MeshDetector:
    return MeshDetector()


def roll_picture(picture: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The astronaut turned about her face in the middle of a gray picture, and the affine map."""
    matrix = cv2.getRotationMatrix2D((227, 120), degrees, 1.0)
    matrix[:, 2] += (350 - 227, 350 - 120)
    gray = (110, 110, 110)
    return cv2.warpAffine(picture, matrix, (700, 700), flags=cv2.INTER_CUBIC, borderValue=gray), matrix


def test_a_face_with_its_landmarks(mesh_detector: MeshDetector, astronaut: np.ndarray) -> None:
    (found,) = mesh_detector.detect(astronaut)
    assert compute_overlap(found.box, FACE) > 0.6 and found.confidence > 0.5
    assert found.landmarks is not None
    direct = read_landmarks68(measure_mesh(astronaut, fit_square_to_box(FACE)).mesh)
    np.testing.assert_allclose(found.landmarks, direct, atol=1.5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rolled_by_quarters(mesh_detector: MeshDetector, astronaut: np.ndarray, quarters: int) -> None:
    (upright,) = mesh_detector.detect(astronaut)
    (found,) = mesh_detector.detect(np.ascontiguousarray(np.rot90(astronaut, quarters)))
    assert upright.landmarks is not None and found.landmarks is not None
    x, y = upright.landmarks.T
    last = 511
    expected = {1: (y, last - x), 2: (last - x, last - y), 3: (last - y, x)}[quarters]
    assert np.linalg.norm(found.landmarks - np.column_stack(expected), axis=1).mean() < 3


@pytest.mark.parametrize("degrees", [90, 165, 180, -120])
def test_a_rolled_head_is_tracked(
    mesh_detector: MeshDetector, astronaut: np.ndarray, degrees: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    upright = read_landmarks68(measure_mesh(astronaut, fit_square_to_box(FACE)).mesh)
    for frame in range(3):  # a head that goes on turning
        picture, matrix = roll_picture(astronaut, degrees + 4 * frame)
        cv2.imwrite(str(tmp_path / f"plate.{frame + 1:04d}.png"), picture[..., ::-1])
    (person,) = track_faces(str(tmp_path / "plate.####.png"), device="cpu").people
    assert sorted(person.measured) == [1, 2, 3]
    expected = upright @ matrix[:, :2].T + matrix[:, 2]
    assert np.linalg.norm(person.measured[3].landmarks - expected, axis=1).mean() < 2
    rolls = np.array([person.measured[frame].euler[2] for frame in (1, 3)])
    off = (rolls + (degrees, degrees + 8) + 180) % 360 - 180  # roll is clockwise, OpenCV's angle is not
    assert np.abs(off - 2.8).max() < 1.5  # she holds her head a little inclined


@pytest.mark.parametrize("degrees", [75, 105, 120, 135, 150, 165, 180, -75, -120, -165])
def test_rolled_by_any_angle(mesh_detector: MeshDetector, astronaut: np.ndarray, degrees: float) -> None:
    upright = read_landmarks68(measure_mesh(astronaut, fit_square_to_box(FACE)).mesh)
    picture, matrix = roll_picture(astronaut, degrees)
    best = mesh_detector.detect(picture)[0]
    assert best.landmarks is not None and best.confidence > 0.5
    expected = upright @ matrix[:, :2].T + matrix[:, 2]
    assert np.linalg.norm(best.landmarks - expected, axis=1).mean() < 1.5


def test_a_doubtful_face_does_not_end_the_search(
    mesh_detector: MeshDetector, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, _ = roll_picture(astronaut, 180)
    plain = mesh_detector.detect(picture)
    upright_look = mesh_detector._confirm
    doubtful = Detection(box := (400.0, 400.0, 200.0, 200.0), 0.4, fit_square_to_box(box))
    looks: list[int] = []

    def confirm(picture: np.ndarray, found: list[object]) -> list[Detection]:
        looks.append(1)
        return [doubtful] if len(looks) == 1 else upright_look(picture, found)  # type: ignore[arg-type]

    monkeypatch.setattr(mesh_detector, "_confirm", confirm)
    found = mesh_detector.detect(picture)
    assert found[0].box == plain[0].box and found[1:] == [doubtful]


def test_close_up(mesh_detector: MeshDetector, astronaut: np.ndarray) -> None:
    found = mesh_detector.detect(np.ascontiguousarray(astronaut[50:190, 160:300]))
    assert len(found) == 1 and compute_overlap(found[0].box, (16, 20, 102, 102)) > 0.6


def test_tiny_face_in_a_large_picture(mesh_detector: MeshDetector, astronaut: np.ndarray) -> None:
    large = np.full((1080, 1920, 3), 90, np.uint8)
    large[700:956, 1200:1456] = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    found = mesh_detector.detect(large)
    assert len(found) == 1 and compute_overlap(found[0].box, (1288, 735, 51, 51)) > 0.6


def test_nothing(mesh_detector: MeshDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    assert mesh_detector.detect(noise) == [] and mesh_detector.detect(np.zeros((1, 1, 3), np.uint8)) == []


def test_the_turn_of_an_upright_face_stays(astronaut: np.ndarray) -> None:
    square = fit_square_to_box(FACE)
    assert choose_turn(astronaut, square).angle == square.angle


def test_a_lens_of_glasses_is_no_face(mesh_detector: MeshDetector, grace_hopper: np.ndarray) -> None:
    """Of a face that the frame cuts below the eyes, a tile shows a lens, which looks more like a face than the rest."""
    upper_half = np.ascontiguousarray(grace_hopper[130:248])
    (face,) = mesh_detector.find_candidates(upper_half, fine=True)
    assert 170 < face.box[2] < 250
