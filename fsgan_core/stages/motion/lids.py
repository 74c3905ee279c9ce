"""Blinks: lids that close in the target while the source's eyes are open.

A smooth warp can only squeeze an open eye, and landmarks leave a gap in a shut one; in a blink, skin slides over the
eye. So an eye that closes is first warped as far open as its view shows it, and then closed by `face_motion`: the lid
comes down, the eyeball stays.
"""

from __future__ import annotations

import numpy as np

from fsgan_core.contract.landmarks import LANDMARK_COUNT
from fsgan_core.faces.face import Face
from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.runtime.arrays import Points68, Vector
from fsgan_core.stages.motion.performance import (
    LOWER_LIDS,
    UPPER_LIDS,
    LandmarkBias,
    correct_gaps,
    measure_lid_gaps,
    project_change,
)

UPPER_LID_SHARE = 0.95  # of a blink, that the upper lid travels
OPEN_ENOUGH = 0.9  # of the usual gap: an eye this far open can be closed convincingly


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
