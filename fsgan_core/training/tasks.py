"""What each network is asked: batches to learn from, fixed ones of people it never sees to be measured by, pictures.

A batch is a function of the seed and the step's number alone, so that a run that was killed, or one on several
machines, sees the faces that a single one would have seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from fsgan_core.plates.plate import Window
from fsgan_core.stages.neural.erosion import EROSION_KERNEL, erode_softly
from fsgan_core.stages.poisson import solve_membrane
from fsgan_core.stages.reenactment import make_spline_stiffness
from fsgan_core.stages.warp import fit_spline_map, sample_picture
from fsgan_core.stages.warp_points import compute_control_points
from fsgan_core.training.data.face_crops import FaceSet
from fsgan_core.training.data.pairs import WARP_STIFFNESS, WHOLE_BATCH, Batch, PairSampler, to_signed_planes
from fsgan_core.training.data.single_faces import FaceSample, FaceSampler
from fsgan_core.training.plan import TrainingPlan

__all__ = [
    "BlendTask",
    "InpaintTask",
    "MaskTask",
    "ReenactTask",
    "TrainingTask",
    "compute_class_figures",
    "compute_picture_figures",
    "make_task",
    "solve_poisson_target",
]

TRIAL_BATCH_SIZE = 8  # in a batch of a validation
COMPLETION_RIM = 0.06  # of the crop: so much around the hard matte is completed too
CLASS_FACE, CLASS_HAIR = 1, 2  # classes of the segmentation; 0 is everything else


class TrainingTask(Protocol):
    """of_step: a step's batch, or the part of it that one of several processes has. trial: fixed batches of faces that
    are held out. figures: means over a batch of float32 answers, by name; what there is to win comes first. columns:
    what to look at of a batch, pictures in [-1, 1], (n, 3, p, p) each."""

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch: ...

    def make_trial_batches(self) -> Sequence[Batch]: ...

    def compute_figures(self, made: np.ndarray, batch: Batch) -> dict[str, float]: ...

    def make_columns(self, made: np.ndarray, batch: Batch) -> list[np.ndarray]: ...


class ReenactTask:
    """Gr: a view and the landmarks of another frame of its clip, to that frame."""

    def __init__(self, faces: FaceSet, people: np.ndarray, held: np.ndarray, plan: TrainingPlan) -> None:
        self._sampler = PairSampler(
            faces, ~held, prewarp=plan.prewarp, seed=plan.seed, augment=plan.augment, focus=plan.focus, people=people
        )
        self._trial_sampler = PairSampler(
            faces, held, prewarp=plan.prewarp, seed=plan.seed + 1, focus=plan.focus, people=people
        )
        self._trial_pairs = self._trial_sampler.choose_pairs(0, plan.trials)

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch:
        return self._sampler.make_step_batch(step, count, part)

    def make_trial_batches(self) -> list[Batch]:
        return [
            self._trial_sampler.make_batch(self._trial_pairs[first : first + TRIAL_BATCH_SIZE])
            for first in range(0, len(self._trial_pairs), TRIAL_BATCH_SIZE)
        ]

    def compute_figures(self, made: np.ndarray, batch: Batch) -> dict[str, float]:
        return compute_picture_figures(made, batch, batch.inputs[:, :3])

    def make_columns(self, made: np.ndarray, batch: Batch) -> list[np.ndarray]:
        return [batch.inputs[:, :3], batch.targets, made]


@dataclass(frozen=True)
class _Example:
    """given: (channels, p, p), what the network is shown. wanted: its target. where: (1, p, p), as in a batch."""

    inputs: np.ndarray
    targets: np.ndarray
    loss_mask: np.ndarray | None = None


class _SingleFaceTask(ABC):
    """What the networks share that look at one face: which faces a step has, and which are measured by."""

    def __init__(self, faces: FaceSet, people: np.ndarray, held: np.ndarray, plan: TrainingPlan) -> None:
        self._plan = plan
        self._sampler = FaceSampler(faces, people, ~held, plan.seed, plan.augment)
        self._trial_sampler = FaceSampler(faces, people, held, plan.seed + 1, plan.augment)

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch:
        return self._make_batch(self._sampler, step, count, part)

    def make_trial_batches(self) -> list[Batch]:
        """The held-out people, changed like the others: what is measured is what is learned."""
        count = self._plan.trials
        return [
            self._make_batch(self._trial_sampler, 0, count, slice(first, first + TRIAL_BATCH_SIZE))
            for first in range(0, count, TRIAL_BATCH_SIZE)
        ]

    def _make_batch(self, singles: FaceSampler, step: int, count: int, part: slice) -> Batch:
        places = range(count)[part]
        made = [
            self._make_example(singles, int(index), singles.make_random(step, place))
            for index, place in zip(singles.choose_faces(step, count)[part], places, strict=True)
        ]
        where = [one.loss_mask for one in made if one.loss_mask is not None]
        return Batch(
            np.stack([one.inputs for one in made]),
            np.stack([one.targets for one in made]),
            np.stack(where) if where else None,
        )

    @abstractmethod
    def _make_example(self, singles: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        """One face of a step, as the network is shown it."""


class MaskTask(_SingleFaceTask):
    """Gs: a picture to its classes."""

    def _make_example(self, singles: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        single = singles.draw_sample(index, random)
        classes = np.where(single.face >= 0.5, CLASS_FACE, np.where(single.hair >= 0.5, CLASS_HAIR, 0))
        return _Example(to_signed_planes(single.picture), classes.astype(np.int64))

    def compute_figures(self, made: np.ndarray, batch: Batch) -> dict[str, float]:
        return compute_class_figures(made, batch)

    def make_columns(self, made: np.ndarray, batch: Batch) -> list[np.ndarray]:
        shown = [
            np.stack([classes == CLASS_FACE, classes == CLASS_HAIR, classes == 0], 1) * np.float32(2) - 1
            for classes in (batch.targets, made.argmax(1))
        ]
        return [batch.inputs, *shown]


class InpaintTask(_SingleFaceTask):
    """Gc: a face with an ellipse cut from its border, everything else at -1, and the hard matte of where a face is
    wanted, to that face (FSGAN, arXiv 1908.05932, section 3.4) and what is around it: a soft matte's edge lies
    outside the hard one."""

    def _make_example(self, singles: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        single = singles.draw_sample(index, random)
        hard = make_hard_matte(single.face)
        kept = hard * (1 - draw_border_ellipse(hard, random))
        size = 2 * max(1, round(COMPLETION_RIM * len(hard))) + 1
        around = cv2.dilate(hard, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        return _Example(
            np.concatenate([to_signed_planes(single.picture * kept[..., None]), hard[None]]),
            to_signed_planes(single.picture),
            around[None],
        )

    def compute_figures(self, made: np.ndarray, batch: Batch) -> dict[str, float]:
        return compute_picture_figures(made, batch, batch.inputs[:, :3])

    def make_columns(self, made: np.ndarray, batch: Batch) -> list[np.ndarray]:
        return [batch.inputs[:, :3], batch.targets, made]


class BlendTask(_SingleFaceTask):
    """Gb: a face over another's, that other one, and the hard matte between them, to the gradient-domain solution of
    the two: the Poisson blending loss (FSGAN, section 3.5)."""

    def _make_example(self, singles: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        target = singles.draw_sample(index, random)
        other = singles.draw_sample(int(singles.choose_faces(int(random.integers(2**31)), 1)[0]), random)
        hard = make_hard_matte(target.face)
        new = warp_to_target(other, target)
        transfer = new * hard[..., None] + target.picture * (1 - hard[..., None])
        wanted = solve_poisson_target(new, target.picture, hard > 0, self._plan.solver)
        inputs = np.concatenate([to_signed_planes(transfer), to_signed_planes(target.picture), hard[None]])
        return _Example(inputs, to_signed_planes(wanted))

    def compute_figures(self, made: np.ndarray, batch: Batch) -> dict[str, float]:
        return compute_picture_figures(made, batch, batch.inputs[:, :3])

    def make_columns(self, made: np.ndarray, batch: Batch) -> list[np.ndarray]:
        return [batch.inputs[:, :3], batch.inputs[:, 3:6], batch.targets, made]


def make_hard_matte(face: np.ndarray) -> np.ndarray:
    """float32 (p, p), 0 or 1: the core of a face's matte, as the stages take it."""
    kernel = 2 * round((EROSION_KERNEL - 1) / 2 * len(face) / 256) + 1
    return erode_softly(face, max(3, kernel))[1]


def draw_border_ellipse(hard: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """float32 (p, p), 0 or 1: an ellipse about a point of a matte's border, its axes a quarter to a half of the face's
    width, as published. All 0 for an empty matte."""
    hole = np.zeros(hard.shape, np.uint8)
    inside = hard > 0
    border = np.argwhere(inside & (cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0))
    if len(border):
        width = float(np.ptp(np.flatnonzero(inside.any(0)))) + 1
        row, column = border[int(random.integers(len(border)))]
        axes = width * random.uniform(0.25, 0.5, 2) / 2
        cv2.ellipse(hole, ((float(column), float(row)), (2 * axes[0], 2 * axes[1]), random.uniform(0, 180)), 1, -1)
    return hole.astype(np.float32)


def warp_to_target(other: FaceSample, target: FaceSample) -> np.ndarray:
    """float32 (p, p, 3): the other's picture, brought to the target's landmarks."""
    size = len(target.picture)
    mapping = fit_spline_map(
        compute_control_points(target.landmarks),
        compute_control_points(other.landmarks),
        Window(0, 0, size, size),
        make_spline_stiffness(WARP_STIFFNESS),
    )
    return np.clip(sample_picture(other.picture, mapping), 0, 1)


def solve_poisson_target(new: np.ndarray, target: np.ndarray, inside: np.ndarray, solver: str) -> np.ndarray:
    """float32 (p, p, 3): `new` seated in `target` where `inside`: its gradients, the target's values at the border.
    solver: "own", `stages.poisson`, in floats; "opencv", seamlessClone in 8 bits, as published."""
    if not inside.any():
        return target
    if solver == "own":
        shift = solve_membrane(target - new, inside, np.ones(inside.shape, np.float32), 1e6)
        return np.where(inside[..., None], np.clip(new + shift, 0, 1), target).astype(np.float32)
    source, under = (np.rint(picture * 255).astype(np.uint8) for picture in (new, target))
    mask = inside.astype(np.uint8) * 255
    mask[[0, -1], :] = 0  # it cannot work at the picture's edge
    mask[:, [0, -1]] = 0
    if not mask.any():
        return target
    # It lays the mask's box about a point; so that nothing moves:
    left, top, width, height = cv2.boundingRect(mask)
    middle = (left + width // 2, top + height // 2)
    cloned = cv2.seamlessClone(source, under, mask, middle, cv2.NORMAL_CLONE)
    return np.asarray(cloned.astype(np.float32) / 255)


def compute_class_figures(made: np.ndarray, batch: Batch) -> dict[str, float]:
    """Intersection over union of face and of hair, and the share of pixels that are right."""
    found = made.argmax(1)

    def compute_overlap(kind: int) -> float:
        a, b = found == kind, batch.targets == kind
        return float((a & b).sum() / max(1, (a | b).sum()))

    return {
        "face_iou": compute_overlap(CLASS_FACE),
        "hair_iou": compute_overlap(CLASS_HAIR),
        "right": float((found == batch.targets).mean()),
    }


def compute_picture_figures(made: np.ndarray, batch: Batch, given: np.ndarray) -> dict[str, float]:
    """L1 of 0..1 and mean squared error of what was made, and L1 of what was given, where the losses count."""
    where = np.ones_like(made[:, :1]) if batch.loss_mask is None else batch.loss_mask
    total = 3 * max(float(where.sum()), 1e-6)
    difference, before = (where * (one - batch.targets) / 2 for one in (made, given))
    return {
        "l1": float(np.abs(difference).sum() / total),
        "mse": float((difference**2).sum() / total),
        "given_l1": float(np.abs(before).sum() / total),
    }


_TASK_CLASSES: Mapping[str, Callable[[FaceSet, np.ndarray, np.ndarray, TrainingPlan], TrainingTask]] = {
    "reenact": ReenactTask,
    "mask": MaskTask,
    "inpaint": InpaintTask,
    "blend": BlendTask,
}


def make_task(plan: TrainingPlan, faces: FaceSet, people: np.ndarray, held: np.ndarray) -> TrainingTask:
    """faces: at the resolution to train at. people: (n,), whose each is. held: bool (n,), faces that are measured by
    alone."""
    return _TASK_CLASSES[plan.network](faces, people, held, plan)
