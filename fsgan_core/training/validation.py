"""Measure a generator on fixed pairs: figures, and a strip of pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fsgan_core.faces.identity import compare_descriptors, compute_descriptor
from fsgan_core.plates.synthetic_mark import add_mark, make_xmp
from fsgan_core.runtime.arrays import Descriptor, Image8, PlaneStack
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.training.data.pairs import PairSampler, TrainingPair

__all__ = ["Trial", "TrialFigures", "make_strip", "to_pictures", "write_strip"]

_STRIP_GAP = 2  # pixels between the pictures of a strip


@dataclass(frozen=True)
class TrialFigures:
    """Differences between generated and real frames, as means over all pairs.

    Attributes:
        l1: Mean absolute difference of pictures in 0..1.
        psnr: Peak signal-to-noise ratio in dB, from the mean squared error of all pairs together.
        identity: Distance of face descriptors; None if it was not measured.
    """

    l1: float
    psnr: float
    identity: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data for JSON."""
        return {
            "l1": round(self.l1, 5),
            "psnr": round(self.psnr, 3),
            "identity": None if self.identity is None else round(self.identity, 4),
        }

    def __str__(self) -> str:
        text = f"L1 {self.l1:.4f}, PSNR {self.psnr:.2f} dB"
        return text if self.identity is None else f"{text}, identity distance {self.identity:.3f}"


class Trial:
    """Fixed pairs to measure a generator on.

    Args:
        pairs: Makes the views.
        trial: The pairs.
    """

    def __init__(self, pairs: PairSampler, trial: Sequence[TrainingPair]) -> None:
        self.sampler = pairs
        self.trial_pairs = tuple(trial)
        self._target_pictures = [np.ascontiguousarray(pairs.faces.get_crop(pair.target)) for pair in trial]
        self._target_descriptors: list[Descriptor] | None = None

    def compute_figures(self, pictures: Sequence[Image8], *, identity: bool = True) -> TrialFigures:
        """Compare pictures with the real target frames.

        Args:
            pictures: One for each pair.
            identity: Whether to measure the identity distance too, which takes a while.
        """
        difference = (np.stack(pictures).astype(np.float64) - np.stack(self._target_pictures)) / 255
        error = max(float((difference**2).mean()), 1e-10)
        distance = self._measure_identity(pictures) if identity else None
        return TrialFigures(float(np.abs(difference).mean()), -10 * float(np.log10(error)), distance)

    def make_views(self) -> list[Image8]:
        """Make the pictures that the network is shown."""
        return [self.sampler.make_view(pair) for pair in self.trial_pairs]

    def _measure_identity(self, pictures: Sequence[Image8]) -> float:
        if self._target_descriptors is None:
            self._target_descriptors = self._compute_descriptors(self._target_pictures)
        descriptors = self._compute_descriptors(pictures)
        return float(
            np.mean([compare_descriptors(a, b) for a, b in zip(descriptors, self._target_descriptors, strict=True)])
        )

    def _compute_descriptors(self, pictures: Sequence[Image8]) -> list[Descriptor]:
        faces = self.sampler.faces
        size = faces.layout.resolution
        landmarks = [faces.landmarks[pair.target].astype(np.float64) * size - 0.5 for pair in self.trial_pairs]
        return [
            compute_descriptor(np.ascontiguousarray(picture), points)
            for picture, points in zip(pictures, landmarks, strict=True)
        ]


def make_strip(pictures: Sequence[Image8], pairs: PairSampler, trial: Sequence[TrainingPair]) -> Image8:
    """Arrange pictures to look at, one row for each pair.

    A row has the source frame, the warped view if the network is shown one, the real target frame, and the network's
    picture.

    Args:
        pictures: The network's pictures.
        pairs: Makes the views.
        trial: The pairs.
    """
    rows = []
    for picture, pair in zip(pictures, trial, strict=True):
        row = [pairs.faces.get_crop(pair.view)]
        if pairs.prewarp:
            row.append(pairs.make_view(pair))
        row += [pairs.faces.get_crop(pair.target), picture]
        rows.append(
            np.hstack([np.pad(cell, ((_STRIP_GAP, _STRIP_GAP), (_STRIP_GAP, _STRIP_GAP), (0, 0))) for cell in row])
        )
    return np.vstack(rows)


def write_strip(path: Path, picture: Image8, consent: str = "") -> None:
    """Write a picture as PNG, with the mark of synthesised faces, which names the release `consent`.

    Raises:
        OutputError: The file cannot be written.
    """
    encoded = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    with write_atomically(path) as temporary:
        temporary.write_bytes(add_mark(encoded, make_xmp(consent=consent)))


def to_pictures(output: PlaneStack) -> list[Image8]:
    """Convert a network's output, float (n, 3, height, width) in -1..1, to pictures."""
    levels = np.rint(np.clip((output + 1) * 127.5, 0, 255)).astype(np.uint8)
    return [np.ascontiguousarray(planes.transpose(1, 2, 0)) for planes in levels]
