"""The row about networks of the published size: a swap's frame on this machine's CPU."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import torch

from benchmarks import generators
from benchmarks.table import Row

VIEWS = 3


def measure_networks(rounds: int, size: int = 256) -> Iterator[Row]:
    """All networks of a swap's frame with three views against plain eager float32."""
    with torch.inference_mode():
        given = generators.make_inputs(size)
        plain = {name: generators.build_patterned_network(entry[0]) for name, entry in generators.NETWORKS.items()}
        fast = {name: generators.make_runner(network) for name, network in plain.items()}
        parts = generators.list_frame_networks(VIEWS)
        slow, quick, processor = generators.time_pairs(
            lambda: [plain[name](given[name]) for name in parts],
            lambda: [fast[name].run(given[name]) for name in parts],
            rounds,
            lambda: None,
        )
    yield Row(
        f"networks of a published swap frame, {VIEWS} views, on this CPU",
        "plain eager float32",
        statistics.median(quick),
        1 / processor,
        0.4,
        notes=(f"wall seconds {statistics.median(quick):.2f} against {statistics.median(slow):.2f}",),
    )
