"""Pulls pictures through the graph, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.host.groups import Group
from tests.host.knobtypes import Boolean_Knob
from tests.host.nodes import Node
from tests.host.picture import Picture, black, read_picture, scaled_format
from tests.host.textknobs import Channel_Knob, Link_Knob
from tests.host.values import Format

if TYPE_CHECKING:
    from tests.host.session import Host


class EvaluationError(RuntimeError):
    """A node that cannot give a picture. node: which one."""

    def __init__(self, node: Node, why: str) -> None:
        super().__init__(f"{node.fullName()}: {why}")
        self.node = node


class Context:
    """One node at one frame and view, as an operator sees it."""

    def __init__(self, evaluator: Evaluator, node: Node, frame: float, view: str) -> None:
        self.evaluator, self.node, self.frame, self.view = evaluator, node, frame, view
        self.host = evaluator.host

    def knob(self, name: str) -> Any:
        knob = self.node._knobs[name]
        return knob.getLinkedKnob() if isinstance(knob, Link_Knob) else knob

    def number(self, name: str, index: int = 0) -> float:
        return float(self.knob(name)._number(index, self.frame, self.view))

    def flag(self, name: str) -> bool:
        return bool(self.number(name))

    def word(self, name: str) -> str:
        """The item of an enumeration at this frame."""
        knob = self.knob(name)
        return str(knob._words()[int(self.number(name))])

    def channels(self, name: str) -> tuple[str, ...]:
        knob = self.knob(name)
        assert isinstance(knob, Channel_Knob), f"{name} is no channel knob"
        return knob._names()

    def channel(self, name: str) -> str:
        """One channel, "" for none."""
        found = self.channels(name)
        return found[-1] if found else ""

    def has(self, place: int) -> bool:
        return self.node.input(place) is not None

    def input(self, place: int, frame: float | None = None, view: str | None = None) -> Picture:
        pipe = self.node.input(place)
        if pipe is None:
            return self.nothing()
        return self.evaluator.picture(pipe, self.frame if frame is None else frame, view or self.view)

    @property
    def scale(self) -> float:
        """1, in proxy mode what all pictures and all positions are multiplied by."""
        return self.host.proxy_scale()

    def nothing(self) -> Picture:
        """What comes from a pipe that is not connected."""
        return black(scaled_format(self.host.format("", None), self.scale))

    def fail(self, why: str) -> EvaluationError:
        return EvaluationError(self.node, why)


class Evaluator:
    def __init__(self, host: Host) -> None:
        self.host = host
        self._made: dict[tuple[int, float, str], Picture] = {}
        self._depth = 0
        self._busy: set[tuple[int, float, str]] = set()

    def forget(self) -> None:
        self._made.clear()

    @contextmanager
    def _request(self) -> Iterator[None]:
        """Pictures are kept for as long as one outermost request runs: nothing can be stale."""
        if not self._depth:
            self._made.clear()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._made.clear()

    def picture(self, node: Node, frame: float | None = None, view: str = "") -> Picture:
        """What the node gives at a frame. Raises EvaluationError."""
        at = float(self.host.frame if frame is None else frame)
        view = view or self.host.view
        key = (id(node), at, view)
        with self._request():
            if key not in self._made:
                if key in self._busy:
                    raise EvaluationError(node, "the graph goes round in a circle")
                self._busy.add(key)
                try:
                    self._made[key] = self._evaluate(node, at, view)
                finally:
                    self._busy.discard(key)
            return self._made[key]

    def _evaluate(self, node: Node, frame: float, view: str) -> Picture:
        from tests.host.operators import OPERATORS

        context = Context(self, node, frame, view)
        disable = node._knobs.get("disable")
        if isinstance(disable, Boolean_Knob) and disable._number(0, frame, view):
            return context.input(0)
        if isinstance(node, Group):
            return self._group(node, context)
        operator = OPERATORS.get(node._node_class)
        if operator is None:
            raise context.fail(f"the stand-in does not evaluate the class {node._node_class}: see docs/stand-in.md")
        return operator(context)

    def _group(self, group: Group, context: Context) -> Picture:
        output = group._output_node()
        if output is None:
            return context.input(0)
        return self.picture(output, context.frame, context.view)

    def input_of_group(self, node: Node) -> tuple[Node | None, Node]:
        """What an Input node stands for: the node that is connected to its group there, and the group."""
        group = node._parent
        assert isinstance(group, Group)
        return group.input(group._input_nodes().index(node)), group

    def header(self, node: Node, frame: Any = None, view: str = "") -> Picture:
        """The picture for its format, bbox, channels and metadata; black where there is an error."""
        try:
            return self.picture(node, None if frame is None else float(frame), view)
        except EvaluationError:
            return black(self.host.format("", None))

    def error_of(self, node: Node, *, upstream: bool) -> EvaluationError | None:
        """The error of the node itself, or of anything that its picture needs."""
        try:
            self.picture(node)
        except EvaluationError as error:
            return error if upstream or error.node is node or _inside(error.node, node) else None
        return None

    def format_of_file(self, path: str) -> Format:
        return read_picture(Path(path)).format

    def frame_range(self, node: Node) -> tuple[int, int]:
        """first and last: a Read's own, else what comes in by input 0, else the project's."""
        knobs = node._knobs
        root = self.host.root
        project = (root.firstFrame(), root.lastFrame())
        if node._node_class == "Read":
            return int(node._number("first")), int(node._number("last"))
        if node._node_class == "FrameRange":
            return int(node._number("first_frame")), int(node._number("last_frame"))
        if node._node_class == "Input":
            outer, _ = self.input_of_group(node)
            return self.frame_range(outer) if outer is not None else project
        if node._node_class == "TimeOffset" and node.input(0) is not None and "time_offset" in knobs:
            first, last = self.frame_range(node._pipes[0])  # type: ignore[arg-type]
            shift = int(node._number("time_offset"))
            return first + shift, last + shift
        if isinstance(node, Group) and node is not root:
            output = node._output_node()
            return self.frame_range(output) if output is not None else project
        pipe = next((pipe for pipe in node._pipes if pipe is not None), None)
        return self.frame_range(pipe) if pipe is not None else project


def _inside(node: Node, outer: Node) -> bool:
    above = node._parent
    while above is not None:
        if above is outer:
            return True
        above = above._parent
    return False
