"""Finds the space of an OCIO config that a file, a file rule or a half-remembered name means."""

from __future__ import annotations

import functools
from collections.abc import Callable
from difflib import get_close_matches

import numpy as np
import PyOpenColorIO as ocio

from fsgan_core.contract.errors import ColourError
from fsgan_core.plates.rec709 import SCENE_LINEAR_ROLE, Rec709Conversion, compute_chromaticity_matrix
from fsgan_core.plates.stated_colour import StatedColour
from fsgan_core.runtime.memory import register_cache

SRGB = "sRGB"
"""Valid with every config: IEC 61966-2-1, Rec.709 primaries, with the curve continued below 0 and above 1."""
SRGB_INTEROP_IDS = ("srgb_rec709_scene", "srgb_rec709_display")

# Linear interop ID -> its chromaticities (red, green, blue, white), for configs without interop IDs.
LINEAR_CHROMATICITIES = {
    "lin_ap0_scene": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "lin_ap1_scene": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767),
    "lin_rec709_scene": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    "lin_p3d65_scene": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
    "lin_rec2020_scene": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
    "lin_adobergb_scene": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.329),
}
_MATRIX_TOLERANCE = 5e-3  # chromaticities in files are rounded to three or four digits


def suggest_spaces(config: ocio.Config, wanted: str) -> str:
    """Suggests spaces for a name that the config does not have, as the end of a message."""
    roles = [str(role) for role in config.getRoleNames()]
    known = {SRGB.casefold(): SRGB, **{role.casefold(): role for role in roles}}
    spaces = []
    for space in config.getColorSpaces():
        spaces.append(str(space.getName()))
        for alias in (space.getName(), *space.getAliases()):
            known[alias.casefold()] = alias
    text = wanted.casefold()
    near = [known[match] for match in get_close_matches(text, known, n=4)]
    near += [full for key, full in known.items() if text in key and full not in near][: 4 - len(near)]
    if near:
        return f"did you mean {', '.join(repr(match) for match in near)}?"
    return f"spaces: {', '.join(spaces)}; roles: {', '.join(roles)}."


def find_space_by_rule(config: ocio.Config, path: str) -> str:
    """Finds the space of the config's file rule for a path; empty if there is none.

    Two kinds of rule do not count: the default rule, and the ready-made ones of OCIO's own configs, which configs made
    from them have too. Those give all EXR files the ACES exchange space, but plates in compositing are in the working
    space. Configs of version 1 have no rules; OCIO would search the path for the name of any space.
    """
    if not path or config.getMajorVersion() < 2 or config.filepathOnlyMatchesDefaultRule(path):
        return ""
    name, index = config.getColorSpaceFromFilepath(path)
    if _describe_rule(config, index) in _list_builtin_rules():
        return ""
    space = config.getColorSpace(name)
    return "" if space is None or space.isData() else str(space.getName())


def _describe_rule(config: ocio.Config, index: int) -> tuple[str, ...]:
    rules = config.getFileRules()
    space = config.getColorSpace(rules.getColorSpace(index))
    name = "" if space is None else str(space.getName())
    return (rules.getPattern(index), rules.getExtension(index), rules.getRegex(index), name)


@functools.cache
def _list_builtin_rules() -> frozenset[tuple[str, ...]]:
    names = [entry[0] for entry in ocio.BuiltinConfigRegistry().getBuiltinConfigs()]
    configs = [ocio.Config.CreateFromFile(f"ocio://{name}") for name in names]
    return frozenset(
        _describe_rule(config, index) for config in configs for index in range(config.getFileRules().getNumEntries())
    )


register_cache(_list_builtin_rules.cache_clear)


def find_stated_space(
    config: ocio.Config, stated: StatedColour, get_conversion: Callable[[str], Rec709Conversion]
) -> str:
    """Finds the space that a file's statement means; empty if the config has none.

    Args:
        config: The config.
        stated: What the file says.
        get_conversion: Gives the conversion of a space to Rec.709. Raises ColourError.
    """
    if stated.name in SRGB_INTEROP_IDS or stated.name.casefold() == SRGB.casefold():
        return SRGB
    if stated.name:
        found = _find_space_by_name(config, stated.name)
        if found:
            return found
    chromaticities = stated.chromaticities or LINEAR_CHROMATICITIES.get(stated.name, ())
    return _find_space_by_primaries(config, chromaticities, get_conversion) if chromaticities else ""


def _find_space_by_name(config: ocio.Config, name: str) -> str:
    space = config.getColorSpace(name)
    if space is not None:
        return str(space.getName())
    for known in config.getColorSpaceNames(ocio.SEARCH_REFERENCE_SPACE_ALL, ocio.COLORSPACE_ALL):
        space = config.getColorSpace(known)
        if space is not None and space.getInteropID() == name:
            return str(known)
    return ""


def _find_space_by_primaries(
    config: ocio.Config, chromaticities: tuple[float, ...], get_conversion: Callable[[str], Rec709Conversion]
) -> str:
    """Finds the scene-linear space with these primaries, that of the role scene_linear first."""
    try:
        wanted = compute_chromaticity_matrix(chromaticities)
    except ValueError:
        return ""
    first = config.getColorSpace(SCENE_LINEAR_ROLE)
    names = [] if first is None else [str(first.getName())]
    for space in config.getColorSpaces(ocio.SEARCH_REFERENCE_SPACE_SCENE, ocio.COLORSPACE_ACTIVE):
        if not space.isData() and space.getEncoding() in ("", "scene-linear"):
            names.append(str(space.getName()))
    for name in dict.fromkeys(names):
        try:
            matrix = get_conversion(name).matrix
        except ColourError:
            continue
        if matrix is not None and np.abs(matrix - wanted).max() < _MATRIX_TOLERANCE:
            return name
    return ""
