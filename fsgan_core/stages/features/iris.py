"""The colour of irises: measured over many pictures, and given to another person's eyes; whites that are no red.

An iris is measured against the white of the same eye, so that the light on the face and the colour of the lamp cancel
out. The new colour is one for a clip. Each frame gives the brightness alone: what reflects in an eye in some frames, or
in one eye, does not change its colour. Catchlights stay as they are, and so do whites, unless they are redder than the
skin: then they lay in the shade of glasses, say, and the new face has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Mesh, Plane, Points, Vector
from fsgan_core.stages.features.openings import (
    EYES,
    Eye,
    OpeningWindow,
    make_opening_window,
    measure_lid_openings,
    measure_ring_distance,
    measure_ring_width,
    soften_edge,
    square_points,
    trace_ring,
)
from fsgan_core.stages.image_ops import smoothstep, to_perceptual, to_scene_linear
from fsgan_core.stages.matching.light import PLAIN_SKIN, measure_surface

MIN_OPENING = 0.12  # of the eye's width: an eye less open tells no colour
OPEN_SHARE = 0.85  # of the usual opening: eyes less open are left out
MIN_PIXELS = 8  # of iris and of white, in one eye
CLEAR_SHARE = 0.4  # of the measured eyes, the darkest ones: those without a reflection
LIMBUS = 0.95  # of the mesh's iris radius: where the iris ends
IRIS_RING = (0.45, 0.8)  # of the iris's radius: neither pupil nor limbus
WHITE_BEGIN = 1.2  # of the iris's radius
LID_SHADOW = 0.04  # of the eye's width: this near to a lid nothing is measured
WHITE_PERCENTILES = (50.0, 95.0)  # of luma: the white without veins and shadows, and without glints
IRIS_PERCENTILE = 75.0  # of luma: what is brighter may be a catchlight

TINT_EDGE = (0.95, 1.15)  # of the iris's radius: from full tint to none
PUPIL_EDGE = (0.3, 0.5)  # of the iris's radius: a lighter iris does not lighten the pupil
TINTED_LUMA = (0.15, 0.75)  # of the way from the iris's luma to the white's: all of it is iris; none is
LUMA_GAINS = (0.3, 2.2)  # least and largest change of an iris's brightness
RED_WHITE = (1.05, 1.2)  # of the skin's red: up to there a white is plain; from there on it takes a plain white's hue
WHITE_GAINS = (0.2, 6.0)  # least and largest change of a channel of a red white
MIN_LINEAR = 1e-4  # linear values that are divided by at least
TYPICAL_IRIS_LUMA = 0.12  # of the white's
# Linear R, G, B of an iris under white light at luma 1, from light blue to brown. In a dark iris a channel may be lost
# in noise or compression; what is measured there would be a glowing orange.
LEAST_IRIS_COLOUR, MOST_IRIS_COLOUR = np.array([0.5, 0.8, 0.5]), np.array([1.6, 1.15, 1.7])


@dataclass(frozen=True)
class IrisColour:
    """The colour of a person's irises.

    Attributes:
        ratio: (3,) linear R, G, B of the iris over those of the white of the same eye.
        eyes: How many eyes were measured.
        white: (3,) linear colour of the white, of luma 1.
        lumas: (2,) luma of the right and the left iris over the white's, with their reflections.
        skin: (3,) linear colour of the face's skin, of luma 1.
    """

    ratio: Vector
    eyes: int
    white: Vector
    lumas: Vector
    skin: Vector

    @property
    def luma(self) -> float:
        """How light the iris is against the white: about 0.05 dark brown, 0.3 light blue."""
        return float(self.ratio @ LUMA_WEIGHTS)


@dataclass(frozen=True)
class IrisTint:
    """What gives one person's irises another person's colour.

    Attributes:
        colour: (3,) linear, of luma 1.
        gains: (2,) of the luma of the right and the left iris.
        amount: How much of the change is made, 0..1.
        white: (3,) linear colour of the target's white, of luma 1.
        white_gains: (3,) what gives that white a plain white's hue.
    """

    colour: Vector
    gains: Vector
    amount: float
    white: Vector
    white_gains: Vector


def measure_iris(pictures: Iterable[tuple[Image, Window, Mesh, float]]) -> IrisColour | None:
    """Measures the colour of a person's irises: the median over open eyes of many pictures, without those that reflect.

    Args:
        pictures: For each, the display-like picture, its window in the plate, the mesh in plate coordinates, and the
            width of a pixel over its height.

    Returns:
        The colour, or None if no eye is open and large enough.
    """
    found = [
        (opening, *colours, number, _measure_skin(display, window, mesh, aspect))
        for display, window, mesh, aspect in pictures
        for number, (eye, opening) in enumerate(zip(EYES, measure_lid_openings(mesh, aspect), strict=True))
        if opening > MIN_OPENING and (colours := _measure_eye(display, window, mesh, eye, aspect)) is not None
    ]
    if not found:
        return None
    usual = float(np.median([opening for opening, *_ in found]))
    open_ones = [(ratio, white, skin) for opening, ratio, white, _, skin in found if opening >= OPEN_SHARE * usual]
    ratios, whites, skins = (np.stack(values) for values in zip(*open_ones, strict=True))
    # Reflections and glare of lenses only add light: the darkest measurements have least of them.
    luma = ratios @ LUMA_WEIGHTS
    clear = _average(ratios[luma <= np.quantile(luma, CLEAR_SHARE)])
    sides = [[ratio @ LUMA_WEIGHTS for _, ratio, _, side, _ in found if side == number] for number in range(len(EYES))]
    lumas = [np.exp(np.median(np.log(side))) if side else clear @ LUMA_WEIGHTS for side in sides]
    white, skin = (_scale_to_luma(_average(colours)) for colours in (whites, skins))
    return IrisColour(clear, len(open_ones), white, np.array(lumas), skin)


def _scale_to_luma(colour: Vector) -> Vector:
    """A linear colour of luma 1."""
    return np.asarray(colour / max(float(colour @ LUMA_WEIGHTS), MIN_LINEAR))


def _average(colours: AnyArray) -> Vector:
    """The median of colours (n, 3) by channel, of their logarithms."""
    return np.asarray(np.exp(np.median(np.log(colours), axis=0)))


def compute_iris_tint(source: IrisColour | None, target: IrisColour | None, amount: float) -> IrisTint | None:
    """Computes what gives the target's irises the source's colour in the target's light.

    A lens may reflect in one eye of the target alone, so each eye has its own gain, and both get one colour.

    Args:
        source: Colour of the source's irises.
        target: Colour of the target's irises.
        amount: How much of the change is made, 0..1.

    Returns:
        None if there is no colour to give.

    >>> dark, light = (IrisColour(np.full(3, x), 4, np.ones(3), np.full(2, x), np.ones(3)) for x in (0.1, 0.2))
    >>> compute_iris_tint(light, dark, 1.0).gains.round(3).tolist()
    [2.0, 2.0]
    """
    if source is None or target is None or amount <= 0:
        return None
    white_gains = _compute_white_gains(target, amount)
    white = target.white * white_gains
    # Against a red white, a brown iris would be green.
    ratio = source.ratio / _compute_white_gains(source, 1.0)
    ratio = ratio / max(float(ratio @ LUMA_WEIGHTS), MIN_LINEAR)
    colour = np.clip(ratio, LEAST_IRIS_COLOUR, MOST_IRIS_COLOUR) * white
    gains = np.clip(source.luma / np.maximum(target.lumas, MIN_LINEAR), *LUMA_GAINS)
    return IrisTint(_scale_to_luma(colour), gains**amount, amount, target.white, white_gains)


def _compute_white_gains(eyes: IrisColour, amount: float) -> Vector:
    """Computes the gains (3,) that give a white which is redder than the skin a plain hue; 1 if it is plain.

    Args:
        eyes: With the colours of white and skin.
        amount: How much of the change is made, 0..1.
    """
    redness = np.asarray(eyes.white[0] / max(float(eyes.skin[0]), MIN_LINEAR))
    share = amount * float(smoothstep((redness - RED_WHITE[0]) / (RED_WHITE[1] - RED_WHITE[0])))
    if share == 0:
        return np.ones(3)
    # In the same light, a plain white is half as far from grey as skin.
    plain = _scale_to_luma(np.sqrt(np.maximum(eyes.skin, MIN_LINEAR)))
    # Colours of eyes that a picture hardly shows may be anything.
    gains = np.clip(plain / np.maximum(eyes.white, MIN_LINEAR), *WHITE_GAINS) ** share
    return np.asarray(gains / max(float(eyes.white * gains @ LUMA_WEIGHTS), MIN_LINEAR))


def tint_iris(
    display: Image, places: AnyArray, distance: Plane, mesh: Mesh, eye: Eye, aspect: float, tint: IrisTint
) -> Image:
    """Tints the iris of one eye; the catchlight stays, and so does the white, unless it is red.

    A pixel at the edge of the iris, or under a reflection, is changed by its share of the iris: by where its luma lies
    between those of iris and white.

    Args:
        display: Display-like picture of a window around the eye.
        places: (height, width, 2) its pixels' places in square pixels.
        distance: Into the lids' opening, square pixels.
        mesh: The eye in this picture, plate coordinates.
        eye: Which.
        aspect: Width of a pixel over its height.
        tint: The colour.
    """
    display = _give_plain_hue(display, distance, tint)
    gain = float(tint.gains[EYES.index(eye)])
    radius = _measure_radii(places, mesh, eye, aspect)
    linear = to_linear(display)
    luma = linear @ LUMA_WEIGHTS
    white = _measure_white(luma, radius, distance)
    iris = (radius < IRIS_RING[1]) & (radius > IRIS_RING[0]) & (distance > 0)
    own = min(float(np.median(luma[iris])) if iris.any() else 0.0, white)
    low, high = (own + share * (white - own) for share in TINTED_LUMA)
    disc = soften_edge(distance, -0.5, 0.5) * (1 - soften_edge(radius, *TINT_EDGE))
    matte = disc * (1 - soften_edge(luma, low, high))
    light = gain ** (matte * soften_edge(radius, *PUPIL_EDGE) if gain > 1 else matte)
    share = np.float32(tint.amount) * matte
    coloured = luma[..., None] * np.asarray(tint.colour, np.float32)
    tinted = light[..., None] * (linear + share[..., None] * (coloured - linear))
    changed = np.asarray(matte > 0)[..., None]
    change = to_perceptual(tinted, 0.0) - to_perceptual(linear, 0.0)
    return np.where(changed, display + change, display).astype(np.float32)


def _give_plain_hue(display: Image, distance: Plane, tint: IrisTint) -> Image:
    """Gives a red white a plain white's hue, inside the lids; what is less red changes less, a catchlight stays."""
    if (tint.white_gains == 1).all():
        return display
    linear = to_linear(display)
    redness = linear[..., 0] / np.maximum(linear @ LUMA_WEIGHTS.astype(np.float32), MIN_LINEAR)
    share = np.clip(np.log(np.maximum(redness, 1)) / max(float(np.log(tint.white[0])), MIN_LINEAR), 0, 1)
    gains = np.exp((soften_edge(distance, -0.5, 0.5) * share)[..., None] * np.log(tint.white_gains))
    return np.asarray(display + (to_perceptual(linear * gains, 0.0) - to_perceptual(linear, 0.0)), np.float32)


def _measure_skin(display: Image, window: Window, mesh: Mesh, aspect: float) -> Vector:
    """The linear colour of the plain skin of a face."""
    places = np.round(measure_surface(mesh, window, aspect).places[PLAIN_SKIN]).astype(int)
    x, y = np.clip(places, 0, (window.width - 1, window.height - 1)).T
    return np.maximum(np.median(to_linear(display[y, x]), axis=0), MIN_LINEAR)


def to_linear(display: Image) -> Image:
    """Converts display-like values to linear ones by the curve of sRGB; below 0 is 0."""
    return to_scene_linear(np.maximum(display, 0), 0.0)


def find_iris_disc(mesh: Mesh, eye: Eye, aspect: float) -> tuple[Points, float]:
    """Finds the middle (2,) and the radius of an iris in square pixels."""
    points = square_points(mesh, eye.iris, aspect)
    return points[0], LIMBUS * float(np.linalg.norm(points[1:] - points[0], axis=1).mean())


def _measure_radii(places: AnyArray, mesh: Mesh, eye: Eye, aspect: float) -> Plane:
    """Distance of each place from the middle of the iris over the iris's radius."""
    middle, radius = find_iris_disc(mesh, eye, aspect)
    return np.asarray(np.linalg.norm(places - middle, axis=-1) / max(radius, 1e-6), np.float32)


def _measure_eye(display: Image, window: Window, mesh: Mesh, eye: Eye, aspect: float) -> tuple[Vector, Vector] | None:
    """The ratio of iris and white of one eye, and the white's colour; None if it does not show them well."""
    ring = square_points(mesh, eye.lids, aspect)
    width = measure_ring_width(ring)
    part: OpeningWindow | None = make_opening_window(ring, 0.1 * width, window, aspect)
    if part is None:
        return None
    linear = to_linear(display[part.slices])
    luma = linear @ LUMA_WEIGHTS
    distance = measure_ring_distance(trace_ring(ring), part.places) - np.float32(LID_SHADOW * width)
    radius = _measure_radii(part.places, mesh, eye, aspect)
    iris = (distance > 0) & (radius > IRIS_RING[0]) & (radius < IRIS_RING[1])
    white = (distance > 0) & (radius > WHITE_BEGIN)
    if min(int(iris.sum()), int(white.sum())) < MIN_PIXELS:
        return None
    low, high = np.percentile(luma[white], WHITE_PERCENTILES)
    white &= (luma >= low) & (luma <= high)
    iris &= luma <= np.percentile(luma[iris], IRIS_PERCENTILE)
    colour = np.maximum(np.median(linear[white], axis=0).astype(np.float64), MIN_LINEAR)
    return np.maximum(np.median(linear[iris], axis=0) / colour, MIN_LINEAR), colour


def _measure_white(luma: Plane, radius: Plane, distance: Plane) -> float:
    """Luma of the eye's white; if none is seen, by the luma of a typical iris."""
    white = (distance > 0) & (radius > WHITE_BEGIN)
    if int(white.sum()) >= MIN_PIXELS:
        return float(np.percentile(luma[white], WHITE_PERCENTILES).mean())
    return float(np.median(luma[distance > 0])) / TYPICAL_IRIS_LUMA if (distance > 0).any() else 1.0
