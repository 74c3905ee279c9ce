"""Lids that close in the target while the source's eyes are open.

A smooth warp can only squeeze an open eye, and landmarks leave a gap in a shut one; what blinks is skin that slides
over the eye. So an eye that is to close is first warped as far open as its view shows it, and then closed as
stages.motion closes one: the lid comes down, the eyeball stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.faces.track import Face
from fsgan_core.stages.image_ops import smoothstep
from fsgan_core.stages.motion.performance import (
    LOWER_LIDS,
    UPPER_LIDS,
    LandmarkBias,
    correct_gaps,
    measure_lid_gaps,
    project_change,
)

CLOSING_RANGE = (
    0.15,
    0.4,
)  # of the usual gap, less open than the view shows it: a lid begins to slide, and slides all the way
UPPER_LID_SHARE, MEETING_SHARE = (
    0.95,
    0.7,
)  # the upper lid's part in a blink; and where in the gap of landmarks shut lids meet
OPEN_ENOUGH = 0.9  # an eye this far open, or further, can be shown as one that closes


@dataclass(frozen=True)
class Blink:
    """What closes right and left eye beyond what landmarks say: `shut`, the share of their gap that is none, and `way`,
    mm that the lids slide from where the view shows them."""

    shut_shares: tuple[float, float] = (0.0, 0.0)
    lid_travel: tuple[float, float] = (0.0, 0.0)

    def __bool__(self) -> bool:
        return any(self.lid_travel)


def measure_openness(face: Face, pixel_aspect: float, usual: LandmarkBias) -> np.ndarray:
    """(2,) how far right and left eye stand open: 0 shut, 1 as usual on this person, whose clip `usual` is of."""
    return np.asarray(
        _measure_eye_gaps(correct_gaps(face, pixel_aspect, usual), pixel_aspect) / np.maximum(usual.open_lids, 1e-6)
    )


def open_eyes(face: Face, pixel_aspect: float, usual: LandmarkBias) -> Face:
    """The face with its eyes at least AWAKE open: what closes them is no matter of the view."""
    by = np.maximum(OPEN_ENOUGH - measure_openness(face, pixel_aspect, usual), 0) * usual.open_lids
    return face.with_landmarks(_open_lids(face.landmarks, by, pixel_aspect)) if by.any() else face


def plan_blink(face: Face, pixel_aspect: float, usual: LandmarkBias, shown: np.ndarray) -> Blink:
    """How the target's `face` closes eyes that a view shows open by `shown` (2,), an `openness`. usual: of the target's
    clip."""
    wanted = measure_openness(face, pixel_aspect, usual)
    further = np.maximum(shown - wanted, 0)
    share = smoothstep((further - CLOSING_RANGE[0]) / (CLOSING_RANGE[1] - CLOSING_RANGE[0]))
    shut = share * np.clip(1 - wanted * usual.open_lids / np.maximum(_measure_eye_gaps(face, pixel_aspect), 1e-6), 0, 1)
    way = share * further * usual.open_lids
    return Blink((float(shut[0]), float(shut[1])), (float(way[0]), float(way[1])))


def compute_blink_landmarks(goal: np.ndarray, eyes: Blink, pixel_aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (68, 2) with the eyes open as the views show them, and closed, of the face that is aimed at."""
    upper, lower = goal[UPPER_LIDS], goal[LOWER_LIDS]
    move = np.repeat(eyes.shut_shares, 2)[:, None] * (lower - upper)
    closed = goal.copy()
    closed[UPPER_LIDS], closed[LOWER_LIDS] = upper + MEETING_SHARE * move, lower - (1 - MEETING_SHARE) * move
    return _open_lids(closed, np.array(eyes.lid_travel), pixel_aspect), closed


def _measure_eye_gaps(face: Face, pixel_aspect: float) -> np.ndarray:
    """(2,) mean gap in mm of each eye's lids, 0 where they cross."""
    return np.asarray(np.maximum(measure_lid_gaps(face, pixel_aspect).reshape(2, 2).mean(1), 0))


def _open_lids(landmarks: np.ndarray, by: np.ndarray, pixel_aspect: float) -> np.ndarray:
    """Landmarks with the lids further apart by `by` (2,) mm."""
    change = np.zeros((68, 3))
    change[UPPER_LIDS, 1], change[LOWER_LIDS, 1] = (
        -UPPER_LID_SHARE * np.repeat(by, 2),
        (1 - UPPER_LID_SHARE) * np.repeat(by, 2),
    )
    return np.asarray(landmarks + project_change(change, fit_head_pose(landmarks, pixel_aspect)) / (pixel_aspect, 1.0))
