"""The head of a .safetensors file: what it says of itself and which tensors it holds, without reading them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fsgan_core.contract.errors import WeightsError

__all__ = ["SafetensorsHeader", "read_safetensors_header"]

# The heads of our files have some 20 kB; the format allows 100 MB.
HEADER_LENGTH_LIMIT = 8 << 20


@dataclass(frozen=True)
class SafetensorsHeader:
    """metadata: texts by name. shapes: of each tensor. size: bytes of the whole file."""

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    size: int


def read_safetensors_header(path: Path) -> SafetensorsHeader:
    """Raises WeightsError when the file cannot be read or has no such head."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or not 2 <= length <= min(HEADER_LENGTH_LIMIT, size - 8):
                raise ValueError("no head")
            found = json.loads(stream.read(length))
        metadata = found.pop("__metadata__", {})
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise ValueError("metadata that is not text")
        shapes = {}
        for name, facts in found.items():
            shapes[name] = tuple(int(side) for side in facts["shape"])
            if not 0 <= int(facts["data_offsets"][0]) <= int(facts["data_offsets"][1]) <= size - 8 - length:
                raise ValueError(f"cut off within tensor {name}")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise WeightsError(
            f"{path}: broken, cut off or not a .safetensors file ({error}); copy, import or fetch it again"
        ) from error
    return SafetensorsHeader(metadata, shapes, size)
