"""Weights ready to run: what the stages' neural engines are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsgan_core.networks.inference import Runner
    from fsgan_core.networks.weights.catalogue import InstalledWeights, WeightsInfo


@dataclass(frozen=True)
class Network:
    """weight: what is known of the weights (landmarks, crop, resolution, ...). runner: runs the network."""

    info: WeightsInfo
    runner: Runner

    @classmethod
    def load(cls, installed: InstalledWeights, device: str, precision: str) -> Network:
        """From a file, or the one that is loaded already. Raises WeightsError."""
        from fsgan_core.networks.inference import get_runner

        return cls(installed.info, get_runner(installed, device, precision))
