"""Paths of a node's files. By default they are in a folder beside the script, named by a hidden knob of the node.

The folder keeps its name when the node is renamed or the script gets a new version, so that nothing must be rendered
again.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from typing import Any

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import graph, stereo
from fsgan_nuke.host import keep_undo

WORK_FOLDER_NAME = "fsgan"
FILES_NAME_KNOB = "files_name"  # hidden: the name of the node's folder and files
VERSION_KNOB = "versioned"
OUTPUT_KNOB = "output_file"  # not "file": farm submitters collect a knob of that name as an input
_VERSION_SUFFIX = re.compile(r"[._-]?v\d+$", re.IGNORECASE)


def get_result_pattern(node: Any, view: str = "") -> str:
    """Returns the path pattern of the node's frames, name.####.exr.

    Args:
        node: The node.
        view: The view; "" keeps %V in the pattern if the script has several views.

    Raises:
        InputError: The script was never saved, the named path has no frame number, or two views would share the path.
    """
    named_path = read_named_path(node, OUTPUT_KNOB)
    if named_path and "#" not in named_path:
        raise InputError(
            f"{node.name()}: Output > file has no frame number, so every frame would overwrite the one before; "
            f"write it as name.####.exr ({named_path})"
        )
    own_path = f"{get_node_folder(node)}/{get_files_name(node)}{_get_view_suffix()}.####.exr" if not named_path else ""
    pattern = require_safe_path(named_path or own_path)
    if not view:
        return pattern
    if any(
        other_view != view and stereo.fill_view(pattern, other_view) == stereo.fill_view(pattern, view)
        for other_view in stereo.list_node_views(node)
    ):
        raise InputError(
            f"{node.name()}: two views would write the same files; put {stereo.VIEW_VARIABLE} into Output > "
            f"file, or name one under Output > stereo views ({pattern})"
        )
    return stereo.fill_view(pattern, view)


def get_report_folder(node: Any, view: str) -> str:
    """Returns the folder for the report on a node's frames of one view."""
    folder = os.path.dirname(get_result_pattern(node, view)) + "/report"
    return f"{folder}.{view}" if stereo.has_several_views() else folder


def get_input_pattern(node: Any, name: str) -> str:
    """Returns the path pattern of an input that Nuke writes, with %V if the script has several views."""
    return require_safe_path(f"{get_node_folder(node)}/inputs/{name}/{name}{_get_view_suffix()}.####.exr")


def can_show(node: Any, pattern: str) -> bool:
    """Whether frames can belong to this node.

    They do under the path that the node names, or in the node's folder beside its script; the script may have had
    another name when they were rendered.
    """
    pattern = to_hash_pattern(pattern)
    if read_named_path(node, OUTPUT_KNOB) == pattern:
        return True
    folder, name = os.path.split(os.path.dirname(pattern))
    script = _get_script_path()
    if name != get_files_name(node) or script in ("", "Root"):
        return False
    return os.path.dirname(folder) == f"{os.path.dirname(os.path.abspath(script))}/{WORK_FOLDER_NAME}".replace(
        "\\", "/"
    )


def _get_view_suffix() -> str:
    return f".{stereo.VIEW_VARIABLE}" if stereo.has_several_views() else ""


def require_safe_path(path: str) -> str:
    """Checks that a path can be the value of a Nuke file knob, and returns it.

    Raises:
        InputError: It has characters that Nuke would evaluate, such as brackets and $.
    """
    unsafe = sorted(set(path) & set('[]{}$\\;"\n'))
    if unsafe:
        raise InputError(
            f"Nuke reads {' '.join(unsafe)} in a path as a command; save the script in another folder, or "
            f"set another path in Output > file. The path is {path}"
        )
    return path


def get_track_path(node: Any, view: str = "") -> str:
    """Returns the track file of an FSGAN_Analyse for one view. A path without %V is shared by all views."""
    name = get_files_name(node)
    path = read_named_path(node, "track") or f"{get_node_folder(node)}/{name}{_get_view_suffix()}.track.json"
    return stereo.fill_view(path, view or stereo.list_views()[0])


def get_atlas_path(node: Any, view: str) -> str:
    """Returns the file that Bake atlas writes for one view; it is in the node's own folder.

    Raises:
        InputError: The script was never saved.
    """
    path = f"{get_node_folder(node)}/{get_files_name(node)}{_get_view_suffix()}.atlas.exr"
    return stereo.fill_view(require_safe_path(path), view)


def get_offset_path(node: Any, view: str) -> str:
    """Returns the track file with an FSGAN_Analyse's offsets for one view; it is always in the node's own folder."""
    path = f"{get_node_folder(node)}/{get_files_name(node)}{_get_view_suffix()}.offset.track.json"
    return stereo.fill_view(path, view)


def get_drawing_pattern(node: Any, view: str = "") -> str:
    """Returns the path pattern of an FSGAN_Analyse's drawings; without a view, with %V if there are several views."""
    pattern = require_safe_path(
        f"{get_node_folder(node)}/drawing/{get_files_name(node)}{_get_view_suffix()}.drawing.####.exr"
    )
    return stereo.fill_view(pattern, view) if view else pattern


def read_named_path(node: Any, knob: str) -> str:
    """Reads a path that the artist typed, with Tcl and project folder resolved; "" if there is none.

    A frame number in it is written as #, however the artist or Nuke wrote it.
    """
    if knob not in node.knobs() or not str(node[knob].value() or ""):
        return ""
    path = str(node[knob].getEvaluatedValue() if hasattr(node[knob], "getEvaluatedValue") else node[knob].value())
    # The evaluation fills in frame and view, but the pattern itself is needed.
    raw = str(node[knob].value())
    if re.search(r"#|%0?\d*d|%[Vv]", raw):
        path = raw
    if not os.path.isabs(path):
        base = get_script_folder()
        path = f"{base}/{path}"
    return to_hash_pattern(path.replace("\\", "/"))


def to_hash_pattern(path: str) -> str:
    """Writes the frame number of a path as #, since a file knob gives back name.%04d.exr for name.####.exr."""
    return re.sub(r"%(?:0?(\d+))?d", lambda match: "#" * int(match[1] or 1), path)


def get_work_folder(keep_version: bool = False) -> str:
    """Returns the folder for the files of this script, without its version unless `keep_version` is set.

    Raises:
        InputError: The script was never saved.
    """
    folder = get_script_folder()
    stem = os.path.splitext(os.path.basename(_get_script_path()))[0]
    if not keep_version:
        stem = _VERSION_SUFFIX.sub("", stem) or stem
    return f"{folder}/{WORK_FOLDER_NAME}/{stem}"


def get_node_folder(node: Any) -> str:
    """Returns the folder for the files of a node. Raises InputError if the script was never saved."""
    owner = graph.find_swap(node) or node
    keep_version = VERSION_KNOB in owner.knobs() and bool(graph.resolve_link(owner[VERSION_KNOB]).value())
    return f"{get_work_folder(keep_version)}/{get_files_name(node)}"


def get_files_name(node: Any) -> str:
    """Returns the name of a node's folder and files: that of its hidden knob, else its own name."""
    named = str(node[FILES_NAME_KNOB].value() or "") if FILES_NAME_KNOB in node.knobs() else ""
    return named or make_flat_name(node)


def give_files_name(node: Any) -> bool:
    """Gives a new, loaded or pasted node a name for its files that no other node of the script has.

    Returns:
        Whether the name is a new one, so that files under the old name belong to another node.
    """
    if FILES_NAME_KNOB not in node.knobs():
        return False
    taken = {
        get_files_name(other)
        for other in graph.list_all_nodes()
        if other.fullName() != node.fullName() and FILES_NAME_KNOB in other.knobs()
    }
    old_name = str(node[FILES_NAME_KNOB].value() or "")
    if old_name and old_name not in taken:
        return False
    shown = str(node["result"].value() or "") if "result" in node.knobs() else ""
    name = make_flat_name(node)
    shows_own_files = os.path.basename(os.path.dirname(shown)) == name and not old_name
    if name in taken or (_has_files(name) and not shows_own_files):
        name = f"{name}_{secrets.token_hex(3)}"
    with keep_undo():
        node[FILES_NAME_KNOB].setValue(name)
    return bool(old_name)


_own_names: dict[str, str] = {}  # full name of a node -> the name of its files, as this session knows it


def remember_files_name(node: Any) -> None:
    """Remembers the name of a node's files, in case that a preset of Nuke overwrites it."""
    if FILES_NAME_KNOB in node.knobs():
        _own_names[str(node.fullName())] = str(node[FILES_NAME_KNOB].value() or "")


def restore_files_name(node: Any) -> bool:
    """Gives a node the name of its own files back after a preset of Nuke has set that of another node.

    Nuke stores every knob in a preset that is not at its default, hidden ones too.

    Returns:
        Whether the name was another one.
    """
    own_name = _own_names.get(str(node.fullName()), "")
    if FILES_NAME_KNOB not in node.knobs() or not own_name or node[FILES_NAME_KNOB].value() == own_name:
        return False
    with keep_undo():
        node[FILES_NAME_KNOB].setValue(own_name)
    return True


def _has_files(name: str) -> bool:
    """Whether a folder of that name exists already, for example of a deleted node."""
    try:
        return os.path.exists(f"{get_work_folder()}/{name}")
    except InputError:
        return False


def measure_files(node: Any) -> tuple[int, int]:
    """Measures the node's folder: how many files, and their bytes. Raises InputError if the script was never saved."""
    sizes = [
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(get_node_folder(node))
        for file in files
    ]
    return len(sizes), sum(sizes)


def delete_files(node: Any) -> None:
    """Deletes the node's folder. Files under a path that the artist named are kept.

    Raises:
        InputError: The script was never saved.
        OSError: A file cannot be deleted.
    """
    folder = get_node_folder(node)
    if os.path.isdir(folder):
        shutil.rmtree(folder)


def _get_script_path() -> str:
    return str(nuke.root()["name"].value() or "")


def needs_saved_script(node: Any) -> bool:
    """Whether a node has no place for its files yet: its script was never saved, and it names no full path."""
    knob = OUTPUT_KNOB if OUTPUT_KNOB in node.knobs() else "track"
    is_named = knob in node.knobs() and os.path.isabs(str(node[knob].value() or ""))
    return _get_script_path() in ("", "Root") and not is_named


def get_script_folder() -> str:
    """Returns the script's folder. Raises InputError if the script was never saved."""
    script = _get_script_path()
    if script in ("", "Root"):
        raise InputError("the script has no file yet; save it first, or set a full path in Output > file")
    return os.path.dirname(os.path.abspath(script)).replace("\\", "/")


def make_flat_name(node: Any) -> str:
    """Turns the node's full name into one word for file names."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(node.fullName()))
