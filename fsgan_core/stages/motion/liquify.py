"""The picture of a drive: the plate's own frame, moved to the new expression.

Patches from other frames supply what that frame does not show. Whatever is in front of the face (a hand, a microphone)
is removed before the face moves, and put back where it was. Glasses move with the face: when they were held in place,
thin rims broke where a lid or a brow moved behind them.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from fsgan_core.contract.landmarks import JAW, MOUTH_INNER
from fsgan_core.contract.layers import CONFIDENCE, MATTE_FACE, MATTE_OCCLUSION, MATTES, RGBA, ST_U, ST_V
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.runtime.arrays import Image, IndexArray, Matte, PointMap, Vector
from fsgan_core.stages import warp_points
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.drive import DrivenFrame, Patch
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    blur_weighted,
    draw_polygon,
    ease_between,
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
from fsgan_core.stages.occluders.reconstruction import reconstruct_by_dilation
from fsgan_core.stages.skin.atlas import push_pull
from fsgan_core.stages.warp import fit_spline_map

STILL_PIXELS = 1 / 64  # pixels: what moves less is the plate itself
MOTION_SOFTNESS = 0.25  # pixels of motion beyond that, over which the matte rises to 1
COVER_SOFTNESS = 0.05  # weight of a patch at which the matte is 1

# What is in front of the face.
OCCLUDER_DEPTH = 14.0  # mm that it reaches into the face
OCCLUDER_THICKNESS = 15.0  # mm: what is thinner is no hand
OUTLINE_INSET = 2.0  # mm inside the face's outline: from here on a matte is not soft
COVERED_OCCLUSION = 0.1  # matte value of what is removed

# Patches.
PATCH_INNER, PATCH_OUTER = 1.5, 8.0  # mm around a mouth or an eye: where a patch is whole, and where it ends
INNER_MOUTH_INSET, INNER_MOUTH_SOFTNESS = 0.2, 1.0  # mm inside the lips
PATCH_MARGIN = 6  # mm around a patch that are warped too
PATCH_RIM_SOFTNESS = 0.5  # mm
PATCH_LIGHT = 8.0  # mm: shading coarser than this is matched
PATCH_GAIN_LIMIT = 2.0
LIGHT_FLOOR = 0.02  # display value added before light is divided by light


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
    front = _find_front_occluders(measured.get_matte(MATTE_OCCLUSION), driven, region, aspect)
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
    front = _find_front_occluders(mattes.get_matte(MATTE_OCCLUSION), driven, region, aspect)
    face = _compute_moved_matte(compute_face_motion(driven, region, aspect), driven, region, aspect)
    face = face * (1 - np.float32(params.occlusions) * front) * mark_plate_area(target, region)
    if holdout is not None:
        face = face * (1 - np.clip(np.nan_to_num(holdout), 0, 1))
    pixels = mattes.pixels.copy()
    pixels[..., mattes.channels.index(MATTE_FACE)] = face
    return Plate(pixels, MATTES, region, mattes.display_window, aspect, mattes.metadata)


def _compute_moved_matte(moves: LayeredMotion, driven: DrivenFrame, region: Window, aspect: float) -> Matte:
    """Where the picture differs from the plate."""
    length = np.linalg.norm(moves.motion, axis=-1)
    for layers in moves.layers:
        for layer in layers:
            box = length[layer.box]
            np.maximum(box, np.where(layer.weight > 0, np.linalg.norm(layer.motion, axis=-1), 0), out=box)
    support = np.zeros(length.shape, np.float32)
    if (length > STILL_PIXELS).any():
        near = cv2.dilate(length, np.ones((5, 5), np.uint8))  # where opposite moves meet, a pixel may stand still
        support = smoothstep((near - STILL_PIXELS) / MOTION_SOFTNESS).astype(np.float32)
    for patch in driven.patches:
        cover = np.float32(patch.weight) * _draw_patch_matte(patch.part, driven, region, aspect)
        support = np.maximum(support, smoothstep(cover / COVER_SOFTNESS).astype(np.float32))
    return support


# What is in front.


def _find_front_occluders(occlusion: Matte, driven: DrivenFrame, region: Window, aspect: float) -> Matte:
    """What is in front of the face and stays where it is when the face moves.

    That is what of `occlusion` reaches deep into the face and is thick: a hand or a microphone; not the background at
    the jaw's edge, a strand of hair or make-up. If the head is turned nothing counts: most of what is found then is
    hair and glasses, which turn with it.
    """
    if any(driven.head_turn):
        return np.zeros_like(occlusion)
    landmarks = driven.face.landmarks
    scale = fit_head_pose(landmarks, aspect).scale
    face = draw_polygon(np.vstack([landmarks[JAW], warp_points.locate_forehead(landmarks, aspect)[0][::-1]]), region)
    inward = measure_signed_distance(face) / scale
    side = max(3, round(OCCLUDER_THICKNESS * scale))
    thick = cv2.morphologyEx(occlusion, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    is_hand = (inward > OCCLUDER_DEPTH) & (np.minimum(occlusion, thick) > HALF_COVERED)
    front = np.where(is_hand, occlusion, 0).astype(np.float32)
    if front.any():
        front = reconstruct_by_dilation(front, occlusion)
        # Nothing is known of it beyond the face, so it is continued outwards.
        nearest = distance_transform_edt(inward < OUTLINE_INSET, return_distances=False, return_indices=True)
        front = front[nearest[0], nearest[1]]
    return front


def _remove_occluders(display: Image, front: Matte) -> Image:
    """`display` without what is in front; the face is continued there."""
    covered = cv2.dilate(front, np.ones((5, 5), np.uint8)) > COVERED_OCCLUSION
    if not covered.any() or covered.all():
        return display
    return push_pull(display, (~covered).astype(np.float32))


# Patches.


def _draw_patch_matte(part: str, driven: DrivenFrame, region: Window, aspect: float) -> Matte:
    """Where a patch covers, soft at its edge."""
    landmarks = driven.goal_face.landmarks
    scale = fit_head_pose(driven.face.landmarks, aspect).scale
    if part == "inner mouth":
        rim = measure_signed_distance(draw_polygon(landmarks[MOUTH_INNER], region)) / scale
        return smoothstep((rim - INNER_MOUTH_INSET) / INNER_MOUTH_SOFTNESS).astype(np.float32)
    matte = np.zeros((region.height, region.width), np.float32)
    for opening in (MOUTH_OPENING,) if part == "mouth" else (RIGHT_EYE_OPENING, LEFT_EYE_OPENING):
        rim = find_convex_hull(landmarks[list(opening.rim)])
        distance = -measure_signed_distance(draw_polygon(rim, region)) / scale
        matte = np.maximum(matte, ease_between(distance, PATCH_OUTER, PATCH_INNER).astype(np.float32))
    return matte


def _warp_patch(
    view: SourceView, patch: Patch, driven: DrivenFrame, region: Window, picture: Image, aspect: float
) -> Image:
    """The view warped to the goal face, in the light of `picture` where the two meet."""
    goal, own = driven.goal_face.landmarks, view.face.landmarks
    scale = fit_head_pose(driven.face.landmarks, aspect).scale
    cover = _draw_patch_matte("mouth" if patch.part == "inner mouth" else patch.part, driven, region, aspect)
    rows, columns = np.nonzero(cover > 0)
    if not len(rows):
        return picture
    reach = round((PATCH_OUTER + PATCH_MARGIN) * scale)
    everything = Window(0, 0, region.width, region.height)
    part = Window(
        int(columns.min()) - reach,
        int(rows.min()) - reach,
        int(np.ptp(columns)) + 1 + 2 * reach,
        int(np.ptp(rows)) + 1 + 2 * reach,
    ).intersect(everything)
    place = Window(part.x + region.x, part.y + region.y, part.width, part.height)

    def evaluate_spline(used: IndexArray, stiffness: Vector) -> PointMap:
        return fit_spline_map(goal[used], own[used], place, stiffness[used]) - make_pixel_grid(place)

    moves = build_layered_motion(evaluate_spline, own, goal, place, aspect, scale)
    shown = render_motion(view.display, moves, (place.x - view.window.x, place.y - view.window.y))
    result = picture.copy()
    box = compute_slices(part, everything)
    result[box] = _relight_patch(shown, picture[box], patch, driven, place, scale, cover[box])
    return result


def _relight_patch(
    shown: Image,
    picture: Image,
    patch: Patch,
    driven: DrivenFrame,
    place: Window,
    scale: float,
    cover: Matte,
) -> Image:
    """A patch in the light of the picture around it. cover: 1 on lips or eyes, falling off around them."""
    landmarks = driven.goal_face.landmarks
    skin = cover.copy()
    for opening in (MOUTH_OPENING, RIGHT_EYE_OPENING, LEFT_EYE_OPENING):
        skin *= 1 - draw_polygon(find_convex_hull(landmarks[list(opening.rim)]), place, PATCH_RIM_SOFTNESS * scale)
    if patch.part == "inner mouth":  # of another person: only the brightness of the skin can be compared
        patch_light, picture_light = (
            float((np.maximum(values, 0) * skin[..., None]).sum((0, 1)) @ LUMA_WEIGHTS) + 1e-3
            for values in (shown, picture)
        )
        return np.asarray(
            shown * np.float32(np.clip(picture_light / patch_light, 1 / PATCH_GAIN_LIMIT, PATCH_GAIN_LIMIT))
        )
    sigma = PATCH_LIGHT * scale
    light = blur_weighted(np.maximum(picture, 0), skin, sigma) + LIGHT_FLOOR
    present = blur_weighted(np.maximum(shown, 0), skin, sigma) + LIGHT_FLOOR
    gain = np.clip(light / present, 1 / PATCH_GAIN_LIMIT, PATCH_GAIN_LIMIT)
    return np.asarray((shown + LIGHT_FLOOR) * gain - LIGHT_FLOOR)
