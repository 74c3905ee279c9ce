"""The edge of a matte: grown or shrunk, and softened inwards."""

from __future__ import annotations

import math

import cv2
import numpy as np

from fsgan_core.runtime.arrays import AnyArray, Matte
from fsgan_core.stages.image_ops import BLUR_REACH, measure_signed_distance, slice_marked, smoothstep

MATTE_LEVELS = 16  # of a soft matte that is grown
FEATHER_BLUR, MIN_FEATHER_SIGMA, FEATHER_END = 12, 0.3, 2  # feather over blur's sigma; pixels; pixels to the outline
MIN_FEATHER = 0.5  # pixels: a narrower feather changes nothing


def grow_and_feather(matte: Matte, size: float, feather: float, aspect: float) -> Matte:
    """Grow a matte, and soften its edge inwards: nothing outside the grown matte changes.

    The matte's own softness (hair, motion) stays.

    Args:
        matte: 0..1.
        size: Pixels by which it grows; shrinks if negative.
        feather: Pixels of the soft edge.
        aspect: Width of a pixel over its height.
    """
    height, width = matte.shape
    work: AnyArray = matte
    if aspect != 1:
        work = np.asarray(cv2.resize(matte, (round(width * aspect), height), interpolation=cv2.INTER_LINEAR))
    if size != 0:
        work = _grow_matte(work, size) if size > 0 else 1 - _grow_matte(1 - work, -size)
    if feather > MIN_FEATHER:
        sigma = max(MIN_FEATHER_SIGMA, feather / FEATHER_BLUR)
        margin = math.ceil(BLUR_REACH * sigma) + 1
        part = tuple(slice(max(0, used.start - margin), used.stop + margin) for used in slice_marked(work > 0))
        inwards = measure_signed_distance(work[part]) + 0.5
        soft = np.minimum(work[part], 1) * smoothstep(inwards / feather)
        work = np.zeros_like(work)
        work[part] = cv2.GaussianBlur(soft, (0, 0), sigma) * smoothstep(inwards / FEATHER_END)
    if aspect != 1:
        work = np.asarray(cv2.resize(work, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.clip(work, 0, 1).astype(np.float32)


def _grow_matte(matte: Matte, radius: float) -> Matte:
    """Every level of a matte grown by `radius` pixels, which need not be whole."""
    total = np.zeros_like(matte)
    levels = (np.arange(MATTE_LEVELS) + 0.5) / MATTE_LEVELS
    for level in levels:
        reached = matte >= level
        if reached.any():
            distance = cv2.distanceTransform((~reached).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            total += np.clip(radius + 0.5 - distance, 0, 1)
    return np.asarray(np.maximum(total / np.float32(MATTE_LEVELS), matte), np.float32)
