"""Make batches ahead of the training: in one thread, or in several processes if one thread is too slow for a GPU.

A batch depends only on the number of its step, so the order and the pixels do not depend on the number of processes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import fields

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from fsgan_core.plates.stream import read_ahead
from fsgan_core.training.data.pairs import Batch

__all__ = ["prefetch_batches"]

PREFETCH_PER_WORKER = 2  # batches that each process makes ahead

BatchTensors = dict[str, torch.Tensor]


def prefetch_batches(make_batch: Callable[[int], Batch], steps: range, workers: int = 0) -> Iterator[tuple[int, Batch]]:
    """Yield each step and its batch, in the order of `steps`.

    Leaving the loop early ends the processes.

    Args:
        make_batch: Makes the batch of a step. It must be picklable on systems that cannot fork.
        steps: The numbers of the steps.
        workers: Processes that make batches; 0 uses a thread of this process.

    Yields:
        Step and batch.
    """
    if workers < 1 or len(steps) < 2:
        yield from read_ahead(make_batch, steps, workers=1, ahead=2)
        return
    start_method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    loader = DataLoader(
        _StepDataset(make_batch, steps),
        batch_size=None,
        num_workers=min(workers, len(steps)),
        prefetch_factor=PREFETCH_PER_WORKER,
        multiprocessing_context=start_method,
        worker_init_fn=_use_one_thread,
    )
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # OpenCV's threads do not survive a fork
    try:
        for step, arrays in zip(steps, loader, strict=True):
            yield step, Batch(**{name: tensor.numpy() for name, tensor in arrays.items()})
    finally:
        cv2.setNumThreads(threads)


class _StepDataset(Dataset[BatchTensors]):
    """Batches as tensors: these pass between processes in shared memory, arrays would pass through a pipe."""

    def __init__(self, make_batch: Callable[[int], Batch], steps: range) -> None:
        self._make_batch = make_batch
        self._steps = steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, position: int) -> BatchTensors:
        batch = self._make_batch(self._steps[position])
        arrays = {field.name: getattr(batch, field.name) for field in fields(Batch)}
        return {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}


def _use_one_thread(_: int) -> None:
    """Use one thread: each process has one core."""
    cv2.setNumThreads(1)
