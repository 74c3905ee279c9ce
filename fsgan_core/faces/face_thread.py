"""One face over time, and which threads are the same person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fsgan_core.faces.geometry import Box
from fsgan_core.runtime.arrays import Descriptor, Mesh, Points68, Points98

# Descriptors (Euclidean distances).
SAME_PERSON_DISTANCE = 0.5  # below which two threads may be one person


@dataclass(frozen=True)
class FaceSighting:
    """A face in one picture.

    Attributes:
        mesh: (478, 3), pixels of the picture.
        landmarks: (68, 2), pixels of the picture; read from the mesh, or placed by another landmarker.
        confidence: 0..1.
        origin: As in `track.Face`, like the rest.
        wflw: (98, 2), pixels of the picture.
        begins: Whether nothing was seen of this face before: the first frame, or the first after a cut.
    """

    mesh: Mesh
    landmarks: Points68
    confidence: float
    origin: str
    wflw: Points98 | None = None
    begins: bool = False


@dataclass(eq=False)
class FaceThread:
    """One face over time, by place (position among the analysed frames).

    Attributes:
        sightings: The face in each picture that shows it.
        boxes: Its box in each of these pictures.
        descriptors: Of some of these pictures.
        last_described: Place of the latest descriptor.
        certainty: Confidence of the detector when it searched last; None if it did not find the face.
    """

    sightings: dict[int, FaceSighting] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)
    descriptors: list[Descriptor] = field(default_factory=list)
    last_described: int = -1000
    certainty: float | None = None

    @property
    def last_place(self) -> int:
        """The latest place that shows the face."""
        return max(self.sightings)

    @property
    def mean_descriptor(self) -> Descriptor | None:
        """Mean of the descriptors; None without any."""
        return np.mean(self.descriptors, axis=0) if self.descriptors else None


def group_threads(threads: Sequence[FaceThread]) -> list[list[FaceThread]]:
    """Groups threads into people: threads that are never in one picture together, and look alike.

    Returns:
        The threads of each person, in order of time.
    """
    groups: list[list[FaceThread]] = []
    for thread in sorted(threads, key=lambda thread: (-len(thread.sightings), min(thread.sightings))):
        fitting = [
            (score, index)
            for index, group in enumerate(groups)
            if (score := _measure_kinship(thread, group)) is not None
        ]
        if fitting:
            groups[min(fitting)[1]].append(thread)
        else:
            groups.append([thread])
    return [sorted(group, key=lambda thread: min(thread.sightings)) for group in groups]


def _measure_kinship(thread: FaceThread, group: Sequence[FaceThread]) -> float | None:
    """Descriptor distance to the group's mean if the thread may belong to it, else None."""
    if any(place in other.sightings for other in group for place in thread.sightings):
        return None
    known = [descriptor for other in group for descriptor in other.descriptors]
    if not known or not thread.descriptors:
        return None
    distance = float(np.linalg.norm(np.mean(known, axis=0) - np.mean(thread.descriptors, axis=0)))
    return distance if distance < SAME_PERSON_DISTANCE else None
