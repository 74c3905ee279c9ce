"""Faces found afresh, alike in target and result, and remembered."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.faces import measure
from fsgan_core.faces.measure import FaceGauge, FacePlace


@pytest.fixture(scope="module")
def face(grace_hopper: np.ndarray) -> measure.MeasuredFace:
    found = FaceGauge().follow(grace_hopper)
    assert found is not None
    return found


class TestFollow:
    def test_landmarks_lie_on_the_face(self, face: measure.MeasuredFace) -> None:
        x, y, width, height = face.place.box
        assert (face.landmarks > (x, y - 0.1 * height)).all()
        assert (face.landmarks < (x + width, y + 1.2 * height)).all()
        assert face.landmarks[45, 0] - face.landmarks[36, 0] > 60
        assert face.descriptor.shape == (128,) and np.linalg.norm(face.descriptor) > 0.5

    def test_near_the_last_place(self, grace_hopper: np.ndarray, face: measure.MeasuredFace) -> None:
        again = FaceGauge().follow(grace_hopper, face)
        assert again is not None
        assert np.linalg.norm(again.landmarks - face.landmarks, axis=1).mean() < 1.0

    def test_lost_and_found_again(self, grace_hopper: np.ndarray, face: measure.MeasuredFace) -> None:
        moved = np.roll(grace_hopper, 120, axis=1)
        found = FaceGauge().follow(moved, face)
        assert found is not None
        assert np.abs(found.landmarks - face.landmarks - (120, 0)).max() < 2.0
        assert FaceGauge().follow(moved, face, search=False) is None

    def test_two_people_hint_decides(self, grace_hopper: np.ndarray, face: measure.MeasuredFace) -> None:
        small = cv2.resize(grace_hopper, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        both = np.zeros((600, 900, 3), np.uint8)
        both[:, :512] = grace_hopper
        both[100 : 100 + small.shape[0], 530 : 530 + small.shape[1]] = small
        gauge = FaceGauge()
        largest = gauge.follow(both)
        assert largest is not None and largest.landmarks[:, 0].max() < 512
        x, y, width, height = (value * 0.6 for value in face.place.box)
        other = gauge.follow(both, hint=(x + 530, y + 100, width, height))
        assert other is not None and other.landmarks[:, 0].min() > 530

    def test_no_face(self) -> None:
        assert FaceGauge().follow(np.full((200, 300, 3), 90, np.uint8)) is None

    def test_tiny_picture(self) -> None:
        assert FaceGauge().follow(np.zeros((1, 1, 3), np.uint8)) is None


class TestAt:
    def test_tilted_head(self, grace_hopper: np.ndarray) -> None:
        turn = cv2.getRotationMatrix2D((256, 200), -40, 1.0)
        tilted = cv2.warpAffine(grace_hopper, turn, (512, 600), borderMode=cv2.BORDER_REPLICATE)
        gauge = FaceGauge()
        upright = gauge.follow(grace_hopper)
        assert upright is not None
        x, y, width, height = upright.place.box
        centre = turn @ (x + width / 2, y + height / 2, 1.0)
        found = gauge.measure_at(
            tilted, FacePlace((centre[0] - width / 2, centre[1] - height / 2, width, height), 40.0)
        )
        assert found is not None
        assert found.euler[2] - upright.euler[2] == pytest.approx(40, abs=2)
        expected = upright.landmarks @ turn[:, :2].T + turn[:, 2]
        assert np.linalg.norm(found.landmarks - expected, axis=1).mean() < 3

    def test_place_outside_the_picture(self, grace_hopper: np.ndarray) -> None:
        assert FaceGauge().measure_at(grace_hopper, FacePlace((5000.0, 5000.0, 100.0, 100.0))) is None

    def test_pixel_aspect(self, grace_hopper: np.ndarray, face: measure.MeasuredFace) -> None:
        squeezed = cv2.resize(grace_hopper, (256, 600), interpolation=cv2.INTER_AREA)
        found = FaceGauge(pixel_aspect=2.0).follow(squeezed)
        assert found is not None
        wide = np.add(found.landmarks, 0.5) * (2.0, 1.0) - 0.5
        assert np.linalg.norm(wide - face.landmarks, axis=1).mean() < 3
        assert np.abs(np.array(found.euler) - face.euler).max() < 3
        assert np.linalg.norm(found.descriptor - face.descriptor) < 0.35

    def test_depends_on_the_pixels_near_the_face_alone(
        self, grace_hopper: np.ndarray, face: measure.MeasuredFace
    ) -> None:
        wide = np.pad(grace_hopper, ((0, 0), (300, 300), (0, 0)), mode="edge")
        moved = FacePlace((face.place.box[0] + 300, *face.place.box[1:]), face.place.roll)
        found = FaceGauge().measure_at(wide, moved)
        assert found is not None
        assert np.abs(found.landmarks - (300, 0) - face.landmarks).max() < 0.2


class TestMemory:
    def test_measured_once(
        self, grace_hopper: np.ndarray, face: measure.MeasuredFace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gauge = FaceGauge()
        first = gauge.measure_at(grace_hopper, face.place)
        monkeypatch.setattr(measure, "_measure_part", lambda *_: pytest.fail("measured twice"))
        second = gauge.measure_at(grace_hopper, face.place)
        assert first is not None and second is not None
        assert np.array_equal(first.packed_values, second.packed_values, equal_nan=True)

    def test_folder_serves_another_process(
        self, tmp_path: Path, grace_hopper: np.ndarray, face: measure.MeasuredFace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = FaceGauge(tmp_path).measure_at(grace_hopper, face.place)
        blank = np.zeros((300, 300, 3), np.uint8)
        assert FaceGauge(tmp_path).measure_at(blank, FacePlace((100.0, 100.0, 90.0, 90.0))) is None
        monkeypatch.setattr(measure, "_measure_part", lambda *_: pytest.fail("measured twice"))
        second = FaceGauge(tmp_path).measure_at(grace_hopper, face.place)
        assert first is not None and second is not None
        assert np.array_equal(first.packed_values, second.packed_values, equal_nan=True)
        assert FaceGauge(tmp_path).measure_at(blank, FacePlace((100.0, 100.0, 90.0, 90.0))) is None

    def test_broken_file_is_measured_again(self, tmp_path: Path) -> None:
        gauge = FaceGauge(tmp_path)
        gauge.recall_or_measure("ab", lambda: np.arange(267.0))
        (tmp_path / "ab" / "ab.npy").write_bytes(b"no array")
        assert np.array_equal(FaceGauge(tmp_path).recall_or_measure("ab", lambda: np.ones(267)), np.ones(267))
        np.save(tmp_path / "ab" / "ab.npy", np.zeros(5))
        assert np.array_equal(FaceGauge(tmp_path).recall_or_measure("ab", lambda: np.ones(267)), np.ones(267))

    def test_a_changed_bit_is_measured_again(self, tmp_path: Path) -> None:
        FaceGauge(tmp_path).recall_or_measure("ab", lambda: np.ones(267))
        content = bytearray((tmp_path / "ab" / "ab.npy").read_bytes())
        content[1000] ^= 1
        (tmp_path / "ab" / "ab.npy").write_bytes(content)
        assert np.array_equal(FaceGauge(tmp_path).recall_or_measure("ab", lambda: np.zeros(267)), np.zeros(267))

    def test_folder_that_cannot_be_written(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "file").write_text("in the way")
        gauge = FaceGauge(tmp_path / "file")
        assert np.array_equal(gauge.recall_or_measure("cd", lambda: np.ones(267)), np.ones(267))
        assert "measurements are not cached" in caplog.text
        assert np.array_equal(gauge.recall_or_measure("ef", lambda: np.zeros(267)), np.zeros(267))

    def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(measure, "_MAX_KEPT", 2)
        gauge = FaceGauge()
        for key in ("a", "b", "a", "c"):
            gauge.recall_or_measure(key, lambda: np.zeros(0))
        asked = []
        for key in ("a", "b"):
            gauge.recall_or_measure(key, lambda key=key: asked.append(key) or np.zeros(0))  # type: ignore[misc,func-returns-value]
        assert asked == ["b"]
