"""Inpainting: what the matte calls face and the reenacted picture does not show.

Engine `fill`: no network. Other views give what they have, brought to the picture's light where both show it; the rest
is a smooth extension. `matte.completed` says where anything was made up. A forehead is not made up: where a fringe or
a hat hides it in every view, A falls to 0 there, and the plate's own stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, BROWS, EYE_L, EYE_R, MOUTH_OUTER
from fsgan_core.contract.layers import MATTE_COMPLETED, MATTE_FACE, META_MOUTH, RGBA
from fsgan_core.contract.params import InpaintParams
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import (
    blur_weighted,
    clip01,
    draw_polygon,
    fill_nonfinite,
    premultiply,
    smoothstep,
    to_perceptual,
    to_scene_linear,
    unpremultiply,
)
from fsgan_core.stages.interface import FaceFrame, FurtherViews

CONFIDENT_SHARE = 0.5  # what is shown by more than this is continued into what is not shown
NEGLIGIBLE_SHARE = 0.002  # of the region: less than this missing is not worth another view
FOREHEAD_RISE = (
    0.02,
    0.07,
)  # of the face, above the highest point of the brows: there a forehead begins, and is nothing else
UNSEEN_SOFTNESS = 0.02  # of the face: how softly what is seen of a forehead ends
HIDDEN_SHARES = 0.35, 0.55  # shares of a forehead that no view shows, from which on more of it is left, and all of it
HAIR_LIGHT = 0.5, 0.75  # of the skin's light around: darker than this another view fills no cheek
BROW_REACH = 0.04  # of the face, above and below its landmarks: where a brow is
HAIR_EDGE = 0.01  # of the region: how far around it hair that hangs at a brow is left out too
FILL_MARGIN = 6  # pixels around the matte that are filled too, so that blending has something at its edge


def inpaint(
    frame: FaceFrame, *, reenacted: Plate, mattes: Plate, further_views: FurtherViews, params: InpaintParams
) -> Plate:
    """Fills what is missing from further views and by a smooth extension (see `interface.InpaintEngine`)."""
    face, codec = frame.face, frame.codec
    rgb, alpha = unpremultiply(reenacted)
    picture = to_perceptual(fill_nonfinite(rgb), codec.exposure)
    wanted, needed = compute_fill_mattes(mattes, frame.holdout)
    dark = find_dark_parts(face, reenacted)
    picture, shown = gather_views(picture, alpha, needed, further_views, codec, params, dark)
    if (shown > CONFIDENT_SHARE).any():
        picture = extend_picture(picture, shown, needed)
    else:
        needed = np.zeros_like(needed)  # there is nothing to go by
    left = find_unseen_forehead(shown, wanted, face, reenacted) if params.plate_forehead else None
    return make_completed_plate(picture, alpha, wanted, needed, codec, reenacted, left)


def compute_fill_mattes(mattes: Plate, holdout: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """float32 (h, w) each: the face that is wanted, and 1 where something must be there, MARGIN around it too."""
    wanted = clip01(mattes.get_matte(MATTE_FACE))
    if holdout is not None:
        wanted = wanted * (1 - clip01(holdout))
    return wanted, cv2.dilate((wanted > 0).astype(np.float32), np.ones((2 * FILL_MARGIN + 1,) * 2, np.uint8))


def gather_views(
    picture: np.ndarray,
    alpha: np.ndarray,
    needed: np.ndarray,
    further_views: FurtherViews,
    codec: Codec,
    params: InpaintParams,
    dark: DarkParts,
) -> tuple[np.ndarray, np.ndarray]:
    """`picture` (h, w, 3), perceived, with what further views show of what is missing, and where it shows
    something. dark: where that may be darker than skin."""
    shown = alpha.copy()
    missing = needed * (1 - shown)
    if params.other_views and missing.sum() > NEGLIGIBLE_SHARE * missing.size:
        for other in further_views():
            picture, shown = _add_view(picture, shown, other, codec, dark)
            missing = needed * (1 - shown)
            if missing.sum() <= NEGLIGIBLE_SHARE * missing.size:
                break
    return picture, shown


def find_unseen_forehead(shown: np.ndarray, wanted: np.ndarray, face: Face, reenacted: Plate) -> np.ndarray:
    """float32 (h, w): 1 above the brows where no view shows skin, 0 elsewhere, soft in between; and since an island of
    one skin within another shows, the more of a forehead is hidden the more of the rest is left too. shown, wanted:
    (h, w), where the views show something, and where there is a face."""
    region, aspect = reenacted.data_window, reenacted.pixel_aspect
    width, roll = warp_points.measure_face_width(face.landmarks, aspect), np.radians(face.euler[2])
    up = np.array([np.sin(roll) * aspect, -np.cos(roll)]) / width
    x, y = np.arange(region.x, region.right), np.arange(region.y, region.bottom)
    height = up[0] * x[None] + up[1] * y[:, None] - (face.landmarks[BROWS] @ up).max()
    forehead = smoothstep((height - FOREHEAD_RISE[0]) / (FOREHEAD_RISE[1] - FOREHEAD_RISE[0])).astype(np.float32)
    sigma = UNSEEN_SOFTNESS * width
    seen = cv2.GaussianBlur(shown, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    unseen = 1 - smoothstep((seen - CONFIDENT_SHARE) / (1 - CONFIDENT_SHARE)).astype(np.float32)
    share = float((forehead * wanted * unseen).sum() / max(float((forehead * wanted).sum()), 1e-6))
    whole = float(smoothstep(np.array((share - HIDDEN_SHARES[0]) / (HIDDEN_SHARES[1] - HIDDEN_SHARES[0]))))
    left = forehead * np.maximum(unseen, np.float32(whole))
    return cv2.GaussianBlur(left, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)


def make_completed_plate(
    picture: np.ndarray,
    alpha: np.ndarray,
    wanted: np.ndarray,
    needed: np.ndarray,
    codec: Codec,
    reenacted: Plate,
    left: np.ndarray | None = None,
) -> Plate:
    """The stage's picture. picture: straight, perceived. alpha: where the reenacted face was. left: (h, w), how much of
    the plate's own is left as it is."""
    completed = (needed * (1 - alpha)).astype(np.float32)
    cover = np.maximum(alpha, needed)
    if left is not None:
        cover, completed = cover * (1 - left), completed * (1 - left)
    pixels = np.dstack([premultiply(to_scene_linear(picture, codec.exposure), cover), completed * (wanted > 0)])
    said = {name: value for name, value in reenacted.metadata.items() if name == META_MOUTH}
    return Plate(
        pixels.astype(np.float32),
        (*RGBA, MATTE_COMPLETED),
        reenacted.data_window,
        reenacted.display_window,
        reenacted.pixel_aspect,
        said,
    )


@dataclass(frozen=True)
class DarkParts:
    """float32 (h, w) each: 1 on eyes and lips, and on brows."""

    eyes_lips: np.ndarray
    brows: np.ndarray


def find_dark_parts(face: Face, reenacted: Plate) -> DarkParts:
    """Finds the parts of the target's face that may be darker than skin."""

    def draw_around(points: np.ndarray) -> np.ndarray:
        return draw_polygon(
            points.mean(0) + 1.25 * (points - points.mean(0)), reenacted.data_window, 0.1 * float(np.ptp(points[:, 0]))
        )

    marks = face.landmarks
    height = np.array([0, BROW_REACH * warp_points.measure_face_width(marks, reenacted.pixel_aspect)])
    return DarkParts(
        np.maximum.reduce([draw_around(marks[part]) for part in (EYE_R, EYE_L, MOUTH_OUTER)]),
        np.maximum.reduce(
            [draw_around(np.vstack([marks[part] - height, marks[part][::-1] + height])) for part in (BROW_R, BROW_L)]
        ),
    )


def _add_view(
    picture: np.ndarray, shown: np.ndarray, other: Plate, codec: Codec, dark: DarkParts
) -> tuple[np.ndarray, np.ndarray]:
    """`picture` with what `other` shows beyond it, in the picture's light; hair that passed for skin is left out."""
    rgb, alpha = unpremultiply(other)
    extra = to_perceptual(rgb, codec.exposure)
    both = np.minimum(shown, alpha)
    if both.sum() < 16:
        return picture, shown
    sigma, aspect = 0.08 * picture.shape[0], other.pixel_aspect
    light = blur_weighted(np.maximum(picture, 0), both, sigma, aspect) + 0.02
    own = blur_weighted(np.maximum(extra, 0), both, sigma, aspect) + 0.02
    extra = (extra + 0.02) * np.clip(light / own, 0.25, 4.0) - 0.02
    skin = smoothstep(
        (extra.mean(-1) / np.maximum(light.mean(-1), 1e-6) - HAIR_LIGHT[0]) / (HAIR_LIGHT[1] - HAIR_LIGHT[0])
    )
    skin = skin.astype(np.float32)
    alpha = alpha * np.maximum.reduce([dark.eyes_lips, dark.brows * _mask_out_hair(1 - skin, dark, alpha), skin])
    share = (alpha * (1 - shown))[..., None]
    total = np.maximum(shown[..., None] + share, 1e-6)
    mixed = (picture * shown[..., None] + extra * share) / total
    return np.where(total > 1e-6, mixed, picture).astype(np.float32), np.clip(shown + share[..., 0], 0, 1)


def _mask_out_hair(darker: np.ndarray, dark: DarkParts, alpha: np.ndarray) -> np.ndarray:
    """float32 (h, w): 0 on what is darker than skin and reaches out of the parts that may be, or to where the view
    shows nothing: hair that hangs at a brow, not the brow."""
    parts = (np.maximum(dark.eyes_lips, dark.brows) > 0.5) & (alpha > CONFIDENT_SHARE)
    outside = cv2.dilate((~parts).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    there = darker > 0.15
    _, labels = cv2.connectedComponents(there.astype(np.uint8))
    hair = there & np.isin(labels, labels[there & outside])
    side = 2 * max(1, round(HAIR_EDGE * darker.shape[0])) + 1
    return 1 - cv2.dilate(hair.astype(np.float32), np.ones((side, side), np.uint8))


def extend_picture(picture: np.ndarray, shown: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """`picture` continued smoothly into what is not shown: blurs of what is shown, as narrow as reaches there."""
    if not (needed * (1 - shown) > 0).any():
        return picture
    result = picture.copy()
    filled = shown.copy()
    confident = (shown > CONFIDENT_SHARE).astype(np.float32) * shown
    sigma = 1.5
    while sigma < 2 * max(shown.shape) and (filled < 0.999).any():
        weight = blur_weighted(confident, np.ones_like(confident), sigma)
        blurred = blur_weighted(picture, confident, sigma)
        share = np.clip(weight / 0.1, 0, 1) * (1 - filled)
        result = (result * filled[..., None] + blurred * share[..., None]) / np.maximum(filled + share, 1e-6)[..., None]
        filled = filled + share
        sigma *= 2
    return result.astype(np.float32)
