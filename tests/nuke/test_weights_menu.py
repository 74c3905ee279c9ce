"""What is installed, on the nodes: the menu of weights, and what an engine comes to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host import Host
from tests.nuke.conftest import settle


@pytest.fixture
def answer() -> dict[str, Any]:
    def weight(name: str, role: str = "blend", installed: bool = True, allowed: bool = True) -> dict[str, Any]:
        return {"name": name, "role": role, "licence": "research", "installed": installed, "allowed": allowed}

    return {
        "version": "9.9",
        "device": "cuda:0",
        "weights": [
            weight("a"),
            weight("b"),
            weight("far", installed=False),
            weight("secret", allowed=False),
            weight("other", role="mask"),
        ],
        "engines": {"blend": {"fsgan": "no weights", "poisson": "", "over": ""}, "mask": {"fsgan": "no weights"}},
        "auto": {"blend": "poisson", "mask": ""},
    }


@pytest.mark.parametrize(
    ("typed", "shown", "more"),
    [
        ("", "best installed", 0),
        ("b", "b (research)", 0),
        ("mine", "mine (not installed)", 1),
        ("far", "far (not installed)", 1),
        ("secret", "secret (not allowed)", 1),
        ("/show/w (v2).safetensors", "/show/w (v2).safetensors (a file)", 1),
    ],
)
def test_the_menu_keeps_what_is_typed(session: Host, answer: dict[str, Any], typed: str, shown: str, more: int) -> None:
    from fsgan_nuke import weights_menu

    items, item = weights_menu.list_network_items(answer, "blend", typed)
    assert item == shown and items[:3] == ["best installed", "a (research)", "b (research)"] and len(items) == 3 + more
    assert weights_menu.parse_network_item(item) == typed


def test_engine_note(session: Host, answer: dict[str, Any]) -> None:
    from fsgan_nuke import weights_menu

    short, more = weights_menu.describe_engine(answer, "blend", "auto")
    assert short == "now: poisson" and "fsgan: no weights" in more
    assert weights_menu.describe_engine(answer, "blend", "fsgan") == ("cannot run here", "no weights")
    assert weights_menu.describe_engine(answer, "blend", "over") == ("", "")
    assert weights_menu.describe_engine(answer, "mask", "auto")[0] == "no engine can run here"


@pytest.mark.parametrize(("kind", "prefix"), [("FSGAN_Blend", ""), ("FSGAN_Swap", "blend_")])
def test_on_a_node(session: Host, answer: dict[str, Any], kind: str, prefix: str) -> None:
    from fsgan_nuke import weights_menu

    node = session.module.createNode(kind)
    network, menu = node.knob(f"{prefix}network", True), node[f"{prefix}network_menu"]
    session.set_knob(node, f"{prefix}network", "mine")
    weights_menu.fill_menus(node, answer)
    assert menu.value() == "mine (not installed)" and node[f"{prefix}engine_note"].value() == "now: poisson"
    assert str(node["about"].value()).startswith("9.9, networks on cuda:0 (the plugin is ")
    session.set_knob(node, f"{prefix}network_menu", "b (research)")
    assert network.value() == "b"
    session.set_knob(node, f"{prefix}network_menu", "best installed")
    assert network.value() == ""
    text = session.scripts.script()
    assert "network_menu" not in text and "engine_note" not in text, "no parameters: nothing of them is saved"
    session.module.delete(node)


def test_worker_is_asked_only_while_a_panel_is_open(session: Host) -> None:
    node = session.module.createNode("FSGAN_Reenact")
    session.set_knob(node, "likeness", 0.5)
    import time

    end = time.monotonic() + 60
    while not str(node["engine_note"].value()).strip() and time.monotonic() < end:
        settle(session)
        time.sleep(0.1)
    assert node["engine_note"].value() in ("now: mesh", "now: fsgan") and "networks on cpu" in node["about"].value()
    session.module.delete(node)


@pytest.mark.parametrize(
    ("kind", "menu", "value", "knob"),
    [
        ("FSGAN_Analyse", "person", "point", "person_point"),
        ("FSGAN_Blend", "engine", "poisson", "reach"),
        ("FSGAN_Swap", "blend_engine", "fsgan", "blend_network"),
        ("FSGAN_Reenact", "engine", "fsgan", "steps"),
    ],
)
def test_knobs_without_effect_are_greyed_out(session: Host, kind: str, menu: str, value: str, knob: str) -> None:
    node = session.module.createNode(kind)
    other = "index" if menu == "person" else "over" if "blend" in kind.lower() + menu else "mesh"
    node.showControlPanel()
    session.idle()
    session.set_knob(node, menu, other)
    session.idle()  # a swap's knobs are links
    assert not node[knob].enabled()
    session.set_knob(node, menu, value)
    session.idle()
    assert node[knob].enabled()
    session.module.delete(node)


def test_point_knob_is_active_only_for_person_point(session: Host) -> None:
    from fsgan_nuke.knob_values import read_knobs

    node = session.module.createNode("FSGAN_Analyse")
    assert "person_point" not in read_knobs(node, "analyse", "main")
    node["person"].setValue("point")
    assert read_knobs(node, "analyse", "main")["person_point"] == [0, 0]
    session.module.delete(node)


def test_a_swap_has_one_release(session: Host) -> None:
    from fsgan_nuke import graph, node_job
    from fsgan_nuke.colour import read_project_colour

    swap = session.module.createNode("FSGAN_Swap")
    session.set_knob(swap, "consent_reference", "R-17")
    for name in ("Reenact", "Mask", "Inpaint", "Blend"):
        found = node_job.collect_settings(graph.find_inner_node(swap, name), read_project_colour())
        assert found["consent"]["reference"] == "R-17"
    session.module.delete(swap)


def test_a_swap_has_one_choice_of_licences(session: Host) -> None:
    from fsgan_nuke import graph, node_job
    from fsgan_nuke.colour import read_project_colour

    swap = session.module.createNode("FSGAN_Swap")
    session.set_knob(swap, "weights_allow", "commercial")
    for name in ("Reenact", "Mask", "Inpaint", "Blend"):
        found = node_job.collect_settings(graph.find_inner_node(swap, name), read_project_colour())
        assert found["weights"]["allow"] == "commercial"
    session.module.delete(swap)


def test_interlaced_reaches_every_stage(session: Host) -> None:
    from fsgan_nuke import graph, node_job
    from fsgan_nuke.colour import read_project_colour
    from fsgan_nuke.knob_values import read_knobs

    for kind in ("FSGAN_Mask", "FSGAN_Blend", "FSGAN_Drive"):
        node = session.module.createNode(kind)
        session.set_knob(node, "interlaced", "keep")
        assert node_job.collect_settings(node, read_project_colour())["output"]["interlaced"] == "keep"
        session.module.delete(node)
    swap = session.module.createNode("FSGAN_Swap")
    session.set_knob(swap, "interlaced", "keep")
    for name in ("Reenact", "Mask", "Inpaint", "Blend"):  # the stages of a swap have no knobs that can disagree
        found = node_job.collect_settings(graph.find_inner_node(swap, name), read_project_colour())
        assert found["output"]["interlaced"] == "keep"
    session.module.delete(swap)
    analyse = session.module.createNode("FSGAN_Analyse")
    session.set_knob(analyse, "interlaced", "keep")
    assert read_knobs(analyse, "output", "main") == {"interlaced": "keep"}
    session.module.delete(analyse)


@pytest.mark.parametrize(("kind", "prefix"), [("FSGAN_Mask", ""), ("FSGAN_Swap", "mask_")])
def test_a_preset_sets_the_knobs(session: Host, answer: dict[str, Any], kind: str, prefix: str) -> None:
    from fsgan_nuke import presets_menu, weights_menu

    settings = {"mask.feather": 0.25, "mask.hands": False, "mask.engine": "fsgan", "colour.as_published": True}
    described = {**answer, "presets": {"studio": {"summary": "", "settings": settings}}}
    node = session.module.createNode(kind)
    weights_menu.fill_menus(node, described)
    menu = node["preset_menu"]
    assert list(menu.values()) == ["none", "studio"] and menu.value() == "none"
    menu.setValue("studio")
    presets_menu.apply_preset(node, described)
    assert node["preset"].value() == "studio"
    assert node.knob(f"{prefix}feather", True).value() == 0.25 and not node.knob(f"{prefix}hands", True).value()
    assert node.knob(f"{prefix}engine", True).value() == "fsgan"
    assert presets_menu.get_preset(node) == "studio"
    session.module.delete(node)
