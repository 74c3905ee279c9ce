"""The nodes in the stand-in host, with the real worker on small footage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.contract.shot import Clip, Output, Shot
from fsgan_core.plates.image_reader import read_image
from fsgan_core.render.pipeline import render_shot
from tests.host import EvaluationError, Host
from tests.host.picture import Box
from tests.nuke.conftest import (
    FIRST,
    LAST,
    ROOT,
    Footage,
    Tree,
    build,
    finish,
    line,
    plugin,
    press_render,
    read,
    settle,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
FRAMES = range(FIRST, LAST + 1)


def files(node: Any) -> dict[int, Path]:
    """The frames that a node shows, by number."""
    return {frame: Path(node["result"].evaluate(frame)) for frame in FRAMES}


def times(node: Any) -> list[int]:
    return [path.stat().st_mtime_ns for path in files(node).values()]


def render(host: Host, node: Any, button: str = "render_here") -> None:
    press_render(host, node, button)
    running = finish(host, node)
    assert running.error is None


@pytest.fixture(scope="module")
def tree(session: Host, clips: Footage) -> Tree:
    """A rendered tree. Tests that change a knob put it back."""
    made = build(session, clips)
    render(session, made.blend)
    return made


@pytest.fixture(scope="module")
def swapped(tree: Tree, clips: Footage, tmp_path_factory: pytest.TempPathFactory) -> dict[int, np.ndarray]:
    """What the core makes of the same clips in one go."""
    pattern = tmp_path_factory.mktemp("core") / "swap.####.exr"
    shot = Shot(
        (Clip(clips.source, "srgb_tx"),), Clip(clips.plate, "lin_rec709_srgb"), Output(str(pattern), "lin_rec709_srgb")
    )
    assert not render_shot(shot).failures
    return {frame: read_image(pattern.with_name(f"swap.{frame}.exr")).pixels for frame in FRAMES}


@pytest.fixture(autouse=True)
def quiet(session: Host) -> Iterator[None]:
    """No traceback was printed, and no bar stays open."""
    session.messages.clear()
    yield
    settle(session)
    assert [text for kind, text in session.messages if kind == "traceback"] == []
    assert not any(task["open"] for task in session.progress)


def test_the_files_are_those_of_a_swap(tree: Tree, swapped: dict[int, np.ndarray]) -> None:
    for frame, path in files(tree.blend).items():
        assert np.array_equal(read_image(path).pixels, swapped[frame])
    assert line(tree.blend) == "up to date (3 frames)"


def test_what_the_node_shows(session: Host, tree: Tree) -> None:
    shown, plate = session.picture(tree.blend, FIRST), session.picture(tree.plate, FIRST)
    file = read_image(files(tree.blend)[FIRST])
    matte = session.picture(tree.mask, FIRST).over("matte.face", shown.bbox)
    changed = np.zeros(shown.bbox.shape, bool)
    for place, name in enumerate(("red", "green", "blue")):
        assert np.array_equal(shown.planes[f"rgba.{name}"], file.pixels[..., place])
        changed |= shown.planes[f"rgba.{name}"] != plate.planes[f"rgba.{name}"]
    assert changed.sum() > 500 and not changed[matte == 0].any()
    assert (changed.sum(), shown.bbox, shown.format.width()) != (0, None, 0) and shown.bbox == plate.bbox
    for name in ("rgba.alpha", "depth.Z"):
        assert np.array_equal(shown.planes[name], plate.planes[name])
    assert shown.metadata["exr/take"] == FIRST


def test_a_stage_shows_its_region_and_keeps_the_rest(session: Host, tree: Tree) -> None:
    shown, plate = session.picture(tree.reenact, FIRST), session.picture(tree.plate, FIRST)
    assert shown.bbox != plate.bbox and shown.format.width() == plate.format.width()
    assert np.array_equal(shown.over("depth.Z", shown.bbox), plate.over("depth.Z", shown.bbox))
    file = read_image(files(tree.reenact)[FIRST])
    assert np.array_equal(shown.planes["rgba.red"], file.pixels[..., 0])
    assert {"st.u", "st.v", "confidence.Z"} <= set(shown.planes)


def test_mix_mask_and_disable_are_live(session: Host, tree: Tree) -> None:
    before = times(tree.blend)
    plate, full = (session.picture(node, FIRST).planes["rgba.red"] for node in (tree.plate, tree.blend))
    session.set_knob(tree.blend, "mix", 0)
    assert np.array_equal(session.picture(tree.blend, FIRST).planes["rgba.red"], plate)
    session.set_knob(tree.blend, "mix", 1)
    nothing = session.module.nodes.Constant(color="0 0 0 0", format="224 190 0 0 224 190 1 small")
    tree.blend.setInput(4, nothing)
    assert np.array_equal(session.picture(tree.blend, FIRST).planes["rgba.red"], plate)
    session.set_knob(tree.blend, "invert_mask", True)
    assert np.array_equal(session.picture(tree.blend, FIRST).planes["rgba.red"], full)
    session.set_knob(tree.blend, "invert_mask", False)
    tree.blend.setInput(4, None)
    tree.blend["disable"].setValue(True)
    assert np.array_equal(session.picture(tree.blend, FIRST).planes["rgba.red"], plate)
    tree.blend["disable"].setValue(False)
    assert times(tree.blend) == before


def test_one_knob_renders_one_stage(session: Host, tree: Tree) -> None:
    above = [times(node) for node in (tree.reenact, tree.mask, tree.inpaint)]
    before = times(tree.blend)
    session.set_knob(tree.blend, "grain", 0.5)
    session.pump_until(lambda: line(tree.blend).startswith("stale"), 20)  # without a press: the panel is open
    assert line(tree.blend) == f"stale {FIRST}-{LAST} (blend.grain)"
    render(session, tree.blend)
    assert [times(node) for node in (tree.reenact, tree.mask, tree.inpaint)] == above
    assert all(now != then for now, then in zip(times(tree.blend), before, strict=True))
    tree.blend["grain"].setValue(1.0)
    session.frame = FIRST + 1
    render(session, tree.blend, "render_frame")
    assert line(tree.blend) == f"stale {FIRST},{LAST} (blend.grain)"
    render(session, tree.blend)
    assert line(tree.blend) == "up to date (3 frames)"


def test_cancel(session: Host, tree: Tree) -> None:
    tree.reenact["likeness"].setValue(0.6)
    press_render(session, tree.blend, "render_here")
    session.press(tree.blend, "cancel")
    assert finish(session, tree.blend).cancel_event.is_set()
    assert line(tree.blend).startswith("stale") or line(tree.blend).startswith("up to date")
    assert [text for kind, text in session.messages if kind == "message"] == []
    session.cancel_tasks = True  # the bar's own button
    press_render(session, tree.blend, "render_here")
    assert finish(session, tree.blend).cancel_event.is_set()
    session.cancel_tasks = False
    tree.reenact["likeness"].setValue(ReenactParams().likeness)
    render(session, tree.blend)
    assert line(tree.blend) == "up to date (3 frames)"


def test_dead_worker_is_reported_and_replaced(session: Host, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsgan_nuke import client, request

    pid, handle_event = client.get_shared_client().pid, request.PendingRequest.handle_event

    def kill_in_the_middle(self: Any, event: Any) -> None:
        if getattr(event, "step", "") == "begin":
            os.kill(pid, signal.SIGKILL)
        handle_event(self, event)

    tree.mask["feather"].setValue(0.1)
    with monkeypatch.context() as patch:
        patch.setattr(request.PendingRequest, "handle_event", kill_in_the_middle)
        press_render(session, tree.mask, "render_range")
        assert finish(session, tree.mask).error is not None
    assert line(tree.mask).startswith("the worker died (killed by SIGKILL) during render of frame")
    assert not any(kind == "message" for kind, _ in session.messages), "the node says it; no window must be closed"
    tree.mask["feather"].setValue(MaskParams().feather)
    render(session, tree.blend)
    assert line(tree.mask) == "up to date (3 frames)" and client.get_shared_client().pid not in (0, pid)


def test_errors_are_shown_and_never_raised(session: Host, clips: Footage) -> None:
    alone = session.module.nodes.FSGAN_Blend()
    for button in ("render_frame", "render_range", "render_here", "cancel", "reload", "open_report"):
        press_render(session, alone, button) if button.startswith("render") else session.press(alone, button)
        settle_node(session, alone)
        assert "nothing is connected" in line(alone) or "no report" in line(alone), button
    broken = session.module.nodes.FSGAN_Reenact(
        inputs=[read(session, clips.plate, FIRST, LAST), read(session, clips.source + ".none.png", 1, 1)]
    )
    press_render(session, broken, "render_here")
    assert finish(session, broken).error is not None
    assert "no file" in line(broken) or "not" in line(broken)
    session.module.delete(alone)
    session.module.delete(broken)


def settle_node(session: Host, node: Any) -> None:
    from fsgan_nuke import node_render as renders

    if renders.find_active_render(node) is not None:
        finish(session, node)
    settle(session)


def test_a_graded_plate_is_written_and_only_where_it_changed(session: Host, tree: Tree) -> None:
    nodes = session.module.nodes
    grade = nodes.Grade(inputs=[tree.plate], multiply=1.1)
    mask = nodes.FSGAN_Mask(inputs=[grade])
    session.renderer.written.clear()
    render(session, mask)
    write = f"{mask.fullName()}.Write_target"
    assert session.renderer.written == [(write, frame, "main") for frame in FRAMES]
    render(session, mask)
    assert len(session.renderer.written) == 3, "nothing has changed"
    switch = nodes.Switch(inputs=[tree.plate, grade], which=f"{{{{frame=={LAST}}}}}")
    mask.setInput(0, switch)
    render(session, mask)
    assert len(session.renderer.written) == 6
    render(session, mask)
    assert len(session.renderer.written) == 6 and session.module.toNode(write)["disable"].value() is not False
    session.module.delete(mask)


def test_a_grade_on_the_reenacted_face_keeps_its_layers(session: Host, tree: Tree) -> None:
    """`matte.kept` too: without it blend would match the light of the plate's own eyes."""
    nodes = session.module.nodes
    grade = nodes.Grade(inputs=[tree.reenact], multiply=1.0)
    inpaint = nodes.FSGAN_Inpaint(inputs=[tree.plate, grade, tree.mask])
    render(session, inpaint)
    assert any(write == f"{inpaint.fullName()}.Write_reenacted" for write, *_ in session.renderer.written)
    for frame, path in files(inpaint).items():
        plain, graded = read_image(files(tree.reenact)[frame]), read_image(path)
        kept = plain.get_matte("matte.kept")
        assert kept.max() > 0.5, "the plate's eyes"
        # Inpaint adds the plate's own pixels behind arms of glasses to it.
        assert (graded.get_matte("matte.kept") >= kept).all()
    session.module.delete(inpaint)
    session.module.delete(grade)


def test_copies_have_files_of_their_own(session: Host, tree: Tree) -> None:
    tree.mask.selectOnly()
    session.module.nodeCopy("%clipboard%")
    session.module.nodePaste("%clipboard%")
    copied = session.module.selectedNode()
    copied.setInput(0, tree.plate)
    assert copied.Class() == "FSGAN_Mask" and copied.name() != tree.mask.name()
    assert "matte.face" not in session.picture(copied, FIRST).planes, "it shows no frames of the node it came from"
    assert "matte.face" in session.picture(tree.mask, FIRST).planes
    with pytest.raises(RuntimeError, match="cannot be cloned"):
        session.module.clone(tree.mask, "", False)
    before = times(tree.mask)
    copied["feather"].setValue(0.2)
    render(session, copied)
    assert times(tree.mask) == before and set(files(copied).values()).isdisjoint(files(tree.mask).values())
    for node in (tree.mask, copied):
        node["output_file"].setValue(files(tree.mask)[FIRST].with_name("same.####.exr").as_posix())
    press_render(session, copied, "render_range")
    settle_node(session, copied)
    assert "would both write" in line(copied)
    tree.mask["output_file"].setValue("")
    session.module.delete(copied)


def test_a_copy_in_another_script_starts_afresh(session: Host, tree: Tree, tmp_path: Path) -> None:
    """Its files are those of its own script; the first script, opened again, shows what it showed."""
    from tests.host import new_host

    for node in session.module.allNodes():
        node.setSelected(node.name() in [one.name() for one in vars(tree).values()])
    session.module.nodeCopy("%clipboard%")
    text, saved = session.clipboard, session.scripts.script()
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fsgan_nuke"}
    with new_host("-t") as other:
        plugin(other)
        other.module.scriptSaveAs((tmp_path / "other.nk").as_posix())
        other.clipboard = text
        other.module.nodePaste("%clipboard%")
        pasted = other.module.toNode(tree.blend.name())
        assert pasted["ready"].value() == 0 and pasted["result"].value() == ""
        plate = other.picture(other.module.toNode(tree.plate.name()), FIRST).planes["rgba.red"]
        assert np.array_equal(other.picture(pasted, FIRST).planes["rgba.red"], plate)
        from fsgan_nuke import paths

        assert str(paths.get_result_pattern(pasted)).startswith((tmp_path / "fsgan" / "other").as_posix())
        again = tmp_path / "again.nk"
        again.write_text(saved, encoding="utf-8")
        Path(session.script_file).write_text(saved, encoding="utf-8")
        other.module.scriptOpen(session.script_file)
        shown = other.picture(other.module.toNode(tree.blend.name()), FIRST).planes["rgba.red"]
    for name in [name for name in sys.modules if name.split(".")[0] == "fsgan_nuke"]:
        del sys.modules[name]
    sys.modules.update(kept)
    assert np.array_equal(shown, session.picture(tree.blend, FIRST).planes["rgba.red"])


def test_proxy_mode(session: Host, tree: Tree) -> None:
    """Results are of full size and lie where they lay; inputs are written in full; positions are the plate's."""
    nodes, root = session.module.nodes, session.module.root()
    full = {node: session.picture(node, FIRST) for node in (tree.blend, tree.reenact)}
    analysed = nodes.FSGAN_Analyse(inputs=[tree.plate])
    analysed["person"].setValue("point")
    analysed["person_point"].setValue([100.0, 90.0])
    mask = nodes.FSGAN_Mask(inputs=[nodes.Grade(inputs=[analysed], multiply=1.1)])
    root["proxy_type"].setValue("scale")
    root["proxy"].setValue(True)
    for node, picture in full.items():
        small = session.picture(node, FIRST)
        box, was = small.bbox, picture.bbox
        assert (small.format.width(), small.format.height()) == (112, 95)
        assert abs(box.x - was.x / 2) <= 1 and abs(box.t - was.t / 2) <= 1
        wide = Box(2 * box.x, 2 * box.y, 2 * box.r, 2 * box.t)
        rows, columns = box.shape
        mean = picture.over("rgba.red", wide).reshape(rows, 2, columns, 2).mean((1, 3))
        assert np.abs(small.planes["rgba.red"] - mean)[1:-1, 1:-1].max() < 1e-4
    from fsgan_nuke.node_job import make_node_job

    assert make_node_job(nodes.FSGAN_Mask(inputs=[analysed])).shot["target"]["person"] == "99.5,99.5"
    session.frame = FIRST
    render(session, mask, "render_frame")
    assert root["proxy"].value() is True
    written = Path(make_node_job(mask).branches[0].path.replace("####", str(FIRST)))
    assert read_image(written).display_window.width == 224
    assert read_image(files(mask)[FIRST]).display_window.width == 224
    root["proxy"].setValue(False)
    for node in (mask, analysed):
        session.module.delete(node)


def test_a_disabled_stage_is_passed_by(session: Host, tree: Tree) -> None:
    from fsgan_nuke import graph

    tree.mask["disable"].setValue(True)
    assert [one.name() for one in graph.iterate_render_nodes(tree.blend)] == [
        node.name() for node in (tree.reenact, tree.inpaint, tree.blend)
    ]
    press_render(session, tree.mask, "render_here")
    assert line(tree.mask).endswith("is it disabled?")
    tree.mask["disable"].setValue(False)


def test_names_never_become_commands(session: Host, tree: Tree, clips: Footage, tmp_path: Path) -> None:
    hostile = 'a [exec touch pwned] "b" $HOME {c}'
    folder = tmp_path / hostile
    folder.mkdir()
    plates = []
    for frame in FRAMES:
        copied = folder / f"p.{frame}.exr"
        copied.write_bytes(Path(clips.plate.replace("####", str(frame))).read_bytes())
        plates.append(copied)
    escaped = "".join("\\" + letter if letter in "[]${}\\" else letter for letter in folder.as_posix())
    plate = read(session, f"{escaped}/p.####.exr", FIRST, LAST, label=hostile.replace("[", "\\["))
    mask = session.module.nodes.FSGAN_Mask(inputs=[plate])
    render(session, mask)
    assert line(mask) == "up to date (3 frames)", "a path with brackets is handed on as it is"
    mask["output_file"].setValue(f"{escaped}/out.####.exr")
    press_render(session, mask, "render_here")
    settle_node(session, mask)
    assert "as a command" in line(mask) and not set(line(mask)) & set("[]{}$\\<")
    label = session.substitute(str(mask["label"].toScript(False)), mask["label"], 1)
    assert "as a command" in label
    assert not list(tmp_path.rglob("pwned")) and not Path("pwned").exists()
    session.module.delete(mask)


def test_swap_is_one_node(session: Host, tree: Tree, swapped: dict[int, np.ndarray], tmp_path: Path) -> None:
    swap = session.module.nodes.FSGAN_Swap(inputs=[tree.plate, tree.source])
    render(session, swap)
    assert line(swap) == "up to date (3 frames)"
    for frame in FRAMES:
        shown = session.picture(swap, frame).planes
        for place, name in enumerate(("red", "green", "blue")):
            assert np.array_equal(shown[f"rgba.{name}"], swapped[frame][..., place])
    # What its inner nodes show is there again when the script is.
    file = tmp_path / "again.nk"
    swap.showControlPanel()
    session.idle()
    session.set_knob(swap, "mask_feather", 0.1)
    session.pump_until(lambda: session.idle() is None and "stale" in line(swap), 20)
    assert line(swap) == f"Mask: stale {FIRST}-{LAST} (mask.feather)"
    file.write_text(session.scripts.script(), encoding="utf-8")
    from tests.host import new_host

    with new_host("-t") as other:
        other.plugin_path = list(session.plugin_path)
        other.module.Layer(
            "matte", ["matte.face", "matte.hair", "matte.mouth", "matte.occlusion", "matte.completed", "matte.kept"]
        )
        other.module.scriptOpen(file.as_posix())
        again = other.module.toNode(swap.fullName())
        assert again.knob("mask_feather", True).value() == pytest.approx(0.1)
        assert np.array_equal(other.picture(again, FIRST).planes["rgba.red"], swapped[FIRST][..., 0])
    swap["disable"].setValue(True)
    plate = session.picture(tree.plate, FIRST).planes["rgba.red"]
    assert np.array_equal(session.picture(swap, FIRST).planes["rgba.red"], plate)
    session.module.delete(swap)


def test_analyse_gives_curves_and_nodes(session: Host, clips: Footage) -> None:
    nodes = session.module.nodes
    plate = read(session, clips.plate, FIRST, LAST)
    analysed = nodes.FSGAN_Analyse(inputs=[plate])
    session.press(analysed, "analyse")
    assert finish(session, analysed).error is None and line(analysed) == "analysed"
    assert analysed["yaw"].isAnimated() and analysed["centre"].getKeyList() == list(FRAMES)
    assert 40 < analysed["face_size"].getValueAt(FIRST) < 160
    x, y = analysed["centre"].getValueAt(FIRST)
    assert 60 < x < 160 and 60 < y < 140
    for button, kind in (("to_tracker", "Tracker4"), ("to_corner_pin", "CornerPin2D")):
        session.press(analysed, button)
        made = next((node for node in session.module.allNodes() if node.Class() == kind), None)
        assert made is not None, line(analysed)
        if kind == "CornerPin2D":
            assert made["to1"].getKeyList() == list(FRAMES)
    mask = nodes.FSGAN_Mask(inputs=[analysed])
    from fsgan_nuke.node_job import make_node_job

    track = Path(make_node_job(mask).shot["target"]["track"])
    assert track.is_file()
    render(session, mask)
    assert line(mask) == "up to date (3 frames)"
    analysed["person"].setValue("point")
    analysed["person_point"].setValue([100.0, 90.0])
    assert make_node_job(mask).shot["target"]["person"] == "99.5,99.5"
    for node in (mask, analysed):
        session.module.delete(node)


def farm(script: Path, frames: str, output: str) -> subprocess.CompletedProcess[str]:
    """`nuke -x`, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.host", "-x", str(script), "-F", frames, "--plugin", str(ROOT / "nuke_plugin")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'nuke_plugin'}"},
    )


def test_a_farm_renders_what_is_missing(
    session: Host, tree: Tree, swapped: dict[int, np.ndarray], tmp_path: Path
) -> None:
    for path in files(tree.blend).values():
        path.unlink()
    files(tree.mask)[LAST].unlink()
    out = tmp_path / "out"
    out.mkdir()
    write = session.module.nodes.Write(
        inputs=[tree.blend], file=(out / "final.####.exr").as_posix(), file_type="exr", channels="rgb", raw=True
    )
    write["datatype"].setValue("32 bit float")
    script = Path(session.script_file)
    session.module.scriptSaveAs(script.as_posix(), 1)
    ran = farm(script, f"{FIRST}-{LAST}", str(out))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for frame in FRAMES:
        made = oiio.ImageBuf(str(out / f"final.{frame}.exr")).get_pixels(oiio.FLOAT)
        assert np.array_equal(made[..., :3], swapped[frame][..., :3])
    tree.blend["network"].setValue("no such weights")
    tree.blend["engine"].setValue("fsgan")
    session.module.scriptSaveAs(script.as_posix(), 1)
    ran = farm(script, f"{FIRST}", str(out))
    assert ran.returncode == 1 and "FSGAN_Blend" in ran.stdout + ran.stderr
    tree.blend["network"].setValue("")
    tree.blend["engine"].setValue("auto")
    session.module.delete(write)


def test_missing_frames_follow_the_knob(session: Host, tree: Tree) -> None:
    files(tree.mask)[LAST].unlink(missing_ok=True)
    tree.mask["missing_results"].setValue("error")
    with pytest.raises(EvaluationError, match=str(LAST)):
        session.picture(tree.mask, LAST)
    tree.mask["missing_results"].setValue("target")
    session.press(tree.mask, "reload")
    settle(session)
    assert line(tree.mask) == f"missing {LAST}"
    shown, plate = (session.picture(node, LAST).planes for node in (tree.mask, tree.plate))
    assert np.array_equal(shown["rgba.red"], plate["rgba.red"])


def test_a_farm_writes_graded_inputs_first(session: Host, tree: Tree, tmp_path: Path) -> None:
    """The host cannot render while it renders, so what only it can make is written when the script is loaded."""
    nodes = session.module.nodes
    tree.mask["missing_results"].setValue("black")
    graded = nodes.FSGAN_Mask(inputs=[nodes.Grade(inputs=[tree.plate], multiply=1.2)])
    write = nodes.Write(
        inputs=[graded], file=(tmp_path / "m.####.exr").as_posix(), file_type="exr", channels="all", raw=True
    )
    script = Path(session.script_file).with_name("graded.nk")
    kept = session.script_file
    session.module.scriptSaveAs(script.as_posix(), 1)
    ran = farm(script, f"{FIRST}-{FIRST + 1}", "")
    session.module.scriptSaveAs(kept, 1)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"m.{frame}.exr" for frame in (FIRST, FIRST + 1)]
    assert "matte.face" in read_image(tmp_path / f"m.{FIRST}.exr").channels
    session.module.delete(write)
    session.module.delete(graded)


def test_nodes_inside_a_group(session: Host, tree: Tree) -> None:
    nodes = session.module.nodes
    group = nodes.Group(inputs=[])
    with group:
        inlet, mask, outlet = nodes.Input(), nodes.FSGAN_Mask(), nodes.Output()
        mask.setInput(0, inlet)
        outlet.setInput(0, mask)
    group.setInput(0, tree.plate)
    render(session, mask)
    assert line(mask) == "up to date (3 frames)"
    from fsgan_nuke.node_job import make_node_job

    assert make_node_job(mask).branches == () and make_node_job(mask).shot["target"]["path"].endswith("plate.%04d.exr")
    assert "matte.face" in session.picture(group, FIRST).planes
    session.module.delete(group)


def test_holdout_keeps_the_target(session: Host, tree: Tree) -> None:
    nodes = session.module.nodes
    shape = "224 190 0 0 224 190 1 small"
    left = nodes.Crop(inputs=[nodes.Constant(color="0 0 0 1", format=shape)], box="0 0 112 190")
    matte = nodes.Merge2(inputs=[nodes.Constant(color="0 0 0 0", format=shape), left])
    mask = nodes.FSGAN_Mask(inputs=[tree.plate, matte])
    session.frame = FIRST
    render(session, mask, "render_frame")
    box = session.picture(tree.plate, FIRST).bbox
    face, held = (session.picture(node, FIRST).over("matte.face", box) for node in (tree.mask, mask))
    assert face[:, :110].max() > 0.9 and held[:, :110].max() == 0
    assert held[:, 116:].max() > 0.9
    session.module.delete(mask)


def test_drive(session: Host, tree: Tree, clips: Footage) -> None:
    driver = read(session, clips.plate, FIRST, LAST)
    drive = session.module.nodes.FSGAN_Drive(inputs=[tree.plate, driver])
    session.frame = FIRST
    render(session, drive, "render_frame")
    assert line(drive) == f"missing {FIRST + 1}-{LAST}"
    shown = session.picture(drive, FIRST)
    assert shown.bbox == session.picture(tree.plate, FIRST).bbox and "depth.Z" in shown.planes
    assert files(drive)[FIRST].is_file()
    session.module.delete(drive)
