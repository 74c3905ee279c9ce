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
    output_links = [
        (linked_node, number)
        for linked_node in node.dependent(nuke.INPUTS, False)
        for number in range(linked_node.inputs())
        if linked_node.input(number) is not None and linked_node.input(number).fullName() == node.fullName()
    ]
    with graph.find_owner(node) or nuke.root():
        group = node.makeGroup()
        for number, linked_node in enumerate(inputs):
            group.setInput(number, linked_node)
        for linked_node, number in output_links:
            linked_node.setInput(number, group)
        group.setXYpos(int(node.xpos()), int(node.ypos()))
        nuke.delete(node)
        group.setName(name)
    if "fsgan_class" not in group.knobs():
        marker = nuke.String_Knob("fsgan_class", "")
        marker.setFlag(nuke.INVISIBLE)
        group.addKnob(marker)
        marker.setValue(kind)
    links = {
        str(knob.name()): str(knob.getLink()) for knob in group.knobs().values() if str(knob.Class()) == "Link_Knob"
    }
    for linked_node in [inner_node for inner_node in graph.list_nodes_inside(group) if inner_node.Class() in NODES]:
        convert_to_group(linked_node)
    # A link does not wait for another node of the same name.
    for knob_name, link in links.items():
        group[knob_name].setLink(link)
    return group
