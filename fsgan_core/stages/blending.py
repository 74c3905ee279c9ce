"""Blending: the new face seated in the plate.

The completed face is brought to the target's light, sharpness and grain, then blended in perceptual steps, where a
highlight weighs no more than it is seen: `poisson` (gradient domain), `multiband` (Burt and Adelson 1983) or `over`.
The plate gets matte x (result - plate) added in its own float values, so that a soft edge neither quantises nor clips
what lies under it. Outside the matte nothing is touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.contract.layers import MATTE_FACE, MATTE_HAIR, MATTE_MOUTH, MATTE_OCCLUSION, META_MOUTH, RGB
from fsgan_core.contract.params import BlendParams
from fsgan_core.faces.track import Face
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Matte
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import (
    blur_weighted,
    clip01,
    fill_nonfinite,
    mark_plate_area,
    pad_plate,
    to_perceptual,
    to_scene_linear,
    unpremultiply,
)
from fsgan_core.stages.interface import BlendedPlate, FaceFrame
from fsgan_core.stages.masking import read_texture
from fsgan_core.stages.plate_match import match_light, match_texture
from fsgan_core.stages.poisson import solve_membrane

MULTIBAND_LIMIT = 1.25  # perceived
MIN_MATTE = 1e-7  # a matte below this is none: a half float would have it as 0, and say that nothing has changed there


def blend(frame: FaceFrame, *, completed: Plate, mattes: Plate, params: BlendParams) -> BlendedPlate:
    """Blends the completed face into the plate (see `interface.BlendEngine`).

    Outside the matte every pixel comes back as it is, as do all other channels, the windows and the metadata; an empty
    matte gives the plate back. NaN and infinity stay outside the matte and are replaced inside.
    """
    given = prepare_blend(frame, completed, mattes, params)
    if given is None:
        return skip_blend(frame)
    new = apply_plate_texture(given.new_face, given, mattes, params, frame.face)
    engine = BLEND_ENGINES["poisson" if params.engine == "auto" else params.engine]
    return mix_into_target(frame, given, engine(replace(given, new_face=new), params), params)


@dataclass(frozen=True)
class BlendInputs:
    """What an engine blends, on the completed face's region. new: float32 (h, w, 3), perceived, the face in the
    target's light; own: the target likewise. matte: (h, w), what is mixed by. skin: the matte without the inner mouth.
    kept: (h, w), 0..1, the plate's own inner mouth, where reenactment has kept it: it is in the plate's light already,
    and another skin's tint would colour its teeth. foreign: what of the target is not face. width: of the face in
    square pixels. aspect: of the pixels."""

    new_face: np.ndarray
    target_face: np.ndarray
    matte: np.ndarray
    skin: np.ndarray
    kept_mouth: np.ndarray
    not_face: np.ndarray
    width: float
    aspect: float
    region: Window


def prepare_blend(frame: FaceFrame, completed: Plate, mattes: Plate, params: BlendParams) -> BlendInputs | None:
    """Prepares what an engine blends; None if nothing changes."""
    target, face, region, codec, holdout = frame.plate, frame.face, frame.region, frame.codec, frame.holdout
    rgb, alpha = unpremultiply(completed)
    matte = clip01(mattes.get_matte(MATTE_FACE)) * alpha
    if holdout is not None:
        matte = matte * (1 - clip01(holdout))
    inside = mark_plate_area(target, region)
    matte = (matte * inside).astype(np.float32)
    if params.mix == 0 or not (matte > 0).any():
        return None
    width = warp_points.measure_face_width(face.landmarks, target.pixel_aspect)
    own = to_perceptual(pad_plate(target, region), codec.exposure)
    new = to_perceptual(fill_nonfinite(rgb), codec.exposure)
    mouth = clip01(mattes.get_matte(MATTE_MOUTH))
    skin = matte * (1 - mouth)
    kept = mouth * np.float32(read_kept_mouth(completed))
    new = match_light(new, own, skin, width, params.colour, target.pixel_aspect)
    foreign = clip01(np.maximum(mattes.get_matte(MATTE_HAIR), mattes.get_matte(MATTE_OCCLUSION)))
    # At the frame's edge the face goes on: there is nothing to be seated in.
    beyond = cv2.dilate(1 - inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return BlendInputs(new, own, matte, skin, kept, np.maximum(foreign, beyond), width, target.pixel_aspect, region)


def read_kept_mouth(completed: Plate) -> float:
    """How much of the inner mouth is the target's own, 0..1, as reenactment has said in the metadata; 0 where nothing
    is said."""
    try:
        share = float(str(completed.metadata.get(META_MOUTH, 0.0)))
    except ValueError:
        return 0.0
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0


def apply_plate_texture(
    picture: np.ndarray, given: BlendInputs, mattes: Plate, params: BlendParams, face: Face
) -> np.ndarray:
    """`picture` (h, w, 3), perceived, with the plate's sharpness and grain."""
    return match_texture(
        picture,
        given.skin,
        read_texture(mattes),
        given.width,
        params.sharpness,
        params.grain,
        (params.seed, face.frame & 0xFFFFFFFF),
    )


def mix_into_target(frame: FaceFrame, given: BlendInputs, seated: AnyArray, params: BlendParams) -> BlendedPlate:
    """Adds matte x (seated - own) to the plate's own values; seated: on the region, perceptual."""
    target, region, codec = frame.plate, frame.region, frame.codec
    face = seated + given.kept_mouth[..., None] * (given.target_face - seated)
    window = region.intersect(target.data_window)
    inner, slot = compute_slices(window, region), compute_slices(window, target.data_window)
    matte = given.matte * np.float32(params.mix)
    matte[matte < MIN_MATTE] = 0
    pixels = target.pixels.copy()
    channels = target.find_channels(RGB)
    before = target.pixels[slot][..., channels]
    clean = to_scene_linear(given.target_face[inner], codec.exposure)
    before = np.where(np.isfinite(before), before, clean)
    result = before + matte[inner][..., None] * (to_scene_linear(face[inner], codec.exposure) - clean)
    touched = matte[inner] > 0
    for k, channel in enumerate(channels):
        part = pixels[slot][..., channel]
        part[touched] = result[..., k][touched]
    return BlendedPlate(replace(target, pixels=pixels), matte)


def skip_blend(frame: FaceFrame) -> BlendedPlate:
    """Gives the plate back as it is."""
    return BlendedPlate(frame.plate, np.zeros((frame.region.height, frame.region.width), np.float32))


def _blend_over(given: BlendInputs, params: BlendParams) -> np.ndarray:
    return given.new_face


def _blend_poisson(given: BlendInputs, params: BlendParams) -> np.ndarray:
    difference = given.target_face - given.new_face
    # What lies behind the jaw, and hair, are not to tint the face; and a border pixel that differs far more than the
    # border around it shows something else than this face's skin.
    skin = (given.matte > 0) * (1 - given.not_face) ** 2 + np.float32(1e-4)
    usual = blur_weighted(difference, skin, max(1.0, 0.03 * given.width), given.aspect)
    odd = np.abs(difference - usual).max(-1) / 0.06 + np.abs(usual).max(-1) / 0.25
    trust = (1 - given.not_face) ** 2 / (1 + odd**2)
    return given.new_face + solve_membrane(usual, given.matte > 0, trust, params.reach * given.width, given.aspect)


def _blend_multiband(given: BlendInputs, params: BlendParams) -> np.ndarray:
    """Laplacian pyramids mixed by the matte's Gaussian pyramid; the matte's support is drawn in first, so that the
    coarse bands' spread ends where the matte does."""
    levels = max(1, min(5, int(np.log2(max(2.0, 0.25 * given.width)))))
    reach = max(1, round(0.04 * given.width))
    kernel = np.ones((2 * reach + 1, 2 * max(1, round(reach / given.aspect)) + 1), np.uint8)
    own = np.clip(given.target_face, -MULTIBAND_LIMIT, MULTIBAND_LIMIT)  # a lamp beside the face shall not glow into it
    a, b, m = [given.new_face], [own], [cv2.erode((given.matte > 0.05).astype(np.float32), kernel)]
    for _ in range(levels):
        a.append(cv2.pyrDown(a[-1]))
        b.append(cv2.pyrDown(b[-1]))
        m.append(cv2.pyrDown(m[-1]))
    result = b[-1] + m[-1][..., None] * (a[-1] - b[-1])
    for level in range(levels - 1, -1, -1):
        size = a[level].shape[1::-1]
        fine = (a[level] - cv2.pyrUp(a[level + 1], dstsize=size)), (b[level] - cv2.pyrUp(b[level + 1], dstsize=size))
        result = cv2.pyrUp(result, dstsize=size) + fine[1] + m[level][..., None] * (fine[0] - fine[1])
    return np.asarray(result)


BLEND_ENGINES: dict[str, Callable[[BlendInputs, BlendParams], np.ndarray]] = {
    "poisson": _blend_poisson,
    "multiband": _blend_multiband,
    "over": _blend_over,
}
