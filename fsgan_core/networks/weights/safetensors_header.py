"""Reads the header of a .safetensors file: its metadata and tensor shapes, without reading the tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fsgan_core.contract.errors import WeightsError

__all__ = ["SafetensorsHeader", "read_safetensors_header"]


@dataclass(frozen=True)
class SafetensorsHeader:
    """The header of a .safetensors file.

    Attributes:
        metadata: Texts by name.
        shapes: Shape of each tensor by name.
        size: Bytes of the whole file.
    """

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    size: int


def read_safetensors_header(path: Path) -> SafetensorsHeader:
    """Reads the header of a .safetensors file.

    The file's length is checked against the tensors that the header lists.

    Raises:
        WeightsError: The file cannot be read, is damaged, or is not a .safetensors file.
    """
    try:
        size = path.stat().st_size
        with safe_open(path, framework="numpy") as stored:
            shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
            return SafetensorsHeader(stored.metadata() or {}, shapes, size)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, ValueError) as error:
        raise WeightsError(
            f"{path}: broken, cut off or not a .safetensors file ({error}); copy, import or fetch it again"
        ) from error
