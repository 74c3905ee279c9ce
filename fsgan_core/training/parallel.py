"""Train in several processes: `torchrun` starts them, each does its part of every batch, gradients are averaged.

The backend is NCCL between GPUs and gloo between CPUs. All gradients are averaged in one call: that is simple and, for
networks of this size, about as fast as averaging during the backward pass. All processes have the same weights after
each step, so that only the first one saves its state.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from fsgan_core.contract.errors import InputError, MachineError

__all__ = [
    "SINGLE_PROCESS",
    "World",
    "average_gradients",
    "average_over_processes",
    "join_world",
    "leave_world",
    "share_batch_statistics",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """The place of this process among all that train together.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        device: The GPU of this process; "" if the caller chooses the device.
    """

    rank: int = 0
    size: int = 1
    device: str = ""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def slice_batch(self, batch: int) -> slice:
        """Return the part of a batch that belongs to this process.

        Raises:
            InputError: The batch is not a multiple of the number of processes.
        """
        if batch % self.size:
            raise InputError(f"a batch of {batch} cannot be shared by {self.size} processes; make it a multiple")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)


SINGLE_PROCESS = World()


def join_world(device: str) -> World:
    """Connect to the other processes that `torchrun` started.

    Args:
        device: The device that the user asked for.

    Returns:
        The place of this process; `SINGLE_PROCESS` without `torchrun`.

    Raises:
        MachineError: The other processes cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return SINGLE_PROCESS
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    cuda = device.startswith("cuda")
    try:
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        raise MachineError(f"process {rank} of {size} cannot reach the others: {error}") from error
    log.info("process %d of %d", rank, size)
    return World(rank, size, f"cuda:{local}" if cuda else "")


def leave_world() -> None:
    """Disconnect from the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def average_gradients(network: nn.Module) -> None:
    """Replace the gradients of each process by the mean over all processes."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    flat_gradients = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat_gradients)
    flat_gradients /= distributed.get_world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat_gradients[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def average_over_processes(value: float, world: World) -> float:
    """Return the mean of a value over all processes."""
    if world.size == 1:
        return value
    total = torch.tensor(
        [value], dtype=torch.float64 if not world.device else torch.float32, device=world.device or "cpu"
    )
    distributed.all_reduce(total)
    return float(total) / world.size


def share_batch_statistics(network: nn.Module) -> None:
    """Make batch norm use the statistics of the whole batch instead of this process's part.

    Otherwise the result would depend on the number of processes. (`torch.nn.SyncBatchNorm` works only on GPUs.)
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SharedBatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; its gradient is summed in the same way."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm with means and variances over all processes, and gradients through them."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = values.numel() // values.shape[1] * distributed.get_world_size()
        sums = _SumOverProcesses.apply(  # type: ignore[no-untyped-call]
            torch.cat([values.sum((0, 2, 3)), (values * values).sum((0, 2, 3))])
        )
        mean, square = (sums / count).chunk(2)
        variance = (square - mean * mean).clamp_min(0)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                new_weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, new_weight)
                self.running_var.lerp_(variance * count / max(count - 1, 1), new_weight)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        result: Tensor = (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)
        return result
