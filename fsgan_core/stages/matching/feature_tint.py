"""Feature tint: the hue of the new lips and brows, kept near what the target's are to the target's skin.

`light` multiplies the whole face by one smooth field. That is right for skin. But lips and brows have little of the
pigment in which skins differ, and a cast of the source's light tints them more than skin shows. So brown skin brought
to pale skin got grey lips and green brows, and a source in cyan light got magenta lips. Here both keep their own hue
within a bound around the plate's.
"""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.faces.mesh import BROW_L, BROW_R, INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Mesh, Vector
from fsgan_core.stages.image_ops import draw_polygon, slice_marked, smoothstep, to_perceptual, to_scene_linear
from fsgan_core.stages.matching.light import LIGHT_FLOOR, limit_softly

LIP_LIMIT, BROW_LIMIT = 0.1, 0.15  # logarithm of R, G or B over luma: the most by which they may differ
RED_LIPS = 0.4  # logarithm of R over G, against the skin's: redder lips are made up or graded, and nobody else's follow
LIP_FEATHER, BROW_FEATHER = 0.006, 0.015  # of the face's width: softness of the edges
DARK_RANGE = (0.1, 0.6)  # logarithm: darker than skin by this much, a pixel of the brow begins to be hair, and is hair
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

    Returns:
        The new face; the same array if nothing changes.
    """
    if amount <= 0 or float(skin.sum()) < MIN_PIXELS:
        return new
    usual = [_measure_skin(picture, skin) for picture in (new, target)]
    result = new.copy()
    for draw, feather, limit, is_dark in (
        (draw_lips, LIP_FEATHER, LIP_LIMIT, False),
        (draw_brows, BROW_FEATHER, BROW_LIMIT, True),
    ):
        whole = draw(mesh, region, feather * width)
        part = slice_marked(whole > 0)
        feature = whole[part]
        logs = [_take_logs(picture[part]) - skin_logs for picture, skin_logs in zip((new, target), usual, strict=True)]
        dark = [_mark_dark(values) if is_dark else np.ones_like(feature) for values in logs]
        weights = [feature * share * matte[part] for share, matte in zip(dark, (shown, bare), strict=True)]
        seen = min(float((feature * matte[part]).sum()) for matte in (shown, bare))
        if min(seen, *(float(weight.sum()) for weight in weights)) < MIN_PIXELS:
            continue
        own, other = (_average_tint(values, weight) for values, weight in zip(logs, weights, strict=True))
        if not is_dark:
            other = _cap_redness(other, max(RED_LIPS, float(own[0] - own[1])))
        excess = (own - other) - limit_softly(own - other, limit)
        sure = smoothstep(np.asarray((seen / float(feature.sum()) - SEEN_RANGE[0]) / (SEEN_RANGE[1] - SEEN_RANGE[0])))
        factor = np.exp((feature * dark[0])[..., None] * np.float32(-amount * sure) * excess.astype(np.float32))
        changed = to_perceptual((to_scene_linear(new[part], 0.0) + LIGHT_FLOOR) * factor - LIGHT_FLOOR, 0.0)
        result[part] = np.where(feature[..., None] > 0, changed, new[part])
    return result


def draw_lips(mesh: Mesh, region: Window, feather: float) -> Matte:
    """Draws both lips without the inner mouth.

    Args:
        mesh: (478, 3), plate coordinates.
        region: The part of the plate to draw on.
        feather: Pixels of blur.
    """
    outer, inner = (draw_polygon(mesh[list(ring), :2], region) for ring in (OUTER_LIPS, INNER_LIPS))
    lips = np.clip(outer - inner, 0, 1).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(lips, (0, 0), max(feather, 0.5)))


def draw_brows(mesh: Mesh, region: Window, feather: float) -> Matte:
    """Draws both brows with what their soft edge covers; arguments as for `draw_lips`."""
    size = 2 * round(2 * feather) + 1
    brows = np.maximum(*(draw_polygon(mesh[list(brow), :2], region) for brow in (BROW_R, BROW_L)))
    wide = cv2.dilate(brows, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), max(feather, 0.5)))


def _take_logs(picture: Image) -> Image:
    return np.asarray(np.log(np.maximum(to_scene_linear(picture, 0.0), 0) + np.float32(LIGHT_FLOOR)), np.float32)


def _measure_skin(picture: Image, skin: Matte) -> Vector:
    """Mean logarithms of R, G and B of the skin, (3,)."""
    few = slice(None, None, SKIN_STEP)
    weight = skin[few, few].ravel()
    if weight.sum() <= 0:
        few, weight = slice(None), skin.ravel()
    logs = _take_logs(np.ascontiguousarray(picture[few, few])).reshape(-1, 3)
    return np.asarray(np.average(logs, axis=0, weights=weight), np.float32)


def _average_tint(logs: AnyArray, weight: Matte) -> Vector:
    """Mean logarithms of R, G and B over luma, (3,)."""
    tint = np.average(logs.reshape(-1, 3), axis=0, weights=weight.ravel())
    return np.asarray(tint - tint @ LUMA_WEIGHTS)


def _cap_redness(tint: Vector, limit: float) -> Vector:
    """A tint with no more than `limit` of R over G; a redder one becomes weaker and keeps its hue."""
    return tint * min(1.0, limit / max(float(tint[0] - tint[1]), 1e-6))


def _mark_dark(logs: AnyArray) -> Matte:
    darker = -(logs @ LUMA_WEIGHTS.astype(np.float32))
    return np.asarray(smoothstep((darker - DARK_RANGE[0]) / (DARK_RANGE[1] - DARK_RANGE[0])), np.float32)
