"""What the two commands that train have in common: a result that is there already, and how a run is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import InputError, WeightsError

if TYPE_CHECKING:
    from fsgan_core.runtime.events import EventListener

EVENTS_PER_SECOND = 5


def read_kept_metadata(output: Path, name: str, key: str, of: str) -> Mapping[str, str]:
    """What the weights that are there say of themselves. name, key: in their metadata, of the run that made them. of:
    what may differ, for the error. Raises InputError when they are something else."""
    from fsgan_core.networks.weights.safetensors_header import read_safetensors_header

    try:
        said = read_safetensors_header(output).metadata
    except WeightsError:
        said = {}
    if said.get(name) != key:
        raise InputError(
            f"{output} is there and is not the result of this (other {of}); write elsewhere with "
            "--output, or over it with --force"
        )
    return said


class IterationReporter:
    """Iterations as events, a few a second."""

    def __init__(self, on_event: EventListener, subject: str) -> None:
        self._on_event = on_event
        self._subject = subject
        self._last_report = 0.0

    def __call__(self, done: int, total: int, loss: float) -> None:
        from fsgan_core.runtime.events import Event

        now = time.monotonic()
        if done == total or now - self._last_report >= 1 / EVENTS_PER_SECOND:
            self._last_report = now
            self._on_event(Event("train", self._subject, done, total, message=f"loss {loss:.4f}"))
