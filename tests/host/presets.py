"""Presets of nodes, as the wrench menu of a panel saves and applies them.

Seen in published user_presets.py files: every knob that is not at its default is stored as it would be in a script,
`selected` and `label` included, name and position excluded. So a gizmo's hidden knobs are stored too, except those
with DO_NOT_WRITE. That applying one calls knobChanged for each knob is an interpretation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.host.knobs import FLAGS, Array_Knob
from tests.host.nodes import Node

if TYPE_CHECKING:
    from tests.host.session import Host

LEFT_OUT = ("name", "xpos", "ypos")


def presets(host: Host) -> dict[str, Callable[..., Any]]:
    stored: dict[tuple[str, str, bool], dict[str, str]] = host.presets

    def put(nodeClassName: str, presetName: str, knobValues: dict[str, Any], user: bool) -> bool:
        if not all(isinstance(value, str) for value in knobValues.values()):
            raise TypeError("a preset holds text, as in a script")
        stored[nodeClassName, presetName, user] = dict(knobValues)
        return True

    def save(node: Node, presetName: str) -> bool:
        values = {
            name: knob.toScript(isinstance(knob, Array_Knob))
            for name, knob in node._knobs.items()
            if name not in LEFT_OUT and not knob._flags & FLAGS["DO_NOT_WRITE"] and _is_changed(knob)
        }
        return put(node.Class(), presetName, values, True)

    def apply(nodeName: str, presetName: str, node: Node | None, user: bool) -> None:
        target = node or host.find(nodeName)
        if target is None:
            raise ValueError(f"no node {nodeName!r}")
        host.require_gui("a preset")
        target._panel_open = True
        for name, value in stored[target.Class(), presetName, user].items():
            target[name].fromScript(value)

    return {
        "setPreset": lambda nodeClassName, presetName, knobValues: put(nodeClassName, presetName, knobValues, False),
        "setUserPreset": lambda nodeClassName, presetName, knobValues: put(nodeClassName, presetName, knobValues, True),
        "saveUserPreset": save,
        "applyPreset": lambda nodeName, presetName, node=None: apply(nodeName, presetName, node, False),
        "applyUserPreset": lambda nodeName, presetName, node=None: apply(nodeName, presetName, node, True),
    }


def _is_changed(knob: Any) -> bool:
    return bool(knob._persistent) and knob._text() != knob._default_text
