"""The clips that the rows measure: EXR plates of any size with a face of fixed size, and a source.

Without `--clip` they come from two public-domain stills that installed packages carry. The target is matplotlib's
portrait of Grace Hopper (US Navy), moved a little from frame to frame. The source is scikit-image's astronaut (Eileen
Collins, NASA).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.contract.layers import RGB
from fsgan_core.contract.shot import Clip, Output, Shot, Stages
from fsgan_core.plates.colour import SRGB, open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import open_clip
from fsgan_core.runtime.arrays import Image

FRAME_720P, HD, UHD = (1280, 720), (1920, 1080), (3840, 2160)
NAMES = {FRAME_720P: "1280x720", HD: "HD", UHD: "4K"}
OCIO_CONFIG, SPACE = "ocio://default", "ACEScg"
PORTRAIT_SCALE = 1.15
GRAIN = 0.006


@dataclass(frozen=True)
class Footage:
    """Where the clips of a run come from and go to.

    Attributes:
        folder: For plates, results and tracks.
        target: A clip with a face; empty: the portrait.
        source: A clip or a still of another person; empty: the astronaut.
    """

    folder: Path
    target: str = ""
    source: str = ""

    def make_shot(self, size: tuple[int, int], frames: int, name: str = "swap") -> Shot:
        """Makes a shot with a plate of a size; frames that exist already are used again."""
        return Shot(
            (Clip(self.source or str(self._write_astronaut())),),
            Clip(self.write_plate(size, frames), SPACE),
            Output(str(self.folder / f"{name}_{size[0]}" / "swap.####.exr")),
            frames=f"1-{frames}",
            stages=Stages().with_settings({"colour.config": OCIO_CONFIG}),
        )

    def write_plate(self, size: tuple[int, int], frames: int) -> str:
        """Writes a plate as half EXR, in the size of its face the same for every size of the plate."""
        pattern = str(self.folder / f"plate_{size[0]}" / "plate.####.exr")
        Path(pattern).parent.mkdir(parents=True, exist_ok=True)
        missing = [number for number in range(1, frames + 1) if not Path(_name_frame(pattern, number)).is_file()]
        if missing:
            config = open_config(OCIO_CONFIG)
            window = Window(0, 0, *size)
            pictures = islice(self.iterate_pictures(), frames)
            for number, picture in enumerate(pictures, start=1):
                if number in missing:
                    pixels = place_on_canvas(config.convert(picture, SRGB, SPACE), size, number)
                    write_exr(_name_frame(pattern, number), Plate(pixels, RGB, window, window, 1.0), depth="half")
        return pattern

    def iterate_pictures(self) -> Iterator[Image]:
        """Pictures of the target in sRGB, float32 (height, width, 3), without end: forward and back again."""
        if not self.target:
            return (move_portrait(number) for number in chain(range(1_000_000)))
        with open_clip(Clip(self.target)) as clip:
            frames = clip.frames
        numbers = cycle([*frames, *frames[-2:0:-1]])
        clip = open_clip(Clip(self.target))
        return (fit_picture(clip.read(number).get(*RGB)) for number in numbers)

    def _write_astronaut(self) -> Path:
        from skimage import data

        path = self.folder / "astronaut.png"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
        return path


def _name_frame(pattern: str, number: int) -> str:
    return pattern.replace("####", f"{number:04d}")


def fit_picture(picture: Image) -> Image:
    """Shrinks a picture to fit 1280x720, so that it fits every plate."""
    scale = min(1.0, FRAME_720P[0] / picture.shape[1], FRAME_720P[1] / picture.shape[0])
    if scale == 1.0:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)


def move_portrait(number: int) -> Image:
    """The portrait of Grace Hopper as a camera sees it that pans and rolls a little."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data("grace_hopper.jpg") as file:
        encoded = np.frombuffer(file.read(), np.uint8)
    portrait = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) / np.float32(255.0)
    height, width = portrait.shape[:2]
    size = round(PORTRAIT_SCALE * width), round(PORTRAIT_SCALE * height)
    phase = 0.15 * number
    move = cv2.getRotationMatrix2D((width / 2, height / 2), 2.5 * np.sin(phase), PORTRAIT_SCALE)
    move[:, 2] += (size[0] - width) / 2 + 9.3 * np.sin(0.7 * phase), (size[1] - height) / 2 + 4.7 * np.cos(phase)
    return np.asarray(cv2.warpAffine(portrait, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def place_on_canvas(picture: Image, size: tuple[int, int], number: int) -> Image:
    """Puts a picture, unscaled, into the middle of a plate, before a soft backdrop with grain."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (16, 9), interpolation=cv2.INTER_AREA)
    canvas = np.asarray(cv2.resize(cv2.GaussianBlur(small, (0, 0), 2), size, interpolation=cv2.INTER_CUBIC))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    canvas[top : top + height, left : left + width] = picture
    noise = np.random.default_rng(number).standard_normal((size[1], size[0], 3), np.float32)
    return np.asarray(np.maximum(canvas + GRAIN * noise, 0.0), np.float32)
