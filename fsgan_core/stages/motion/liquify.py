"""The picture of a drive: the plate's own frame, moved where the expression asks for it, and in place of what that
frame does not show, patches from other frames.

What stands in front of the face (a hand, a microphone, glasses with mask.keep_glasses) is taken out before the face
moves, so that nothing of it is dragged along, and stays where it is in the result.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.morphology import reconstruction

from fsgan_core.contract.landmarks import JAW, MOUTH_INNER
from fsgan_core.contract.layers import CONFIDENCE, MATTE_FACE, MATTE_OCCLUSION, MATTES, RGBA, ST_U, ST_V
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.stages import warp_points
from fsgan_core.stages.drive import DrivenFrame, Patch
from fsgan_core.stages.image_ops import (
    blur_weighted,
    draw_polygon,
    fill_nonfinite,
    mark_plate_area,
    measure_signed_distance,
    pad_plate,
    premultiply,
    smoothstep,
)
from fsgan_core.stages.interface import FaceFrame, SourceView
from fsgan_core.stages.motion.face_motion import (
    LEFT_EYE_OPENING,
    MOUTH_OPENING,
    RIGHT_EYE_OPENING,
    LayeredMotion,
    build_layered_motion,
    compute_face_motion,
    find_convex_hull,
    make_pixel_grid,
    render_motion,
)
from fsgan_core.stages.views import ViewRef
from fsgan_core.stages.warp import fit_spline_map

STILL_PIXELS = 1 / 64  # pixels: what moves less is the plate itself
OCCLUDER_DEPTH = 14.0  # mm: what stands in front of the face reaches this far into it
OCCLUDER_THICKNESS, FRAME_THICKNESS = (
    15.0,
    8.0,
)  # mm: what is thinner is no hand; what is thicker is no frame of glasses
BROW_RADIUS = 1.5  # mm around its landmarks
OUTLINE_INSET = 2.0  # mm inside the face's outline from which on a matte is not soft any more
FEATURE_REACH = 5.0  # mm around eyes and brows: what unlike skin is found there alone belongs to them
PATCH_INNER, PATCH_OUTER = 1.5, 8.0  # mm around a mouth or an eye: whole and end of what another frame gives
PATCH_LIGHT = 8.0  # mm: how finely a patch takes the light of its surroundings
PATCH_GAIN_LIMIT = 2.0


def drive_picture(
    frame: FaceFrame,
    *,
    driven: DrivenFrame,
    measured: Plate,
    views: Mapping[ViewRef, SourceView],
    params: MaskParams,
) -> Plate:
    """Renders the driven face (see `interface.DriveEngine`).

    A is 1 everywhere; st.u and st.v point into the plate's own frame. Pixels that do not move and are under no patch
    are the plate's own values. The faces of `views` are corrected ones (`performance.correct_performer`).
    """
    target, region, codec, holdout = frame.plate, frame.region, frame.codec, frame.holdout
    aspect = target.pixel_aspect
    own = pad_plate(target, region)
    display = codec.encode(own)
    front = _find_front_occluders(measured.get_matte(MATTE_OCCLUSION), driven, region, aspect, params.keep_glasses)
    front = np.float32(params.occlusions) * front
    if holdout is not None:
        front = np.maximum(front, np.clip(np.nan_to_num(holdout), 0, 1))
    moves = compute_face_motion(driven, region, aspect, display)
    matte = _compute_moved_matte(moves, driven, region, aspect)
    picture = render_motion(_remove_occluders(display, front), moves) if moves.layers else display
    borrowed = np.zeros(matte.shape, np.float32)
    for patch in driven.patches:
        cover = np.float32(patch.weight) * _draw_patch_matte(patch.part, driven, region, aspect)
        shown = _warp_patch(views[patch.view], patch, driven, region, picture, aspect)
        picture = picture + cover[..., None] * (shown - picture)
        borrowed = np.maximum(borrowed, cover)
    rgb = np.where(matte[..., None] > 0, codec.decode(picture), own)
    window = target.data_window
    place = make_pixel_grid(region) + moves.motion - (window.x, window.y) + np.float32(0.5)
    u, v = place[..., 0] / window.width, 1 - place[..., 1] / window.height
    confidence = np.float32(driven.face.confidence) * (1 - np.float32(0.5) * borrowed)
    pixels = np.dstack([premultiply(rgb, np.ones_like(matte)), u, v, confidence]).astype(np.float32)
    return Plate(pixels, (*RGBA, ST_U, ST_V, CONFIDENCE), region, target.display_window, aspect)


def drive_mattes(frame: FaceFrame, *, driven: DrivenFrame, mattes: Plate, params: MaskParams) -> Plate:
    """Puts matte.face where the picture moves (see `interface.DriveEngine`).

    That is where the old or the new face is and nothing stands in front of it.
    """
    target, region, holdout = frame.plate, frame.region, frame.holdout
    aspect = target.pixel_aspect
    front = _find_front_occluders(mattes.get_matte(MATTE_OCCLUSION), driven, region, aspect, params.keep_glasses)
    face = _compute_moved_matte(compute_face_motion(driven, region, aspect), driven, region, aspect)
    face = face * (1 - np.float32(params.occlusions) * front) * mark_plate_area(target, region)
    if holdout is not None:
        face = face * (1 - np.clip(np.nan_to_num(holdout), 0, 1))
    pixels = mattes.pixels.copy()
    pixels[..., mattes.channels.index(MATTE_FACE)] = face
    return Plate(pixels, MATTES, region, mattes.display_window, aspect, mattes.metadata)


def _compute_moved_matte(moves: LayeredMotion, driven: DrivenFrame, region: Window, aspect: float) -> np.ndarray:
    """float32 (h, w), 0..1: where the picture is not the plate's."""
    length = np.linalg.norm(moves.motion, axis=-1)
    for layers in moves.layers:
        for layer in layers:
            box = length[layer.box]
            np.maximum(box, np.where(layer.weight > 0, np.linalg.norm(layer.motion, axis=-1), 0), out=box)
    support = np.zeros(length.shape, np.float32)
    if (length > STILL_PIXELS).any():
        near = cv2.dilate(length, np.ones((5, 5), np.uint8))  # where opposite moves meet, a pixel may stand still
        support = smoothstep((near - STILL_PIXELS) / 0.25).astype(np.float32)
    for patch in driven.patches:
        cover = np.float32(patch.weight) * _draw_patch_matte(patch.part, driven, region, aspect)
        support = np.maximum(support, smoothstep(cover / 0.05).astype(np.float32))
    return support


# What stands in front.


def _find_front_occluders(
    occlusion: np.ndarray, driven: DrivenFrame, region: Window, aspect: float, glasses: bool
) -> np.ndarray:
    """What of `occlusion` is in front of the face and stays where it is when the face moves: what reaches deep into
    it and is thick, a hand or a microphone, not the background at a jaw's edge, a strand of hair, make-up; with
    `glasses` thin things too, unless they line eyes and brows. Nothing when the head is turned: then hair and glasses,
    which are most of what is found, go with it."""
    if any(driven.head_turn):
        return np.zeros_like(occlusion)
    landmarks = driven.face.landmarks
    scale = fit_head_pose(landmarks, aspect).scale
    face = draw_polygon(np.vstack([landmarks[JAW], warp_points.locate_forehead(landmarks, aspect)[0][::-1]]), region)
    inward = measure_signed_distance(face) / scale
    deep = np.where(inward > OCCLUDER_DEPTH, occlusion, 0).astype(np.float32)
    side = max(3, round((FRAME_THICKNESS if glasses else OCCLUDER_THICKNESS) * scale))
    thick = cv2.morphologyEx(occlusion, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    seed = deep if glasses else np.where(np.minimum(deep, thick) > 0.5, occlusion, 0).astype(np.float32)
    if not seed.any():
        return seed
    front = reconstruction(seed, occlusion).astype(np.float32)
    if not glasses:
        # Beyond the face nothing is known of it: it is taken to go on outwards, as far as anything moves.
        nearest = distance_transform_edt(inward < OUTLINE_INSET, return_distances=False, return_indices=True)
        return front[nearest[0], nearest[1]]

    def measure_distance(*parts: range) -> np.ndarray:
        matte = np.maximum.reduce([draw_polygon(find_convex_hull(landmarks[list(part)]), region) for part in parts])
        return -measure_signed_distance(matte) / scale

    brows = measure_distance(range(17, 22), range(22, 27))
    features = np.minimum(brows, measure_distance(range(36, 42), range(42, 48))) < FEATURE_REACH
    _, labels = cv2.connectedComponents((front > 0.1).astype(np.uint8))
    size = np.bincount(labels.ravel())
    inside = np.bincount(labels.ravel(), weights=features.ravel())
    front = front * ((labels == 0) | (inside < 0.6 * size)[labels])
    # A brow that touches a pair of glasses is no part of them.
    return np.where(brows < BROW_RADIUS, np.minimum(front, thick), front)


def _remove_occluders(display: np.ndarray, front: np.ndarray) -> np.ndarray:
    """`display` with what stands in front taken out and the face continued there."""
    covered = cv2.dilate(front, np.ones((5, 5), np.uint8)) > 0.1
    if not covered.any() or covered.all():
        return display
    return fill_nonfinite(np.where(covered[..., None], np.float32(np.nan), display))


# Patches.


def _draw_patch_matte(part: str, driven: DrivenFrame, region: Window, aspect: float) -> np.ndarray:
    """float32 (h, w): where a patch covers, soft at its edge."""
    landmarks = driven.goal_face.landmarks
    scale = fit_head_pose(driven.face.landmarks, aspect).scale
    if part == "inner mouth":
        rim = measure_signed_distance(draw_polygon(landmarks[MOUTH_INNER], region)) / scale
        return smoothstep((rim - 0.2) / 1.0).astype(np.float32)
    matte = np.zeros((region.height, region.width), np.float32)
    for opening in (MOUTH_OPENING,) if part == "mouth" else (RIGHT_EYE_OPENING, LEFT_EYE_OPENING):
        rim = find_convex_hull(landmarks[list(opening.rim)])
        distance = -measure_signed_distance(draw_polygon(rim, region)) / scale
        matte = np.maximum(matte, smoothstep((PATCH_OUTER - distance) / (PATCH_OUTER - PATCH_INNER)).astype(np.float32))
    return matte


def _warp_patch(
    view: SourceView, patch: Patch, driven: DrivenFrame, region: Window, picture: np.ndarray, aspect: float
) -> np.ndarray:
    """The view warped to the wanted face, in the light of `picture` where the two meet."""
    wanted, own = driven.goal_face.landmarks, view.face.landmarks
    scale = fit_head_pose(driven.face.landmarks, aspect).scale
    cover = _draw_patch_matte("mouth" if patch.part == "inner mouth" else patch.part, driven, region, aspect)
    rows, columns = np.nonzero(cover > 0)
    if not len(rows):
        return picture
    reach = round((PATCH_OUTER + 6) * scale)
    everything = Window(0, 0, region.width, region.height)
    part = Window(
        int(columns.min()) - reach,
        int(rows.min()) - reach,
        int(np.ptp(columns)) + 1 + 2 * reach,
        int(np.ptp(rows)) + 1 + 2 * reach,
    ).intersect(everything)
    place = Window(part.x + region.x, part.y + region.y, part.width, part.height)

    def evaluate_spline(used: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
        return fit_spline_map(wanted[used], own[used], place, stiffness[used]) - make_pixel_grid(place)

    moves = build_layered_motion(evaluate_spline, own, wanted, place, aspect, scale)
    shown = render_motion(view.display, moves, (place.x - view.window.x, place.y - view.window.y))
    result = picture.copy()
    box = compute_slices(part, everything)
    result[box] = _relight_patch(shown, picture[box], patch, driven, place, scale, cover[box])
    return result


def _relight_patch(
    shown: np.ndarray,
    picture: np.ndarray,
    patch: Patch,
    driven: DrivenFrame,
    place: Window,
    scale: float,
    cover: np.ndarray,
) -> np.ndarray:
    """A patch in the light of the picture around it. cover: 1 on lips or eyes, falling off around them."""
    landmarks = driven.goal_face.landmarks
    skin = cover.copy()
    for opening in (MOUTH_OPENING, RIGHT_EYE_OPENING, LEFT_EYE_OPENING):
        skin *= 1 - draw_polygon(find_convex_hull(landmarks[list(opening.rim)]), place, 0.5 * scale)
    if patch.part == "inner mouth":  # somebody else's: the skin's brightness says something, its colour nothing
        own, wanted = (
            float((np.maximum(values, 0) * skin[..., None]).sum((0, 1)) @ LUMA_WEIGHTS) + 1e-3
            for values in (shown, picture)
        )
        return np.asarray(shown * np.float32(np.clip(wanted / own, 1 / PATCH_GAIN_LIMIT, PATCH_GAIN_LIMIT)))
    sigma = PATCH_LIGHT * scale
    light = blur_weighted(np.maximum(picture, 0), skin, sigma) + 0.02
    present = blur_weighted(np.maximum(shown, 0), skin, sigma) + 0.02
    gain = np.clip(light / present, 1 / PATCH_GAIN_LIMIT, PATCH_GAIN_LIMIT)
    return np.asarray((shown + 0.02) * gain - 0.02)
