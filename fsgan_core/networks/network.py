"""A loaded network with its facts, as the stages' neural engines get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsgan_core.networks.inference import Runner
    from fsgan_core.networks.weights.catalogue import WeightsInfo
    from fsgan_core.networks.weights.installed import InstalledWeights


@dataclass(frozen=True)
class Network:
    """A network that is ready to run.

    Attributes:
        info: The facts about its weights (landmarks, crop, resolution, ...).
        runner: Runs it.
    """

    info: WeightsInfo
    runner: Runner

    @classmethod
    def load(cls, installed: InstalledWeights, device: str, precision: str) -> Network:
        """Loads the network, or returns the one that is already loaded.

        Raises:
            WeightsError: The file is damaged, or is not a network of the catalogue's architecture.
        """
        from fsgan_core.networks.inference import get_runner

        return cls(installed.info, get_runner(installed, device, precision))
