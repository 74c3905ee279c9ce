"""A source of a job, opened and analysed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fsgan_core.clips.inputs import ClipInput
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.features.openings import measure_lid_openings
from fsgan_core.stages.warp_points import Performer

__all__ = ["SourceClip", "choose_open_eyed_frames"]

OPEN_EYED_FRAMES = 5  # of each clip, in which irises and glasses are measured


@dataclass(frozen=True)
class SourceClip:
    """A clip that views come from.

    Attributes:
        clip_input: The opened clip.
        performer: The person whose face it shows.
        exposure: Stops that bring it to display brightness.
        codec: Converts its colours to a display's and back.
    """

    clip_input: ClipInput
    performer: Performer
    exposure: float
    codec: Codec

    @cached_property
    def open_eyed_frames(self) -> tuple[int, ...]:
        """Frames in which irises and glasses are measured."""
        who = self.performer
        return choose_open_eyed_frames(who.faces, self.clip_input.sequence.frames, who.pixel_aspect)


def choose_open_eyed_frames(faces: Mapping[int, Face], frames: Iterable[int], pixel_aspect: float) -> tuple[int, ...]:
    """Chooses up to `OPEN_EYED_FRAMES` frames, evenly spread among those with the eyes as open as usual.

    Args:
        faces: By frame.
        frames: Those that can be read.
        pixel_aspect: Width of a pixel over its height.
    """
    known = sorted(faces.keys() & set(frames))
    openings = np.array(
        [measure_lid_openings(faces[frame].get_mesh(pixel_aspect), pixel_aspect).min() for frame in known]
    )
    usual = [frame for frame, opening in zip(known, openings, strict=True) if opening >= np.median(openings)]
    return tuple(usual[index] for index in sample_evenly(len(usual), OPEN_EYED_FRAMES))
