"""Reads what a file says of itself: an EXR's metadata, the XMP mark of a picture or a movie, signed manifests.

Nothing is analysed: this is the file's own statement, and anybody could have removed it. Only a signed manifest shows
who made the statement, and that it was not changed. `fsgan verify` checks frames against their checksums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsgan_core.contract import layers
from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.c2pa_manifest import ManifestStatement, read_manifest
from fsgan_core.plates.exr_checksum import find_damage
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE, read_xmp, read_xmp_fields
from fsgan_core.render.frame_list import check_listed_frame
from fsgan_core.render.provenance import strip_foreign_prefixes
from fsgan_core.runtime.user_paths import is_plain_file

__all__ = ["FileStatement", "inspect_file"]

_EXR_SUFFIXES = (".exr", ".sxr")
_INTERNAL = (layers.META_PARTS, layers.META_TEXTURE, layers.META_OUTLINE)  # for the program alone


@dataclass(frozen=True)
class FileStatement:
    """What a file says of itself.

    Attributes:
        path: The file.
        is_synthetic: True: it says that it holds synthesised pixels. False: it says that it holds none. None: it says
            nothing about it.
        facts: What else it says, by name.
        damage: What is wrong with an EXR that carries a checksum; empty if nothing is.
        manifest: What its signed manifest says, and whether it holds; None: there is none.
        listed_in: For an EXR frame, the signed list beside it that the manifest belongs to.
    """

    path: str
    is_synthetic: bool | None
    facts: Mapping[str, str] = field(default_factory=dict)
    damage: str = ""
    manifest: ManifestStatement | None = None
    listed_in: str = ""


def inspect_file(path: Path | str) -> FileStatement:
    """Reads what a frame, a picture or a movie says of itself.

    Raises:
        PlateError: There is no such file, or it cannot be read.
        SigningError: The certificates to trust cannot be read.
    """
    path = Path(path)
    if not is_plain_file(path):
        raise PlateError(f"there is no plain file {path}")
    return _inspect_exr(path) if path.suffix.lower() in _EXR_SUFFIXES else _inspect_marked(path)


def _inspect_exr(path: Path) -> FileStatement:
    metadata = strip_foreign_prefixes(read_frame_metadata(path))
    facts = {
        name.removeprefix(layers.META_PREFIX): str(value)
        for name, value in metadata.items()
        if name.startswith(layers.META_PREFIX) and name not in (layers.META_SYNTHETIC, *_INTERNAL)
    }
    mark = metadata.get(layers.META_SYNTHETIC)
    damage = find_damage(path) if layers.META_KEY in metadata else ""
    listed_in, manifest = check_listed_frame(path) or ("", None)
    return FileStatement(str(path), None if mark is None else mark == 1, facts, damage, manifest, listed_in)


def _inspect_marked(path: Path) -> FileStatement:
    facts = read_xmp_fields(read_xmp(path))
    is_marked = facts.get("digital source type") == DIGITAL_SOURCE_TYPE
    manifest = read_manifest(path)
    if manifest is not None and manifest.source_type == DIGITAL_SOURCE_TYPE:
        is_marked = True
    return FileStatement(str(path), True if is_marked else None, facts, manifest=manifest)
