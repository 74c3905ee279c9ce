"""What fine-tuning and training have in common: where a run keeps its files, results that are there, progress."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from fsgan_core.contract.errors import InputError, WeightsError
from fsgan_core.runtime.events import Event, EventListener
from fsgan_core.runtime.user_paths import expand_home

__all__ = ["IterationReporter", "check_weights_path", "get_run_folder", "make_file_stem", "read_result_metadata"]

EVENTS_PER_SECOND = 5
WEIGHTS_SUFFIX = ".safetensors"


def check_weights_path(path: str | Path) -> Path:
    """Return the path of a weights file to write, with ~ expanded.

    Raises:
        InputError: The file is not named .safetensors.
    """
    output = expand_home(path)
    if output.suffix != WEIGHTS_SUFFIX:
        raise InputError(f"the name of the weights file {output} must end in {WEIGHTS_SUFFIX}")
    return output


def get_run_folder(output: Path) -> Path:
    """Return the folder for the state of the run that writes `output`."""
    return output.with_name(f"{output.name}.run")


def make_file_stem(text: str, default: str) -> str:
    """Make a file stem of a name: letters, digits, - and _ stay, everything else becomes _.

    >>> make_file_stem("Anna B. (take 3)", "clip")
    'Anna_B___take_3'
    >>> make_file_stem("####", "clip")
    'clip'
    """
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text).strip("_") or default


def read_result_metadata(output: Path, key_field: str, key: str, inputs: str) -> Mapping[str, str]:
    """Read the metadata of weights that an earlier run wrote.

    Args:
        output: The weights file.
        key_field: The metadata field that holds the run's key.
        key: The key of the present run.
        inputs: What may differ between the two runs, for the error message.

    Raises:
        InputError: The file is not the result of this run.
    """
    from fsgan_core.networks.weights.safetensors_header import read_safetensors_header

    try:
        metadata = read_safetensors_header(output).metadata
    except WeightsError:
        metadata = {}
    if metadata.get(key_field) != key:
        raise InputError(
            f"{output} exists and was not made by this run (its {inputs} may differ); choose another --output, "
            "or overwrite it with --force"
        )
    return metadata


class IterationReporter:
    """Reports iterations as events, a few per second.

    Args:
        on_event: Receives the events.
        subject: What is trained on, for the progress bar.
    """

    def __init__(self, on_event: EventListener, subject: str) -> None:
        self._on_event = on_event
        self._subject = subject
        self._last_report = 0.0

    def __call__(self, done: int, total: int, loss: float) -> None:
        """Report the iterations done, unless the last report was a moment ago."""
        now = time.monotonic()
        if done == total or now - self._last_report >= 1 / EVENTS_PER_SECOND:
            self._last_report = now
            self._on_event(Event("train", self._subject, done, total, message=f"loss {loss:.4f}"))
