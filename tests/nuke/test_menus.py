"""The menu, its commands, and groups for machines without the plugin."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host import Host, new_host
from tests.nuke.conftest import NODES, plugin


@pytest.fixture
def host(environment: Path) -> Iterator[Host]:
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fsgan_nuke"}
    with new_host() as session:
        plugin(session)
        yield session
        for name in [name for name in sys.modules if name.split(".")[0] == "fsgan_nuke"]:
            del sys.modules[name]
    sys.modules.update(kept)


def test_every_node_has_an_item_and_an_icon(host: Host) -> None:
    menu = host.module.menu("Nodes").findItem("FSGAN")
    items = {item.name(): item for item in menu.items()}
    for kind in NODES:
        item = items[kind.partition("_")[2]]
        assert host.find_plugin(item.icon()) is not None
        item.invoke()
        assert host.module.selectedNode().Class() == kind
        host.module.selectedNode().setSelected(False)
    assert {"Example tree", "Convert selected to groups", "Preferences...", "Doctor"} <= set(items)


def test_example_tree(host: Host) -> None:
    host.choose("FSGAN/Example tree", "Nodes")
    from fsgan_nuke import graph

    blend = next(node for node in host.module.allNodes() if node.Class() == "FSGAN_Blend")
    above = [graph.get_node_class(node) for node in graph.iterate_render_nodes(blend)]
    assert sorted(above) == sorted(f"FSGAN_{name}" for name in ("Reenact", "Mask", "Inpaint", "Blend"))
    assert above[-2:] == ["FSGAN_Inpaint", "FSGAN_Blend"]
    found = graph.find_analyse_node(graph.find_connected(blend, "target"))
    assert found is not None and (found[0].name(), found[1]) == ("AnalyseTarget", "main")


def test_preferences(host: Host, environment: Path) -> None:
    file = environment / "nuke.json"
    before = file.read_text()
    host.answers = [None]
    host.choose("FSGAN/Preferences...", "Nodes")
    assert file.read_text() == before
    host.answers = [{"device": "cpu", "weights folder": "/studio/weights"}]
    host.choose("FSGAN/Preferences...", "Nodes")
    assert json.loads(file.read_text())["weights"] == "/studio/weights"
    assert not [text for kind, text in host.messages if kind == "message"]
    host.answers = [{"device": "mps"}]
    host.choose("FSGAN/Preferences...", "Nodes")
    assert "override it: FSGAN_DEVICE" in host.messages[-1][1], "which variable, before anybody wonders"
    from fsgan_nuke import client

    client.close_all_clients()
    file.write_text(before)


@pytest.mark.parametrize("kind", ["FSGAN_Blend", "FSGAN_Swap"])
def test_groups_open_without_the_plugin(host: Host, kind: str, tmp_path: Path) -> None:
    from fsgan_nuke import graph

    nodes = host.module.nodes
    plate = nodes.Constant(color="0.5 0.5 0.5 1", format="8 6 0 0 8 6 1 small")
    node: Any = nodes.__getattr__(kind)(inputs=[plate])
    below = nodes.Dot(inputs=[node])
    name = node.name()
    node.selectOnly()
    host.choose("FSGAN/Convert selected to groups", "Nodes")
    made = host.module.toNode(name)
    assert made.Class() == "Group" and graph.get_node_class(made) == kind and below.input(0) is made
    assert made.input(0) is plate
    file = tmp_path / "shared.nk"
    host.module.scriptSaveAs(file.as_posix())
    text = file.read_text()
    assert not any(f"\n{word} {{" in text.replace("\n ", "\n") for word in NODES)
    with new_host("-t") as other:
        other.module.scriptOpen(file.as_posix())
        shown = other.picture(other.module.toNode(name), 1)
        assert shown.planes["rgba.red"].min() == pytest.approx(0.5)
