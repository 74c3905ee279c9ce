"""The gradient-domain solver: small residuals, equal to a dense solution, Poisson's equation where reach is huge."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.stages import poisson
from fsgan_core.stages.poisson import BORDER_WEIGHT, solve_membrane


def case(side: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference, a disc with a hole as support, trust."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    support = (np.hypot(x, y) < 0.4 * side) & (np.hypot(x - 4, y) > 3)
    difference = random.normal(0, 1, (side, side, 3)).astype(np.float32)
    return difference, support, np.ones((side, side), np.float32)


def dense(
    difference: np.ndarray,
    support: np.ndarray,
    trust: np.ndarray,
    reach: float,
    aspect: float = 1.0,
    held: np.ndarray | None = None,
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
        elif held is not None:
            system[n, n] += held[row, column]
            right[n] += held[row, column] * difference[row, column]
    result = np.zeros_like(difference)
    result[support] = np.linalg.solve(system, right)
    return result


@pytest.fixture(params=["multigrid", "direct"])
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to solve the equations, to the last digits."""
    monkeypatch.setattr(poisson, "SOLVER_TOLERANCE", 1e-5)
    if request.param == "direct":
        monkeypatch.setattr(poisson, "MAX_CYCLES", 0)


@pytest.mark.usefixtures("solver")
@pytest.mark.parametrize(("reach", "aspect"), [(3.0, 1.0), (20.0, 1.0), (1e5, 1.0), (10.0, 2.0)])
def test_equals_a_dense_solution(reach: float, aspect: float) -> None:
    difference, support, trust = case(26)
    trust[:, :8] = 0.3
    held = np.random.default_rng(1).uniform(0, 0.5, support.shape).astype(np.float32)
    for inside in (None, held):
        expected = dense(difference, support, trust, reach, aspect, inside)
        found = solve_membrane(difference, support, trust, reach, aspect, inside)
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_stops_where_a_picture_shows_no_difference() -> None:
    difference, support, trust = case(26)
    difference = 0.2 * np.asarray(cv2.GaussianBlur(difference, (0, 0), 3)) + 0.1
    found = solve_membrane(difference, support, trust, 10.0)
    assert np.abs(found - dense(difference, support, trust, 10.0)).max() < 5e-4


@pytest.mark.parametrize("size", [40, 150, 401])
@pytest.mark.parametrize("reach", [5.0, 40.0, 1e4])
def test_multigrid_needs_few_cycles(size: int, reach: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a face of any size, with any reach: never the direct solver."""
    monkeypatch.setattr(poisson, "MAX_CYCLES", 6)
    monkeypatch.setattr(poisson, "_solve_directly", lambda *_: pytest.fail("solved directly"))
    assert solve_membrane(*case(size), reach).any()


def test_thin_strands_are_solved_directly() -> None:
    """Coarse grids cannot tell strands apart that are a pixel from each other."""
    difference, _, trust = case(60)
    support = np.zeros((60, 60), bool)
    support[4:56, 4:56:2] = True
    trust[:50] = 0
    expected = dense(difference[:, :24], support[:, :24], trust[:, :24], 1e3)
    found = solve_membrane(difference[:, :24], support[:, :24], trust[:, :24], 1e3)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


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
    solution = solve_membrane(np.full((12, 14, 3), 0.5, np.float32), everything, np.ones((12, 14)), 1e5)
    assert np.abs(solution - 0.5).max() < 1e-3


def test_no_difference_needs_no_correction() -> None:
    difference, support, trust = case(26)
    assert not solve_membrane(np.zeros_like(difference), support, trust, 10.0).any()


def test_the_same_call_is_bit_equal() -> None:
    difference, support, trust = case(90)
    assert np.array_equal(
        solve_membrane(difference, support, trust, 25.0), solve_membrane(difference, support, trust, 25.0)
    )
