"""Blinks: lids that close in the target while the source's eyes are open.

A smooth warp can only squeeze an open eye, and landmarks leave a gap in a shut one; in a blink, skin slides over the
eye. So an eye that closes is first warped as far open as its view shows it, and then closed by `face_motion`: the lid
comes down, the eyeball stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fsgan_core.contract.landmarks import LANDMARK_COUNT
from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.faces.track import Face
from fsgan_core.runtime.arrays import Points68, Vector
from fsgan_core.stages.image_ops import smoothstep
from fsgan_core.stages.motion.performance import (
    LOWER_LIDS,
    UPPER_LIDS,
    LandmarkBias,
    correct_gaps,
    measure_lid_gaps,
    project_change,
)

# Of the usual gap, less open than the view shows the eye: where a lid begins to slide, and where it slides all the way.
CLOSING_RANGE = (0.15, 0.4)
UPPER_LID_SHARE = 0.95  # of a blink, that the upper lid travels
MEETING_SHARE = 0.7  # of the landmarks' gap, from above: where shut lids meet
OPEN_ENOUGH = 0.9  # of the usual gap: an eye this far open can be closed convincingly


@dataclass(frozen=True)
class Blink:
    """How far the eyes close beyond what landmarks say; right eye, then left.

    Attributes:
        shut_shares: Share of the landmarks' gap to close, 0..1.
        lid_travel: Millimetres that the lids slide from where the view shows them.
    """

    shut_shares: tuple[float, float] = (0.0, 0.0)
    lid_travel: tuple[float, float] = (0.0, 0.0)

    def __bool__(self) -> bool:
        return any(self.lid_travel)


def measure_openness(face: Face, pixel_aspect: float, bias: LandmarkBias) -> Vector:
    """Measure how far right and left eye are open.

    Args:
        face: The face.
        pixel_aspect: Width of a pixel over its height.
        bias: How landmarks read on this person, from the clip.

    Returns:
        (2,) 0 is shut, 1 as open as usual on this person.
    """
    return np.asarray(
        _measure_eye_gaps(correct_gaps(face, pixel_aspect, bias), pixel_aspect) / np.maximum(bias.open_lids, 1e-6)
    )


def open_eyes(face: Face, pixel_aspect: float, bias: LandmarkBias) -> Face:
    """Open a face's eyes to at least `OPEN_ENOUGH`, so that the choice of views ignores blinks.

    The arguments are those of `measure_openness`.
    """
    gaps = np.maximum(OPEN_ENOUGH - measure_openness(face, pixel_aspect, bias), 0) * bias.open_lids
    return face.with_landmarks(_open_lids(face.landmarks, gaps, pixel_aspect)) if gaps.any() else face


def plan_blink(face: Face, pixel_aspect: float, bias: LandmarkBias, shown: Vector) -> Blink:
    """Plan how the target's face closes eyes that a view shows open.

    Args:
        face: The target's face.
        pixel_aspect: Width of a pixel over its height.
        bias: How landmarks read on this person, from the target's clip.
        shown: (2,) `measure_openness` of the view.
    """
    wanted = measure_openness(face, pixel_aspect, bias)
    further = np.maximum(shown - wanted, 0)
    share = smoothstep((further - CLOSING_RANGE[0]) / (CLOSING_RANGE[1] - CLOSING_RANGE[0]))
    shut = share * np.clip(1 - wanted * bias.open_lids / np.maximum(_measure_eye_gaps(face, pixel_aspect), 1e-6), 0, 1)
    travel = share * further * bias.open_lids
    return Blink((float(shut[0]), float(shut[1])), (float(travel[0]), float(travel[1])))


def compute_blink_landmarks(goal: Points68, blink: Blink, pixel_aspect: float) -> tuple[Points68, Points68]:
    """Compute the goal landmarks with the eyes open as the views show them, and closed."""
    upper, lower = goal[UPPER_LIDS], goal[LOWER_LIDS]
    move = np.repeat(blink.shut_shares, 2)[:, None] * (lower - upper)
    closed = goal.copy()
    closed[UPPER_LIDS], closed[LOWER_LIDS] = upper + MEETING_SHARE * move, lower - (1 - MEETING_SHARE) * move
    return _open_lids(closed, np.array(blink.lid_travel), pixel_aspect), closed


def _measure_eye_gaps(face: Face, pixel_aspect: float) -> Vector:
    """(2,) mean gap in mm of each eye's lids, 0 if they cross."""
    return np.asarray(np.maximum(measure_lid_gaps(face, pixel_aspect).reshape(2, 2).mean(1), 0))


def _open_lids(landmarks: Points68, gaps: Vector, pixel_aspect: float) -> Points68:
    """Landmarks with the lids further apart by `gaps` (2,) mm."""
    change = np.zeros((LANDMARK_COUNT, 3))
    change[UPPER_LIDS, 1], change[LOWER_LIDS, 1] = (
        -UPPER_LID_SHARE * np.repeat(gaps, 2),
        (1 - UPPER_LID_SHARE) * np.repeat(gaps, 2),
    )
    return np.asarray(landmarks + project_change(change, fit_head_pose(landmarks, pixel_aspect)) / (pixel_aspect, 1.0))
