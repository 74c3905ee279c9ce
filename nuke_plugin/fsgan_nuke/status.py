"""The status of a node: up to date, stale (and why), rendering, or the error."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from typing import Any, Mapping

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


def make_keys_status(answer: Mapping[str, Any]) -> Status:
    """Makes a status from the worker's answer to a KeysRequest."""
    total, stale, missing = int(answer.get("total", 0)), str(answer.get("stale", "")), str(answer.get("missing", ""))
    changed = [f"{one['frames']}: {one['text']}" for one in answer.get("changed", ())]
    if not stale and not missing:
        return Status(UP_TO_DATE, f"up to date ({total} frames)")
    if not stale and not answer.get("done"):
        return Status(NOT_RENDERED, f"not rendered ({total} frames)")
    parts = []
    if stale:
        why = sorted({one["text"] for one in answer.get("changed", ()) if one.get("text")})
        parts.append(f"stale {stale}" + (f" ({', '.join(why)})" if why else ""))
    if missing:
        parts.append(f"missing {missing}")
    return Status(STALE, "; ".join(parts), "\n".join(changed))


def combine_view_statuses(found: Mapping[str, Status]) -> Status:
    """Combines the statuses of several views; each view is named if they differ."""
    shown = list(found.values())
    if len(set(shown)) == 1:
        return replace(shown[0], line=shown[0].line + (f", {len(shown)} views" if len(shown) > 1 else ""))
    worst = min((one.state for one in shown), key=(FAILED, STALE, NOT_RENDERED, RENDERING, UP_TO_DATE).index)
    more = "\n".join(f"{view}: {one.details or one.line}" for view, one in found.items())
    return Status(worst, "; ".join(f"{view}: {one.line}" for view, one in found.items()), more)


def combine_stage_statuses(found: Mapping[str, Status]) -> Status:
    """Combines the statuses inside a swap: shows the most urgent one, with the stage's name except for Blend."""
    order = (RENDERING, FAILED, STALE, NOT_RENDERED, UP_TO_DATE)
    stage = min(reversed(list(found)), key=lambda name: order.index(found[name].state))
    shown = found[stage]
    named = stage == "Blend" or shown.line.startswith(f"{stage}: ")
    return shown if named else replace(shown, line=f"{stage}: {shown.line}")


# Steps of the worker before the first frame.
_STEP_LABELS = {"analyse": "analysing", "recognise": "finding the likeness"}


def make_rendering_status(done: int, total: int, step: str = "") -> Status:
    """Makes the status of a running render."""
    doing = _STEP_LABELS.get(step, "rendering")
    return Status(RENDERING, f"{doing} {done}/{total}" if total else (step or "starting"), step)


def make_error_status(error: BaseException) -> Status:
    """Makes the status of a failed render."""
    text = str(error) or type(error).__name__
    line = text.splitlines()[0]
    return Status(FAILED, line if len(line) <= MAX_LINE_LENGTH else line[: MAX_LINE_LENGTH - 3] + "...", text)


def show_status(node: Any, status: Status) -> None:
    """Shows a status on a node. On the main thread."""
    knobs = node.knobs()
    line = clean_text(status.line)
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
