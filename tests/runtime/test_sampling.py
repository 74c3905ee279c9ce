"""Evenly spread places."""

from __future__ import annotations

import pytest

from fsgan_core.runtime.sampling import sample_evenly


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(0, 40, []), (1, 40, [0]), (3, 40, [0, 1, 2]), (9, 3, [0, 4, 8]), (9, 1, [0]), (6, 4, [0, 2, 3, 5])],
)
def test_places(count: int, most: int, expected: list[int]) -> None:
    assert sample_evenly(count, most) == expected
