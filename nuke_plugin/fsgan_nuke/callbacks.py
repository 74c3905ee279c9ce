"""What the host calls: frames that a Write needs on a farm, a panel that is opened or changed, the end of a script."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import nuke

from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.stage_graph import NODES
from fsgan_nuke import analysis, graph, input_writes, paths, render_queue, stereo, view_window, weights_menu
from fsgan_nuke.client import close_all_clients
from fsgan_nuke.farm import results_are_rendered
from fsgan_nuke.host import call_later
from fsgan_nuke.knobs import find_active_knobs
from fsgan_nuke.node_job import make_node_job

QUIET_SECONDS = 0.6  # seconds without a change, after which a node's status is asked for
IGNORED_KNOBS = (
    "status",
    "status_line",
    "about",
    "result",
    "ready",
    "first",
    "last",
    "xpos",
    "ypos",
    "selected",
    "name",
)

_unwritten_inputs: dict[str, str] = {}  # node -> why its inputs could not be written when the script was loaded
_changed_nodes: dict[str, float] = {}
_seen_values: dict[str, str] = {}  # swap -> what the knobs behind its links were
_timers: list[threading.Timer] = []


def install_callbacks() -> None:
    """Once, at the host's start."""
    for kind in NODES:
        nuke.addOnCreate(on_created, nodeClass=kind)
    nuke.addOnScriptLoad(on_script_loaded)
    nuke.addBeforeRender(on_before_render)
    nuke.addBeforeFrameRender(on_before_frame)
    nuke.addOnScriptClose(on_script_closed)
    if nuke.GUI:
        for kind in NODES:
            nuke.addKnobChanged(on_knob_changed, nodeClass=kind)
        nuke.addUpdateUI(on_update_ui, nodeClass="FSGAN_Swap")


def on_created() -> None:
    """A node is new, loaded or pasted. Frames that it says it shows and that are another node's (it is a copy, or came
    from the script of another shot) are not shown. Nothing is begun here."""
    node = nuke.thisNode()
    for one in graph.list_inner_nodes(node):
        render_queue.forget_status(one)
        shown = str(one["result"].value() or "") if "result" in one.knobs() else ""
        if shown and not paths.can_show(one, shown):
            one["result"].setValue("")
            one["ready"].setValue(0)


# A farm's render.


def on_script_loaded() -> None:
    """Without an interface: inputs that only the host can make are written now, since it cannot render them while it
    renders. What goes wrong is told by the Write that needs them."""
    if nuke.GUI or results_are_rendered():
        return
    _unwritten_inputs.clear()
    writes = [one for one in nuke.allNodes("Write", nuke.root()) if not one["disable"].value()]
    wanted = {
        (one.fullName(), view): one
        for write in writes
        for one in graph.iterate_render_nodes(write)
        for view in stereo.list_written_views(write)
    }
    for (name, view), node in wanted.items():
        try:
            render_queue.write_inputs(node, make_node_job(node, view=view))
        except FsganError as error:
            _unwritten_inputs[str(name)] = str(error)


def on_before_render() -> None:
    """Without an interface: the nodes above a Write show the files that its frames will be made into."""
    if nuke.GUI:
        return
    root = nuke.root()
    for node in graph.iterate_render_nodes(nuke.thisNode()):
        try:
            pattern = paths.get_result_pattern(node)
        except FsganError as error:
            raise RuntimeError(f"{node.fullName()}: {error}") from error
        for knob, value in (
            ("result", pattern),
            ("first", min(int(node["first"].value()), int(root.firstFrame()))),
            ("last", max(int(node["last"].value()), int(root.lastFrame()))),
            ("ready", 1),
            ("missing_results", "error"),
        ):
            node[knob].setValue(value)


def on_before_frame() -> None:
    """Without an interface: renders what the frame about to be written needs and has not; in a job of `fsgan farm`,
    what is there was rendered by the step before. A failure ends the host's render with the message. With an interface
    nothing is rendered behind the artist's back."""
    if nuke.GUI:
        return
    for view in stereo.list_written_views(nuke.thisNode()):
        for node in graph.iterate_render_nodes(nuke.thisNode()):
            render_missing_frame(node, int(nuke.frame()), view)


def render_missing_frame(node: Any, frame: int, view: str) -> None:
    """Raises RuntimeError, as the host expects it of a render."""
    name = str(node.fullName())
    try:
        if results_are_rendered() and os.path.isfile(input_writes.fill_frame(paths.get_result_pattern(node), frame)):
            return
        if name in _unwritten_inputs:
            raise FsganError(_unwritten_inputs[name])
        job = make_node_job(node, str(frame), view)
        lacking = [branch for branch in job.branches if input_writes.find_frames_to_write(branch, [frame])]
        if lacking:
            raise FsganError(
                f"the input '{lacking[0].name}' is not written for this frame; press Render on the node "
                "in a session with an interface, or call fsgan_nuke.callbacks.on_script_loaded() before the render"
            )
        render_queue.start_render(node, str(frame), above=False, only=(view,))
    except FsganError as error:
        raise RuntimeError(f"{name}, frame {frame}: {error}") from error


# A panel.


def on_knob_changed() -> None:
    """Only while a panel is open: the status is asked for when the artist has stopped changing things."""
    knob = nuke.thisKnob().name()
    if knob in IGNORED_KNOBS or knob.endswith(weights_menu.NOTE_SUFFIX):
        return
    node = nuke.thisNode()
    weights_menu.apply_menu_choice(node, knob)
    _mark_changed(node)


def on_update_ui() -> None:
    """Of a swap: its knobs are links, and a change of what is behind them need not be told as a change of the swap."""
    node = nuke.thisNode()
    if not node.shown():
        return
    name, now = str(node.fullName()), _read_linked_values(node)
    before, _seen_values[name] = _seen_values.get(name), now
    if before is not None and before != now:
        _mark_changed(node)


def _read_linked_values(node: Any) -> str:
    return repr(
        [
            graph.resolve_link(knob).value()
            for name, knob in node.knobs().items()
            if knob.Class() == "Link_Knob" and name.rpartition("_")[2] not in IGNORED_KNOBS
        ]
    )


def _mark_changed(node: Any) -> None:
    disable_inactive_knobs(node)
    _changed_nodes[str(node.fullName())] = time.monotonic()
    if not _timers:
        _start_timer(QUIET_SECONDS)


def disable_inactive_knobs(node: Any) -> None:
    """What does not count as the other knobs stand cannot be changed."""
    for stage, prefix in graph.list_node_stages(node):
        for name, counts in find_active_knobs(
            stage, lambda name: graph.resolve_link(node[name]).value(), lambda name: name in node.knobs(), prefix
        ).items():
            if bool(node[name].enabled()) != counts:
                node[name].setEnabled(counts)


def _start_timer(seconds: float) -> None:
    timer = threading.Timer(seconds, _on_timer)
    timer.daemon = True
    _timers.append(timer)
    timer.start()


def _on_timer() -> None:
    """In the timer's thread."""
    _timers.clear()
    last = max(_changed_nodes.values(), default=0.0)
    rest = QUIET_SECONDS - (time.monotonic() - last)
    if rest > 0.01:
        _start_timer(rest)
    else:
        call_later(_refresh_changed)


def _refresh_changed() -> None:
    names = list(_changed_nodes)
    _changed_nodes.clear()
    for name in names:
        node = nuke.toNode(name)
        if node is None:
            continue
        render_queue.refresh_status(node)
        weights_menu.refresh_menus(node)
        if graph.get_node_class(node) == "FSGAN_Analyse":
            for one in analysis.list_nodes_below(node):
                render_queue.refresh_status(one)


def on_script_closed() -> None:
    """A script is closed: nobody waits for its renders any more."""
    render_queue.cancel_all_renders()
    view_window.close_all_windows()
    if not nuke.GUI:
        close_all_clients()
