"""The gradient-domain solver: small residuals, equal to a dense solution, Poisson's equation where reach is huge."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.stages import poisson
from fsgan_core.stages.poisson import BORDER_WEIGHT, compute_relative_residual, solve_membrane


def case(side: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference, a disc with a hole as support, trust."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    support = (np.hypot(x, y) < 0.4 * side) & (np.hypot(x - 4, y) > 3)
    difference = random.normal(0, 1, (side, side, 3)).astype(np.float32)
    return difference, support, np.ones((side, side), np.float32)


def dense(
    difference: np.ndarray, support: np.ndarray, trust: np.ndarray, reach: float, aspect: float = 1.0
) -> np.ndarray:
    """The same equations written down pixel by pixel and solved directly."""
    pixels = [tuple(p) for p in np.argwhere(support)]
    number = {pixel: n for n, pixel in enumerate(pixels)}
    system = np.zeros((len(pixels), len(pixels)))
    right = np.zeros((len(pixels), difference.shape[2]))
    for (row, column), n in number.items():
        system[n, n] += 1 / reach**2
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        for other in around:
            if other in number:
                weight = 1.0 if other[1] == column else 1 / aspect**2
                system[n, n] += weight
                system[n, number[other]] -= weight
        square = [(row + a, column + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        if any(pixel not in number for pixel in square):
            system[n, n] += BORDER_WEIGHT * trust[row, column]
            right[n] += BORDER_WEIGHT * trust[row, column] * difference[row, column]
    result = np.zeros_like(difference)
    result[support] = np.linalg.solve(system, right)
    return result


@pytest.mark.parametrize(("reach", "aspect"), [(3.0, 1.0), (20.0, 1.0), (1e5, 1.0), (10.0, 2.0)])
@pytest.mark.parametrize("direct", [poisson.MAX_DIRECT_UNKNOWNS, 0])
def test_equals_a_dense_solution(direct: int, reach: float, aspect: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poisson, "MAX_DIRECT_UNKNOWNS", direct)
    difference, support, trust = case(26)
    trust[:, :8] = 0.3
    expected = dense(difference, support, trust, reach, aspect)
    found = solve_membrane(difference, support, trust, reach, aspect)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("direct", [poisson.MAX_DIRECT_UNKNOWNS, 0])
@pytest.mark.parametrize("seed", range(3))
def test_residual_is_small(seed: int, direct: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every channel's relative residual stays below 1e-3, measured on the very system that is solved, directly and by
    multigrid."""
    monkeypatch.setattr(poisson, "MAX_DIRECT_UNKNOWNS", direct)
    residuals = []
    solve = poisson._solve_system

    def watched(system, right):  # type: ignore[no-untyped-def]
        solution = solve(system, right)
        residuals.extend(compute_relative_residual(system, solution[:, k], right[:, k]) for k in range(right.shape[1]))
        return solution

    monkeypatch.setattr(poisson, "_solve_system", watched)
    difference, support, trust = case(150, seed)
    solve_membrane(difference, support, trust, (5.0, 40.0, 1e4)[seed])
    assert len(residuals) == 3
    assert max(residuals) < 1e-3


def test_a_failed_iteration_is_solved_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    difference, support, trust = case(26)
    expected = solve_membrane(difference, support, trust, 30.0)

    class Stuck:
        def solve(self, right: np.ndarray, **_: object) -> np.ndarray:
            return np.full_like(right, np.nan)

    monkeypatch.setattr(poisson, "MAX_DIRECT_UNKNOWNS", 0)
    monkeypatch.setattr(poisson.pyamg, "ruge_stuben_solver", lambda *_, **__: Stuck())
    assert np.allclose(solve_membrane(difference, support, trust, 30.0), expected, atol=1e-4)


def test_huge_reach_is_poissons_equation() -> None:
    """Inside, every pixel is the mean of its four neighbours (Laplace's equation for the correction, so that the
    face's gradients are kept); a constant difference at the border comes through whole."""
    difference, support, trust = case(40)
    y, x = np.mgrid[0:40, 0:40].astype(np.float32)
    difference[..., 0] = 0.3
    difference[..., 1] = 0.01 * x - 0.02 * y  # harmonic: its own solution
    solution = solve_membrane(difference, support, trust, 1e6)
    inner = support.copy()
    for axis in (0, 1):
        for by in (-1, 1):
            inner &= np.roll(support, by, axis)
    around = sum(np.roll(solution, by, axis) for axis in (0, 1) for by in (-1, 1)) / 4
    border = solve_membrane(difference, support, trust, 1e6)
    assert np.abs(solution[support][:, 0] - 0.3).max() < 1e-4
    strictly = inner & ~_border(support)
    assert np.abs((solution - around)[strictly]).max() < 1e-4
    assert np.abs(border - solution).max() == 0


def _border(support: np.ndarray) -> np.ndarray:
    outside = ~support
    near = np.zeros_like(support)
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            near |= np.roll(outside, (a, b), (0, 1))
    return support & near


def test_a_short_reach_leaves_the_middle_alone() -> None:
    _, support, trust = case(80)
    difference = np.ones((80, 80, 3), np.float32)
    near, far = (solve_membrane(difference, support, trust, reach) for reach in (2.0, 30.0))
    assert np.abs(near[20:25, 38:42]).max() < 0.05
    assert near[support].max() > 0.5
    assert far[20:25, 38:42].min() > 0.3


def test_borders_of_no_trust_are_free() -> None:
    difference, support, trust = case(60)
    difference[:] = 0.2
    difference[:, :30] = 9.0
    trust[:, :30] = 0.0
    assert np.abs(solve_membrane(difference, support, trust, 1e5)[support] - 0.2).max() < 1e-3


def test_no_support_and_a_single_pixel() -> None:
    difference = np.ones((5, 5, 3), np.float32)
    nothing = np.zeros((5, 5), bool)
    assert not solve_membrane(difference, nothing, np.ones((5, 5)), 10.0).any()
    nothing[2, 2] = True
    one = solve_membrane(difference, nothing, np.ones((5, 5)), 1e4)
    assert one[2, 2] == pytest.approx(1.0, abs=1e-3)
    assert np.count_nonzero(one) == 3


def test_support_at_the_rim_of_the_raster_has_a_border() -> None:
    everything = np.ones((12, 14), bool)
    solution = solve_membrane(np.full((12, 14, 1), 0.5, np.float32), everything, np.ones((12, 14)), 1e5)
    assert np.abs(solution - 0.5).max() < 1e-3


def test_zero_right_side_has_no_residual() -> None:
    difference, support, trust = case(26)
    assert not solve_membrane(np.zeros_like(difference), support, trust, 10.0).any()
    system = poisson._build_laplacian(support, np.ones(int(support.sum())))
    assert compute_relative_residual(system, np.zeros(system.shape[0]), np.zeros(system.shape[0])) == 0.0


def test_the_same_call_is_bit_equal() -> None:
    difference, support, trust = case(90)
    assert np.array_equal(
        solve_membrane(difference, support, trust, 25.0), solve_membrane(difference, support, trust, 25.0)
    )
