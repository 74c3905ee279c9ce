"""A Nuke script read from its text: words as Tcl has them, the graph, and the job that is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fsgan_core.contract.errors import InputError, MachineError
from fsgan_core.farm.bundle import write_bundle
from fsgan_core.farm.nuke_bundle import make_script_bundle
from fsgan_core.farm.nuke_script import load_script, parse_script, split_commands, split_list
from fsgan_core.farm.nuke_tasks import load_node_jobs, render_nodes
from fsgan_core.farm.template import FarmOptions
from tests.farm.test_farm import openjd, values_of
from tests.host import tcl

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = r"""#! /usr/local/Nuke15.0/Nuke15.0 -nx
version 15.0 v1
define_window_layout_xml {<?xml version="1.0"?> {}}
Root {
 inputs 0
 name /shows/a/comp.nk
 first_frame 1001
 last_frame 1020
 label "\[exec touch pwned] [exec touch pwned]"
}
BackdropNode { inputs 0 name Backdrop1 }
Read {
 inputs 0
 file plate.####.exr
 name Plate
}
set N1 [stack 0]
Dot { name Dot1 }
Group {
 name Fix
 addUserKnob {20 User l "a \{ b"}
}
 Input { inputs 0 name Input1 }
 FSGAN_Mask { name Mask1 }
 Output { name Output1 }
end_group
Write { file out/a.####.exr name Final render_order 2 }
push $N1
push 0
FSGAN_Swap { inputs 2 name Swap1 blend_gain {{"frame > 3 ? 1 : 0"}} }
set C1 [stack 0]
Write { file out/b.####.exr name Pre use_limit true first 1003 last 1005 }
push $N1
Write { file out/c.####.exr name Copy }
push $C1
Write { file out/d.####.exr name Off disable true }
clone $C1 { xpos 1 }
push $N1
Write { name Late use_limit true first {{root.first_frame}} last 1005 disable {{"1"}} }
"""


class TestWords:
    @given(st.lists(st.text(st.sampled_from('ab {}[]"\\;$#\n\té'), max_size=6), min_size=1, max_size=4))
    def test_lists_are_split_as_by_tcl(self, words: list[str]) -> None:
        assert split_list(tcl.join(words)) == words

    @given(st.text(st.sampled_from('ab {}[]"\\;$#\n'), max_size=40))
    def test_any_text_gives_words_or_an_error(self, text: str) -> None:
        try:
            assert all(isinstance(word, str) for words in split_commands(text) for word in words)
        except InputError as error:
            assert "never closed" in str(error)

    def test_scripts_are_split_as_by_tcl(self) -> None:
        for path in sorted((ROOT / "gizmos").rglob("*.nk")) + sorted((ROOT / "gizmos").glob("*.gizmo")):
            text = path.read_text(encoding="utf-8")
            ours = [words for words in split_commands(text) if words[0] not in ("set", "push")]
            theirs = [words for words in tcl.trace(text) if words[0] not in ("set", "push")]
            assert ours == theirs, path


class TestGraph:
    def test_nodes_writes_and_ranges_are_found(self) -> None:
        script = parse_script(SCRIPT)
        assert {node.name for node in script.nodes.values() if node.is_fsgan} >= {"Fix.Mask1", "Swap1"}
        assert [node.name for node in script.list_writes()] == ["Pre", "Copy", "Late", "Final"]
        above = {
            name: {node.name for node in script.list_upstream(name) if node.is_fsgan}
            for name in ("Final", "Pre", "Copy", "Late")
        }
        assert above == {"Final": {"Fix.Mask1"}, "Pre": {"Swap1"}, "Copy": set(), "Late": set()}
        assert script.find_write_range(script.nodes["Final"]) == (1001, 1020)
        assert script.find_write_range(script.nodes["Pre"]) == (1003, 1005)
        with pytest.raises(InputError, match="only Nuke can say"):
            script.find_write_range(script.nodes["Late"])
        assert [node.node_class for node in script.nodes.values() if node.name.startswith("Swap1")] == [
            "FSGAN_Swap"
        ] * 2

    @pytest.mark.parametrize("text", ["", "Root { name x", 'Read { name "x }', "push 0\n", "# nothing\n"])
    def test_no_script(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "a.nk").write_text(text)
        with pytest.raises(InputError, match=r"a\.nk: "):
            load_script(tmp_path / "a.nk")

    def test_a_group_in_a_group(self) -> None:
        """Full names are as Nuke writes them, and what is above a Write is found through both."""
        script = parse_script(
            "Group { inputs 0 name A }\nGroup { inputs 0 name B }\nRead { inputs 0 name R }\n"
            "end_group\nDot { name D }\nend_group\nWrite { name W }\n"
        )
        assert list(script.nodes) == ["A", "A.B", "A.B.R", "A.D", "W"]
        assert {node.name for node in script.list_upstream("W")} == set(script.nodes)
        assert [node.name for node in script.list_upstream("A.B")] == ["A.B", "A.B.R"]

    def test_empty_stack(self) -> None:
        script = parse_script("Merge2 { inputs 2+1 name M }\npush $N9\nend_group\nWrite { name W }\n")
        assert script.nodes["M"].inputs == () and script.nodes["W"].inputs == ()


class TestBundle:
    @pytest.fixture
    def script(self, tmp_path: Path) -> Path:
        path = tmp_path / "comp {v2} $x.nk"
        path.write_text(SCRIPT)
        for frame in range(1001, 1004):
            (tmp_path / f"plate.{frame}.exr").touch()
        return path

    def test_is_a_job_for_openjd(self, script: Path, tmp_path: Path) -> None:
        made = make_script_bundle(script, FarmOptions(chunk=4, weight_folders=("/w",)), writes=("Final", "Pre", "Copy"))
        write_bundle(made, tmp_path / "job")
        done = openjd("check", tmp_path / "job" / "template.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        steps = {step["name"]: step for step in made.template["steps"]}
        assert list(steps) == ["Prepare", "Analyse", "Nodes", "Write Pre", "Write Copy", "Write Final"]
        after = {name: [one["dependsOn"] for one in step.get("dependencies", ())] for name, step in steps.items()}
        assert after["Write Final"] == ["Nodes", "Write Pre", "Write Copy"], "render_order"
        assert after["Write Copy"] == [] and after["Write Pre"] == ["Nodes"]
        values = values_of(tmp_path / "job")
        assert (
            values["Weights1"] == "/w"
            and "weights.1={{Param.Weights1}}" in steps["Nodes"]["script"]["actions"]["onRun"]["args"]
        )
        assert (values["Frames"], values["Frames1"]) == ("1001-1020", "1003-1005") and made.task_count == 5
        assert values["NukeScript"] == str(script)
        assets = yaml.safe_load((tmp_path / "job" / "asset_references.yaml").read_text())["assetReferences"]["inputs"]
        assert assets["filenames"] == [str(script)] + [f"{tmp_path}/plate.{frame}.exr" for frame in range(1001, 1004)]
        text = (tmp_path / "job" / "template.yaml").read_text()
        assert str(tmp_path) not in text and not list(tmp_path.rglob("pwned"))

    def test_frames_and_writes_that_are_asked_for(self, script: Path) -> None:
        made = make_script_bundle(script, frames="1001,1003", writes=("Late", "Pre"))
        said = {one["name"]: one["value"] for one in made.values["parameterValues"]}
        assert said["Frames"] == said["Frames1"] == said["Frames2"] == "1001,1003"

    @pytest.mark.parametrize(
        ("writes", "frames", "why"),
        [
            (("Copy",), "", "no FSGAN node is above Copy"),
            (("Off",), "", "no Write Off that is switched on"),
            (("Late", "Pre"), "", "only Nuke can say"),
            (("Pre",), "x", "x"),
        ],
    )
    def test_scripts_that_cannot_be_sent(self, script: Path, writes: tuple[str, ...], frames: str, why: str) -> None:
        with pytest.raises(InputError, match=why):
            make_script_bundle(script, writes=writes, frames=frames)

    @pytest.mark.parametrize("text", ["", "[]", '{"version": 9, "nodes": []}', '{"version": 1, "nodes": [{}]}'])
    def test_nodes_that_cannot_be_read(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Prepare"):
            load_node_jobs(tmp_path / "nodes.json")
        (tmp_path / "nodes.json").write_text(text)
        with pytest.raises(InputError, match=r"nodes\.json"):
            load_node_jobs(tmp_path / "nodes.json")

    def test_machine_with_another_installation_refuses(self, tmp_path: Path) -> None:
        shot = {"target": "plate.####.exr", "output": "m.####.exr"}
        (tmp_path / "nodes.json").write_text(
            json.dumps({"version": 1, "nodes": [{"node": "Mask1", "shot": shot, "stage": "mask", "upstream": {}}]})
        )
        with pytest.raises(InputError, match="step Analyse writes it"):
            render_nodes(tmp_path / "nodes.json", "1", tmp_path)
        (tmp_path / "expected.json").write_text(json.dumps({"Mask1": "fsgan 0.0; mask geometric none"}))
        with pytest.raises(MachineError, match=r"Mask1: .* would not render the same: it has fsgan .*; mask geometric"):
            render_nodes(tmp_path / "nodes.json", "1", tmp_path)
