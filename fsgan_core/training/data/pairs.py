"""Pairs of frames of one clip: a view goes in with the landmarks of another frame, that other frame should come out
(FSGAN, arXiv 1908.05932, section 3.2).

Which pairs a step sees is a function of the seed and the step's number alone, so that a run that was killed goes on
with the pairs that it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.faces.landmarks_wflw import carry_points
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.image_ops import draw_polygon
from fsgan_core.stages.reenactment import draw_features, make_spline_stiffness
from fsgan_core.stages.warp import fit_spline_map, sample_picture
from fsgan_core.stages.warp_points import compute_control_points, compute_outline
from fsgan_core.training.data.augment import AugmentSettings, CameraWear, ColourGrade, mirror_picture, mirror_points
from fsgan_core.training.data.face_crops import FaceSet
from fsgan_core.training.data.shape_variation import VARIED_SHARE, vary_proportions

__all__ = ["Batch", "PairSampler", "TrainingPair", "choose_trial_pairs", "compute_even_chances", "mark_held_out"]

HELD_OUT_SHARE = 0.1  # of a clip's faces: kept from training, to measure by
MIN_FACES_TO_HOLD_OUT = 20  # faces below which a clip keeps none back
WARP_STIFFNESS = 0.008  # of the warp, as reenact.stiffness
WHOLE_BATCH = slice(None)
FOCUS_MARGIN = 0.02  # of the crop: so much around the face is looked at too, where the losses count on it alone
SKIN_WEIGHT = (
    0.35  # of what an error counts on eyes, brows and lips, where they count on the face alone: skin is most of it
)


@dataclass(frozen=True)
class TrainingPair:
    """Indices of two faces of one clip: the view, and the one that it shall become."""

    view: int
    target: int


@dataclass(frozen=True)
class Batch:
    """inputs: float32 (n, channels, p, p), as the network takes them: RGB in [-1, 1], mattes in 0..1. targets: float32
    (n, 3, p, p) in [-1, 1], or classes, int64 (n, p, p). where: float32 (n, 1, p, p), 0..1, where the losses count;
    None: everywhere. points: float32 (n, k, 2), shares of the crop, whose heat maps the network takes beside the
    inputs; they are drawn where it is (`loops.shown`), being many times as large as all else. None: it takes none."""

    inputs: np.ndarray
    targets: np.ndarray
    loss_mask: np.ndarray | None = None
    heat_map_points: np.ndarray | None = None


@dataclass(frozen=True)
class _StoredFace:
    """A face as it lies in the set, or mirrored. picture: uint8 (side, side, 3). landmarks (68, 2), points: shares of
    the crop. matte: uint8 (side, side), where the face is; None where nobody asks."""

    picture: np.ndarray
    landmarks: np.ndarray
    points: np.ndarray
    matte: np.ndarray | None


def mark_held_out(faces: FaceSet) -> np.ndarray:
    """bool (n,): faces that are kept from training. Of each clip with enough faces one run of neighbours, three
    quarters through it: single frames between training frames would be known from their neighbours."""
    kept = np.zeros(len(faces), bool)
    for clip in np.unique(faces.clips):
        members = np.flatnonzero(faces.clips == clip)
        if len(members) >= MIN_FACES_TO_HOLD_OUT:
            count = max(2, round(HELD_OUT_SHARE * len(members)))
            first = round(0.75 * (len(members) - count))
            kept[members[first : first + count]] = True
    return kept


def choose_trial_pairs(faces: FaceSet, kept: np.ndarray, count: int) -> tuple[TrainingPair, ...]:
    """Fixed pairs to look at and measure by: targets are faces that are held out (all, where none is), evenly spread;
    the view of each is the face of the same clip that may be trained on and stands farthest away in pose and
    expression, by landmarks."""
    targets = np.flatnonzero(kept) if kept.any() else np.arange(len(faces))
    pairs = []
    for target in targets[sample_evenly(len(targets), count)]:
        others = np.flatnonzero((faces.clips == faces.clips[target]) & ~kept)
        others = others[others != target]
        if len(others):
            away = np.linalg.norm(faces.landmarks[others] - faces.landmarks[target], axis=-1).mean(-1)
            pairs.append(TrainingPair(int(others[np.argmax(away)]), int(target)))
    return tuple(pairs)


class PairSampler:
    """Makes the network's inputs and targets. faces: all there are. usable: bool (n,), which of them are trained on.
    prewarp: whether the view is first warped to the target's landmarks; some targets of a step are then varied.
    augment: how the pairs of a step are changed. focus: whether batches say where the target's face is. people: (n,),
    whose each face is; everybody is then shown as often as anybody else."""

    def __init__(
        self,
        faces: FaceSet,
        usable: np.ndarray,
        *,
        prewarp: bool,
        seed: int,
        augment: AugmentSettings | None = None,
        focus: bool = False,
        people: np.ndarray | None = None,
    ) -> None:
        self.faces = faces
        self.prewarp = prewarp
        self._seed = seed
        self._augment = augment
        self._focus = focus
        partners = {int(clip): np.flatnonzero((faces.clips == clip) & usable) for clip in np.unique(faces.clips)}
        self._partners = {clip: members for clip, members in partners.items() if len(members) >= 2}
        self._targets = np.concatenate(list(self._partners.values()))
        self._probabilities = None if people is None else compute_even_chances(people[self._targets])

    def choose_pairs(self, step: int, count: int) -> tuple[TrainingPair, ...]:
        """The pairs of a step."""
        random = np.random.default_rng([self._seed, step])
        pairs = []
        for target in random.choice(self._targets, count, p=self._probabilities):
            members = self._partners[int(self.faces.clips[target])]
            others = members[members != target]
            pairs.append(TrainingPair(int(others[random.integers(len(others))]), int(target)))
        return tuple(pairs)

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch:
        """What a step is trained on; of its `count` pairs those of `part`."""
        randoms = [np.random.default_rng([self._seed, step, 1, place]) for place in range(count)]
        return self.make_batch(self.choose_pairs(step, count)[part], randoms[part])

    def make_batch(self, pairs: Sequence[TrainingPair], randoms: Sequence[np.random.Generator | None] = ()) -> Batch:
        """randoms: for each pair what changes it, and varies some of the targets where views are warped; none: pairs
        as they are."""
        made = [
            self._make_pair(pair, random) for pair, random in zip(pairs, randoms or [None] * len(pairs), strict=True)
        ]
        where = np.stack([where[None] for _, _, _, where in made if where is not None]) if self._focus else None
        return Batch(
            np.stack([bytes_to_signed_planes(view) for view, _, _, _ in made]),
            np.stack([bytes_to_signed_planes(target) for _, _, target, _ in made]),
            where,
            np.stack([points for _, points, _, _ in made]).astype(np.float32),
        )

    def make_view(self, pair: TrainingPair) -> np.ndarray:
        """uint8 (p, p, 3): what the network is shown of the view."""
        return self._make_pair(pair, None)[0]

    def _make_pair(
        self, pair: TrainingPair, random: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """View and target, uint8 (p, p, 3), the points that the network is given, shares of the crop, and where the
        losses count."""
        augment = self._augment if random is not None else None
        mirror = augment is not None and random is not None and random.random() < augment.flip
        view, target = self._get_face(pair.view, mirror), self._get_face(pair.target, mirror)
        size = self.faces.layout.resolution
        points, wanted, where = target.points, self._cut_crop(target.picture), target.matte
        where = self._cut_crop(where) if where is not None else None
        shown = view.picture if self.prewarp else self._cut_crop(view.picture)
        goal = own = self._compute_landmark_pixels(target)
        if self.prewarp:
            if random is not None and random.random() < VARIED_SHARE:
                goal = vary_proportions(own, size, random)
                shares = (goal + 0.5) / size
                points = shares if points.shape[0] == 68 else carry_points(points, target.landmarks, shares)
                moved = self._warp_face(target, goal)
                wanted = moved[..., :3]
                where = moved[..., 3] if target.matte is not None else None
            shown = self._warp_face(replace(view, matte=None), goal)
        if augment is not None and random is not None:
            look, wear = ColourGrade.draw_random(augment, random), CameraWear.draw_random(augment, size, random)
            shown, wanted = (floats_to_bytes(wear(look(bytes_to_floats(picture)))) for picture in (shown, wanted))
        return shown, points, wanted, _weigh_loss_mask(where, goal) if where is not None else None

    def _get_face(self, index: int, mirror: bool) -> _StoredFace:
        faces = self.faces
        matte = self._get_matte(index) if self._focus else None
        if not mirror:
            return _StoredFace(faces.pictures[index], faces.landmarks[index], faces.points[index], matte)
        return _StoredFace(
            mirror_picture(faces.pictures[index]),
            mirror_points(faces.landmarks[index]),
            mirror_points(faces.points[index]),
            mirror_picture(matte) if matte is not None else None,
        )

    def _get_matte(self, index: int) -> np.ndarray:
        """uint8 (side, side): where the face is; where mattes were not prepared, its landmarks' outline."""
        faces = self.faces
        if faces.mattes is not None:
            return np.asarray(faces.mattes[index, ..., 0])
        side, margin = faces.layout.side, faces.layout.margin
        window = Window(0, 0, side, side)
        places = faces.landmarks[index].astype(np.float64) * faces.layout.resolution - 0.5 + margin
        return floats_to_bytes(np.maximum(*(draw_polygon(part, window) for part in compute_outline(places))))

    def _cut_crop(self, picture: np.ndarray) -> np.ndarray:
        margin, size = self.faces.layout.margin, self.faces.layout.resolution
        return picture[margin : margin + size, margin : margin + size]

    def _compute_landmark_pixels(self, seen: _StoredFace) -> np.ndarray:
        """float64 (68, 2): a face's landmarks in its crop, pixels. Shares count from the crop's edge, arrays from the
        first pixel's centre."""
        return np.asarray(seen.landmarks.astype(np.float64) * self.faces.layout.resolution - 0.5)

    def _warp_face(self, seen: _StoredFace, goal: np.ndarray) -> np.ndarray:
        """uint8 (p, p, 3 or 4): a face, and its matte where that is wanted, brought to the landmarks `goal`."""
        size, margin = self.faces.layout.resolution, self.faces.layout.margin
        mapping = fit_spline_map(
            compute_control_points(goal),
            compute_control_points(self._compute_landmark_pixels(seen) + margin),
            Window(0, 0, size, size),
            make_spline_stiffness(WARP_STIFFNESS),
        )
        layers = seen.picture if seen.matte is None else np.dstack([seen.picture, seen.matte])
        return np.rint(np.clip(sample_picture(layers.astype(np.float32), mapping), 0, 255)).astype(np.uint8)


def compute_even_chances(people: np.ndarray) -> np.ndarray:
    """Chances, sum 1, by which everybody comes up as often as anybody else."""
    _, who, count = np.unique(people, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(count) * count[who]))


def _weigh_loss_mask(matte: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """float32 (p, p), 0..1: the face and a little around it, of a matte in bytes; eyes, brows and lips in full, skin
    less. landmarks: (68, 2), pixels of it."""
    parts = draw_features(landmarks, Window(0, 0, len(matte), len(matte)))
    return np.asarray(_widen_matte(matte) * (SKIN_WEIGHT + (1 - SKIN_WEIGHT) * parts))


def _widen_matte(matte: np.ndarray) -> np.ndarray:
    """float32 (p, p), 0..1: the face and a little around it, of a matte in bytes."""
    size = 2 * max(1, round(FOCUS_MARGIN * len(matte))) + 1
    wide = cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.asarray(cv2.GaussianBlur(wide.astype(np.float32) / 255, (0, 0), size / 4))


def bytes_to_floats(picture: np.ndarray) -> np.ndarray:
    """float32, 0..1, of bytes."""
    return picture.astype(np.float32) / 255


def floats_to_bytes(picture: np.ndarray) -> np.ndarray:
    """uint8 of 0..1."""
    result: np.ndarray = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return result


def to_signed_planes(picture: np.ndarray) -> np.ndarray:
    """float32 (3, h, w) in [-1, 1] of (h, w, 3), 0..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) * np.float32(2) - np.float32(1)


def bytes_to_signed_planes(picture: np.ndarray) -> np.ndarray:
    """float32 (3, h, w) in [-1, 1] of uint8 (h, w, 3)."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)
