"""Faces made unlike themselves a little: other proportions, another place in the crop.

A swap shows the network the source's face warped to another person's landmarks. Frames of one person never look like
that; so for training with `prewarp` some of the real frames are themselves warped to landmarks of changed proportions,
in view, landmarks and target alike.
"""

from __future__ import annotations

import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R, JAW, MOUTH_INNER, MOUTH_OUTER, NOSE
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.stages.warp_points import displace_landmarks

__all__ = ["VARIED_SHARE", "vary_proportions"]

VARIED_SHARE = 0.5  # of the pairs are varied
# Standard deviations over people, roughly: of a part's place up and down, mm, and of its size across and down.
PART_SHIFT_MM, PART_STRETCH = 2.0, 0.06
ROLL_DEGREES, CROP_SCALE, CROP_SHIFT = 6.0, 0.05, 0.025  # degrees; share; share of the crop
MAX_DEVIATIONS = 2.0  # standard deviations

# What changes together; both sides of the face alike.
FACE_PARTS = (np.r_[JAW], np.r_[BROW_R, BROW_L], np.r_[EYE_R, EYE_L], np.r_[NOSE], np.r_[MOUTH_OUTER, MOUTH_INNER])


def vary_proportions(landmarks: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """(68, 2): `landmarks` (68, 2), pixels of a crop of `size`, on a head of other proportions, elsewhere in it."""

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
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = landmarks.mean(0)
    shift = np.array([draw_deviation(CROP_SHIFT), draw_deviation(CROP_SHIFT)]) * size
    return np.asarray((moved - middle) @ turn.T + middle + shift)
