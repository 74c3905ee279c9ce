"""Small things on pictures: values as seen, padding, polygons, distances, filters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages import image_ops
from fsgan_core.stages.guided_filter import apply_guided_filter
from fsgan_core.stages.image_ops import (
    blur_weighted,
    draw_polygon,
    fill_nonfinite,
    mark_plate_area,
    measure_signed_distance,
    pad_plate,
    premultiply,
    shift_channels,
    smoothstep,
    to_display,
    to_perceptual,
    to_scene_linear,
    unpremultiply,
    weigh,
)
from fsgan_core.stages.matte_edge import grow_and_feather
from fsgan_core.stages.occluders.reconstruction import reconstruct_by_dilation
from tests.stages.conftest import plate_at

DISC_CENTRE = np.array([32.3, 29.6])


def disc(radius: float, side: int = 64) -> np.ndarray:
    """An anti-aliased disc about DISC_CENTRE, exact to a 16th of a pixel."""
    fine = (np.arange(side * 16) + 0.5) / 16 - 0.5
    inside = np.hypot(fine[None] - DISC_CENTRE[0], fine[:, None] - DISC_CENTRE[1]) <= radius
    return inside.reshape(side, 16, side, 16).mean((1, 3)).astype(np.float32)


class TestPerceived:
    @given(st.lists(st.floats(-100, 6e4, width=32), min_size=3, max_size=3), st.floats(-4, 4))
    def test_comes_back(self, rgb: list[float], exposure: float) -> None:
        values = np.array(rgb, np.float32)
        back = to_scene_linear(to_perceptual(values, exposure), exposure)
        assert np.allclose(back, values, rtol=2e-5, atol=1e-6)

    def test_is_finite_monotone_and_mirrored(self) -> None:
        values = np.array([-np.inf, -1, -0.001, 0, 0.001, 0.18, 1, 64, np.inf], np.float32)
        seen = to_perceptual(values, 0.0)
        assert np.isfinite(seen).all()
        assert (np.diff(seen) > 0).all()
        assert seen[1] == -seen[6]
        assert to_perceptual(np.array([np.nan], np.float32), 0.0)[0] == 0

    def test_is_srgb_up_to_white(self) -> None:
        assert to_perceptual(np.array([0.18, 1.0]), 0.0) == pytest.approx([0.4614, 1.0], abs=1e-3)

    def test_a_small_step_stays_small_in_highlights(self) -> None:
        """A hundredth of a step on a highlight of 64 changes it by half a percent, where the shoulder would by far
        more."""
        bright = to_perceptual(np.array([64.0]), 0.0)
        assert to_scene_linear(bright + 0.01, 0.0)[0] / 64 == pytest.approx(1, abs=0.006)


class TestPadded:
    plate = plate_at(np.arange(24, dtype=np.float32).reshape(2, 4, 3) + 1, x=10, y=20)

    def test_inside_outside_and_across(self) -> None:
        picture = pad_plate(self.plate, Window(8, 19, 8, 5))
        assert picture.shape == (5, 8, 3)
        assert np.array_equal(picture[1:3, 2:6], self.plate.pixels)
        assert np.array_equal(picture[0, 0], self.plate.pixels[0, 0])
        assert np.array_equal(picture[4, 7], self.plate.pixels[1, 3])
        assert mark_plate_area(self.plate, Window(8, 19, 8, 5)).sum() == 8

    def test_apart_is_black(self) -> None:
        far = Window(100, 100, 3, 3)
        assert not pad_plate(self.plate, far).any()
        assert not mark_plate_area(self.plate, far).any()

    def test_a_plate_of_one_pixel(self) -> None:
        one = plate_at(np.full((1, 1, 3), 0.5))
        assert (pad_plate(one, Window(-20, -20, 40, 40)) == 0.5).all()

    def test_display_takes_anything(self, codec: Codec) -> None:
        wild = plate_at(np.array([[[np.nan, 0.2, 0.2], [np.inf, -5, 70]]]))
        assert np.isfinite(to_display(wild, Window(-1, -1, 5, 4), codec)).all()


class TestCleaned:
    def test_holes_take_what_is_around(self) -> None:
        y, x = np.mgrid[0:40, 0:50].astype(np.float32)
        picture = np.dstack([x, y, x + y])
        holed = picture.copy()
        holed[10, 10] = np.nan
        holed[20:23, 30:33, 1] = np.inf
        holed[0, 0] = -np.inf
        filled = fill_nonfinite(holed)
        assert np.abs(filled - picture).max() < 2.5
        good = np.isfinite(holed).all(-1)
        assert np.array_equal(filled[good], picture[good])
        assert np.isnan(holed[10, 10]).all()

    def test_nothing_to_do_and_nothing_to_go_by(self) -> None:
        picture = np.ones((4, 5, 3), np.float32)
        assert fill_nonfinite(picture) is picture
        assert not fill_nonfinite(picture * np.nan).any()
        assert not fill_nonfinite(np.full((1, 1, 3), np.inf, np.float32)).any()

    def test_a_large_hole(self) -> None:
        picture = np.full((60, 60, 3), 0.3, np.float32)
        picture[5:55, 5:55] = np.nan
        assert fill_nonfinite(picture) == pytest.approx(0.3, abs=1e-4)


class TestPolygon:
    def test_area_and_place(self) -> None:
        square = np.array([(10.0, 5.0), (20.0, 5.0), (20.0, 12.0), (10.0, 12.0)])
        matte = draw_polygon(square + 100, Window(100, 100, 40, 30))
        assert matte.sum() == pytest.approx(8 * 11, rel=0.08)  # the border's own pixels count
        assert matte[8, 15] == 1 and matte[8, 25] == 0
        y, x = np.mgrid[0:30, 0:40]
        assert (matte * x).sum() / matte.sum() == pytest.approx(15, abs=0.1)
        assert (matte * y).sum() / matte.sum() == pytest.approx(8.5, abs=0.1)

    def test_half_outside_and_feathered(self) -> None:
        square = np.array([(-10.0, -10.0), (8.0, -10.0), (8.0, 8.0), (-10.0, 8.0)])
        matte = draw_polygon(square, Window(0, 0, 30, 30), feather=2.0)
        assert matte[0, 0] > 0.95 and matte[20, 20] == 0
        assert 0.2 < matte[4, 8] < 0.8

    @pytest.mark.parametrize("feather", [0.5, 1.7, 6.0])
    def test_only_what_it_reaches_is_drawn(self, feather: float, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = []
        fill = cv2.fillPoly

        def note(matte: np.ndarray, *arguments: object) -> object:
            sizes.append(matte.size)
            return fill(matte, *arguments)

        monkeypatch.setattr(cv2, "fillPoly", note)
        shape = np.array([(100.2, 90.7), (131.6, 97.3), (112.9, 120.4)])
        matte = draw_polygon(shape, Window(0, 0, 400, 400), feather)
        monkeypatch.setattr(image_ops, "BLUR_REACH", 1000.0)
        assert np.abs(draw_polygon(shape, Window(0, 0, 400, 400), feather) - matte).max() < 1e-6
        assert sizes[0] < 0.1 * sizes[1]
        assert not draw_polygon(shape, Window(300, 300, 20, 30), feather).any()


class TestAlpha:
    def test_straight_undoes_premultiplied(self) -> None:
        random = np.random.default_rng(0)
        rgb = random.normal(1, 20, (6, 7, 3)).astype(np.float32)
        alpha = random.random((6, 7)).astype(np.float32)
        alpha[0] = 0
        window = Window(0, 0, 7, 6)
        back, same = unpremultiply(Plate(premultiply(rgb, alpha), ("R", "G", "B", "A"), window, window))
        assert np.array_equal(same, alpha)
        assert not back[0].any()
        assert np.allclose(back[1:], rgb[1:], rtol=1e-5)

    def test_no_pixels(self) -> None:
        empty = Plate(np.zeros((0, 4, 4), np.float32), ("R", "G", "B", "A"), Window(0, 0, 4, 0), Window(0, 0, 4, 4))
        rgb, alpha = unpremultiply(empty)
        assert rgb.shape == (0, 4, 3) and alpha.shape == (0, 4)


class TestDistance:
    @pytest.mark.parametrize("radius", [6.0, 11.25, 20.5])
    def test_is_right_to_a_fraction_of_a_pixel(self, radius: float) -> None:
        y, x = np.mgrid[0:64, 0:64]
        exact = radius - np.hypot(x - DISC_CENTRE[0], y - DISC_CENTRE[1])
        error = np.abs(measure_signed_distance(disc(radius)) - exact)
        assert error[np.abs(exact) < 8].max() < 0.75
        assert error[np.abs(exact) < 8].mean() < 0.3

    def test_all_and_nothing(self) -> None:
        assert (measure_signed_distance(np.zeros((5, 5), np.float32)) < -1e5).all()
        assert (measure_signed_distance(np.ones((5, 5), np.float32)) > 1e5).all()


class TestChannels:
    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_numbers_are_added_and_weights_multiplied_as_by_numpy(self, kind: type) -> None:
        for count in (2, 3):
            picture = np.random.default_rng(count).normal(size=(7, 4, count)).astype(kind)
            weight, shift = picture[..., 0].astype(np.float32), picture[0, 0]
            assert np.array_equal(shift_channels(picture, -shift), picture - shift)
            assert np.array_equal(weigh(picture, weight), picture * weight[..., None])
            assert weigh(picture, weight).dtype == kind


class TestEdge:
    @pytest.mark.parametrize(("size", "feather"), [(0.0, 9.0), (2.5, 4.2), (-3.0, 6.0)])
    def test_edge_does_not_depend_on_how_much_is_around(self, size: float, feather: float) -> None:
        matte = disc(15.0)
        wide = np.pad(matte, ((40, 31), (23, 50)))
        assert np.array_equal(
            grow_and_feather(wide, size, feather, 1.0)[40:-31, 23:-50], grow_and_feather(matte, size, feather, 1.0)
        )

    def test_edge_of_nothing_is_nothing(self) -> None:
        assert not grow_and_feather(np.zeros((9, 9), np.float32), 0.0, 5.0, 1.0).any()


class TestFilters:
    def test_smoothstep(self) -> None:
        assert smoothstep(np.array([-1.0, 0, 0.5, 1, 2])) == pytest.approx([0, 0, 0.5, 1, 1])

    @pytest.mark.parametrize("sigma", [1.5, 9.0, 40.0])
    def test_weighted_blur_does_not_see_beyond_the_weight(self, sigma: float) -> None:
        picture = np.full((60, 50, 3), 0.4, np.float32)
        weight = np.zeros((60, 50), np.float32)
        weight[10:50, 5:30] = 1
        picture[weight == 0] = 1000.0
        blurred = blur_weighted(picture, weight, sigma)
        assert blurred[weight > 0] == pytest.approx(0.4, abs=2e-3)
        flat = blur_weighted(picture[..., 0], weight, sigma)
        assert np.allclose(flat, blurred[..., 0])

    def test_weighted_blur_of_a_ramp(self) -> None:
        ramp = np.broadcast_to(np.linspace(0, 1, 100, dtype=np.float32), (80, 100)).copy()
        blurred = blur_weighted(ramp, np.ones_like(ramp), 12.0)
        assert np.abs(blurred - ramp)[:, 40:60].max() < 0.02

    def test_reconstruction_ends_where_dilations_under_the_limit_end(self) -> None:
        random = np.random.default_rng(1)
        limit = np.asarray(cv2.GaussianBlur(random.random((70, 90), np.float32), (0, 0), 2))
        seed = np.where(np.hypot(*np.mgrid[-35:35, -45:45]) > 25, limit, 0).astype(np.float32)
        seed[30, 40] = limit[30, 40]
        plain = seed
        for _ in range(200):
            plain = np.minimum(cv2.dilate(plain, np.ones((3, 3), np.uint8)), limit)
        assert np.array_equal(reconstruct_by_dilation(seed, limit), plain)
        assert np.array_equal(reconstruct_by_dilation(limit, limit), limit)

    def test_guided_brings_an_edge_to_the_pictures(self) -> None:
        guide = np.zeros((60, 80, 3), np.float32)
        guide[:, 43:] = (0.2, 0.5, 0.8)
        rough = np.zeros((60, 80), np.float32)
        rough[:, 40:] = 1
        fine = apply_guided_filter(rough, guide, guide, 5, 1e-4)
        assert fine[30, 46] > 0.9 and fine[30, 36] < 0.2
        steps = np.abs(np.diff(fine[30]))
        assert steps.argmax() == 42
        large = np.repeat(np.repeat(guide, 2, 0), 2, 1)
        assert apply_guided_filter(rough, guide, large, 5, 1e-4).shape == (120, 160)
