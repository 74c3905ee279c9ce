"""nuke.execute: frames of Write nodes, with the callbacks around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.host.evaluate import EvaluationError
from tests.host.nodes import Node
from tests.host.readwrite import write_frame
from tests.host.values import FrameRange, FrameRanges

if TYPE_CHECKING:
    from tests.host.session import Host


class Renderer:
    """written: every file that was rendered, as (Write's full name, frame, view). cancel_at: the frame before which
    a person presses Cancel."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.written: list[tuple[str, int, str]] = []
        self.running = False
        self.cancelled = False
        self.cancel_at: int | None = None

    def execute(self, node: Node, frames: Sequence[int], views: Sequence[str] | None, keep_going: bool) -> None:
        """Raises RuntimeError with the node's message, or one that begins with "Cancelled"."""
        if node._node_class != "Write":
            raise RuntimeError(f"{node.fullName()} cannot be executed: only a Write can, here")
        if self.running:
            raise RuntimeError("I'm already executing something else")
        disabled = node._knobs["disable"]
        if disabled.value():
            raise RuntimeError(f"{node.fullName()} is disabled")
        self.running, self.cancelled = True, False
        before = self.host.frame
        try:
            self._frames(node, frames, list(views or self.host.views_of(node)), keep_going)
        finally:
            self.running = False
            self.host.frame = before

    def _frames(self, node: Node, frames: Sequence[int], views: list[str], keep_going: bool) -> None:
        callbacks = self.host.callbacks
        callbacks.fire("BeforeRender", node)
        failed = ""
        for frame in frames:
            self.host.frame = int(frame)
            if self.cancelled or self.cancel_at == frame:
                self.cancel_at = None
                raise RuntimeError("Cancelled")
            if not self.host.gui and not keep_going:
                # A Write may be validated before its callback for a frame runs, so what it reads must be there.
                self._validate(node, frame, views)
            callbacks.fire("BeforeFrameRender", node)
            try:
                for view in views:
                    write_frame(self.host.evaluator, node, float(frame), view)
                    self.written.append((node.fullName(), int(frame), view))
            except EvaluationError as error:
                if not keep_going:
                    raise RuntimeError(str(error)) from error
                failed = failed or str(error)
                continue
            callbacks.fire("RenderProgress", node)
            callbacks.fire("AfterFrameRender", node)
        callbacks.fire("AfterRender", node)
        if failed:
            raise RuntimeError(failed)

    def _validate(self, node: Node, frame: int, views: list[str]) -> None:
        try:
            for view in views:
                self.host.evaluator.picture(node, float(frame), view)
        except EvaluationError as error:
            raise RuntimeError(str(error)) from error

    def writes(self) -> list[Node]:
        """The Writes that -x renders, by render_order: enabled, not reading; inside groups only where the host was
        told so, since what Nuke does there is not confirmed."""
        within = self.host.root._descendants() if self.host.group_writes else iter(self.host.root._children)
        found = [
            node
            for node in within
            if node._node_class == "Write" and not node._number("disable") and not node._number("reading")
        ]
        return sorted(found, key=lambda node: node._number("render_order"))

    def farm(self, frames: Sequence[int] | None = None, *, keep_going: bool = False, only: str = "") -> int:
        """What `nuke -x` does once the script is open; with `only`, `nuke -X`. 0, or 1 after an error, which is in
        host.messages."""
        root = self.host.root
        status = 0
        todo = [node for node in self.writes() if only in ("", node.fullName())]
        if not todo:
            self.host.messages.append(("error", "no active Write operators in this script"))
            return 1
        for node in todo:
            chosen = list(frames) if frames is not None else self._own_frames(node, root.firstFrame(), root.lastFrame())
            try:
                self.execute(node, chosen, None, keep_going)
            except Exception as error:
                self.host.messages.append(("error", f"{node.fullName()}: {error}"))
                status = 1
                if not keep_going:
                    return status
        return status

    def _own_frames(self, node: Node, first: int, last: int) -> list[int]:
        if node._number("use_limit"):
            first, last = max(first, int(node._number("first"))), min(last, int(node._number("last")))
        return list(range(first, last + 1))


def frames_of(arguments: Sequence[Any], keywords: dict[str, Any]) -> list[int]:
    """From what execute was given behind the node: start, end, incr, or a FrameRange or FrameRanges."""
    first = arguments[0] if arguments else keywords.get("frameRangeSet", keywords.get("start"))
    if isinstance(first, FrameRanges):
        return first.toFrameList()
    if isinstance(first, FrameRange):
        return list(first)
    last = arguments[1] if len(arguments) > 1 else keywords.get("end", first)
    step = arguments[2] if len(arguments) > 2 else keywords.get("incr", 1)
    assert first is not None and last is not None  # the stubs were asked before
    return list(FrameRange(int(first), int(last), int(step)))
