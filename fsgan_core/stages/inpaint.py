"""Inpainting: what the matte calls face and the reenacted picture does not show.

Engine `fill`: no network. Other views give what they have, brought to the picture's light where both show it; the rest
is a smooth extension. `matte.completed` says where anything was made up. A forehead is not made up: where a fringe or
a hat hides it in every view, A falls to 0 there, and the plate's own stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.contract.layers import MATTE_COMPLETED, MATTE_FACE, META_MOUTH, RGBA
from fsgan_core.contract.params import InpaintParams
from fsgan_core.faces.landmarks import BROW_L, BROW_R, EYE_L, EYE_R
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import (
    cleaned,
    perceived,
    polygon_matte,
    premultiplied,
    scene,
    smoothstep,
    straight,
    unit,
    weighted_blur,
)

CONFIDENT = 0.5  # what is shown by more than this is continued into what is not shown
ENOUGH = 0.002  # of the region: less than this missing is not worth another view
FOREHEAD = 0.02, 0.07  # of the face, above the highest point of the brows: there a forehead begins, and is nothing else
UNSEEN = 0.02  # of the face: how softly what is seen of a forehead ends
LEFT = 0.35, 0.55  # shares of a forehead that no view shows, from which on more of it is left, and all of it
HAIR = 0.5, 0.75  # of the skin's light around: darker than this another view fills no cheek
BROW_HEIGHT = 0.04  # of the face, above and below its landmarks: where a brow is
HAIR_EDGE = 0.01  # of the region: how far around it hair that hangs at a brow is left out too
MARGIN = 6  # pixels around the matte that are filled too, so that blending has something at its edge


def inpaint(reenacted: Plate, mattes: Plate, others: Callable[[], Iterable[Plate]], codec: Codec,
            params: InpaintParams, holdout: np.ndarray | None = None, face: Face | None = None) -> Plate:
    """The completed face: R, G, B, A premultiplied (A is how much of the face is new), matte.completed.

    reenacted, mattes: on the same region. others: called when something is missing; gives reenactments of further
    views on that region. holdout: float32 (h, w), 1 where nothing is to be changed, so nothing need be filled. face:
    the target's, for its forehead; without one a forehead is made up as everything else.
    """
    rgb, alpha = straight(reenacted)
    picture = perceived(cleaned(rgb), codec.exposure)
    wanted, needed = wanted_of(mattes, holdout)
    picture, shown = gathered(picture, alpha, needed, others, codec, params, dark_parts(face, reenacted))
    if (shown > CONFIDENT).any():
        picture = extended(picture, shown, needed)
    else:
        needed = np.zeros_like(needed)  # there is nothing to go by
    left = unseen_forehead(shown, wanted, face, reenacted) if params.plate_forehead and face is not None else None
    return as_plate(picture, alpha, wanted, needed, codec, reenacted, left)


def wanted_of(mattes: Plate, holdout: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """float32 (h, w) each: the face that is wanted, and 1 where something must be there, MARGIN around it too."""
    wanted = unit(mattes.matte(MATTE_FACE))
    if holdout is not None:
        wanted = wanted * (1 - unit(holdout))
    return wanted, cv2.dilate((wanted > 0).astype(np.float32), np.ones((2 * MARGIN + 1,) * 2, np.uint8))


def gathered(picture: np.ndarray, alpha: np.ndarray, needed: np.ndarray, others: Callable[[], Iterable[Plate]],
             codec: Codec, params: InpaintParams, dark: DarkParts) -> tuple[np.ndarray, np.ndarray]:
    """`picture` (h, w, 3), perceived, with what further views show of what is missing, and where it shows
    something. dark: where that may be darker than skin."""
    shown = alpha.copy()
    missing = needed * (1 - shown)
    if params.other_views and missing.sum() > ENOUGH * missing.size:
        for other in others():
            picture, shown = _added(picture, shown, other, codec, dark)
            missing = needed * (1 - shown)
            if missing.sum() <= ENOUGH * missing.size:
                break
    return picture, shown


def unseen_forehead(shown: np.ndarray, wanted: np.ndarray, face: Face, reenacted: Plate) -> np.ndarray:
    """float32 (h, w): 1 above the brows where no view shows skin, 0 elsewhere, soft in between; and since an island of
    one skin within another shows, the more of a forehead is hidden the more of the rest is left too. shown, wanted:
    (h, w), where the views show something, and where there is a face."""
    region, aspect = reenacted.data_window, reenacted.pixel_aspect
    width, roll = warp_points.face_width(face.landmarks, aspect), np.radians(face.euler[2])
    up = np.array([np.sin(roll) * aspect, -np.cos(roll)]) / width
    x, y = np.arange(region.x, region.right), np.arange(region.y, region.bottom)
    height = up[0] * x[None] + up[1] * y[:, None] - (face.landmarks[warp_points.BROWS] @ up).max()
    forehead = smoothstep((height - FOREHEAD[0]) / (FOREHEAD[1] - FOREHEAD[0])).astype(np.float32)
    sigma = UNSEEN * width
    seen = cv2.GaussianBlur(shown, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    unseen = 1 - smoothstep((seen - CONFIDENT) / (1 - CONFIDENT)).astype(np.float32)
    share = float((forehead * wanted * unseen).sum() / max(float((forehead * wanted).sum()), 1e-6))
    whole = float(smoothstep(np.array((share - LEFT[0]) / (LEFT[1] - LEFT[0]))))
    left = forehead * np.maximum(unseen, np.float32(whole))
    return cv2.GaussianBlur(left, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)


def as_plate(picture: np.ndarray, alpha: np.ndarray, wanted: np.ndarray, needed: np.ndarray, codec: Codec,
             reenacted: Plate, left: np.ndarray | None = None) -> Plate:
    """The stage's picture. picture: straight, perceived. alpha: where the reenacted face was. left: (h, w), how much of
    the plate's own is left as it is."""
    completed = (needed * (1 - alpha)).astype(np.float32)
    cover = np.maximum(alpha, needed)
    if left is not None:
        cover, completed = cover * (1 - left), completed * (1 - left)
    pixels = np.dstack([premultiplied(scene(picture, codec.exposure), cover), completed * (wanted > 0)])
    said = {name: value for name, value in reenacted.metadata.items() if name == META_MOUTH}
    return Plate(pixels.astype(np.float32), (*RGBA, MATTE_COMPLETED), reenacted.data_window, reenacted.display_window,
                 reenacted.pixel_aspect, said)


@dataclass(frozen=True)
class DarkParts:
    """float32 (h, w) each: 1 on eyes and lips, and on brows."""

    eyes_lips: np.ndarray
    brows: np.ndarray


def dark_parts(face: Face | None, reenacted: Plate) -> DarkParts:
    """Those of the target's face; everywhere when that is not known."""
    if face is None:
        everywhere = np.ones(reenacted.pixels.shape[:2], np.float32)
        return DarkParts(everywhere, everywhere)

    def around(points: np.ndarray) -> np.ndarray:
        return polygon_matte(points.mean(0) + 1.25 * (points - points.mean(0)), reenacted.data_window,
                             0.1 * float(np.ptp(points[:, 0])))

    marks = face.landmarks
    height = np.array([0, BROW_HEIGHT * warp_points.face_width(marks, reenacted.pixel_aspect)])
    return DarkParts(
        np.maximum.reduce([around(marks[part]) for part in (EYE_R, EYE_L, warp_points.LIPS)]),
        np.maximum.reduce([around(np.vstack([marks[part] - height, marks[part][::-1] + height]))
                           for part in (BROW_R, BROW_L)]))


def _added(picture: np.ndarray, shown: np.ndarray, other: Plate, codec: Codec,
           dark: DarkParts) -> tuple[np.ndarray, np.ndarray]:
    """`picture` with what `other` shows beyond it, in the picture's light; hair that passed for skin is left out."""
    rgb, alpha = straight(other)
    extra = perceived(rgb, codec.exposure)
    both = np.minimum(shown, alpha)
    if both.sum() < 16:
        return picture, shown
    sigma, aspect = 0.08 * picture.shape[0], other.pixel_aspect
    light = weighted_blur(np.maximum(picture, 0), both, sigma, aspect) + 0.02
    own = weighted_blur(np.maximum(extra, 0), both, sigma, aspect) + 0.02
    extra = (extra + 0.02) * np.clip(light / own, 0.25, 4.0) - 0.02
    skin = smoothstep((extra.mean(-1) / np.maximum(light.mean(-1), 1e-6) - HAIR[0]) / (HAIR[1] - HAIR[0]))
    skin = skin.astype(np.float32)
    alpha = alpha * np.maximum.reduce([dark.eyes_lips, dark.brows * _no_hair(1 - skin, dark, alpha), skin])
    share = (alpha * (1 - shown))[..., None]
    total = np.maximum(shown[..., None] + share, 1e-6)
    mixed = (picture * shown[..., None] + extra * share) / total
    return np.where(total > 1e-6, mixed, picture).astype(np.float32), np.clip(shown + share[..., 0], 0, 1)


def _no_hair(darker: np.ndarray, dark: DarkParts, alpha: np.ndarray) -> np.ndarray:
    """float32 (h, w): 0 on what is darker than skin and reaches out of the parts that may be, or to where the view
    shows nothing: hair that hangs at a brow, not the brow."""
    parts = (np.maximum(dark.eyes_lips, dark.brows) > 0.5) & (alpha > CONFIDENT)
    outside = cv2.dilate((~parts).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    there = darker > 0.15
    _, labels = cv2.connectedComponents(there.astype(np.uint8))
    hair = there & np.isin(labels, labels[there & outside])
    side = 2 * max(1, round(HAIR_EDGE * darker.shape[0])) + 1
    return 1 - cv2.dilate(hair.astype(np.float32), np.ones((side, side), np.uint8))


def extended(picture: np.ndarray, shown: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """`picture` continued smoothly into what is not shown: blurs of what is shown, as narrow as reaches there."""
    if not (needed * (1 - shown) > 0).any():
        return picture
    result = picture.copy()
    filled = shown.copy()
    confident = (shown > CONFIDENT).astype(np.float32) * shown
    sigma = 1.5
    while sigma < 2 * max(shown.shape) and (filled < 0.999).any():
        weight = weighted_blur(confident, np.ones_like(confident), sigma)
        blurred = weighted_blur(picture, confident, sigma)
        share = np.clip(weight / 0.1, 0, 1) * (1 - filled)
        result = (result * filled[..., None] + blurred * share[..., None]) / np.maximum(filled + share, 1e-6)[..., None]
        filled = filled + share
        sigma *= 2
    return result.astype(np.float32)
