"""Inpainting: what the matte calls face and the reenacted picture does not show.

Engine `fill`: no network. Other views give what they show, in the picture's light. The source's atlas gives what no
view shows in this pose. Of the rest, the plate's own clear skin stays: the new face has its tone. Where features, hair
or glasses are, the rest has the shading of the target's skin, in the tone of what is shown. `matte.completed` is 1 on
what was filled. A forehead is not made up: where a fringe or a hat hides it in every view, A falls to 0 and the plate's
own forehead stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.contract.layers import (
    MATTE_COMPLETED,
    MATTE_FACE,
    MATTE_HAIR,
    MATTE_KEPT,
    MATTE_OCCLUSION,
    META_MOUTH,
    RGBA,
)
from fsgan_core.contract.params import InpaintParams
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Matte
from fsgan_core.stages import warp_points
from fsgan_core.stages.features.openings import OpeningPicture
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    align_window,
    blur_weighted,
    clip01,
    ease_between,
    fill_nonfinite,
    find_largest,
    find_used_window,
    make_disc,
    mark_plate_area,
    stack_planes,
    to_perceptual,
    to_scene_linear,
    unpremultiply,
    weigh,
)
from fsgan_core.stages.interface import AtlasPicture, AtlasProjector, FaceFrame, FurtherViews
from fsgan_core.stages.masking import draw_forehead, draw_hull
from fsgan_core.stages.matching.light import draw_plain_skin, measure_surface
from fsgan_core.stages.occluders.arm_fill import replace_arms
from fsgan_core.stages.skin.atlas import push_pull
from fsgan_core.stages.skin.atlas_frame import fill_from_atlas

CONFIDENT_SHARE = 0.5  # what is shown by more than this is continued into what is not shown
NEGLIGIBLE_SHARE = 0.002  # of the region: if less is missing, no other view is made
PART_MARGIN = 8  # pixels around the face that are looked at
FILL_MARGIN = 6  # pixels around the matte that are filled too, so that blending has something at its edge

# The forehead.
UNSEEN_SOFTNESS = 0.02  # of the face: softness of the edge of what is seen
HIDDEN_SHARES = (0.35, 0.55)  # of the forehead, that no view shows: more of the rest is left alone, and all of it

# Other views.
MIN_COMMON_PIXELS = 16  # pixels that both views show: fewer say nothing about the light
LIGHT_SIZE = 0.08  # of the region: light is coarser than this
LIGHT_FLOOR = 0.02  # added before light is divided by light
LIGHT_GAIN_LIMITS = (0.25, 4.0)

# The extension. Lengths are shares of the face's width.
SHADING_SIGMA = 0.03  # finer shading of the target's skin is not taken
TONE_SIGMA = 0.12  # the surroundings in which a tone is odd
TONE_WIDTH = 100  # pixels of a face on which they are looked for, at most
ODD_TONE = 0.06  # perceptual steps: a trust falls to a quarter
ODD_SKIN, SKIN_ROUNDS = 0.18, 3  # perceptual steps off the skin around: this is no skin; rounds of finding it
USUAL_PERCENTILE, DARK_RANGE = 60, (0.04, 0.14)  # of the skin's luma; perceptual steps below it
CLEAR_SIGMA = 0.015  # softness of the edges of clear skin
LINE_SHARE = 0.3  # of that softness: finer is grain
LINE_RANGE = (0.08, 0.14)  # perceptual steps off the skin's shading
SEAM_SIGMA = 0.02  # softness of the edge of what is shown, inwards
MIN_TRUST = 1e-4  # of features: they are continued only if nothing else is shown
MIN_WEIGHT = 1e-6


def inpaint(
    frame: FaceFrame,
    *,
    reenacted: Plate,
    mattes: Plate,
    further_views: FurtherViews,
    params: InpaintParams,
    atlas: AtlasProjector | None = None,
) -> Plate:
    """Fills what is missing from further views, the atlas and the target's shading (see `interface.InpaintEngine`)."""
    face, codec, region = frame.face, frame.codec, frame.region
    face_matte, needed = compute_fill_mattes(mattes, frame.holdout)
    # Neither the picture nor views and atlas show anything beyond the face.
    part = find_part(np.maximum(reenacted.get_matte("A"), needed), region)
    slices = compute_slices(part, region)
    own, alpha = np.zeros((*needed.shape, 3), np.float32), np.zeros_like(needed)
    picture, shown = own, alpha
    if not part.empty:
        rgb, alpha[slices] = unpremultiply(reenacted.crop(part))
        own[slices] = to_perceptual(fill_nonfinite(rgb), codec.exposure)
        picture, shown = own.copy(), alpha.copy()
        picture[slices], shown[slices] = gather_views(
            own[slices],
            alpha[slices],
            needed[slices],
            lambda: (view.crop(part) for view in further_views()),
            codec,
            params,
            region,
            atlas and (lambda: atlas(reenacted.crop(part))),
        )
    behind, kept_arms = replace_arms(frame, reenacted, face_matte)
    untouched = np.zeros_like(needed)
    if not (shown > CONFIDENT_SHARE).any():
        needed = np.zeros_like(needed)  # there is nothing to go by
    elif (needed * (1 - shown) > 0).any():
        skin = measure_target_skin(frame, mattes, behind)
        share = soften_seam(shown, skin)
        picture = extend_picture(picture, shown, share, skin)
        untouched = skin.clear * (1 - share)
    if params.plate_forehead:
        untouched = np.maximum(untouched, find_unseen_forehead(shown, face_matte, face, reenacted))
    untouched = np.maximum(untouched, kept_arms)
    return make_completed_plate(picture, own, alpha, face_matte, needed, codec, reenacted, untouched, behind)


def find_part(matte: Matte, region: Window) -> Window:
    """Find the part of a region that holds a matte; empty if the matte is."""
    return align_window(find_used_window(matte, region, PART_MARGIN), region)


def compute_fill_mattes(mattes: Plate, holdout: Matte | None) -> tuple[Matte, Matte]:
    """Compute the face's matte without the hold-out, and the area that must be filled: FILL_MARGIN pixels more."""
    face_matte = clip01(mattes.get_matte(MATTE_FACE))
    if holdout is not None:
        face_matte = face_matte * (1 - clip01(holdout))
    kernel = np.ones((2 * FILL_MARGIN + 1,) * 2, np.uint8)
    return face_matte, np.asarray(cv2.dilate((face_matte > 0).astype(np.float32), kernel))


def gather_views(
    picture: Image,
    alpha: Matte,
    needed: Matte,
    further_views: FurtherViews,
    codec: Codec,
    params: InpaintParams,
    region: Window,
    project_atlas: Callable[[], AtlasPicture] | None = None,
) -> tuple[Image, Matte]:
    """Add what further views, and then the atlas, show of what is missing.

    Args:
        picture: Straight colour in perceptual steps.
        alpha: Where it shows the face.
        needed: Where something must be there.
        further_views: Called if something is missing; gives reenactments of further views.
        codec: Of the plate.
        params: Settings of the inpaint stage.
        region: Of the frame; sizes are shares of it, though the arrays may cover a part.
        project_atlas: Called if something is still missing.

    Returns:
        The picture, and where it now shows something.
    """
    shown, negligible = alpha.copy(), NEGLIGIBLE_SHARE * region.width * region.height
    missing = needed * (1 - shown)
    if params.other_views and missing.sum() > negligible:
        for other in further_views():
            picture, shown = _add_view(picture, shown, other, codec, region.height)
            missing = needed * (1 - shown)
            if missing.sum() <= negligible:
                break
    if project_atlas is not None and missing.sum() > negligible:
        picture, shown = fill_from_atlas(picture, shown, project_atlas(), codec.exposure, region)
    return picture, shown


def find_unseen_forehead(shown: Matte, face_matte: Matte, face: Face, reenacted: Plate) -> Matte:
    """Find the forehead that no view shows.

    An island of one person's skin within another's would show, so the more of a forehead is hidden, the more of the
    rest counts too.

    Args:
        shown: Where the views show something.
        face_matte: Where there is a face.
        face: The target's.
        reenacted: The reenacted plate, for its region.
    """
    region, aspect = reenacted.data_window, reenacted.pixel_aspect
    forehead = draw_forehead(face, region, aspect)
    sigma = UNSEEN_SOFTNESS * warp_points.measure_face_width(face.landmarks, aspect)
    seen = cv2.GaussianBlur(shown, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    unseen = 1 - ease_between(seen, CONFIDENT_SHARE, 1).astype(np.float32)
    share = float((forehead * face_matte * unseen).sum() / max(float((forehead * face_matte).sum()), 1e-6))
    whole = float(ease_between(share, *HIDDEN_SHARES))
    unseen_forehead = forehead * np.maximum(unseen, np.float32(whole))
    blurred = cv2.GaussianBlur(
        unseen_forehead, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE
    )
    return np.asarray(blurred)


def make_completed_plate(
    picture: Image,
    own: Image,
    alpha: Matte,
    face_matte: Matte,
    needed: Matte,
    codec: Codec,
    reenacted: Plate,
    untouched: Matte | None = None,
    behind: OpeningPicture | None = None,
) -> Plate:
    """Make the stage's plate.

    Args:
        picture: Straight colour in perceptual steps.
        own: The reenacted picture, likewise.
        alpha: Where the reenacted face was.
        face_matte: The part of the plate that gets the new face.
        needed: Where something must be there.
        codec: Of the plate.
        reenacted: The reenacted plate.
        untouched: How much of the plate's own stays as it is.
        behind: What the plate shows behind arms of glasses (`arm_fill.replace_arms`).
    """
    completed = (needed * (1 - alpha)).astype(np.float32)
    cover = np.maximum(alpha, needed)
    if untouched is not None:
        cover, completed = cover * (1 - untouched), completed * (1 - untouched)
    kept = clip01(reenacted.get_matte(MATTE_KEPT))
    picture = picture + weigh(own - picture, kept)
    if behind is not None:
        picture = picture + weigh(behind.picture - picture, behind.matte)
        kept = np.maximum(kept, behind.matte)
    colours = weigh(to_scene_linear(picture, codec.exposure), cover)
    pixels = stack_planes([colours, cover, completed * (face_matte > 0), kept])
    metadata = {name: value for name, value in reenacted.metadata.items() if name == META_MOUTH}
    return Plate(
        pixels,
        (*RGBA, MATTE_COMPLETED, MATTE_KEPT),
        reenacted.data_window,
        reenacted.display_window,
        reenacted.pixel_aspect,
        metadata,
    )


def _add_view(picture: Image, shown: Matte, other: Plate, codec: Codec, rows: int) -> tuple[Image, Matte]:
    """`picture` with what `other` shows beyond it, in the picture's light."""
    rgb, alpha = unpremultiply(other)
    extra = to_perceptual(rgb, codec.exposure)
    both = np.minimum(shown, alpha)
    if both.sum() < MIN_COMMON_PIXELS:
        return picture, shown
    sigma, aspect = LIGHT_SIZE * rows, other.pixel_aspect
    light = blur_weighted(np.maximum(picture, 0), both, sigma, aspect) + LIGHT_FLOOR
    own = blur_weighted(np.maximum(extra, 0), both, sigma, aspect) + LIGHT_FLOOR
    extra = (extra + LIGHT_FLOOR) * np.clip(light / own, *LIGHT_GAIN_LIMITS) - LIGHT_FLOOR
    share = (alpha * (1 - shown))[..., None]
    total = np.maximum(shown[..., None] + share, MIN_WEIGHT)
    mixed = (picture * shown[..., None] + extra * share) / total
    return np.where(total > MIN_WEIGHT, mixed, picture).astype(np.float32), np.clip(shown + share[..., 0], 0, 1)


@dataclass(frozen=True)
class TargetSkin:
    """The shading of the target's own skin, that goes on where the source's face shows nothing.

    Attributes:
        picture: The target's plain skin, blurred, and continued over features and what hides it; perceptual steps.
        plain: Where a face has plain skin, 0..1.
        clear: Where nothing but plain skin is seen, as bright as the face usually is, 0..1.
        width: Of the face, in square pixels.
    """

    picture: Image
    plain: Matte
    clear: Matte
    width: float


def measure_target_skin(frame: FaceFrame, mattes: Plate, behind: OpeningPicture | None = None) -> TargetSkin:
    """Measure the shading of the target's skin.

    Args:
        frame: The target's frame.
        mattes: Of the mask stage.
        behind: The plate without arms of glasses (`arm_fill.replace_arms`).
    """
    region, aspect = frame.region, frame.pixel_aspect
    surface = measure_surface(frame.face.get_mesh(aspect), region, aspect)
    plain = draw_plain_skin(surface, (region.height, region.width))
    hidden = clip01(np.maximum(mattes.get_matte(MATTE_HAIR), mattes.get_matte(MATTE_OCCLUSION)))
    face = clip01(mattes.get_matte(MATTE_FACE)) * draw_hull(frame.face, region, aspect, 1.0)
    skin = plain * face * (1 - hidden) ** 2 * mark_plate_area(frame.plate, region)
    own = frame.perceptual
    bare = own if behind is None else behind.picture
    skin = _leave_out_odd(bare, np.asarray(skin, np.float32), surface.width, aspect)
    sigma = SHADING_SIGMA * surface.width
    # Between hair and glasses a few pixels pass for skin: what has little skin around it says little.
    sure_skin = skin * cv2.GaussianBlur(skin, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma) ** 2
    known = push_pull(bare, sure_skin.astype(np.float32))
    picture = cv2.GaussianBlur(known, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma)
    luma, sure = picture @ LUMA_WEIGHTS, skin > HALF_COVERED
    brightness = float(np.percentile(luma[sure], USUAL_PERCENTILE)) if sure.any() else 0.0
    dark = np.clip((brightness - luma - DARK_RANGE[0]) / (DARK_RANGE[1] - DARK_RANGE[0]), 0, 1)  # a beard, a shadow
    odd = find_largest(np.abs(own - picture)) / ODD_TONE
    clear = (skin * (1 - dark) / (1 + odd**2) ** 2).astype(np.float32)
    clear = cv2.GaussianBlur(clear, (0, 0), CLEAR_SIGMA * surface.width)
    clear = clear * (1 - _draw_around_lines(own - picture, CLEAR_SIGMA * surface.width))
    return TargetSkin(np.asarray(picture), plain, np.clip(1.1 * clear - 0.05, 0, 1), surface.width)


def _leave_out_odd(picture: Image, skin: Matte, width: float, aspect: float) -> Matte:
    """`skin` without glasses and strands of hair.

    What differs from the skin around is no skin, and so no part of what is around. That is smooth, so it is found on
    fewer pixels.
    """
    scale = min(1.0, TONE_WIDTH / width)
    size = max(1, round(skin.shape[1] * aspect * scale)), max(1, round(skin.shape[0] * scale))  # square pixels
    small, looked_at = (
        np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), np.float32) for one in (picture, skin)
    )
    left, sigma = looked_at, max(1.0, TONE_SIGMA * width * scale)
    for _ in range(SKIN_ROUNDS):
        usual = blur_weighted(small, left, sigma)
        left = looked_at * _compare_skin(small, usual)
    return skin * _compare_skin(picture, np.asarray(cv2.resize(usual, skin.shape[::-1])))


def _compare_skin(picture: AnyArray, usual: Image) -> Matte:
    """1 where a picture has the colour that is usual there, 0 where it has a quite different one."""
    return np.asarray(np.maximum(1 - (find_largest(np.abs(picture - usual)) / ODD_SKIN) ** 2, 0) ** 2, np.float32)


def _draw_around_lines(difference: Image, reach: float) -> Matte:
    """1 around thin lines that differ strongly from skin (a rim of glasses), which the softness would hide.

    Args:
        difference: From the shading of the skin.
        reach: How far from a line, in pixels.
    """
    steady = cv2.GaussianBlur(difference, (0, 0), max(0.5, LINE_SHARE * reach))
    line = ease_between(find_largest(np.abs(steady)), *LINE_RANGE).astype(np.float32)
    grown = cv2.dilate(line, make_disc(2 * reach))
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), reach / 2))


def soften_seam(shown: Matte, skin: TargetSkin) -> Matte:
    """Soften the edge of what is shown, inwards.

    Args:
        shown: Where a picture shows the face, 0..1.
        skin: Of the target.
    """
    soft = cv2.GaussianBlur(shown, (0, 0), SEAM_SIGMA * skin.width, borderType=cv2.BORDER_REPLICATE)
    return np.minimum(shown, np.clip(2 * soft - 1, 0, 1))


def extend_picture(picture: Image, shown: Matte, share: Matte, skin: TargetSkin) -> Image:
    """Continue a picture into what it does not show: the shading of the target's skin, in the tone of what is shown.

    Only plain skin is continued. A pixel that differs far more from the target's shading than the skin around it (hair
    at the edge of what is shown, a shadow) is not.

    Args:
        picture: Perceptual steps.
        shown: Where it shows the face, 0..1.
        share: How much of the picture counts (`soften_seam`).
        skin: Of the target.
    """
    difference = picture - skin.picture
    known = np.where(shown > CONFIDENT_SHARE, shown, 0) * (skin.plain + MIN_TRUST)
    known = known / known.max()
    usual = blur_weighted(difference, known, max(1.0, TONE_SIGMA * skin.width))
    odd = find_largest(np.abs(difference - usual)) / ODD_TONE
    tone = push_pull(difference, (known / (1 + odd**2) ** 2).astype(np.float32))
    return np.asarray(skin.picture + tone + weigh(difference - tone, share), np.float32)
