"""Scripts and gizmos: text to nodes by Tcl, and nodes back to text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.host import native, tcl
from tests.host.groups import BackdropNode, Gizmo, Group, Root, Viewer
from tests.host.nodes import OWN_TO_A_CLONE, Node
from tests.host.textknobs import Link_Knob
from tests.host.userknobs import parse_user_knob
from tests.host.write import ScriptWriter

if TYPE_CHECKING:
    from tests.host.session import Host

_IGNORED = {"version", "define_window_layout_xml", "load", "view", "in"}


class Scripts(ScriptWriter):
    """Reads and writes the nodes of one host."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.reading = 0

    def read(self, text: str, group: Group, *, pasted: bool = False) -> Node | None:
        """The nodes of `text` into `group`; the last one. Raises RuntimeError for anything Nuke would not know.

        pasted: connect to the selection, and select what came.
        """
        reader = _Reader(self, group, pasted)
        if pasted:
            for node in group._children:
                node._knobs["selected"]._set_text("false")
        self.reading += 1
        try:
            for words in tcl.trace(text):
                reader.run(words)
            if len(reader.levels) > 1:
                raise RuntimeError(f"end_group is missing after {reader.levels[-1].group.fullName()}")
        finally:
            self.reading -= 1
        return reader.last

    def make(self, node_class: str, group: Group, *, name: str = "") -> Node:
        """A new node, named, without pipes and callbacks. Raises RuntimeError for a class that is not there."""
        host = self.host
        cls: type[Node] = {"Group": Group, "BackdropNode": BackdropNode, "Viewer": Viewer}.get(node_class, Node)
        node: Node
        if native.known(node_class) and node_class not in ("Gizmo", "Root"):
            node = cls(host, node_class, group)
        else:
            found = host.find_plugin(f"{node_class}.gizmo")
            if found is None:
                raise RuntimeError(
                    f"{node_class}: unknown command (no node class, and no {node_class}.gizmo on the plugin path)"
                )
            node = self.load_gizmo(found, group)
        base = native.BASE_NAMES.get(node_class, node_class)
        node.setName(name or base + "1")
        group._children.append(node)
        return node

    def load_gizmo(self, path: Path, group: Group) -> Gizmo:
        """An instance of the gizmo in `path`; what the file says of its knobs becomes their default."""
        gizmo = Gizmo(self.host, path.stem, group)
        gizmo._gizmo_file = path
        reader = _Reader(self, group, False, gizmo)
        self.reading += 1
        try:
            for words in tcl.trace(path.read_text(encoding="utf-8")):
                reader.run(words)
        except (RuntimeError, tcl.TclError) as error:
            raise RuntimeError(f"{path}: {error}") from error
        finally:
            self.reading -= 1
        if not reader.gizmo_seen or len(reader.levels) > 1:
            raise RuntimeError(f"{path}: a gizmo is 'Gizmo {{ ... }}', its nodes, and end_group")
        for knob in gizmo._knobs.values():
            knob._default_text = (knob.getLinkedKnob() if isinstance(knob, Link_Knob) else knob)._text()
            knob._user = False
        return gizmo

    def read_knobs(self, node: Node, text: str) -> str:
        """Sets what a brace list says; returns the `inputs` entry ("1" where there is none)."""
        words = tcl.split(text)
        if len(words) % 2:
            raise RuntimeError(f"{node._node_class} {node.name()}: knobs and values do not come in pairs")
        inputs = "1"
        for name, value in zip(words[::2], words[1::2], strict=True):
            if name == "inputs":
                inputs = value
            elif name == "addUserKnob":
                knob = parse_user_knob(value)
                if knob._name in node._knobs and knob._code not in (20, 26):
                    raise RuntimeError(f"{node._node_class} has a knob {knob._name!r} already")
                while knob._name in node._knobs:
                    knob._name += "_1"
                node._own(knob)
            else:
                self._set(node, name, value)
        return inputs

    def _set(self, node: Node, name: str, value: str) -> None:
        where = f"{node._node_class} {node.name()}"
        if name not in node._knobs:
            raise RuntimeError(f"{where}: no such knob: {name}")
        if name == "name":
            node.setName(value)
            return
        knob = node._knobs[name]
        if isinstance(knob, Link_Knob) and not (isinstance(node, Gizmo) and node._children):
            self.late.append((knob, value))
            return
        try:
            knob._set_text(value)
        except (tcl.TclError, ValueError, RuntimeError) as error:
            raise RuntimeError(f"{where}, knob {name}: {error}") from None
        if name == "file_type":
            node._file_type_knobs(str(knob.value()))


class _Level:
    def __init__(self, group: Group, stack: list[Node | None]) -> None:
        self.group, self.stack = group, stack


class _Reader:
    """The commands of one text, one after the other."""

    def __init__(self, scripts: Scripts, group: Group, pasted: bool, gizmo: Gizmo | None = None) -> None:
        self.scripts, self.host, self.pasted, self.gizmo = scripts, scripts.host, pasted, gizmo
        selected = [node for node in group._children if node.isSelected()] if pasted else []
        self.levels = [_Level(group, list(selected[-1:]))]
        self.variables: dict[str, Node | None] = {}
        self.last: Node | None = None
        self.gizmo_seen = False

    def run(self, words: list[str]) -> None:
        command, *arguments = words
        stack = self.levels[-1].stack
        if command == "set" and len(arguments) == 2:
            where = arguments[1].split()
            if where[0] != "stack":
                raise RuntimeError(f"set {arguments[0]}: only [stack N] is known here, not {arguments[1]!r}")
            depth = int(where[1])
            self.variables[arguments[0]] = stack[-1 - depth] if depth < len(stack) else None
        elif command == "push" and len(arguments) == 1:
            stack.append(self._handle(arguments[0]))
        elif command == "pop":
            del stack[-1:]
        elif command == "dup":
            stack.append(stack[-1] if stack else None)
        elif command == "end_group":
            self._end_group()
        elif command == "clone" and len(arguments) == 2:
            self._clone(arguments[0], arguments[1])
        elif command == "add_layer":
            layer, *channels = tcl.split(arguments[0])
            self.host.channels.define(layer, channels)
        elif command[:1].isupper():
            self._node(command, arguments[0] if arguments else "")
        elif command not in _IGNORED:
            raise RuntimeError(f"the text runs {' '.join(words)[:120]!r}: no Nuke script of ours does that")

    def _handle(self, word: str) -> Node | None:
        if word == "0":
            return None
        kind, _, name = word.partition(" ")
        if kind != "handle" or name not in self.variables:
            raise RuntimeError(f"push {word!r}: no such variable")
        return self.variables[name]

    def _node(self, node_class: str, text: str) -> None:
        level = self.levels[-1]
        if node_class == "Root":
            self.scripts.read_knobs(self.host.root, text)
            return
        if node_class == "Gizmo" or (self.gizmo is not None and not self.gizmo_seen and node_class == "Group"):
            if self.gizmo is None or self.gizmo_seen:
                raise RuntimeError("Gizmo { stands only at the top of a .gizmo file")
            self.gizmo_seen = True
            name = self.gizmo._knobs["name"]._text()
            self.scripts.read_knobs(self.gizmo, text)
            self.gizmo._knobs["name"]._set_text(name)
            self.levels.append(_Level(self.gizmo, []))
            return
        node = self.scripts.make(node_class, level.group)
        inputs = self.scripts.read_knobs(node, text)
        if self.pasted:
            node._knobs["selected"]._set_text("true" if len(self.levels) == 1 else "false")
        pipes = [level.stack.pop() if level.stack else None for _ in range(_count(inputs))]
        if isinstance(node, Group) and not isinstance(node, Gizmo):
            # Which inputs a group has is known when its body has been read.
            self.levels.append(_Level(node, []))
            node._waiting = (pipes, inputs)  # type: ignore[attr-defined]
            return
        self._finish(node, pipes, inputs)

    def _finish(self, node: Node, pipes: list[Node | None], inputs: str) -> None:
        mask = native.MASK_INPUT.get(node._node_class, -1) if "+" in inputs else -1
        places = [place for place in range(len(pipes) + 1) if place != mask][: len(pipes) - (mask >= 0)]
        if mask >= 0:
            places.append(mask)
        for place, pipe in zip(places, pipes, strict=True):
            if pipe is None:
                continue
            if place >= node.maxInputs():
                raise RuntimeError(
                    f"{node._node_class} {node.name()} has {node.maxInputs()} inputs, the text connects number {place}"
                )
            node._connect(place, pipe)
        self.levels[-1].stack.append(node)
        self.last = node
        self.host.callbacks.created(node)

    def _end_group(self) -> None:
        if len(self.levels) == 1:
            raise RuntimeError("end_group without a Group")
        group = self.levels.pop().group
        self.scripts.set_late()
        if group is self.gizmo:
            return
        pipes, inputs = group._waiting  # type: ignore[attr-defined]
        del group._waiting  # type: ignore[attr-defined]
        self._finish(group, pipes, inputs)

    def _clone(self, handle: str, text: str) -> None:
        original = self._handle(handle)
        if original is None:
            raise RuntimeError("clone of nothing")
        node = clone_of(original)
        given = tcl.split(text)
        inputs = dict(zip(given[::2], given[1::2], strict=True)).get("inputs", "1")
        foreign = set(given[::2]) - {"inputs", *OWN_TO_A_CLONE}
        if foreign:
            raise RuntimeError(f"a clone has only a place of its own, not {', '.join(sorted(foreign))}")
        self.scripts.read_knobs(node, text)
        stack = self.levels[-1].stack
        self._finish(node, [stack.pop() if stack else None for _ in range(_count(inputs))], inputs)


def clone_of(original: Node) -> Node:
    """A node with the same knobs and a place and pipes of its own."""
    if isinstance(original, (Gizmo, Root)):
        raise RuntimeError(f"{original.fullName()} is a gizmo and cannot be cloned; make it a group first")
    if isinstance(original, Group):
        raise NotImplementedError("the stand-in does not clone groups")
    node = type(original)(original._host, original._node_class, original._parent)
    for name, knob in original._knobs.items():
        if name not in OWN_TO_A_CLONE:
            node._knobs[name] = knob
    node._clone_set = original._clone_set
    node._clone_set.append(node)
    if original._parent is not None:
        original._parent._children.append(node)
    return node


def _count(inputs: str) -> int:
    return sum(int(part) for part in inputs.split("+"))
