"""Reenactment: the source's face in the target's pose and expression.

Engine `mesh`: no network. Each chosen view is warped at the plate's own resolution so that its dense mesh meets the
target's, and the views are combined by the weights of the plan (FSGAN, arXiv 1908.05932, section 3.2: three views of
the appearance map, barycentric). `likeness` moves the goal mesh towards the source's own proportions, on the
target's head in its pose: a face that meets the target's mesh exactly has the target's proportions, and looks like
neither person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from fsgan_core.contract.layers import (
    CONFIDENCE,
    MATTE_FACE,
    MATTE_HAIR,
    MATTE_KEPT,
    MATTE_OCCLUSION,
    META_MOUTH,
    RGBA,
    ST_U,
    ST_V,
)
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.faces.face import Face
from fsgan_core.faces.mesh import BROW_L as MESH_BROW_L
from fsgan_core.faces.mesh import BROW_R as MESH_BROW_R
from fsgan_core.faces.mesh import LIDS_L, LIDS_R, OUTER_LIPS
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.plates.region import compute_region
from fsgan_core.runtime.arrays import Image, Matte, Mesh, Points, Points3D, Vector
from fsgan_core.runtime.memo import remember_with
from fsgan_core.stages import warp_points
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.features.eyes import close_lids, keep_eyes, set_eyes
from fsgan_core.stages.features.iris import IrisTint
from fsgan_core.stages.features.lips import find_lip_edges
from fsgan_core.stages.features.mouth import cover_inner_mouth, keep_mouth, set_inner_mouth
from fsgan_core.stages.features.openings import OpeningPicture, measure_lid_openings
from fsgan_core.stages.features.whites import cover_whites
from fsgan_core.stages.image_ops import draw_polygon, find_window_around, mark_plate_area, weigh
from fsgan_core.stages.interface import FaceFrame, SourceView
from fsgan_core.stages.leading_view import FramePlan
from fsgan_core.stages.masking import MATTE_STEMS, draw_forehead, measure_glasses, measure_mattes
from fsgan_core.stages.mesh_warp import measure_mesh_width, place_beyond, square_mesh
from fsgan_core.stages.occluders.removed_glasses import remove_glasses
from fsgan_core.stages.occluders.worn_glasses import FaceLook, Pair, recognise_glasses
from fsgan_core.stages.proportions import displace_mesh, weigh_regions
from fsgan_core.stages.warped_view import WarpedView, combine_views, join_parts, scale_picture, warp_parts

# Lengths are shares of the face's width.
DETAIL_SIZE = 0.06  # coarser shading is light, finer is detail
OUTLINE_EDGE = 0.015  # this near to its outline, a view's skin is mixed with what is behind
OCCLUDER_EDGE = 0.035  # this near to hair or an occluder, a view's skin is not trusted
FOREHEAD_EDGE = 0.065  # the same on the forehead, where strands of a fringe and its shadow lie
BROW_EDGE, MIN_BROW_EDGE = 0.01, 2.0  # the same on a brow, whose end is not the edge of hair; pixels
DOUBT_WEIGHT, FEATURE_DOUBT_WEIGHT = 4.0, 2.0  # of what may be hair or an occluder in a view; around eyes and lips
VIEW_STRICTNESS = 8.0  # missed skin is filled from other views, but hair that passes for skin smears over the face
VIEW_MARGIN = 0.6  # around a source face, that is kept
WORK_MARGIN = 0.16  # around the new face, in which a frame's picture is made

# Eyes with their brows, and lips.
FEATURE_GROWTH, AROUND_GROWTH, FEATURE_SOFTNESS = 1.25, 2.2, 0.04  # times their size; of their size


def recognise_worn_glasses(frames: Iterable[FaceFrame]) -> Pair:
    """Tell what pair of glasses a person wears, from a few frames; `sureness` is 0 if none."""
    return recognise_glasses(
        replace(_look_at_face(frame), bridge=measure_glasses(frame, MaskParams())) for frame in frames
    )


def _look_at_face(frame: FaceFrame) -> FaceLook:
    return FaceLook(frame.display, frame.face.landmarks, frame.region, frame.pixel_aspect)


def prepare_view(
    plate: Plate,
    face: Face,
    codec: Codec,
    mask: MaskParams,
    margin: float = VIEW_MARGIN,
    glasses: Pair | None = None,
) -> SourceView:
    """Prepare a view from a source plate.

    Args:
        plate: R, G, B in the codec's space.
        face: The face in it.
        codec: The source's codec.
        mask: Settings of the mask stage, to find skin.
        margin: How much around the face is kept, as a share of its box.
        glasses: The pair that is taken off (`recognise_worn_glasses`). Without, the face keeps what it wears.
    """
    window = compute_region(face.box, margin, plate.pixel_aspect)
    frame = FaceFrame(plate, face, window, codec)
    # `mask.keep_glasses` is about the target's: a source's are no occluders.
    mattes = measure_mattes(frame, params=mask.replace(keep_glasses=False), strictness=VIEW_STRICTNESS)
    display, gone = frame.display, 0.0
    if glasses is not None and glasses.sureness > 0:
        display, gone = remove_glasses(_look_at_face(frame), glasses), glasses.sureness
    # Strands and shadows at the edge of hair or of an occluder would pass for skin.
    occluders = np.maximum(mattes.get_matte(MATTE_HAIR), mattes.get_matte(MATTE_OCCLUSION))
    width = warp_points.measure_face_width(face.landmarks, plate.pixel_aspect)
    edges = (OUTLINE_EDGE, FOREHEAD_EDGE, OCCLUDER_EDGE, max(BROW_EDGE, MIN_BROW_EDGE / width))
    outline_kernel, *kernels = (
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(edge * width) + 1,) * 2) for edge in edges
    )
    far, near, nearest = (cv2.dilate(occluders, kernel) for kernel in kernels)
    near = near + draw_forehead(face, window, plate.pixel_aspect) * (far - near)
    # The end of a brow or of a lid is not the edge of hair, but hair may touch it.
    brows, others, around = draw_feature_hulls(face.get_mesh(plate.pixel_aspect), window)
    doubt = near + brows * (nearest - near)
    doubt = (DOUBT_WEIGHT + around * (FEATURE_DOUBT_WEIGHT - DOUBT_WEIGHT)) * (doubt + others * (nearest - doubt))
    skin = cv2.erode(mattes.get_matte(MATTE_FACE), outline_kernel) * mark_plate_area(plate, window)
    if MATTE_STEMS in mattes.channels:  # behind arms of glasses is hair as well as skin
        skin = skin * (1 - np.float32(gone) * mattes.get_matte(MATTE_STEMS))
    return SourceView(
        display,
        np.asarray(skin * (1 - np.clip(doubt, 0, 1)), np.float32),
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
    iris_tint: IrisTint | None = None,
) -> Plate:
    """Warps the source's views to the target's landmarks and combines them (see `interface.ReenactEngine`).

    A is 1 where the views show skin of the source. The frame's plate gives the eyeballs, and the inner mouth
    unless it is the source's by parameter.
    """
    target, face, codec = frame.plate, frame.face, frame.codec
    aspect = target.pixel_aspect
    goal = compute_goal_mesh(face, params, likeness, aspect)
    width = warp_points.measure_face_width(face.landmarks, aspect)

    window = find_work_window(goal, frame.region, aspect)
    leading = max(plan.views, key=lambda w: w.detail)
    parts = {
        w: warp_parts(views[w.view], w, plan.mirror, goal, frame.region, params.stiffness, aspect, window)
        for w in plan.views
    }
    lead = join_parts(parts[leading], frame.region, window)
    shown = [part for w in plan.views for part in parts[w]]
    plate, own = _cut_display(frame, window), face.get_mesh(aspect)
    edges = find_lip_edges(plate, own, window, aspect)
    pictures = [
        (
            cover_inner_mouth(part.warped.picture, part.warped.places, part.view, goal, edges, window, aspect),
            part.light,
            part.detail,
        )
        for part in shown
    ]
    picture = combine_views(pictures, width * DETAIL_SIZE, aspect)
    opened = picture + sum(
        scale_picture(part.warped.picture - closed, part.detail)
        for part, (closed, _, _) in zip(shown, pictures, strict=True)
    )
    alpha = sum(part.alpha for part in shown)
    alpha = np.clip(alpha, 0, 1).astype(np.float32)
    openings = measure_view_openings(plan, views)
    picture = cover_whites(picture, alpha, plate, goal, window, aspect)
    picture = close_lids(picture, alpha, plate, own, goal, openings, window, aspect)
    if params.eyes == "source":
        eyes = set_eyes(views[leading.view], lead.places, own, goal, window, aspect, alpha.shape)
        picture = picture + eyes.matte[..., None] * (eyes.picture - picture)
        alpha = np.maximum(alpha, eyes.matte)
    kept = float(params.inner_mouth != "source")
    mouth = set_inner_mouth(picture, opened, plate, own, goal, edges, window, aspect, not kept)
    picture = mouth.picture
    own_parts = keep_openings(plate, own, goal, window, aspect, params, 0.0, iris_tint, openings)
    picture = picture + weigh(own_parts.picture - picture, own_parts.matte)
    own_matte = np.maximum(own_parts.matte, mouth.matte)
    alpha = np.maximum(alpha, own_matte)
    return make_reenacted_plate(codec.decode(picture), alpha, lead, face, frame.region, target, kept, own_matte, window)


@remember_with
def _cut_display(frame: FaceFrame, window: Window) -> Image:
    """The frame's picture on a window: one array for all views, because what is found in it is kept with it."""
    return np.ascontiguousarray(frame.display[compute_slices(window, frame.region)])


def find_work_window(goal: Mesh, region: Window, aspect: float) -> Window:
    """Finds the part of a region in which a new face is: beyond it nothing is made.

    Args:
        goal: The mesh of the new face, plate coordinates.
        region: Of the frame.
        aspect: Width of a pixel over its height.
    """
    square = square_mesh(goal, aspect)
    points = np.vstack([square[:, :2], place_beyond(square)])
    window = find_window_around(points, WORK_MARGIN * measure_mesh_width(square), aspect).intersect(region)
    return region if window.empty else window


def compute_goal_mesh(face: Face, params: ReenactParams, likeness: Points3D | None, aspect: float) -> Mesh:
    """Computes the mesh of the new face: the target's, moved towards the source's proportions.

    Args:
        face: The target's.
        params: Settings of the reenact stage.
        likeness: (478, 3) mm (`proportions.compute_likeness`).
        aspect: Width of the target's pixels over their height.
    """
    if likeness is None or params.likeness <= 0:
        return face.get_mesh(aspect)
    return displace_mesh(face.get_mesh(aspect), likeness * weigh_regions(params)[:, None], aspect)


def measure_view_openings(plan: FramePlan, views: Mapping[ViewRef, SourceView]) -> Vector:
    """Measures how far the views of a plan show the eyes open, (2,), by their shares of detail."""
    return np.asarray(
        sum(
            w.detail * measure_lid_openings(view.mesh, view.pixel_aspect)
            for w in plan.views
            for view in [views[w.view]]
        )
    )


def keep_openings(
    plate: Image,
    own: Mesh,
    goal: Mesh,
    region: Window,
    aspect: float,
    params: ReenactParams,
    mouth: float,
    iris_tint: IrisTint | None,
    view_openings: Vector | None = None,
) -> OpeningPicture:
    """Takes what the new face keeps of the target: its eyeballs by `reenact.eyes`, and its inner mouth.

    Args:
        plate: Display-like picture of the region.
        own: The target's mesh.
        goal: The mesh of the new face.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.
        params: Settings of the reenact stage.
        mouth: How much of the inner mouth is kept, 0..1.
        iris_tint: Of the irises (`iris.compute_iris_tint`).
        view_openings: As for `eyes.keep_eyes`.
    """
    picture, matte = plate, np.zeros(plate.shape[:2], np.float32)
    if params.eyes == "target":
        eyes = keep_eyes(plate, own, goal, region, aspect, iris_tint, view_openings)
        picture, matte = eyes.picture, eyes.matte
    if mouth > 0:
        lips = keep_mouth(plate, own, goal, region, aspect)
        picture = np.where(lips.matte[..., None] > 0, lips.picture, picture)
        matte = np.maximum(matte, np.float32(mouth) * lips.matte)
    return OpeningPicture(picture, matte)


def make_reenacted_plate(
    rgb: Image,
    alpha: Matte,
    lead: WarpedView,
    face: Face,
    region: Window,
    target: Plate,
    kept: float,
    own: Matte,
    window: Window | None = None,
) -> Plate:
    """Make the stage's plate.

    Args:
        rgb: Straight, scene-linear.
        alpha: Where it shows the new face.
        lead: The leading view, for coordinates and confidence.
        face: The target's.
        region: The part of the target that the plate covers.
        target: The target plate.
        kept: How much of the inner mouth is the target's own, 0..1.
        own: Where the picture is the target's own: eyeballs and inner mouth.
        window: The part of the region that the arrays cover, those of `lead` too but for its STMap; None if all of it.
    """
    pixels = np.zeros((region.height, region.width, 8), np.float32)
    part = pixels[compute_slices(window or region, region)]
    part[..., :3] = weigh(rgb, alpha)
    part[..., 3] = alpha
    pixels[..., 4:6] = lead.stmap
    part[..., 6] = lead.confidence * np.float32(face.confidence)
    part[..., 7] = own
    return Plate(
        pixels,
        (*RGBA, ST_U, ST_V, CONFIDENCE, MATTE_KEPT),
        region,
        target.display_window,
        target.pixel_aspect,
        {META_MOUTH: f"{kept:.4f}"},
    )


def draw_feature_hulls(mesh: Mesh, region: Window) -> tuple[Matte, Matte, Matte]:
    """Draw brows, eyes and lips, and what is around eyes and lips."""
    brows = [mesh[list(brow), :2] for brow in (MESH_BROW_R, MESH_BROW_L)]
    others = [mesh[list(ring), :2] for ring in (LIDS_R, LIDS_L, OUTER_LIPS)]
    grown = draw_hulls(others, FEATURE_GROWTH, region), draw_hulls(others, AROUND_GROWTH, region)
    return draw_hulls(brows, 1.0, region), *grown


def draw_hulls(parts: Sequence[Points], growth: float, region: Window) -> Matte:
    """Draw the convex hulls of points, times `growth`, softened by a share of their size."""
    matte = np.zeros((region.height, region.width), np.float32)
    for points in parts:
        hull = np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0])
        middle, size = hull.mean(0), float(np.ptp(hull, axis=0).max())
        matte = np.maximum(matte, draw_polygon(middle + growth * (hull - middle), region, FEATURE_SOFTNESS * size))
    return matte
