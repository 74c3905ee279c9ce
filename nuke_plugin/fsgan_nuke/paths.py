"""Where a node's files go when the artist names no place: a folder beside the script, by the node's full name."""

from __future__ import annotations

import os
import re
from typing import Any

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import stereo

WORK_FOLDER_NAME = "fsgan"


def get_result_pattern(node: Any, view: str = "") -> str:
    """name.####.exr of the node's frames; of one view, or with %V for the view's name where the script has several.

    Raises InputError for a script that was never saved, and for a path that two views would share.
    """
    name = make_flat_name(node)
    pattern = require_safe_path(
        read_named_path(node, "file") or f"{get_work_folder()}/{name}/{name}{_get_view_suffix()}.####.exr"
    )
    if not view:
        return pattern
    if any(
        one != view and stereo.fill_view(pattern, one) == stereo.fill_view(pattern, view)
        for one in stereo.list_node_views(node)
    ):
        raise InputError(
            f"{node.name()}: two views would write the same files; put {stereo.VIEW_VARIABLE} into Output > "
            f"file, or name one under Output > stereo views ({pattern})"
        )
    return stereo.fill_view(pattern, view)


def get_report_folder(node: Any, view: str) -> str:
    """Where the report on a node's frames of a view goes."""
    folder = os.path.dirname(get_result_pattern(node, view)) + "/report"
    return f"{folder}.{view}" if stereo.has_several_views() else folder


def get_input_pattern(node: Any, name: str) -> str:
    """Frames that the host writes of one of the node's inputs, with %V where the script has several views."""
    return require_safe_path(
        f"{get_work_folder()}/{make_flat_name(node)}/inputs/{name}/{name}{_get_view_suffix()}.####.exr"
    )


def can_show(node: Any, pattern: str) -> bool:
    """Whether frames may be those of this node: under the path that it names, or in a folder of its name beside its
    script, which may have had another name then."""
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
    """The path, if it may stand in one of the host's file knobs. Raises InputError: the host takes what is in brackets
    there for a command, and $ for a variable."""
    found = sorted(set(path) & set('[]{}$\\;"\n'))
    if found:
        raise InputError(
            f"Nuke reads {' '.join(found)} in a path as a command; save the script in another folder, or "
            f"name another path under Output > file, than {path}"
        )
    return path


def get_track_path(node: Any, view: str = "") -> str:
    """The track file of an FSGAN_Analyse, for a view. A path without %V that the artist has named is every view's."""
    name = make_flat_name(node)
    path = read_named_path(node, "track") or f"{get_work_folder()}/{name}/{name}{_get_view_suffix()}.track.json"
    return stereo.fill_view(path, view or stereo.list_views()[0])


def get_offset_path(node: Any, view: str) -> str:
    """The track file with an FSGAN_Analyse's offsets, for a view; always the node's own, whatever its track's place."""
    name = make_flat_name(node)
    return stereo.fill_view(f"{get_work_folder()}/{name}/{name}{_get_view_suffix()}.offset.track.json", view)


def read_named_path(node: Any, knob: str) -> str:
    """A path that the artist typed, Tcl and project folder resolved; "" where there is none."""
    if knob not in node.knobs() or not str(node[knob].value() or ""):
        return ""
    path = str(node[knob].getEvaluatedValue() if hasattr(node[knob], "getEvaluatedValue") else node[knob].value())
    # A pattern's frame and view were put in by the evaluation; wanted is the pattern.
    raw = str(node[knob].value())
    if re.search(r"#|%0?\d*d|%[Vv]", raw):
        path = raw
    if not os.path.isabs(path):
        base = get_script_folder()
        path = f"{base}/{path}"
    return path.replace("\\", "/")


def get_work_folder() -> str:
    """Raises InputError for a script that was never saved."""
    script = _get_script_path()
    stem = os.path.splitext(os.path.basename(script))[0]
    return f"{get_script_folder()}/{WORK_FOLDER_NAME}/{stem}"


def _get_script_path() -> str:
    return str(nuke.root()["name"].value() or "")


def get_script_folder() -> str:
    """Raises InputError for a script that was never saved."""
    script = _get_script_path()
    if script in ("", "Root"):
        raise InputError("the script has no file yet; save it first, or name a full path under Output > file")
    return os.path.dirname(os.path.abspath(script)).replace("\\", "/")


def make_flat_name(node: Any) -> str:
    """The node's full name as one word of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(node.fullName()))
