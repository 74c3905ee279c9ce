"""Rows about the analysis of a clip: HD and 4K in memory, so that reading frames does not count."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import cv2
import numpy as np

from benchmarks.clips import HD, NAMES, UHD, Footage
from benchmarks.table import Row, compare
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip
from fsgan_core.faces.analyse import analyse
from fsgan_core.faces.detectors.choose_detector import make_detector
from fsgan_core.plates.colour import SRGB, open_config
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.stated_colour import NOTHING_STATED, StatedColour
from fsgan_core.runtime.arrays import Image


class EnlargedClip:
    """A clip of sRGB pictures in memory, fitted to a size."""

    kind = "movie"

    def __init__(self, pictures: list[Image], size: tuple[int, int]) -> None:
        self.clip = Clip("clip.mov")
        self.frames = tuple(range(1, len(pictures) + 1))
        self._plates = [_enlarge(picture, size) for picture in pictures]

    def read(self, frame: int) -> Plate:
        return self._plates[frame - 1]

    def read_stated_colour(self) -> StatedColour:
        return NOTHING_STATED


def _enlarge(picture: Image, size: tuple[int, int]) -> Plate:
    scale = min(size[0] / picture.shape[1], size[1] / picture.shape[0])
    inner = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    pixels = np.zeros((size[1], size[0], 3), np.float32)
    pixels[: inner.shape[0], : inner.shape[1]] = inner[: size[1], : size[0]]
    window = Window(0, 0, *size)
    return Plate(pixels, RGB, window, window, 1.0)


def measure_analysis(footage: Footage, rounds: int, frames: int) -> Iterator[Row]:
    """The analysis against one pass of the detector over every frame, and 4K against HD."""
    config, detector = open_config(), make_detector()
    pictures = list(islice(footage.iterate_pictures(), frames))
    clips = {size: EnlargedClip(pictures, size) for size in (HD, UHD)}
    for size, clip in clips.items():
        shown = [config.to_srgb8(clip.read(frame).get(*RGB), SRGB) for frame in clip.frames]
        yield compare(
            f"analysis of {NAMES[size]}, {frames} frames",
            lambda clip=clip: analyse(clip, config, AnalyseParams()),
            "one pass of the detector over every frame",
            lambda shown=shown: [detector.detect(picture) for picture in shown],
            1.0,
            rounds,
        )
    yield compare(
        f"analysis of 4K, {frames} frames",
        lambda: analyse(clips[UHD], config, AnalyseParams()),
        "analysis of HD",
        lambda: analyse(clips[HD], config, AnalyseParams()),
        1.3,
        rounds,
    )
