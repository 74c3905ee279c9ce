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

from fsgan_core.plates.plate import Window
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import polygon_matte, smoothstep

# Squared distance from the skin's colour, in its own deviations, that still counts as skin, and that surely does not.
SKIN, NOT_SKIN = 9.0, 36.0
LEAST_DEVIATION = np.array([9.0, 3.5, 3.5], np.float32)  # Lab units: shading and blotches that every skin has
LEAST_ROUGHNESS = 0.7  # Lab lightness
ODD_TINT = 12.0  # Lab: farther than this from everything between grey and skin
CALM = 0.003  # reluctance of the skin's colour to change across the face
ENOUGH = 30  # pixels: from fewer nothing is learnt

# What surrounds the face: how far is looked (of the face), the least deviations of colours (Lab) of skin and of hair,
# how far from skin (squared, in deviations) a colour must be to say anything, and the odds that make a pixel hair.
RING = 0.16
SKIN_SPREAD = np.array([6.0, 2.5, 2.5], np.float32)
HAIR_SPREAD = np.array([5.0, 2.5, 2.5], np.float32)
BRIGHT_STRANDS = 0.8  # roughness, in the skin's deviations above its usual one
DISTINCT, DOUBT, SURENESS = 4.0, 3.0, 6.0

STRANDS = 0.08  # of the face: so near to hair on two sides, what passes for skin may be hair too
BROW_RISE, BROW_HEIGHT = 0.28, 0.12  # of the face: how far above its landmarks a brow may be, and how tall
BRIDGE = 0.025  # a line across the nose at least this dark, of the skin's lightness, may be glasses; twice this is

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_BROWS = ([*range(17, 22)], [*range(22, 27)])
_HOLES = ([*range(36, 42)], [*range(42, 48)], [*range(48, 60)], [31, 32, 33, 34, 35, 30])  # eyes, lips, nostrils


@dataclass(frozen=True)
class Sight:
    """A look at a face on a small raster of square pixels.

    rgb: float32 (h, w, 3), display-like, 0..1. points: (68, 2) landmarks on it. unit: width of the face in its pixels.
    shape: float32 (h, w), the face's outline. up: (2,), the head's upward direction. seen: bool (h, w), where the
    picture really is.
    """

    rgb: np.ndarray
    points: np.ndarray
    unit: float
    shape: np.ndarray
    up: np.ndarray
    seen: np.ndarray

    @property
    def window(self) -> Window:
        return Window(0, 0, self.shape.shape[1], self.shape.shape[0])

    @cached_property
    def lab(self) -> np.ndarray:
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2Lab))

    @cached_property
    def skin(self) -> Skin | None:
        """`own_skin` of it."""
        return own_skin(self)


@dataclass(frozen=True)
class Skin:
    """The face's own skin: lab (h, w, 3) as expected at each place, deviation (3,) around that, sure (h, w) where it
    was seen."""

    lab: np.ndarray
    deviation: np.ndarray
    sure: np.ndarray


def foreign(sight: Sight, worn: float = 0.0, doubt: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """What is not the face, and where that would be hair rather than something in front: float32 (h, w) each, 0..1.

    worn: how surely the face wears glasses that are to go with it (`wears_glasses`). doubt: above 1, less that differs
    from the skin still passes for it above the brows and at the temples.
    """
    above = np.maximum(_over_brows(sight), _temples(sight))
    skin = sight.skin
    if skin is None:
        return np.zeros_like(sight.shape), above
    unlike = np.maximum(_unlike_skin(sight.lab, skin, 1 + (doubt - 1) * above),
                        above * _like_around(sight, skin, above))
    reach = 2 * max(1, round(0.04 * sight.unit)) + 1
    unlike = _without_brows(unlike, sight)
    if worn > 0:
        unlike = unlike * (1 - np.float32(worn) * _hinges(sight))
    kept = _features(sight) * cv2.erode(sight.shape, np.ones((reach, reach), np.uint8))
    other = _from_outside(unlike * (1 - kept), sight.shape)
    other = _grown(other, unlike * kept, sight, skin, above)
    if doubt > 1:
        other = np.maximum(other, _between_strands(other * above, sight) * (1 - kept))
    return np.maximum(other, _islands(1 - other, sight.shape, skin.sure)), above


def own_skin(sight: Sight) -> Skin | None:
    """A smooth field fitted to the inner face; None where there is too little of it."""
    core = polygon_matte(_inner_face(sight.points), sight.window) * (1 - _features(sight)) * (sight.shape > 0.5)
    sure = (core > 0.5) & sight.seen
    if sure.sum() < ENOUGH:
        return None
    # Across and up the head, so that a tilted head is fitted like an upright one.
    offset = np.moveaxis(np.mgrid[0:sure.shape[0], 0:sure.shape[1]][::-1], 0, -1) - sight.points[30]
    across = offset @ np.array([-sight.up[1], sight.up[0]]) / sight.unit
    down = offset @ -sight.up / sight.unit
    # Beyond the sampled part a fitted slope is a guess: hold it there.
    across = np.clip(across, across[sure].min() - 0.05, across[sure].max() + 0.05)
    down = np.clip(down, down[sure].min() - 0.1, down[sure].max() + 0.05)
    basis = np.stack([np.ones_like(across), across, down, across * across], -1)
    lab = sight.lab
    rows, values = basis[sure], lab[sure]
    # A bend takes more evidence than a slope, a slope more than a level.
    calm = np.sqrt(CALM * len(rows)) * np.diag([0, 1, 1, 4])[1:]
    nothing = np.zeros((3, 3))
    weight = np.ones(len(rows))
    for _ in range(8):  # reweighted: shadows of the nose and stray hair shall not bend the field
        root = np.sqrt(weight)[:, None]
        field = np.linalg.lstsq(np.vstack([rows * root, calm]), np.vstack([values * root, nothing]), rcond=None)[0]
        residual = values - rows @ field
        deviation = 1.48 * np.median(np.abs(residual), axis=0)
        weight = 1 / (1 + ((residual / np.maximum(deviation, LEAST_DEVIATION)) ** 2).sum(1) / 6) ** 2
    return Skin((basis @ field).astype(np.float32), deviation.astype(np.float32), sure)


def _unlike_skin(lab: np.ndarray, skin: Skin, doubt: np.ndarray) -> np.ndarray:
    """0 where the colour is the face's skin at that place, 1 where it surely is not. doubt: (h, w), 1 and more."""
    difference = (lab - skin.lab) / np.maximum(skin.deviation, LEAST_DEVIATION)
    # A darker patch of the same hue is a shadow far more often than an object.
    distance = (difference[..., 0] * np.where(difference[..., 0] < 0, 0.75, 1.0)) ** 2
    distance = distance + (difference[..., 1:] ** 2).sum(-1)
    # Hair of the skin's own colour gives itself away by its strands.
    distance = (distance + _strands(lab, skin) ** 2 / 2) * doubt
    return smoothstep((distance - SKIN) / (NOT_SKIN - SKIN)).astype(np.float32)


def _strands(lab: np.ndarray, skin: Skin) -> np.ndarray:
    """How much rougher than the skin usually is, in its own deviations."""
    rough = cv2.GaussianBlur(np.abs(lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 2.0)), (0, 0), 2.0)
    usual = np.median(rough[skin.sure])
    spread = max(1.48 * float(np.median(np.abs(rough[skin.sure] - usual))), LEAST_ROUGHNESS)
    return np.asarray(np.maximum((rough - usual) / spread, 0))


def _like_around(sight: Sight, skin: Skin, above: np.ndarray) -> np.ndarray:
    """1 where the colour is rather that of what surrounds the face above the brows (hair, a hat) than the skin's."""
    lab = cv2.GaussianBlur(sight.lab, (0, 0), 0.7)
    reach = 2 * round(RING * sight.unit) + 1
    near = cv2.dilate(sight.shape, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    ring = sight.seen & (near > 0.5) & (above > 0.5) & (cv2.dilate(sight.shape, np.ones((3, 3), np.uint8)) < 0.1)
    if ring.sum() < ENOUGH:
        return np.zeros_like(sight.shape)
    spread = np.maximum(skin.deviation, SKIN_SPREAD)
    middle = np.median(lab[skin.sure], axis=0)
    unlike_skin = np.minimum(_skin_distance(lab, skin.lab, spread), _skin_distance(lab, middle, spread))
    like = np.zeros_like(sight.shape)
    strands = _strands(sight.lab, skin)
    for mean, deviation in _clusters(lab[ring]):
        distance = (((lab - mean) / deviation) ** 2).sum(-1) + 2 * np.log(deviation / spread).sum()
        # An ear, a bald head, a wall like skin say nothing.
        worth = np.float32(smoothstep(_skin_distance(mean, middle, spread) / DISTINCT - 0.5))
        if mean[0] > middle[0]:  # bright hair shows strands; a bright wall, and a forehead that shines, do not
            rough = np.percentile(strands[ring & (distance < 6)], 30) if (ring & (distance < 6)).any() else 0.0
            worth *= np.float32(smoothstep(np.asarray((rough - BRIGHT_STRANDS) / BRIGHT_STRANDS)))
        rather = worth * smoothstep((unlike_skin - distance - DOUBT) / SURENESS + 0.5).astype(np.float32)
        # It must come in from outside by itself.
        like = np.maximum(like, _touching(rather, ring))
    return np.asarray(like, np.float32)


def _skin_distance(lab: np.ndarray, skin: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Squared distance in deviations of colours (..., 3) from skin that is lit more or less, or shines: with less
    light colours fade with it; a highlight goes towards white."""
    light, expected = lab[..., 0], skin[..., 0]
    fade = np.where(light < expected, light / np.maximum(expected, 1), (100 - light) / np.maximum(100 - expected, 1))
    lightness = (light - expected) * np.where(light < expected, 0.75, 0.5) / spread[0]
    return np.asarray(lightness**2 + (((lab[..., 1:] - skin[..., 1:] * fade[..., None]) / spread[1:]) ** 2).sum(-1))


def _clusters(values: np.ndarray, count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation of the groups that colours (n, 3) fall into: k-means, begun along lightness."""
    values = values[:: max(1, len(values) // 4000)]
    means = np.quantile(values[:, 0], (np.arange(count) + 0.5) / count)[:, None] * (1, 0, 0)
    means = np.stack([values[np.argsort(np.abs(values[:, 0] - level), kind="stable")[:20]].mean(0)
                      for level in means[:, 0]])
    for _ in range(8):
        nearest = ((values[:, None] - means[None]) ** 2).sum(-1).argmin(1)
        means = np.stack([values[nearest == k].mean(0) if (nearest == k).any() else means[k] for k in range(count)])
    groups = [values[nearest == k] for k in range(count)]
    return [(group.mean(0), np.maximum(group.std(0), HAIR_SPREAD)) for group in groups
            if len(group) > 0.04 * len(values)]


def _inner_face(points: np.ndarray) -> np.ndarray:
    """Polygon of the part that is skin on almost everybody: from the brows to the mouth, within the cheeks."""
    jaw = points[[1, 2, 3, 4, 5, 11, 12, 13, 14, 15]]
    centre = points[[30, 33]].mean(0)
    cheeks = centre + 0.75 * (jaw - centre)
    raised = points[[26, 24, 19, 17]] + 0.35 * (points[[26, 24, 19, 17]] - points[[45, 43, 38, 36]])
    return np.vstack([cheeks, raised])


def _features(sight: Sight) -> np.ndarray:
    """1 on eyes, brows, lips and nostrils: they differ from skin and belong to the face."""
    points, size = sight.points, 0.02 * sight.unit
    matte = np.zeros_like(sight.shape)
    for indices in _HOLES:
        matte = np.maximum(matte, polygon_matte(cv2.convexHull(points[indices].astype(np.float32))[:, 0], sight.window))
    for indices in _BROWS:
        cv2.polylines(matte, [np.round(points[indices] * 16).astype(np.int32)], False, 1.0,
                      max(1, round(3.5 * size)), cv2.LINE_AA, 4)
    reach = 2 * max(1, round(1.6 * size)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return np.clip(cv2.GaussianBlur(cv2.dilate(matte, kernel), (0, 0), max(0.5, size / 2)), 0, 1)


def _without_brows(unlike: np.ndarray, sight: Sight) -> np.ndarray:
    """`unlike` without what is low and wide over the brow landmarks: brows that are raised higher than those were found
    to be. Hair that hangs in there is taller."""
    brows = sight.points[17:27]
    rise = BROW_RISE * sight.unit * sight.up
    outward = 0.05 * (brows[-1] - brows[0])
    outer = np.vstack([brows, brows + rise, brows[:1] - outward, brows[-1:] + outward])
    zone = polygon_matte(cv2.convexHull(outer.astype(np.float32))[:, 0], sight.window, 0.01 * sight.unit)
    half = max(1, round(BROW_HEIGHT * sight.unit / 2))
    line = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    tip = np.round(half * sight.up).astype(int)
    cv2.line(line, (int(half - tip[0]), int(half - tip[1])), (int(half + tip[0]), int(half + tip[1])), 1)
    return np.asarray(unlike + zone * (cv2.morphologyEx(unlike, cv2.MORPH_OPEN, line) - unlike))


def _over_brows(sight: Sight) -> np.ndarray:
    """1 above the brows, in the head's own direction."""
    height = np.moveaxis(np.mgrid[0:sight.shape.shape[0], 0:sight.shape.shape[1]][::-1], 0, -1) @ sight.up
    brow = float((sight.points[17:27] @ sight.up).max())
    return np.clip((height - brow) / (0.05 * sight.unit) + 0.5, 0, 1).astype(np.float32)


def _temples(sight: Sight) -> np.ndarray:
    """1 beside the eyes, outside the brows' ends: hair falls there too."""
    points = sight.points
    matte = np.zeros_like(sight.shape)
    for brow, eye, side in ((17, 36, 0), (26, 45, 16)):
        corner = np.vstack([points[brow], points[eye], points[side], 2 * points[side] - points[eye],
                            2 * points[brow] - points[eye] + 0.5 * (points[brow] - points[eye])])
        matte = np.maximum(matte, polygon_matte(cv2.convexHull(corner.astype(np.float32))[:, 0], sight.window))
    return np.asarray(cv2.GaussianBlur(matte, (0, 0), max(0.5, 0.02 * sight.unit)))


def _from_outside(unlike: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """What of `unlike` reaches the face's outline: grey-scale reconstruction from outside. Specks are opened away."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(unlike, cv2.MORPH_OPEN, kernel)
    border = 1 - cv2.erode(shape, np.ones((5, 5), np.uint8))
    marker = np.minimum(opened, (border > 0.5).astype(np.float32))
    return reconstruction(marker, opened).astype(np.float32) if marker.any() else marker


def _grown(other: np.ndarray, hidden: np.ndarray, sight: Sight, skin: Skin, above: np.ndarray) -> np.ndarray:
    """`other` continued over eyes and lips (`hidden`: what is unlike skin there) where the colours are those of what
    was found in front of the face, and could not be an eye's, a brow's or a mouth's own."""
    lab = sight.lab
    found = (other > 0.7) & (sight.shape > 0.5) & (above < 0.5)
    if found.sum() < ENOUGH:
        return other
    middle = np.median(lab[skin.sure], axis=0)
    lower = (sight.points - sight.points[33]) @ sight.up < 0
    mouth = polygon_matte(_around(sight.points[48:60], 1.6), sight.window) if lower[48:60].all() else 0 * other
    like = np.zeros_like(other)
    for mean, deviation in _clusters(lab[found]):
        tint = mean[1:] - np.clip(mean[1:] @ middle[1:] / max(float(middle[1:] @ middle[1:]), 1.0), 0, 1) * middle[1:]
        near = smoothstep((16 - (((lab - mean) / deviation) ** 2).sum(-1)) / 12)
        if np.hypot(*tint) > ODD_TINT:
            like = np.maximum(like, near)
        elif mean[1] < middle[1] + 2:  # what is not red is no lip
            like = np.maximum(like, near * mouth)
    return np.asarray(reconstruction(other, np.maximum(other, like * hidden)), np.float32)


def _around(points: np.ndarray, factor: float) -> np.ndarray:
    """A closed row of points, larger about its middle."""
    return np.asarray(points.mean(0) + factor * (points - points.mean(0)))


def _between_strands(hair: np.ndarray, sight: Sight) -> np.ndarray:
    """`hair` (h, w) closed over the gaps between its strands."""
    side = 2 * max(1, round(STRANDS * sight.unit)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    wide = cv2.copyMakeBorder(hair, side, side, side, side, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)[side:-side, side:-side], np.float32)


def _islands(face: np.ndarray, shape: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """What of `face` within its outline is cut off from the inner face: a strand's glint, a finger's gap."""
    face = np.minimum(face, shape)
    return face - _touching(face, sure)


def _touching(matte: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """`matte` where it hangs together with `seed` (bool), with what is soft around that."""
    _, labels = cv2.connectedComponents((matte > 0.3).astype(np.uint8), connectivity=4)
    met = np.zeros(int(labels.max()) + 1, np.float32)
    met[labels[seed]] = 1
    met[0] = 0
    return np.asarray(matte * cv2.dilate(met[labels], np.ones((5, 5), np.uint8)), np.float32)


def wears_glasses(sight: Sight) -> float:
    """0..1: whether a dark line runs all across the bridge of the nose. Nothing but glasses has one there."""
    skin = sight.skin
    if skin is None:
        return 0.0
    luma = sight.rgb @ _LUMA
    line = _lines(luma, 0.03 * sight.unit) / np.float32(max(float(np.median(luma[skin.sure])), 0.05))
    points, down, across = sight.points, -sight.up, np.array([-sight.up[1], sight.up[0]])
    gap = float(np.linalg.norm(points[45] - points[36]))
    columns = np.linspace(-0.07, 0.07, 9)[:, None, None] * gap * across
    rows = np.linspace(-0.12, 0.16, 30)[None, :, None] * gap * down
    at = np.asarray(points[[39, 42]].mean(0) + columns + rows, np.float32)
    strength = cv2.remap(line, at[..., 0], at[..., 1], cv2.INTER_LINEAR).max(1).min()
    return float(smoothstep(np.asarray((strength - BRIDGE) / BRIDGE)))


def _hinges(sight: Sight) -> np.ndarray:
    """Dark, narrow things beside the eyes: hinges and arms of glasses."""
    points = sight.points
    zone = np.zeros_like(sight.shape)
    for brow, eye, side in ((17, 36, 0), (26, 45, 16)):
        out = points[side] + 0.4 * (points[side] - points[eye])
        corner = np.vstack([points[eye], points[brow], points[side], out, out + points[brow] - points[eye]])
        zone = np.maximum(zone, polygon_matte(cv2.convexHull(corner.astype(np.float32))[:, 0], sight.window))
    found = smoothstep((_lines(sight.rgb @ _LUMA, 0.07 * sight.unit) - 0.08) / 0.1).astype(np.float32)
    return np.asarray(cv2.dilate(found * zone, np.ones((5, 5), np.uint8)))


def _lines(luma: np.ndarray, radius: float) -> np.ndarray:
    """How much darker than around, where something dark is narrower than twice `radius`."""
    side = 2 * max(1, round(radius)) + 1
    closed = cv2.morphologyEx(luma, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.asarray(closed - luma, np.float32)


def glasses(display: np.ndarray, landmarks: np.ndarray, region: Window, width: float, aspect: float) -> np.ndarray:
    """Thin dark lines around the eyes, off the lids and brows: the frame of a pair of glasses."""
    luma = np.clip(display, 0, 1) @ _LUMA
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
        zone = np.maximum(zone, polygon_matte(ring, region))
        zone *= 1 - polygon_matte(centre + 1.5 * (eye - centre), region, 0.01 * width)
    for brow in (landmarks[17:22], landmarks[22:27]):
        lower = brow + np.array([0, 0.02 * width])
        zone *= 1 - polygon_matte(np.vstack([brow - (0, 0.04 * width), lower[::-1]]), region, 0.01 * width)
    zone = np.maximum(zone, polygon_matte(np.vstack([landmarks[[27, 28]] - (0.09 * gap, 0),
                                                     landmarks[[28, 27]] + (0.09 * gap, 0)]), region))
    typical = np.median(line[zone > 0.5]) if (zone > 0.5).any() else 1.0
    found = smoothstep((line - 2 * typical - 0.03) / 0.08) * zone
    return np.asarray(cv2.dilate(found, np.ones((3, 3), np.uint8)))
