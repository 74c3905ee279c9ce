"""Make the pictures of docs/tutorial.md, from the demo and step 2 of the tutorial.

python3 install.py --demo, then step 2 of docs/tutorial.md, then .venv/bin/python benchmarks/tutorial_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.layers import LAYER_REENACTED, MATTE_FACE, META_FACE, RGB, list_layer_channels
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import Image8

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images" / "tutorial"
FRAME, SPACE = 1012, "ACEScg"
SIDE = 420  # pixels of each picture
FACE_SIDES = 1.6  # side of the square that is shown, over the height of the face
JPEG_QUALITY = 92


def main() -> None:
    """Make all pictures."""
    config = open_config()
    source = open_input(Clip(str(ROOT / "out/demo/astronaut.png")), config)
    still = source.sequence.read(source.sequence.frames[0])
    write_picture("source", config.to_srgb8(still.get(*RGB), source.space))
    before, after = (
        open_input(Clip(str(ROOT / pattern), SPACE), config).sequence.read(FRAME)
        for pattern in ("out/demo/plate/plate.####.exr", "out/tutorial/swap.####.exr")
    )
    square = find_square(after)
    write_picture("before_after", show(before, RGB, square, config), show(after, RGB, square, config))
    matte = np.round(255 * np.clip(after.crop(square).get(MATTE_FACE), 0, 1)).astype(np.uint8)
    reenacted = show(after, list_layer_channels(LAYER_REENACTED, RGB), square, config)
    write_picture("layers", reenacted, np.repeat(matte.reshape(*matte.shape[:2], 1), 3, axis=-1))


def find_square(result: Plate) -> Window:
    """Find the square around the face that the metadata of a result name."""
    x, y, width, height = (float(part) for part in str(result.metadata[META_FACE]).split())
    side = round(FACE_SIDES * height)
    return Window(round(x + width / 2 - side / 2), round(y + height / 2 - side / 2), side, side)


def show(plate: Plate, channels: tuple[str, ...], square: Window, config: ColourConfig) -> Image8:
    """Convert channels of a part of a plate to sRGB."""
    return config.to_srgb8(plate.crop(square).get(*channels), SPACE)


def write_picture(name: str, *pictures: Image8) -> None:
    """Write pictures beside each other as one JPEG."""
    shrunk = [cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in pictures]
    row = cv2.cvtColor(np.hstack(shrunk), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(FOLDER / f"{name}.jpg"), row, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


if __name__ == "__main__":
    main()
