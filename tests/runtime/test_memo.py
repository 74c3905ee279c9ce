"""Functions that remember their last results."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.runtime.memo import remember_results


def test_is_computed_once_for_equal_values() -> None:
    calls: list[float] = []

    @remember_results(2)
    def scale(points: np.ndarray, factor: float = 2.0) -> np.ndarray:
        calls.append(factor)
        return points * factor

    points = np.arange(6.0).reshape(3, 2)
    first = scale(points)
    assert scale(points.copy()) is first and calls == [2.0]
    assert np.array_equal(scale(points, factor=3.0), points * 3) and len(calls) == 2
    points[0, 0] = 9
    assert scale(points)[0, 0] == 18 and len(calls) == 3
    assert scale(points.astype(np.float32)).dtype == np.float32
    assert scale(points.T).shape == (2, 3)


def test_the_result_cannot_be_changed() -> None:
    @remember_results(2)
    def copy(points: np.ndarray) -> np.ndarray:
        return points.copy()

    with pytest.raises(ValueError, match="read-only"):
        copy(np.zeros(2))[0] = 1
