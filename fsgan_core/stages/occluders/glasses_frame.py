"""The frame of a pair of glasses: rims and bridge as strips with crisp edges, pads and dark bars.

Lengths are shares of the face's width, unless said otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, IndexArray, Mask, Matte, Points, Points68
from fsgan_core.stages.image_ops import HALF_COVERED, draw_convex_hull, draw_polygon, ease_between, make_disc
from fsgan_core.stages.occluders.rim_paths import find_paths, find_smooth_paths
from fsgan_core.stages.occluders.strips import NEARLY, Strip, fit_strip, measure_strips
from fsgan_core.stages.occluders.worn_glasses import (
    ANGLES,
    BRIDGE_WORTH,
    LOW_LENSES,
    MIN_LINE,
    MIN_SOFTNESS,
    MIN_STRONG,
    RIM_PERCENTILE,
    SKIN_PERCENTILE,
    USUAL_LENSES,
    FaceLook,
    LensShape,
    WornGlasses,
    add_other_eye,
    draw_eyes,
    draw_nose,
    find_lines,
    look_for_glasses,
    measure_axes,
    measure_distance,
    measure_nose_luma,
    sample,
    unroll_eyes,
    weigh_features,
)
from fsgan_core.stages.warp_points import measure_face_width

KNOWN_RANGE = (1.65, 1.8)  # as `LensShape.sure`, where other frames of the clip show glasses
# Of glasses that hang low on the nose: their upper rims may be near the lids.
HANGING_LENSES = replace(USUAL_LENSES, nearest=0.11, drop=0.09)
MUCH_WEAKER = 0.75  # of the strength of hanging rims: if usual ones are weaker than this, the glasses hang

RIM_RADII = 110  # samples outwards: a path bends less than with few ones
THICKNESSES = np.geomspace(0.006, 0.06, 9)
THICKEST_RIM = 7  # of these: the path of a rim is looked for with them
EDGE_SIGMA = 0.7  # pixels of the picture: of the blur with which edges are measured
EDGE_GROWTH = 0.5  # times that: how far the blurred edge of a strip belongs to it
THIN_SHARE = 0.85  # of the strength with the best thickness: rims are no thicker than what has so much
THICKER = 2  # thicknesses more that a rim may have in places
LOW_THICKNESS, LOW_BRIDGES = 0.014, 4  # of the rims of low lenses; thicknesses of their bridge: brows end beside it
FEATURE_SHARE = 0.7  # what strips from brows to eyes count
EYE_SHARE = 0.9  # times the size of an eye, where nothing counts: upper rims may be in front of the lids
STRONG_PERCENTILE = 90  # of strips: one that is so strong counts half as much as the strongest possible

BAR_LUMA, BAR_REACH = 0.4, 0.07  # of the skin's luma; from a rim
BAR_EDGE = (0.75, 0.3)  # of the skin's luma: what is not of a dark bar, and what is

BRIDGE_COLUMNS, BRIDGE_ROWS, BRIDGE_HEIGHT = 64, 102, (-0.26, 0.08)  # samples; of the distance between the eyes
BRIDGE_REACH = 0.3  # of the way from rim to rim, beyond both: where a thick one widens
BETWEEN_RIMS = slice(*(round((BRIDGE_REACH + way) / (1 + 2 * BRIDGE_REACH) * BRIDGE_COLUMNS) for way in (0.1, 0.9)))
BRIDGE_SHARE = 0.2  # of the rims' strength: weaker bridges are not seen
PAD_RADIUS = 0.01  # half the thickest line of a pad
PAD_REACH, PAD_SHARE, PAD_LINES = 0.05, 0.45, 5  # from a rim; of the rims' strength; times the skin's lines
PAD_COLUMNS = slice(60, 116)  # of a rim: at its side to the nose, and below
PAD_GAP = 0.015  # in a clear pad, between its edges


def draw_glasses(
    display: Image, landmarks: Points68, window: Window, aspect: float, bridge: float, is_known: bool = False
) -> Matte:
    """Draw the frame of a pair of glasses, without arms and lenses.

    Args:
        display: This and the next ones as for `FaceLook`.
        landmarks: See there.
        window: See there.
        aspect: See there.
        bridge: How surely a bridge is seen, 0..1.
        is_known: Whether other frames of the clip show the glasses.
    """
    found = look_for_glasses(FaceLook(display, landmarks, window, aspect), USUAL_LENSES)
    sure = KNOWN_RANGE if is_known else USUAL_LENSES.sure
    sureness = float(ease_between(found.strength + BRIDGE_WORTH * bridge, *sure)) if found is not None else 0.0
    matte = np.zeros((window.height, window.width), np.float32)
    if found is not None and sureness > 0:
        matte[compute_slices(found.part, window)] = np.float32(sureness) * draw_frame(found, found.part)
    return matte


def draw_frame(found: WornGlasses, size: Window, is_low: bool = False) -> Matte:
    """Draw the frame of glasses that are surely worn, without arms: rims, bridge, bars and pads.

    Args:
        found: The glasses.
        size: How many pixels the part of the plate gets.
        is_low: Whether these are low lenses.
    """
    small, width = Window(0, 0, *found.picture.shape[1::-1]), measure_face_width(found.points)
    full = Window(0, 0, size.width, size.height)
    scale = np.array([full.width / small.width, full.height / small.height])

    def draw(*edges: Points) -> Matte:
        return draw_polygon((np.vstack(edges) + 0.5) * scale - 0.5, full)

    rims = _follow_lines(found, width) if is_low else _find_worn_rims(found, width)
    bridge = _find_bridge_strip(found, rims, width, LOW_BRIDGES if is_low else len(THICKNESSES))
    frame, inside = (np.maximum(*(draw(rim.place(side)) for rim in rims)) for side in (1, -1))
    usual = float(np.median([rim.strength for rim in rims]))
    if np.percentile(bridge.strength[BETWEEN_RIMS], RIM_PERCENTILE) > BRIDGE_SHARE * usual:
        frame = np.maximum(frame, draw(bridge.place(-1), bridge.place(1)[::-1]))
    middles = [rim.place() for rim in rims]
    pads = cv2.GaussianBlur(_find_pads(found, middles, width).astype(np.float32), (0, 0), MIN_SOFTNESS)
    # A brow above low lenses would pass for a bar.
    bars = np.zeros_like(pads) if is_low else _draw_bars(found, [middle[ANGLES // 2 :] for middle in middles])
    broad = np.maximum(pads, bars) * ~draw_eyes(found.points, small)
    thin = np.maximum(frame - inside, 0)
    return np.asarray(np.maximum(thin, cv2.resize(broad, (full.width, full.height))), np.float32)


def _follow_lines(found: WornGlasses, width: float) -> list[Strip]:
    """The rims of low lenses, along the lines by which they were found: a brow near them is a stronger strip."""
    strips = []
    for place, rim in zip(unroll_eyes(found.points, LOW_LENSES), found.rims, strict=True):
        rows = np.linalg.norm(rim - place[0], axis=-1) / np.linalg.norm(place[1] - place[0], axis=-1)
        half = LOW_THICKNESS * width / 2 / np.linalg.norm(place[1] - place[0], axis=-1)
        strips.append(Strip(rows, half, np.zeros(ANGLES), place, True).smooth(0.0))
    return strips


def _draw_bars(found: WornGlasses, rims: list[Points]) -> Matte:
    """Draw what of a dark frame is too thick for a line, at its edge as much as it is dark."""
    skin = measure_nose_luma(found)
    around = cv2.dilate(_find_bars(found, rims).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.asarray(
        around * ease_between(found.picture @ LUMA_WEIGHTS, BAR_EDGE[0] * skin, BAR_EDGE[1] * skin), np.float32
    )


def _find_bars(found: WornGlasses, rims: list[Points]) -> Mask:
    """Find what of a dark frame is too thick for a line: what is as dark beside a rim whose middle is dark."""
    luma, window = found.picture @ LUMA_WEIGHTS, Window(0, 0, *found.picture.shape[1::-1])
    nearest = np.minimum(*(measure_distance(rim, window) for rim in rims)) / measure_face_width(found.points)
    darkness = BAR_LUMA * measure_nose_luma(found)
    # A bright rim in front of a dark brow is no bar.
    brightest = np.asarray(cv2.dilate(luma, np.ones((3, 3), np.uint8)), np.float32)
    middle = np.zeros(luma.shape, np.uint8)
    for rim in rims:
        places = np.round(rim[sample(brightest, rim) < darkness]).astype(int)
        places = np.clip(places, 0, (window.width - 1, window.height - 1))
        middle[places[:, 1], places[:, 0]] = 1
    count, labels = cv2.connectedComponents(((luma < darkness) & (nearest < BAR_REACH)).astype(np.uint8))
    is_bar = np.zeros(count, bool)
    is_bar[labels[middle > 0]] = True
    is_bar[0] = False
    return np.asarray(is_bar[labels])


def _find_worn_rims(found: WornGlasses, width: float) -> list[Strip]:
    """The rims of glasses that are surely worn: at the usual places, unless these are much weaker than hanging ones.

    The usual places come first because a crease below a brow would pass for the upper rim of hanging glasses.
    """
    found_rims, weakest = [], []
    for lenses in (USUAL_LENSES, HANGING_LENSES):
        rims = _find_rim_strips(found, lenses, width)
        # Strength is a change per row, and rows are no equal lengths.
        weakest.append(
            sum(np.percentile(rim.strength, RIM_PERCENTILE) for rim in rims) / (lenses.farthest - lenses.nearest)
        )
        found_rims.append(rims)
    return found_rims[int(weakest[0] < MUCH_WEAKER * weakest[1])]


def _find_rim_strips(found: WornGlasses, lenses: LensShape, width: float) -> list[Strip]:
    """The rims of glasses that are surely worn: strips that run smoothly around the eyes.

    Only dark bars are thicker than usual: what else is so thick is a shadow, or skin between two lines.
    """
    window = Window(0, 0, *found.picture.shape[1::-1])
    free = weigh_features(found.points, window, width, FEATURE_SHARE) * ~draw_eyes(found.points, window, EYE_SHARE)
    is_dark = found.picture @ LUMA_WEIGHTS < BAR_LUMA * measure_nose_luma(found)
    places = unroll_eyes(found.points, lenses, RIM_RADII)
    halves, sigma = _measure_thicknesses(places[0], width)
    strips, bars = [], []
    for place in places:
        unrolled, weight = sample(found.picture, place), sample(free, place)
        strips.append(measure_strips(unrolled, halves, sigma, closes=True) * weight)
        bar = sample(is_dark.astype(np.float32), place) > HALF_COVERED
        bars.append(measure_strips(unrolled, halves, sigma, closes=True, dark=True) * weight * bar)

    def find(pairs: list[list[AnyArray]]) -> tuple[IndexArray, list[float]]:
        """Paths of strips around both eyes, and how strong they are, in each of some pairs; all in one pass."""
        gains = []
        for shown in pairs:
            strong = max(float(np.percentile(shown, STRONG_PERCENTILE)), MIN_STRONG)
            pair = [one / (one + strong) for one in shown]
            gains += [add_other_eye(*pair), add_other_eye(*pair[::-1])]
        paths = find_smooth_paths(np.stack(gains)).reshape(len(pairs), len(places), ANGLES)
        shown_by_path = [zip(shown, both, strict=True) for shown, both in zip(pairs, paths, strict=True)]
        return paths, [float(np.median([one[path, np.arange(ANGLES)] for one, path in two])) for two in shown_by_path]

    _, strengths = find([[one[number] for one in strips] for number in range(THICKEST_RIM)])
    usual = next(number for number, strength in enumerate(strengths) if strength >= THIN_SHARE * max(strengths))
    together = [np.maximum(one[: usual + 1].max(0), bar.max(0)) for one, bar in zip(strips, bars, strict=True)]
    (paths,), _ = find([together])
    for strip, bar in zip(strips, bars, strict=True):
        thicker = min(usual + 1 + THICKER, THICKEST_RIM)
        strip[thicker:] = bar[thicker:]
    fitted = zip(strips, paths, places, strict=True)
    return [
        fit_strip(strip, path, halves, place, closes=True).smooth(sigma * EDGE_GROWTH) for strip, path, place in fitted
    ]


def _find_bridge_strip(found: WornGlasses, rims: list[Strip], width: float, count: int) -> Strip:
    """The strongest strip from rim to rim over the nose, as thick as one of the first thicknesses."""
    _, down, gap = measure_axes(found.points)
    right, left = (rim.place()[ANGLES // 2] for rim in rims)
    columns = right + np.linspace(-BRIDGE_REACH, 1 + BRIDGE_REACH, BRIDGE_COLUMNS)[:, None] * (left - right)
    places = columns + np.linspace(*BRIDGE_HEIGHT, BRIDGE_ROWS)[:, None, None] * gap * down
    halves, sigma = _measure_thicknesses(places, width)
    halves = halves[:count]
    strips = measure_strips(sample(found.picture, places), halves, sigma, closes=False)

    def find(shown: AnyArray) -> IndexArray:
        return find_paths(shown / np.maximum(shown.max((1, 2), keepdims=True), np.float32(MIN_STRONG)))

    along = np.take_along_axis(strips, find(strips)[:, None], 1)[:, 0]
    strengths = np.percentile(along[:, BETWEEN_RIMS], RIM_PERCENTILE, axis=1)
    best = int(np.flatnonzero(strengths >= NEARLY * strengths.max())[-1])
    [path] = find(strips[: best + 1].max(0, keepdims=True))
    return fit_strip(strips, path, halves, places, closes=False).smooth(sigma * EDGE_GROWTH)


def _measure_thicknesses(places: AnyArray, width: float) -> tuple[AnyArray, float]:
    """Half the thicknesses of what is looked for in an unrolled picture, and the blur of its edges, in its rows."""
    row = float(np.linalg.norm(places[1] - places[0], axis=-1).mean())
    return np.maximum(THICKNESSES * width / 2, EDGE_SIGMA) / row, EDGE_SIGMA / row


def _find_pads(found: WornGlasses, rims: list[Points], width: float) -> Mask:
    """What is narrow and strong between the rims, and near them."""
    window = Window(0, 0, *found.picture.shape[1::-1])
    nearest = np.minimum(*(measure_distance(rim, window) for rim in rims)) / width
    lines, nose = find_lines(found.picture, PAD_RADIUS * width), draw_nose(found.points, window)
    skin = float(np.percentile(lines[nose], SKIN_PERCENTILE)) if nose.any() else 0.0
    usual = float(np.median(sample(cv2.dilate(lines, np.ones((3, 3), np.uint8)), np.array(rims))))
    pads = (nearest < PAD_REACH) & (lines > max(PAD_SHARE * usual, PAD_LINES * max(skin, MIN_LINE)))
    pads &= draw_convex_hull(np.vstack([rim[PAD_COLUMNS] for rim in rims]), window) > HALF_COVERED
    return np.asarray(cv2.morphologyEx(pads.astype(np.uint8), cv2.MORPH_CLOSE, make_disc(PAD_GAP * width)) > 0)
