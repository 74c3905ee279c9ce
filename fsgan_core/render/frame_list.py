"""The signed list of a sequence's frames: EXR has no place for a signed manifest, so a list beside the frames gets one.

The list names each file with the SHA-256 of all its bytes. Its manifest, in a file beside it, is bound to the list. So
whoever has both can check each frame.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.version import __version__
from fsgan_core.plates.c2pa_manifest import SIDECAR_SUFFIX, ManifestStatement, read_manifest, write_sidecar
from fsgan_core.plates.signing_identity import SigningIdentity
from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.text_files import read_text_file

__all__ = ["LIST_SUFFIX", "check_listed_frame", "name_frame_list", "write_frame_list"]

LIST_SUFFIX = ".frames.json"
_FRAME_TOKEN = re.compile(r"[._-]?(#+|%0?\d*d)")
_MAX_LIST_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20


def name_frame_list(output: str) -> Path:
    """Names the list of a sequence.

    >>> name_frame_list("out/swap.####.exr").name
    'swap.frames.json'
    """
    path = Path(output)
    return path.with_name((_FRAME_TOKEN.sub("", path.stem) or "frames") + LIST_SUFFIX)


def write_frame_list(
    output: str, frames: Iterable[Path], identity: SigningIdentity, ingredients: Sequence[str] = ()
) -> tuple[Path, Path]:
    """Writes the list of finished frames and its signed manifest.

    Args:
        output: The frames' pattern, such as "out/swap.####.exr".
        frames: Their files.
        identity: What the manifest is signed with.
        ingredients: Names of the clips that they were made from.

    Returns:
        The list and the manifest.

    Raises:
        OutputError: A file cannot be written, or a frame cannot be read.
        SigningError: The certificate or the key does not work.
    """
    path = name_frame_list(output)
    manifest = path.with_name(path.name + SIDECAR_SUFFIX)
    with write_atomically(path) as temporary:
        content = {
            "digital_source_type": DIGITAL_SOURCE_TYPE,
            "creator_tool": f"fsgan {__version__}",
            "sha256": {frame.name: _compute_file_digest(frame) for frame in frames},
        }
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
        with write_atomically(manifest) as other:
            write_sidecar(temporary.read_bytes(), other, title=path.name, ingredients=ingredients, identity=identity)
    return path, manifest


def check_listed_frame(path: Path) -> tuple[str, ManifestStatement] | None:
    """Checks a frame against the signed list beside it.

    Returns:
        Name of the list, and what its manifest says; "invalid" if the frame is not the listed one. None: no list with a
        manifest names it.

    Raises:
        PlateError: The frame cannot be read.
        SigningError: The certificates to trust cannot be read.
    """
    for listing in sorted(path.parent.glob(f"*{LIST_SUFFIX}")):
        listed = _read_digests(listing).get(path.name)
        if listed is None:
            continue
        statement = read_manifest(listing)
        if statement is None:
            continue
        try:
            is_same = listed == _compute_file_digest(path)
        except OSError as error:
            raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
        if not is_same and statement.state != "invalid":
            problem = f"the frame is not the one that {listing.name} lists"
            statement = replace(statement, state="invalid", problem=problem)
        return listing.name, statement
    return None


def _read_digests(path: Path) -> dict[str, str]:
    """The digests of a list by file name; none if it is not such a list."""
    try:
        digests = parse_json(read_text_file(path, _MAX_LIST_BYTES))["sha256"]
        return {str(name): str(digest) for name, digest in digests.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _compute_file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
