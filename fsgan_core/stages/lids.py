"""Lids that close in the target while the source's eyes are open.

A smooth warp can only squeeze an open eye, and landmarks leave a gap in a shut one; what blinks is skin that slides
over the eye. So an eye that is to close is first warped as far open as its view shows it, and then closed as
stages.motion closes one: the lid comes down, the eyeball stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fsgan_core.faces.pose import head_pose
from fsgan_core.faces.track import Face
from fsgan_core.stages.image_ops import smoothstep
from fsgan_core.stages.performance import LOWER_LIDS, UPPER_LIDS, Reading, lid_gaps, seen, settled

CLOSING = 0.15, 0.4  # of the usual gap, less open than the view shows it: a lid begins to slide, and slides all the way
SLIDES, MEETS = 0.95, 0.7  # the upper lid's part in a blink; and where in the gap of landmarks shut lids meet
AWAKE = 0.9  # an eye this far open, or further, can be shown as one that closes


@dataclass(frozen=True)
class Blink:
    """What closes right and left eye beyond what landmarks say: `shut`, the share of their gap that is none, and `way`,
    mm that the lids slide from where the view shows them."""

    shut: tuple[float, float] = (0.0, 0.0)
    way: tuple[float, float] = (0.0, 0.0)

    def __bool__(self) -> bool:
        return any(self.way)


def openness(face: Face, pixel_aspect: float, usual: Reading) -> np.ndarray:
    """(2,) how far right and left eye stand open: 0 shut, 1 as usual on this person, whose clip `usual` is of."""
    return np.asarray(_gaps(settled(face, pixel_aspect, usual), pixel_aspect) / np.maximum(usual.lids, 1e-6))


def awake(face: Face, pixel_aspect: float, usual: Reading) -> Face:
    """The face with its eyes at least AWAKE open: what closes them is no matter of the view."""
    by = np.maximum(AWAKE - openness(face, pixel_aspect, usual), 0) * usual.lids
    return face.moved_to(_opened(face.landmarks, by, pixel_aspect)) if by.any() else face


def blink(face: Face, pixel_aspect: float, usual: Reading, shown: np.ndarray) -> Blink:
    """How the target's `face` closes eyes that a view shows open by `shown` (2,), an `openness`. usual: of the target's
    clip."""
    wanted = openness(face, pixel_aspect, usual)
    further = np.maximum(shown - wanted, 0)
    share = smoothstep((further - CLOSING[0]) / (CLOSING[1] - CLOSING[0]))
    shut = share * np.clip(1 - wanted * usual.lids / np.maximum(_gaps(face, pixel_aspect), 1e-6), 0, 1)
    way = share * further * usual.lids
    return Blink((float(shut[0]), float(shut[1])), (float(way[0]), float(way[1])))


def closing(goal: np.ndarray, eyes: Blink, pixel_aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (68, 2) with the eyes open as the views show them, and closed, of the face that is aimed at."""
    upper, lower = goal[UPPER_LIDS], goal[LOWER_LIDS]
    move = np.repeat(eyes.shut, 2)[:, None] * (lower - upper)
    closed = goal.copy()
    closed[UPPER_LIDS], closed[LOWER_LIDS] = upper + MEETS * move, lower - (1 - MEETS) * move
    return _opened(closed, np.array(eyes.way), pixel_aspect), closed


def _gaps(face: Face, pixel_aspect: float) -> np.ndarray:
    """(2,) mean gap in mm of each eye's lids, 0 where they cross."""
    return np.asarray(np.maximum(lid_gaps(face, pixel_aspect).reshape(2, 2).mean(1), 0))


def _opened(landmarks: np.ndarray, by: np.ndarray, pixel_aspect: float) -> np.ndarray:
    """Landmarks with the lids further apart by `by` (2,) mm."""
    change = np.zeros((68, 3))
    change[UPPER_LIDS, 1], change[LOWER_LIDS, 1] = -SLIDES * np.repeat(by, 2), (1 - SLIDES) * np.repeat(by, 2)
    return np.asarray(landmarks + seen(change, head_pose(landmarks, pixel_aspect)) / (pixel_aspect, 1.0))
