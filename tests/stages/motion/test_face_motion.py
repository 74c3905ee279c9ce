"""How a face moves in its own picture: to where it is wanted, without folds, easing out around it."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.stages.motion.face_motion import compute_face_motion
from tests.stages.conftest import Still
from tests.stages.motion.test_liquify import OPEN, SHUT, wanted


@pytest.mark.parametrize("what", [OPEN, SHUT])
def test_landmarks_come_from_where_they_were(collins: Still, what: str) -> None:
    one = wanted(collins, what, brows=2.0)
    region, moves = collins.region, compute_face_motion(one, collins.region, 1.0)
    scale = fit_head_pose(collins.face.landmarks).scale
    checked = [*range(0, 36), 48, 51, 54, 57] + ([36, 39, 42, 45] if what == OPEN else [])
    for index in checked:
        x, y = np.round(one.goal_face.landmarks[index] - (region.x, region.y)).astype(int)
        if 0 <= x < region.width and 0 <= y < region.height:
            back = one.goal_face.landmarks[index] + moves.motion[y, x]
            assert np.linalg.norm(back - collins.face.landmarks[index]) < 1.6 * max(scale, 1.0), index


def test_no_fold_and_weights_sum_to_one(collins: Still) -> None:
    moves = compute_face_motion(wanted(collins, OPEN, brows=3.0), collins.region, 1.0)
    assert len(moves.layers) == 3
    for layers in moves.layers:
        total = sum(layer.weight for layer in layers)
        assert np.abs(total - 1).max() < 1e-5
    rows = np.arange(collins.region.height)[:, None] + moves.motion[..., 1]
    away = np.ones(rows.shape, bool)
    for layers in moves.layers:
        away[layers[0].box] = False
    assert (np.diff(rows, axis=0)[away[1:] & away[:-1]] > 0).all()


def test_a_turned_head_carries_its_hair(collins: Still) -> None:
    turn = (6.0, 0.0, 0.0)
    one = wanted(collins, turn=turn)
    moves = compute_face_motion(one, collins.region, 1.0)
    nose = np.round(collins.face.landmarks[30] - (collins.region.x, collins.region.y)).astype(int)
    moved = -moves.motion[nose[1], nose[0], 0]
    assert moved > 3 * fit_head_pose(collins.face.landmarks).scale
    temple = np.round(collins.face.landmarks[0] - (collins.region.x, collins.region.y)).astype(int)
    beside = moves.motion[temple[1], max(temple[0] - 4, 8), 0]
    assert np.abs(beside) > 0.05  # what is beside the face eases out over a way


def test_wide_pixels(collins: Still) -> None:
    """A squeezed plate moves as the square one does."""
    wide = collins.squeezed()
    square, other = (
        compute_face_motion(wanted(collins, OPEN), collins.region, 1.0),
        compute_face_motion(wanted(wide, OPEN), wide.region, 2.0),
    )
    chin = np.round(collins.face.landmarks[8] - (collins.region.x, collins.region.y)).astype(int)
    same = np.round(wide.face.landmarks[8] - (wide.region.x, wide.region.y)).astype(int)
    a, b = square.motion[chin[1] - 2, chin[0]], other.motion[same[1] - 2, same[0]]
    assert np.allclose(a, b * (2, 1), atol=1.0)
