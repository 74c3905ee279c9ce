"""Vary the proportions of a face and its place in the crop.

In a swap the network sees the source's face warped to another person's landmarks. Frames of one person never look like
that. So for training with `prewarp`, some real frames are warped to landmarks of changed proportions: the view, the
landmarks and the target in the same way.
"""

from __future__ import annotations

import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R, JAW, MOUTH_INNER, MOUTH_OUTER, NOSE
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.runtime.arrays import Points68
from fsgan_core.stages.warp_points import displace_landmarks

__all__ = ["VARIED_SHARE", "vary_proportions"]

VARIED_SHARE = 0.5  # share of the pairs that are varied
# Rough standard deviations between people: vertical position of a part in mm, and relative width and height.
PART_SHIFT_MM, PART_STRETCH = 2.0, 0.06
# Standard deviations of the place in the crop: degrees; relative size; share of the crop.
ROLL_DEGREES, CROP_SCALE, CROP_SHIFT = 6.0, 0.05, 0.025
MAX_DEVIATIONS = 2.0  # random values are clipped at so many standard deviations

# Landmarks that move together; both sides of the face move in the same way.
FACE_PARTS = (np.r_[JAW], np.r_[BROW_R, BROW_L], np.r_[EYE_R, EYE_L], np.r_[NOSE], np.r_[MOUTH_OUTER, MOUTH_INNER])


def vary_proportions(landmarks: Points68, size: int, random: np.random.Generator) -> Points68:
    """Move landmarks as if the head had other proportions and another place in the crop.

    Args:
        landmarks: In pixels of the crop.
        size: Side of the crop in pixels.
        random: Decides the change.
    """

    def draw_deviation(deviation: float) -> float:
        return deviation * float(np.clip(random.standard_normal(), -MAX_DEVIATIONS, MAX_DEVIATIONS))

    change = np.zeros((68, 3))
    for part in FACE_PARTS:
        middle = np.array([0.0, FACE_MODEL[part, 1].mean()])
        factors = np.array([1 + draw_deviation(PART_STRETCH), 1 + draw_deviation(PART_STRETCH)])
        change[part, :2] = (FACE_MODEL[part, :2] - middle) * (factors - 1)
        change[part, 1] += draw_deviation(PART_SHIFT_MM)
    moved = displace_landmarks(landmarks, change)
    angle, scale = np.radians(draw_deviation(ROLL_DEGREES)), 1 + draw_deviation(CROP_SCALE)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = landmarks.mean(0)
    shift = np.array([draw_deviation(CROP_SHIFT), draw_deviation(CROP_SHIFT)]) * size
    return np.asarray((moved - middle) @ rotation.T + middle + shift)
