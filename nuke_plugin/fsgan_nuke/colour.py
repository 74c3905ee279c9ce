"""Reads the script's colour management and translates it for the worker."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import nuke

from fsgan_core.contract.errors import ColourError

# Nuke's own (non-OCIO) space names -> aliases in the ACES configs, which the worker uses. No config has Nuke's other
# curves; pictures in those spaces go through an internal Write, as linear.
NATIVE_SPACES = {"linear": "lin_rec709_srgb", "sRGB": "srgb_tx"}

NUKE_CONFIG_PREFIX = "fn-nuke_"  # of the configs that come with Nuke; behind it stands the name of OCIO's own config


@dataclass(frozen=True)
class ProjectColour:
    """A script's colour management.

    Attributes:
        config: The OCIO config, for `colour.config`; "" is the worker's default.
        working_space: Space of pictures inside the script, by its name in the config.
        management: "Nuke" or "OCIO".
    """

    config: str
    working_space: str
    management: str


def read_project_colour() -> ProjectColour:
    """Reads the project settings.

    Raises:
        ColourError: The script uses a config that the worker cannot open, or a working space that it cannot use.
    """
    root = nuke.root()
    management = str(root["colorManagement"].value())
    working_space = _strip_menu_text(str(root["workingSpaceLUT"].value()))
    if management != "OCIO":
        if working_space not in NATIVE_SPACES:
            raise ColourError(
                f"the script's working space is {working_space}; without OCIO the nodes work in linear only. "
                "Set Project Settings > Color to linear, or use OCIO."
            )
        return ProjectColour(os.environ.get("OCIO", ""), NATIVE_SPACES[working_space], management)
    if os.environ.get("OCIO"):
        return ProjectColour(os.environ["OCIO"], working_space, management)
    name = str(root["OCIO_config"].value())
    path = (
        _read_config_path(root, "customOCIOConfigPath")
        if name == "custom"
        else _read_config_path(root, "OCIOConfigPath")
    )
    if path:
        return ProjectColour(path, working_space, management)
    builtin = name[len(NUKE_CONFIG_PREFIX) :] if name.startswith(NUKE_CONFIG_PREFIX) else name
    if builtin.startswith(("cg-config-", "studio-config-")):
        return ProjectColour(f"ocio://{builtin}", working_space, management)
    raise ColourError(
        f"the script uses the OCIO config {name}, but its file is unknown. Set the environment variable "
        "OCIO to the file, or choose it as a custom config in the Project Settings."
    )


def read_space(node: Any, colour: ProjectColour) -> str:
    """Returns the colour space of a Read's file by the worker's name; "" if only Nuke can convert it."""
    if node["raw"].value():
        return colour.working_space
    name = _strip_menu_text(str(node["colorspace"].value()))
    if name == "default":
        name = _get_default_space(node)
    if colour.management == "OCIO":
        return name
    return NATIVE_SPACES.get(name, "")


def _get_default_space(node: Any) -> str:
    """Returns the project's default space for files like the Read's; "" if the kind of file is not certain."""
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
    r"""Returns the space of a menu item: sRGB for "default (sRGB)", ACEScg for "ACES/ACEScg", a for "a\tlabel"."""
    name = name.partition("\t")[0].strip()
    if name.startswith("default (") and name.endswith(")"):
        name = name[len("default (") : -1]
    return name.rpartition("/")[2]


def _read_config_path(root: Any, knob: str) -> str:
    if knob not in root.knobs():
        return ""
    path = str(root[knob].getEvaluatedValue() or "")  # the path may hold Tcl and variables
    return path if path and os.path.isfile(path) else ""
