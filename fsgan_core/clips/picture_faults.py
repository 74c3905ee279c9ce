"""What is the matter with a picture of a clip: it cannot be decoded, or has pixels around the face that are no numbers.

What was found is kept in the cache, by the contents of the file.
"""

from __future__ import annotations

import math
from pathlib import Path

from fsgan_core.clips.inputs import ClipInput, check_rgb
from fsgan_core.contract.errors import PlateError
from fsgan_core.faces.face import Face
from fsgan_core.plates.plate import count_bad_pixels
from fsgan_core.plates.region import compute_region
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_code_digest, compute_digest, get_cache_folder, load_or_compute

__all__ = ["get_picture_fault"]

_CODE = ("plates", "clips/picture_faults.py")


def get_picture_fault(clip_input: ClipInput, frame: int, face: Face | None = None, margin: float = 0.0) -> float:
    """Gets what is the matter with a picture: from the cache, or measured now.

    Args:
        clip_input: The clip.
        frame: The frame.
        face: The face in it; None only tells whether the frame can be decoded.
        margin: How far around the face pixels count, as a share of its box.

    Returns:
        The number of pixels that are NaN or infinite; infinite if the frame is missing or cannot be decoded.
    """
    try:
        fingerprint = clip_input.sequence.compute_fingerprint(frame)
    except PlateError:
        return math.inf
    place = [] if face is None else [round(float(value), 2) for value in (*face.box, margin)]
    key = compute_digest("fault", compute_code_digest(_CODE), fingerprint, place)
    return load_or_compute(
        get_cache_folder() / "faults" / f"{key}.txt",
        lambda: _measure_fault(clip_input, frame, face, margin),
        _write_fault,
        lambda path: float(path.read_text(encoding="utf-8")),
    )


def _measure_fault(clip_input: ClipInput, frame: int, face: Face | None, margin: float) -> float:
    try:
        plate = clip_input.sequence.read(frame)
        check_rgb(plate, str(clip_input.sequence.get_frame_path(frame)))
    except PlateError:
        return math.inf
    if face is None:
        return 0.0
    return float(count_bad_pixels(plate, compute_region(face.box, margin, plate.pixel_aspect)))


def _write_fault(path: Path, fault: float) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(repr(fault), encoding="utf-8")
