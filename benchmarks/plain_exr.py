"""Reading and writing EXR by the bare calls of OpenImageIO: the reference of every row with files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio


def write_plainly(path: Path, pixels: np.ndarray) -> None:
    """Writes a half EXR, compressed by zip."""
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, "half")
    spec.attribute("compression", "zip")
    output = oiio.ImageOutput.create(str(path))
    output.open(str(path), spec)
    output.write_image(pixels)
    output.close()


def read_plainly(path: Path) -> np.ndarray:
    """Reads all pixels as float32 (height, width, channels)."""
    source = oiio.ImageInput.open(str(path))
    pixels = np.asarray(source.read_image("float"))
    source.close()
    return pixels


def copy_plainly(path: Path, destination: Path) -> np.ndarray:
    """Reads a plate and writes it again; returns its pixels."""
    pixels = read_plainly(path)
    write_plainly(destination, pixels)
    return pixels
