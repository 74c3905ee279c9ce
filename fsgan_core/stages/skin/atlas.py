"""The atlas: a person's skin laid flat in the mesh's texture coordinates, fused from the views of the source.

Each view is resampled to the atlas by a smooth map through its mesh (thin-plate spline, knots at the fixed texture
coordinates), and its own light is taken out. Where it faces the camera, is near and sharp, and shows skin, it counts
more; what differs from the other views (a moving shadow, a strand, a finger) is left out. What no view shows comes from
the mirrored half, the rest is continued smoothly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline

from fsgan_core.faces.mesh import SKIN_COUNT, UV, compute_vertex_normals
from fsgan_core.runtime.arrays import AnyArray, Image, Matrix, Matte, Mesh, Plane, PointMap, Vector
from fsgan_core.stages.image_ops import make_disc, smoothstep, to_perceptual, to_scene_linear, weigh
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.matching.light import limit_softly
from fsgan_core.stages.matching.light_fit import compute_weighted_median, fit_light
from fsgan_core.stages.mesh_warp import find_visible_vertices
from fsgan_core.stages.skin.face_regions import draw_face_area, draw_regions, draw_skin
from fsgan_core.stages.warp import compute_cell_areas, compute_spline_shares

# Size of an atlas.
MIN_SIZE, MAX_SIZE = 256, 2048  # texels
FACE_SHARE = 0.6  # of the atlas's side, that the middle of a face covers as densely as the picture
GRID_POINTS = 97  # the map is computed on so many points a side, and interpolated between them
MAP_STIFFNESS = 1e-6  # of the spline: irons out the noise of single vertices

# How much a view counts at a place.
DETAIL_POWER = 3  # of the weight: fine detail comes from few views, light from all
DETAIL_SIZE = 0.012  # of the atlas: finer is detail
EDGE_SIZE = 0.01  # of the atlas: what lies this near to something hidden is trusted less

# Leaving out what differs from view to view.
ROBUST_SIZE = 256  # texels: raster on which views are compared
OUTLIER_UNIT = 0.06  # perceptual steps of difference at which a view counts half
LIGHT_SIZE = 96  # texels: raster on which light is fitted
LIGHT_LIMIT = 0.9  # natural logarithm: most that fitted light may differ from its median
LIGHT_FLOOR = 0.004  # linear light added before a logarithm

# Confidence and holes.
SURE_WEIGHT = 0.3  # of a good view, from which on a texel is sure
SPECK_SIZE = 0.01  # of the atlas: holes and islands smaller than this are none
MIRROR_CONFIDENCE = 0.5  # what the other half of the face is worth
SYMMETRY_SIZE = 0.06  # of the atlas: light coarser than this is the same on both halves
KNOWN_WEIGHT = 0.02  # sum of weights from which on a texel has a colour of its own
MIN_WEIGHT = 1e-4


@dataclass(frozen=True)
class Atlas:
    """A person's skin in texture coordinates.

    Attributes:
        picture: (size, size, 3) scene-linear, evenly lit.
        confidence: (size, size) 0..1: 0 is made up.
        painted: (size, size) 0..1: where an artist has changed it.
    """

    picture: Image
    confidence: Matte
    painted: Matte | None = None

    @cached_property
    def perceptual(self) -> Image:
        """The picture in perceptual steps, in which it is sampled."""
        return to_perceptual(self.picture, 0.0)

    @property
    def size(self) -> int:
        """Side in texels."""
        return int(self.picture.shape[0])


@dataclass(frozen=True)
class AtlasView:
    """A view as the atlas sees it.

    Attributes:
        view: The picture and where it shows skin.
        mesh: The face, plate coordinates.
        weight: How much it counts: sharpness, a face at rest.
    """

    view: SourceView
    mesh: Mesh
    weight: float = 1.0


@dataclass(frozen=True)
class _Sample:
    """A view resampled to the atlas; pictures are display-like."""

    picture: Image
    weight: Matte
    normals: Image


def choose_atlas_size(meshes: Sequence[Mesh]) -> int:
    """Chooses the side of an atlas, a power of two, so that it holds what the largest faces show.

    Args:
        meshes: Faces of the source, in square pixels.
    """
    widths = [float(np.ptp(mesh[:SKIN_COUNT, 1])) for mesh in meshes]
    smallest_size = max(widths, default=0.0) / FACE_SHARE
    return int(np.clip(2 ** np.ceil(np.log2(max(smallest_size, 1.0))), MIN_SIZE, MAX_SIZE))


def compute_view_map(mesh: Mesh, size: int) -> PointMap:
    """Computes where in the view each texel lies: (size, size, 2), plate coordinates."""
    return interpolate_vertices(mesh[:SKIN_COUNT, :2], size)


def fuse_views(views: Sequence[AtlasView], size: int) -> tuple[Image, Matte]:
    """Fuses views to one evenly lit picture of the skin.

    Args:
        views: One or more; square pixels.
        size: Side of the atlas.

    Returns:
        (size, size, 3) display-like values, and the confidence of each texel, 0..1.
    """
    samples = [_sample_view(view, size) for view in views]
    samples = _compare_densities(samples)
    gains = _fit_lights(samples)
    weights = _reject_outliers(samples, gains)
    detail, base = np.zeros((size, size, 3)), np.zeros((size, size, 3))
    total, detail_total = np.full((size, size, 1), MIN_WEIGHT), np.full((size, size, 1), MIN_WEIGHT**DETAIL_POWER)
    best = np.zeros((size, size), np.float32)
    for sample, gain, share in zip(samples, gains, weights, strict=True):
        weight = (sample.weight * _enlarge(share, size))[..., None].astype(np.float64)
        lit = _take_out_light(sample.picture, _enlarge(gain, size))
        base += weight * lit
        total += weight
        best = np.maximum(best, weight[..., 0])
        detail += weight**DETAIL_POWER * lit
        detail_total += weight**DETAIL_POWER
    base, detail = base / total, detail / detail_total
    sigma = DETAIL_SIZE * size
    fused = detail + cv2.GaussianBlur(base - detail, (0, 0), sigma)
    known = np.clip(total[..., 0] / KNOWN_WEIGHT, 0, 1).astype(np.float32)
    return _complete(push_pull(np.asarray(fused, np.float32), known), _rate_confidence(best, size))


def fit_light_planes(logs: Image, normals: Image, weight: Matte) -> Image:
    """Fits the low-order light of a picture (`light_fit.fit_light`).

    Args:
        logs: (height, width, 3) natural logarithm of the light over the albedo.
        normals: (height, width, 3) of the skin, in the view.
        weight: How much each pixel counts.

    Returns:
        (height, width, 3) the logarithm of the light at each pixel; 0 if nothing counts.
    """
    if weight.sum() < MIN_WEIGHT:
        return np.zeros_like(logs)
    flat = weight.ravel().astype(np.float64)
    light = fit_light(logs.reshape(-1, 3).astype(np.float64), normals.reshape(-1, 3).astype(np.float64), flat)
    middle = np.median(light[flat > MIN_WEIGHT], axis=0) if (flat > MIN_WEIGHT).any() else light.mean(0)
    return np.asarray(middle + limit_softly(light - middle, LIGHT_LIMIT), np.float32).reshape(logs.shape)


def blend_to_membrane(picture: Image, weight: Matte, fill: Image) -> Image:
    """Puts `fill` where `picture` has no weight, shifted by a smooth membrane so that no seam shows.

    Args:
        picture: (height, width, channels).
        weight: How much of it counts, 0..1.
        fill: Of the same shape.
    """
    filled = fill + push_pull(picture - fill, weight)
    return np.asarray(filled + weigh(picture - filled, weight), np.float32)


def push_pull(values: Image, weight: Matte) -> Image:
    """Continues values smoothly into where they have no weight (push-pull, Gortler et al. 1996).

    Args:
        values: (height, width, channels).
        weight: How much each pixel counts, 0..1.
    """
    height, width = weight.shape
    if min(height, width) <= 2:
        total = max(float(weight.sum()), MIN_WEIGHT)
        mean = (values * weight[..., None]).sum((0, 1)) / total
        return np.broadcast_to(mean, values.shape).astype(np.float32)
    half = (-(-width // 2), -(-height // 2))
    small_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(weigh(values, weight), half, interpolation=cv2.INTER_AREA)
    small = np.asarray(small).reshape(*half[::-1], -1)
    below = push_pull(
        weigh(small, 1 / np.maximum(small_weight, MIN_WEIGHT)), np.asarray(np.minimum(small_weight * 4, 1), np.float32)
    )
    coarse = np.asarray(cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR)).reshape(values.shape)
    return np.asarray(coarse + weigh(values - coarse, weight), np.float32)


def mirror_texels(picture: AnyArray) -> AnyArray:
    """Flips an atlas left for right; the texture coordinates are symmetric."""
    return np.ascontiguousarray(picture[:, ::-1])


def _sample_view(view: AtlasView, size: int) -> _Sample:
    source, mesh = view.view, view.mesh
    scale = np.array([source.pixel_aspect, 1.0, 1.0])
    local = compute_view_map(mesh, size) - np.array([source.window.x, source.window.y], np.float32)
    x, y = local[..., 0], local[..., 1]
    picture: AnyArray = cv2.remap(source.display, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    matte: AnyArray = cv2.remap(source.matte, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    seen = np.clip(interpolate_vertices(find_visible_vertices(mesh * scale)[:SKIN_COUNT, None], size)[..., 0], 0, 1)
    area = np.maximum(compute_cell_areas(local.astype(np.float64)) * source.pixel_aspect, 0)
    sigma = EDGE_SIZE * size
    inner = np.clip(2 * cv2.GaussianBlur(np.clip(matte, 0, 1), (0, 0), sigma) - 1, 0, 1)  # falls off inside an edge
    density = np.sqrt(np.maximum(cv2.GaussianBlur(area, (0, 0), sigma), 0))
    normals = interpolate_vertices(compute_vertex_normals(mesh * scale)[:SKIN_COUNT], LIGHT_SIZE)
    weight = inner * matte * seen * np.maximum(density, 0) * view.weight
    return _Sample(picture, np.asarray(weight, np.float32), normals)


def _compare_densities(samples: Sequence[_Sample]) -> list[_Sample]:
    """The samples with weights relative to the best view at each place, so that 1 is a good view."""
    best = np.max([sample.weight for sample in samples], axis=0)
    usual = float(np.percentile(best[best > MIN_WEIGHT], 75)) if (best > MIN_WEIGHT).any() else 1.0
    return [
        _Sample(sample.picture, np.clip(sample.weight / usual, 0, 1).astype(np.float32), sample.normals)
        for sample in samples
    ]


def _fit_lights(samples: Sequence[_Sample]) -> list[Image]:
    """The light of each view on its skin, as gains (LIGHT_SIZE, LIGHT_SIZE, 3) around the median of all views."""
    skin = _shrink(draw_skin(ROBUST_SIZE), LIGHT_SIZE)
    logs = [_to_log_light(_shrink_weighted(sample.picture, sample.weight, LIGHT_SIZE)) for sample in samples]
    counted = [_shrink(sample.weight, LIGHT_SIZE) * skin for sample in samples]
    level = np.array([compute_weighted_median(np.stack(logs)[..., k], np.stack(counted)) for k in range(3)])
    lights = [
        fit_light_planes((log - level).astype(np.float32), sample.normals, weight)
        for log, sample, weight in zip(logs, samples, counted, strict=True)
    ]
    return [np.exp(light).astype(np.float32) for light in lights]


def _reject_outliers(samples: Sequence[_Sample], gains: Sequence[Image]) -> list[Matte]:
    """How much of each view's weight is kept, (ROBUST_SIZE, ROBUST_SIZE): less where it differs from the others."""
    pictures = np.stack(
        [
            _take_out_light(_shrink_weighted(sample.picture, sample.weight, ROBUST_SIZE), _enlarge(gain, ROBUST_SIZE))
            for sample, gain in zip(samples, gains, strict=True)
        ]
    )
    weights = np.stack([_shrink(sample.weight, ROBUST_SIZE) for sample in samples])
    middle = _find_median_picture(pictures, weights)
    difference = np.abs(pictures - middle).max(-1)
    shares = 1 / (1 + (difference / OUTLIER_UNIT) ** 4)
    return [np.asarray(cv2.GaussianBlur(one, (0, 0), 1.5), np.float32) for one in shares]


def _find_median_picture(pictures: AnyArray, weights: AnyArray) -> AnyArray:
    """The weighted median over views of each texel and channel; pictures (views, height, width, 3)."""
    order = np.argsort(pictures, axis=0)
    ordered = np.take_along_axis(pictures, order, 0)
    sums = np.cumsum(np.take_along_axis(np.broadcast_to(weights[..., None], pictures.shape), order, 0), axis=0)
    place = (sums < sums[-1:] / 2).sum(0).clip(0, len(pictures) - 1)
    return np.asarray(np.take_along_axis(ordered, place[None], 0)[0])


def _rate_confidence(best: Matte, size: int) -> Matte:
    """How sure each texel is, from the weight of the best view there; soft at its edges, without specks."""
    regions = draw_regions(size)
    openings = np.maximum(regions["eyes"], regions["mouth"])
    sure = smoothstep(best / SURE_WEIGHT).astype(np.float32)
    kernel = make_disc(SPECK_SIZE * size)
    sure = np.asarray(cv2.morphologyEx(cv2.morphologyEx(sure, cv2.MORPH_CLOSE, kernel), cv2.MORPH_OPEN, kernel))
    soft = np.clip(2 * cv2.GaussianBlur(sure * draw_face_area(size), (0, 0), EDGE_SIZE * size) - 1, 0, 1)
    return np.asarray(soft * (1 - openings), np.float32)


def _complete(picture: Image, confidence: Matte) -> tuple[Image, Matte]:
    """Evens out the light between the halves, and fills holes from the other half, then smoothly."""
    size = len(picture)
    flipped, other = mirror_texels(picture), mirror_texels(confidence)
    # What is left of one-sided light is the coarse difference between the halves.
    both = np.minimum(confidence, other)
    difference = push_pull(picture - flipped, np.where(draw_skin(size) > 0, both, 0).astype(np.float32))
    picture = np.asarray(picture - cv2.GaussianBlur(difference, (0, 0), SYMMETRY_SIZE * size) / 2, np.float32)
    # The openings of eyes and mouth are kept as they are, though they are no skin.
    regions = draw_regions(size)
    own = np.maximum.reduce([confidence, regions["eyes"], regions["mouth"]])
    spare = mirror_texels(own) * (1 - own)
    share = own + spare
    mixed = (own[..., None] * picture + spare[..., None] * mirror_texels(picture)) / np.maximum(share, MIN_WEIGHT)[
        ..., None
    ]
    mixed = push_pull(np.asarray(mixed, np.float32), share)
    # Only skin says how the halves differ: at the corner of an eye lies hair as often.
    filled = mixed + push_pull(picture - mixed, confidence)
    filled = filled + weigh(picture - filled, own)
    sure = np.maximum(confidence, MIRROR_CONFIDENCE * other * (1 - confidence))
    return filled, sure.astype(np.float32)


def _take_out_light(display: Image, gain: Image) -> Image:
    """Display-like values under even light."""
    linear = to_scene_linear(np.maximum(display, 0), 0.0)
    return to_perceptual((linear + LIGHT_FLOOR) / gain - LIGHT_FLOOR, 0.0)


def _to_log_light(display: Image) -> Image:
    return np.asarray(np.log(to_scene_linear(np.maximum(display, 0), 0.0) + LIGHT_FLOOR))


def interpolate_vertices(values: AnyArray, size: int) -> AnyArray:
    """Interpolates values at the vertices smoothly to all texels.

    Args:
        values: (468, k).
        size: Side of the atlas.

    Returns:
        float32 (size, size, k).
    """
    return _enlarge_grid(_compute_grid_shares() @ values, size)


def interpolate_normals(normals: AnyArray) -> AnyArray:
    """`interpolate_vertices` on the raster for light, in single precision, which is enough for a direction."""
    return (_compute_light_shares() @ normals.astype(np.float32)).reshape(LIGHT_SIZE, LIGHT_SIZE, -1)


def _enlarge_grid(values: AnyArray, size: int) -> AnyArray:
    grid = values.reshape(GRID_POINTS, GRID_POINTS, -1)
    places = (np.arange(size) + 0.5) / size
    nodes = np.linspace(0, 1, GRID_POINTS)
    return np.stack(
        [RectBivariateSpline(nodes, nodes, grid[..., k])(places, places) for k in range(grid.shape[-1])], -1
    ).astype(np.float32)


@cache
def _compute_grid_shares() -> Matrix:
    """How much each vertex of the skin counts at each point of the grid over the atlas."""
    return _compute_shares(np.linspace(0, 1, GRID_POINTS))


@cache
def _compute_light_shares() -> AnyArray:
    """The same at each texel of the raster for light."""
    return _compute_shares((np.arange(LIGHT_SIZE) + 0.5) / LIGHT_SIZE).astype(np.float32)


def _compute_shares(nodes: Vector) -> Matrix:
    v, u = np.meshgrid(1 - nodes, nodes, indexing="ij")
    shares = compute_spline_shares(
        UV[:SKIN_COUNT], np.column_stack([u.ravel(), v.ravel()]), np.full(SKIN_COUNT, MAP_STIFFNESS)
    )
    shares.setflags(write=False)
    return shares


def _shrink(plane: Plane, size: int) -> Plane:
    return np.asarray(cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def _enlarge(picture: AnyArray, size: int) -> AnyArray:
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR))


def _shrink_weighted(picture: Image, weight: Matte, size: int) -> Image:
    """A picture shrunk by its weights, so that what is hidden does not bleed in."""
    full = np.maximum(weight, MIN_WEIGHT)[..., None]
    small = cv2.resize(np.asarray(picture * full), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small / cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)[..., None], np.float32)
