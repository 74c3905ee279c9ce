"""Skin model: the colour of a face's own skin, as a smooth field over the inner face.

The field follows the light, so a face that is lit from one side does not count as two colours. All lengths are shares
of the width of the face, all colours CIE L*a*b* (L 0..100), all on a small raster of square pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R, MOUTH_OUTER
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Mask, Matte, Plane, Points, Points68, Vector
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    SUBPIXEL_BITS,
    SUBPIXEL_STEPS,
    draw_convex_hull,
    draw_polygon,
    ease_between,
    make_disc,
)
from fsgan_core.stages.matching.light_fit import MAD_TO_DEVIATION
from fsgan_core.stages.warp_points import NOSE_BASE, NOSE_TIP

MIN_PIXELS = 30  # pixels: fewer are not enough to learn a colour from

# Skin: squared distance from its colour, in its own deviations, that still counts as skin, and that surely does not.
SKIN_LIMIT, NOT_SKIN_LIMIT = 9.0, 36.0
MIN_DEVIATION = np.array([9.0, 3.5, 3.5], np.float32)  # Lab: shading and blotches that every skin has
MIN_ROUGHNESS = 0.7  # Lab lightness
ROUGHNESS_SIGMA = 2.0  # pixels of the raster: roughness is what is finer than this
SHADOW_WEIGHT = 0.75  # of a difference in lightness: a darker patch of the same hue is mostly a shadow
HIGHLIGHT_WEIGHT = 0.5  # likewise of a brighter one, which is mostly shine

# The fit of the skin's field.
FIELD_SMOOTHNESS = 0.003  # weight, per sample, that holds the field back from changing across the face
FIELD_PENALTIES = [0, 1, 1, 4]  # of level, slope across, slope down and bend: a bend needs the most evidence
FIELD_ROUNDS = 8  # reweighted least squares
OUTLIER_LIMIT = 6  # squared distance, in deviations, from which on a sample loses weight
SIDE_MARGIN, TOP_MARGIN, BOTTOM_MARGIN = 0.05, 0.1, 0.05  # of the face: how far beyond its samples a slope may go on

# The inner face: skin on almost everybody.
JAW_POINTS = [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]  # landmarks of both cheeks
CHEEK_SHARE = 0.75  # of the way from the nose to the jaw
BROW_POINTS, LID_POINTS = [26, 24, 19, 17], [45, 43, 38, 36]  # landmarks above each other, left to right on the person
BROW_LIFT = 0.35  # of the way from lid to brow, added above the brow

# Eyes, brows, lips and nostrils.
NOSTRIL_HULL = [31, 32, 33, 34, 35, 30]  # landmarks
FEATURE_SIZE = 0.02  # of the face: the unit of the next three
BROW_THICKNESS, FEATURE_GROWTH, FEATURE_SOFTNESS = 3.5, 1.6, 2  # line width, margin, and divisor of the blur
MIN_SIGMA = 0.5  # pixels: a blur is at least this wide


@dataclass(frozen=True)
class FaceRaster:
    """A face on a small raster of square pixels.

    Attributes:
        rgb: The picture, display-like, 0..1.
        landmarks: In pixels of the raster.
        face_width: Width of the face in pixels of the raster.
        outline: The face's outline.
        up_direction: (2,) unit vector from chin to forehead.
        inside: Where the picture has pixels, not a repeated border.
    """

    rgb: Image
    landmarks: Points68
    face_width: float
    outline: Matte
    up_direction: Vector
    inside: Mask

    @property
    def window(self) -> Window:
        """All of the raster."""
        return Window(0, 0, self.outline.shape[1], self.outline.shape[0])

    @cached_property
    def lab(self) -> Image:
        """The picture in CIE L*a*b*."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2Lab))

    @cached_property
    def inner_face(self) -> Matte:
        """From the brows to the mouth, within the cheeks: skin on almost everybody."""
        return draw_polygon(_locate_inner_face(self.landmarks), self.window)

    @cached_property
    def sampled(self) -> Mask:
        """Pixels of the inner face that surely are skin."""
        core = self.inner_face * (1 - draw_own_features(self)) * (self.outline > HALF_COVERED)
        return (core > HALF_COVERED) & self.inside

    @property
    def shows_skin(self) -> bool:
        """Whether enough of the inner face is visible to learn from."""
        return int(self.sampled.sum()) >= MIN_PIXELS

    @cached_property
    def skin(self) -> SkinModel | None:
        """`fit_skin` of this raster, computed once."""
        return fit_skin(self)


@dataclass(frozen=True)
class SkinModel:
    """The colour of a face's own skin.

    Attributes:
        expected_lab: (height, width, 3) the skin's colour at each pixel, if there were skin.
        deviation: (3,) standard deviation around that.
        sampled: The pixels that the field was fitted to.
    """

    expected_lab: Image
    deviation: Vector
    sampled: Mask


def measure_along(direction: Vector, origin: Vector, shape: tuple[int, ...]) -> Plane:
    """Measure how far each pixel of a raster of `shape` lies from an origin along a direction (2,)."""
    columns, rows = (np.arange(shape[1 - k]) - origin[k] for k in (0, 1))
    return np.asarray(columns * direction[0] + (rows * direction[1])[:, None])


def fit_skin(raster: FaceRaster) -> SkinModel | None:
    """Fit a smooth field of colour to the inner face; None if too little of it is visible."""
    sampled = raster.sampled
    if not raster.shows_skin:
        return None
    # Across and up the head, so that a tilted head is fitted like an upright one.
    up, nose = raster.up_direction, raster.landmarks[NOSE_TIP]
    across = measure_along(np.array([-up[1], up[0]]) / raster.face_width, nose, sampled.shape)
    down = measure_along(-up / raster.face_width, nose, sampled.shape)
    # Beyond the samples a fitted slope is a guess, so it is held there.
    across = np.clip(across, across[sampled].min() - SIDE_MARGIN, across[sampled].max() + SIDE_MARGIN)
    down = np.clip(down, down[sampled].min() - TOP_MARGIN, down[sampled].max() + BOTTOM_MARGIN)
    basis = np.asarray(cv2.merge([np.ones_like(across), across, down, across * across]))
    lab = raster.lab
    rows, values = basis[sampled].T, lab[sampled].T.astype(np.float64)
    penalty = FIELD_SMOOTHNESS * rows.shape[1] * np.diag(np.square(FIELD_PENALTIES))
    weight = np.ones(rows.shape[1])
    for _ in range(FIELD_ROUNDS):  # reweighted, so that the nose's shadow and stray hair do not bend the field
        weighted = rows * weight
        field = np.linalg.solve(weighted @ rows.T + penalty, weighted @ values.T)
        residual = np.ascontiguousarray(np.abs(values - field.T @ rows))  # in rows, of which a median is faster
        deviation = MAD_TO_DEVIATION * np.median(residual, axis=1)
        odd = residual / np.maximum(deviation, MIN_DEVIATION)[:, None]
        weight = 1 / (1 + (odd * odd).sum(0) / OUTLIER_LIMIT) ** 2
    return SkinModel((basis @ field).astype(np.float32), deviation.astype(np.float32), sampled)


def find_unlike_skin(lab: Image, skin: SkinModel, strictness: Plane) -> Matte:
    """Mark what has another colour than the face's skin at that place.

    Args:
        lab: The picture in CIE L*a*b*.
        skin: The face's skin.
        strictness: Factor of the squared distance, 1 or more; above 1 fewer colours pass for skin.
    """
    spread = np.maximum(skin.deviation, MIN_DEVIATION)
    light, *tint = ((lab[..., k] - skin.expected_lab[..., k]) / spread[k] for k in range(3))
    distance = (light * np.where(light < 0, np.float32(SHADOW_WEIGHT), 1)) ** 2 + tint[0] ** 2 + tint[1] ** 2
    # Hair of the skin's own colour is still rougher than skin.
    distance = (distance + measure_roughness(lab, skin) ** 2 / 2) * strictness
    return ease_between(distance, SKIN_LIMIT, NOT_SKIN_LIMIT).astype(np.float32)


def measure_roughness(lab: Image, skin: SkinModel) -> Plane:
    """Measure how much rougher than usual skin each pixel is, in the deviations of the skin's roughness; 0 or more."""
    rough = cv2.GaussianBlur(
        np.abs(lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), ROUGHNESS_SIGMA)), (0, 0), ROUGHNESS_SIGMA
    )
    usual = np.median(rough[skin.sampled])
    spread = max(MAD_TO_DEVIATION * float(np.median(np.abs(rough[skin.sampled] - usual))), MIN_ROUGHNESS)
    return np.asarray(np.maximum((rough - usual) / spread, 0))


def measure_skin_distance(lab: Image, skin: Image, spread: Vector) -> Plane:
    """Measure how far colours are from skin that is lit more or less, or that shines.

    With less light, a and b fade with the lightness; a highlight goes towards white.

    Args:
        lab: (..., 3) colours, CIE L*a*b*.
        skin: (..., 3) the skin's colour.
        spread: (3,) its deviation.

    Returns:
        (...) squared distance, in deviations.
    """
    light, expected = lab[..., 0], skin[..., 0]
    fade = np.where(light < expected, light / np.maximum(expected, 1), (100 - light) / np.maximum(100 - expected, 1))
    weight = np.where(light < expected, np.float32(SHADOW_WEIGHT), np.float32(HIGHLIGHT_WEIGHT))
    distance = ((light - expected) * weight / spread[0]) ** 2
    for k in (1, 2):
        distance = distance + ((lab[..., k] - skin[..., k] * fade) / spread[k]) ** 2
    return np.asarray(distance)


def draw_own_features(raster: FaceRaster) -> Matte:
    """Draw eyes, brows, lips and nostrils: they differ from skin and belong to the face."""
    matte = np.zeros_like(raster.outline)
    for part in (EYE_R, EYE_L, MOUTH_OUTER, NOSTRIL_HULL):
        matte = np.maximum(matte, draw_convex_hull(raster.landmarks[part], raster.window))
    for brow in (BROW_R, BROW_L):
        _draw_brow_line(matte, raster, brow)
    return _grow_feature(matte, raster)


def draw_brow(raster: FaceRaster, brow: slice) -> Matte:
    """Draw one brow as widely as `draw_own_features` does; `brow` is `BROW_R` or `BROW_L`."""
    matte = np.zeros_like(raster.outline)
    _draw_brow_line(matte, raster, brow)
    return _grow_feature(matte, raster)


def _draw_brow_line(matte: Matte, raster: FaceRaster, brow: slice) -> None:
    points = np.round(raster.landmarks[brow] * SUBPIXEL_STEPS).astype(np.int32)
    width = max(1, round(BROW_THICKNESS * FEATURE_SIZE * raster.face_width))
    cv2.polylines(matte, [points], False, 1.0, width, cv2.LINE_AA, SUBPIXEL_BITS)


def _grow_feature(matte: Matte, raster: FaceRaster) -> Matte:
    size = FEATURE_SIZE * raster.face_width
    sigma = max(MIN_SIGMA, size / FEATURE_SOFTNESS)
    return np.clip(cv2.GaussianBlur(cv2.dilate(matte, make_disc(FEATURE_GROWTH * size)), (0, 0), sigma), 0, 1)


def _locate_inner_face(landmarks: Points68) -> Points:
    """The polygon from the brows to the mouth, within the cheeks."""
    jaw = landmarks[JAW_POINTS]
    centre = landmarks[[NOSE_TIP, NOSE_BASE]].mean(0)
    cheeks = centre + CHEEK_SHARE * (jaw - centre)
    raised = landmarks[BROW_POINTS] + BROW_LIFT * (landmarks[BROW_POINTS] - landmarks[LID_POINTS])
    return np.vstack([cheeks, raised])
