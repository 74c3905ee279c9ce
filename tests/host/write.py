"""Nodes as the text of a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.host import native, tcl
from tests.host.groups import Gizmo, Group, Root
from tests.host.knobs import FLAGS, Knob
from tests.host.nodes import OWN_TO_A_CLONE, Node
from tests.host.textknobs import Link_Knob
from tests.host.userknobs import user_knob_line

if TYPE_CHECKING:
    from tests.host.session import Host

_LAST = ("name", "label", "note_font", "note_font_size", "tile_color", "selected", "xpos", "ypos", "disable")


class ScriptWriter:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.late: list[tuple[Link_Knob, str]] = []
        self.named = 0  # variables so far: those of a group's inside must not hide those outside

    def set_late(self) -> None:
        """Values of links, once the nodes behind them are there."""
        late, self.late = self.late, []
        for knob, value in late:
            knob._set_text(value)

    def script(self) -> str:
        """The whole script, as it is saved."""
        lines = ["#! nuke -nx", f"version {self.host.constants['NUKE_VERSION_MAJOR']}.0 v1"]
        lines += ["Root {", *[f" {line}" for line in self.knob_lines(self.host.root)], "}"]
        lines += [
            f"add_layer {{{layer} {' '.join(self.host.channels.of_layer(layer))}}}"
            for layer in self.host.channels.defined
        ]
        return "\n".join([*lines, *self.node_lines(self.host.root._children)]) + "\n"

    def copied(self, nodes: list[Node]) -> str:
        """What goes to the clipboard."""
        lines = ["set cut_paste_input [stack 0]", f"version {self.host.constants['NUKE_VERSION_MAJOR']}.0 v1"]
        return "\n".join([*lines, *self.node_lines(nodes)]) + "\n"

    def node_lines(self, nodes: list[Node]) -> list[str]:
        """Every node after what it needs; branches by set and push."""
        ordered = _ordered(nodes)
        used = [pipe for node in ordered for pipe in node._pipes if pipe is not None]
        lines: list[str] = []
        names: dict[int, str] = {}
        clones: dict[int, str] = {}
        top: Node | None = None
        for node in ordered:
            pipes = _popped(node)
            if len(pipes) != 1 or pipes[0] is None or pipes[0] is not top:
                # What is not among the nodes that are written is whatever is selected where they are pasted.
                lines += [
                    f"push ${names.get(id(pipe), 'cut_paste_input')}" if pipe is not None else "push 0"
                    for pipe in reversed(pipes)
                ]
            first = node._clone_set[0]
            if first is not node and id(first) in clones:
                own = [f" {name} {node._knobs[name]._written()}" for name in OWN_TO_A_CLONE if name in node._knobs]
                lines += [f"clone ${clones[id(first)]} {{", f" inputs {_inputs(node)}", *own, "}"]
            else:
                lines += self.one(node)
            if len(node._clone_set) > 1 and id(first) not in clones:
                clones[id(node)] = self._variable("C")
                lines.append(f"set {clones[id(node)]} [stack 0]")
            if node in used:
                names[id(node)] = self._variable("N")
                lines.append(f"set {names[id(node)]} [stack 0]")
            top = node
        return lines

    def _variable(self, letter: str) -> str:
        self.named += 1
        return f"{letter}{self.named:08x}"

    def one(self, node: Node, head: str = "") -> list[str]:
        inputs = _inputs(node)
        lines = [
            f"{head or node._node_class} {{",
            *([] if inputs == "1" else [f" inputs {inputs}"]),
            *[f" {line}" for line in self.knob_lines(node, everything=bool(head))],
            "}",
        ]
        if isinstance(node, Group) and (head or not isinstance(node, Gizmo)):
            lines += [*[f" {line}" for line in self.node_lines(node._children)], "end_group"]
        return lines

    def knob_lines(self, node: Node, *, everything: bool = False) -> list[str]:
        """Declarations of user knobs with their values behind them, then what is not as it was made."""
        lines: list[str] = []
        declared = [knob for knob in node._knobs.values() if knob._user or (everything and knob._declared)]
        for knob in (k for k in node._knobs.values() if k not in declared and k._name not in _LAST):
            if not isinstance(knob, Link_Knob) and knob._text() != knob._default_text and _saved(knob):
                lines.append(f"{knob._name} {knob._written()}")
        if isinstance(node, Gizmo) and not everything:
            # What is changed inside a gizmo is saved by the links to it, and by nothing else.
            lines += [
                f"{knob._name} {knob.getLinkedKnob()._written()}"
                for knob in node._knobs.values()
                if isinstance(knob, Link_Knob)
                and not knob._flags & FLAGS["DO_NOT_WRITE"]
                and knob.getLinkedKnob()._text() != knob._default_text
            ]
        for knob in declared:
            lines.append(user_knob_line(knob))
            if _saved(knob) and (knob._text() != knob._empty_text):
                lines.append(f"{tcl.quote(knob._name)} {knob._written()}")
        for name in _LAST:
            found = node._knobs.get(name)
            if found is None or isinstance(node, Root):
                continue
            if name == "name" or found._text() != found._default_text:
                lines.append(f"{name} {found._written()}")
        return lines

    def knob_text(self, node: Node, flags: int) -> str:
        """As Node.writeKnobs gives it."""
        constants = self.host.constants
        flags = flags or constants["TO_SCRIPT"] | constants["TO_VALUE"]
        names = [knob for knob in node._knobs.values() if _saved(knob)]
        if not flags & constants["WRITE_ALL"]:
            names = [knob for knob in names if knob._text() != knob._default_text or knob._user]
        if not flags & (constants["TO_SCRIPT"] | constants["TO_VALUE"]):
            return " ".join(knob._name for knob in names)
        lines = []
        if flags & constants["WRITE_USER_KNOB_DEFS"]:
            lines = [user_knob_line(knob) for knob in node._knobs.values() if knob._user]
        return "\n".join([*lines, *[f"{tcl.quote(knob._name)} {knob._written()}" for knob in names]])

    def as_group(self, gizmo: Gizmo) -> Group:
        """A Group with all that the gizmo has."""
        text = "\n".join(self.one(gizmo, "Group"))
        parent = gizmo._parent
        assert parent is not None
        made = self.host.scripts.read(text.replace(f"inputs {_inputs(gizmo)}\n", "inputs 0\n", 1), parent)
        assert isinstance(made, Group)
        return made


def _saved(knob: Knob) -> bool:
    return knob._persistent and not knob._flags & FLAGS["DO_NOT_WRITE"] and not isinstance(knob, Link_Knob)


def _ordered(nodes: list[Node]) -> list[Node]:
    found: list[Node] = []

    def visit(node: Node) -> None:
        if node in found or node not in nodes:
            return
        for pipe in reversed(_popped(node)):
            if pipe is not None:
                visit(pipe)
        found.append(node)

    for node in nodes:
        visit(node)
    return found


def _popped(node: Node) -> list[Node | None]:
    """Its pipes in the order that reading takes them from the stack: the mask last."""
    pipes = list(node._pipes)
    mask = native.MASK_INPUT.get(node._node_class, -1)
    if 0 <= mask < len(pipes) and pipes[mask] is not None:
        pipes.append(pipes.pop(mask))
    elif 0 <= mask < len(pipes):
        pipes.pop(mask)
    return pipes


def _inputs(node: Node) -> str:
    pipes = _popped(node)
    mask = native.MASK_INPUT.get(node._node_class, -1)
    if 0 <= mask < len(node._pipes) and node._pipes[mask] is not None and node._node_class != "Keymix":
        return f"{len(pipes) - 1}+1"
    return str(len(pipes))
