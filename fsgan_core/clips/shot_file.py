"""Shot files: TOML on disk to `contract.shot.Shot` and back.

In a shot file a relative path starts at the folder that holds the shot file, so that a job's folder can be moved as a
whole and any machine can start the render from any working directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fsgan_core.contract.errors import FsganError, ShotError
from fsgan_core.contract.plain_data import parse_toml
from fsgan_core.contract.shot import Clip, Shot, parse_person
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.text_files import read_text_file

__all__ = ["format_shot", "load_shot", "parse_shot", "save_shot"]

MAX_SHOT_BYTES = 1 << 20
_NAMED_SHOTS = 3  # of a folder, in a message
SHOT_HEADER = """\
# An FSGAN shot. Parameters that are not written here have their defaults: `fsgan params` lists them all.
# Render it with: fsgan render {name}
"""


def load_shot(path: Path | str) -> Shot:
    """Reads a shot file; relative paths are resolved against the file's folder.

    Raises:
        ShotError: The file is missing, unreadable or not TOML, or its keys are unknown or contradictory.
        ParameterError: A parameter is out of range.
    """
    path = Path(path)
    if path.is_dir():
        shots = sorted(path.glob("*.toml"))[:_NAMED_SHOTS]
        hint = f"name a shot file in it: {', '.join(map(str, shots))}" if shots else "it holds no shot file (*.toml)"
        raise ShotError(f"{path} is a folder; {hint}")
    try:
        text = read_text_file(path, MAX_SHOT_BYTES)
    except FileNotFoundError:
        raise ShotError(f"there is no shot file {path}") from None
    except (OSError, ValueError) as error:
        raise ShotError(f"cannot read the shot file {path}: {getattr(error, 'strerror', '') or error}") from error
    folder = path.absolute().parent
    try:
        shot = parse_shot(text, folder)
    except FsganError as error:
        raise type(error)(f"{path}: {error}") from error
    return _map_paths(shot, lambda given: given if _is_absolute(given) else os.path.normpath(folder / given))


def parse_shot(text: str, folder: Path | None = None) -> Shot:
    r"""Parses TOML text as a shot; paths stay as they are written.

    Args:
        text: The text.
        folder: Where the file of a preset is looked for if its path is relative; None is the working directory.

    Raises:
        ShotError: The text is not TOML, or its keys are unknown or contradictory.
        ParameterError: A parameter is out of range.

    >>> shot = parse_shot('target = "plate.####.exr"\nsource = "anna.mov"\n[output]\npath = "out.####.exr"\n')
    >>> shot.target.path
    'plate.####.exr'
    """
    try:
        data = parse_toml(text)
    except ValueError as error:
        raise ShotError(f"this is not TOML: {error}") from error
    stages = data.get("stages")
    if folder is not None and isinstance(stages, dict):
        preset = str(stages.get("preset", ""))
        if preset.endswith(".toml") and not _is_absolute(preset):
            data = {**data, "stages": {**stages, "preset": os.path.normpath(folder / preset)}}
    return Shot.from_dict(data)


def format_shot(shot: Shot, name: str = "shot.toml") -> str:
    """Formats a shot as TOML text, paths as they are; values equal to their defaults are left out."""
    import tomli_w

    return SHOT_HEADER.format(name=name) + "\n" + tomli_w.dumps(shot.to_dict())


def save_shot(path: Path | str, shot: Shot) -> None:
    """Writes a shot file, whole or not at all.

    Relative paths of `shot` are taken from the working directory. Paths beside or below the shot file are written
    relative to it, the rest as absolute paths.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(path)
    folder = path.absolute().parent
    text = format_shot(_map_paths(shot, lambda given: _make_portable(given, folder)), path.name)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _make_portable(path: str, folder: Path) -> str:
    absolute = Path(os.path.normpath(Path(path).absolute()))
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else str(absolute)


def _is_absolute(path: str) -> bool:
    return Path(path).is_absolute() or path.startswith("~")


def _map_paths(shot: Shot, change: Callable[[str], str]) -> Shot:
    """The same shot with every path changed."""

    def map_clip_paths(clip: Clip) -> Clip:
        person = change(clip.person) if "person_reference" in parse_person(clip.person) else clip.person
        return replace(clip, path=change(clip.path), track=change(clip.track) if clip.track else "", person=person)

    stages = shot.stages
    if stages.analyse.person_reference:
        reference = change(stages.analyse.person_reference)
        stages = replace(stages, analyse=stages.analyse.replace(person_reference=reference))
    config = stages.colour.config
    if config and "://" not in config:
        stages = replace(stages, colour=stages.colour.replace(config=change(config)))
    return replace(
        shot,
        source=tuple(map_clip_paths(source) for source in shot.source),
        target=map_clip_paths(shot.target),
        output=replace(shot.output, path=change(shot.output.path)),
        holdout=map_clip_paths(shot.holdout) if shot.holdout is not None else None,
        stages=stages,
    )
