"""Blending: the new face set into the plate.

The completed face is brought to the target's light, sharpness and grain, then blended in perceptual steps, in which a
highlight weighs no more than it looks: `poisson` (gradient domain; Perez, Gangnet, Blake 2003), `multiband` (Burt and
Adelson 1983) or `over`. The plate gets matte x (result - plate) added to its own float values, so a soft edge neither
quantises nor clips what is under it. Outside the matte nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.contract.layers import (
    MATTE_COMPLETED,
    MATTE_FACE,
    MATTE_HAIR,
    MATTE_KEPT,
    MATTE_MOUTH,
    MATTE_OCCLUSION,
    META_MOUTH,
    RGB,
)
from fsgan_core.contract.params import BlendParams
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Matte
from fsgan_core.runtime.reused_memory import copy_into_reused_memory
from fsgan_core.stages import warp_points
from fsgan_core.stages.features.mouth import draw_lip_line
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    blur_weighted,
    clip01,
    draw_convex_hull,
    fill_nonfinite,
    find_largest,
    find_used_window,
    mark_plate_area,
    repeat_plane,
    to_perceptual,
    to_scene_linear,
    unpremultiply,
    weigh,
)
from fsgan_core.stages.interface import BlendedPlate, FaceFrame, SeatedFace, SeatKeeper
from fsgan_core.stages.masking import draw_eyes, read_texture
from fsgan_core.stages.matching.feature_tint import match_feature_tints
from fsgan_core.stages.matching.light import draw_skin_and_shade, match_light, measure_surface
from fsgan_core.stages.matching.plate_match import GrainSeed, PlateSkin, match_darks, match_texture
from fsgan_core.stages.poisson import solve_membrane

MIN_MATTE = 1e-7  # a smaller matte is 0, as it is in a half float, where it would say that nothing changed
NOTHING = 0.01  # matte value up to which the completed picture may be empty
NEAR_REACH, FAR_REACH, MIN_REACH = 0.1, 10.0, 16  # of the face, as far as any blur; the whole region; pixels
SEED_BITS = 0xFFFFFFFF  # of a frame number, that go into the grain's seed

# Poisson: which border pixels to trust. Lengths are shares of the face's width, differences perceptual.
MIN_TRUST = 1e-4
BORDER_SIGMA = 0.03  # the border around a pixel
HELD_REACH = 0.01  # reach of the plate's tone where hardly anything of the new face shows
ODD_DIFFERENCE, LARGE_DIFFERENCE = 0.06, 0.25  # from the border around, and in all, that halve the trust

# Multiband.
MULTIBAND_LIMIT = 1.25  # perceptual: a brighter lamp beside the face does not glow into it
MAX_LEVELS, COARSEST_BAND = 5, 0.25  # of the pyramid; of the face's width
ERODED_WIDTH = 0.04  # of the face: the matte is shrunk by this, so that the coarse bands end where the matte does
SUPPORT_LIMIT = 0.05  # matte value


def blend(
    frame: FaceFrame, *, completed: Plate, mattes: Plate, params: BlendParams, keep: SeatKeeper = lambda seat: seat()
) -> BlendedPlate:
    """Blends the completed face into the plate (see `interface.BlendEngine`).

    Outside the matte every pixel comes back as it is, as do all other channels, the windows and the metadata; an empty
    matte gives the plate back. NaN and infinity stay outside the matte and are replaced inside.
    """
    if params.mix == 0:
        return skip_blend(frame)
    seated = keep(lambda: seat_face(frame, completed, mattes, params))
    return skip_blend(frame) if seated is None else mix_into_target(frame, seated, params)


def seat_face(frame: FaceFrame, completed: Plate, mattes: Plate, params: BlendParams) -> SeatedFace | None:
    """Seat a face in the target, in its light and texture, whatever `blend.mix` is; None if nothing is to change."""
    blend_pictures, reach = BLEND_ENGINES["poisson" if params.engine == "auto" else params.engine]
    inputs = prepare_blend(frame, completed, mattes, params, find_changed_window(frame, completed, mattes, reach))
    if inputs is None:
        return None
    new = apply_plate_texture(inputs.new_face, inputs, mattes, params, frame)
    return finish_seat(inputs, blend_pictures(replace(inputs, new_face=new), params))


def find_changed_window(frame: FaceFrame, completed: Plate, mattes: Plate, reach: float) -> Window:
    """Find the part of the region where blending changes something, the face, and what is looked at around both.

    The whole face says which light it is in, also where nothing changes.

    Args:
        frame: The frame.
        completed: The completed face.
        mattes: The mask.
        reach: How far around, of the face's width.
    """
    region, aspect = frame.region, frame.pixel_aspect
    changed = np.minimum(completed.get_matte("A"), mattes.get_matte(MATTE_FACE))
    if (changed > 0).any():
        changed = np.maximum(changed, draw_convex_hull(frame.face.get_mesh(aspect)[:, :2], region))
    down = math.ceil(reach * warp_points.measure_face_width(frame.face.landmarks, aspect)) + MIN_REACH
    return find_used_window(changed, region, down, math.ceil(down / aspect))


@dataclass(frozen=True)
class BlendInputs:
    """What an engine blends, on the part of the region that changes; pictures in perceptual steps.

    Attributes:
        new_face: The face in the target's light.
        target_face: The target.
        matte: What is mixed by.
        skin: The matte without the inner mouth and the eyes.
        kept: Where the face is the plate's own: its eyeballs, and its inner mouth if reenactment kept it. They are in
            the plate's light already, and another skin's tint would colour teeth and whites.
        kept_picture: The face as it is there.
        finished: Where the face is as sharp as the plate: what is kept, and the corners and the line of shut lips,
            whose dark is the plate's.
        not_face: What of the target is not face.
        plain_skin: Where both have plain skin, without brows, lids, lips and nostrils.
        width: Of the face, in square pixels.
        aspect: Width of a pixel over its height.
        region: The part of the plate that the arrays cover.
    """

    new_face: Image
    target_face: Image
    matte: Matte
    skin: Matte
    kept: Matte
    kept_picture: Image
    finished: Matte
    not_face: Matte
    plain_skin: Matte
    width: float
    aspect: float
    region: Window


def prepare_blend(
    frame: FaceFrame, completed: Plate, mattes: Plate, params: BlendParams, window: Window | None = None
) -> BlendInputs | None:
    """Collect what there is to blend; None if nothing is to change.

    Args:
        frame: The frame.
        completed: The completed face.
        mattes: The mask.
        params: Settings of the blend stage.
        window: The part of the region that is looked at; None: all of it.
    """
    target, face, codec = frame.plate, frame.face, frame.codec
    region = frame.region if window is None else window
    if region.empty:
        return None
    completed, mattes = completed.crop(region), mattes.crop(region)
    holdout = None if frame.holdout is None else frame.holdout[compute_slices(region, frame.region)]
    rgb, alpha = unpremultiply(completed)
    matte = clip01(mattes.get_matte(MATTE_FACE)) * alpha
    if holdout is not None:
        matte = matte * (1 - clip01(holdout))
    inside = mark_plate_area(target, region)
    matte = (matte * inside).astype(np.float32)
    if params.mix == 0 or not (matte > 0).any():
        return None
    width = warp_points.measure_face_width(face.landmarks, target.pixel_aspect)
    own = frame.perceptual[compute_slices(region, frame.region)]
    new = to_perceptual(fill_nonfinite(rgb), codec.exposure)
    mouth = clip01(mattes.get_matte(MATTE_MOUTH))
    kept, kept_picture = clip01(completed.get_matte(MATTE_KEPT)), new
    mesh = face.get_mesh(target.pixel_aspect)
    eyes = draw_eyes(mesh, region)
    skin = matte * (1 - mouth) * (1 - kept) * (1 - eyes)
    occluders = clip01(np.maximum(mattes.get_matte(MATTE_HAIR), mattes.get_matte(MATTE_OCCLUSION)))
    new_skin = (alpha > HALF_COVERED) * (1 - clip01(completed.get_matte(MATTE_COMPLETED))) * (1 - kept)
    shown = (new_skin * inside).astype(np.float32)
    surface = measure_surface(mesh, region, target.pixel_aspect, frame.region)
    bare = inside * (1 - occluders) ** 2
    new = match_light(new, own, shown, bare, np.maximum(mouth, eyes), surface, params.colour, params.shine)
    # Beyond the frame's edge there is nothing to blend with.
    beyond = cv2.dilate(1 - inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    bare = bare * alpha * (matte > 0) * (1 - mouth) * (1 - kept)
    plain_skin, features = draw_skin_and_shade(surface, new.shape[:2])
    plain_skin = (plain_skin * bare).astype(np.float32)
    features = features * skin * shown * (1 - occluders) ** 2
    # The lips' inner outline is only roughly where they end: where the mouth is the plate's own, all else is lip.
    inner = np.maximum(kept, np.float32(1 - float(completed.metadata.get(META_MOUTH, 0))) * mouth)
    finished = np.maximum(kept, draw_lip_line(mesh, region, target.pixel_aspect))
    new = match_darks(new, own, plain_skin, features, finished, width, target.pixel_aspect, params.colour)
    new = match_feature_tints(
        new, own, mesh, region, shown, bare, inner, plain_skin, width, params.colour, target.pixel_aspect
    )
    return BlendInputs(
        new,
        own,
        matte,
        skin,
        kept,
        kept_picture,
        finished,
        np.maximum(occluders, beyond),
        plain_skin,
        width,
        target.pixel_aspect,
        region,
    )


def apply_plate_texture(
    picture: AnyArray, inputs: BlendInputs, mattes: Plate, params: BlendParams, frame: FaceFrame
) -> Image:
    """Give a picture, in perceptual steps, the plate's sharpness and grain."""
    whole, part = frame.region, compute_slices(inputs.region, frame.region)
    seed = GrainSeed((params.seed, frame.face.frame & SEED_BITS), (whole.height, whole.width), part)
    # Beyond the matte there may be nothing, which must not blur into the face.
    return match_texture(
        np.where(repeat_plane(inputs.matte) > NOTHING, picture, inputs.target_face),
        inputs.skin,
        read_texture(mattes),
        PlateSkin(inputs.target_face, inputs.plain_skin, inputs.width, params.detail),
        params.sharpness,
        params.grain,
        seed,
        inputs.finished,
    )


def finish_seat(inputs: BlendInputs, seated: AnyArray) -> SeatedFace:
    """Put what is the plate's own back into a blended face.

    Args:
        inputs: What was blended.
        seated: The blended face, in perceptual steps.
    """
    face = seated + weigh(inputs.kept_picture - seated, inputs.kept)
    return SeatedFace(face, inputs.target_face, inputs.matte, inputs.region)


def mix_into_target(frame: FaceFrame, seated: SeatedFace, params: BlendParams) -> BlendedPlate:
    """Add matte x (seated - own) to the target, in its own values.

    Args:
        frame: The frame.
        seated: The new face in its place.
        params: Settings of the blend stage.
    """
    target, region, codec = frame.plate, seated.region, frame.codec
    window = find_used_window(seated.matte, region, 0).intersect(target.data_window)
    inner, slot = compute_slices(window, region), compute_slices(window, target.data_window)
    matte = seated.matte * np.float32(params.mix)
    matte[matte < MIN_MATTE] = 0
    pixels = copy_into_reused_memory(target.pixels)
    channels = target.find_channels(RGB)
    before = target.pixels[slot][..., channels]
    clean = to_scene_linear(seated.target_face[inner], codec.exposure)
    before = np.where(np.isfinite(before), before, clean)
    result = before + weigh(to_scene_linear(seated.picture[inner], codec.exposure) - clean, matte[inner])
    touched = matte[inner] > 0
    for k, channel in enumerate(channels):
        part = pixels[slot][..., channel]
        part[touched] = result[..., k][touched]
    whole = np.zeros((frame.region.height, frame.region.width), np.float32)
    whole[compute_slices(region, frame.region)] = matte
    return BlendedPlate(replace(target, pixels=pixels), whole)


def skip_blend(frame: FaceFrame) -> BlendedPlate:
    """Return the target as it is."""
    return BlendedPlate(frame.plate, np.zeros((frame.region.height, frame.region.width), np.float32))


def _blend_over(inputs: BlendInputs, params: BlendParams) -> Image:
    return inputs.new_face


def _blend_poisson(inputs: BlendInputs, params: BlendParams) -> Image:
    difference = inputs.target_face - inputs.new_face
    # Hair and what is behind the jaw must not tint the face. A border pixel that differs far more than the border
    # around it does not show this face's skin.
    skin = (inputs.matte > 0) * (1 - inputs.not_face) ** 2 + np.float32(MIN_TRUST)
    usual = blur_weighted(difference, skin, max(1.0, BORDER_SIGMA * inputs.width), inputs.aspect)
    odd = find_largest(np.abs(difference - usual)) / ODD_DIFFERENCE + find_largest(np.abs(usual)) / LARGE_DIFFERENCE
    trust = (1 - inputs.not_face) ** 2 / (1 + odd**2)
    # Where both are mixed, at the soft edge and around a gap, a step in tone would show as a blotch.
    held = trust * np.square((1 - inputs.matte) / np.float32(HELD_REACH * inputs.width))
    reach = params.reach * inputs.width
    return inputs.new_face + solve_membrane(usual, inputs.matte > 0, trust, reach, inputs.aspect, held)


def _blend_multiband(inputs: BlendInputs, params: BlendParams) -> Image:
    """Laplacian pyramids mixed by the matte's Gaussian pyramid (Burt and Adelson 1983)."""
    levels = max(1, min(MAX_LEVELS, int(np.log2(max(2.0, COARSEST_BAND * inputs.width)))))
    reach = max(1, round(ERODED_WIDTH * inputs.width))
    kernel = np.ones((2 * reach + 1, 2 * max(1, round(reach / inputs.aspect)) + 1), np.uint8)
    own = np.clip(inputs.target_face, -MULTIBAND_LIMIT, MULTIBAND_LIMIT)
    a, b, m = [inputs.new_face], [own], [cv2.erode((inputs.matte > SUPPORT_LIMIT).astype(np.float32), kernel)]
    for _ in range(levels):
        a.append(np.asarray(cv2.pyrDown(a[-1])))
        b.append(np.asarray(cv2.pyrDown(b[-1])))
        m.append(np.asarray(cv2.pyrDown(m[-1])))
    result: AnyArray = b[-1] + m[-1][..., None] * (a[-1] - b[-1])
    for level in range(levels - 1, -1, -1):
        size = a[level].shape[1::-1]
        fine = (a[level] - cv2.pyrUp(a[level + 1], dstsize=size)), (b[level] - cv2.pyrUp(b[level + 1], dstsize=size))
        result = cv2.pyrUp(result, dstsize=size) + fine[1] + m[level][..., None] * (fine[0] - fine[1])
    return np.asarray(result)


# Each engine, and how far around the change it looks.
BLEND_ENGINES: dict[str, tuple[Callable[[BlendInputs, BlendParams], Image], float]] = {
    "poisson": (_blend_poisson, NEAR_REACH),
    "multiband": (_blend_multiband, FAR_REACH),
    "over": (_blend_over, NEAR_REACH),
}
