"""How well a generator does on fixed pairs: figures, and a strip of pictures to look at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces.identity import compare_descriptors, compute_descriptor
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.training.data.pairs import PairSampler, TrainingPair

__all__ = ["Trial", "TrialFigures", "make_strip", "to_pictures", "write_strip"]

log = logging.getLogger(__name__)

_STRIP_GAP = 2  # pixels between the pictures of a strip


@dataclass(frozen=True)
class TrialFigures:
    """Means over pairs, against the real frames. l1: of 0..1. psnr: dB, of the mean squared error of all pairs
    together. identity: distance of face descriptors; None where it was not measured, or dlib is not installed."""

    l1: float
    psnr: float
    identity: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "l1": round(self.l1, 5),
            "psnr": round(self.psnr, 3),
            "identity": None if self.identity is None else round(self.identity, 4),
        }

    def __str__(self) -> str:
        said = f"L1 {self.l1:.4f}, PSNR {self.psnr:.2f} dB"
        return said if self.identity is None else f"{said}, identity distance {self.identity:.3f}"


class Trial:
    """Fixed pairs, and what is known of their real frames."""

    def __init__(self, pairs: PairSampler, trial: Sequence[TrainingPair]) -> None:
        self.sampler = pairs
        self.trial_pairs = tuple(trial)
        self._target_pictures = [np.ascontiguousarray(pairs.faces.get_crop(pair.target)) for pair in trial]
        self._target_descriptors: list[np.ndarray] | None = None

    def compute_figures(self, pictures: Sequence[np.ndarray], *, identity: bool = True) -> TrialFigures:
        """pictures: uint8 (p, p, 3), one for each pair. identity: whether it is measured, which takes a while."""
        difference = (np.stack(pictures).astype(np.float64) - np.stack(self._target_pictures)) / 255
        error = max(float((difference**2).mean()), 1e-10)
        distance = self._measure_identity(pictures) if identity else None
        return TrialFigures(float(np.abs(difference).mean()), -10 * float(np.log10(error)), distance)

    def make_views(self) -> list[np.ndarray]:
        """What the network is shown."""
        return [self.sampler.make_view(pair) for pair in self.trial_pairs]

    def _measure_identity(self, pictures: Sequence[np.ndarray]) -> float | None:
        try:
            if self._target_descriptors is None:
                self._target_descriptors = self._compute_descriptors(self._target_pictures)
            found = self._compute_descriptors(pictures)
        except EngineError as failure:
            log.info("identity is not measured: %s", failure)
            return None
        return float(np.mean([compare_descriptors(a, b) for a, b in zip(found, self._target_descriptors, strict=True)]))

    def _compute_descriptors(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        faces = self.sampler.faces
        size = faces.layout.resolution
        places = [faces.landmarks[pair.target].astype(np.float64) * size - 0.5 for pair in self.trial_pairs]
        return [
            compute_descriptor(np.ascontiguousarray(picture), points)
            for picture, points in zip(pictures, places, strict=True)
        ]


def make_strip(made: Sequence[np.ndarray], pairs: PairSampler, trial: Sequence[TrainingPair]) -> np.ndarray:
    """uint8 (h, w, 3), RGB: a row for each pair: source frame, its warped view where that is what the network is
    shown, the real target frame, what the network made."""
    rows = []
    for picture, pair in zip(made, trial, strict=True):
        row = [pairs.faces.get_crop(pair.view)]
        if pairs.prewarp:
            row.append(pairs.make_view(pair))
        row += [pairs.faces.get_crop(pair.target), picture]
        rows.append(
            np.hstack([np.pad(one, ((_STRIP_GAP, _STRIP_GAP), (_STRIP_GAP, _STRIP_GAP), (0, 0))) for one in row])
        )
    return np.vstack(rows)


def write_strip(path: Path, picture: np.ndarray) -> None:
    """As PNG. Raises OutputError."""
    with write_atomically(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def to_pictures(made: np.ndarray) -> list[np.ndarray]:
    """uint8 (h, w, 3) each, of float (n, 3, h, w) in [-1, 1]."""
    levels = np.rint(np.clip((made + 1) * 127.5, 0, 255)).astype(np.uint8)
    return [np.ascontiguousarray(one.transpose(1, 2, 0)) for one in levels]
