"""Lists the known weights, and reads from a .safetensors file which weights it holds.

The published files and ours are listed in catalogue.toml. The metadata of a .safetensors file says what it is; `fsgan
weights import` makes these files. `installed` finds those on this machine. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.networks.architectures.build import parse_architecture
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from fsgan_core.runtime.memory import register_cache

__all__ = ["AUTO_ROLES", "HEAT_MAPS", "ROLES", "WeightsInfo", "load_catalogue", "make_weights_metadata"]

ROLES = (
    *NETWORK_STAGES,
    "landmarks",
    "pose",
    "identity",
    "attributes",
    "detector",
    "mesh",
    "palm",
    "hand",
    "descriptor",
)
# Roles that an analysis and a swap choose weights for without being asked; fine-tuning does so for "identity".
AUTO_ROLES = (*NETWORK_STAGES, "landmarks")
# Published ways to draw landmark maps: `faces.landmarkers.heatmap`.
HEAT_MAPS = ("cone", "patch", "blur")
WEIGHTS_SUFFIX = ".safetensors"
MAX_READ_FILES = 1000  # whose facts are remembered
PICKLED_SUFFIXES = (".pth", ".pt", ".tar", ".pkl", ".ckpt", ".bin")


@dataclass(frozen=True)
class WeightsInfo:
    """The facts about a set of weights.

    Attributes:
        name: Unique name.
        role: What the network does, one of ROLES.
        file: Name of the published file.
        arch: Architecture string.
        landmarks: Number of landmarks that the network takes or finds: 0, 68 or 98.
        crop: Side of the network's square, in sizes of the face box; 1.2 or 2.0 in the published weights.
        licence: One of LICENCE_CLASSES.
        note: What is known about the licence and the training.
        source: Address of the published file, "" if it is not fetched.
        sha256: Digest of the published file, "" if unknown.
        size: Bytes, 0 if unknown.
        default: Whether `engine=auto` may choose it.
        prewarp: Whether it was trained on views that the geometric engine had warped.
        resolution: Side of the training pictures, in pixels.
        heat_maps: How its landmark maps are drawn, one of HEAT_MAPS.
    """

    name: str
    role: str
    file: str = ""
    arch: str = ""
    landmarks: int = 0
    crop: float = 1.2
    licence: str = "unknown"
    note: str = ""
    source: str = ""
    sha256: str = ""
    size: int = 0
    default: bool = False
    prewarp: bool = False
    resolution: int = 256
    heat_maps: str = "cone"

    @property
    def version(self) -> int:
        """The published version that the network belongs to: 1 for generators of FSGAN v1, else 2."""
        return parse_architecture(self.arch).version if self.arch else 2

    def __post_init__(self) -> None:
        check_choice("heat_maps", self.heat_maps, HEAT_MAPS)
        check_choice("role", self.role, ROLES)
        check_choice("licence", self.licence, LICENCE_CLASSES)
        check_choice("landmarks", self.landmarks, (0, 68, 98))
        if not 1.0 <= self.crop <= 4.0 or not 32 <= self.resolution <= 4096:
            raise WeightsError(f"weights {self.name}: crop {self.crop} or resolution {self.resolution} is out of range")


def check_choice(what: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises WeightsError if a value is none of the choices."""
    if value not in choices:
        raise WeightsError(f"weights: {what} {value!r} is none of {', '.join(map(str, choices))}")


@functools.cache
def load_catalogue() -> Mapping[str, WeightsInfo]:
    """Reads the catalogue: the published weights and ours by name; within a role the best first."""
    rows = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text("utf-8"))["weights"]
    return {row["name"]: WeightsInfo(**row) for row in rows}


register_cache(load_catalogue.cache_clear)


def read_weights_info(path: Path) -> WeightsInfo:
    """Reads the facts about weights from the metadata of a .safetensors file; once, until the file changes.

    Facts that the file does not state come from the catalogue's entry of the same name.

    Raises:
        WeightsError: The file cannot be read, or its metadata does not say which weights it holds.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    return _read_weights_info(path, (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino))


@functools.lru_cache(MAX_READ_FILES)
def _read_weights_info(path: Path, state: tuple[int, ...]) -> WeightsInfo:
    """`read_weights_info` of a file in a state, by which its facts are remembered."""
    header = read_safetensors_header(path)
    metadata = header.metadata
    name = metadata.get("name") or path.name.removesuffix(WEIGHTS_SUFFIX)
    known = load_catalogue().get(name)
    facts: dict[str, Any] = {} if known is None else dataclasses.asdict(known)
    try:
        for field in dataclasses.fields(WeightsInfo):
            if field.name in metadata:
                facts[field.name] = _parse_value(metadata[field.name], field.default)
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata cannot be read ({error})") from error
    if not facts.get("role") or not facts.get("arch"):
        raise WeightsError(
            f"{path}: the file does not say which weights it holds (role and arch in its metadata); "
            f"import it with: fsgan weights import {path}"
        )
    try:
        parse_architecture(facts["arch"])
        return WeightsInfo(**{**facts, "name": name, "size": header.size})
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


register_cache(_read_weights_info.cache_clear)


def _parse_value(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    return type(like)(text) if isinstance(like, (int, float)) else text


def make_weights_metadata(info: WeightsInfo) -> dict[str, str]:
    """Makes the metadata of a .safetensors file that holds these weights, without size and architecture string.

    The usual heat maps are not stated, so files that were imported before there were others keep their digests.
    """
    facts = dataclasses.asdict(info)
    if info.heat_maps == HEAT_MAPS[0]:
        del facts["heat_maps"]
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in facts.items()
        if name not in ("size", "arch") and value != ""
    }
