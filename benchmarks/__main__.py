"""Print a table of ratios: what a part of the work costs against a plain reference, in one run.

    python -m benchmarks --clip plate.mov
    python -m benchmarks --rows poisson colour exr

Both sides of a ratio take turns, on one thread, and their processor seconds are compared, so that other programs on the
machine matter little. The rows of the analysis need a clip with a face.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio
import torch

from fsgan_core.contract.params import AnalyseParams
from fsgan_core.faces.analyse import analyse
from fsgan_core.faces.detectors.choose_detector import make_detector
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import open_clip
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.stages.poisson import solve_membrane

HD, UHD = (1920, 1080), (3840, 2160)
POISSON_SIZES = (256, 512, 1024)
REACH = 0.06  # of the face, as `blend.reach` is by default


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        what: What is measured.
        reference: Against what.
        seconds: Processor seconds of what is measured, the median.
        ratio: To the reference's, the median over the rounds.
        aim: At most.
    """

    what: str
    reference: str
    seconds: float
    ratio: float
    aim: float


Work = Callable[[], object]


def compare(what: str, work: Work, reference: str, reference_work: Work, aim: float, rounds: int) -> Row:
    """Measure both sides in turn."""
    work(), reference_work()
    taken, ratios = [], []
    for _ in range(rounds):
        first, second = count_seconds(work), count_seconds(reference_work)
        taken.append(first)
        ratios.append(first / second)
    return Row(what, reference, statistics.median(taken), statistics.median(ratios), aim)


def count_seconds(work: Work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


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


def measure_poisson(rounds: int) -> Iterator[Row]:
    for size in POISSON_SIZES:
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


def write_plainly(path: Path, pixels: np.ndarray) -> None:
    """A half EXR by the bare calls."""
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, "half")
    spec.attribute("compression", "zip")
    output = oiio.ImageOutput.create(str(path))
    output.open(str(path), spec)
    output.write_image(pixels)
    output.close()


def read_plainly(path: Path) -> np.ndarray:
    source = oiio.ImageInput.open(str(path))
    pixels = np.asarray(source.read_image("float"))
    source.close()
    return pixels


def measure_exr(rounds: int) -> Iterator[Row]:
    width, height = UHD
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.random((135, 240, 3), np.float32), UHD) + rng.normal(0, 0.01, (height, width, 3))
    pixels = pixels.astype(np.float32)
    window = Window(0, 0, width, height)
    plate = Plate(pixels, ("R", "G", "B"), window, window, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = Path(folder) / "ours.0001.exr", Path(folder) / "bare.exr"
        yield compare(
            "writing a 4K half EXR",
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


def measure_analysis(path: str, rounds: int) -> Iterator[Row]:
    from benchmarks.analysis import SIZES, EnlargedClip

    config = open_config()
    with open_clip(path) as clip:
        plates = [clip.read(frame) for frame in clip.frames[:6]]
    detector = make_detector()
    clips = {name: EnlargedClip(plates, size) for name, size in SIZES.items()}
    pictures = {
        name: [config.to_srgb8(one.read(frame).get("R", "G", "B"), "sRGB") for frame in one.frames]
        for name, one in clips.items()
    }
    for name, one in clips.items():
        yield compare(
            f"analysis of {name.upper()}",
            lambda one=one: analyse(one, config, AnalyseParams()),
            "one pass of the detector over every frame",
            lambda name=name: [detector.detect(picture) for picture in pictures[name]],
            1.0,
            rounds,
        )
    yield compare(
        "analysis of 4K",
        lambda: analyse(clips["4k"], config, AnalyseParams()),
        "analysis of HD",
        lambda: analyse(clips["hd"], config, AnalyseParams()),
        1.3,
        rounds,
    )


ROWS = ("poisson", "colour", "exr", "analysis")


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="", help="for the rows of the analysis")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    oiio.attribute("threads", 1)
    makers: dict[str, Callable[[], Iterator[Row]]] = {
        "poisson": lambda: measure_poisson(options.rounds),
        "colour": lambda: measure_colour(options.rounds),
        "exr": lambda: measure_exr(options.rounds),
    }
    if options.clip:
        makers["analysis"] = lambda: measure_analysis(options.clip, options.rounds)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{platform.machine()}, {os.cpu_count()} cores (one used), load {load}, torch {torch.__version__}\n")
    print("| what | reference in the same run | seconds | ratio | aim |\n| --- | --- | --- | --- | --- |")
    with contextlib.ExitStack() as stack:
        stack.enter_context(limit_algebra_threads())
        for name in options.rows:
            for row in makers[name]() if name in makers else ():
                print(f"| {row.what} | {row.reference} | {row.seconds:.3f} | {row.ratio:.2f} | {row.aim} |", flush=True)


if __name__ == "__main__":
    main()
