"""One face made into many: mirrored, in other light, from a worse camera.

Pictures are float32 (h, w, 3), display-like, 0..1. What is drawn once (`Look`) is applied alike to all pictures of a
pair, so that what the network is asked for can be told from what it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from fsgan_core.contract.errors import InputError
from fsgan_core.faces import landmarks_wflw, pose
from fsgan_core.plates.curve import LUMA_WEIGHTS

__all__ = ["AugmentSettings", "CameraWear", "ColourGrade", "mirror_picture", "mirror_points"]


# Which landmark lies in the mirror where each one lay: iBUG's 68 and WFLW's 98.
MIRROR_ORDERS = {68: pose.MIRROR_ORDER, 98: landmarks_wflw.MIRROR_ORDER}


@dataclass(frozen=True)
class AugmentSettings:
    """How far faces are changed. flip: share that is mirrored. exposure: stops either way. colour: relative gain of
    each channel either way, and of saturation. contrast: exponent either way. blur: largest sigma, pixels at 128.
    grain: largest deviation, of 0..1. compression: share that goes through JPEG. roll: degrees either way; scale: share
    either way (both of single pictures; pairs vary by their landmarks). occluders: share of faces that something is
    put in front of."""

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
    """A grade: other light, other camera."""

    gain: np.ndarray
    power: float
    saturation: float

    @classmethod
    def draw_random(cls, augment: AugmentSettings, random: np.random.Generator) -> ColourGrade:
        values = random.uniform(-1, 1, 6)
        # In display-like values a stop is a factor of about 2 ** (1 / 2.2).
        exposure = 2.0 ** (augment.exposure * values[0] / 2.2)
        gain = exposure * (1 + augment.colour * values[1:4])
        return cls(
            gain.astype(np.float32),
            float((1 + augment.contrast) ** values[4]),
            float(1 + 2 * augment.colour * values[5]),
        )

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        grey = (picture @ LUMA_WEIGHTS)[..., None]
        toned = grey + np.float32(self.saturation) * (picture - grey)
        return np.asarray(np.clip(toned * self.gain, 0, 1) ** np.float32(self.power), np.float32)


@dataclass(frozen=True)
class CameraWear:
    """A worse camera: blur, grain, compression. seed: of the grain."""

    blur: float
    grain: float
    quality: int
    seed: int

    @classmethod
    def draw_random(cls, augment: AugmentSettings, size: int, random: np.random.Generator) -> CameraWear:
        blur, grain = random.uniform(0, 1, 2) ** 2 * (augment.blur * size / 128, augment.grain)
        quality = int(random.integers(30, 90)) if random.random() < augment.compression else 0
        return cls(float(blur), float(grain), quality, int(random.integers(2**31)))

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        worn = cv2.GaussianBlur(picture, (0, 0), self.blur) if self.blur > 0.2 else picture
        if self.grain > 0.002:
            noise = np.random.default_rng(self.seed).standard_normal(picture.shape, np.float32)
            worn = worn + np.float32(self.grain) * noise
        worn = np.clip(worn, 0, 1)
        if self.quality:
            data = cv2.imencode(".jpg", np.rint(worn * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            worn = np.asarray(cv2.imdecode(data[1], cv2.IMREAD_COLOR), np.float32) / 255
        return np.asarray(worn, np.float32)


def mirror_picture(picture: np.ndarray) -> np.ndarray:
    """Left to right; (h, w[, c])."""
    return np.ascontiguousarray(picture[:, ::-1])


def mirror_points(points: np.ndarray) -> np.ndarray:
    """(68 or 98, 2), shares of a square: the landmarks of the mirrored face, each in its own place of the order."""
    return np.asarray(points[MIRROR_ORDERS[len(points)]] * (-1, 1) + (1, 0), points.dtype)
