"""Sharpness and grain brought to the plate's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.stages.plate_match import (
    BAND_COUNT,
    GRAIN_BAND_COUNT,
    average_textures,
    match_texture,
    measure_texture,
)

SIDE, WIDTH = 160, 120.0
WEIGHT = np.zeros((SIDE, SIDE), np.float32)
cv2.ellipse(WEIGHT, (80, 80), (55, 68), 0, 0, 360, 1.0, -1)
SKIN = np.array([0.75, 0.55, 0.45], np.float32)


def skin(detail: float = 0.06, blur: float = 0.8, seed: int = 0, grain: float = 0.0) -> np.ndarray:
    """A patch of skin: a colour, wrinkles of a given sharpness with smooth skin between them, grain."""
    random = np.random.default_rng(seed)
    lines = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(25):
        start, end = random.uniform(0, SIDE, 2), random.normal(0, 25, 2)
        cv2.line(lines, np.int32(start).tolist(), np.int32(start + end).tolist(), 4.0, 1, cv2.LINE_AA)
    picture = SKIN * (1 - detail * cv2.GaussianBlur(lines, (0, 0), blur)[..., None])
    return (picture + grain * random.standard_normal((SIDE, SIDE, 1))).astype(np.float32)


class TestTexture:
    def test_measures_detail_and_grain(self) -> None:
        sharp, soft = measure_texture(skin(), WEIGHT, WIDTH), measure_texture(skin(blur=3.0), WEIGHT, WIDTH)
        assert len(sharp) == BAND_COUNT + GRAIN_BAND_COUNT
        assert all(a > 1.5 * b for a, b in zip(sharp[:2], soft[:2], strict=True))
        grainy = measure_texture(skin(detail=0.0, grain=0.02), WEIGHT, WIDTH)
        assert grainy[BAND_COUNT] == pytest.approx(0.02 * 0.72, rel=0.05)  # the finest band holds 72 % of white noise

    def test_too_little_skin_says_nothing(self) -> None:
        assert measure_texture(skin(), 0 * WEIGHT, WIDTH) == (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT)

    @pytest.mark.parametrize("other", [2.0, 0.6])
    def test_band_energies_come_together(self, other: float) -> None:
        """A crisp face on a soft plate softens, a soft face on a crisp plate sharpens."""
        face = skin(blur=1.0)
        wanted = measure_texture(skin(blur=other, seed=1), WEIGHT, WIDTH)
        before = measure_texture(face, WEIGHT, WIDTH)
        after = measure_texture(match_texture(face, WEIGHT, wanted, WIDTH, 1.0, 0.0, (1, 1)), WEIGHT, WIDTH)
        for band in range(2):
            was, now = (abs(np.log(values[band] / wanted[band])) for values in (before, after))
            assert now < max(0.6 * was, 0.15)

    @pytest.mark.parametrize("other", [1.6, 3.0])
    def test_a_soft_plates_sharpness_is_met(self, other: float) -> None:
        """As it is judged, by the variance of the Laplacian."""
        plate, face = skin(blur=other, seed=1), skin(blur=0.8)
        matched = match_texture(face, WEIGHT, measure_texture(plate, WEIGHT, WIDTH), WIDTH, 1.0, 0.0, (1, 1))
        inner = cv2.erode(WEIGHT, np.ones((9, 9), np.uint8)) > 0.5
        was, now = (
            float(cv2.Laplacian(picture.mean(-1), cv2.CV_32F)[inner].var())
            / float(cv2.Laplacian(plate.mean(-1), cv2.CV_32F)[inner].var())
            for picture in (face, matched)
        )
        assert was > 50 and 0.6 < now < 2.2

    def test_grain_is_no_sharpness(self) -> None:
        """A face as sharp and as grainy as the plate is not blurred to be grained anew."""
        face = skin(grain=0.02)
        wanted = measure_texture(skin(grain=0.02, seed=1), WEIGHT, WIDTH)
        matched = match_texture(face, WEIGHT, wanted, WIDTH, 1.0, 0.0, (1, 1))
        assert measure_texture(matched, WEIGHT, WIDTH)[0] == pytest.approx(wanted[0], rel=0.15)

    def test_no_amount_changes_nothing(self) -> None:
        wanted = measure_texture(skin(blur=3.0, seed=1), WEIGHT, WIDTH)
        assert np.allclose(match_texture(skin(), WEIGHT, wanted, WIDTH, 0.0, 0.0, (1, 1)), skin(), atol=1e-6)

    def test_unknown_texture_changes_nothing(self) -> None:
        for wanted in ((), (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT), (0.1,)):
            assert np.array_equal(match_texture(skin(), WEIGHT, wanted, WIDTH, 1.0, 1.0, (1, 1)), skin())

    def test_grain_has_the_measured_deviation(self) -> None:
        plate = skin(detail=0.0, grain=0.025, seed=2)
        wanted = measure_texture(plate, WEIGHT, WIDTH)
        clean = skin(detail=0.002, blur=2.0)
        grainy = match_texture(clean, WEIGHT, wanted, WIDTH, 0.0, 1.0, (1, 1))
        after = measure_texture(grainy, WEIGHT, WIDTH)
        for band in range(GRAIN_BAND_COUNT):
            assert after[BAND_COUNT + band] == pytest.approx(wanted[BAND_COUNT + band], rel=0.06)

    def test_a_face_of_enough_grain_gets_no_more(self) -> None:
        face = skin(detail=0.01, grain=0.03)
        wanted = measure_texture(skin(detail=0.01, grain=0.015, seed=1), WEIGHT, WIDTH)
        after = measure_texture(match_texture(face, WEIGHT, wanted, WIDTH, 0.0, 1.0, (1, 1)), WEIGHT, WIDTH)
        assert after[BAND_COUNT] == pytest.approx(measure_texture(face, WEIGHT, WIDTH)[BAND_COUNT], rel=0.02)

    def test_grain_depends_on_seed_and_frame_alone(self) -> None:
        wanted = measure_texture(skin(detail=0.0, grain=0.02), WEIGHT, WIDTH)

        def grain(seed: int, frame: int) -> np.ndarray:
            return match_texture(skin(), WEIGHT, wanted, WIDTH, 0.0, 1.0, (seed, frame)) - skin()

        first = grain(1, 7)
        assert np.array_equal(first, grain(1, 7))
        for other in (grain(1, 8), grain(2, 7)):
            assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05

    def test_mean_leaves_out_what_was_not_seen(self) -> None:
        assert average_textures([(0.1, 0.2), (0.0, 0.0), (0.3, 0.4)]) == pytest.approx((0.2, 0.3))
        assert average_textures([]) == (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT)
