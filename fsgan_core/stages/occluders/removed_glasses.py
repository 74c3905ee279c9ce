"""A pair of glasses taken off: the skin continued behind its frame, coloured reflections taken off its lenses.

Lengths are shares of the face's width, unless said otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.contract.landmarks import EYE_L, EYE_R
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.runtime.arrays import Image, Mask, Matte, Points68, Vector
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    draw_convex_hull,
    draw_polygon,
    ease_between,
    enlarge_polygon,
    make_disc,
    weigh,
)
from fsgan_core.stages.occluders.glasses_frame import draw_frame
from fsgan_core.stages.occluders.worn_glasses import (
    EYE_GROWTH,
    LINE_RADIUS,
    LOW_LENSES,
    MIN_LINE,
    MIN_SOFTNESS,
    FaceLook,
    Pair,
    WornGlasses,
    draw_brows,
    draw_eyes,
    look_for_glasses,
    measure_nose_luma,
)
from fsgan_core.stages.skin.atlas import push_pull
from fsgan_core.stages.warp_points import EYE_OUTER_L, EYE_OUTER_R, measure_face_width

LEAST_FRAME = 0.1  # of a pixel
BESIDE, SHINE_BESIDE = 0.022, 0.045  # beside a frame its shadow and shine; what is much brighter than skin further away
SHINE = 1.15  # times the luma of the skin: so bright
SKIN_LINES = 1.5  # times the lines of the skin: what differs more is none
GROWTH, SOFTNESS = 0.006, 0.003  # of what is marked
LENS_GROWTH = 1.15  # times the size of a lens: with its rim, which shines
LENS_EDGE, BALL_EDGE = 0.012, 0.005  # softness of a lens, of an eyeball
HUE_PERCENTILE = 95  # of the skin's hues: coloured light on a cheek is on the whole cheek
EYEBALL_GROWTH = 0.8  # times the size of an eye: its lids and corners lie behind the lens as skin does
LAMP_CHANGE = 0.08  # display values: light in a lens that changes the skin more hides it
MIN_VALUE = 0.02  # display value
CHEEKS_AND_NOSE = [EYE_OUTER_R, EYE_OUTER_L, 2, 14, 31, 35]
LASH_GROWTH = 1.4  # times the size of an eye: with the shadow of its lashes
FRAME_PERCENTILE = 25  # of the luma of what is marked: the upper side of a rim may be darker
HAIR_EDGE, HAIR_RANGE = 0.006, (0.7, 0.9)  # softness of a brow; so dark it surely is and may be, times that luma


def remove_glasses(look: FaceLook, pair: Pair) -> Image:
    """Continue the skin behind the frame of a pair of glasses, and take coloured reflections off the lenses. Arms stay.

    Args:
        look: The picture.
        pair: The glasses (`recognise_glasses`).

    Returns:
        The picture, the same one if there are no glasses.
    """
    display, window = look.display, look.window
    found = look_for_glasses(look, pair.lenses) if pair.sureness > 0 else None
    if found is None:
        return display
    small, points, part = found.picture, found.points, compute_slices(found.part, window)
    width, full, size = (
        measure_face_width(points),
        (found.part.width, found.part.height),
        Window(0, 0, *small.shape[1::-1]),
    )
    if pair.lenses == LOW_LENSES:
        marked = mark_frame(found, is_low=True)
        (hair, seen_hair), growth = find_brow_hair(found, marked), LASH_GROWTH
        marked &= ~seen_hair
    else:  # a usual rim reaches the brow, and may be a dark bar on it
        hair, growth = np.zeros(small.shape[:2], np.float32), EYE_GROWTH
        marked = mark_frame(found)
    grown: Matte = np.asarray(cv2.dilate(marked.astype(np.float32), make_disc(GROWTH * width + 1)), np.float32)
    lenses = np.maximum(
        *(draw_polygon(enlarge_polygon(rim, LENS_GROWTH), size, LENS_EDGE * width) for rim in found.rims)
    )
    eyeballs = [enlarge_polygon(points[eye], EYEBALL_GROWTH) for eye in (EYE_R, EYE_L)]
    limits = measure_skin_hue(small, (1 - grown) * (1 - lenses), points)
    lenses *= 1 - np.maximum(*(draw_convex_hull(ball, size, BALL_EDGE * width) for ball in eyeballs))
    clear = limit_hue(display[part], np.asarray(cv2.resize(lenses, full)), limits)
    clean = limit_hue(small, lenses, limits)
    # A lamp in a lens hides the skin; a tint lets it be seen.
    lamps = ((small - clean).max(-1) > LAMP_CHANGE) & (clean @ LUMA_WEIGHTS > measure_nose_luma(found))
    lamps = cv2.dilate(lamps.astype(np.float32), make_disc(GROWTH * width + 1)) * lenses
    grown = np.maximum(grown, lamps)
    shown = (1 - grown) * ~draw_eyes(points, size, growth)  # lashes do not go on behind a rim
    skin, brows = (push_pull(clean, (shown * part_of).astype(np.float32)) for part_of in (1 - hair, hair))
    behind = np.asarray(cv2.resize(skin + weigh(brows - skin, hair), full))
    soft = np.asarray(cv2.resize(cv2.GaussianBlur(grown, (0, 0), max(MIN_SOFTNESS, SOFTNESS * width)), full))
    result = np.array(display, np.float32)
    result[part] += np.float32(pair.sureness) * (clear + weigh(behind - clear, soft) - display[part])
    return result


def mark_frame(found: WornGlasses, is_low: bool = False) -> Mask:
    """Mark a frame and what beside it differs from skin as lines do: its shadow and its shine."""
    size, width = Window(0, 0, *found.picture.shape[1::-1]), measure_face_width(found.points)
    frame = draw_frame(found, size, is_low) > LEAST_FRAME
    beside, further = (
        cv2.dilate(frame.astype(np.uint8), make_disc(reach * width)) > 0 for reach in (BESIDE, SHINE_BESIDE)
    )
    beside |= further & (found.picture @ LUMA_WEIGHTS > SHINE * measure_nose_luma(found))
    beside &= (found.lines > SKIN_LINES * found.skin_lines + MIN_LINE) & ~draw_brows(found.points, size, width)
    return np.asarray((frame | beside) & ~draw_eyes(found.points, size))


def measure_skin_hue(picture: Image, shown: Matte, points: Points68) -> Vector:
    """Measure the hues of the skin beside the lenses.

    How green and how blue it is at most over its red, how blue over its green, and how red at most over its green.

    Args:
        picture: (height, width, 3) display-like values.
        shown: (height, width) 1 where nothing of the glasses is.
        points: Landmarks in it.
    """
    height, width = shown.shape
    seen = picture[draw_convex_hull(points[CHEEKS_AND_NOSE], Window(0, 0, width, height)) * shown > HALF_COVERED]
    if not len(seen):
        return np.full(4, np.inf)
    ratios = seen[:, [1, 2, 2, 0]] / np.maximum(seen[:, [0, 0, 1, 1]], MIN_VALUE)
    return np.asarray(np.percentile(ratios, HUE_PERCENTILE, 0))


def limit_hue(picture: Image, amount: Matte, limits: Vector) -> Image:
    """Make nothing greener, bluer, more violet or redder than skin: that is light in a lens, or the lens's own tint."""
    limited, (*most_of_others, most_red) = picture.copy(), limits.astype(np.float32)
    limited[..., 1] = np.maximum(limited[..., 1], limited[..., 0] / most_red)
    for channel, other, limit in zip((1, 2, 2), (0, 0, 1), most_of_others, strict=True):
        most = limit * np.maximum(limited[..., other], MIN_VALUE)
        limited[..., channel] = np.minimum(limited[..., channel], most)
    return np.asarray(picture + weigh(limited - picture, amount), np.float32)


def find_brow_hair(found: WornGlasses, marked: Mask) -> tuple[Matte, Mask]:
    """Find brows that are darker than the rims, also behind these; and what of them is in front of no rim."""
    luma, width = found.picture @ LUMA_WEIGHTS, measure_face_width(found.points)
    brows = draw_brows(found.points, Window(0, 0, *luma.shape[::-1]), width)
    frame = luma[marked & ~brows]
    if not len(frame):
        return np.zeros(luma.shape, np.float32), np.zeros(luma.shape, bool)
    darker = np.percentile(frame, FRAME_PERCENTILE) * np.array(HAIR_RANGE)
    behind = cv2.morphologyEx(luma, cv2.MORPH_OPEN, make_disc(LINE_RADIUS * width))
    hair = (brows * (1 - ease_between(behind, *darker))).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(hair, (0, 0), HAIR_EDGE * width), np.float32), brows & (luma < darker.mean())
