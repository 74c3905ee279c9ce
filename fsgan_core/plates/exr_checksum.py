"""The checksum that an EXR of ours carries: its size and a digest of all its bytes.

The digest is BLAKE2b of the whole file, in which the checksum itself counts as zeros. So a file that was cut short, a
changed pixel and a changed metadata entry all show.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import META_CHECKSUM
from fsgan_core.plates.exr_header import find_value, read_chunk_ends

__all__ = ["BLANK_CHECKSUM", "find_damage", "find_obvious_damage", "write_checksum"]

_SIZE_DIGITS = 12
_DIGEST_BYTES = 16
BLANK_CHECKSUM = b"0" * _SIZE_DIGITS + b":" + b"0" * 2 * _DIGEST_BYTES
"""What stands in a header until the file is complete."""
_CHECKSUM_PATTERN = re.compile(rb"(\d{%d}):([0-9a-f]{%d})" % (_SIZE_DIGITS, 2 * _DIGEST_BYTES))
_BLOCK = 1 << 20
_NO_CHECKSUM = "it has no checksum: another program or an earlier version of this one wrote it, or it was damaged"


def write_checksum(path: Path) -> None:
    """Completes the checksum of a file whose header has the blank one. Raises OSError or PlateError."""
    found = find_value(path, META_CHECKSUM)
    if found is None:
        raise PlateError(f"{path} has no place for a checksum")
    value = f"{path.stat().st_size:0{_SIZE_DIGITS}d}:{_compute_digest(path, found[0])}".encode()
    with path.open("r+b") as file:
        file.seek(found[0])
        file.write(value)


def find_obvious_damage(path: Path) -> str:
    """Finds damage from the header, the file's size and the table of its chunks, without reading the pixels.

    Returns:
        What is wrong; empty if nothing is.
    """
    try:
        _, size, _ = _read_checksum(path)
        actual = path.stat().st_size
        if actual != size:
            return f"it has {actual} bytes; {size} were written"
        gap, end = read_chunk_ends(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    except PlateError as error:
        return str(error)
    return "" if gap >= 0 and end == size else "its chunk table is damaged"


def find_damage(path: Path) -> str:
    """Finds any damage, by reading the whole file.

    Returns:
        What is wrong; empty if every byte is as it was written.
    """
    try:
        place, size, digest = _read_checksum(path)
        actual = path.stat().st_size
        if actual != size:
            return f"it has {actual} bytes; {size} were written"
        return "" if _compute_digest(path, place) == digest else "its content is not what was written"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    except PlateError as error:
        return str(error)


def _read_checksum(path: Path) -> tuple[int, int, str]:
    """Reads where the checksum is, the size and the digest. Raises PlateError if there is none."""
    found = find_value(path, META_CHECKSUM)
    matched = _CHECKSUM_PATTERN.fullmatch(found[1]) if found is not None else None
    if found is None or matched is None:
        raise PlateError(_NO_CHECKSUM)
    return found[0], int(matched.group(1)), matched.group(2).decode()


def _compute_digest(path: Path, place: int) -> str:
    """Digests a file whose checksum is at `place`."""
    hashed = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    with path.open("rb") as file:
        hashed.update(file.read(place))
        hashed.update(BLANK_CHECKSUM)
        file.seek(place + len(BLANK_CHECKSUM))
        while block := file.read(_BLOCK):
            hashed.update(block)
    return hashed.hexdigest()
