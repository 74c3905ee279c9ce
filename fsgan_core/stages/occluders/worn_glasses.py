"""The source's own glasses: where their rims, bridge and arms are, and the skin continued behind them.

A rim is the strongest closed line around an eye. It is found by dynamic programming on the picture unrolled around the
eye, so gaps and reflections in it do not matter. Lengths are shares of the face's width, unless said otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R
from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, IndexArray, Mask, Matte, Plane, Points, Points68, Vector
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    draw_convex_hull,
    draw_polygon,
    ease_between,
    enlarge_polygon,
    find_largest,
    weigh,
)
from fsgan_core.stages.occluders.glasses import make_disc
from fsgan_core.stages.skin.atlas import push_pull
from fsgan_core.stages.warp_points import EYE_OUTER_L, EYE_OUTER_R, measure_face_width

WORKING_WIDTH = 400.0  # pixels of the face: larger ones are looked at in a smaller picture
LINE_RADIUS = 0.025  # half the thickness of the thickest rim

# The picture unrolled around an eye. Radii are shares of the distance between the outer corners of the eyes.
ANGLES, RADII = 180, 72  # samples around and outwards
NEAREST_RIM, FARTHEST_RIM, FLATNESS = 0.17, 0.44, 0.9  # of its middle line; height over width
PART_REACH = 0.6  # around the eyes, that can show a frame
CENTRE_DROP = 0.06  # of the same distance: the middle of a lens lies below that of the eye
LARGEST_STEP = 2  # samples of radius between neighbouring angles
STEP_COST = 0.1  # of a strong line's value
STRONG_PERCENTILE = 97  # of the unrolled lines: stronger ones count no more
OTHER_EYE = 0.5  # what the other eye's picture counts: both lenses have one shape
SHAPE_TOLERANCE = 5  # samples by which their shapes may differ
FEATURE_SHARE = 0.3  # what lines from brows to eyes count
BROW_RISE, BROW_DEPTH = 0.015, 0.085  # of a brow above and below its landmarks, which lie on its upper edge

# How surely it is a rim: a low percentile of the line's strength, over that of lines on the nose. Measured: 1.8 and
# more with glasses on faces of 200 pixels or more, 1.2 and less without; 1.0 with glasses on a face of 130 pixels.
RIM_PERCENTILE, SKIN_PERCENTILE = 30, 60
BRIDGE_WORTH = 0.5  # added for a bridge that is surely seen; a turned head or a pale one hides it
SURE_RANGE = (1.7, 2.1)

# What is marked around the line.
BAND, CORE = 0.046, 0.014  # thickness of what may belong to it, and of what does
EVEN_SIGMA = 4  # samples along the line over which its strength is averaged
RIM_SHARE = 0.45  # of the line's strength, from which on a pixel belongs to it
SKIN_LINES, MIN_LINE = 1.5, 0.008  # times the skin's lines; display values
BRIDGE_ANGLE = np.pi / 2.6  # of the rim, towards the nose
BRIDGE_LINES, MIN_BRIDGE = 2.5, 0.05  # as for the rim
EYE_GROWTH = 1.2  # times the size of an eye: with its lashes
GROWTH, SOFTNESS, MIN_SOFTNESS = 0.006, 0.003, 0.6  # of what is marked; pixels
MIN_STRONG = 1e-3  # display values: lines that are weaker are none
SUBPIXEL_BITS = 4


def remove_glasses(
    display: Image, landmarks: Points68, window: Window, aspect: float, bridge: float
) -> tuple[Image, float]:
    """Continue the skin behind the frame of a pair of glasses. Arms stay, and so do reflections on the lenses.

    Args:
        display: (height, width, 3) display-like values of `window`.
        landmarks: In plate coordinates.
        window: The part of the plate that is looked at.
        aspect: Width of a pixel over its height.
        bridge: How surely a bridge is seen, 0..1 (`glasses.detect_glasses`).

    Returns:
        The picture, the same one where no rims are found; and how far the frame is gone, 0..1.
    """
    part = _find_part(landmarks, window, aspect)
    if part.empty:
        return display, 0.0
    near = display[compute_slices(part, window)]
    scale = min(1.0, WORKING_WIDTH / measure_face_width(landmarks, aspect))
    size = max(8, round(part.width * aspect * scale)), max(8, round(part.height * scale))
    steps = np.array(size) / (part.width, part.height)
    small = np.clip(cv2.resize(near, size, interpolation=cv2.INTER_AREA), 0, 1).astype(np.float32)
    points = np.asarray((landmarks - (part.x, part.y) + 0.5) * steps - 0.5)
    marked, strength = find_worn_glasses(small, points)
    sureness = float(ease_between(strength + BRIDGE_WORTH * bridge, *SURE_RANGE))
    if sureness <= 0:
        return display, 0.0
    width, full = measure_face_width(points), (part.width, part.height)
    grown: Matte = np.asarray(cv2.dilate(marked.astype(np.float32), make_disc(GROWTH * width + 1)), np.float32)
    skin = (1 - grown) * ~draw_eyes(points, Window(0, 0, *size))  # lashes do not go on behind a rim
    behind = np.asarray(cv2.resize(push_pull(small, skin.astype(np.float32)), full), np.float32)
    soft = cv2.resize(cv2.GaussianBlur(grown, (0, 0), max(MIN_SOFTNESS, SOFTNESS * width)), full)
    result = np.array(display, np.float32)
    result[compute_slices(part, window)] += weigh(behind - near, np.asarray(soft * np.float32(sureness)))
    return result, sureness


def _find_part(landmarks: Points68, window: Window, aspect: float) -> Window:
    """The part of a window that can show a frame."""
    eyes = np.vstack([landmarks[EYE_R], landmarks[EYE_L]])
    reach = PART_REACH * _measure_axes(landmarks * (aspect, 1.0))[2] / np.array([aspect, 1.0])
    (left, top), (right, bottom) = np.floor(eyes.min(0) - reach), np.ceil(eyes.max(0) + reach)
    return Window(int(left), int(top), int(right - left), int(bottom - top)).intersect(window)


def find_worn_glasses(picture: Image, points: Points68) -> tuple[Mask, float]:
    """Mark rims, bridge and pads of glasses.

    Args:
        picture: (height, width, 3) display-like values 0..1, of square pixels.
        points: Landmarks in it.

    Returns:
        (height, width) what belongs to them, and how strong their rims are: times the lines on the nose.
    """
    height, width = picture.shape[:2]
    window, face_width = Window(0, 0, width, height), measure_face_width(points)
    lines = _find_lines(picture, LINE_RADIUS * face_width)
    nose = draw_convex_hull(points[[29, 31, 35, 33]], window) > HALF_COVERED
    skin = float(np.percentile(lines[nose], SKIN_PERCENTILE)) if nose.any() else 1.0
    rims = _find_rims(lines * _weigh_features(points, window, face_width), points)
    marked, brows = np.zeros(lines.shape, bool), _draw_brows(points, window, face_width)
    strengths = [_sample(lines, rim) for rim in rims]
    for rim, strength in zip(rims, strengths, strict=True):
        wide, core = (_draw_along(rim, strength, lines.shape, share * face_width) for share in (BAND, CORE))
        marked |= (wide > 0) & ~brows & (lines > np.maximum(RIM_SHARE * wide, SKIN_LINES * skin + MIN_LINE))
        marked |= core > skin
    bridge = draw_convex_hull(np.vstack([_cut_inner_side(rim) for rim in rims]), window) > HALF_COVERED
    marked |= bridge & (lines > max(BRIDGE_LINES * skin, MIN_BRIDGE))
    marked &= ~draw_eyes(points, window)
    usual = np.mean([np.percentile(strength, RIM_PERCENTILE) for strength in strengths])
    return marked, float(usual) / max(skin, MIN_LINE)


def draw_eyes(points: Points68, window: Window) -> Mask:
    """Draw both eyes with their lashes."""
    eyes = (draw_convex_hull(enlarge_polygon(points[eye], EYE_GROWTH), window) for eye in (EYE_R, EYE_L))
    return np.asarray(np.maximum(*eyes) > HALF_COVERED)


def _find_lines(picture: Image, radius: float) -> Plane:
    """How much darker or brighter than around, in the channel that shows it most, where something is narrow."""
    kernel = make_disc(radius)
    closed, opened = (cv2.morphologyEx(picture, kind, kernel) for kind in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN))
    return find_largest(np.maximum(closed - picture, picture - opened))


def _weigh_features(points: Points68, window: Window, width: float) -> Matte:
    """`FEATURE_SHARE` from brows to eyes, 1 elsewhere: brows, lids and their creases are lines too."""
    rise = -BROW_RISE * width * _measure_axes(points)[1]
    sides = [np.vstack([points[brow] + rise, points[eye]]) for brow, eye in ((BROW_R, EYE_R), (BROW_L, EYE_L))]
    features = np.maximum(*(draw_convex_hull(side, window) for side in sides))
    return np.asarray(1 - (1 - FEATURE_SHARE) * features, np.float32)


def _draw_brows(points: Points68, window: Window, width: float) -> Mask:
    """Draw both brows: their hairs are lines as strong as a rim."""
    down = width * _measure_axes(points)[1]
    brows = (
        draw_polygon(np.vstack([points[brow] - BROW_RISE * down, (points[brow] + BROW_DEPTH * down)[::-1]]), window)
        for brow in (BROW_R, BROW_L)
    )
    return np.asarray(np.maximum(*brows) > HALF_COVERED)


def _measure_axes(points: Points68) -> tuple[Vector, Vector, float]:
    """Unit vectors along the eyes and down, and the distance between the eyes' outer corners."""
    across = points[EYE_OUTER_L] - points[EYE_OUTER_R]
    gap = float(np.linalg.norm(across))
    across = across / gap
    return across, np.array([-across[1], across[0]]), gap


def _find_rims(lines: Plane, points: Points68) -> list[Points]:
    """The strongest closed line around each eye, (ANGLES, 2): from the outer side, down, to the nose and up."""
    across, down, gap = _measure_axes(points)
    angles, radii = np.arange(ANGLES) * (2 * np.pi / ANGLES), np.linspace(NEAREST_RIM, FARTHEST_RIM, RADII) * gap
    places = []
    for eye, outward in ((EYE_R, -across), (EYE_L, across)):  # so both eyes unroll alike
        directions = np.cos(angles)[:, None] * outward + FLATNESS * np.sin(angles)[:, None] * down
        places.append(points[eye].mean(0) + CENTRE_DROP * gap * down + radii[:, None, None] * directions)
    unrolled = [_sample(lines, place) for place in places]
    kernel = np.ones((SHAPE_TOLERANCE, SHAPE_TOLERANCE), np.uint8)
    gains = []
    for own, other in zip(unrolled, unrolled[::-1], strict=True):
        strong = max(float(np.percentile(own, STRONG_PERCENTILE)), MIN_STRONG)
        gains.append(np.minimum(own, strong) / strong + OTHER_EYE * np.minimum(cv2.dilate(other, kernel) / strong, 1))
    paths = _find_closed_paths(np.stack(gains))
    return [place[path, np.arange(ANGLES)] for place, path in zip(places, paths, strict=True)]


def _find_closed_paths(gains: AnyArray) -> IndexArray:
    """The row of each column on the path of most gain, for each of some (count, rows, columns).

    The path runs three times around, and the middle one closes.
    """
    count, rows, turn = gains.shape
    moves = np.arange(-LARGEST_STEP, LARGEST_STEP + 1)
    columns = np.moveaxis(np.tile(gains, 3), -1, 0)
    padded = np.full((count, rows + 2 * LARGEST_STEP), -np.inf)
    around, inner = (
        np.lib.stride_tricks.sliding_window_view(padded, len(moves), 1),
        np.s_[:, LARGEST_STEP:-LARGEST_STEP],
    )
    came_from = np.zeros(columns.shape, np.int64)
    padded[inner] = columns[0]
    for number, column in enumerate(columns[1:], 1):
        reached = around - STEP_COST * np.abs(moves)
        came_from[number] = np.arange(rows) + moves[reached.argmax(-1)]
        padded[inner] = column + reached.max(-1)
    path = np.zeros((len(columns), count), np.int64)
    path[-1] = padded[inner].argmax(-1)
    for number in range(len(columns) - 1, 0, -1):
        path[number - 1] = came_from[number, np.arange(count), path[number]]
    return path[turn : 2 * turn].T


def _sample(values: Plane, places: Points) -> Plane:
    flat = np.asarray(places, np.float32)
    return np.asarray(cv2.remap(values, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR).reshape(places.shape[:-1]))


def _draw_along(rim: Points, strength: Vector, shape: tuple[int, ...], thickness: float) -> Plane:
    """The rim's strength, averaged along it, within a band; 0 elsewhere."""
    turns = np.tile(np.asarray(strength, np.float32).ravel(), 3)[None]
    even = cv2.GaussianBlur(turns, (0, 0), EVEN_SIGMA)[0, ANGLES : 2 * ANGLES]
    corners = np.round(rim * 2**SUBPIXEL_BITS).astype(int)
    band = np.zeros(shape, np.float32)
    for begin, end, value in zip(corners, np.roll(corners, -1, 0), even, strict=True):
        cv2.line(band, begin.tolist(), end.tolist(), float(value), max(1, round(thickness)), cv2.LINE_8, SUBPIXEL_BITS)
    return band


def _cut_inner_side(rim: Points) -> Points:
    """The part of a rim that is next to the nose."""
    from_nose = np.abs(np.arange(ANGLES) * (2 * np.pi / ANGLES) - np.pi)
    return np.asarray(rim[from_nose < BRIDGE_ANGLE])
