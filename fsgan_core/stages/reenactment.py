"""Reenactment: the source's face in the target's pose and expression.

Engine `warp`: no network. Each chosen view is warped at the plate's own resolution so that its landmarks meet the
target's, and the views are put together by the weights of the plan (paper, section 3.2: three views of the appearance
map, barycentric). `likeness` moves the landmarks that are aimed at towards the source's own proportions, on the
target's head in its pose: a face that meets the target's landmarks exactly has the target's proportions, and looks
like neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.contract.landmarks import EYES, MOUTH_INNER
from fsgan_core.contract.layers import (
    CONFIDENCE,
    MATTE_FACE,
    MATTE_HAIR,
    MATTE_OCCLUSION,
    META_MOUTH,
    RGBA,
    ST_U,
    ST_V,
)
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.runtime.arrays import Points3D
from fsgan_core.stages import warp_points
from fsgan_core.stages.drive import DrivenFrame
from fsgan_core.stages.image_ops import draw_polygon, mark_plate_area, premultiply, smoothstep, to_display
from fsgan_core.stages.interface import FaceFrame, SourceView
from fsgan_core.stages.masking import measure_mattes
from fsgan_core.stages.motion.face_motion import compute_face_motion, make_pixel_grid, render_motion
from fsgan_core.stages.motion.lids import compute_blink_landmarks
from fsgan_core.stages.views import FramePlan, ViewRef
from fsgan_core.stages.warp import compute_cell_areas, fit_spline_map, sample_picture

DETAIL_SIZE = 0.06  # of the face: what is coarser than this is light, what is finer is detail
FOREIGN_EDGE = 0.035  # of the face: how near to hair or an occluder a view's skin is not trusted
VIEW_DOUBT = 8.0  # skin that is missed is filled from other views; hair that is taken for skin smears over the face
STRETCH_RANGE = (
    2.5,
    4.5,
)  # enlarged that much against the rest of the face a view begins to show nothing, and shows nothing
STREAK_RANGE = 1.4, 2.5  # enlarged that much up and down a lid shows streaks
STREAK_WIDTH = 0.02  # of the face: how wide they are
VIEW_MARGIN = 0.6  # of the face: how much around a source face is kept


def mirror_view(view: SourceView) -> SourceView:
    """The view flipped within its picture, left for right."""
    picture = view.display_window

    def flip_window(window: Window) -> Window:
        return replace(window, x=2 * picture.x + picture.width - window.x - window.width)

    return replace(
        view,
        display=np.ascontiguousarray(view.display[:, ::-1]),
        matte=np.ascontiguousarray(view.matte[:, ::-1]),
        window=flip_window(view.window),
        face=view.face.mirror(2 * picture.x + picture.width - 1),
        filled_window=None if view.filled_window is None else flip_window(view.filled_window),
        mirrored=not view.mirrored,
    )


def prepare_view(plate: Plate, face: Face, codec: Codec, mask: MaskParams, margin: float = VIEW_MARGIN) -> SourceView:
    """A view from a source plate (R, G, B in the codec's space) and the face in it. margin: of the face, how much
    around it is kept."""
    window = compute_region(face.box, margin, plate.pixel_aspect)
    mattes = measure_mattes(FaceFrame(plate, face, window, codec), params=mask, doubt=VIEW_DOUBT)
    # Strands and shadows at the edge of hair or of something in front would be taken for skin.
    foreign = np.maximum(mattes.get_matte(MATTE_HAIR), mattes.get_matte(MATTE_OCCLUSION))
    size = 2 * round(FOREIGN_EDGE * warp_points.measure_face_width(face.landmarks, plate.pixel_aspect)) + 1
    near = cv2.dilate(foreign, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    foreign = np.maximum(foreign, near * (1 - draw_features(face.landmarks, window)))  # a brow's end is not hair's edge
    matte = mattes.get_matte(MATTE_FACE) * (1 - np.clip(2 * foreign, 0, 1)) * mark_plate_area(plate, window)
    return SourceView(
        to_display(plate, window, codec),
        matte,
        window,
        plate.display_window,
        face,
        plate.pixel_aspect,
        plate.data_window,
    )


def reenact(
    frame: FaceFrame,
    *,
    plan: FramePlan,
    views: Mapping[ViewRef, SourceView],
    params: ReenactParams,
    likeness: Points3D | None = None,
    recognition: Points3D | None = None,
) -> Plate:
    """Warps the source's views to the target's landmarks and combines them (see `interface.ReenactEngine`).

    A is 1 where the views show skin of the source. The frame's plate gives the inner mouth where the plan keeps it.
    """
    target, face, region, codec = frame.plate, frame.face, frame.region, frame.codec
    aspect = target.pixel_aspect
    goal = compute_goal_landmarks(face, params, likeness, recognition, aspect)
    width = warp_points.measure_face_width(face.landmarks, aspect)

    by_view = warp_views(plan, [w.view for w in plan.views], views, face, goal, region, params.stiffness, aspect)
    warped = [(by_view[w.view], w) for w in plan.views]
    lead = max(warped, key=lambda pair: pair[1].detail)[0]
    picture = combine_views(
        [(w.picture, weight.light, weight.detail) for w, weight in warped], width * DETAIL_SIZE, aspect
    )
    alpha = sum(w.matte * weight.detail for w, weight in warped)
    alpha = np.clip(alpha, 0, 1).astype(np.float32)
    kept = 1 - plan.inner_mouth
    if kept > 0:
        own = kept * draw_kept_mouth(face, region, width)
        picture = picture + own[..., None] * (to_display(target, region, codec) - picture)
        alpha = np.maximum(alpha, own)
    return make_reenacted_plate(codec.decode(picture), alpha, lead, face, region, target, kept)


def smooth_streaks(picture: np.ndarray, motion: np.ndarray, roll: float, sigma: float, aspect: float) -> np.ndarray:
    """`picture` (h, w, 3), smoothed along the eyes by `sigma` rows where `motion` (h, w, 2) draws a strip of lid over a
    whole eye, which would show as streaks down to the lashes. roll: degrees."""
    stretch = 1 / np.maximum(np.abs(1 + np.gradient(motion[..., 1], axis=0)), 0.1)
    share = smoothstep((stretch - STREAK_RANGE[0]) / (STREAK_RANGE[1] - STREAK_RANGE[0])).astype(np.float32)
    if not share.any():
        return picture
    reach = max(1, round(3 * sigma / min(aspect, 1.0)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * np.array([1.0, aspect])[:, None, None]
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    along, across = cos * x + sin * y, cos * y - sin * x
    kernel = np.exp(-0.5 * ((along / max(sigma, 0.3)) ** 2 + (across / 0.5) ** 2))
    smooth = cv2.filter2D(picture, -1, (kernel / kernel.sum()).astype(np.float32), borderType=cv2.BORDER_REPLICATE)
    return picture + cv2.GaussianBlur(share, (0, 0), 1.0)[..., None] * (smooth - picture)


def compute_goal_landmarks(
    face: Face, params: ReenactParams, likeness: np.ndarray | None, recognition: np.ndarray | None, aspect: float
) -> np.ndarray:
    """(68, 2) the landmarks that the new face shall meet: the target's, moved towards the source's proportions and to
    where the source is recognised."""
    moves = [
        amount * change
        for amount, change in ((params.likeness, likeness), (params.recognition, recognition))
        if change is not None and amount > 0
    ]
    return warp_points.displace_landmarks(face.landmarks, np.sum(moves, axis=0), aspect) if moves else face.landmarks


def draw_kept_mouth(face: Face, region: Window, width: float) -> np.ndarray:
    """float32 (h, w): where the target's inner mouth is kept, if it is."""
    return draw_polygon(face.landmarks[MOUTH_INNER], region, feather=0.012 * width)


def make_reenacted_plate(
    rgb: np.ndarray, alpha: np.ndarray, lead: WarpedView, face: Face, region: Window, target: Plate, kept: float
) -> Plate:
    """The stage's picture. rgb: straight, scene-linear. lead: the leading view, for coordinates and confidence. kept:
    share of the target's own inner mouth in it."""
    confidence = lead.confidence * np.float32(face.confidence)
    pixels = np.dstack([premultiply(rgb, alpha), lead.stmap, confidence]).astype(np.float32)
    return Plate(
        pixels,
        (*RGBA, ST_U, ST_V, CONFIDENCE),
        region,
        target.display_window,
        target.pixel_aspect,
        {META_MOUTH: f"{kept:.4f}"},
    )


@dataclass(frozen=True)
class WarpedView:
    """A view on the region. picture: float32 (h, w, 3), display-like; its border is continued. matte: (h, w), where it
    shows skin. st: (h, w, 2). confidence: (h, w), 0..1."""

    picture: np.ndarray
    matte: np.ndarray
    stmap: np.ndarray
    confidence: np.ndarray


def warp_views(
    plan: FramePlan,
    wanted: Sequence[ViewRef],
    views: Mapping[ViewRef, SourceView],
    face: Face,
    goal: np.ndarray,
    region: Window,
    stiffness: float,
    aspect: float,
) -> dict[ViewRef, WarpedView]:
    """The views that are `wanted`, the leading one among them, brought to the landmarks `goal` (68, 2) of `face` on the
    region; eyes that the plan closes are warped open, and then their lids slide."""
    if not plan.blink:
        return {ref: warp_view(views[ref], goal, region, stiffness, aspect) for ref in wanted}
    start, end = compute_blink_landmarks(goal, plan.blink, aspect)
    warped = {ref: warp_view(views[ref], start, region, stiffness, aspect) for ref in wanted}
    lead = max(plan.views, key=lambda w: w.detail).view
    moves = compute_face_motion(
        DrivenFrame(face.with_landmarks(start), face.with_landmarks(end)), region, aspect, warped[lead].picture
    )
    place = make_pixel_grid(Window(0, 0, region.width, region.height)) + moves.motion
    streaks = STREAK_WIDTH * warp_points.measure_face_width(face.landmarks, aspect)
    return {
        ref: replace(
            one,
            stmap=sample_picture(one.stmap, place),
            picture=smooth_streaks(render_motion(one.picture, moves), moves.motion, face.euler[2], streaks, aspect),
        )
        for ref, one in warped.items()
    }


def warp_view(view: SourceView, goal: np.ndarray, region: Window, stiffness: float, aspect: float) -> WarpedView:
    """A view brought to the landmarks `goal` (68, 2) on the region; `aspect` is of the region's pixels."""
    points = warp_points.compute_control_points(goal, aspect)
    own = warp_points.compute_control_points(view.face.landmarks, view.pixel_aspect)
    mapping = fit_spline_map(points, own, region, make_spline_stiffness(stiffness), aspect)
    local = mapping - np.array([view.window.x, view.window.y], np.float32)
    picture = sample_picture(view.display, local)
    matte = np.clip(cv2.remap(view.matte, local[..., 0], local[..., 1], cv2.INTER_LINEAR, borderValue=0.0), 0, 1)
    height, width = view.display_window.height, view.display_window.width
    across = (mapping[..., 0] - view.display_window.x + 0.5) / width
    st = np.stack(
        [1 - across if view.mirrored else across, 1 - (mapping[..., 1] - view.display_window.y + 0.5) / height], -1
    )
    area = np.abs(compute_cell_areas(mapping.astype(np.float64)))
    matte = matte * np.maximum(mark_unstretched(area, matte), draw_features(goal, region))
    # A view enlarged four times, or turned far away, shows little of what it should.
    confidence = (np.clip(area * 4, 0, 1) * matte * view.face.confidence).astype(np.float32)
    return WarpedView(picture, matte, st, confidence)


def mark_unstretched(area: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """float32 (h, w): 0 where the map draws a strip of the view (the far cheek of a turned head) over a wide part of
    the face. area: that a pixel covers in the view. matte: where the view shows skin."""
    skin = matte > 0.5
    if not skin.any():
        return np.ones_like(matte)
    enlarged = float(np.median(area[skin])) / np.maximum(area, 1e-6)
    return 1 - smoothstep((enlarged - STRETCH_RANGE[0]) / (STRETCH_RANGE[1] - STRETCH_RANGE[0])).astype(np.float32)


def draw_features(goal: np.ndarray, region: Window) -> np.ndarray:
    """float32 (h, w): 1 on eyes with their brows and on the lips, which no other view could continue."""
    matte = np.zeros((region.height, region.width), np.float32)
    for part in ([*range(17, 22), *range(36, 42)], [*range(22, 27), *range(42, 48)], [*range(48, 60)]):
        hull = cv2.convexHull(goal[part].astype(np.float32))[:, 0]
        size = float(np.ptp(hull, axis=0).max())
        matte = np.maximum(matte, draw_polygon(hull.mean(0) + 1.25 * (hull - hull.mean(0)), region, 0.04 * size))
    return matte


def make_spline_stiffness(amount: float) -> np.ndarray:
    """Per control point: lips and lids carry the expression and must be met; the forehead's points are a guess."""
    stiffness = np.full(82, amount)
    stiffness[EYES] *= 0.1
    stiffness[48:68] *= 0.1
    stiffness[68:] *= 3.0
    return stiffness


def combine_views(views: Sequence[tuple[np.ndarray, float, float]], sigma: float, aspect: float) -> np.ndarray:
    """Low frequencies by the weights of light, high ones by those of detail."""
    if len(views) == 1:
        return views[0][0]
    light = np.zeros_like(views[0][0])
    detail = np.zeros_like(light)
    for picture, light_share, detail_share in views:
        light += np.float32(light_share) * picture
        detail += np.float32(detail_share) * picture
    return np.asarray(
        detail
        + cv2.GaussianBlur(light - detail, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    )
