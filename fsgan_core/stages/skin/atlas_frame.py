"""The atlas in a frame: where each pixel lies in it, its skin in the frame's own light, and what an artist painted.

What the frame's own picture does not show is the atlas under the light that was fitted to what it does show, shifted by
a smooth membrane so that no seam is left. Where an artist changed the atlas, the picture counts as not shown: a painted
patch replaces the picture's pixels in the same way.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from fsgan_core.contract.layers import MATTE_KEPT, RGBA, UV_U, UV_V
from fsgan_core.faces.mesh import INNER_LIPS, LIDS_L, LIDS_R, SKIN_COUNT, UV, compute_facing, compute_vertex_normals
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Mesh, PointMap
from fsgan_core.stages.image_ops import (
    fill_nonfinite,
    make_disc,
    premultiply,
    stack_planes,
    to_perceptual,
    to_scene_linear,
    unpremultiply,
    weigh,
)
from fsgan_core.stages.interface import AtlasPicture
from fsgan_core.stages.mesh_warp import KNOT_FACING, find_hidden_vertices, measure_mesh_width, square_mesh
from fsgan_core.stages.skin.atlas import LIGHT_SIZE, Atlas, blend_to_membrane, fit_light_planes, interpolate_normals
from fsgan_core.stages.skin.face_regions import draw_skin, to_texels
from fsgan_core.stages.warp import fit_spline_map

MAP_STIFFNESS = 1e-4  # of the spline from picture to atlas
SHUT_GAP = 0.03  # of the face's width: lips and lids closer than this share one knot
FIT_SIDE = 96  # pixels: raster on which the light is fitted
LIGHT_FLOOR = 0.004  # linear light added before a logarithm
MIN_COMMON = 30.0  # pixels of that raster that picture and atlas must share
EDGE_SIZE = 0.012  # of the region: this near to what is not shown, the picture is not trusted
RESIDUAL_LIMIT = 0.12  # perceptual steps: most that the membrane may differ from the fitted light
SURE_CONFIDENCE = 0.4  # of the atlas, from which on it counts as shown
CHANGE_LIMITS = (0.004, 0.02)  # perceptual steps between painted and computed: unchanged below, changed above
CHANGE_GROWTH, CHANGE_FEATHER = 0.008, 0.006  # of the atlas: a changed patch is grown and softened by this


def compute_atlas_coordinates(mesh: Mesh, region: Window, aspect: float = 1.0) -> PointMap:
    """Computes texture coordinates for each pixel of a region, 0..1 from the lower left; beyond the face they go on.

    Args:
        mesh: (478, 3), plate coordinates.
        region: The window.
        aspect: Width of a pixel over its height.
    """
    square = square_mesh(mesh, aspect)
    used = (compute_facing(square) > KNOT_FACING) & ~find_hidden_vertices(square)
    used[SKIN_COUNT:] = False
    if used.sum() < 8:
        used[:SKIN_COUNT] = True
    places, coordinates = np.array(mesh[:, :2], np.float64), np.array(UV, np.float64)
    _join_shut_openings(places, coordinates, used, SHUT_GAP * measure_mesh_width(square) / np.array([aspect, 1.0]))
    mapping = fit_spline_map(places[used], coordinates[used], region, np.full(int(used.sum()), MAP_STIFFNESS), aspect)
    return np.clip(mapping, 0, 1)


def _join_shut_openings(places: AnyArray, coordinates: AnyArray, used: AnyArray, gap: AnyArray) -> None:
    """Lets the two sides of lips or lids that nearly touch share one knot: the map cannot tear there."""
    for ring, half in ((INNER_LIPS, len(INNER_LIPS) // 2), (LIDS_R, len(LIDS_R) // 2), (LIDS_L, len(LIDS_L) // 2)):
        for number in range(1, half):
            lower, upper = ring[number], ring[-number]
            if (np.abs(places[lower] - places[upper]) < gap).all() and used[lower] and used[upper]:
                places[lower] = (places[lower] + places[upper]) / 2
                coordinates[lower] = (coordinates[lower] + coordinates[upper]) / 2
                used[upper] = False


def add_atlas_coordinates(plate: Plate, mesh: Mesh) -> Plate:
    """Adds uv.u and uv.v to a reenacted plate.

    Args:
        plate: On its region.
        mesh: (478, 3) of the face that it shows.
    """
    mapping = compute_atlas_coordinates(mesh, plate.data_window, plate.pixel_aspect)
    return replace(plate, pixels=stack_planes([plate.pixels, mapping]), channels=(*plate.channels, UV_U, UV_V))


def project_atlas(atlas: Atlas, coordinates: PointMap, mesh: Mesh, aspect: float = 1.0) -> AtlasPicture:
    """Samples the atlas for a frame.

    Args:
        atlas: The atlas.
        coordinates: uv of each pixel (`compute_atlas_coordinates`).
        mesh: (478, 3) the face in its pose.
        aspect: Width of a pixel over its height.
    """
    texels = {size: to_texels(coordinates, size).astype(np.float32) for size in (atlas.size, LIGHT_SIZE)}

    def sample(picture: AnyArray, interpolation: int = cv2.INTER_LINEAR) -> AnyArray:
        at = texels[len(picture)]
        return np.asarray(cv2.remap(picture, at, None, interpolation, borderMode=cv2.BORDER_REPLICATE))  # type: ignore[call-overload]

    normals = interpolate_normals(compute_vertex_normals(square_mesh(mesh, aspect))[:SKIN_COUNT])
    picture = to_scene_linear(sample(atlas.perceptual, cv2.INTER_CUBIC), 0.0)
    painted = np.zeros(coordinates.shape[:2], np.float32) if atlas.painted is None else sample(atlas.painted)
    confidence = np.clip(sample(atlas.confidence), 0, 1)
    return AtlasPicture(picture, confidence, np.clip(painted, 0, 1), sample(draw_skin(atlas.size)), sample(normals))


def find_changes(painted: Image, computed: Image, exposure: float = 0.0) -> Matte:
    """Finds where an artist changed an atlas, a little grown and softened: 1 changed, 0 as computed.

    Args:
        painted: (size, size, 3) scene-linear.
        computed: The same, as `fsgan atlas` wrote it.
        exposure: Stops that bring the picture to a display's brightness.
    """
    size = len(computed)
    difference = np.abs(to_perceptual(painted, exposure) - to_perceptual(computed, exposure)).max(-1)
    low, high = CHANGE_LIMITS
    changed = np.clip((difference - low) / (high - low), 0, 1).astype(np.float32)
    grown = cv2.dilate(changed, make_disc(CHANGE_GROWTH * size))
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), CHANGE_FEATHER * size), np.float32)


def fill_from_atlas(
    picture: Image, shown: Matte, atlas: AtlasPicture, exposure: float, region: Window
) -> tuple[Image, Matte]:
    """Fills what a picture does not show from the atlas, in the picture's own light.

    Args:
        picture: (height, width, 3) straight colour in perceptual steps.
        shown: Where it shows the face.
        atlas: Of the same pixels.
        exposure: Stops of the picture's perceptual steps.
        region: Of the frame; sizes are shares of it, though the arrays may cover a part.

    Returns:
        The picture, and where it now shows something.
    """
    side = max(region.width, region.height)
    trusted = _drop_soft_edge(shown, EDGE_SIZE * side)
    lit = _light_atlas(picture, trusted, atlas, exposure, min(1.0, FIT_SIDE / side))
    if lit is None:
        return picture, shown
    residual = np.clip(picture - lit, -RESIDUAL_LIMIT, RESIDUAL_LIMIT)
    sure = np.clip(atlas.confidence / SURE_CONFIDENCE, 0, 1)
    filled = blend_to_membrane((lit + residual).astype(np.float32), trusted * sure, lit)
    cover = sure * (1 - shown)
    total = shown + cover
    mixed = picture + weigh(filled - picture, cover / np.maximum(total, 1e-6))
    return mixed, np.clip(total, 0, 1).astype(np.float32)


def paint_from_atlas(plate: Plate, atlas: AtlasPicture, codec: Codec) -> Plate:
    """Puts what an artist painted into a reenacted plate; its alpha and other channels stay.

    Args:
        plate: R, G, B, A premultiplied and further channels, on its region.
        atlas: On the same region.
        codec: Of the plate.
    """
    if not (atlas.painted > 0).any():
        return plate
    rgb, alpha = unpremultiply(plate)
    picture = to_perceptual(fill_nonfinite(rgb), codec.exposure)
    unpainted = alpha * (1 - atlas.painted)
    sure = replace(atlas, confidence=np.maximum(atlas.confidence, atlas.painted))
    filled, shown = fill_from_atlas(picture, unpainted.astype(np.float32), sure, codec.exposure, plate.data_window)
    own = np.clip(plate.get_matte(MATTE_KEPT), 0, 1)  # the plate's eyeballs and inner mouth are no skin of the source
    share = (np.clip(atlas.painted, 0, 1) * (1 - own) * (shown > 0))[..., None]
    changed = to_scene_linear(picture + share * (filled - picture), codec.exposure)
    pixels = plate.pixels.copy()
    touched = (share > 0) & (alpha[..., None] > 0)
    where = plate.find_channels(RGBA)
    pixels[..., where] = np.where(touched, premultiply(changed, alpha), pixels[..., where])
    return replace(plate, pixels=pixels)


def _drop_soft_edge(shown: Matte, sigma: float) -> Matte:
    """`shown` without its edge, where hair or an occluder shines through."""
    return np.clip(2 * cv2.GaussianBlur(shown, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) - 1, 0, 1) * shown


def _light_atlas(picture: Image, trusted: Matte, atlas: AtlasPicture, exposure: float, scale: float) -> Image | None:
    """The atlas in the picture's light, perceptual steps; None if the two have too little in common.

    The light is fitted on a raster of the picture times `scale`.
    """
    weight = trusted * atlas.confidence * atlas.skin
    size = (max(1, round(weight.shape[1] * scale)), max(1, round(weight.shape[0] * scale)))

    def shrink(values: AnyArray) -> AnyArray:
        return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)

    small = shrink(weight)
    if small.sum() < MIN_COMMON:
        return None
    linear = to_scene_linear(np.maximum(picture, 0), 0.0)
    base = np.maximum(atlas.picture, 0) * np.float32(2.0**exposure)
    safe = np.maximum(small, 1e-4)[..., None]
    logs = [np.log(shrink(weigh(one, weight)) / safe + LIGHT_FLOOR) for one in (linear, base)]
    light = fit_light_planes(logs[0] - logs[1], shrink(atlas.normals), small)
    gain = cv2.resize(np.exp(light), weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return to_perceptual((base + LIGHT_FLOOR) * gain - LIGHT_FLOOR, 0.0)
