"""Training on many people: phases, validation on held-out people, a state to resume from, the best and last weights."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fsgan_core.runtime.arrays import Flags, Image8, Names, PlaneStack, Vector
from fsgan_core.training.data.face_crops import FaceSet
from fsgan_core.training.data.loader import prefetch_batches
from fsgan_core.training.data.pairs import Batch
from fsgan_core.training.losses import ClassCriterion, Criterion, FeatureExtractor, LossWeights
from fsgan_core.training.parallel import (
    SINGLE_PROCESS,
    World,
    average_gradients,
    average_over_processes,
    share_batch_statistics,
)
from fsgan_core.training.plan import TrainingPhase, TrainingPlan
from fsgan_core.training.recipe import Recipe
from fsgan_core.training.run_state import (
    STATE_FILE,
    TrainingState,
    capture_tensors,
    load_state,
    restore_tensors,
    save_state,
)
from fsgan_core.training.tasks import TrainingTask, make_task
from fsgan_core.training.trainer import Trainer, has_running_statistics, make_discriminator

__all__ = ["CurveWriter", "TrainedGenerator", "Validation", "choose_losses", "train_generator"]

log = logging.getLogger(__name__)

BEST_PREFIX = "best/"  # prefix of the best weights in the state's tensors
SAVE_SECONDS = 120.0  # between two saves
LOSS_WINDOW = 50  # iterations in the mean of a reported loss
CALIBRATION_BATCHES = 8  # batches to calibrate batch norm on before a validation
GRID_ROWS = 8  # rows of a picture grid
CURVE_ITERATIONS = 10  # iterations between two points of a curve


@dataclass(frozen=True)
class Validation:
    """The result of a validation on held-out people.

    Attributes:
        step: Iterations done before it.
        loss: Sum of the losses that need no discriminator.
        figures: Means by name, see `TrainingTask.compute_figures`.
    """

    step: int
    loss: float
    figures: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the validation as plain data for JSON."""
        return {"step": self.step, "loss": self.loss, "figures": dict(self.figures)}


class CurveWriter(Protocol):
    """Receives curves and picture grids, for example a `TensorBoardWriter`."""

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""

    def write_picture_grid(self, step: int, picture: Image8) -> None:
        """Add a picture of the validation."""


@dataclass(frozen=True)
class TrainedGenerator:
    """The result of a training run.

    Attributes:
        last: The generator's weights at the end.
        best: The generator's weights at the best validation of the last phase.
        best_validation: That validation.
        validations: All validations, the first of them before training.
        losses: Loss of the generator at each iteration, float64 (iterations,).
        seconds: Training time of all processes that the run has had.
        resumed_iterations: Iterations that earlier processes did.
        precision: "fp32" or "bf16".
    """

    last: dict[str, Tensor]
    best: dict[str, Tensor]
    best_validation: Validation
    validations: tuple[Validation, ...]
    losses: Vector
    seconds: float
    resumed_iterations: int
    precision: str


def choose_losses(plan: TrainingPlan, vggs: Mapping[str, FeatureExtractor]) -> LossWeights:
    """Choose the plan's losses, or those without VGGs if a VGG is missing and the plan has them.

    Args:
        plan: The plan.
        vggs: The installed VGGs, by role.
    """
    missing_roles = [role for role in plan.losses.perceptual if role not in vggs]
    if not missing_roles or plan.without_vgg is None:
        return plan.losses
    log.warning("no VGG for %s is installed: training with the losses of [without_vgg]", ", ".join(missing_roles))
    return plan.without_vgg


def train_generator(
    faces: FaceSet,
    people: Names,
    is_held_out: Flags,
    generator: nn.Module,
    plan: TrainingPlan,
    *,
    folder: Path,
    key: str,
    vggs: Mapping[str, FeatureExtractor] | None = None,
    device: str = "cpu",
    world: World = SINGLE_PROCESS,
    curve_writer: CurveWriter | None = None,
    save_every: int = 0,
    on_progress: Callable[[int, int, float], None] | None = None,
    time_limit: float = 0.0,
    workers: int = 0,
) -> TrainedGenerator:
    """Train a generator as the plan says.

    Args:
        faces: All faces, at the largest resolution of the plan.
        people: Name of each face's person, (n,).
        is_held_out: Which faces are held out for validation, bool (n,).
        generator: The network to train.
        plan: The plan.
        folder: Folder for the run's state. If it has a state with the same key, the run continues from there.
        key: Digest of everything that the result depends on.
        vggs: The installed VGGs, by role.
        device: The torch device.
        world: The place of this process among those that train together.
        curve_writer: Receives curves and pictures.
        save_every: Iterations between two saves; 0 saves every two minutes.
        on_progress: Called with the iterations done, their total and the mean loss after each iteration.
        time_limit: Seconds after which this process saves and stops; 0 is no limit.
        workers: Processes that make batches; 0 uses a thread.

    Raises:
        InputError: The training diverged, or a batch is not a multiple of the number of processes.
        MachineError: The device is out of memory.
        OutputError: The state cannot be written.
    """
    weights = choose_losses(plan, vggs or {})
    criterion = ClassCriterion(weights) if plan.network == "mask" else Criterion(weights, vggs)
    first_phase = plan.phases[0]
    recipe = Recipe(
        rate=first_phase.rate,
        discriminator_rate=first_phase.discriminator_rate,
        clip=plan.clip,
        precision=plan.precision,
        seed=plan.seed,
    )
    discriminator = make_discriminator(generator, plan.seed, plan.discriminator) if weights.is_adversarial else None
    trainer = Trainer(
        generator,
        criterion,
        recipe,
        device=device,
        discriminator=discriminator,
        average=plan.average,
        share_gradients=average_gradients if world.size > 1 else None,
    )
    if world.size > 1:
        for network in trainer.modules.values():
            share_batch_statistics(network)
    training_run = _TrainingRun(faces, people, is_held_out, plan, trainer, world, curve_writer, workers)
    state = folder / STATE_FILE
    progress = load_state(state, key)
    if progress is None:
        training_run.validate(0)
    else:
        training_run.resume_from(progress)
    resumed_iterations, saved_iterations = len(training_run.losses), len(training_run.losses)
    start_time = last_save_time = time.perf_counter()
    earlier_seconds = training_run.seconds

    def save() -> None:
        training_run.seconds = earlier_seconds + time.perf_counter() - start_time
        if world.is_first:
            save_state(state, training_run.capture_state(), key)

    is_between_steps = True
    try:
        for iterations_done in training_run.iterate_steps():
            is_between_steps = True
            if on_progress is not None:
                on_progress(iterations_done, training_run.total, float(np.mean(training_run.losses[-LOSS_WINDOW:])))
            if iterations_done % plan.every == 0 or iterations_done == training_run.total:
                training_run.validate(iterations_done)
            now = time.perf_counter()
            # Averaged, so that all processes stop at the same step.
            is_over = bool(time_limit) and average_over_processes(now - start_time, world) > time_limit
            if (iterations_done % save_every == 0 if save_every else now - last_save_time > SAVE_SECONDS) or is_over:
                save()
                saved_iterations, last_save_time = iterations_done, now
            if is_over:
                log.info(
                    "stopped after %d of %d iterations: the time limit is reached", iterations_done, training_run.total
                )
                break
            is_between_steps = False
    except KeyboardInterrupt:
        if is_between_steps and len(training_run.losses) > saved_iterations:
            save()
        raise
    if not training_run.validations or training_run.validations[-1].step != len(training_run.losses):
        training_run.validate(len(training_run.losses))
    save()
    precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[trainer.dtype]
    assert training_run.best_validation is not None
    return TrainedGenerator(
        _copy_weights(trainer.result),
        dict(training_run.best),
        training_run.best_validation,
        tuple(training_run.validations),
        np.array(training_run.losses),
        training_run.seconds,
        resumed_iterations,
        precision,
    )


class _TrainingRun:
    """The changing state of a run, and the batches of its phases."""

    def __init__(
        self,
        faces: FaceSet,
        people: Names,
        is_held_out: Flags,
        plan: TrainingPlan,
        trainer: Trainer,
        world: World,
        curve_writer: CurveWriter | None,
        workers: int,
    ) -> None:
        self._faces, self._people, self._held_out, self._plan, self._world = faces, people, is_held_out, plan, world
        self._trainer, self._curve_writer, self._workers = trainer, curve_writer, workers
        self._face_count = int((~is_held_out).sum())
        self.total = sum(phase.count_iterations(self._face_count) for phase in plan.phases)
        self.losses: list[float] = []
        self.validations: list[Validation] = []
        self.best: dict[str, Tensor] = {}
        self.best_validation: Validation | None = None
        self.seconds = 0.0
        self._tasks: dict[int, tuple[TrainingTask, Sequence[Batch]]] = {}

    def iterate_steps(self) -> Any:
        """Do the remaining steps one by one, and yield the number of steps done after each."""
        start = 0
        for phase in self._plan.phases:
            end = start + phase.count_iterations(self._face_count)
            if len(self.losses) < end:
                yield from self._run_phase(phase, start, end)
            start = end

    def _run_phase(self, phase: TrainingPhase, start: int, end: int) -> Any:
        (task, _), part = self._get_task(phase.resolution), self._world.slice_batch(phase.batch)

        read = partial(task.make_step_batch, count=phase.batch, part=part)
        for step, batch in prefetch_batches(read, range(len(self.losses), end), self._workers):
            rate_factor = phase.compute_rate_factor(step - start, self._face_count)
            rate = phase.rate * rate_factor
            self._trainer.set_rates(rate, (phase.discriminator_rate or phase.rate) * rate_factor)
            parts = self._trainer.step(batch, step)
            self.losses.append(average_over_processes(parts["total"], self._world))
            if self._curve_writer is not None and (step + 1) % CURVE_ITERATIONS == 0:
                self._curve_writer.write_scalars(
                    step + 1, {**{f"train/{name}": value for name, value in parts.items()}, "train/rate": rate}
                )
            yield step + 1

    def validate(self, step: int) -> None:
        """Measure on the held-out people, and keep the weights if they are the best so far."""
        phase = self._find_phase(step)
        task, trial = self._get_task(phase.resolution)
        if has_running_statistics(self._trainer.result) and step:
            # Steps beyond the last one give training faces, the same ones at every validation.
            self._trainer.calibrate(
                task.make_step_batch(self.total + k, min(phase.batch, 16)) for k in range(CALIBRATION_BATCHES)
            )
        losses, batch_figures, picture_grid = [], [], None
        for batch in trial:
            output = self._trainer.generate(batch)
            losses.append(self._trainer.compute_loss(output, batch))
            batch_figures.append(task.compute_figures(output.numpy(), batch))
            if picture_grid is None:
                picture_grid = make_picture_grid(task.make_columns(output.numpy(), batch))
        figures = {name: float(np.mean([one_batch[name] for one_batch in batch_figures])) for name in batch_figures[0]}
        validation = Validation(step, float(np.mean(losses)), figures)
        log.info(
            "after %d iterations, on held-out people: loss %.4f; %s",
            step,
            validation.loss,
            ", ".join(f"{name} {value:.4f}" for name, value in figures.items()),
        )
        # Losses at different resolutions cannot be compared, so each phase starts again.
        if (
            self.best_validation is None
            or validation.loss < self.best_validation.loss
            or self._find_phase(self.best_validation.step) is not phase
        ):
            self.best, self.best_validation = _copy_weights(self._trainer.result), validation
        self.validations.append(validation)
        if self._curve_writer is not None:
            self._curve_writer.write_scalars(
                step,
                {
                    "validation/loss": validation.loss,
                    **{f"validation/{name}": value for name, value in figures.items()},
                },
            )
            if picture_grid is not None:
                self._curve_writer.write_picture_grid(step, picture_grid)

    def capture_state(self) -> TrainingState:
        """Return the state of the run."""
        tensors = capture_tensors(self._trainer.modules, self._trainer.optimizers)
        tensors.update({f"{BEST_PREFIX}{name}": value for name, value in self.best.items()})
        assert self.best_validation is not None
        facts = {
            "checks": [validation.to_dict() for validation in self.validations],
            "best": self.best_validation.to_dict(),
            "seconds": self.seconds,
        }
        return TrainingState(len(self.losses), torch.tensor(self.losses, dtype=torch.float64), tensors, facts)

    def resume_from(self, progress: TrainingState) -> None:
        """Continue from the state of an earlier process."""
        restore_tensors(progress.tensors, self._trainer.modules, self._trainer.optimizers)
        self.best = {
            name[len(BEST_PREFIX) :]: value for name, value in progress.tensors.items() if name.startswith(BEST_PREFIX)
        }
        self.losses = progress.losses.tolist()
        self.validations = [Validation(**validation_fields) for validation_fields in progress.facts["checks"]]
        self.best_validation = Validation(**progress.facts["best"])
        self.seconds = float(progress.facts["seconds"])
        log.info("continues after %d of %d iterations", len(self.losses), self.total)

    def _get_task(self, resolution: int) -> tuple[TrainingTask, Sequence[Batch]]:
        """Return the task at a resolution and its validation batches."""
        if resolution not in self._tasks:
            task = make_task(self._plan, self._faces.resize_to(resolution), self._people, self._held_out)
            self._tasks = {resolution: (task, task.make_trial_batches())}
        return self._tasks[resolution]

    def _find_phase(self, step: int) -> TrainingPhase:
        """Find the phase of the last of `step` iterations."""
        phase_end = 0
        for phase in self._plan.phases:
            phase_end += phase.count_iterations(self._face_count)
            if step <= phase_end:
                return phase
        return self._plan.phases[-1]


def make_picture_grid(columns: Sequence[PlaneStack]) -> Image8:
    """Arrange pictures with a row for each face and a column for each array, (n, 3, size, size) in -1..1."""
    rows = np.concatenate([np.concatenate(list(column[:GRID_ROWS]), 1) for column in columns], 2)
    return np.rint(np.clip((rows.transpose(1, 2, 0) + 1) * 127.5, 0, 255)).astype(np.uint8)


def _copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in network.state_dict().items()}
