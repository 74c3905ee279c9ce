"""Converts our gizmos to groups for machines without this plugin: a group's inside is saved with the script."""

from __future__ import annotations

from typing import Any

import nuke

from fsgan_core.contract.stage_graph import NODES
from fsgan_nuke import graph


def convert_to_group(node: Any) -> Any:
    """Replaces an FSGAN node by a group with the same name, connections and results; returns the group."""
    kind, name = str(node.Class()), str(node.name())
    inputs = [node.input(number) for number in range(node.inputs())]
    places = [
        (one, number)
        for one in node.dependent(nuke.INPUTS, False)
        for number in range(one.inputs())
        if one.input(number) is not None and one.input(number).fullName() == node.fullName()
    ]
    with graph.find_owner(node) or nuke.root():
        made = node.makeGroup()
        for number, one in enumerate(inputs):
            made.setInput(number, one)
        for one, number in places:
            one.setInput(number, made)
        made.setXYpos(int(node.xpos()), int(node.ypos()))
        nuke.delete(node)
        made.setName(name)
    if "fsgan_class" not in made.knobs():
        marker = nuke.String_Knob("fsgan_class", "")
        marker.setFlag(nuke.INVISIBLE)
        made.addKnob(marker)
        marker.setValue(kind)
    for one in [one for one in made.nodes() if one.Class() in NODES]:
        convert_to_group(one)
    return made
