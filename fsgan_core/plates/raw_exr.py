"""Writes a minimal EXR byte by byte: one part, scanlines, no compression, each channel in its own type.

Layout (openexr.com, "OpenEXR File Layout"): magic, version, attributes, a table of offsets, then for each line its
number, its size, and its channels in the order of their names.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fsgan_core.plates.exr_header import EXR_MAGIC, LONG_NAMES_FLAG, encode_text, pack_attributes
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray

_PIXEL_TYPES = {np.dtype(np.uint32): 0, np.dtype(np.float16): 1, np.dtype(np.float32): 2}


def write_raw_exr(path: Path, channels: Mapping[str, AnyArray], data_window: Window, display_window: Window) -> None:
    """Writes an uncompressed EXR.

    Args:
        path: The file.
        channels: Channel name -> (height, width) array of uint32, float16 or float32.
        data_window: Where the pixels are.
        display_window: The format.

    Raises:
        OSError: The file cannot be written.
    """
    names = sorted(channels, key=str.encode)
    header = _build_header(names, channels, data_window, display_window)
    fields = [(f"c{i}", channels[name].dtype.newbyteorder("<"), (data_window.width,)) for i, name in enumerate(names)]
    lines = np.zeros(data_window.height, np.dtype([("y", "<i4"), ("size", "<i4"), *fields]))
    lines["y"] = np.arange(data_window.y, data_window.bottom)
    lines["size"] = lines.dtype.itemsize - 8
    for index, name in enumerate(names):
        lines[f"c{index}"] = channels[name]
    first = len(header) + 8 * data_window.height
    offsets = first + lines.dtype.itemsize * np.arange(data_window.height, dtype="<u8")
    with path.open("wb") as file:
        file.write(header)
        file.write(offsets.astype("<u8").tobytes())
        file.write(lines.tobytes())


def _build_header(names: list[str], channels: Mapping[str, AnyArray], data: Window, display: Window) -> bytes:
    listed = b"".join(
        encode_text(name) + struct.pack("<iB3xii", _PIXEL_TYPES[channels[name].dtype], 0, 1, 1) for name in names
    )
    flags = LONG_NAMES_FLAG if any(len(name.encode()) > 31 for name in names) else 0
    attributes = {
        "channels": ("chlist", listed + b"\0"),
        "compression": ("compression", b"\0"),
        "dataWindow": ("box2i", _pack_window(data)),
        "displayWindow": ("box2i", _pack_window(display)),
        "lineOrder": ("lineOrder", b"\0"),
        "pixelAspectRatio": ("float", struct.pack("<f", 1.0)),
        "screenWindowCenter": ("v2f", struct.pack("<ff", 0.0, 0.0)),
        "screenWindowWidth": ("float", struct.pack("<f", 1.0)),
    }
    return EXR_MAGIC + struct.pack("<i", 2 | flags) + pack_attributes(attributes) + b"\0"


def _pack_window(window: Window) -> bytes:
    return struct.pack("<iiii", window.x, window.y, window.right - 1, window.bottom - 1)
