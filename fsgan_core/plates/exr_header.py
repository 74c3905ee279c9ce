"""The attributes of EXR headers as they lie in the file, so that every type of metadata survives, known or not.

OpenImageIO drops or changes some attributes on the way (opaque blobs, double matrices, empty texts, a camera's
transform), so frames are written with one text of the right length in place of all metadata, and its bytes are
then replaced. Layout: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fsgan_core.contract.errors import PlateError

MAGIC = b"\x76\x2f\x31\x01"
LONG_NAMES = 0x400
_MULTIPART = 0x1000
_SHORT_NAME = 31
PLACEHOLDER = "~"

Attributes = Mapping[str, tuple[str, bytes]]


def read_attributes(path: Path) -> list[dict[str, tuple[str, bytes]]]:
    """(type, bytes) of every attribute by name, one dict for each part. Raises PlateError for a broken header."""
    return [{name: (kind, value) for name, kind, value, _ in part} for part in _parse(path)]


def packed(attributes: Attributes) -> bytes:
    """`attributes` as they stand in a header."""
    return b"".join(text(name) + text(kind) + struct.pack("<i", len(value)) + value
                    for name, (kind, value) in attributes.items())


def with_placeholder(attributes: Attributes) -> tuple[Attributes, tuple[str, str] | None]:
    """`attributes`, and name and value of a text attribute that takes as many bytes; None when there are none."""
    if not attributes:
        return attributes, None
    smallest = len(packed({PLACEHOLDER: ("string", b"x")}))
    if len(packed(attributes)) < smallest:
        attributes = {**attributes, PLACEHOLDER: ("string", b"x")}
    return attributes, (PLACEHOLDER, "x" * (len(packed(attributes)) - smallest + 1))


def replace_placeholders(path: Path, parts: Sequence[Attributes]) -> None:
    """Puts the attributes of each part where its placeholder lies. Raises OSError, PlateError."""
    found = _parse(path)
    with path.open("r+b") as file:
        if any(len(name.encode()) > _SHORT_NAME or len(kind.encode()) > _SHORT_NAME
               for part in parts for name, (kind, _) in part.items()):
            file.seek(4)
            flags = struct.unpack("<I", file.read(4))[0] | LONG_NAMES
            file.seek(4)
            file.write(struct.pack("<I", flags))
        for written, part in zip(found, parts, strict=True):
            if part:
                file.seek(next(begin for name, _, _, begin in written if name == PLACEHOLDER))
                file.write(packed(part))


def text(value: str) -> bytes:
    """`value` as the format writes names: ended by a zero byte."""
    return value.encode("utf-8", "surrogateescape") + b"\0"


def _parse(path: Path) -> list[list[tuple[str, str, bytes, int]]]:
    """(name, type, value, place in the file) of all attributes, by part."""
    try:
        with path.open("rb") as file:
            reader = _Reader(file.read(1 << 16), file.read)
            if reader.take(4) != MAGIC:
                raise PlateError(f"{path} is not an EXR")
            flags = reader.number()
            parts: list[list[tuple[str, str, bytes, int]]] = []
            while True:
                part = _part(reader)
                if part:
                    parts.append(part)
                if not part or not flags & _MULTIPART:
                    return parts
    except (EOFError, struct.error) as error:
        raise PlateError(f"{path} has a broken header; copy or render it again") from error
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error


def _part(reader: _Reader) -> list[tuple[str, str, bytes, int]]:
    attributes: list[tuple[str, str, bytes, int]] = []
    while True:
        begin = reader.place
        name = reader.text()
        if not name:
            return attributes
        kind = reader.text()
        attributes.append((name, kind, reader.take(reader.number()), begin))


class _Reader:
    """Bytes of a file's beginning; more are read when they are needed."""

    def __init__(self, data: bytes, more: Callable[[int], bytes]) -> None:
        self._data = data
        self._more = more
        self.place = 0

    def take(self, count: int) -> bytes:
        if count < 0:
            raise EOFError
        self._need(count)
        self.place += count
        return self._data[self.place - count:self.place]

    def number(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def text(self) -> str:
        end = self._data.find(b"\0", self.place)
        while end < 0:
            self._need(len(self._data) - self.place + 1)
            end = self._data.find(b"\0", self.place)
        value = self.take(end - self.place + 1)[:-1]
        return value.decode("utf-8", "surrogateescape")

    def _need(self, count: int) -> None:
        while self.place + count > len(self._data):
            block = self._more(1 << 20)
            if not block:
                raise EOFError
            self._data += block
