"""Functions that Nuke calls: for new nodes, for panels, and when a script is closed."""

from __future__ import annotations

import threading
import time
from typing import Any

import nuke

from fsgan_core.contract.stage_graph import NODES
from fsgan_nuke import analysis, drawing, farm_callbacks, graph, node_render, paths, results, view_window, weights_menu
from fsgan_nuke.client import close_all_clients
from fsgan_nuke.host import call_later
from fsgan_nuke.knobs import find_active_knobs

QUIET_SECONDS = 0.6  # without a change, before a node's status is refreshed
# Knobs that are not parameters.
IGNORED_KNOBS = (
    "status",
    "status_line",
    "about",
    "files_name",
    "files_size",
    "render_frames",
    "render_alone",
    "result",
    "ready",
    "rendered",
    "doubtful_below",
    "draw_box",
    "draw_landmarks",
    "draw_mesh",
    "draw_pose",
    "drawing",
    "drawing_first",
    "drawing_last",
    "first",
    "last",
    "xpos",
    "ypos",
    "selected",
    "name",
)

_changed_nodes: dict[str, float] = {}  # node -> time of its last change
_seen_values: dict[str, str] = {}  # swap -> the last values of the knobs behind its links
_timers: list[threading.Timer] = []  # the one that runs, if any


def install_callbacks() -> None:
    """Registers the callbacks; called once, at startup."""
    for kind in NODES:
        nuke.addOnCreate(on_created, nodeClass=kind)
    nuke.addOnScriptLoad(farm_callbacks.on_script_loaded)
    nuke.addBeforeRender(farm_callbacks.on_before_render)
    nuke.addAfterRender(farm_callbacks.on_after_render)
    nuke.addBeforeFrameRender(farm_callbacks.on_before_frame)
    nuke.addOnScriptClose(on_script_closed)
    if nuke.GUI:
        for kind in NODES:
            nuke.addKnobChanged(on_knob_changed, nodeClass=kind)
        nuke.addUpdateUI(on_update_ui, nodeClass="FSGAN_Swap")


def on_created() -> None:
    """Names the files of a new, loaded or pasted node, and clears the shown frames if they belong to another node.

    That happens to a copy, and to a node from another shot's script. Nothing is rendered here.
    """
    node = nuke.thisNode()
    if graph.find_node(str(node.fullName())) != node:
        return  # inside a gizmo that is not in the script yet; the gizmo's own call follows
    for inner_node in [node, *graph.list_inner_nodes(node)]:
        graph.remember_node(inner_node)
    for inner_node in graph.list_inner_nodes(node):
        if nuke.GUI:  # a farm's session cannot save a new name; there the node's own name is used
            paths.give_files_name(inner_node)
            paths.remember_files_name(inner_node)
        node_render.forget_status(inner_node)
        shown_pattern = str(inner_node["result"].value() or "") if "result" in inner_node.knobs() else ""
        if shown_pattern and not paths.can_show(inner_node, shown_pattern):
            results.clear_result(inner_node)
        elif shown_pattern and nuke.GUI:
            results.show_result(inner_node)  # a farm may have rendered more


# Panels.


def on_knob_changed() -> None:
    """Schedules a refresh of the node's status; called while its panel is open."""
    knob = nuke.thisKnob().name()
    if knob.endswith(paths.FILES_NAME_KNOB):
        _mark_changed(nuke.thisNode())  # an artist cannot set it: a preset of Nuke was applied
        return
    if knob in IGNORED_KNOBS or knob.endswith(weights_menu.NOTE_SUFFIX):
        return
    node = nuke.thisNode()
    if knob == drawing.OVERLAY_KNOB:
        drawing.refresh_drawings(node)
        return
    weights_menu.apply_menu_choice(node, knob)
    _mark_changed(node)


def on_update_ui() -> None:
    """Detects changes on a swap: its knobs are links, and Nuke may not report a change behind a link."""
    node = nuke.thisNode()
    if not node.shown():
        return
    name, values = str(node.fullName()), _read_linked_values(node)
    previous_values, _seen_values[name] = _seen_values.get(name), values
    if previous_values is not None and previous_values != values:
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
    """Disables the knobs that have no effect with the present values of other knobs."""
    for stage, prefix in graph.list_node_stages(node):
        for name, is_active in find_active_knobs(
            stage, lambda name: graph.resolve_link(node[name]).value(), lambda name: name in node.knobs(), prefix
        ).items():
            if bool(node[name].enabled()) != is_active:
                node[name].setEnabled(is_active)


def _start_timer(seconds: float) -> None:
    timer = threading.Timer(seconds, _on_timer)
    timer.daemon = True
    _timers.append(timer)
    timer.start()


def _on_timer() -> None:
    """Called in the timer's thread."""
    _timers.clear()
    last = max(_changed_nodes.values(), default=0.0)
    remaining = QUIET_SECONDS - (time.monotonic() - last)
    if remaining > 0.01:
        _start_timer(remaining)
    else:
        call_later(_refresh_changed)


def _refresh_changed() -> None:
    names = list(_changed_nodes)
    _changed_nodes.clear()
    for name in names:
        node = graph.find_node(name)
        if node is None:
            continue
        _restore_own_files(node)
        node_render.refresh_status(node)
        weights_menu.refresh_menus(node)
        if graph.get_node_class(node) == "FSGAN_Analyse":
            drawing.refresh_drawings(node)
            for node_below in analysis.list_nodes_below(node):
                node_render.refresh_status(node_below)


def _restore_own_files(node: Any) -> None:
    """Shows the node's own files again if a preset of Nuke has brought those of another node."""
    for inner_node in graph.list_inner_nodes(node):
        if paths.restore_files_name(inner_node):
            if "result" in inner_node.knobs():
                results.clear_result(inner_node)
                if not paths.needs_saved_script(inner_node):
                    results.show_result(inner_node)
        else:
            paths.remember_files_name(inner_node)  # the node may have been renamed


def on_script_closed() -> None:
    """Cancels the renders and closes the windows of a script that is closed."""
    node_render.cancel_all_renders()
    view_window.close_all_windows()
    if not nuke.GUI:
        close_all_clients()
