"""The FSGAN menu in the Nodes toolbar, and the actions of its items."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import Any

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.stage_graph import NODES
from fsgan_nuke import actions, farm, groups, settings, weights_menu
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import one_undo_step, show_message
from fsgan_nuke.request import PendingRequest

STAGE_NODES = ("Analyse", "Reenact", "Mask", "Inpaint", "Blend")
WHOLE_NODES = ("Swap", "Drive")
DEFAULT_DEVICES = ("auto", "cpu", "cuda", "mps")
TOOLSETS_FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "gizmos", "ToolSets", "FSGAN")
# Name of the tree's file -> what it is for.
TREES = {
    "Swap": "A swap in one node, with the analysis of both clips.",
    "Drive": "The plate's actor with another performer's expression.",
    "Fix_by_layers": "A swap, and a correction made of its layers, which needs no new render.",
    "Atlas_painting": "A swap whose source is painted once for all frames.",
}


def install_menu() -> None:
    """Makes the menu; called once, at startup."""
    menu = nuke.menu("Nodes").addMenu("FSGAN", icon="FSGAN.png")
    for names in (WHOLE_NODES, STAGE_NODES):
        for name in names:
            menu.addCommand(name, f"nuke.createNode('FSGAN_{name}')", icon=f"FSGAN_{name}.png")
        menu.addSeparator()
    menu.addCommand("Example tree", paste_example)
    trees = menu.addMenu("Trees")
    for name, help_text in TREES.items():
        trees.addCommand(name.replace("_", " "), functools.partial(paste_tree, name), tooltip=help_text)
    menu.addCommand(
        "Convert selected to groups",
        convert_selected,
        tooltip="For scripts that are opened on machines without this plugin. Groups show and render the existing "
        "results, but cannot make new ones.",
    )
    menu.addSeparator()
    menu.addCommand(
        "Submit to farm...",
        farm.submit_to_farm,
        tooltip="Makes a job for a render farm. It renders the FSGAN nodes without a Nuke licence, then the Writes.",
    )
    menu.addCommand("Preferences...", edit_preferences, tooltip="The worker's Python, folders and device.")
    menu.addCommand("Doctor", actions.doctor, tooltip="Shows what is installed and what works on this machine.")
    menu.addCommand("Manual", actions.open_manual)


def paste_example() -> None:
    """Pastes a tree with all stages; the artist connects clips to it."""
    paste_tree("Example")


def paste_tree(name: str) -> None:
    """Pastes a tree by the name of its file in the toolsets."""
    nuke.nodePaste(os.path.normpath(os.path.join(TOOLSETS_FOLDER, f"{name}.nk")).replace("\\", "/"))


def convert_selected() -> None:
    """Converts the selected FSGAN nodes to groups."""
    selected_nodes = [node for node in nuke.selectedNodes() if node.Class() in NODES]
    if not selected_nodes:
        show_message("Select the FSGAN nodes to convert to groups.")
        return
    with one_undo_step("FSGAN: convert to groups"):
        for node in selected_nodes:
            groups.convert_to_group(node)


def edit_preferences() -> None:
    """Asks for the preferences, saves them, and restarts the worker to check that it works with them."""
    old_settings = settings.load_settings()
    panel: Any = nuke.Panel("FSGAN preferences")
    for name, value in (
        ("worker's Python", old_settings.python),
        ("weights folder", old_settings.weights),
        ("cache folder", old_settings.cache),
        ("log folder", old_settings.logs),
    ):
        panel.addFilenameSearch(name, value)
    devices = weights_menu.list_devices() or DEFAULT_DEVICES
    panel.addEnumerationPulldown(
        "device", " ".join([old_settings.device, *[device for device in devices if device != old_settings.device]])
    )
    if not panel.show():
        return
    new_settings = replace(
        old_settings,
        python=str(panel.value("worker's Python") or ""),
        weights=str(panel.value("weights folder") or ""),
        cache=str(panel.value("cache folder") or ""),
        logs=str(panel.value("log folder") or ""),
        device=str(panel.value("device")),
    )
    try:
        file = settings.save_settings(new_settings)
    except OSError as error:
        show_message(f"The preferences could not be saved: {error}")
        return
    except FsganError as error:
        show_message(str(error))
        return
    overruled = settings.list_overruling_variables(new_settings)
    if overruled:
        show_message(f"Saved in {file}, but these environment variables override it: {', '.join(overruled)}.")
    weights_menu.forget_answers()
    get_shared_client().restart()
    get_shared_client().request(protocol.PingRequest(), on_end=_report_worker)


def _report_worker(request: PendingRequest) -> None:
    """Shows why the worker does not start; called in a thread of the client."""
    if request.error is not None:
        show_message(f"The worker does not start with these preferences: {request.error}")
