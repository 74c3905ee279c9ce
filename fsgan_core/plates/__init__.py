"""Reads and writes frames: sequences and movies, EXR windows and channels, colour, regions.

A Plate is one frame with its pixels, channel names, windows and metadata. EXR pixels, unknown metadata and other parts
of a file survive a read and a write bit for bit. Colour goes to the networks and back through one invertible transform.

    sequence = open_clip(Clip("plates/target.####.exr"))
    for frame, plate in read_ahead(sequence.read, select_frames("1001-1048x2", sequence.frames)):
        write_exr(output_path("out/copy.####.exr", frame), plate, other_parts=sequence.other_parts(frame))

Names are imported on first use.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

# Results of IPP inside OpenCV depend on the number of processors and on the alignment of arrays, so that a frame could
# differ in the last bit of a pixel from one run to the next. OpenCV reads these variables at its first call.
os.environ.setdefault("OPENCV_IPP", "disabled")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

_MODULE_BY_NAME = {
    "Plate": "plate",
    "TypedValue": "plate",
    "Window": "plate",
    "PlateHeader": "exr",
    "list_other_parts": "exr",
    "read_header": "exr",
    "read_image": "exr",
    "write_exr": "exr",
    "Movie": "movie",
    "FrameSequence": "sequence",
    "check_output": "sequence",
    "format_frames": "sequence",
    "open_clip": "sequence",
    "format_output_path": "sequence",
    "parse_frames": "sequence",
    "select_frames": "sequence",
    "BackgroundWriter": "stream",
    "read_ahead": "stream",
    "drop_colour_metadata": "metadata",
    "ColourConfig": "colour",
    "open_config": "colour",
    "compute_region": "region",
}
__all__ = sorted(_MODULE_BY_NAME)


def __getattr__(name: str) -> Any:
    if name in _MODULE_BY_NAME:
        return getattr(import_module(f"{__name__}.{_MODULE_BY_NAME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
