"""The row about networks of the published size: a swap's frame on this machine's CPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from benchmarks import generators
from benchmarks.table import Row, count_seconds
from fsgan_core.networks.inference import make_runner

VIEWS = 3


def measure_networks(rounds: int, size: int = 256) -> Iterator[Row]:
    """All networks of a swap's frame with three views against plain eager float32, and its convolutions alone."""
    with torch.inference_mode():
        given = generators.make_inputs(size)
        plain = {name: generators.build_patterned_network(entry[0]) for name, entry in generators.NETWORKS.items()}
        fast = {name: make_runner(network) for name, network in plain.items()}
        parts = generators.list_frame_networks(VIEWS)
        slow, quick, processor = generators.time_pairs(
            lambda: [plain[name](given[name]) for name in parts],
            lambda: [fast[name].run(given[name]) for name in parts],
            rounds,
            lambda: None,
        )
        shares = [
            (parts.count(name), *_measure_convolutions(partial(fast[name].run, given[name]), rounds)) for name in plain
        ]
    whole = sum(count * both for count, both, _ in shares)
    bare = sum(count * convolutions for count, _, convolutions in shares)
    yield Row(
        f"networks of a published swap frame, {VIEWS} views, on this CPU",
        "plain eager float32",
        statistics.median(quick),
        1 / processor,
        0.4,
        notes=(
            f"wall seconds {statistics.median(quick):.2f} against {statistics.median(slow):.2f}",
            f"the library's convolutions, called alone on the same arrays, take {bare / whole:.2f} of it, "
            f"so no code around them can bring the ratio below {bare / whole / processor:.2f}",
        ),
    )


def _measure_convolutions(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The least processor seconds of a pass, and of its convolutions alone, in turns."""
    with _ConvolutionRecorder() as recorder:
        run()
    both = [(count_seconds(run), count_seconds(recorder.repeat)) for _ in range(rounds + 1)]
    return min(one for one, _ in both), min(other for _, other in both)


class _ConvolutionRecorder(TorchFunctionMode):
    """Notes each convolution that is called, with its arrays, and calls them again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (F.conv2d, F.conv_transpose2d):
            self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def repeat(self) -> None:
        """Calls the convolutions again."""
        for func, args, kwargs in self.calls:
            func(*args, **kwargs)
