"""Takes over the chunks of a target's EXR file in which no pixel has changed, compressed as they are.

A face fills a part of a frame, and most of what writing costs is compression. A chunk is a few lines, compressed by
themselves. So only lines with a changed pixel are compressed again. The others come from the file that the frame was
read from, if both files have the same channels, types, window and lossless compression.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.exr_header import CHUNK_LINES, COMPRESSION_NUMBERS, read_scanline_chunks
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import Image

__all__ = ["FileState", "KeptChunks", "UnchangedRows", "find_changed_rows", "find_kept_chunks", "read_file_state"]

FileState = tuple[int, int, int]
"""Size, time and inode of a file."""

_PIXEL_TYPES = ("uint", "half", "float")
_COMPARED_ROWS = 16


@dataclass(frozen=True)
class UnchangedRows:
    """Which rows of a plate have the pixels of the file that it was read from.

    Attributes:
        path: The file.
        state: Of the file when it was read.
        changed: Rows from the first to the last one in which a pixel differs; all others are the file's, bit for bit.
    """

    path: Path
    state: FileState
    changed: slice


def read_file_state(path: Path) -> FileState | None:
    """Reads size, time and inode of a file; None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def find_changed_rows(before: Image, after: Image) -> slice:
    """Finds the rows from the first to the last one that differ, a few more at either side; all if shapes differ.

    >>> before = np.zeros((64, 2, 3), np.float32)
    >>> after = before.copy()
    >>> after[20] = 1
    >>> find_changed_rows(before, after)
    slice(16, 32, None)
    """
    count = len(after)
    if before.shape != after.shape:
        return slice(0, count)
    old, new = (np.ascontiguousarray(picture).view(np.uint32) for picture in (before, after))
    top, bottom = 0, count
    while top < count and np.array_equal(old[top : top + _COMPARED_ROWS], new[top : top + _COMPARED_ROWS]):
        top += _COMPARED_ROWS
    while bottom > top and np.array_equal(
        old[max(top, bottom - _COMPARED_ROWS) : bottom], new[max(top, bottom - _COMPARED_ROWS) : bottom]
    ):
        bottom -= _COMPARED_ROWS
    return slice(min(top, count), max(bottom, min(top, count)))


@dataclass(frozen=True)
class KeptChunks:
    """Chunks of a file that another one takes over.

    Attributes:
        path: The file.
        state: Of the file.
        window: The data window of both files.
        rows: The rows that are compressed again: whole chunks.
        places: Where each chunk of the file begins, from top to bottom.
        lines: Rows of a chunk.
    """

    path: Path
    state: FileState
    window: Window
    rows: slice
    places: tuple[int, ...]
    lines: int

    def cut_rows(self, plate: Plate) -> Plate:
        """Gives the part of a plate that is compressed again."""
        whole, pixels = plate.data_window, plate.pixels[self.rows]
        return replace(
            plate, pixels=pixels, data_window=Window(whole.x, whole.y + self.rows.start, whole.width, len(pixels))
        )

    def join(self, part: Path, result: Path) -> None:
        """Writes the whole file from that of `cut_rows` and the chunks that are taken over.

        Raises:
            OSError: A file cannot be read or written.
            PlateError: A file is broken, or was changed meanwhile.
        """
        _, attributes, own_places = read_scanline_chunks(part)
        first = self.rows.start // self.lines
        with part.open("rb") as own, self.path.open("rb") as other, result.open("wb") as file:
            state = os.fstat(other.fileno())
            if (state.st_size, state.st_mtime_ns, state.st_ino) != self.state:
                raise PlateError(f"{self.path} was changed while a frame was rendered from it")
            header = bytearray(own.read(own_places[0] - 8 * len(own_places)))
            place = attributes["dataWindow"][2]
            header[place : place + 16] = struct.pack(
                "<4i", self.window.x, self.window.y, self.window.right - 1, self.window.bottom - 1
            )
            file.write(header)
            table = file.tell()
            file.write(bytes(8 * len(self.places)))
            starts = []
            for index, kept_place in enumerate(self.places):
                is_own = first <= index < first + len(own_places)
                source, begin = (own, own_places[index - first]) if is_own else (other, kept_place)
                starts.append(file.tell())
                source.seek(begin)
                head = source.read(8)
                line, size = struct.unpack("<2i", head)
                if line != self.window.y + index * self.lines or size < 0:
                    raise PlateError(f"{self.path} has a broken chunk; copy or render it again")
                data = source.read(size)
                if len(data) != size:
                    raise PlateError(f"{self.path} is cut short; copy or render it again")
                file.write(head)
                file.write(data)
            file.seek(table)
            file.write(struct.pack(f"<{len(starts)}Q", *starts))


def find_kept_chunks(
    unchanged: UnchangedRows, plate: Plate, formats: Sequence[str], compression: str
) -> KeptChunks | None:
    """Finds the chunks that a file of a plate can take over; None if there are none.

    Args:
        unchanged: The rows that have not changed.
        plate: The frame as it is to be written.
        formats: Type of each channel in the file.
        compression: Of the file.
    """
    if read_file_state(unchanged.path) != unchanged.state:
        return None
    try:
        flags, attributes, places = read_scanline_chunks(unchanged.path)
        channels = _read_channels(attributes["channels"][1])
        number = attributes["compression"][1][0]
        left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"][1])
    except (PlateError, LookupError, struct.error, ValueError):
        return None
    window = Window(left, top, right - left + 1, bottom - top + 1)
    wanted = {name: (kind, 1, 1) for name, kind in zip(plate.channels, formats, strict=True)}
    if flags or channels != wanted or number != COMPRESSION_NUMBERS[compression] or window != plate.data_window:
        return None
    lines = CHUNK_LINES[number]
    # At least one chunk is written: its file has the header.
    begin = min(unchanged.changed.start // lines, len(places) - 1)
    end = max(begin + 1, -(-unchanged.changed.stop // lines))
    rows = slice(begin * lines, min(end * lines, window.height))
    if rows == slice(0, window.height) or len(places) != -(-window.height // lines):
        return None
    return KeptChunks(unchanged.path, unchanged.state, window, rows, places, lines)


def _read_channels(listed: bytes) -> dict[str, tuple[str, int, int]]:
    """Reads name -> (type, step of columns, step of rows) from the list in a header."""
    channels: dict[str, tuple[str, int, int]] = {}
    while listed[:1] != b"\0":
        name, _, listed = listed.partition(b"\0")
        kind, across, down = struct.unpack_from("<i4x2i", listed)
        channels[name.decode()] = (_PIXEL_TYPES[kind], across, down)
        listed = listed[16:]
    return channels
