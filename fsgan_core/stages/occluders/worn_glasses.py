"""Glasses that a face wears: whether it is a pair, and where its lenses are.

A rim is the strongest closed line around an eye. It is found by dynamic programming on the picture unrolled around the
eye, so gaps and reflections in it do not matter. Lengths are shares of the face's width, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matte, Plane, Points, Points68, Vector
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    draw_convex_hull,
    draw_polygon,
    ease_between,
    enlarge_polygon,
    find_largest,
    make_disc,
)
from fsgan_core.stages.occluders.glasses import find_narrow
from fsgan_core.stages.occluders.rim_paths import find_closed_paths
from fsgan_core.stages.warp_points import EYE_OUTER_L, EYE_OUTER_R, measure_face_width

WORKING_WIDTH = 400.0  # pixels of the face: larger ones are looked at in a smaller picture
LINE_RADIUS = 0.025  # half the thickness of the thickest rim

# The picture unrolled around an eye.
ANGLES, RADII = 180, 72  # samples around and outwards
FLATNESS = 0.9  # height over width
PART_REACH = 0.6  # of the distance between the outer corners of the eyes: around them, that can show a frame
STRONG_PERCENTILE = 97  # of the unrolled lines: stronger ones count no more
OTHER_EYE = 0.5  # what the other eye's picture counts: both lenses have one shape
SHAPE_TOLERANCE = 5  # samples by which their shapes may differ
FEATURE_SHARE = 0.3  # what lines from brows to eyes count
BROW_RISE, BROW_DEPTH = 0.015, 0.085  # of a brow above and below its landmarks, which lie on its upper edge

# How surely they are rims: a low percentile of the line's strength, over that of lines on the nose.
RIM_PERCENTILE, SKIN_PERCENTILE = 30, 60
BRIDGE_WORTH = 0.5  # added for a bridge that is surely seen; a turned head or a pale one hides it
BRIDGE_RANGE = (0.15, 0.35)  # mean of the frames, from which on low lenses are looked for
LOW_GAIN = 1.25  # times the strength of usual rims, from which on the lenses are low: 2.1 with such, 1.0 with others

MIN_LINE = 0.008  # display values: the weakest lines of skin
EYE_GROWTH = 1.2  # times the size of an eye: with its lashes
MIN_SOFTNESS = 0.6  # pixels
MIN_STRONG = 1e-3  # display values: lines that are weaker are none


@dataclass(frozen=True)
class LensShape:
    """Where the rim around an eye is looked for, as shares of the distance between the outer corners of the eyes.

    Attributes:
        nearest: The rim's middle line is at least so far from the middle of the lens.
        farthest: At most so far.
        drop: The middle of the lens lies below that of the eye.
        sure: How strong the rims are, from which on they may be some, and surely are.
    """

    nearest: float
    farthest: float
    drop: float
    sure: tuple[float, float]


# Measured in five frames of 45 clips, with the bridge: 2.3 and more with usual lenses on faces of 200 pixels or more,
# 1.3 and less without.
USUAL_LENSES = LensShape(0.17, 0.44, 0.06, (1.7, 2.1))
# Creases of lids are lines too, so low lenses count only with a bridge. Measured where one is seen: 2.0 with low lenses
# on a face of 130 pixels, 1.2 without; 1.4 with glasses on a face of 60 pixels, which stay.
LOW_LENSES = LensShape(0.11, 0.36, 0.03, (1.5, 1.9))


@dataclass(frozen=True)
class Pair:
    """The pair of glasses that a person wears.

    Attributes:
        sureness: That it is one, 0..1.
        lenses: Their shape.
    """

    sureness: float
    lenses: LensShape = USUAL_LENSES


@dataclass(frozen=True)
class FaceLook:
    """A picture in which glasses are looked for.

    Attributes:
        display: (height, width, 3) display-like values of `window`.
        landmarks: In plate coordinates.
        window: The part of the plate that is looked at.
        aspect: Width of a pixel over its height.
        bridge: How surely a bridge is seen, 0..1 (`glasses.detect_glasses`); only to recognise glasses.
    """

    display: Image
    landmarks: Points68
    window: Window
    aspect: float
    bridge: float = 0.0


@dataclass(frozen=True)
class WornGlasses:
    """A pair of glasses that was looked for in a picture.

    Attributes:
        part: Where in the plate.
        picture: Of that part, square pixels, at most WORKING_WIDTH for a face.
        points: Landmarks in it.
        lines: How much narrow things in it differ from what is around.
        skin_lines: Likewise, usual on the nose.
        rims: (ANGLES, 2) for each eye.
        strength: Of the rims, times the lines on the nose.
    """

    part: Window
    picture: Image
    points: Points68
    lines: Plane
    skin_lines: float
    rims: list[Points]
    strength: float


def recognise_glasses(looks: Iterable[FaceLook]) -> Pair:
    """Tell what pair of glasses a person wears, from one or several pictures; `sureness` is 0 if none."""
    shown = list(looks)
    bridge = float(np.mean([look.bridge for look in shown])) if shown else 0.0
    strength = _measure_rims(shown, USUAL_LENSES)
    usual = Pair(_compute_sureness(strength, bridge, USUAL_LENSES))
    seen = float(ease_between(bridge, *BRIDGE_RANGE))
    if seen == 0 or (low_strength := _measure_rims(shown, LOW_LENSES)) < LOW_GAIN * strength:
        return usual
    low = Pair(seen * _compute_sureness(low_strength, bridge, LOW_LENSES), LOW_LENSES)
    return low if low.sureness >= usual.sureness else usual


def _measure_rims(looks: list[FaceLook], lenses: LensShape) -> float:
    """Median strength of the rims."""
    found = [one.strength for look in looks if (one := look_for_glasses(look, lenses)) is not None]
    return float(np.median(found)) if found else 0.0


def _compute_sureness(strength: float, bridge: float, lenses: LensShape) -> float:
    return float(ease_between(strength + BRIDGE_WORTH * bridge, *lenses.sure))


def measure_nose_luma(found: WornGlasses) -> float:
    """Measure the luma of the skin of the nose, 0 if it is not seen."""
    nose = draw_nose(found.points, Window(0, 0, *found.picture.shape[1::-1]))
    return float(np.median((found.picture @ LUMA_WEIGHTS)[nose])) if nose.any() else 0.0


def measure_distance(path: Points, window: Window) -> Plane:
    """Distance of each pixel from a closed path."""
    free = np.full((window.height, window.width), 255, np.uint8)
    cv2.polylines(free, [np.round(path).astype(np.int32)], True, 0)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_5))


def look_for_glasses(look: FaceLook, lenses: LensShape) -> WornGlasses | None:
    """The rims of a pair of glasses, whether it is one or not; None if the picture does not show the eyes."""
    part = _find_part(look.landmarks, look.window, look.aspect)
    if part.empty:
        return None
    scale = min(1.0, WORKING_WIDTH / measure_face_width(look.landmarks, look.aspect))
    size = max(8, round(part.width * look.aspect * scale)), max(8, round(part.height * scale))
    steps = np.array(size) / (part.width, part.height)
    near = cv2.resize(look.display[compute_slices(part, look.window)], size, interpolation=cv2.INTER_AREA)
    small = np.clip(near, 0, 1).astype(np.float32)
    points = np.asarray((look.landmarks - (part.x, part.y) + 0.5) * steps - 0.5)
    window, width = Window(0, 0, *size), measure_face_width(points)
    lines = find_lines(small, LINE_RADIUS * width)
    nose = draw_nose(points, window)
    skin = float(np.percentile(lines[nose], SKIN_PERCENTILE)) if nose.any() else 1.0
    free = weigh_features(points, window, width) * ~draw_eyes(points, window)
    rims = _find_rims(lines * free, points, lenses)
    usual = np.mean([np.percentile(sample(lines, rim), RIM_PERCENTILE) for rim in rims])
    return WornGlasses(part, small, points, lines, skin, rims, float(usual) / max(skin, MIN_LINE))


def find_lines(picture: Image, radius: float) -> Plane:
    """How much what is narrow differs from what is around, in the channel that shows most."""
    return find_largest(find_narrow(picture, make_disc(radius)))


def _find_part(landmarks: Points68, window: Window, aspect: float) -> Window:
    """The part of a window that can show a frame."""
    eyes = np.vstack([landmarks[EYE_R], landmarks[EYE_L]])
    reach = PART_REACH * measure_axes(landmarks * (aspect, 1.0))[2] / np.array([aspect, 1.0])
    (left, top), (right, bottom) = np.floor(eyes.min(0) - reach), np.ceil(eyes.max(0) + reach)
    return Window(int(left), int(top), int(right - left), int(bottom - top)).intersect(window)


def draw_nose(points: Points68, window: Window) -> Mask:
    """Draw the lower half of the nose, where no frame is."""
    return np.asarray(draw_convex_hull(points[[29, 31, 35, 33]], window) > HALF_COVERED)


def draw_eyes(points: Points68, window: Window, growth: float = EYE_GROWTH) -> Mask:
    """Draw both eyes, with their lashes."""
    eyes = (draw_convex_hull(enlarge_polygon(points[eye], growth), window) for eye in (EYE_R, EYE_L))
    return np.asarray(np.maximum(*eyes) > HALF_COVERED)


def weigh_features(points: Points68, window: Window, width: float, share: float = FEATURE_SHARE) -> Matte:
    """`share` from brows to eyes, 1 elsewhere: brows, lids and their creases are lines too."""
    rise = -BROW_RISE * width * measure_axes(points)[1]
    sides = [np.vstack([points[brow] + rise, points[eye]]) for brow, eye in ((BROW_R, EYE_R), (BROW_L, EYE_L))]
    features = np.maximum(*(draw_convex_hull(side, window) for side in sides))
    return np.asarray(1 - (1 - share) * features, np.float32)


def draw_brows(points: Points68, window: Window, width: float) -> Mask:
    """Draw both brows: their hairs are lines as strong as a rim."""
    down = width * measure_axes(points)[1]
    brows = (
        draw_polygon(np.vstack([points[brow] - BROW_RISE * down, (points[brow] + BROW_DEPTH * down)[::-1]]), window)
        for brow in (BROW_R, BROW_L)
    )
    return np.asarray(np.maximum(*brows) > HALF_COVERED)


def measure_axes(points: Points68) -> tuple[Vector, Vector, float]:
    """Unit vectors along the eyes and down, and the distance between the eyes' outer corners."""
    across = points[EYE_OUTER_L] - points[EYE_OUTER_R]
    gap = float(np.linalg.norm(across))
    across = across / gap
    return across, np.array([-across[1], across[0]]), gap


def unroll_eyes(points: Points68, lenses: LensShape, count: int = RADII) -> list[AnyArray]:
    """Find where the picture lies that is unrolled around each eye: (count, ANGLES, 2), outwards.

    The columns go from the outer side down, to the nose and up, so both eyes unroll alike.
    """
    across, down, gap = measure_axes(points)
    angles, radii = np.arange(ANGLES) * (2 * np.pi / ANGLES), np.linspace(lenses.nearest, lenses.farthest, count) * gap
    places = []
    for eye, outward in ((EYE_R, -across), (EYE_L, across)):
        directions = np.cos(angles)[:, None] * outward + FLATNESS * np.sin(angles)[:, None] * down
        places.append(points[eye].mean(0) + lenses.drop * gap * down + radii[:, None, None] * directions)
    return places


def add_other_eye(own: AnyArray, other: AnyArray) -> AnyArray:
    """What an unrolled eye gains where the other one does: both lenses have one shape.

    Args:
        own: (rows, columns) up to 1.
        other: Likewise.
    """
    shape = cv2.dilate(other, np.ones((SHAPE_TOLERANCE, SHAPE_TOLERANCE), np.uint8))
    return np.asarray(own + OTHER_EYE * np.minimum(shape, 1))


def _find_rims(lines: Plane, points: Points68, lenses: LensShape) -> list[Points]:
    """The strongest closed line around each eye, (ANGLES, 2)."""
    places = unroll_eyes(points, lenses)
    unrolled, gains = [sample(lines, place) for place in places], []
    for own, other in zip(unrolled, unrolled[::-1], strict=True):
        strong = max(float(np.percentile(own, STRONG_PERCENTILE)), MIN_STRONG)
        gains.append(add_other_eye(np.minimum(own / strong, 1), other / strong))
    paths = find_closed_paths(np.stack(gains))
    return [place[path, np.arange(ANGLES)] for place, path in zip(places, paths, strict=True)]


def sample(values: AnyArray, places: AnyArray) -> AnyArray:
    """Sample a plane or a picture at some places of it."""
    flat = np.asarray(places, np.float32)
    values_there = cv2.remap(values, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR)
    return np.asarray(values_there.reshape(*places.shape[:-1], *values.shape[2:]))
