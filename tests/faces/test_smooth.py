from dataclasses import replace

import numpy as np
import pytest

from fsgan_core.faces.landmarkers import landmarks_wflw
from fsgan_core.faces.landmarkers.landmarks import measure_eye_opening, measure_mouth_opening
from fsgan_core.faces.mesh import CANONICAL, INNER_LIPS, LIDS_L, LIDS_R
from fsgan_core.faces.pose import compute_face_box
from fsgan_core.faces.smooth import (
    FaceSample,
    average_window,
    get_ibug_layout,
    get_mesh_layout,
    smooth_faces,
    smooth_points,
    split_runs,
)
from tests.faces.helpers import head

COUNT = 60
RNG = np.random.default_rng(11)


def sample(place: int, landmarks: np.ndarray, begins: bool = False, roll: float = 0.0) -> FaceSample:
    box = np.array(compute_face_box(landmarks))
    return FaceSample(place, box, (0.0, 0.0, roll), 0.9, begins, landmarks=landmarks)


def clip(path: np.ndarray, noise: float, still: np.ndarray | None = None) -> tuple[list[FaceSample], np.ndarray]:
    """Samples of a face that goes along `path` (n, 2), measured with `noise` pixels, and its true landmarks."""
    face = head() if still is None else still
    truth = (face if face.ndim == 3 else face[None]) + path[:, None]
    measured = truth + RNG.normal(size=truth.shape) * noise
    return [sample(i, measured[i], i == 0) for i in range(len(path))], truth


class TestLandmarks:
    def test_noise_is_reduced(self) -> None:
        samples, truth = clip(np.zeros((COUNT, 2)), 1.0)
        result = np.array([face.landmarks for face in smooth_faces(samples, gap=8, amount=1.0)])
        assert (result - truth)[5:-5].std() < 0.75 * (np.array([s.landmarks for s in samples]) - truth).std()

    def test_a_shaken_camera_is_followed_at_once(self) -> None:
        """What a mean over frames cannot do: the shake is kept whole, the noise is not."""
        path = RNG.normal(size=(COUNT, 2)) * 6
        samples, truth = clip(path, 1.0)
        result = np.array([face.landmarks for face in smooth_faces(samples, gap=8, amount=1.0)])
        error = (result - truth)[5:-5]
        assert np.abs(error.mean((0, 1))).max() < 0.05
        assert error.std() < 0.8
        mean = average_window(np.array([s.landmarks for s in samples]).reshape(COUNT, -1), 3).reshape(truth.shape)
        assert error.std() < 0.3 * (mean - truth)[5:-5].std()

    def test_no_lag(self) -> None:
        path = np.column_stack([np.linspace(0, 300, COUNT), np.zeros(COUNT)])
        samples, truth = clip(path, 0.5)
        result = np.array([face.landmarks for face in smooth_faces(samples, gap=8, amount=1.0)])
        assert abs((result - truth)[3:-3, :, 0].mean()) < 0.15

    def test_a_blink_stays(self) -> None:
        lids = np.repeat(head()[None], COUNT, axis=0)
        depth = np.zeros(COUNT)
        depth[28:33] = (0.4, 0.9, 1.0, 0.8, 0.3)
        for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
            lids[:, upper] += depth[:, None] * 0.8 * (lids[:, lower] - lids[:, upper])
        samples, truth = clip(np.zeros((COUNT, 2)), 0.4, lids)
        result = np.array([face.landmarks for face in smooth_faces(samples, gap=8, amount=1.0)])
        drop = measure_eye_opening(truth)[20] - measure_eye_opening(truth).min()
        assert measure_eye_opening(result)[20] - measure_eye_opening(result).min() > 0.85 * drop

    def test_speech_stays(self) -> None:
        lips = np.repeat(head()[None], COUNT, axis=0)
        wave = 4 * (1 - np.cos(np.arange(COUNT) * 2 * np.pi / 8))  # a syllable every eight frames
        lips[:, 65:68, 1] += wave[:, None]
        lips[:, 55:60, 1] += wave[:, None]
        samples, truth = clip(np.zeros((COUNT, 2)), 0.4, lips)
        result = np.array([face.landmarks for face in smooth_faces(samples, gap=8, amount=1.0)])
        assert measure_mouth_opening(result).std() > 0.85 * measure_mouth_opening(truth).std()

    def test_amount_zero_is_the_measurement(self) -> None:
        samples, _ = clip(RNG.normal(size=(9, 2)), 1.0)
        for face, measured in zip(smooth_faces(samples, gap=8, amount=0.0), samples, strict=True):
            np.testing.assert_array_equal(face.landmarks, measured.landmarks)
            np.testing.assert_allclose(face.box, measured.box)

    def test_more_is_smoother(self) -> None:
        samples, _ = clip(np.zeros((COUNT, 2)), 1.0)
        rough = [
            np.diff([face.landmarks for face in smooth_faces(samples, gap=8, amount=amount)], axis=0).std()
            for amount in (0, 0.5, 1, 3)
        ]
        assert rough[0] > rough[1] > rough[2] > rough[3]

    def test_size_of_the_face_does_not_matter(self) -> None:
        samples, _ = clip(np.zeros((20, 2)), 0.5)
        points = np.array([s.landmarks for s in samples])
        seen = np.ones(20, bool)
        small = smooth_points(points, seen, 1.0, get_ibug_layout())
        large = smooth_points(points * 7, seen, 1.0, get_ibug_layout())
        np.testing.assert_allclose(large, small * 7, rtol=1e-9)


class TestMesh:
    """A mesh of 2 pixels per millimetre, measured with 0.2 pixels of noise."""

    def shake(self, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mesh as it was measured and as it is smoothed."""
        measured = truth + RNG.normal(size=truth.shape) * 0.2
        return measured, smooth_points(measured, np.ones(len(truth), bool), 1.0, get_mesh_layout())

    def test_noise_is_reduced(self) -> None:
        truth = np.repeat(2 * CANONICAL[None], COUNT, axis=0)
        measured, result = self.shake(truth)
        assert (result - truth)[2:-2].std() < 0.75 * (measured - truth).std()

    def test_a_head_that_jerks_is_followed_at_once(self) -> None:
        truth = np.repeat(2 * CANONICAL[None], COUNT, axis=0)
        truth[30:] += (14.0, -8.0, 0.0)
        _, result = self.shake(truth)
        assert np.abs((result - truth)[28:32].mean(1)).max() < 0.3

    def test_lids_that_shut_for_one_frame_are_shut(self) -> None:
        truth = np.repeat(2 * CANONICAL[None], COUNT, axis=0)
        for ring in (LIDS_R, LIDS_L):
            lower, upper = list(ring[1:8]), list(ring[15:8:-1])
            truth[30][upper] = truth[30][lower]
        _, result = self.shake(truth)
        gap = np.linalg.norm(result[:, 159, :2] - result[:, 145, :2], axis=1)
        assert gap[30] < 1.0 and gap[29] > 0.9 * gap[20] and gap[31] > 0.9 * gap[20]

    def test_lips_that_meet_for_two_frames_meet(self) -> None:
        opened = 2 * CANONICAL.copy()
        lower = list(INNER_LIPS[1:10])
        opened[lower, 1] += 12.0
        truth = np.repeat(opened[None], COUNT, axis=0)
        truth[30:32, lower, 1] -= 12.0
        _, result = self.shake(truth)
        gap = (result - truth)[:, 14, 1]
        assert np.abs(gap[28:34]).max() < 1.5

    def test_a_missing_mesh_is_filled_in(self) -> None:
        faces = [
            FaceSample(place, np.array([0.0, 0, 9, 9]), (0, 0, 0), 0.9, mesh=2 * CANONICAL + (place, 0, 0))
            for place in (0, 1, 2, 5, 6, 7)
        ]
        final = smooth_faces(faces, gap=4, amount=1.0)
        assert [face.place for face in final] == list(range(8))
        np.testing.assert_allclose(final[3].mesh, 2 * CANONICAL + (3, 0, 0), atol=0.05)


class TestGaps:
    def test_short_gap_is_bridged_long_one_is_not(self) -> None:
        path = np.column_stack([np.arange(30.0), np.zeros(30)])
        samples, truth = clip(path, 0.0)
        kept = [s for s in samples if not 10 <= s.place < 14]
        faces = smooth_faces(kept, gap=4, amount=1.0)
        assert [face.place for face in faces] == list(range(30))
        assert [face.place for face in faces if face.is_bridged] == [10, 11, 12, 13]
        np.testing.assert_allclose(faces[12].landmarks, truth[12], atol=0.5)
        assert faces[12].confidence < faces[9].confidence
        assert [face.place for face in smooth_faces(kept, gap=3, amount=1.0)] == [*range(10), *range(14, 30)]

    def test_a_cut_is_not_smoothed_over(self) -> None:
        left = [sample(i, head(), i == 0) for i in range(5)]
        right = [sample(5 + i, head(at=(900, 200)), i == 0) for i in range(5)]
        assert [len(run) for run in split_runs(left + right, 8)] == [5, 5]
        faces = smooth_faces(left + right, gap=8, amount=4.0)
        np.testing.assert_allclose(faces[4].landmarks, head(), atol=1e-6)
        np.testing.assert_allclose(faces[5].landmarks, head(at=(900, 200)), atol=1e-6)
        assert faces[4].box[0] == pytest.approx(compute_face_box(head())[0])

    def test_another_place_is_not_bridged(self) -> None:
        faces = [sample(0, head()), sample(3, head(at=(1500, 200)))]
        assert len(split_runs(faces, 8)) == 2

    def test_one_face(self) -> None:
        only = smooth_faces([sample(7, head())], gap=8, amount=1.0)
        assert len(only) == 1 and only[0].place == 7
        np.testing.assert_array_equal(only[0].landmarks, head())

    def test_nobody(self) -> None:
        assert smooth_faces([], gap=8, amount=1.0) == []


class TestBoxAndPose:
    def test_box_is_steady_but_stays_with_a_running_face(self) -> None:
        still, _ = clip(np.zeros((COUNT, 2)), 1.0)
        sides = [face.box[2] for face in smooth_faces(still, gap=8, amount=1.0)]
        assert np.std(sides) < 0.3 * np.std([s.box[2] for s in still])
        path = np.zeros((COUNT, 2))
        path[30:, 0] = np.arange(30) * 40.0
        running, _ = clip(path, 0.0)
        for face, measured in zip(smooth_faces(running, gap=8, amount=1.0), running, strict=True):
            assert np.abs(face.box[0] - measured.box[0]) < 0.13 * measured.box[2]

    def test_roll_across_half_a_turn(self) -> None:
        rolls = [178.0, 179.0, -180.0, -179.0, -178.0]
        faces = smooth_faces(
            [sample(i, head(), i == 0, roll=r) for i, r in enumerate(rolls)],
            gap=8,
            amount=1.0,
        )
        assert abs(abs(faces[2].euler[2]) - 180) < 1

    def test_mean_is_centred_at_the_ends(self) -> None:
        line = np.arange(9.0)[:, None]
        np.testing.assert_allclose(average_window(line, 3), line)


class TestMany:
    """The 98 landmarks of a network."""

    def smooth(self, samples: list[FaceSample], noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Measured and smooth 98, each (n, 98, 2)."""
        raw = [landmarks_wflw.from_ibug(s.landmarks) + RNG.normal(size=(98, 2)) * noise for s in samples]
        faces = smooth_faces(
            [replace(s, wflw=points) for s, points in zip(samples, raw, strict=True)], gap=8, amount=1.0
        )
        return np.array(raw), np.array([face.wflw for face in faces])

    def test_a_shaken_camera_is_followed_and_noise_is_reduced(self) -> None:
        path = RNG.normal(size=(COUNT, 2)) * 6
        samples, truth = clip(path, 0.0)
        raw, result = self.smooth(samples)
        error = (result - landmarks_wflw.from_ibug(truth))[5:-5]
        assert np.abs(error.mean((0, 1))).max() < 0.05
        assert error.std() < 0.8 * (raw - landmarks_wflw.from_ibug(truth)).std()

    def test_a_blink_stays(self) -> None:
        lids = np.repeat(head()[None], COUNT, axis=0)
        depth = np.zeros(COUNT)
        depth[28:33] = (0.4, 0.9, 1.0, 0.8, 0.3)
        for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
            lids[:, upper] += depth[:, None] * 0.8 * (lids[:, lower] - lids[:, upper])
        samples, truth = clip(np.zeros((COUNT, 2)), 0.0, lids)
        _, result = self.smooth(samples, 0.4)
        drop = measure_eye_opening(truth)[20] - measure_eye_opening(truth).min()
        opening = measure_eye_opening(landmarks_wflw.to_ibug(result))
        assert opening[20] - opening.min() > 0.85 * drop

    def test_they_do_not_touch_the_68(self) -> None:
        samples, _ = clip(np.zeros((COUNT, 2)), 1.0)
        alone = smooth_faces(samples, gap=8, amount=1.0)
        beside = smooth_faces(
            [replace(s, wflw=landmarks_wflw.from_ibug(s.landmarks)) for s in samples], gap=8, amount=1.0
        )
        for one, other in zip(alone, beside, strict=True):
            np.testing.assert_array_equal(one.landmarks, other.landmarks)
            assert one.wflw is None and other.wflw is not None
