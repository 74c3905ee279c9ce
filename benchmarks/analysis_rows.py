"""How long analysis takes for each frame: HD, and 4K as a ratio to it; without the time for reading frames.

    python benchmarks/analysis.py CLIP

The clip's first frames are enlarged to HD and to 4K in memory. CPU seconds of all threads and wall seconds are printed,
each the best of a few rounds, so that another program's load matters little.
"""

from __future__ import annotations

import argparse
import json
import time

import cv2
import numpy as np

from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip
from fsgan_core.faces.analyse import analyse
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import open_clip
from fsgan_core.plates.stated_colour import NOTHING_STATED, StatedColour

SIZES = {"hd": (1920, 1080), "4k": (3840, 2160)}


class EnlargedClip:
    """A clip in memory, fitted to a size."""

    kind = "movie"

    def __init__(self, plates: list[Plate], size: tuple[int, int]) -> None:
        self.clip = Clip("clip.mov")
        self.frames = tuple(range(1, len(plates) + 1))
        self._plates = [_enlarge(plate, size) for plate in plates]

    def read(self, frame: int) -> Plate:
        return self._plates[frame - 1]

    def read_stated_colour(self) -> StatedColour:
        return NOTHING_STATED


def _enlarge(plate: Plate, size: tuple[int, int]) -> Plate:
    rgb = plate.get("R", "G", "B")
    scale = min(size[0] / rgb.shape[1], size[1] / rgb.shape[0])
    inner = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    pixels = np.zeros((size[1], size[0], 3), np.float32)
    pixels[: inner.shape[0], : inner.shape[1]] = inner[: size[1], : size[0]]
    window = Window(0, 0, *size)
    return Plate(pixels, ("R", "G", "B"), window, window, 1.0)


def measure_seconds(source: EnlargedClip, config: ColourConfig, rounds: int) -> tuple[float, float]:
    """Measures CPU and wall seconds for each frame, the best of a few rounds."""
    best = []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        analyse(source, config, AnalyseParams())
        count = len(source.frames)
        best.append(((time.process_time() - processor) / count, (time.perf_counter() - wall) / count))
    return min(cpu for cpu, _ in best), min(wall for _, wall in best)


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    config = open_config()
    with open_clip(Clip(options.clip)) as clip:
        plates = [clip.read(frame) for frame in clip.frames[: options.frames]]
    figures = {}
    for name, size in SIZES.items():
        cpu, wall = measure_seconds(EnlargedClip(plates, size), config, options.rounds)
        figures[name] = {"cpu_seconds": round(cpu, 4), "wall_seconds": round(wall, 4)}
    figures["ratio"] = {key: round(figures["4k"][key] / figures["hd"][key], 2) for key in figures["hd"]}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
