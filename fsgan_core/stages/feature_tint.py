"""Feature tint: the hue of the new lips and brows, kept near what the target's are to the target's skin.

`light` multiplies the whole face by one smooth field. That is right for skin. But lips and brows have little of the
pigment in which skins differ, and a cast of the source's light tints them more than skin shows. So brown skin brought
to pale skin got grey lips and green brows, and a source in cyan light got magenta lips. Here both keep their own hue
within a bound around the plate's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.faces.mesh import BROW_L, BROW_R, INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Mesh
from fsgan_core.stages.image_ops import draw_polygon, smoothstep, to_perceptual, to_scene_linear
from fsgan_core.stages.light import LIGHT_FLOOR, limit_softly

LIP_LIMIT, BROW_LIMIT = 0.1, 0.15  # logarithm of R, G or B over luma: the most by which they may differ
LIP_FEATHER, BROW_FEATHER = 0.006, 0.015  # of the face's width: softness of the edges
DARK_RANGE = (0.1, 0.6)  # logarithm: darker than skin by this much, a pixel of the brow begins to be hair, and is hair
SEEN_RANGE = (0.25, 0.5)  # share of a feature that both pictures must show: nothing changes at the first
MIN_PIXELS = 12.0  # of a feature or of skin: fewer say nothing about a colour


@dataclass(frozen=True)
class _Tinted:
    """A picture in logarithms, scene-linear.

    Attributes:
        luma: Against that of skin.
        tint: (height, width, 3) R, G, B over luma, against that of skin.
    """

    luma: AnyArray
    tint: AnyArray


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
    here, there = _measure_tints(new, skin), _measure_tints(target, skin)
    change = np.zeros_like(new)
    brows = draw_brows(mesh, region, BROW_FEATHER * width)
    for feature, own, other, limit in (
        (draw_lips(mesh, region, LIP_FEATHER * width), 1.0, 1.0, LIP_LIMIT),
        (brows, _mark_dark(here.luma), _mark_dark(there.luma), BROW_LIMIT),
    ):
        weights = feature * own * shown, feature * other * bare
        seen = min(float((feature * matte).sum()) for matte in (shown, bare))
        if seen < MIN_PIXELS or min(float(weight.sum()) for weight in weights) < MIN_PIXELS:
            continue
        means = [
            np.average(tints.tint.reshape(-1, 3), axis=0, weights=weight.ravel())
            for tints, weight in zip((here, there), weights, strict=True)
        ]
        excess = (means[0] - means[1]) - limit_softly(means[0] - means[1], limit)
        sure = smoothstep(np.asarray((seen / float(feature.sum()) - SEEN_RANGE[0]) / (SEEN_RANGE[1] - SEEN_RANGE[0])))
        change += (np.float32(sure) * feature * own)[..., None] * excess.astype(np.float32)
    linear = to_scene_linear(new, 0.0)
    return to_perceptual((linear + LIGHT_FLOOR) * np.exp(-np.float32(amount) * change) - LIGHT_FLOOR, 0.0)


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


def _measure_tints(picture: Image, skin: Matte) -> _Tinted:
    logs = np.log(np.maximum(to_scene_linear(picture, 0.0), 0) + np.float32(LIGHT_FLOOR))
    luma = logs @ LUMA_WEIGHTS.astype(np.float32)
    tint = logs - luma[..., None]
    usual = np.average(tint.reshape(-1, 3), axis=0, weights=skin.ravel())
    return _Tinted(luma - float(np.average(luma, weights=skin)), tint - usual.astype(np.float32))


def _mark_dark(luma: AnyArray) -> Matte:
    return np.asarray(smoothstep((-luma - DARK_RANGE[0]) / (DARK_RANGE[1] - DARK_RANGE[0])), np.float32)
