"""Tasks: targets that are right by construction, batches shared by processes, figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.training.data.augment import AugmentSettings
from fsgan_core.training.data.dataset import FaceDataset
from fsgan_core.training.data.pairs import Batch
from fsgan_core.training.losses import LossWeights
from fsgan_core.training.plan import TrainingPhase, TrainingPlan
from fsgan_core.training.tasks import (
    compute_class_figures,
    draw_border_ellipse,
    make_hard_matte,
    make_task,
    solve_poisson_target,
)

PLAN = TrainingPlan(
    "inpaint",
    "",
    (TrainingPhase(64, 2, 1e-3, iterations=1),),
    LossWeights(),
    landmarks=68,
    prewarp=True,
    trials=3,
    augment=AugmentSettings(roll=10, occluders=0.5),
)


@pytest.mark.parametrize("network", NETWORK_STAGES)
def test_batches(crowd: FaceDataset, network: str) -> None:
    """The batch of a step is always the same, and its parts together are the whole batch."""
    held = crowd.people == "cleo"
    task = make_task(replace(PLAN, network=network), crowd.faces, crowd.people, held)
    batch = task.make_step_batch(3, 4)
    parts = [task.make_step_batch(3, 4, part) for part in (slice(0, 2), slice(2, 4))]
    assert np.array_equal(np.concatenate([part.inputs for part in parts]), batch.inputs)
    assert np.array_equal(np.concatenate([part.targets for part in parts]), batch.targets)
    assert batch.inputs.shape == (4, {"reenact": 3, "mask": 3, "inpaint": 4, "blend": 7}[network], 64, 64)
    assert batch.inputs.dtype == np.float32 and np.abs(batch.inputs).max() <= 1
    assert sum(len(one.inputs) for one in task.make_trial_batches()) == 3
    made = np.moveaxis(np.eye(3, dtype=np.float32)[batch.targets], -1, 1) if network == "mask" else batch.targets
    figures = task.compute_figures(made, batch)
    assert figures["right" if network == "mask" else "l1"] == (1.0 if network == "mask" else 0.0)


def test_inpainting_input_is_the_face_without_an_ellipse(crowd: FaceDataset) -> None:
    task = make_task(PLAN, crowd.faces, crowd.people, crowd.people == "cleo")
    batch = task.make_step_batch(1, 4)
    shown, hard = batch.inputs[:, :3], batch.inputs[:, 3:] > 0
    outside = ~np.broadcast_to(hard, shown.shape)
    assert (shown[outside] == -1).all()
    lost = ((shown != batch.targets).any(1) & hard[:, 0]).sum((1, 2))
    assert (lost > 0).all() and (lost < hard.sum((1, 2, 3))).all()
    assert batch.loss_mask is not None and (batch.loss_mask >= hard).all()
    rim = (batch.loss_mask > 0) & ~hard
    assert rim.any() and (batch.targets[np.broadcast_to(rim, shown.shape)] > -1).any(), "a little around it as well"


def test_ellipse_is_a_quarter_to_a_half_of_the_face(crowd: FaceDataset) -> None:
    face = crowd.faces.mattes[0, 16:80, 16:80, 0].astype(np.float32) / 255  # type: ignore[index]
    hard = make_hard_matte(face)
    width = np.ptp(np.flatnonzero(hard.any(0))) + 1
    for seed in range(8):
        hole = draw_border_ellipse(hard, np.random.default_rng(seed))
        assert hole.any() and hole.sum() <= np.pi / 4 * (0.5 * width + 2) ** 2
        assert (hole * hard).any() and (hole * (1 - hard)).any(), "about the border"
    assert not draw_border_ellipse(np.zeros_like(hard), np.random.default_rng(1)).any()


@pytest.mark.parametrize("solver", ["own", "opencv"])
@pytest.mark.parametrize("wide", [0, 1])
def test_poisson_target(crowd: FaceDataset, solver: str, wide: int) -> None:
    """A face that differs from the target only by light becomes the target."""
    target = crowd.faces.get_crop(0).astype(np.float32) / 255 * 0.8 + 0.05
    inside = np.zeros((64, 64), bool)
    inside[20:45, 18 : 44 + wide] = True
    seated = solve_poisson_target(np.clip(target + 0.1, 0, 1), target, inside, solver)
    assert np.abs(seated - target)[~inside].max() < 0.003
    assert np.abs(seated - target).mean() < 0.004 and np.abs(seated - target).max() < 0.06
    assert np.array_equal(solve_poisson_target(target, target, np.zeros_like(inside), solver), target)


def test_solvers_agree(crowd: FaceDataset) -> None:
    first, second = (crowd.faces.get_crop(index).astype(np.float32) / 255 for index in (0, 8))
    inside = np.zeros((64, 64), bool)
    inside[18:46, 18:46] = True
    own, published = (solve_poisson_target(first, second, inside, solver) for solver in ("own", "opencv"))
    assert np.abs(own - published)[inside].mean() < 0.5 * np.abs(first - own)[inside].mean() + 0.02


def test_class_figures() -> None:
    targets = np.array([[[0, 1], [1, 2]]])
    made = np.moveaxis(np.eye(3)[np.array([[[0, 1], [2, 2]]])], -1, 1)
    figures = compute_class_figures(made, Batch(np.zeros((1, 3, 2, 2)), targets))
    assert figures == {"face_iou": 0.5, "hair_iou": 0.5, "right": 0.75}
