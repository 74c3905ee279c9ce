"""Several processes as one: `torchrun` starts them, each does its part of every batch, gradients are averaged.

The backend is NCCL between GPUs, gloo between CPUs. Gradients go in one piece, which is plain and, for networks of this
size, about as fast as overlapping them. Every process makes the same step with the same sums, so that one state, the
first process's, is that of all.
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
    """This process among all. device: the GPU that it was given, "" where the caller chooses."""

    rank: int = 0
    size: int = 1
    device: str = ""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def slice_batch(self, batch: int) -> slice:
        """The members of a batch that this process has. Raises InputError for one that cannot be shared out."""
        if batch % self.size:
            raise InputError(f"a batch of {batch} cannot be shared by {self.size} processes; make it a multiple")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)


SINGLE_PROCESS = World()


def join_world(device: str) -> World:
    """The world that `torchrun` has set up, this process in it; ALONE without. device: as it was asked for.

    Raises MachineError when the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return SINGLE_PROCESS
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    cuda = device.startswith("cuda")
    try:
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        raise MachineError(f"process {rank} of {size} does not reach the others: {error}") from error
    log.info("process %d of %d", rank, size)
    return World(rank, size, f"cuda:{local}" if cuda else "")


def leave_world() -> None:
    """The end of what `join` began."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def average_gradients(network: nn.Module) -> None:
    """Every process's gradients become the mean of all."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    whole = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(whole)
    whole /= distributed.get_world_size()
    first = 0
    for gradient in gradients:
        gradient.copy_(whole[first : first + gradient.numel()].view_as(gradient))
        first += gradient.numel()


def average_over_processes(value: float, world: World) -> float:
    """The mean of every process's value."""
    if world.size == 1:
        return value
    whole = torch.tensor(
        [value], dtype=torch.float64 if not world.device else torch.float32, device=world.device or "cpu"
    )
    distributed.all_reduce(whole)
    return float(whole) / world.size


def share_batch_statistics(network: nn.Module) -> None:
    """Batch norm sees the whole batch, not this process's part of it: a small part would be another training.
    (torch.nn.SyncBatchNorm does that on GPUs alone.)"""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SharedBatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

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
    """Means and variances over all processes, gradients through them included."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.float()
        count = wide.numel() // wide.shape[1] * distributed.get_world_size()
        sums = _SumOverProcesses.apply(  # type: ignore[no-untyped-call]
            torch.cat([wide.sum((0, 2, 3)), (wide * wide).sum((0, 2, 3))])
        )
        mean, square = (sums / count).chunk(2)
        variance = (square - mean * mean).clamp_min(0)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * count / max(count - 1, 1), share)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        result: Tensor = (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)
        return result
