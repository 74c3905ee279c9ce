"""The published crop: where it lies, and that pictures go into it and come back in place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.plates.plate import Window
from fsgan_core.plates.region import compute_region
from fsgan_core.stages.neural.fsgan_crop import (
    Crop,
    compute_face_crop,
    compute_view_margin,
    cut_crop,
    mark_crop_area,
    paste_crop,
)
from tests.stages.conftest import Still, face_at, posed


def dots(window: Window, points: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """A Gaussian at each of `points` (n, 2), plate coordinates."""
    x, y = np.arange(window.width) + window.x, np.arange(window.height) + window.y
    return np.asarray(
        sum(np.exp(-((x[None] - px) ** 2 + (y[:, None] - py) ** 2) / (2 * sigma**2)) for px, py in points), np.float32
    )


def middle(picture: np.ndarray) -> np.ndarray:
    """Centre of mass (x, y) in pixels."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    return np.array([(picture * x).sum(), (picture * y).sum()]) / picture.sum()


class TestPlace:
    def test_holds_the_face_as_a_detectors_box_would(self) -> None:
        """From the hairline to the chin with a tenth around, the face in the middle across."""
        face = face_at(posed(scale=2.0, centre=(300, 200)))
        shares = compute_face_crop(face, 1.2, 256).normalise_points(face.landmarks)
        assert shares[:, 0].mean() == pytest.approx(0.5, abs=0.02)
        assert shares[8, 1] == pytest.approx(0.92, abs=0.03)  # chin
        assert shares[16, 0] - shares[0, 0] == pytest.approx(0.65, abs=0.03)

    def test_scale_and_middle(self) -> None:
        face = face_at(posed(scale=1.5, centre=(80, 90)))
        near, far = compute_face_crop(face, 1.2, 256), compute_face_crop(face, 2.0, 256)
        assert far.width / near.width == pytest.approx(2.0 / 1.2)
        assert near.denormalise_points(np.array([0.5, 0.5])) == pytest.approx(
            far.denormalise_points(np.array([0.5, 0.5]))
        )

    @pytest.mark.parametrize("roll", [-50.0, 20.0, 90.0])
    def test_follows_the_heads_axis(self, roll: float) -> None:
        """Of a tilted head the same part lies in the middle."""
        straight, tilted = (face_at(posed(roll=angle, scale=1.5, centre=(100, 100))) for angle in (0.0, roll))
        middle_of = [
            compute_face_crop(face, 1.2, 64).denormalise_points(np.array([0.5, 0.5])) - (100, 100)
            for face in (straight, tilted)
        ]
        angle = np.radians(roll)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert middle_of[1] == pytest.approx(turn @ middle_of[0], abs=1.5)

    def test_square_on_the_screen(self) -> None:
        wide = compute_face_crop(face_at(posed(scale=1.5, aspect=2.0), aspect=2.0), 1.2, 128, 2.0)
        assert wide.width * 2.0 == pytest.approx(wide.height)

    @pytest.mark.parametrize("turn", [0.0, 33.0])
    def test_shares_and_back(self, turn: float) -> None:
        crop = Crop(10.25, -3.5, 40.0, 80.0, 64, turn, 2.0)
        points = np.random.default_rng(0).uniform(-20, 60, (9, 2))
        assert crop.denormalise_points(crop.normalise_points(points)) == pytest.approx(points)
        if not turn:
            assert crop.normalise_points(np.array([10.25, -3.5])) == pytest.approx([0, 0])

    def test_a_view_holds_every_turned_crop(self, collins: Still) -> None:
        for scale in (1.2, 2.0):
            region = compute_region(collins.face.box, compute_view_margin(scale) + 0.05)
            for turn in (0.0, 45.0, -120.0):
                corners = compute_face_crop(collins.face, scale, 64, 1.0, turn).denormalise_points(
                    np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
                )
                assert (corners >= (region.x, region.y)).all()
                assert (corners <= (region.right - 1, region.bottom - 1)).all()


class TestResampling:
    WINDOW = Window(-7, 11, 120, 140)

    @pytest.mark.parametrize(
        "crop",
        [
            Crop(3.3, 20.2, 77.7, 77.7, 64),
            Crop(3.3, 20.2, 77.7, 77.7, 128),
            Crop(0.0, 17.5, 50.0, 100.0, 64, 0.0, 2.0),
            Crop(20.0, 40.0, 60.0, 60.0, 96, 30.0),
        ],
    )
    def test_points_land_where_shares_say(self, crop: Crop) -> None:
        point = crop.denormalise_points(np.array([[0.4, 0.55]]))
        picture = dots(self.WINDOW, point)
        found = (middle(np.maximum(cut_crop(picture, self.WINDOW, crop), 0)) + 0.5) / crop.size
        assert found == pytest.approx([0.4, 0.55], abs=0.1 / crop.size)

    def test_on_the_plates_own_raster_nothing_changes(self) -> None:
        picture = np.random.default_rng(1).normal(0.5, 0.2, (140, 120, 3)).astype(np.float32)
        crop = Crop(9.5, 29.5, 64.0, 64.0, 64)
        part = cut_crop(picture, self.WINDOW, crop)
        assert np.abs(part - picture[19:83, 17:81]).max() < 1e-6
        back = paste_crop(part, crop, self.WINDOW)
        inside = mark_crop_area(crop, self.WINDOW) == 1
        assert inside.sum() == 64 * 64
        assert np.abs(back - picture)[inside].max() < 1e-6

    @pytest.mark.parametrize("size", [64, 128, 256])
    def test_there_and_back(self, size: int) -> None:
        """What the crop can hold comes back."""
        noise = np.random.default_rng(2).normal(0, 1, (140, 120, 3)).astype(np.float32)
        smooth = 0.5 + cv2.GaussianBlur(noise, (0, 0), 4.0)
        crop = Crop(3.3, 20.2, 77.7, 77.7, size)
        back = paste_crop(cut_crop(smooth, self.WINDOW, crop), crop, self.WINDOW)
        inside = cv2.erode(mark_crop_area(crop, self.WINDOW), np.ones((9, 9))) == 1
        assert np.abs(back - smooth)[inside].max() < 3e-3

    @pytest.mark.parametrize("turn", [0.0, 20.0])
    def test_a_fine_chequer_becomes_grey(self, turn: float) -> None:
        y, x = np.mgrid[0:600, 0:600]
        chequer = ((x + y) % 2).astype(np.float32)
        small = cut_crop(chequer, Window(0, 0, 600, 600), Crop(110.2, 120.1, 380.0, 380.0, 64, turn))
        assert np.abs(small - 0.5).max() < 0.02

    @pytest.mark.parametrize("turn", [0.0, 15.0])
    def test_outside_the_picture_is_black(self, turn: float) -> None:
        crop = Crop(-60.0, -40.0, 120.0, 120.0, 64, turn)
        part = cut_crop(np.ones((140, 120, 3), np.float32), self.WINDOW, crop)
        place = (np.arange(64) + 0.5) / 64
        points = crop.denormalise_points(np.stack(np.meshgrid(place, place), -1)) - (
            self.WINDOW.x - 0.5,
            self.WINDOW.y - 0.5,
        )
        depth = np.minimum(points, (120, 140) - points).min(-1)  # plate pixels inside the picture's edge
        assert (depth > 6).sum() > 400 and (depth < -6).sum() > 400
        assert np.abs(part[depth > 6] - 1).max() < 1e-4
        assert not part[depth < -6].any()

    def test_linear_stays_in_range(self) -> None:
        matte = (np.random.default_rng(3).random((140, 120)) > 0.5).astype(np.float32)
        for size in (64, 200):
            crop = Crop(3.3, 20.2, 77.7, 77.7, size)
            part = cut_crop(matte, self.WINDOW, crop, "linear")
            back = paste_crop(part, crop, self.WINDOW, "linear")
            assert min(part.min(), back.min()) >= 0 and max(part.max(), back.max()) <= 1 + 1e-6

    def test_coverage_meets_the_crops_edge(self) -> None:
        crop = Crop(10.25, 20.0, 33.5, 40.0, 64)
        assert mark_crop_area(crop, self.WINDOW).sum() == pytest.approx(33.5 * 40.0, rel=0.01)

    def test_the_window_holds_all_that_is_looked_at(self) -> None:
        picture = np.random.default_rng(4).random((300, 320)).astype(np.float32)
        whole = Window(-40, -30, 320, 300)
        for crop in (Crop(20.3, 30.6, 101.0, 101.0, 48), Crop(20.3, 30.6, 101.0, 101.0, 200)):
            window = crop.window()
            part = picture[window.y + 30 : window.bottom + 30, window.x + 40 : window.right + 40]
            assert np.array_equal(cut_crop(part, window, crop), cut_crop(picture, whole, crop))
