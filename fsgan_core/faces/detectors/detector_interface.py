"""What a detector is, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.geometry import Box, compute_coverage
from fsgan_core.runtime.arrays import Image8, Points68

_DUPLICATE_COVERAGE = 0.6  # share of a box inside a surer one, from which it counts as the same face
_Found = TypeVar("_Found", bound=Any)  # has a box and a confidence


@dataclass(frozen=True)
class Detection:
    """A face in a picture.

    Attributes:
        box: (x, y, width, height), pixels of the picture.
        confidence: 0..1.
        square: Where the mesh network should look.
        landmarks: float64 (68, 2) if the detector had to find them anyway, else None.
    """

    box: Box
    confidence: float
    square: RotatedSquare
    landmarks: Points68 | None = None


class Detector(Protocol):
    """Finds faces. Safe from several threads. Pictures are uint8 RGB with square pixels."""

    name: str
    search_pixels: int  # of the pictures for `find_candidates`
    fine_pixels: int  # the same for fine searches

    def detect(self, picture: Image8) -> list[Detection]:
        """Finds all faces, surest first, as thoroughly as it can."""
        ...

    def find_candidates(self, picture: Image8, fine: bool = False) -> list[Detection]:
        """Finds what may be faces, quickly and without further proof; `fine` finds small ones too."""
        ...


def drop_duplicates(detections: Sequence[_Found]) -> list[_Found]:
    """Sorts detections, surest first, and leaves out those whose box lies mostly inside, or around, a surer one."""
    chosen: list[_Found] = []
    for detection in sorted(detections, key=lambda d: -d.confidence):
        if all(compute_coverage(detection.box, other.box) < _DUPLICATE_COVERAGE for other in chosen):
            chosen.append(detection)
    return chosen
