"""Writes a plate to an EXR file: bit for bit, completely or not at all."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio

from fsgan_core.contract.errors import OutputError, PlateError
from fsgan_core.contract.layers import META_CHECKSUM
from fsgan_core.contract.params import COMPRESSIONS, DEPTHS
from fsgan_core.plates.exr_attributes import OIIO_ATTRIBUTES, PART_NAME, pack_metadata, unpack_metadata
from fsgan_core.plates.exr_checksum import BLANK_CHECKSUM, write_checksum
from fsgan_core.plates.exr_header import ExrAttributes, add_placeholder, read_attributes, replace_placeholders
from fsgan_core.plates.image_file import take_oiio_error
from fsgan_core.plates.kept_chunks import KeptChunks, UnchangedRows, find_kept_chunks
from fsgan_core.plates.multiview import restore_view_names
from fsgan_core.plates.plate import Plate, TypedValue
from fsgan_core.plates.raw_exr import write_raw_exr
from fsgan_core.runtime.arrays import AnyArray, HalfImage, Image, IntegerPlane
from fsgan_core.runtime.atomic import write_atomically

log = logging.getLogger(__name__)

LOSSLESS_COMPRESSIONS = ("none", "rle", "zips", "zip", "piz")
LARGEST_HALF = 65504.0
_LOW_DISK_BYTES = 2**20
_BESIDE_SUFFIX = ".raw.tmp"  # of a second temporary file
_SHARED_ATTRIBUTES = ("timeCode", "chromaticities")


@dataclass(frozen=True)
class PartRef:
    """A part of a file that a rewrite copies; its pixels are read only then.

    Attributes:
        path: The file.
        index: Number of the part.
        name: Name of the part; may be empty.
    """

    path: Path
    index: int
    name: str


def write_exr(
    path: Path | str,
    plate: Plate,
    *,
    compression: str = "zip",
    depth: str = "auto",
    other_parts: Sequence[PartRef] = (),
    unchanged: UnchangedRows | None = None,
) -> None:
    """Writes a scanline EXR, completely or not at all.

    Whole-number channels keep their type. Data that needs more precision than half (depth, coordinates, Cryptomatte) is
    never written as half. Finite values beyond the range of half become its largest number, not infinity.

    Args:
        path: The file.
        plate: The frame.
        compression: One of COMPRESSIONS.
        depth: Type of colour channels and mattes: "half", "float", or "auto" for each channel's type in plate.formats
            (half if that is empty).
        other_parts: Parts of another file, copied bit for bit to their places.
        unchanged: Rows that are those of the file that the plate was read from: their chunks are taken over where both
            files are of one kind. The pixels of the written file are the same without it.

    Raises:
        OutputError: The file cannot be written.
        PlateError: The plate cannot be an EXR.
    """
    path = Path(path)
    if compression not in COMPRESSIONS:
        raise PlateError(f"compression {compression!r} is not known; it is one of {', '.join(COMPRESSIONS)}")
    if plate.data_window.empty or not plate.channels:
        raise PlateError(f"cannot write {path}: the plate has no pixels or no channels")
    if len(set(plate.channels)) != len(plate.channels):
        raise PlateError(f"cannot write {path}: a channel name occurs twice in {', '.join(plate.channels)}")
    for part in other_parts:
        if path.exists() and path.samefile(part.path):
            raise PlateError(f"cannot write {path}: its other parts must be copied from the same file; write elsewhere")
    plate = restore_view_names(plate)
    formats = choose_formats(plate, depth)
    with write_atomically(path) as temporary, _write_raw_twin(temporary, plate, formats) as twin:
        kept = None
        if unchanged is not None and twin is None and not other_parts and compression in LOSSLESS_COMPRESSIONS:
            kept = find_kept_chunks(unchanged, plate, formats, compression)
        if kept is None or not _write_around_kept(temporary, path, plate, formats, compression, kept):
            _write_parts(temporary, path, plate, formats, twin, compression, other_parts)
        _complete_checksum(temporary, path)
        _verify_file(temporary, path)


def choose_formats(plate: Plate, depth: str) -> tuple[str, ...]:
    """Chooses the type of each channel in a file: "half", "float" or "uint".

    Args:
        plate: The frame.
        depth: As of `write_exr`.

    Raises:
        PlateError: The depth is not known.
    """
    if depth not in DEPTHS:
        raise PlateError(f"depth {depth!r} is not known; it is one of {', '.join(DEPTHS)}")
    given = plate.formats or ("",) * len(plate.channels)
    return tuple(_choose_format(name, kind, depth) for name, kind in zip(plate.channels, given, strict=True))


def _choose_format(name: str, given: str, depth: str) -> str:
    if given == "uint":
        return "uint"
    if depth == "half" or (depth == "auto" and given not in ("half", "float", "double")):
        return "float" if _is_data_channel(name) else "half"
    return "half" if depth == "auto" and given == "half" else "float"


def _is_data_channel(name: str) -> bool:
    """Whether a channel holds measurements, not light: half has 11 bits, too few for coordinates on a plate."""
    *layers, channel = name.lower().split(".")
    layer = layers[-1] if layers else ""
    return (
        channel in ("z", "zback", "u", "v")
        or layer in ("depth", "st", "position", "motion", "forward", "backward")
        or layer.startswith("crypto")
    )


@dataclass(frozen=True)
class _OutputPart:
    """A part to write: header, other attributes, and the file to copy pixels from (None: the plate)."""

    spec: oiio.ImageSpec
    attributes: ExrAttributes
    source: oiio.ImageInput | None


def _write_parts(
    temporary: Path,
    final: Path,
    plate: Plate,
    formats: Sequence[str],
    twin: Path | None,
    compression: str,
    others: Sequence[PartRef],
) -> None:
    """Writes all parts: `others` at their places, the plate at the first free one."""
    with contextlib.ExitStack() as opened:
        ours = _make_plate_part(plate, formats, compression, None if twin is None else _open_image_input(twin, opened))
        parts = [_make_copied_part(other, plate, opened) for other in sorted(others, key=lambda part: part.index)]
        place = next(i for i in range(len(others) + 1) if i not in {part.index for part in others})
        parts.insert(place, ours)
        output = oiio.ImageOutput.create("openexr")
        assert output is not None  # OpenImageIO is never built without it
        try:
            name, specs = str(temporary), [part.spec for part in parts]
            _raise_if_failed(
                output.open(name, tuple(specs)) if len(specs) > 1 else output.open(name, specs[0]), output, final
            )
            for index, part in enumerate(parts):
                if index:
                    _raise_if_failed(output.open(name, part.spec, "AppendSubimage"), output, final)
                if part.source is not None:
                    _raise_if_failed(output.copy_image(part.source), output, final)
                else:
                    _raise_if_failed(output.write_image(_pack_pixels(plate, formats)), output, final)
        finally:
            output.close()
    try:
        replace_placeholders(temporary, [part.attributes for part in parts])
    except PlateError as error:
        raise OutputError(f"cannot write {final}: {_explain_failure(final)}") from error


def _write_around_kept(
    temporary: Path, final: Path, plate: Plate, formats: Sequence[str], compression: str, kept: KeptChunks
) -> bool:
    """Writes what has changed, then the whole file around it; False if the other file cannot be used after all."""
    own = temporary.with_suffix(_BESIDE_SUFFIX)
    try:
        _write_parts(own, final, kept.cut_rows(plate), formats, None, compression, ())
        kept.join(own, temporary)
    except PlateError as error:
        log.debug("%s is written as a whole: %s", final, error)
        return False
    finally:
        with contextlib.suppress(OSError):
            own.unlink(missing_ok=True)
    return True


def _complete_checksum(temporary: Path, final: Path) -> None:
    try:
        write_checksum(temporary)
    except PlateError as error:
        raise OutputError(f"cannot write {final}: {_explain_failure(final)}") from error


def _make_plate_part(
    plate: Plate, formats: Sequence[str], compression: str, source: oiio.ImageInput | None
) -> _OutputPart:
    data, display = plate.data_window, plate.display_window
    spec = oiio.ImageSpec(data.width, data.height, len(plate.channels), "half")
    if source is not None:
        spec.channelnames = source.spec().channelnames
        spec.channelformats = source.spec().channelformats
    elif len(set(formats)) == 1:
        spec.channelnames = plate.channels
        spec.set_format(oiio.TypeDesc(formats[0]))
    else:
        spec.channelnames = plate.channels
        spec.channelformats = tuple(oiio.TypeDesc(kind) for kind in formats)
    spec.x, spec.y = data.x, data.y
    spec.full_x, spec.full_y = display.x, display.y
    spec.full_width, spec.full_height = display.width, display.height
    own = {META_CHECKSUM: ("string", BLANK_CHECKSUM)}
    return _OutputPart(spec, _complete_spec(spec, plate.metadata, plate.pixel_aspect, compression, own), source)


def _make_copied_part(part: PartRef, plate: Plate, opened: contextlib.ExitStack) -> _OutputPart:
    source = _open_image_input(part.path, opened)
    if not source.seek_subimage(part.index, 0):
        raise PlateError(f"{part.path} has no part {part.index} any more")
    old = source.spec()
    if old.deep:
        raise PlateError(f"{part.path}: part '{part.name}' holds deep pixels, which cannot be kept beside flat ones")
    spec = old.copy()
    for item in old.extra_attribs:
        spec.erase_attribute(item.name)
    # OpenImageIO needs all parts of one file alike; ours are scanlines.
    spec.tile_width = spec.tile_height = 0
    metadata = unpack_metadata(read_attributes(part.path)[part.index])
    # OpenEXR needs these to be the same in all parts.
    metadata.update({name: plate.metadata[name] for name in _SHARED_ATTRIBUTES if name in plate.metadata})
    compression = old.get_string_attribute("compression", "zip")
    # A second lossy compression would change the pixels again.
    compression = compression if compression in LOSSLESS_COMPRESSIONS else "zip"
    attributes = _complete_spec(spec, metadata, plate.pixel_aspect, compression)
    return _OutputPart(spec, attributes, source)


def _complete_spec(
    spec: oiio.ImageSpec,
    metadata: Mapping[str, Any],
    aspect: float,
    compression: str,
    own: ExrAttributes | None = None,
) -> ExrAttributes:
    """Completes the header `spec`; returns the attributes, with those of `own`, that will replace its placeholder."""
    attributes, stand_in = add_placeholder({**pack_metadata(metadata), **(own or {})})
    if stand_in is not None:
        spec.attribute(*stand_in)
    for name, kind in OIIO_ATTRIBUTES.items():
        value = metadata.get(name)
        if isinstance(value, TypedValue) and value.type == kind:
            spec.attribute(name, oiio.TypeDesc(oiio.FLOAT, oiio.VEC2), value.value)
        elif isinstance(value, float) and kind == "float":
            spec.attribute(name, value)
    if metadata.get(PART_NAME):
        spec.attribute("oiio:subimagename", str(metadata[PART_NAME]))
    # Without it OpenImageIO would write the current time, and two renders of one shot would differ.
    spec.attribute("DateTime", "")
    spec.attribute("PixelAspectRatio", float(aspect))
    spec.attribute("compression", compression)
    return attributes


def _open_image_input(path: Path, opened: contextlib.ExitStack) -> oiio.ImageInput:
    source = oiio.ImageInput.open(str(path))
    if source is None:
        raise PlateError(f"{path} cannot be read: {take_oiio_error()}")
    opened.callback(source.close)
    return source


def _raise_if_failed(done: bool, output: oiio.ImageOutput, path: Path) -> None:
    if not done:
        message = take_oiio_error(output)
        raise OutputError(f"cannot write {path}: {_explain_failure(path)} ({message})")


def _explain_failure(path: Path) -> str:
    free = shutil.disk_usage(path.parent).free
    full = "the disk is full; free some space or write elsewhere"
    return full if free < _LOW_DISK_BYTES else "the file was cut short; check quota and limits on file size"


def _pack_pixels(plate: Plate, formats: Sequence[str]) -> AnyArray:
    """Gives pixels of one numpy type that OpenImageIO stores as `formats` without changing a bit."""
    kinds = set(formats)
    if kinds == {"uint"}:
        return np.stack([_compute_integers(plate, name) for name in plate.channels], axis=-1)
    pixels = np.ascontiguousarray(plate.pixels, np.float32)
    # OpenImageIO rounds to half like `to_half`, but makes infinity of what is beyond its range.
    if kinds == {"float"} or _fits_half(pixels):
        return pixels
    if kinds == {"half"}:
        return to_half(pixels)
    pixels = pixels.copy()
    for index, kind in enumerate(formats):
        if kind == "half":
            pixels[..., index] = to_half(pixels[..., index])
    return pixels


def round_as_written(plate: Plate, depth: str) -> Plate:
    """Gives a plate the values that a lossless file of it holds; `depth` is that of `write_exr`."""
    formats = choose_formats(plate, depth)
    halves = [index for index, kind in enumerate(formats) if kind == "half"]
    if len(halves) == len(formats):
        return replace(plate, pixels=_round_to_half(plate.pixels))
    pixels = plate.pixels.copy()
    pixels[..., halves] = _round_to_half(pixels[..., halves])
    return replace(plate, pixels=pixels)


def _round_to_half(pixels: Image) -> Image:
    """The values of `to_half` as float32; OpenCV rounds to the same ones ten times as fast as numpy."""
    if not pixels.size or not _fits_half(pixels):
        return np.asarray(to_half(pixels), np.float32)
    nothing: Any = 0.0  # the types of OpenCV know no number here; to add it would lose the sign of -0
    halves = cv2.subtract(pixels.reshape(len(pixels), -1), nothing, dtype=cv2.CV_16F)
    return np.asarray(cv2.subtract(halves, nothing, dtype=cv2.CV_32F), np.float32).reshape(pixels.shape)


def _fits_half(pixels: Image) -> bool:
    """Whether all values are numbers within the range of half."""
    return bool(pixels.min() >= -LARGEST_HALF and pixels.max() <= LARGEST_HALF)


def to_half(pixels: Image) -> HalfImage:
    """Rounds to float16 (nearest even). Finite values out of range become the largest half; NaN and infinity stay."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        half = np.ascontiguousarray(pixels, np.float16)
    beyond = np.isinf(half)
    if beyond.any():
        beyond &= np.isfinite(pixels)
        half[beyond] = np.copysign(LARGEST_HALF, pixels[beyond])
    return half


def _compute_integers(plate: Plate, name: str) -> IntegerPlane:
    """Gives the exact values of a channel, or its rounded pixels where those were changed since."""
    pixels = plate.get_matte(name)
    rounded = np.clip(np.nan_to_num(np.rint(pixels.astype(np.float64))), 0, 2**32 - 1).astype(np.uint32)
    if name not in plate.integers:
        result: IntegerPlane = rounded
        return result
    exact = plate.integers[name]
    return np.where(exact.astype(np.float32) == pixels, exact, rounded)


@contextlib.contextmanager
def _write_raw_twin(temporary: Path, plate: Plate, formats: Sequence[str]) -> Iterator[Path | None]:
    """Writes an uncompressed EXR of the same pixels if the plate has ids besides light; else gives None.

    OpenImageIO copies pixels from file to file in their own types. From Python it takes pixels of one type, and no type
    holds both ids and halves (its conversion to whole numbers scales by 2^32 - 1 and rounds through float32).
    """
    if "uint" not in formats or set(formats) == {"uint"}:
        yield None
        return
    twin = temporary.with_suffix(_BESIDE_SUFFIX)
    arrays: dict[str, AnyArray] = {}
    for index, (name, kind) in enumerate(zip(plate.channels, formats, strict=True)):
        if kind == "uint":
            arrays[name] = _compute_integers(plate, name)
        else:
            pixels = plate.pixels[..., index].astype(np.float32, copy=False)
            arrays[name] = to_half(pixels) if kind == "half" else pixels
    try:
        write_raw_exr(twin, arrays, plate.data_window, plate.display_window)
        yield twin
    finally:
        with contextlib.suppress(OSError):
            twin.unlink(missing_ok=True)


def _verify_file(temporary: Path, final: Path) -> None:
    """Reads the last line of every part, because OpenImageIO does not report a full disk when it closes a file."""
    whole = True
    with contextlib.ExitStack() as opened:
        source = oiio.ImageInput.open(str(temporary))
        if source is not None:
            opened.callback(source.close)
        index = 0
        while source is not None and source.seek_subimage(index, 0):
            spec = source.spec()
            last = spec.y + spec.height - 1
            whole &= source.read_scanlines(index, 0, last, last + 1, 0, 0, 1, oiio.TypeDesc("float")) is not None
            index += 1
        if not index or not whole:
            raise OutputError(f"cannot write {final}: {_explain_failure(final)}")
