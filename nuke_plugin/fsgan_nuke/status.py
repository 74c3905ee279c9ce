"""The status of a node: up to date, stale (and why), rendering, or the error."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional

from fsgan_core.contract.param_fields import iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_nuke.request import PendingRequest

UP_TO_DATE, STALE, RENDERING, FAILED, NOT_RENDERED = "up to date", "stale", "rendering", "error", "nothing rendered"
STATE_COLOURS = {
    UP_TO_DATE: "#5fae6b",
    STALE: "#d9a13b",
    RENDERING: "#5f93d9",
    FAILED: "#e0605a",
    NOT_RENDERED: "#999999",
}
MAX_LINE_LENGTH = 120  # characters of an error on a node; the tooltip has the whole text


@dataclass(frozen=True)
class Status:
    """A status.

    Attributes:
        state: A key of STATE_COLOURS.
        line: Short text for the node.
        details: Whole text for the tooltip, "" if it is the same.
    """

    state: str
    line: str
    details: str = ""


def make_keys_status(result: Mapping[str, Any]) -> Status:
    """Makes a status from the worker's answer to a KeysRequest."""
    total, stale, missing = int(result.get("total", 0)), str(result.get("stale", "")), str(result.get("missing", ""))
    changed = [f"{entry['frames']}: {entry['text']}" for entry in result.get("changed", ())]
    if not stale and not missing:
        return Status(UP_TO_DATE, f"up to date ({total} frames)")
    if not stale and not result.get("done"):
        return Status(NOT_RENDERED, f"not rendered ({total} frames)")
    parts = []
    if stale:
        reasons = sorted({entry["text"] for entry in result.get("changed", ()) if entry.get("text")})
        parts.append(f"stale {stale}" + (f" ({', '.join(reasons)})" if reasons else ""))
    if missing:
        parts.append(f"missing {missing}")
    return Status(STALE, "; ".join(parts), "\n".join(changed))


def combine_view_statuses(view_statuses: Mapping[str, Status]) -> Status:
    """Combines the statuses of several views; each view is named if they differ."""
    statuses = list(view_statuses.values())
    if len(set(statuses)) == 1:
        return replace(statuses[0], line=statuses[0].line + (f", {len(statuses)} views" if len(statuses) > 1 else ""))
    worst = min((status.state for status in statuses), key=(FAILED, STALE, NOT_RENDERED, RENDERING, UP_TO_DATE).index)
    details = "\n".join(f"{view}: {status.details or status.line}" for view, status in view_statuses.items())
    return Status(worst, "; ".join(f"{view}: {status.line}" for view, status in view_statuses.items()), details)


def combine_stage_statuses(stage_statuses: Mapping[str, Status]) -> Status:
    """Combines the statuses inside a swap: shows the most urgent one, with the stage's name except for Blend."""
    order = (RENDERING, FAILED, STALE, NOT_RENDERED, UP_TO_DATE)
    stage = min(reversed(list(stage_statuses)), key=lambda name: order.index(stage_statuses[name].state))
    urgent = stage_statuses[stage]
    named = stage == "Blend" or urgent.line.startswith(f"{stage}: ")
    return urgent if named else replace(urgent, line=f"{stage}: {urgent.line}")


# Steps of the worker before the first frame.
_STEP_LABELS = {"analyse": "analysing"}


def make_rendering_status(done: int, total: int, step: str = "") -> Status:
    """Makes the status of a running render."""
    doing = _STEP_LABELS.get(step, "rendering")
    return Status(RENDERING, f"{doing} {done}/{total}" if total else (step or "starting"), step)


def make_error_status(error: BaseException) -> Status:
    """Makes the status of a failed render."""
    text = use_knob_words(str(error) or type(error).__name__)
    line = text.splitlines()[0]
    return Status(FAILED, line if len(line) <= MAX_LINE_LENGTH else line[: MAX_LINE_LENGTH - 3] + "...", text)


def make_answer_status(request: Optional[PendingRequest]) -> Status:
    """Makes a status from the worker's answer; None means that the inputs are not rendered either."""
    if request is None:
        return Status(NOT_RENDERED, "not rendered, and its inputs are not rendered either")
    return make_error_status(request.error) if request.error else make_keys_status(request.result or {})


def use_knob_words(text: str) -> str:
    """Replaces parameters and flags in a message of the worker by the labels that the artist sees.

    >>> use_knob_words("set output.compression to zip, or --frames to 1-5")
    "set the knob 'compression' to zip, or the knob 'range' to 1-5"
    """

    def name_knob(match: re.Match[str]) -> str:
        stage, _, name = match[0].partition(".")
        labels = {field.name: field.label for field in iterate_param_fields(STAGE_PARAMS[stage])}
        return f"the knob '{labels[name]}'" if name in labels else match[0]

    # The nodes have no knob for it; their 'missing frames' is about what is shown.
    text = text.replace(", or set output.missing to hold or skip", "")
    text = re.sub(rf"\b({'|'.join(STAGE_PARAMS)})\.[a-z_]+(?![\w.])", name_knob, text)
    return re.sub(rf"(?<![\w-])({'|'.join(_FLAG_WORDS)})(?![\w-])", lambda match: _FLAG_WORDS[match[0]], text)


# What the command line sets by a flag, an artist sets here.
_FLAG_WORDS = {
    "--frames": "the knob 'range'",
    "--output": "Output > file",
    "--source": "the input 'source'",
    "--target": "the input 'target'",
    "--driver": "the input 'driver'",
    "--holdout": "the input 'holdout'",
    "--source-person": "the person on the source's FSGAN_Analyse",
    "--target-person": "the person on the target's FSGAN_Analyse",
    "--driver-person": "the person on the driver's FSGAN_Analyse",
    "--check": "the button Doctor",
}


def show_status(node: Any, status: Status) -> None:
    """Shows a status on a node. On the main thread."""
    from fsgan_nuke.host import keep_undo  # the rest of this module is used without nuke

    knobs = node.knobs()
    line = clean_text(status.line)
    with keep_undo():
        if "status_line" in knobs:
            node["status_line"].setValue(line)
        if "status" in knobs:
            colour = STATE_COLOURS[status.state]
            node["status"].setValue(f'<font color="{colour}">{html.escape(line)}</font>')
            node["status"].setTooltip(html.escape(clean_text(status.details or status.line)))


def clean_text(text: str) -> str:
    """Replaces the characters that Tcl or the HTML of a label would interpret."""
    return text.translate(_CLEAN_TABLE)


_CLEAN_TABLE = str.maketrans({"[": "(", "]": ")", "{": "(", "}": ")", "$": "", "\\": "/", "<": "(", '"': "'"})
