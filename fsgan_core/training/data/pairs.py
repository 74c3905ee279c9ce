"""Training pairs: the input is a view and the landmarks of another frame of the clip, the target is that other frame.

FSGAN, arXiv 1908.05932, section 3.2. The pairs of a step depend only on the seed and the step's number, so that a run
that was interrupted continues with the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_L, EYE_R, MOUTH_OUTER
from fsgan_core.faces.landmarkers.landmarks_wflw import carry_points
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import (
    AnyArray,
    Flags,
    Image,
    Image8,
    Matte,
    Names,
    Planes,
    PlaneStack,
    Points,
    Points68,
    PointStack,
    Vector,
)
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.image_ops import draw_polygon
from fsgan_core.stages.reenactment import FEATURE_GROWTH, draw_hulls
from fsgan_core.stages.warp import fit_spline_map, sample_picture
from fsgan_core.stages.warp_points import compute_control_points, compute_outline, make_spline_stiffness
from fsgan_core.training.data.augment import AugmentSettings, CameraWear, ColourGrade, mirror_picture, mirror_points
from fsgan_core.training.data.face_crops import FaceSet
from fsgan_core.training.data.shape_variation import VARIED_SHARE, vary_proportions

__all__ = ["Batch", "PairSampler", "TrainingPair", "choose_trial_pairs", "compute_even_chances", "mark_held_out"]

HELD_OUT_SHARE = 0.1  # share of a clip's faces that is held out for validation
MIN_FACES_TO_HOLD_OUT = 20  # clips with fewer faces hold none out
WARP_STIFFNESS = 0.008  # of the warp, as reenact.stiffness
WHOLE_BATCH = slice(None)
FOCUS_MARGIN = 0.02  # share of the crop by which the face is widened if the losses count only on the face
# Weight of an error on skin, where eyes, brows and lips have 1: most of a face is skin.
SKIN_WEIGHT = 0.35


@dataclass(frozen=True)
class TrainingPair:
    """Two faces of one clip, as indices of a face set.

    Attributes:
        view: The face that the network is shown.
        target: The face that it should make of it.
    """

    view: int
    target: int


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of one training step.

    Attributes:
        inputs: float32 (n, channels, size, size), as the network takes them: RGB in -1..1, mattes in 0..1.
        targets: float32 (n, 3, size, size) in -1..1, or classes, int64 (n, size, size).
        loss_mask: How much the losses count at each pixel, float32 (n, 1, size, size), 0..1; None is 1 everywhere.
        heat_map_points: Landmarks whose heat maps the network takes as further inputs, float32 (n, k, 2), as shares of
            the crop; None for networks that take none. The heat maps are many times as large as everything else, so
            `trainer.build_network_input` draws them on the device.
    """

    inputs: PlaneStack
    targets: AnyArray
    loss_mask: PlaneStack | None = None
    heat_map_points: PointStack | None = None


@dataclass(frozen=True)
class _StoredFace:
    """A face of the set, or its mirror image. Points are shares of the crop; the matte is uint8 (side, side)."""

    picture: Image8
    landmarks: Points68
    points: Points
    matte: Image8 | None


def mark_held_out(faces: FaceSet) -> Flags:
    """Mark the faces that are held out from training, bool (n,).

    Each clip with enough faces holds out one run of neighbouring frames, three quarters through the clip. Single frames
    would be too similar to the training frames beside them.
    """
    is_held_out = np.zeros(len(faces), bool)
    for clip in np.unique(faces.clips):
        members = np.flatnonzero(faces.clips == clip)
        if len(members) >= MIN_FACES_TO_HOLD_OUT:
            count = max(2, round(HELD_OUT_SHARE * len(members)))
            start = round(0.75 * (len(members) - count))
            is_held_out[members[start : start + count]] = True
    return is_held_out


def choose_trial_pairs(faces: FaceSet, is_held_out: Flags, count: int) -> tuple[TrainingPair, ...]:
    """Choose fixed pairs for validation.

    Args:
        faces: All faces.
        is_held_out: Which faces are held out, bool (n,).
        count: Largest number of pairs.

    Returns:
        Pairs whose targets are held-out faces (any faces if none is held out), evenly spread. The view of each is the
        training face of the same clip whose landmarks differ most.
    """
    targets = np.flatnonzero(is_held_out) if is_held_out.any() else np.arange(len(faces))
    pairs = []
    for target in targets[sample_evenly(len(targets), count)]:
        candidates = np.flatnonzero((faces.clips == faces.clips[target]) & ~is_held_out)
        candidates = candidates[candidates != target]
        if len(candidates):
            distances = np.linalg.norm(faces.landmarks[candidates] - faces.landmarks[target], axis=-1).mean(-1)
            pairs.append(TrainingPair(int(candidates[np.argmax(distances)]), int(target)))
    return tuple(pairs)


class PairSampler:
    """Draws pairs, and makes the network's inputs and targets of them.

    Args:
        faces: All faces.
        usable: Which faces may be drawn, bool (n,).
        prewarp: Whether to warp the view to the target's landmarks. Some targets of a step are then varied.
        seed: Decides which pairs are drawn and how they are changed.
        augment: How the pairs of a step are changed; None leaves them as they are.
        focus: Whether batches have a loss mask of the target's face.
        people: Name of each face's person, (n,), to draw each person equally often; None draws each face equally often.
    """

    def __init__(
        self,
        faces: FaceSet,
        usable: Flags,
        *,
        prewarp: bool,
        seed: int,
        augment: AugmentSettings | None = None,
        focus: bool = False,
        people: Names | None = None,
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
        """Choose the pairs of a step."""
        random = np.random.default_rng([self._seed, step])
        pairs = []
        for target in random.choice(self._targets, count, p=self._probabilities):
            members = self._partners[int(self.faces.clips[target])]
            candidates = members[members != target]
            pairs.append(TrainingPair(int(candidates[random.integers(len(candidates))]), int(target)))
        return tuple(pairs)

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch:
        """Make the batch of a step.

        Args:
            step: Number of the step.
            count: Pairs of the step, in all processes together.
            part: Which of these pairs to make.
        """
        randoms = [np.random.default_rng([self._seed, step, 1, position]) for position in range(count)]
        return self.make_batch(self.choose_pairs(step, count)[part], randoms[part])

    def make_batch(self, pairs: Sequence[TrainingPair], randoms: Sequence[np.random.Generator | None] = ()) -> Batch:
        """Make a batch of given pairs.

        Args:
            pairs: The pairs.
            randoms: A random generator for each pair, which decides how it is changed; if empty, pairs are not changed.
        """
        examples = [
            self._make_pair(pair, random) for pair, random in zip(pairs, randoms or [None] * len(pairs), strict=True)
        ]
        masks = [mask[None] for _, _, _, mask in examples if mask is not None]
        return Batch(
            np.stack([bytes_to_signed_planes(view) for view, _, _, _ in examples]),
            np.stack([bytes_to_signed_planes(target) for _, _, target, _ in examples]),
            np.stack(masks) if self._focus else None,
            np.stack([points for _, points, _, _ in examples]).astype(np.float32),
        )

    def make_view(self, pair: TrainingPair) -> Image8:
        """Make the picture of the view that the network is shown."""
        return self._make_pair(pair, None)[0]

    def _make_pair(
        self, pair: TrainingPair, random: np.random.Generator | None
    ) -> tuple[Image8, Points, Image8, Matte | None]:
        """Return the view, the points for the network (shares of the crop), the target and the loss mask."""
        augment = self._augment if random is not None else None
        mirror = augment is not None and random is not None and random.random() < augment.flip
        view, target = self._get_face(pair.view, mirror), self._get_face(pair.target, mirror)
        size = self.faces.layout.resolution
        points, target_picture, matte = target.points, self._cut_crop(target.picture), target.matte
        matte = self._cut_crop(matte) if matte is not None else None
        view_picture = view.picture if self.prewarp else self._cut_crop(view.picture)
        goal_landmarks = landmarks = self._compute_landmark_pixels(target)
        if self.prewarp:
            if random is not None and random.random() < VARIED_SHARE:
                goal_landmarks = vary_proportions(landmarks, size, random)
                goal_shares = (goal_landmarks + 0.5) / size
                points = goal_shares if points.shape[0] == 68 else carry_points(points, target.landmarks, goal_shares)
                warped_target = self._warp_face(target, goal_landmarks)
                target_picture = warped_target[..., :3]
                matte = warped_target[..., 3] if target.matte is not None else None
            view_picture = self._warp_face(replace(view, matte=None), goal_landmarks)
        if augment is not None and random is not None:
            grade, wear = ColourGrade.draw_random(augment, random), CameraWear.draw_random(augment, size, random)
            view_picture, target_picture = (
                floats_to_bytes(wear(grade(bytes_to_floats(picture)))) for picture in (view_picture, target_picture)
            )
        return (
            view_picture,
            points,
            target_picture,
            _weigh_loss_mask(matte, goal_landmarks) if matte is not None else None,
        )

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

    def _get_matte(self, index: int) -> Image8:
        """Return the face's matte, uint8 (side, side); without prepared mattes, the outline of its landmarks."""
        faces = self.faces
        if faces.mattes is not None:
            return np.asarray(faces.mattes[index, ..., 0])
        side, margin = faces.layout.side, faces.layout.margin
        window = Window(0, 0, side, side)
        landmarks = faces.landmarks[index].astype(np.float64) * faces.layout.resolution - 0.5 + margin
        return floats_to_bytes(np.maximum(*(draw_polygon(part, window) for part in compute_outline(landmarks))))

    def _cut_crop(self, picture: Image8) -> Image8:
        margin, size = self.faces.layout.margin, self.faces.layout.resolution
        return picture[margin : margin + size, margin : margin + size]

    def _compute_landmark_pixels(self, face: _StoredFace) -> Points68:
        """Return the landmarks in pixels. Shares count from the edge of the crop, pixels from the first centre."""
        return np.asarray(face.landmarks.astype(np.float64) * self.faces.layout.resolution - 0.5)

    def _warp_face(self, face: _StoredFace, goal_landmarks: Points68) -> Image8:
        """Warp a face to the landmarks `goal_landmarks`; if it has a matte, that is the fourth channel."""
        size, margin = self.faces.layout.resolution, self.faces.layout.margin
        mapping = fit_spline_map(
            compute_control_points(goal_landmarks),
            compute_control_points(self._compute_landmark_pixels(face) + margin),
            Window(0, 0, size, size),
            make_spline_stiffness(WARP_STIFFNESS),
        )
        layers = face.picture if face.matte is None else np.dstack([face.picture, face.matte])
        return np.rint(np.clip(sample_picture(layers.astype(np.float32), mapping), 0, 255)).astype(np.uint8)


def compute_even_chances(people: Names) -> Vector:
    """Compute the probability of each face, so that each person is drawn equally often.

    >>> compute_even_chances(np.array(["anna", "anna", "ben"])).tolist()
    [0.25, 0.25, 0.5]
    """
    _, person_indices, face_counts = np.unique(people, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(face_counts) * face_counts[person_indices]))


def _weigh_loss_mask(matte: Image8, landmarks: Points68) -> Matte:
    """Make a loss mask of a matte in bytes: 1 on eyes, brows and lips, less on skin. Landmarks in pixels."""
    features = [landmarks[part] for part in (np.r_[BROW_R, EYE_R], np.r_[BROW_L, EYE_L], np.r_[MOUTH_OUTER])]
    parts = draw_hulls(features, FEATURE_GROWTH, Window(0, 0, len(matte), len(matte)))
    return np.asarray(_widen_matte(matte) * (SKIN_WEIGHT + (1 - SKIN_WEIGHT) * parts))


def _widen_matte(matte: Image8) -> Matte:
    """Widen a matte in bytes by `FOCUS_MARGIN`."""
    size = 2 * max(1, round(FOCUS_MARGIN * len(matte))) + 1
    wide = cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.asarray(cv2.GaussianBlur(wide.astype(np.float32) / 255, (0, 0), size / 4))


def bytes_to_floats(picture: Image8) -> Image:
    """Convert bytes to float32, 0..1."""
    return np.asarray(picture.astype(np.float32) / 255, np.float32)


def floats_to_bytes(picture: Image) -> Image8:
    """Convert floats, clipped to 0..1, to bytes."""
    result: Image8 = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return result


def to_signed_planes(picture: Image) -> Planes:
    """Convert a picture, 0..1, to planes (3, height, width) in -1..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) * np.float32(2) - np.float32(1)


def bytes_to_signed_planes(picture: Image8) -> Planes:
    """Convert a picture in bytes to planes, float32 (3, height, width) in -1..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)
