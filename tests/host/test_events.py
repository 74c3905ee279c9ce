"""Callbacks, rendering, menus, start-up and panels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.host import Host, new_host, start
from tests.host.panel import draw_panel, flat, layout, panel_text


def rendering(host: Host, tmp_path: Path) -> Any:
    nuke = host.module
    source = nuke.nodes.Constant(format="8 6 0 0 8 6 1 small")
    return nuke.nodes.Write(inputs=[source], file=(tmp_path / "o.%04d.exr").as_posix(), file_type="exr", name="W")


def test_order_of_callbacks(host: Host) -> None:
    calls: list[str] = []
    nuke = host.module
    nuke.addOnCreate(calls.append, ("any",))
    nuke.addOnCreate(calls.append, ("first",), nodeClass="NoOp")
    nuke.addOnCreate(calls.append, ("second",), nodeClass="NoOp")
    nuke.addOnCreate(calls.append, ("first",), nodeClass="NoOp")  # again: moves to the end
    nuke.addOnCreate(calls.append, ("other",), nodeClass="Blur")
    nuke.nodes.NoOp()
    assert calls == ["second", "first", "any"]
    nuke.removeOnCreate(calls.append, ("any",))
    host.scripts.read('NoOp {\n inputs 0\n onCreate "nuke.tprint(nuke.thisNode().name())"\n name Own\n}\n', host.root)
    assert calls[3:] == ["second", "first"] and ("tprint", "Own") in host.messages


def test_callbacks_must_be_callable(host: Host) -> None:
    with pytest.raises(ValueError, match="callable"):
        host.module.addOnCreate("print")


def test_children_are_created_before_their_gizmo(with_gizmo: Host) -> None:
    seen: list[str] = []
    with_gizmo.module.addOnCreate(lambda: seen.append(with_gizmo.module.thisNode().Class()))
    with_gizmo.module.createNode("TestOver")
    assert seen == ["Input", "Input", "Merge2", "Output", "TestOver"]


def test_knob_changed_needs_an_open_panel(with_gizmo: Host) -> None:
    nuke = with_gizmo.module
    seen: list[str] = []

    def changed() -> None:
        seen.append(nuke.thisKnob().name())
        nuke.thisNode()["swap"].setValue(True)  # no second call

    nuke.addKnobChanged(changed, nodeClass="TestOver")
    node = nuke.nodes.TestOver()
    node["mix"].setValue(0.5)
    assert seen == []
    with_gizmo.set_knob(node, "mix", 0.25)
    assert seen == ["mix"]
    nuke.createNode("TestOver")
    assert seen == ["mix", "showPanel"]


def test_around_a_render(host: Host, tmp_path: Path) -> None:
    nuke, seen = host.module, []
    write = rendering(host, tmp_path)
    for event in ("BeforeRender", "BeforeFrameRender", "AfterFrameRender", "AfterRender"):
        getattr(nuke, f"add{event}")(lambda name=event: seen.append(f"{name} {nuke.frame()}"))
    nuke.execute(write, 3, 4)
    assert [word.split()[0] for word in seen] == [
        "BeforeRender",
        "BeforeFrameRender",
        "AfterFrameRender",
        "BeforeFrameRender",
        "AfterFrameRender",
        "AfterRender",
    ]
    assert seen[1] == "BeforeFrameRender 3" and seen[3] == "BeforeFrameRender 4"


def test_cancel_and_failure(host: Host, tmp_path: Path) -> None:
    nuke = host.module
    write = rendering(host, tmp_path)
    host.renderer.cancel_at = 3
    with pytest.raises(RuntimeError, match=r"^Cancelled"):
        nuke.execute(write, 1, 5)
    assert [frame for _, frame, _ in host.renderer.written] == [1, 2]

    def fail() -> None:
        raise RuntimeError("stage failed")

    nuke.addBeforeFrameRender(fail)
    with pytest.raises(RuntimeError, match="stage failed"):
        nuke.execute(write, nuke.FrameRanges("1-2 9"))
    assert not nuke.executing()


def test_the_farm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with new_host("-x") as host:
        write = rendering(host, tmp_path)
        write["use_limit"].setValue(True)
        write["first"].setValue(2)
        write["last"].setValue(3)
        host.module.nodes.Write(inputs=[write], file=(tmp_path / "x.exr").as_posix(), disable=True)
        assert host.renderer.farm() == 0
        assert [frame for _, frame, _ in host.renderer.written] == [2, 3]
        write.setInput(0, None)
        assert host.renderer.farm([9]) == 1
        assert "nothing is connected" in host.messages[-1][1]


def test_menus(host: Host) -> None:
    nuke = host.module
    called: list[int] = []
    menu = nuke.menu("Nodes").addMenu("FSGAN", icon="FSGAN.png")
    menu.addCommand("Swap/here", lambda: called.append(1), tooltip="swaps")
    menu.addCommand("Blur")
    host.choose("FSGAN/Swap/here", "Nodes")
    host.choose("FSGAN/Blur", "Nodes")
    assert called == [1] and nuke.toNode("Blur1") is not None
    assert host.undo_steps == ["here", "Blur"]
    with pytest.raises(KeyError):
        host.choose("FSGAN/Nothing", "Nodes")
    with pytest.raises(SyntaxError):
        menu.addCommand("Broken", "import (")


def test_questions(host: Host) -> None:
    with pytest.raises(AssertionError, match="nobody answers"):
        host.module.ask("Sure?")
    host.answers.append(True)
    assert host.module.ask("Sure?") is True
    host.module.message("Done")
    assert host.messages[-1] == ("message", "Done")


def test_progress(host: Host) -> None:
    task = host.module.ProgressTask("Rendering")
    task.setMessage("frame 3")
    task.setProgress(50)
    with pytest.raises(TypeError):
        task.setProgress(0.5)
    assert not task.isCancelled()
    host.cancel_tasks = True
    assert task.isCancelled()
    record = host.progress[0]
    assert record["title"] == "Rendering" and record["open"]
    del task
    assert not record["open"]


def test_start(tmp_path: Path) -> None:
    first, second, added = (tmp_path / name for name in ("first", "second", "added"))
    for folder in (first, second, added):
        folder.mkdir()
        (folder / "init.py").write_text(f"import nuke\nnuke.tprint('init {folder.name}')\n", encoding="utf-8")
        (folder / "menu.py").write_text(f"nuke.tprint('menu {folder.name}')\n", encoding="utf-8")
    with (first / "init.py").open("a", encoding="utf-8") as file:
        file.write("nuke.pluginAddPath('../added')\n")
    (second / "menu.py").write_text("raise ValueError('broken')\n", encoding="utf-8")
    wanted = ["init second", "init first", "init added"]
    for mode in ("gui", "-x"):
        with new_host(mode) as host:
            start(host, [first, second])
            said = [text for _, text in host.messages]
            assert said == wanted + (["menu first", "menu added"] if mode == "gui" else [])
            assert host.module.pluginPath()[0] == str(added)
            assert [type(error) for _, error in host.startup_errors] == ([ValueError] if mode == "gui" else [])


def test_opening_and_saving(with_gizmo: Host, tmp_path: Path, sequence: Callable[..., str]) -> None:
    nuke, seen = with_gizmo.module, []
    nuke.addOnScriptLoad(lambda: seen.append(nuke.scriptName()))
    nuke.nodes.TestOver(name="Over")
    nuke.root()["first_frame"].setValue(1001)
    file = tmp_path / "shot.nk"
    nuke.scriptSaveAs(file.as_posix(), 1)
    nuke.scriptClear()
    assert nuke.toNode("Over") is None
    nuke.scriptOpen(file.as_posix())
    assert nuke.toNode("Over").Class() == "TestOver" and nuke.root().firstFrame() == 1001
    assert seen == [file.as_posix()]


def test_panel(with_gizmo: Host, tmp_path: Path) -> None:
    from PIL import Image

    node = with_gizmo.module.createNode("TestOver")
    assert panel_text(node).splitlines() == [
        "== Test",
        "  Mix (number 1)",
        "  swap inputs (check)",
        "  operation (menu over)",
    ]
    mix = flat(layout(node))[0]
    assert (mix.tooltip, mix.range) == ("0 is B.", (0, 1))
    draw_panel(node, tmp_path / "panel.png", scale=1)
    with Image.open(tmp_path / "panel.png") as picture:
        assert picture.size[0] > 400 and len(picture.getcolors(4096) or []) > 5


def test_a_process_of_its_own(host: Host, tmp_path: Path) -> None:
    import subprocess
    import sys

    rendering(host, tmp_path)
    host.module.scriptSaveAs((tmp_path / "shot.nk").as_posix(), 1)
    command = [sys.executable, "-m", "tests.host", "-x", str(tmp_path / "shot.nk"), "-F", "1-2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o.0002.exr").is_file() and not (tmp_path / "o.0003.exr").exists()
    (tmp_path / "shot.nk").write_text("Nothing {\n}\n", encoding="utf-8")
    assert subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2]).returncode == 1
