"""The menu of presets: choosing one writes its values into the knobs of the node, and its name into `preset`.

It is filled from the worker's answer to a DescribeRequest, like the menus of weights. The worker applies the preset
named in `preset` first, so that settings without a knob on the node (colour) follow it too; the knobs come after it.
"""

from __future__ import annotations

from typing import Any, Mapping

import nuke

from fsgan_core.contract.stage_graph import NODES
from fsgan_nuke import graph

PRESET_KNOB, PRESET_MENU = "preset", "preset_menu"
NO_PRESET = "none"


def list_preset_items(description: Mapping[str, Any], current: str) -> tuple[list[str], str]:
    """Lists the menu's items, and the one that stands for the value of `preset`.

    Args:
        description: The worker's answer to a DescribeRequest.
        current: The value of `preset`.
    """
    items = [NO_PRESET, *map(str, description.get("presets", {}))]
    if current and current not in items:
        items.append(current)
    return items, current or NO_PRESET


def fill_preset_menu(node: Any, description: Mapping[str, Any]) -> None:
    """Fills a node's menu of presets, if it has one."""
    if PRESET_MENU not in node.knobs():
        return
    items, shown = list_preset_items(description, str(node[PRESET_KNOB].value()))
    menu = node[PRESET_MENU]
    if list(menu.values()) != items:
        menu.setValues(items)
    if menu.value() != shown:
        menu.setValue(shown)


def apply_preset(node: Any, description: Mapping[str, Any]) -> None:
    """Writes the choice in the menu into `preset`, and the preset's values into the knobs that the node has."""
    name = str(node[PRESET_MENU].value())
    if name == NO_PRESET:
        node[PRESET_KNOB].setValue("")
        return
    settings = description.get("presets", {}).get(name, {}).get("settings", {})
    node[PRESET_KNOB].setValue(name)
    for stage, prefix in graph.list_node_stages(node):
        for setting, value in settings.items():
            owner, _, parameter = setting.partition(".")
            if owner == stage and prefix + parameter in node.knobs():
                knob = graph.resolve_link(node[prefix + parameter])
                knob.setValue(", ".join(value) if isinstance(value, list) else value)


def register_presets(description: Mapping[str, Any]) -> None:
    """Adds the presets to Nuke's own menu of presets, in the panel of every node that has a knob for them."""
    for name, preset in description.get("presets", {}).items():
        for kind, values in make_nuke_presets(str(name), preset.get("settings", {})).items():
            nuke.setPreset(kind, str(name), values)


def make_nuke_presets(name: str, settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Makes Nuke's presets of one of ours: node class -> knob -> value, as in a script.

    A node's own presets are about its own stages. FSGAN_Analyse and FSGAN_Drive have no knob `preset`.
    """
    presets = {}
    for kind, declaration in NODES.items():
        values = {
            prefix + setting.partition(".")[2]: _format_value(value)
            for stage, prefix in declaration.stages
            for setting, value in settings.items()
            if setting.partition(".")[0] == stage and setting != "blend.mix"
        }
        if kind not in ("FSGAN_Analyse", "FSGAN_Drive"):
            values[PRESET_KNOB] = name
        if values:
            presets[kind] = values
    return presets


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def get_preset(node: Any) -> str:
    """Returns the name of a node's preset, "" without one."""
    return str(node[PRESET_KNOB].value()).strip() if PRESET_KNOB in node.knobs() else ""
