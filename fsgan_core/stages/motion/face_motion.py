"""Face motion: how a face moves in its own picture, as a map that is discontinuous at the lids and lips.

Where nothing moves, the map is the identity. The motion eases out around the face. Below the chin the neck is squeezed
or stretched, so a chin that rises uncovers nothing that would have to be invented. Lips and lids are different: the two
sides of a closed mouth must not be mixed. So the skin above and below each opening has its own map, and whatever is
behind closing lids and lips stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from fsgan_core.contract.landmarks import EYE_L, EYE_R, LANDMARK_COUNT, MOUTH_OUTER
from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, IndexArray, Matte, Plane, PointMap, Points, Points68, Vector
from fsgan_core.stages import warp_points
from fsgan_core.stages.drive import DrivenFrame, project_turn
from fsgan_core.stages.image_ops import draw_polygon, measure_signed_distance, smoothstep
from fsgan_core.stages.warp import fit_spline_map, sample_picture
from fsgan_core.stages.warp_points import NOSE_BASE

STILL_LIMIT = 1e-6  # pixels: landmarks that move less do not move

# Where the motion eases out, mm.
MOTION_REACH, TURNED_REACH = 35.0, 70.0  # around the face; if the head is turned
RING_POINTS = 32  # around the face, that do not move
NECK_REACH = 20.0  # below the chin
CHIN_POINTS = slice(4, 13)  # landmarks of the jaw that the neck goes along with
BESIDE_REACH = 10.0  # around face and neck
FIRM_MARGIN = 2.0  # around the face, that moves with it
BORDER_REACH = 6.0  # at the region's border
LID_BAND, LIP_BAND = 14.0, 7.0  # beyond an opening, that follows its own side of it

# Where landmarks of an eye are placed wrongly.
LOWER_LID_INSET = 0.2  # of the open eye: how far inside it landmarks of the lower lid may be
LASH_SHARE = 0.12  # of the open eye: the dark line that moves with an upper lid
CORNER_INSET = 0.08  # of the eye's width: how far inside its corners landmarks may be
OUTER_CORNER_SHARE, INNER_CORNER_SHARE = 0.35, 0.15  # of the open eye: how far above and below its corners
CORNER_DIFFERENCE = 0.2  # between the two, for the eye whose inner corner comes first
CHEEKBONE_DROP = 18.0  # mm below the eye
CHEEKBONE_SHARES = (0.0, 0.5, 1.0)  # of the way from the outer to the inner corner

# The search for the edge of an upper lid, in shares of the open eye.
EDGE_LUMA_SIGMA = 0.7  # pixels
EDGE_COLUMNS = (0.25, 0.75, 9)  # from, to, samples along the lid
EDGE_ROWS = (-0.6, 0.3, 46)  # from, to, samples across the lid
EDGE_PREFERENCE = 0.35  # deviation of the preference for an edge at the landmarks
MIN_EDGE = 1e-9

# Stiffness of the splines.
STIFFNESS, OPENING_STIFFNESS, EDGE_STIFFNESS = 5e-4, 2e-5, 2e-4
CLOSING_LIMIT = 0.3  # share of a gap that closes: from here on what lies behind stays with the head


@dataclass(frozen=True)
class Opening:
    """An opening of the face: the mouth or an eye.

    Attributes:
        upper: Landmarks of the upper edge, corner to corner.
        lower: Landmarks of the lower edge, corner to corner.
        rim: Landmarks of the outline of lips or eye.
        band: Millimetres beyond the rim that follow their side.
        rigid: Landmarks that tell how what lies behind moves.
    """

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    rim: tuple[int, ...]
    band: float
    rigid: tuple[int, ...]


def _list_points(part: slice) -> tuple[int, ...]:
    return tuple(range(part.start, part.stop))


MOUTH_OPENING = Opening((60, 61, 62, 63, 64), (60, 67, 66, 65, 64), _list_points(MOUTH_OUTER), LIP_BAND, (NOSE_BASE,))
RIGHT_EYE_OPENING = Opening((36, 37, 38, 39), (36, 41, 40, 39), _list_points(EYE_R), LID_BAND, (36, 39))
LEFT_EYE_OPENING = Opening((42, 43, 44, 45), (42, 47, 46, 45), _list_points(EYE_L), LID_BAND, (42, 45))
OPENINGS = (MOUTH_OPENING, RIGHT_EYE_OPENING, LEFT_EYE_OPENING)
_NO_POINTS = np.empty(0, int)
EYE_CORNERS = np.array([36, 39, 42, 45])
_UPPER_EDGES = np.array([37, 38, 43, 44, 49, 50, 51, 52, 53, 61, 62, 63])  # edges of upper lids and lips
_LOWER_EDGES = np.array([40, 41, 46, 47, 55, 56, 57, 58, 59, 65, 66, 67])
# Eye by eye: corners, and pairs of upper and lower lid.
_EYE_PAIRS = (((36, 39), ((37, 41), (38, 40))), ((42, 45), ((43, 47), (44, 46))))
# Points after the landmarks: the corners again, as seen from above, and from below.
_CORNERS_ABOVE = np.arange(LANDMARK_COUNT, LANDMARK_COUNT + len(EYE_CORNERS))
_CORNERS_BELOW = _CORNERS_ABOVE + len(EYE_CORNERS)


@dataclass(frozen=True)
class MotionLayer:
    """One side of an opening, on a part of the region.

    Attributes:
        box: Rows and columns of the part.
        weight: (height, width) of the part, 0..1.
        motion: (height, width, 2) pixels.
    """

    box: tuple[slice, slice]
    weight: Matte
    motion: PointMap


@dataclass(frozen=True)
class LayeredMotion:
    """The motion of a region.

    Attributes:
        motion: (height, width, 2) pixels: pixel + motion is where its colour comes from.
        layers: Groups of layers that replace it near openings; the weights of a group sum to 1 on its box.
    """

    motion: PointMap
    layers: tuple[tuple[MotionLayer, ...], ...]


def compute_face_motion(
    driven: DrivenFrame, region: Window, aspect: float, display: Image | None = None
) -> LayeredMotion:
    """Compute how the plate's own picture moves in a driven frame.

    Args:
        driven: The frame: its face, and the face it is to have.
        region: The part of the plate to compute.
        aspect: Width of the plate's pixels over their height.
        display: The picture of `region`, display-like, to see where exactly the upper lids end.
    """
    own, goal = driven.face.landmarks, driven.goal_face.landmarks
    still = np.zeros((region.height, region.width, 2), np.float32)
    if np.abs(own - goal).max() < STILL_LIMIT:
        return LayeredMotion(still, ())
    pose = fit_head_pose(own, aspect)
    square = np.array([aspect, 1.0])
    forehead = np.vstack(warp_points.locate_forehead(own, aspect))
    raised = forehead
    if any(driven.head_turn):
        skull = np.vstack([warp_points.HAIRLINE, warp_points.MID_FOREHEAD])
        raised = forehead + project_turn(driven.face, skull, np.array(driven.head_turn), aspect)
    hull = find_convex_hull(np.vstack([own, goal, forehead, raised]) * square)
    ring = _grow_hull(hull, pose.scale * (TURNED_REACH if any(driven.head_turn) else MOTION_REACH)) / square
    edges = own + _compute_lid_shifts(own, goal, square, region, display)
    upper, lower = _place_corner_points(own, goal)
    wider = CORNER_INSET * (own[EYE_CORNERS] - own[EYE_CORNERS[[1, 0, 3, 2]]])
    # In this order: the 68 landmarks, the eyes' corners as seen from above, and from below, the rest.
    destination = np.vstack(
        [goal, goal[EYE_CORNERS], goal[EYE_CORNERS], raised, _place_cheekbones(goal, pose.scale, square), ring]
    )
    source = np.vstack([edges, upper, lower, forehead, _place_cheekbones(own, pose.scale, square), ring])
    destination[EYE_CORNERS] += wider
    source[EYE_CORNERS] += wider
    # The neck goes along with the chin; what is beside the face does not.
    down = pose.rotation[:2, 1] / np.linalg.norm(pose.rotation[:2, 1])
    neck = find_convex_hull(np.vstack([hull, goal[CHIN_POINTS] * square + NECK_REACH * pose.scale * down]))
    beside = pose.scale * (TURNED_REACH if any(driven.head_turn) else BESIDE_REACH)
    window = _compute_falloff(neck / square, region, pose.scale, beside)[..., None]

    def evaluate_spline(used: IndexArray, stiffness: Vector) -> AnyArray:
        mapping = fit_spline_map(destination[used], source[used], region, stiffness[used])
        return (mapping - make_pixel_grid(region)) * window

    return build_layered_motion(
        evaluate_spline,
        source,
        destination,
        region,
        aspect,
        pose.scale,
        sided=(_CORNERS_ABOVE, _CORNERS_BELOW),
        pin_interior=True,
    )


def _compute_lid_shifts(
    own: Points68, goal: Points68, square: Vector, region: Window, display: Image | None
) -> Points68:
    """(68, 2): how far the edges of closing lids are from their landmarks, in pixels.

    Landmarks are often inside the eye, and any iris or white left beside a shut lid is easily seen.
    """
    shift = np.zeros_like(own)
    luma: Plane | None = None
    if display is not None:
        luma = np.asarray(cv2.GaussianBlur(display @ LUMA_WEIGHTS, (0, 0), EDGE_LUMA_SIGMA))
    for corners, pairs in _EYE_PAIRS:
        upper, lower = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        gap = ((own[lower] - own[upper]) * square).mean(0)
        left = ((goal[lower] - goal[upper]) * square).mean(0)
        closing = smoothstep(np.array(1 - np.linalg.norm(left) / max(float(np.linalg.norm(gap)), 1e-6)))
        if closing <= 0:
            continue
        shift[lower] = LOWER_LID_INSET * closing * gap / square
        if luma is not None:
            line = np.vstack([own[corners[0]], own[upper], own[corners[1]]])
            edge = _find_dark_edge(luma, line, gap / square, region) + LASH_SHARE
            shift[upper] = edge * closing * gap / square
    return shift


def _find_dark_edge(luma: Plane, line: Points, gap: Vector, region: Window) -> float:
    """Where skin turns dark on the way down across a lid's edge `line` (4, 2), in shares of `gap`; near 0 preferred."""
    along = np.linspace(*EDGE_COLUMNS) * 3
    points = np.column_stack([np.interp(along, np.arange(4), line[:, k]) for k in (0, 1)]) - (region.x, region.y)
    steps = np.linspace(*EDGE_ROWS)
    samples = (points[None] + steps[:, None, None] * gap).astype(np.float32)
    x, y = samples[..., 0], samples[..., 1]
    profile = cv2.remap(luma, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).mean(1)
    darker = np.maximum(-np.gradient(profile, steps), 0) * np.exp(-0.5 * (steps / EDGE_PREFERENCE) ** 2)
    weight = darker**3  # a mean near the strongest edge; the strongest itself would jump from frame to frame
    return float((weight @ steps) / weight.sum()) if weight.sum() > MIN_EDGE else 0.0


def _place_cheekbones(landmarks: Points68, scale: float, square: Vector) -> Points:
    """(6, 2): three points under each eye that move with the eye's corners, whatever its lids do.

    Without them a closing lid would pull the cheek.
    """
    points = []
    for outer, inner in ((36, 39), (45, 42)):
        a, b = landmarks[outer] * square, landmarks[inner] * square
        along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
        down = np.array([-along[1], along[0]]) * np.sign(along[0] or 1.0)
        points += [a + share * (b - a) + CHEEKBONE_DROP * scale * down for share in CHEEKBONE_SHARES]
    return np.array(points) / square


def _place_corner_points(own: Points68, goal: Points68) -> tuple[Points, Points]:
    """(4, 2) each: points just above and below the corners of eyes that close.

    The landmarks of outer corners are more often inside the eye than those of inner corners.
    """
    upper, lower = own[EYE_CORNERS].copy(), own[EYE_CORNERS].copy()
    for eye, lids in enumerate((((37, 38), (41, 40)), ((43, 44), (47, 46)))):
        gap = own[list(lids[1])].mean(0) - own[list(lids[0])].mean(0)
        left = goal[list(lids[1])].mean(0) - goal[list(lids[0])].mean(0)
        closing = smoothstep(np.array(1 - np.linalg.norm(left) / max(float(np.linalg.norm(gap)), 1e-6)))
        first = OUTER_CORNER_SHARE - CORNER_DIFFERENCE * eye
        second = INNER_CORNER_SHARE + CORNER_DIFFERENCE * eye
        for corner, share in ((2 * eye, first), (2 * eye + 1, second)):
            upper[corner] -= share * closing * gap
            lower[corner] += share * closing * gap
    return upper, lower


def build_layered_motion(
    evaluate: Callable[[IndexArray, Vector], AnyArray],
    source: Points,
    destination: Points,
    region: Window,
    aspect: float,
    scale: float,
    *,
    sided: tuple[IndexArray, IndexArray] = (_NO_POINTS, _NO_POINTS),
    pin_interior: bool = False,
) -> LayeredMotion:
    """Build the motion as a whole, and beside openings on either side.

    Args:
        evaluate: Takes the indices of the points to use and the stiffness of all points; returns the motion (height,
            width, 2) on `region`.
        source: (n, 2) where the points come from, plate coordinates, the 68 landmarks first.
        destination: (n, 2) where they go.
        region: The part of the plate.
        aspect: Width of the plate's pixels over their height.
        scale: Pixels per millimetre on the head.
        sided: Indices of points that hold only above openings, and only below.
        pin_interior: Whether what lies behind closing lids and lips stays with the head.
    """
    count = len(destination)
    everything = np.arange(count)
    firm = np.full(count, STIFFNESS)
    firm[EYE_R.start : _CORNERS_BELOW[-1] + 1] = OPENING_STIFFNESS
    loose = firm.copy()
    loose[np.r_[_UPPER_EDGES, _LOWER_EDGES]] = EDGE_STIFFNESS
    whole = evaluate(np.setdiff1d(everything, np.r_[sided[0], sided[1]]), loose)
    above = evaluate(np.setdiff1d(everything, np.r_[_LOWER_EDGES, sided[1]]), firm)
    below = evaluate(np.setdiff1d(everything, np.r_[_UPPER_EDGES, sided[0]]), firm)
    motion = whole.copy()
    groups = []
    for opening in OPENINGS:
        layers = _build_opening_layers(
            opening, (whole, above, below), source, destination, region, aspect, scale, pin_interior
        )
        if layers:
            groups.append(layers)
            best = np.argmax([layer.weight for layer in layers], axis=0)
            motion[layers[0].box] = np.choose(best[..., None], [layer.motion for layer in layers])
    return LayeredMotion(motion.astype(np.float32), tuple(groups))


def _build_opening_layers(
    opening: Opening,
    fields: tuple[AnyArray, AnyArray, AnyArray],
    source: Points,
    destination: Points,
    region: Window,
    aspect: float,
    scale: float,
    pin_interior: bool,
) -> tuple[MotionLayer, ...]:
    """The layers above, below and inside one opening."""
    square = np.array([aspect, 1.0])
    rim = destination[list(opening.rim)]
    reach = (opening.band + 1) * scale + 2
    low = np.floor((rim.min(0) - reach / square) - (region.x, region.y)).astype(int)
    high = np.ceil((rim.max(0) + reach / square) - (region.x, region.y)).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, (region.width, region.height))
    if (high - low < 2).any():
        return ()
    box = (slice(low[1], high[1]), slice(low[0], high[0]))
    part = Window(region.x + low[0], region.y + low[1], high[0] - low[0], high[1] - low[1])
    grid = make_pixel_grid(part) * square
    upper, lower = _measure_edge_heights(opening, destination * square, grid)
    gap = 0.5 * (lower - upper)  # edges that cross meet in the middle
    upper, lower = upper + np.minimum(gap, 0), lower - np.minimum(gap, 0)
    over, under = np.clip(0.5 + upper, 0, 1), np.clip(0.5 - lower, 0, 1)
    total = np.maximum(over + under, 1)
    over, under = over / total, under / total
    inside = np.maximum(1 - over - under, 0)

    distance = -measure_signed_distance(draw_polygon(rim, part)) / scale
    band = smoothstep(1 - np.maximum(distance, 0) / opening.band)[..., None]
    whole, above, below = (values[box] for values in fields)
    within = whole
    if pin_interior:
        pairs = [(a, b) for a, b in zip(opening.upper[1:-1], opening.lower[1:-1], strict=True)]

        def measure_gap(points: Points) -> float:
            return float(np.mean([np.linalg.norm((points[a] - points[b]) * square) for a, b in pairs]))

        closing = smoothstep(np.array((1 - measure_gap(destination) / max(measure_gap(source), 1e-6)) / CLOSING_LIMIT))
        rigid = (source - destination)[list(opening.rigid)].mean(0)
        own_upper, own_lower = _measure_edge_heights(opening, source * square, grid + rigid * square)
        seen = smoothstep(np.minimum(-own_upper, own_lower) / max(1.0, 0.5 * scale))
        within = whole + (closing * seen)[..., None] * (rigid - whole)
    return (
        MotionLayer(box, over.astype(np.float32), (whole + band * (above - whole)).astype(np.float32)),
        MotionLayer(box, under.astype(np.float32), (whole + band * (below - whole)).astype(np.float32)),
        MotionLayer(box, inside.astype(np.float32), np.asarray(within, np.float32)),
    )


def _measure_edge_heights(opening: Opening, points: Points, grid: AnyArray) -> tuple[AnyArray, AnyArray]:
    """How far each pixel of `grid` (height, width, 2) lies above the upper and the lower edge, in square pixels."""
    first, last = points[opening.upper[0]], points[opening.upper[-1]]
    along = (last - first) / max(float(np.linalg.norm(last - first)), 1e-6)
    down = np.array([-along[1], along[0]])
    u, v = (grid - first) @ along, (grid - first) @ down
    heights = []
    for edge in (opening.upper, opening.lower):
        places, depth = (points[list(edge)] - first) @ along, (points[list(edge)] - first) @ down
        places = np.maximum.accumulate(places + np.arange(len(places)) * 1e-6)
        heights.append(PchipInterpolator(places, depth)(np.clip(u, places[0], places[-1])) - v)
    return heights[0], heights[1]


def render_motion(display: Image, motion: LayeredMotion, offset: Sequence[float] = (0.0, 0.0)) -> Image:
    """Move a picture.

    Args:
        display: The picture.
        motion: Of a region.
        offset: x, y of the region's first pixel in `display`.
    """
    height, width = motion.motion.shape[:2]
    grid = make_pixel_grid(Window(0, 0, width, height)) + np.array(offset, np.float32)
    # What moves is more than skin: collars and other hard edges, too.
    picture = sample_picture(display, grid + motion.motion, has_clean_edges=True)
    for layers in motion.layers:
        box = layers[0].box
        picture[box] = sum(
            layer.weight[..., None] * sample_picture(display, grid[box] + layer.motion, has_clean_edges=True)
            for layer in layers
        )
    return picture


def find_convex_hull(points: Points) -> Points:
    """Compute the corners of the convex hull of points."""
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], np.float64)


def _grow_hull(hull: Points, reach: float) -> Points:
    """(RING_POINTS, 2) points around a convex polygon, `reach` beyond it."""
    angle = np.linspace(0, 2 * np.pi, RING_POINTS, endpoint=False)
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.asarray(hull[(direction @ hull.T).argmax(1)] + reach * direction)


def _compute_falloff(hull: Points, region: Window, scale: float, reach: float) -> Matte:
    """1 on the face, 0 from `reach` beyond it and at the region's border."""
    distance = -measure_signed_distance(draw_polygon(hull, region))
    window = smoothstep((reach - distance) / (reach - FIRM_MARGIN * scale))
    y, x = np.mgrid[0 : region.height, 0 : region.width]
    border = np.minimum(np.minimum(x, region.width - 1 - x), np.minimum(y, region.height - 1 - y))
    return (window * smoothstep(border / (BORDER_REACH * scale))).astype(np.float32)


def make_pixel_grid(window: Window) -> PointMap:
    """List x, y of each pixel of a window, plate coordinates."""
    return np.stack(
        np.meshgrid(
            np.arange(window.width, dtype=np.float32) + np.float32(window.x),
            np.arange(window.height, dtype=np.float32) + np.float32(window.y),
        ),
        -1,
    )
