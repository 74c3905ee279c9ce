"""The menu of installed weights beside each `network` knob, and the note that says what `auto` means on this machine.

Both are filled from the worker's answer to a DescribeRequest while a panel is open. The menus are not parameters: a
choice is written into `network`. A name typed there stays even if it is not installed, and the menu says so.
"""

from __future__ import annotations

import time
from typing import Any, Mapping

from fsgan_core.contract import protocol
from fsgan_core.contract.version import __version__
from fsgan_nuke import graph, presets_menu
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import call_later, keep_undo
from fsgan_nuke.request import PendingRequest

MENU_SUFFIX, NOTE_SUFFIX = "_menu", "_note"  # follow the name of the knob beside them
BEST_INSTALLED = "best installed"
FRESH_SECONDS = 60.0  # an answer is used for so long

_answers: dict[str, tuple[float, Mapping[str, Any]]] = {}  # weights.allow -> time, answer
_pending_answers: set[str] = set()


# The content, as plain data.


def list_network_items(description: Mapping[str, Any], role: str, current: str) -> tuple[list[str], str]:
    """Lists the menu items of a role: installed and allowed weights, with the licence class in brackets.

    Args:
        description: The worker's answer to a DescribeRequest.
        role: The role.
        current: The value of `network`.

    Returns:
        The items, and the one that stands for `current`.
    """
    installed_items = {
        str(entry["name"]): f"{entry['name']} ({entry['licence']})"
        for entry in description.get("weights", ())
        if entry["role"] == role and entry["installed"] and entry.get("allowed", True)
    }
    items = [BEST_INSTALLED, *installed_items.values()]
    if not current:
        return items, BEST_INSTALLED
    if current in installed_items:
        return items, installed_items[current]
    is_installed = any(entry["name"] == current and entry["installed"] for entry in description.get("weights", ()))
    is_file = "/" in current or "\\" in current or current.endswith((".safetensors", ".pth"))
    note = "a file" if is_file else "not allowed" if is_installed else "not installed"
    return [*items, f"{current} ({note})"], f"{current} ({note})"


def parse_network_item(item: str) -> str:
    """Returns the value of `network` for an item of its menu."""
    return "" if item == BEST_INSTALLED else item.rpartition(" (")[0]


def describe_engine(description: Mapping[str, Any], stage: str, engine: str) -> tuple[str, str]:
    """Describes an engine on this machine, as short text and tooltip: what auto chooses, or what the engine lacks."""
    missing_parts = description.get("engines", {}).get(stage, {})
    if engine != "auto":
        return ("cannot run here", str(missing_parts[engine])) if missing_parts.get(engine) else ("", "")
    chosen_engine = str(description.get("auto", {}).get(stage, ""))
    tooltip = "\n".join(f"{name}: {lacks or 'can run here'}" for name, lacks in missing_parts.items())
    return (f"now: {chosen_engine}" if chosen_engine else "no engine can run here"), tooltip


# On the nodes.


def list_menus(node: Any) -> list[tuple[str, str]]:
    """Lists the menus of a node: the prefix of their knobs, and their role."""
    return [
        (prefix, stage)
        for stage, prefix in graph.list_node_stages(node)
        if f"{prefix}network{MENU_SUFFIX}" in node.knobs()
    ]


def apply_menu_choice(node: Any, knob: str) -> bool:
    """Writes the choice in a menu into its `network`, or a preset into the node; returns whether `knob` is a menu."""
    if knob == presets_menu.PRESET_MENU:
        presets_menu.apply_preset(node, next((description for _, description in _answers.values()), {}))
        return True
    if not knob.endswith(f"network{MENU_SUFFIX}"):
        return False
    network_name = parse_network_item(str(node[knob].value()))
    network = graph.resolve_link(node[knob[: -len(MENU_SUFFIX)]])
    if str(network.value()) != network_name:
        network.setValue(network_name)
    return True


def refresh_menus(node: Any) -> None:
    """Fills a node's menus, at once or when the worker has answered. On the main thread; returns at once."""
    if not list_menus(node):
        return
    allow = str(graph.resolve_link(node["weights_allow"]).value())
    when, description = _answers.get(allow, (0.0, {}))
    if description:
        fill_menus(node, description)
    if allow in _pending_answers or (description and time.monotonic() - when < FRESH_SECONDS):
        return
    _pending_answers.add(allow)
    name = str(node.fullName())

    def on_answer(request: PendingRequest) -> None:
        _pending_answers.discard(allow)
        if request.result is not None:
            _answers[allow] = (time.monotonic(), request.result)
            call_later(presets_menu.register_presets, request.result)
            call_later(_fill_named_menus, name, request.result)

    get_shared_client().request(protocol.DescribeRequest(allow=allow), on_end=on_answer)


def describe_core(description: Mapping[str, Any]) -> str:
    """Describes the worker's version and device; says it if the version is not the plugin's.

    >>> describe_core({"version": "0.0.1", "device": "cpu"}).partition(" (")[0]
    '0.0.1, networks on cpu'
    """
    version = str(description.get("version", ""))
    note = "" if version == __version__ else f" (the plugin is {__version__}; install the same version)"
    return f"{version}, networks on {description.get('device', '')}{note}"


def list_devices() -> list[str]:
    """Lists the devices that networks can run on, "auto" first; empty before the worker's first answer."""
    devices = next((description.get("devices", ()) for _, description in _answers.values()), ())
    return ["auto", *map(str, devices)] if devices else []


def forget_answers() -> None:
    """Drops the answers; called after the worker's Python or weights have changed."""
    _answers.clear()


def _fill_named_menus(name: str, description: Mapping[str, Any]) -> None:
    node = graph.find_node(name)
    if node is not None:
        fill_menus(node, description)


def fill_menus(node: Any, description: Mapping[str, Any]) -> None:
    """Fills a node's menus and notes from the worker's answer."""
    with keep_undo():
        _fill_knobs(node, description)


def _fill_knobs(node: Any, description: Mapping[str, Any]) -> None:
    for prefix, role in list_menus(node):
        items, shown_item = list_network_items(
            description, role, str(graph.resolve_link(node[f"{prefix}network"]).value())
        )
        menu = node[f"{prefix}network{MENU_SUFFIX}"]
        if list(menu.values()) != items:
            menu.setValues(items)
        if menu.value() != shown_item:
            menu.setValue(shown_item)
        short, tooltip = describe_engine(description, role, str(graph.resolve_link(node[f"{prefix}engine"]).value()))
        note = node[f"{prefix}engine{NOTE_SUFFIX}"]
        note.setValue(short or " ")  # an empty text may show something else
        note.setTooltip(tooltip)
    presets_menu.fill_preset_menu(node, description)
    node["about"].setValue(describe_core(description))
