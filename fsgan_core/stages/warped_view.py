"""Views warped to the new face, and combined: low frequencies from all views, high ones from the leading view.

Of a view that turns half of its face away, the mirror image shows that half (`mirrored_view`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Mesh, Plane, PointMap
from fsgan_core.stages.image_ops import HALF_COVERED, shift_channels, weigh
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.leading_view import WeightedView
from fsgan_core.stages.mesh_warp import draw_vertex_values, find_visible_vertices, fit_mesh_map, square_mesh
from fsgan_core.stages.mirrored_view import draw_hidden_half, mirror_view
from fsgan_core.stages.warp import compute_cell_areas, sample_picture

TRUSTED_ENLARGEMENT = 4  # in area: a view enlarged by more loses confidence
MIN_SHOWN = 1e-3  # sum of mattes: where less is shown, it does not matter what


@dataclass(frozen=True)
class WarpedView:
    """A view warped to a window of a region.

    Attributes:
        picture: Display-like; its border is continued.
        matte: Where it shows skin.
        stmap: (height, width, 2) of the whole region: s, t into the source picture, 0..1, from the lower left.
        confidence: 0..1.
        places: (height, width, 2) the place in the view's plate that each pixel shows.
    """

    picture: Image
    matte: Matte
    stmap: PointMap
    confidence: Plane
    places: PointMap


def warp_view(
    view: SourceView, goal: Mesh, region: Window, stiffness: float, aspect: float, window: Window
) -> WarpedView:
    """Warp a view to a goal mesh.

    Args:
        view: The view.
        goal: (478, 3), plate coordinates.
        region: The part of the plate that the warp is computed for.
        stiffness: Of the spline.
        aspect: Width of the plate's pixels over their height.
        window: The part of the region of which the pictures are made.
    """
    mesh = view.mesh
    mapping = fit_mesh_map(goal, mesh, region, stiffness, aspect, view.pixel_aspect)
    places = np.ascontiguousarray(mapping[compute_slices(window, region)])
    local = shift_channels(places, (-view.window.x, -view.window.y))
    x, y = local[..., 0], local[..., 1]
    matte: AnyArray = np.clip(cv2.remap(view.matte, x, y, cv2.INTER_LINEAR, borderValue=0.0), 0, 1)
    picture = sample_picture(view.display, local, matte > 0)
    height, width = view.display_window.height, view.display_window.width
    stmap: AnyArray = np.stack(
        [
            (mapping[..., 0] - view.display_window.x + 0.5) / width,
            1 - (mapping[..., 1] - view.display_window.y + 0.5) / height,
        ],
        -1,
    )
    if view.is_mirrored:  # the map leads into the picture as it was shot
        stmap[..., 0] = 1 - stmap[..., 0]
    area = np.abs(compute_cell_areas(places))
    shown = draw_vertex_values(goal, find_visible_vertices(square_mesh(mesh, view.pixel_aspect)), window, aspect)
    matte = matte * shown
    # A view that is enlarged much, or turned far away, shows little of what it should.
    confidence = (np.clip(area * TRUSTED_ENLARGEMENT, 0, 1) * matte * view.face.confidence).astype(np.float32)
    return WarpedView(picture, matte, stmap, confidence, places)


@dataclass(frozen=True)
class ViewPart:
    """What a view, or its mirror image, gives to the new face.

    Attributes:
        view: The view, or its mirror image.
        warped: The same, warped to the new face.
        light: Share in the low frequencies: a number, or one for each pixel.
        detail: The same in the high ones.
        alpha: Share in what is shown, 0..1.
    """

    view: SourceView
    warped: WarpedView
    light: float | Plane
    detail: float | Plane
    alpha: Matte


def warp_parts(
    view: SourceView,
    weights: WeightedView,
    mirror: float,
    goal: Mesh,
    region: Window,
    stiffness: float,
    aspect: float,
    window: Window,
) -> list[ViewPart]:
    """Warp a view to a goal mesh, and its mirror image for the half that it turns away.

    Args:
        view: The view.
        weights: Its shares.
        mirror: Share of the mirror image in that half, 0..1.
        goal: The mesh of the new face, plate coordinates.
        region: The part of the plate that the warp is computed for.
        stiffness: Of the spline.
        aspect: Width of the plate's pixels over their height.
        window: The part of the region of which the pictures are made.
    """
    warped = warp_view(view, goal, region, stiffness, aspect, window)
    light, detail = weights.light, weights.detail
    if mirror <= 0:
        return [ViewPart(view, warped, light, detail, warped.matte * detail)]
    image = mirror_view(view)
    warped_image = warp_view(image, goal, region, stiffness, aspect, window)
    turned = np.float32(mirror) * draw_hidden_half(view, goal, window, aspect)
    own, other = (1 - turned) * warped.matte, turned * warped_image.matte
    # Where only one of both shows skin, the other one's picture does not count.
    share = np.where(own + other > MIN_SHOWN, other / np.maximum(own + other, MIN_SHOWN), turned).astype(np.float32)
    return [
        ViewPart(view, warped, light * (1 - share), detail * (1 - share), own * detail),
        ViewPart(image, warped_image, light * share, detail * share, other * detail),
    ]


def join_parts(parts: Sequence[ViewPart], region: Window, window: Window) -> WarpedView:
    """Join the parts of a view: its mirror image gives STMap and confidence where it gives the picture.

    Args:
        parts: Of `warp_parts`.
        region: The part of the plate that the STMap covers.
        window: The part that the rest covers.
    """
    lead = parts[0].warped
    for other in parts[1:]:
        share: AnyArray = np.asarray(other.detail / (parts[0].detail + other.detail))
        stmap, part = lead.stmap.copy(), compute_slices(window, region)
        stmap[part] = np.where(share[..., None] > HALF_COVERED, other.warped.stmap[part], stmap[part])
        confidence = lead.confidence + share * (other.warped.confidence - lead.confidence)
        lead = replace(lead, stmap=stmap, confidence=confidence)
    return lead


def scale_picture(picture: Image, share: float | Plane) -> Image:
    """Multiply a picture by a number, or by one for each pixel."""
    return weigh(picture, share) if isinstance(share, np.ndarray) else np.float32(share) * picture


def combine_views(views: Sequence[tuple[Image, float | Plane, float | Plane]], sigma: float, aspect: float) -> Image:
    """Combine views: low frequencies by their shares of light, high frequencies by their shares of detail.

    Args:
        views: Picture, share of light, share of detail; a share is a number, or one for each pixel.
        sigma: Of the blur that parts the two, in rows.
        aspect: Width of a pixel over its height.
    """
    if len(views) == 1:
        return views[0][0]
    light = np.zeros_like(views[0][0])
    detail = np.zeros_like(light)
    for picture, light_share, detail_share in views:
        light += scale_picture(picture, light_share)
        detail += scale_picture(picture, detail_share)
    return np.asarray(
        detail
        + cv2.GaussianBlur(light - detail, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    )
