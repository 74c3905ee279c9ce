"""All stages of one frame on plain arrays: python3 examples/one_stage.py SOURCE TARGET OUTPUT.exr (two pictures)."""

from __future__ import annotations

import sys

import numpy as np

import fsgan_core as fsgan


def read(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Scene-linear pixels (h, w, 3) of a picture, and the landmarks (68, 2) of its largest face."""
    config, plate = fsgan.open_config(), fsgan.read_image(path)
    space = config.resolve_space("", path, "exr" if path.endswith(".exr") else "image")
    pixels = config.convert(plate.get("R", "G", "B"), space, config.scene_linear)
    (face,) = fsgan.track_faces(path).people[0].faces.values()
    return pixels, face.landmarks


def main(arguments: list[str]) -> None:
    if len(arguments) != 3:
        sys.exit(__doc__)
    (source, source_points), (target, points) = read(arguments[0]), read(arguments[1])
    reenacted = fsgan.stages.reenact(target, points, source, source_points)
    mattes = fsgan.stages.mask(target, points, fsgan.MaskParams(feather=0.15))
    completed = fsgan.stages.inpaint(target, points, reenacted, mattes)
    blended = fsgan.stages.blend(target, points, completed, mattes)
    window = fsgan.Window(0, 0, target.shape[1], target.shape[0])
    fsgan.write_exr(arguments[2], fsgan.Plate(blended, ("R", "G", "B"), window, window))


if __name__ == "__main__":
    main(sys.argv[1:])
