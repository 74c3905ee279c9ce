"""Light: the new face brought into the target's light.

Both pictures show skin of (nearly) one shape in one pose: the target's mesh. So each is read at the mesh's triangles,
and its light is modelled by spherical harmonics up to order 2 on their normals (Ramamoorthi and Hanrahan 2001), per
channel, in logarithms of scene-linear values. The fit is robust, and leaves out what is not plain skin. The new face is
multiplied by the ratio of both fits, so its own light is taken out. What the models leave over (a cast shadow, bounced
light, shine) is carried over as a smooth field on the face's surface. Every factor is bounded.

A frame's result depends on this frame alone. It is steady because few numbers are fitted to much skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from fsgan_core.faces.mesh import (
    BROW_L,
    BROW_R,
    CANONICAL,
    INNER_LIPS,
    LIDS_L,
    LIDS_R,
    OUTER_LIPS,
    TRIANGLES,
    compute_vertex_normals,
)
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matrix, Matte, Mesh, Plane, Points, Points3D, Vector
from fsgan_core.runtime.memo import remember_results
from fsgan_core.stages.image_ops import blur_weighted, repeat_plane, smoothstep, to_perceptual, to_scene_linear, weigh
from fsgan_core.stages.matching.light_field import (
    FaceSurface,
    enlarge_field,
    place_knots,
    spread_over_picture,
    spread_to_knots,
)
from fsgan_core.stages.matching.light_fit import fit_light

# Reading the pictures. Lengths in mm are on the generic face; "of the face" is a share of the face's width.
FACE_WIDTH = 144.0  # mm
SAMPLE_SIGMA = 0.018  # of the face: of the blur under which a sample is read
LIGHT_FLOOR = 0.005  # scene-linear value added before logarithms
FACING_RANGE = (0.15, 0.5)  # cosine to the camera at which a triangle begins to count, and counts fully
MIN_SAMPLES = 20.0  # samples of visible skin: fewer say nothing about the light

# What is not plain skin: mm around the vertices.
LID_REACH, BROW_REACH, THICK_BROW_REACH, LIP_REACH = 7.0, 6.0, 12.0, 5.0
NOSTRIL_HALF_WIDTH, NOSTRIL_TOP, NOSTRIL_BOTTOM, NOSTRIL_DEPTH = 20.0, 38.0, 50.0, -12.0
# Upper edge of a beard: distance from the middle, and height.
BEARD_EDGE = ((0.0, 42.0), (14.0, 42.0), (22.0, 55.0), (65.0, 12.0))

# The fit.
BEARD_SHARE = 0.3  # weight of skin where a beard may grow: only there skin faces down
NORMAL_SIGMA = 6.0  # mm: finer relief is the network's guess
REMEMBERED_NORMALS = 32  # of the frames at work: each is asked for by several stages

# The transfer. Logarithms of scene-linear values: 0.7 is one stop.
LEVEL_LIMIT = 3.0  # of the change of the whole face, which spans the darkest and the lightest skin
SHAPE_SIGMA = 10.0  # mm: finer relief of a light says little, and looks embossed
FEATURE_SHARE = 0.02  # weight of features in that: on the steep skin around the nostrils the model is a guess
SHAPE_LIMIT = 2.0  # of the ratio of both lights, around that; half of it goes through nearly whole
TURNED_LIMIT = 1.0  # of the difference between the light on two halves of a face
RESIDUAL_LIMIT = 0.35  # of what is left
RESIDUAL_SIGMA = 9.0  # mm: what is finer belongs to the person
TINT_SIGMA = 4.0  # mm: the same of hue alone, in which blotches and shine show, and hardly a person
RESIDUAL_PRIOR = 0.02  # weight of no residual, of that of a fully visible place
RESIDUAL_CLIP = 0.6  # of a single sample
RESIDUAL_SPREAD = 0.5  # from the places around, at which a sample's weight is a quarter
RESIDUAL_ROUNDS = 3
SHINE_SIGMA = 3.5  # mm
SHINE_LIMIT = 0.35
HAIR_SPREAD = 0.7  # darker than the model, at which the weight of a sample where hair may grow is a quarter

PLAIN_RANGE = (0.5, 0.9)  # share of plain skin around a pixel, from which on it counts, and counts fully

# Edges of shades that are taken out; lengths are of the face.
SHADE_WIDTH = 200  # pixels: a wider face is looked at on fewer pixels
SHADE_SIGMA, SHADE_MEDIAN = 0.12, 0.03  # surroundings; half of the width of what is no shade
SHADE_RANGE, SHADE_SOFTNESS = 1.5, 1.0  # largest difference from what is around, logarithm; pixels
FLAT_SHADE = 0.1  # logarithm: a face that varies less around a place has no edge there
SHADE_PIXELS = 4  # for each sigma

# Saturation.
SATURATION_MARGIN, MIN_SATURATION = 1.1, 0.3  # so many times the target's saturation stays; least share that is kept

_CENTRES = CANONICAL[TRIANGLES].mean(1)
_DISTANCES = np.linalg.norm(_CENTRES[:, None] - _CENTRES, axis=-1)


@cache
def _make_kernel(sigma: float) -> Matrix:
    """Gaussian weights (n, n) between the triangles' middles on the generic face, float32; rows sum to 1."""
    kernel = np.exp(-0.5 * (_DISTANCES / sigma) ** 2)
    return np.asarray(kernel / kernel.sum(1, keepdims=True), np.float32)


@cache
def _make_shape_kernel() -> Matrix:
    """The kernel that smooths a light's shape, in which features count little; rows sum to 1."""
    kernel = _make_kernel(SHAPE_SIGMA) * np.where(FEATURES, FEATURE_SHARE, 1.0)
    return np.asarray(kernel / kernel.sum(1, keepdims=True), np.float32)


def _mark_near(vertices: tuple[int, ...], reach: float) -> Mask:
    """Triangles with their middle nearer than `reach` mm to one of the vertices."""
    gaps = np.linalg.norm(_CENTRES[:, None] - CANONICAL[list(vertices)], axis=-1)
    return np.asarray(gaps.min(1) < reach)


def _mark_inside(ring: tuple[int, ...]) -> Mask:
    """Triangles with their middle inside a ring of vertices, seen from the front."""
    outline = CANONICAL[list(ring), :2].astype(np.float32)
    return np.array([cv2.pointPolygonTest(outline, (float(x), float(y)), False) > 0 for x, y in _CENTRES[:, :2]])


def _mark_features() -> Mask:
    across, down, depth = np.abs(_CENTRES[:, 0]), _CENTRES[:, 1], _CENTRES[:, 2]
    nostrils = (across < NOSTRIL_HALF_WIDTH) & (down > NOSTRIL_TOP) & (down < NOSTRIL_BOTTOM) & (depth < NOSTRIL_DEPTH)
    eyes, brows = _mark_near(LIDS_R + LIDS_L, LID_REACH), _mark_near(BROW_R + BROW_L, BROW_REACH)
    return np.asarray(nostrils | eyes | brows | _mark_near(OUTER_LIPS + INNER_LIPS, LIP_REACH))


FEATURES = _mark_features()
"""(852,): triangles on eyes, brows, lips and nostrils."""
SHADED_FEATURES = FEATURES & ~_mark_near(BROW_R + BROW_L, BROW_REACH)
"""(852,): triangles on lids, lips and nostrils."""
LIT = ~FEATURES | (_mark_near(OUTER_LIPS, LIP_REACH) & ~_mark_inside(OUTER_LIPS))
"""(852,): triangles of skin, also near the lips."""
BEARD_ZONE = ~FEATURES & (_CENTRES[:, 1] > np.interp(np.abs(_CENTRES[:, 0]), *np.transpose(BEARD_EDGE)))
"""(852,): triangles of skin where a beard may grow."""
HAIR_ZONE = BEARD_ZONE | (~FEATURES & _mark_near(BROW_R + BROW_L, THICK_BROW_REACH))
"""(852,): triangles of skin where a beard or a thick brow may grow."""
PLAIN_SKIN = ~FEATURES & ~BEARD_ZONE
"""(852,): triangles of skin that is bare on everybody."""


def measure_surface(mesh: Mesh, region: Window, aspect: float = 1.0, whole: Window | None = None) -> FaceSurface:
    """Measures a mesh as samples on a region.

    Args:
        mesh: (478, 3), plate coordinates.
        region: The part of the plate that is looked at.
        aspect: Width of a pixel over its height.
        whole: The region that this one is a part of: what is spread over the part is the same as over the whole.
    """
    square = (mesh - (region.x, region.y, 0)) * (aspect, 1, 1)
    corners = square[TRIANGLES]
    # The outer eye corners keep their distance in every expression.
    width = (
        float(np.linalg.norm(square[LIDS_R[0]] - square[LIDS_L[0]]))
        * FACE_WIDTH
        / float(np.linalg.norm(CANONICAL[LIDS_R[0]] - CANONICAL[LIDS_L[0]]))
    )
    normals = _measure_normals(mesh * (aspect, 1, 1))
    first, second = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    areas = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2 / width**2
    facing = np.clip((-normals[:, 2] - FACING_RANGE[0]) / (FACING_RANGE[1] - FACING_RANGE[0]), 0, 1)
    whole = whole or region
    around = Window(whole.x - region.x, whole.y - region.y, whole.width, whole.height)
    moved = mesh - (whole.x, whole.y, 0)
    return FaceSurface(corners.mean(1)[:, :2] / (aspect, 1), normals, areas, facing, width, aspect, around, moved)


@remember_results(REMEMBERED_NORMALS)
def _measure_normals(mesh: Mesh) -> Points3D:
    """Smooth unit vectors out of the face, one for each triangle of a mesh in square pixels."""
    normals = _smooth_over_face(NORMAL_SIGMA, compute_vertex_normals(mesh)[TRIANGLES].mean(1))
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6))


def limit_softly(values: AnyArray, limit: float) -> AnyArray:
    """Bounds values to -limit..limit without a kink.

    >>> limit_softly(np.array([-9.0, 0.0, 0.1, 9.0]), 0.5).round(2).tolist()
    [-0.5, 0.0, 0.1, 0.5]
    """
    return np.asarray(limit * np.tanh(values / limit))


@dataclass(frozen=True)
class ReadSkin:
    """What a picture shows at the samples of a surface.

    Attributes:
        colours: (n, 3) logarithms of scene-linear R, G, B.
        seen: (n,) how much of each sample is skin that the camera sees, 0..1.
    """

    colours: Matrix
    seen: Vector


def read_skin(linear: Image, skin: Matte, surface: FaceSurface) -> ReadSkin:
    """Reads a picture at the samples of a surface.

    Args:
        linear: Scene-linear, exposed so that a face has a usual brightness.
        skin: Where it shows the face and nothing in front of it.
        surface: The face's.
    """
    sigma = SAMPLE_SIGMA * surface.width
    blurred = blur_weighted(np.maximum(linear, 0), skin, sigma, surface.aspect)
    cover = np.asarray(cv2.GaussianBlur(skin, (0, 0), sigma / surface.aspect, sigmaY=sigma), np.float32)
    seen = np.clip(_read_places(cover, surface.places), 0, 1) * surface.facing
    return ReadSkin(np.log(_read_places(blurred, surface.places) + LIGHT_FLOOR), seen)


def _read_places(picture: Image | Plane, places: Points) -> AnyArray:
    """A picture's values at places, which may lie outside."""
    x, y = np.asarray(places, np.float32).T[:, None]
    values: AnyArray = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values[0], np.float64)


def compute_transfer(target: ReadSkin, new: ReadSkin, surface: FaceSurface, shine: float = 0.0) -> Matrix | None:
    """Computes the change from the new face's light to the target's; None if too little skin is seen.

    Args:
        target: What the plate shows.
        new: What the new face shows.
        surface: The target's.
        shine: How much of the plate's shine takes the place of the new face's own, 0..1.

    Returns:
        (n, 3) logarithms of scene-linear factors.
    """
    bare = surface.areas * np.where(BEARD_ZONE, BEARD_SHARE, PLAIN_SKIN)
    if min((seen * PLAIN_SKIN).sum() for seen in (target.seen, new.seen)) < MIN_SAMPLES:
        return None
    fits = (fit_light(skin.colours, surface.normals, bare * skin.seen) for skin in (target, new))
    lights = [_make_shape_kernel() @ fit.astype(np.float32) for fit in fits]
    ratio = lights[0] - lights[1]
    level = np.average(ratio, axis=0, weights=bare * target.seen)
    shape = limit_softly(ratio - level, SHAPE_LIMIT)
    residuals = [skin.colours - light for skin, light in zip((target, new), lights, strict=True)]
    seen = np.minimum(target.seen, new.seen) * ~FEATURES
    for residual in residuals:
        # Hair is no shadow: neither side's may tint the other. What is brighter than the model is no hair.
        darker = np.where(residual @ LUMA_WEIGHTS < 0, (residual**2).sum(1), 0.0)
        seen = seen * np.where(HAIR_ZONE, 1 / (1 + darker / HAIR_SPREAD**2) ** 2, 1.0)
    clipped = [limit_softly(residual, RESIDUAL_CLIP) for residual in residuals]
    rest = _take_over_rest(clipped[0] - clipped[1], seen)
    glow = shine * (_find_shine(clipped[0], seen) - _find_shine(clipped[1], seen))
    return np.clip(level, -LEVEL_LIMIT, LEVEL_LIMIT) + shape + rest + limit_softly(glow, SHINE_LIMIT)[:, None]


def compare_turned_light(skin: ReadSkin, surface: FaceSurface, turned: Points3D) -> Matrix | None:
    """Compares the light on a face with that on the same face if its skin were turned otherwise.

    Args:
        skin: What a picture shows.
        surface: The face's.
        turned: (n, 3) normals to compare with.

    Returns:
        (n, 3) logarithms of scene-linear factors, from the turned skin to the skin as it is; None if too little skin
        is seen.
    """
    if (skin.seen * PLAIN_SKIN).sum() < MIN_SAMPLES:
        return None
    weights = surface.areas * np.where(BEARD_ZONE, BEARD_SHARE, PLAIN_SKIN) * skin.seen
    unseen = np.zeros(len(turned))
    colours, normals = np.vstack([skin.colours, skin.colours]), np.vstack([surface.normals, turned])
    here, there = np.split(fit_light(colours, normals, np.concatenate([weights, unseen])), 2)
    return limit_softly(_make_shape_kernel() @ (here - there).astype(np.float32), TURNED_LIMIT)


def _find_shine(residual: Matrix, seen: Vector) -> Vector:
    """How much brighter than around each sample is (n,), logarithm, 0 or more: broad spots, no single glints."""
    luma = residual @ LUMA_WEIGHTS
    fine, coarse = (_average_seen(luma[:, None], seen, sigma)[:, 0] for sigma in (SHINE_SIGMA, RESIDUAL_SIGMA))
    return np.maximum(fine - coarse, 0)


def _take_over_rest(difference: Matrix, seen: Vector) -> Matrix:
    """What of a difference of residuals the new face takes over (n, 3): its hue is followed closer than its luma."""
    luma = _smooth_residual(difference, seen, RESIDUAL_SIGMA) @ LUMA_WEIGHTS
    tint = _smooth_residual(difference - (difference @ LUMA_WEIGHTS)[:, None], seen, TINT_SIGMA)
    return limit_softly(luma[:, None] + tint, RESIDUAL_LIMIT)


def _smooth_residual(values: Matrix, weights: Vector, sigma: float) -> Matrix:
    """A smooth field over the surface (n, 3), 0 where nothing is seen; odd samples (glasses) count less."""
    current = weights
    for _ in range(RESIDUAL_ROUNDS):
        smooth = _average_seen(values, current, sigma)
        current = weights / (1 + ((values - smooth) ** 2).sum(1) / RESIDUAL_SPREAD**2) ** 2
    return np.asarray(smooth)


def _average_seen(values: Matrix, weights: Vector, sigma: float) -> Matrix:
    """Weighted means around each sample (n, channels), towards 0 where little has weight."""
    sums = _smooth_over_face(sigma, np.column_stack([weights[:, None] * values, weights]))
    return np.asarray(sums[:, :-1] / (sums[:, -1:] + RESIDUAL_PRIOR))


def _smooth_over_face(sigma: float, values: Matrix) -> Matrix:
    """Values at the samples (n, channels) smoothed by a Gaussian on the generic face."""
    return np.asarray(_make_kernel(sigma) @ values.astype(np.float32), np.float64)


def draw_plain_skin(surface: FaceSurface, shape: tuple[int, int]) -> Matte:
    """Draws where a face has no features (eyes, brows, lips, nostrils), with soft edges, over a picture of `shape`."""
    return draw_skin_and_shade(surface, shape)[0]


def draw_skin_and_shade(surface: FaceSurface, shape: tuple[int, int]) -> tuple[Matte, Matte]:
    """Draws plain skin, and lids, lips and nostrils, whose darks are shadows in every face; those of brows are hair."""
    whole = surface.whole
    plain, shade = cv2.split(
        enlarge_field(_spread_features(surface.mesh, whole.width, whole.height, surface.aspect), whole, shape)
    )
    share = (plain - PLAIN_RANGE[0]) / (PLAIN_RANGE[1] - PLAIN_RANGE[0])
    return np.asarray(smoothstep(share), np.float32), np.asarray(shade, np.float32)


@remember_results(REMEMBERED_NORMALS)
def _spread_features(mesh: Mesh, width: int, height: int, aspect: float) -> Image:
    """Shares of plain skin and of shaded features at the knots of a field over `width` x `height` pixels."""
    surface = measure_surface(mesh, Window(0, 0, width, height), aspect)
    return spread_to_knots(np.stack([1.0 - FEATURES, SHADED_FEATURES], -1), surface, *place_knots(surface))


def match_light(
    new: Image,
    target: Image,
    shown: Matte,
    skin: Matte,
    openings: Matte,
    surface: FaceSurface,
    amount: float,
    shine: float = 0.0,
) -> Image:
    """Brings a face into the target's light.

    Args:
        new: The new face, in perceptual steps.
        target: The plate, in perceptual steps.
        shown: Where the new face shows skin of the source.
        skin: Where nothing hides the target's face.
        openings: Between the lids and the lips.
        surface: The target's.
        amount: How much of the change is made, 0..1.
        shine: As for `compute_transfer`.
    """
    if amount <= 0:
        return new
    linear, own = to_scene_linear(new, 0.0), to_scene_linear(target, 0.0)
    target_skin, new_skin = read_skin(own, skin, surface), read_skin(linear, shown, surface)
    hue, own_hue = (_measure_hue(one) for one in (target_skin, new_skin))
    if (kept := _compare_saturation(hue, own_hue)) < 1:
        linear = _draw_hues_together(linear, own_hue, amount * (1 - kept) * shown)
        new_skin = read_skin(linear, shown, surface)
    transfer = compute_transfer(target_skin, new_skin, surface, shine)
    if transfer is None:
        return new
    spread = spread_over_picture(np.column_stack([transfer, LIT]), surface, new.shape[:2])
    change, lit = np.ascontiguousarray(spread[..., :3]), np.clip(spread[..., 3], 0, 1) * shown * (1 - openings)
    change += repeat_plane(follow_shades(change @ LUMA_WEIGHTS.astype(np.float32), linear, lit, surface))
    change *= np.float32(amount)
    return to_perceptual((linear + LIGHT_FLOOR) * np.exp(change, out=change) - LIGHT_FLOOR, 0.0)


def follow_shades(change: Plane, linear: Image, skin: Matte, surface: FaceSurface) -> Plane:
    """Gives a smooth change of light the edges of the shades that it takes out.

    A hard light has shadows with edges. Where a smooth change takes such a shadow out, a dark line is left at its edge.
    As in a guided filter (He, Sun, Tang 2010) the change is compared with the face's own shades around each place; as
    far as it goes against them, it follows them. A median leaves out what is thinner than a shade: folds, marks, hair.

    Args:
        change: Luma of the change, logarithm.
        linear: The new face, scene-linear.
        skin: Where it shows skin, 0..1.
        surface: The target's.

    Returns:
        What is added to the change.
    """
    height, width = change.shape
    step = max(1, int(surface.width / SHADE_WIDTH))
    size = max(1, round(width * surface.aspect / step)), max(1, round(height / step))
    luma = np.log(np.maximum(linear @ LUMA_WEIGHTS.astype(np.float32), 0) + np.float32(LIGHT_FLOOR))
    own, smooth, weight = (_resize(plane, size, cv2.INTER_AREA) for plane in (luma, change, skin))
    face = surface.width / step

    def average(plane: AnyArray) -> Plane:
        return blur_weighted(np.asarray(plane, np.float32), weight, SHADE_SIGMA * face, pixels_per_sigma=SHADE_PIXELS)

    shades = _leave_out_thin(weight * (own - average(own)), 2 * round(SHADE_MEDIAN * face) + 1)
    smooth = smooth - average(smooth)
    together, square = average(shades * smooth), average(shades * shades)
    follows = average(np.clip(together / (square + np.float32(FLAT_SHADE**2)), -1, 0))
    return _resize(limit_softly(weight * follows * shades, RESIDUAL_LIMIT), (width, height), cv2.INTER_LINEAR)


def _measure_hue(skin: ReadSkin) -> Vector:
    """The mean chroma of plain skin, (3,)."""
    weights = PLAIN_SKIN * skin.seen + 1e-9  # never all 0
    return np.asarray(np.average(_take_chroma(skin.colours), axis=0, weights=weights))


def _compare_saturation(target: Vector, source: Vector) -> float:
    """How much of its differences of hue a source keeps, 0..1: less than 1 if its skin has stronger colours.

    Args:
        target: (3,) chroma of the target's skin.
        source: (3,) of the source's.

    >>> pale, orange = np.array([0.2, 0.0, -0.3]), np.array([0.4, 0.0, -0.6])
    >>> round(_compare_saturation(pale, orange), 2), _compare_saturation(orange, pale)
    (0.55, 1.0)
    """
    ratio = float(np.linalg.norm(target)) / max(float(np.linalg.norm(source)), LIGHT_FLOOR)
    return float(np.clip(SATURATION_MARGIN * ratio, MIN_SATURATION, 1))


def _draw_hues_together(linear: Image, hue: Vector, share: Matte) -> Image:
    """Brings all hues of a face nearer to the hue of its skin.

    The light's factors, one for each channel, give skin of strong colours the plate's hue. They do not make differences
    of hue smaller, which are larger in such a picture: shine, less red than the skin, would become green, and lids and
    veins, redder than the skin, would glow.

    Args:
        linear: The new face.
        hue: (3,) chroma of its skin.
        share: How much nearer, 0..1.
    """
    away = _take_chroma(np.log(np.maximum(linear, 0) + np.float32(LIGHT_FLOOR))) - hue.astype(np.float32)
    return np.asarray((linear + LIGHT_FLOOR) * np.exp(weigh(away, -share.astype(np.float32))) - LIGHT_FLOOR, np.float32)


def _take_chroma(logs: AnyArray) -> AnyArray:
    """The logarithms of R, G and B less their mean; in the mean they count as they do in luma."""
    return np.asarray(logs - (logs @ LUMA_WEIGHTS.astype(logs.dtype))[..., None])


def _leave_out_thin(shades: AnyArray, side: int) -> Plane:
    """A median over `side` pixels, whose steps of a 256th of the range are smoothed."""
    levels = np.rint(127.5 * (np.clip(shades / SHADE_RANGE, -1, 1) + 1)).astype(np.uint8)
    median = cv2.GaussianBlur(cv2.medianBlur(levels, side).astype(np.float32), (0, 0), SHADE_SOFTNESS)
    return np.asarray((median / np.float32(127.5) - 1) * np.float32(SHADE_RANGE))


def _resize(plane: AnyArray, size: tuple[int, int], method: int) -> Plane:
    return np.asarray(cv2.resize(np.asarray(plane, np.float32), size, interpolation=method))
