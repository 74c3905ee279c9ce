"""Making the new face fit the plate before it is blended: light, sharpness, grain.

All on display-like pictures. What the plate has is measured on the target's own skin (in `mask`, averaged over
neighbouring frames); what the new face has is measured on it; the difference is taken away or added.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.stages.image_ops import blur_weighted

LIGHT_SIZE = 0.3  # of the face: shading coarser than this is the light's, finer is the face's own
LIGHT_FLOOR = 0.02  # display value below which colours are not divided by each other
LIGHT_GAIN_LIMIT = 4.0  # largest change of light, either way
NEUTRAL_SHARE = 0.4  # of the difference between the skins' tints that a neutral colour takes
TINT_LIMIT = 0.5  # logarithm: a difference beyond any two skins' must be the light's
SKIN_TINT = np.array([0.66, 0.07, -0.75], np.float32)  # direction in which skins differ: red up, blue down (logarithms)
BAND_SIGMAS = (0.7, 1.4, 2.8)  # pixels of the plate: limits of the bands of detail, finest first
BAND_SHARES = (1.0, 1.0, 0.5)  # coarser bands are the face's features more than the lens's sharpness
MIN_BAND_GAIN, MAX_BAND_GAIN = 0.15, 2.0  # a band may fade to this, or grow to that; more would bring up noise
BLUR_SIGMAS = (0.0, 0.4, 0.6, 0.8, 1.1, 1.5, 2.0, 2.8)  # pixels: blurs that bring a face to a softer plate
BAND_COUNT = len(BAND_SIGMAS)
GRAIN_BAND_COUNT = 2
QUARTER_BIAS = 0.92  # what the lower quarter of blocks of pure noise shows of its deviation


def match_light(
    face: np.ndarray, target: np.ndarray, weight: np.ndarray, width: float, amount: float, aspect: float = 1.0
) -> np.ndarray:
    """`face` (h, w, 3) with the broad light and colour of `target` (h, w, 3).

    weight: (h, w), where both show skin. width: of the face in square pixels. aspect: of the pixels. The gain is a
    smooth field per channel, so that light from one side comes along. What one skin is more tanned than the other is
    not light: teeth, the whites of the eyes and glints take only a part of that, else they turn blue or orange.
    """
    if amount <= 0 or weight.sum() < 16:
        return face
    sigma = LIGHT_SIZE * width
    wanted = blur_weighted(np.maximum(target, 0), weight, sigma, aspect) + LIGHT_FLOOR
    own = blur_weighted(np.maximum(face, 0), weight, sigma, aspect) + LIGHT_FLOOR
    gain = np.log(np.clip(wanted / own, 1 / LIGHT_GAIN_LIMIT, LIGHT_GAIN_LIMIT))
    light = np.log((wanted @ LUMA_WEIGHTS) / (own @ LUMA_WEIGHTS))[..., None]
    skin = np.clip((gain - light) @ SKIN_TINT, -TINT_LIMIT, TINT_LIMIT)[..., None] * SKIN_TINT
    pale = np.clip(1.25 * _compute_saturation(face) / np.maximum(_compute_saturation(own), 0.05), NEUTRAL_SHARE, 1)[
        ..., None
    ]
    gain = gain - (1 - pale) * skin
    return np.asarray((face + LIGHT_FLOOR) * np.exp(np.float32(amount) * gain) - LIGHT_FLOOR, np.float32)


def _compute_saturation(picture: np.ndarray) -> np.ndarray:
    top = picture.max(-1)
    return np.clip((top - picture.min(-1)) / (np.maximum(top, 0) + 2 * LIGHT_FLOOR), 0, 1)


def measure_texture(display: np.ndarray, weight: np.ndarray, width: float) -> tuple[float, ...]:
    """(BANDS + GRAIN_BANDS) numbers: strength of each band of detail on the skin, then of the grain in the finest
    ones, in display units. weight: (h, w), where skin is. All zero where there is too little skin to say."""
    sure = _find_sure_skin(weight)
    if sure.sum() < 64:
        return (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT)
    bands = _split_bands(display @ LUMA_WEIGHTS)
    grain = [_measure_noise(band, sure) for band in bands[:GRAIN_BAND_COUNT]]
    return (*_measure_strengths(bands, sure), *grain)


def _find_sure_skin(weight: np.ndarray) -> np.ndarray:
    return cv2.erode((weight > 0.7).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _measure_strengths(bands: Sequence[np.ndarray], sure: np.ndarray) -> tuple[float, ...]:
    strengths = []
    for band in bands:
        values = np.abs(band[sure])
        limit = np.percentile(values, 99.5)  # a glint or the frame of glasses shall not set the whole face's sharpness
        strengths.append(float(np.sqrt(np.mean(np.minimum(values, limit) ** 2))))
    return tuple(strengths)


def average_textures(measured: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Mean over frames, those without skin left out."""
    known = [values for values in measured if values[0] > 0]
    if not known:
        return (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT)
    return tuple(float(value) for value in np.mean(known, axis=0))


def match_texture(
    face: np.ndarray,
    weight: np.ndarray,
    wanted: Sequence[float],
    width: float,
    sharpness: float,
    grain: float,
    seed: tuple[int, int],
) -> np.ndarray:
    """`face` (h, w, 3) with the plate's sharpness and grain.

    wanted: what `measure_texture` gave for the plate. sharpness: 0..1, how much detail is brought to the plate's.
    grain: how much of the missing grain is added. seed: the artist's number and the frame's: the same pair, the same
    grain.
    """
    own = measure_texture(face, weight, width)
    if not own[0] or len(wanted) != len(own) or not wanted[0]:
        return face
    signal = _subtract_grain(wanted)
    softer = min(1.0, signal[0] / _subtract_grain(own)[0]) ** sharpness
    if softer < 1:
        face = _soften_face(face, _find_sure_skin(weight), softer)
        own = measure_texture(face, weight, width)
    present = _subtract_grain(own)
    gains = np.clip(signal / present, MIN_BAND_GAIN, MAX_BAND_GAIN) ** (sharpness * np.array(BAND_SHARES))
    bands = _split_bands(face)
    result = face + sum(np.float32(gain - 1) * band for gain, band in zip(gains, bands, strict=True))
    left = gains[:GRAIN_BAND_COUNT] * own[BAND_COUNT:]
    missing = np.sqrt(np.maximum(np.square(wanted[BAND_COUNT:]) - left**2, 0))
    if grain > 0 and missing.any():
        result = result + np.float32(grain) * _make_grain(face.shape[:2], missing, seed)
    return np.asarray(result, np.float32)


def _subtract_grain(measured: Sequence[float]) -> np.ndarray:
    """(BANDS,) strengths of what `measure_texture` gave, the grain's share taken out."""
    grain = np.zeros(BAND_COUNT)
    grain[:GRAIN_BAND_COUNT] = measured[BAND_COUNT:]
    return np.sqrt(np.maximum(np.square(measured[:BAND_COUNT]) - grain**2, 1e-9))


def _soften_face(face: np.ndarray, sure: np.ndarray, share: float) -> np.ndarray:
    """`face` blurred until `share` of its finest detail is left, grain not counted: what a lens or a codec has softened
    lacks detail of every size, in a proportion that single bands do not meet."""
    luma = face @ LUMA_WEIGHTS
    left = []
    for sigma in BLUR_SIGMAS:
        band = _split_bands(cv2.GaussianBlur(luma, (0, 0), sigma) if sigma else luma)[0]
        left.append(np.sqrt(max(_measure_strengths([band], sure)[0] ** 2 - _measure_noise(band, sure) ** 2, 1e-9)))
    sigma = float(np.interp(-np.log(share * left[0]), -np.log(left), BLUR_SIGMAS))
    return cv2.GaussianBlur(face, (0, 0), sigma) if sigma > BLUR_SIGMAS[1] / 2 else face


def _split_bands(picture: np.ndarray) -> list[np.ndarray]:
    """Differences of Gaussians, finest first; what is coarser than the last is left out."""
    levels = [picture, *(cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in BAND_SIGMAS)]
    return [finer - coarser for finer, coarser in pairwise(levels)]


def _measure_noise(band: np.ndarray, sure: np.ndarray) -> float:
    """Deviation of the band where the skin is flattest: the lower quarter of small blocks."""
    size = 8
    count = cv2.boxFilter(sure.astype(np.float32), -1, (size, size))
    energy = cv2.boxFilter(np.where(sure, band, 0).astype(np.float32) ** 2, -1, (size, size))
    whole = count > 0.99
    if whole.sum() < 16:
        return 0.0
    return float(np.sqrt(np.percentile(energy[whole], 25))) / QUARTER_BIAS


def _make_grain(shape: tuple[int, int], deviations: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Grain (h, w, 3) with a deviation per band, mostly the same in all channels, as film and sensors have it."""
    random = np.random.Generator(np.random.PCG64(seed))
    noise = random.standard_normal((*shape, 4), np.float32)
    noise = np.float32(0.85) * noise[..., :1] + np.float32(0.53) * noise[..., 1:]
    bands = _split_bands(noise)[:GRAIN_BAND_COUNT]
    shares = deviations / [max(float(band.std()), 1e-6) for band in bands]
    for _ in range(4):  # bands overlap: what one adds, the others measure too
        luma = sum(np.float32(share) * (band @ LUMA_WEIGHTS) for share, band in zip(shares, bands, strict=True))
        shares = (
            shares
            * deviations
            / [max(float(band.std()), 1e-6) for band in _split_bands(np.asarray(luma))[:GRAIN_BAND_COUNT]]
        )
    return np.asarray(sum(np.float32(share) * band for share, band in zip(shares, bands, strict=True)))
