"""Training steps of a generator, and of a discriminator if the losses need one."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from fsgan_core.contract.errors import InputError, MachineError
from fsgan_core.faces.landmarkers.heatmap import CONE_FLOOR, CONE_POWER, CONE_RADIUS
from fsgan_core.networks.architectures.discriminator import MultiscaleDiscriminator
from fsgan_core.runtime.arrays import AnyArray
from fsgan_core.training.data.pairs import Batch
from fsgan_core.training.losses import ClassCriterion, Criterion, discriminator_loss
from fsgan_core.training.recipe import ADAM_BETAS, Recipe

__all__ = [
    "Trainer",
    "build_network_input",
    "build_seeded_network",
    "calibrate_batch_norm",
    "choose_training_dtype",
    "extract_picture",
    "extract_redrawn_share",
    "has_running_statistics",
    "make_discriminator",
    "update_moving_average",
]

log = logging.getLogger(__name__)

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)

MAX_DISCRIMINATOR_WIDTH, MIN_DISCRIMINATOR_WIDTH = 64, 8


def choose_training_dtype(precision: str, device: str) -> torch.dtype:
    """Choose the dtype of the convolutions.

    Args:
        precision: "fp32", "bf16", or "auto" for bfloat16 if the device supports it natively, else float32.
        device: The torch device.
    """
    if precision == "fp32":
        return torch.float32
    native = _has_native_bf16(device)
    if precision == "bf16":
        if not native:
            log.warning("%s does not support bfloat16 natively; this will be slower than fp32", device)
        return torch.bfloat16
    return torch.bfloat16 if native else torch.float32


def _has_native_bf16(device: str) -> bool:
    if device.startswith("cuda"):
        result: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return result
    if device == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        return capability == "AVX512" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return False


class Trainer:
    """Trains a generator step by step.

    Args:
        generator: The network to train; it is moved to `device`.
        criterion: The losses.
        recipe: Learning rates, gradient clipping and precision.
        device: The torch device.
        discriminator: Needed if the losses are adversarial; it is moved to `device`.
        average: Memory of the moving average of the generator's weights per step, 0 to 1; 0 is no average.
        share: Called with a network after each backward pass, to average the gradients of several processes.

    Raises:
        ValueError: The losses need a discriminator and none is given.
    """

    def __init__(
        self,
        generator: nn.Module,
        criterion: Criterion | ClassCriterion,
        recipe: Recipe,
        *,
        device: str = "cpu",
        discriminator: MultiscaleDiscriminator | None = None,
        average: float = 0.0,
        share_gradients: Callable[[nn.Module], None] | None = None,
    ) -> None:
        if criterion.weights.is_adversarial and discriminator is None:
            raise ValueError("these losses need a discriminator")
        self.device = torch.device(device)
        self.dtype = choose_training_dtype(recipe.precision, device)
        self.generator = _prepare_for_training(generator, self.device)
        self._criterion = criterion
        self._max_gradient_norm = recipe.clip
        self._share_gradients = share_gradients
        self._average_memory = average
        self._optimizer = torch.optim.Adam(self.generator.parameters(), recipe.rate, ADAM_BETAS)
        self.modules: dict[str, nn.Module] = {"generator": self.generator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"generator": self._optimizer}
        self._discriminator: MultiscaleDiscriminator | None = None
        if criterion.weights.is_adversarial and discriminator is not None:
            self._discriminator = _prepare_for_training(discriminator, self.device)
            rate = recipe.discriminator_rate or recipe.rate
            self.modules["discriminator"] = self._discriminator
            self.optimizers["discriminator"] = torch.optim.Adam(self._discriminator.parameters(), rate, ADAM_BETAS)
        if average:
            self.modules["average"] = copy.deepcopy(self.generator).requires_grad_(False).eval()

    @property
    def result(self) -> nn.Module:
        """The trained network: the moving average if there is one, else the generator."""
        return self.modules.get("average", self.generator)

    def set_rates(self, rate: float, discriminator_rate: float) -> None:
        """Set the learning rates of the generator and of the discriminator."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rate if name == "generator" else discriminator_rate

    def step(self, batch: Batch, number: int = 0) -> dict[str, float]:
        """Do one training step.

        Args:
            batch: The batch.
            number: Number of the step. The moving average forgets faster in the first steps.

        Returns:
            The generator's weighted losses by name, and their sum as "total".

        Raises:
            InputError: The sum is not finite: the training has diverged.
            MachineError: The device is out of memory.
        """
        try:
            losses = self._update_weights(
                build_network_input(batch, self.device),
                self._move_to_device(batch.targets),
                None if batch.loss_mask is None else self._move_to_device(batch.loss_mask),
            )
        except torch.OutOfMemoryError as error:
            raise MachineError(
                f"{self.device} does not have enough memory for training with this batch and resolution; "
                "use a smaller --batch or --resolution"
            ) from error
        if self._average_memory:
            update_moving_average(
                self.modules["average"], self.generator, min(self._average_memory, (1 + number) / (10 + number))
            )
        return losses

    def _update_weights(self, inputs: Tensor, targets: Tensor, loss_mask: Tensor | None) -> dict[str, float]:
        self.generator.train()
        with self._autocast():
            output = self.generator(inputs)
        pictures = extract_picture(output)
        if loss_mask is not None:
            pictures = targets + loss_mask * (pictures - targets)  # no error outside the loss mask
        if self._discriminator is not None:
            self._train_discriminator(pictures.detach(), targets)
        with self._autocast():
            output_features = target_features = None
            if self._discriminator is not None:
                self._discriminator.requires_grad_(False)
                output_features = self._discriminator.compute_features(pictures)
                with torch.no_grad():
                    target_features = self._discriminator.compute_features(targets)
            loss_tensors = self._criterion(pictures, targets, output_features, target_features)
        redrawn = extract_redrawn_share(output)
        if redrawn is not None and self._criterion.weights.redrawn:
            counted = redrawn if loss_mask is None else redrawn * loss_mask
            loss_tensors["redrawn"] = self._criterion.weights.redrawn * counted.float().mean()
        total = torch.stack(list(loss_tensors.values())).sum()
        self._apply_gradients(total, self._optimizer, self.generator)
        if self._discriminator is not None:
            self._discriminator.requires_grad_(True)
        losses = {name: float(part.detach()) for name, part in loss_tensors.items()}
        losses["total"] = float(total.detach())
        if not math.isfinite(losses["total"]):
            raise InputError("the training has diverged: the loss is not finite; use a smaller --rate")
        return losses

    def _train_discriminator(self, pictures: Tensor, targets: Tensor) -> None:
        assert self._discriminator is not None
        with self._autocast():
            loss = discriminator_loss(
                [scale[-1] for scale in self._discriminator.compute_features(pictures)],
                [scale[-1] for scale in self._discriminator.compute_features(targets)],
            )
        self._apply_gradients(loss, self.optimizers["discriminator"], self._discriminator)

    def _apply_gradients(self, loss: Tensor, optimizer: torch.optim.Optimizer, network: nn.Module) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._share_gradients is not None:
            self._share_gradients(network)
        torch.nn.utils.clip_grad_norm_(network.parameters(), self._max_gradient_norm)
        optimizer.step()

    def generate(self, batch: Batch) -> Tensor:
        """Run the trained network in evaluation mode; returns float32 (n, 3, height, width) on the CPU."""
        self.result.eval()
        with torch.inference_mode(), self._autocast():
            pictures = extract_picture(self.result(build_network_input(batch, self.device)))
        self.generator.train()
        return pictures.float().cpu()

    def compute_loss(self, output: Tensor, batch: Batch) -> float:
        """Compute the sum of the losses that need no discriminator, for an output on the CPU."""
        targets = torch.as_tensor(batch.targets)
        if batch.loss_mask is not None:
            output = targets + torch.as_tensor(batch.loss_mask) * (output - targets)
        with torch.no_grad():
            losses = self._criterion(output.to(self.device), targets.to(self.device))
        return float(torch.stack(list(losses.values())).sum())

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Calibrate batch norm of the trained network; see `calibrate_batch_norm`."""
        with self._autocast():
            calibrate_batch_norm(self.result, (build_network_input(batch, self.device) for batch in batches))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _move_to_device(self, values: AnyArray) -> Tensor:
        return torch.as_tensor(values).to(self.device, non_blocking=True)


def build_network_input(batch: Batch, device: torch.device | str = "cpu") -> Tensor:
    """Move the inputs of a batch to the device, and draw the heat maps if the network takes some.

    Returns:
        (n, channels, size, size).
    """
    inputs = torch.as_tensor(batch.inputs).to(device, non_blocking=True)
    if batch.heat_map_points is None:
        return inputs
    return torch.cat([inputs, _draw_heat_maps(torch.as_tensor(batch.heat_map_points).to(device), inputs.shape[-1])], 1)


def _draw_heat_maps(points: Tensor, size: int) -> Tensor:
    """Draw heat maps as `faces.heatmap` does, for all points (n, k, 2) at once: float32 (n, k, size, size)."""
    centres = (torch.arange(size, device=points.device, dtype=torch.float32) + 0.5) / size
    across = (centres - points[..., :1]) ** 2  # (n, k, size)
    down = (centres - points[..., 1:]) ** 2
    distance = (across[..., None, :] + down[..., :, None]).sqrt()
    cone = (1 - distance / CONE_RADIUS).clamp_min(0) ** CONE_POWER
    return ((cone - CONE_FLOOR) / (1 - CONE_FLOOR)).clamp_min(0)


def _prepare_for_training(network: AnyNetwork, device: torch.device) -> AnyNetwork:
    """Prepare a network for training. Channels last is three times as fast on CPUs without half precision."""
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(True).train()
    return network


@torch.no_grad()
def update_moving_average(average: nn.Module, network: nn.Module, memory: float) -> None:
    """Move the weights of `average` towards those of `network`, and copy the running statistics.

    Args:
        average: The network that holds the moving average.
        network: The network in training.
        memory: Weight of the old average, 0 to 1.
    """
    for average_weight, weight in zip(average.parameters(), network.parameters(), strict=True):
        average_weight.lerp_(weight, 1 - memory)
    for average_buffer, buffer in zip(average.buffers(), network.buffers(), strict=True):
        average_buffer.copy_(buffer)


def calibrate_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure the means and variances of batch norm again, over `batches`.

    The running statistics cover only the last few steps. With small batches that is a handful of pictures, and the
    network would behave differently in use than in training.
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


def has_running_statistics(network: nn.Module) -> bool:
    """Return whether a network has batch norm, whose running statistics cover only the last few steps."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def make_discriminator(generator: nn.Module, seed: int, width: int = 0) -> MultiscaleDiscriminator:
    """Make a discriminator with random weights.

    Args:
        generator: The network that it judges.
        seed: Decides the weights.
        width: Channels of the first layer; 0 is the generator's width, up to the published width.
    """
    if not width:
        widths = [
            len(parameter)
            for parameter in generator.parameters()
            if parameter.dim() == 4 and len(parameter) >= MIN_DISCRIMINATOR_WIDTH
        ]
        width = min(min(widths, default=MIN_DISCRIMINATOR_WIDTH), MAX_DISCRIMINATOR_WIDTH)
    discriminator = build_seeded_network(f"discriminators_pix2pix.MultiscaleDiscriminator(ndf={width})", seed + 1)
    assert isinstance(discriminator, MultiscaleDiscriminator)
    return discriminator


def extract_picture(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the picture in a generator's output. The generator of FSGAN's first version adds a segmentation to it."""
    return output if isinstance(output, Tensor) else output[0]


def extract_redrawn_share(output: Tensor | tuple[Tensor, ...]) -> Tensor | None:
    """Return how much of each pixel a generator redraws, (n, 1, height, width); None if its output does not have it."""
    if isinstance(output, tuple) and len(output) > 1 and output[1].shape[1] == 1:
        return output[1]
    return None


def build_seeded_network(arch: str, seed: int) -> nn.Module:
    """Build a network with random weights, without a change to the process's random state.

    Args:
        arch: The architecture, as in a weights file.
        seed: Decides the weights.

    Raises:
        WeightsError: The architecture is unknown.
    """
    from fsgan_core.networks.architectures.build import build_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(arch)
