"""Windows and plates in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.plate import Plate, Window, compute_slices
from tests.plates.conftest import random_plate

windows = st.builds(Window, st.integers(-20, 20), st.integers(-20, 20), st.integers(0, 20), st.integers(0, 20))


class TestWindow:
    @given(a=windows, b=windows)
    def test_intersection_is_the_common_pixels(self, a: Window, b: Window) -> None:
        def pixels(window: Window) -> set[tuple[int, int]]:
            return {(x, y) for x in range(window.x, window.right) for y in range(window.y, window.bottom)}

        common = a.intersect(b)
        assert pixels(common) == pixels(a) & pixels(b)
        assert common.empty == (not pixels(a) & pixels(b))

    def test_contains(self) -> None:
        assert Window(0, 0, 4, 4).contains(Window(1, 1, 3, 3))
        assert not Window(0, 0, 4, 4).contains(Window(1, 1, 4, 3))


class TestPlate:
    def test_shapes_are_checked(self) -> None:
        window = Window(0, 0, 2, 1)
        with pytest.raises(PlateError, match=r"shape \(1, 2, 1\)"):
            Plate(np.zeros((1, 2, 1), np.float32), ("R", "G"), window, window)
        with pytest.raises(PlateError, match="exact values of id"):
            Plate(
                np.zeros((1, 2, 1), np.float32), ("id",), window, window, integers={"id": np.zeros((2, 2), np.uint32)}
            )

    def test_channels(self) -> None:
        plate = random_plate(channels=("R", "G", "B", "matte.face"))
        assert np.array_equal(plate.get("B", "R"), plate.pixels[..., [2, 0]])
        assert np.array_equal(plate.get_matte("matte.face"), plate.pixels[..., 3])
        assert plate.get_matte("matte.hair").shape == (5, 7)
        assert not plate.get_matte("matte.hair").any()
        with pytest.raises(PlateError, match=r"no channel A, Z; it has R, G, B, matte\.face"):
            plate.get("R", "A", "Z")

    def test_known_channels_stand_beside_zeros_for_the_others(self) -> None:
        plate = random_plate(channels=("R", "G", "B", "matte.face"))
        known = plate.get_known("matte.hair", "matte.face", "R")
        assert not known[..., 0].any()
        assert np.array_equal(known[..., 1:], plate.pixels[..., [3, 0]])

    def test_get_is_a_copy(self) -> None:
        plate = random_plate()
        before = plate.pixels.copy()
        plate.get("R")[...] = 9
        assert np.array_equal(plate.pixels, before)

    @given(window=windows)
    def test_crop_keeps_every_pixel_in_place(self, window: Window) -> None:
        plate = random_plate(data=(-3, 2))
        plate = Plate(
            plate.pixels,
            plate.channels,
            plate.data_window,
            plate.display_window,
            integers={"A": np.arange(35, dtype=np.uint32).reshape(5, 7) + 1},
        )
        cropped = plate.crop(window)
        assert cropped.data_window == window
        assert cropped.display_window == plate.display_window
        assert cropped.pixels.dtype == np.float32
        common = window.intersect(plate.data_window)
        inside = np.zeros(cropped.pixels.shape[:2], bool)
        if not common.empty:
            new, old = compute_slices(common, window), compute_slices(common, plate.data_window)
            assert np.array_equal(cropped.pixels[new], plate.pixels[old])
            assert np.array_equal(cropped.integers["A"][new], plate.integers["A"][old])
            inside[new] = True
        assert not cropped.pixels[~inside].any()

    def test_metadata_is_extended(self) -> None:
        plate = random_plate(metadata={"a": 1})
        assert dict(plate.with_metadata(b=2, a=3).metadata) == {"a": 3, "b": 2}
        assert plate.metadata == {"a": 1}
