"""Fine-tuning of the reenactment network on a source's own clips: the authors' best practice (FSGANv2, arXiv
2202.12972), 800 iterations of three pairs of frames at a rate of 1e-4.

A run keeps its state in a folder every so often and goes on from there when it is started again with the same key.
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
from fsgan_core.training.face_crops import FaceSet
from fsgan_core.training.loops import Trainer, judge_for
from fsgan_core.training.losses import Criterion, Features, LossWeights
from fsgan_core.training.pairs import Batch, Pairs, held_out, trial_pairs
from fsgan_core.training.recipe import Recipe
from fsgan_core.training.run_state import Progress, capture, load_state, restore, save_state
from fsgan_core.training.validation import Figures, Trial, strip, to_pictures, write_strip

__all__ = ["STATE_FILE", "Outcome", "Step", "finetune", "loss_weights"]

log = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"
TRIALS, SHOWN = 12, 4  # pairs to measure by, and of them in a strip
CALIBRATION, GLANCE = 32, 8  # batches that batch norm is measured over, at the end and before a look
SAVE_EVERY = 50  # iterations
SAVE_SECONDS = 120.0  # where iterations are slow
AVERAGED = 50  # iterations that a loss is told over


@dataclass(frozen=True)
class Step:
    """One iteration that is done. loss: mean of the generator's sum over the last ones."""

    done: int
    total: int
    loss: float


@dataclass(frozen=True)
class Outcome:
    """generator: trained, on the CPU, in evaluation mode. losses: float64 (iterations,). before, after, view: figures
    on pairs whose targets were held out (on training pairs, where the clips are too short to hold any out) of the
    network at the start, at the end, and of what the network is shown. seconds: of this process. resumed: iterations
    that an earlier process did."""

    generator: nn.Module
    losses: np.ndarray
    before: Figures
    after: Figures
    view: Figures
    held_out: int
    seconds: float
    resumed: int
    precision: str


def loss_weights(vggs: Mapping[str, Features]) -> LossWeights:
    """The authors' losses where the identity VGG is there, ours where it is not."""
    return LossWeights.published_finetuning() if "identity" in vggs else LossWeights.ours()


def finetune(faces: FaceSet, generator: nn.Module, recipe: Recipe, *, folder: Path, key: str,
             vggs: Mapping[str, Features] | None = None, device: str = "cpu", preview: Path | None = None,
             preview_every: int = 100, save_every: int = SAVE_EVERY,
             listen: Callable[[Step], None] | None = None) -> Outcome:
    """Trains `generator` on pairs of `faces`.

    folder: where the run's state is kept; a state of that `key` there is gone on from. vggs: by role, for the
    perceptual loss. preview: folder for strips of pictures, one every `preview_every` iterations. listen: called after
    each iteration. Raises InputError (diverged), MachineError, OutputError.
    """
    kept = held_out(faces)
    pairs = Pairs(faces, ~kept, prewarp=recipe.prewarp, seed=recipe.seed)
    trial = Trial(pairs, trial_pairs(faces, kept, TRIALS))
    vggs = dict(vggs or {})
    weights = loss_weights(vggs)
    trainer = Trainer(generator, Criterion(weights, vggs), recipe, device=device,
                      discriminator=judge_for(generator, recipe.seed) if weights.adversarial else None)
    run = _Run(trainer, trial, recipe, preview)

    state = folder / STATE_FILE
    progress = load_state(state, key)
    if progress is None:
        before = run.look(0, identity=True)
        losses: list[float] = []
    else:
        restore(progress.tensors, trainer.modules, trainer.optimizers)
        before = Figures(**progress.facts["before"])
        losses = progress.losses.tolist()
        log.info("goes on after %d of %d iterations", progress.step, recipe.iterations)
    resumed, saved = len(losses), len(losses)

    def save() -> None:
        facts = {"before": vars(before)}
        tensors = capture(trainer.modules, trainer.optimizers)
        save_state(state, Progress(len(losses), torch.tensor(losses, dtype=torch.float64), tensors, facts), key)

    start = since = time.perf_counter()
    steps = range(resumed, recipe.iterations)
    whole = True  # no step is half done
    try:
        for step, batch in read_ahead(run.batch, steps, workers=1, ahead=2):
            whole = False
            losses.append(trainer.step(batch)["total"])
            whole = True
            done = step + 1
            if listen is not None:
                listen(Step(done, recipe.iterations, float(np.mean(losses[-AVERAGED:]))))
            if done % save_every == 0 or time.perf_counter() - since > SAVE_SECONDS:
                save()
                saved, since = done, time.perf_counter()
            if preview is not None and done % preview_every == 0 and done < recipe.iterations:
                run.look(done)
    except KeyboardInterrupt:
        if whole and len(losses) > saved:
            save()
        raise
    if len(losses) > saved:
        save()
    after = run.look(recipe.iterations, CALIBRATION, identity=True)
    precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[trainer.dtype]
    return Outcome(trainer.generator.cpu().eval().requires_grad_(False), np.array(losses), before, after,
                   trial.figures(trial.views()), int(kept.sum()), time.perf_counter() - start, resumed, precision)


class _Run:
    """What a run looks at: batches by step, and the fixed pairs."""

    def __init__(self, trainer: Trainer, trial: Trial, recipe: Recipe, preview: Path | None) -> None:
        self._trainer = trainer
        self._pairs = trial.pairs
        self._trial = trial
        self._recipe = recipe
        self._preview = preview

    def batch(self, step: int) -> Batch:
        """In a thread of its own while the step before is computed."""
        return self._pairs.of_step(step, self._recipe.batch)

    def look(self, step: int, batches: int = GLANCE, *, identity: bool = False) -> Figures:
        """Figures, and a strip in the folder of previews. A network that has not been trained yet is taken as it is;
        batch norm of one that has is calibrated first."""
        if step:
            # Beyond the last step: pairs that may be trained on, the same ones at every look.
            first = self._recipe.iterations
            self._trainer.calibrate(self.batch(number) for number in range(first, first + batches))
        trial = self._trial.trial
        made = [to_pictures(self._trainer.made(self._pairs.batch([pair])).numpy())[0] for pair in trial]
        if self._preview is not None:
            path = self._preview / f"preview_{step:06d}.png"
            write_strip(path, strip(made[:SHOWN], self._pairs, trial[:SHOWN]))
        figures = self._trial.figures(made, identity=identity)
        log.info("after %d iterations: %s", step, figures)
        return figures
