"""Glasses: whether a face wears them, and where their frame and hinges are. Lengths are shares of the face's width."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image8, Matte, Plane, Points68, Vector
from fsgan_core.runtime.memo import remember_with
from fsgan_core.stages.image_ops import HALF_COVERED, draw_convex_hull, draw_polygon, make_disc, smoothstep
from fsgan_core.stages.skin.skin_model import FaceRaster
from fsgan_core.stages.warp_points import EYE_INNER_L, EYE_INNER_R, EYE_OUTER_L, EYE_OUTER_R, EYE_SIDES

# The bridge: a dark line across the nose.
BRIDGE_CONTRAST = 0.025  # of the skin's luma: from here on a line may be glasses; at twice this it surely is
BRIDGE_RADIUS = 0.03  # of the face: half the thickness of the widest bridge
MIN_SKIN_LUMA = 0.05  # display value that a contrast is divided by at least
BRIDGE_WIDTH, BRIDGE_COLUMNS = 0.07, 9  # of the eyes' distance to either side of the nose; samples across
BRIDGE_TOP, BRIDGE_BOTTOM, BRIDGE_ROWS = -0.12, 0.16, 30  # of the eyes' distance below the eyes; samples down

# Hinges and arms beside the eyes.
ARM_BEGIN, ARM_END = 0.4, 1.9  # of the way from the outer corner of the eye to the temple
ARM_ABOVE, ARM_BELOW = 0.08, 0.1  # of the face: from the line through both
ARM_RADIUS, ARM_LENGTH = 0.04, 0.03  # of the face: half the thickest thing that may be an arm; the shortest piece
ARM_BAND = 0.022  # of the face: to either side of the line that an arm lies on
ARM_CONTRAST, ARM_SOFTNESS = 0.02, 0.05  # display values darker or brighter than above and below
ARM_SLOPES = np.linspace(-0.25, 0.25, 11)  # down over out, to look for
ARM_STEP = 0.01  # of the face: between heights to look at
ARM_MATCH_END = 1.3  # of the way from the eye to the temple: up to there the arm is looked for
ARM_WAY, MIN_ARM_SHARE = 0.35, 0.6  # of that way, the part that is marked most; how much of it: less is no arm
ARM_GROWTH, ARM_EDGE = 0.014, 0.006  # of the face: arms are marked wider than they are, with a soft edge
ARM_REACH = 0.035  # of the face: how far beyond its outline
ARM_GAP = 0.025  # of the face: pieces this near to each other are one arm
RIM_THICKNESS, RIM_GAP = 0.06, 0.015  # of the face: the thickest rim beside an arm; the widest gap in it
RIM_ABOVE, RIM_BELOW = 0.1, 0.18  # of the face: from the line through eye and temple
RIM_CONTRAST, RIM_SOFTNESS = 0.02, 0.05  # display values more than the skin's own lines
WRINKLE_PERCENTILE = 80  # of the skin, what its own lines are


@remember_with  # mask and inpaint ask for the same raster
def detect_glasses(raster: FaceRaster) -> float:
    """Measure how surely a face wears glasses, 0..1: by a dark line all across the bridge of the nose."""
    if not raster.shows_skin:
        return 0.0
    luma = raster.rgb @ LUMA_WEIGHTS
    line = _find_dark_lines(luma, BRIDGE_RADIUS * raster.face_width) / np.float32(
        max(float(np.median(luma[raster.sampled])), MIN_SKIN_LUMA)
    )
    points, down, across = (
        raster.landmarks,
        -raster.up_direction,
        np.array([-raster.up_direction[1], raster.up_direction[0]]),
    )
    gap = float(np.linalg.norm(points[EYE_OUTER_L] - points[EYE_OUTER_R]))
    columns = np.linspace(-BRIDGE_WIDTH, BRIDGE_WIDTH, BRIDGE_COLUMNS)[:, None, None] * gap * across
    rows = np.linspace(BRIDGE_TOP, BRIDGE_BOTTOM, BRIDGE_ROWS)[None, :, None] * gap * down
    samples = np.asarray(points[[EYE_INNER_R, EYE_INNER_L]].mean(0) + columns + rows, np.float32)
    strength = cv2.remap(line, samples[..., 0], samples[..., 1], cv2.INTER_LINEAR).max(1).min()
    return float(smoothstep(np.asarray((strength - BRIDGE_CONTRAST) / BRIDGE_CONTRAST)))


def draw_arm_zone(landmarks: Points68, up: Vector, width: float, window: Window) -> Matte:
    """Draw where arms of glasses and the rims beside them may be: from the eyes outwards, beyond the temples.

    Args:
        landmarks: In the coordinates of `window`.
        up: (2,) unit vector from chin to forehead.
        width: Of the face.
        window: The part to draw on.
    """
    zones = []
    for _, eye, temple in EYE_SIDES:
        line = landmarks[eye] + np.outer([ARM_BEGIN, ARM_END], landmarks[temple] - landmarks[eye])
        zones.append(
            draw_convex_hull(np.vstack([line + RIM_ABOVE * width * up, line - RIM_BELOW * width * up]), window)
        )
    return np.maximum(*zones)


@remember_with  # the mask asks for them twice
def find_arms(raster: FaceRaster) -> Matte:
    """Mark hinges and arms of glasses beside the eyes: a thin straight line across, also beyond the face's outline.

    Args:
        raster: The face, which wears glasses.

    Returns:
        On the raster, a little wider than the arms.
    """
    width, up = raster.face_width, raster.up_direction
    across = np.array([-up[1], up[0]])
    luma = raster.rgb @ LUMA_WEIGHTS
    tall = draw_line_kernel(up, ARM_RADIUS * width)
    odd = find_narrow(luma, tall)
    long = cv2.morphologyEx(odd, cv2.MORPH_OPEN, draw_line_kernel(across, ARM_LENGTH * width / 2))
    near = cv2.dilate(raster.outline, make_disc(ARM_REACH * width))
    strength = np.asarray(near * smoothstep((long - ARM_CONTRAST) / ARM_SOFTNESS), np.float32)
    found = np.maximum(*(strength * _draw_arm_band(strength, raster, eye, temple) for _, eye, temple in EYE_SIDES))
    # What does not hang together with an arm on the face is hair or what is behind the head.
    found = _keep_near(found, found * (raster.outline > HALF_COVERED), ARM_GAP * width)
    return _grow_softly(found, ARM_GROWTH * width, ARM_EDGE * width)


def find_rims(raster: FaceRaster, arms: Matte) -> Matte:
    """Mark the rims of glasses at the temples: what is thin and hangs together with an arm, on the face.

    Args:
        raster: The face, which wears glasses.
        arms: `find_arms`.

    Returns:
        On the raster, a little wider than the rims.
    """
    width = raster.face_width
    odd = find_narrow(raster.rgb @ LUMA_WEIGHTS, make_disc(RIM_THICKNESS * width / 2))
    wrinkles = np.float32(np.percentile(odd[raster.sampled], WRINKLE_PERCENTILE) if raster.shows_skin else 0.0)
    thin = smoothstep((odd - wrinkles - RIM_CONTRAST) / RIM_SOFTNESS).astype(np.float32)
    zone = draw_arm_zone(raster.landmarks, raster.up_direction, width, raster.window)
    rims = thin * zone * (raster.outline > HALF_COVERED)
    rims = _grow_softly(_keep_near(rims, arms, RIM_GAP * width), ARM_GROWTH * width, ARM_EDGE * width)
    return np.minimum(rims, raster.outline)


def _grow_softly(matte: Matte, reach: float, sigma: float) -> Matte:
    grown = cv2.dilate(matte, make_disc(reach))
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), max(0.5, sigma)), np.float32)


def find_narrow(picture: AnyArray, kernel: Image8) -> AnyArray:
    """Find how much darker or brighter than around each channel is, where something is narrower than a kernel."""
    closed, opened = (cv2.morphologyEx(picture, kind, kernel) for kind in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN))
    return np.asarray(np.maximum(closed - picture, picture - opened), np.float32)


def _keep_near(matte: Matte, seed: Matte, gap: float) -> Matte:
    """`matte` where it hangs together with a seed, over gaps of so many pixels."""
    joined = cv2.dilate((matte > HALF_COVERED).astype(np.uint8), make_disc(gap / 2))
    count, labels = cv2.connectedComponents(joined)
    touching = np.zeros(count, np.float32)
    touching[labels[seed > HALF_COVERED]] = 1
    touching[0] = 0
    return np.asarray(matte * touching[labels], np.float32)


def _draw_arm_band(strength: Matte, raster: FaceRaster, eye: int, temple: int) -> Matte:
    """The band around the straight line from the eye outwards that is marked best; nothing where no line is."""
    width, down = raster.face_width, -raster.up_direction
    corner, side = raster.landmarks[eye], raster.landmarks[temple] - raster.landmarks[eye]
    length = float(np.linalg.norm(side))
    ways = np.linspace(ARM_BEGIN, ARM_MATCH_END, max(8, round(length * (ARM_MATCH_END - ARM_BEGIN))))
    heights = np.arange(-ARM_ABOVE, ARM_BELOW, ARM_STEP) * width
    offsets = heights[:, None, None] + ARM_SLOPES[None, :, None] * length * (ways - 1)
    samples = np.asarray(corner + ways[:, None] * side + offsets[..., None] * down, np.float32).reshape(
        -1, len(ways), 2
    )
    marked = cv2.remap(strength, samples[..., 0], samples[..., 1], cv2.INTER_LINEAR)
    count = round(ARM_WAY * len(ways))
    best = int(marked.mean(1).argmax())
    if cv2.blur(marked[best : best + 1], (count, 1), borderType=cv2.BORDER_CONSTANT).max() < MIN_ARM_SHARE:
        return np.zeros_like(strength)
    line = samples[best].astype(np.float64)
    line[-1] = line[0] + (ARM_END - ARM_BEGIN) / (ARM_MATCH_END - ARM_BEGIN) * (line[-1] - line[0])
    reach = ARM_BAND * width * down
    return draw_polygon(np.vstack([line[[0, -1]] - reach, line[[-1, 0]] + reach]), raster.window)


@dataclass(frozen=True)
class Stems:
    """What of a pair of glasses is at the temples.

    Attributes:
        arms: Hinges and arms.
        rims: The rims beside them.
    """

    arms: Matte
    rims: Matte

    @property
    def matte(self) -> Matte:
        """Both."""
        return np.maximum(self.arms, self.rims)

    def resize(self, region: Window) -> Stems:
        """Resample from the raster to the part of the plate that it covers."""
        both = cv2.resize(np.dstack([self.arms, self.rims]), (region.width, region.height))
        return Stems(np.ascontiguousarray(both[..., 0], np.float32), np.ascontiguousarray(both[..., 1], np.float32))


@remember_with
def find_stems(raster: FaceRaster, glasses: float) -> Stems | None:
    """Mark what of a pair of glasses is at the temples, on the raster; None if there are no arms.

    Args:
        raster: The face.
        glasses: `detect_glasses`.
    """
    arms = np.float32(glasses) * find_arms(raster) if glasses > 0 else None
    if arms is None or not (arms > HALF_COVERED).any():
        return None
    return Stems(arms, np.float32(glasses) * find_rims(raster, arms))


def draw_line_kernel(direction: Vector, radius: float) -> Image8:
    """Draw a morphological kernel: a line through the middle.

    Args:
        direction: (2,) unit vector.
        radius: Pixels to either side.
    """
    half = max(1, round(radius))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    tip = np.round(half * direction).astype(int)
    cv2.line(kernel, (int(half - tip[0]), int(half - tip[1])), (int(half + tip[0]), int(half + tip[1])), 1)
    return kernel


def _find_dark_lines(luma: Plane, radius: float) -> Plane:
    """How much darker than around, where something dark is narrower than twice `radius` pixels."""
    return np.asarray(cv2.morphologyEx(luma, cv2.MORPH_CLOSE, make_disc(radius)) - luma, np.float32)
