"""A file's metadata as plain Python values, and back.

Text, whole numbers and floats stay what they are; all else becomes `Typed` with the name of its type, so that
a timecode comes out of a rewrite as a timecode and a matrix as a matrix.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import OpenImageIO as oiio

from fsgan_core.plates.plate import Typed

log = logging.getLogger(__name__)

# What describes how pixels lie in the file, or is computed from it, and would be a lie in the next file.
_OF_THE_FILE = frozenset({
    "compression", "openexr:lineOrder", "openexr:dwaCompressionLevel", "openexr:chunkCount",
    "openexr:maxSamplesPerPixel", "openexr:roundingmode", "openexr:levelmode", "textureformat", "wrapmodes",
    "planarconfig", "PixelAspectRatio", "YResolution", "thumbnail_width", "thumbnail_height",
    "thumbnail_nchannels", "thumbnail_image", "chunkCount", "type", "tiles",
    # A strict promise on compression, type and channels; OpenImageIO refuses to write a frame that breaks it.
    "acesImageContainerFlag",
})
_KEPT_OIIO = frozenset({"oiio:subimagename", "oiio:ColorSpace"})
# OpenImageIO renames this EXR attribute on the way in, and takes it for another one on the way out.
_READ_AS = {"worldtocamera": "cameraTransform"}
# Types whose printed name OpenImageIO does not read back.
_TYPES = {
    "vector2i": oiio.TypeDesc(oiio.INT, oiio.VEC2),
    "vectori": oiio.TypeDesc(oiio.INT, oiio.VEC3, oiio.VECTOR),
    "vector3i": oiio.TypeDesc(oiio.INT, oiio.VEC3, oiio.VECTOR),
}


def read_metadata(spec: oiio.ImageSpec) -> dict[str, Any]:
    """Everything that a file says beyond its windows, channels and packing."""
    values: dict[str, Any] = {}
    for item in spec.extra_attribs:
        if item.name in _OF_THE_FILE or (item.name.startswith("oiio:") and item.name not in _KEPT_OIIO):
            continue
        value = _plain(str(item.type), item.value)
        if value is not None:
            values[_READ_AS.get(item.name, item.name)] = value
    return values


def write_metadata(spec: oiio.ImageSpec, metadata: Mapping[str, Any]) -> None:
    """Puts `metadata` into a header that is to be written. What the format cannot hold is logged and left out."""
    for name, value in metadata.items():
        if value is None or name in _OF_THE_FILE or name == "oiio:ColorSpace":
            continue
        if isinstance(value, Typed):
            kind = _TYPES.get(value.type) or oiio.TypeDesc(value.type)
            data = np.frombuffer(value.value, np.uint8) if isinstance(value.value, bytes) else value.value
            spec.attribute(name, kind, data)
        elif isinstance(value, bool | np.bool_):
            spec.attribute(name, int(value))
        elif isinstance(value, int | np.integer):
            spec.attribute(name, int(value) if -2**31 <= value < 2**31 else str(value))
        elif isinstance(value, float | np.floating):
            spec.attribute(name, float(value))
        elif isinstance(value, str):
            spec.attribute(name, value)
        elif isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
            spec.attribute(name, oiio.TypeDesc(f"string[{len(value)}]"), tuple(value))
        elif isinstance(value, list | tuple) and value and all(isinstance(item, int | float) for item in value):
            spec.attribute(name, oiio.TypeDesc(f"float[{len(value)}]"), tuple(float(item) for item in value))
        else:
            log.warning("metadata %s is left out: %s cannot be written", name, type(value).__name__)
    # Absent, OpenImageIO would fill in the clock, and two renders of one shot would differ.
    if "DateTime" not in metadata:
        spec.attribute("DateTime", "")


def _plain(kind: str, value: Any) -> Any:
    if kind in ("string", "int", "float"):
        return value
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return Typed(kind, value.tobytes() if value.dtype == np.uint8 else tuple(value.ravel().tolist()))
    if isinstance(value, list | tuple):
        return Typed(kind, tuple(value))
    return Typed(kind, value)
