"""Functions that remember results."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

from fsgan_core.runtime.memo import remember_results, remember_with, remember_with_both


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


@dataclass(frozen=True)
class Edges:
    upper: np.ndarray
    lower: np.ndarray


class TestRememberedWithAPicture:
    def test_is_computed_once_for_one_picture_and_equal_values(self) -> None:
        calls: list[int] = []

        @remember_with
        def add(picture: np.ndarray, edges: Edges, factor: float = 1.0) -> np.ndarray:
            calls.append(len(calls))
            return picture + factor * edges.upper

        def edges(value: float) -> Edges:
            return Edges(np.full(3, value), np.zeros(2))

        picture = np.ones(3)
        first = add(picture, edges(1.0))
        assert add(picture, edges(1.0)) is first and len(calls) == 1
        assert np.array_equal(add(picture, edges(2.0)), np.full(3, 3.0)) and len(calls) == 2
        assert np.array_equal(add(picture, edges(1.0), factor=3.0), np.full(3, 4.0)) and len(calls) == 3
        assert np.array_equal(add(picture.copy(), edges(1.0)), first) and len(calls) == 4

    def test_results_go_with_the_picture(self) -> None:
        @remember_with
        def copy(picture: np.ndarray) -> np.ndarray:
            return picture.copy()

        picture = np.zeros(4)
        kept = weakref.ref(copy(picture))
        gc.collect()
        assert kept() is not None
        del picture
        gc.collect()
        assert kept() is None


class TestRememberedWithBothPictures:
    def test_is_computed_once_for_one_pair(self) -> None:
        calls: list[int] = []

        @remember_with_both
        def add(one: np.ndarray, other: np.ndarray, factor: float) -> np.ndarray:
            calls.append(len(calls))
            return one + factor * other

        one, other, third = np.ones(3), np.full(3, 2.0), np.full(3, 5.0)
        first = add(one, other, 1.0)
        assert add(one, other, 1.0) is first and len(calls) == 1
        assert np.array_equal(add(one, third, 1.0), np.full(3, 6.0)) and len(calls) == 2
        assert np.array_equal(add(other, one, 2.0), np.full(3, 4.0)) and len(calls) == 3
        assert np.array_equal(add(one, other, 2.0), np.full(3, 5.0)) and len(calls) == 4

    def test_results_go_with_either_picture(self) -> None:
        @remember_with_both
        def join(one: np.ndarray, other: np.ndarray) -> np.ndarray:
            return np.concatenate([one, other])

        one, other = np.zeros(4), np.ones(4)
        kept = weakref.ref(join(one, other))
        gc.collect()
        assert kept() is not None
        del other
        gc.collect()
        assert kept() is None
