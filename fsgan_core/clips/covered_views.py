"""How much of the face hands cover in a source frame; kept in the cache, because it decides which views are used."""

from __future__ import annotations

from pathlib import Path

from fsgan_core.clips.inputs import ClipInput, check_rgb
from fsgan_core.contract.errors import PlateError
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.region import compute_region
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_code_digest, compute_digest, get_cache_folder, load_or_compute
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.masking import measure_hand_cover
from fsgan_core.stages.reenactment import VIEW_MARGIN

SHARE_DIGITS = 3  # decimal places; few, so that every machine gets the same number
_CODE = ("faces", "plates", "networks", "stages/occluders/hands.py", "stages/masking.py")


def get_covered_share(clip_input: ClipInput, face: Face, codec: Codec, colour: str) -> float:
    """Gets the share of the face that hands cover: from the cache, or measured now.

    Args:
        clip_input: The source clip.
        face: The face in one of its frames.
        codec: The clip's codec.
        colour: What the codec depends on, as text.

    Returns:
        0..1; 0 if the frame cannot be read.
    """
    parts = (
        "covered",
        compute_code_digest(_CODE),
        clip_input.sequence.compute_fingerprint(face.frame),
        clip_input.space,
        colour,
        face.landmarks.round(SHARE_DIGITS).tolist(),
    )
    return load_or_compute(
        get_cache_folder() / "covered" / f"{compute_digest(*parts)}.txt",
        lambda: _measure_covered_share(clip_input, face, codec),
        _write_share,
        lambda path: float(path.read_text(encoding="utf-8")),
    )


def _measure_covered_share(clip_input: ClipInput, face: Face, codec: Codec) -> float:
    try:
        plate = clip_input.sequence.read(face.frame)
        check_rgb(plate, str(clip_input.sequence.get_frame_path(face.frame)))
    except PlateError:
        return 0.0
    region = compute_region(face.box, VIEW_MARGIN, plate.pixel_aspect)
    return round(measure_hand_cover(FaceFrame(plate, face, region, codec)), SHARE_DIGITS)


def _write_share(path: Path, share: float) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(repr(share), encoding="utf-8")
