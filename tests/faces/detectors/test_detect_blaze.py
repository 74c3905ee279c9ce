"""The BlazeFace detectors on public-domain portraits, small, large, many and none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.faces.detectors.detect_blaze import (
    FULL_RANGE,
    SHORT_RANGE,
    BlazeDetection,
    BlazeModel,
    decode_detections,
    detect_in_pictures,
    find_faces,
    find_faces_in_tiles,
    make_anchors,
)
from fsgan_core.faces.detectors.detector_interface import drop_duplicates
from fsgan_core.faces.geometry import compute_overlap

FACE = (172.0, 72.0, 105.0, 105.0)  # of the astronaut
EYES = np.array([[203, 101], [247, 105]])


@pytest.mark.parametrize("model", [FULL_RANGE, SHORT_RANGE], ids=["full", "short"])
class TestPictures:
    def test_astronaut(self, astronaut: np.ndarray, model: BlazeModel) -> None:
        (face,) = find_faces(astronaut, model)
        assert compute_overlap(face.box, FACE) > 0.7 and face.confidence > 0.8
        np.testing.assert_allclose(face.keypoints[:2], EYES, atol=6)
        assert face.keypoints.shape == (6, 2)

    @pytest.mark.parametrize("size", [(640, 360), (300, 500), (1920, 1080)])
    def test_any_size(self, astronaut: np.ndarray, model: BlazeModel, size: tuple[int, int]) -> None:
        width, height = size
        scale = min(width, height) / 512
        picture = np.zeros((height, width, 3), np.uint8)
        shown = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture[: shown.shape[0], width - shown.shape[1] :] = shown
        (face,) = find_faces(picture, model)
        box = np.array(FACE) * scale + (width - shown.shape[1], 0, 0, 0)
        assert compute_overlap(face.box, tuple(box)) > 0.6

    def test_batch_equals_single(self, astronaut: np.ndarray, grace_hopper: np.ndarray, model: BlazeModel) -> None:
        together = detect_in_pictures([astronaut, grace_hopper], model)
        for picture, found in zip((astronaut, grace_hopper), together, strict=True):
            (alone,), (face,) = find_faces(picture, model), found
            assert alone.box == face.box and np.array_equal(alone.keypoints, face.keypoints)
        assert detect_in_pictures([], model) == []

    def test_nothing(self, model: BlazeModel) -> None:
        assert find_faces(np.zeros((100, 300, 3), np.uint8), model) == []


def test_two_faces(astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
    picture = np.hstack([astronaut[:500, :500], grace_hopper[:500, :500]])
    faces = find_faces(picture)
    assert len(faces) == 2
    assert sorted(round(face.box[0] / 500) for face in faces) == [0, 1]


def test_tiles_find_what_the_whole_does_not(astronaut: np.ndarray) -> None:
    picture = np.full((1080, 1920, 3), 90, np.uint8)
    small = cv2.resize(astronaut, (160, 160), interpolation=cv2.INTER_AREA)
    picture[300:460, 1500:1660] = small
    box = np.array(FACE) * 160 / 512 + (1500, 300, 0, 0)
    assert find_faces(picture) == []
    (face,) = find_faces_in_tiles(picture, side=480)
    assert compute_overlap(face.box, tuple(box)) > 0.6


def test_tiles_report_a_face_once(astronaut: np.ndarray) -> None:
    (face,) = find_faces_in_tiles(astronaut, side=300)
    assert compute_overlap(face.box, FACE) > 0.6


def test_a_margin_helps_close_ups(astronaut: np.ndarray) -> None:
    close = np.ascontiguousarray(astronaut[70:180, 170:280])
    (face,) = find_faces(close, SHORT_RANGE, margin=0.5)
    assert compute_overlap(face.box, (2, 2, 105, 105)) > 0.6


class TestDecoding:
    MODEL = BlazeModel("none", 8, ((2, 1), (1, 2)), 1, 0.0, 1.0, 0.5)

    def test_anchors(self) -> None:
        assert make_anchors(self.MODEL).tolist() == [[2, 2], [6, 2], [2, 6], [6, 6], [4, 4], [4, 4]]
        assert len(make_anchors(FULL_RANGE)) == 2304 and len(make_anchors(SHORT_RANGE)) == 896

    def test_overlapping_boxes_are_averaged(self) -> None:
        boxes = np.zeros((6, 6))
        boxes[:, 2:4] = 4.0
        boxes[4:, 4:] = [[1.0, 0.0], [3.0, 0.0]]
        logits = np.full((6, 1), -9.0)
        logits[4:, 0] = np.log([3.0, 1.5])  # confidences 0.75 and 0.6
        (found,) = decode_detections(boxes, logits, self.MODEL, 0.5)
        assert found.box == pytest.approx((2, 2, 4, 4)) and found.confidence == pytest.approx(0.75)
        np.testing.assert_allclose(found.keypoints, [[4 + (0.75 * 1 + 0.6 * 3) / 1.35, 4]])

    def test_separate_boxes_stay(self) -> None:
        boxes = np.zeros((6, 6))
        boxes[:, 2:4] = 3.0
        logits = np.array([[1.0], [2.0], [-1.0], [-1.0], [-1.0], [-1.0]])
        found = decode_detections(boxes, logits, self.MODEL, 0.5)
        assert [detection.box[:2] for detection in found] == [(4.5, 0.5), (0.5, 0.5)]

    def test_a_box_inside_a_surer_one_is_dropped(self) -> None:
        large = BlazeDetection((0, 0, 10, 10), 0.9, np.zeros((6, 2)))
        small = BlazeDetection((1, 1, 5, 5), 0.8, np.zeros((6, 2)))
        other = BlazeDetection((20, 0, 5, 5), 0.7, np.zeros((6, 2)))
        assert drop_duplicates([small, other, large]) == [large, other]
