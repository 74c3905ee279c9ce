"""Reads one frame from a file: EXR bit for bit through OpenImageIO, other images as floats.

Channels keep their full names, windows their position, and every channel its own type: a half that is read and written
stays the same half, NaN and infinity included. Whole-number channels (ids) keep every bit.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB, RGBA
from fsgan_core.plates.exr_writer import PartRef
from fsgan_core.plates.image_file import OpenedImage
from fsgan_core.plates.multiview import list_shared_views, select_view
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import Image, IntegerPlane, Vector
from fsgan_core.runtime.reused_memory import take_reused_memory

__all__ = ["PlateHeader", "list_other_parts", "list_views", "read_frame_metadata", "read_header", "read_image"]

log = logging.getLogger(__name__)

_RGB = set(RGB)
# EXIF's tag 274. JPEG, PNG, TIFF, WebP and others have it, each as another type of number.
_ORIENTATION, _UPRIGHT, _SIDEWAYS = "Orientation", 1, (5, 6, 7, 8)


@dataclass(frozen=True)
class PlateHeader:
    """A frame without its pixels. The fields are those of Plate, and `parts`: names of all parts of the file."""

    channels: tuple[str, ...]
    data_window: Window
    display_window: Window
    pixel_aspect: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


def read_image(path: Path | str, part: str = "") -> Plate:
    """Reads a frame.

    Args:
        path: The file.
        part: Name, view or number of a part of a multi-part EXR. Empty is the first part with R, G and B, else the
            first.

    Returns:
        The frame with values as in the file; integer files (PNG, JPEG, DPX) are scaled to 0..1. A grey picture that is
        not an EXR becomes R = G = B. The orientation of a photo is applied.

    Raises:
        PlateError: The file is missing, broken or not a picture, or has no such part.
    """
    path = Path(path)
    with OpenedImage(path) as file:
        index = _choose_part(file, part)
        spec = file.seek_part(index)
        if spec.deep:
            raise PlateError(f"{path} holds deep pixels; flatten it first" + (f" (part {part})" if part else ""))
        header = _build_header(file, index)
        formats = header.formats
        if file.is_exr:
            pixels, integers = _read_exr_pixels(file, spec, formats)
            return select_view(
                Plate(
                    pixels,
                    header.channels,
                    header.data_window,
                    header.display_window,
                    header.pixel_aspect,
                    header.metadata,
                    formats,
                    integers,
                ),
                part,
            )
        pixels = _turn_upright(_read_image_pixels(file, spec), _get_orientation(spec))
        return _grey_to_rgb(
            Plate(
                pixels,
                header.channels,
                header.data_window,
                header.display_window,
                header.pixel_aspect,
                header.metadata,
                formats,
            )
        )


def read_header(path: Path | str, part: str = "") -> PlateHeader:
    """Reads a frame without its pixels, but turned upright; channels are as in the file. Raises PlateError."""
    with OpenedImage(Path(path)) as file:
        return _build_header(file, _choose_part(file, part))


def read_frame_metadata(path: Path | str) -> dict[str, Any]:
    """Reads the metadata of the part that we wrote: of one eye, if the other one came along from the target.

    Raises:
        PlateError: The file is missing, broken or not a picture.
    """
    with OpenedImage(Path(path)) as file:
        own = file.own_part
        return dict(_build_header(file, _choose_part(file, "") if own is None else own).metadata)


def list_views(path: Path | str) -> tuple[str, ...]:
    """Lists the views of a file, in separate parts or in one; none if it has only one picture. Raises PlateError."""
    with OpenedImage(Path(path)) as file:
        named = [spec.get_string_attribute("view") for spec in file.specs]
        return tuple(
            dict.fromkeys(
                [*(view for view in named if view and len(named) > 1), *list_shared_views(file.read_metadata(0))]
            )
        )


def list_other_parts(path: Path | str, part: str = "") -> tuple[PartRef, ...]:
    """Lists the parts that `read_image(path, part)` does not read, for `write_exr` to copy. Raises PlateError."""
    path = Path(path)
    with OpenedImage(path) as file:
        chosen = _choose_part(file, part)
        return tuple(PartRef(path, index, name) for index, name in enumerate(file.part_names) if index != chosen)


def _choose_part(file: OpenedImage, part: str) -> int:
    """Finds the number of a part. Raises PlateError, which lists the parts, if there is none."""
    if not part:
        with_rgb = [i for i, spec in enumerate(file.specs) if set(spec.channelnames) >= _RGB and not spec.deep]
        return with_rgb[0] if with_rgb else 0
    names = file.part_names
    if part in names:
        return names.index(part)
    views = [spec.get_string_attribute("view") for spec in file.specs]
    if part in views:
        of_view = [i for i, view in enumerate(views) if view == part]
        return next((i for i in of_view if set(file.specs[i].channelnames) >= _RGB), of_view[0])
    if part.isdecimal() and int(part) < len(names):
        return int(part)
    inner = list(list_shared_views(file.read_metadata(0)))
    if part in inner:
        return 0
    known = f"parts: {', '.join(name or str(i) for i, name in enumerate(names))}"
    if any(views) or inner:
        known += f"; views: {', '.join(dict.fromkeys([view for view in views if view] + inner))}"
    raise PlateError(f"{file.path} has no part or view '{part}'; it has {known}")


def _build_header(file: OpenedImage, index: int) -> PlateHeader:
    spec = file.specs[index]
    data = Window(spec.x, spec.y, spec.width, spec.height)
    display = Window(spec.full_x, spec.full_y, spec.full_width, spec.full_height)
    formats = tuple(str(spec.channelformat(channel)) for channel in range(spec.nchannels))
    aspect = spec.get_float_attribute("PixelAspectRatio", 1.0)
    if not (np.isfinite(aspect) and aspect > 0):
        log.warning("%s has a pixel aspect of %g; using 1", file.path, aspect)
        aspect = 1.0
    metadata = file.read_metadata(index)
    if not file.is_exr:
        metadata.pop(_ORIENTATION, None)
        if _get_orientation(spec) != _UPRIGHT:
            is_sideways = _get_orientation(spec) in _SIDEWAYS
            width, height = (spec.height, spec.width) if is_sideways else (spec.width, spec.height)
            data = display = Window(0, 0, width, height)
            aspect = 1.0 / aspect if is_sideways else aspect
    return PlateHeader(tuple(spec.channelnames), data, display, aspect, metadata, formats, tuple(file.part_names))


def _get_orientation(spec: oiio.ImageSpec) -> int:
    """Reads how a photo has to be turned, in the numbers of EXIF."""
    found = spec.get_int_attribute(_ORIENTATION, _UPRIGHT)
    return found if found in range(2, 9) else _UPRIGHT


def _read_exr_pixels(
    file: OpenedImage, spec: oiio.ImageSpec, formats: Sequence[str]
) -> tuple[Image, dict[str, IntegerPlane]]:
    count = spec.nchannels
    if "uint" not in formats:
        if set(formats) != {"half"}:
            return file.read(0, count, "float"), {}
        # A table is several times as fast as numpy's own conversion, and to clear new memory takes longer than that.
        halves = file.read(0, count, "half").view(np.uint16)
        values = take_reused_memory(halves.shape)
        cv2.LUT(halves, _list_halves(), dst=values)
        return values, {}
    pixels = np.empty((spec.height, spec.width, count), np.float32)
    integers: dict[str, IntegerPlane] = {}
    begin = 0
    while begin < count:
        end = begin
        while end < count and formats[end] == formats[begin]:
            end += 1
        block = file.read(begin, end, formats[begin])
        pixels[..., begin:end] = block
        if formats[begin] == "uint":
            for index in range(begin, end):
                integers[spec.channelnames[index]] = np.ascontiguousarray(block[..., index - begin])
        begin = end
    return pixels, integers


@cache
def _list_halves() -> Vector:
    """The values of all halves, by their bits."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def _read_image_pixels(file: OpenedImage, spec: oiio.ImageSpec) -> Image:
    kind = str(spec.format)
    pixels = file.read(0, spec.nchannels, kind)
    if np.issubdtype(pixels.dtype, np.integer):
        full = float(np.iinfo(pixels.dtype).max)
        return (pixels / full).astype(np.float32)
    return pixels.astype(np.float32)


def _grey_to_rgb(plate: Plate) -> Plate:
    """Makes R, G and B of the only colour channel; for photos, where it is a grey picture."""
    if set(plate.channels) >= _RGB:
        return plate
    grey = [name for name in plate.channels if name != "A"]
    if len(grey) != 1 or len(plate.channels) > 2:
        return plate
    order = [plate.channels.index(grey[0])] * 3 + ([plate.channels.index("A")] if "A" in plate.channels else [])
    return Plate(
        np.ascontiguousarray(plate.pixels[..., order]),
        RGBA[: len(order)],
        plate.data_window,
        plate.display_window,
        plate.pixel_aspect,
        plate.metadata,
        tuple(plate.formats[index] for index in order),
    )


def _turn_upright(pixels: Image, orientation: int) -> Image:
    """Turns a picture (height, width, channels) by its EXIF orientation."""
    if orientation in (2, 3):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4):
        pixels = pixels[::-1]
    if orientation in _SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
