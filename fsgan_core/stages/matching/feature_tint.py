"""Feature tint: the hue of the new lips and brows, kept near what the target's are to the target's skin.

`light` multiplies the whole face by one smooth field. That is right for skin. But lips and brows have little of the
pigment in which skins differ, and a cast of the source's light tints them more than skin shows. So brown skin brought
to pale skin got grey lips and green brows, and a source in cyan light got magenta lips. Here both keep their own hue
within a bound around the plate's, at each place: beside teeth a lip of a compressed picture may be grey in part.
"""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.faces.mesh import BROW_L, BROW_R, INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Mesh, Vector
from fsgan_core.stages.features.mouth import WIDE_OPENING
from fsgan_core.stages.features.openings import measure_lip_opening
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    blur_weighted,
    draw_polygon,
    ease_between,
    slice_marked,
    smoothstep,
    to_perceptual,
    to_scene_linear,
    weigh,
)
from fsgan_core.stages.matching.light import LIGHT_FLOOR, limit_softly

LIP_LIMIT, BROW_LIMIT = 0.07, 0.15  # logarithm of R, G or B over luma: the most by which they may differ
RED_LIPS = 0.4  # logarithm of R over G, against the skin's: redder lips are made up or graded, and nobody else's follow
LIP_FEATHER, BROW_FEATHER = 0.006, 0.015  # of the face's width: softness of the edges
DARK_RANGE = (0.1, 0.6)  # logarithm: darker than skin by this much, a pixel of the brow begins to be hair, and is hair
LIP_RANGE = (0.04, 0.12)  # logarithm: other than skin by this much, a pixel begins to be lip: new lips may be thinner
TINT_SIGMA, TINT_PRIOR = 0.01, 0.05  # of the face: of a hue around a place; weight of the whole feature's in that
SKIN_SIGMA = 0.15  # of the face: of the skin that a feature is compared with, as a lamp may reach one cheek alone
DULL_PERCENTILE, SHINE_FALL = 75.0, 2.0  # of a feature's luma: what is brighter shines; for each step in its logarithm
SEEN_RANGE = (0.25, 0.5)  # share of a feature that both pictures must show: nothing changes at the first
SKIN_STEP = 3  # pixels: skin is smooth, so every third one says what all say
MIN_PIXELS = 12.0  # of a feature or of skin: fewer say nothing about a colour


def match_feature_tints(
    new: Image,
    target: Image,
    mesh: Mesh,
    region: Window,
    shown: Matte,
    bare: Matte,
    skin: Matte,
    width: float,
    amount: float,
    aspect: float = 1.0,
) -> Image:
    """Limits how far the hue of lips and brows, against the skin's, is from the plate's.

    Args:
        new: The new face in the target's light, in perceptual steps.
        target: The plate, in perceptual steps.
        mesh: (478, 3) of the target, plate coordinates.
        region: The part of the plate that the arrays cover.
        shown: Where the new face shows the source.
        bare: Where nothing hides the target's face.
        skin: Where both show plain skin.
        width: Of the face, in square pixels.
        amount: How much of the change is made, 0..1.
        aspect: Width of a pixel over its height.

    Returns:
        The new face; the same array if nothing changes.
    """
    if amount <= 0 or float(skin.sum()) < MIN_PIXELS:
        return new
    pictures = new, target
    usual = [_continue_skin(picture, skin, SKIN_SIGMA * width, aspect) for picture in pictures]
    result = new.copy()
    for draw, feather, limit, mark, softness in (
        (draw_lips, LIP_FEATHER, LIP_LIMIT, _mark_lip, TINT_SIGMA),
        (draw_brows, BROW_FEATHER, BROW_LIMIT, _mark_dark, 0.0),
    ):
        whole = draw(mesh, region, feather * width, aspect)
        part = slice_marked(whole > 0)
        feature = whole[part]
        logs = [
            _take_logs(picture[part]) - _take_logs(around[part])
            for picture, around in zip(pictures, usual, strict=True)
        ]
        marked = [_blur(mark(values), softness * width, aspect) for values in logs]
        weights = [feature * share * matte[part] for share, matte in zip(marked, (shown, bare), strict=True)]
        seen = min(float((feature * matte[part]).sum()) for matte in (shown, bare))
        if min(seen, *(float(weight.sum()) for weight in weights)) < MIN_PIXELS:
            continue
        lumas = [values @ LUMA_WEIGHTS.astype(np.float32) for values in logs]
        tints = [values - luma[..., None] for values, luma in zip(logs, lumas, strict=True)]
        own, other = (_average(values, weight) for values, weight in zip(tints, weights, strict=True))
        if draw is draw_lips:
            other = _cap_redness(other, max(RED_LIPS, float(own[0] - own[1])))
        difference = own + _blur_towards_zero(tints[0] - own, weights[0], TINT_SIGMA * width, aspect) - other
        excess = difference - limit_softly(difference, limit)
        sure = smoothstep(np.asarray((seen / float(feature.sum()) - SEEN_RANGE[0]) / (SEEN_RANGE[1] - SEEN_RANGE[0])))
        # What is brighter than the feature is in part shine, which has the hue of the lamp.
        usual_luma = np.percentile(lumas[0][weights[0] > HALF_COVERED * weights[0].max()], DULL_PERCENTILE)
        dull = np.exp(-SHINE_FALL * np.maximum(lumas[0] - np.float32(usual_luma), 0))
        share = (feature * marked[0] * dull)[..., None]
        factor = np.exp(share * np.float32(-amount * sure) * excess.astype(np.float32))
        changed = to_perceptual((to_scene_linear(new[part], 0.0) + LIGHT_FLOOR) * factor - LIGHT_FLOOR, 0.0)
        result[part] = np.where(feature[..., None] > 0, changed, new[part])
    return result


def draw_lips(mesh: Mesh, region: Window, feather: float, aspect: float = 1.0) -> Matte:
    """Draws both lips without the inside of an open mouth; what is between lips that nearly meet counts as lip.

    Args:
        mesh: (478, 3), plate coordinates.
        region: The part of the plate to draw on.
        feather: Rows of blur.
        aspect: Width of a pixel over its height.
    """
    outer, inner = (draw_polygon(mesh[list(ring), :2], region) for ring in (OUTER_LIPS, INNER_LIPS))
    opened = np.float32(ease_between(measure_lip_opening(mesh, aspect), *WIDE_OPENING))
    lips = np.clip(outer - opened * inner, 0, 1).astype(np.float32)
    return _blur(lips, max(feather, 0.5), aspect)


def draw_brows(mesh: Mesh, region: Window, feather: float, aspect: float = 1.0) -> Matte:
    """Draws both brows with what their soft edge covers; arguments as for `draw_lips`."""
    size = 2 * round(2 * feather) + 1
    brows = np.maximum(*(draw_polygon(mesh[list(brow), :2], region) for brow in (BROW_R, BROW_L)))
    wide = cv2.dilate(brows, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return _blur(wide, max(feather, 0.5), aspect)


def _take_logs(picture: Image) -> Image:
    return np.asarray(np.log(np.maximum(to_scene_linear(picture, 0.0), 0) + np.float32(LIGHT_FLOOR)), np.float32)


def _continue_skin(picture: Image, skin: Matte, sigma: float, aspect: float) -> Image:
    """The skin around each place, (height, width, 3), in perceptual steps; features are left out."""
    few = slice(None, None, SKIN_STEP if skin[::SKIN_STEP, ::SKIN_STEP].any() else None)
    mean = _average(picture[few, few], skin[few, few])
    return np.asarray(mean + blur_weighted(np.asarray(picture - mean, np.float32), skin, sigma, aspect), np.float32)


def _average(values: Image, weight: Matte) -> Vector:
    return np.average(values.reshape(-1, 3), axis=0, weights=weight.ravel()).astype(np.float32)


def _blur_towards_zero(values: AnyArray, weight: Matte, sigma: float, aspect: float) -> Image:
    """Mean of values around each place; little weight gives little of it."""
    sums, weights = (_blur(plane, sigma, aspect) for plane in (weigh(values, weight), weight))
    return weigh(sums, 1 / (weights + np.float32(TINT_PRIOR)))


def _blur(plane: AnyArray, sigma: float, aspect: float) -> AnyArray:
    if sigma <= 0:
        return plane
    blurred = cv2.GaussianBlur(plane, (0, 0), sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, np.float32)


def _cap_redness(tint: Vector, limit: float) -> Vector:
    """A tint with no more than `limit` of R over G; a redder one becomes weaker and keeps its hue."""
    return tint * min(1.0, limit / max(float(tint[0] - tint[1]), 1e-6))


def _mark_dark(logs: AnyArray) -> Matte:
    darker = -(logs @ LUMA_WEIGHTS.astype(np.float32))
    return np.asarray(smoothstep((darker - DARK_RANGE[0]) / (DARK_RANGE[1] - DARK_RANGE[0])), np.float32)


def _mark_lip(logs: AnyArray) -> Matte:
    other = np.sqrt((logs**2).mean(-1))
    return np.asarray(smoothstep((other - LIP_RANGE[0]) / (LIP_RANGE[1] - LIP_RANGE[0])), np.float32)
