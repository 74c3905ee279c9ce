"""Mask: what of the target is replaced, and what lies in front of it.

Engine `geometric`: no network. The landmarks' outline says where a face must be; the colour of its own skin, fitted as
a smooth field over the inner face so that light from one side does not count as something else, says what within it is
skin. What differs and comes in from outside is hair (from above) or something in front (from elsewhere); what differs
in the middle (eyes, brows, nostrils, lips) belongs to the face. `measure_mattes` looks at one frame,
`combine_mattes` averages neighbouring frames, moved along with the face, and gives the matte its size and soft edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from skimage.morphology import reconstruction

from fsgan_core.contract.layers import MATTE_FACE, MATTE_MOUTH, MATTES
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.geometry import similarity
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages import mesh
from fsgan_core.stages.match import mean_texture, measure_texture
from fsgan_core.stages.picture import (
    display_of,
    guided,
    inside_of,
    polygon_matte,
    signed_distance,
    smoothstep,
)

WORKING_WIDTH = 160  # pixels across the face at which colours are compared
META_TEXTURE = "fsgan/texture"

# Squared distance from the skin's colour, in its own deviations, that still counts as skin, and that surely does not.
SKIN, NOT_SKIN = 9.0, 36.0
LEAST_DEVIATION = np.array([9.0, 3.5, 3.5], np.float32)  # Lab units: shading and blotches that every skin has
LEAST_ROUGHNESS = 0.7  # Lab lightness

_BROW_R, _BROW_L = [*range(17, 22)], [*range(22, 27)]
_EYE_R, _EYE_L = [*range(36, 42)], [*range(42, 48)]
_LIPS = [*range(48, 60)]
_NOSTRILS = [31, 32, 33, 34, 35, 30]


def measure_mattes(target: Plate, face: Face, region: Window, codec: Codec, params: MaskParams) -> Plate:
    """The mattes of one frame by itself, on `region`: matte.face, matte.hair, matte.mouth, matte.occlusion, each 0..1,
    not yet smoothed over time, not yet soft at the edge.

    target: R, G, B in the codec's space. The plate's metadata holds what `match` measured of the skin's texture.
    A face outside the plate gives empty mattes.
    """
    aspect = target.pixel_aspect
    display = display_of(target, region, codec)
    width = mesh.face_width(face.landmarks, aspect)
    scale = min(1.0, WORKING_WIDTH / width)
    outline = mesh.outline(face.landmarks, aspect, params.forehead)
    inside = inside_of(target, region)
    hull = np.maximum(*(polygon_matte(part, region) for part in outline)) * inside
    mouth = polygon_matte(face.landmarks[mesh.INNER_LIPS], region, 0.004 * width)

    # Colours are compared on a small raster of square pixels.
    size = (max(8, round(region.width * aspect * scale)), max(8, round(region.height * scale)))
    small = cv2.resize(np.clip(display, 0, 1), size, interpolation=cv2.INTER_AREA)
    to_small = np.array([size[0] / region.width, size[1] / region.height])
    points = (face.landmarks - (region.x, region.y) + 0.5) * to_small - 0.5
    window = Window(0, 0, *size)
    shape = cv2.resize(hull, size, interpolation=cv2.INTER_AREA)
    unlike = _unlike_skin(small, points, shape, window)
    features = _features(points, window) * cv2.erode(shape, np.ones((3, 3), np.uint8), iterations=6)
    foreign = _from_outside(unlike * (1 - features), shape)
    brow = float(points[17:27, 1].min())
    up = np.clip((brow - np.arange(size[1])) / (0.05 * WORKING_WIDTH) + 0.5, 0, 1)[:, None].astype(np.float32)
    temple = _temples(points, window)
    above = np.maximum(up, temple)
    foreign = guided(foreign, small, np.clip(display, 0, 1), max(2, round(0.03 * WORKING_WIDTH)), 1e-4)
    above = cv2.resize(above, (region.width, region.height), interpolation=cv2.INTER_LINEAR)

    near = cv2.GaussianBlur(hull, (0, 0), max(1.0, 0.03 * width)) > 0.02  # behind the head, anything is unlike skin
    hair = np.clip(foreign * above, 0, 1) * inside * near
    occlusion = np.clip(foreign * (1 - above), 0, 1) * hull
    if params.keep_glasses:
        occlusion = np.maximum(occlusion, _glasses(display, face.landmarks, region, width, aspect) * hull)
    matte = hull * (1 - params.refine * hair) * (1 - params.occlusions * occlusion)
    texture = measure_texture(display, matte * (1 - mouth), width)
    pixels = np.dstack([matte, hair, mouth, occlusion]).astype(np.float32)
    return Plate(pixels, MATTES, region, target.display_window, aspect, {META_TEXTURE: texture_text(texture)})


def combine_mattes(face: Face, region: Window, neighbours: Sequence[tuple[Face, Plate]], params: MaskParams,
                   inside: Plate, holdout: np.ndarray | None = None) -> Plate:
    """The mask of a frame: the mattes of its neighbours (itself among them) carried to where the face is now and
    averaged, nearer ones more; then grown or shrunk and softened.

    neighbours: (face, measured mattes) of frames at most `params.smooth` away. inside: the target plate, for where it
    has pixels. holdout: float32 (region.height, region.width), 1 where the artist wants nothing changed.
    """
    aspect = inside.pixel_aspect
    total, weights = np.zeros((region.height, region.width, len(MATTES)), np.float32), 0.0
    for other, measured in neighbours:
        weight = float(np.exp(-0.5 * ((other.frame - face.frame) / max(0.6 * params.smooth, 0.5)) ** 2))
        total += np.float32(weight) * _carried(measured, other, face, region, aspect)
        weights += weight
    mattes = dict(zip(MATTES, np.moveaxis(total / np.float32(max(weights, 1e-6)), -1, 0), strict=True))
    width = mesh.face_width(face.landmarks, aspect)
    matte = mattes[MATTE_FACE]
    if not params.mouth:
        matte = matte * (1 - mattes[MATTE_MOUTH])
    matte = _sized(matte, params.size, params.feather * width, aspect) * inside_of(inside, region)
    if holdout is not None:
        matte = matte * (1 - np.clip(np.nan_to_num(holdout), 0, 1))
    mattes[MATTE_FACE] = matte
    texture = mean_texture([texture_of(measured) for _, measured in neighbours])
    pixels = np.dstack([mattes[name] for name in MATTES]).astype(np.float32)
    return Plate(pixels, MATTES, region, inside.display_window, aspect, {META_TEXTURE: texture_text(texture)})


def texture_text(texture: Sequence[float]) -> str:
    """As metadata holds it: text that gives every number back exactly."""
    return " ".join(repr(float(value)) for value in texture)


def texture_of(mattes: Plate) -> tuple[float, ...]:
    """What was measured of the plate's skin, from a mask's metadata; () where there is none."""
    return tuple(float(value) for value in str(mattes.metadata.get(META_TEXTURE, "")).split())


def _unlike_skin(small: np.ndarray, points: np.ndarray, shape: np.ndarray, window: Window) -> np.ndarray:
    """0 where the colour is the face's skin at that place, 1 where it surely is not."""
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2Lab)
    rough = cv2.GaussianBlur(np.abs(lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 2.0)), (0, 0), 2.0)
    core = polygon_matte(_inner_face(points), window) * (1 - _features(points, window)) * (shape > 0.5)
    sure = core > 0.5
    if sure.sum() < 30:
        return np.zeros(shape.shape, np.float32)
    height, width = shape.shape
    y, x = np.mgrid[0:height, 0:width]
    x = (x - points[30, 0]) / WORKING_WIDTH
    y = (y - points[30, 1]) / WORKING_WIDTH
    # Beyond the sampled part a fitted slope is a guess: hold it there.
    low, high = np.array([x[sure].min(), y[sure].min()]), np.array([x[sure].max(), y[sure].max()])
    x, y = np.clip(x, *(low[0] - 0.05, high[0] + 0.05)), np.clip(y, *(low[1] - 0.1, high[1] + 0.05))
    basis = np.stack([np.ones_like(x), x, y, x * x], -1)
    rows, values = basis[sure], lab[sure]
    weight = np.ones(len(rows))
    for _ in range(6):  # reweighted: shadows of the nose and stray hair shall not bend the field
        root = np.sqrt(weight)[:, None]
        field = np.linalg.lstsq(rows * root, values * root, rcond=None)[0]
        residual = values - rows @ field
        deviation = np.maximum(1.48 * np.median(np.abs(residual), axis=0), LEAST_DEVIATION)
        weight = 1 / (1 + ((residual / deviation) ** 2).sum(1) / 4)
    difference = (lab - basis @ field) / deviation
    # A darker patch of the same hue is a shadow far more often than an object.
    distance = (difference[..., 0] * np.where(difference[..., 0] < 0, 0.75, 1.0)) ** 2
    distance = distance + (difference[..., 1:] ** 2).sum(-1)
    # Hair of the skin's own colour gives itself away by its strands.
    usual = np.median(rough[sure])
    spread = max(1.48 * float(np.median(np.abs(rough[sure] - usual))), LEAST_ROUGHNESS)
    distance = distance + np.maximum((rough - usual) / spread, 0) ** 2 / 2
    return smoothstep((distance - SKIN) / (NOT_SKIN - SKIN)).astype(np.float32)


def _inner_face(points: np.ndarray) -> np.ndarray:
    """Polygon of the part that is skin on almost everybody: from the brows to the mouth, within the cheeks."""
    jaw = points[[1, 2, 3, 4, 5, 11, 12, 13, 14, 15]]
    centre = points[[30, 33]].mean(0)
    cheeks = centre + 0.75 * (jaw - centre)
    raised = points[[26, 24, 19, 17]] + 0.35 * (points[[26, 24, 19, 17]] - points[[45, 43, 38, 36]])
    return np.vstack([cheeks, raised])


def _features(points: np.ndarray, window: Window) -> np.ndarray:
    """1 on eyes, brows, lips and nostrils: they differ from skin and belong to the face."""
    size = 0.02 * WORKING_WIDTH
    matte = np.zeros((window.height, window.width), np.float32)
    for indices in (_EYE_R, _EYE_L, _LIPS, _NOSTRILS):
        matte = np.maximum(matte, polygon_matte(cv2.convexHull(points[indices].astype(np.float32))[:, 0], window))
    for indices in (_BROW_R, _BROW_L):
        cv2.polylines(matte, [np.round(points[indices] * 16).astype(np.int32)], False, 1.0,
                      max(1, round(3.5 * size)), cv2.LINE_AA, 4)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(1.6 * size) + 1,) * 2)
    return np.clip(cv2.GaussianBlur(cv2.dilate(matte, kernel), (0, 0), size / 2), 0, 1)


def _temples(points: np.ndarray, window: Window) -> np.ndarray:
    """1 beside the eyes, outside the brows' ends: hair falls there too."""
    matte = np.zeros((window.height, window.width), np.float32)
    for brow, eye, side in ((17, 36, 0), (26, 45, 16)):
        corner = np.vstack([points[brow], points[eye], points[side], 2 * points[side] - points[eye],
                            2 * points[brow] - points[eye] + 0.5 * (points[brow] - points[eye])])
        matte = np.maximum(matte, polygon_matte(cv2.convexHull(corner.astype(np.float32))[:, 0], window))
    return cv2.GaussianBlur(matte, (0, 0), 0.02 * WORKING_WIDTH)


def _from_outside(unlike: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """What of `unlike` reaches the face's outline: grey-scale reconstruction from outside. Specks are opened away."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(unlike, cv2.MORPH_OPEN, kernel)
    border = 1 - cv2.erode(shape, np.ones((5, 5), np.uint8))
    marker = np.minimum(opened, (border > 0.5).astype(np.float32))
    return reconstruction(marker, opened).astype(np.float32) if marker.any() else marker


def _glasses(display: np.ndarray, landmarks: np.ndarray, region: Window, width: float, aspect: float) -> np.ndarray:
    """Thin dark lines around the eyes, off the lids and brows: the frame of a pair of glasses."""
    luma = np.clip(display, 0, 1) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    reach = max(3, 2 * round(0.03 * width) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, round(reach / aspect)) | 1, reach))
    line = cv2.morphologyEx(luma, cv2.MORPH_CLOSE, kernel) - luma
    eyes = landmarks[mesh.EYES]
    gap = np.linalg.norm(landmarks[45] - landmarks[36])
    zone = np.zeros(luma.shape, np.float32)
    for eye in (eyes[:6], eyes[6:]):
        centre = eye.mean(0)
        angle = np.linspace(0, 2 * np.pi, 40)
        ring = centre + 0.36 * gap * np.column_stack([np.cos(angle), 0.85 * np.sin(angle)])
        zone = np.maximum(zone, polygon_matte(ring, region))
        zone *= 1 - polygon_matte(centre + 1.5 * (eye - centre), region, 0.01 * width)
    for brow in (landmarks[17:22], landmarks[22:27]):
        lower = brow + (0, 0.02 * width)
        zone *= 1 - polygon_matte(np.vstack([brow - (0, 0.04 * width), lower[::-1]]), region, 0.01 * width)
    zone = np.maximum(zone, polygon_matte(np.vstack([landmarks[[27, 28]] - (0.09 * gap, 0),
                                                     landmarks[[28, 27]] + (0.09 * gap, 0)]), region))
    typical = np.median(line[zone > 0.5]) if (zone > 0.5).any() else 1.0
    found = smoothstep((line - 2 * typical - 0.03) / 0.08) * zone
    return np.asarray(cv2.dilate(found, np.ones((3, 3), np.uint8)))


def _carried(measured: Plate, old: Face, new: Face, region: Window, aspect: float) -> np.ndarray:
    """The mattes of one frame moved, turned and scaled as the face was, to another frame's region."""
    if old.frame == new.frame and measured.data_window == region:
        return measured.pixels
    scale = (aspect, 1.0)
    move = similarity(new.landmarks[17:] * scale, old.landmarks[17:] * scale)
    linear = move[:, :2] * np.array([[1, 1 / aspect], [aspect, 1]])
    shift = move[:, 2] / scale
    matrix = np.column_stack([linear, linear @ (region.x, region.y) + shift
                              - (measured.data_window.x, measured.data_window.y)])
    return cv2.warpAffine(measured.pixels, matrix, (region.width, region.height),
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=0)


def _sized(matte: np.ndarray, size: float, feather: float, aspect: float) -> np.ndarray:
    """Grown by `size` pixels, then a soft edge of `feather` pixels that ends where the matte ends, so that nothing
    outside it is touched. The matte's own softness (hair, motion) stays."""
    height, width = matte.shape
    work = cv2.resize(matte, (round(width * aspect), height), interpolation=cv2.INTER_LINEAR) if aspect != 1 else matte
    if size != 0:
        side = 2 * round(abs(size)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        work = cv2.dilate(work, kernel) if size > 0 else cv2.erode(work, kernel)
    if feather > 0.5:
        distance = signed_distance(work)
        work = np.minimum(work, 1) * smoothstep((distance + 0.5) / feather)
        work = cv2.GaussianBlur(work, (0, 0), max(0.3, feather / 12)) * smoothstep((distance + 0.5) / 2)
    if aspect != 1:
        work = cv2.resize(work, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(work, 0, 1).astype(np.float32)
