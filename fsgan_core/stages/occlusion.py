"""What within a face's outline is not the face: hair over it, or something in front of it.

The colour of the face's own skin is fitted as a smooth field over the inner face, so that light from one side does not
count as something else. What differs from it and comes in from outside is foreign; what differs in the middle (eyes,
brows, nostrils, lips) is the face's. Above the brows the colour of what surrounds the face has a say too, since blond,
red or grey hair differs little from skin. All of it on a small raster of square pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from skimage.morphology import reconstruction

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import draw_polygon, smoothstep

# Squared distance from the skin's colour, in its own deviations, that still counts as skin, and that surely does not.
SKIN_LIMIT, NOT_SKIN_LIMIT = 9.0, 36.0
MIN_DEVIATION = np.array([9.0, 3.5, 3.5], np.float32)  # Lab units: shading and blotches that every skin has
MIN_ROUGHNESS = 0.7  # Lab lightness
ODD_TINT = 12.0  # Lab: farther than this from everything between grey and skin
FIELD_SMOOTHNESS = 0.003  # reluctance of the skin's colour to change across the face
MIN_PIXELS = 30  # pixels: from fewer nothing is learnt

# What surrounds the face: how far is looked (of the face), the least deviations of colours (Lab) of skin and of hair,
# how far from skin (squared, in deviations) a colour must be to say anything, and the odds that make a pixel hair.
RING_WIDTH = 0.16
SKIN_SPREAD = np.array([6.0, 2.5, 2.5], np.float32)
HAIR_SPREAD = np.array([5.0, 2.5, 2.5], np.float32)
BRIGHT_ROUGHNESS = 0.8  # roughness, in the skin's deviations above its usual one
DISTINCT_DISTANCE, HAIR_ODDS, ODDS_SOFTNESS = 4.0, 3.0, 6.0

STRAND_GAP = 0.08  # of the face: so near to hair on two sides, what passes for skin may be hair too
BROW_RISE, BROW_HEIGHT = 0.28, 0.12  # of the face: how far above its landmarks a brow may be, and how tall
BRIDGE_CONTRAST = (
    0.025  # a line across the nose at least this dark, of the skin's lightness, may be glasses; twice this is
)

_BROW_LINES = ([*range(17, 22)], [*range(22, 27)])
_FEATURE_HULLS = (
    [*range(36, 42)],
    [*range(42, 48)],
    [*range(48, 60)],
    [31, 32, 33, 34, 35, 30],
)  # eyes, lips, nostrils


@dataclass(frozen=True)
class FaceRaster:
    """A look at a face on a small raster of square pixels.

    rgb: float32 (h, w, 3), display-like, 0..1. points: (68, 2) landmarks on it. unit: width of the face in its pixels.
    shape: float32 (h, w), the face's outline. up: (2,), the head's upward direction. seen: bool (h, w), where the
    picture really is.
    """

    rgb: np.ndarray
    landmarks: np.ndarray
    face_width: float
    outline: np.ndarray
    up_direction: np.ndarray
    inside: np.ndarray

    @property
    def window(self) -> Window:
        return Window(0, 0, self.outline.shape[1], self.outline.shape[0])

    @cached_property
    def lab(self) -> np.ndarray:
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2Lab))

    @cached_property
    def skin(self) -> SkinModel | None:
        """`own_skin` of it."""
        return fit_skin(self)


@dataclass(frozen=True)
class SkinModel:
    """The face's own skin: lab (h, w, 3) as expected at each place, deviation (3,) around that, sure (h, w) where it
    was seen."""

    expected_lab: np.ndarray
    deviation: np.ndarray
    sampled: np.ndarray


def find_occluders(sight: FaceRaster, worn: float = 0.0, doubt: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """What is not the face, and where that would be hair rather than something in front: float32 (h, w) each, 0..1.

    worn: how surely the face wears glasses that are to go with it (`wears_glasses`). doubt: above 1, less that differs
    from the skin still passes for it above the brows and at the temples.
    """
    above = np.maximum(_mark_above_brows(sight), _mark_temples(sight))
    skin = sight.skin
    if skin is None:
        return np.zeros_like(sight.outline), above
    unlike = np.maximum(
        _find_unlike_skin(sight.lab, skin, 1 + (doubt - 1) * above), above * _find_like_surroundings(sight, skin, above)
    )
    reach = 2 * max(1, round(0.04 * sight.face_width)) + 1
    unlike = _remove_brows(unlike, sight)
    if worn > 0:
        unlike = unlike * (1 - np.float32(worn) * _find_hinges(sight))
    kept = _draw_features(sight) * cv2.erode(sight.outline, np.ones((reach, reach), np.uint8))
    other = _reconstruct_from_outside(unlike * (1 - kept), sight.outline)
    other = _grow_over_features(other, unlike * kept, sight, skin, above)
    if doubt > 1:
        other = np.maximum(other, _close_strands(other * above, sight) * (1 - kept))
    return np.maximum(other, _find_islands(1 - other, sight.outline, skin.sampled)), above


def fit_skin(sight: FaceRaster) -> SkinModel | None:
    """A smooth field fitted to the inner face; None where there is too little of it."""
    core = (
        draw_polygon(_locate_inner_face(sight.landmarks), sight.window)
        * (1 - _draw_features(sight))
        * (sight.outline > 0.5)
    )
    sure = (core > 0.5) & sight.inside
    if sure.sum() < MIN_PIXELS:
        return None
    # Across and up the head, so that a tilted head is fitted like an upright one.
    offset = np.moveaxis(np.mgrid[0 : sure.shape[0], 0 : sure.shape[1]][::-1], 0, -1) - sight.landmarks[30]
    across = offset @ np.array([-sight.up_direction[1], sight.up_direction[0]]) / sight.face_width
    down = offset @ -sight.up_direction / sight.face_width
    # Beyond the sampled part a fitted slope is a guess: hold it there.
    across = np.clip(across, across[sure].min() - 0.05, across[sure].max() + 0.05)
    down = np.clip(down, down[sure].min() - 0.1, down[sure].max() + 0.05)
    basis = np.stack([np.ones_like(across), across, down, across * across], -1)
    lab = sight.lab
    rows, values = basis[sure], lab[sure]
    # A bend takes more evidence than a slope, a slope more than a level.
    calm = np.sqrt(FIELD_SMOOTHNESS * len(rows)) * np.diag([0, 1, 1, 4])[1:]
    nothing = np.zeros((3, 3))
    weight = np.ones(len(rows))
    for _ in range(8):  # reweighted: shadows of the nose and stray hair shall not bend the field
        root = np.sqrt(weight)[:, None]
        field = np.linalg.lstsq(np.vstack([rows * root, calm]), np.vstack([values * root, nothing]), rcond=None)[0]
        residual = values - rows @ field
        deviation = 1.48 * np.median(np.abs(residual), axis=0)
        weight = 1 / (1 + ((residual / np.maximum(deviation, MIN_DEVIATION)) ** 2).sum(1) / 6) ** 2
    return SkinModel((basis @ field).astype(np.float32), deviation.astype(np.float32), sure)


def _find_unlike_skin(lab: np.ndarray, skin: SkinModel, doubt: np.ndarray) -> np.ndarray:
    """0 where the colour is the face's skin at that place, 1 where it surely is not. doubt: (h, w), 1 and more."""
    difference = (lab - skin.expected_lab) / np.maximum(skin.deviation, MIN_DEVIATION)
    # A darker patch of the same hue is a shadow far more often than an object.
    distance = (difference[..., 0] * np.where(difference[..., 0] < 0, 0.75, 1.0)) ** 2
    distance = distance + (difference[..., 1:] ** 2).sum(-1)
    # Hair of the skin's own colour gives itself away by its strands.
    distance = (distance + _measure_roughness(lab, skin) ** 2 / 2) * doubt
    return smoothstep((distance - SKIN_LIMIT) / (NOT_SKIN_LIMIT - SKIN_LIMIT)).astype(np.float32)


def _measure_roughness(lab: np.ndarray, skin: SkinModel) -> np.ndarray:
    """How much rougher than the skin usually is, in its own deviations."""
    rough = cv2.GaussianBlur(np.abs(lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 2.0)), (0, 0), 2.0)
    usual = np.median(rough[skin.sampled])
    spread = max(1.48 * float(np.median(np.abs(rough[skin.sampled] - usual))), MIN_ROUGHNESS)
    return np.asarray(np.maximum((rough - usual) / spread, 0))


def _find_like_surroundings(sight: FaceRaster, skin: SkinModel, above: np.ndarray) -> np.ndarray:
    """1 where the colour is rather that of what surrounds the face above the brows (hair, a hat) than the skin's."""
    lab = cv2.GaussianBlur(sight.lab, (0, 0), 0.7)
    reach = 2 * round(RING_WIDTH * sight.face_width) + 1
    near = cv2.dilate(sight.outline, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    ring = sight.inside & (near > 0.5) & (above > 0.5) & (cv2.dilate(sight.outline, np.ones((3, 3), np.uint8)) < 0.1)
    if ring.sum() < MIN_PIXELS:
        return np.zeros_like(sight.outline)
    spread = np.maximum(skin.deviation, SKIN_SPREAD)
    middle = np.median(lab[skin.sampled], axis=0)
    unlike_skin = np.minimum(
        _measure_skin_distance(lab, skin.expected_lab, spread), _measure_skin_distance(lab, middle, spread)
    )
    like = np.zeros_like(sight.outline)
    strands = _measure_roughness(sight.lab, skin)
    for mean, deviation in _cluster_colours(lab[ring]):
        distance = (((lab - mean) / deviation) ** 2).sum(-1) + 2 * np.log(deviation / spread).sum()
        # An ear, a bald head, a wall like skin say nothing.
        worth = np.float32(smoothstep(_measure_skin_distance(mean, middle, spread) / DISTINCT_DISTANCE - 0.5))
        if mean[0] > middle[0]:  # bright hair shows strands; a bright wall, and a forehead that shines, do not
            rough = np.percentile(strands[ring & (distance < 6)], 30) if (ring & (distance < 6)).any() else 0.0
            worth *= np.float32(smoothstep(np.asarray((rough - BRIGHT_ROUGHNESS) / BRIGHT_ROUGHNESS)))
        rather = worth * smoothstep((unlike_skin - distance - HAIR_ODDS) / ODDS_SOFTNESS + 0.5).astype(np.float32)
        # It must come in from outside by itself.
        like = np.maximum(like, _keep_touching(rather, ring))
    return np.asarray(like, np.float32)


def _measure_skin_distance(lab: np.ndarray, skin: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Squared distance in deviations of colours (..., 3) from skin that is lit more or less, or shines: with less
    light colours fade with it; a highlight goes towards white."""
    light, expected = lab[..., 0], skin[..., 0]
    fade = np.where(light < expected, light / np.maximum(expected, 1), (100 - light) / np.maximum(100 - expected, 1))
    lightness = (light - expected) * np.where(light < expected, 0.75, 0.5) / spread[0]
    return np.asarray(lightness**2 + (((lab[..., 1:] - skin[..., 1:] * fade[..., None]) / spread[1:]) ** 2).sum(-1))


def _cluster_colours(values: np.ndarray, count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation of the groups that colours (n, 3) fall into: k-means, begun along lightness."""
    values = values[:: max(1, len(values) // 4000)]
    means = np.quantile(values[:, 0], (np.arange(count) + 0.5) / count)[:, None] * (1, 0, 0)
    means = np.stack(
        [values[np.argsort(np.abs(values[:, 0] - level), kind="stable")[:20]].mean(0) for level in means[:, 0]]
    )
    for _ in range(8):
        nearest = ((values[:, None] - means[None]) ** 2).sum(-1).argmin(1)
        means = np.stack([values[nearest == k].mean(0) if (nearest == k).any() else means[k] for k in range(count)])
    groups = [values[nearest == k] for k in range(count)]
    return [
        (group.mean(0), np.maximum(group.std(0), HAIR_SPREAD)) for group in groups if len(group) > 0.04 * len(values)
    ]


def _locate_inner_face(points: np.ndarray) -> np.ndarray:
    """Polygon of the part that is skin on almost everybody: from the brows to the mouth, within the cheeks."""
    jaw = points[[1, 2, 3, 4, 5, 11, 12, 13, 14, 15]]
    centre = points[[30, 33]].mean(0)
    cheeks = centre + 0.75 * (jaw - centre)
    raised = points[[26, 24, 19, 17]] + 0.35 * (points[[26, 24, 19, 17]] - points[[45, 43, 38, 36]])
    return np.vstack([cheeks, raised])


def _draw_features(sight: FaceRaster) -> np.ndarray:
    """1 on eyes, brows, lips and nostrils: they differ from skin and belong to the face."""
    points, size = sight.landmarks, 0.02 * sight.face_width
    matte = np.zeros_like(sight.outline)
    for indices in _FEATURE_HULLS:
        matte = np.maximum(matte, draw_polygon(cv2.convexHull(points[indices].astype(np.float32))[:, 0], sight.window))
    for indices in _BROW_LINES:
        cv2.polylines(
            matte,
            [np.round(points[indices] * 16).astype(np.int32)],
            False,
            1.0,
            max(1, round(3.5 * size)),
            cv2.LINE_AA,
            4,
        )
    reach = 2 * max(1, round(1.6 * size)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return np.clip(cv2.GaussianBlur(cv2.dilate(matte, kernel), (0, 0), max(0.5, size / 2)), 0, 1)


def _remove_brows(unlikeness: np.ndarray, sight: FaceRaster) -> np.ndarray:
    """`unlike` without what is low and wide over the brow landmarks: brows that are raised higher than those were found
    to be. Hair that hangs in there is taller."""
    brows = sight.landmarks[17:27]
    rise = BROW_RISE * sight.face_width * sight.up_direction
    outward = 0.05 * (brows[-1] - brows[0])
    outer = np.vstack([brows, brows + rise, brows[:1] - outward, brows[-1:] + outward])
    zone = draw_polygon(cv2.convexHull(outer.astype(np.float32))[:, 0], sight.window, 0.01 * sight.face_width)
    half = max(1, round(BROW_HEIGHT * sight.face_width / 2))
    line = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    tip = np.round(half * sight.up_direction).astype(int)
    cv2.line(line, (int(half - tip[0]), int(half - tip[1])), (int(half + tip[0]), int(half + tip[1])), 1)
    return np.asarray(unlikeness + zone * (cv2.morphologyEx(unlikeness, cv2.MORPH_OPEN, line) - unlikeness))


def _mark_above_brows(sight: FaceRaster) -> np.ndarray:
    """1 above the brows, in the head's own direction."""
    height = (
        np.moveaxis(np.mgrid[0 : sight.outline.shape[0], 0 : sight.outline.shape[1]][::-1], 0, -1) @ sight.up_direction
    )
    brow = float((sight.landmarks[17:27] @ sight.up_direction).max())
    return np.clip((height - brow) / (0.05 * sight.face_width) + 0.5, 0, 1).astype(np.float32)


def _mark_temples(sight: FaceRaster) -> np.ndarray:
    """1 beside the eyes, outside the brows' ends: hair falls there too."""
    points = sight.landmarks
    matte = np.zeros_like(sight.outline)
    for brow, eye, side in ((17, 36, 0), (26, 45, 16)):
        corner = np.vstack(
            [
                points[brow],
                points[eye],
                points[side],
                2 * points[side] - points[eye],
                2 * points[brow] - points[eye] + 0.5 * (points[brow] - points[eye]),
            ]
        )
        matte = np.maximum(matte, draw_polygon(cv2.convexHull(corner.astype(np.float32))[:, 0], sight.window))
    return np.asarray(cv2.GaussianBlur(matte, (0, 0), max(0.5, 0.02 * sight.face_width)))


def _reconstruct_from_outside(unlikeness: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """What of `unlike` reaches the face's outline: grey-scale reconstruction from outside. Specks are opened away."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(unlikeness, cv2.MORPH_OPEN, kernel)
    border = 1 - cv2.erode(shape, np.ones((5, 5), np.uint8))
    marker = np.minimum(opened, (border > 0.5).astype(np.float32))
    return reconstruction(marker, opened).astype(np.float32) if marker.any() else marker


def _grow_over_features(
    other: np.ndarray, hidden: np.ndarray, sight: FaceRaster, skin: SkinModel, above: np.ndarray
) -> np.ndarray:
    """`other` continued over eyes and lips (`hidden`: what is unlike skin there) where the colours are those of what
    was found in front of the face, and could not be an eye's, a brow's or a mouth's own."""
    lab = sight.lab
    found = (other > 0.7) & (sight.outline > 0.5) & (above < 0.5)
    if found.sum() < MIN_PIXELS:
        return other
    middle = np.median(lab[skin.sampled], axis=0)
    lower = (sight.landmarks - sight.landmarks[33]) @ sight.up_direction < 0
    mouth = (
        draw_polygon(_enlarge_polygon(sight.landmarks[48:60], 1.6), sight.window) if lower[48:60].all() else 0 * other
    )
    like = np.zeros_like(other)
    for mean, deviation in _cluster_colours(lab[found]):
        tint = mean[1:] - np.clip(mean[1:] @ middle[1:] / max(float(middle[1:] @ middle[1:]), 1.0), 0, 1) * middle[1:]
        near = smoothstep((16 - (((lab - mean) / deviation) ** 2).sum(-1)) / 12)
        if np.hypot(*tint) > ODD_TINT:
            like = np.maximum(like, near)
        elif mean[1] < middle[1] + 2:  # what is not red is no lip
            like = np.maximum(like, near * mouth)
    return np.asarray(reconstruction(other, np.maximum(other, like * hidden)), np.float32)


def _enlarge_polygon(points: np.ndarray, factor: float) -> np.ndarray:
    """A closed row of points, larger about its middle."""
    return np.asarray(points.mean(0) + factor * (points - points.mean(0)))


def _close_strands(hair: np.ndarray, sight: FaceRaster) -> np.ndarray:
    """`hair` (h, w) closed over the gaps between its strands."""
    side = 2 * max(1, round(STRAND_GAP * sight.face_width)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    wide = cv2.copyMakeBorder(hair, side, side, side, side, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)[side:-side, side:-side], np.float32)


def _find_islands(face: np.ndarray, shape: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """What of `face` within its outline is cut off from the inner face: a strand's glint, a finger's gap."""
    face = np.minimum(face, shape)
    return face - _keep_touching(face, sure)


def _keep_touching(matte: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """`matte` where it hangs together with `seed` (bool), with what is soft around that."""
    _, labels = cv2.connectedComponents((matte > 0.3).astype(np.uint8), connectivity=4)
    met = np.zeros(int(labels.max()) + 1, np.float32)
    met[labels[seed]] = 1
    met[0] = 0
    return np.asarray(matte * cv2.dilate(met[labels], np.ones((5, 5), np.uint8)), np.float32)


def detect_glasses(sight: FaceRaster) -> float:
    """0..1: whether a dark line runs all across the bridge of the nose. Nothing but glasses has one there."""
    skin = sight.skin
    if skin is None:
        return 0.0
    luma = sight.rgb @ LUMA_WEIGHTS
    line = _find_dark_lines(luma, 0.03 * sight.face_width) / np.float32(max(float(np.median(luma[skin.sampled])), 0.05))
    points, down, across = (
        sight.landmarks,
        -sight.up_direction,
        np.array([-sight.up_direction[1], sight.up_direction[0]]),
    )
    gap = float(np.linalg.norm(points[45] - points[36]))
    columns = np.linspace(-0.07, 0.07, 9)[:, None, None] * gap * across
    rows = np.linspace(-0.12, 0.16, 30)[None, :, None] * gap * down
    at = np.asarray(points[[39, 42]].mean(0) + columns + rows, np.float32)
    strength = cv2.remap(line, at[..., 0], at[..., 1], cv2.INTER_LINEAR).max(1).min()
    return float(smoothstep(np.asarray((strength - BRIDGE_CONTRAST) / BRIDGE_CONTRAST)))


def _find_hinges(sight: FaceRaster) -> np.ndarray:
    """Dark, narrow things beside the eyes: hinges and arms of glasses."""
    points = sight.landmarks
    zone = np.zeros_like(sight.outline)
    for brow, eye, side in ((17, 36, 0), (26, 45, 16)):
        out = points[side] + 0.4 * (points[side] - points[eye])
        corner = np.vstack([points[eye], points[brow], points[side], out, out + points[brow] - points[eye]])
        zone = np.maximum(zone, draw_polygon(cv2.convexHull(corner.astype(np.float32))[:, 0], sight.window))
    found = smoothstep((_find_dark_lines(sight.rgb @ LUMA_WEIGHTS, 0.07 * sight.face_width) - 0.08) / 0.1).astype(
        np.float32
    )
    return np.asarray(cv2.dilate(found * zone, np.ones((5, 5), np.uint8)))


def _find_dark_lines(luma: np.ndarray, radius: float) -> np.ndarray:
    """How much darker than around, where something dark is narrower than twice `radius`."""
    side = 2 * max(1, round(radius)) + 1
    closed = cv2.morphologyEx(luma, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.asarray(closed - luma, np.float32)


def find_glasses_frames(
    display: np.ndarray, landmarks: np.ndarray, region: Window, width: float, aspect: float
) -> np.ndarray:
    """Thin dark lines around the eyes, off the lids and brows: the frame of a pair of glasses."""
    luma = np.clip(display, 0, 1) @ LUMA_WEIGHTS
    reach = max(3, 2 * round(0.03 * width) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, round(reach / aspect)) | 1, reach))
    line = cv2.morphologyEx(luma, cv2.MORPH_CLOSE, kernel) - luma
    eyes = landmarks[warp_points.EYES]
    gap = np.linalg.norm(landmarks[45] - landmarks[36])
    zone = np.zeros(luma.shape, np.float32)
    for eye in (eyes[:6], eyes[6:]):
        centre = eye.mean(0)
        angle = np.linspace(0, 2 * np.pi, 40)
        ring = centre + 0.36 * gap * np.column_stack([np.cos(angle), 0.85 * np.sin(angle)])
        zone = np.maximum(zone, draw_polygon(ring, region))
        zone *= 1 - draw_polygon(centre + 1.5 * (eye - centre), region, 0.01 * width)
    for brow in (landmarks[17:22], landmarks[22:27]):
        lower = brow + np.array([0, 0.02 * width])
        zone *= 1 - draw_polygon(np.vstack([brow - (0, 0.04 * width), lower[::-1]]), region, 0.01 * width)
    zone = np.maximum(
        zone,
        draw_polygon(np.vstack([landmarks[[27, 28]] - (0.09 * gap, 0), landmarks[[28, 27]] + (0.09 * gap, 0)]), region),
    )
    typical = np.median(line[zone > 0.5]) if (zone > 0.5).any() else 1.0
    found = smoothstep((line - 2 * typical - 0.03) / 0.08) * zone
    return np.asarray(cv2.dilate(found, np.ones((3, 3), np.uint8)))
