"""The step across a matte's edge, with known answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from fsgan_core.evaluation.edge import compute_edge_difference

EYES = 60.0
SKIN, PALER, WALL = (190, 150, 130), (205, 168, 150), (40, 60, 90)


def plain(colour: tuple[int, int, int] = SKIN) -> np.ndarray:
    return np.full((200, 200, 3), colour, np.uint8)


def disc(radius: int, feather: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[0:200, 0:200]
    away = radius - np.hypot(x - 100, y - 100)
    return np.clip(away / feather if feather else away > 0, 0, 1).astype(np.float32)


def mixed(target: np.ndarray, face: np.ndarray, matte: np.ndarray) -> np.ndarray:
    return np.rint(target + matte[..., None] * (face.astype(np.float32) - target)).astype(np.uint8)


def apart(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """CIEDE2000 of two sRGB colours, by another road."""
    lab = rgb2lab(np.array([[one, other]], np.uint8))
    return float(deltaE_ciede2000(lab[0, 0], lab[0, 1]))


@pytest.mark.parametrize("feather", [0.0, 8.0])
def test_a_face_of_another_colour_steps_by_what_the_colours_differ(feather: float) -> None:
    matte = disc(60, feather)
    result = mixed(plain(), plain(PALER), matte)
    assert compute_edge_difference(result, plain(), matte, EYES) == pytest.approx(apart(SKIN, PALER), rel=0.02)


def test_equal_pictures_have_none(astronaut: np.ndarray) -> None:
    picture = np.ascontiguousarray(astronaut[:200, :200])
    assert compute_edge_difference(picture, picture, disc(60, 8.0), EYES) == 0.0


def test_an_edge_that_the_plate_has_itself_counts_for_nothing() -> None:
    """A face in front of a wall, the matte's edge on its outline, the new face all but lit alike."""
    matte = disc(60)
    target = mixed(plain(WALL), plain(SKIN), matte)
    result = mixed(plain(WALL), plain((191, 150, 130)), matte)
    assert compute_edge_difference(result, target, matte, EYES) < 0.3
    # the same face over its own skin, and the same trifle, is no more
    assert compute_edge_difference(mixed(plain(), plain((191, 150, 130)), matte), plain(), matte, EYES) < 0.5


def test_a_step_that_goes_away_is_no_seam() -> None:
    matte = disc(60)
    target = mixed(plain(SKIN), plain(PALER), matte)
    assert compute_edge_difference(plain(SKIN), target, matte, EYES) == 0.0


def test_only_where_the_seam_is() -> None:
    """Half of the face is off: half of the edge counts."""
    matte = disc(60)
    face = plain()
    face[:, 100:] = PALER
    assert compute_edge_difference(mixed(plain(), face, matte), plain(), matte, EYES) == pytest.approx(
        apart(SKIN, PALER) / 2, rel=0.05
    )


def test_a_change_in_the_middle_is_no_seam() -> None:
    result = plain()
    cv2.circle(result, (100, 100), 20, PALER, -1)
    assert compute_edge_difference(result, plain(), disc(60), EYES) == pytest.approx(0.0, abs=1e-3)


def test_grain_says_little() -> None:
    grain = np.random.default_rng(3).normal(0, 4, (200, 200, 1))
    matte = disc(60, 8.0)
    noisy = np.clip(plain() + grain * matte[..., None], 0, 255).astype(np.uint8)
    assert compute_edge_difference(noisy, plain(), matte, EYES) < 0.6


def test_half_a_mix_has_an_edge_too() -> None:
    matte = 0.5 * disc(60, 8.0)
    result = mixed(plain(), plain(PALER), matte)
    assert compute_edge_difference(result, plain(), matte, EYES) == pytest.approx(apart(SKIN, PALER) / 2, rel=0.15)


@pytest.mark.parametrize("matte", [np.zeros((200, 200), np.float32), np.ones((200, 200), np.float32)])
def test_without_an_edge_there_is_no_figure(matte: np.ndarray) -> None:
    assert np.isnan(compute_edge_difference(plain(PALER), plain(), matte, EYES))
