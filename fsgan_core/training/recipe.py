"""How a network is trained: the numbers of one run, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fsgan_core.contract.errors import InputError

__all__ = ["ADAM_BETAS", "PRECISIONS", "Recipe"]

ADAM_BETAS = (0.5, 0.999)  # of Adam, as published
PRECISIONS = ("auto", "fp32", "bf16")
MIN_RATE, MAX_RATE = 1e-7, 1e-1


@dataclass(frozen=True)
class Recipe:
    """What a run does beside its data and its start. The defaults are the authors' for fine-tuning on a source.

    rate: of Adam for the generator. discriminator_rate: 0 is the generator's. clip: largest norm of a gradient.
    prewarp: the network is shown the source frame already warped to the other frame's landmarks, instead of the source
    frame itself. precision: "auto", "fp32" or "bf16" (of the arithmetic; weights and sums stay float32). seed: of the
    order of pairs, and of weights that start at random.
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
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise InputError(f"{name} = {value} is out of range; it goes from {lowest:g} to {highest:g}")
