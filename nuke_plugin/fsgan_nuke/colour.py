"""The script's colour management, in the words of the worker."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import nuke

from fsgan_core.contract.errors import ColourError

# What Nuke's own (non-OCIO) names mean in an OCIO config: aliases that the ACES configs and the worker know. The other
# own names are curves that no config has; pictures in them are handed over by an internal Write, as linear.
NATIVE_SPACES = {"linear": "lin_rec709_srgb", "sRGB": "srgb_tx"}


@dataclass(frozen=True)
class ProjectColour:
    """config: for `colour.config` ("" is the worker's default). working: the space of pictures inside the script, as
    the config names it. managed: "Nuke" or "OCIO"."""

    config: str
    working_space: str
    management: str


def read_project_colour() -> ProjectColour:
    """Raises ColourError where the script names a config that cannot be handed on."""
    root = nuke.root()
    managed = str(root["colorManagement"].value())
    working = _strip_menu_text(str(root["workingSpaceLUT"].value()))
    if managed != "OCIO":
        if working not in NATIVE_SPACES:
            raise ColourError(
                f"the script's working space is {working}; without OCIO the nodes work in linear only. "
                "Set Project Settings > Color to linear, or use OCIO."
            )
        return ProjectColour(os.environ.get("OCIO", ""), NATIVE_SPACES[working], managed)
    if os.environ.get("OCIO"):
        return ProjectColour(os.environ["OCIO"], working, managed)
    name = str(root["OCIO_config"].value())
    path = (
        _read_config_path(root, "customOCIOConfigPath")
        if name == "custom"
        else _read_config_path(root, "OCIOConfigPath")
    )
    if path:
        return ProjectColour(path, working, managed)
    if name.startswith(("cg-config-", "studio-config-")):
        return ProjectColour(f"ocio://{name}", working, managed)
    raise ColourError(
        f"the script uses the OCIO config {name}, whose file is not known here. Set the environment "
        "variable OCIO to it, or choose it as a custom config in the Project Settings."
    )


def read_space(node: Any, colour: ProjectColour) -> str:
    """The colour space of a Read's file as the worker names it; "" where only the host can convert it."""
    if node["raw"].value():
        return colour.working_space
    name = _strip_menu_text(str(node["colorspace"].value()))
    if name == "default":
        name = _get_default_space(node)
    if colour.management == "OCIO":
        return name
    return NATIVE_SPACES.get(name, "")


def _get_default_space(node: Any) -> str:
    """The project's setting for files of the Read's kind; "" where the kind is not known for sure."""
    suffix = os.path.splitext(str(nuke.filename(node) or ""))[1].lower()
    knob = {
        ".exr": "floatLut",
        ".hdr": "floatLut",
        ".jpg": "int8Lut",
        ".jpeg": "int8Lut",
        ".dpx": "logLut",
        ".cin": "logLut",
    }.get(suffix, "")
    if not knob:
        knob = {"8-bit": "int8Lut", "16-bit": "int16Lut"}.get(str(node.metadata("input/bitsperchannel") or ""), "")
    return _strip_menu_text(str(nuke.root()[knob].value())) if knob else ""


def _strip_menu_text(name: str) -> str:
    """The space behind a menu's text: "default (sRGB)" means sRGB, "ACES/ACEScg" stands in a submenu, "a\\tb" is a
    value and its label."""
    name = name.partition("\t")[0].strip()
    if name.startswith("default (") and name.endswith(")"):
        name = name[len("default (") : -1]
    return name.rpartition("/")[2]


def _read_config_path(root: Any, knob: str) -> str:
    if knob not in root.knobs():
        return ""
    path = str(root[knob].value() or "")
    return path if path and os.path.isfile(path) else ""
