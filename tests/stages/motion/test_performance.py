"""Expression over time: how landmarks read, the head's pose without the face's doings, between frames."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.faces.mesh_pose import fit_rigid
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.stages.motion.performance import (
    correct_gaps,
    fit_rigid_pose,
    measure_landmark_bias,
    measure_performance,
    resample_performance,
)
from tests.stages.test_drive import clip, driven, shape_of, still


def test_shut_is_shut_and_open_stays() -> None:
    who = clip(*[shape_of(0.6)] * 4, shape_of(9.0), shape_of(0.6, eyes=0.35), shape_of(0.6))
    bias = measure_landmark_bias(who)
    assert 0.3 < bias.shut_lips < 1.6 and (bias.shut_lids < 0.6 * bias.open_lids).all()
    shut = correct_gaps(who.faces[6], 1.0, bias).landmarks
    assert np.abs(shut[[41, 40, 47, 46], 1] - shut[[37, 38, 43, 44], 1]).max() < 0.1
    assert np.abs(shut[[67, 66, 65], 1] - shut[[61, 62, 63], 1]).max() < 0.1
    wide = correct_gaps(who.faces[5], 1.0, bias).landmarks
    assert np.abs(wide - who.faces[5].landmarks).max() < 1e-6


def test_brows_do_not_tilt_the_head() -> None:
    who = clip(*[shape_of()] * 3, shape_of(brows=8.0), shape_of(14.0), shape_of())
    for frame in (4, 5):
        assert np.abs(np.array(fit_rigid_pose(who.faces[frame], who).angles)).max() < 0.8


def test_what_is_measured_in_any_pose() -> None:
    """A mouth that opens by 10 mm does so in a turned head too."""
    for yaw in (0.0, 20.0, -30.0):
        who = clip(shape_of(), shape_of(10.0), shape_of(), shape_of(), yaw=(yaw,) * 4)
        done = measure_performance(who, measure_landmark_bias(who))
        assert np.abs(done.lip_gaps[1] - 10).max() < 1.2 and done.lip_gaps[[0, 2, 3]].max() < 0.1
        assert abs(done.offsets[1, 57, 1] - done.offsets[0, 57, 1] - 10) < 2.0
        assert abs(done.offsets[1, 57, 0]) < 1.0


def test_between_frames_and_beyond() -> None:
    who = clip(*(shape_of(mouth) for mouth in (0, 0, 8, 0)))
    done = measure_performance(who, measure_landmark_bias(who))
    exact = resample_performance(done, np.array([1.0, 2.0, 3.0, 4.0]))
    assert np.abs(exact.offsets - done.offsets).max() < 1e-12
    between = resample_performance(done, np.array([-3.0, 1.5, 2.5, 3.5, 99.0])).lip_gaps.mean(1)
    assert np.allclose(between[[0, 4]], done.lip_gaps[[0, 3]].mean(1), atol=1e-9)
    assert between[1] < 0.1 and 2 < between[2] < 6 and 2 < between[3] < 6


def test_one_slip_of_a_brow_is_no_expression() -> None:
    slipped = shape_of()
    slipped[19, 1] -= 20
    found = driven(still(3), clip(shape_of(), slipped, shape_of()))
    assert np.abs(found[2].goal_face.landmarks - found[2].face.landmarks)[17:22].max() < 2


def test_rest_is_a_face() -> None:
    done = measure_performance(still(3), measure_landmark_bias(still(3)))
    scale, rotation, shift = fit_rigid(done.rest_shape, FACE_MODEL, np.ones(68))  # the mesh has its own head axes
    there = scale * done.rest_shape @ rotation.T + shift
    assert np.abs(there - FACE_MODEL)[27:36].max() < 1.0 and abs(scale - 1) < 0.03


def test_log_says_how_to_set_the_face_at_rest(caplog: pytest.LogCaptureFixture) -> None:
    who = clip(*[shape_of()] * 3)
    with caplog.at_level("INFO"):
        measure_performance(who, measure_landmark_bias(who), name="plate_rest")
        assert "computed over 3 frames" in caplog.text and "drive.plate_rest" in caplog.text
        caplog.clear()
        measure_performance(who, measure_landmark_bias(who), 2)
        assert not caplog.text
