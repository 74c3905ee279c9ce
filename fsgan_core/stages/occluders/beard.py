"""Beard: the zone where one may grow, and whether what covers that zone is one."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fsgan_core.faces.mesh import MIRROR_ORDER, OUTER_LIPS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Matte, Points
from fsgan_core.stages.image_ops import HALF_COVERED, draw_polygon, ease_between
from fsgan_core.stages.skin.face_regions import BEARD_R, CHIN_R

SOFTNESS = 0.015  # of the face
JAW_R = (207, 187, 147, 137, 93, 132, 58, 172, 136, 150, 170, 211)  # the zone beside the mouth, on the right
COVERED_RANGE = (
    0.12,
    0.25,
)  # mean of the matte on either jaw and on the chin: from here it may be a beard, here it surely is one
MAX_LIPS_COVERED = 0.5  # what hides the lips too is no beard
MIN_AREA = 8.0  # pixels


def draw_beard_zone(vertices: Points, window: Window, width: float) -> Matte:
    """Draw where a beard may grow: chin, jaw and around the mouth, without the lips.

    Args:
        vertices: (478, 2) of the face, in the coordinates of `window`.
        window: The part to draw on.
        width: Of the face, in pixels.
    """
    right, left = _draw_both_sides(BEARD_R, vertices, window)
    lips = draw_polygon(vertices[list(OUTER_LIPS)], window)
    zone = np.clip(np.maximum(right, left) - lips, 0, 1)
    return np.asarray(cv2.GaussianBlur(zone, (0, 0), max(0.5, SOFTNESS * width)))


def measure_beard(occluders: Matte, vertices: Points, outline: Matte) -> float:
    """Measure how surely what covers the lower face is a beard, 0..1.

    A beard covers the chin and the jaw on both sides, and leaves the lips free. A microphone or a hand does not, nor
    does hair that falls beside the face. A full beard passes for skin in part, because the skin's colour is learnt from
    the cheeks too; so a low mean is enough.

    Args:
        occluders: What is unlike skin and comes in from outside the outline.
        vertices: (478, 2) of the face, in pixels of the mattes.
        outline: The face's outline.
    """
    window = Window(0, 0, outline.shape[1], outline.shape[0])
    lips = draw_polygon(vertices[list(OUTER_LIPS)], window)
    hidden = float(((occluders > HALF_COVERED) * lips).sum())
    if hidden > MAX_LIPS_COVERED * max(float(lips.sum()), MIN_AREA):
        return 0.0
    shares = []
    sides = _draw_both_sides(JAW_R, vertices, window)
    for part in (*sides, np.maximum(*_draw_both_sides(CHIN_R, vertices, window))):
        seen = part * outline
        shares.append(float((occluders * seen).sum()) / max(float(seen.sum()), MIN_AREA))
    return float(ease_between(min(shares), *COVERED_RANGE))


def _draw_both_sides(right: Sequence[int], vertices: Points, window: Window) -> tuple[Matte, Matte]:
    """The polygon of vertices on the person's right, and its counterpart on the left."""
    numbers = list(right)
    return draw_polygon(vertices[numbers], window), draw_polygon(vertices[MIRROR_ORDER[numbers]], window)
