"""Looks at the sources of a swap beside its target: what cannot give a good picture is refused, or warned of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from fsgan_core.clips.inputs import ClipInput, check_rgb
from fsgan_core.contract.errors import PlateError, ShotError
from fsgan_core.contract.layers import RGB
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Window
from fsgan_core.plates.region import compute_region
from fsgan_core.render.source_clip import SourceClip
from fsgan_core.runtime.arrays import Image
from fsgan_core.stages.occluders.sunglasses import hides_eyes

__all__ = ["check_colourfulness", "is_black_and_white", "warn_of_hidden_eyes"]

log = logging.getLogger(__name__)

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
        of_source = is_black_and_white(source.clip_input, source.shown_faces, source.codec)
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
    for display, _, _ in _show_faces(clip_input, faces, codec):
        chroma = np.percentile(display.max(-1) - display.min(-1), 90)
        return True if chroma <= GRAY_CHROMA else False if chroma >= SKIN_CHROMA else None
    return None


def warn_of_hidden_eyes(sources: Sequence[SourceClip]) -> None:
    """Logs a warning for each source whose eyes are dark all around: behind sunglasses.

    Args:
        sources: The sources; those without a face do not count.
    """
    for source in sources:
        for display, region, face in _show_faces(source.clip_input, source.shown_faces, source.codec):
            if hides_eyes(display, face.landmarks, region):
                log.warning(
                    "the eyes of the source %s seem to be behind sunglasses (frame %d). They are not taken off: the "
                    "new face has dark patches there. Use a source that shows the eyes",
                    source.clip_input.clip.path,
                    face.frame,
                )
            break


def _show_faces(clip_input: ClipInput, faces: Mapping[int, Face], codec: Codec) -> Iterator[tuple[Image, Window, Face]]:
    """The first faces of a clip that can be read and are not too dark: display-like values, their place, the face."""
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
        if np.percentile(display, 95) >= DARK:
            yield display, region, faces[frame]
