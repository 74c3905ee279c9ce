"""A source of a job, opened and analysed."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.clips.inputs import ClipInput
from fsgan_core.plates.colour import Codec
from fsgan_core.stages.warp_points import Performer

__all__ = ["SourceClip"]


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
