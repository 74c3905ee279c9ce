"""Opens an image file through OpenImageIO, with errors that tell a person what to do."""

from __future__ import annotations

import logging
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import META_CHECKSUM
from fsgan_core.plates.exr_attributes import read_image_metadata, unpack_metadata
from fsgan_core.plates.exr_header import EXR_MAGIC, read_attributes
from fsgan_core.runtime.arrays import AnyArray
from fsgan_core.runtime.user_paths import check_encoding, is_plain_file

log = logging.getLogger(__name__)

EXR_SUFFIXES = (".exr", ".sxr", ".mxr")
"""Of OpenEXR files: plain, stereo and multi-view."""

# Brands of still pictures in ISO/IEC 23008-12 and AVIF.
_HEIF_BRANDS = (b"heic", b"heix", b"heif", b"mif1", b"msf1", b"avif", b"avis")


class OpenedImage:
    """An open image file; a context manager that closes it.

    Args:
        path: The file. Raises PlateError if it is missing or not an image.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_readable(path)
        config = oiio.ImageSpec()
        config.attribute("oiio:UnassociatedAlpha", 1)
        opened = oiio.ImageInput.open(str(path), config)
        if opened is None:
            if is_heif(path):
                take_oiio_error()
                raise PlateError(f"{path} is HEIC or AVIF, which cannot be read here; convert it to PNG or TIFF")
            problem = take_oiio_error()
            if path.stat().st_size == 0:
                raise PlateError(f"{path} is empty (0 bytes); copy or render it again")
            raise PlateError(f"{path} cannot be read as a picture: {problem}")
        self.input = opened
        self.is_exr = opened.format_name() == "openexr"
        self.specs: list[oiio.ImageSpec] = []
        if path.suffix.lower() in EXR_SUFFIXES and not self.is_exr:
            log.warning("%s is named %s but is a %s file", path, path.suffix, opened.format_name())
        while opened.seek_subimage(len(self.specs), 0):
            self.specs.append(opened.spec().copy())
            if not self.is_exr:
                break
        take_oiio_error(opened)
        if not self.specs:
            opened.close()
            raise PlateError(f"{path} holds no picture")
        _check_names(path, self.specs)
        self._attributes = read_attributes(path) if self.is_exr else []

    @property
    def part_names(self) -> list[str]:
        """Names of all parts; empty texts for parts without a name."""
        return [get_part_name(spec) for spec in self.specs]

    @property
    def own_part(self) -> int | None:
        """The part of a frame that we wrote, which has the file's checksum; None: another program wrote the file."""
        return next((index for index, part in enumerate(self._attributes) if META_CHECKSUM in part), None)

    def read_metadata(self, index: int) -> dict[str, Any]:
        """Gives the metadata of a part, without windows, channels and compression."""
        return unpack_metadata(self._attributes[index]) if self.is_exr else read_image_metadata(self.specs[index])

    def seek_part(self, index: int) -> oiio.ImageSpec:
        """Selects the part that `read` reads, and gives its header."""
        self.input.seek_subimage(index, 0)
        return self.specs[index]

    def read(self, begin: int, end: int, kind: str) -> AnyArray:
        """Reads channels of the selected part.

        Args:
            begin: First channel.
            end: Last channel + 1.
            kind: OpenImageIO's name of the type ("half", "float", "uint8", ...).

        Returns:
            (height, width, end - begin) of that type.

        Raises:
            PlateError: The file is damaged.
        """
        index = self.input.current_subimage()
        pixels = self.input.read_image(index, 0, begin, end, oiio.TypeDesc(kind))
        failed = pixels is None or self.input.has_error
        error = take_oiio_error(self.input)
        if failed:
            raise PlateError(f"{self.path} is damaged or cut short: {error}; copy or render it again")
        spec = self.specs[index]
        return np.asarray(pixels).reshape(spec.height, spec.width, end - begin)

    def __enter__(self) -> OpenedImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.input.close()


def is_exr_file(path: Path) -> bool:
    """Tells whether a file is an EXR, by its name or, if the name says nothing, by its first bytes."""
    if path.suffix.lower() in EXR_SUFFIXES:
        return True
    if not is_plain_file(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(EXR_MAGIC)) == EXR_MAGIC
    except OSError:
        return False


def check_readable(path: Path) -> None:
    """Raises PlateError, with the reason and similar names, if `path` is not a readable file."""
    check_encoding(path)
    try:
        if path.is_dir():
            raise PlateError(f"{path} is a folder; name a file or a pattern like {path / 'name.####.exr'}")
        if not path.exists():
            raise PlateError(f"there is no file {path}{suggest_names(path)}")
        if not path.is_file():
            raise PlateError(f"{path} is a pipe or a device, not a plain file")  # reading it may never end
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    if not os.access(path, os.R_OK):
        raise PlateError(f"no permission to read {path}")


def is_heif(path: Path) -> bool:
    """Whether a file is a HEIC or AVIF picture, whatever its name."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and any(brand in head for brand in _HEIF_BRANDS)


def suggest_names(path: Path) -> str:
    """Suggests "; did you mean ...?" for a missing file, or for the first missing folder of its path."""
    folder, given = path.parent, path
    while not folder.is_dir() and folder != folder.parent:
        path, folder = folder, folder.parent
    try:
        near = get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=3)
    except OSError:
        near = []
    if near:
        return f"; did you mean {', '.join(str(folder / name) for name in near)}?"
    return f"; the folder {folder} has {'nothing like it' if path is given else f'no folder {path.name}'}"


def get_part_name(spec: oiio.ImageSpec) -> str:
    """Gives the name of a part; empty if it has none."""
    return spec.get_string_attribute("oiio:subimagename")


def take_oiio_error(source: Any = oiio) -> str:
    """Takes the first line of the error message of OpenImageIO, or of one of its files.

    The message may quote bytes of a damaged file that are no text; they are replaced.
    """
    try:
        message = source.geterror().encode("utf-8", "surrogateescape")
    except UnicodeDecodeError as error:
        message = bytes(error.object)
    return _drop_library_words(shorten_message(message.decode("utf-8", "replace")))


def _drop_library_words(message: str) -> str:
    """Drops what a library says of itself, and the path, which our message has already.

    >>> _drop_library_words("EXR Error (/a (b).exr): EXR_ERR_BAD_CHUNK_LEADER Corrupt chunk")
    'Corrupt chunk'
    """
    return re.sub(r"^(EXR Error( \(.*?\))?: *)?(\((EXR_ERR_\w+)\) *|EXR_ERR_\w+:? *)?", "", message) or message


def _check_names(path: Path, specs: list[oiio.ImageSpec]) -> None:
    """Raises PlateError if names of parts, views or channels are no text: no file could be written with them."""
    try:
        for spec in specs:
            for name in (get_part_name(spec), spec.get_string_attribute("view"), *spec.channelnames):
                name.encode()
    except UnicodeError as error:
        raise PlateError(f"{path} is damaged: a name in it is not UTF-8; copy or render it again") from error


def shorten_message(message: str) -> str:
    """Takes the first line of a library's error message."""
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[0] if lines else "no reason was given"
