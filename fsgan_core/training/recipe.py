"""The settings of a training run, with their limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fsgan_core.contract.errors import InputError

__all__ = ["ADAM_BETAS", "PRECISIONS", "Recipe"]

ADAM_BETAS = (0.5, 0.999)  # FSGAN, arXiv 1908.05932
PRECISIONS = ("auto", "fp32", "bf16")
MIN_RATE, MAX_RATE = 1e-7, 1e-1


@dataclass(frozen=True)
class Recipe:
    """The settings of a run, except its data and its starting weights.

    The defaults are those of the authors for fine-tuning on a source (FSGANv2, arXiv 2202.12972).

    Attributes:
        iterations: Training steps.
        batch: Faces or pairs in a step.
        rate: Adam's learning rate for the generator.
        discriminator_rate: Adam's learning rate for the discriminator; 0 is the generator's.
        clip: Largest norm of a gradient.
        prewarp: Whether the network is shown the source frame already warped to the other frame's landmarks, instead of
            the source frame itself.
        precision: Arithmetic of the networks: "auto", "fp32" or "bf16". Weights and sums are always float32.
        seed: Decides the order of the pairs, and random weights.

    Raises:
        InputError: A value is out of range.
    """

    iterations: int = 800
    batch: int = 3
    rate: float = 1e-4
    discriminator_rate: float = 0.0
    clip: float = 10.0
    prewarp: bool = False
    precision: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        _check_range("iterations", self.iterations, 1, 10_000_000)
        _check_range("batch", self.batch, 1, 1024)
        _check_range("rate", self.rate, MIN_RATE, MAX_RATE)
        _check_range("seed", self.seed, 0, 2**31 - 1)
        if self.discriminator_rate:
            _check_range("discriminator_rate", self.discriminator_rate, MIN_RATE, MAX_RATE)
        if not self.clip > 0:
            raise InputError(f"clip = {self.clip}: it must be above 0")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision = {self.precision} is not known for training; it is {', '.join(PRECISIONS)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, for keys and metadata."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise InputError(f"{name} = {value} is out of range; it goes from {lowest:g} to {highest:g}")
