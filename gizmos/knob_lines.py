"""A knob as a line of a gizmo's file, and the knobs that every panel is built of: tabs, buttons, lines, groups."""

from __future__ import annotations

from collections.abc import Sequence

from fsgan_nuke.knobs import BUTTON, ENUM, LINK, TAB, TEXT, NukeKnob


def quote_text(text: str) -> str:
    """`text` as one Tcl word, without substitutions."""
    if text and all(letter.isalnum() or letter in "._/%#+-:" for letter in text) and not text.startswith("#"):
        return text
    escaped = "".join("\\" + letter if letter in '\\"[]{}$' else letter for letter in text)
    return '"' + escaped.replace("\n", "\\n") + '"'


def format_user_knob(knob: NukeKnob) -> str:
    """The `addUserKnob` line of a knob, its words in the order in which Nuke saves them: a button's +STARTLINE last."""
    words = [str(knob.code), knob.name or '""']
    is_divider = knob.code == TEXT and not (knob.name or knob.label or knob.text)
    if knob.label or (knob.code in (TEXT, ENUM) and not is_divider):
        words += ["l", quote_text(knob.label)]
    if knob.tooltip:
        words += ["t", quote_text(knob.tooltip)]
    last = ["+STARTLINE"] if knob.code == BUTTON and "+STARTLINE" in knob.flags else []
    words += [flag for flag in knob.flags if flag not in last]
    if knob.text:
        words += ["T", quote_text(knob.text) if knob.code != LINK else knob.text]
    if knob.items:
        words += ["M", "{" + " ".join(quote_text(item) for item in knob.items) + "}"]
    if knob.group:
        words += ["n", str(knob.group)]
    if knob.low is not None and knob.high is not None:
        words += ["R", f"{knob.low:g}", f"{knob.high:g}"]
    return "addUserKnob {" + " ".join([*words, *last]) + "}"


def make_tab(name: str, label: str) -> NukeKnob:
    """A tab of the panel."""
    return NukeKnob(name, TAB, label)


def make_button(name: str, label: str, action: str, tooltip: str, *flags: str) -> NukeKnob:
    """A button that runs an action of the plugin."""
    return NukeKnob(name, BUTTON, label, tooltip, text=f"import fsgan_nuke; fsgan_nuke.run('{action}')", flags=flags)


def make_line(label: str = "") -> NukeKnob:
    """A dividing line, with an optional label."""
    return NukeKnob("", TEXT, label)


def make_group(name: str, label: str, knobs: Sequence[NukeKnob], is_open: bool = True) -> list[NukeKnob]:
    """Knobs in a group that can be folded. Nuke saves a folded group as the value 0 of its knob."""
    begin = NukeKnob(name, TAB, label, value="" if is_open else "0", group=1)
    return [begin, *knobs, NukeKnob(f"{name}_end", TAB, "endGroup", group=-1)]
