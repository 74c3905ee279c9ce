"""Presets: named sets of stage parameters in TOML files, ours and a studio's.

    summary = "our look for close-ups"
    extends = "as-published"          # optional: another preset, whose values come first

    [stages.mask]
    feather = 0.1

A preset is found by the name of its file without .toml, in the folders of $FSGAN_PRESETS, the user's folder and the
package, in this order. A path that ends in .toml names any file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import ParameterError
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.plain_data import parse_toml
from fsgan_core.contract.shot import Stages
from fsgan_core.runtime.text_files import read_text_file
from fsgan_core.runtime.user_paths import expand_home

__all__ = ["Preset", "describe_preset", "list_presets", "load_preset"]

PRESETS_VARIABLE = "FSGAN_PRESETS"  # folders, separated as in PATH
PRESET_SUFFIX = ".toml"
PRESET_KEYS = ("summary", "extends", "stages")
MAX_EXTENDS = 8  # presets on which one is built
MAX_PRESET_BYTES = 1 << 20


@dataclass(frozen=True)
class Preset:
    """A named set of parameters.

    Attributes:
        name: Name, or the path of a file that was named by its path.
        summary: What it is for, one line.
        path: The file.
        settings: "stage.parameter" -> value, those of the preset that it extends included.
    """

    name: str
    summary: str
    path: Path
    settings: Mapping[str, Any]


def list_presets() -> tuple[Preset, ...]:
    """Lists the presets of all folders by name.

    Raises:
        ParameterError: A file cannot be read, or sets what does not exist.
    """
    names = {path.name.removesuffix(PRESET_SUFFIX) for folder in _list_folders() for path in _iterate_files(folder)}
    return tuple(load_preset(name) for name in sorted(names))


def load_preset(name: str) -> Preset:
    """Reads a preset.

    Args:
        name: Its name, or the path of its file.

    Raises:
        ParameterError: There is none of this name, the file cannot be read, or it sets what does not exist.

    >>> load_preset("as-published").settings["blend.colour"]
    0.0
    """
    preset = _read_preset(name, 0)
    try:
        Stages().with_settings(preset.settings)
    except ParameterError as error:
        raise ParameterError(f"{preset.path}: {error}") from error
    return preset


def describe_preset(stages: Stages) -> str:
    """Describes the preset that parameters started from: its name, and which of its values were changed since.

    Args:
        stages: The parameters.

    Returns:
        Such as "as-published" or "as-published, changed: blend.mix"; "" without a preset.

    Raises:
        ParameterError: As for `load_preset`.
    """
    if not stages.preset:
        return ""
    settings = load_preset(stages.preset).settings
    as_set = Stages().with_settings(settings)
    changed = [
        f"{stage}.{name}"
        for stage in STAGE_PARAMS
        for name, value in getattr(as_set, stage).to_dict().items()
        if f"{stage}.{name}" in settings and getattr(stages, stage).to_dict()[name] != value
    ]
    name = Path(stages.preset).name.removesuffix(PRESET_SUFFIX)
    return f"{name}, changed: {' '.join(changed)}" if changed else name


def _list_folders() -> tuple[Path, ...]:
    import platformdirs

    studio_folders = [
        expand_home(part) for part in os.environ.get(PRESETS_VARIABLE, "").split(os.pathsep) if part.strip()
    ]
    user_folder = Path(platformdirs.user_config_dir("fsgan", appauthor=False)) / "presets"
    return (*studio_folders, user_folder, Path(__file__).parents[1] / "presets")


def _iterate_files(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.name.endswith(PRESET_SUFFIX))
    except OSError:
        return  # a folder that is not there has no presets


def _find_file(name: str) -> Path:
    if name.endswith(PRESET_SUFFIX):
        return expand_home(name)
    files = {
        path.name.removesuffix(PRESET_SUFFIX): path
        for folder in reversed(_list_folders())
        for path in _iterate_files(folder)
    }
    if name not in files:
        near = get_close_matches(name, files, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(files))}"
        raise ParameterError(f"there is no preset {name!r}; {hint} (`fsgan params --presets` lists them)")
    return files[name]


def _read_preset(name: str, depth: int) -> Preset:
    path = _find_file(name)
    if depth > MAX_EXTENDS:
        raise ParameterError(f"{path}: presets extend one another in a circle, or more than {MAX_EXTENDS} deep")
    try:
        data = parse_toml(read_text_file(path, MAX_PRESET_BYTES))
    except (OSError, ValueError) as error:
        raise ParameterError(f"the preset {path} cannot be read: {error}") from error
    unknown = [key for key in data if key not in PRESET_KEYS]
    tables = data.get("stages", {})
    if unknown or not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        what = f"it has no key {unknown[0]!r}" if unknown else "[stages] must hold tables, like [stages.mask]"
        raise ParameterError(f"{path}: not a preset: {what}; known are {', '.join(PRESET_KEYS)}")
    base = _read_preset(str(data["extends"]), depth + 1).settings if data.get("extends") else {}
    own = {f"{stage}.{key}": value for stage, table in tables.items() for key, value in table.items()}
    return Preset(name, str(data.get("summary", "")), path, {**base, **own})
