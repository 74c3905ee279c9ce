"""Where a node's files go when the artist names no place: a folder beside the script, by the node's full name."""

from __future__ import annotations

import os
import re
from typing import Any

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import stereo

FOLDER = "fsgan"


def result_pattern(node: Any, view: str = "") -> str:
    """name.####.exr of the node's frames; of one view, or with %V for the view's name where the script has several.

    Raises InputError for a script that was never saved, and for a path that two views would share.
    """
    name = flat_name(node)
    pattern = safe(named(node, "file") or f"{work_folder()}/{name}/{name}{_of_view()}.####.exr")
    if not view:
        return pattern
    if any(one != view and stereo.filled(pattern, one) == stereo.filled(pattern, view) for one in stereo.of(node)):
        raise InputError(f"{node.name()}: two views would write the same files; put {stereo.VARIABLE} into Output > "
                         f"file, or name one under Output > stereo views ({pattern})")
    return stereo.filled(pattern, view)


def report_folder(node: Any, view: str) -> str:
    """Where the report on a node's frames of a view goes."""
    folder = os.path.dirname(result_pattern(node, view)) + "/report"
    return f"{folder}.{view}" if stereo.several() else folder


def input_pattern(node: Any, name: str) -> str:
    """Frames that the host writes of one of the node's inputs, with %V where the script has several views."""
    return safe(f"{work_folder()}/{flat_name(node)}/inputs/{name}/{name}{_of_view()}.####.exr")


def may_show(node: Any, pattern: str) -> bool:
    """Whether frames may be those of this node: under the path that it names, or in a folder of its name beside its
    script, which may have had another name then."""
    if named(node, "file") == pattern:
        return True
    folder, name = os.path.split(os.path.dirname(pattern))
    script = _script()
    if name != flat_name(node) or script in ("", "Root"):
        return False
    return os.path.dirname(folder) == f"{os.path.dirname(os.path.abspath(script))}/{FOLDER}".replace("\\", "/")


def _of_view() -> str:
    return f".{stereo.VARIABLE}" if stereo.several() else ""


def safe(path: str) -> str:
    """The path, if it may stand in one of the host's file knobs. Raises InputError: the host takes what is in brackets
    there for a command, and $ for a variable."""
    found = sorted(set(path) & set("[]{}$\\;\"\n"))
    if found:
        raise InputError(f"Nuke reads {' '.join(found)} in a path as a command; save the script in another folder, or "
                         f"name another path under Output > file, than {path}")
    return path


def track_path(node: Any, view: str = "") -> str:
    """The track file of an FSGAN_Analyse, for a view. A path without %V that the artist has named is every view's."""
    name = flat_name(node)
    path = named(node, "track") or f"{work_folder()}/{name}/{name}{_of_view()}.track.json"
    return stereo.filled(path, view or stereo.names()[0])


def offset_path(node: Any, view: str) -> str:
    """The track file with an FSGAN_Analyse's offsets, for a view; always the node's own, whatever its track's place."""
    name = flat_name(node)
    return stereo.filled(f"{work_folder()}/{name}/{name}{_of_view()}.offset.track.json", view)


def named(node: Any, knob: str) -> str:
    """A path that the artist typed, Tcl and project folder resolved; "" where there is none."""
    if knob not in node.knobs() or not str(node[knob].value() or ""):
        return ""
    path = str(node[knob].getEvaluatedValue() if hasattr(node[knob], "getEvaluatedValue") else node[knob].value())
    # A pattern's frame and view were put in by the evaluation; wanted is the pattern.
    raw = str(node[knob].value())
    if re.search(r"#|%0?\d*d|%[Vv]", raw):
        path = raw
    if not os.path.isabs(path):
        base = script_folder()
        path = f"{base}/{path}"
    return path.replace("\\", "/")


def work_folder() -> str:
    """Raises InputError for a script that was never saved."""
    script = _script()
    stem = os.path.splitext(os.path.basename(script))[0]
    return f"{script_folder()}/{FOLDER}/{stem}"


def _script() -> str:
    return str(nuke.root()["name"].value() or "")


def script_folder() -> str:
    """Raises InputError for a script that was never saved."""
    script = _script()
    if script in ("", "Root"):
        raise InputError("the script has no file yet; save it first, or name a full path under Output > file")
    return os.path.dirname(os.path.abspath(script)).replace("\\", "/")


def flat_name(node: Any) -> str:
    """The node's full name as one word of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(node.fullName()))
