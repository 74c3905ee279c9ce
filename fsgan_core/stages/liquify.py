"""The picture of a drive: the plate's own frame, moved where the expression asks for it.

The map is the identity wherever nothing moves, and the moved part eases out around the face: below the chin the neck
is squeezed or stretched, so a chin that rises uncovers nothing that would have to be invented. Lips and lids are
different: what lies on either side of a closed mouth must not be mixed, so the skin above and below each opening is
moved by a map of its own, and the eye behind lids that close stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from fsgan_core.contract.layers import CONFIDENCE, MATTE_FACE, MATTE_OCCLUSION, MATTES, RGBA, ST_U, ST_V
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.faces.pose import head_pose
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window, slices
from fsgan_core.stages import mesh
from fsgan_core.stages.drive import Driven, Patch, turned
from fsgan_core.stages.picture import (
    inside_of,
    padded,
    polygon_matte,
    premultiplied,
    signed_distance,
    smoothstep,
    weighted_blur,
)
from fsgan_core.stages.reenact import View
from fsgan_core.stages.views import ViewRef
from fsgan_core.stages.warp import sample, spline_map

STILL = 1 / 64  # pixels: what moves less is the plate itself
REACH, REACH_TURNED = 35.0, 70.0  # mm around the face over which the movement eases out
FIRM = 4.0  # mm around the face that move with it
EDGE = 6.0  # mm at the region's border over which the movement ends in any case
LID_BAND, LIP_BAND = 6.0, 5.0  # mm beyond an opening that follow their own side of it
PATCH_INNER, PATCH_OUTER = 1.5, 8.0  # mm around a mouth or an eye: whole and end of what another frame gives
PATCH_LIGHT = 8.0  # mm: how finely a patch takes the light of its surroundings
GAIN_LIMIT = 2.0


@dataclass(frozen=True)
class _Opening:
    """upper, lower: landmarks of the two edges, corner to corner. rim: outline of lips or eye. band: mm beyond the rim
    that follow their side. rigid: landmarks that say how what lies behind moves."""

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    rim: tuple[int, ...]
    band: float
    rigid: tuple[int, ...]


MOUTH = _Opening((60, 61, 62, 63, 64), (60, 67, 66, 65, 64), tuple(range(48, 60)), LIP_BAND, (33,))
EYE_R = _Opening((36, 37, 38, 39), (36, 41, 40, 39), tuple(range(36, 42)), LID_BAND, (36, 39))
EYE_L = _Opening((42, 43, 44, 45), (42, 47, 46, 45), tuple(range(42, 48)), LID_BAND, (42, 45))
OPENINGS = (MOUTH, EYE_R, EYE_L)
_ABOVE = np.array([37, 38, 43, 44, 49, 50, 51, 52, 53, 61, 62, 63])  # edges of upper lids and lips
_BELOW = np.array([40, 41, 46, 47, 55, 56, 57, 58, 59, 65, 66, 67])


def drive_picture(target: Plate, driven: Driven, region: Window, views: Mapping[ViewRef, View], codec: Codec,
                  params: ReenactParams) -> Plate:
    """The driven face on `region`: R, G, B, A (1 everywhere) premultiplied in the codec's space; st.u, st.v into the
    plate's own frame; confidence.Z.

    target: the whole frame. views: those that `driven.patches` name, with `settled` faces. Pixels that do not move and
    are under no patch are the target's own values.
    """
    aspect = target.pixel_aspect
    moves = _moves(driven, region, aspect)
    matte = _support(moves, driven, region, aspect)
    own = padded(target, region)
    display = codec.encode(own)
    picture = _rendered(display, region, moves)
    borrowed = np.zeros(matte.shape, np.float32)
    for patch in driven.patches:
        cover = np.float32(patch.weight) * _patch_matte(patch.part, driven, region, aspect)
        shown = _patch_picture(views[patch.view], patch, driven, region, picture, aspect)
        picture = picture + cover[..., None] * (shown - picture)
        borrowed = np.maximum(borrowed, cover)
    rgb = np.where(matte[..., None] > 0, codec.decode(picture), own)
    motion = moves.motion
    x, y = np.meshgrid(np.arange(region.width) + region.x, np.arange(region.height) + region.y)
    window = target.data_window
    u = (x + motion[..., 0] - window.x + 0.5) / window.width
    v = 1 - (y + motion[..., 1] - window.y + 0.5) / window.height
    confidence = np.float32(driven.face.confidence) * (1 - np.float32(0.5) * borrowed)
    pixels = np.dstack([premultiplied(rgb, np.ones_like(matte)), u, v, confidence]).astype(np.float32)
    return Plate(pixels, (*RGBA, ST_U, ST_V, CONFIDENCE), region, target.display_window, aspect)


def drive_mattes(mattes: Plate, target: Plate, driven: Driven, params: MaskParams,
                 holdout: np.ndarray | None = None) -> Plate:
    """The mask of a driven frame: `mattes` with matte.face put where the picture moves, old face and new, and is
    nowhere in front of the face. mattes: as `mask.combine_mattes` gives them, on the region."""
    region = mattes.data_window
    support = _support(_moves(driven, region, target.pixel_aspect), driven, region, target.pixel_aspect)
    face = support * (1 - np.float32(params.occlusions) * mattes.matte(MATTE_OCCLUSION)) * inside_of(target, region)
    if holdout is not None:
        face = face * (1 - np.clip(np.nan_to_num(holdout), 0, 1))
    pixels = mattes.pixels.copy()
    pixels[..., mattes.channels.index(MATTE_FACE)] = face
    return Plate(pixels, MATTES, region, mattes.display_window, mattes.pixel_aspect, mattes.metadata)


# Where everything goes.


@dataclass(frozen=True)
class _Layer:
    """One side of an opening on a part of the region. weight: float32 (h, w); motion: float32 (h, w, 2)."""

    box: tuple[slice, slice]
    weight: np.ndarray
    motion: np.ndarray


@dataclass(frozen=True)
class _Moves:
    """motion: float32 (h, w, 2), pixel + motion is where its picture comes from. layers: near openings, what replaces
    it; their weights sum to 1 on each of their boxes."""

    motion: np.ndarray
    layers: tuple[tuple[_Layer, ...], ...]


def _moves(driven: Driven, region: Window, aspect: float) -> _Moves:
    """How the plate's own picture moves."""
    own, wanted = driven.face.landmarks, driven.wanted.landmarks
    still = np.zeros((region.height, region.width, 2), np.float32)
    if np.abs(own - wanted).max() < 1e-6:
        return _Moves(still, ())
    pose = head_pose(own, aspect)
    square = np.array([aspect, 1.0])
    forehead = np.vstack(mesh.forehead(own, aspect))
    raised = forehead
    if any(driven.turn):
        skull = np.vstack([mesh.HAIRLINE, mesh.FOREHEAD])
        raised = forehead + turned(driven.face, skull, np.array(driven.turn), aspect)
    hull = _hull(np.vstack([own, wanted, forehead, raised]) * square)
    reach = pose.scale * (REACH_TURNED if any(driven.turn) else REACH)
    ring = _grown(hull, reach) / square
    destination = np.vstack([wanted, raised, ring])
    source = np.vstack([own, forehead, ring])
    window = _window(hull / square, region, pose.scale, reach)[..., None]

    def field(used: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
        mapping = spline_map(destination[used], source[used], region, stiffness[used])
        return (mapping - _grid(region)) * window

    return _layered(field, source, destination, region, aspect, pose.scale, behind=True)


def _layered(field: object, source: np.ndarray, destination: np.ndarray, region: Window, aspect: float, scale: float,
             behind: bool) -> _Moves:
    """The motion as a whole, and beside openings on either side. behind: what lies behind lids and lips that close
    stays with the head."""
    count = len(destination)
    everything = np.arange(count)
    firm = np.full(count, 5e-4)
    firm[36:68] = 2e-5
    loose = firm.copy()
    loose[np.r_[_ABOVE, _BELOW]] = 2e-4
    whole = field(everything, loose)  # type: ignore[operator]
    above = field(np.setdiff1d(everything, _BELOW), firm)  # type: ignore[operator]
    below = field(np.setdiff1d(everything, _ABOVE), firm)  # type: ignore[operator]
    motion = whole.copy()
    groups = []
    for opening in OPENINGS:
        layers = _sides(opening, (whole, above, below), source, destination, region, aspect, scale, behind)
        if layers:
            groups.append(layers)
            best = np.argmax([layer.weight for layer in layers], axis=0)
            motion[layers[0].box] = np.choose(best[..., None], [layer.motion for layer in layers])
    return _Moves(motion.astype(np.float32), tuple(groups))


def _sides(opening: _Opening, fields: tuple[np.ndarray, np.ndarray, np.ndarray], source: np.ndarray,
           destination: np.ndarray, region: Window, aspect: float, scale: float,
           behind: bool) -> tuple[_Layer, ...]:
    """Above, below and inside one opening."""
    square = np.array([aspect, 1.0])
    rim = destination[list(opening.rim)]
    reach = (opening.band + 1) * scale + 2
    low = np.floor((rim.min(0) - reach / square) - (region.x, region.y)).astype(int)
    high = np.ceil((rim.max(0) + reach / square) - (region.x, region.y)).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, (region.width, region.height))
    if (high - low < 2).any():
        return ()
    box = (slice(low[1], high[1]), slice(low[0], high[0]))
    part = Window(region.x + low[0], region.y + low[1], high[0] - low[0], high[1] - low[1])
    grid = _grid(part) * square
    upper, lower = _edges(opening, destination * square, grid)
    gap = 0.5 * (lower - upper)  # edges that cross meet in the middle
    upper, lower = upper + np.minimum(gap, 0), lower - np.minimum(gap, 0)
    over, under = np.clip(0.5 + upper, 0, 1), np.clip(0.5 - lower, 0, 1)
    total = np.maximum(over + under, 1)
    over, under = over / total, under / total
    inside = np.maximum(1 - over - under, 0)

    distance = -signed_distance(polygon_matte(rim, part)) / scale
    band = smoothstep(1 - np.maximum(distance, 0) / opening.band)[..., None]
    whole, above, below = (values[box] for values in fields)
    within = whole
    if behind:
        pairs = [(a, b) for a, b in zip(opening.upper[1:-1], opening.lower[1:-1], strict=True)]

        def gap_of(points: np.ndarray) -> float:
            return float(np.mean([np.linalg.norm((points[a] - points[b]) * square) for a, b in pairs]))

        closing = smoothstep(np.array((1 - gap_of(destination) / max(gap_of(source), 1e-6)) / 0.3))
        rigid = (source - destination)[list(opening.rigid)].mean(0)
        own_upper, own_lower = _edges(opening, source * square, grid + rigid * square)
        seen = smoothstep(np.minimum(-own_upper, own_lower) / max(1.0, 0.5 * scale))
        within = whole + (closing * seen)[..., None] * (rigid - whole)
    return (_Layer(box, over.astype(np.float32), (whole + band * (above - whole)).astype(np.float32)),
            _Layer(box, under.astype(np.float32), (whole + band * (below - whole)).astype(np.float32)),
            _Layer(box, inside.astype(np.float32), np.asarray(within, np.float32)))


def _edges(opening: _Opening, points: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel of `grid` (h, w, 2) lies above the upper and the lower edge, in pixels; both square."""
    first, last = points[opening.upper[0]], points[opening.upper[-1]]
    along = (last - first) / max(float(np.linalg.norm(last - first)), 1e-6)
    down = np.array([-along[1], along[0]])
    u, v = (grid - first) @ along, (grid - first) @ down
    found = []
    for edge in (opening.upper, opening.lower):
        at, depth = (points[list(edge)] - first) @ along, (points[list(edge)] - first) @ down
        at = np.maximum.accumulate(at + np.arange(len(at)) * 1e-6)
        found.append(PchipInterpolator(at, depth)(np.clip(u, at[0], at[-1])) - v)
    return found[0], found[1]


def _rendered(display: np.ndarray, region: Window, moves: _Moves) -> np.ndarray:
    """`display` on `region`, moved."""
    if not moves.layers:
        return display
    grid = _grid(Window(0, 0, region.width, region.height))
    picture = sample(display, grid + moves.motion)
    for layers in moves.layers:
        box = layers[0].box
        picture[box] = sum(layer.weight[..., None] * sample(display, grid[box] + layer.motion) for layer in layers)
    return picture


def _support(moves: _Moves, driven: Driven, region: Window, aspect: float) -> np.ndarray:
    """float32 (h, w), 0..1: where the picture is not the plate's."""
    length = np.linalg.norm(moves.motion, axis=-1)
    for layers in moves.layers:
        for layer in layers:
            box = length[layer.box]
            np.maximum(box, np.where(layer.weight > 0, np.linalg.norm(layer.motion, axis=-1), 0), out=box)
    support = np.zeros(length.shape, np.float32)
    if (length > STILL).any():
        near = cv2.dilate(length, np.ones((5, 5), np.uint8))  # where opposite moves meet, a pixel may stand still
        support = smoothstep((near - STILL) / 0.25).astype(np.float32)
    for patch in driven.patches:
        cover = np.float32(patch.weight) * _patch_matte(patch.part, driven, region, aspect)
        support = np.maximum(support, smoothstep(cover / 0.05).astype(np.float32))
    return support


def _hull(points: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], np.float64)


def _grown(hull: np.ndarray, reach: float, count: int = 32) -> np.ndarray:
    """(count, 2) points around a convex polygon, `reach` beyond it."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    way = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.asarray(hull[(way @ hull.T).argmax(1)] + reach * way)


def _window(hull: np.ndarray, region: Window, scale: float, reach: float) -> np.ndarray:
    """float32 (h, w): 1 on the face, 0 from `reach` beyond it on and at the region's border."""
    distance = -signed_distance(polygon_matte(hull, region))
    window = smoothstep((reach - distance) / (reach - FIRM * scale))
    y, x = np.mgrid[0:region.height, 0:region.width]
    border = np.minimum(np.minimum(x, region.width - 1 - x), np.minimum(y, region.height - 1 - y))
    return (window * smoothstep(border / (EDGE * scale))).astype(np.float32)


def _grid(window: Window) -> np.ndarray:
    """float32 (h, w, 2): x, y of the pixels."""
    return np.stack(np.meshgrid(np.arange(window.width, dtype=np.float32) + np.float32(window.x),
                                np.arange(window.height, dtype=np.float32) + np.float32(window.y)), -1)


# Patches.


def _patch_matte(part: str, driven: Driven, region: Window, aspect: float) -> np.ndarray:
    """float32 (h, w): where a patch covers, soft at its edge."""
    landmarks = driven.wanted.landmarks
    scale = head_pose(driven.face.landmarks, aspect).scale
    if part == "inner mouth":
        return polygon_matte(landmarks[mesh.INNER_LIPS], region, 0.4 * scale)
    matte = np.zeros((region.height, region.width), np.float32)
    for opening in ((MOUTH,) if part == "mouth" else (EYE_R, EYE_L)):
        rim = _hull(landmarks[list(opening.rim)])
        distance = -signed_distance(polygon_matte(rim, region)) / scale
        matte = np.maximum(matte, smoothstep((PATCH_OUTER - distance) / (PATCH_OUTER - PATCH_INNER)).astype(np.float32))
    return matte


def _patch_picture(view: View, patch: Patch, driven: Driven, region: Window, picture: np.ndarray,
                   aspect: float) -> np.ndarray:
    """The view warped to the wanted face, in the light of `picture` where the two meet."""
    wanted, own = driven.wanted.landmarks, view.face.landmarks
    scale = head_pose(driven.face.landmarks, aspect).scale
    reach = round((PATCH_OUTER + 6) * scale)
    cover = _patch_matte(patch.part if patch.part != "inner mouth" else "mouth", driven, region, aspect)
    rows, columns = np.nonzero(cover > 0)
    if not len(rows):
        return picture
    part = Window(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    part = Window(part.x - reach, part.y - reach, part.width + 2 * reach, part.height + 2 * reach)
    part = part.intersect(Window(0, 0, region.width, region.height))
    box = slices(part, Window(0, 0, region.width, region.height))
    place = Window(part.x + region.x, part.y + region.y, part.width, part.height)

    def field(used: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
        return spline_map(wanted[used], own[used], place, stiffness[used]) - _grid(place)

    moves = _layered(field, own, wanted, place, aspect, scale, behind=False)
    offset = np.array([place.x - view.window.x, place.y - view.window.y], np.float32)
    grid = _grid(Window(0, 0, place.width, place.height)) + offset
    shown = sample(view.display, grid + moves.motion)
    for layers in moves.layers:
        inner = layers[0].box
        shown[inner] = sum(layer.weight[..., None] * sample(view.display, grid[inner] + layer.motion)
                           for layer in layers)
    result = picture.copy()
    result[box] = _lit(shown, picture[box], patch, driven, place, scale, cover[box])
    return result


def _lit(shown: np.ndarray, picture: np.ndarray, patch: Patch, driven: Driven, place: Window, scale: float,
         cover: np.ndarray) -> np.ndarray:
    """A patch in the light of the picture around it."""
    lips = polygon_matte(_hull(driven.wanted.landmarks[mesh.LIPS]), place, 0.5 * scale)
    if patch.part == "inner mouth":  # somebody else's skin: its brightness says something, its colour nothing
        around = np.clip(cover - lips, 0, 1)[..., None]
        luma = np.array([0.2126, 0.7152, 0.0722], np.float32)
        mean = [float((np.maximum(p, 0) * around).sum((0, 1)) @ luma) + 1e-3 for p in (picture, shown)]
        return np.asarray(shown * np.float32(np.clip(mean[0] / mean[1], 1 / GAIN_LIMIT, GAIN_LIMIT)))
    openings = MOUTH, EYE_R, EYE_L
    weight = cover.copy()
    for opening in openings:
        weight *= 1 - polygon_matte(_hull(driven.wanted.landmarks[list(opening.rim)]), place, 0.5 * scale)
    sigma = PATCH_LIGHT * scale
    wanted = weighted_blur(np.maximum(picture, 0), weight, sigma) + 0.02
    own = weighted_blur(np.maximum(shown, 0), weight, sigma) + 0.02
    gain = np.clip(wanted / own, 1 / GAIN_LIMIT, GAIN_LIMIT)
    return np.asarray((shown + 0.02) * gain - 0.02)
