"""Networks without weights files: every parameter's values follow from its own name and shape.

The published networks were run with such parameters once, and what they gave is in tests/data/parity: the rule here is
that rule, so anyone can fill a network with the very numbers that it was measured with.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_SPREAD = 0.72  # of a convolution's weights: about what keeps the size of a signal


def weight(key: str, shape: tuple[int, ...], salt: int = 0) -> np.ndarray:
    """The parameter or buffer of that state-dict key: float32, or int64 for a batch counter."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    values = np.random.default_rng([zlib.crc32(key.encode()), salt]).random(math.prod(shape))  # 0..1
    values *= 2.0
    values -= 1.0
    around, reach = _centre_and_reach(key, shape)
    for factor in reach:  # one after the other: the rounding is part of the rule
        values *= factor
    if around:
        values += around
    return values.reshape(shape).astype(np.float32)


def _centre_and_reach(key: str, shape: tuple[int, ...]) -> tuple[float, tuple[float, ...]]:
    if key.endswith("running_var"):
        return 0.9, (0.2,)
    if key.endswith("running_mean"):
        return 0.0, (0.1,)
    if len(shape) == 1:
        return (1.0, (0.1,)) if key.endswith("weight") else (0.0, (0.05,))  # batch norm's scale; any bias
    return 0.0, (_SPREAD, math.sqrt(6.0 / math.prod(shape[1:])))


def image(shape: tuple[int, int, int, int], salt: int = 0) -> np.ndarray:
    """Smooth waves in [-1, 1], float32 (n, c, h, w), no two channels alike."""
    n, k = (axis.astype(np.float64) for axis in np.ogrid[: shape[0], : shape[1]])
    frequency = 0.02 + 0.013 * ((k * 7 + n * 3) % 11)
    n, k, frequency = n[..., None], k[..., None], frequency[..., None]
    across = np.sin(frequency * np.arange(shape[3]) + 0.7 * k + salt)
    down = np.cos(0.8 * frequency * np.arange(shape[2]) - 0.3 * k + n)
    return (down[..., :, None] * across[..., None, :]).astype(np.float32)


def state_of(shapes: Mapping[str, tuple[int, ...]], salt: int = 0) -> dict[str, torch.Tensor]:
    """A state dict of those keys and shapes."""
    import torch

    return {key: torch.from_numpy(weight(key, tuple(shape), salt)) for key, shape in shapes.items()}


def patterned(arch: str, salt: int = 0) -> torch.nn.Module:
    """The network of an architecture string, filled, ready to run (evaluation mode)."""
    from fsgan_core.networks.architectures.build import build_network

    network = build_network(arch, device="meta")
    state = state_of({key: tuple(value.shape) for key, value in network.state_dict().items()}, salt)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)
