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
        analysed_frames: Frames in which the face was looked for.
        unused_frames: Frames whose pictures are not looked at: the artist excludes them, or they are damaged.
    """

    clip_input: ClipInput
    performer: Performer
    exposure: float
    codec: Codec
    analysed_frames: tuple[int, ...] = ()
    unused_frames: frozenset[int] = frozenset()

    @property
    def shown_faces(self) -> dict[int, Face]:
        """The faces by frame, without the unused frames."""
        return {frame: face for frame, face in self.performer.faces.items() if frame not in self.unused_frames}

    @cached_property
    def open_eyed_frames(self) -> tuple[int, ...]:
        """Frames in which irises and glasses are measured."""
        available, aspect = self.clip_input.sequence.frames, self.performer.pixel_aspect
        return choose_open_eyed_frames(self.shown_faces, available, aspect)


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
