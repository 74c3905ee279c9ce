"""A picture as Nuke holds it (planes by channel, y up), and files in and out by OpenImageIO."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio

from tests.host.values import Format

_TO_NUKE = {"r": "red", "g": "green", "b": "blue", "a": "alpha"}
_TO_FILE = {"rgba.red": "R", "rgba.green": "G", "rgba.blue": "B", "rgba.alpha": "A", "depth.Z": "Z"}
# What OpenImageIO says of the file rather than of the picture in it.
_NOT_METADATA = (
    "oiio:",
    "openexr:",
    "screenWindow",
    "PixelAspectRatio",
    "compression",
    "DateTime",
    "worldto",
    "Orientation",
    "ResolutionUnit",
    "png:",
    "jpeg:",
)


@dataclass(frozen=True)
class Box:
    """Whole pixels from x, y (lower left, inclusive) to r, t (exclusive)."""

    x: int
    y: int
    r: int
    t: int

    @property
    def empty(self) -> bool:
        return self.r <= self.x or self.t <= self.y

    @property
    def shape(self) -> tuple[int, int]:
        return max(0, self.t - self.y), max(0, self.r - self.x)

    def union(self, other: Box) -> Box:
        if self.empty or other.empty:
            return other if self.empty else self
        return Box(min(self.x, other.x), min(self.y, other.y), max(self.r, other.r), max(self.t, other.t))

    def intersect(self, other: Box) -> Box:
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Box(x, y, max(x, min(self.r, other.r)), max(y, min(self.t, other.t)))


@dataclass(frozen=True)
class Picture:
    """planes: float32 (rows, columns) each, row 0 on top, over `bbox`. outside: what lies beyond the bbox,
    "black", or "repeat" (the nearest pixel of its edge, as Nuke does where nothing says otherwise)."""

    planes: Mapping[str, np.ndarray]
    bbox: Box
    format: Format
    metadata: Mapping[str, Any] = field(default_factory=dict)
    outside: str = "black"

    def over(self, name: str, box: Box) -> np.ndarray:
        """float32, the channel over `box`; zeros where the picture has no such channel."""
        plane = self.planes.get(name)
        if plane is None or self.bbox.empty or box.empty:
            return np.zeros(box.shape, np.float32)
        if box == self.bbox:
            return plane
        rows = self.bbox.t - 1 - np.arange(box.t - 1, box.y - 1, -1)
        columns = np.arange(box.x, box.r) - self.bbox.x
        height, width = plane.shape
        taken = plane[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
        if self.outside == "black":
            inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None, :]
            taken = np.where(inside, taken, np.float32(0))
        return taken

    def moved(self, box: Box, *, outside: str | None = None) -> Picture:
        """The same picture on another bbox."""
        planes = {name: self.over(name, box) for name in self.planes}
        return Picture(planes, box, self.format, self.metadata, outside or self.outside)


def scaled(picture: Picture, scale: float) -> Picture:
    """In proxy mode: each new pixel is the mean of those that it covers; a bbox grows to whole new pixels."""
    import cv2

    if scale == 1.0:
        return picture
    box = picture.bbox
    small = Box(
        *(math.floor(value * scale) for value in (box.x, box.y)),
        *(math.ceil(value * scale) for value in (box.r, box.t)),
    )
    covered = Box(*(round(value / scale) for value in (small.x, small.y, small.r, small.t)))
    height, width = small.shape
    planes = {
        name: cv2.resize(picture.over(name, covered), (width, height), interpolation=cv2.INTER_AREA)
        for name in picture.planes
    }
    return Picture(planes, small, scaled_format(picture.format, scale), picture.metadata, picture.outside)


def scaled_format(shape: Format, scale: float) -> Format:
    if scale == 1.0:
        return shape
    return Format(
        max(1, round(shape.width() * scale)), max(1, round(shape.height() * scale)), pixelAspect=shape.pixelAspect()
    )


def box_of(shape: Format) -> Box:
    return Box(0, 0, shape.width(), shape.height())


def black(shape: Format) -> Picture:
    """No channels, a bbox of one pixel."""
    return Picture({}, Box(0, 0, 1, 1), shape)


_files: dict[tuple[Path, str], tuple[tuple[int, int], Picture]] = {}


def read_picture(path: Path, *, prefix: bool = True, view: str = "") -> Picture:
    """The first part of a file, or that of a view where it has several; values as in the file. Raises OSError when it
    is missing or broken."""
    stat = path.stat()
    state = (stat.st_mtime_ns, stat.st_size)
    known = (path, view)
    if known in _files and _files[known][0] == state and prefix:
        return _files[known][1]
    opened = oiio.ImageInput.open(str(path))
    if opened is None:
        raise OSError(f"{path}: {oiio.geterror()}")
    try:
        part = _part_of(opened, view)
        opened.seek_subimage(part, 0)
        spec = opened.spec()
        pixels = opened.read_image(part, 0, 0, spec.nchannels, "float")
        if pixels is None:
            raise OSError(f"{path}: {opened.geterror()}")
    finally:
        opened.close()
    shaped = np.asarray(pixels, np.float32).reshape(spec.height, spec.width, spec.nchannels)
    _plain_names(spec, view)
    found = _picture(path, spec, shaped, prefix)
    if prefix:
        if len(_files) > 64:
            _files.clear()
        _files[known] = (state, found)
    return found


def _part_of(opened: Any, view: str) -> int:
    """Number of the first part that is of the view; the first one where the file tells none apart."""
    number = 0
    while opened.seek_subimage(number, 0):
        if view and opened.spec().get_string_attribute("view") == view:
            return number
        number += 1
    return 0


def _plain_names(spec: oiio.ImageSpec, view: str) -> None:
    """Several views in one part: the channels of `view` under plain names. The first view's are plain in the file."""
    views = spec.getattribute("multiView")
    views = [views] if isinstance(views, str) else list(views or ())
    if view not in views[1:]:
        return
    names = []
    for name in spec.channelnames:
        *layers, channel = name.split(".")
        if layers and layers[-1] in views:
            names.append(".".join([*layers[:-1], channel] if layers[-1] == view else [*layers, channel]))
        else:
            names.append(".".join([*layers, views[0], channel]))
    spec.channelnames = tuple(names)


def _picture(path: Path, spec: oiio.ImageSpec, pixels: np.ndarray, prefix: bool) -> Picture:
    left, top = min(spec.full_x, 0), min(spec.full_y, 0)
    width, height = spec.full_x + spec.full_width - left, spec.full_y + spec.full_height - top
    shape = Format(width, height, pixelAspect=spec.get_float_attribute("PixelAspectRatio", 1.0))
    x, t = spec.x - left, height - (spec.y - top)
    box = Box(x, t - spec.height, x + spec.width, t)
    planes = {
        nuke_channel(name): np.ascontiguousarray(pixels[..., place]) for place, name in enumerate(spec.channelnames)
    }
    if list(planes) == ["Y"]:
        planes = {f"rgba.{name}": planes["Y"] for name in ("red", "green", "blue")}
    metadata = _metadata(path, spec, prefix)
    outside = "repeat" if box == box_of(shape) else "black"  # edge_pixels "plate detect"
    return Picture(planes, box, shape, metadata, outside)


def _metadata(path: Path, spec: oiio.ImageSpec, prefix: bool) -> dict[str, Any]:
    kind = path.suffix.lstrip(".").lower()
    found: dict[str, Any] = {
        "input/filename": path.as_posix(),
        "input/filereader": kind,
        "input/width": spec.full_width,
        "input/height": spec.full_height,
        "input/bitsperchannel": f"{spec.format.size() * 8}-bit",
        f"{kind}/dataWindow": [spec.x, spec.y, spec.x + spec.width - 1, spec.y + spec.height - 1],
        f"{kind}/displayWindow": [
            spec.full_x,
            spec.full_y,
            spec.full_x + spec.full_width - 1,
            spec.full_y + spec.full_height - 1,
        ],
    }
    for item in spec.extra_attribs:
        if not item.name.startswith(_NOT_METADATA):
            found[f"{kind}/{item.name}" if prefix else item.name] = item.value
    return found


def nuke_channel(name: str) -> str:
    """A file's channel name as Nuke calls it: R is rgba.red, layer.R is layer.red."""
    layer, _, channel = name.rpartition(".")
    if not layer and name == "Z":
        return "depth.Z"
    if not layer and name.lower() in _TO_NUKE:
        return f"rgba.{_TO_NUKE[name.lower()]}"
    if not layer:
        return name if name == "Y" else f"other.{name}"
    return f"{layer}.{_TO_NUKE[channel.lower()]}" if channel.upper() in "RGBA" and len(channel) == 1 else name


def file_channel(name: str) -> str:
    return _TO_FILE.get(name, name)


def write_exr(
    path: Path,
    picture: Picture,
    channels: tuple[str, ...],
    *,
    half: bool,
    compression: str,
    attributes: Mapping[str, Any],
) -> None:
    """Beside the final name, then renamed. Raises OSError."""
    box = picture.bbox if not picture.bbox.empty else Box(0, 0, 1, 1)
    height, width = box.shape
    spec = oiio.ImageSpec(width, height, len(channels), "half" if half else "float")
    spec.channelnames = tuple(file_channel(name) for name in channels)
    shape = picture.format
    spec.x, spec.y = box.x, shape.height() - box.t
    spec.full_x = spec.full_y = 0
    spec.full_width, spec.full_height = shape.width(), shape.height()
    spec.attribute("compression", compression)
    spec.attribute("PixelAspectRatio", shape.pixelAspect())
    for name, value in attributes.items():
        if isinstance(value, (str, int, float)):
            spec.attribute(name, value)
    pixels = np.stack([picture.over(name, box) for name in channels], axis=-1) if channels else None
    if pixels is None:
        raise OSError(f"{path}: no channels to write")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp.exr")
    output = oiio.ImageOutput.create("openexr")
    if output is None or not output.open(str(temporary), spec):
        raise OSError(f"{path}: {output.geterror() if output else oiio.geterror()}")
    written = output.write_image(np.ascontiguousarray(pixels))
    output.close()
    if not written:
        raise OSError(f"{path}: {output.geterror()}")
    temporary.replace(path)
