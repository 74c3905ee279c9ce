"""Glasses: whether a face wears them, and where their frame and hinges are. Lengths are shares of the face's width."""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Matte, Plane, Points68
from fsgan_core.stages.image_ops import HALF_COVERED, draw_convex_hull, draw_polygon, smoothstep
from fsgan_core.stages.skin.skin_model import FaceRaster
from fsgan_core.stages.warp_points import EYE_INNER_L, EYE_INNER_R, EYE_OUTER_L, EYE_OUTER_R, EYE_SIDES

# The bridge: a dark line across the nose.
BRIDGE_CONTRAST = 0.025  # of the skin's luma: from here on a line may be glasses; at twice this it surely is
BRIDGE_RADIUS = 0.03  # of the face: half the thickness of the widest bridge
MIN_SKIN_LUMA = 0.05  # display value that a contrast is divided by at least
BRIDGE_WIDTH, BRIDGE_COLUMNS = 0.07, 9  # of the eyes' distance to either side of the nose; samples across
BRIDGE_TOP, BRIDGE_BOTTOM, BRIDGE_ROWS = -0.12, 0.16, 30  # of the eyes' distance below the eyes; samples down

# Hinges and arms beside the eyes.
HINGE_REACH = 0.4  # of the way from eye to temple, beyond the temple
HINGE_RADIUS = 0.07  # of the face
HINGE_CONTRAST, HINGE_SOFTNESS = 0.08, 0.1  # display values darker than around

STEM_GROWTH, STEM_SOFTNESS = 0.03, 0.01  # of the face: hinges are marked wider than they are dark
STEM_REACH = 0.02  # of the face: how far beyond its outline they are marked

# The frame around the eyes.
FRAME_RADIUS = 0.03  # of the face
RIM_RADIUS, RIM_FLATNESS, RIM_POINTS = 0.36, 0.85, 40  # of the eyes' distance; height over width; corners drawn
LID_GROWTH = 1.5  # times the size of an eye: within that a dark line is a lid
BROW_ABOVE, BROW_BELOW = 0.04, 0.02  # of the face: within that a dark line is a brow
ZONE_SOFTNESS = 0.01  # of the face
NOSE_BRIDGE = [27, 28]  # landmarks
BRIDGE_HALF_WIDTH = 0.09  # of the eyes' distance
FRAME_CONTRAST, FRAME_SOFTNESS = 0.03, 0.08  # display values beyond twice the usual line


def detect_glasses(raster: FaceRaster) -> float:
    """Measure how surely a face wears glasses, 0..1: by a dark line all across the bridge of the nose."""
    skin = raster.skin
    if skin is None:
        return 0.0
    luma = raster.rgb @ LUMA_WEIGHTS
    line = _find_dark_lines(luma, BRIDGE_RADIUS * raster.face_width) / np.float32(
        max(float(np.median(luma[skin.sampled])), MIN_SKIN_LUMA)
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


def find_hinges(raster: FaceRaster) -> Matte:
    """Mark dark, narrow things beside the eyes: hinges and arms of glasses."""
    points = raster.landmarks
    zone = np.zeros_like(raster.outline)
    for brow, eye, temple in EYE_SIDES:
        out = points[temple] + HINGE_REACH * (points[temple] - points[eye])
        corner = np.vstack([points[eye], points[brow], points[temple], out, out + points[brow] - points[eye]])
        zone = np.maximum(zone, draw_convex_hull(corner, raster.window))
    lines = _find_dark_lines(raster.rgb @ LUMA_WEIGHTS, HINGE_RADIUS * raster.face_width)
    hinges = smoothstep((lines - HINGE_CONTRAST) / HINGE_SOFTNESS).astype(np.float32)
    return np.asarray(cv2.dilate(hinges * zone, np.ones((5, 5), np.uint8)))


def find_stems(raster: FaceRaster, glasses: float, region: Window) -> Matte | None:
    """Mark hinges and stems of glasses beside the eyes, also beyond the outline of the face.

    Args:
        raster: The face.
        glasses: `detect_glasses`.
        region: The part of the plate that the raster covers.

    Returns:
        On the region; None if there are none.
    """
    hinges = np.float32(glasses) * find_hinges(raster) if glasses > 0 else None
    if hinges is None or not (hinges > HALF_COVERED).any():
        return None
    grown, near = (
        cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        for matte, reach in ((hinges, STEM_GROWTH), (raster.outline, STEM_REACH))
        for side in (2 * max(1, round(reach * raster.face_width)) + 1,)
    )
    grown = grown * near
    soft = cv2.GaussianBlur(grown, (0, 0), max(0.5, STEM_SOFTNESS * raster.face_width))
    return np.asarray(cv2.resize(soft, (region.width, region.height), interpolation=cv2.INTER_LINEAR))


def find_glasses_frames(display: Image, landmarks: Points68, region: Window, width: float, aspect: float) -> Matte:
    """Mark thin dark lines around the eyes, off lids and brows: the frame of a pair of glasses.

    Args:
        display: Display-like picture of `region`.
        landmarks: In plate coordinates.
        region: The part of the plate that is looked at.
        width: Of the face, in square pixels.
        aspect: Width of a pixel over its height.
    """
    luma = np.clip(display, 0, 1) @ LUMA_WEIGHTS
    reach = max(3, 2 * round(FRAME_RADIUS * width) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, round(reach / aspect)) | 1, reach))
    line = cv2.morphologyEx(luma, cv2.MORPH_CLOSE, kernel) - luma
    gap = np.linalg.norm(landmarks[EYE_OUTER_L] - landmarks[EYE_OUTER_R])
    zone = np.zeros(luma.shape, np.float32)
    for eye in (landmarks[EYE_R], landmarks[EYE_L]):
        centre = eye.mean(0)
        angle = np.linspace(0, 2 * np.pi, RIM_POINTS)
        rim = centre + RIM_RADIUS * gap * np.column_stack([np.cos(angle), RIM_FLATNESS * np.sin(angle)])
        zone = np.maximum(zone, draw_polygon(rim, region))
        zone *= 1 - draw_polygon(centre + LID_GROWTH * (eye - centre), region, ZONE_SOFTNESS * width)
    for brow in (landmarks[BROW_R], landmarks[BROW_L]):
        lower = brow + np.array([0, BROW_BELOW * width])
        upper = brow - (0, BROW_ABOVE * width)
        zone *= 1 - draw_polygon(np.vstack([upper, lower[::-1]]), region, ZONE_SOFTNESS * width)
    across = np.array([BRIDGE_HALF_WIDTH * gap, 0])
    bridge = np.vstack([landmarks[NOSE_BRIDGE] - across, landmarks[NOSE_BRIDGE[::-1]] + across])
    zone = np.maximum(zone, draw_polygon(bridge, region))
    typical = np.median(line[zone > HALF_COVERED]) if (zone > HALF_COVERED).any() else 1.0
    frames = smoothstep((line - 2 * typical - FRAME_CONTRAST) / FRAME_SOFTNESS) * zone
    return np.asarray(cv2.dilate(frames, np.ones((3, 3), np.uint8)))


def _find_dark_lines(luma: Plane, radius: float) -> Plane:
    """How much darker than around, where something dark is narrower than twice `radius` pixels."""
    side = 2 * max(1, round(radius)) + 1
    closed = cv2.morphologyEx(luma, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.asarray(closed - luma, np.float32)
