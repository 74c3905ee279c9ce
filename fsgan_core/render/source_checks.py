"""Looks at the sources of a swap beside its target: what cannot give a good picture is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from fsgan_core.clips.inputs import ClipInput, check_rgb
from fsgan_core.contract.errors import PlateError, ShotError
from fsgan_core.contract.layers import RGB
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.region import compute_region
from fsgan_core.render.source_clip import SourceClip

__all__ = ["check_colourfulness", "is_black_and_white"]

GRAY_CHROMA = 0.01  # display values between the largest and the smallest channel: up to here a face is gray
SKIN_CHROMA = 0.05  # from here on it is in colour; between the two it may be either
DARK = 0.1  # display value: a face whose bright parts are darker tells nothing
BLACK_AND_WHITE, IN_COLOUR = "black and white", "in colour"
TRIED_FRAMES = 3  # of a clip, until one can be read


def check_colourfulness(
    sources: Sequence[SourceClip], target: ClipInput, faces: Mapping[int, Face], codec: Codec
) -> None:
    """Checks that sources and target are both in colour, or both black and white.

    Skin would take on the target's tint, but lips, brows and irises would not.

    Args:
        sources: The sources; those without a face do not count.
        target: The target.
        faces: The target's face by frame.
        codec: Of the target's colour space.

    Raises:
        ShotError: One is black and white, and the other is not.
    """
    of_target = is_black_and_white(target, faces, codec)
    for source in sources if of_target is not None else ():
        of_source = is_black_and_white(source.clip_input, source.performer.faces, source.codec)
        if of_source is None or of_source == of_target:
            continue
        source_kind, target_kind = (BLACK_AND_WHITE, IN_COLOUR) if of_source else (IN_COLOUR, BLACK_AND_WHITE)
        remedy = (
            "take the colour out of the source first" if of_target else "use a source in colour, or colour it first"
        )
        raise ShotError(
            f"the source {source.clip_input.clip.path} is {source_kind} and the target {target.clip.path} is "
            f"{target_kind}; lips and eyes would not match. {remedy.capitalize()}"
        )


def is_black_and_white(clip_input: ClipInput, faces: Mapping[int, Face], codec: Codec) -> bool | None:
    """Tells whether a clip is black and white, by the first face that can be read.

    Args:
        clip_input: The clip.
        faces: By frame.
        codec: Of the clip's colour space.

    Returns:
        None if the face is too dark, hardly coloured, or cannot be read.
    """
    for frame in islice(sorted(faces), TRIED_FRAMES):
        try:
            plate = clip_input.sequence.read(frame)
            check_rgb(plate, str(clip_input.sequence.get_frame_path(frame)))
        except PlateError:
            continue
        region = compute_region(faces[frame].box, 0.0, plate.pixel_aspect).intersect(plate.data_window)
        if region.empty:
            continue
        display = codec.encode(plate.crop(region).get(*RGB))
        if np.percentile(display, 95) < DARK:
            continue
        chroma = np.percentile(display.max(-1) - display.min(-1), 90)
        return True if chroma <= GRAY_CHROMA else False if chroma >= SKIN_CHROMA else None
    return None
