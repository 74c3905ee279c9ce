"""Mouth of the new face: whose teeth are seen between the lips, and lips that meet.

Teeth and tongue show inside the opening of the new lips alone, wherever they come from: the source's view, or the
plate, moved along with the lips. Where a view's mouth is further open than the target's, lips are continued over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.faces.mesh import INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Matte, Mesh, Plane, PointMap
from fsgan_core.runtime.memo import remember_with
from fsgan_core.stages.features.lips import (
    LipEdges,
    LipPlaces,
    MouthAxes,
    blur_along,
    continue_lips,
    draw_back_lips,
    draw_inside_lips,
    find_lip_edges,
    find_mouth_axes,
    mark_open_mouth,
    mark_other_than_lip,
    measure_dimming,
    measure_lip_places,
    measure_teeth_redness,
)
from fsgan_core.stages.features.openings import (
    WINDOW_EDGE,
    OpeningPicture,
    OpeningWindow,
    fit_opening_map,
    make_opening_window,
    measure_lip_opening,
    measure_ring_distance,
    measure_ring_width,
    soften_edge,
    square_points,
    trace_ring,
)
from fsgan_core.stages.image_ops import ease_between, make_disc, smoothstep
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.warp import sample_picture

# Lengths are shares of the mouth's width.
MAP_MARGIN = 0.5  # of the window around the mouth on which a map is fitted
FEATHER, MIN_FEATHER = 0.035, 1.0  # from the lips inwards, over which the inner mouth appears; pixels
OTHER_SIGMA, MIN_OTHER_SIGMA = 0.006, 0.7  # softness of what is no lip; pixels
STEADY_SIGMA = 0.03  # along the mouth, of the colours that tell what is no lip
SHOWN_FEATHER = 0.015  # outside the lips' ends, over which the source's inner mouth appears
OTHER_GAIN = 2.0  # where half is no lip, the new mouth may be as bright as the plate
LITTLE_SHINE = np.float32(0.02)  # display value: so much of the plate's shine stays on the new lips
MIN_LIP = 1e-3  # display value: a lip is divided by no less
LINE_REACH = 0.05  # outside the inner lips: this far the plate's line between its lips is drawn
DARK_LINE, DARK_DOT = 0.05, 0.02  # half the height of the dark at a corner, and of dots in it
# From where on the dark of a corner is the plate's, and is it all: along the mouth, above and below.
CORNER_REACH, CORNER_HEIGHT = (0.2, 0.12), (0.09, 0.04)

# Openings are shares of the outer eye corners' distance.
FURTHER_OPEN = 0.03  # more than the new mouth: from here on the lips next to the teeth are not used
WIDE_OPENING = (0.035, 0.08)  # from a line between the lips to an open mouth


def keep_mouth(plate: Image, target: Mesh, goal: Mesh, region: Window, aspect: float) -> OpeningPicture:
    """Takes the target's own inner mouth out of the plate, moved along with the lips.

    Args:
        plate: Display-like picture of the region.
        target: The target's mesh, plate coordinates.
        goal: The mesh of the new face.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.

    Returns:
        The plate with its mouth moved, and a matte that is 1 inside the goal's open lips.
    """
    picture, matte = plate.copy(), np.zeros(plate.shape[:2], np.float32)
    part = _open_window(goal, region, aspect)
    if part is None:
        return OpeningPicture(picture, matte)
    moved = _fit_lips_map(goal, target, part, region, aspect)
    if moved is not None:
        picture[part.slices] = sample_picture(plate, moved)
    matte[part.slices] = draw_lips_opening(goal, part, aspect)
    return OpeningPicture(np.where(matte[..., None] > 0, picture, plate), matte)


def draw_lips_opening(mesh: Mesh, part: OpeningWindow, aspect: float) -> Matte:
    """Draws the opening of the lips, soft from the lips inwards; nothing where they meet.

    Args:
        mesh: Plate coordinates.
        part: The window to draw.
        aspect: Width of a pixel over its height.
    """
    ring = square_points(mesh, INNER_LIPS, aspect)
    distance = measure_ring_distance(trace_ring(ring), part.places)
    return soften_edge(distance, 0.0, max(FEATHER * measure_ring_width(ring), MIN_FEATHER))


def draw_lip_line(mesh: Mesh, region: Window, aspect: float) -> Matte:
    """Draws the plate's dark of a new mouth: its corners, and the line between lips that meet.

    Args:
        mesh: Plate coordinates.
        region: The part of the plate that is drawn.
        aspect: Width of a pixel over its height.
    """
    result = np.zeros((region.height, region.width), np.float32)
    part = _open_window(mesh, region, aspect)
    if part is not None:
        ring = square_points(mesh, INNER_LIPS, aspect)
        reach = LINE_REACH * measure_ring_width(ring)
        shut = 1 - ease_between(measure_lip_opening(mesh, aspect), *WIDE_OPENING)
        distance = measure_ring_distance(trace_ring(ring), part.places)
        line = np.float32(shut) * soften_edge(distance, -reach, -reach / 2)
        mouth = find_mouth_axes(mesh, aspect)
        result[part.slices] = np.maximum(line, _draw_corners(measure_lip_places(mouth, part.places), mouth))
    return result


def _draw_corners(lips: LipPlaces, mouth: MouthAxes) -> Matte:
    """Draws the corners, where lips are too low to be stretched: along the line between the lips, soft."""
    beside = np.abs(np.maximum(lips.along - 1, -lips.along))
    above = np.maximum(lips.upper - lips.across, lips.across - lips.lower) / mouth.width
    return soften_edge(-beside, *np.negative(CORNER_REACH)) * soften_edge(-above, *np.negative(CORNER_HEIGHT))


def _fill_dark_lines(picture: Image, mouth: MouthAxes, aspect: float) -> Image:
    """A picture without dots, and without dark lines along a mouth; folds beside it, which run across, stay."""
    plain = np.asarray(cv2.morphologyEx(picture, cv2.MORPH_CLOSE, make_disc(DARK_DOT * mouth.width, aspect)))
    steady = blur_along(plain, mouth, STEADY_SIGMA, aspect)
    reach = DARK_LINE * mouth.width * mouth.axes[1] / (aspect, 1.0)
    middle = np.ceil(np.abs(reach)).astype(int)
    across = np.zeros(2 * middle[::-1] + 1, np.uint8)
    begin, end = (np.rint(middle + side * reach).astype(int).tolist() for side in (-1, 1))
    cv2.line(across, begin, end, 1)
    return np.asarray(plain + cv2.morphologyEx(steady, cv2.MORPH_CLOSE, across) - steady, np.float32)


def cover_inner_mouth(
    warped: Image,
    places: PointMap,
    view: SourceView,
    goal: Mesh,
    goal_edges: LipEdges,
    region: Window,
    aspect: float,
) -> Image:
    """Continues the lips of a warped view over its inner mouth, up to the line where the goal's lips meet.

    Args:
        warped: The warped view, display-like, on the region.
        places: (height, width, 2) the place in the view's plate that each pixel of the region shows.
        view: The view.
        goal: The mesh of the new face.
        goal_edges: Where its lips end: there, where the target's do.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.

    Returns:
        The picture; the same array if the mouth is outside the region.
    """
    part = _open_window(goal, region, aspect)
    if part is None:
        return warped
    further = measure_lip_opening(view.mesh, view.pixel_aspect) - measure_lip_opening(goal, aspect)
    edges = find_lip_edges(view.display, view.mesh, view.window, view.pixel_aspect)
    view_mouth = find_mouth_axes(view.mesh, view.pixel_aspect)
    edges = draw_back_lips(edges, view_mouth, float(smoothstep(np.asarray(further / FURTHER_OPEN))))
    mouth = find_mouth_axes(goal, aspect)
    lips = measure_lip_places(mouth, part.places)
    local = places[part.slices] - np.array([view.window.x, view.window.y], np.float32)
    closed = continue_lips(view.display, local, lips, mouth, edges, goal_edges, aspect)
    on_lips = (lips.across > lips.upper_outer) & (lips.across < lips.lower_outer)
    on_lips &= (lips.along > 0) & (lips.along < 1)
    result = warped.copy()
    result[part.slices] = np.where(on_lips[..., None], closed, warped[part.slices])
    return result


def set_inner_mouth(
    closed: Image,
    opened: Image,
    plate: Image,
    target: Mesh,
    goal: Mesh,
    edges: LipEdges,
    region: Window,
    aspect: float,
    is_source: bool,
) -> OpeningPicture:
    """Puts an inner mouth between lips.

    A thin gap is always the plate's. A wide one is the source's or the plate's; the matte says where the picture is the
    plate's own.

    Args:
        closed: The new face with its lips continued over the mouth (`cover_inner_mouth`), display-like, on the region.
        opened: The same with the source's inner mouth.
        plate: Display-like picture of the region.
        target: The target's mesh, plate coordinates.
        goal: The mesh of the new face.
        edges: Where the target's lips end.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.
        is_source: Whether the mouth is the source's where it is open; else it is the plate's.
    """
    matte = np.zeros(plate.shape[:2], np.float32)
    part = _open_window(goal, region, aspect)
    if part is None:
        return OpeningPicture(closed, matte)
    mouth = find_mouth_axes(goal, aspect)
    lips = measure_lip_places(mouth, part.places)
    found = _find_plate_mouth(plate, target, goal, edges, region, aspect)
    share = np.float32(ease_between(measure_lip_opening(target, aspect), *WIDE_OPENING))
    # The dark of a corner is a shadow in the mouth that the plate shows, not in the source's.
    skin = closed[part.slices]
    shaded = _fill_dark_lines(skin, mouth, aspect) * found.corner_dimming
    skin = skin + _draw_corners(lips, mouth)[..., None] * (shaded - skin)
    # As in any comp: what is not lip stays, and the plate's lip behind it becomes the new one.
    other = found.other
    drawn = found.own + (1 - other)[..., None] * (skin - found.lip)
    # Where the plate is darker than its lip, this falls below black; at least its share of the new lip is left.
    drawn = np.maximum(drawn, found.own * np.clip(skin / np.maximum(found.lip, MIN_LIP), 0, 1))
    # A bright place on the plate's lip is no part of the new lip: what is seen is no brighter than its two parts.
    seen = np.minimum(OTHER_GAIN * other, 1)[..., None]
    drawn = np.minimum(drawn, skin + LITTLE_SHINE + seen * (np.maximum(found.own, skin) - skin))
    # The dark line between lips that meet is the shadow of these lips.
    shut = skin * (1 + found.dark[..., None] * (found.dimming - 1))
    shut = shut + found.pale[..., None] * (found.own - shut)
    drawn, stays = shut + share * (drawn - shut), found.pale + share * (other - found.pale)
    inner = skin + found.near[..., None] * (drawn - skin)
    own = found.near * stays
    if is_source:
        inside = draw_inside_lips(lips, mouth, edges, -max(SHOWN_FEATHER * mouth.width, MIN_FEATHER), 0.0)
        inner = inner + share * (skin + inside[..., None] * (opened[part.slices] - skin) - inner)
        own = (1 - share) * own
    matte[part.slices] = own
    picture = closed.copy()
    picture[part.slices] = inner
    return OpeningPicture(picture, matte)


@dataclass(frozen=True)
class _PlateMouth:
    """The plate around its mouth, moved along with the lips; all on the mouth's window.

    Attributes:
        own: Display-like.
        lip: The same with the lips continued over the mouth.
        dark: What is darker than lips, 0..1.
        pale: What is paler than lips, 0..1.
        other: What an open mouth shows that is no lip, 0..1.
        dimming: The share of a lip's light that there is, 0..1, in each channel.
        corner_dimming: The share of light that the dark of the corners leaves, the same way.
        near: Where it is drawn, 0..1.
    """

    own: Image
    lip: Image
    dark: Matte
    pale: Matte
    other: Matte
    dimming: Image
    corner_dimming: Image
    near: Matte


@remember_with
def _find_plate_mouth(
    plate: Image, target: Mesh, goal: Mesh, edges: LipEdges, region: Window, aspect: float
) -> _PlateMouth:
    """What all views of a frame have in common in `set_inner_mouth`, whose arguments it takes."""
    part = _open_window(goal, region, aspect)
    if part is None:
        raise ValueError("the mouth is outside the region")
    mouth = find_mouth_axes(goal, aspect)
    lips = measure_lip_places(mouth, part.places)
    own, lip = _take_plate_mouth(plate, target, goal, edges, part, region, aspect)
    # Alone, a pixel of a compressed plate tells little: lip and teeth meet along the mouth.
    steady, steady_lip = (blur_along(picture, mouth, STEADY_SIGMA, aspect) for picture in (own, lip))
    sigma = max(OTHER_SIGMA * mouth.width, MIN_OTHER_SIGMA)
    inside = draw_lips_opening(goal, part, aspect)
    teeth = measure_teeth_redness(steady, steady_lip, inside)
    dark, pale = mark_other_than_lip(steady, steady_lip, teeth)
    opened = mark_open_mouth(steady, steady_lip, lips, mouth, inside, teeth, aspect)
    dark, pale, other = (_soften(one, sigma) for one in (dark, pale, np.maximum(opened, pale)))
    near = draw_inside_lips(lips, mouth, edges, -LINE_REACH * mouth.width, 0.0)
    dimming = measure_dimming(steady, steady_lip)
    corner_dimming = measure_dimming(steady_lip, _fill_dark_lines(steady_lip, mouth, aspect))
    return _PlateMouth(own, lip, dark, pale, other, dimming, corner_dimming, near)


def _soften(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _take_plate_mouth(
    plate: Image, target: Mesh, goal: Mesh, edges: LipEdges, part: OpeningWindow, region: Window, aspect: float
) -> tuple[Image, Image]:
    """The plate moved along with the lips, and the same with its lips continued over the mouth."""
    rows, columns = part.slices
    own_places = np.stack(np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)), -1)
    mouth = find_mouth_axes(target, aspect)
    lips = measure_lip_places(mouth, part.places)
    own = plate[part.slices]
    closed = continue_lips(plate, own_places, lips, mouth, edges, edges, aspect)
    moved = _fit_lips_map(goal, target, part, region, aspect)
    if moved is None:
        return own, closed
    corner = np.array([columns.start, rows.start], np.float32)
    return sample_picture(plate, moved), sample_picture(closed, moved - corner)


def _open_window(goal: Mesh, region: Window, aspect: float) -> OpeningWindow | None:
    ring = square_points(goal, OUTER_LIPS, aspect)
    width = measure_ring_width(ring)
    return make_opening_window(ring, min(MAP_MARGIN, CORNER_REACH[0] + WINDOW_EDGE / width) * width, region, aspect)


def _fit_lips_map(goal: Mesh, target: Mesh, part: OpeningWindow, region: Window, aspect: float) -> PointMap | None:
    """`fit_opening_map` of a window around the lips."""
    ring = square_points(goal, OUTER_LIPS, aspect)
    window = make_opening_window(ring, MAP_MARGIN * measure_ring_width(ring), region, aspect)
    knots = [*INNER_LIPS, *OUTER_LIPS]
    return None if window is None else fit_opening_map(goal[knots], target[knots], window, region, aspect, part)
