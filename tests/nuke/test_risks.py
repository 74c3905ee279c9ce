"""What is likely to break in a real Nuke: farms, threads, small editions, links, groups, submitters."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import Host, new_host
from tests.nuke.conftest import FIRST, LAST, NODES, ROOT, Footage, finish, line, plugin, press_render, read, settle


@pytest.fixture
def fresh(environment: Path) -> Iterator[Host]:
    """A session of its own without a worker."""
    with new_host() as host:
        plugin(host)
        yield host


@pytest.mark.parametrize("name", NODES)
def test_inner_reads_keep_their_range_and_are_not_localised(name: str) -> None:
    text = (ROOT / "gizmos" / f"{name}.gizmo").read_text(encoding="utf-8")
    for read_line in re.findall(r"^ Read \{.*", text, re.MULTILINE):
        assert "origset true" in read_line and "localizationPolicy off" in read_line


@pytest.mark.parametrize("name", NODES)
def test_no_output_is_called_as_an_input(name: str) -> None:
    """Farm submitters take a knob called `file` for a file that the job needs."""
    text = (ROOT / "gizmos" / f"{name}.gizmo").read_text(encoding="utf-8")
    assert not re.search(r"addUserKnob \{\d+ (\w+_)?file ", text.replace("output_file", ""))


class TestFarm:
    @pytest.mark.parametrize(
        ("arguments", "frames"),
        [
            (["nuke", "-x", "-F", "3-5", "-F", "9", "a.nk"], [3, 4, 5, 9]),
            (["nuke", "-F2-6x2", "-X", "Write1", "a.nk"], [2, 4, 6]),
            (["nuke", "-xi", "a.nk"], [1, 2, 3, 4]),
            (["nuke", "-t", "client.py"], [2]),
            (["nuke", "-t", "-F", "no", "client.py"], [2]),
        ],
    )
    def test_frames_of_a_write(self, fresh: Host, arguments: list[str], frames: list[int]) -> None:
        from fsgan_nuke import farm_callbacks

        fresh.frame = 2
        fresh.module.root()["last_frame"].setValue(4)
        write = fresh.module.nodes.Write()
        assert farm_callbacks.list_write_frames(write, arguments) == frames
        write["use_limit"].setValue(True)
        write["first"].setValue(3)
        write["last"].setValue(9)
        if frames == [1, 2, 3, 4]:
            assert farm_callbacks.list_write_frames(write, arguments) == [3, 4]


class TestThreads:
    def test_a_message_from_a_thread_opens_no_modal_window(self, fresh: Host) -> None:
        from fsgan_nuke import host

        thread = threading.Thread(target=host.show_message, args=("the worker does not start",))
        thread.start()
        fresh.pump_until(lambda: not thread.is_alive())
        fresh.pump()
        assert fresh.messages == [("tprint", "the worker does not start")]
        host.show_message("from a button")
        assert fresh.messages[1:] == [("message", "from a button")]


class TestSmallEditions:
    """Nuke Non-commercial and Indie show Python ten nodes of a script."""

    @pytest.fixture(params=["nc", "indie"])
    def small(self, environment: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
        with new_host(edition=request.param) as host:
            plugin(host)
            host.module.scriptSaveAs((tmp_path / "shot.nk").as_posix())
            for _ in range(12):
                host.module.nodes.Dot()
            yield host

    def test_copies_have_files_of_their_own(self, small: Host) -> None:
        from fsgan_nuke import graph, host, paths

        assert host.get_small_edition().startswith("Nuke ")
        first = small.module.nodes.FSGAN_Mask()
        assert first not in small.module.allNodes()
        for node in small.module.allNodes():
            node.setSelected(False)
        first.setSelected(True)
        small.module.nodeCopy("%clipboard%")
        copy = small.module.nodePaste("%clipboard%")
        assert {node.name() for node in graph.list_all_nodes()} == {first.name(), copy.name()}
        assert paths.get_files_name(first) != paths.get_files_name(copy)
        small.module.delete(copy)
        assert graph.list_all_nodes() == [first]

    def test_a_swap_is_whole(self, small: Host) -> None:
        from fsgan_nuke import graph

        swap = small.module.nodes.FSGAN_Swap()
        inside = graph.list_inner_nodes(swap)
        assert [node.name() for node in inside] == ["Reenact", "Mask", "Inpaint", "Blend"]

    def test_a_node_that_is_made_is_found_by_its_name(self, small: Host) -> None:
        from fsgan_nuke import exports

        mask = small.module.nodes.FSGAN_Mask()
        made = [exports.make_node(mask, "NoOp", "", "FSGAN_Points", "main") for _ in range(2)]
        assert [node.name() for node in made] == ["FSGAN_Points", "FSGAN_Points1"]


class TestLinks:
    def test_a_converted_swap_has_its_links(self, fresh: Host) -> None:
        from fsgan_nuke import groups

        group = groups.convert_to_group(fresh.module.nodes.FSGAN_Swap())
        links = [knob for knob in group.knobs().values() if knob.Class() == "Link_Knob"]
        assert len(links) > 40 and all(knob.getLinkedKnob() is not None for knob in links)
        group["mask_feather"].getLinkedKnob().setValue(0.3)
        assert group.node("Mask")["feather"].value() == pytest.approx(0.3)

    def test_mix_is_applied_once(self, session: Host, clips: Footage) -> None:
        """Nuke applies the knob `mix`; the core gets none, so that a render does not mix twice."""
        from fsgan_nuke.node_job import make_node_job

        plate, source = read(session, clips.plate, FIRST, LAST), read(session, clips.source, 1, 1)
        swap = session.module.nodes.FSGAN_Swap(inputs=[plate, source])
        blend = swap.node("Blend")
        blend.knob("mix", True).setValue(0.5)
        assert "mix" not in make_node_job(blend).shot["stages"]["blend"]
        for node in (swap, source, plate):
            session.module.delete(node)


def test_a_swap_counts_and_clears_its_files(session: Host, clips: Footage) -> None:
    from fsgan_nuke import paths

    plate, source = read(session, clips.plate, FIRST, LAST), read(session, clips.source, 1, 1)
    swap = session.module.nodes.FSGAN_Swap(inputs=[plate, source])
    for stage in ("Mask", "Blend"):
        file = Path(paths.get_result_pattern(swap.node(stage), "main").replace("####", str(FIRST)))
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 1000)
    session.press(swap, "reload")
    assert swap["files_size"].value() == "2 files, 2 kB"
    session.answers = [True]
    session.press(swap, "clear_files")
    assert swap["files_size"].value() == "0 files, 0 kB" and not file.exists()
    settle(session)
    for node in (swap, source, plate):
        session.module.delete(node)


def test_texts_are_never_empty(session: Host, clips: Footage) -> None:
    """What an empty Text_Knob shows is not documented; the stand-in refuses it."""
    plate = read(session, clips.plate, FIRST, LAST)
    mask = session.module.nodes.FSGAN_Mask(inputs=[plate])
    session.set_knob(mask, "engine", "geometric")
    session.pump_until(lambda: "networks on" in mask["about"].value(), 60)
    session.frame = FIRST
    press_render(session, mask, "render_frame")
    assert finish(session, mask).error is None and line(mask).startswith("missing")
    settle(session)
    assert [text for kind, text in session.messages if kind == "traceback"] == []
    for node in (mask, plate):
        session.module.delete(node)
