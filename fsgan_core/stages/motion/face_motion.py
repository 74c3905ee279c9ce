"""How a face moves in its own picture: a map that is the identity wherever nothing moves, and that tears where skin
does.

The moved part eases out around the face: below the chin the neck is squeezed or stretched, so a chin that rises
uncovers nothing that would have to be invented. Lips and lids are different: what lies on either side of a closed
mouth must not be mixed, so the skin above and below each opening is moved by a map of its own, and what lies behind
lids and lips that close stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from fsgan_core.faces.pose import fit_head_pose
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.stages import warp_points
from fsgan_core.stages.drive import DrivenFrame, project_turn
from fsgan_core.stages.image_ops import draw_polygon, measure_signed_distance, smoothstep
from fsgan_core.stages.warp import fit_spline_map, sample_picture

MOTION_REACH, TURNED_REACH = 35.0, 70.0  # mm around the face over which the movement eases out
NECK_REACH = 20.0  # mm below the chin that ease out by themselves
BESIDE_REACH = 10.0  # mm around face and neck within which the movement ends
FIRM_MARGIN = 2.0  # mm around the face that move with it
BORDER_REACH = 6.0  # mm at the region's border over which the movement ends in any case
LID_BAND, LIP_BAND = 14.0, 7.0  # mm beyond an opening that follow their own side of it
LOWER_LID_INSET = 0.2  # of the open eye: how far into it landmarks of the lower lid may stand
LASH_SHARE = 0.12  # of the open eye: the dark line that stays with an upper lid
CORNER_INSET = 0.08  # of the eye's width: how far inside its corners landmarks may stand
CHEEKBONE_DROP = 18.0  # mm under the eye


@dataclass(frozen=True)
class Opening:
    """upper, lower: landmarks of the two edges, corner to corner. rim: outline of lips or eye. band: mm beyond the rim
    that follow their side. rigid: landmarks that say how what lies behind moves."""

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    rim: tuple[int, ...]
    band: float
    rigid: tuple[int, ...]


MOUTH_OPENING = Opening((60, 61, 62, 63, 64), (60, 67, 66, 65, 64), tuple(range(48, 60)), LIP_BAND, (33,))
RIGHT_EYE_OPENING = Opening((36, 37, 38, 39), (36, 41, 40, 39), tuple(range(36, 42)), LID_BAND, (36, 39))
LEFT_EYE_OPENING = Opening((42, 43, 44, 45), (42, 47, 46, 45), tuple(range(42, 48)), LID_BAND, (42, 45))
OPENINGS = (MOUTH_OPENING, RIGHT_EYE_OPENING, LEFT_EYE_OPENING)
_NO_POINTS = np.empty(0, int)
EYE_CORNERS = np.array([36, 39, 42, 45])
_UPPER_EDGES = np.array([37, 38, 43, 44, 49, 50, 51, 52, 53, 61, 62, 63])  # edges of upper lids and lips
_LOWER_EDGES = np.array([40, 41, 46, 47, 55, 56, 57, 58, 59, 65, 66, 67])


@dataclass(frozen=True)
class MotionLayer:
    """One side of an opening on a part of the region. weight: float32 (h, w); motion: float32 (h, w, 2)."""

    box: tuple[slice, slice]
    weight: np.ndarray
    motion: np.ndarray


@dataclass(frozen=True)
class LayeredMotion:
    """motion: float32 (h, w, 2), pixel + motion is where its picture comes from. layers: near openings, what replaces
    it; their weights sum to 1 on each of their boxes."""

    motion: np.ndarray
    layers: tuple[tuple[MotionLayer, ...], ...]


def compute_face_motion(
    driven: DrivenFrame, region: Window, aspect: float, display: np.ndarray | None = None
) -> LayeredMotion:
    """How the plate's own picture moves. display: that picture on the region, for where exactly the upper lids end."""
    own, wanted = driven.face.landmarks, driven.goal_face.landmarks
    still = np.zeros((region.height, region.width, 2), np.float32)
    if np.abs(own - wanted).max() < 1e-6:
        return LayeredMotion(still, ())
    pose = fit_head_pose(own, aspect)
    square = np.array([aspect, 1.0])
    forehead = np.vstack(warp_points.locate_forehead(own, aspect))
    raised = forehead
    if any(driven.head_turn):
        skull = np.vstack([warp_points.HAIRLINE, warp_points.MID_FOREHEAD])
        raised = forehead + project_turn(driven.face, skull, np.array(driven.head_turn), aspect)
    hull = find_convex_hull(np.vstack([own, wanted, forehead, raised]) * square)
    ring = _grow_hull(hull, pose.scale * (TURNED_REACH if any(driven.head_turn) else MOTION_REACH)) / square
    edges = own + _compute_lid_shifts(own, wanted, square, region, display)
    upper, lower = _place_corner_points(own, wanted)
    wider = CORNER_INSET * (own[EYE_CORNERS] - own[EYE_CORNERS[[1, 0, 3, 2]]])
    # In this order: the 68 landmarks, the corners as they are seen from above, and from below, the rest.
    destination = np.vstack(
        [wanted, wanted[EYE_CORNERS], wanted[EYE_CORNERS], raised, _place_cheekbones(wanted, pose.scale, square), ring]
    )
    source = np.vstack([edges, upper, lower, forehead, _place_cheekbones(own, pose.scale, square), ring])
    destination[EYE_CORNERS] += wider
    source[EYE_CORNERS] += wider
    # The neck goes along with a chin; what stands beside a face does not.
    down = pose.rotation[:2, 1] / np.linalg.norm(pose.rotation[:2, 1])
    neck = find_convex_hull(np.vstack([hull, wanted[4:13] * square + NECK_REACH * pose.scale * down]))
    beside = pose.scale * (TURNED_REACH if any(driven.head_turn) else BESIDE_REACH)
    window = _compute_falloff(neck / square, region, pose.scale, beside)[..., None]

    def evaluate_spline(used: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
        mapping = fit_spline_map(destination[used], source[used], region, stiffness[used])
        return (mapping - make_pixel_grid(region)) * window

    above, below = np.arange(68, 72), np.arange(72, 76)
    return build_layered_motion(
        evaluate_spline, source, destination, region, aspect, pose.scale, sided=(above, below), behind=True
    )


def _compute_lid_shifts(
    own: np.ndarray, wanted: np.ndarray, square: np.ndarray, region: Window, display: np.ndarray | None
) -> np.ndarray:
    """(68, 2): how far from their landmarks the lids' edges are taken to be where an eye closes. A rest of iris or
    white beside a shut lid shows at once, and landmarks stand inside the eye often enough."""
    shift = np.zeros_like(own)
    luma = None
    if display is not None:
        luma = cv2.GaussianBlur(display @ LUMA_WEIGHTS, (0, 0), 0.7)
    for corners, pairs in (((36, 39), ((37, 41), (38, 40))), ((42, 45), ((43, 47), (44, 46)))):
        upper, lower = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        gap = ((own[lower] - own[upper]) * square).mean(0)
        left = ((wanted[lower] - wanted[upper]) * square).mean(0)
        closing = smoothstep(np.array(1 - np.linalg.norm(left) / max(float(np.linalg.norm(gap)), 1e-6)))
        if closing <= 0:
            continue
        shift[lower] = LOWER_LID_INSET * closing * gap / square
        if luma is not None:
            line = np.vstack([own[corners[0]], own[upper], own[corners[1]]])
            edge = _find_dark_edge(luma, line, gap / square, region) + LASH_SHARE
            shift[upper] = edge * closing * gap / square
    return shift


def _find_dark_edge(luma: np.ndarray, line: np.ndarray, gap: np.ndarray, region: Window) -> float:
    """Where, in shares of `gap`, skin turns dark on the way down across `line` (4, 2), a lid's edge by landmarks; near
    0 rather than far."""
    along = np.linspace(0.25, 0.75, 9) * 3
    points = np.column_stack([np.interp(along, np.arange(4), line[:, k]) for k in (0, 1)]) - (region.x, region.y)
    steps = np.linspace(-0.6, 0.3, 46)
    at = (points[None] + steps[:, None, None] * gap).astype(np.float32)
    profile = cv2.remap(luma, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).mean(1)
    darker = np.maximum(-np.gradient(profile, steps), 0) * np.exp(-0.5 * (steps / 0.35) ** 2)
    weight = darker**3  # a mean over the strongest rather than the strongest: it does not jump from frame to frame
    return float((weight @ steps) / weight.sum()) if weight.sum() > 1e-9 else 0.0


def _place_cheekbones(landmarks: np.ndarray, scale: float, square: np.ndarray) -> np.ndarray:
    """(6, 2): three points under each eye, that go with the eye's corners whatever its lids do: without them a lid that
    closes would pull the cheek."""
    points = []
    for outer, inner in ((36, 39), (45, 42)):
        a, b = landmarks[outer] * square, landmarks[inner] * square
        along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
        down = np.array([-along[1], along[0]]) * np.sign(along[0] or 1.0)
        points += [a + share * (b - a) + CHEEKBONE_DROP * scale * down for share in (0.0, 0.5, 1.0)]
    return np.array(points) / square


def _place_corner_points(own: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(4, 2) each: what is taken to lie right above and below the corners of eyes that close; outer corners stand
    inside the eye more often than inner ones."""
    upper, lower = own[EYE_CORNERS].copy(), own[EYE_CORNERS].copy()
    for eye, lids in enumerate((((37, 38), (41, 40)), ((43, 44), (47, 46)))):
        gap = own[list(lids[1])].mean(0) - own[list(lids[0])].mean(0)
        left = wanted[list(lids[1])].mean(0) - wanted[list(lids[0])].mean(0)
        closing = smoothstep(np.array(1 - np.linalg.norm(left) / max(float(np.linalg.norm(gap)), 1e-6)))
        for corner, share in ((2 * eye, 0.35 - 0.2 * eye), (2 * eye + 1, 0.15 + 0.2 * eye)):
            upper[corner] -= share * closing * gap
            lower[corner] += share * closing * gap
    return upper, lower


def build_layered_motion(
    field: Callable[[np.ndarray, np.ndarray], np.ndarray],
    source: np.ndarray,
    destination: np.ndarray,
    region: Window,
    aspect: float,
    scale: float,
    *,
    sided: tuple[np.ndarray, np.ndarray] = (_NO_POINTS, _NO_POINTS),
    behind: bool = False,
) -> LayeredMotion:
    """The motion as a whole, and beside openings on either side.

    field: indices of the points used, stiffness of all -> motion, (h, w, 2) on `region`. source, destination: (n, 2)
    plate coordinates, the 68 landmarks first. scale: pixels per mm. sided: points that hold above, or below, only.
    behind: what lies behind lids and lips that close stays with the head.
    """
    count = len(destination)
    everything = np.arange(count)
    firm = np.full(count, 5e-4)
    firm[36:76] = 2e-5
    loose = firm.copy()
    loose[np.r_[_UPPER_EDGES, _LOWER_EDGES]] = 2e-4
    whole = field(np.setdiff1d(everything, np.r_[sided[0], sided[1]]), loose)
    above = field(np.setdiff1d(everything, np.r_[_LOWER_EDGES, sided[1]]), firm)
    below = field(np.setdiff1d(everything, np.r_[_UPPER_EDGES, sided[0]]), firm)
    motion = whole.copy()
    groups = []
    for opening in OPENINGS:
        layers = _build_opening_layers(
            opening, (whole, above, below), source, destination, region, aspect, scale, behind
        )
        if layers:
            groups.append(layers)
            best = np.argmax([layer.weight for layer in layers], axis=0)
            motion[layers[0].box] = np.choose(best[..., None], [layer.motion for layer in layers])
    return LayeredMotion(motion.astype(np.float32), tuple(groups))


def _build_opening_layers(
    opening: Opening,
    fields: tuple[np.ndarray, np.ndarray, np.ndarray],
    source: np.ndarray,
    destination: np.ndarray,
    region: Window,
    aspect: float,
    scale: float,
    behind: bool,
) -> tuple[MotionLayer, ...]:
    """Above, below and inside one opening."""
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
    if behind:
        pairs = [(a, b) for a, b in zip(opening.upper[1:-1], opening.lower[1:-1], strict=True)]

        def measure_gap(points: np.ndarray) -> float:
            return float(np.mean([np.linalg.norm((points[a] - points[b]) * square) for a, b in pairs]))

        closing = smoothstep(np.array((1 - measure_gap(destination) / max(measure_gap(source), 1e-6)) / 0.3))
        rigid = (source - destination)[list(opening.rigid)].mean(0)
        own_upper, own_lower = _measure_edge_heights(opening, source * square, grid + rigid * square)
        seen = smoothstep(np.minimum(-own_upper, own_lower) / max(1.0, 0.5 * scale))
        within = whole + (closing * seen)[..., None] * (rigid - whole)
    return (
        MotionLayer(box, over.astype(np.float32), (whole + band * (above - whole)).astype(np.float32)),
        MotionLayer(box, under.astype(np.float32), (whole + band * (below - whole)).astype(np.float32)),
        MotionLayer(box, inside.astype(np.float32), np.asarray(within, np.float32)),
    )


def _measure_edge_heights(opening: Opening, points: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel of `grid` (h, w, 2) lies above the upper and the lower edge, in pixels; both square."""
    first, last = points[opening.upper[0]], points[opening.upper[-1]]
    along = (last - first) / max(float(np.linalg.norm(last - first)), 1e-6)
    down = np.array([-along[1], along[0]])
    u, v = (grid - first) @ along, (grid - first) @ down
    found = []
    for edge in (opening.upper, opening.lower):
        at, depth = (points[list(edge)] - first) @ along, (points[list(edge)] - first) @ down
        at = np.maximum.accumulate(at + np.arange(len(at)) * 1e-6)
        found.append(PchipInterpolator(at, depth)(np.clip(u, at[0], at[-1])) - v)
    return found[0], found[1]


def render_motion(display: np.ndarray, moves: LayeredMotion, offset: Sequence[float] = (0.0, 0.0)) -> np.ndarray:
    """(h, w, 3): `display`, moved. offset: where the region's first pixel lies in `display`, if nothing moves."""
    height, width = moves.motion.shape[:2]
    grid = make_pixel_grid(Window(0, 0, width, height)) + np.array(offset, np.float32)
    picture = sample_picture(display, grid + moves.motion)
    for layers in moves.layers:
        box = layers[0].box
        picture[box] = sum(
            layer.weight[..., None] * sample_picture(display, grid[box] + layer.motion) for layer in layers
        )
    return picture


def find_convex_hull(points: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], np.float64)


def _grow_hull(hull: np.ndarray, reach: float, count: int = 32) -> np.ndarray:
    """(count, 2) points around a convex polygon, `reach` beyond it."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    way = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.asarray(hull[(way @ hull.T).argmax(1)] + reach * way)


def _compute_falloff(hull: np.ndarray, region: Window, scale: float, reach: float) -> np.ndarray:
    """float32 (h, w): 1 on the face, 0 from `reach` beyond it on and at the region's border."""
    distance = -measure_signed_distance(draw_polygon(hull, region))
    window = smoothstep((reach - distance) / (reach - FIRM_MARGIN * scale))
    y, x = np.mgrid[0 : region.height, 0 : region.width]
    border = np.minimum(np.minimum(x, region.width - 1 - x), np.minimum(y, region.height - 1 - y))
    return (window * smoothstep(border / (BORDER_REACH * scale))).astype(np.float32)


def make_pixel_grid(window: Window) -> np.ndarray:
    """float32 (h, w, 2): x, y of the pixels."""
    return np.stack(
        np.meshgrid(
            np.arange(window.width, dtype=np.float32) + np.float32(window.x),
            np.arange(window.height, dtype=np.float32) + np.float32(window.y),
        ),
        -1,
    )
