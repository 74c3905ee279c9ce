"""Scripts and gizmos: what text becomes, and back."""

from __future__ import annotations

import pytest

from tests.host import Host, TclError, new_host
from tests.host.script import Scripts
from tests.host.tcl import quote, split, substitute, trace

BRANCHES = """set cut_paste_input [stack 0]
version 13.2 v4
CheckerBoard2 {
 inputs 0
 name Checker
}
set N1a2b3c00 [stack 0]
Constant {
 inputs 0
 color {0.1 0.2 0.3 1}
 name Mask
}
push $N1a2b3c00
push 0
push $N1a2b3c00
Merge2 {
 inputs 2+1
 operation plus
 name Merge
 label "\\[value mix] of \\"it\\"\\nhere"
}
"""


def test_the_stack(host: Host) -> None:
    host.scripts.read(BRANCHES, host.root)
    merge = host.module.toNode("Merge")
    # Last pushed first: input 0, then nothing for input 1, and what was pushed first is left for the mask.
    assert [node and node.name() for node in (merge.input(0), merge.input(1), merge.input(2))] == [
        "Checker",
        None,
        "Checker",
    ]
    assert merge["operation"].value() == "plus"
    assert merge["label"].value() == '[value mix] of "it"\nhere'
    assert merge["label"].evaluate() == '1 of "it"\nhere'


def test_a_group_has_a_stack_of_its_own(host: Host) -> None:
    host.scripts.read(
        """NoOp {
 inputs 0
 name Above
}
Group {
 name Tool
}
 Input {
  inputs 0
  name Input1
 }
 Dot {
  name Dot1
 }
 Output {
  name Output1
 }
end_group
""",
        host.root,
    )
    tool = host.module.toNode("Tool")
    assert tool.input(0).name() == "Above" and tool.maxInputs() == 1
    inner = host.module.toNode("Tool.Dot1")
    assert inner.fullName() == "Tool.Dot1" and inner.input(0).Class() == "Input"
    with tool:
        assert host.module.toNode("Dot1") is inner


def test_clones_share_their_knobs(host: Host) -> None:
    host.scripts.read(
        "Blur {\n inputs 0\n size 3\n name B\n}\nset C100 [stack 0]\npush 0\nclone $C100 {\n xpos 9\n}\n", host.root
    )
    first, second = host.module.allNodes("Blur")
    first["size"].setValue(8)
    assert second["size"].value() == 8 and second.xpos() == 9 and first.xpos() == 0
    assert first.clones() == 1


@pytest.mark.parametrize(
    ("text", "value", "frame"),
    [
        ("7.5", 7.5, 1),
        ("{{curve x1001 0.5 x1011 1.5}}", 1.0, 1006),
        ("{{curve x53 53 54 55}}", 55, 55),
        ("{{curve K x1 2 x9 4}}", 2, 8),
        ("{{parent.first_frame i}}", 1, 7),
        ('{{"frame > 3 ? 10 : 20"}}', 20, 2),
        ("{{frame*2+1}}", 9, 4),
        ("{{min(frame,3)**2}}", 9, 8),
        ("{{curve}}", 0, 5),
    ],
)
def test_values(host: Host, text: str, value: float, frame: int) -> None:
    host.scripts.read(f"Blur {{\n inputs 0\n size {text}\n name B\n}}\n", host.root)
    assert host.module.toNode("B")["size"].getValueAt(frame, 0) == pytest.approx(value)


def test_a_component_each(host: Host) -> None:
    host.scripts.read(
        "Transform {\n inputs 0\n translate {{curve x1 0 x11 10} {rotate+1}}\n rotate 4\n name T\n}\n", host.root
    )
    knob = host.module.toNode("T")["translate"]
    assert knob.getValueAt(6) == [5, 5]
    assert knob.toScript() == "{{curve x1 0 x11 10} {rotate+1}}"


@pytest.mark.parametrize(
    "text",
    [
        "Blur {\n nothing 3\n}\n",
        "Blur {\n size\n}\n",
        "Blurr {\n}\n",
        "end_group\n",
        "Group {\n}\n",
        "exec ls\n",
        "Blur {\n name [exec ls]\n} [exec ls]\n",
        "push $Nowhere\n",
        "Merge2 {\n operation ouver\n}\n",
        "Blur {\n inputs 0\n name 1Blur\n}\n",
        "Copy {\n from0 matte.face\n}\n",
        "NoOp {\n addUserKnob {7 a q b}\n}\n",
        "NoOp {\n addUserKnob {99 a}\n}\n",
    ],
    ids=[
        "knob",
        "pair",
        "class",
        "end_group",
        "no end_group",
        "command",
        "substitution",
        "variable",
        "item",
        "name",
        "channel",
        "key",
        "type number",
    ],
)
def test_refused(host: Host, text: str) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        host.scripts.read(text, host.root)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two words",
        "[exec ls]",
        "$env(HOME)",
        'a "b" {c',
        "back\\slash",
        "a\nb\tc",
        "#x",
        "",
        "{",
        "}",
        "ä€",
        "a;b",
    ],
)
def test_quoting(text: str) -> None:
    assert split(quote(text)) == [text]
    [[command, argument]] = trace("Blur {\n label " + quote(text) + "\n}\n")
    assert command == "Blur" and split(argument) == ["label", text]


@pytest.mark.parametrize("text", ["[exec ls]", "$env(HOME)", "[file delete x]", "[python {1}]", "[open x w]"])
def test_a_text_that_would_run_something(text: str) -> None:
    with pytest.raises(TclError):
        substitute(text, {})


def test_round_trip(with_gizmo: Host) -> None:
    nuke = with_gizmo.module
    with_gizmo.scripts.read(BRANCHES, with_gizmo.root)
    over = nuke.nodes.TestOver(inputs=[nuke.toNode("Checker"), nuke.toNode("Mask")], mix=0.25)
    for node in nuke.allNodes():
        node.setSelected(node is over)
    over.addKnob(nuke.Double_Knob("extra", "Extra [x]"))
    over["extra"].setRange(0, 3)
    over["extra"].setAnimated()
    over["extra"].setValueAt(1, 1001)
    over["extra"].setValueAt(2.5, 1002)
    over["operation"].getLinkedKnob().setValue("under")
    text = with_gizmo.scripts.script()
    with new_host() as second:
        second.plugin_path = with_gizmo.plugin_path
        second.scripts.read(text, second.root)
        again = second.module.toNode(over.name())
        assert again["extra"].getValueAt(1002) == 2.5 and again["extra"].label() == "Extra [x]"
        assert again["mix"].value() == 0.25
        assert [again.input(i).name() for i in (0, 1)] == ["Checker", "Mask"]
        assert second.scripts.script() == text


def test_a_gizmo_is_saved_by_its_name(with_gizmo: Host) -> None:
    with_gizmo.module.nodes.TestOver(mix=0.5)
    text = with_gizmo.scripts.script()
    assert "TestOver {" in text and "mix 0.5" in text
    assert "Merge2" not in text and "addUserKnob" not in text


def test_a_gizmo_as_a_group(with_gizmo: Host) -> None:
    group = with_gizmo.module.nodes.TestOver(mix=0.5).makeGroup()
    assert group.Class() == "Group" and group["mix"].value() == 0.5
    assert 'addUserKnob {7 mix l Mix t "0 is B." R 0 1}' in with_gizmo.scripts.script()
    with pytest.raises(RuntimeError, match="cloned"):
        with_gizmo.module.clone(with_gizmo.module.toNode("TestOver1"), "", False)


def test_a_missing_gizmo(host: Host) -> None:
    with pytest.raises(RuntimeError, match="FSGAN_Nothing: unknown command"):
        host.scripts.read("FSGAN_Nothing {\n}\n", host.root)


def test_copy_and_paste(host: Host) -> None:
    nuke = host.module
    source = nuke.nodes.Constant(name="Source")
    grade = nuke.nodes.Grade(inputs=[source], name="G", multiply=2)
    source.setSelected(False)
    grade.setSelected(True)
    nuke.nodeCopy("%clipboard%")
    pasted = nuke.nodePaste("%clipboard%")
    assert pasted.name() == "G1" and pasted["multiply"].value() == 2 and pasted.isSelected()


def test_without_tkinter(monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    if shutil.which("tclsh") is None:
        pytest.skip("no tclsh")
    wanted = trace(BRANCHES)
    monkeypatch.setattr("tests.host.tcl._interpreter", lambda: None)
    assert trace(BRANCHES) == wanted
    assert split('a "b\\nc" {}') == ["a", "b\nc", ""]


def test_reading_is_counted_down_after_an_error(host: Host) -> None:
    assert isinstance(host.scripts, Scripts)
    with pytest.raises(RuntimeError):
        host.scripts.read("Nothing {\n}\n", host.root)
    assert host.scripts.reading == 0
