"""What a compositor expects of a node: mask and hold-out channels, bbox, presets, reset, versions, a manual, trees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsgan_core.contract.version import __version__
from tests.host import Host
from tests.nuke.conftest import FIRST, LAST, NODES, Footage, build, finish, line, press_render, read, settle

SHAPE = "224 190 0 0 224 190 1 small"


@pytest.fixture
def clean(session: Host) -> Iterator[Host]:
    """The session; what a test makes is deleted after it."""
    session.messages.clear()
    before = {node.fullName() for node in session.module.allNodes()}
    yield session
    settle(session)
    assert [text for kind, text in session.messages if kind in ("traceback", "message")] == []
    for node in session.module.allNodes():
        if node.fullName() not in before:
            session.module.delete(node)


@pytest.fixture(scope="module")
def blended(session: Host, clips: Footage) -> Any:
    """A Blend with one rendered frame."""
    tree = build(session, clips)
    session.module.frame(FIRST)
    press_render(session, tree.blend, "render_frame")
    assert finish(session, tree.blend).error is None, line(tree.blend)
    return tree.blend


def make_left_half(host: Host, channel: str) -> Any:
    """A picture whose `channel` is 1 in its left half; its alpha is 1 everywhere."""
    nodes = host.module.nodes
    layer = channel.partition(".")[0]
    full = nodes.Constant(color="1 1 1 1", format=SHAPE)
    left = nodes.Crop(inputs=[nodes.Constant(color="1 1 1 1", format=SHAPE)], box="0 0 112 190")
    empty = nodes.Merge2(inputs=[nodes.Constant(color="0 0 0 0", format=SHAPE), left])
    assert layer != "rgba"
    return nodes.Copy(inputs=[full, empty], from0="rgba.red", to0=channel)


class TestMask:
    def test_the_mask_may_be_any_channel(self, clean: Host, blended: Any) -> None:
        clean.module.frame(FIRST)
        box = clean.picture(blended.input(0), FIRST).bbox
        plate, whole = (clean.picture(node, FIRST).over("rgba.red", box) for node in (blended.input(0), blended))
        assert (plate[:, :112] != whole[:, :112]).any() and (plate[:, 112:] != whole[:, 112:]).any()
        blended.setInput(4, make_left_half(clean, "depth.Z"))
        assert (clean.picture(blended, FIRST).over("rgba.red", box) == whole).all()
        clean.set_knob(blended, "maskChannel", "depth.Z")
        half = clean.picture(blended, FIRST).over("rgba.red", box)
        assert (half[:, :112] == whole[:, :112]).all() and (half[:, 112:] == plate[:, 112:]).all()
        clean.set_knob(blended, "invert_mask", True)
        other = clean.picture(blended, FIRST).over("rgba.red", box)
        assert (other[:, :112] == plate[:, :112]).all() and (other[:, 112:] == whole[:, 112:]).all()
        clean.set_knob(blended, "invert_mask", False)
        blended.setInput(4, None)  # without a mask the channel does not matter
        assert (clean.picture(blended, FIRST).over("rgba.red", box) == whole).all()
        clean.set_knob(blended, "maskChannel", "rgba.alpha")

    @pytest.mark.parametrize("name", ["FSGAN_Blend", "FSGAN_Swap", "FSGAN_Drive"])
    def test_mask_invert_mix_and_bbox_stand_together(self, clean: Host, name: str) -> None:
        node = clean.module.createNode(name)
        prefix = "live_" if name == "FSGAN_Swap" else ""
        names = list(node.knobs())
        first = names.index(f"{prefix}maskChannel")
        wanted = [f"{prefix}{knob}" for knob in ("maskChannel", "invert_mask", "mix", "bbox")]
        assert names[first : first + 4] == wanted
        assert node[f"{prefix}bbox"].getLinkedKnob().values()[0] == "union"


class TestHoldout:
    def test_another_channel_is_written_by_nuke(self, clean: Host, clips: Footage) -> None:
        plate = read(clean, clips.plate, FIRST, LAST)
        holdout = make_left_half(clean, "depth.Z")
        mask = clean.module.nodes.FSGAN_Mask(inputs=[plate, holdout])
        clean.module.frame(FIRST)
        press_render(clean, mask, "render_frame")
        assert finish(clean, mask).error is None
        box = clean.picture(plate, FIRST).bbox
        assert clean.picture(mask, FIRST).over("matte.face", box).max() == 0  # its alpha is 1 everywhere
        mask["holdout_channel"].setValue("depth.Z")
        press_render(clean, mask, "render_frame")
        assert finish(clean, mask).error is None, line(mask)
        held = clean.picture(mask, FIRST).over("matte.face", box)
        assert held[:, :110].max() == 0 and held[:, 116:].max() > 0.9

    def test_a_file_is_read_directly_only_for_its_alpha(self, clean: Host, clips: Footage) -> None:
        from fsgan_nuke.node_job import make_node_job

        plate = read(clean, clips.plate, FIRST, LAST)
        mask = clean.module.nodes.FSGAN_Mask(inputs=[plate, plate])
        assert make_node_job(mask).branches == ()
        mask["holdout_channel"].setValue("depth.Z")
        job = make_node_job(mask)
        assert [(branch.name, branch.layer) for branch in job.branches] == [("holdout", "depth")]
        assert job.shot["holdout"]["part"] == "depth.Z"

    def test_inside_a_swap_its_own_knob_counts(self, clean: Host, clips: Footage) -> None:
        from fsgan_nuke.node_job import make_node_job

        plate, source = read(clean, clips.plate, FIRST, LAST), read(clean, clips.source, 1, 1)
        swap = clean.module.nodes.FSGAN_Swap(inputs=[plate, source, plate])
        swap["holdout_channel"].setValue("depth.Z")
        assert make_node_job(swap.node("Mask")).shot["holdout"]["part"] == "depth.Z"


class TestPresets:
    def test_a_preset_of_nuke_brings_values_but_no_files(self, clean: Host, clips: Footage) -> None:
        """Nuke stores hidden knobs too; another node's files must not be shown, nor overwritten."""
        plate = read(clean, clips.plate, FIRST, LAST)
        one, other = (clean.module.nodes.FSGAN_Mask(inputs=[plate]) for _ in range(2))
        clean.module.frame(FIRST)
        press_render(clean, one, "render_frame")
        assert finish(clean, one).error is None
        one["feather"].setValue(0.2)
        assert clean.module.saveUserPreset(one, "soft")
        assert "files_name" in clean.presets["FSGAN_Mask", "soft", True]
        own_name = other["files_name"].value()
        clean.module.applyUserPreset(other.fullName(), "soft")
        clean.pump_until(lambda: other["files_name"].value() == own_name, 5)
        settle(clean)
        assert other["feather"].value() == 0.2
        assert other["ready"].value() == 0 and other["result"].value() == ""
        assert line(other).startswith("not rendered")

    def test_our_presets_are_in_nukes_menu(self, clean: Host) -> None:
        from fsgan_nuke import presets_menu

        settings = {"blend.colour": 0.0, "mask.as_published": True, "reenact.exclude": ["1", "2"], "colour.exposure": 1}
        presets_menu.register_presets({"presets": {"ours": {"settings": settings}}})
        assert clean.presets["FSGAN_Blend", "ours", False] == {"colour": "0", "preset": "ours"}
        assert clean.presets["FSGAN_Drive", "ours", False] == {"mask_as_published": "true"}
        blend, swap = clean.module.createNode("FSGAN_Blend"), clean.module.createNode("FSGAN_Swap")
        for node in (blend, swap):
            clean.module.applyPreset(node.fullName(), "ours")
        assert (blend["colour"].value(), blend["preset"].value()) == (0.0, "ours")
        assert swap.node("Mask")["as_published"].value() is True
        assert swap.node("Reenact")["exclude"].value() == "1, 2"


class TestReset:
    @pytest.mark.parametrize("name", ["FSGAN_Mask", "FSGAN_Swap", "FSGAN_Drive"])
    def test_every_knob_of_the_stage_and_no_other(self, clean: Host, name: str) -> None:
        node = clean.module.createNode(name)
        prefix = "" if name == "FSGAN_Mask" else "mask_"
        owner = node.node("Mask") if name == "FSGAN_Swap" else node
        inner = prefix if name == "FSGAN_Drive" else ""
        owner[f"{inner}feather"].setAnimated()
        owner[f"{inner}feather"].setValueAt(0.3, 5)
        owner[f"{inner}size"].setExpression("frame")
        owner[f"{inner}beard"].setValue("keep")
        owner[f"{inner}hands"].setValue(False)
        node["frames"].setValue("1-5")
        steps = len(clean.undo_steps)
        clean.press(node, "reset_mask")
        assert not owner[f"{inner}feather"].isAnimated() and not owner[f"{inner}size"].hasExpression()
        values = [owner[f"{inner}{knob}"].value() for knob in ("feather", "size", "beard", "hands")]
        assert values == [0.07, 0.0, "replace", True] and node["frames"].value() == "1-5"
        assert len(clean.undo_steps) == steps + 1

    def test_unset_parameters_of_the_analysis(self, clean: Host) -> None:
        node = clean.module.createNode("FSGAN_Analyse")
        node["person_point"].setValue([5.0, 6.0])
        node["minimum_size"].setValue(5)
        clean.press(node, "reset_analyse")
        point = [node["person_point"].getValueAt(1, index) for index in (0, 1)]
        assert (point, node["minimum_size"].value()) == ([0.0, 0.0], 32.0)


def test_info_says_both_versions(clean: Host) -> None:
    from fsgan_nuke.weights_menu import describe_core

    for name in NODES:
        node = clean.module.createNode(name)
        assert node["plugin_version"].value() == __version__
        assert node["about"].value() == "not started yet"
    assert describe_core({"version": __version__, "device": "cpu"}) == f"{__version__}, networks on cpu"
    assert "install the same version" in describe_core({"version": "0.0.1", "device": "cpu"})


def test_colours_tell_what_a_node_does(clean: Host) -> None:
    colours = {name: clean.module.createNode(name)["tile_color"].value() for name in NODES}
    assert len(set(colours.values())) == 5
    assert colours["FSGAN_Swap"] == colours["FSGAN_Drive"] and colours["FSGAN_Reenact"] == colours["FSGAN_Inpaint"]


def test_rarely_used_groups_are_folded(clean: Host) -> None:
    swap = clean.module.createNode("FSGAN_Swap")
    groups = [name for name in swap.knobs() if name.endswith("_group")]
    assert [name for name in groups if swap[name].value()] == ["consent_group"] and len(groups) == 7


def test_labels_say_what_they_do() -> None:
    from fsgan_core.contract.param_fields import iterate_param_fields
    from fsgan_core.contract.params import ReenactParams

    labels = {field.name: field.label for field in iterate_param_fields(ReenactParams)}
    assert labels["likeness"] == "likeness (face shape)"


class TestManual:
    def test_pages_are_made_when_it_is_opened(
        self, clean: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        import webbrowser

        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        opened: list[str] = []
        monkeypatch.setattr(webbrowser, "open", opened.append)
        node = clean.module.createNode("FSGAN_Mask")
        clean.press(node, "open_manual")
        page = Path(opened[0].removeprefix("file://"))
        assert page.suffix == ".html" and page.is_file()
        for made in page.parent.glob("*.html"):
            text = re.sub(r"<(code|pre)>.*?</\1>", "", made.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert "](" not in text and "**" not in text and "```" not in text, made.name
            for target in re.findall(r'(?:href|src)="([^"#]+)', text):
                if target.startswith("file://"):
                    assert Path(target.removeprefix("file://")).exists(), (made.name, target)
                elif ":" not in target:
                    assert (page.parent / target).is_file(), (made.name, target)

    def test_a_copy_of_the_plugin_has_it(self, tmp_path: Path) -> None:
        from fsgan_core.nuke_install import deploy_plugin

        plugin = deploy_plugin(tmp_path / "copy")
        assert (plugin.parent / "docs" / "nuke.md").is_file()


class TestTrees:
    @pytest.mark.parametrize(
        ("item", "classes"),
        [
            ("Swap", {"FSGAN_Analyse": 2, "FSGAN_Swap": 1, "Write": 1}),
            ("Drive", {"FSGAN_Analyse": 2, "FSGAN_Drive": 1, "Write": 1}),
            ("Fix by layers", {"FSGAN_Swap": 1, "Copy": 1, "Grade": 1, "Keymix": 1, "Roto": 1, "Write": 1}),
            ("Atlas painting", {"FSGAN_Swap": 1, "RotoPaint": 1, "Write": 2}),
        ],
    )
    def test_each_job_has_one(self, clean: Host, item: str, classes: dict[str, int]) -> None:
        before = set(clean.module.allNodes())
        clean.choose(f"FSGAN/Trees/{item}", "Nodes")
        made = [node for node in clean.module.allNodes() if node not in before]
        for kind, count in classes.items():
            assert sum(node.Class() == kind for node in made) == count
        note = next(node for node in made if node.Class() == "StickyNote")
        assert note["label"].value().startswith("1 ") and "\n2 " in note["label"].value()
        main = next(node for node in made if node.Class() in ("FSGAN_Swap", "FSGAN_Drive"))
        assert [pipe.Class() for pipe in (main.input(0), main.input(1))] == ["FSGAN_Analyse"] * 2
        write = next(node for node in made if node.name() == "Write")
        from fsgan_nuke import graph

        assert main in graph.list_upstream_nodes(write) or item == "Atlas painting"

    def test_the_layers_can_be_read_and_fix_the_swap(self, clean: Host, clips: Footage) -> None:
        """The whole way of the tree: render, read the layers, grade the face where the roto is drawn."""
        before = set(clean.module.allNodes())
        clean.choose("FSGAN/Trees/Fix by layers", "Nodes")
        made = {node.name(): node for node in clean.module.allNodes() if node not in before}
        made["Target"]["file"].fromUserText(f"{clips.plate} {FIRST}-{LAST}")
        made["Source"]["file"].fromUserText(f"{clips.source} 1-1")
        swap, fix = made["Swap"], made["Fix"]
        clean.module.frame(FIRST)
        clean.press(swap, "read_layers")
        assert "set Output > layers to 'all' and render first" in line(swap)
        press_render(clean, swap, "render_frame")
        assert finish(clean, swap).error is None, line(swap)
        clean.press(swap, "read_layers")
        layers = next(node for node in clean.module.allNodes() if node.name().startswith("FSGAN_Layers"))
        made["Layers"].setInput(0, layers)
        # In place of the drawn shape: everywhere.
        everywhere = clean.module.nodes.Constant(color="1 1 1 1", format=SHAPE)
        fix.setInput(2, everywhere)
        made["GradeFace"]["multiply"].setValue(0.5)
        box = clean.picture(swap, FIRST).bbox
        completed = clean.picture(layers, FIRST).over("completed.red", box)
        assert completed.max() > 0.05
        fixed = clean.picture(fix, FIRST).over("rgba.red", box)
        assert abs(fixed[completed > 0.05] - completed[completed > 0.05] * 0.5).max() < 1e-3


def test_a_swap_counts_and_clears_the_files_of_its_stages(clean: Host, clips: Footage) -> None:
    plate, source = read(clean, clips.plate, FIRST, LAST), read(clean, clips.source, 1, 1)
    swap = clean.module.nodes.FSGAN_Swap(inputs=[plate, source])
    clean.press(swap, "reload")
    settle(clean)
    assert line(swap).startswith("not rendered") and swap["files_size"].value() == "0 files, 0 kB"
    clean.module.frame(FIRST)
    press_render(clean, swap, "render_frame")
    assert finish(clean, swap).error is None
    clean.press(swap, "reload")
    settle(clean)
    assert swap["files_size"].value().startswith("4 files, ")
    clean.answers = [True]
    clean.press(swap, "clear_files")
    settle(clean)
    assert swap["files_size"].value() == "0 files, 0 kB" and line(swap).startswith("not rendered")
    clean.messages.clear()
