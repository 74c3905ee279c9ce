"""The task of each network: training batches, validation batches of held-out people, figures, and pictures.

A batch depends only on the seed and the step's number, so that an interrupted run, or one on several machines, sees the
same faces as an uninterrupted one on one machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Flags, Image, Mask, Matte, Names, Planes, PlaneStack
from fsgan_core.stages.neural.erosion import EROSION_KERNEL, erode_softly
from fsgan_core.stages.poisson import solve_membrane
from fsgan_core.stages.warp import fit_spline_map, sample_picture
from fsgan_core.stages.warp_points import compute_control_points, make_spline_stiffness
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

TRIAL_BATCH_SIZE = 8  # faces in a validation batch
COMPLETION_RIM = 0.06  # share of the crop by which inpainting extends beyond the hard matte
CLASS_FACE, CLASS_HAIR = 1, 2  # classes of the segmentation; 0 is everything else


class TrainingTask(Protocol):
    """What a network is trained for."""

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch:
        """Make the batch of a step.

        Args:
            step: Number of the step.
            count: Faces of the step, in all processes together.
            part: Which of these faces to make.
        """

    def make_trial_batches(self) -> Sequence[Batch]:
        """Make the validation batches, of held-out people; they are always the same."""

    def compute_figures(self, output: PlaneStack, batch: Batch) -> dict[str, float]:
        """Compute figures by name, as means over a batch; the most important one comes first.

        Args:
            output: The network's output, float32 (n, channels, size, size).
            batch: The batch.
        """

    def make_columns(self, output: PlaneStack, batch: Batch) -> list[PlaneStack]:
        """Make pictures to look at, (n, 3, size, size) in -1..1 for each column.

        Args:
            output: The network's output, float32 (n, channels, size, size).
            batch: The batch.
        """


class ReenactTask:
    """Gr: from a view and the landmarks of another frame of its clip, make that frame.

    Args:
        faces: All faces, at the resolution to train at.
        people: Name of each face's person, (n,).
        is_held_out: Which faces are held out for validation, bool (n,).
        plan: The plan.
    """

    def __init__(self, faces: FaceSet, people: Names, is_held_out: Flags, plan: TrainingPlan) -> None:
        self._sampler = PairSampler(
            faces,
            ~is_held_out,
            prewarp=plan.prewarp,
            seed=plan.seed,
            augment=plan.augment,
            focus=plan.focus,
            people=people,
        )
        self._trial_sampler = PairSampler(
            faces, is_held_out, prewarp=plan.prewarp, seed=plan.seed + 1, focus=plan.focus, people=people
        )
        self._trial_pairs = self._trial_sampler.choose_pairs(0, plan.trials)

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch:
        """Make the batch of a step."""
        return self._sampler.make_step_batch(step, count, part)

    def make_trial_batches(self) -> list[Batch]:
        """Make the validation batches."""
        return [
            self._trial_sampler.make_batch(self._trial_pairs[first : first + TRIAL_BATCH_SIZE])
            for first in range(0, len(self._trial_pairs), TRIAL_BATCH_SIZE)
        ]

    def compute_figures(self, output: PlaneStack, batch: Batch) -> dict[str, float]:
        """Compare the pictures with the targets."""
        return compute_picture_figures(output, batch, batch.inputs[:, :3])

    def make_columns(self, output: PlaneStack, batch: Batch) -> list[PlaneStack]:
        """Show the view, the target and the network's picture."""
        return [batch.inputs[:, :3], batch.targets, output]


@dataclass(frozen=True)
class _Example:
    """One face of a batch, as in `Batch`, without the first axis."""

    inputs: Planes
    targets: AnyArray
    loss_mask: Planes | None = None


class _SingleFaceTask(ABC):
    """The common part of the tasks that show the network single faces: which faces a step and the validation have.

    Args:
        faces: All faces, at the resolution to train at.
        people: Name of each face's person, (n,).
        held: Which faces are held out for validation, bool (n,).
        plan: The plan.
    """

    def __init__(self, faces: FaceSet, people: Names, is_held_out: Flags, plan: TrainingPlan) -> None:
        self._plan = plan
        self._sampler = FaceSampler(faces, people, ~is_held_out, plan.seed, plan.augment)
        self._trial_sampler = FaceSampler(faces, people, is_held_out, plan.seed + 1, plan.augment)

    def make_step_batch(self, step: int, count: int, part: slice = WHOLE_BATCH) -> Batch:
        """Make the batch of a step."""
        return self._make_batch(self._sampler, step, count, part)

    def make_trial_batches(self) -> list[Batch]:
        """Make the validation batches; these faces are changed at random like those of the training."""
        count = self._plan.trials
        return [
            self._make_batch(self._trial_sampler, 0, count, slice(first, first + TRIAL_BATCH_SIZE))
            for first in range(0, count, TRIAL_BATCH_SIZE)
        ]

    def _make_batch(self, sampler: FaceSampler, step: int, count: int, part: slice) -> Batch:
        positions = range(count)[part]
        examples = [
            self._make_example(sampler, int(index), sampler.make_random(step, position))
            for index, position in zip(sampler.choose_faces(step, count)[part], positions, strict=True)
        ]
        loss_masks = [example.loss_mask for example in examples if example.loss_mask is not None]
        return Batch(
            np.stack([example.inputs for example in examples]),
            np.stack([example.targets for example in examples]),
            np.stack(loss_masks) if loss_masks else None,
        )

    @abstractmethod
    def _make_example(self, sampler: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        """Make the inputs and targets of one face."""


class MaskTask(_SingleFaceTask):
    """Gs: segment a picture into face, hair and everything else."""

    def _make_example(self, sampler: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        sample = sampler.draw_sample(index, random)
        classes = np.where(sample.face >= 0.5, CLASS_FACE, np.where(sample.hair >= 0.5, CLASS_HAIR, 0))
        return _Example(to_signed_planes(sample.picture), classes.astype(np.int64))

    def compute_figures(self, output: PlaneStack, batch: Batch) -> dict[str, float]:
        """Compare the classes with the targets."""
        return compute_class_figures(output, batch)

    def make_columns(self, output: PlaneStack, batch: Batch) -> list[PlaneStack]:
        """Show the picture, the target's classes and the network's classes: face red, hair green, the rest blue."""
        class_pictures = [
            np.stack([classes == CLASS_FACE, classes == CLASS_HAIR, classes == 0], 1) * np.float32(2) - 1
            for classes in (batch.targets, output.argmax(1))
        ]
        return [batch.inputs, *class_pictures]


class InpaintTask(_SingleFaceTask):
    """Gc: complete a face (FSGAN, arXiv 1908.05932, section 3.4).

    The input is the face with an ellipse cut out at its border and -1 elsewhere, and the hard matte of the whole face.
    The target also has the surroundings of the face, because the edge of a soft matte lies outside the hard one.
    """

    def _make_example(self, sampler: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        sample = sampler.draw_sample(index, random)
        hard_matte = make_hard_matte(sample.face)
        incomplete_matte = hard_matte * (1 - draw_border_ellipse(hard_matte, random))
        kernel_size = 2 * max(1, round(COMPLETION_RIM * len(hard_matte))) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_size, kernel_size))
        widened_matte = np.asarray(cv2.dilate(hard_matte, kernel), np.float32)
        return _Example(
            np.concatenate([to_signed_planes(sample.picture * incomplete_matte[..., None]), hard_matte[None]]),
            to_signed_planes(sample.picture),
            widened_matte[None],
        )

    def compute_figures(self, output: PlaneStack, batch: Batch) -> dict[str, float]:
        """Compare the pictures with the targets."""
        return compute_picture_figures(output, batch, batch.inputs[:, :3])

    def make_columns(self, output: PlaneStack, batch: Batch) -> list[PlaneStack]:
        """Show the incomplete face, the target and the network's picture."""
        return [batch.inputs[:, :3], batch.targets, output]


class BlendTask(_SingleFaceTask):
    """Gb: blend a face into a target, with the Poisson blending loss (FSGAN, arXiv 1908.05932, section 3.5).

    The input is a face pasted over the target, the target, and the hard matte of the face. The target of the network is
    the gradient-domain solution.
    """

    def _make_example(self, sampler: FaceSampler, index: int, random: np.random.Generator) -> _Example:
        target = sampler.draw_sample(index, random)
        source = sampler.draw_sample(int(sampler.choose_faces(int(random.integers(2**31)), 1)[0]), random)
        hard_matte = make_hard_matte(target.face)
        warped_face = warp_to_target(source, target)
        transfer = warped_face * hard_matte[..., None] + target.picture * (1 - hard_matte[..., None])
        solution = solve_poisson_target(warped_face, target.picture, hard_matte > 0, self._plan.solver)
        inputs = np.concatenate([to_signed_planes(transfer), to_signed_planes(target.picture), hard_matte[None]])
        return _Example(inputs, to_signed_planes(solution))

    def compute_figures(self, output: PlaneStack, batch: Batch) -> dict[str, float]:
        """Compare the pictures with the targets."""
        return compute_picture_figures(output, batch, batch.inputs[:, :3])

    def make_columns(self, output: PlaneStack, batch: Batch) -> list[PlaneStack]:
        """Show the pasted face, the target face, the solution and the network's picture."""
        return [batch.inputs[:, :3], batch.inputs[:, 3:6], batch.targets, output]


def make_hard_matte(face: Matte) -> Matte:
    """Erode a face's matte to its hard core, 0 or 1, as the stages do."""
    kernel = 2 * round((EROSION_KERNEL - 1) / 2 * len(face) / 256) + 1
    return erode_softly(face, max(3, kernel))[1]


def draw_border_ellipse(hard: Matte, random: np.random.Generator) -> Matte:
    """Draw an ellipse, 0 or 1, around a random point of a matte's border; all 0 for an empty matte.

    Its axes are a quarter to a half of the face's width, as published (FSGAN, arXiv 1908.05932).
    """
    hole = np.zeros(hard.shape, np.uint8)
    inside = hard > 0
    border = np.argwhere(inside & (cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0))
    if len(border):
        width = float(np.ptp(np.flatnonzero(inside.any(0)))) + 1
        row, column = border[int(random.integers(len(border)))]
        axes = width * random.uniform(0.25, 0.5, 2) / 2
        cv2.ellipse(hole, ((float(column), float(row)), (2 * axes[0], 2 * axes[1]), random.uniform(0, 180)), 1, -1)
    return hole.astype(np.float32)


def warp_to_target(source: FaceSample, target: FaceSample) -> Image:
    """Warp the picture of another face to the target's landmarks."""
    size = len(target.picture)
    mapping = fit_spline_map(
        compute_control_points(target.landmarks),
        compute_control_points(source.landmarks),
        Window(0, 0, size, size),
        make_spline_stiffness(WARP_STIFFNESS),
    )
    return np.clip(sample_picture(source.picture, mapping), 0, 1)


def solve_poisson_target(source: Image, target: Image, inside: Mask, solver: str) -> Image:
    """Blend two pictures in the gradient domain: the gradients of one, the values of the other at the border.

    Args:
        source: The picture that gives the gradients, display-like, 0..1.
        target: The picture around it, display-like, 0..1.
        inside: Where `source` is.
        solver: "own" is `stages.poisson`, in floats; "opencv" is seamlessClone, in 8 bits, as published.
    """
    if not inside.any():
        return target
    if solver == "own":
        shift = solve_membrane(target - source, inside, np.ones(inside.shape, np.float32), 1e6)
        return np.where(inside[..., None], np.clip(source + shift, 0, 1), target).astype(np.float32)
    source_bytes, target_bytes = (np.rint(picture * 255).astype(np.uint8) for picture in (source, target))
    mask = inside.astype(np.uint8) * 255
    mask[[0, -1], :] = 0  # seamlessClone fails at the edge of the picture
    mask[:, [0, -1]] = 0
    if not mask.any():
        return target
    # seamlessClone centres the mask's box on a point; this point moves nothing.
    left, top, width, height = cv2.boundingRect(mask)
    middle = (left + width // 2, top + height // 2)
    cloned = cv2.seamlessClone(source_bytes, target_bytes, mask, middle, cv2.NORMAL_CLONE)
    return np.asarray(cloned.astype(np.float32) / 255)


def compute_class_figures(output: PlaneStack, batch: Batch) -> dict[str, float]:
    """Compute the intersection over union of face and hair, and the share of correct pixels.

    Args:
        output: Logits, (n, classes, size, size).
        batch: The batch.
    """
    classes = output.argmax(1)

    def compute_overlap(class_number: int) -> float:
        a, b = classes == class_number, batch.targets == class_number
        return float((a & b).sum() / max(1, (a | b).sum()))

    return {
        "face_iou": compute_overlap(CLASS_FACE),
        "hair_iou": compute_overlap(CLASS_HAIR),
        "right": float((classes == batch.targets).mean()),
    }


def compute_picture_figures(output: PlaneStack, batch: Batch, shown_pictures: PlaneStack) -> dict[str, float]:
    """Compute the L1 distance (of 0..1) and the mean squared error to the targets, weighted by the loss mask.

    Args:
        output: The network's pictures, (n, 3, size, size) in -1..1.
        batch: The batch.
        shown_pictures: The pictures that the network is shown, for "given_l1", the distance without the network.
    """
    loss_mask = np.ones_like(output[:, :1]) if batch.loss_mask is None else batch.loss_mask
    total = 3 * max(float(loss_mask.sum()), 1e-6)
    difference, shown_difference = (loss_mask * (pictures - batch.targets) / 2 for pictures in (output, shown_pictures))
    return {
        "l1": float(np.abs(difference).sum() / total),
        "mse": float((difference**2).sum() / total),
        "given_l1": float(np.abs(shown_difference).sum() / total),
    }


_TASK_CLASSES: Mapping[str, Callable[[FaceSet, Names, Flags, TrainingPlan], TrainingTask]] = {
    "reenact": ReenactTask,
    "mask": MaskTask,
    "inpaint": InpaintTask,
    "blend": BlendTask,
}


def make_task(plan: TrainingPlan, faces: FaceSet, people: Names, is_held_out: Flags) -> TrainingTask:
    """Make the task of a plan.

    Args:
        plan: The plan.
        faces: All faces, at the resolution to train at.
        people: Name of each face's person, (n,).
        is_held_out: Which faces are held out for validation, bool (n,).
    """
    return _TASK_CLASSES[plan.network](faces, people, is_held_out, plan)
