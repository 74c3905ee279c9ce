"""Feature tint: the hue of the new lips, brows and lids, kept near what the target's are to the target's skin.

`light` multiplies the whole face by one smooth field. That is right for skin. But lips and brows have little of the
pigment in which skins differ, and a cast of the source's light tints them more than skin shows. So brown skin brought
to pale skin got grey lips and green brows, and a source in cyan light got magenta lips. Here both keep their own hue
within a bound around the plate's, at each place: beside teeth a lip of a compressed picture may be grey in part.
Lips stay near the darkness of the plate's lips too: darker ones are made up or in a shadow, and paler ones are lost.
What is around the eyes may have any hue between the skin's and that of the plate's lids, and hardly be darker than
these: what lies beyond (the source's make-up, the green of its lenses, a cast in its shadows) looks like a bruise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from fsgan_core.faces.mesh import BROW_L, BROW_R, OUTER_LIPS
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Mesh, Plane, Vector
from fsgan_core.stages.features.openings import EYES
from fsgan_core.stages.image_ops import (
    BLUR_REACH,
    HALF_COVERED,
    blur_weighted,
    draw_polygon,
    find_used_window,
    make_disc,
    shift_channels,
    slice_marked,
    smoothstep,
    to_perceptual,
    to_scene_linear,
    weigh,
)
from fsgan_core.stages.matching.light import LIGHT_FLOOR, limit_softly

LUMA_LIMIT = 0.12  # logarithm: the most by which lips may be darker or paler than the plate's, and lids darker
LUMA_CHANGE = 0.25  # logarithm: the most by which they change: the plate's lips may be in hard light
# Logarithm of R, G or B over luma: the most by which they may differ.
LIP_LIMIT, BROW_LIMIT, LID_LIMIT = 0.05, 0.15, 0.03
RED_LIPS = 0.4  # logarithm of R over G, against the skin's: redder lips are made up or graded, and nobody else's follow
BLED_RED = 0.12  # logarithm of R over G, against the skin's: skin near the lips is hardly redder by itself
BLED_REACH = 0.05  # of the face's width: around the lips
LIP_FEATHER, BROW_FEATHER, LID_FEATHER = 0.006, 0.015, 0.015  # of the face's width: softness of the edges
DARK_RANGE = (0.1, 0.6)  # logarithm: darker than skin by this much, a pixel of the brow begins to be hair, and is hair
LIP_RANGE = (0.04, 0.12)  # logarithm: other than skin by this much, a pixel begins to be lip: new lips may be thinner
TINT_SIGMA, LUMA_SIGMA = 0.01, 0.03  # of the face: of a hue, and of a brightness, around a place
SHARE_SIGMA = 0.005  # of the face's width: softness of how much of a pixel is lip
TINT_PRIOR = 0.05  # weight of the whole feature's hue or brightness in that
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
    inner: Matte,
    skin: Matte,
    width: float,
    amount: float,
    aspect: float = 1.0,
) -> Image:
    """Limits how far the hue of lips, brows and lids, and the darkness of lips and lids, are from the plate's.

    All are measured against the skin.

    Args:
        new: The new face in the target's light, in perceptual steps.
        target: The plate, in perceptual steps.
        mesh: (478, 3) of the target, plate coordinates.
        region: The part of the plate that the arrays cover.
        shown: Where the new face shows the source.
        bare: Where nothing hides the target's face.
        inner: What is seen between the lips: teeth, a tongue, a dark mouth.
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
        (draw_lids, LID_FEATHER, LID_LIMIT, _mark_lip, TINT_SIGMA),
    ):
        whole = draw(mesh, region, feather * width, aspect) * (1 - inner)
        part = slice_marked(whole > 0)
        feature = whole[part]
        logs = [
            _take_logs(picture[part]) - _take_logs(around[part])
            for picture, around in zip((result, target), usual, strict=True)
        ]
        marked = [_blur(mark(values), softness * width, aspect) for values in logs]
        weights = [feature * share * matte[part] for share, matte in zip(marked, (shown, bare), strict=True)]
        seen = min(float((feature * matte[part]).sum()) for matte in (shown, bare))
        if min(seen, *(float(weight.sum()) for weight in weights)) < MIN_PIXELS:
            continue
        lumas = [values @ LUMA_WEIGHTS.astype(np.float32) for values in logs]
        tints = [values - luma[..., None] for values, luma in zip(logs, lumas, strict=True)]
        own, other = (_average(values, weight) for values, weight in zip(tints, weights, strict=True))
        made_up = _measure_make_up(own, other) if draw is draw_lips else 0.0
        other = other * np.float32(1 - made_up)
        local = own + _blur_towards_zero(tints[0] - own, weights[0], TINT_SIGMA * width, aspect)
        if draw is draw_lids:
            other = _find_nearest_hue(local, other)
        if draw is draw_lips:  # upper and lower lip may differ as the plate's do: one is in the shade
            there = (tints[1] - tints[1] * np.float32(made_up) - other).astype(np.float32)
            there = other + _blur_towards_zero(there, weights[1], LUMA_SIGMA * width, aspect)
            other = np.clip(local, np.minimum(other, there), np.maximum(other, there))
        difference = local - other
        excess = difference - limit_softly(difference, limit)
        sure = smoothstep(np.asarray((seen / float(feature.sum()) - SEEN_RANGE[0]) / (SEEN_RANGE[1] - SEEN_RANGE[0])))
        # What is brighter than the feature is in part shine, which has the hue of the lamp.
        usual_luma = np.percentile(lumas[0][weights[0] > HALF_COVERED * weights[0].max()], DULL_PERCENTILE)
        dull = np.exp(-SHINE_FALL * np.maximum(lumas[0] - np.float32(usual_luma), 0))
        share = (feature * marked[0] * dull)[..., None]
        if draw is draw_lids:
            excess = excess - _find_lift(lumas, weights, width, aspect)[..., None]
        if draw is draw_lips:
            excess = excess + _find_excess_luma(lumas, weights, made_up, width, aspect)[..., None]
            own_share = _measure_lip_share(logs[0], tints[0], weights[0])
            share = share * _blur(own_share, SHARE_SIGMA * width, aspect)[..., None]
        factor = np.exp(share * np.float32(-amount * sure) * excess.astype(np.float32))
        changed = to_perceptual((to_scene_linear(result[part], 0.0) + LIGHT_FLOOR) * factor - LIGHT_FLOOR, 0.0)
        result[part] = np.where(feature[..., None] > 0, changed, result[part])
    _fade_bled_red(result, usual[0], mesh, region, shown, width, amount, aspect)
    return result


def _fade_bled_red(
    face: Image, usual: Image, mesh: Mesh, region: Window, shown: Matte, width: float, amount: float, aspect: float
) -> None:
    """Makes skin near the lips less red, in `face`, where their colour has bled into it: compression blurs colours."""
    lips = draw_lips(mesh, region, LIP_FEATHER * width, aspect)
    part = _slice_around(lips, region, BLED_REACH * width, LIP_FEATHER * width, aspect)
    if not lips[part].size:
        return
    around = _blur(cv2.dilate(lips[part], make_disc(BLED_REACH * width, aspect)), LIP_FEATHER * width, aspect)
    share = around * (1 - lips[part]) * shown[part]
    logs = _take_logs(face[part]) - _take_logs(usual[part])
    tint = logs - (logs @ LUMA_WEIGHTS.astype(np.float32))[..., None]
    redness = _blur(tint[..., 0] - tint[..., 1], TINT_SIGMA * width, aspect)
    over = 1 - BLED_RED / np.maximum(redness, BLED_RED)
    factor = np.exp(-amount * (share * over)[..., None] * tint)
    changed = to_perceptual((to_scene_linear(face[part], 0.0) + LIGHT_FLOOR) * factor - LIGHT_FLOOR, 0.0)
    face[part] = np.where((share * over)[..., None] > 0, changed, face[part])


def draw_lips(mesh: Mesh, region: Window, feather: float, aspect: float = 1.0) -> Matte:
    """Draws both lips and what is between them, with what their soft edge covers.

    Args:
        mesh: (478, 3), plate coordinates.
        region: The part of the plate to draw on.
        feather: Rows of blur.
        aspect: Width of a pixel over its height.
    """
    return _draw_wide((OUTER_LIPS,), mesh, region, feather, aspect)


def draw_brows(mesh: Mesh, region: Window, feather: float, aspect: float = 1.0) -> Matte:
    """Draws both brows; arguments as for `draw_lips`."""
    return _draw_wide((BROW_R, BROW_L), mesh, region, feather, aspect)


def draw_lids(mesh: Mesh, region: Window, feather: float, aspect: float = 1.0) -> Matte:
    """Draws what is around both eyes, without the brows; arguments as for `draw_lips`."""
    sockets = _draw_wide([eye.socket for eye in EYES], mesh, region, feather, aspect)
    return sockets * (1 - draw_brows(mesh, region, feather, aspect))


def _draw_wide(outlines: Sequence[Sequence[int]], mesh: Mesh, region: Window, feather: float, aspect: float) -> Matte:
    matte: Matte = np.maximum.reduce([draw_polygon(mesh[list(outline), :2], region) for outline in outlines])
    part = _slice_around(matte, region, 2 * feather, max(feather, 0.5), aspect)
    if matte[part].size:
        matte[part] = _blur(cv2.dilate(matte[part], make_disc(2 * feather, aspect)), max(feather, 0.5), aspect)
    return matte


def _slice_around(matte: Matte, region: Window, reach: float, sigma: float, aspect: float) -> tuple[slice, slice]:
    """The rows and columns that hold a matte after it is enlarged and blurred; both are empty if it is."""
    near = math.ceil((reach + BLUR_REACH * sigma) / min(aspect, 1.0)) + 2
    return compute_slices(find_used_window(matte, region, near), region)


def _take_logs(picture: Image) -> Image:
    return np.asarray(np.log(np.maximum(to_scene_linear(picture, 0.0), 0) + np.float32(LIGHT_FLOOR)), np.float32)


def _continue_skin(picture: Image, skin: Matte, sigma: float, aspect: float) -> Image:
    """The skin around each place, (height, width, 3), in perceptual steps; features are left out."""
    few = slice(None, None, SKIN_STEP if skin[::SKIN_STEP, ::SKIN_STEP].any() else None)
    mean = _average(picture[few, few], skin[few, few])
    return shift_channels(blur_weighted(shift_channels(picture, -mean), skin, sigma, aspect), mean)


def _average(values: Image, weight: Matte) -> Vector:
    return np.average(values.reshape(-1, 3), axis=0, weights=weight.ravel()).astype(np.float32)


def _blur_towards_zero(values: AnyArray, weight: Matte, sigma: float, aspect: float) -> Image:
    """Mean of values around each place; little weight gives little of it."""
    sums, weights = (_blur(plane, sigma, aspect) for plane in (weigh(values, weight), weight))
    return weigh(sums, 1 / (weights + np.float32(TINT_PRIOR)))


def _blur(plane: AnyArray, sigma: float, aspect: float) -> AnyArray:
    if sigma <= 0 or not plane.size:
        return plane
    blurred = cv2.GaussianBlur(plane, (0, 0), sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, np.float32)


def _measure_make_up(own: Vector, other: Vector) -> float:
    """Share of the plate's colour of lips that is make-up, 0..1: what is redder than lips are, or than the new ones."""
    limit = max(RED_LIPS, float(own[0] - own[1]))
    return 1 - min(1.0, limit / max(float(other[0] - other[1]), 1e-6))


def _find_excess_luma(
    lumas: Sequence[Plane], weights: Sequence[Matte], made_up: float, width: float, aspect: float
) -> Plane:
    """By how much each place of the new lips is darker or paler, against skin, than the plate's lips let it be."""
    own, other = _blur_lumas(lumas, weights, width, aspect)
    difference = own - np.float32(1 - made_up) * other
    excess = difference - limit_softly(difference, LUMA_LIMIT)
    return np.asarray(limit_softly(excess, LUMA_CHANGE), np.float32)


def _find_lift(lumas: Sequence[Plane], weights: Sequence[Matte], width: float, aspect: float) -> Plane:
    """By how much each pixel of dark rings becomes brighter; none becomes brighter than the plate's lids."""
    own, other = _blur_lumas(lumas, weights, width, aspect)
    bound = np.minimum(other, 0)
    darker = np.minimum(own - bound, 0)
    lift = limit_softly(darker, LUMA_LIMIT) - darker
    return np.asarray(np.minimum(lift, np.maximum(bound - lumas[0], 0)), np.float32)


def _blur_lumas(lumas: Sequence[Plane], weights: Sequence[Matte], width: float, aspect: float) -> list[Plane]:
    """How bright a feature is around each place, of both faces."""
    return [
        mean + _blur_towards_zero(luma - mean, weight, LUMA_SIGMA * width, aspect)
        for luma, weight in zip(lumas, weights, strict=True)
        for mean in [np.float32(np.average(luma, weights=weight))]
    ]


def _find_nearest_hue(tints: Image, other: Vector) -> Image:
    """The hues between the skin's and another one that are nearest to some; both are logarithms against the skin."""
    share = np.clip(tints @ other / np.float32(max(float(other @ other), 1e-6)), 0, 1)
    return weigh(np.broadcast_to(other, tints.shape), share)


def _measure_lip_share(logs: AnyArray, tints: AnyArray, weight: Matte) -> Matte:
    """How much of each pixel is lip, 0..1: at its edge a part of it is skin, which has the plate's hue already."""
    shares = []
    for values in (logs, tints):  # a lip in a shadow is as dark, and one that shines has the hue
        usual = _average(values, weight)
        shares.append(np.clip(values @ usual / np.float32(max(float(usual @ usual), 1e-6)), 0, 1))
    return np.asarray(np.maximum(*shares), np.float32)


def _mark_dark(logs: AnyArray) -> Matte:
    darker = -(logs @ LUMA_WEIGHTS.astype(np.float32))
    return np.asarray(smoothstep((darker - DARK_RANGE[0]) / (DARK_RANGE[1] - DARK_RANGE[0])), np.float32)


def _mark_lip(logs: AnyArray) -> Matte:
    other = np.sqrt((logs**2).mean(-1))
    return np.asarray(smoothstep((other - LIP_RANGE[0]) / (LIP_RANGE[1] - LIP_RANGE[0])), np.float32)
