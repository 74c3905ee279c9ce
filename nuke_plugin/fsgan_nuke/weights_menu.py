"""What is installed, on the nodes: the menu of weights beside each `network`, and what `auto` means on this machine.

Filled from the worker's answer to `describe` while a panel is open. The menus are no parameters: what is chosen in them
is written into `network`, and a name that is typed there and not installed stays, and is shown as such.
"""

from __future__ import annotations

import time
from typing import Any, Mapping

import nuke

from fsgan_core.contract import protocol
from fsgan_nuke import graph
from fsgan_nuke.client import shared
from fsgan_nuke.host import later
from fsgan_nuke.request import Request

MENU, NOTE = "_menu", "_note"  # after the name of the knob that they stand beside
BEST = "best installed"
FRESH = 60.0  # seconds for which an answer holds

_known: dict[str, tuple[float, Mapping[str, Any]]] = {}  # by what is allowed
_asked: set[str] = set()


# What is shown, as plain data.


def network_items(answer: Mapping[str, Any], role: str, typed: str) -> tuple[list[str], str]:
    """The menu of a role's weights, and which of its items `network` stands for. Allowed ones alone; the
    licence's class in brackets."""
    there = {str(one["name"]): f"{one['name']} ({one['licence']})" for one in answer.get("weights", ())
             if one["role"] == role and one["installed"] and one.get("allowed", True)}
    items = [BEST, *there.values()]
    if not typed:
        return items, BEST
    if typed in there:
        return items, there[typed]
    known = any(one["name"] == typed and one["installed"] for one in answer.get("weights", ()))
    a_file = "/" in typed or "\\" in typed or typed.endswith((".safetensors", ".pth"))
    note = "a file" if a_file else "not allowed" if known else "not installed"
    return [*items, f"{typed} ({note})"], f"{typed} ({note})"


def network_of(item: str) -> str:
    """The text of `network` for an item of its menu."""
    return "" if item == BEST else item.rpartition(" (")[0]


def engine_note(answer: Mapping[str, Any], stage: str, engine: str) -> tuple[str, str]:
    """What an engine comes to here, short and in full: for auto which one that is, else what it lacks, if anything."""
    lacking = answer.get("engines", {}).get(stage, {})
    if engine != "auto":
        return ("cannot run here", str(lacking[engine])) if lacking.get(engine) else ("", "")
    taken = str(answer.get("auto", {}).get(stage, ""))
    more = "\n".join(f"{name}: {lacks or 'can run here'}" for name, lacks in lacking.items())
    return (f"now: {taken}" if taken else "no engine can run here"), more


# On the nodes.


def menus_of(node: Any) -> list[tuple[str, str]]:
    """Each menu of weights: the prefix of its knobs, and its role."""
    return [(prefix, stage) for stage, prefix in graph.stages_of(node) if f"{prefix}network{MENU}" in node.knobs()]


def take(node: Any, knob: str) -> bool:
    """Writes what was chosen in a menu into its `network`; whether `knob` is such a menu."""
    if not knob.endswith(f"network{MENU}"):
        return False
    wanted = network_of(str(node[knob].value()))
    network = graph.behind(node[knob[:-len(MENU)]])
    if str(network.value()) != wanted:
        network.setValue(wanted)
    return True


def refresh(node: Any) -> None:
    """Fills a node's menus, now or when the worker has answered. On the main thread; returns at once."""
    if not menus_of(node):
        return
    allow = str(graph.behind(node["weights_allow"]).value())
    when, answer = _known.get(allow, (0.0, {}))
    if answer:
        fill(node, answer)
    if allow in _asked or (answer and time.monotonic() - when < FRESH):
        return
    _asked.add(allow)
    name = str(node.fullName())

    def ended(request: Request) -> None:
        _asked.discard(allow)
        if request.result is not None:
            _known[allow] = (time.monotonic(), request.result)
            later(_fill_named, name, request.result)

    shared().request(protocol.Describe(allow=allow), on_end=ended)


def devices() -> list[str]:
    """What networks can run on, "auto" first; empty where the worker has not said it yet."""
    found = next((answer.get("devices", ()) for _, answer in _known.values()), ())
    return ["auto", *map(str, found)] if found else []


def forget() -> None:
    """After the worker's Python or its weights have changed."""
    _known.clear()


def _fill_named(name: str, answer: Mapping[str, Any]) -> None:
    node = nuke.toNode(name)
    if node is not None:
        fill(node, answer)


def fill(node: Any, answer: Mapping[str, Any]) -> None:
    for prefix, role in menus_of(node):
        items, shown = network_items(answer, role, str(graph.behind(node[f"{prefix}network"]).value()))
        menu = node[f"{prefix}network{MENU}"]
        if list(menu.values()) != items:
            menu.setValues(items)
        if menu.value() != shown:
            menu.setValue(shown)
        short, more = engine_note(answer, role, str(graph.behind(node[f"{prefix}engine"]).value()))
        note = node[f"{prefix}engine{NOTE}"]
        note.setValue(short)
        note.setTooltip(more)
    node["about"].setValue(f"FSGAN {answer.get('version', '')}, networks on {answer.get('device', '')}")
