"""Sharpness and grain brought to the plate's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.stages.matching.plate_match import (
    BAND_COUNT,
    GRAIN_BAND_COUNT,
    TEXTURE_LENGTH,
    GrainSeed,
    PlateSkin,
    _make_grain,
    add_changing_grain,
    average_textures,
    match_darks,
    match_texture,
    measure_changing_grain,
    measure_texture,
)

SIDE, WIDTH = 160, 120.0
WEIGHT = np.zeros((SIDE, SIDE), np.float32)
cv2.ellipse(WEIGHT, (80, 80), (55, 68), 0, 0, 360, 1.0, -1)
NOWHERE = np.zeros((SIDE, SIDE), np.float32)
PLAIN = np.zeros((SIDE, SIDE), np.float32)
PLAIN[84:140, 40:120] = 1
SEED = GrainSeed((1, 1), (SIDE, SIDE))
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


def features(blur: float = 0.8, seed: int = 0) -> np.ndarray:
    """Strokes with edges of a given blur."""
    random = np.random.default_rng(seed)
    strokes = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(12):
        start, end = random.uniform(0, SIDE, 2), random.normal(0, 25, 2)
        cv2.line(strokes, np.int32(start).tolist(), np.int32(start + end).tolist(), 1.0, 12, cv2.LINE_AA)
    return SKIN * (1 - 0.5 * cv2.GaussianBlur(strokes, (0, 0), blur)[..., None])


def texture(picture: np.ndarray) -> tuple[float, ...]:
    return measure_texture(picture, WEIGHT, 0 * WEIGHT)


def matched(
    face: np.ndarray, plate: np.ndarray, sharpness: float = 0.0, grain: float = 0.0, seed: tuple[int, int] = (1, 1)
) -> np.ndarray:
    """A face of nothing but features, with the plate's sharpness and grain."""
    unused = PlateSkin(plate, 0 * WEIGHT, WIDTH, 0.0)
    return match_texture(face, WEIGHT, texture(plate), unused, sharpness, grain, GrainSeed(seed, WEIGHT.shape))


def energy(picture: np.ndarray, inside: np.ndarray) -> float:
    inner = cv2.erode(inside, np.ones((9, 9), np.uint8)) > 0.5
    return float(cv2.Laplacian(picture.mean(-1), cv2.CV_32F)[inner].var())


class TestTexture:
    def test_measures_detail_and_grain(self) -> None:
        sharp, soft = texture(skin()), texture(skin(blur=3.0))
        assert len(sharp) == TEXTURE_LENGTH
        assert all(a > 1.5 * b for a, b in zip(sharp[:2], soft[:2], strict=True))
        grainy = texture(skin(detail=0.0, grain=0.02))
        assert grainy[BAND_COUNT] == pytest.approx(0.02 * 0.72, rel=0.05)  # the finest band holds 72 % of white noise

    def test_measures_the_blur_of_edges(self) -> None:
        blurs = (0.7, 1.2, 2.0)
        assert [texture(features(blur))[-1] for blur in blurs] == pytest.approx(blurs, rel=0.2)

    def test_too_little_skin_says_nothing(self) -> None:
        assert measure_texture(skin(), 0 * WEIGHT, 0 * WEIGHT) == (0.0,) * TEXTURE_LENGTH

    @pytest.mark.parametrize("other", [2.0, 0.6])
    def test_band_energies_come_together(self, other: float) -> None:
        """A crisp face on a soft plate softens, a soft face on a crisp plate sharpens."""
        face, plate = features(1.2), features(other, seed=1)
        wanted, before, after = texture(plate), texture(face), texture(matched(face, plate, sharpness=1.0))
        for band in range(2):
            was, now = (abs(np.log(values[band] / wanted[band])) for values in (before, after))
            assert now < max(0.65 * was, 0.2)

    @pytest.mark.parametrize("other", [1.6, 2.5])
    def test_a_soft_plates_sharpness_is_met(self, other: float) -> None:
        """As it is judged, by the variance of the Laplacian."""
        plate, face = features(other, seed=1), features(0.8)
        was, now = (
            energy(picture, WEIGHT) / energy(plate, WEIGHT) for picture in (face, matched(face, plate, sharpness=1.0))
        )
        assert was > 10 and 0.4 < now < 2.5

    def test_grain_is_no_sharpness(self) -> None:
        """A face as sharp and as grainy as the plate is not blurred to be grained anew."""
        face, plate = skin(grain=0.02), skin(grain=0.02, seed=1)
        assert texture(matched(face, plate, sharpness=1.0))[0] == pytest.approx(texture(plate)[0], rel=0.15)

    def test_no_amount_changes_nothing(self) -> None:
        assert np.allclose(matched(skin(), skin(blur=3.0, seed=1)), skin(), atol=1e-6)

    def test_unknown_texture_changes_nothing(self) -> None:
        plate = PlateSkin(skin(seed=1), PLAIN, WIDTH, 1.0)
        for wanted in ((), (0.0,) * TEXTURE_LENGTH, (0.1,)):
            assert np.array_equal(match_texture(skin(), WEIGHT, wanted, plate, 1.0, 1.0, SEED), skin())

    def test_grain_has_the_measured_deviation(self) -> None:
        plate = skin(detail=0.0, grain=0.025, seed=2)
        wanted, after = texture(plate), texture(matched(skin(detail=0.002, blur=2.0), plate, grain=1.0))
        for band in range(GRAIN_BAND_COUNT):
            assert after[BAND_COUNT + band] == pytest.approx(wanted[BAND_COUNT + band], rel=0.06)

    def test_a_part_of_a_picture_has_the_grain_of_the_whole(self) -> None:
        deviations = np.array([0.01, 0.005])
        part = (slice(30, 90), slice(20, 150))
        whole = _make_grain(GrainSeed((3, 4), (SIDE, SIDE)), deviations)[part]
        drawn = _make_grain(GrainSeed((3, 4), (SIDE, SIDE), part), deviations)
        assert np.allclose(drawn[8:-8, 8:-8], whole[8:-8, 8:-8], atol=1e-6)

    def test_a_face_of_enough_grain_gets_no_more(self) -> None:
        face = skin(detail=0.01, grain=0.03)
        after = texture(matched(face, skin(detail=0.01, grain=0.015, seed=1), grain=1.0))
        assert after[BAND_COUNT] == pytest.approx(texture(face)[BAND_COUNT], rel=0.02)

    def test_grain_is_no_more_than_what_changes(self) -> None:
        """What a compressed plate repeats from frame to frame must not boil in the new face."""
        plate, face = skin(detail=0.0, grain=0.025, seed=2), skin(detail=0.002, blur=2.0)
        unused = PlateSkin(plate, 0 * WEIGHT, WIDTH, 0.0)

        def get_grain(share: float) -> np.ndarray:
            changing = tuple(share * value for value in texture(plate)[BAND_COUNT:-1])
            wanted = add_changing_grain(texture(plate), [changing])
            return np.asarray(
                texture(match_texture(face, WEIGHT, wanted, unused, 0.0, 1.0, GrainSeed((1, 1), (SIDE, SIDE))))[
                    BAND_COUNT:-1
                ]
            )

        usual = np.asarray(texture(matched(face, plate, grain=1.0))[BAND_COUNT:-1])
        assert np.array_equal(get_grain(2.0), usual)
        assert np.array_equal(get_grain(0.0), texture(face)[BAND_COUNT:-1])
        assert get_grain(0.2) == pytest.approx(0.2 * usual, rel=0.15)

    def test_grain_depends_on_seed_and_frame_alone(self) -> None:
        def grain(seed: int, frame: int) -> np.ndarray:
            return matched(skin(), skin(detail=0.0, grain=0.02), grain=1.0, seed=(seed, frame)) - skin()

        first = grain(1, 7)
        assert np.array_equal(first, grain(1, 7))
        for other in (grain(1, 8), grain(2, 7)):
            assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05

    def test_mean_leaves_out_what_was_not_seen(self) -> None:
        assert average_textures([(0.1, 0.2), (0.0, 0.0), (0.3, 0.4)]) == pytest.approx((0.2, 0.3))
        assert average_textures([]) == (0.0,) * TEXTURE_LENGTH

    def test_a_blur_keeps_faint_detail_nearer_the_plates(self) -> None:
        plate = features(blur=1.6)
        faint = SKIN + 0.4 * (features(blur=0.8) - SKIN)
        done = matched(faint, plate, sharpness=1.0)
        twice = matched(SKIN + (plate - SKIN), plate, sharpness=1.0)
        blurred = cv2.GaussianBlur(faint, (0, 0), float(np.sqrt(1.6**2 - 0.8**2)))
        assert energy(blurred, WEIGHT) < energy(done, WEIGHT) <= 1.2 * energy(plate, WEIGHT)
        assert energy(twice, WEIGHT) == pytest.approx(energy(plate, WEIGHT), rel=0.1)

    def test_stubble_gets_no_rougher_than_the_plates(self) -> None:
        random = np.random.default_rng(3)
        stubble = np.zeros((SIDE, SIDE), np.float32)
        stubble[100:130, 50:110] = random.standard_normal((30, 60))
        stubble = 0.1 * cv2.GaussianBlur(stubble, (0, 0), 0.8)[..., None]
        soft, sharp = (np.where(PLAIN[..., None] > 0, SKIN, features(blur=blur)) + stubble for blur in (1.4, 0.7))
        plate = np.float32(sharp)
        known = measure_texture(plate, WEIGHT, PLAIN)
        done = match_texture(np.float32(soft), WEIGHT, known, PlateSkin(plate, PLAIN, WIDTH, 0.0), 1.0, 0.0, SEED)
        assert energy(done, WEIGHT * (1 - PLAIN)) > 1.2 * energy(soft, WEIGHT * (1 - PLAIN))
        rough = np.zeros_like(PLAIN)
        rough[104:126, 54:106] = 1
        assert energy(done, rough) < 1.2 * energy(plate, rough)

    def test_what_is_the_plates_own_is_not_sharpened_again(self) -> None:
        plate, soft = features(blur=0.8), features(blur=1.6)
        kept = np.zeros((SIDE, SIDE), np.float32)
        kept[: SIDE // 2] = 0.6
        skin = PlateSkin(plate, PLAIN, WIDTH, 0.0)
        done = match_texture(np.float32(soft), WEIGHT, texture(plate), skin, 1.0, 0.0, SEED, kept)
        assert np.array_equal(done[: SIDE // 2], np.float32(soft)[: SIDE // 2])
        below = WEIGHT * (kept == 0)
        assert energy(done, below) > 1.1 * energy(soft, below)

    def test_beside_a_dark_mouth_of_the_plate_is_no_pale_rim(self) -> None:
        plate, soft = features(blur=0.8), np.float32(features(blur=1.6))
        kept = np.zeros((SIDE, SIDE), np.float32)
        kept[50:70, 60:100] = 1
        dark = np.where(kept[..., None] > 0, 0.05, soft).astype(np.float32)
        skin = PlateSkin(plate, PLAIN, WIDTH, 0.0)
        done = match_texture(dark, WEIGHT * (1 - kept), texture(plate), skin, 1.0, 0.0, SEED, kept)
        assert (done - dark)[71, 65:95].mean() < 0.005


class TestDarks:
    def hazy(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A plate with dark strokes, the same under a veil, and where the strokes are."""
        plate = np.float32(features(seed=2))
        strokes = np.float32((SKIN - plate).mean(-1) > 0.05) * WEIGHT
        return plate, np.float32(SKIN + 0.5 * (plate - SKIN)), strokes

    def match(
        self,
        face: np.ndarray,
        plate: np.ndarray,
        strokes: np.ndarray,
        amount: float = 1.0,
        finished: np.ndarray = NOWHERE,
    ) -> np.ndarray:
        plain = WEIGHT * (1 - cv2.dilate(strokes, np.ones((5, 5))))
        return match_darks(face, plate, plain, strokes, finished, 300, 1.0, amount)

    def test_a_veil_is_taken_off_half_the_way(self) -> None:
        plate, face, strokes = self.hazy()
        done = self.match(face, plate, strokes)
        inside = strokes > 0
        assert plate[inside].mean() < done[inside].mean() < face[inside].mean() - 0.02
        assert np.allclose(
            done[inside] / face[inside], (done[inside] / face[inside]).mean(-1, keepdims=True), atol=1e-4
        )

    def test_lips_keep_their_colour(self) -> None:
        plate, face, strokes = self.hazy()
        face = face - 0.05 * strokes[..., None] * np.float32([0, 1, 0.5])
        done = self.match(face, plate, strokes)
        inside = cv2.erode(strokes, np.ones((3, 3))) > 0
        redness = [(picture[..., 0] / picture[..., 1])[inside].mean() for picture in (face, done)]
        assert 1.01 * redness[0] < redness[1] < 1.2 * redness[0]

    def test_skin_beside_stays(self) -> None:
        plate, face, strokes = self.hazy()
        away = cv2.dilate(strokes, np.ones((9, 9))) == 0
        assert np.abs(self.match(face, plate, strokes) - face)[away & (WEIGHT > 0)].max() < 0.01

    def test_what_is_darker_than_the_plates_darkest_comes_half_as_far(self) -> None:
        plate, face, strokes = self.hazy()
        done = self.match(plate, face, strokes)
        depths = [(SKIN - picture).mean(-1) for picture in (plate, done)]
        darkest = np.percentile((SKIN - face).mean(-1)[strokes > 0], 98)
        deep, shallow = depths[0] > 1.5 * darkest, depths[0] < 0.7 * darkest
        less, beyond = depths[0] - depths[1], depths[0] - darkest
        assert (less[deep] > 0).all()
        assert less[deep].mean() == pytest.approx(beyond[deep].mean() / 2, rel=0.15)
        assert np.abs(done - plate)[shallow].max() < 0.01

    def test_a_black_pixel_that_is_slightly_green_gets_no_colour(self) -> None:
        plate, face, strokes = self.hazy()
        black = strokes.astype(bool) & (np.indices(strokes.shape).sum(0) % 7 == 0)
        deep = np.where(black[..., None], np.float32([0, 1e-3, 0]), plate)
        done = self.match(deep, face, strokes)
        assert (done[black].max(-1) - done[black].min(-1)).max() < 0.2

    def test_what_has_the_plates_contrast_stays(self) -> None:
        plate, face, strokes = self.hazy()
        finished = NOWHERE.copy()
        finished[: SIDE // 2] = 1
        done = self.match(face, plate, strokes, finished=finished)
        assert np.array_equal(done[: SIDE // 2], face[: SIDE // 2])
        assert np.array_equal(done[SIDE // 2 :], self.match(face, plate, strokes)[SIDE // 2 :])

    def test_no_amount_changes_nothing(self) -> None:
        plate, face, strokes = self.hazy()
        assert np.array_equal(self.match(face, plate, strokes, 0.0), face)

    def test_a_black_plate_gives_numbers(self) -> None:
        """A fade to black, through which a face is followed."""
        _, face, strokes = self.hazy()
        assert np.isfinite(self.match(face, np.zeros_like(face), strokes)).all()


class TestSkin:
    def given(self, face: np.ndarray, plate: np.ndarray, amount: float = 1.0, width: float = 2 * WIDTH) -> np.ndarray:
        """A face with the plate's texture of the skin, everything else off."""
        return match_texture(face, WEIGHT, texture(plate), PlateSkin(plate, PLAIN, width, amount), 0.0, 0.0, SEED)

    def test_a_smooth_face_gets_the_plates_own_texture(self) -> None:
        smooth, plate = skin(detail=0.01, blur=3.0), skin(detail=0.0, grain=0.02, seed=1)
        result = self.given(smooth, plate)
        assert energy(result, PLAIN) == pytest.approx(energy(plate, PLAIN), rel=0.15)
        inner = PLAIN > 0.5
        assert np.corrcoef((result - smooth)[inner].ravel(), (plate - SKIN)[inner].ravel())[0, 1] > 0.9

    def test_a_small_face_takes_no_features_for_texture(self) -> None:
        smooth, plate = skin(detail=0.01, blur=3.0), skin(detail=0.0, grain=0.02, seed=1)
        result = self.given(smooth, plate, width=0.4 * WIDTH)
        assert energy(result - smooth + SKIN, PLAIN) < 0.1 * energy(plate, PLAIN)

    def test_a_rough_face_gets_smoother(self) -> None:
        rough, plate = skin(detail=0.0, grain=0.03), skin(detail=0.0, grain=0.02, seed=1)
        assert energy(self.given(rough, plate), PLAIN) == pytest.approx(energy(plate, PLAIN), rel=0.25)

    def test_features_of_the_plate_stay_out(self) -> None:
        """A frame of glasses across the skin is not lent, nor is anything beyond plain skin."""
        smooth, plate = skin(detail=0.01, blur=3.0), skin(detail=0.0, grain=0.01, seed=1)
        cv2.line(plate, (40, 110), (120, 110), (0.1, 0.1, 0.1), 2)
        change = np.abs(self.given(smooth, plate) - smooth).max(-1)
        assert change[108:113, 45:115].max() < 0.02
        assert change[PLAIN == 0].max() == 0
        assert change[120:135, 45:115].max() > 0.01

    def test_faint_lines_of_the_plate_stay_out(self) -> None:
        """A pale rim of glasses has hardly more contrast than pores; that it is a line gives it away."""
        smooth, plate = skin(detail=0.01, blur=3.0), skin(detail=0.0, grain=0.01, seed=1)
        rim = np.zeros((SIDE, SIDE), np.float32)
        cv2.ellipse(rim, (80, 100), (30, 22), 0, 0, 180, 1.0, 1, cv2.LINE_AA)
        lent = self.given(smooth, plate - 0.03 * rim[..., None]) - smooth
        on_rim = (rim > 0.7) & (PLAIN > 0)
        pores = self.given(smooth, plate) - smooth
        assert abs(lent[on_rim].mean()) < 0.012, "of 0.03"
        assert pores[PLAIN > 0].std() > 0.007, "pores come along"

    def test_amount_is_how_much(self) -> None:
        smooth, plate = skin(detail=0.01, blur=3.0), skin(detail=0.0, grain=0.02, seed=1)
        half, full = (self.given(smooth, plate, amount) - smooth for amount in (0.5, 1.0))
        assert np.allclose(2 * half, full, atol=1e-6)


class TestChangingGrain:
    def measure(self, now: np.ndarray, other: np.ndarray) -> tuple[float, ...]:
        return measure_changing_grain(*(np.float32(one @ LUMA_WEIGHTS) for one in (now, other)), WEIGHT)

    def test_texture_is_none(self) -> None:
        held = skin(grain=0.02)
        assert self.measure(held, held) == (0.0,) * GRAIN_BAND_COUNT

    def test_noise_is(self) -> None:
        """As much as one frame by itself shows of it."""
        flat = [skin(detail=0.0, grain=0.02, seed=seed) for seed in (1, 2)]
        assert self.measure(*flat) == pytest.approx(texture(flat[0])[BAND_COUNT:-1], rel=0.1)

    def test_too_little_skin_says_nothing(self) -> None:
        luma = np.float32(skin() @ LUMA_WEIGHTS)
        assert measure_changing_grain(luma, luma, 0 * WEIGHT) == ()
        assert add_changing_grain((1.0,) * TEXTURE_LENGTH, [()]) == (1.0,) * TEXTURE_LENGTH
