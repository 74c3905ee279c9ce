"""Finds hands and measures their 21 landmarks, by MediaPipe's palm and hand networks (arXiv 2006.10214).

A palm is detected in the whole picture; the hand network looks at a rotated square around the hand and answers with
landmarks and the probability that there is a hand at all. In the next frame the region comes from the last landmarks,
and no palm has to be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fsgan_core.faces import models
from fsgan_core.faces.detectors.detect_blaze import BlazeDetection, BlazeModel, detect_in_pictures
from fsgan_core.faces.detectors.rotated_square import RotatedSquare, make_turn_matrix
from fsgan_core.faces.square_crop import make_input_tensor
from fsgan_core.runtime.arrays import Image8, Points

LANDMARK_COUNT = 21
BONES = (
    *((0, 1), (1, 2), (2, 3), (3, 4)),
    *((0, 5), (5, 6), (6, 7), (7, 8)),
    *((5, 9), (9, 10), (10, 11), (11, 12)),
    *((9, 13), (13, 14), (14, 15), (15, 16)),
    *((13, 17), (0, 17), (17, 18), (18, 19), (19, 20)),
)
"""Pairs of landmarks joined by bones. 0 is the wrist; thumb, index, middle, ring and little finger have four landmarks
each, from the root to the tip."""
PALM = BlazeModel("mediapipe_palm", 192, ((24, 2), (12, 6)), 7, 0.0, 1.0, 0.5)

_WEIGHTS = "mediapipe_hand"
_CROP_SIDE = 224  # pixels; the network's input

# The regions are MediaPipe's: scale of the box's longer side, and shift towards the wrist in heights of the box.
_PALM_SCALE, _PALM_SHIFT = 2.6, -0.5
_HAND_SCALE, _HAND_SHIFT = 2.0, -0.1
_PALM_WRIST, _PALM_MIDDLE = 0, 2  # keypoints of a palm: the direction of the hand
_STEADY_LANDMARKS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)  # wrist, thumb, and the fingers up to their middle joint
_WRIST, _INDEX, _MIDDLE, _RING = 0, 6, 10, 14  # wrist and middle joints
_SAME_HAND_DISTANCE = 0.25  # mean distance of landmarks over the region's side, below which two hands are the same


@dataclass(frozen=True)
class Hand:
    """A hand in a picture.

    Attributes:
        landmarks: float64 (21, 2), pixels of the picture.
        presence: Probability that it is a hand.
    """

    landmarks: Points
    presence: float


def find_palms(picture: Image8) -> list[BlazeDetection]:
    """Finds the palms in a picture, surest first.

    Args:
        picture: RGB, square pixels.

    Raises:
        WeightsError: The network is missing or damaged.
    """
    return detect_in_pictures([picture], PALM)[0]


def measure_hands(picture: Image8, squares: Sequence[RotatedSquare]) -> list[Hand]:
    """Measures the hand in each region.

    Args:
        picture: RGB, square pixels.
        squares: Regions, as `fit_square_to_palm` or `fit_square_to_hand` makes them.

    Raises:
        WeightsError: The network is missing or damaged.
    """
    if not squares:
        return []
    crops = [square.crop(picture, _CROP_SIDE) for square in squares]
    outputs: Sequence[Any] = models.load_packaged_network(_WEIGHTS).run(
        make_input_tensor(crops, (0.0,) * 3, (1.0,) * 3)
    )
    points, presence, *_ = (output.cpu().numpy().astype(np.float64) for output in outputs)
    return [
        Hand(square.to_picture(one.reshape(LANDMARK_COUNT, 3)[:, :2], _CROP_SIDE), float(present))
        for one, square, present in zip(points, squares, presence[:, 0], strict=True)
    ]


def drop_repeated_hands(hands: Sequence[Hand]) -> list[Hand]:
    """Drops hands that lie where a surer one lies; surest first."""
    chosen: list[Hand] = []
    for hand in sorted(hands, key=lambda one: -one.presence):
        reach = _SAME_HAND_DISTANCE * fit_square_to_hand(hand.landmarks).side
        if all(_measure_distance(hand, other) > reach for other in chosen):
            chosen.append(hand)
    return chosen


def fit_square_to_palm(palm: BlazeDetection) -> RotatedSquare:
    """Makes the region of the hand around a detected palm, the fingers up."""
    x, y, width, height = palm.box
    angle = _measure_angle(palm.keypoints[_PALM_WRIST], palm.keypoints[_PALM_MIDDLE])
    centre = np.array([x + width / 2, y + height / 2]) + make_turn_matrix(angle) @ (0.0, _PALM_SHIFT * height)
    return RotatedSquare(centre, max(width, height) * _PALM_SCALE, angle)


def fit_square_to_hand(landmarks: Points) -> RotatedSquare:
    """Makes the region for the next look at a hand, the fingers up.

    Args:
        landmarks: (21, 2), pixels.
    """
    fingers = ((landmarks[_INDEX] + landmarks[_RING]) / 2 + landmarks[_MIDDLE]) / 2
    angle = _measure_angle(landmarks[_WRIST], fingers)
    return RotatedSquare.around_points(landmarks[list(_STEADY_LANDMARKS)], angle, _HAND_SCALE, _HAND_SHIFT)


def _measure_angle(wrist: Points, fingers: Points) -> float:
    """Measures how far the direction from wrist to fingers is turned clockwise from straight up, -pi..pi."""
    x, y = np.asarray(fingers - wrist)
    return float(np.arctan2(x, -y))


def _measure_distance(one: Hand, other: Hand) -> float:
    return float(np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean())
