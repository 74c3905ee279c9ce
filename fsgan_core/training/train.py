"""A training run on many people: phases of growing resolution, validation on people who are held out, a state to go on
from after a kill, the best and the last weights."""

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

from fsgan_core.training.face_crops import FaceSet
from fsgan_core.training.loader import ahead
from fsgan_core.training.loops import Trainer, has_statistics, judge_for
from fsgan_core.training.losses import ClassCriterion, Criterion, Features, LossWeights
from fsgan_core.training.pairs import Batch
from fsgan_core.training.parallel import ALONE, World, average_gradients, mean_of, share_statistics
from fsgan_core.training.recipe import Recipe
from fsgan_core.training.run_config import Phase, Plan
from fsgan_core.training.run_state import Progress, capture, load_state, restore, save_state
from fsgan_core.training.tasks import Task, task_of

__all__ = ["STATE_FILE", "Check", "Result", "Watcher", "losses_of", "train"]

log = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"
BEST = "best/"  # of the state's tensors, the weights that measured best
SAVE_SECONDS = 120.0
AVERAGED = 50  # iterations that a loss is told over
GLANCE = 8  # batches that batch norm is measured over before a validation
SHOWN = 8  # rows of a picture grid


@dataclass(frozen=True)
class Check:
    """A validation. step: iterations done. loss: on held-out people, of the parts that need no discriminator. figures:
    means, by name."""

    step: int
    loss: float
    figures: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return {"step": self.step, "loss": self.loss, "figures": dict(self.figures)}


class Watcher(Protocol):
    """Who looks on: scalars and picture grids, by iteration."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None: ...

    def grid(self, step: int, picture: np.ndarray) -> None: ...


@dataclass(frozen=True)
class Result:
    """last, best: the generator's weights at the end and where it measured best at the last resolution. best_check:
    what was measured there. checks: all validations, the one before the first step among them. losses: float64
    (iterations,), the generator's sum at each. seconds: over all processes that the run has had, training alone."""

    last: dict[str, Tensor]
    best: dict[str, Tensor]
    best_check: Check
    checks: tuple[Check, ...]
    losses: np.ndarray
    seconds: float
    resumed: int
    precision: str


def losses_of(plan: Plan, vggs: Mapping[str, Features]) -> LossWeights:
    """The plan's losses; where a VGG that they name is not there, those without."""
    lacking = [role for role in plan.losses.perceptual if role not in vggs]
    if not lacking or plan.without_vgg is None:
        return plan.losses
    log.warning("no VGG for %s is installed: trained with the losses of [without_vgg]", ", ".join(lacking))
    return plan.without_vgg


def train(faces: FaceSet, people: np.ndarray, held: np.ndarray, generator: nn.Module, plan: Plan, *, folder: Path,
          key: str, vggs: Mapping[str, Features] | None = None, device: str = "cpu", world: World = ALONE,
          watcher: Watcher | None = None, save_every: int = 0,
          listen: Callable[[int, int, float], None] | None = None, limit: float = 0.0, workers: int = 0) -> Result:
    """Trains `generator` by the plan.

    people: (n,), whose each face is. held: bool (n,), faces of those who are held out. folder: where the run's state is
    kept; a state of that `key` there is gone on from. save_every: iterations between two saves, 0: every two minutes.
    listen(done, total, loss): after each iteration. limit: seconds after which this process saves and stops (0: none),
    also before the plan's end. workers: processes that make the batches (`loader.ahead`). Raises InputError (diverged;
    a batch that cannot be shared), MachineError, OutputError.
    """
    weights = losses_of(plan, vggs or {})
    criterion = ClassCriterion(weights) if plan.network == "mask" else Criterion(weights, vggs)
    first = plan.phases[0]
    recipe = Recipe(rate=first.rate, discriminator_rate=first.discriminator_rate, clip=plan.clip,
                    precision=plan.precision, seed=plan.seed)
    judge = judge_for(generator, plan.seed, plan.discriminator) if weights.adversarial else None
    trainer = Trainer(generator, criterion, recipe, device=device, discriminator=judge, average=plan.average,
                      share=average_gradients if world.size > 1 else None)
    if world.size > 1:
        for network in trainer.modules.values():
            share_statistics(network)
    run = _Run(faces, people, held, plan, trainer, world, watcher, workers)
    state = folder / STATE_FILE
    progress = load_state(state, key)
    if progress is None:
        run.validate(0)
    else:
        run.go_on(progress)
    resumed, saved = len(run.losses), len(run.losses)
    start = since = time.perf_counter()
    before = run.seconds

    def save() -> None:
        run.seconds = before + time.perf_counter() - start
        if world.first:
            save_state(state, run.progress(), key)

    whole = True
    try:
        for done in run.steps():
            whole = True
            if listen is not None:
                listen(done, run.total, float(np.mean(run.losses[-AVERAGED:])))
            if done % plan.every == 0 or done == run.total:
                run.validate(done)
            now = time.perf_counter()
            over = bool(limit) and mean_of(now - start, world) > limit  # all stop, or none
            if (done % save_every == 0 if save_every else now - since > SAVE_SECONDS) or over:
                save()
                saved, since = done, now
            if over:
                log.info("stopped after %d of %d iterations, as the limit of time says", done, run.total)
                break
            whole = False
    except KeyboardInterrupt:
        if whole and len(run.losses) > saved:
            save()
        raise
    if not run.checks or run.checks[-1].step != len(run.losses):
        run.validate(len(run.losses))
    save()
    precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[trainer.dtype]
    assert run.best_check is not None
    return Result(_kept(trainer.result), dict(run.best), run.best_check, tuple(run.checks), np.array(run.losses),
                  run.seconds, resumed, precision)


class _Run:
    """What changes in a run, and the batches of its phases."""

    def __init__(self, faces: FaceSet, people: np.ndarray, held: np.ndarray, plan: Plan, trainer: Trainer,
                 world: World, watcher: Watcher | None, workers: int) -> None:
        self._faces, self._people, self._held, self._plan, self._world = faces, people, held, plan, world
        self._trainer, self._watcher, self._workers = trainer, watcher, workers
        self._count = int((~held).sum())
        self.total = sum(phase.length(self._count) for phase in plan.phases)
        self.losses: list[float] = []
        self.checks: list[Check] = []
        self.best: dict[str, Tensor] = {}
        self.best_check: Check | None = None
        self.seconds = 0.0
        self._tasks: dict[int, tuple[Task, Sequence[Batch]]] = {}

    def steps(self) -> Any:
        """Does one step after another, from where the run is; the number of steps done after each."""
        first = 0
        for phase in self._plan.phases:
            last = first + phase.length(self._count)
            if len(self.losses) < last:
                yield from self._phase(phase, first, last)
            first = last

    def _phase(self, phase: Phase, first: int, last: int) -> Any:
        (task, _), part = self._task(phase.resolution), self._world.part(phase.batch)

        read = partial(task.of_step, count=phase.batch, part=part)
        for step, batch in ahead(read, range(len(self.losses), last), self._workers):
            fall = phase.fall(step - first, self._count)
            rate = phase.rate * fall
            self._trainer.set_rates(rate, (phase.discriminator_rate or phase.rate) * fall)
            parts = self._trainer.step(batch, step)
            self.losses.append(mean_of(parts["total"], self._world))
            if self._watcher is not None and (step + 1) % WATCHED == 0:
                self._watcher.scalars(step + 1, {**{f"train/{name}": value for name, value in parts.items()},
                                                 "train/rate": rate})
            yield step + 1

    def validate(self, step: int) -> None:
        """Measures on the held-out people, and keeps the weights where they are the best so far."""
        phase = self._phase_of(step)
        task, trial = self._task(phase.resolution)
        if has_statistics(self._trainer.result) and step:
            # Beyond the last step: faces that may be trained on, the same ones at every look.
            self._trainer.calibrate(task.of_step(self.total + k, min(phase.batch, 16)) for k in range(GLANCE))
        losses, found, rows = [], [], None
        for batch in trial:
            made = self._trainer.made(batch)
            losses.append(self._trainer.judged(made, batch))
            found.append(task.figures(made.numpy(), batch))
            if rows is None:
                rows = grid(task.columns(made.numpy(), batch))
        figures = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        check = Check(step, float(np.mean(losses)), figures)
        log.info("after %d iterations, on held-out people: loss %.4f; %s", step, check.loss,
                 ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        # Losses of different resolutions cannot be compared: a phase begins anew.
        if self.best_check is None or check.loss < self.best_check.loss or self._phase_of(
                self.best_check.step) is not phase:
            self.best, self.best_check = _kept(self._trainer.result), check
        self.checks.append(check)
        if self._watcher is not None:
            self._watcher.scalars(step, {"validation/loss": check.loss,
                                         **{f"validation/{name}": value for name, value in figures.items()}})
            if rows is not None:
                self._watcher.grid(step, rows)

    def progress(self) -> Progress:
        tensors = capture(self._trainer.modules, self._trainer.optimizers)
        tensors.update({f"{BEST}{name}": value for name, value in self.best.items()})
        assert self.best_check is not None
        facts = {"checks": [check.to_dict() for check in self.checks], "best": self.best_check.to_dict(),
                 "seconds": self.seconds}
        return Progress(len(self.losses), torch.tensor(self.losses, dtype=torch.float64), tensors, facts)

    def go_on(self, progress: Progress) -> None:
        restore(progress.tensors, self._trainer.modules, self._trainer.optimizers)
        self.best = {name[len(BEST):]: value for name, value in progress.tensors.items() if name.startswith(BEST)}
        self.losses = progress.losses.tolist()
        self.checks = [Check(**check) for check in progress.facts["checks"]]
        self.best_check = Check(**progress.facts["best"])
        self.seconds = float(progress.facts["seconds"])
        log.info("goes on after %d of %d iterations", len(self.losses), self.total)

    def _task(self, resolution: int) -> tuple[Task, Sequence[Batch]]:
        """What is learned at a resolution, and what it is measured by."""
        if resolution not in self._tasks:
            task = task_of(self._plan, self._faces.at(resolution), self._people, self._held)
            self._tasks = {resolution: (task, task.trial())}
        return self._tasks[resolution]

    def _phase_of(self, step: int) -> Phase:
        """The phase that the last of `step` iterations belongs to."""
        first = 0
        for phase in self._plan.phases:
            first += phase.length(self._count)
            if step <= first:
                return phase
        return self._plan.phases[-1]


WATCHED = 10  # iterations between two scalars


def grid(columns: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 (h, w, 3): a row for each face, of pictures in [-1, 1], (n, 3, p, p) each."""
    rows = np.concatenate([np.concatenate(list(column[:SHOWN]), 1) for column in columns], 2)
    return np.rint(np.clip((rows.transpose(1, 2, 0) + 1) * 127.5, 0, 255)).astype(np.uint8)


def _kept(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in network.state_dict().items()}
