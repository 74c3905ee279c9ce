"""Mouth of the new face: whose teeth are seen between the lips, and lips that meet.

Teeth and tongue show inside the opening of the new lips alone, wherever they come from: the source's view, or the
plate, moved along with the lips. Where a view's mouth is further open than the target's, lips are continued over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fsgan_core.faces.mesh import INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, IndexArray, Matte, Mesh, PointMap, Vector
from fsgan_core.stages.features.openings import (
    LOG_FLOOR,
    OpeningWindow,
    ViewPicture,
    continue_skin,
    find_middle_line,
    fit_opening_map,
    make_opening_window,
    measure_lip_opening,
    measure_ring_distance,
    measure_ring_width,
    soften_edge,
    square_points,
    take_line,
    trace_ring,
)
from fsgan_core.stages.image_ops import smoothstep
from fsgan_core.stages.warp import fit_spline_map, sample_picture

# Lengths are shares of the mouth's width.
MOUTH_MARGIN = 0.5  # of the window around the mouth
FEATHER, MIN_FEATHER = 0.035, 1.0  # from the lips inwards, over which the inner mouth appears; pixels
LIPS_SOFTNESS = 0.05  # around the lips, over which the view's own warp goes on
LIP_INSET = 0.12  # of the lip's thickness, that its inner edge is moved into the lip
LIP_STIFFNESS = 5e-4  # of the spline of one lip
AROUND_LIPS = (1.3, 1.7)  # times the size of the lips: where the view's own warp holds
SEAM_SOFTNESS, MIN_SEAM = 0.008, 0.7  # of the line where lips meet; pixels
LEFT_RANGE, LEFT_REACH = (-0.01, 0.01), 0.3  # into the view's inner mouth: from none to all is covered; from how far
# Shares of the outer eye corners' distance.
FURTHER_RANGE = (0.004, 0.02)  # how much further the view's mouth is open: from none to all of the lips is drawn anew
SLIT_RANGE = (0.02, 0.05)  # a mouth open by less is shut, by more is open

# Choice of the inner mouth. Openings are shares of the outer eye corners' distance.
TALKING_OPENING = 0.03  # a mouth open by less shows no teeth
ENOUGH_MOUTH = 0.6  # of the target's opening: a view open this far shows its teeth
DEFAULT_FPS = 24.0  # frames a second, of a clip that does not say
MIN_HOLD = 1.0  # seconds that a choice lasts
SWITCH_COST = 0.5  # of a change of the choice, in frames of a view that shows no teeth at all
NO_TEETH_SHARE = 0.02  # of that cost, while the mouth is shut
TARGET_COST = 0.05  # of the plate's inner mouth for each frame with an open mouth: the source's is preferred


@dataclass(frozen=True)
class MouthPicture:
    """What is put over a face inside the lips.

    Attributes:
        picture: Display-like, on the region.
        matte: Where it shows, 0..1.
    """

    picture: Image
    matte: Matte


def choose_inner_mouth(
    source: Vector, target: Vector, frames: IndexArray, frames_per_second: float = DEFAULT_FPS
) -> Vector:
    """Chooses whose inner mouth each frame of a shot shows, so that the two never take turns within a second.

    A frame costs what the source's mouth lacks of the target's opening if the source's is shown, a little if the
    target's is shown, nothing while the mouth is shut; a change costs too. The cheapest sequence is found in which each
    choice lasts `MIN_HOLD` or to an end of the shot (Viterbi 1967, with the age of the choice as part of the state).

    Args:
        source: (n,) openings of the views' mouths (`openings.measure_lip_opening`).
        target: (n,) openings of the target's mouth.
        frames: (n,) frame numbers, ascending; a gap of more than `MIN_HOLD` starts anew.
        frames_per_second: Of the target.

    Returns:
        (n,) 1 for the source's, 0 for the target's.

    >>> choose_inner_mouth(np.full(4, 0.2), np.full(4, 0.2), np.arange(4)).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    hold = max(1, round(MIN_HOLD * frames_per_second))
    parts = np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) > hold) + 1)
    return np.concatenate([_choose_run(source[part], target[part], hold) for part in parts if len(part)] or [source])


def _choose_run(source: Vector, target: Vector, hold: int) -> Vector:
    """`choose_inner_mouth` for frames without a gap."""
    count = len(target)
    is_open = np.clip(target / TALKING_OPENING - 0.5, 0, 1)
    lack = np.clip((ENOUGH_MOUTH * target - source) / np.maximum(ENOUGH_MOUTH * target, 1e-6), 0, 1)
    costs = np.stack([TARGET_COST * np.maximum(is_open, NO_TEETH_SHARE), lack * is_open])
    # total[choice, age]: the last age stands for `hold` frames and more. At the start a choice may be of any age.
    total = np.full((2, hold), np.inf)
    total[:, -1] = costs[:, 0]
    came_from = np.zeros((count, 2, hold), np.int64)  # age before, or -1 - age before of the other choice
    for t in range(1, count):
        new = np.full_like(total, np.inf)
        for choice in (0, 1):
            new[choice, 1:] = total[choice, :-1]
            came_from[t, choice, 1:] = np.arange(hold - 1)
            if total[choice, -1] < new[choice, -1]:
                new[choice, -1], came_from[t, choice, -1] = total[choice, -1], hold - 1
            changed = total[1 - choice, -1] + SWITCH_COST
            if changed < new[choice, 0]:
                new[choice, 0], came_from[t, choice, 0] = changed, -hold
        total = new + costs[:, t, None]
    choice, age = (int(place) for place in np.unravel_index(int(np.argmin(total)), total.shape))
    result = np.empty(count)
    for t in range(count - 1, -1, -1):
        result[t] = choice
        before = int(came_from[t, choice, age])
        choice, age = (choice, before) if before >= 0 else (1 - choice, -1 - before)
    return result


def keep_mouth(plate: Image, target: Mesh, goal: Mesh, region: Window, aspect: float) -> MouthPicture:
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
        return MouthPicture(picture, matte)
    knots = [*INNER_LIPS, *OUTER_LIPS]
    moved = fit_opening_map(goal[knots], target[knots], part, region, aspect)
    if moved is not None:
        picture[part.slices] = sample_picture(plate, moved)
    matte[part.slices] = draw_lips_opening(goal, part, aspect)
    return MouthPicture(np.where(matte[..., None] > 0, picture, plate), matte)


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


def close_lips(
    picture: Image,
    places: PointMap,
    view: ViewPicture,
    plate: Image,
    target: Mesh,
    goal: Mesh,
    region: Window,
    aspect: float,
) -> Image:
    """Lets the lips of a warped view meet where the goal's do, although the view's mouth is further open.

    One smooth warp cannot bring two edges to one line: it would keep a strip of teeth between them. So each lip is
    warped by itself, and the two are joined along the line where they meet. That line's darkness is the plate's.

    Args:
        picture: The warped view, display-like, on the region.
        places: (height, width, 2) the place in the view's plate that each pixel shows.
        view: The view.
        plate: Display-like picture of the region.
        target: The target's mesh, plate coordinates.
        goal: The mesh of the new face.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.

    Returns:
        The picture; the same array if the view's mouth is no further open than the goal's.
    """
    part = _open_window(goal, region, aspect)
    opening = measure_lip_opening(goal, aspect)
    further = measure_lip_opening(view.mesh, view.pixel_aspect) - opening
    share = float(smoothstep(np.asarray((further - FURTHER_RANGE[0]) / (FURTHER_RANGE[1] - FURTHER_RANGE[0]))))
    if part is None or share <= 0:
        return picture
    ring, outer = (square_points(goal, vertices, aspect) for vertices in (INNER_LIPS, OUTER_LIPS))
    width = measure_ring_width(ring)
    distance = measure_ring_distance(trace_ring(ring), part.places)
    lips = soften_edge(measure_ring_distance(trace_ring(outer), part.places), -LIPS_SOFTNESS * width, 0.0)
    # Shut lips of a mesh lie slightly apart: such a slit shows no teeth.
    low, high = SLIT_RANGE
    met = 1 - float(smoothstep(np.asarray((opening - low) / (high - low))))
    cover = share * lips * (1 - (1 - met) * draw_lips_opening(goal, part, aspect))

    line = np.vstack([goal[INNER_LIPS[0]], find_middle_line(goal, INNER_LIPS), goal[INNER_LIPS[len(INNER_LIPS) // 2]]])
    above = measure_ring_distance(np.vstack([line[:, :2] * (aspect, 1.0), outer[len(outer) // 2 :]]), part.places)
    seam = max(SEAM_SOFTNESS * width, MIN_SEAM)
    is_upper = soften_edge(above, -seam, seam)[..., None]
    maps = _fit_lip_maps(places[part.slices], view, goal, part, region, aspect)
    upper, lower = (sample_picture(view.display, one) for one in maps)
    joined = np.asarray(lower + is_upper * (upper - lower), np.float32)
    # Next to the corners of the mouth a little of the inner mouth may be left.
    view_ring = square_points(view.mesh, INNER_LIPS, view.pixel_aspect)
    corner, scale = np.array([view.window.x, view.window.y]), (view.pixel_aspect, 1.0)
    inside = [measure_ring_distance(trace_ring(view_ring), (one + corner) * scale)[..., None] for one in maps]
    depth = (inside[1] + is_upper * (inside[0] - inside[1]))[..., 0] / measure_ring_width(view_ring)
    left = soften_edge(depth, *LEFT_RANGE)
    if left.any():
        skin = continue_skin(joined, lips * (left <= 0), LEFT_REACH * width, aspect)
        joined = np.asarray(joined + left[..., None] * (skin - joined), np.float32)

    moved = fit_opening_map(_list_shut_knots(goal), _list_shut_knots(target), part, region, aspect)
    own = plate[part.slices] if moved is None else sample_picture(plate, moved)
    luma = np.log(np.maximum(own, 0) @ LUMA_WEIGHTS + LOG_FLOOR)
    change = met * take_line(luma, distance, width, aspect)
    joined = np.asarray((joined + LOG_FLOOR) * np.exp(change)[..., None] - LOG_FLOOR, np.float32)
    result = picture.copy()
    crop = picture[part.slices]
    result[part.slices] = crop + cover[..., None] * (joined - crop)
    return result


def _fit_lip_maps(
    places: PointMap, view: ViewPicture, goal: Mesh, part: OpeningWindow, region: Window, aspect: float
) -> tuple[PointMap, PointMap]:
    """Maps from a window's pixels to the view's picture, for the upper and the lower lip.

    Either meets its own lip's edges, and the view's warp around the mouth.
    """
    half = len(INNER_LIPS) // 2
    middle = goal[list(OUTER_LIPS), :2].mean(0)
    around = np.vstack([middle + growth * (goal[list(OUTER_LIPS), :2] - middle) for growth in AROUND_LIPS])
    low, high = (part.window.x, part.window.y), (part.window.right - 1, part.window.bottom - 1)
    around = np.clip(np.rint(around), low, high).astype(int)
    there = places[around[:, 1] - part.window.y, around[:, 0] - part.window.x]
    inner, outer = view.mesh[list(INNER_LIPS), :2], view.mesh[list(OUTER_LIPS), :2]
    inner = inner + LIP_INSET * (outer - inner)  # the lip's edge lies in the shadow of the mouth
    maps = []
    for side in ([*range(half, len(INNER_LIPS)), 0], [*range(half + 1)]):
        vertices = np.array(INNER_LIPS)[side], np.array(OUTER_LIPS)
        destination = np.vstack([goal[vertices[0], :2], goal[vertices[1], :2], around])
        source = np.vstack([inner[side], outer, there])
        stiffness = np.full(len(destination), LIP_STIFFNESS)
        fitted = fit_spline_map(destination, source, part.window, stiffness, aspect)
        maps.append(np.asarray(fitted - np.array([view.window.x, view.window.y]), np.float32))
    return maps[0], maps[1]


def _list_shut_knots(mesh: Mesh) -> AnyArray:
    """Points of lips that may touch: their outer edge, and the line where they meet."""
    return np.vstack([np.asarray(mesh)[list(OUTER_LIPS)], find_middle_line(mesh, INNER_LIPS)])


def _open_window(goal: Mesh, region: Window, aspect: float) -> OpeningWindow | None:
    ring = square_points(goal, OUTER_LIPS, aspect)
    return make_opening_window(ring, MOUTH_MARGIN * measure_ring_width(ring), region, aspect)
