"""Nodes: knobs, pipes, names and pictures."""

# Nuke's classes narrow what their bases take; so do these.
# mypy: disable-error-code="override"

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.host import native
from tests.host.api import offered
from tests.host.knobs import FLAGS, Array_Knob, Knob
from tests.host.knobtypes import Enumeration_Knob
from tests.host.textknobs import File_Knob, Link_Knob, Tab_Knob
from tests.host.values import Format, FrameRange, Info

if TYPE_CHECKING:
    from tests.host.groups import Group
    from tests.host.session import Host

# What every clone has for itself.
OWN_TO_A_CLONE = ("xpos", "ypos", "selected")
_NOT_HASHED = {
    "name",
    "xpos",
    "ypos",
    "selected",
    "label",
    "note_font",
    "note_font_size",
    "note_font_color",
    "tile_color",
    "gl_color",
    "hide_input",
    "autolabel",
    "help",
    "panel",
    "icon",
    "indicators",
    "bookmark",
}


@offered()
class Node:
    def __init__(self, host: Host, node_class: str, parent: Group | None) -> None:
        self._host, self._node_class, self._parent = host, node_class, parent
        self._knobs: dict[str, Knob] = {}
        self._pipes: list[Node | None] = []
        self._clone_set: list[Node] = [self]
        self._panel_open = False
        self._dead = False
        for knob in native.make_knobs(node_class):
            self._own(knob)
        if node_class == "OneView":
            views: Any = self._knobs["view"]
            views._items = list(host.views())

    def __repr__(self) -> str:
        return f"<{self._node_class} {self.fullName() if not self._dead else '(deleted)'}>"

    def _own(self, knob: Knob) -> None:
        knob._node = self
        self._knobs[knob._name] = knob

    def _knob_changed(self, knob: Knob) -> None:
        if knob._name == "file_type" and self._node_class in ("Write", "Read"):
            self._file_type_knobs(str(knob.value()))
        self._host.modified = True
        if not knob.getFlag(FLAGS["NO_UNDO"]) and knob.name() not in ("selected", "xpos", "ypos"):
            self._host.undo_value(f"{self.fullName()}.{knob.name()}")
        self._host.callbacks.knob_changed(self, knob)

    def _file_type_knobs(self, file_type: str) -> None:
        """Knobs of a file type exist only while the node is set to it."""
        described = native.EXR_KNOBS if self._node_class == "Write" else native.EXR_READ_KNOBS
        for name, facts in described.items():
            if file_type == "exr" and name not in self._knobs:
                self._own(native.make_knob(name, facts))
            elif file_type != "exr":
                self._knobs.pop(name, None)

    def _file_chosen(self, first: int | None, last: int | None) -> None:
        """What fromUserText sets beside the path."""
        knobs = self._knobs
        if self._node_class != "Read":
            return
        if first is not None and last is not None:
            for name, value in (("first", first), ("last", last), ("origfirst", first), ("origlast", last)):
                knobs[name].setValue(value)
        file = knobs["file"]
        assert isinstance(file, File_Knob)
        path = file.evaluate(float(first if first is not None else self._host.frame))
        if path and Path(path).is_file():
            knobs["format"]._set_text(self._host.evaluator.format_of_file(path)._spec())

    # Knobs.

    def knob(self, p: str | int, follow_link: bool = False) -> Knob | None:
        found = list(self._knobs.values())[p] if isinstance(p, int) else self._knobs.get(p)
        return found.getLinkedKnob() if follow_link and isinstance(found, Link_Knob) else found

    def __getitem__(self, name: str) -> Knob:
        if name not in self._knobs:
            raise NameError(f"knob {name} does not exist (node {self.fullName()}, class {self._node_class})")
        return self._knobs[name]

    def __len__(self) -> int:
        return len(self._knobs)

    def knobs(self) -> dict[str, Knob]:
        return dict(self._knobs)

    def allKnobs(self) -> list[Knob]:
        return list(self._knobs.values())

    def numKnobs(self) -> int:
        return len(self._knobs)

    getNumKnobs = numKnobs

    def addKnob(self, knob: Knob) -> None:
        if knob._name in self._knobs:
            raise ValueError(f"{self.fullName()} has a knob {knob._name!r} already")
        if not any(k._user for k in self._knobs.values()) and not isinstance(knob, Tab_Knob):
            tab = Tab_Knob("User")
            tab._user = tab._declared = True
            self._own(tab)
        knob._user = knob._declared = True
        if isinstance(knob, Enumeration_Knob):
            knob._default_text = knob._empty_text = knob._words()[0] if knob._items else knob._text()
        elif not isinstance(knob, Link_Knob):
            knob._default_text = knob._empty_text = type(knob)(knob._name)._text()
        self._own(knob)

    def removeKnob(self, knob: Knob) -> None:
        if self._knobs.get(knob._name) is not knob or not knob._user:
            raise ValueError(f"{knob._name!r} is no user knob of {self.fullName()}")
        del self._knobs[knob._name]

    def readKnobs(self, s: str) -> None:
        self._host.scripts.read_knobs(self, s)

    def writeKnobs(self, flags: int = 0) -> str:
        """Flags of the stubs: TO_SCRIPT, WRITE_USER_KNOB_DEFS, WRITE_ALL, WRITE_NON_DEFAULT_ONLY, TO_VALUE."""
        return self._host.scripts.knob_text(self, flags)

    def resetKnobsToDefault(self) -> None:
        for knob in self._knobs.values():
            if knob._name not in OWN_TO_A_CLONE and knob._persistent and not isinstance(knob, Link_Knob):
                knob._set_text(knob._default_text) if knob._default_text else None

    # Names and places.

    def Class(self) -> str:
        return self._node_class

    def name(self) -> str:
        return str(self._knobs["name"]._text())

    def fullName(self) -> str:
        if self._dead:
            raise ValueError("A PythonObject is not attached to a node")
        above = self._parent
        return self.name() if above is None or above._parent is None else f"{above.fullName()}.{self.name()}"

    def setName(self, name: str, uncollide: bool = True, updateExpressions: bool = False) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name for a node: letters, digits and underscore, no digit first")
        taken = {node.name() for node in self._siblings() if node not in self._clone_set}
        if name in taken:
            if not uncollide:
                raise ValueError(f"there is a node {name!r} already")
            base = name.rstrip("0123456789") or name
            number = 1
            while f"{base}{number}" in taken:
                number += 1
            name = f"{base}{number}"
        self._knobs["name"]._set_text(name)

    def _siblings(self) -> list[Node]:
        return self._parent._children if self._parent is not None else []

    def parent(self) -> Any:
        return self._parent

    def rootNode(self) -> Any:
        return self._host.root

    def xpos(self) -> int:
        return int(self._number("xpos"))

    def ypos(self) -> int:
        return int(self._number("ypos"))

    def _number(self, name: str, frame: float | None = None, index: int = 0) -> float:
        knob: Any = self._knobs[name]
        if isinstance(knob, Link_Knob):
            knob = knob.getLinkedKnob()
        assert isinstance(knob, Array_Knob), f"{name} is no number"
        return knob._number(index, float(self._host.frame if frame is None else frame))

    def setXpos(self, x: int) -> None:
        self._knobs["xpos"].setValue(int(x))

    def setYpos(self, y: int) -> None:
        self._knobs["ypos"].setValue(int(y))

    def setXYpos(self, x: int, y: int) -> None:
        self.setXpos(x)
        self.setYpos(y)

    def autoplace(self) -> None:
        pass

    def screenWidth(self) -> int:
        return 80

    def screenHeight(self) -> int:
        return 20

    def isSelected(self) -> bool:
        return bool(self._number("selected"))

    def setSelected(self, selected: bool) -> None:
        self._knobs["selected"].setValue(bool(selected))

    def selectOnly(self) -> None:
        for node in self._siblings():
            node.setSelected(node is self)

    def help(self) -> str:
        return str(self._knobs["help"]._text())

    # Pipes.

    def maxInputs(self) -> int:
        if self._node_class == "JoinViews":
            return len(self._host.views())
        return native.max_inputs(self._node_class)

    maximumInputs = maxInputs

    def minInputs(self) -> int:
        return native.min_inputs(self._node_class)

    minimumInputs = minInputs

    def optionalInput(self) -> int:
        return native.MASK_INPUT.get(self._node_class, -1)

    def inputs(self) -> int:
        return len(self._pipes)

    def input(self, index: int) -> Node | None:
        return self._pipes[index] if 0 <= index < len(self._pipes) else None

    def canSetInput(self, i: int, node: Node) -> bool:
        return self._accepts(i, node)

    def _accepts(self, i: int, node: Node | None) -> bool:
        if not 0 <= i < self.maxInputs():
            return False
        return node is None or (node._parent is self._parent and not node._reaches(self))

    def _reaches(self, target: Node) -> bool:
        """Whether `target` is this node or upstream of it."""
        return self is target or any(pipe is not None and pipe._reaches(target) for pipe in self._pipes)

    def setInput(self, i: int, node: Node | None) -> bool:
        if not self._accepts(i, node):
            return False
        self._connect(i, node)
        self._host.callbacks.input_changed(self)
        return True

    connectInput = setInput

    def _connect(self, i: int, node: Node | None) -> None:
        while len(self._pipes) <= i:
            self._pipes.append(None)
        self._pipes[i] = node
        while self._pipes and self._pipes[-1] is None:
            self._pipes.pop()

    def dependencies(self, mask: int) -> list[Node]:
        return [pipe for pipe in self._pipes if pipe is not None] if mask & self._host.constants["INPUTS"] else []

    def dependent(self, mask: int, forceEvaluate: bool = True) -> list[Node]:
        if not mask & self._host.constants["INPUTS"]:
            return []
        return [node for node in self._siblings() if self in node._pipes]

    def clones(self) -> int:
        return len(self._clone_set) - 1

    def isCloneable(self) -> bool:
        return self._node_class not in ("Root", "Viewer")

    # Pictures.

    def format(self) -> Format:
        return self._host.evaluator.header(self).format

    def width(self) -> int:
        return self.format().width()

    def height(self) -> int:
        return self.format().height()

    def pixelAspect(self) -> float:
        return self.format().pixelAspect()

    def bbox(self) -> Info:
        box = self._host.evaluator.header(self).bbox
        return Info(box.x, box.y, box.r - box.x, box.t - box.y)

    def channels(self) -> list[str]:
        return sorted(self._host.evaluator.header(self).planes)

    def metadata(self, *args: Any, **kwargs: Any) -> Any:
        key = args[0] if args and isinstance(args[0], str) else kwargs.get("key")
        rest = args[1:] if key is not None and args else args
        time = kwargs.get("time", rest[0] if rest else None)
        view = kwargs.get("view", rest[1] if len(rest) > 1 else "")
        found = dict(self._host.evaluator.header(self, time, view).metadata)
        return found if key is None else found.get(key)

    def frameRange(self) -> FrameRange:
        first, last = self._host.evaluator.frame_range(self)
        return FrameRange(first, last)

    def firstFrame(self) -> int:
        return self.frameRange().first()

    def lastFrame(self) -> int:
        return self.frameRange().last()

    def upstreamFrameRange(self, i: int) -> FrameRange | None:
        pipe = self.input(i)
        return pipe.frameRange() if pipe is not None else None

    def hasError(self) -> bool:
        return self._host.evaluator.error_of(self, upstream=False) is not None

    error = hasError

    def treeHasError(self) -> bool:
        return self._host.evaluator.error_of(self, upstream=True) is not None

    def opHashes(self) -> list[int]:
        """Changes with everything upstream that a knob or a pipe says."""
        return [int.from_bytes(hashlib.sha256(repr(self._state()).encode()).digest()[:8], "big")]

    def _state(self) -> Any:
        knobs = [(name, knob._text()) for name, knob in self._knobs.items() if name not in _NOT_HASHED]
        return self._node_class, knobs, [pipe._state() if pipe is not None else None for pipe in self._pipes]

    # Panels.

    def showControlPanel(self, forceFloat: bool = False) -> None:
        self._host.require_gui("showControlPanel")
        self._panel_open = True
        self._host.callbacks.pseudo_knob(self, "showPanel")

    def hideControlPanel(self) -> None:
        self._panel_open = False

    def shown(self) -> bool:
        return self._panel_open

    def forceValidate(self) -> None:
        self._host.evaluator.forget()

    def forceUpdateLocalization(self) -> None:
        pass

    def isLocalized(self) -> bool:
        return False

    def redraw(self) -> None:
        pass

    def proxy(self) -> bool:
        return bool(self._host.root._number("proxy"))
