"""Makes the demo's two inputs from public-domain stills that installed packages carry.

source: scikit-image's astronaut (Eileen Collins, NASA). target: 24 frames, 1920x1080, ACEScg, half float: a camera
that pans, moves in and rolls a little over matplotlib's portrait of Grace Hopper (US Navy), which hangs on a wall
beside a light that is far above 1.0, with film grain.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from fsgan_core.plates.colour import SRGB, ColourConfig, open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, TypedValue, Window

WIDTH, HEIGHT = 1920, 1080
FIRST_FRAME, FRAME_COUNT, FRAME_RATE = 1001, 24, Fraction(24)
OCIO_CONFIG = "ocio://default"  # so that the plate is ACEScg, whatever $OCIO says

PORTRAIT_SCALE = 2.0  # plate pixels per portrait pixel, on the first frame
CAMERA_TARGET = np.array([255.5, 245.0])  # portrait pixel
LIGHT_POSITION, LIGHT_RADIUS, LIGHT_COLOUR = np.array([-110.0, 60.0]), 26.0, np.array([24.0, 16.0, 8.0])
WALL_COLOUR = np.array([0.055, 0.060, 0.068])  # scene-linear
GRAIN_DEVIATION = 0.008  # standard deviation at middle grey, scene-linear


def write_source(path: Path) -> None:
    """The still whose face is wanted: 512x512, sRGB, PNG."""
    from skimage import data

    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path} cannot be written")


def write_plate(pattern: str) -> tuple[int, ...]:
    """The frames, to a path with #### in it; their numbers."""
    config = open_config(OCIO_CONFIG)
    coefficients = _fit_spline(_load_portrait(config))
    window = Window(0, 0, WIDTH, HEIGHT)
    Path(pattern).parent.mkdir(parents=True, exist_ok=True)

    def write_frame(number: int) -> int:
        plate = Plate(
            render_frame(number, coefficients),
            ("R", "G", "B"),
            window,
            window,
            1.0,
            _make_metadata(number, config.scene_linear),
            ("half",) * 3,
        )
        write_exr(pattern.replace("####", f"{number:04d}"), plate)
        return number

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return tuple(pool.map(write_frame, range(FIRST_FRAME, FIRST_FRAME + FRAME_COUNT)))


def compute_camera(number: int) -> np.ndarray:
    """float64 (2, 3): from portrait pixels to plate pixels; starts and ends gently."""
    position = (number - FIRST_FRAME) / (FRAME_COUNT - 1)
    eased = 0.5 - 0.5 * np.cos(np.pi * position)
    angle = np.radians(-1.0 + 2.4 * eased)
    turn = (
        PORTRAIT_SCALE
        * (1.0 + 0.05 * eased)
        * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    )
    centre = np.array([WIDTH / 2 - 20.0 + 70.3 * eased, HEIGHT / 2 + 9.7 * np.sin(2.0 * np.pi * position)])
    return np.hstack([turn, (centre - turn @ CAMERA_TARGET)[:, None]])


def render_frame(number: int, coefficients: np.ndarray) -> np.ndarray:
    """float32 (HEIGHT, WIDTH, 3) scene-linear."""
    move = compute_camera(number)
    back = cv2.invertAffineTransform(move)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    at = np.stack([row[0] * x + row[1] * y + row[2] for row in back])  # portrait coordinates of each plate pixel
    height, width = coefficients.shape[1:]
    # The plate is finer than the portrait, so a cubic spline is all the filter that it needs, at exact positions.
    picture = np.stack(
        [
            ndimage.affine_transform(
                channel, back[::-1, 1::-1], back[::-1, 2], (HEIGHT, WIDTH), order=3, mode="nearest", prefilter=False
            )
            for channel in coefficients
        ],
        axis=-1,
    )
    outside = np.maximum(np.abs(at[0] - (width - 1) / 2) - width / 2, np.abs(at[1] - (height - 1) / 2) - height / 2)
    pixels = outside * np.hypot(move[0, 0], move[1, 0])  # signed distance to the portrait's edge, in plate pixels
    coverage = np.clip(0.5 - pixels, 0.0, 1.0)[..., None]
    shadow = 1.0 - 0.6 * np.exp(-np.maximum(pixels, 0.0) / 30.0)[..., None]
    falloff = np.hypot(at[0] - LIGHT_POSITION[0], at[1] - LIGHT_POSITION[1]) / LIGHT_RADIUS
    wall = WALL_COLOUR * shadow + 0.02 * LIGHT_COLOUR * np.exp(-falloff / 3.0)[..., None]
    lamp = LIGHT_COLOUR / (1.0 + np.exp(np.clip((falloff - 1.0) * 12.0, -60.0, 60.0)))[..., None]
    scene = coverage * np.maximum(picture, 0.0) + (1.0 - coverage) * wall + lamp
    return _add_grain(scene, number).astype(np.float32)


def _load_portrait(config: ColourConfig) -> np.ndarray:
    """float32 (600, 512, 3) scene-linear."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data("grace_hopper.jpg") as file:
        encoded = np.frombuffer(file.read(), np.uint8)
    rgb = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return config.convert(rgb / np.float32(255.0), SRGB, config.scene_linear)


def _fit_spline(picture: np.ndarray) -> np.ndarray:
    """float64 (3, height, width) coefficients of the cubic spline through a picture."""
    return np.stack([ndimage.spline_filter(picture[..., channel], 3, mode="nearest") for channel in range(3)])


def _add_grain(scene: np.ndarray, number: int) -> np.ndarray:
    """Grain of about a pixel and a half, stronger in light, as film has it; the same for a frame on every run."""
    noise = np.random.default_rng(number).standard_normal((HEIGHT, WIDTH, 3), np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.7) * 2.5  # the blur leaves 0.4 of the deviation
    return scene + GRAIN_DEVIATION * noise * np.sqrt(np.clip(scene, 0.0, 1.0) / 0.18 + 0.05)


def _make_metadata(number: int, space: str) -> dict[str, object]:
    """What a plate from a camera would say; the timecode is an hour plus the frame's place."""
    rate = int(FRAME_RATE)
    seconds, frames = divmod(number - FIRST_FRAME, rate)
    digits = ((frames // 10) << 4 | frames % 10) | ((seconds // 10) << 12 | seconds % 10 << 8) | (0x01 << 24)
    return {
        "timeCode": TypedValue("timecode", (digits, 0)),
        "framesPerSecond": TypedValue("rational", (FRAME_RATE.numerator, FRAME_RATE.denominator)),
        "reelName": "DEMO_GH01",
        "owner": "public domain (US Navy)",
        "comments": f"made by examples/demo_plate.py; scene-linear {space}",
    }
