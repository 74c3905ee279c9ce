from pathlib import Path

import numpy as np
import pytest

from fsgan_core.stages.neural.erosion import erode_softly, make_cone

PARITY = Path(__file__).parents[2] / "data" / "parity_operators.npz"


def test_published_case() -> None:
    case = np.load(PARITY)
    soft, hard = erode_softly(case["mask"][0, 0])
    np.testing.assert_allclose(soft, case["soft"][0, 0], atol=2e-6)
    np.testing.assert_array_equal(hard, case["hard"][0, 0])


def test_empty_matte_stays_empty() -> None:
    soft, hard = erode_softly(np.zeros((40, 30), np.float32))
    assert soft.max() == 0 and hard.max() == 0


def test_full_matte_is_soft_at_the_pictures_edge_only() -> None:
    soft, hard = erode_softly(np.ones((80, 80), np.float32))
    assert soft[20:60, 20:60].min() == 1 and soft[0, 0] < 1
    np.testing.assert_array_equal(soft[hard > 0], 1)


@pytest.mark.parametrize("size", [3, 21, 31])
def test_cone_sums_to_one_and_ends_at_its_corners(size: int) -> None:
    kernel = make_cone(size)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel[0, 0] == pytest.approx(0, abs=1e-7) and kernel.argmax() == size * size // 2
