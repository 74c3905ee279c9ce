"""A gizmo as data, and the text of its file."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsgan_nuke.knobs import NukeKnob
from knob_lines import format_user_knob, quote_text

# By what a node does, as an artist knows them from Nuke's own nodes: trackers red-brown, mattes green, merges blue.
ROLE_COLOURS = {
    "whole": "0x8f6a3aff",
    "analysis": "0x7d4f4fff",
    "picture": "0x6b4f86ff",
    "matte": "0x4c7a4cff",
    "merge": "0x46618fff",
}

# Input name -> what to connect to it.
INPUT_HELP = {
    "target": "the plate to change",
    "source": "clip or still of the person whose face is used",
    "driver": "clip of the performer whose expression is used",
    "reenacted": "FSGAN_Reenact",
    "mattes": "FSGAN_Mask",
    "completed": "FSGAN_Inpaint",
    "holdout": "roto or key of objects in front of the face; the target is kept where it is 1",
    "mask": "limits the result to a channel of it; no render needed",
}


@dataclass(frozen=True)
class Gizmo:
    """One gizmo: class name, help text, knobs, and the text of its inner nodes."""

    name: str
    help: str
    knobs: tuple[NukeKnob, ...]
    body: tuple[str, ...]
    inputs: tuple[str, ...]
    role: str = "picture"
    values: dict[str, str] = field(default_factory=dict)

    def make_help_text(self) -> str:
        """Text behind the panel's question mark: what the node does and what its inputs are."""
        inputs = [f"{name}: {INPUT_HELP[name]}" for name in self.inputs]
        return "\n".join([self.help, "", *inputs, "", "Manual: Info > Manual"])

    def format_file(self) -> str:
        """The text of the .gizmo file."""
        lines = ["#! FSGAN, made by gizmos/make.py", "Gizmo {"]
        lines += [
            f" tile_color {ROLE_COLOURS[self.role]}",
            f" help {quote_text(self.make_help_text())}",
            ' label "\\[value status_line]"',
        ]
        for knob in self.knobs:
            lines.append(" " + format_user_knob(knob))
            if knob.value:
                lines.append(f" {knob.name} {quote_text(knob.value)}")
        lines += [f" {name} {value}" for name, value in self.values.items()]
        return "\n".join([*lines, "}", *self.body, "end_group", ""])
