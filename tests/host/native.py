"""Nuke's own node classes: which knobs they have and what those start with.

native.json holds facts of a scan of Nuke 17.0v3 (names, types, defaults, numbers of inputs): the sheet's KN17.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from tests.host import knobtypes, rotopaint, textknobs
from tests.host.knobs import Array_Knob, Component, Knob

# Names of new nodes where they are not the class's own.
BASE_NAMES = {
    "Merge2": "Merge",
    "Shuffle2": "Shuffle",
    "CheckerBoard2": "CheckerBoard",
    "Tracker4": "Tracker",
    "Keymix": "Keymix",
}

# Optional mask pipe: class -> number of that input.
MASK_INPUT = {
    "Merge2": 2,
    "Keymix": 2,
    "Copy": 2,
    "ChannelMerge": 2,
    "Dissolve": 2,
    "Grade": 1,
    "Blur": 1,
    "Clamp": 1,
    "Invert": 1,
    "Multiply": 1,
    "Gamma": 1,
    "Saturation": 1,
    "Expression": 1,
    "Dilate": 1,
    "Erode": 1,
    "FilterErode": 1,
    "Colorspace": 1,
    "OCIOColorSpace": 1,
    "Radial": 1,
    "Ramp": 1,
    "Roto": 1,
    "RotoPaint": 1,
}

# Written by the EXR writer only, and there only once file_type says exr.
EXR_KNOBS: dict[str, list[Any]] = {
    "datatype": ["Enumeration_Knob", "16 bit half", ["16 bit half", "32 bit float"]],
    "compression": [
        "Enumeration_Knob",
        "Zip (1 scanline)",
        [
            "none",
            "Zip (1 scanline)",
            "Zip (16 scanlines)",
            "PIZ Wavelet (32 scanlines)",
            "RLE",
            "B44",
            "B44A",
            "DWAA",
            "DWAB",
        ],
    ],
    "dw_compression_level": ["Array_Knob", "45"],
    "autocrop": ["Boolean_Knob", "false"],
    "interleave": [
        "Enumeration_Knob",
        "channels, layers and views",
        ["channels, layers and views", "channels and layers", "channels"],
    ],
    "metadata": [
        "Enumeration_Knob",
        "default metadata",
        [
            "no metadata",
            "default metadata",
            "default metadata and exr/*",
            "all metadata except input/*",
            "all metadata",
        ],
    ],
    "noprefix": ["Boolean_Knob", "false"],
    "write_full_layer_names": ["Boolean_Knob", "false"],
    "truncateChannelNames": ["Boolean_Knob", "false"],
    "standard_layer_name_format": ["Boolean_Knob", "false"],
}
EXR_READ_KNOBS: dict[str, list[Any]] = {
    "offset_negative_display_window": ["Boolean_Knob", "true"],
    "edge_pixels": ["Enumeration_Knob", "plate detect", ["plate detect", "edge detect", "repeat", "black"]],
    "noprefix": ["Boolean_Knob", "false"],
}


@functools.cache
def table() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("native.json").read_text(encoding="utf-8"))
    return loaded


def known(node_class: str) -> bool:
    return node_class in table() and node_class != "*"


def max_inputs(node_class: str) -> int:
    return int(table()[node_class]["inputs"][1]) if known(node_class) else 0


def min_inputs(node_class: str) -> int:
    return int(table()[node_class]["inputs"][0]) if known(node_class) else 0


def make_knobs(node_class: str) -> list[Knob]:
    """All knobs of a new node of that class."""
    kind = node_class if known(node_class) else "Group"  # a gizmo is a group with a name of its own
    described = {**table()["*"]["knobs"], **table()[kind]["knobs"]}
    return [make_knob(name, described[name]) for name in described]


def make_knob(name: str, described: list[Any]) -> Knob:
    """A knob from [class name, default text, items or size]."""
    kind, default, *more = described
    found = [getattr(module, kind) for module in (knobtypes, textknobs, rotopaint) if hasattr(module, kind)]
    cls: Any = found[0] if found else Array_Knob if kind == "Array_Knob" else _Plain
    knob: Knob
    if cls in (Knob, knobtypes.IArray_Knob):
        cls = _Plain  # what the table does not say more of, and matrices: kept as text
    if issubclass(cls, knobtypes.Enumeration_Knob):
        items = list(more[0]) if more else []
        if default and default not in [item.split("\t")[0] for item in items]:
            items.append(default)  # the table keeps no more than forty items
        knob = cls(name, None, items)
    else:
        knob = cls(name)
        if more and isinstance(knob, Array_Knob):
            knob._components = [Component() for _ in range(int(more[0]))]
            knob._collapses = True
    if default != "":
        knob._set_text(default)
    if isinstance(knob, Array_Knob):
        knob._default = [component.value for component in knob._components]
    knob._default_text = knob._text()
    return knob


class _Plain(Knob):
    """A knob whose kind the stand-in does not know: its text is kept as it is."""

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, label)
        self._string = ""

    def Class(self) -> str:
        return "Knob"

    def _text(self) -> str:
        return self._string

    def _set_text(self, text: str) -> None:
        self._string = text

    def value(self) -> str:
        return self._string
