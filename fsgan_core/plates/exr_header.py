"""Reads and writes the attributes of EXR headers as bytes, so that every type of metadata survives.

OpenImageIO drops or changes some attributes (opaque blobs, double matrices, empty texts, a camera's transform). So
frames are written with one placeholder text that has the length of all metadata, and then its bytes are replaced.
Layout: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fsgan_core.contract.errors import PlateError

EXR_MAGIC = b"\x76\x2f\x31\x01"
LONG_NAMES_FLAG = 0x400
_MULTIPART_FLAG = 0x1000
_SHORT_NAME_LENGTH = 31
PLACEHOLDER_NAME = "~"
COMPRESSION_NUMBERS = {
    name: number
    for number, name in enumerate(("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab"))
}
CHUNK_LINES = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)
"""Lines of a chunk by the number of the compression."""
_SCANLINE_FLAGS = 0xFF | LONG_NAMES_FLAG
"""Bits of the version that a flat file of scanlines with one part may have."""

ExrAttributes = Mapping[str, tuple[str, bytes]]
"""Attribute name -> (type, bytes)."""


def read_attributes(path: Path) -> list[dict[str, tuple[str, bytes]]]:
    """Reads name -> (type, bytes) of each part. Raises PlateError if the header is broken."""
    return [{name: (kind, value) for name, kind, value, _ in part} for part in _parse_attributes(path)]


def pack_attributes(attributes: ExrAttributes) -> bytes:
    """Encodes attributes as in a header."""
    return b"".join(
        encode_text(name) + encode_text(kind) + struct.pack("<i", len(value)) + value
        for name, (kind, value) in attributes.items()
    )


def add_placeholder(attributes: ExrAttributes) -> tuple[ExrAttributes, tuple[str, str] | None]:
    """Makes a text attribute with as many bytes as all `attributes`.

    Returns:
        The attributes (with a filler if they are shorter than the shortest text), and name and value of the text; None
        if there are no attributes.
    """
    if not attributes:
        return attributes, None
    smallest = len(pack_attributes({PLACEHOLDER_NAME: ("string", b"x")}))
    if len(pack_attributes(attributes)) < smallest:
        attributes = {**attributes, PLACEHOLDER_NAME: ("string", b"x")}
    return attributes, (PLACEHOLDER_NAME, "x" * (len(pack_attributes(attributes)) - smallest + 1))


def replace_placeholders(path: Path, parts: Sequence[ExrAttributes]) -> None:
    """Overwrites the placeholder of each part with its attributes. Raises OSError or PlateError."""
    found = _parse_attributes(path)
    with path.open("r+b") as file:
        if any(
            len(name.encode()) > _SHORT_NAME_LENGTH or len(kind.encode()) > _SHORT_NAME_LENGTH
            for part in parts
            for name, (kind, _) in part.items()
        ):
            file.seek(4)
            flags = struct.unpack("<I", file.read(4))[0] | LONG_NAMES_FLAG
            file.seek(4)
            file.write(struct.pack("<I", flags))
        for written, part in zip(found, parts, strict=True):
            if part:
                file.seek(next(begin for name, _, _, begin in written if name == PLACEHOLDER_NAME))
                file.write(pack_attributes(part))


def encode_text(value: str) -> bytes:
    """Encodes a name: UTF-8 with a zero byte at the end."""
    return value.encode("utf-8", "surrogateescape") + b"\0"


def find_value(path: Path, name: str) -> tuple[int, bytes] | None:
    """Finds an attribute: where its value begins in the file, and the value; None if no part has it.

    Raises:
        PlateError: The header is broken.
    """
    for part in _parse_attributes(path):
        for found, kind, value, begin in part:
            if found == name:
                return begin + len(encode_text(found)) + len(encode_text(kind)) + struct.calcsize("<i"), value
    return None


def read_chunk_ends(path: Path) -> tuple[int, int]:
    """Reads the chunk table of a flat file of scanlines.

    Returns:
        The smallest position of a chunk that the table lists, less the end of the table; and the end of the last chunk.

    Raises:
        PlateError: The header or the table is broken.
    """
    try:
        with path.open("rb") as file:
            reader = _HeaderReader(file.read(1 << 16), file.read)
            parts = _read_parts(reader, path)
            count = sum(_count_chunks(part) for part in parts)
            offsets = struct.unpack(f"<{count}Q", reader.read_bytes(8 * count))
            form = "<iii" if len(parts) > 1 else "<ii"  # number of the part, first line, bytes
            file.seek(max(offsets))
            *_, size = struct.unpack(form, file.read(struct.calcsize(form)))
    except (EOFError, struct.error, ValueError, LookupError, OverflowError, MemoryError) as error:
        raise PlateError(f"{path} has a broken chunk table; copy or render it again") from error
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    return min(offsets) - reader.position, max(offsets) + struct.calcsize(form) + size


def read_scanline_chunks(path: Path) -> tuple[int, dict[str, tuple[str, bytes, int]], tuple[int, ...]]:
    """Reads the header and the chunk table of a flat file of scanlines with one part.

    Returns:
        What else the file is (0: nothing, else it holds tiles, deep pixels or parts); attribute name -> (type, bytes,
        position of these in the file); where each chunk begins, from top to bottom.

    Raises:
        PlateError: The header or the table is broken.
    """
    try:
        with path.open("rb") as file:
            reader = _HeaderReader(file.read(1 << 16), file.read)
            part = _read_parts(reader, path)[0]
            flags = reader.version & ~_SCANLINE_FLAGS
            count = 0 if flags else _count_chunks(part)
            places = struct.unpack(f"<{count}Q", reader.read_bytes(8 * count))
    except (EOFError, struct.error, ValueError, LookupError, OverflowError, MemoryError) as error:
        raise PlateError(f"{path} has a broken chunk table; copy or render it again") from error
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    begins = {
        name: begin + len(encode_text(name)) + len(encode_text(kind)) + struct.calcsize("<i")
        for name, kind, _, begin in part
    }
    return flags, {name: (kind, value, begins[name]) for name, kind, value, _ in part}, places


def _count_chunks(part: list[tuple[str, str, bytes, int]]) -> int:
    values = {name: value for name, _, value, _ in part}
    if "chunkCount" in values:
        return int(struct.unpack("<i", values["chunkCount"])[0])
    _, top, _, bottom = struct.unpack("<4i", values["dataWindow"])
    count: int = math.ceil((bottom - top + 1) / CHUNK_LINES[values["compression"][0]])
    return count


def _parse_attributes(path: Path) -> list[list[tuple[str, str, bytes, int]]]:
    """Lists (name, type, value, position in the file) of all attributes, by part."""
    try:
        with path.open("rb") as file:
            return _read_parts(_HeaderReader(file.read(1 << 16), file.read), path)
    except (EOFError, struct.error) as error:
        raise PlateError(f"{path} has a broken header; copy or render it again") from error
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_parts(reader: _HeaderReader, path: Path) -> list[list[tuple[str, str, bytes, int]]]:
    """Reads the headers of all parts; then `reader` is at the chunk table."""
    if reader.read_bytes(4) != EXR_MAGIC:
        raise PlateError(f"{path} is not an EXR")
    flags = reader.version = reader.read_number()
    parts: list[list[tuple[str, str, bytes, int]]] = []
    while True:
        part = _read_part(reader)
        if part:
            parts.append(part)
        if not part or not flags & _MULTIPART_FLAG:
            return parts


def _read_part(reader: _HeaderReader) -> list[tuple[str, str, bytes, int]]:
    attributes: list[tuple[str, str, bytes, int]] = []
    while True:
        begin = reader.position
        name = reader.read_text()
        if not name:
            return attributes
        kind = reader.read_text()
        attributes.append((name, kind, reader.read_bytes(reader.read_number()), begin))


class _HeaderReader:
    """Reads values from the start of a file; loads more bytes when needed."""

    def __init__(self, data: bytes, more: Callable[[int], bytes]) -> None:
        self._data = data
        self._read_more = more
        self.position = 0
        self.version = 0

    def read_bytes(self, count: int) -> bytes:
        if count < 0:
            raise EOFError
        self._ensure_loaded(count)
        self.position += count
        return self._data[self.position - count : self.position]

    def read_number(self) -> int:
        return int(struct.unpack("<i", self.read_bytes(4))[0])

    def read_text(self) -> str:
        end = self._data.find(b"\0", self.position)
        while end < 0:
            self._ensure_loaded(len(self._data) - self.position + 1)
            end = self._data.find(b"\0", self.position)
        value = self.read_bytes(end - self.position + 1)[:-1]
        return value.decode("utf-8", "surrogateescape")

    def _ensure_loaded(self, count: int) -> None:
        while self.position + count > len(self._data):
            block = self._read_more(1 << 20)
            if not block:
                raise EOFError
            self._data += block
