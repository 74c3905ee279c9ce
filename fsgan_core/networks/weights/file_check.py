"""Refuses files that are no weights, without torch: an import of torch takes longer than the answer."""

from __future__ import annotations

import stat
from pathlib import Path

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.weights.pickle_scan import check_pickled
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header

__all__ = ["check_weights_file", "is_safetensors"]


def is_safetensors(path: Path) -> bool:
    """Tells a .safetensors file from a file of torch.save, by its content.

    Raises:
        WeightsError: It cannot be read, or is no plain file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise WeightsError(f"{path}: {'a folder' if path.is_dir() else 'not a plain file'}, not a weights file")
        with path.open("rb") as stream:
            head = stream.read(9)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise WeightsError(f"{path}: cannot be read ({reason})") from error
    return head[:2] != b"PK" and head[8:] == b"{"


def check_weights_file(path: Path) -> None:
    """Checks that a file may be given to torch.

    Raises:
        WeightsError: The file cannot be read, is damaged, or asks for anything but weights.
    """
    if is_safetensors(path):
        read_safetensors_header(path)
    else:
        with path.open("rb") as stream:
            check_pickled(path, stream)
