"""How the picture moves under landmarks from one frame to the next: sparse optical flow in a normalised crop."""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.faces.geometry import apply_affine, compose_affine, fit_similarity, invert_affine, sample_crop
from fsgan_core.faces.pose import BOX_CENTRE, BOX_SIDE, FACE_MODEL
from fsgan_core.runtime.arrays import Image8, Points3D, Points68

_FACE_SIDE = 160  # pixels; side of the face's box in the crop
_CROP_SIDE = 288  # pixels
_FLOW_OPTIONS = {
    "winSize": (21, 21),
    "maxLevel": 2,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01),
}


def measure_motion(before: Image8, after: Image8, landmarks: Points68, guess: Points68 | None = None) -> Points3D:
    """Measures how far the picture moved under each landmark (Lucas-Kanade, forward and back).

    Args:
        before: RGB.
        after: RGB, of the same size.
        landmarks: Pixels of `before`.
        guess: About where the landmarks are in `after`; needed when a head moves far.

    Returns:
        float64 (68, 3), pixels: the move in x and y, and the miss, which is how far tracking back from there lands from
        the landmark.
    """
    fit = fit_similarity(landmarks, FACE_MODEL[:, :2])
    scale, middle = _FACE_SIDE / BOX_SIDE, _CROP_SIDE / 2
    placed = np.array([[scale, 0, middle - scale * BOX_CENTRE[0]], [0, scale, middle - scale * BOX_CENTRE[1]]])
    matrix = compose_affine(placed, fit)
    shift = np.zeros(2) if guess is None else (guess - landmarks).mean(0)
    matrix_after = compose_affine(matrix, np.column_stack([np.eye(2), -shift]))
    crop = cv2.cvtColor(sample_crop(before, matrix, _CROP_SIDE), cv2.COLOR_RGB2GRAY)
    crop_after = cv2.cvtColor(sample_crop(after, matrix_after, _CROP_SIDE), cv2.COLOR_RGB2GRAY)
    start = apply_affine(matrix, landmarks).astype(np.float32)
    end, found, _ = cv2.calcOpticalFlowPyrLK(crop, crop_after, start, None, **_FLOW_OPTIONS)  # type: ignore[call-overload]
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(crop_after, crop, end, None, **_FLOW_OPTIONS)  # type: ignore[call-overload]
    linear = invert_affine(matrix)[:, :2]
    moved = (end - start).astype(np.float64) @ linear.T + shift
    miss = np.linalg.norm((back - start).astype(np.float64) @ linear.T, axis=1)
    lost = (found.ravel() == 0) | (found_back.ravel() == 0) | ~np.isfinite(miss)
    side = _CROP_SIDE / scale * np.sqrt(abs(np.linalg.det(linear)))
    miss = np.where(lost, side, np.minimum(miss, side))
    moved = np.where(lost[:, None], shift, np.clip(moved, shift - side, shift + side))
    return np.column_stack([moved, miss])
