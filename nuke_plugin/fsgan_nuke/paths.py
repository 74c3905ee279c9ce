"""Where a node's files go when the artist names no place: a folder beside the script, by the node's full name."""

from __future__ import annotations

import os
import re
from typing import Any

import nuke

from fsgan_core.contract.errors import InputError

FOLDER = "fsgan"


def result_pattern(node: Any) -> str:
    """name.####.exr of the node's frames. Raises InputError for a script that was never saved."""
    chosen = named(node, "file")
    if chosen:
        return safe(chosen)
    name = flat_name(node)
    return safe(f"{work_folder()}/{name}/{name}.####.exr")


def report_folder(pattern: str) -> str:
    """Where the report on a node's frames goes."""
    return os.path.dirname(pattern) + "/report"


def input_pattern(node: Any, name: str) -> str:
    """Frames that the host writes of one of the node's inputs."""
    return safe(f"{work_folder()}/{flat_name(node)}/inputs/{name}/{name}.####.exr")


def safe(path: str) -> str:
    """The path, if it may stand in one of the host's file knobs. Raises InputError: the host takes what is in brackets
    there for a command, and $ for a variable."""
    found = sorted(set(path) & set("[]{}$\\;\"\n"))
    if found:
        raise InputError(f"Nuke reads {' '.join(found)} in a path as a command; save the script in another folder, or "
                         f"name another path under Output > file, than {path}")
    return path


def track_path(node: Any) -> str:
    """The track file of an FSGAN_Analyse."""
    return named(node, "track") or f"{work_folder()}/{flat_name(node)}/{flat_name(node)}.track.json"


def named(node: Any, knob: str) -> str:
    """A path that the artist typed, Tcl and project folder resolved; "" where there is none."""
    if knob not in node.knobs() or not str(node[knob].value() or ""):
        return ""
    path = str(node[knob].getEvaluatedValue() if hasattr(node[knob], "getEvaluatedValue") else node[knob].value())
    # A pattern's frame was put in by the evaluation; the worker wants the pattern.
    raw = str(node[knob].value())
    if re.search(r"#|%0?\d*d", raw):
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
