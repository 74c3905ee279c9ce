"""The warp: exact near 1:1, no aliasing when it shrinks, no cracks, no folds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.interpolate import RectBivariateSpline

from fsgan_core.plates.plate import Window
from fsgan_core.stages import warp, warp_points
from fsgan_core.stages.warp import (
    compute_cell_areas,
    fit_spline_map,
    has_folds,
    iterate_corner_areas,
    remove_folds,
    sample_picture,
)
from tests.stages.conftest import posed

REGION = Window(0, 0, 200, 220)


def plain(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([x, y], -1)


def edges(picture: np.ndarray) -> float:
    return float(cv2.Laplacian(picture, cv2.CV_32F)[10:-10, 10:-10].var())


class TestSample:
    def test_identity_gives_the_picture_back(self) -> None:
        picture = np.random.default_rng(0).normal(0.5, 2.0, (60, 80, 3)).astype(np.float32)
        assert np.array_equal(sample_picture(picture, plain(60, 80)), picture)
        assert np.array_equal(sample_picture(picture[..., 0], plain(60, 80)), picture[..., 0])

    def test_nothing_is_brighter_than_the_brightest_pixel(self) -> None:
        """A display value of 0.95 is a highlight of 9, one of 1.05 a firefly of 530."""
        picture = np.full((20, 20, 3), 0.1, np.float32)
        picture[10:12, 10:12] = 0.95
        moved = sample_picture(picture, plain(20, 20) + np.float32(0.25))
        assert moved.max() == np.float32(0.95) and moved.min() == np.float32(0.1)

    @pytest.mark.parametrize("offset", [0.0, -0.4])  # scene-linear values may be negative
    def test_beside_an_edge_nothing_is_brighter_or_darker_than_the_two_sides(self, offset: float) -> None:
        """Along a slanting edge of a white collar it overshot to 1.07, more and less in turn: saw teeth."""
        picture = np.full((60, 60), 0.1, np.float32)
        cv2.fillPoly(picture, [np.array([[0, 0], [20, 0], [32, 59], [0, 59]])], 0.9)
        picture[5, 50] = 2.0  # a highlight elsewhere
        picture += np.float32(offset)
        mapping = plain(60, 60) + np.float32([0.3, 0.4])
        assert np.array_equal(sample_picture(picture, plain(60, 60), has_clean_edges=True), picture)
        collar = sample_picture(picture, mapping, has_clean_edges=True)[:, :40]
        assert np.float32(0.1 + offset) - 1e-6 <= collar.min() and collar.max() <= np.float32(0.9 + offset) + 1e-6

    def test_only_what_the_map_reaches_is_filtered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        picture = np.random.default_rng(2).random((300, 400, 3)).astype(np.float32)
        mapping = plain(40, 50) * np.float32(1.6) + np.float32([200.25, 120.5])
        sizes = []
        filter_picture = cv2.sepFilter2D

        def note(picture: np.ndarray, *arguments: object, **options: object) -> np.ndarray:
            sizes.append(picture.shape[:2])
            return filter_picture(picture, *arguments, **options)

        monkeypatch.setattr(warp.cv2, "sepFilter2D", note)
        part = sample_picture(picture, mapping)
        assert sizes
        assert max(height for height, _ in sizes) < 100
        monkeypatch.setattr(warp, "_reach", lambda at, margin, size: slice(0, size))
        assert np.array_equal(sample_picture(picture, mapping), part)

    @pytest.mark.parametrize("shift", [0.3, 0.5, -0.17])
    def test_a_shift_is_met_to_a_fraction_of_a_pixel(self, shift: float) -> None:
        noise = np.random.default_rng(1).random((128, 128)).astype(np.float32)
        picture = cv2.GaussianBlur(noise, (0, 0), 1.2)
        moved = sample_picture(picture, plain(128, 128) + np.float32([shift, 0]))
        inner = (slice(16, -16), slice(16, -16))
        frequencies = np.fft.fftfreq(128)

        def exact(by: float) -> np.ndarray:
            spectrum = np.fft.fft2(picture) * np.exp(2j * np.pi * frequencies[None] * by)
            return np.asarray(np.fft.ifft2(spectrum).real[inner])

        found = min(np.arange(-0.6, 0.6, 0.01), key=lambda by: float(np.abs(moved[inner] - exact(by)).mean()))
        assert found == pytest.approx(shift, abs=0.02)
        assert np.abs(moved[inner] - exact(shift)).mean() < 0.02 * picture.std()

    def test_nothing_softens_near_one_to_one(self, astronaut: np.ndarray) -> None:
        picture = cv2.GaussianBlur(astronaut[:256, 100:356].astype(np.float32) / 255, (0, 0), 0.7)
        for zoom in (0.95, 1.0, 1.03):
            count = int(240 / zoom)
            ratio = edges(sample_picture(picture, plain(count, count) * np.float32(zoom) + np.float32(0.3))) / edges(
                picture
            )
            assert ratio > 0.85 * zoom**4

    @pytest.mark.parametrize("shrink", [2, 3, 4])
    def test_shrinking_does_not_alias(self, shrink: int) -> None:
        side = 384
        y, x = np.mgrid[0:side, 0:side] - side / 2
        plate = (0.5 + 0.5 * np.cos(np.pi * (x * x + y * y) / side)).astype(np.float32)  # frequency = radius / side
        mapping = plain(side // shrink, side // shrink) * np.float32(shrink) + np.float32((shrink - 1) / 2)
        small = sample_picture(plate, mapping) - 0.5
        frequency = np.hypot(mapping[..., 0] - side / 2, mapping[..., 1] - side / 2) / side
        limit = 0.5 / shrink
        gone = small[(frequency > 1.25 * limit) & (frequency < 0.49)].std()
        kept = small[frequency < 0.4 * limit].std()
        assert gone < 0.13 * kept  # -18 dB; without a filter it is 1
        assert kept > 0.85 * np.sqrt(1 / 8)

    def test_a_squeezed_raster_is_filtered_across_alone(self) -> None:
        side = 256
        offset = np.arange(side) - side / 2
        chirp = np.broadcast_to(0.5 + 0.5 * np.cos(np.pi * offset**2 / side), (side, side)).astype(np.float32)
        mapping = plain(side, side // 2) * np.float32([2, 1]) + np.float32([0.5, 0])
        frequency = np.abs(mapping - side / 2) / side
        across, down = sample_picture(chirp, mapping) - 0.5, sample_picture(chirp.T.copy(), mapping) - 0.5
        assert across[frequency[..., 0] > 0.32].std() < 0.05
        assert down[frequency[..., 1] < 0.4].std() > 0.32

    def test_the_border_is_continued(self) -> None:
        picture = np.full((20, 20, 3), 0.25, np.float32)
        assert np.allclose(sample_picture(picture, plain(60, 60) - 20), 0.25, atol=1e-6)


class TestMap:
    def test_points_are_met_and_an_affine_map_is_kept(self) -> None:
        points = warp_points.compute_control_points(posed(scale=0.9))
        turn = np.array([[0.8, -0.3], [0.3, 0.8]])
        mapping = fit_spline_map(points, points @ turn.T + (40, -7), REGION, np.full(len(points), 0.03))
        y, x = np.mgrid[0:220, 0:200]
        assert np.abs(mapping - (np.stack([x, y], -1) @ turn.T + (40, -7))).max() < 1e-3

    def test_landmarks_meet_landmarks(self, landmarks: dict[str, np.ndarray]) -> None:
        own = warp_points.compute_control_points(landmarks["astronaut"])
        wanted = warp_points.compute_control_points(posed(10, -5, 8, scale=0.9, centre=(100.0, 90.0)))
        mapping = fit_spline_map(wanted, own, REGION, np.zeros(len(own)))
        at = wanted[:68, None].astype(np.float32)
        assert np.abs(cv2.remap(mapping, at, None, cv2.INTER_LINEAR)[:, 0] - own[:68]).max() < 0.2

    def test_bends_the_same_on_wide_pixels(self, landmarks: dict[str, np.ndarray]) -> None:
        own = warp_points.compute_control_points(landmarks["astronaut"])
        wanted = warp_points.compute_control_points(posed(10, -5, 8, scale=0.9, centre=(100.0, 90.0)))
        plain = fit_spline_map(wanted, own, REGION, np.full(82, 0.03))
        wide = fit_spline_map(wanted / (2, 1), own, Window(0, 0, 100, 220), np.full(82, 0.03), 2.0)
        assert np.abs(wide - plain[:, ::2]).max() < 0.5
        assert np.abs(wide - plain[:, ::2]).mean() < 0.02

    def test_stiffness_bends_less(self) -> None:
        points = warp_points.compute_control_points(posed(scale=0.9))
        moved = points + np.random.default_rng(2).normal(0, 2, points.shape)
        bends = []
        for stiffness in (0.0, 0.05, 1.0):
            mapping = fit_spline_map(points, moved, REGION, np.full(len(points), stiffness))
            bends.append(np.abs(np.diff(mapping, 2, axis=0)).mean())
        assert bends[0] > bends[1] > bends[2]

    @pytest.mark.parametrize("seed", range(12))
    def test_no_cracks_and_no_folds(self, landmarks: dict[str, np.ndarray], seed: int) -> None:
        """Landmarks shaken by up to a tenth of the face, inner lips swapped top to bottom."""
        random = np.random.default_rng(seed)
        own = warp_points.compute_control_points(landmarks["astronaut"])
        wanted = warp_points.compute_control_points(landmarks["grace_hopper"])
        wanted = wanted + random.normal(0, (0, 2, 6, 20)[seed % 4], wanted.shape)
        if seed % 2:
            wanted[[61, 62, 63, 65, 66, 67]] = wanted[[67, 66, 65, 63, 62, 61]]
        region = Window(130, 60, 280, 300)
        mapping = fit_spline_map(wanted, own, region, np.full(len(own), (0.0, 0.003, 0.03)[seed % 3]))
        assert mapping.shape == (300, 280, 2)
        assert np.isfinite(mapping).all()
        assert not has_folds(mapping)
        steps = np.concatenate([np.abs(np.diff(mapping, axis=axis)).max((0, 1)) for axis in (0, 1)])
        assert steps.max() < 20  # source pixels per pixel: nothing is torn

    def test_far_from_its_points_fewer_places_are_evaluated_and_nothing_moves(
        self, landmarks: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own, wanted = (warp_points.compute_control_points(landmarks[name]) for name in ("astronaut", "grace_hopper"))
        wanted = (wanted - wanted.mean(0)) * 0.5 + (240, 260)
        region, places = Window(0, 0, 480, 480), []
        evaluate = warp._evaluate_spline

        def count(points: np.ndarray, knots: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
            places.append(len(points))
            return evaluate(points, knots, coefficients)

        def fit() -> tuple[np.ndarray, int]:
            places.clear()
            return fit_spline_map(wanted, own, region, np.full(len(own), 0.01)), sum(places)

        monkeypatch.setattr(warp, "_evaluate_spline", count)
        mapping, few = fit()
        monkeypatch.setattr(warp, "OUTER_FACTOR", 1)
        monkeypatch.setattr(warp, "OUTER_MARGIN", 1000)
        everywhere, many = fit()
        assert few < 0.5 * many
        assert np.abs(mapping - everywhere).max() < 0.01
        left, top, right, bottom = (*wanted.min(0).astype(int), *wanted.max(0).astype(int))
        assert np.abs(mapping - everywhere)[top:bottom, left:right].max() < 1e-4

    def test_a_grid_is_interpolated_as_by_a_spline_in_both_directions(self) -> None:
        x, y = np.arange(-4.0, 70, 4), np.arange(-4.0, 50, 4)
        columns, rows = np.arange(65.0), np.arange(44.0)
        values = np.random.default_rng(0).standard_normal((len(y), len(x), 2))
        for degree in (1, 3):
            found = warp._interpolate_grid(values, x, y, columns, rows, degree)
            for k in (0, 1):
                expected = RectBivariateSpline(y, x, values[..., k], kx=degree, ky=degree)(rows, columns)
                np.testing.assert_allclose(found[..., k], expected, atol=1e-9)

    def test_the_kernel_is_that_of_a_thin_plate_even_at_a_knot(self) -> None:
        knots = np.array([(0.0, 0.0), (0.3, -0.2)])
        points = np.array([(0.0, 0.0), (0.3, -0.2), (0.5, 0.5)])
        distance = np.linalg.norm(points[:, None] - knots, axis=-1)
        expected = np.where(distance > 0, distance**2 * np.log(np.maximum(distance, 1e-9)), 0)
        np.testing.assert_allclose(warp._evaluate_kernel(points, knots), expected, atol=1e-10)

    def test_a_good_map_is_left_alone(self) -> None:
        mapping = plain(30, 40).astype(np.float64)
        mapping = mapping + 1.5 * np.sin(mapping[..., ::-1] / 6)
        assert not has_folds(mapping)
        assert np.allclose(remove_folds(mapping), mapping)

    def test_folds_are_damped_near_them_and_not_elsewhere(self) -> None:
        mapping = plain(60, 60).astype(np.float64)
        bad = mapping.copy()
        bad[28:31, 28:31] = bad[28:31, 28:31][::-1, ::-1] * 1.05
        assert has_folds(bad)
        good = remove_folds(bad)
        assert not has_folds(good)
        far = np.hypot(*np.moveaxis(mapping - 29.5, -1, 0)) > 22
        assert np.abs(good - mapping)[far].max() < 0.2

    def test_what_cannot_be_smoothed_becomes_affine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(warp, "SMOOTHING_ROUNDS", 3)
        mapping = plain(12, 12).astype(np.float64) * 0.1 + np.random.default_rng(5).normal(0, 30, (12, 12, 2))
        assert has_folds(mapping)
        assert not has_folds(remove_folds(mapping))

    def test_areas(self) -> None:
        assert np.allclose(compute_cell_areas(plain(8, 9) * np.float32([2, 3])), 6)
        corners = np.stack(list(iterate_corner_areas(plain(8, 9) * np.float32([-2, 3]))))
        assert np.allclose(corners, -6) and corners.shape == (4, 7, 8)

    def test_the_same_call_is_bit_equal(self, landmarks: dict[str, np.ndarray]) -> None:
        own, wanted = (warp_points.compute_control_points(landmarks[name]) for name in ("astronaut", "grace_hopper"))
        first, second = (fit_spline_map(wanted, own, REGION, np.full(82, 0.03)) for _ in range(2))
        assert np.array_equal(first, second)
