"""Plate match: the new face brought to the plate's sharpness and grain before it is blended.

All on display-like pictures. The plate is measured on the target's own skin (by the mask stage, averaged over
neighbouring frames), the new face on itself; the difference is removed or added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matte, Plane, Vector
from fsgan_core.stages.image_ops import HALF_COVERED, blur_weighted

# Detail and grain.
BAND_SIGMAS = (0.7, 1.4, 2.8)  # pixels of the plate: coarse ends of the bands of detail, finest first
BAND_SHARES = (1.0, 1.0, 0.5)  # of a band that is matched: coarse bands are more the face than the lens
MIN_BAND_GAIN, MAX_BAND_GAIN = 0.15, 2.0  # a larger gain would bring up noise
BLUR_SIGMAS = (0.0, 0.4, 0.6, 0.8, 1.1, 1.5, 2.0, 2.8)  # pixels: blurs tried to bring a face to a softer plate
BAND_COUNT = len(BAND_SIGMAS)
GRAIN_BAND_COUNT = 2
SURE_SKIN = 0.7  # weight from which on a pixel is surely skin
MIN_TEXTURE_PIXELS = 64  # pixels of skin: fewer say nothing about texture
GLINT_PERCENTILE = 97.0  # a glint or the frame of glasses does not set the sharpness of the whole face
MIN_VARIANCE = 1e-9
NOISE_BLOCK = 8  # pixels: side of a block in which noise is measured
FULL_BLOCK = 0.99  # share of skin in a block that counts
MIN_BLOCKS = 16
NOISE_PERCENTILE = 25  # of the blocks' energies: the flattest skin shows noise alone
QUARTER_BIAS = 0.92  # share of the true deviation that this percentile shows on pure noise
SHARED_GRAIN, CHANNEL_GRAIN = 0.85, 0.53  # parts of the grain that all channels share, and that each has by itself
GRAIN_ROUNDS = 4
MIN_GRAIN_DEVIATION = 1e-6

# Texture of the skin.
SKIN_SIGMA, MIN_SKIN_SIGMA = 0.03, 4.0  # of the face; pixels: the surroundings in which texture is compared
PRIOR_WEIGHT = 0.01  # of the mean of all skin, of that of a pixel of skin
TEXTURE_SIZE = 0.7  # mm: sigma of a band that counts as texture; from twice that on it is wrinkles and shape
FACE_WIDTH = 144.0  # mm
ODD_CONTRAST = 2.5  # times the skin's usual contrast, from which on it is no plain skin
MIN_KEPT = 0.5  # of the face's own texture


def measure_texture(display: Image, weight: Matte, plain: Matte) -> tuple[float, ...]:
    """Measure the detail of the features and the grain on a face.

    Args:
        display: The picture, display-like.
        weight: Where the face is, 0..1.
        plain: Where a face has plain skin and no features, 0..1.

    Returns:
        `BAND_COUNT` strengths of the features' detail, finest first, then `GRAIN_BAND_COUNT` deviations of the grain,
        display values. All zero if too little is seen.
    """
    sure = _find_sure_skin(weight)
    features = sure & (plain < HALF_COVERED)
    if features.sum() < MIN_TEXTURE_PIXELS:
        return (0.0,) * (BAND_COUNT + GRAIN_BAND_COUNT)
    bands = _split_bands(display @ LUMA_WEIGHTS)
    grain = [_measure_noise(band, sure) for band in bands[:GRAIN_BAND_COUNT]]
    return (*_measure_strengths(bands, features), *grain)


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
    skin: PlateSkin,
    sharpness: float,
    grain: float,
    seed: tuple[int, int],
) -> Image:
    """Give a face the plate's sharpness, fine texture and grain.

    Args:
        face: The new face, display-like.
        weight: Where the face is, 0..1.
        plate_texture: `measure_texture` of the plate.
        skin: The plate's skin.
        sharpness: How far detail is brought to the plate's, 0..1.
        grain: How much of the missing grain is added, 0..1.
        seed: The artist's number and the frame's; the same pair gives the same grain.
    """
    own = measure_texture(face, weight, skin.plain)
    if not own[0] or len(plate_texture) != len(own) or not plate_texture[0]:
        return face
    signal = _subtract_grain(plate_texture)
    softer = min(1.0, signal[0] / _subtract_grain(own)[0]) ** sharpness
    if softer < 1:
        face = _soften_face(face, _find_sure_skin(weight) & (skin.plain < HALF_COVERED), softer)
        own = measure_texture(face, weight, skin.plain)
    gains = np.clip(signal / _subtract_grain(own), MIN_BAND_GAIN, MAX_BAND_GAIN) ** (sharpness * np.array(BAND_SHARES))
    bands = _split_bands(face)
    lumas = [band @ LUMA_WEIGHTS for band in bands]
    smooth = skin.plain * _find_plain_texture(lumas, skin.plain)
    # Sharpening of smooth skin would bring up noise and nothing else.
    result = face + (1 - smooth)[..., None] * sum(
        np.float32(gain - 1) * band for gain, band in zip(gains, bands, strict=True)
    )
    cover: Matte | np.float32 = np.float32(0)
    if skin.amount > 0:
        change, cover = match_skin(bands, lumas, smooth, skin)
        result = result + change
    left = gains[:GRAIN_BAND_COUNT] * own[BAND_COUNT:]
    missing = np.sqrt(np.maximum(np.square(plate_texture[BAND_COUNT:]) - left**2, 0))
    if grain > 0 and missing.any():
        noise = _make_grain(face.shape[:2], missing, seed)
        result = result + np.float32(grain) * np.sqrt(1 - np.square(cover))[..., None] * noise
    return np.asarray(result, np.float32)


@dataclass(frozen=True)
class PlateSkin:
    """The plate's skin, whose fine texture a face is given.

    Attributes:
        picture: The plate, display-like.
        plain: Where both faces have plain skin and no features, 0..1.
        width: Of the face, in square pixels.
        amount: How far the face's texture is brought to the plate's, 0..1.
    """

    picture: Image
    plain: Matte
    width: float
    amount: float


def match_skin(
    own: Sequence[Image], own_lumas: Sequence[Plane], smooth: Matte, plate: PlateSkin
) -> tuple[Image, Matte]:
    """Bring the fine texture of a face's skin to that of the plate's skin, band by band, place by place.

    Texture that the face lacks is taken from the plate; what it has too much of is reduced. Where the plate shows more
    than skin (hair, frames of glasses, a scar, stubble), it gives nothing; where the face does, it keeps it.

    Returns:
        The change of the face, and how much of the plate's finest band it got, 0..1.
    """
    bands = _split_bands(plate.picture)
    lumas = [band @ LUMA_WEIGHTS for band in bands]
    sigma = max(MIN_SKIN_SIGMA, SKIN_SIGMA * plate.width)
    usable = plate.plain * _find_plain_texture(lumas, plate.plain)
    change, covers = np.zeros_like(bands[0]), []
    for k, coarse in enumerate(BAND_SIGMAS):
        wanted, present = (
            _measure_energy(luma, weight, sigma) for luma, weight in ((lumas[k], usable), (own_lumas[k], smooth))
        )
        ratio = wanted / np.maximum(present, MIN_VARIANCE)
        size = coarse * FACE_WIDTH / plate.width
        amount = plate.amount * (1.0 if k < GRAIN_BAND_COUNT else float(np.clip(2 - size / TEXTURE_SIZE, 0, 1)))
        kept = np.sqrt(np.clip(ratio, MIN_KEPT**2, 1))
        covers.append(np.float32(amount) * usable * np.sqrt(np.clip(1 - 1 / np.maximum(ratio, 1), 0, 1)))
        change += (np.float32(amount) * smooth * (kept - 1))[..., None] * own[k] + covers[k][..., None] * bands[k]
    return change, covers[0]


def _measure_energy(band: Plane, weight: Matte, sigma: float) -> Plane:
    """Energy around each pixel of what has weight; where nothing has, the mean."""
    energy = band**2
    usual = np.float32(np.average(energy, weights=weight + MIN_VARIANCE))
    prior = np.float32(PRIOR_WEIGHT)
    return blur_weighted((energy * weight + usual * prior) / (weight + prior), weight + prior, sigma)


def _find_plain_texture(bands: Sequence[Plane], skin: Matte) -> Matte:
    """Where a picture of skin has no more contrast than skin mostly has, 0..1."""
    sure = skin > SURE_SKIN
    if not sure.any():
        return np.zeros_like(skin)
    odd = np.zeros_like(skin)
    for band, sigma in zip(bands, BAND_SIGMAS, strict=True):
        energy = cv2.GaussianBlur(band**2, (0, 0), 2 * sigma)
        usual = max(float(np.median(energy[sure])), MIN_VARIANCE)
        odd = np.maximum(odd, energy / (usual * ODD_CONTRAST**2))
    return cv2.GaussianBlur(1 / (1 + odd**2), (0, 0), BAND_SIGMAS[-1])


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
