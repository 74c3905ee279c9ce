"""Figures of the mesh with known answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.evaluation import mesh_metrics
from fsgan_core.evaluation.metrics import compute_landmark_error
from fsgan_core.faces.measure import FaceGauge
from fsgan_core.faces.mesh import CANONICAL, INNER_LIPS, IRIS_L, IRIS_R, LIDS_L, LIDS_R, read_landmarks68


def make_mesh(scale: float = 2.0, roll: float = 0.0) -> np.ndarray:
    """The generic face in a picture of 400 pixels, lids open by a fifth of the eye's width, irises in the middle."""
    mesh = CANONICAL.copy()
    for ring, iris in ((LIDS_R, IRIS_R), (LIDS_L, IRIS_L)):
        outer, inner = mesh[ring[0]], mesh[ring[8]]
        middle, width = (outer + inner) / 2, np.linalg.norm((outer - inner)[:2])
        along = (inner - outer)[:2] / width
        across = np.array([-along[1], along[0]]) * (1 if along[0] > 0 else -1)  # down in the picture
        for place in range(1, 8):
            x = outer[:2] + along * width * place / 8
            mesh[ring[place], :2], mesh[ring[-place], :2] = x + across * width * 0.1, x - across * width * 0.1
        mesh[iris] = middle
    angle = np.radians(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return mesh @ turn.T * scale + (200, 180, 0)


def measure_eye_width(mesh: np.ndarray) -> float:
    return float(np.linalg.norm(mesh[LIDS_R[0], :2] - mesh[LIDS_R[8], :2]))


class TestGaze:
    @pytest.mark.parametrize("roll", [0.0, 30.0])
    def test_eyes_to_the_side(self, roll: float) -> None:
        target, result = make_mesh(roll=roll), make_mesh(roll=roll)
        shift = 0.05 * measure_eye_width(target) * np.array([np.cos(np.radians(roll)), np.sin(np.radians(roll))])
        for iris in (IRIS_R, IRIS_L):
            result[iris, :2] += shift
        assert mesh_metrics.compare_gaze(result, target) == pytest.approx(0.05, rel=0.02)

    def test_squint(self) -> None:
        """Both irises move towards the nose: no mean of both eyes hides it."""
        target, result = make_mesh(), make_mesh()
        result[IRIS_R, 0] += 0.1 * measure_eye_width(target)
        result[IRIS_L, 0] -= 0.1 * measure_eye_width(target)
        assert mesh_metrics.compare_gaze(result, target) == pytest.approx(0.1, rel=0.02)

    def test_only_open_eyes_count(self) -> None:
        target, result = make_mesh(), make_mesh()
        result[IRIS_R, 0] += 9.0
        shut = list(LIDS_R[1:8]), list(LIDS_R[:8:-1])
        result[shut[0]] = result[shut[1]] = (result[shut[0]] + result[shut[1]]) / 2
        assert mesh_metrics.compare_gaze(result, target) == pytest.approx(0.0, abs=1e-9)
        shut = list(LIDS_L[1:8]), list(LIDS_L[:8:-1])
        result[shut[0]] = result[shut[1]] = (result[shut[0]] + result[shut[1]]) / 2
        assert np.isnan(mesh_metrics.compare_gaze(result, target))

    def test_size_does_not_count(self) -> None:
        assert mesh_metrics.compare_gaze(make_mesh(3.0), make_mesh(1.0)) == pytest.approx(0.0, abs=1e-9)


class TestOpenings:
    def test_lids(self) -> None:
        target, result = make_mesh(), make_mesh()
        assert mesh_metrics.measure_lid_openings(target) == pytest.approx([0.2, 0.2], rel=1e-6)
        upper = list(LIDS_R[:8:-1])
        result[upper, :2] += (result[list(LIDS_R[1:8]), :2] - result[upper, :2]) / 4  # a quarter shut, one eye
        assert mesh_metrics.compare_lids(result, target) == pytest.approx(0.025, rel=1e-6)

    def test_lips(self) -> None:
        target, result = make_mesh(), make_mesh()
        lower, upper = list(INNER_LIPS[1:10]), list(INNER_LIPS[:10:-1])
        for mesh, gap in ((target, 0.0), (result, 9.0)):
            mesh[lower] = mesh[upper] + (0.0, gap, 0.0)
        eyes = np.linalg.norm(target[LIDS_R[0], :2] - target[LIDS_L[0], :2])
        assert mesh_metrics.measure_lip_gap(target) == 0.0
        assert mesh_metrics.compare_lips(result, target) == pytest.approx(9.0 / eyes)
        assert mesh_metrics.compare_lips(target, result) == pytest.approx(9.0 / eyes)


class TestLight:
    def shade(self, left: float, right: float) -> np.ndarray:
        """Grey from left to right, as 8-bit sRGB."""
        line = np.linspace(left, right, 400).round().astype(np.uint8)
        return np.broadcast_to(line[None, :, None], (480, 400, 3)).copy()

    def test_equal(self) -> None:
        picture = self.shade(90, 160)
        assert mesh_metrics.compare_light(picture, picture, make_mesh()) == (0.0, 0.0)

    def test_brighter_all_over_is_tone_alone(self) -> None:
        light, tone = mesh_metrics.compare_light(self.shade(120, 120), self.shade(110, 110), make_mesh())
        assert light == pytest.approx(0.0, abs=1e-9) and 3 < tone < 5

    def test_from_the_other_side_is_light_alone(self) -> None:
        light, tone = mesh_metrics.compare_light(self.shade(100, 150), self.shade(150, 100), make_mesh())
        assert light > 5 and tone < 1

    def test_profile_reads_what_faces_the_camera(self) -> None:
        mesh = make_mesh()
        turned = mesh.copy()
        turned[:, 0], turned[:, 2] = 200 + mesh[:, 2], -(mesh[:, 0] - 200)  # by a right angle
        seen = ~np.isnan(mesh_metrics.measure_patches(self.shade(90, 90), turned)[:, 0])
        assert 0 < seen.sum() < len(mesh_metrics.LIGHT_PATCHES)

    def test_face_outside_the_picture(self) -> None:
        picture = self.shade(90, 90)
        assert np.isnan(mesh_metrics.compare_light(picture, picture, np.add(make_mesh(), (900, 0, 0)))).all()


def test_noise_of_a_jpeg(astronaut: np.ndarray) -> None:
    """A still against itself at quality 85: what the figures cannot tell apart."""
    gauge = FaceGauge()
    target = gauge.follow(astronaut)
    encoded = cv2.imencode(".jpg", astronaut[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    picture = np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
    assert target is not None
    result = gauge.measure_again(picture, target)
    assert result is not None
    assert 0 < mesh_metrics.compare_gaze(result.mesh, target.mesh) < 0.01
    assert 0 < mesh_metrics.compare_lids(result.mesh, target.mesh) < 0.01
    assert 0 < mesh_metrics.compare_lips(result.mesh, target.mesh) < 0.005
    light, tone = mesh_metrics.compare_light(picture, astronaut, target.mesh)
    assert 0 < light < 0.3 and 0 < tone < 0.3
    shown, wanted = read_landmarks68(result.mesh), read_landmarks68(target.mesh)
    assert 0 < compute_landmark_error(shown, wanted) < 0.005
