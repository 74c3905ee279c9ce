"""Calls that Nuke's stubs do not know fail."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.host import Host, new_host
from tests.host.stubs import load_stubs


def test_the_stubs_are_read() -> None:
    stubs = load_stubs()
    assert {"createNode", "execute", "render", "Node", "GUI"} <= stubs.names()
    assert stubs.method("Double_Knob", "setTooltip") is not None
    assert len(stubs.functions["execute"]) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda nuke: nuke.createNodes("Blur"),
        lambda nuke: nuke.allNodes()[0].knobChanged,
        lambda nuke: nuke.allNodes()[0]["size"].setValues([1]),
        lambda nuke: setattr(nuke.allNodes()[0], "mine", 1),
        lambda nuke: setattr(nuke, "mine", 1),
    ],
    ids=["function", "method", "method of a knob", "attribute of a node", "attribute of the module"],
)
def test_unknown_names(host: Host, call: Any) -> None:
    host.module.nodes.Blur()
    with pytest.raises(AttributeError):
        call(host.module)


@pytest.mark.parametrize(
    "call",
    [
        lambda nuke: nuke.createNode(),
        lambda nuke: nuke.createNode(7),
        lambda nuke: nuke.createNode("Blur", inPanel=False),
        lambda nuke: nuke.toNode("a", "b"),
        lambda nuke: nuke.execute("Write1", "1", 2),
        lambda nuke: nuke.nodes.Blur().setInput("0", None),
        lambda nuke: nuke.nodes.Blur().setInput(0, "Read1"),
        lambda nuke: nuke.nodes.Blur().addKnob("size"),
        lambda nuke: nuke.nodes.Blur()["size"].setValue("big"),
        lambda nuke: nuke.Enumeration_Knob("a", "b", "cd"),
        lambda nuke: nuke.message(3),
    ],
    ids=[
        "argument missing",
        "wrong type",
        "wrong keyword",
        "too many",
        "text for a frame",
        "text for a number",
        "text for a node",
        "text for a knob",
        "text for a value",
        "text for a list",
        "number for a text",
    ],
)
def test_wrong_arguments(host: Host, call: Any) -> None:
    with pytest.raises(TypeError):
        call(host.module)


def test_the_message_says_what_the_stubs_have(host: Host) -> None:
    with pytest.raises(TypeError, match=r"Node\.setInput.*i: int.*'i' is str"):
        host.module.nodes.Blur().setInput("0", None)


def test_a_keyword_that_another_version_spells_otherwise(host: Host) -> None:
    with pytest.raises(TypeError, match="by position"):
        host.module.createNode("Blur", knobs="size 3")


def test_what_nuke_has_and_the_stand_in_has_not(host: Host) -> None:
    with pytest.raises(NotImplementedError, match="stand-in"):
        host.module.splayNodes()


def test_missing_knob(host: Host) -> None:
    with pytest.raises(NameError, match="knob nothing does not exist"):
        host.module.nodes.Blur()["nothing"]


def test_nodes_belong_to_the_main_thread(host: Host) -> None:
    node = host.module.nodes.Blur()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            node.name()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_only_a_gui_has_menus_and_questions() -> None:
    for mode in ("-t", "-x"):
        with new_host(mode) as host:
            for call in (lambda n: n.menu("Nuke"), lambda n: n.toolbar("Nodes"), lambda n: n.message("x")):
                with pytest.raises(RuntimeError, match="interface"):
                    call(host.module)


def test_the_main_thread_must_not_wait_for_itself(host: Host) -> None:
    with pytest.raises(RuntimeError, match="hang"):
        host.module.executeInMainThreadWithResult(print, ("x",))


def test_asking_the_main_thread(host: Host) -> None:
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(
            host.module.executeInMainThreadWithResult(lambda name: host.module.nodes.Blur(name=name).name(), "Here")
        )
    )
    thread.start()
    host.pump_until(lambda: bool(results))
    thread.join()
    assert results == ["Here"]


def test_import_works_and_is_taken_away() -> None:
    import sys

    with new_host() as host:
        import nuke  # type: ignore[import-not-found, unused-ignore]

        assert nuke is host.module
    assert "nuke" not in sys.modules
