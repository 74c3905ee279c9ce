"""Pairs of frames of one clip: a view goes in with the landmarks of another frame, that other frame should come out
(FSGAN, arXiv 1908.05932, section 3.2).

Which pairs a step sees is a function of the seed and the step's number alone, so that a run that was killed goes on
with the pairs that it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsgan_core.faces.heatmap import heat_maps
from fsgan_core.faces.wflw import carried
from fsgan_core.plates.plate import Window
from fsgan_core.stages.mesh import control_points
from fsgan_core.stages.reenact import spline_stiffness
from fsgan_core.stages.warp import sample, spline_map
from fsgan_core.training.data import FaceSet
from fsgan_core.training.vary import SHARE, varied

__all__ = ["Batch", "Pair", "Pairs", "held_out", "trial_pairs"]

HELD_OUT = 0.1  # of a clip's faces: kept from training, to measure by
ENOUGH = 20  # faces below which a clip keeps none back
STIFFNESS = 0.008  # of the warp, as reenact.stiffness


@dataclass(frozen=True)
class Pair:
    """Indices of two faces of one clip: the view, and the one that it shall become."""

    view: int
    target: int


@dataclass(frozen=True)
class Batch:
    """inputs: float32 (n, 3 + landmarks, p, p), the view in [-1, 1] and heat maps in 0..1; targets: float32
    (n, 3, p, p) in [-1, 1]. RGB."""

    inputs: np.ndarray
    targets: np.ndarray


def held_out(faces: FaceSet) -> np.ndarray:
    """bool (n,): faces that are kept from training. Of each clip with enough faces one run of neighbours, three
    quarters through it: single frames between training frames would be known from their neighbours."""
    kept = np.zeros(len(faces), bool)
    for clip in np.unique(faces.clips):
        members = np.flatnonzero(faces.clips == clip)
        if len(members) >= ENOUGH:
            count = max(2, round(HELD_OUT * len(members)))
            first = round(0.75 * (len(members) - count))
            kept[members[first:first + count]] = True
    return kept


def trial_pairs(faces: FaceSet, kept: np.ndarray, count: int) -> tuple[Pair, ...]:
    """Fixed pairs to look at and measure by: targets are faces that are held out (all, where none is), evenly spread;
    the view of each is the face of the same clip that may be trained on and stands farthest away in pose and
    expression, by landmarks."""
    targets = np.flatnonzero(kept) if kept.any() else np.arange(len(faces))
    pairs = []
    for target in targets[np.unique(np.linspace(0, len(targets) - 1, min(count, len(targets))).round().astype(int))]:
        others = np.flatnonzero((faces.clips == faces.clips[target]) & ~kept)
        others = others[others != target]
        if len(others):
            away = np.linalg.norm(faces.landmarks[others] - faces.landmarks[target], axis=-1).mean(-1)
            pairs.append(Pair(int(others[np.argmax(away)]), int(target)))
    return tuple(pairs)


class Pairs:
    """Makes the network's inputs and targets. faces: all there are. usable: bool (n,), which of them are trained on.
    prewarp: whether the view is first warped to the target's landmarks; some targets of a step are then varied."""

    def __init__(self, faces: FaceSet, usable: np.ndarray, *, prewarp: bool, seed: int) -> None:
        self.faces = faces
        self.prewarp = prewarp
        self._seed = seed
        partners = {int(clip): np.flatnonzero((faces.clips == clip) & usable) for clip in np.unique(faces.clips)}
        self._partners = {clip: members for clip, members in partners.items() if len(members) >= 2}
        self._targets = np.concatenate(list(self._partners.values()))

    def chosen(self, step: int, count: int) -> tuple[Pair, ...]:
        """The pairs of a step."""
        random = np.random.default_rng([self._seed, step])
        pairs = []
        for target in self._targets[random.integers(len(self._targets), size=count)]:
            members = self._partners[int(self.faces.clips[target])]
            others = members[members != target]
            pairs.append(Pair(int(others[random.integers(len(others))]), int(target)))
        return tuple(pairs)

    def of_step(self, step: int, count: int) -> Batch:
        """What a step is trained on."""
        return self.batch(self.chosen(step, count), np.random.default_rng([self._seed, step, 1]))

    def batch(self, pairs: Sequence[Pair], random: np.random.Generator | None = None) -> Batch:
        """random: varies some of the targets where views are warped; None: none."""
        made = [self._made(pair, random) for pair in pairs]
        size = self.faces.layout.resolution
        views = np.stack([signed(view) for view, _, _ in made])
        maps = np.stack([heat_maps(points, size) for _, points, _ in made])
        return Batch(np.concatenate([views, maps], 1), np.stack([signed(target) for _, _, target in made]))

    def view(self, pair: Pair) -> np.ndarray:
        """uint8 (p, p, 3): what the network is shown of the view."""
        return self._made(pair, None)[0]

    def _made(self, pair: Pair, random: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """View and target, uint8 (p, p, 3), and the points that the network is given, shares of the crop."""
        faces = self.faces
        points, target = faces.points[pair.target], faces.crop(pair.target)
        if not self.prewarp:
            return faces.crop(pair.view), points, target
        size = faces.layout.resolution
        own = self._places(pair.target)
        goal = own
        if random is not None and random.random() < SHARE:
            goal = varied(own, size, random)
            shares = (goal + 0.5) / size
            points = shares if points.shape[0] == 68 else carried(points, faces.landmarks[pair.target], shares)
            target = self._warped(pair.target, goal)
        return self._warped(pair.view, goal), points, target

    def _places(self, index: int) -> np.ndarray:
        """float64 (68, 2): a face's landmarks in its crop, pixels. Shares count from the crop's edge, arrays from the
        first pixel's centre."""
        return np.asarray(self.faces.landmarks[index].astype(np.float64) * self.faces.layout.resolution - 0.5)

    def _warped(self, index: int, goal: np.ndarray) -> np.ndarray:
        """uint8 (p, p, 3): a face brought to the landmarks `goal` in a crop."""
        size, margin = self.faces.layout.resolution, self.faces.layout.margin
        mapping = spline_map(control_points(goal), control_points(self._places(index) + margin),
                             Window(0, 0, size, size), spline_stiffness(STIFFNESS))
        return np.rint(np.clip(sample(self.faces.pictures[index].astype(np.float32), mapping), 0, 255)).astype(np.uint8)


def signed(picture: np.ndarray) -> np.ndarray:
    """float32 (3, h, w) in [-1, 1] of uint8 (h, w, 3)."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)
