"""The appearance map of a node: asked of the worker, shown in a window; what is chosen goes into the node's knobs."""

from __future__ import annotations

import functools
import time
from typing import Any, Mapping, Optional

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, InputError
from fsgan_nuke import graph, render_queue, status
from fsgan_nuke.client import shared
from fsgan_nuke.host import later
from fsgan_nuke.node_job import job_of
from fsgan_nuke.request import Request

_open: dict[str, Window] = {}


def open_map(node: Any) -> Window:
    """Opens the window of an FSGAN_Reenact or FSGAN_Swap, or brings it to the front. Raises InputError (no Qt, nothing
    connected)."""
    try:
        from fsgan_nuke import view_panel
    except ImportError as error:
        raise InputError(f"this window needs the Qt that comes with Nuke ({error}); `fsgan views` shows the same, and "
                         "'exclude views' and 'view weights' can be typed") from error
    name = str(node.fullName())
    window = _open.get(name)
    if window is None:
        window = _open[name] = Window(name, view_panel.ViewPanel)
    window.ask()
    return window


class Window:
    """One open map. make: the panel's class."""

    def __init__(self, name: str, make: Any) -> None:
        self.name = name
        self.request: Optional[Request] = None
        self._said = 0.0  # when the last step was shown
        self._asked = 0  # how often; an answer to an earlier question is passed over
        self.panel = make(f"{name}: views of the source", self.apply, self.ask, self.go_to, self.closed)
        self.panel.show()

    def ask(self) -> None:
        """Asks the worker anew; shows the answer when it comes. On the main thread."""
        self.panel.raise_()
        self._asked += 1
        if self.request is not None:
            self.request.cancel()
        try:
            node = self._node()
            job = job_of(_reenact(node))
            self.panel.say("asking the worker; a render that runs goes first ...")
            render_queue.write_inputs(_reenact(node), job)
        except FsganError as error:
            self.panel.say(str(error))
            return
        self.request = shared().request(protocol.Views(shot=job.shot), on_event=self._heard,
                                        on_end=functools.partial(later, self._show, self._asked))

    def apply(self, texts: Mapping[str, str]) -> None:
        """Writes a choice into the node, one step of undo, and asks what the plan makes of it."""
        try:
            node = self._node()
        except FsganError as error:
            self.panel.say(str(error))
            return
        prefix = "reenact_" if graph.kind_of(node) == "FSGAN_Swap" else ""
        nuke.Undo.begin("FSGAN: views")
        try:
            for parameter, text in texts.items():
                graph.behind(node[prefix + parameter]).setValue(text)
        finally:
            nuke.Undo.end()
        render_queue.refresh(node)
        self.ask()

    def go_to(self, frame: int) -> None:
        nuke.frame(frame)

    def closed(self) -> None:
        _open.pop(self.name, None)
        if self.request is not None:
            self.request.cancel()

    def _node(self) -> Any:
        node = nuke.toNode(self.name)
        if node is None:
            raise InputError(f"{self.name} is not in the script any more; close this window")
        return node

    def _heard(self, event: protocol.Event) -> None:
        """In a thread of the client."""
        if isinstance(event, protocol.Progress) and (event.total or event.message) and (
                time.monotonic() - self._said > render_queue.SHOWN_EVERY):
            self._said = time.monotonic()
            later(self._say, event.message or f"{_DOING.get(event.step, event.step)} {event.subject} "
                                              f"{event.done}/{event.total}")

    def _say(self, text: str) -> None:
        if _open.get(self.name) is self:
            self.panel.say(status.plain(text))

    def _show(self, asked: int, request: Request) -> None:
        if _open.get(self.name) is not self or self._asked != asked:
            return
        if request.error is None:
            self.panel.fill(request.result or {})
        elif not isinstance(request.error, CancelledError):
            self.panel.say(str(request.error))


_DOING = {"analyse": "analysing", "views": "pictures of"}


def close_all() -> None:
    """When the script is closed."""
    for window in list(_open.values()):
        window.panel.close()


def _reenact(node: Any) -> Any:
    """The node whose parameters count. Raises InputError where it was taken out of a swap."""
    if graph.kind_of(node) != "FSGAN_Swap":
        return node
    found = graph.inner(node, "Reenact")
    if found is None:
        raise InputError(f"{node.name()} has no node Reenact inside any more; make a new one")
    return found
