"""Mask: what of the target is replaced, and what is in front of it.

Engine `geometric`: no network. The outline of the mesh and the hairline say where a face must be. Its own colours
(`skin_model`, `occlusion`) say what inside it is hair (from above) or something in front (from elsewhere).
`measure_mattes` looks at one frame. `combine_mattes` averages neighbouring frames, moved along with the face, and gives
the matte its size and soft edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROWS
from fsgan_core.contract.layers import (
    MATTE_FACE,
    MATTE_GLASSES,
    MATTE_MOUTH,
    MATTE_OCCLUSION,
    MATTES,
    META_OUTLINE,
    META_TEXTURE,
)
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.face import Face
from fsgan_core.faces.geometry import fit_similarity
from fsgan_core.faces.mesh import BROW_L, BROW_R, CANONICAL, INNER_LIPS, LIDS_L, LIDS_R, SKIN_COUNT
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.runtime.arrays import Image, Matte, Mesh, Points
from fsgan_core.runtime.memo import remember_with, remember_with_both
from fsgan_core.stages import warp_points
from fsgan_core.stages.guided_filter import apply_guided_filter
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    clip01,
    draw_convex_hull,
    draw_polygon,
    ease_between,
    find_used_window,
    mark_plate_area,
    move_picture,
    stack_planes,
    to_display,
)
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.matching.light import draw_plain_skin, measure_surface
from fsgan_core.stages.matching.plate_match import (
    add_changing_grain,
    average_textures,
    measure_changing_grain,
    measure_texture,
)
from fsgan_core.stages.matte_edge import MIN_FEATHER, grow_and_feather
from fsgan_core.stages.occluders.beard import draw_beard_zone, measure_beard
from fsgan_core.stages.occluders.glasses import detect_glasses, find_stems
from fsgan_core.stages.occluders.glasses_frame import draw_glasses
from fsgan_core.stages.occluders.hands import (
    add_hands,
    combine_hands,
    cover_by_hands,
    measure_hand_mattes,
    merge_hands,
    remove_hands,
)
from fsgan_core.stages.occluders.occlusion import find_occluders
from fsgan_core.stages.occluders.sunglasses import draw_dark_lenses
from fsgan_core.stages.skin.skin_model import FaceRaster

# The raster on which colours are compared.
WORKING_WIDTH = 160  # pixels across the face
MAX_ENLARGEMENT = 2.5  # of a small face
MIN_RASTER_SIDE = 8  # pixels
FULLY_INSIDE = 0.99  # share of a pixel that the picture covers
GUIDE_RADIUS, MIN_GUIDE_RADIUS, GUIDE_EPSILON = 0.03, 2, 1e-4  # of the face; pixels; variance of the picture

FOREHEAD_RISE = (0.02, 0.07)  # of the face, above the highest brow: where a forehead begins, and where all is forehead
NEAR_SIGMA, NEAR_LIMIT = 0.03, 0.02  # of the face; blurred outline: beyond it, everything differs from skin
MOUTH_SOFTNESS = 0.004  # of the face
TEXTURE_REACH = 16  # pixels: beyond it no blur that measures texture reads

# Parameters with which a frame is measured by itself. The others are used when the neighbours are combined.
MEASURING_PARAMS = ("forehead", "refine", "occlusions")  # those that may change over time
MATTE_STEMS = "stems"  # channel of a frame measured by itself
LUMA = "luma"  # likewise: luma of the picture, display values; neighbouring frames are compared by it

# Height on the generic face, mm: middle of the brows, and their upper edge.
BROW_LINE = float(CANONICAL[[*BROW_R, *BROW_L], 1].mean())
BROW_TOP = float(CANONICAL[[*BROW_R, *BROW_L], 1].min())

# Averaging over time, growing and softening.
CHANNELS_AT_ONCE = 4  # that OpenCV moves several times as fast as more
TIME_SIGMA, MIN_TIME_SIGMA = 0.6, 0.5  # of `mask.smooth`; frames
OUTLINE_AT_EDGE = "edge"  # in metadata: the outline of the face is where the matte begins, not at a half
FEATHERED_OUTLINE = 1e-6  # value of a feathered matte just inside the outline: the feather lies inside it


def measure_mattes(frame: FaceFrame, *, params: MaskParams, strictness: float = 1.0) -> Plate:
    """Measures the mattes of one frame by itself (see `interface.MaskEngine`).

    They are not yet soft at the edge, and go on beyond the plate where the face does. The metadata holds the texture of
    the skin.

    Args:
        frame: The target's frame, or a view of the source.
        params: The stage's parameters.
        strictness: As for `occlusion.find_occluders`.

    Returns:
        matte.face, matte.hair, matte.mouth, matte.occlusion on the region, each 0..1.
    """
    target, face, region = frame.plate, frame.face, frame.region
    aspect = target.pixel_aspect
    display = frame.display
    width = warp_points.measure_face_width(face.landmarks, aspect)
    inside = mark_plate_area(target, region)
    hull = draw_hull(face, region, aspect, params.forehead)
    mouth = draw_mouth(face, region, width, aspect)

    # Colours are compared on a small raster of square pixels.
    sight = make_face_raster(display, face, hull, inside, region, aspect)
    glasses = detect_glasses(sight) if frame.wears_glasses is None else float(frame.wears_glasses)
    frames = None
    if params.keep_glasses:
        frames, glasses = draw_kept_glasses(frame, display, glasses)
    # Rims that are not sure are objects like others, and so are the arms then.
    is_replaced = not params.keep_glasses
    found = find_stems(sight, glasses) if is_replaced or (frames is not None and frames.any()) else None
    other, above = find_occluders(sight, None if found is None else found.matte, strictness)
    stems = None if found is None else found.resize(region)
    vertices = face.get_mesh(aspect)[:, :2]
    if params.beard == "replace":
        small = _to_raster(vertices, region, sight.window)
        zone = draw_beard_zone(small, sight.window, sight.face_width)
        other = other * (1 - np.float32(measure_beard(other, small, sight.outline)) * zone)
    radius = max(MIN_GUIDE_RADIUS, round(GUIDE_RADIUS * sight.face_width))
    other = apply_guided_filter(other, sight.rgb, np.clip(display, 0, 1), radius, GUIDE_EPSILON)
    above = np.asarray(cv2.resize(above, (region.width, region.height), interpolation=cv2.INTER_LINEAR))

    # Behind the head, anything is unlike skin.
    near = cv2.GaussianBlur(hull, (0, 0), max(1.0, NEAR_SIGMA * width)) > NEAR_LIMIT
    hair = np.clip(other * above, 0, 1) * inside * near
    occlusion = np.clip(other * (1 - above), 0, 1) * hull
    narrow = {}
    if stems is not None:
        hair, occlusion = hair * (1 - stems.matte), occlusion * (1 - stems.matte)
        narrow = {MATTE_STEMS: stems.matte} if is_replaced else {}
    matte = hull * (1 - params.refine * hair) * (1 - params.occlusions * occlusion)
    if frames is not None:
        kept = (frames if stems is None else np.maximum(frames, stems.matte)) * hull
        narrow, occlusion = {MATTE_GLASSES: kept}, np.maximum(occlusion, kept)
    if params.beard == "keep":
        matte = matte * (1 - draw_beard_zone(vertices, region, width))
    mattes, channels = [matte, hair, mouth, occlusion, *narrow.values()], (*MATTES, *narrow)
    measured = Plate(stack_planes(mattes), channels, region, target.display_window, aspect)
    if params.hands:
        measured = add_hands(measured, measure_hand_mattes(frame, display, hull), hull, params.occlusions)
    return add_texture(frame, measured, display)


def draw_kept_glasses(frame: FaceFrame, display: Image, glasses: float) -> tuple[Matte | None, float]:
    """Draw the frames of glasses, and lenses that hide the eyes.

    Args:
        frame: One frame by itself.
        display: Display-like picture of the region.
        glasses: How surely it wears some, 0..1.

    Returns:
        The matte on the region, None if there are none; and how surely there are some, now that the lenses are known.
    """
    landmarks, region, aspect = frame.face.landmarks, frame.region, frame.pixel_aspect
    lenses = draw_dark_lenses(display, landmarks, region, aspect)
    if lenses is None and glasses <= 0:
        return None, glasses
    if lenses is None:
        return draw_glasses(display, landmarks, region, aspect, glasses, bool(frame.wears_glasses)), glasses
    return np.maximum(lenses, draw_glasses(display, landmarks, region, aspect, 1.0, True)), 1.0


def measure_glasses(frame: FaceFrame, params: MaskParams) -> float:
    """Measure how surely a face wears glasses, 0..1: by the clip, or else by the frame (`glasses.detect_glasses`)."""
    if frame.wears_glasses is not None:
        return float(frame.wears_glasses)
    hull = draw_hull(frame.face, frame.region, frame.pixel_aspect, params.forehead)
    inside = mark_plate_area(frame.plate, frame.region)
    return detect_glasses(make_face_raster(frame.display, frame.face, hull, inside, frame.region, frame.pixel_aspect))


def add_texture(frame: FaceFrame, measured: Plate, display: Image) -> Plate:
    """Add the face's texture to the metadata of its measured mattes, and the picture's luma as a channel of them."""
    aspect, mesh = frame.pixel_aspect, frame.face.get_mesh(frame.pixel_aspect)
    near = find_used_window(measured.get_matte(MATTE_FACE), frame.region, TEXTURE_REACH)
    shown, part = display[compute_slices(near, frame.region)], measured.crop(near)
    face = part.get_matte(MATTE_FACE) * (1 - part.get_matte(MATTE_MOUTH)) * (1 - draw_eyes(mesh, near))
    plain = draw_plain_skin(measure_surface(mesh, near, aspect, frame.region), shown.shape[:2])
    texture = measure_texture(shown, face * mark_plate_area(frame.plate, near), plain)
    luma = np.asarray(display @ LUMA_WEIGHTS, np.float32)
    pixels = stack_planes([measured.pixels, luma])
    measured = replace(measured, pixels=pixels, channels=(*measured.channels, LUMA))
    return measured.with_metadata(**{META_TEXTURE: format_texture(texture)})


def measure_changing_grains(neighbours: Sequence[tuple[Face, Plate]], aspect: float) -> list[tuple[float, ...]]:
    """Measure the grain between each frame and the next one (`plate_match.measure_changing_grain`).

    Args:
        neighbours: Face and measured mattes of frames.
        aspect: Width of the plate's pixels over their height.
    """
    known = sorted((one for one in neighbours if LUMA in one[1].channels), key=lambda one: one[0].frame)
    return [
        _measure_grain_between(now, other, face, other_face, aspect)
        for (face, now), (other_face, other) in pairwise(known)
    ]


@remember_with_both  # several frames ask for the same pair
def _measure_grain_between(now: Plate, other: Plate, face: Face, other_face: Face, aspect: float) -> tuple[float, ...]:
    """The grain between the measured mattes of two frames, on the part that shows the face in the first one."""
    names = (LUMA, MATTE_FACE, MATTE_MOUTH)
    near = find_used_window(now.get_matte(MATTE_FACE), now.data_window, TEXTURE_REACH)
    if near.empty:
        return ()
    moved = _carry_mattes(_select_channels(other, names), other_face, face, near, aspect, cv2.INTER_NEAREST)
    own = _select_channels(now.crop(near), names).pixels
    weight = np.minimum(own[..., 1], moved[..., 1]) * (1 - np.maximum(own[..., 2], moved[..., 2]))
    return measure_changing_grain(own[..., 0], moved[..., 0], weight)


def measure_hand_cover(frame: FaceFrame) -> float:
    """Measure the share of a face that hands cover, 0..1, in one frame by itself."""
    hull = draw_hull(frame.face, frame.region, frame.pixel_aspect, 0.0) * mark_plate_area(frame.plate, frame.region)
    hands = measure_hand_mattes(frame, to_display(frame.plate, frame.region, frame.codec), hull)
    return float((merge_hands(hands, hull) * hull).sum() / max(float(hull.sum()), 1.0))


def draw_hull(face: Face, region: Window, aspect: float, forehead: float) -> Matte:
    """Draw where a face must be: the convex hull of its mesh, and its forehead up to the hairline.

    Args:
        face: Plate coordinates.
        region: The part of the plate to draw on.
        aspect: Width of the plate's pixels over their height.
        forehead: How much of it counts: 1 up to the hairline, 0 up to the brows.
    """
    top = BROW_LINE + max(forehead, 0.0) * (warp_points.HAIRLINE[:, 1].min() - BROW_LINE)
    vertices = face.get_mesh(aspect)[:SKIN_COUNT][CANONICAL[:SKIN_COUNT, 1] >= min(top, BROW_TOP), :2]
    hairline = warp_points.locate_forehead(face.landmarks, aspect, forehead)[0]
    return draw_convex_hull(np.vstack([vertices, hairline]), region)


def draw_forehead(face: Face, region: Window, aspect: float) -> Matte:
    """Draw what lies above both brows, in the head's own direction; arguments as for `draw_hull`."""
    roll = np.radians(face.euler[2])
    up = np.array([np.sin(roll) * aspect, -np.cos(roll)]) / warp_points.measure_face_width(face.landmarks, aspect)
    x, y = np.arange(region.x, region.right), np.arange(region.y, region.bottom)
    height = up[0] * x[None] + up[1] * y[:, None] - (face.landmarks[BROWS] @ up).max()
    return np.asarray(ease_between(height, *FOREHEAD_RISE), np.float32)


def draw_mouth(face: Face, region: Window, width: float, aspect: float = 1.0) -> Matte:
    """Draw the inner mouth.

    Args:
        face: Plate coordinates.
        region: The part of the plate to draw on.
        width: Of the face, in square pixels.
        aspect: Width of the plate's pixels over their height.
    """
    return draw_polygon(face.get_mesh(aspect)[list(INNER_LIPS), :2], region, MOUTH_SOFTNESS * width)


def draw_eyes(mesh: Mesh, region: Window) -> Matte:
    """Draw the openings between the lids.

    Args:
        mesh: (478, 3), plate coordinates.
        region: The part of the plate to draw on.
    """
    return np.maximum(*(draw_polygon(mesh[list(lids), :2], region) for lids in (LIDS_R, LIDS_L)))


@remember_with  # mask and inpaint look at the same one
def make_face_raster(
    display: Image, face: Face, hull: Matte, inside: Matte, region: Window, aspect: float
) -> FaceRaster:
    """Resample a face to a small raster of square pixels, on which its colours are compared.

    Args:
        display: Display-like picture of `region`.
        face: Plate coordinates.
        hull: `draw_hull`.
        inside: Where the plate has pixels.
        region: The part of the plate that the arrays cover.
        aspect: Width of the plate's pixels over their height.
    """
    width = warp_points.measure_face_width(face.landmarks, aspect)
    scale = min(MAX_ENLARGEMENT, WORKING_WIDTH / width)
    size = (
        max(MIN_RASTER_SIDE, round(region.width * aspect * scale)),
        max(MIN_RASTER_SIDE, round(region.height * scale)),
    )
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    rgb = cv2.resize(np.clip(display, 0, 1), size, interpolation=interpolation)
    points = _to_raster(face.landmarks, region, Window(0, 0, *size))
    roll = np.radians(face.euler[2])
    return FaceRaster(
        np.asarray(rgb),
        points,
        width * scale,
        np.asarray(cv2.resize(hull, size, interpolation=interpolation)),
        np.array([np.sin(roll), -np.cos(roll)]),
        cv2.resize(inside, size, interpolation=interpolation) > FULLY_INSIDE,
    )


def _to_raster(points: Points, region: Window, raster: Window) -> Points:
    """Plate coordinates as pixels of a raster that covers the region."""
    factors = np.array([raster.width / region.width, raster.height / region.height])
    return np.asarray((points - (region.x, region.y) + 0.5) * factors - 0.5)


def combine_mattes(frame: FaceFrame, *, neighbours: Sequence[tuple[Face, Plate]], params: MaskParams) -> Plate:
    """Combines the measured mattes of neighbouring frames to the mask of one frame (see `interface.MaskEngine`).

    Each is carried to where the face is now. They are averaged, nearer frames more; then the matte is grown or shrunk
    and softened.
    """
    mattes = average_mattes(frame, neighbours, params, (*MATTES, MATTE_STEMS, MATTE_GLASSES))
    return finish_mask(frame, put_hands_in_front(frame, mattes, neighbours, params), neighbours, params)


def put_hands_in_front(
    frame: FaceFrame, mattes: Mapping[str, Matte], neighbours: Sequence[tuple[Face, Plate]], params: MaskParams
) -> Mapping[str, Matte]:
    """Put the hands that a frame and its neighbours show in front of the averaged mattes."""
    weights = [_compute_time_weight(face, frame.face, params.smooth) for face, _ in neighbours]
    hands = combine_hands(frame, neighbours, weights)
    if hands is None:
        return mattes
    hull = draw_hull(frame.face, frame.region, frame.pixel_aspect, params.forehead)
    return cover_by_hands(mattes, hands, hull, params.occlusions)


def average_mattes(
    frame: FaceFrame, neighbours: Sequence[tuple[Face, Plate]], params: MaskParams, names: Sequence[str]
) -> dict[str, Matte]:
    """Average what was measured of neighbouring frames, moved to where the face is now; nearer frames count more.

    Hands are left out: they do not move with the face (`put_hands_in_front`).

    Args:
        frame: The frame.
        neighbours: Face and measured mattes, this frame's among them.
        params: Settings of the mask stage.
        names: Channels to average. One that some frames lack is 0 there; one that all lack is left out.

    Returns:
        The mattes on the region.
    """
    without_hands = [(face, remove_hands(measured)) for face, measured in neighbours]
    known = [name for name in names if any(name in measured.channels for _, measured in without_hands)]
    shares = [
        1.0 if params.as_published else _compute_time_weight(face, frame.face, params.smooth) for face, _ in neighbours
    ]
    averages: dict[str, Matte] = {}
    for first in range(0, len(known), CHANNELS_AT_ONCE):
        group = known[first : first + CHANNELS_AT_ONCE]
        total = np.zeros((frame.region.height, frame.region.width, len(group)), np.float32)
        for (face, measured), share in zip(without_hands, shares, strict=True):
            own = _select_channels(measured, group)
            carried = _carry_mattes(own, face, frame.face, frame.region, frame.pixel_aspect)
            total += np.float32(share / max(sum(shares), 1e-6)) * carried.reshape(total.shape)
        averages.update(zip(group, map(np.asarray, cv2.split(total)), strict=True))
    return averages


def _select_channels(plate: Plate, names: Sequence[str]) -> Plate:
    """The channels of these names; one that the plate lacks is 0."""
    return replace(plate, pixels=plate.get_known(*names), channels=tuple(names))


def _compute_time_weight(other: Face, face: Face, smooth: int) -> float:
    """How much another frame counts. smooth: as the parameter `mask.smooth`."""
    return float(np.exp(-0.5 * ((other.frame - face.frame) / max(TIME_SIGMA * smooth, MIN_TIME_SIGMA)) ** 2))


def finish_mask(
    frame: FaceFrame, mattes: Mapping[str, Matte], neighbours: Sequence[tuple[Face, Plate]], params: MaskParams
) -> Plate:
    """Make the mask from its mattes at one moment: size, soft edge, mouth, the plate's edge and hold-out."""
    inside, region, holdout = frame.plate, frame.region, frame.holdout
    width = warp_points.measure_face_width(frame.face.landmarks, inside.pixel_aspect)
    matte = mattes[MATTE_FACE]
    if not params.mouth:
        matte = matte * (1 - mattes[MATTE_MOUTH])
    matte = grow_and_feather(matte, params.size, params.feather * width, inside.pixel_aspect)
    if not params.as_published:  # the published erosion counts the face beyond the plate, too
        matte = matte * mark_plate_area(inside, region)
    if MATTE_STEMS in mattes:  # narrow things beside the face, which a feather would leave half
        matte = np.maximum(matte, mattes[MATTE_STEMS] * (1 - mattes[MATTE_OCCLUSION]) * mark_plate_area(inside, region))
    if MATTE_GLASSES in mattes:  # through the lenses the face shows up to the frame
        matte = matte * (1 - params.occlusions * mattes[MATTE_GLASSES])
    if holdout is not None:
        matte = matte * (1 - clip01(holdout))
    texture = average_textures([read_texture(measured) for _, measured in neighbours])
    if not params.as_published:
        texture = add_changing_grain(texture, measure_changing_grains(neighbours, inside.pixel_aspect))
    metadata = {META_TEXTURE: format_texture(texture)}
    if params.feather * width > MIN_FEATHER:
        metadata[META_OUTLINE] = OUTLINE_AT_EDGE
    pixels = stack_planes([{**mattes, MATTE_FACE: matte}[name] for name in MATTES])
    return Plate(pixels, MATTES, region, inside.display_window, inside.pixel_aspect, metadata)


def extract_outline(mattes: Plate) -> Matte:
    """Extract the outline of the face from a mask, whatever its feather: 1 inside, 0 outside.

    A mask of another program, which does not say where its outline is, has it at a half.
    """
    level = FEATHERED_OUTLINE if mattes.metadata.get(META_OUTLINE) == OUTLINE_AT_EDGE else HALF_COVERED
    return np.asarray(clip01(mattes.get_matte(MATTE_FACE)) >= level, np.float32)


def format_texture(texture: Sequence[float]) -> str:
    """Format a texture for metadata, so that every number can be read back exactly.

    >>> format_texture([0.5, 0.25])
    '0.5 0.25'
    """
    return " ".join(repr(float(value)) for value in texture)


def read_texture(mattes: Plate) -> tuple[float, ...]:
    """Read the plate's texture from a mask's metadata; () if there is none."""
    return tuple(float(value) for value in str(mattes.metadata.get(META_TEXTURE, "")).split())


def _carry_mattes(
    measured: Plate, old: Face, new: Face, region: Window, aspect: float, interpolation: int = cv2.INTER_LINEAR
) -> Image:
    """The mattes of one frame moved, turned and scaled as the face was, on another frame's region."""
    if old.frame == new.frame and measured.data_window == region:
        return measured.pixels
    scale = (aspect, 1.0)
    move = fit_similarity(
        new.landmarks[warp_points.BROWS_TO_MOUTH] * scale, old.landmarks[warp_points.BROWS_TO_MOUTH] * scale
    )
    return move_picture(measured.pixels, measured.data_window, move, region, aspect, interpolation)
