"""A small shot for tests of the pipeline: public-domain faces, six frames, analysed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.clips.tracks import write_track
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip, Output, Shot, Stages
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window

FRAMES = 6
SIZE = (240, 200)  # of the target, width and height


@dataclass(frozen=True)
class Small:
    """folder/plate.####.exr (half, ACEScg, data window unlike display window, a further layer), folder/source.png, and
    the tracks of both."""

    folder: Path

    @property
    def plate(self) -> str:
        return str(self.folder / "plate.####.exr")

    def shot(
        self,
        output: Path,
        frames: str = "",
        job: str = "swap",
        layers: str = "result",
        target: str | None = None,
        **settings: str,
    ) -> Shot:
        """A shot of it. settings: blend__mix="0.5" is blend.mix = 0.5."""
        named = {name.replace("__", "."): value for name, value in settings.items()}
        return Shot(
            source=(Clip(str(self.folder / "source.png"), track=str(self.folder / "source.json")),),
            target=Clip(target or self.plate, track=str(self.folder / "plate.json")),
            output=Output(str(output / "swap.####.exr")),
            job=job,
            frames=frames,
            stages=Stages().with_settings({"output.layers": layers, **named}),
        )


def plate_of(picture: np.ndarray, frame: int) -> Plate:
    """A frame: the portrait, moved and turned a little, in linear light, a lamp brighter than white, overscan."""
    width, height = SIZE
    scale = 0.62
    turn = cv2.getRotationMatrix2D((256.0, 200.0), 1.5 * np.sin(frame), scale)
    turn[:, 2] += (width / 2 - 256 + 2.5 * frame, 100 - 200 + 0.7 * frame)
    small = cv2.warpAffine(picture, turn, SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    linear = (small.astype(np.float32) / 255) ** 2.2
    linear[4:12, 4:12] = (6.0, 4.0, 2.5)
    matte = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, 0)
    pixels = np.dstack([linear, np.ones_like(matte), matte]).astype(np.float16).astype(np.float32)
    window = Window(-8, 4, width, height)
    return Plate(
        pixels,
        ("R", "G", "B", "A", "id.roto"),
        window,
        Window(0, 0, width - 16, height + 10),
        1.0,
        {"shot": "test", "take": frame},
        ("half",) * 5,
    )


def make_small_shot(folder: Path, astronaut: np.ndarray, grace_hopper: np.ndarray) -> Small:
    """Writes the plate, the source and the tracks of both into `folder`."""
    for frame in range(1, FRAMES + 1):
        write_exr(folder / f"plate.{frame:04d}.exr", plate_of(grace_hopper, frame))
    face = cv2.resize(astronaut[:300, 80:380], None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "source.png"), face[..., ::-1])
    stages = replace(Stages(), analyse=AnalyseParams())
    write_track(Clip(str(folder / "plate.####.exr")), folder / "plate.json", stages)
    write_track(Clip(str(folder / "source.png")), folder / "source.json", stages, of_target=False)
    return Small(folder)
