"""One step of training after another: a generator, a criterion, and, where the criterion wants one, a discriminator."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from fsgan_core.contract.errors import InputError, MachineError
from fsgan_core.networks.discriminator import MultiscaleDiscriminator
from fsgan_core.training.losses import Criterion, discriminator_loss
from fsgan_core.training.recipe import BETAS, Recipe

__all__ = ["Trainer", "calibrate", "picture_of", "seeded", "training_dtype"]

log = logging.getLogger(__name__)


def training_dtype(precision: str, device: str) -> torch.dtype:
    """Of the arithmetic of convolutions. auto: bfloat16 where the device computes it itself, else float32."""
    if precision == "fp32":
        return torch.float32
    native = _computes_bf16(device)
    if precision == "bf16":
        if not native:
            log.warning("%s does not compute bfloat16 itself; this will be slower than fp32", device)
        return torch.bfloat16
    return torch.bfloat16 if native else torch.float32


def _computes_bf16(device: str) -> bool:
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        return capability == "AVX512" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return False


class Trainer:
    """Holds what changes while a generator is trained.

    generator, discriminator: on the CPU; they are moved to `device`. discriminator: needed where the criterion's
    weights are adversarial.
    """

    def __init__(self, generator: nn.Module, criterion: Criterion, recipe: Recipe, *, device: str = "cpu",
                 discriminator: MultiscaleDiscriminator | None = None) -> None:
        if criterion.weights.adversarial and discriminator is None:
            raise ValueError("these losses need a discriminator")
        self.device = torch.device(device)
        self.dtype = training_dtype(recipe.precision, device)
        self.generator = generator.to(self.device).requires_grad_(True).train()
        self._criterion = criterion
        self._clip = recipe.clip
        self._optimizer = torch.optim.Adam(self.generator.parameters(), recipe.rate, BETAS)
        self.modules: dict[str, nn.Module] = {"generator": self.generator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"generator": self._optimizer}
        self._judge: MultiscaleDiscriminator | None = None
        if criterion.weights.adversarial and discriminator is not None:
            self._judge = discriminator.to(self.device).requires_grad_(True).train()
            rate = recipe.discriminator_rate or recipe.rate
            self.modules["discriminator"] = self._judge
            self.optimizers["discriminator"] = torch.optim.Adam(self._judge.parameters(), rate, BETAS)

    def step(self, inputs: np.ndarray | Tensor, targets: np.ndarray | Tensor) -> dict[str, float]:
        """One step on a batch; the parts of the generator's sum, and "total".

        Raises InputError (the sum is no number any more), MachineError (the device's memory is full).
        """
        try:
            return self._step(self._there(inputs), self._there(targets))
        except torch.OutOfMemoryError as error:
            raise MachineError(f"{self.device} has not enough memory for training with this batch and resolution; "
                               "take a smaller --batch or --resolution") from error

    def _step(self, inputs: Tensor, targets: Tensor) -> dict[str, float]:
        self.generator.train()
        with self._autocast():
            made = picture_of(self.generator(inputs))
        if self._judge is not None:
            self._teach_judge(made.detach(), targets)
        with self._autocast():
            judged = real = None
            if self._judge is not None:
                self._judge.requires_grad_(False)
                judged = self._judge.features(made)
                with torch.no_grad():
                    real = self._judge.features(targets)
            parts = self._criterion(made, targets, judged, real)
        total = torch.stack(list(parts.values())).sum()
        self._descend(total, self._optimizer, self.generator)
        if self._judge is not None:
            self._judge.requires_grad_(True)
        found = {name: float(part.detach()) for name, part in parts.items()}
        found["total"] = float(total.detach())
        if not math.isfinite(found["total"]):
            raise InputError("the loss is no number any more: the training has diverged; take a smaller --rate")
        return found

    def _teach_judge(self, made: Tensor, targets: Tensor) -> None:
        assert self._judge is not None
        with self._autocast():
            loss = discriminator_loss([scale[-1] for scale in self._judge.features(made)],
                                      [scale[-1] for scale in self._judge.features(targets)])
        self._descend(loss, self.optimizers["discriminator"], self._judge)

    def _descend(self, loss: Tensor, optimizer: torch.optim.Optimizer, network: nn.Module) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), self._clip)
        optimizer.step()

    def made(self, inputs: np.ndarray | Tensor) -> Tensor:
        """float32 (n, 3, h, w) on the CPU: the generator's answer as it will be used, in evaluation mode."""
        self.generator.eval()
        with torch.inference_mode(), self._autocast():
            answer = picture_of(self.generator(self._there(inputs)))
        self.generator.train()
        return answer.float().cpu()

    def calibrate(self, batches: Iterable[np.ndarray]) -> None:
        """`calibrate` the generator on these inputs."""
        with self._autocast():
            calibrate(self.generator, (self._there(batch) for batch in batches))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _there(self, values: np.ndarray | Tensor) -> Tensor:
        return torch.as_tensor(values).to(self.device, non_blocking=True)


def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measures the means and variances of batch norm anew over `batches`.

    The running ones follow the last few steps; of small batches that is a handful of pictures, and the network in use
    would not be the one that was trained.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = network.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    network.train()
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)


def picture_of(answer: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The picture that a generator answers with; the first version's has a segmentation beside it."""
    return answer if isinstance(answer, Tensor) else answer[0]


def seeded(arch: str, seed: int) -> nn.Module:
    """A network with random weights that the seed decides; the process's own random numbers are left alone. Raises
    WeightsError."""
    from fsgan_core.networks import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch)
