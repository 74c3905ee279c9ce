"""The appearance map of a node: asks the worker, shows the answer in a window, and writes the choice to knobs."""

from __future__ import annotations

import functools
import time
from typing import Any, Mapping, Optional

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, InputError
from fsgan_nuke import graph, input_writes, node_render, status
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import call_later, one_undo_step
from fsgan_nuke.node_job import make_node_job
from fsgan_nuke.request import PendingRequest

_open_windows: dict[str, ViewMapWindow] = {}


def open_view_map(node: Any) -> ViewMapWindow:
    """Opens the window of an FSGAN_Reenact or FSGAN_Swap, or brings it to the front.

    Raises:
        InputError: There is no Qt.
    """
    try:
        from fsgan_nuke import view_panel
    except ImportError as error:
        raise InputError(
            f"this window needs the Qt that comes with Nuke ({error}); `fsgan views` shows the same, and you can type "
            "into 'exclude views' and 'view weights'"
        ) from error
    name = str(node.fullName())
    window = _open_windows.get(name)
    if window is None:
        window = _open_windows[name] = ViewMapWindow(name, view_panel.ViewPanel)
    window.ask()
    return window


class ViewMapWindow:
    """One open map.

    Args:
        name: Full name of the node.
        make: The panel's class.
    """

    def __init__(self, name: str, make: Any) -> None:
        self.name = name
        self.request: Optional[PendingRequest] = None
        self._last_shown = 0.0  # time when the last step was shown
        self._ask_count = 0  # number of requests; answers to earlier ones are ignored
        self.panel = make(f"{name}: views of the source", self.apply, self.ask, self.go_to, self.closed)
        self.panel.show()

    def ask(self) -> None:
        """Asks the worker again, and shows the answer when it comes. On the main thread."""
        self.panel.raise_()
        self._ask_count += 1
        if self.request is not None:
            self.request.cancel()
        try:
            node = self._find_node()
            job = make_node_job(find_reenact_node(node))
            self.panel.show_message("asking the worker; it finishes running renders first ...")
            input_writes.write_inputs(find_reenact_node(node), job)
        except FsganError as error:
            self.panel.show_message(str(error))
            return
        self.request = get_shared_client().request(
            protocol.ViewsRequest(shot=job.shot),
            on_event=self._on_event,
            on_end=functools.partial(call_later, self._show_answer, self._ask_count),
        )

    def apply(self, texts: Mapping[str, str]) -> None:
        """Writes a choice to the node's knobs as one undo step, and asks the worker again."""
        try:
            node = self._find_node()
        except FsganError as error:
            self.panel.show_message(str(error))
            return
        prefix = "reenact_" if graph.get_node_class(node) == "FSGAN_Swap" else ""
        with one_undo_step("FSGAN: views"):
            for parameter, text in texts.items():
                graph.resolve_link(node[prefix + parameter]).setValue(text)
        node_render.refresh_status(node)
        self.ask()

    def go_to(self, frame: int) -> None:
        """Shows a frame in the viewer."""
        nuke.frame(frame)

    def closed(self) -> None:
        """Called when the window is closed."""
        _open_windows.pop(self.name, None)
        if self.request is not None:
            self.request.cancel()

    def _find_node(self) -> Any:
        node = graph.find_node(self.name)
        if node is None:
            raise InputError(f"{self.name} is not in the script any more; close this window")
        return node

    def _on_event(self, event: protocol.ProtocolEvent) -> None:
        """Shows progress; called in a thread of the client."""
        if (
            isinstance(event, protocol.ProgressEvent)
            and (event.total or event.message)
            and (time.monotonic() - self._last_shown > node_render.SHOW_SECONDS)
        ):
            self._last_shown = time.monotonic()
            call_later(
                self._show_step,
                event.message
                or f"{_STEP_LABELS.get(event.step, event.step)} {event.subject} {event.done}/{event.total}",
            )

    def _show_step(self, text: str) -> None:
        if _open_windows.get(self.name) is self:
            self.panel.show_message(status.clean_text(text))

    def _show_answer(self, ask_count: int, request: PendingRequest) -> None:
        if _open_windows.get(self.name) is not self or self._ask_count != ask_count:
            return
        if request.error is None:
            self.panel.fill(request.result or {})
        elif not isinstance(request.error, CancelledError):
            self.panel.show_message(str(request.error))


_STEP_LABELS = {"analyse": "analysing", "views": "pictures of"}


def close_all_windows() -> None:
    """Closes all windows; called when the script is closed."""
    for window in list(_open_windows.values()):
        window.panel.close()


def find_reenact_node(node: Any) -> Any:
    """Finds the node whose parameters are used. Raises InputError if it was removed from a swap."""
    if graph.get_node_class(node) != "FSGAN_Swap":
        return node
    reenact_node = graph.find_inner_node(node, "Reenact")
    if reenact_node is None:
        raise InputError(f"{node.name()} no longer has a Reenact node inside; make a new FSGAN_Swap")
    return reenact_node
