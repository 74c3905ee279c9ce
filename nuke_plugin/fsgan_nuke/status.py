"""What a node says of itself: up to date, stale and why, rendering, or the error."""

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
MAX_LINE_LENGTH = 120  # letters of an error beside a node; all of it is in the tooltip


@dataclass(frozen=True)
class Status:
    """state: one of the above. line: a short text, for the node. more: the whole text, for the tooltip."""

    state: str
    line: str
    details: str = ""


def make_keys_status(answer: Mapping[str, Any]) -> Status:
    """From the worker's answer to `keys`."""
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
    """One status for several views, each named where they differ."""
    shown = list(found.values())
    if len(set(shown)) == 1:
        return replace(shown[0], line=shown[0].line + (f", {len(shown)} views" if len(shown) > 1 else ""))
    worst = min((one.state for one in shown), key=(FAILED, STALE, NOT_RENDERED, RENDERING, UP_TO_DATE).index)
    more = "\n".join(f"{view}: {one.details or one.line}" for view, one in found.items())
    return Status(worst, "; ".join(f"{view}: {one.line}" for view, one in found.items()), more)


def combine_stage_statuses(found: Mapping[str, Status]) -> Status:
    """What a swap says for the nodes inside it: of the one that needs attention most, by name but for the last one."""
    order = (RENDERING, FAILED, STALE, NOT_RENDERED, UP_TO_DATE)
    stage = min(reversed(list(found)), key=lambda name: order.index(found[name].state))
    shown = found[stage]
    named = stage == "Blend" or shown.line.startswith(f"{stage}: ")
    return shown if named else replace(shown, line=f"{stage}: {shown.line}")


# What the worker does before the first frame.
_STEP_LABELS = {"analyse": "analysing", "recognise": "finding the likeness"}


def make_rendering_status(done: int, total: int, step: str = "") -> Status:
    doing = _STEP_LABELS.get(step, "rendering")
    return Status(RENDERING, f"{doing} {done}/{total}" if total else (step or "starting"), step)


def make_error_status(error: BaseException) -> Status:
    text = str(error) or type(error).__name__
    line = text.splitlines()[0]
    return Status(FAILED, line if len(line) <= MAX_LINE_LENGTH else line[: MAX_LINE_LENGTH - 3] + "...", text)


def show_status(node: Any, status: Status) -> None:
    """Writes it onto the node. On the main thread."""
    knobs = node.knobs()
    line = clean_text(status.line)
    if "status_line" in knobs:
        node["status_line"].setValue(line)
    if "status" in knobs:
        colour = STATE_COLOURS[status.state]
        node["status"].setValue(f'<font color="{colour}">{html.escape(line)}</font>')
        node["status"].setTooltip(html.escape(clean_text(status.details or status.line)))


def clean_text(text: str) -> str:
    """Text that neither Tcl nor the label's HTML takes for anything else, however often it is evaluated."""
    return text.translate(_CLEAN_TABLE)


_CLEAN_TABLE = str.maketrans({"[": "(", "]": ")", "{": "(", "}": ")", "$": "", "\\": "/", "<": "(", '"': "'"})
