"""The committed gizmos: made from the contract, and text that the host can read."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fsgan_core.contract.param_fields import iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS
from tests.host import tcl

FOLDER = Path(__file__).resolve().parents[2] / "gizmos"
NODES = ("FSGAN_Analyse", "FSGAN_Reenact", "FSGAN_Mask", "FSGAN_Inpaint", "FSGAN_Blend", "FSGAN_Swap", "FSGAN_Drive")
# Node classes and knob types that the host is documented to have.
INNER = {"Input", "Output", "Read", "Copy", "Switch", "Keymix", "Constant", "Write"}
OF_TREES = {"Dot", "Grade", "Roto", "RotoPaint", "StickyNote"}
CODES = {1, 2, 3, 4, 6, 7, 11, 12, 15, 20, 22, 26, 30, 41}
TREES = ("Example", "Swap", "Drive", "Fix_by_layers", "Atlas_painting")


def load_make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_gizmos", FOLDER / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MAKE = load_make()  # it also makes its neighbours and the plugin importable
KNOBS = importlib.import_module("fsgan_nuke.knobs")
GIZMO, KNOB_LINES = importlib.import_module("gizmo"), importlib.import_module("knob_lines")


def test_the_committed_files_are_what_the_generator_makes() -> None:
    made = MAKE.make_files()
    assert sorted(made) == sorted(
        [*(f"ToolSets/FSGAN/{name}.nk" for name in TREES), *(f"{name}.gizmo" for name in NODES)]
    )
    assert sorted(path.stem for path in FOLDER.glob("ToolSets/FSGAN/*.nk")) == sorted(TREES)
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"run: python3 gizmos/make.py ({name} is stale)"
    assert sorted(path.stem for path in FOLDER.glob("*.gizmo")) == sorted(NODES)


@pytest.mark.parametrize("gizmo", MAKE.make_gizmos(), ids=lambda gizmo: gizmo.name)
def test_knobs(gizmo: object) -> None:
    knobs = gizmo.knobs  # type: ignore[attr-defined]
    names = [knob.name for knob in knobs if knob.name]
    assert len(names) == len(set(names))
    assert {knob.code for knob in knobs} <= CODES
    for knob in knobs:
        assert re.fullmatch(r"[A-Za-z_]\w*|", knob.name), knob.name
        if knob.code == KNOBS.BUTTON:
            compile(knob.text, knob.name, "exec")
            assert knob.tooltip and knob.label
        if knob.low is not None and knob.high is not None:
            assert knob.low < knob.high


@pytest.mark.parametrize("gizmo", MAKE.make_gizmos(), ids=lambda gizmo: gizmo.name)
def test_every_knob_that_is_shown_says_what_it_does(gizmo: object) -> None:
    shown = [
        knob
        for knob in gizmo.knobs
        if knob.code not in (KNOBS.TAB, KNOBS.TEXT)  # type: ignore[attr-defined]
        and "+INVISIBLE" not in knob.flags
    ]
    assert [knob.name for knob in shown if not knob.tooltip] == []
    assert set(gizmo.inputs) <= set(GIZMO.INPUT_HELP)  # type: ignore[attr-defined]
    assert all(f"{name}: " in gizmo.make_help_text() for name in gizmo.inputs)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NODES)
def test_words_of_a_knob_stand_in_the_order_of_genuine_gizmos(name: str) -> None:
    """Label, tooltip, flags, then T, M, n, R; only +STARTLINE of a button is last (docs/gizmo-text.md)."""
    text = (FOLDER / f"{name}.gizmo").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith(" addUserKnob ")]
    assert len(lines) > 20
    for line in lines:
        words = tcl.split(tcl.split(line)[1])
        rest, order = words[2:], []
        while rest:
            is_flag = rest[0][0] in "+-"
            order.append("flag" if is_flag else rest[0])
            rest = rest[1 if is_flag else 3 if rest[0] == "R" else 2 :]
        if words[0] == "22" and words[-1] == "+STARTLINE":
            order.pop()
        ranks = [["l", "t", "flag", "T", "M", "n", "R"].index(word) for word in order]
        assert ranks == sorted(ranks), line
    assert " n 2}" not in text


@pytest.mark.parametrize("name", NODES)
def test_classes_inside(name: str) -> None:
    text = (FOLDER / f"{name}.gizmo").read_text(encoding="utf-8")
    kinds = set(re.findall(r"^ (\w+) \{ ", text, re.MULTILINE))
    assert kinds <= INNER | set(NODES)
    assert text.count("\n Output {") == 1 and text.endswith("end_group\n")


@pytest.mark.parametrize("name", MAKE.make_files())
def test_tcl_reads_every_file(name: str) -> None:
    """By the real interpreter, to the documented classes and knobs; and no code of another kind is in them."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    allowed = {"set", "push", "stack", "end_group", "Gizmo", *INNER, *NODES}
    if name.endswith(".nk"):
        allowed |= OF_TREES
    for command in tcl.trace(text):
        assert command[0] in allowed
        if command[0][:1].isupper() and len(command) > 1:
            words = tcl.split(command[1])
            assert len(words) % 2 == 0
            assert not {"onCreate", "knobChanged", "updateUI", "beforeRender", "autolabel"} & set(words[::2])
    assert set(re.findall(r"import [\w; ]+", text)) <= {"import fsgan_nuke; fsgan_nuke"}


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("FSGAN_Analyse", "analyse"),
        ("FSGAN_Reenact", "reenact"),
        ("FSGAN_Mask", "mask"),
        ("FSGAN_Inpaint", "inpaint"),
        ("FSGAN_Blend", "blend"),
        ("FSGAN_Drive", "drive"),
    ],
)
def test_every_parameter_of_the_stage_has_a_knob(name: str, stage: str) -> None:
    gizmo = next(gizmo for gizmo in MAKE.make_gizmos() if gizmo.name == name)
    made = {knob.name: knob for knob in gizmo.knobs}
    for knob in iterate_param_fields(STAGE_PARAMS[stage]):
        assert knob.name in made
        if made[knob.name].code != KNOBS.LINK:
            assert made[knob.name].tooltip == knob.help and made[knob.name].label.startswith(knob.label)
            assert made[knob.name].items == knob.choices


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two words",
        "a[exec rm]b",
        "$HOME",
        'quote"s',
        "back\\slash",
        "{",
        "}",
        "",
        "#comment",
        "line\nbreak",
        "é",
    ],
)
def test_quoted_text_is_one_word_and_means_itself(text: str) -> None:
    word = KNOB_LINES.quote_text(text)
    bare = re.fullmatch(r"[\w./%#+:-]+", word)
    if bare is None:
        inside = word[1:-1]
        assert word[0] == word[-1] == '"'
        assert not re.search(r'(?<!\\)(?:\\\\)*["\[\]{}$]', inside)
        assert re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), inside) == text
    else:
        assert word == text


def test_icons_are_drawn_by_the_script() -> None:
    image = pytest.importorskip("PIL.Image")
    spec = importlib.util.spec_from_file_location("draw_icons", FOLDER / "icons.py")
    assert spec is not None and spec.loader is not None
    icons = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(icons)
    assert set(icons.ICONS) == {"FSGAN", *NODES}
    for name in icons.ICONS:
        for suffix, size in icons.SIZES.items():
            committed = np.asarray(image.open(FOLDER / "icons" / f"{name}{suffix}.png").convert("RGBA"), np.int16)
            drawn = np.asarray(icons.draw_icon(name, size), np.int16)
            assert drawn.shape == (size, size, 4)
            assert np.abs(committed - drawn).mean() < 2, f"run: python3 gizmos/icons.py ({name}{suffix} is stale)"
            assert drawn[..., 3].max() == 255
