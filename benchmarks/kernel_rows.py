"""Rows about single kernels: Poisson blend, colour, EXR files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clips import UHD
from benchmarks.plain_exr import read_plainly, write_plainly
from benchmarks.table import Row, compare
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import open_clip
from fsgan_core.stages.poisson import solve_membrane

POISSON_SIZES = (256, 512, 1024, 2048)
REACH = 0.06  # of the face, as `blend.reach` is by default


def make_patch(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A face and a target of smooth noise, float32 (h, w, 3), and the face's ellipse."""
    rng = np.random.default_rng(size)
    margin = size // 8
    side = size + 2 * margin
    pictures = [
        cv2.resize(rng.random((24, 24, 3), np.float32), (side, side), interpolation=cv2.INTER_CUBIC) for _ in range(2)
    ]
    ellipse = np.zeros((side, side), np.uint8)
    cv2.ellipse(ellipse, (side // 2, side // 2), (int(0.38 * size), size // 2), 0, 0, 360, 255, -1)
    return pictures[0], pictures[1], ellipse > 0


def clone(face: np.ndarray, target: np.ndarray, support: np.ndarray) -> np.ndarray:
    """OpenCV's Poisson blend, 8 bits."""
    side = len(face)
    one, other = (np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8) for picture in (face, target))
    mask = 255 * support.astype(np.uint8)
    return np.asarray(cv2.seamlessClone(one, other, mask, (side // 2, side // 2), cv2.NORMAL_CLONE))


def measure_poisson(rounds: int, sizes: Sequence[int] = POISSON_SIZES) -> Iterator[Row]:
    for size in sizes:
        face, target, support = make_patch(size)
        trust = np.ones(support.shape, np.float32)
        yield compare(
            f"Poisson blend, face of {size} px",
            lambda face=face, target=target, support=support, trust=trust, size=size: solve_membrane(
                target - face, support, trust, REACH * size
            ),
            "cv2.seamlessClone (8 bits)",
            lambda face=face, target=target, support=support: clone(face, target, support),
            1.0 if size < 512 else 0.5,
            rounds,
        )


def measure_colour(rounds: int) -> Iterator[Row]:
    config = open_config("ocio://default")
    codec = config.make_codec("ACEScg")
    picture = (np.random.default_rng(0).random((1000, 1000, 3)) * 0.7).astype(np.float32)

    def convert_plainly() -> np.ndarray:
        linear = config.convert(picture, "ACEScg", "Linear Rec.709 (sRGB)")
        size = np.abs(linear)
        curve = np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** np.float32(1 / 2.4) - 0.055)
        back = np.where(curve <= 0.04045, curve / 12.92, ((curve + 0.055) / 1.055) ** np.float32(2.4))
        return config.convert(np.copysign(back, linear).astype(np.float32), "Linear Rec.709 (sRGB)", "ACEScg")

    yield compare(
        "colour there and back, 1000 x 1000",
        lambda: codec.decode(codec.encode(picture)),
        "OCIO for the matrix, numpy for the curve",
        convert_plainly,
        1.0,
        rounds,
    )


def measure_exr(rounds: int, size: tuple[int, int] = UHD) -> Iterator[Row]:
    width, height = size
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.random((135, 240, 3), np.float32), size) + rng.normal(0, 0.01, (height, width, 3))
    pixels = pixels.astype(np.float32)
    window = Window(0, 0, width, height)
    plate = Plate(pixels, ("R", "G", "B"), window, window, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = Path(folder) / "ours.0001.exr", Path(folder) / "bare.exr"
        yield compare(
            f"writing a half EXR of {width}x{height}",
            lambda: write_exr(ours, plate, depth="half"),
            "OpenImageIO",
            lambda: write_plainly(bare, pixels),
            1.1,
            rounds,
        )
        clip = open_clip(str(ours))
        yield compare(
            "reading it", lambda: clip.read(clip.frames[0]), "OpenImageIO", lambda: read_plainly(bare), 1.1, rounds
        )
