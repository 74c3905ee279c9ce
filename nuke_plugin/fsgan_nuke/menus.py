"""The FSGAN menu in the toolbar of nodes, and what its items do."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import nuke

from fsgan_core.contract.errors import FsganError
from fsgan_nuke import actions, graph, groups, settings
from fsgan_nuke.client import shared
from fsgan_nuke.host import tell

STAGES = ("Analyse", "Reenact", "Mask", "Inpaint", "Blend")
WHOLE = ("Swap", "Drive")
DEVICES = ("auto", "cpu", "cuda", "mps")
TOOLSET = os.path.join(os.path.dirname(__file__), "..", "..", "gizmos", "toolsets", "FSGAN_Example.nk")


def install() -> None:
    menu = nuke.menu("Nodes").addMenu("FSGAN", icon="FSGAN.png")
    for names in (WHOLE, STAGES):
        for name in names:
            menu.addCommand(name, f"nuke.createNode('FSGAN_{name}')", icon=f"FSGAN_{name}.png")
        menu.addSeparator()
    menu.addCommand("Example tree", example)
    menu.addCommand("Convert selected to groups", convert_selected,
                    tooltip="For a script that is opened where this plugin is missing: results are shown and rendered, "
                            "but no new ones are made.")
    menu.addSeparator()
    menu.addCommand("Preferences...", preferences)
    menu.addCommand("Doctor", actions.doctor)


def example() -> None:
    """A tree of all stages, to be connected to clips."""
    nuke.nodePaste(os.path.normpath(TOOLSET).replace("\\", "/"))


def convert_selected() -> None:
    chosen = [node for node in nuke.selectedNodes() if node.Class() in graph.OURS]
    if not chosen:
        tell("Select the FSGAN nodes that shall become groups.")
        return
    for node in chosen:
        groups.to_group(node)


def preferences() -> None:
    """Asks, saves, and ends the worker, so that the next render begins with what was chosen."""
    now = settings.load()
    panel: Any = nuke.Panel("FSGAN preferences")
    panel.addFilenameSearch("worker's Python", now.python)
    panel.addFilenameSearch("weights folder", now.weights)
    panel.addFilenameSearch("cache folder", now.cache)
    panel.addFilenameSearch("log folder", now.logs)
    panel.addEnumerationPulldown("device", " ".join([now.device, *[one for one in DEVICES if one != now.device]]))
    if not panel.show():
        return
    chosen = replace(now, python=str(panel.value("worker's Python") or ""),
                     weights=str(panel.value("weights folder") or ""), cache=str(panel.value("cache folder") or ""),
                     logs=str(panel.value("log folder") or ""), device=str(panel.value("device")))
    try:
        settings.save(chosen)
    except OSError as error:
        tell(f"The preferences could not be saved: {error}")
        return
    except FsganError as error:
        tell(str(error))
        return
    shared().restart()
