"""Frames in, frames out: sequences and movies, EXR windows and channels, colour, regions.

    sequence = open_clip(Clip("plates/target.####.exr"))
    for frame, plate in read_ahead(sequence.read, select_frames("1001-1048x2", sequence.frames)):
        write_exr(output_path("out/copy.####.exr", frame), plate, other_parts=sequence.other_parts(frame))

Names are imported when they are first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

# What IPP computes inside OpenCV depends on the number of processors and on where arrays lie in memory: now and then
# a pixel's last bit, so that the same frame was not the same twice. OpenCV reads this at its first call; it would warn.
os.environ.setdefault("OPENCV_IPP", "disabled")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

_HOMES = {
    "Plate": "plate", "Typed": "plate", "Window": "plate",
    "Header": "exr", "other_parts": "exr", "read_header": "exr", "read_image": "exr", "write_exr": "exr",
    "Movie": "movie",
    "Sequence": "sequence", "check_output": "sequence", "frames_text": "sequence", "open_clip": "sequence",
    "output_path": "sequence", "parse_frames": "sequence", "select_frames": "sequence",
    "WriteBehind": "stream", "read_ahead": "stream",
    "without_colour": "metadata",
    "ColourConfig": "colour", "open_config": "colour",
    "region_of": "region",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
