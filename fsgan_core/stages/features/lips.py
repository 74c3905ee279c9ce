"""Lips: where they end in a picture, continued over the inner mouth, and what a picture shows between them.

All is measured along the mouth (from corner to corner) and across it (from the upper lip down), in square pixels. The
mesh's inner lips are only roughly where a picture's lips end: teeth and gaps beyond them are found by their colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from fsgan_core.faces.mesh import INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matrix, Matte, Mesh, Plane, Points, Vector
from fsgan_core.runtime.memo import remember_results, remember_with
from fsgan_core.stages.features.openings import (
    ARC_SAMPLES,
    LOG_FLOOR,
    measure_ring_width,
    soften_edge,
    square_points,
    trace_ring,
)
from fsgan_core.stages.image_ops import HALF_COVERED, ease_between, slice_marked, smoothstep, weigh
from fsgan_core.stages.warp import sample_picture

REMEMBERED_MOUTHS = 256  # of the views of a job and the frames at work: each is asked for several times

STATIONS = 48  # along the mouth, at which the ends of the lips are measured
ACROSS = 40  # samples across a lip

# Shares of a lip's height.
LIP_CORE = (0.3, 0.65)  # from its outer edge: certainly lip
LARGEST_SHIFT = 0.45  # that a lip is stretched by, so that nothing folds
MORE_MARGIN, MIN_MORE_MARGIN = 0.15, 1.2  # of a mouth that is further open: teeth tint what is near; pixels
SCAN_BEGIN = 0.5  # from here on inwards a lip may end
LIP_GAP = 0.12  # lip colour over less than this does not part teeth from the mouth

# Differences from the lip's own colour, in log display values.
DARK_DIFFERENCE = 0.35  # a gap is darker
PALE_DIFFERENCE = 0.10  # teeth are less red against green
DIFFERENCE_RANGE = (0.25, 0.55)  # from lip to certainly something else
SHADE_RANGE = (0.1, 0.4)  # from lip to the shadow between lips that meet
TONGUE_RANGE = (-0.2, 0.0)  # from a lip that shines to a tongue
GAP_RANGE = (0.25, 1.2)  # from lip to the dark of a mouth alone
TEETH_REDNESS = 0.12  # of teeth in warm light
RED_TEETH = (0.3, 0.4)  # of teeth in red light, at most; what is redder is none
TEETH_PERCENTILE = 10.0  # of the redness between the lips, where it is bright: there it is the teeth's
LEAST_REDNESS = 0.2  # of a lip beyond that of teeth, by which teeth can be told
MOST_REDNESS = 0.6  # of a lip without make-up: what is as red is no teeth, however red the lip is

# Shares of the mouth's width.
CORNER_FADE = 0.06  # from a corner inwards: lips are not stretched at it
EDGE_MARGIN = 0.03  # beyond the edge that is found
SEAM = 0.012  # over which upper and lower lip are blended where they meet
EVEN_REACH, EVEN_SIGMA = 0.02, 0.06  # past its end, a lip loses its texture over this; blur of that, along the mouth
DEEP_INSIDE = (0.04, 0.08)  # from the mesh's inner lips inwards: it is rarely so wrong
STATION_SMOOTHING = 1.5  # stations

BLUR_REACH, BLUR_TAPS = 2.0, 9  # in sigmas, and how many samples


@dataclass(frozen=True)
class MouthAxes:
    """The mouth of a mesh, measured along and across.

    Attributes:
        origin: (2,) its right corner, square pixels.
        axes: (2, 2) unit vectors along and across, rows.
        width: Between the inner corners, square pixels.
        along: (n,) ascending places along the mouth at which the curves are known.
        upper: (n,) height of the upper lip's inner edge.
        lower: (n,) height of the lower lip's inner edge.
        upper_outer: (n,) height of the upper lip's outer edge.
        lower_outer: (n,) height of the lower lip's outer edge.
    """

    origin: Points
    axes: Matrix
    width: float
    along: Vector
    upper: Vector
    lower: Vector
    upper_outer: Vector
    lower_outer: Vector


@dataclass(frozen=True)
class LipEdges:
    """How far from the mesh's inner lips the lips of a picture end, as shares of their heights.

    Attributes:
        upper: (STATIONS,) from corner to corner.
        lower: (STATIONS,)
    """

    upper: Vector
    lower: Vector


@dataclass(frozen=True)
class LipPlaces:
    """A window's pixels, measured along and across a mouth; all (height, width).

    Attributes:
        along: Share of the mouth's width from the right corner.
        across: Square pixels.
        middle: Height of the line where the lips meet.
        upper: Height of the upper lip's inner edge.
        lower: Height of the lower lip's inner edge.
        upper_outer: Height of the upper lip's outer edge.
        lower_outer: Height of the lower lip's outer edge.
    """

    along: Plane
    across: Plane
    middle: Plane
    upper: Plane
    lower: Plane
    upper_outer: Plane
    lower_outer: Plane


@remember_results(REMEMBERED_MOUTHS)
def find_mouth_axes(mesh: Mesh, aspect: float) -> MouthAxes:
    """Finds the axes and the curves of a mesh's mouth.

    Args:
        mesh: (478, 3), plate coordinates.
        aspect: Width of a pixel over its height.
    """
    inner = square_points(mesh, INNER_LIPS, aspect)
    width = max(measure_ring_width(inner), 1e-3)
    along = (inner[len(inner) // 2] - inner[0]) / width
    axes = np.array([along, (-along[1], along[0])])
    places = np.linspace(-0.3 * width, 1.3 * width, 4 * ARC_SAMPLES)
    curves = []
    for vertices in (INNER_LIPS, OUTER_LIPS):
        ring = (trace_ring(square_points(mesh, vertices, aspect)) - inner[0]) @ axes.T
        lower, upper = ring[: ARC_SAMPLES + 1], np.vstack([ring[ARC_SAMPLES:], ring[:1]])[::-1]
        curves += [np.interp(places, np.maximum.accumulate(arc[:, 0]), arc[:, 1]) for arc in (lower, upper)]
    lower, upper, lower_outer, upper_outer = curves
    middle = (lower + upper) / 2
    return MouthAxes(
        inner[0],
        axes,
        width,
        places,
        np.minimum(upper, middle),
        np.maximum(lower, middle),
        np.minimum(upper_outer, np.minimum(upper, middle)),
        np.maximum(lower_outer, np.maximum(lower, middle)),
    )


def measure_lip_places(mouth: MouthAxes, places: AnyArray) -> LipPlaces:
    """Measures pixels along and across a mouth.

    Args:
        mouth: The mouth.
        places: (height, width, 2) square pixels.
    """
    moved = (places - mouth.origin) @ mouth.axes.T
    a, across = moved[..., 0], moved[..., 1]
    upper, lower, upper_outer, lower_outer = (
        np.interp(a, mouth.along, curve) for curve in (mouth.upper, mouth.lower, mouth.upper_outer, mouth.lower_outer)
    )
    planes = (a / mouth.width, across, (upper + lower) / 2, upper, lower, upper_outer, lower_outer)
    return LipPlaces(*(np.asarray(plane, np.float32) for plane in planes))


@remember_with
def find_lip_edges(picture: Image, mesh: Mesh, window: Window, aspect: float) -> LipEdges:
    """Finds where the lips of a picture end, by their colour.

    Args:
        picture: Display-like, on the window.
        mesh: The face in it, plate coordinates.
        window: The part of the plate that the picture covers.
        aspect: Width of a pixel over its height.
    """
    mouth = find_mouth_axes(mesh, aspect)
    at = np.linspace(0, mouth.width, STATIONS)
    shares = np.linspace(0, 1, ACROSS)
    fade = np.clip(np.minimum(at, mouth.width - at) / (CORNER_FADE * mouth.width), 0, 1)
    found = []
    for edge, outer in ((mouth.upper, mouth.upper_outer), (mouth.lower, mouth.lower_outer)):
        inner_at, outer_at = np.interp(at, mouth.along, edge), np.interp(at, mouth.along, outer)
        across = outer_at[:, None] + shares * (inner_at - outer_at)[:, None]
        points = mouth.origin + at[:, None, None] * mouth.axes[0] + across[..., None] * mouth.axes[1]
        local = (points / (aspect, 1.0) - (window.x, window.y)).astype(np.float32)
        colours = cv2.remap(picture, local[..., 0], local[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        extent = _measure_end(np.asarray(colours, np.float32), shares)
        margin = EDGE_MARGIN * mouth.width / np.maximum(np.abs(inner_at - outer_at), 1e-3)
        found.append(np.clip(extent + margin, 0, LARGEST_SHIFT) * fade)
    return LipEdges(*found)


def _measure_end(colours: Image, shares: Vector) -> Vector:
    """How far before the mesh's edge a lip ends, as a share of its height, from colours (stations, samples, 3)."""
    luma, redness = _measure_log_luma(colours), _measure_redness(colours)
    core = (shares > LIP_CORE[0]) & (shares < LIP_CORE[1])
    usual = np.median(luma[:, core], axis=1), np.median(redness[:, core], axis=1)
    usual_luma, usual_redness = (gaussian_filter1d(values, STATIONS / 8, mode="nearest") for values in usual)
    usual_redness = np.minimum(usual_redness, MOST_REDNESS)  # light on painted lips is less red than they are
    is_other = (luma < usual_luma[:, None] - DARK_DIFFERENCE) | (
        (redness < usual_redness[:, None] - PALE_DIFFERENCE) & (luma > usual_luma[:, None] - DARK_DIFFERENCE)
    )
    ends = np.zeros(len(colours))
    step = shares[1] - shares[0]
    for station, others in enumerate(is_other):
        end = 1.0
        for number in range(len(shares) - 1, -1, -1):
            if shares[number] < SCAN_BEGIN or end - shares[number] > LIP_GAP + step / 2:
                break
            if others[number]:
                end = shares[number]
        ends[station] = 1.0 - end
    return np.asarray(gaussian_filter1d(maximum_filter1d(ends, 3, mode="nearest"), STATION_SMOOTHING, mode="nearest"))


def draw_back_lips(edges: LipEdges, mouth: MouthAxes, share: float) -> LipEdges:
    """Takes more of the lips for the shadow and the teeth of a mouth that is further open.

    Args:
        edges: Where the lips end.
        mouth: The mouth that they belong to.
        share: 1 takes as much as teeth tint their surroundings.
    """
    at = np.linspace(0, mouth.width, STATIONS)
    drawn = []
    for ends, inner, outer in (
        (edges.upper, mouth.upper, mouth.upper_outer),
        (edges.lower, mouth.lower, mouth.lower_outer),
    ):
        tall = np.abs(np.interp(at, mouth.along, inner) - np.interp(at, mouth.along, outer))
        more = np.maximum(MORE_MARGIN, MIN_MORE_MARGIN / np.maximum(tall, 1e-3))
        drawn.append(np.minimum(ends + share * more, LARGEST_SHIFT))
    return LipEdges(*drawn)


def continue_lips(
    picture: Image,
    places: AnyArray,
    lips: LipPlaces,
    mouth: MouthAxes,
    edges: LipEdges,
    goal_edges: LipEdges,
    aspect: float,
) -> Image:
    """Continues the lips of a picture over its inner mouth, up to the line where they meet.

    The lips are stretched a little, so that they end where the new lips shall end. Nothing moves if they do so already.

    Args:
        picture: Display-like.
        places: (height, width, 2) array coordinates in `picture` of each pixel of the result.
        lips: These pixels, measured by the mouth of the result.
        mouth: The mouth of the result.
        edges: Where the lips of the picture end.
        goal_edges: Where the lips of the result shall end.
        aspect: Width of a pixel of the result over its height.
    """
    is_between_corners = (lips.along > 0) & (lips.along < 1)
    from_corner = np.clip(np.minimum(lips.along, 1 - lips.along) / CORNER_FADE, 0, 1)
    normal = mouth.axes[1] / (aspect, 1.0)
    height, width = places.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    seam = max(SEAM * mouth.width, 1.0)
    halves = []
    for edge, outer, shares, goal_shares, side in (
        (lips.upper, lips.upper_outer, edges.upper, goal_edges.upper, 1.0),
        (lips.lower, lips.lower_outer, edges.lower, goal_edges.lower, -1.0),
    ):
        tall = np.maximum(side * (edge - outer), 1e-3)
        depth = side * (lips.across - outer) / tall  # 0 at the outer edge, 1 at the mesh's inner one
        end, goal_end = (1 - _spread(values, lips) for values in (shares, goal_shares))
        stretched = np.clip(depth / goal_end, 0, 1) ** 2 * (end - goal_end)
        shift = np.where(is_between_corners, stretched - np.maximum(depth - goal_end, 0), 0.0)
        move = (side * shift * tall).astype(np.float32)
        local_x, local_y = x + move * np.float32(normal[0]), y + move * np.float32(normal[1])
        moved = cv2.remap(
            places.astype(np.float32), local_x, local_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        half = sample_picture(picture, np.asarray(moved, np.float32))
        # Continued, the texture at its end would be stripes.
        beyond = (depth - goal_end) * tall / (EVEN_REACH * mouth.width)
        is_seen = side * (lips.across - lips.middle) < seam
        even = (smoothstep(beyond) * from_corner * is_seen).astype(np.float32)
        if (even > 0).any():
            part = slice_marked(even > 0)
            half[part] += weigh(blur_along(half[part], mouth, EVEN_SIGMA, aspect) - half[part], even[part])
        halves.append(half)
    lower = soften_edge(np.asarray(lips.across - lips.middle, np.float32), -seam, seam)
    return np.asarray(halves[0] + lower[..., None] * (halves[1] - halves[0]))


def blur_along(picture: AnyArray, mouth: MouthAxes, sigma: float, aspect: float) -> AnyArray:
    """Blurs a picture along a mouth, not across it.

    Args:
        picture: (height, width) or (height, width, channels).
        mouth: The mouth.
        sigma: As a share of the mouth's width.
        aspect: Width of a pixel over its height.
    """
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    direction = (sigma * mouth.width * mouth.axes[0] / (aspect, 1.0)).astype(np.float32)
    taps = np.linspace(-BLUR_REACH, BLUR_REACH, BLUR_TAPS, dtype=np.float32)
    weights = np.exp(-(taps**2) / 2)
    result = np.zeros(picture.shape, np.float32)
    for tap, weight in zip(taps, weights / weights.sum(), strict=True):
        moved = x + tap * direction[0], y + tap * direction[1]
        result += weight * cv2.remap(picture, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return result


def _spread(shares: Vector, lips: LipPlaces) -> Plane:
    """Values at the stations, for each pixel; 0 beyond the corners."""
    return np.asarray(np.interp(lips.along, np.linspace(0, 1, STATIONS), shares, left=0.0, right=0.0))


def draw_inside_lips(lips: LipPlaces, mouth: MouthAxes, edges: LipEdges, begin: float, end: float) -> Plane:
    """Draws the inside of the inner lips, with a soft edge in square pixels; negative distances are outside of it.

    Args:
        lips: The pixels.
        mouth: The mouth that they were measured by.
        edges: Where its lips end.
        begin: Where the matte begins.
        end: Where it is full.
    """
    corners = np.minimum(lips.along, 1 - lips.along) * mouth.width
    upper = lips.upper - _spread(edges.upper, lips) * (lips.upper - lips.upper_outer)
    lower = lips.lower + _spread(edges.lower, lips) * (lips.lower_outer - lips.lower)
    inside = np.minimum(np.minimum(lips.across - upper, lower - lips.across), corners)
    return soften_edge(np.asarray(inside, np.float32), begin, end)


def measure_teeth_redness(picture: Image, lip: Image, inside: Matte) -> float:
    """Measures how red the teeth of a picture are: in red light, or beside lips whose colour has bled into them.

    Args:
        picture: Display-like.
        lip: The same with its lips continued (`continue_lips`).
        inside: Between the inner lips, 0..1.
    """
    is_bright = (inside > HALF_COVERED) & (_measure_log_luma(picture) > _measure_log_luma(lip) - DARK_DIFFERENCE)
    redness = _measure_redness(picture)[is_bright]
    found = max(TEETH_REDNESS, float(np.percentile(redness, TEETH_PERCENTILE))) if redness.size else TEETH_REDNESS
    return float(TEETH_REDNESS + (found - TEETH_REDNESS) * ease_between(found, *reversed(RED_TEETH)))


def mark_other_than_lip(picture: Image, lip: Image, teeth: float) -> tuple[Plane, Plane]:
    """Marks how much of each pixel is something else than lip, 0..1.

    A lip that shines is brighter, but as red. A painted lip that shines is less red than it was, but still as red as a
    plain lip. Where teeth and lip share a pixel, it is less red by their shares.

    Args:
        picture: Display-like.
        lip: The same with its lips continued (`continue_lips`).
        teeth: How red its teeth are (`measure_teeth_redness`).

    Returns:
        What is darker than a lip, a gap or a shadow; and what is paler: teeth or tongue.
    """
    luma = _measure_log_luma(picture) - _measure_log_luma(lip)
    usual = np.minimum(_measure_redness(lip), MOST_REDNESS)
    low, high = DIFFERENCE_RANGE
    pale = _measure_paleness(picture, lip, teeth) * ease_between(luma, -high, -low)
    is_red = smoothstep((usual - TEETH_REDNESS) / LEAST_REDNESS)  # else only their brightness tells teeth from lips
    bright = (1 - is_red) * ease_between(luma, low, high)
    dark = ease_between(-luma, *SHADE_RANGE)
    return np.asarray(dark, np.float32), np.asarray(np.maximum(pale, bright), np.float32)


def mark_open_mouth(
    picture: Image, lip: Image, lips: LipPlaces, mouth: MouthAxes, inside: Matte, teeth: float, aspect: float
) -> Plane:
    """Marks what an open mouth shows that is no paler than a lip, 0..1.

    Between the lips, a lip in a shadow is as dark as the mouth: there the brighter of the two lips tells. A pixel that
    lip and mouth share is darker than a lip by their shares, and what is left of the lip's red tells it from teeth.
    A tongue may look like a lip, but deep inside there is none; only where a lip shines the mesh may be that wrong.

    Args:
        picture: Display-like.
        lip: The same with its lips continued (`continue_lips`), up to the line where they meet.
        lips: The pixels, measured by the mouth.
        mouth: The mouth.
        inside: Between the inner lips, 0..1.
        teeth: How red its teeth are (`measure_teeth_redness`).
        aspect: Width of a pixel over its height.
    """
    lumas = _measure_log_luma(lip)
    y, x = np.mgrid[0 : inside.shape[0], 0 : inside.shape[1]].astype(np.float32)
    normal = (mouth.axes[1] / (aspect, 1.0)).astype(np.float32)
    both = []
    for side in (-1, 1):
        move = lips.middle + np.float32(side * 2 * max(SEAM * mouth.width, 1.0)) - lips.across
        moved = x + move * normal[0], y + move * normal[1]
        both.append(cv2.remap(lumas, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    brighter = np.maximum(np.maximum(*both), lumas)
    darker = lumas + inside * (brighter - lumas) - _measure_log_luma(picture)
    unlike = np.minimum(ease_between(darker, *DIFFERENCE_RANGE), _measure_paleness(picture, lip, teeth))
    depth = np.minimum(lips.across - lips.upper, lips.lower - lips.across) / mouth.width
    deep = ease_between(depth, *DEEP_INSIDE) * ease_between(darker, *TONGUE_RANGE)
    return np.asarray(np.maximum.reduce([ease_between(darker, *GAP_RANGE), unlike, deep]), np.float32)


def measure_dimming(picture: Image, lip: Image) -> Image:
    """Measures the share of a lip's light that a picture has, in each channel, at most 1.

    Half of its change of hue counts: the rest is that of a redder lip.

    Args:
        picture: Display-like.
        lip: The same with its lips continued.
    """
    shares = (np.maximum(picture, 0) + LOG_FLOOR) / (np.maximum(lip, 0) + LOG_FLOOR)
    whole = np.exp(_measure_log_luma(picture) - _measure_log_luma(lip))
    return np.asarray(np.minimum(np.sqrt(shares * whole[..., None]), 1), np.float32)


def _measure_paleness(picture: Image, lip: Image, teeth: float) -> Plane:
    """How much less red than a lip each pixel is, 0..1; teeth are 1."""
    own, usual = _measure_redness(picture), np.minimum(_measure_redness(lip), MOST_REDNESS)
    return np.asarray(np.clip((usual - own) / np.maximum(usual - teeth, LEAST_REDNESS), 0, 1))


def _measure_log_luma(picture: Image) -> Plane:
    return np.asarray(np.log(np.maximum(picture @ LUMA_WEIGHTS, 0) + LOG_FLOOR))


def _measure_redness(picture: Image) -> Plane:
    logs = np.log(np.maximum(picture[..., :2], 0) + LOG_FLOOR)
    return np.asarray(logs[..., 0] - logs[..., 1])
