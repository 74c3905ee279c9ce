"""Figures with known answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import FrameRangeError
from fsgan_core.evaluation import evaluate_arrays, frame_metrics, metrics
from fsgan_core.faces.measure import FaceGauge

FLAT = np.full((40, 60), 100.0, np.float32)
ALL = np.ones((40, 60), bool)


def square_landmarks(centre: tuple[float, float] = (100.0, 100.0), size: float = 60.0) -> np.ndarray:
    """68 points on a circle; chin at the bottom, brows in the upper half, eyes' outer corners `size` apart."""
    angles = np.linspace(0.1, 2 * np.pi, 68)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size + centre
    points[8] = (centre[0], centre[1] + size)
    points[17:27, 1] = centre[1] - size / 2
    points[36], points[45] = (centre[0] - size / 2, centre[1]), (centre[0] + size / 2, centre[1])
    return points


class TestIdentity:
    def test_nearest_source_counts(self) -> None:
        sources = [np.full(128, 1.0), np.full(128, 0.25)]
        assert metrics.compute_identity_distance(np.zeros(128), sources) == pytest.approx(0.25 * np.sqrt(128))

    def test_no_source_is_nan(self) -> None:
        assert np.isnan(metrics.compute_identity_distance(np.zeros(128), []))


class TestEuler:
    def test_mean_of_three_angles(self) -> None:
        assert metrics.compute_euler_error((10, -5, 3), (7, -5, 0)) == pytest.approx(2.0)

    def test_wraps_at_half_a_turn(self) -> None:
        assert metrics.compute_euler_error((0, 0, 179), (0, 0, -179)) == pytest.approx(2 / 3)


class TestLandmarks:
    def test_shift_over_eye_distance(self) -> None:
        target = square_landmarks(size=60.0)
        assert metrics.compute_landmark_error(np.add(target, (3.0, 4.0)), target) == pytest.approx(5.0 / 60.0)

    def test_pixel_aspect_counts_in_both(self) -> None:
        target = square_landmarks(size=60.0)
        assert metrics.compute_landmark_error(np.add(target, (3.0, 0.0)), target, 2.0) == pytest.approx(6.0 / 120.0)


class TestFlicker:
    def test_known_second_difference(self) -> None:
        assert metrics.compute_flicker(FLAT, FLAT + 3, FLAT, ALL) == pytest.approx(6.0)

    def test_steady_change_is_none(self) -> None:
        assert metrics.compute_flicker(FLAT, FLAT + 3, FLAT + 6, ALL) == pytest.approx(0.0)

    def test_only_the_region_counts(self) -> None:
        region = ALL.copy()
        region[:, 30:] = False
        now = FLAT.copy()
        now[:, 30:] += 50
        assert metrics.compute_flicker(FLAT, now, FLAT, region) == 0.0

    def test_empty_region(self) -> None:
        assert np.isnan(metrics.compute_flicker(FLAT, FLAT, FLAT, ~ALL))


class TestSharpness:
    def test_contrast_counts_squared(self) -> None:
        picture = np.random.default_rng(1).normal(100, 10, FLAT.shape).astype(np.float32)
        softer = 100 + (picture - 100) / 2
        assert metrics.compare_sharpness(softer, picture, ALL) == pytest.approx(0.25, rel=0.01)
        assert metrics.compare_sharpness(picture, softer, ALL) == pytest.approx(4.0, rel=0.01)

    def test_a_replaced_rim_does_not_decide(self) -> None:
        result = np.random.default_rng(1).normal(100, 3, (240, 240)).astype(np.float32)
        target = result.copy()
        cv2.circle(target, (70, 90), 40, 20.0, 3)
        cv2.circle(target, (170, 90), 40, 20.0, 3)
        region = np.ones(result.shape, bool)
        laplacians = [cv2.Laplacian(picture, cv2.CV_32F) for picture in (result, target)]
        assert laplacians[1].var() > 3 * laplacians[0].var()
        assert metrics.compare_sharpness(result, target, region) == pytest.approx(1.0, abs=0.02)

    def test_blur_of_half_the_face_is_seen(self) -> None:
        target = np.random.default_rng(1).normal(100, 10, (240, 240)).astype(np.float32)
        result = target.copy()
        result[:130] = cv2.GaussianBlur(target, (0, 0), 1.0)[:130]
        assert metrics.compare_sharpness(result, target, np.ones(result.shape, bool)) < 0.3

    def test_flat_pictures_are_equal(self) -> None:
        assert metrics.compare_sharpness(FLAT, FLAT, ALL) == 1.0

    def test_a_small_face_has_patches(self) -> None:
        picture = np.random.default_rng(1).normal(100, 10, (20, 20)).astype(np.float32)
        region = np.zeros(picture.shape, bool)
        region[7:9, 7:9] = True
        assert metrics.compare_sharpness(picture, picture, region) == 1.0

    @pytest.mark.parametrize(("ratio", "factor"), [(1.0, 1.0), (4.0, 4.0), (0.25, 4.0), (0.0, np.inf)])
    def test_factor_either_way(self, ratio: float, factor: float) -> None:
        assert metrics.compute_symmetric_ratio(ratio) == factor

    def test_unknown_stays_unknown(self) -> None:
        assert np.isnan(metrics.compute_symmetric_ratio(float("nan")))
        assert np.isnan(metrics.compare_sharpness(FLAT, FLAT, ~ALL))


class TestSsim:
    def test_equal_pictures(self, astronaut: np.ndarray) -> None:
        assert metrics.compute_ssim(astronaut, astronaut, square_landmarks((230, 130))) == pytest.approx(1.0)

    def test_blur_lowers_it(self, astronaut: np.ndarray) -> None:
        blurred = cv2.GaussianBlur(astronaut, (0, 0), 3)
        assert metrics.compute_ssim(blurred, astronaut, square_landmarks((230, 130))) < 0.9

    def test_it_is_that_of_the_publication(self, astronaut: np.ndarray) -> None:
        usual = pytest.importorskip("skimage.metrics").structural_similarity
        noise = np.random.default_rng(1).normal(0, 12, astronaut.shape)
        other = np.clip(0.9 * astronaut + noise, 0, 255).astype(np.uint8)
        landmarks = square_landmarks((230, 130))
        side = (np.ptp(landmarks, axis=0)).max() * metrics.SSIM_MARGIN
        corner = (landmarks.min(axis=0) + landmarks.max(axis=0)) / 2 - side / 2
        crops = [metrics._crop_square(picture, corner, side, 1.0) for picture in (astronaut, other)]
        wanted = usual(*crops, channel_axis=2, data_range=255)
        assert 0.2 < wanted < 0.95
        assert metrics.compute_ssim(astronaut, other, landmarks) == pytest.approx(wanted, abs=1e-6)

    def test_face_at_the_corner(self, astronaut: np.ndarray) -> None:
        assert metrics.compute_ssim(astronaut, astronaut, square_landmarks((5, 500))) == pytest.approx(1.0)

    def test_large_face_is_reduced(self, astronaut: np.ndarray) -> None:
        value = metrics.compute_ssim(astronaut, astronaut, square_landmarks((256, 256), 220), 1.1)
        assert value == pytest.approx(1.0)


class TestOutside:
    def test_counts_only_outside(self) -> None:
        target = np.zeros((10, 10, 3), np.uint8)
        result = target.copy()
        result[2, 2] = 9
        result[7, 7, 1] = 4
        matte = np.zeros((10, 10), np.float32)
        matte[2, 2] = 0.01
        assert metrics.count_changed_outside(result, target, matte) == (1, 4.0)

    def test_equal(self) -> None:
        target = np.ones((4, 4, 3), np.float32)
        assert metrics.count_changed_outside(target, target.copy(), np.zeros((4, 4))) == (0, 0.0)

    def test_nan_and_infinity_may_stay(self) -> None:
        target = np.zeros((4, 4, 3), np.float32)
        target[0, 0], target[1, 1] = np.nan, np.inf
        assert metrics.count_changed_outside(target.copy(), target, np.zeros((4, 4))) == (0, 0.0)

    def test_nan_that_came_or_went_is_a_change(self) -> None:
        target = np.zeros((4, 4, 3), np.float32)
        result = target.copy()
        result[3, 3, 0] = np.nan
        assert metrics.count_changed_outside(result, target, np.zeros((4, 4))) == (1, np.inf)

    def test_tolerance(self) -> None:
        target = np.zeros((4, 4, 3), np.float32)
        result = target.copy()
        result[0, 0, 0], result[1, 1, 1] = 0.1, 0.3
        assert metrics.count_changed_outside(result, target, np.zeros((4, 4)), 0.2) == (1, pytest.approx(0.3))
        allowed = np.full_like(target, 0.2)
        assert metrics.count_changed_outside(result, target, np.zeros((4, 4)), allowed)[0] == 1


class TestRegion:
    def test_reaches_over_the_brows(self) -> None:
        region = metrics.compute_face_region(square_landmarks((100, 100), 60), (200, 200))
        assert region[100, 100] and region[52, 100]
        assert not region[20, 100] and not region[199, 199]

    def test_margin_grows_it(self) -> None:
        landmarks = square_landmarks((100, 100), 60)
        small, large = (metrics.compute_face_region(landmarks, (200, 200), margin) for margin in (0.0, 0.2))
        assert large[small].all()
        assert large.sum() / small.sum() == pytest.approx(1.44, rel=0.05)


class TestMean:
    def test_leaves_nan_out(self) -> None:
        assert metrics.nanmean([1.0, float("nan"), 3.0]) == 2.0
        assert np.isnan(metrics.nanmean([float("nan")]))


@pytest.fixture(scope="module")
def gauge() -> FaceGauge:
    return FaceGauge()


@pytest.fixture(scope="module")
def clip(grace_hopper: np.ndarray) -> list[np.ndarray]:
    """Four equal frames of one face."""
    return [grace_hopper] * 4


def evaluated(astronaut: np.ndarray, clip: list[np.ndarray], result: list[np.ndarray], gauge: FaceGauge) -> dict:
    return evaluate_arrays.evaluate_frames([astronaut[:320]], clip, result, gauge=gauge)


class TestEvaluateFrames:
    def test_equal_pictures_have_no_error(
        self, astronaut: np.ndarray, clip: list[np.ndarray], gauge: FaceGauge
    ) -> None:
        found = evaluated(astronaut, clip, [frame.copy() for frame in clip], gauge)
        means = found["means"]
        assert found["lost"] == found["target_lost"] == []
        for name in ("euler", "landmarks", "flicker", "outside", "outside_max", "replaced"):
            assert means[name] == 0.0
        assert means["ssim"] == pytest.approx(1.0)
        assert means["sharpness_off"] == pytest.approx(1.0)
        assert means["identity"] == means["identity_target"]
        assert 0.6 < means["identity"] < 1.1  # two people

    def test_the_source_itself_is_near(self, astronaut: np.ndarray, gauge: FaceGauge) -> None:
        picture = astronaut[:320]
        found = evaluate_arrays.evaluate_frames([picture], [picture], [picture], gauge=gauge)
        assert found["means"]["identity"] < 0.05

    def test_known_flicker(self, astronaut: np.ndarray, clip: list[np.ndarray], gauge: FaceGauge) -> None:
        brighter = np.clip(clip[0].astype(int) + 4, 0, 255).astype(np.uint8)
        found = evaluated(astronaut, clip, [clip[0], brighter, clip[0], brighter], gauge)
        assert np.isnan(found["frames"]["flicker"][0]) and np.isnan(found["frames"]["flicker"][3])
        assert found["frames"]["flicker_target"][1] == 0.0
        assert found["frames"]["flicker"][1] == pytest.approx(8.0, abs=0.1)
        assert found["frames"]["flicker"][2] == pytest.approx(8.0, abs=0.1)

    def test_blur_is_off_in_sharpness(self, astronaut: np.ndarray, clip: list[np.ndarray], gauge: FaceGauge) -> None:
        blurred = cv2.GaussianBlur(clip[0], (0, 0), 1.5)
        means = evaluated(astronaut, clip[:1], [blurred], gauge)["means"]
        assert means["sharpness"] < 0.3
        assert means["sharpness_off"] == pytest.approx(1 / means["sharpness"])
        assert means["landmarks"] < 0.02  # the face is where it was

    def test_shifted_face(self, astronaut: np.ndarray, clip: list[np.ndarray], gauge: FaceGauge) -> None:
        shifted = np.roll(clip[0], (0, 6), axis=(0, 1))
        found = evaluated(astronaut, clip[:1], [shifted], gauge)
        face = gauge.follow(clip[0])
        assert face is not None
        eyes = np.linalg.norm(face.landmarks[36] - face.landmarks[45])
        assert found["means"]["landmarks"] == pytest.approx(6 / eyes, abs=0.005)
        assert found["means"]["euler"] < 0.5

    def test_lost_face_is_listed(self, astronaut: np.ndarray, clip: list[np.ndarray], gauge: FaceGauge) -> None:
        grey = np.full_like(clip[0], 128)
        found = evaluated(astronaut, clip[:2], [clip[0], grey], gauge)
        assert found["lost"] == [1] and found["target_lost"] == []
        assert np.isnan(found["frames"]["identity"][1]) and np.isnan(found["frames"]["landmarks"][1])
        assert found["frames"]["outside"][1] > 10000

    def test_target_without_a_face(self, astronaut: np.ndarray, clip: list[np.ndarray], gauge: FaceGauge) -> None:
        grey = np.full_like(clip[0], 128)
        found = evaluated(astronaut, [grey], [grey], gauge)
        assert found["target_lost"] == [0] and found["lost"] == []
        assert np.isnan(found["means"]["identity_target"])
        assert found["means"]["outside"] == 0.0

    def test_given_matte(self, astronaut: np.ndarray, clip: list[np.ndarray], gauge: FaceGauge) -> None:
        result = clip[0].copy()
        result[0, 0] = (255, 0, 255)
        matte = np.zeros(result.shape[:2])
        free = evaluate_arrays.evaluate_frames([], clip[:1], [result], [matte], gauge=gauge)["means"]
        assert free["outside"] == 1
        matte[0, 0] = 1
        assert evaluate_arrays.evaluate_frames([], clip[:1], [result], [matte], gauge=gauge)["means"]["outside"] == 0

    def test_noise_of_the_measurement(self, astronaut: np.ndarray, gauge: FaceGauge) -> None:
        picture = astronaut[:320]
        noise = np.random.default_rng(2).integers(-1, 2, picture.shape)
        noisy = np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)
        means = evaluate_arrays.evaluate_frames([picture], [picture], [noisy], gauge=gauge)["means"]
        assert means["euler"] < 0.3
        assert means["landmarks"] < 0.003
        assert abs(means["identity"] - means["identity_target"]) < 0.05

    def test_pixel_aspect(self, astronaut: np.ndarray, clip: list[np.ndarray]) -> None:
        squeezed = cv2.resize(clip[0], (256, 600), interpolation=cv2.INTER_AREA)
        shifted = np.roll(squeezed, 3, axis=1)
        found = evaluate_arrays.evaluate_frames([squeezed], [squeezed], [shifted], pixel_aspect=2.0)
        face = evaluate_arrays.get_shared_gauge(2.0).follow(squeezed)
        assert face is not None
        eyes = np.linalg.norm((face.landmarks[36] - face.landmarks[45]) * (2.0, 1.0))
        assert found["means"]["landmarks"] == pytest.approx(6 / eyes, abs=0.008)

    def test_other_number_of_frames(self, clip: list[np.ndarray]) -> None:
        with pytest.raises(FrameRangeError, match="4 target frames and 3 result frames"):
            evaluate_arrays.evaluate_frames([], clip, clip[:3])

    def test_other_size(self, clip: list[np.ndarray]) -> None:
        with pytest.raises(FrameRangeError, match="differ in size"):
            evaluate_arrays.evaluate_frames([], clip[:1], [clip[0][:100]])

    def test_nothing_at_all(self) -> None:
        assert evaluate_arrays.evaluate_frames([], [], [])["means"].keys() >= {"identity", "flicker"}


class TestFigures:
    def test_flicker_needs_both_neighbours_at_the_same_distance(self, gauge: FaceGauge, clip: list[np.ndarray]) -> None:
        face = gauge.follow(clip[0])
        frames = [frame_metrics.FramePair(number, clip[0], clip[0], face, face) for number in (1, 2, 3, 5)]
        rows = dict(frame_metrics.compute_metrics(frames, []))
        assert rows[2]["flicker"] == 0.0
        assert np.isnan(rows[3]["flicker"]) and np.isnan(rows[5]["flicker"])

    def test_windows_that_moved_between_frames(self, gauge: FaceGauge, clip: list[np.ndarray]) -> None:
        face = gauge.follow(clip[0])
        assert face is not None
        whole = frame_metrics.FramePair(2, clip[0], clip[0], face, face)
        parts = [
            frame_metrics.FramePair(number, clip[0][20:, 10:], clip[0][20:, 10:], None, None, origin=(10, 20))
            for number in (1, 3)
        ]
        assert dict(frame_metrics.compute_metrics([parts[0], whole, parts[1]], []))[2]["flicker"] == 0.0

    def test_window_that_misses_the_face(self, gauge: FaceGauge, clip: list[np.ndarray]) -> None:
        face = gauge.follow(clip[0])
        whole = frame_metrics.FramePair(2, clip[0], clip[0], face, face)
        away = [
            frame_metrics.FramePair(number, clip[0][500:], clip[0][500:], None, None, origin=(0, 500))
            for number in (1, 3)
        ]
        assert np.isnan(dict(frame_metrics.compute_metrics([away[0], whole, away[1]], []))[2]["flicker"])
