"""Lips that no hand covers, told by their own colour.

The shadows between fingers have the colour of lips, so a single frame does not show where a hand at a mouth ends, and
lips that pass for hand keep the plate's colour for as long as the hand is there. But the clip shows the same lips
without a hand. Their colour is measured there against the face's skin, so that a change of light cancels out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.faces.mesh import INNER_LIPS, OUTER_LIPS, SKIN_COUNT
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matrix, Matte, Mesh, Points, Vector
from fsgan_core.stages.features.openings import measure_ring_width, square_points
from fsgan_core.stages.image_ops import HALF_COVERED, draw_polygon, ease_between, sum_channels

MIN_PICTURES = 3  # without a hand at the lips: fewer say nothing
READ_SIGMA, COMPARED_SIGMA = 1.0, 0.7  # pixels: blur under which colours are read, and compared
SPREAD = np.array([6.0, 4.0, 4.0], np.float32)  # Lab: deviation of a lip
LIKE_RANGE = (2.0, 6.0)  # squared distance, in deviations: a lip's own colour up to the first, none from the second on
DISTINCT_RANGE = (2.0, 6.0)  # the same, of lips from a hand: up to the first the two cannot be told apart
PLACE_SIGMA = 0.12  # of the mouth's width: reach of a place's colour
SMOOTH_SIGMA = 0.03  # of the mouth's width
SMOOTH_RANGE = (0.35, 0.65)  # share of bare lip around a pixel: a single pixel is none
MIN_HAND_PIXELS = 16  # fewer say nothing about a hand's colour


@dataclass(frozen=True)
class LipColour:
    """The usual colour of a person's lips in a clip.

    Attributes:
        offsets: (20, 3) Lab, from the median of the face, in the middle between each pair of vertices of the outer and
            the inner lips.
    """

    offsets: Matrix


def measure_lip_colour(pictures: Iterable[tuple[Image, Window, Mesh]]) -> LipColour | None:
    """Measures the colour of a person's lips: the median of pictures in which no hand is at them.

    Args:
        pictures: For each, the display-like picture, its window in the plate, and the mesh in plate coordinates.

    Returns:
        None if there are too few.
    """
    found = []
    for display, window, mesh in pictures:
        lab = cv2.GaussianBlur(_to_lab(display), (0, 0), READ_SIGMA)
        found.append(_read_places(lab, _list_lip_places(mesh), window) - _read_face(lab, mesh, window))
    return LipColour(np.median(found, axis=0)) if len(found) >= MIN_PICTURES else None


def draw_bare_lips(display: Image, mesh: Mesh, region: Window, aspect: float, colour: LipColour, hand: Matte) -> Matte:
    """Draws where lips that a hand seems to cover show their own colour.

    Args:
        display: Display-like picture of the region.
        mesh: (478, 3), plate coordinates.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.
        colour: Of the lips.
        hand: What passes for a hand.
    """
    outline = draw_polygon(mesh[list(OUTER_LIPS), :2], region)
    rows, columns = np.nonzero(outline > 0)
    is_hand = (hand > HALF_COVERED) & (outline == 0)
    if not len(rows) or is_hand.sum() < MIN_HAND_PIXELS:
        return np.zeros_like(hand)
    lab = cv2.GaussianBlur(_to_lab(display), (0, 0), COMPARED_SIGMA)
    places = _list_lip_places(mesh) - (region.x, region.y)
    usual = colour.offsets + _read_face(lab, mesh, region)
    width = measure_ring_width(square_points(mesh, OUTER_LIPS, aspect))
    gaps = ((columns[:, None] - places[:, 0]) * aspect) ** 2 + (rows[:, None] - places[:, 1]) ** 2
    gaps = gaps - gaps.min(1, keepdims=True)
    shares = np.exp(-0.5 * gaps / (PLACE_SIGMA * width) ** 2)
    wanted = shares @ usual / shares.sum(1, keepdims=True)
    like = 1 - ease_between(_measure_distance(lab[rows, columns], wanted), *LIKE_RANGE)
    distinct = ease_between(
        _measure_distance(np.median(lab[is_hand], axis=0), np.median(usual, axis=0)), *DISTINCT_RANGE
    )
    bare = np.zeros_like(hand)
    bare[rows, columns] = like
    sigma = SMOOTH_SIGMA * width
    around = cv2.GaussianBlur(bare, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma) / np.maximum(
        cv2.GaussianBlur((outline > 0).astype(np.float32), (0, 0), sigmaX=sigma / aspect, sigmaY=sigma), 1e-3
    )
    return np.asarray(distinct * outline * ease_between(around, *SMOOTH_RANGE), np.float32)


def _list_lip_places(mesh: Mesh) -> Points:
    """The middles between the outer and the inner lips, (20, 2), plate coordinates."""
    return np.asarray((mesh[list(OUTER_LIPS), :2] + mesh[list(INNER_LIPS), :2]) / 2)


def _to_lab(display: Image) -> Image:
    return np.asarray(cv2.cvtColor(np.clip(display, 0, 1).astype(np.float32), cv2.COLOR_RGB2LAB))


def _read_face(lab: AnyArray, mesh: Mesh, window: Window) -> Vector:
    """The median colour of a face: most of it is skin."""
    return np.asarray(np.median(_read_places(lab, mesh[:SKIN_COUNT, :2], window), axis=0))


def _read_places(lab: AnyArray, places: Points, window: Window) -> Matrix:
    local = np.asarray(places - (window.x, window.y), np.float32)[None]
    values = cv2.remap(lab, local[..., 0], local[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values[0], np.float64)


def _measure_distance(lab: AnyArray, other: AnyArray) -> AnyArray:
    return sum_channels(((lab - other) / SPREAD) ** 2)
