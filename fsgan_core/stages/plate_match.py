"""Plate match: the new face brought to the plate's sharpness and grain before it is blended.

All on display-like pictures. The plate is measured on the target's own skin (by the mask stage, averaged over
neighbouring frames), the new face on itself; the difference is removed or added.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matte, Plane, Vector

# Detail and grain.
BAND_SIGMAS = (0.7, 1.4, 2.8)  # pixels of the plate: coarse ends of the bands of detail, finest first
BAND_SHARES = (1.0, 1.0, 0.5)  # of a band that is matched: coarse bands are more the face than the lens
MIN_BAND_GAIN, MAX_BAND_GAIN = 0.15, 2.0  # a larger gain would bring up noise
BLUR_SIGMAS = (0.0, 0.4, 0.6, 0.8, 1.1, 1.5, 2.0, 2.8)  # pixels: blurs tried to bring a face to a softer plate
BAND_COUNT = len(BAND_SIGMAS)
GRAIN_BAND_COUNT = 2
SURE_SKIN = 0.7  # weight from which on a pixel is surely skin
MIN_TEXTURE_PIXELS = 64  # pixels of skin: fewer say nothing about texture
GLINT_PERCENTILE = 99.5  # a glint or the frame of glasses does not set the sharpness of the whole face
MIN_VARIANCE = 1e-9
NOISE_BLOCK = 8  # pixels: side of a block in which noise is measured
FULL_BLOCK = 0.99  # share of skin in a block that counts
MIN_BLOCKS = 16
NOISE_PERCENTILE = 25  # of the blocks' energies: the flattest skin shows noise alone
QUARTER_BIAS = 0.92  # share of the true deviation that this percentile shows on pure noise
SHARED_GRAIN, CHANNEL_GRAIN = 0.85, 0.53  # parts of the grain that all channels share, and that each has by itself
GRAIN_ROUNDS = 4
MIN_GRAIN_DEVIATION = 1e-6


def measure_texture(display: Image, weight: Matte, width: float) -> tuple[float, ...]:
    """Measure detail and grain on skin.

    Args:
        display: The picture, display-like.
        weight: Where skin is, 0..1.
        width: Of the face, in square pixels.

    Returns:
        `BAND_COUNT` strengths of detail, finest first, then `GRAIN_BAND_COUNT` deviations of the grain, display values.
        All zero if there is too little skin.
    """
    sure = _find_sure_skin(weight)
    if sure.sum() < MIN_TEXTURE_PIXELS:
        return (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT)
    bands = _split_bands(display @ LUMA_WEIGHTS)
    grain = [_measure_noise(band, sure) for band in bands[:GRAIN_BAND_COUNT]]
    return (*_measure_strengths(bands, sure), *grain)


def _find_sure_skin(weight: Matte) -> Mask:
    return cv2.erode((weight > SURE_SKIN).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _measure_strengths(bands: Sequence[Plane], sure: Mask) -> tuple[float, ...]:
    strengths = []
    for band in bands:
        values = np.abs(band[sure])
        limit = np.percentile(values, GLINT_PERCENTILE)
        strengths.append(float(np.sqrt(np.mean(np.minimum(values, limit) ** 2))))
    return tuple(strengths)


def average_textures(measured: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Average textures over frames, leaving out frames without skin."""
    known = [values for values in measured if values[0] > 0]
    if not known:
        return (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT)
    return tuple(float(value) for value in np.mean(known, axis=0))


def match_texture(
    face: AnyArray,
    weight: Matte,
    plate_texture: Sequence[float],
    width: float,
    sharpness: float,
    grain: float,
    seed: tuple[int, int],
) -> Image:
    """Give a face the plate's sharpness and grain.

    Args:
        face: The new face, display-like.
        weight: Where skin is, 0..1.
        plate_texture: `measure_texture` of the plate.
        width: Of the face, in square pixels.
        sharpness: How far detail is brought to the plate's, 0..1.
        grain: How much of the missing grain is added, 0..1.
        seed: The artist's number and the frame's; the same pair gives the same grain.
    """
    own = measure_texture(face, weight, width)
    if not own[0] or len(plate_texture) != len(own) or not plate_texture[0]:
        return face
    signal = _subtract_grain(plate_texture)
    softer = min(1.0, signal[0] / _subtract_grain(own)[0]) ** sharpness
    if softer < 1:
        face = _soften_face(face, _find_sure_skin(weight), softer)
        own = measure_texture(face, weight, width)
    present = _subtract_grain(own)
    gains = np.clip(signal / present, MIN_BAND_GAIN, MAX_BAND_GAIN) ** (sharpness * np.array(BAND_SHARES))
    bands = _split_bands(face)
    result = face + sum(np.float32(gain - 1) * band for gain, band in zip(gains, bands, strict=True))
    left = gains[:GRAIN_BAND_COUNT] * own[BAND_COUNT:]
    missing = np.sqrt(np.maximum(np.square(plate_texture[BAND_COUNT:]) - left**2, 0))
    if grain > 0 and missing.any():
        result = result + np.float32(grain) * _make_grain(face.shape[:2], missing, seed)
    return np.asarray(result, np.float32)


def _subtract_grain(measured: Sequence[float]) -> Vector:
    """(BAND_COUNT,) strengths of a measured texture without its grain."""
    grain = np.zeros(BAND_COUNT)
    grain[:GRAIN_BAND_COUNT] = measured[BAND_COUNT:]
    return np.sqrt(np.maximum(np.square(measured[:BAND_COUNT]) - grain**2, MIN_VARIANCE))


def _soften_face(face: Image, sure: Mask, share: float) -> Image:
    """`face` blurred until `share` of its finest detail is left, grain not counted.

    A lens or a codec softens detail of every size; scaling single bands would not reproduce that.
    """
    luma = face @ LUMA_WEIGHTS
    strengths = []
    for sigma in BLUR_SIGMAS:
        band = _split_bands(np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma)) if sigma else luma)[0]
        variance = _measure_strengths([band], sure)[0] ** 2 - _measure_noise(band, sure) ** 2
        strengths.append(np.sqrt(max(variance, MIN_VARIANCE)))
    sigma = float(np.interp(-np.log(share * strengths[0]), -np.log(strengths), BLUR_SIGMAS))
    return np.asarray(cv2.GaussianBlur(face, (0, 0), sigma)) if sigma > BLUR_SIGMAS[1] / 2 else face


def _split_bands(picture: Image) -> list[Image]:
    """Differences of Gaussians, finest first, without what is coarser than the last (Burt and Adelson 1983)."""
    levels = [picture, *(cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in BAND_SIGMAS)]
    return [finer - coarser for finer, coarser in pairwise(levels)]


def _measure_noise(band: Plane, sure: Mask) -> float:
    """Deviation of a band where the skin is flattest: the lower quarter of small blocks."""
    size = NOISE_BLOCK
    count = cv2.boxFilter(sure.astype(np.float32), -1, (size, size))
    energy = cv2.boxFilter(np.where(sure, band, 0).astype(np.float32) ** 2, -1, (size, size))
    whole = count > FULL_BLOCK
    if whole.sum() < MIN_BLOCKS:
        return 0.0
    return float(np.sqrt(np.percentile(energy[whole], NOISE_PERCENTILE))) / QUARTER_BIAS


def _make_grain(shape: tuple[int, int], deviations: Vector, seed: tuple[int, int]) -> Image:
    """Grain (height, width, 3) with a deviation for each band, mostly the same in all channels, as in film."""
    generator = np.random.Generator(np.random.PCG64(seed))
    noise = generator.standard_normal((*shape, 4), np.float32)
    noise = np.float32(SHARED_GRAIN) * noise[..., :1] + np.float32(CHANNEL_GRAIN) * noise[..., 1:]
    bands = _split_bands(noise)[:GRAIN_BAND_COUNT]
    shares = deviations / [max(float(band.std()), MIN_GRAIN_DEVIATION) for band in bands]
    for _ in range(GRAIN_ROUNDS):  # bands overlap, so what one adds the others measure too
        luma = sum(np.float32(share) * (band @ LUMA_WEIGHTS) for share, band in zip(shares, bands, strict=True))
        measured = _split_bands(np.asarray(luma))[:GRAIN_BAND_COUNT]
        shares = shares * deviations / [max(float(band.std()), MIN_GRAIN_DEVIATION) for band in measured]
    return np.asarray(sum(np.float32(share) * band for share, band in zip(shares, bands, strict=True)))
