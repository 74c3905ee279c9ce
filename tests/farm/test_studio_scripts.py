"""Nuke scripts as studios have them: variable groups, clones, precomps, wrapped Writes, Tcl in file names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from fsgan_core.contract.errors import InputError
from fsgan_core.farm.nuke_assets import find_assets, resolve_file_name
from fsgan_core.farm.nuke_bundle import make_script_bundle
from fsgan_core.farm.nuke_script import load_script, parse_script
from fsgan_core.farm.template import FarmOptions, check_literal, make_common_parameters, make_step, make_template

ROOT = "Root {{\n inputs 0\n name {name}\n first_frame 1001\n last_frame 1010\n{more}}}\n"
READS = (
    "Read {\n inputs 0\n file plate.####.exr\n name Read1\n}\nset N1 [stack 0]\n"
    "Read {\n inputs 0\n file src.mov\n name Read2\n}\npush $N1\n"
)
SWAP = "FSGAN_Swap {\n inputs 2\n name FSGAN_Swap1\n}\n"
WRITE = "Write {\n file out/c.####.exr\n name Write1\n}\n"
GROUP_BODY = (
    " Input {\n  inputs 0\n  name Input1\n }\n Grade {\n  name Grade1\n }\n Output {\n  name Output1\n }\nend_group\n"
)
CLONES = """Read {
 inputs 0
 file plate.####.exr
 name Read1
}
set N1 [stack 0]
clone node7f2c18e3d400|Read|4242 Read {
 inputs 0
 file src.mov
 name Read2
}
set C18e3d400 [stack 0]
push $N1
clone node7f2c18e3d800|FSGAN_Swap|4242 FSGAN_Swap {
 inputs 2
 name FSGAN_Swap1
}
"""


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """A folder with a plate, a source and a folder for scripts."""
    for frame in (1001, 1002):
        (tmp_path / f"plate.{frame}.exr").touch()
    (tmp_path / "src.mov").touch()
    (tmp_path / "nk").mkdir()
    return tmp_path


def save(folder: Path, body: str, more: str = "") -> Path:
    path = folder / "comp.nk"
    path.write_text("version 16.0 v1\n" + ROOT.format(name=path, more=more) + body)
    return path


def steps(path: Path, **options: Any) -> list[str]:
    return [step["name"] for step in make_script_bundle(path, **options).template["steps"]]


def assets(path: Path) -> dict[str, Any]:
    references: dict[str, Any] = make_script_bundle(path).assets["assetReferences"]
    return references


class TestGroups:
    @pytest.mark.parametrize(
        "body",
        [
            READS + SWAP + "VariableGroup {\n name VariableGroup1\n}\n" + GROUP_BODY + WRITE,
            READS + SWAP + "LiveGroup {\n name LiveGroup1\n}\n" + GROUP_BODY + WRITE,
            READS + SWAP + "Precomp {\n file a.nk\n name Precomp1\n}\n" + GROUP_BODY + WRITE,
            READS + SWAP + "Precomp {\n file a.nk\n name Precomp1\n}\n" + WRITE,
            READS + SWAP + "Group {\n name G\n}\n Precomp {\n  inputs 0\n  name P\n }\n" + GROUP_BODY + WRITE,
            CLONES + WRITE,
        ],
        ids=["VariableGroup", "LiveGroup", "Precomp with contents", "Precomp", "Precomp in a group", "clones"],
    )
    def test_the_node_above_is_rendered(self, shot: Path, body: str) -> None:
        made = make_script_bundle(save(shot, body))
        assert [step["name"] for step in made.template["steps"]] == ["Prepare", "Analyse", "Nodes", "Write Write1"]
        assert made.notes[0] == "nodes: FSGAN_Swap1"

    def test_a_clone_of_a_master_form(self) -> None:
        script = parse_script(CLONES + "clone node7f2c18e3d800|FSGAN_Swap|4242 {\n inputs 1\n name Again\n}\n" + WRITE)
        assert {node.name for node in script.list_upstream("Write1")} == {
            "Write1",
            "Again",
            "FSGAN_Swap1",
            "Read1",
            "Read2",
        }
        assert script.nodes["Again"].node_class == "FSGAN_Swap"
        assert script.nodes["FSGAN_Swap1"].inputs == ("Read1", "Read2")


class TestSwitchedOff:
    def test_a_node_makes_no_step(self, shot: Path) -> None:
        off = SWAP.replace("name FSGAN", "disable true\n name FSGAN")
        with pytest.raises(InputError, match="no FSGAN node is above Write1"):
            make_script_bundle(save(shot, READS + off + WRITE))

    def test_only_its_first_input_counts(self, shot: Path) -> None:
        body = (
            READS + SWAP + "Read {\n inputs 0\n file plate.####.exr\n name B\n}\n"
            "Merge2 {\n inputs 2\n disable true\n name Merge1\n}\n" + WRITE
        )
        with pytest.raises(InputError, match="no FSGAN node is above Write1"):  # Swap1 is the second input
            make_script_bundle(save(shot, body))

    def test_a_group_with_a_node(self, shot: Path) -> None:
        group = "Group {\n name G\n%s}\n Input {\n  inputs 0\n  name I\n }\n FSGAN_Mask {\n  name M\n }\nend_group\n"
        assert "Nodes" in steps(save(shot, READS + group % "" + WRITE))
        with pytest.raises(InputError, match="no FSGAN node"):
            make_script_bundle(save(shot, READS + group % " disable true\n" + WRITE))

    def test_an_expression_counts_as_on(self, shot: Path) -> None:
        body = READS + SWAP.replace("name FSGAN", 'disable {{"frame < 5"}}\n name FSGAN') + WRITE
        assert "Nodes" in steps(save(shot, body))


class TestWritesInGroups:
    WRAPPED = (
        "Group {\n name StudioWrite1\n%s}\n Input {\n  inputs 0\n  name I\n }\n"
        + WRITE.replace("Write1", "Inner")
        + "end_group\n"
    )

    def test_are_named_in_a_remark(self, shot: Path) -> None:
        made = make_script_bundle(save(shot, READS + SWAP + WRITE + self.WRAPPED % ""))
        assert any(
            "warning: Writes inside groups are not part of the job: StudioWrite1.Inner" in note for note in made.notes
        )
        off = make_script_bundle(save(shot, READS + SWAP + WRITE + self.WRAPPED % " disable true\n"))
        assert not any("StudioWrite1" in note for note in off.notes)

    def test_and_in_the_error_if_there_is_no_other(self, shot: Path) -> None:
        with pytest.raises(InputError, match=r"no Write at its top .*: StudioWrite1\.Inner"):
            make_script_bundle(save(shot, READS + SWAP + self.WRAPPED % ""))


class TestAssets:
    def read(self, file: str, name: str = "Read1") -> str:
        return f'Read {{\n inputs 0\n file "{file}"\n name {name}\n}}\n'

    def script(self, folder: Path, file: str, more: str = "") -> Path:
        source = self.read("src.mov", "Read2")
        return save(folder, source + self.read(file) + SWAP + WRITE, more)

    @pytest.mark.parametrize(
        ("file", "more"),
        [
            (r"\[file dirname \[value root.name]]/../plate.%04d.exr", ""),
            (r"\[file dirname \[knob root.name]]/../plate.%04d.exr", ""),
            (r"\[python \{nuke.script_directory()\}]/../plate.####.exr", ""),
            (r"\[getenv FSGAN_TEST_PLATES]/plate.####.exr", ""),
            (r"\$env(FSGAN_TEST_PLATES)/plate.####.exr", ""),
            (r"\[file dirname \[file dirname \[value root.name]]]/plate.####.exr", ""),
            (r"\[value root.project_directory]/plate.####.exr", " project_directory {plates}\n"),
            ("plate.####.exr", " project_directory {plates}\n"),
            ("plate.####.exr", ' project_directory "\\[python \\{nuke.script_directory()\\}]/.."\n'),
            ("../plate.####.exr", ' project_directory "\\[file dirname \\[value root.name]]"\n'),
            ("../plate.####.exr", ""),
        ],
    )
    def test_file_names(self, shot: Path, monkeypatch: pytest.MonkeyPatch, file: str, more: str) -> None:
        monkeypatch.setenv("FSGAN_TEST_PLATES", str(shot))
        path = self.script(shot / "nk", file, more.replace("{plates}", str(shot)))
        found = assets(path)["inputs"]["filenames"]
        assert {str(shot / f"plate.{frame}.exr") for frame in (1001, 1002)} <= set(found)

    @pytest.mark.parametrize(
        "file",
        [r"\[exec ls]/a.exr", r"\[getenv FSGAN_NO_SUCH]/a.exr", r"\$x/a.exr", r"\[python \{1+1\}].exr", "[" * 99],
    )
    def test_what_only_nuke_knows_is_a_remark(self, shot: Path, file: str) -> None:
        if file.startswith("[["):
            script = parse_script("Write {\n name w\n}\n")
            assert resolve_file_name(file, script, shot / "a.nk") is None
            return
        notes = make_script_bundle(self.script(shot, file)).notes
        assert any(note.startswith("warning: Read1: only Nuke can evaluate the file name") for note in notes)

    def test_what_is_not_there_is_a_remark(self, shot: Path) -> None:
        notes = make_script_bundle(self.script(shot, "gone.####.exr")).notes
        assert any(note.startswith("warning: Read1: ") and "gone.####.exr" in note for note in notes)

    def test_views_and_outputs(self, shot: Path) -> None:
        for view in ("left", "right"):
            (shot / view).mkdir()
            (shot / view / "p.0001.exr").touch()
        views = ' views "left #ff0000\nright #00ff00"\n'
        path = self.script(shot, "%V/p.####.exr", views)
        path.write_text(path.read_text().replace("out/c.####.exr", "out/%V/c.####.exr"))
        found = assets(path)
        assert {str(shot / view / "p.0001.exr") for view in ("left", "right")} <= set(found["inputs"]["filenames"])
        assert {str(shot / "out" / view) for view in ("left", "right")} <= set(found["outputs"]["directories"])

    def test_a_folder_for_each_frame(self, shot: Path) -> None:
        path = self.script(shot, "plate.####.exr")
        path.write_text(path.read_text().replace("out/c.####.exr", "out/####/c.exr"))
        assert str(shot / "out") in assets(path)["outputs"]["directories"]

    def test_colour_config_and_other_nodes(self, shot: Path) -> None:
        (shot / "ocio").mkdir()
        for name in ("ocio/show.ocio", "grade.cube", "cam.abc", "other.nk"):
            (shot / name).touch()
        path = self.script(shot, "plate.####.exr", " OCIO_config custom\n customOCIOConfigPath ocio/show.ocio\n")
        body = (
            "OCIOFileTransform {\n inputs 0\n file grade.cube\n name T\n}\n"
            "Camera3 {\n inputs 0\n file cam.abc\n name C\n}\n"
            "Precomp {\n inputs 0\n file other.nk\n name P\n}\nReadGeo2 {\n inputs 0\n file gone.obj\n name Geo\n}\n"
        )
        path.write_text(path.read_text() + body)
        made = make_script_bundle(path)
        found = made.assets["assetReferences"]["inputs"]
        assert {str(shot / name) for name in ("ocio/show.ocio", "grade.cube", "cam.abc", "other.nk")} <= set(
            found["filenames"]
        )
        assert str(shot / "ocio") in found["directories"]
        assert any(note.startswith("warning: Geo: ") for note in made.notes)


class TestBounds:
    def test_a_chain_of_20000_nodes(self, shot: Path) -> None:
        started = time.monotonic()
        body = READS + SWAP + "".join(f"A {{\n name x{number}\n}}\n" for number in range(20_000)) + WRITE
        assert "Nodes" in steps(save(shot, body), frames="1001")
        assert time.monotonic() - started < 5.0

    def test_groups_in_groups(self) -> None:
        started = time.monotonic()
        script = parse_script("Group {\n name g\n}\n" * 3000 + "end_group\n" * 3000 + WRITE)
        script.list_upstream("Write1")
        script.list_grouped_writes()
        assert time.monotonic() - started < 5.0

    @pytest.mark.parametrize("knob", ["first_frame", "last_frame"])
    def test_huge_numbers(self, shot: Path, knob: str) -> None:
        path = save(shot, READS + SWAP + WRITE)
        path.write_text(path.read_text().replace(f"{knob} 10", f"{knob} " + "9" * 5000))
        with pytest.raises(InputError, match=f"{knob} is 9+, which only Nuke can say") as caught:
            make_script_bundle(path)
        assert len(str(caught.value)) < 300

    def test_huge_places_and_inputs(self) -> None:
        script = parse_script(
            READS + "Merge2 {\n inputs 9999+9999\n name M\n}\nset N [stack " + "9" * 5000 + "]\npush $N\n"
            "Write {\n render_order " + "9" * 5000 + "\n name W\n}\n"
        )
        assert script.nodes["M"].inputs == ("Read1", "Read2", "Read1") and len(script.list_writes()) == 1

    def test_a_large_script_of_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a.nk").write_text(" \t;" * 300_000)
        started = time.monotonic()
        with pytest.raises(InputError, match="no nodes"):
            load_script(tmp_path / "a.nk")
        assert time.monotonic() - started < 10.0


class TestTemplate:
    """What `{{` begins cannot be escaped in a job template."""

    @pytest.mark.parametrize("name", ["{{{Param}}}", "{a{{x}}}", "{a b}", '"x\\ny"'])
    def test_a_name_that_nuke_does_not_allow(self, shot: Path, name: str) -> None:
        path = save(shot, READS + SWAP + WRITE.replace("name Write1", f"name {name}"))
        with pytest.raises(InputError, match="has a name that Nuke does not allow"):
            make_script_bundle(path)

    def test_a_foreign_expression(self) -> None:
        options = FarmOptions()
        parameters = {name: one for name, (one, _) in make_common_parameters(options, "a", "1", "/w").items()}
        for text in ("{{Param.Other}}", "{{ Param.Frames }}", "{{"):
            step = make_step("Write", {"command": "nuke", "args": [text]}, options)
            with pytest.raises(InputError, match=r"expression|meaning"):
                make_template(parameters, [step], [])
        with pytest.raises(InputError, match="meaning"):
            check_literal("anna{{Param.Frames}}")
        assert check_literal("anna") == "anna"


def test_a_name_that_no_file_can_have_is_a_remark(tmp_path: Path) -> None:
    """The rest of the job is made."""
    path = tmp_path / "a.nk"
    path.write_text(
        ROOT.format(name="a.nk", more="") + f"Camera2 {{\n file {'a' * 5000}.abc\n name Camera1\n}}\n" + WRITE
    )
    script = load_script(path)
    remarks = find_assets(script, path, script.list_writes()).remarks
    assert any(remark.startswith("Camera1: ") and remark.endswith("is not there") for remark in remarks)
