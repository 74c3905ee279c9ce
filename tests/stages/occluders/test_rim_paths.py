"""Rims of glasses as paths around an eye: smooth, and closed."""

from __future__ import annotations

from itertools import accumulate, product

import numpy as np

from fsgan_core.stages.occluders.rim_paths import (
    FREE_STEP_COST,
    LARGEST_STEP,
    find_closed_paths,
    find_paths,
    find_smooth_paths,
)

ROWS, COLUMNS = 30, 60
RIM, CREASE = 20, 8  # rows


def test_a_faint_smooth_line_is_preferred_to_a_stronger_crooked_one() -> None:
    """Hairs of a brow and folds of lids are strong, but nothing goes along them without turning."""
    gains = np.zeros((1, ROWS, COLUMNS), np.float32)
    gains[0, RIM] = 0.7
    every = np.arange(COLUMNS)
    gains[0, CREASE + np.abs(every % 4 - 2), every] = 1
    assert (find_smooth_paths(gains) == RIM).all()


def test_a_path_closes_and_follows_slow_bends() -> None:
    rows = np.round(12 + 6 * np.cos(2 * np.pi * np.arange(COLUMNS) / COLUMNS)).astype(int)
    gains = np.zeros((2, ROWS, COLUMNS), np.float32)
    gains[0, rows, np.arange(COLUMNS)] = 1
    gains[1, ROWS - 1 - rows, np.arange(COLUMNS)] = 1
    gains[0, :, 20:24] = 0  # a gap
    first, second = find_smooth_paths(gains)
    assert np.abs(first - rows).max() <= 1
    assert (second == ROWS - 1 - rows).all()
    assert abs(int(first[0]) - int(first[-1])) <= 2


class TestPaths:
    def test_is_the_best_of_all(self) -> None:
        gains = np.random.default_rng(0).random((2, 5, 6))
        moves = list(product(range(-LARGEST_STEP, LARGEST_STEP + 1), repeat=5))

        def measure(one: int, path: tuple[int, ...]) -> float:
            steps = FREE_STEP_COST * np.abs(np.diff(path)).sum()
            return float(gains[one, path, range(6)].sum() - steps)

        for one, found in enumerate(find_paths(gains)):
            paths = (tuple(accumulate(way, initial=first)) for first in range(5) for way in moves)
            best = max(
                (path for path in paths if min(path) >= 0 and max(path) < 5), key=lambda path: measure(one, path)
            )
            assert tuple(found) == best

    def test_a_closed_one_closes(self) -> None:
        gains = np.random.default_rng(1).random((3, 20, 30))
        paths = find_closed_paths(gains)
        assert (np.abs(paths[:, 0] - paths[:, -1]) <= LARGEST_STEP).all()
