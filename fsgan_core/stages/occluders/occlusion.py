"""Occlusion: what lies within a face's outline and is not the face, that is hair over it or something in front of it.

What differs from the face's own skin (`skin_model`) and comes in from outside the outline is an occluder; what differs
in the middle (eyes, brows, nostrils, lips) belongs to the face. Around the inner face the colour of what surrounds the
forehead counts too, because blond, red or grey hair differs little from skin, and dark hair little from a shadow on it.
All of it runs on a small raster of square pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R, MOUTH_OUTER
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matte, Plane, Vector
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    draw_convex_hull,
    draw_polygon,
    ease_between,
    enlarge_polygon,
    slice_marked,
    smoothstep,
)
from fsgan_core.stages.occluders.glasses import draw_line_kernel
from fsgan_core.stages.occluders.reconstruction import reconstruct_by_dilation
from fsgan_core.stages.skin.skin_model import (
    MIN_PIXELS,
    MIN_SIGMA,
    FaceRaster,
    SkinModel,
    draw_brow,
    draw_own_features,
    find_unlike_skin,
    measure_along,
    measure_roughness,
    measure_skin_distance,
)
from fsgan_core.stages.warp_points import EYE_SIDES, NOSE_BASE

OUTLINE_REACH = 0.04  # of the face: features within this of the outline may be covered by what comes in from outside

# What surrounds the face above the brows.
RING_WIDTH = 0.16  # of the face: how far around the outline to look
RING_SIGMA = 0.7  # pixels of the raster: blur before colours are compared
RING_INNER_LIMIT = 0.1  # outline value below which a pixel is surely outside
SKIN_SPREAD = np.array([6.0, 2.5, 2.5], np.float32)  # Lab: least deviation of skin
HAIR_SPREAD = np.array([5.0, 2.5, 2.5], np.float32)  # Lab: least deviation of hair
DISTINCT_DISTANCE = 4.0  # squared, in deviations: a colour nearer to skin than half of this decides nothing
HAIR_ODDS, ODDS_SOFTNESS = 3.0, 6.0  # difference of squared distances that makes a pixel hair, and its softness
BRIGHT_ROUGHNESS = 0.8  # in the skin's deviations above its usual one: bright hair is at least this rough
CLUSTER_LIMIT = 6  # squared distance, in deviations, within which a pixel belongs to a group of colours
ROUGHNESS_PERCENTILE = 30  # of such pixels
# Lightness over the skin's: below the first it is too dark for a shadow on skin, above the second it may be one.
SHADED_RANGE = (0.4, 0.55)

# k-means of colours.
CLUSTER_COUNT, CLUSTER_ROUNDS = 4, 8
MAX_CLUSTER_SAMPLES = 4000  # colours looked at
MIN_CLUSTER_SHARE = 0.04  # of the colours: smaller groups are dropped

# Parts of the face, as shares of its width.
BROW_RISE, BROW_HEIGHT = 0.28, 0.12  # how far above its landmarks a brow may be, and how tall
BROW_OVERHANG = 0.05  # of the brows' distance: how far beyond their ends
BROW_ZONE_SOFTNESS = 0.01
SOCKET_GROWTH = 1.1  # times the size of an eye with its brow
SOCKET_HEIGHT = 0.3  # taller than an eye with its brow
ABOVE_SOFTNESS = 0.05
TEMPLE_SOFTNESS = 0.02
TEMPLE_RISE = 0.5  # of the way from eye to brow, above the mirrored brow
CONNECTED_LIMIT = 0.3  # matte value from which on pixels hang together

# Hair that hangs on a brow.
HANGING_RISE, HANGING_SAMPLES = 0.1, 17  # how far above the brow to look, as a share of the face's width; places
HANGING_RANGE = (0.3, 0.5)  # share of the brow that hair hangs on: it begins to count as covered, and surely is
FREE_RANGE = (0.3, 0.42)  # likewise of the other brow: it is surely free, and no longer is

# Growing an occluder over eyes and lips.
SURE_OCCLUDER = 0.7  # matte value
MOUTH_GROWTH = 1.6  # times the size of the lips
SAME_COLOUR_LIMIT, SAME_COLOUR_SOFTNESS = 16, 12  # squared distance, in deviations
ODD_TINT = 12.0  # Lab: farther than this from everything between grey and skin
LIP_REDNESS = 2  # Lab a above the skin's, from which on a colour may be a lip's
MIN_TINT = 1.0  # Lab, squared: least that a projection on the skin's tint is divided by


def find_occluders(raster: FaceRaster, replaced: Matte | None = None, strictness: float = 1.0) -> tuple[Matte, Matte]:
    """Find what covers the face.

    Args:
        raster: The face.
        replaced: Arms and rims of glasses that are to be replaced with the face: they do not count as occluders.
        strictness: 1 or more; above 1 fewer colours pass for skin above the brows and at the temples.

    Returns:
        What is not the face, and where that is hair rather than something in front.
    """
    above = np.maximum(_mark_above_brows(raster), _mark_temples(raster))
    skin = raster.skin
    if skin is None:
        return np.zeros_like(raster.outline), above
    like = _find_like_surroundings(raster, skin, above)
    # Below the brows hair must be darker than a shadow on skin: a shaded jaw may have the colour of brown hair.
    dark = 1 - ease_between(raster.lab[..., 0] / np.maximum(skin.expected_lab[..., 0], 1), *SHADED_RANGE)
    hair = (like * dark).astype(np.float32)
    surroundings = np.maximum(like * above, hair * (1 - raster.inner_face)).astype(np.float32)
    strict = np.asarray(1 + (strictness - 1) * above, np.float32)
    unlike = np.maximum(find_unlike_skin(raster.lab, skin, strict), surroundings)
    tall = _remove_own_darks(unlike, raster)
    # Hair beside eyes and nose hangs together with taller hair. Lids may be in deep shade; a beard may have its colour.
    hair = hair * _mark_above(raster, raster.landmarks[NOSE_BASE]) * (1 - _draw_lids(raster))
    unlike = np.maximum(tall, reconstruct_by_dilation(np.minimum(tall, hair), hair))
    if replaced is not None:
        unlike = unlike * (1 - replaced)
    reach = 2 * max(1, round(OUTLINE_REACH * raster.face_width)) + 1
    features = draw_own_features(raster) * cv2.erode(raster.outline, np.ones((reach, reach), np.uint8))
    occluders = _reconstruct_from_outside(unlike * (1 - features), raster.outline)
    occluders = _grow_over_features(occluders, unlike * features, raster, skin, above)
    occluders = _grow_over_brow(occluders, tall, raster)
    return np.maximum(occluders, _find_islands(1 - occluders, raster.outline, skin.sampled)), above


def _find_like_surroundings(raster: FaceRaster, skin: SkinModel, above: Matte) -> Matte:
    """1 where the colour is closer to what surrounds the face above the brows (hair, a hat) than to the skin."""
    lab: Image = np.asarray(cv2.GaussianBlur(raster.lab, (0, 0), RING_SIGMA))
    reach = 2 * round(RING_WIDTH * raster.face_width) + 1
    covered = (raster.outline > HALF_COVERED).astype(np.uint8)
    # What is near is asked of what is above only.
    upper = slice(slice_marked(above > HALF_COVERED)[0].stop + reach // 2)
    near = np.zeros_like(raster.inside)
    near[upper] = cv2.dilate(covered[upper], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
    outside = cv2.dilate(raster.outline, np.ones((3, 3), np.uint8)) < RING_INNER_LIMIT
    ring = raster.inside & near & (above > HALF_COVERED) & outside
    if ring.sum() < MIN_PIXELS:
        return np.zeros_like(raster.outline)
    spread = np.maximum(skin.deviation, SKIN_SPREAD)
    middle = np.median(lab[skin.sampled], axis=0)
    unlike_skin = np.minimum(
        measure_skin_distance(lab, skin.expected_lab, spread), measure_skin_distance(lab, middle, spread)
    )
    like = np.zeros_like(raster.outline)
    roughness = measure_roughness(raster.lab, skin)
    groups = _cluster_colours(lab[ring])
    for (mean, deviation), distance in zip(groups, _measure_distances(lab, groups), strict=True):
        distance = distance + 2 * np.log(deviation / spread).sum()
        # An ear, a bald head or a wall of the skin's colour decides nothing.
        worth = np.float32(smoothstep(measure_skin_distance(mean, middle, spread) / DISTINCT_DISTANCE - 0.5))
        if mean[0] > middle[0]:  # bright hair shows strands; a bright wall and a shiny forehead do not
            members = ring & (distance < CLUSTER_LIMIT)
            rough = np.percentile(roughness[members], ROUGHNESS_PERCENTILE) if members.any() else 0.0
            worth *= np.float32(smoothstep(np.asarray((rough - BRIGHT_ROUGHNESS) / BRIGHT_ROUGHNESS)))
        closer = worth * smoothstep((unlike_skin - distance - HAIR_ODDS) / ODDS_SOFTNESS + 0.5).astype(np.float32)
        # Only what touches the ring by itself comes in from outside.
        like = np.maximum(like, _keep_touching(closer, ring))
    return np.asarray(like, np.float32)


def _cluster_colours(values: AnyArray) -> list[tuple[Vector, Vector]]:
    """Mean and deviation of the groups that colours (n, 3) fall into: k-means, started along the lightness."""
    values = np.ascontiguousarray(values[:: max(1, len(values) // MAX_CLUSTER_SAMPLES)], np.float32)
    labels = np.empty((len(values), 1), np.int32)
    labels[np.argsort(values[:, 0], kind="stable"), 0] = np.arange(len(values)) * CLUSTER_COUNT // len(values)
    rounds = (cv2.TERM_CRITERIA_MAX_ITER, CLUSTER_ROUNDS, 0.0)
    _, found, _ = cv2.kmeans(values, CLUSTER_COUNT, labels, rounds, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    groups = [values[np.asarray(found)[:, 0] == k] for k in range(CLUSTER_COUNT)]
    return [
        (group.mean(0), np.maximum(group.std(0), HAIR_SPREAD))
        for group in groups
        if len(group) > MIN_CLUSTER_SHARE * len(values)
    ]


def _measure_distances(lab: Image, groups: Sequence[tuple[Vector, Vector]]) -> list[Plane]:
    """Squared distance of each pixel's colour from each group's mean, in the group's deviations.

    All at once, as a product of the colours and their squares with what each group makes of them.
    """
    means = np.stack([mean for mean, _ in groups], -1)
    scales = np.stack([deviation**-2 for _, deviation in groups], -1)
    parts = lab @ (-2 * means * scales) + (lab * lab) @ scales + (means * means * scales).sum(0)
    return [np.maximum(part, 0) for part in np.moveaxis(parts, -1, 0)]


def _remove_own_darks(unlike: Matte, raster: FaceRaster) -> Matte:
    """`unlike` without low areas at brows and eyes.

    These are brows raised higher than their landmarks, and the shade or make-up of lids. Hair that hangs there is
    taller.
    """
    points, width, up = raster.landmarks, raster.face_width, raster.up_direction
    brows = points[BROW_R.start : BROW_L.stop]
    outward = BROW_OVERHANG * (brows[-1] - brows[0])
    outer = np.vstack([brows, brows + BROW_RISE * width * up, brows[:1] - outward, brows[-1:] + outward])
    zone = draw_convex_hull(outer, raster.window, BROW_ZONE_SOFTNESS * width)
    unlike = _remove_low_areas(unlike, zone, BROW_HEIGHT * width, up)
    sockets = [
        draw_convex_hull(
            enlarge_polygon(np.vstack([points[brow], points[eye]]), SOCKET_GROWTH),
            raster.window,
            BROW_ZONE_SOFTNESS * width,
        )
        for brow, eye in ((BROW_R, EYE_R), (BROW_L, EYE_L))
    ]
    return _remove_low_areas(unlike, np.maximum(*sockets), SOCKET_HEIGHT * width, up)


def _remove_low_areas(unlike: Matte, zone: Matte, height: float, up: Vector) -> Matte:
    """`unlike` without what is lower than `height` pixels, within a zone."""
    line = draw_line_kernel(up, height / 2)
    return np.asarray(unlike + zone * (cv2.morphologyEx(unlike, cv2.MORPH_OPEN, line) - unlike))


def _draw_lids(raster: FaceRaster) -> Matte:
    """Draw what lies between eyes and brows, but for the brows' outer ends: hair may hang there."""
    points = raster.landmarks
    lids = [(points[BROW_R][1:], points[EYE_R]), (points[BROW_L][:-1], points[EYE_L])]
    return np.maximum(*(draw_convex_hull(np.vstack(lid), raster.window) for lid in lids))


def _mark_above_brows(raster: FaceRaster) -> Matte:
    """1 above the brows, in the head's own direction."""
    brows = raster.landmarks[BROW_R.start : BROW_L.stop]
    return _mark_above(raster, brows[(brows @ raster.up_direction).argmax()])


def _mark_above(raster: FaceRaster, point: Vector) -> Matte:
    """1 above `point`, in the head's own direction."""
    height = measure_along(raster.up_direction, point, raster.outline.shape)
    result: Matte = np.clip(height / (ABOVE_SOFTNESS * raster.face_width) + 0.5, 0, 1).astype(np.float32)
    return result


def _mark_temples(raster: FaceRaster) -> Matte:
    """1 beside the eyes, beyond the ends of the brows: hair falls there too."""
    points = raster.landmarks
    matte = np.zeros_like(raster.outline)
    for brow, eye, temple in EYE_SIDES:
        corner = np.vstack(
            [
                points[brow],
                points[eye],
                points[temple],
                2 * points[temple] - points[eye],
                2 * points[brow] - points[eye] + TEMPLE_RISE * (points[brow] - points[eye]),
            ]
        )
        matte = np.maximum(matte, draw_convex_hull(corner, raster.window))
    return np.asarray(cv2.GaussianBlur(matte, (0, 0), max(MIN_SIGMA, TEMPLE_SOFTNESS * raster.face_width)))


def _reconstruct_from_outside(unlike: Matte, outline: Matte) -> Matte:
    """What of `unlike` reaches the outline: grey-scale reconstruction from outside, specks opened away."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(unlike, cv2.MORPH_OPEN, kernel)
    border = 1 - cv2.erode(outline, np.ones((5, 5), np.uint8))
    marker = np.minimum(opened, (border > HALF_COVERED).astype(np.float32))
    return reconstruct_by_dilation(marker, np.asarray(opened, np.float32)) if marker.any() else marker


def _grow_over_features(occluders: Matte, hidden: Matte, raster: FaceRaster, skin: SkinModel, above: Matte) -> Matte:
    """`occluders` continued over eyes and lips; `hidden` is what is unlike skin there.

    They continue where the colour is that of an occluder and cannot be that of an eye, a brow or a mouth.
    """
    lab = raster.lab
    samples = (occluders > SURE_OCCLUDER) & (raster.outline > HALF_COVERED) & (above < HALF_COVERED)
    if samples.sum() < MIN_PIXELS:
        return occluders
    middle = np.median(lab[skin.sampled], axis=0)
    lower = (raster.landmarks - raster.landmarks[NOSE_BASE]) @ raster.up_direction < 0
    lips = raster.landmarks[MOUTH_OUTER]
    mouth = (
        draw_polygon(enlarge_polygon(lips, MOUTH_GROWTH), raster.window) if lower[MOUTH_OUTER].all() else 0 * occluders
    )
    like = np.zeros_like(occluders)
    groups = _cluster_colours(lab[samples])
    for (mean, _), distance in zip(groups, _measure_distances(lab, groups), strict=True):
        share = mean[1:] @ middle[1:] / max(float(middle[1:] @ middle[1:]), MIN_TINT)
        tint = mean[1:] - np.clip(share, 0, 1) * middle[1:]
        near = smoothstep((SAME_COLOUR_LIMIT - distance) / SAME_COLOUR_SOFTNESS)
        if np.hypot(*tint) > ODD_TINT:
            like = np.maximum(like, near)
        elif mean[1] < middle[1] + LIP_REDNESS:  # what is not red is no lip
            like = np.maximum(like, near * mouth)
    return reconstruct_by_dilation(occluders, np.maximum(occluders, (like * hidden).astype(np.float32)))


def _grow_over_brow(occluders: Matte, unlike: Matte, raster: FaceRaster) -> Matte:
    """`occluders` continued over a brow that hair hangs on from above, if the other brow is free.

    Hair and brow have one colour, so a lock of hair would stand in for the brow. If hair hangs on both brows they stay,
    because nothing is left to copy a brow from.
    """
    brows = (BROW_R, BROW_L)
    hanging = [_measure_hanging(np.minimum(unlike, raster.outline), raster, brow) for brow in brows]
    for brow, share, other in zip(brows, hanging, hanging[::-1], strict=True):
        covered = ease_between(share, *HANGING_RANGE)
        free = 1 - ease_between(other, *FREE_RANGE)
        if covered * free > 0:
            occluders = np.maximum(occluders, np.float32(covered * free) * draw_brow(raster, brow))
    return occluders


def _measure_hanging(unlike: Matte, raster: FaceRaster, brow: slice) -> float:
    """Share of a brow's length from which nothing up to the hair above it is skin."""
    points = raster.landmarks[brow]
    along = np.linspace(0, len(points) - 1, HANGING_SAMPLES)
    line = np.stack([np.interp(along, np.arange(len(points)), points[:, k]) for k in (0, 1)], -1)
    rise = np.linspace(0, HANGING_RISE * raster.face_width, HANGING_SAMPLES)[:, None, None] * raster.up_direction
    places = (line + rise).astype(np.float32)
    values = np.asarray(cv2.remap(unlike, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderValue=0.0))
    return float(values.min(0).mean())


def _find_islands(face: Matte, outline: Matte, sampled: Mask) -> Matte:
    """What of `face` is cut off from the inner face: a strand's glint, a gap between fingers."""
    face = np.minimum(face, outline)
    return face - _keep_touching(face, sampled)


def _keep_touching(matte: Matte, seed: Mask) -> Matte:
    """`matte` where it is connected to `seed`, with its soft edge."""
    _, labels = cv2.connectedComponents((matte > CONNECTED_LIMIT).astype(np.uint8), connectivity=4)
    touching = np.zeros(int(labels.max()) + 1, np.float32)
    touching[labels[seed]] = 1
    touching[0] = 0
    return np.asarray(matte * cv2.dilate(touching[labels], np.ones((5, 5), np.uint8)), np.float32)
