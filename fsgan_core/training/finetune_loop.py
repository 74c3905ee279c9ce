"""Fine-tuning of the reenactment network on the clips of one source.

The defaults are those of the authors (FSGANv2, arXiv 2202.12972): 800 iterations of three pairs of frames at a learning
rate of 1e-4. A run saves its state regularly, and continues from there if it is started again with the same key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fsgan_core.plates.stream import read_ahead
from fsgan_core.runtime.arrays import Vector
from fsgan_core.training.data.face_crops import FaceSet
from fsgan_core.training.data.pairs import Batch, PairSampler, choose_trial_pairs, mark_held_out
from fsgan_core.training.losses import Criterion, FeatureExtractor, LossWeights
from fsgan_core.training.recipe import Recipe
from fsgan_core.training.run_state import (
    STATE_FILE,
    TrainingState,
    capture_tensors,
    load_state,
    restore_tensors,
    save_state,
)
from fsgan_core.training.trainer import Trainer, make_discriminator
from fsgan_core.training.validation import Trial, TrialFigures, make_strip, to_pictures, write_strip

__all__ = ["FinetuneStep", "FinetunedGenerator", "choose_loss_weights", "finetune_generator"]

log = logging.getLogger(__name__)

TRIAL_COUNT = 12  # pairs to measure on
PREVIEW_ROWS = 4  # pairs in a preview
FINAL_CALIBRATION_BATCHES = 32  # batches to calibrate batch norm on at the end
CALIBRATION_BATCHES = 8  # batches to calibrate batch norm on before a preview
SAVE_ITERATIONS = 50  # iterations between two saves
SAVE_SECONDS = 120.0  # longest time between two saves
LOSS_WINDOW = 50  # iterations in the mean of a reported loss


@dataclass(frozen=True)
class FinetuneStep:
    """The progress after an iteration.

    Attributes:
        done: Iterations done.
        total: Iterations of the run.
        loss: Mean loss of the generator over the last `LOSS_WINDOW` iterations.
    """

    done: int
    total: int
    loss: float


@dataclass(frozen=True)
class FinetunedGenerator:
    """The result of a fine-tuning run.

    The figures are measured on pairs with held-out targets, or on training pairs if the clips are too short to hold any
    out.

    Attributes:
        generator: The trained network, on the CPU, in evaluation mode.
        losses: Loss of the generator at each iteration, float64 (iterations,).
        figures_before: Figures of the network at the start.
        figures_after: Figures of the network at the end.
        view_figures: Figures of the pictures that the network is shown.
        held_out_count: Number of held-out faces.
        seconds: Training time of this process.
        resumed_iterations: Iterations that earlier processes did.
        precision: "fp32" or "bf16".
    """

    generator: nn.Module
    losses: Vector
    figures_before: TrialFigures
    figures_after: TrialFigures
    view_figures: TrialFigures
    held_out_count: int
    seconds: float
    resumed_iterations: int
    precision: str


def choose_loss_weights(vggs: Mapping[str, FeatureExtractor]) -> LossWeights:
    """Choose the authors' losses if there is an identity VGG, else those without a VGG."""
    return LossWeights.make_published_finetuning() if "identity" in vggs else LossWeights.make_without_vgg()


def finetune_generator(
    faces: FaceSet,
    generator: nn.Module,
    recipe: Recipe,
    *,
    folder: Path,
    key: str,
    vggs: Mapping[str, FeatureExtractor] | None = None,
    device: str = "cpu",
    preview: Path | None = None,
    preview_every: int = 100,
    consent: str = "",
    save_every: int = SAVE_ITERATIONS,
    on_progress: Callable[[FinetuneStep], None] | None = None,
) -> FinetunedGenerator:
    """Train a generator on pairs of faces.

    Args:
        faces: The faces.
        generator: The network to train.
        recipe: The settings.
        folder: Folder for the run's state. If it has a state with the same key, the run continues from there.
        key: Digest of everything that the result depends on.
        vggs: The networks of the perceptual loss, by role.
        device: The torch device.
        preview: Folder for preview pictures; None writes none.
        preview_every: Iterations between two previews.
        consent: The person's release, for the mark of the previews; empty: none is named.
        save_every: Iterations between two saves.
        on_progress: Called after each iteration.

    Raises:
        InputError: The training diverged.
        MachineError: The device is out of memory.
        OutputError: The state or a preview cannot be written.
    """
    is_held_out = mark_held_out(faces)
    pairs = PairSampler(faces, ~is_held_out, prewarp=recipe.prewarp, seed=recipe.seed)
    trial = Trial(pairs, choose_trial_pairs(faces, is_held_out, TRIAL_COUNT))
    vggs = dict(vggs or {})
    weights = choose_loss_weights(vggs)
    trainer = Trainer(
        generator,
        Criterion(weights, vggs),
        recipe,
        device=device,
        discriminator=make_discriminator(generator, recipe.seed) if weights.is_adversarial else None,
    )
    finetune_run = _FinetuneRun(trainer, trial, recipe, preview, consent)

    state = folder / STATE_FILE
    progress = load_state(state, key)
    if progress is None:
        figures_before = finetune_run.measure_figures(0, identity=True)
        losses: list[float] = []
    else:
        restore_tensors(progress.tensors, trainer.modules, trainer.optimizers)
        figures_before = TrialFigures(**progress.facts["before"])
        losses = progress.losses.tolist()
        log.info("continues after %d of %d iterations", progress.step, recipe.iterations)
    resumed_iterations, saved_iterations = len(losses), len(losses)

    def save() -> None:
        facts = {"before": vars(figures_before)}
        tensors = capture_tensors(trainer.modules, trainer.optimizers)
        save_state(state, TrainingState(len(losses), torch.tensor(losses, dtype=torch.float64), tensors, facts), key)

    start_time = last_save_time = time.perf_counter()
    steps = range(resumed_iterations, recipe.iterations)
    is_between_steps = True  # whether no step is half done; only then may the state be saved
    try:
        for step, batch in read_ahead(finetune_run.make_step_batch, steps, workers=1, ahead=2):
            is_between_steps = False
            losses.append(trainer.step(batch)["total"])
            is_between_steps = True
            iterations_done = step + 1
            if on_progress is not None:
                on_progress(FinetuneStep(iterations_done, recipe.iterations, float(np.mean(losses[-LOSS_WINDOW:]))))
            if iterations_done % save_every == 0 or time.perf_counter() - last_save_time > SAVE_SECONDS:
                save()
                saved_iterations, last_save_time = iterations_done, time.perf_counter()
            if preview is not None and iterations_done % preview_every == 0 and iterations_done < recipe.iterations:
                finetune_run.measure_figures(iterations_done)
    except KeyboardInterrupt:
        if is_between_steps and len(losses) > saved_iterations:
            save()
        raise
    if len(losses) > saved_iterations:
        save()
    figures_after = finetune_run.measure_figures(recipe.iterations, FINAL_CALIBRATION_BATCHES, identity=True)
    precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[trainer.dtype]
    return FinetunedGenerator(
        trainer.generator.cpu().eval().requires_grad_(False),
        np.array(losses),
        figures_before,
        figures_after,
        trial.compute_figures(trial.make_views()),
        int(is_held_out.sum()),
        time.perf_counter() - start_time,
        resumed_iterations,
        precision,
    )


class _FinetuneRun:
    """Makes the batches of a run, and measures on its fixed pairs."""

    def __init__(self, trainer: Trainer, trial: Trial, recipe: Recipe, preview: Path | None, consent: str) -> None:
        self._trainer = trainer
        self._sampler = trial.sampler
        self._trial = trial
        self._recipe = recipe
        self._preview, self._consent = preview, consent

    def make_step_batch(self, step: int) -> Batch:
        """Make the batch of a step; runs in its own thread during the step before."""
        return self._sampler.make_step_batch(step, self._recipe.batch)

    def measure_figures(self, step: int, batches: int = CALIBRATION_BATCHES, *, identity: bool = False) -> TrialFigures:
        """Measure the figures and write a preview; after training steps, batch norm is calibrated first."""
        if step:
            # Steps beyond the last one give training pairs, the same ones every time.
            first_step = self._recipe.iterations
            self._trainer.calibrate(self.make_step_batch(number) for number in range(first_step, first_step + batches))
        trial = self._trial.trial_pairs
        pictures = [to_pictures(self._trainer.generate(self._sampler.make_batch([pair])).numpy())[0] for pair in trial]
        if self._preview is not None:
            path = self._preview / f"preview_{step:06d}.png"
            write_strip(path, make_strip(pictures[:PREVIEW_ROWS], self._sampler, trial[:PREVIEW_ROWS]), self._consent)
        figures = self._trial.compute_figures(pictures, identity=identity)
        log.info("after %d iterations: %s", step, figures)
        return figures
