"""What a file says about the colour of its pixels, read from its metadata.

EXR: `colorInteropID` (Color Interop Forum), `chromaticities` (OpenEXR), and `fsgan/colorspace` of our own files. Other
pictures: `metadata.read_image_metadata` translates what they say to `colorInteropID`, or keeps `dpx:Transfer` and the
name of their ICC profile. A movie's reader does the same with what its stream says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fsgan_core.contract.layers import META_COLORSPACE
from fsgan_core.plates.plate import TypedValue

__all__ = [
    "CHROMATICITIES",
    "DPX_TRANSFER",
    "ICC_PROFILE",
    "INTEROP_ID",
    "LOG_TRANSFERS",
    "NOTHING_STATED",
    "StatedColour",
    "read_stated_colour",
]

INTEROP_ID = "colorInteropID"
CHROMATICITIES = "chromaticities"
DPX_TRANSFER = "dpx:Transfer"
ICC_PROFILE = "ICCProfile:profile_description"
LOG_TRANSFERS = ("Logarithmic", "Printing density")  # SMPTE ST 268-1, table of transfer characteristics
_NOT_SAID = ("", "unknown")


@dataclass(frozen=True)
class StatedColour:
    """What a file says about the colour of its pixels.

    Attributes:
        text: The statement as it stands in the file, for messages; empty if the file says nothing.
        name: A colour interop ID, or the name of a space, or "".
        chromaticities: CIE x and y of red, green, blue and white of linear light; or ().
        is_log: Whether all that is known is a logarithmic curve.
    """

    text: str = ""
    name: str = ""
    chromaticities: tuple[float, ...] = ()
    is_log: bool = False


NOTHING_STATED = StatedColour()


def read_stated_colour(metadata: Mapping[str, Any]) -> StatedColour:
    """Reads what a file's metadata say about its colour; of several statements, the one that says most.

    >>> read_stated_colour({"colorInteropID": "lin_ap1_scene"}).name
    'lin_ap1_scene'
    """
    for key in (INTEROP_ID, META_COLORSPACE):
        name = str(metadata.get(key, "")).strip()
        if name not in _NOT_SAID:
            return StatedColour(f"{key} = {name}", name)
    given = metadata.get(CHROMATICITIES)
    if isinstance(given, TypedValue) and given.type == CHROMATICITIES and not isinstance(given.value, bytes):
        values = tuple(round(float(value), 5) for value in given.value)
        return StatedColour(f"{CHROMATICITIES} = {' '.join(f'{value:g}' for value in values)}", "", values)
    transfer = str(metadata.get(DPX_TRANSFER, ""))
    if transfer in LOG_TRANSFERS:
        return StatedColour(f"{DPX_TRANSFER} = {transfer}", is_log=True)
    profile = str(metadata.get(ICC_PROFILE, ""))
    if profile:
        return StatedColour(f"ICC profile = {profile}", profile)
    return NOTHING_STATED
