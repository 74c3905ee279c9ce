from pathlib import Path

import numpy as np
import pytest

from fsgan_core.faces.landmarkers.heatmap import (
    decode_heat_maps,
    draw_blur_maps,
    draw_heat_maps,
    draw_patch_maps,
    draw_pyramid_maps,
)

PARITY = Path(__file__).parents[2] / "data" / "parity_operators.npz"


class TestParity:
    def test_published_maps_and_back(self) -> None:
        case = np.load(PARITY)
        for points, maps, sums, decoded in zip(
            case["landmarks"], case["heatmap"], case["heatmap_sum"], case["encoded"], strict=True
        ):
            made = draw_heat_maps(points, 256)
            np.testing.assert_allclose(made[:, ::8, ::8], maps, atol=1e-5)
            np.testing.assert_allclose(made.sum((1, 2)), sums, rtol=1e-5)
            np.testing.assert_allclose(decode_heat_maps(made), decoded, atol=1e-6)


class TestVersion1:
    @pytest.mark.parametrize(("kind", "name"), [("patch", "reenactment"), ("blur", "stepwise")])
    def test_published_maps(self, kind: str, name: str) -> None:
        case = np.load(PARITY.parent / "parity" / "v1.npz")
        full, half = draw_pyramid_maps(case["points"] / 128, 128, kind)
        np.testing.assert_allclose(full, case[f"heat_{name}_v1"], atol=1e-6)
        np.testing.assert_allclose(half, case[f"heat_{name}_v1_half"], atol=1e-6)

    def test_points_outside_leave_nothing(self) -> None:
        outside = np.array([[-0.5, 0.5], [0.5, 1.5], [40.0, -40.0]])
        assert not draw_patch_maps(outside, 64).any()
        assert not draw_blur_maps(outside, 64).any()

    def test_a_patch_of_a_larger_picture(self) -> None:
        maps = draw_patch_maps(np.array([[0.5, 0.25]]), 256)
        assert (maps[0] > 0).sum() == 13 * 13 and maps[0, 63, 127] == 1


class TestHeatMaps:
    def test_shape_and_range(self) -> None:
        maps = draw_heat_maps(np.array([[0.5, 0.5], [2.0, 2.0]]), 64)
        assert maps.shape == (2, 64, 64) and maps.dtype == np.float32
        assert 0.6 < maps[0].max() <= 1 and maps.min() == 0
        assert maps[1].max() == 0  # a point far outside leaves nothing

    def test_flat_map_is_the_middle(self) -> None:
        np.testing.assert_allclose(decode_heat_maps(np.zeros((1, 8, 16))), [[0.5, 0.5]])

    def test_not_square(self) -> None:
        maps = np.zeros((1, 10, 40))
        maps[0, 2, 30] = 3.0
        np.testing.assert_allclose(decode_heat_maps(maps), [[30.5 / 40, 2.5 / 10]])
