"""The region: a square on the screen, whole even pixels, wherever the face is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsgan_core.plates.plate import Window
from fsgan_core.plates.region import compute_region


def test_is_centred_and_larger_by_the_margin() -> None:
    assert compute_region((100.0, 50.0, 200.0, 200.0), 0.25) == Window(50, 0, 300, 300)


def test_a_long_box_becomes_square_by_its_longer_side() -> None:
    region = compute_region((0.0, 0.0, 100.0, 60.0), 0.1)
    assert region.width == region.height == 120


def test_wide_pixels_give_fewer_columns() -> None:
    """The same face on a plate squeezed by two: the same square on the screen."""
    square = compute_region((100.0, 50.0, 200.0, 200.0), 0.25)
    squeezed = compute_region((50.0, 50.0, 100.0, 200.0), 0.25, 2.0)
    assert squeezed.height == square.height
    assert squeezed.width * 2 == pytest.approx(square.width, abs=3)
    assert 2 * (squeezed.x + squeezed.width / 2) == pytest.approx(square.x + square.width / 2, abs=4)


@given(
    st.floats(-5e3, 5e3),
    st.floats(-5e3, 5e3),
    st.floats(0.5, 3e3),
    st.floats(0.1, 2.0),
    st.sampled_from([0.5, 1.0, 1.7, 2.0]),
)
def test_holds_the_box_and_moves_in_even_steps(x: float, y: float, side: float, margin: float, aspect: float) -> None:
    region = compute_region((x, y, side / aspect, side), margin, aspect)
    assert region.x % 2 == region.y % 2 == region.width % 2 == region.height % 2 == 0
    assert min(region.width, region.height) >= 16
    assert abs(region.width * aspect - region.height) <= 2 * aspect + 16 * abs(1 - aspect) + 2
    slack = margin * side  # on every side, less the rounding to two pixels
    assert region.x <= x - slack / aspect + 2 and region.right >= x + (side + slack) / aspect - 2
    assert region.y <= y - slack + 2 and region.bottom >= y + side + slack - 2


def test_a_tiny_face_keeps_a_workable_region() -> None:
    region = compute_region((10.0, 10.0, 0.0, 0.0), 0.3)
    assert (region.width, region.height) == (16, 16)
