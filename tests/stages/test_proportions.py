"""People's own shapes on the dense mesh: at rest, and how much of the difference a face takes over."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.face import Face, make_face
from fsgan_core.faces.mesh import BROW_R, CANONICAL, FACE_OVAL, INNER_LIPS, IRIS_R, LIDS_R
from fsgan_core.faces.pose import CAMERA_DISTANCE, HeadPose, make_rotation
from fsgan_core.stages.proportions import compute_likeness, displace_mesh, fit_rest_mesh, weigh_regions


def _pose(shape: np.ndarray, yaw: float, scale: float = 3.0, frame: int = 1) -> Face:
    rotation = make_rotation(yaw, 5, 3)
    flat = HeadPose(rotation, np.array([400.0, 300.0]), scale, CAMERA_DISTANCE, 0.0).project(shape)
    mesh = np.column_stack([flat, scale * (shape @ rotation.T)[:, 2]])
    return make_face(frame, mesh[:68, :2], 0.9, mesh=mesh)


@pytest.fixture
def broad_nose() -> np.ndarray:
    shape = np.array(CANONICAL)
    near = np.exp(-((np.linalg.norm(CANONICAL - CANONICAL[4], axis=1) / 15) ** 2))
    shape[:, 0] *= 1 + 0.3 * near
    return shape


def test_rest_is_the_shape_whatever_the_pose(broad_nose: np.ndarray) -> None:
    faces = {frame: _pose(broad_nose, yaw, frame=frame) for frame, yaw in enumerate((-30, 0, 25), 1)}
    rest = fit_rest_mesh(faces)
    assert np.abs(rest - broad_nose).max() < 1.0  # mm
    assert np.abs(rest - broad_nose).max() < 0.3 * np.abs(CANONICAL - broad_nose).max()


def test_no_faces_is_the_generic_face() -> None:
    assert np.array_equal(fit_rest_mesh({}), CANONICAL)


def test_the_outline_stays(broad_nose: np.ndarray) -> None:
    change = compute_likeness([(broad_nose * 1.1, 3)], np.array(CANONICAL))
    assert not change[list(FACE_OVAL)].any()
    assert np.abs(change[4]).max() > 1


def test_sources_count_by_their_frames(broad_nose: np.ndarray) -> None:
    alone = compute_likeness([(broad_nose, 1)], np.array(CANONICAL))
    both = compute_likeness([(broad_nose, 1), (np.array(CANONICAL), 3)], np.array(CANONICAL))
    np.testing.assert_allclose(both, alone / 4, atol=1e-9)


def test_a_region_can_be_left_alone() -> None:
    weights = weigh_regions(ReenactParams(likeness=0.5, likeness_brows=0.0))
    assert weights[list(BROW_R)].max() < 0.2 < weights[4] <= 0.5
    assert weights[IRIS_R] == pytest.approx(weights[list(LIDS_R)].mean(), abs=0.01)


def test_displacing_follows_the_heads_pose() -> None:
    face = _pose(CANONICAL, 40)
    change = np.zeros((478, 3))
    change[4, 2] = -10.0  # the tip of the nose, 10 mm out of the face
    moved = displace_mesh(face.get_mesh(), change) - face.get_mesh()
    np.testing.assert_allclose(moved[4], 3.0 * make_rotation(40, 5, 3) @ (0, 0, -10.0), atol=0.5)
    assert np.delete(moved, 4, axis=0).any() == np.False_


def test_an_open_mouth_of_the_source_opens_nothing() -> None:
    smiling = np.array(CANONICAL)
    lower, upper = list(INNER_LIPS[1:10]), list(INNER_LIPS[11:])
    smiling[lower, 1] += 4.0
    smiling[upper, 1] -= 4.0
    change = compute_likeness([(smiling, 1)], np.array(CANONICAL))
    assert abs(change[lower, 1].mean() - change[upper, 1].mean()) < 0.2
