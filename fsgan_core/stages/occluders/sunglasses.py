"""Sunglasses: whether dark lenses hide the eyes, and where the lenses are."""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.contract.landmarks import EYE_L, EYE_R
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Mask, Matte, Points68
from fsgan_core.stages.image_ops import HALF_COVERED, draw_convex_hull, enlarge_polygon, make_disc
from fsgan_core.stages.warp_points import EYE_OUTER_L, EYE_OUTER_R, measure_face_width

# The brightest parts around an eye, over the nose. Of 41 clips all have 0.65 or more; dark lenses have 0.2.
AROUND_EYE, BRIGHT_PERCENTILE = 2.0, 80  # times the eye's size
HIDDEN_EYES = 0.35
NOSE_SKIN = (29, 31, 35)  # landmarks

# The lens.
LENS_LUMA = 0.45  # over the nose: what is darker may belong to it
LENS_REACH = 0.4  # from the middle of the eye, of the distance between the outer corners of the eyes
THINNEST = 0.03  # of the face: half of what a lens is at least; brows, bridge and arms are thinner
GROWTH, SOFTNESS, MIN_SOFTNESS = 0.008, 0.003, 0.6  # of the face; pixels


def hides_eyes(display: Image, landmarks: Points68, window: Window) -> bool:
    """Tell whether both eyes are dark all around.

    Args:
        display: (height, width, 3) display-like values of `window`.
        landmarks: In plate coordinates.
        window: The part of the plate that is looked at.
    """
    luma = display @ LUMA_WEIGHTS
    nose = luma[draw_convex_hull(landmarks[list(NOSE_SKIN)], window) > HALF_COVERED]
    around = [luma[_draw_around(landmarks[eye], window)] for eye in (EYE_R, EYE_L)]
    if not all(len(values) for values in (nose, *around)):
        return False
    return all(np.percentile(values, BRIGHT_PERCENTILE) < HIDDEN_EYES * np.median(nose) for values in around)


def draw_dark_lenses(display: Image, landmarks: Points68, window: Window, aspect: float) -> Matte | None:
    """Draw the lenses of sunglasses, a little larger than they are; None if the eyes are seen.

    Args:
        display: This and the next ones as for `hides_eyes`.
        landmarks: See there.
        window: See there.
        aspect: Width of a pixel over its height.
    """
    if not hides_eyes(display, landmarks, window):
        return None
    width = measure_face_width(landmarks, aspect)
    luma, square = display @ LUMA_WEIGHTS, np.array([aspect, 1.0])
    nose = draw_convex_hull(landmarks[list(NOSE_SKIN)], window) > HALF_COVERED
    dark = (luma < LENS_LUMA * np.median(luma[nose])).astype(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, make_disc(THINNEST * width, aspect))
    reach = LENS_REACH * float(np.linalg.norm((landmarks[EYE_OUTER_L] - landmarks[EYE_OUTER_R]) * square))
    angles = np.linspace(0, 2 * np.pi, 60)
    lenses = np.zeros(dark.shape, np.float32)
    for eye in (EYE_R, EYE_L):
        zone = landmarks[eye].mean(0) + reach * np.column_stack([np.cos(angles), np.sin(angles)]) / square
        within = dark * (draw_convex_hull(zone, window) > HALF_COVERED)
        _, labels = cv2.connectedComponents(within.astype(np.uint8))
        found = np.unique(labels[_draw_around(landmarks[eye], window)])
        places = np.argwhere(np.isin(labels, found[found > 0]))[:, ::-1] + (window.x, window.y)
        if len(places):
            lenses = np.maximum(lenses, draw_convex_hull(places.astype(np.float64), window))  # with its reflections
    grown = cv2.dilate(lenses, make_disc(GROWTH * width, aspect))
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), max(MIN_SOFTNESS, SOFTNESS * width)), np.float32)


def _draw_around(eye: np.ndarray, window: Window) -> Mask:
    return np.asarray(draw_convex_hull(enlarge_polygon(eye, AROUND_EYE), window) > HALF_COVERED)
