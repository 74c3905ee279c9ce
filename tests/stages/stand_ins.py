"""Networks that answer what is known beforehand, so that what is around them can be tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fsgan_core.faces.square_crop import DETECTOR_SHIFT_UP, DETECTOR_SIDE
from fsgan_core.networks.network import Network
from fsgan_core.networks.weights.catalogue import WeightsInfo
from tests.stages.conftest import Still

Function = Callable[[np.ndarray], np.ndarray | tuple[np.ndarray, ...]]


@dataclass
class StandIn:
    """Runs a function of numpy arrays (n, c, h, w) and remembers what it was given."""

    function: Function
    takes_half_maps: bool = False
    given: list[np.ndarray] = field(default_factory=list)

    def run(self, x: Any) -> Any:
        import torch

        batch = x.numpy().copy()
        self.given.append(batch)
        answer = self.function(batch)
        if isinstance(answer, tuple):
            return tuple(torch.from_numpy(np.ascontiguousarray(one, np.float32)) for one in answer)
        return torch.from_numpy(np.ascontiguousarray(answer, np.float32))


def network(role: str, function: Function, **facts: Any) -> tuple[dict[str, Network], StandIn]:
    """`networks` with one stand-in, and that stand-in."""
    stand_in = StandIn(function)
    weight = WeightsInfo(name=f"stand-in {role}", role=role, **{"landmarks": 68 if role == "reenact" else 0, **facts})
    return {role: Network(weight, stand_in)}, stand_in  # type: ignore[arg-type]


def same_picture(batch: np.ndarray) -> np.ndarray:
    """The picture that the network is shown: its first three channels."""
    return batch[:, :3]


def module_network(role: str, arch: str, **facts: Any) -> Mapping[str, Network]:
    """A real network with random weights."""
    import torch

    from fsgan_core.networks.architectures.build import build_network

    torch.manual_seed(0)
    module = build_network(arch).eval()

    def run(batch: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        with torch.inference_mode():
            answer = module(torch.from_numpy(batch))
        return tuple(one.numpy() for one in answer) if isinstance(answer, tuple) else answer.numpy()

    return network(role, run, **facts)[0]


def on_raster(still: Still, size: int, scale: float = 1.2) -> Still:
    """The still with a face box whose crop of `size` pixels lies on the plate's own pixels."""
    side = size / scale / DETECTOR_SIDE
    roll = np.radians(still.face.euler[2])
    middle = np.round(still.face.landmarks[[36, 45, 57]].mean(0)) - 0.5 * (size % 2 == 0)
    offset = DETECTOR_SHIFT_UP * side * np.array([np.sin(roll), -np.cos(roll)])
    x, y = middle - offset - side / 2
    return replace(still, face=replace(still.face, box=(float(x), float(y), side, side)))
