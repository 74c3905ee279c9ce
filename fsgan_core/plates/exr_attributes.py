"""Converts a file's metadata to plain Python values and back.

Text, whole numbers and floats stay as they are. Everything else becomes a TypedValue with its EXR type, so that a
rewrite keeps a timecode a timecode, a matrix a matrix, and the bytes of an unknown type. Names are those of EXR
("timeCode", "capDate"), also for other files.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import OpenImageIO as oiio

from fsgan_core.contract.layers import META_CHECKSUM
from fsgan_core.plates.exr_header import PLACEHOLDER_NAME, ExrAttributes
from fsgan_core.plates.plate import TypedValue
from fsgan_core.plates.stated_colour import CHROMATICITIES, DPX_TRANSFER, ICC_PROFILE, INTEROP_ID, LOG_TRANSFERS

log = logging.getLogger(__name__)

# EXR types with a fixed count of numbers -> their struct format.
_STRUCT_FORMATS = {
    "box2f": "4f",
    "box2i": "4i",
    "chromaticities": "8f",
    "double": "d",
    "keycode": "7i",
    "m33d": "9d",
    "m33f": "9f",
    "m44d": "16d",
    "m44f": "16f",
    "rational": "iI",
    "timecode": "II",
    "v2d": "2d",
    "v2f": "2f",
    "v2i": "2i",
    "v3d": "3d",
    "v3f": "3f",
    "v3i": "3i",
}
# Attributes that describe the layout of the pixels: a Plate has fields for them, or the writer chooses them.
FILE_ATTRIBUTES = frozenset(
    {
        "channels",
        "chunkCount",
        "compression",
        "dataWindow",
        "displayWindow",
        "dwaCompressionLevel",
        "lineOrder",
        "maxSamplesPerPixel",
        "pixelAspectRatio",
        "tiles",
        "type",
        "version",
        "deepImageState",
        # Thumbnail, checksums and texture hints of the frame before it was changed.
        "preview",
        "oiio:AverageColor",
        "oiio:ConstantColor",
        "oiio:SHA-1",
        "textureformat",
        "wrapmodes",
        "fovcot",
        # A promise about compression, types and channels that a changed frame breaks.
        "acesImageContainerFlag",
        PLACEHOLDER_NAME,
        META_CHECKSUM,
    }
)
# Written through OpenImageIO, which always adds these to a header.
OIIO_ATTRIBUTES = {"screenWindowCenter": "v2f", "screenWindowWidth": "float"}
PART_NAME = "name"
# Attributes that are wrong once the picture is converted to another colour space.
COLOUR_ATTRIBUTES = frozenset(
    {
        CHROMATICITIES,
        "whiteLuminance",
        "adoptedNeutral",
        "renderingTransform",
        "lookModTransform",
        "oiio:ColorSpace",
        INTEROP_ID,
        DPX_TRANSFER,
        ICC_PROFILE,
    }
)
# OpenImageIO's conclusion from what a file says. The usual one is that of every PNG that says nothing.
_OIIO_COLOUR = "oiio:ColorSpace"
_OIIO_LOG = "KodakLog"
_USUAL_COLOUR = "srgb_rec709_scene"
_INTEROP_PATTERN = re.compile(r"[a-z0-9:]+_[a-z0-9]+_(scene|display)")
# Descriptions of ICC profiles that cameras and phones write -> colour interop ID.
_ICC_INTEROP_IDS = {
    "Display P3": "srgb_p3d65_scene",
    "Apple Wide Color Sharing Profile": "srgb_p3d65_scene",
    "Adobe RGB (1998)": "g22_adobergb_scene",
}
_SRGB_PROFILE = "srgb"

_OIIO_TO_EXR = {
    "smpte:TimeCode": "timeCode",
    "smpte:KeyCode": "keyCode",
    "DateTime": "capDate",
    "ImageDescription": "comments",
    "Copyright": "owner",
    "ExposureTime": "expTime",
    "FNumber": "aperture",
    "XResolution": "xDensity",
}
_OIIO_ONLY_PREFIXES = (
    "oiio:",
    "jpeg:",
    "png:",
    "tiff:",
    "dpx:",
    "ICCProfile",
    "thumbnail_",
    "PixelAspectRatio",
    "YResolution",
    "ResolutionUnit",
    "compression",
    "planarconfig",
)


def unpack_metadata(attributes: ExrAttributes) -> dict[str, Any]:
    """Converts raw attributes of an EXR part to metadata."""
    return {name: _decode_value(kind, raw) for name, (kind, raw) in attributes.items() if name not in FILE_ATTRIBUTES}


def pack_metadata(metadata: Mapping[str, Any]) -> dict[str, tuple[str, bytes]]:
    """Converts metadata to raw attributes. Leaves out None; values without an EXR type become JSON text."""
    skipped = FILE_ATTRIBUTES | set(OIIO_ATTRIBUTES) | {PART_NAME}
    return {name: _encode_value(value) for name, value in metadata.items() if name not in skipped and value is not None}


def read_image_metadata(spec: oiio.ImageSpec) -> dict[str, Any]:
    """Reads the metadata of a file that is not an EXR, under EXR's names."""
    values: dict[str, Any] = {}
    for item in spec.extra_attribs:
        try:
            own_name, kind, value = item.name, str(item.type), item.value
        except UnicodeDecodeError:
            log.debug("a text of the file's metadata is not UTF-8 and is left out")
            continue
        name = _OIIO_TO_EXR.get(own_name)
        if name is None and not own_name.startswith(_OIIO_ONLY_PREFIXES):
            name = own_name
        if name is None:
            continue
        if kind in ("string", "int", "float"):
            values[name] = value
        elif kind in ("timecode", "keycode", "rational") and isinstance(value, tuple):
            values[name] = TypedValue(kind, value)
    return {**values, **_read_image_colour(spec)}


def _read_image_colour(spec: oiio.ImageSpec) -> dict[str, Any]:
    """What a file says about its colour, in the keys that `read_stated_colour` reads; nothing if it says sRGB."""
    said, profile, transfer = (_read_text(spec, name) for name in (_OIIO_COLOUR, ICC_PROFILE, DPX_TRANSFER))
    if profile in _ICC_INTEROP_IDS:
        return {INTEROP_ID: _ICC_INTEROP_IDS[profile]}
    if profile and _SRGB_PROFILE not in profile.casefold():
        return {ICC_PROFILE: profile}
    if transfer in LOG_TRANSFERS or said == _OIIO_LOG:
        return {DPX_TRANSFER: transfer or LOG_TRANSFERS[0]}
    return {INTEROP_ID: said} if _INTEROP_PATTERN.fullmatch(said) and said != _USUAL_COLOUR else {}


def _read_text(spec: oiio.ImageSpec, name: str) -> str:
    try:
        return str(spec.get_string_attribute(name))
    except UnicodeDecodeError:
        return ""


def drop_colour_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Copies metadata without what is wrong after a conversion to another colour space."""
    return {name: value for name, value in metadata.items() if name not in COLOUR_ATTRIBUTES}


def _decode_value(kind: str, raw: bytes) -> Any:
    try:
        if kind == "string":
            return raw.decode("utf-8", "surrogateescape")
        if kind == "int":
            return struct.unpack("<i", raw)[0]
        if kind == "float":
            return struct.unpack("<f", raw)[0]
        if kind == "double":
            number = struct.unpack("<d", raw)[0]
            # A number that needs a double is written as one without being a TypedValue.
            return number if _needs_double(number) else TypedValue(kind, (number,))
        if kind in _STRUCT_FORMATS:
            return TypedValue(kind, struct.unpack("<" + _STRUCT_FORMATS[kind], raw))
        if kind == "floatvector":
            return TypedValue(kind, struct.unpack(f"<{len(raw) // 4}f", raw))
        if kind == "stringvector":
            return TypedValue(kind, tuple(_decode_texts(raw)))
    except (struct.error, IndexError):
        pass
    return TypedValue(kind, raw)


def _encode_value(value: Any) -> tuple[str, bytes]:
    if isinstance(value, TypedValue):
        return value.type, _encode_typed(value)
    if isinstance(value, str):
        return "string", value.encode("utf-8", "surrogateescape")
    if isinstance(value, bool | np.bool_):
        return "int", struct.pack("<i", int(value))
    if isinstance(value, int | np.integer) and -(2**31) <= value < 2**31:
        return "int", struct.pack("<i", int(value))
    if isinstance(value, float | np.floating):
        number = float(value)
        return ("double", struct.pack("<d", number)) if _needs_double(number) else ("float", struct.pack("<f", number))
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            return "stringvector", _encode_typed(TypedValue("stringvector", value))
        if value and all(isinstance(item, float) and not _needs_double(item) for item in value):
            return "floatvector", struct.pack(f"<{len(value)}f", *value)
    return "string", json.dumps(value, default=str).encode()


def _encode_typed(value: TypedValue) -> bytes:
    data = value.value
    if isinstance(data, bytes):
        return data
    items = tuple(data) if isinstance(data, list | tuple | np.ndarray) else (data,)
    if value.type == "stringvector":
        texts = [item.encode("utf-8", "surrogateescape") for item in items]
        return b"".join(struct.pack("<i", len(item)) + item for item in texts)
    form = f"{len(items)}f" if value.type == "floatvector" else _STRUCT_FORMATS[value.type]
    return struct.pack("<" + form, *items)


def _decode_texts(raw: bytes) -> list[str]:
    texts, place = [], 0
    while place < len(raw):
        size = struct.unpack_from("<i", raw, place)[0]
        if size < 0 or place + 4 + size > len(raw):
            raise IndexError
        texts.append(raw[place + 4 : place + 4 + size].decode("utf-8", "surrogateescape"))
        place += 4 + size
    return texts


def _needs_double(number: float) -> bool:
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0] != number and number == number
    except OverflowError:
        return True
