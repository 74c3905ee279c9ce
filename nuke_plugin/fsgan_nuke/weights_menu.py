"""The menu of installed weights beside each `network` knob, and the note that says what `auto` means on this machine.

Both are filled from the worker's answer to a DescribeRequest while a panel is open. The menus are not parameters: a
choice is written into `network`. A name typed there stays even if it is not installed, and the menu says so.
"""

from __future__ import annotations

import time
from typing import Any, Mapping

import nuke

from fsgan_core.contract import protocol
from fsgan_nuke import graph
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import call_later
from fsgan_nuke.request import PendingRequest

MENU_SUFFIX, NOTE_SUFFIX = "_menu", "_note"  # follow the name of the knob beside them
BEST_INSTALLED = "best installed"
FRESH_SECONDS = 60.0  # an answer is used for so long

_answers: dict[str, tuple[float, Mapping[str, Any]]] = {}  # weights.allow -> time, answer
_pending_answers: set[str] = set()


# The content, as plain data.


def list_network_items(answer: Mapping[str, Any], role: str, current: str) -> tuple[list[str], str]:
    """Lists the menu items of a role: installed and allowed weights, with the licence class in brackets.

    Args:
        answer: The worker's answer to a DescribeRequest.
        role: The role.
        current: The value of `network`.

    Returns:
        The items, and the one that stands for `current`.
    """
    there = {
        str(one["name"]): f"{one['name']} ({one['licence']})"
        for one in answer.get("weights", ())
        if one["role"] == role and one["installed"] and one.get("allowed", True)
    }
    items = [BEST_INSTALLED, *there.values()]
    if not current:
        return items, BEST_INSTALLED
    if current in there:
        return items, there[current]
    known = any(one["name"] == current and one["installed"] for one in answer.get("weights", ()))
    a_file = "/" in current or "\\" in current or current.endswith((".safetensors", ".pth"))
    note = "a file" if a_file else "not allowed" if known else "not installed"
    return [*items, f"{current} ({note})"], f"{current} ({note})"


def parse_network_item(item: str) -> str:
    """Returns the value of `network` for an item of its menu."""
    return "" if item == BEST_INSTALLED else item.rpartition(" (")[0]


def describe_engine(answer: Mapping[str, Any], stage: str, engine: str) -> tuple[str, str]:
    """Describes an engine on this machine, as short text and tooltip: what auto chooses, or what the engine lacks."""
    lacking = answer.get("engines", {}).get(stage, {})
    if engine != "auto":
        return ("cannot run here", str(lacking[engine])) if lacking.get(engine) else ("", "")
    taken = str(answer.get("auto", {}).get(stage, ""))
    more = "\n".join(f"{name}: {lacks or 'can run here'}" for name, lacks in lacking.items())
    return (f"now: {taken}" if taken else "no engine can run here"), more


# On the nodes.


def list_menus(node: Any) -> list[tuple[str, str]]:
    """Lists the menus of a node: the prefix of their knobs, and their role."""
    return [
        (prefix, stage)
        for stage, prefix in graph.list_node_stages(node)
        if f"{prefix}network{MENU_SUFFIX}" in node.knobs()
    ]


def apply_menu_choice(node: Any, knob: str) -> bool:
    """Writes the choice in a menu into its `network`; returns whether `knob` is such a menu."""
    if not knob.endswith(f"network{MENU_SUFFIX}"):
        return False
    wanted = parse_network_item(str(node[knob].value()))
    network = graph.resolve_link(node[knob[: -len(MENU_SUFFIX)]])
    if str(network.value()) != wanted:
        network.setValue(wanted)
    return True


def refresh_menus(node: Any) -> None:
    """Fills a node's menus, at once or when the worker has answered. On the main thread; returns at once."""
    if not list_menus(node):
        return
    allow = str(graph.resolve_link(node["weights_allow"]).value())
    when, answer = _answers.get(allow, (0.0, {}))
    if answer:
        fill_menus(node, answer)
    if allow in _pending_answers or (answer and time.monotonic() - when < FRESH_SECONDS):
        return
    _pending_answers.add(allow)
    name = str(node.fullName())

    def on_answer(request: PendingRequest) -> None:
        _pending_answers.discard(allow)
        if request.result is not None:
            _answers[allow] = (time.monotonic(), request.result)
            call_later(_fill_named_menus, name, request.result)

    get_shared_client().request(protocol.DescribeRequest(allow=allow), on_end=on_answer)


def list_devices() -> list[str]:
    """Lists the devices that networks can run on, "auto" first; empty before the worker's first answer."""
    found = next((answer.get("devices", ()) for _, answer in _answers.values()), ())
    return ["auto", *map(str, found)] if found else []


def forget_answers() -> None:
    """Drops the answers; called after the worker's Python or weights have changed."""
    _answers.clear()


def _fill_named_menus(name: str, answer: Mapping[str, Any]) -> None:
    node = nuke.toNode(name)
    if node is not None:
        fill_menus(node, answer)


def fill_menus(node: Any, answer: Mapping[str, Any]) -> None:
    """Fills a node's menus and notes from the worker's answer."""
    for prefix, role in list_menus(node):
        items, shown = list_network_items(answer, role, str(graph.resolve_link(node[f"{prefix}network"]).value()))
        menu = node[f"{prefix}network{MENU_SUFFIX}"]
        if list(menu.values()) != items:
            menu.setValues(items)
        if menu.value() != shown:
            menu.setValue(shown)
        short, more = describe_engine(answer, role, str(graph.resolve_link(node[f"{prefix}engine"]).value()))
        note = node[f"{prefix}engine{NOTE_SUFFIX}"]
        note.setValue(short)
        note.setTooltip(more)
    node["about"].setValue(f"FSGAN {answer.get('version', '')}, networks on {answer.get('device', '')}")
