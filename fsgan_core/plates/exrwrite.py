"""A plate into an EXR file: bit for bit, whole or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import OpenImageIO as oiio

from fsgan_core.contract.errors import OutputError, PlateError
from fsgan_core.plates.atomic import atomic_file
from fsgan_core.plates.metadata import read_metadata, write_metadata
from fsgan_core.plates.multiview import without_view
from fsgan_core.plates.openimage import short
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.rawexr import write_raw

log = logging.getLogger(__name__)

COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")
LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class PartRef:
    """A part of a file that a rewrite keeps as it is; read only while it is written."""

    path: Path
    index: int
    name: str


def write_exr(path: Path | str, plate: Plate, *, compression: str = "zip", depth: str = "auto",
              other_parts: Sequence[PartRef] = ()) -> None:
    """Writes `plate` whole or not at all: a scanline EXR, with `other_parts` copied bit for bit around it.

    depth: "half" or "float" for channels of colour and mattes; "auto" is the type that each channel has in
    plate.formats, half where that says nothing. Whole-number channels always keep their type, and data that
    half would spoil (depth, coordinates, Cryptomatte) is never made half. Finite values beyond half's range
    become its largest number, not infinity. compression: one of COMPRESSIONS.
    Raises OutputError when the machine refuses, PlateError when the plate cannot be an EXR.
    """
    path = Path(path)
    if compression not in COMPRESSIONS:
        raise PlateError(f"compression {compression!r} is not known; it is one of {', '.join(COMPRESSIONS)}")
    if plate.data_window.empty or not plate.channels:
        raise PlateError(f"cannot write {path}: the plate has no pixels or no channels")
    if len(set(plate.channels)) != len(plate.channels):
        raise PlateError(f"cannot write {path}: a channel name is there twice in {', '.join(plate.channels)}")
    for part in other_parts:
        if path.exists() and path.samefile(part.path):
            raise PlateError(f"cannot write {path}: it is the file whose other parts are to be kept")
    plate = without_view(plate)
    formats = _stored_formats(plate, depth)
    with atomic_file(path) as temporary, _raw_twin(temporary, plate, formats) as twin:
        _write(temporary, path, plate, formats, twin, compression, other_parts)
        _verify(temporary, path)


def _stored_formats(plate: Plate, depth: str) -> tuple[str, ...]:
    if depth not in ("auto", "half", "float"):
        raise PlateError(f"depth {depth!r} is not known; it is one of auto, half, float")
    given = plate.formats or ("",) * len(plate.channels)
    return tuple(_stored_format(name, kind, depth) for name, kind in zip(plate.channels, given, strict=True))


def _stored_format(name: str, given: str, depth: str) -> str:
    if given == "uint":
        return "uint"
    if depth == "half" or (depth == "auto" and given not in ("half", "float", "double")):
        return "float" if _is_data(name) else "half"
    return "half" if depth == "auto" and given == "half" else "float"


def _is_data(name: str) -> bool:
    """Channels that are measurements, not light: half has 11 bits, which no coordinate on a plate fits in."""
    *layers, channel = name.lower().split(".")
    layer = layers[-1] if layers else ""
    return channel in ("z", "zback", "u", "v") or layer in ("depth", "st", "position", "motion", "forward",
                                                            "backward") or layer.startswith("crypto")


def _write(temporary: Path, final: Path, plate: Plate, formats: Sequence[str], twin: Path | None, compression: str,
           others: Sequence[PartRef]) -> None:
    """All parts into `temporary`: those of `others` at their places, the plate in the first place left free."""
    spec = _spec(plate, formats, compression)
    parts: list[tuple[oiio.ImageSpec, oiio.ImageInput | None]] = []
    with contextlib.ExitStack() as opened:
        for other in sorted(others, key=lambda part: part.index):
            parts.append(_other_part(other, opened))
        place = next(i for i in range(len(others) + 1) if i not in {part.index for part in others})
        source = None
        if twin is not None:
            source = _open(twin, opened)
            spec.channelnames = source.spec().channelnames
            spec.channelformats = source.spec().channelformats
        parts.insert(place, (spec, source))
        output = oiio.ImageOutput.create("openexr")
        assert output is not None  # OpenImageIO is never built without it
        try:
            specs = [part[0] for part in parts]
            name = str(temporary)
            _must(output.open(name, tuple(specs)) if len(specs) > 1 else output.open(name, spec), output, final)
            for index, (part_spec, part_input) in enumerate(parts):
                if index:
                    _must(output.open(name, part_spec, "AppendSubimage"), output, final)
                if part_input is not None:
                    _must(output.copy_image(part_input), output, final)
                else:
                    _must(output.write_image(_buffer(plate, formats)), output, final)
        finally:
            output.close()


def _spec(plate: Plate, formats: Sequence[str], compression: str) -> oiio.ImageSpec:
    data, display = plate.data_window, plate.display_window
    spec = oiio.ImageSpec(data.width, data.height, len(plate.channels), "half")
    spec.channelnames = plate.channels
    if len(set(formats)) == 1:
        spec.set_format(oiio.TypeDesc(formats[0]))
    else:
        spec.channelformats = tuple(oiio.TypeDesc(kind) for kind in formats)
    spec.x, spec.y = data.x, data.y
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = (display.x, display.y, display.width,
                                                                   display.height)
    write_metadata(spec, plate.metadata)
    spec.attribute("PixelAspectRatio", float(plate.pixel_aspect))
    spec.attribute("compression", compression)
    return spec


def _other_part(part: PartRef, opened: contextlib.ExitStack) -> tuple[oiio.ImageSpec, oiio.ImageInput]:
    source = _open(part.path, opened)
    if not source.seek_subimage(part.index, 0):
        raise PlateError(f"{part.path} has no part {part.index} any more")
    old = source.spec()
    if old.deep:
        raise PlateError(f"{part.path}: part '{part.name}' holds deep pixels, which cannot be kept beside flat ones")
    spec = old.copy()
    for item in old.extra_attribs:
        spec.erase_attribute(item.name)
    # OpenEXR wants all parts of one file alike; ours are scanlines.
    spec.tile_width = spec.tile_height = 0
    write_metadata(spec, read_metadata(old))
    spec.attribute("PixelAspectRatio", old.get_float_attribute("PixelAspectRatio", 1.0))
    spec.attribute("compression", old.get_string_attribute("compression", "zip"))
    return spec, source


def _open(path: Path, opened: contextlib.ExitStack) -> oiio.ImageInput:
    source = oiio.ImageInput.open(str(path))
    if source is None:
        raise PlateError(f"{path} cannot be read: {short(oiio.geterror())}")
    opened.callback(source.close)
    return source


def _must(done: bool, output: oiio.ImageOutput, path: Path) -> None:
    if not done:
        raise OutputError(f"cannot write {path}: {short(output.geterror())}")


def _buffer(plate: Plate, formats: Sequence[str]) -> np.ndarray:
    """Pixels of one numpy type that OpenImageIO stores as `formats` without changing a bit."""
    kinds = set(formats)
    if kinds == {"uint"}:
        return np.stack([_whole(plate, name) for name in plate.channels], axis=-1)
    if kinds == {"half"}:
        return as_half(plate.pixels)
    pixels = np.ascontiguousarray(plate.pixels, np.float32)
    if kinds == {"float"}:
        return pixels
    pixels = pixels.copy()
    for index, kind in enumerate(formats):
        if kind == "half":
            pixels[..., index] = as_half(pixels[..., index])
    return pixels


def as_half(pixels: np.ndarray) -> np.ndarray:
    """float16, nearest even; finite values out of range become the largest half; NaN and infinity stay."""
    beyond = np.isfinite(pixels) & (np.abs(pixels) > LARGEST_HALF)
    if beyond.any():
        pixels = np.where(beyond, np.copysign(np.float32(LARGEST_HALF), pixels), pixels)
    return np.ascontiguousarray(pixels.astype(np.float16))


def _whole(plate: Plate, name: str) -> np.ndarray:
    """uint32 of a channel: the exact values, except where its float pixels were changed since."""
    pixels = plate.matte(name)
    rounded = np.clip(np.nan_to_num(np.rint(pixels.astype(np.float64))), 0, 2**32 - 1).astype(np.uint32)
    if name not in plate.integers:
        return rounded
    exact = plate.integers[name]
    return np.where(exact.astype(np.float32) == pixels, exact, rounded)


@contextlib.contextmanager
def _raw_twin(temporary: Path, plate: Plate, formats: Sequence[str]) -> Iterator[Path | None]:
    """For ids beside light: an uncompressed EXR of the same pixels, to be copied natively; else None.

    OpenImageIO takes pixels of one type from Python, and there is none that both an id and a half fit in
    (its conversion to whole numbers scales by 2^32 - 1 and rounds through float32).
    """
    if "uint" not in formats or set(formats) == {"uint"}:
        yield None
        return
    twin = temporary.with_suffix(".raw.tmp")
    arrays = {}
    for index, (name, kind) in enumerate(zip(plate.channels, formats, strict=True)):
        if kind == "uint":
            arrays[name] = _whole(plate, name)
        else:
            pixels = plate.pixels[..., index].astype(np.float32, copy=False)
            arrays[name] = as_half(pixels) if kind == "half" else pixels
    try:
        write_raw(twin, arrays, plate.data_window, plate.display_window)
        yield twin
    finally:
        with contextlib.suppress(OSError):
            twin.unlink(missing_ok=True)


def _verify(temporary: Path, final: Path) -> None:
    """The last lines of every part can be read: OpenImageIO does not tell when closing fails on a full disk."""
    with contextlib.ExitStack() as opened:
        source = _open(temporary, opened)
        index = 0
        while source.seek_subimage(index, 0):
            spec = source.spec()
            last = spec.y + spec.height - 1
            if source.read_scanlines(index, 0, last, last + 1, 0, 0, 1, oiio.TypeDesc("float")) is None:
                raise OutputError(f"cannot write {final}: it was cut short (is the disk full?)")
            index += 1
