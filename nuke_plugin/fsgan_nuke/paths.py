"""Paths of a node's files. By default they are in a folder beside the script, with the node's name."""

from __future__ import annotations

import os
import re
from typing import Any

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import stereo

WORK_FOLDER_NAME = "fsgan"


def get_result_pattern(node: Any, view: str = "") -> str:
    """Returns the path pattern of the node's frames, name.####.exr.

    Args:
        node: The node.
        view: The view; "" keeps %V in the pattern if the script has several views.

    Raises:
        InputError: The script was never saved, or two views would share the path.
    """
    name = make_flat_name(node)
    pattern = require_safe_path(
        read_named_path(node, "file") or f"{get_work_folder()}/{name}/{name}{_get_view_suffix()}.####.exr"
    )
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
    return require_safe_path(
        f"{get_work_folder()}/{make_flat_name(node)}/inputs/{name}/{name}{_get_view_suffix()}.####.exr"
    )


def can_show(node: Any, pattern: str) -> bool:
    """Whether frames can belong to this node.

    They do under the path that the node names, or in a folder with its name beside its script; the script may have had
    another name when they were rendered.
    """
    if read_named_path(node, "file") == pattern:
        return True
    folder, name = os.path.split(os.path.dirname(pattern))
    script = _get_script_path()
    if name != make_flat_name(node) or script in ("", "Root"):
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
    name = make_flat_name(node)
    path = read_named_path(node, "track") or f"{get_work_folder()}/{name}/{name}{_get_view_suffix()}.track.json"
    return stereo.fill_view(path, view or stereo.list_views()[0])


def get_atlas_path(node: Any, view: str) -> str:
    """Returns the file that Bake atlas writes for one view; it is in the node's own folder.

    Raises:
        InputError: The script was never saved.
    """
    name = make_flat_name(node)
    path = f"{get_work_folder()}/{name}/{name}{_get_view_suffix()}.atlas.exr"
    return stereo.fill_view(require_safe_path(path), view)


def get_offset_path(node: Any, view: str) -> str:
    """Returns the track file with an FSGAN_Analyse's offsets for one view; it is always in the node's own folder."""
    name = make_flat_name(node)
    return stereo.fill_view(f"{get_work_folder()}/{name}/{name}{_get_view_suffix()}.offset.track.json", view)


def read_named_path(node: Any, knob: str) -> str:
    """Reads a path that the artist typed, with Tcl and project folder resolved; "" if there is none."""
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
    return path.replace("\\", "/")


def get_work_folder() -> str:
    """Returns the folder for the files of this script. Raises InputError if the script was never saved."""
    script = _get_script_path()
    stem = os.path.splitext(os.path.basename(script))[0]
    return f"{get_script_folder()}/{WORK_FOLDER_NAME}/{stem}"


def _get_script_path() -> str:
    return str(nuke.root()["name"].value() or "")


def get_script_folder() -> str:
    """Returns the script's folder. Raises InputError if the script was never saved."""
    script = _get_script_path()
    if script in ("", "Root"):
        raise InputError("the script has no file yet; save it first, or set a full path in Output > file")
    return os.path.dirname(os.path.abspath(script)).replace("\\", "/")


def make_flat_name(node: Any) -> str:
    """Turns the node's full name into one word for file names."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(node.fullName()))
