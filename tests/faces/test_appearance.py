from pathlib import Path

import numpy as np
import pytest

from fsgan_core.faces.appearance import AppearanceMap

PARITY = Path(__file__).parents[1] / "data" / "parity_appearance_map.npz"


class TestParity:
    def test_published_selection_and_weights(self) -> None:
        case = np.load(PARITY)
        appearance = AppearanceMap(case["poses_deg"], float(case["min_radius_deg"]))
        np.testing.assert_array_equal(appearance.kept_indices, case["keep"])
        answers = [appearance.query(*pose) for pose in case["queries_deg"]]
        np.testing.assert_array_equal([answer.indices for answer in answers], case["vertices"])
        np.testing.assert_allclose([answer.weights for answer in answers], case["weights"], atol=1e-12)


class TestQuery:
    def test_on_a_view(self) -> None:
        appearance = AppearanceMap(np.array([[-20.0, 0.0], [20.0, 0.0], [0.0, 20.0]]))
        answer = appearance.query(20, 0)
        assert answer.indices[np.argmax(answer.weights)] == 1
        assert answer.weights.max() == pytest.approx(1) and answer.outside_degrees < 1e-6

    def test_weights_give_the_pose_back(self) -> None:
        poses = np.array([[-20.0, -5.0], [20.0, 0.0], [0.0, 20.0]])
        appearance = AppearanceMap(poses)
        answer = appearance.query(2, 6)
        np.testing.assert_allclose(answer.weights @ poses[appearance.kept_indices][answer.indices], (2, 6), atol=1e-9)
        assert answer.outside_degrees == 0

    @pytest.mark.parametrize("pose", [(3, 4), (60, -80), (75, 75), (-75, -75), (500, 0)])
    def test_one_still_answers_every_pose(self, pose: tuple[float, float]) -> None:
        answer = AppearanceMap(np.array([[3.0, 4.0, 9.0]])).query(*pose)
        assert answer.weights.sum() == pytest.approx(1)
        assert answer.indices[np.argmax(answer.weights)] == 0
        assert answer.outside_degrees == pytest.approx(np.hypot(pose[0] - 3, pose[1] - 4), rel=0.3, abs=1e-3)

    def test_beyond_the_map_is_said(self) -> None:
        appearance = AppearanceMap(np.array([[70.0, 0.0], [-70.0, 0.0], [0.0, 40.0], [0.0, -40.0]]))
        inside, beyond = appearance.query(74.9, 0), appearance.query(120, 0)
        assert beyond.outside_degrees > 45
        np.testing.assert_array_equal(inside.indices[inside.weights > 0.5], beyond.indices[beyond.weights > 0.5])

    def test_views_upon_the_corners_and_doubles(self) -> None:
        poses = np.array([[75.0, 75.0], [75.0, 75.0], [90.0, -80.0], [0.0, 0.0]])
        for yaw in np.linspace(-80, 80, 9):
            for pitch in np.linspace(-80, 80, 9):
                answer = AppearanceMap(poses).query(yaw, pitch)
                assert answer.weights.sum() == pytest.approx(1) and (answer.weights >= 0).all()

    def test_no_views_or_nonsense_is_refused(self) -> None:
        for poses in (np.zeros((0, 2)), np.zeros(3), np.array([[np.nan, 0.0]])):
            with pytest.raises(ValueError, match="appearance map"):
                AppearanceMap(poses)


class TestCells:
    def test_crowds_share_a_cell(self) -> None:
        poses = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [30.0, 0.0]])
        appearance = AppearanceMap(poses, minimum_radius=2.0)
        assert len(appearance.kept_indices) == 2
        cells = {tuple(cell) for cell in appearance.compute_cells()}
        assert cells == {(0, 1, 2), (3,)}

    def test_every_view_is_in_one_cell(self) -> None:
        poses = np.random.default_rng(5).normal(size=(200, 2)) * 15
        appearance = AppearanceMap(poses, 3.0)
        cells = appearance.compute_cells()
        assert sorted(np.concatenate(cells).tolist()) == list(range(200))
        assert all(kept in cell for kept, cell in zip(appearance.kept_indices, cells, strict=True))
