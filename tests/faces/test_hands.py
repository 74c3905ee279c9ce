"""Hands: regions by plain geometry, hands in real clips, none where there is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.faces.detectors.detect_blaze import BlazeDetection
from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.hands import (
    BONES,
    Hand,
    drop_repeated_hands,
    find_palms,
    fit_square_to_hand,
    fit_square_to_palm,
    measure_hands,
)

PRESENCE_THRESHOLD = 0.5  # probability from which a region holds a hand (MediaPipe)

# An upright open right hand, palm to the camera: wrist, then thumb, index, middle, ring and little finger.
UPRIGHT = np.array(
    [
        *[[50, 100]],
        *[[60, 92], [68, 84], [74, 76], [80, 70]],
        *[[60, 60], [62, 46], [63, 36], [64, 28]],
        *[[50, 58], [50, 42], [50, 31], [50, 22]],
        *[[42, 60], [40, 46], [39, 36], [38, 28]],
        *[[34, 64], [30, 54], [28, 46], [26, 40]],
    ],
    np.float64,
)


def find_hands(picture: np.ndarray) -> list[Hand]:
    """The hands in a picture, surest first."""
    hands = measure_hands(picture, [fit_square_to_palm(palm) for palm in find_palms(picture)])
    return drop_repeated_hands([hand for hand in hands if hand.presence >= PRESENCE_THRESHOLD])


def read_frames(footage: Path, clip: str, numbers: range) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(footage / "clips" / f"{clip}.mp4"))
    frames = []
    for number in range(numbers.stop):
        _, frame = capture.read()
        if number in numbers:
            frames.append(np.ascontiguousarray(frame[..., ::-1]))
    return frames


class TestRegions:
    def test_upright_hand(self) -> None:
        square = fit_square_to_hand(UPRIGHT)
        assert square.angle == pytest.approx(0, abs=0.05)
        # The box without the outer joints is 30..74 by 42..100: twice its height, shifted up by a tenth.
        assert square.side == pytest.approx(116, abs=3)
        np.testing.assert_allclose(square.centre, (52, 65.2), atol=2)

    @pytest.mark.parametrize("angle", [0.7, np.pi / 2, 3.0, -1.2])
    def test_turns_with_the_hand(self, angle: float) -> None:
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        plain, turned = fit_square_to_hand(UPRIGHT), fit_square_to_hand(UPRIGHT @ turn.T)
        assert np.exp(1j * turned.angle) == pytest.approx(np.exp(1j * (plain.angle + angle)))
        assert turned.side == pytest.approx(plain.side)
        np.testing.assert_allclose(turned.centre, turn @ plain.centre, atol=1e-6)

    def test_palm(self) -> None:
        """A palm whose fingers point to the right: the region lies to the right of it."""
        keypoints = np.zeros((7, 2))
        keypoints[0], keypoints[2] = (0, 10), (20, 10)
        square = fit_square_to_palm(BlazeDetection((0, 0, 20, 20), 0.9, keypoints))
        assert square.angle == pytest.approx(np.pi / 2) and square.side == pytest.approx(52)
        np.testing.assert_allclose(square.centre, (20, 10), atol=1e-9)

    def test_the_same_hand_twice(self) -> None:
        first, again = Hand(UPRIGHT, 0.9), Hand(UPRIGHT + 5, 0.8)
        other = Hand(np.add(UPRIGHT, (90, 0)), 0.7)
        assert drop_repeated_hands([again, other, first]) == [first, other]

    def test_bones(self) -> None:
        assert {point for bone in BONES for point in bone} == set(range(21)) and len(BONES) == 21


class TestPictures:
    def test_no_hands(self, astronaut: np.ndarray) -> None:
        assert find_hands(astronaut) == []
        (hand,) = measure_hands(astronaut, [RotatedSquare(np.array([224.0, 120.0]), 150.0)])
        assert hand.presence < PRESENCE_THRESHOLD, "a face is no hand"
        assert measure_hands(astronaut, []) == []


class TestFootage:
    def test_a_hand_at_the_mouth(self, footage: Path) -> None:
        """He eats with his right hand, at the picture's left; the writing on his sweater is not mirrored."""
        (frame,) = read_frames(footage, "asl_eat", range(25, 26))
        (hand,) = find_hands(frame)
        assert hand.presence > 0.8
        np.testing.assert_allclose(hand.landmarks[0], (285, 222), atol=12)
        assert (hand.landmarks[[8, 12], 1] < hand.landmarks[0, 1] - 20).all(), "the fingers are above the wrist"

    def test_followed_without_palms(self, footage: Path) -> None:
        frames = read_frames(footage, "asl_eat", range(22, 30))
        (hand,) = find_hands(frames[0])
        for frame in frames[1:]:
            before = hand
            (hand,) = measure_hands(frame, [fit_square_to_hand(before.landmarks)])
            assert hand.presence > PRESENCE_THRESHOLD
            assert np.abs(hand.landmarks - before.landmarks).max() < 25

    def test_batch_equals_single(self, footage: Path) -> None:
        (frame,) = read_frames(footage, "asl_bird", range(30, 31))
        squares = [fit_square_to_palm(palm) for palm in find_palms(frame)]
        assert len(squares) == 2
        for square, hand in zip(squares, measure_hands(frame, squares), strict=True):
            (alone,) = measure_hands(frame, [square])
            assert np.array_equal(alone.landmarks, hand.landmarks) and alone.presence == hand.presence
