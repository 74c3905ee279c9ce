"""Finds the files that the job of a Nuke script reads, and the folders that it writes.

File names in a script may hold Tcl commands. The few that are common in file names are evaluated here, on text alone.
What only Nuke can evaluate, and what is not there, becomes a remark by the node's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fsgan_core.contract.errors import FsganError, InputError
from fsgan_core.contract.shot import Clip
from fsgan_core.farm.nuke_script import NukeScript, ScriptNode, split_list
from fsgan_core.plates.sequence import has_frame_token, open_clip
from fsgan_core.runtime.user_paths import is_plain_file

__all__ = ["ScriptAssets", "find_assets", "resolve_file_name"]

# Classes whose `file` is a sequence of pictures or a movie.
PICTURE_CLASSES = ("Read", "DeepRead")
WRITING_CLASSES = ("Write", "DeepWrite", "WriteGeo")
# Knobs that name a file to read, on nodes of any class.
FILE_KNOBS = ("file", "vfield_file", "cdl_file")
FSGAN_FILE_KNOBS = ("track",)
CONFIG_KNOBS = ("customOCIOConfigPath", "OCIOConfigPath")
MAX_COMMANDS = 64  # Tcl commands in one file name
_COMMAND = re.compile(r"\[([^\[\]]*)\]")
_VARIABLE = re.compile(r"\$env\((\w+)\)")
_SCRIPT_FOLDER = re.compile(r"python\s+\{?\s*nuke\.script_directory\(\)\s*\}?")
_SCRIPT_FILE = re.compile(r"python\s+\{?\s*nuke\.root\(\)\.name\(\)\s*\}?|(?:value|knob)\s+root\.name")
_PROJECT_FOLDER = re.compile(r"(?:value|knob)\s+root\.project_directory")
_VIEW_TOKEN = re.compile(r"%[Vv]")


@dataclass
class ScriptAssets:
    """The files of a script's job.

    Attributes:
        files: Files to read.
        input_folders: Folders to read as a whole.
        output_folders: Folders that the Writes write into.
        remarks: What could not be resolved or found, by the node's name.
    """

    files: list[str] = field(default_factory=list)
    input_folders: list[str] = field(default_factory=list)
    output_folders: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def find_assets(script: NukeScript, path: Path, writes: list[ScriptNode]) -> ScriptAssets:
    """Finds the files of a script's job.

    Args:
        script: The parsed script.
        path: The script's file, absolute.
        writes: The Writes that the job executes.
    """
    assets = ScriptAssets()
    for node in script.nodes.values():
        for knob in FSGAN_FILE_KNOBS if node.is_fsgan else FILE_KNOBS:
            if node.knobs.get(knob) and node.node_class not in WRITING_CLASSES:
                _add_input(assets, script, path, node, node.knobs[knob])
    for node in (*writes, *(node for node in script.nodes.values() if node.is_fsgan)):
        for name in _list_resolved(assets, script, path, node, node.knobs.get("file", "")):
            assets.output_folders.append(str(_drop_frame_folders(name).parent))
    config = next((script.root.knobs[knob] for knob in CONFIG_KNOBS if script.root.knobs.get(knob)), "")
    for config_file in _list_resolved(assets, script, path, script.root, config or os.environ.get("OCIO", "")):
        if is_plain_file(config_file):
            assets.files.append(str(config_file))
            assets.input_folders.append(str(config_file.parent))  # its look-up tables are in the same folder
        elif config:
            assets.remarks.append(f"the colour config {config_file} is not there")
    for names in (assets.files, assets.input_folders, assets.output_folders, assets.remarks):
        names[:] = dict.fromkeys(names)
    return assets


def resolve_file_name(text: str, script: NukeScript, path: Path) -> str | None:
    """Evaluates the Tcl in a file name and makes the name absolute.

    Args:
        text: The value of a knob.
        script: The script.
        path: The script's file, absolute.

    Returns:
        The name with its tokens for frame and view; None if only Nuke can evaluate it.
    """
    name = _evaluate_text(text, _make_values(script, path))
    return None if name is None else os.path.normpath(_find_project_folder(script, path) / Path(name))


def _add_input(assets: ScriptAssets, script: NukeScript, path: Path, node: ScriptNode, text: str) -> None:
    for name in _list_resolved(assets, script, path, node, text):
        if "://" in text or (not has_frame_token(str(name)) and node.node_class not in PICTURE_CLASSES):
            if is_plain_file(name):
                assets.files.append(str(name))
            elif "://" not in text:
                assets.remarks.append(f"{node.name}: {name} is not there")
            continue
        try:
            with open_clip(Clip(str(name))) as clip:
                numbers = clip.frames[:1] if clip.kind == "movie" else clip.frames
                assets.files += [str(clip.get_frame_path(number).absolute()) for number in numbers]
        except FsganError as error:
            assets.remarks.append(f"{node.name}: {error}")


def _list_resolved(assets: ScriptAssets, script: NukeScript, path: Path, node: ScriptNode, text: str) -> Iterator[Path]:
    """Yields the file names that a knob's text stands for, one for each view; adds a remark if only Nuke knows."""
    if not text:
        return
    name = resolve_file_name(text, script, path)
    if name is None:
        assets.remarks.append(
            f"{node.name or 'the script'}: only Nuke can evaluate the file name {text}; add its files to the job "
            "by hand"
        )
        return
    for view in _list_view_names(script) if _VIEW_TOKEN.search(name) else [""]:
        yield Path(name.replace("%V", view).replace("%v", view[:1]))


def _list_view_names(script: NukeScript) -> list[str]:
    """Lists the names of a script's views, from lines such as "left #ff0000"."""
    try:
        lines = [split_list(line) for line in script.root.knobs.get("views", "").splitlines()]
        return [split_list(words[0])[0] for words in lines if words and words[0].strip()] or ["main"]
    except InputError:
        return ["main"]


def _drop_frame_folders(name: Path) -> Path:
    """Cuts a file name off at the first folder that has a token for the frame."""
    for folder in reversed(name.parents):
        if folder.name and has_frame_token(folder.name):
            return folder
    return name


def _find_project_folder(script: NukeScript, path: Path) -> Path:
    """Returns the folder where relative names start: the script's own unless its settings name another."""
    text = script.root.knobs.get("project_directory", "")
    values = {**_make_values(script, path), _PROJECT_FOLDER: ""}
    return path.parent / (_evaluate_text(text, values) or "")


def _make_values(script: NukeScript, path: Path) -> Mapping[re.Pattern[str], str]:
    """The values of the commands without arguments that are known here."""
    project = script.root.knobs.get("project_directory", "")
    literal = "" if "[" in project or "$" in project else project
    return {_SCRIPT_FOLDER: str(path.parent), _SCRIPT_FILE: str(path), _PROJECT_FOLDER: literal or str(path.parent)}


def _evaluate_text(text: str, values: Mapping[re.Pattern[str], str]) -> str | None:
    """Replaces commands and variables, the innermost first; None if one is not known."""
    text = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), text)
    for _ in range(MAX_COMMANDS):
        match = _COMMAND.search(text)
        if match is None:
            break
        value = _run_command(match[1].strip(), values)
        if value is None or "[" in value or "]" in value:
            return None
        text = text[: match.start()] + value + text[match.end() :]
    return None if "[" in text or "$" in text else text


def _run_command(command: str, values: Mapping[re.Pattern[str], str]) -> str | None:
    for pattern, value in values.items():
        if pattern.fullmatch(command):
            return value
    verb, _, rest = command.partition(" ")
    if verb == "getenv":
        return os.environ.get(rest.strip())
    action, _, argument = rest.strip().partition(" ")
    if verb == "file" and action in _FILE_COMMANDS and argument.strip():
        return _FILE_COMMANDS[action](argument.strip().strip('"{}'))
    return None


_FILE_COMMANDS: Mapping[str, Callable[[str], str]] = {
    "dirname": lambda name: str(PurePosixPath(name).parent),
    "tail": lambda name: PurePosixPath(name).name,
    "rootname": lambda name: str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name,
    "extension": lambda name: PurePosixPath(name).suffix,
    "normalize": os.path.normpath,
}
