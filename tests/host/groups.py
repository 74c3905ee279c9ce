"""Nodes that hold nodes: groups, gizmos and the root; and two that hold nothing."""

# Nuke's classes narrow what their bases take; so do these.
# mypy: disable-error-code="override"

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.host.api import offered
from tests.host.nodes import Node
from tests.host.values import Format, FrameRange

if TYPE_CHECKING:
    from tests.host.session import Host


@offered()
class Group(Node):
    """A node with a graph inside. Its inputs are the Input nodes, by their numbers."""

    def __init__(self, host: Host, node_class: str, parent: Group | None) -> None:
        self._children: list[Node] = []
        self._gizmo_file: Path | None = None
        self._entered: list[Group] = []
        super().__init__(host, node_class, parent)

    def _input_nodes(self) -> list[Node]:
        found = [node for node in self._children if node._node_class == "Input"]
        return sorted(found, key=lambda node: node._number("number"))

    def _output_node(self) -> Node | None:
        return next((node for node in self._children if node._node_class == "Output"), None)

    def maxInputs(self) -> int:
        return len(self._input_nodes())

    def minInputs(self) -> int:
        return 1 if self._input_nodes() else 0

    def _state(self) -> Any:
        return super()._state(), [node._state() for node in self._children]

    def begin(self) -> Group:
        self._entered.append(self._host.group)
        self._host.group = self
        return self

    def end(self) -> None:
        self._host.group = self._entered.pop() if self._entered else (self._parent or self._host.root)

    def __enter__(self) -> Group:
        return self.begin()

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        self.end()

    def node(self, s: str) -> Node | None:
        found = self._host.find(s, self)
        return found if found is not None and found in self._descendants() else None

    def nodes(self) -> list[Node]:
        return list(self._children)[: 10 if self._host.edition else None]

    def numNodes(self) -> int:
        return len(self._children)

    def output(self) -> Node | None:
        return self._output_node()

    def selectedNodes(self) -> list[Node]:
        return [node for node in self._children if node.isSelected()]

    def run(self, call: Any) -> Any:
        with self:
            return call()

    def _descendants(self) -> Iterator[Node]:
        for node in self._children:
            yield node
            if isinstance(node, Group):
                yield from node._descendants()


@offered()
class Gizmo(Group):
    def isCloneable(self) -> bool:
        return False

    def filename(self) -> str:
        return str(self._gizmo_file)

    def command(self) -> str:
        return self._node_class

    def makeGroup(self) -> Group:
        """A Group with the same content, beside the gizmo."""
        return self._host.scripts.as_group(self)


@offered()
class BackdropNode(Node):
    pass


@offered()
class Viewer(Node):
    pass


@offered()
class Root(Group):
    def firstFrame(self) -> int:
        return int(self._number("first_frame"))

    def lastFrame(self) -> int:
        return int(self._number("last_frame"))

    def frameRange(self) -> FrameRange:
        return FrameRange(self.firstFrame(), self.lastFrame())

    def fps(self) -> int:
        return round(self._number("fps"))

    def realFps(self) -> float:
        return self._number("fps")

    def name(self) -> str:
        return "root"

    def fullName(self) -> str:
        return "root"

    def maxInputs(self) -> int:
        return 0

    def modified(self) -> bool:
        return self._host.modified

    def setModified(self, modified: bool) -> None:
        self._host.modified = bool(modified)

    def format(self) -> Format:
        return self._host.format("", None)

    def channels(self) -> list[str]:
        return self._host.channels.names()

    def layers(self) -> list[str]:
        return list(self._host.channels.layers)

    def setFrame(self, frame: int) -> None:
        self._host.frame = int(frame)

    def proxy(self) -> bool:
        return bool(self._number("proxy"))

    def setProxy(self, proxy: bool) -> None:
        self._knobs["proxy"].setValue(bool(proxy))
