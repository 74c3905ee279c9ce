"""Augment faces: mirror them, grade them, and degrade them as a worse camera would.

Pictures are float32 (height, width, 3), display-like, 0..1. One random `ColourGrade` and one `CameraWear` are applied
to all pictures of a pair: otherwise the network could not predict the target from its input.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from fsgan_core.contract.errors import InputError
from fsgan_core.faces import pose
from fsgan_core.faces.landmarkers import landmarks_wflw
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.runtime.arrays import AnyArray, Image, Points, Vector

__all__ = ["AugmentSettings", "CameraWear", "ColourGrade", "mirror_picture", "mirror_points"]


# For each landmark, the index of its mirror image: 68 of iBUG 300-W, 98 of WFLW.
MIRROR_ORDERS = {68: pose.MIRROR_ORDER, 98: landmarks_wflw.MIRROR_ORDER}


@dataclass(frozen=True)
class AugmentSettings:
    """How much faces are changed.

    Attributes:
        flip: Share of the faces that are mirrored, 0 to 1.
        exposure: Largest change of exposure in either direction, in stops.
        colour: Largest relative change of each channel's gain and of half the saturation, in either direction.
        contrast: Largest relative change of the exponent, in either direction.
        blur: Largest sigma of the blur, in pixels of a picture of 128 pixels.
        grain: Largest standard deviation of the grain, in units of 0..1.
        compression: Share of the pictures that are compressed as JPEG, 0 to 1.
        roll: Largest rotation of single faces in either direction, in degrees. Pairs vary by their landmarks.
        scale: Largest relative change of the size of single faces, in either direction.
        occluders: Share of the faces that get an object in front of them, 0 to 1.

    Raises:
        InputError: A value is out of range.
    """

    flip: float = 0.5
    exposure: float = 0.5
    colour: float = 0.1
    contrast: float = 0.15
    blur: float = 0.8
    grain: float = 0.02
    compression: float = 0.2
    roll: float = 0.0
    scale: float = 0.0
    occluders: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "flip": 1,
            "exposure": 4,
            "colour": 0.9,
            "contrast": 0.9,
            "blur": 10,
            "grain": 0.5,
            "compression": 1,
            "roll": 180,
            "scale": 0.5,
            "occluders": 1,
        }
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= limits[field.name]:
                raise InputError(
                    f"augment.{field.name} = {value} is out of range; it goes from 0 to {limits[field.name]}"
                )


@dataclass(frozen=True)
class ColourGrade:
    """A random grade, as from other light or another camera.

    Attributes:
        gain: Factor of each channel, float32 (3,).
        power: Exponent of all channels.
        saturation: Factor of the distance to grey.
    """

    gain: Vector
    power: float
    saturation: float

    @classmethod
    def draw_random(cls, augment: AugmentSettings, random: np.random.Generator) -> ColourGrade:
        """Draw a grade within the settings."""
        values = random.uniform(-1, 1, 6)
        # In display-like values a stop is a factor of about 2 ** (1 / 2.2).
        exposure = 2.0 ** (augment.exposure * values[0] / 2.2)
        gain = exposure * (1 + augment.colour * values[1:4])
        return cls(
            gain.astype(np.float32),
            float((1 + augment.contrast) ** values[4]),
            float(1 + 2 * augment.colour * values[5]),
        )

    def __call__(self, picture: Image) -> Image:
        """Grade a picture."""
        grey = (picture @ LUMA_WEIGHTS)[..., None]
        toned = grey + np.float32(self.saturation) * (picture - grey)
        return np.asarray(np.clip(toned * self.gain, 0, 1) ** np.float32(self.power), np.float32)


@dataclass(frozen=True)
class CameraWear:
    """Random damage, as from a worse camera.

    Attributes:
        blur: Sigma in pixels.
        grain: Standard deviation, in units of 0..1.
        quality: JPEG quality; 0 is no compression.
        seed: Seed of the grain.
    """

    blur: float
    grain: float
    quality: int
    seed: int

    @classmethod
    def draw_random(cls, augment: AugmentSettings, size: int, random: np.random.Generator) -> CameraWear:
        """Draw damage within the settings, for pictures of `size` pixels."""
        blur, grain = random.uniform(0, 1, 2) ** 2 * (augment.blur * size / 128, augment.grain)
        quality = int(random.integers(30, 90)) if random.random() < augment.compression else 0
        return cls(float(blur), float(grain), quality, int(random.integers(2**31)))

    def __call__(self, picture: Image) -> Image:
        """Blur a picture, add grain, and compress it."""
        result = cv2.GaussianBlur(picture, (0, 0), self.blur) if self.blur > 0.2 else picture
        if self.grain > 0.002:
            noise = np.random.default_rng(self.seed).standard_normal(picture.shape, np.float32)
            result = result + np.float32(self.grain) * noise
        result = np.clip(result, 0, 1)
        if self.quality:
            data = cv2.imencode(
                ".jpg", np.rint(result * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            )
            result = np.asarray(cv2.imdecode(data[1], cv2.IMREAD_COLOR), np.float32) / 255
        return np.asarray(result, np.float32)


def mirror_picture(picture: AnyArray) -> AnyArray:
    """Mirror a picture or matte, (height, width) or (height, width, channels), left to right."""
    return np.ascontiguousarray(picture[:, ::-1])


def mirror_points(points: Points) -> Points:
    """Mirror landmarks, (68 or 98, 2) as shares of a square crop, and put them in the order of the mirrored face."""
    return np.asarray(points[MIRROR_ORDERS[len(points)]] * (-1, 1) + (1, 0), points.dtype)
