"""Plate match: the new face brought to the plate's sharpness and grain before it is blended.

All on display-like pictures. The plate is measured on the target's own skin (by the mask stage, averaged over
neighbouring frames), the new face on itself; the difference is removed or added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import cv2
import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matte, Plane, Vector
from fsgan_core.stages.image_ops import HALF_COVERED, blur_weighted, weigh

# Sharpness.
EDGE_SIGMA, EDGE_PREBLUR = 2.5, 0.5  # pixels: blur that shows how steep an edge is; blur against noise
STRONG_EDGES, SHARP_EDGES = 85.0, 75.0  # percentiles: of all gradients; of the strong edges' steepness
RIDGE = 0.98  # share of the largest gradient around, from which on a pixel is the middle of an edge
MIN_BLUR_CHANGE = 0.2  # pixels
CLEAR_FALL = 0.3  # share of its fine contrast that a blurred picture lacks, from which on the blur is sure
MIN_STRENGTH = 1e-6
SOFTENED_SHARE = 0.8  # of the blur that the plate's edges ask for: its detail mostly asks for less
SAME_BLUR = 0.4  # squared pixels: blurs that differ by less may be equal
KEPT_GAIN = 2.0  # what is the plate's own by half or more is not sharpened
MAX_GAIN = 2.0  # of a band of detail: a larger gain would bring up noise
BAND_SIGMAS = (0.7, 1.4, 2.8)  # pixels of the plate: coarse ends of the bands of detail, finest first
BAND_FREQUENCIES = (2.8, 1.37, 0.69)  # radians for each pixel: where these bands have most
BAND_COUNT = len(BAND_SIGMAS)
GLINT_PERCENTILE = 97.0  # a glint or the frame of glasses does not set the contrast of the features
SURE_SKIN = 0.7  # weight from which on a pixel is surely skin
MIN_TEXTURE_PIXELS = 64  # pixels of skin: fewer say nothing about texture
MIN_VARIANCE = 1e-9

# Darks.
DARK_PREBLUR = 1.2  # pixels: grain is no dark
DARK_SIGMA = 0.05  # of the face: blur that continues the skin over its features
DARK_PERCENTILES = (90.0, 98.0)  # of how much darker than skin the features are: usual darks, and the darkest
SHINE_PERCENTILE = 80.0  # of skin: what is brighter is shine, beside which no feature is darker
MIN_DARK = 0.02  # display value: shallower darks say nothing
DARK_SHARE = 0.5  # of the difference, as a logarithm; the rest may be the person's
MAX_DARK_GAIN = 1.5

# Grain.
GRAIN_BAND_COUNT = 2
NOISE_BLOCK = 8  # pixels: side of a block in which noise is measured
FULL_BLOCK = 0.99  # share of skin in a block that counts
MIN_BLOCKS = 16
NOISE_PERCENTILE = 25  # of the blocks' energies: the flattest skin shows noise alone
QUARTER_BIAS = 0.92  # share of the true deviation that this percentile shows on pure noise
CHANGE_PERCENTILE, HALF_BIAS = 50, 0.99  # the same, of what changes from frame to frame: that shows no texture
SHARED_GRAIN, CHANNEL_GRAIN = 0.85, 0.53  # parts of the grain that all channels share, and that each has by itself
GRAIN_ROUNDS = 4
MIN_GRAIN_DEVIATION = 1e-6
GRAIN_REACH = 24  # pixels: beyond it no band of grain remembers a point
TEXTURE_LENGTH = BAND_COUNT + GRAIN_BAND_COUNT + 1

# Texture of the skin.
SKIN_SIGMA, MIN_SKIN_SIGMA = 0.03, 4.0  # of the face; pixels: the surroundings in which texture is compared
PRIOR_WEIGHT, ENERGY_PIXELS = 0.01, 2  # of the mean of all skin, of that of a pixel of skin; pixels for each sigma
TEXTURE_SIZE = 0.7  # mm: sigma of a band that counts as texture; from twice that on it is wrinkles and shape
GRAIN_SIZE = 1.0  # mm: likewise of the bands that hold grain; in a small face they hold features of the target
FACE_WIDTH = 144.0  # mm
ODD_CONTRAST = 2.5  # times the skin's usual contrast, from which on it is no plain skin
MIN_KEPT = 0.5  # of the face's own texture
LINE_SIGMA = 3.0  # pixels: around which lines show as such
LINE_COHERENCE = (0.35, 0.6)  # of the structure tensor: texture of skin up to the first, a line from the second on


def match_darks(
    face: Image,
    plate: Image,
    plain: Matte,
    features: Matte,
    finished: Matte,
    width: float,
    aspect: float,
    amount: float,
) -> Image:
    """Bring a face's features towards the darks of the plate's.

    A veil of stray light, or light from everywhere, leaves a face without darks. What is darker than the skin around
    gets darker, half by a factor and half away from that skin's colour: so lips keep theirs, and no halo arises. A
    plate that is soft or small has none either: what is darker than its darkest (black brows) looks pasted, and comes
    half way to it, towards the skin's colour.

    Args:
        face: The new face, in perceptual steps.
        plate: The plate, in perceptual steps.
        plain: Where both have plain skin, 0..1.
        features: Where both show lids, lips and nostrils, 0..1: in these every face has shadows.
        finished: Where the face has the plate's contrast, 0..1: it stays.
        width: Of the face, in square pixels.
        aspect: Width of a pixel over its height.
        amount: How much of the change is made, 0..1.
    """
    sure, sure_skin = features > HALF_COVERED, plain > SURE_SKIN
    if amount <= 0 or sure.sum() < MIN_TEXTURE_PIXELS or not sure_skin.any():
        return face
    depths, skin = [], face
    for picture in (plate, face):
        luma = picture @ LUMA_WEIGHTS
        usual = max(float(np.percentile(luma[sure_skin], SHINE_PERCENTILE)), MIN_STRENGTH)  # a plate may be black
        shine = np.maximum(luma / usual, 1)
        skin = blur_weighted(weigh(picture, 1 / shine), plain, DARK_SIGMA * width, aspect)
        depths.append(skin @ LUMA_WEIGHTS - cv2.GaussianBlur(luma, (0, 0), DARK_PREBLUR))
    (wanted, darkest), (own, _) = (np.percentile(depth[sure], DARK_PERCENTILES) for depth in depths)
    gain = float(np.clip((wanted / max(float(own), MIN_DARK)) ** DARK_SHARE, 1, MAX_DARK_GAIN)) - 1
    depth = np.maximum(depths[1], MIN_STRENGTH)
    more = np.minimum(gain, (darkest / depth - 1) / 2) * (depths[1] > 0)
    lighter = weigh(face, skin @ LUMA_WEIGHTS / np.maximum(luma, MIN_STRENGTH)) - face
    # What is black has no hue that could be made brighter.
    away = np.where(more[..., None] > 0, (lighter + skin - face) / 2, skin - face)
    change = weigh(away, np.float32(amount) * (1 - plain) * (1 - finished) * more)
    return np.asarray(np.where(face > 0, np.maximum(face - change, 0), face), np.float32)


def measure_texture(display: Image, weight: Matte, plain: Matte) -> tuple[float, ...]:
    """Measure contrast, grain and blur of a face.

    Args:
        display: The picture, display-like.
        weight: Where the face is, 0..1.
        plain: Where a face has plain skin and no features, 0..1.

    Returns:
        `BAND_COUNT` strengths of the features' detail, finest first, then `GRAIN_BAND_COUNT` deviations of the grain,
        display values, then the sigma of the blur of its edges, pixels. All zero if too little is seen.
    """
    luma = np.asarray(display @ LUMA_WEIGHTS, np.float32)
    return _measure_luma(luma, _split_bands(luma), weight, plain)


def _measure_luma(luma: Plane, bands: Sequence[Plane], weight: Matte, plain: Matte) -> tuple[float, ...]:
    """`measure_texture` of a luma and its bands."""
    sure = _find_sure_skin(weight)
    features = sure & (plain < HALF_COVERED)
    if features.sum() < MIN_TEXTURE_PIXELS:
        return (0.0,) * TEXTURE_LENGTH
    grain = [_measure_noise(band, sure) or 0.0 for band in bands[:GRAIN_BAND_COUNT]]
    return (*_measure_strengths(bands, features), *grain, _measure_blur(luma, sure))


def measure_changing_grain(now: Plane, other: Plane, weight: Matte) -> tuple[float, ...]:
    """Measure the grain that changes from one frame to another: what both share would boil as soon as it were grain.

    Args:
        now: Luma of a frame, display values.
        other: Luma of another frame, moved to where the face is now by whole pixels, which leaves its grain as it is.
        weight: Where both show the face, 0..1.

    Returns:
        `GRAIN_BAND_COUNT` deviations, display values; () if too little is seen.
    """
    sure = _find_sure_skin(weight)
    bands = _split_bands(np.asarray((now - other) / np.sqrt(2), np.float32))[:GRAIN_BAND_COUNT]
    found = [_measure_noise(band, sure, CHANGE_PERCENTILE, HALF_BIAS) for band in bands]
    return () if any(value is None for value in found) else tuple(float(value or 0.0) for value in found)


def add_changing_grain(texture: Sequence[float], changing: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Add the mean of what changes from frame to frame to a texture; without such measurements it stays as it is."""
    known = [values for values in changing if values]
    return (*texture, *(float(value) for value in np.mean(known, axis=0))) if known else tuple(texture)


def _measure_blur(luma: Plane, sure: Mask) -> float:
    """Sigma of the blur of a picture's sharpest strong edges, pixels, by what more blur does to their gradient.

    An edge of blur s that is blurred by a and by b has gradients in the ratio sqrt((s^2 + b^2) / (s^2 + a^2)) (Zhuo and
    Sim 2011).
    """
    sharp, soft = (
        _measure_gradient(np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma))) for sigma in (EDGE_PREBLUR, EDGE_SIGMA)
    )
    edges = sure & (soft >= np.percentile(soft[sure], STRONG_EDGES))
    edges &= sharp >= RIDGE * cv2.dilate(sharp, np.ones((3, 3), np.uint8))
    if not edges.any():
        return 0.0
    fall = max(float(np.percentile(sharp[edges] / np.maximum(soft[edges], MIN_VARIANCE), SHARP_EDGES)) ** 2, 1 + 1e-3)
    return float(np.sqrt(max((EDGE_SIGMA**2 - EDGE_PREBLUR**2 * fall) / (fall - 1), 0)))


def _measure_gradient(picture: Plane) -> Plane:
    return np.hypot(*(cv2.Sobel(picture, cv2.CV_32F, x, 1 - x, ksize=1) for x in (1, 0)))


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
        return (0.0,) * TEXTURE_LENGTH
    return tuple(float(value) for value in np.mean(known, axis=0))


def match_texture(
    face: AnyArray,
    weight: Matte,
    plate_texture: Sequence[float],
    skin: PlateSkin,
    sharpness: float,
    grain: float,
    seed: GrainSeed,
    kept: Matte | None = None,
) -> Image:
    """Give a face the plate's sharpness, fine texture and grain.

    Args:
        face: The new face, display-like.
        weight: Where the face is, 0..1.
        plate_texture: `measure_texture` of the plate, perhaps with `add_changing_grain`.
        skin: The plate's skin.
        sharpness: How far detail is brought to the plate's, 0..1.
        grain: How much of the missing grain is added, 0..1.
        seed: Of the grain.
        kept: Where the face is the plate's own, 0..1, and so as sharp as the plate already. None is nowhere.
    """
    lumas = _split_bands(luma := np.asarray(face @ LUMA_WEIGHTS, np.float32))
    own = _measure_luma(luma, lumas, weight, skin.plain)
    changing = np.asarray(plate_texture[TEXTURE_LENGTH:])
    if not own[0] or len(plate_texture) < len(own) or not plate_texture[0]:
        return face
    plate_texture = plate_texture[:TEXTURE_LENGTH]
    more_blur = plate_texture[-1] ** 2 - own[-1] ** 2
    contrast = _compare_contrast(plate_texture, own)
    sureness = float(np.clip((1 - contrast[0] / contrast[-1]) / CLEAR_FALL, 0, 1))
    softening = SOFTENED_SHARE * sharpness * more_blur * sureness
    if softening > MIN_BLUR_CHANGE**2:
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), float(np.sqrt(softening))))
        lumas = _split_bands(luma := np.asarray(face @ LUMA_WEIGHTS, np.float32))
        own = _measure_luma(luma, lumas, weight, skin.plain)
        contrast = _compare_contrast(plate_texture, own)
    # Sharpening undoes the larger blur, but no contrast of features beyond the plate's.
    undo = np.exp(0.5 * np.square(BAND_FREQUENCIES) * max(SAME_BLUR - more_blur, 0))
    gains = np.clip(np.minimum(contrast, undo), 1, MAX_GAIN) ** sharpness
    bands = _split_bands(face)
    smooth = skin.plain * _find_plain_texture(lumas, skin.plain)
    result = face.astype(np.float32)
    if (gains > 1).any():
        # Sharpening of skin would bring up noise and nothing else.
        sharpened, detail = 1 - skin.plain, bands
        if kept is not None:
            around = 1 - np.minimum(KEPT_GAIN * cv2.dilate(kept, np.ones((3, 3), np.uint8)), 1)
            sharpened = sharpened * around
            # The edge of a dark mouth is as sharp as the plate's: sharpened, its lips would get a pale rim.
            lighter = np.maximum(blur_weighted(face, around, BAND_SIGMAS[-1]) - face, 0)
            detail = _split_bands(face + weigh(lighter, 1 - around))
        for band, more in zip(detail, gains - 1, strict=True):
            result += weigh(band, sharpened * more)
    cover = np.zeros_like(smooth)
    if skin.amount > 0:
        finer, cover = match_skin(bands, lumas, smooth, skin)
        result += finer
    left = np.asarray(own[BAND_COUNT:-1])
    missing = np.sqrt(np.maximum(np.square(plate_texture[BAND_COUNT:-1]) - left**2, 0))
    if len(changing) == GRAIN_BAND_COUNT:
        missing = np.minimum(missing, changing)
    if grain > 0 and missing.any():
        noise = _make_grain(seed, missing)
        result = result + weigh(noise, np.float32(grain) * (1 - cover))
    return np.asarray(result, np.float32)


def _compare_contrast(plate_texture: Sequence[float], own: Sequence[float]) -> Vector:
    """How many times stronger the plate's features are than a face's, (BAND_COUNT,)."""
    return np.asarray(plate_texture[:BAND_COUNT]) / np.maximum(own[:BAND_COUNT], MIN_STRENGTH)


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

    @property
    def sigma(self) -> float:
        """Of the surroundings in which texture is compared, pixels."""
        return max(MIN_SKIN_SIGMA, SKIN_SIGMA * self.width)

    @cached_property
    def lumas(self) -> list[Plane]:
        """The bands of the plate's luma."""
        return _split_bands(np.asarray(self.picture @ LUMA_WEIGHTS))


@dataclass(frozen=True)
class GrainSeed:
    """Which grain a picture gets: a part of that of a larger picture, so that it does not depend on the part.

    Attributes:
        numbers: The artist's number and the frame's; the same pair gives the same grain.
        shape: (height, width) of the larger picture.
        part: Rows and columns of the picture in it.
    """

    numbers: tuple[int, int]
    shape: tuple[int, int]
    part: tuple[slice, slice] = (slice(None), slice(None))


def match_skin(
    own: Sequence[Image], own_lumas: Sequence[Plane], smooth: Matte, plate: PlateSkin
) -> tuple[Image, Matte]:
    """Bring the fine texture of a face's skin to that of the plate's skin, band by band, place by place.

    Texture that the face lacks is taken from the plate; what it has too much of is reduced. Where the plate shows more
    than skin (hair, frames of glasses, a scar, stubble) or a line (a wrinkle, a pale rim), it gives nothing; where the
    face does, it keeps it.

    Returns:
        The change of the face, and where it is as rough as the plate now, 0..1.
    """
    bands, lumas = _split_bands(plate.picture), plate.lumas
    usable = plate.plain * _find_plain_texture(lumas, plate.plain) * (1 - _find_lines(plate.picture @ LUMA_WEIGHTS))
    ratios = _measure_energies(lumas, usable, plate.sigma) / np.maximum(
        _measure_energies(own_lumas, smooth, plate.sigma), MIN_VARIANCE
    )
    change, cover = np.zeros_like(bands[0]), np.zeros_like(usable)
    for k, coarse in enumerate(BAND_SIGMAS):
        ratio = ratios[..., k]
        size = coarse * FACE_WIDTH / plate.width
        is_grain = k < GRAIN_BAND_COUNT
        share = float(np.clip(2 - size / (GRAIN_SIZE if is_grain else TEXTURE_SIZE), 0, 1))
        less = np.float32(1.0 if is_grain else share) * smooth * (np.sqrt(np.clip(ratio, MIN_KEPT**2, 1)) - 1)
        change += weigh(own[k], np.float32(plate.amount) * less)
        if share > 0:
            more = np.float32(share * plate.amount) * usable * np.sqrt(1 - 1 / np.maximum(ratio, 1))
            change += weigh(bands[k], more)
            if is_grain:
                cover += np.float32(share / GRAIN_BAND_COUNT * plate.amount) * usable
    return change, cover


def _measure_energies(bands: Sequence[Plane], weight: Matte, sigma: float) -> Image:
    """Energy of each band around each pixel of what has weight; where nothing has, the band's mean."""
    energies = [band * band for band in bands]
    counted = weight + np.float32(MIN_VARIANCE)
    total = weight + np.float32(PRIOR_WEIGHT)
    filled = [
        (energy * weight + np.float32(PRIOR_WEIGHT * np.vdot(counted, energy) / counted.sum())) / total
        for energy in energies
    ]
    return blur_weighted(np.asarray(cv2.merge(filled)), total, sigma, pixels_per_sigma=ENERGY_PIXELS)


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
    return np.asarray(cv2.GaussianBlur(1 / (1 + odd**2), (0, 0), BAND_SIGMAS[-1]), np.float32)


def _find_lines(luma: Plane) -> Matte:
    """Where a picture has one direction: wrinkles, rims of glasses and hair, not pores, 0..1.

    By the coherence of the structure tensor (Weickert 1999).
    """
    smooth = cv2.GaussianBlur(luma, (0, 0), BAND_SIGMAS[0]) - cv2.GaussianBlur(luma, (0, 0), BAND_SIGMAS[-1])
    x, y = (cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), LINE_SIGMA) for product in (x * x, y * y, x * y))
    coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / np.maximum(xx + yy, MIN_VARIANCE)
    low, high = LINE_COHERENCE
    lines = np.clip((coherence - low) / (high - low), 0, 1)
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), BAND_SIGMAS[-1]), np.float32)


def _split_bands(picture: Image, count: int = BAND_COUNT) -> list[Image]:
    """Differences of Gaussians, finest first, without what is coarser than the last (Burt and Adelson 1983)."""
    levels = [picture, *(cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in BAND_SIGMAS[:count])]
    return [finer - coarser for finer, coarser in pairwise(levels)]


def _measure_noise(
    band: Plane, sure: Mask, percentile: float = NOISE_PERCENTILE, bias: float = QUARTER_BIAS
) -> float | None:
    """Deviation of a band in small blocks of skin, by a percentile; None if there are too few blocks."""
    size = NOISE_BLOCK
    count = cv2.boxFilter(sure.astype(np.float32), -1, (size, size))
    energy = cv2.boxFilter(np.where(sure, band, 0).astype(np.float32) ** 2, -1, (size, size))
    whole = count > FULL_BLOCK
    if whole.sum() < MIN_BLOCKS:
        return None
    return float(np.sqrt(np.percentile(energy[whole], percentile))) / bias


def _make_grain(seed: GrainSeed, deviations: Vector) -> Image:
    """Grain (height, width, 3) with a deviation for each band, mostly the same in all channels, as in film."""
    generator = np.random.Generator(np.random.PCG64(seed.numbers))
    noise = generator.standard_normal((seed.part[0].stop or seed.shape[0], seed.shape[1], 4), np.float32)[seed.part]
    shared, *own = cv2.split(noise)
    shared = np.float32(SHARED_GRAIN) * shared
    noise = np.asarray(cv2.merge([shared + np.float32(CHANNEL_GRAIN) * plane for plane in own]), np.float32)
    bands = _split_bands(noise, GRAIN_BAND_COUNT)
    alone, together = _measure_grain_energies()
    shares = deviations / np.sqrt(alone)
    for _ in range(GRAIN_ROUNDS):  # bands overlap, so what one adds the others measure too
        shares = shares * deviations / np.maximum(np.sqrt(shares @ together @ shares), MIN_GRAIN_DEVIATION)
    return np.asarray(sum(np.float32(share) * band for share, band in zip(shares, bands, strict=True)))


@cache
def _measure_grain_energies() -> tuple[Vector, AnyArray]:
    """What each band holds of grain, (n,), and (n, n, n) of the luma of pairs of bands: x @ it @ x for weights x."""
    side = 2 * GRAIN_REACH + 1
    point = np.zeros((side, side), np.float32)  # white noise goes through a filter as its answer to a point says
    point[GRAIN_REACH, GRAIN_REACH] = 1
    answers = [_split_bands(band, GRAIN_BAND_COUNT) for band in _split_bands(point, GRAIN_BAND_COUNT)]
    luma = SHARED_GRAIN**2 + CHANNEL_GRAIN**2 * float(LUMA_WEIGHTS @ LUMA_WEIGHTS)
    alone = [float((band**2).sum()) for band in _split_bands(point, GRAIN_BAND_COUNT)]
    together = [
        [[luma * float((one[band] * other[band]).sum()) for other in answers] for one in answers]
        for band in range(GRAIN_BAND_COUNT)
    ]
    return (SHARED_GRAIN**2 + CHANNEL_GRAIN**2) * np.array(alone), np.array(together)
