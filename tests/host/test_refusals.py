"""What Nuke does not document, or what can freeze it, is refused, so that a plugin cannot lean on it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.host import Host, new_host


def make_linked_group(host: Host) -> object:
    nuke = host.module
    group = nuke.nodes.Group()
    with group:
        nuke.nodes.Grade(name="Inner")
    link = nuke.Link_Knob("gain")
    group.addKnob(link)
    link.makeLink("Inner", "mix")
    return group


def test_the_value_of_a_link(host: Host) -> None:
    link = make_linked_group(host)["gain"]  # type: ignore[index]
    for use in (link.value, link.getValue):
        with pytest.raises(RuntimeError, match="not documented"):
            use()
    assert link.getLinkedKnob().value() == 1


def test_a_link_to_a_deleted_node_stays_broken(host: Host) -> None:
    group = make_linked_group(host)
    with group:  # type: ignore[attr-defined]
        host.module.delete(group.node("Inner"))  # type: ignore[attr-defined]
        host.module.nodes.Grade(name="Inner")
    with pytest.raises(RuntimeError, match="leads nowhere"):
        group["gain"].getLinkedKnob()  # type: ignore[index]


def test_an_empty_text(host: Host) -> None:
    text = host.module.Text_Knob("note", "", "a")
    with pytest.raises(ValueError, match="blank"):
        text.setValue("")


def test_animation_takes_an_index_by_position_and_a_view_by_name(host: Host) -> None:
    knob = host.module.nodes.Grade()["mix"]
    knob.setAnimated(0)
    for arguments, keywords in (((), {"index": 0}), ((0, "main"), {}), ((0,), {"view": "main"})):
        with pytest.raises(TypeError):
            knob.setAnimated(*arguments, **keywords)
    host.set_views("left", "right")
    knob.clearAnimated(view="right")


def test_a_modal_window_in_a_call_of_a_thread(host: Host) -> None:
    nuke = host.module
    thread = threading.Thread(target=nuke.executeInMainThread, args=(nuke.message, "done"))
    thread.start()
    thread.join()
    host.pump()
    assert [kind for kind, _ in host.messages] == ["traceback"] and "freeze" in host.messages[0][1]


@pytest.mark.parametrize("edition", ["nc", "indie"])
def test_small_editions_list_ten_nodes(edition: str) -> None:
    with new_host(edition=edition) as host:
        for _ in range(12):
            last = host.module.nodes.Dot()
        assert len(host.module.allNodes()) == len(host.module.root().nodes()) == 10
        assert host.module.toNode(last.name()) is last and host.module.env[edition]


def test_a_write_is_validated_before_its_callback_for_the_frame(tmp_path: Path) -> None:
    with new_host("-x") as host:
        nuke = host.module
        read = nuke.nodes.Read(file=(tmp_path / "no.####.exr").as_posix(), on_error="error")
        write = nuke.nodes.Write(inputs=[read], file=(tmp_path / "w.####.exr").as_posix(), file_type="exr")
        called: list[str] = []
        nuke.addBeforeRender(lambda: called.append("render"))
        nuke.addBeforeFrameRender(lambda: called.append("frame"))
        with pytest.raises(RuntimeError):
            nuke.execute(write, 1, 1)
        assert called == ["render"]
