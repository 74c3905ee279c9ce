"""Callbacks: who is called when, in the order that Nuke's documentation gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.host.knobs import Knob
    from tests.host.nodes import Node
    from tests.host.session import Host

# Event -> class that an add... function is for unless told otherwise.
EVENTS = {
    "OnUserCreate": "*",
    "OnCreate": "*",
    "OnDestroy": "*",
    "UpdateUI": "*",
    "Autolabel": "*",
    "KnobChanged": "*",
    "OnScriptLoad": "Root",
    "OnScriptSave": "Root",
    "OnScriptClose": "Root",
    "BeforeRender": "Write",
    "BeforeFrameRender": "Write",
    "AfterFrameRender": "Write",
    "AfterRender": "Write",
    "RenderProgress": "Write",
    "FilenameFilter": "*",
    "ValidateFilename": "*",
}
_BACKGROUND = ("BeforeBackgroundRender", "AfterBackgroundFrameRender", "AfterBackgroundRender")
# Code that a knob of the node itself may hold.
_OWN_CODE = {
    "OnCreate": "onCreate",
    "OnDestroy": "onDestroy",
    "KnobChanged": "knobChanged",
    "UpdateUI": "updateUI",
    "BeforeRender": "beforeRender",
    "BeforeFrameRender": "beforeFrameRender",
    "AfterFrameRender": "afterFrameRender",
    "AfterRender": "afterRender",
    "RenderProgress": "renderProgress",
}

Entry = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], "Node | None"]


class _Pseudo:
    """What thisKnob is for showPanel and inputChange."""

    def __init__(self, name: str, node: Node) -> None:
        self._name, self._owner = name, node

    def name(self) -> str:
        return self._name

    def node(self) -> Node:
        return self._owner


class Callbacks:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.lists: dict[str, dict[str, list[Entry]]] = {event: {} for event in (*EVENTS, *_BACKGROUND)}
        self.context: list[tuple[Node, Any]] = []
        self.log: list[str] = []
        self._inside_knob_changed = False

    def functions(self) -> dict[str, Callable[..., Any]]:
        """add... and remove... for every event, as they stand in the module nuke."""
        made: dict[str, Callable[..., Any]] = {}
        for event, default in EVENTS.items():
            made[f"add{event}"] = self._adder(event, default)
            remover = "removeFilenameValidate" if event == "ValidateFilename" else f"remove{event}"
            made[remover] = self._remover(event, default)
        return made

    def _adder(self, event: str, default: str) -> Callable[..., None]:
        def add(
            call: Callable[..., Any],
            args: Any = (),
            kwargs: Any = None,
            nodeClass: str = default,
            node: Node | None = None,
        ) -> None:
            if not callable(call):
                raise ValueError("call must be a callable")
            entry = _entry(call, args, kwargs, node)
            known = self.lists[event].setdefault(nodeClass, [])
            if entry in known:
                known.remove(entry)
            known.append(entry)

        return add

    def _remover(self, event: str, default: str) -> Callable[..., None]:
        def remove(
            call: Callable[..., Any],
            args: Any = (),
            kwargs: Any = None,
            nodeClass: str = default,
            node: Node | None = None,
        ) -> None:
            known = self.lists[event].get(nodeClass, [])
            entry = _entry(call, args, kwargs, node)
            if entry in known:
                known.remove(entry)

        return remove

    @contextmanager
    def within(self, node: Node, knob: Any = None, inside: bool = False) -> Iterator[None]:
        """thisNode, thisKnob and the group that toNode looks in."""
        group = self.host.group
        self.context.append((node, knob))
        self.host.group = node if inside and hasattr(node, "_children") else node._parent or self.host.root
        try:
            yield
        finally:
            self.context.pop()
            self.host.group = group

    def entries(self, event: str, node: Node) -> list[Entry]:
        """Class matches in the order added, then '*'."""
        lists = self.lists[event]
        found = [*lists.get(node._node_class, []), *lists.get("*", [])]
        return [entry for entry in found if entry[3] is None or entry[3] is node]

    def fire(self, event: str, node: Node, knob: Any = None) -> None:
        """The node's own code, then class matches, then '*'. Exceptions pass through."""
        with self.within(node, knob):
            own = node._knobs.get(_OWN_CODE.get(event, ""))
            code = own._text() if own is not None else ""
            if code.strip():
                self.log.append(f"{event} {node.fullName()} own")
                self.host.run_python(code, node, knob, f"{event} of {node.fullName()}")
            for call, args, kwargs, _ in self.entries(event, node):
                self.log.append(f"{event} {node.fullName()} {getattr(call, '__name__', call)}")
                call(*args, **kwargs)

    # When they fire.

    def created(self, node: Node, *, by_user: bool = False) -> None:
        """onUserCreate (a person, in the GUI) before onCreate."""
        if by_user and self.host.gui:
            self.fire("OnUserCreate", node)
        self.fire("OnCreate", node)

    def knob_changed(self, node: Node, knob: Knob) -> None:
        """Only while the panel is open in the GUI, never while a knobChanged runs, never while a script is read."""
        if not self.host.gui or not node._panel_open or self._inside_knob_changed or self.host.scripts.reading:
            return
        self._fire_changed(node, knob)

    def _fire_changed(self, node: Node, knob: Any) -> None:
        self._inside_knob_changed = True
        try:
            self.fire("KnobChanged", node, knob)
        finally:
            self._inside_knob_changed = False

    def pseudo_knob(self, node: Node, name: str) -> None:
        if self.host.gui and not self._inside_knob_changed:
            self._fire_changed(node, _Pseudo(name, node))

    def input_changed(self, node: Node) -> None:
        if node._panel_open:
            self.pseudo_knob(node, "inputChange")

    def autolabel(self, node: Node) -> str | None:
        """Newest first; the first answer that is not None."""
        for lists in (self.lists["Autolabel"].get(node._node_class, []), self.lists["Autolabel"].get("*", [])):
            for call, args, kwargs, _ in reversed(lists):
                with self.within(node):
                    answer = call(*args, **kwargs)
                if answer is not None:
                    return str(answer)
        return None

    def filter_filename(self, path: str, node: Node | None) -> str:
        """Filters, newest first, each given what the one before it made."""
        lists = self.lists["FilenameFilter"]
        for call, args, kwargs, _ in [
            *reversed(lists.get(node._node_class if node else "*", [])),
            *(reversed(lists.get("*", [])) if node else []),
        ]:
            answer = call(path, *args, **kwargs)
            path = answer if answer is not None else path
        return path


def _entry(call: Callable[..., Any], args: Any, kwargs: Any, node: Node | None) -> Entry:
    if kwargs is None:
        kwargs = {}
    if not isinstance(kwargs, dict):
        raise ValueError("kwargs must be a dictionary")
    return call, args if isinstance(args, tuple) else (args,), kwargs, node
