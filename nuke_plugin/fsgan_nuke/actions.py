"""The actions of the buttons. Each takes the node of its button; errors are shown on that node.

Saved scripts call the actions by name, so a function here keeps its name.
"""

from __future__ import annotations

import logging
import os
import webbrowser
from pathlib import Path
from typing import Any, Callable, Mapping

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError, InputError
from fsgan_nuke import atlas_baking, exports, graph, node_render, paths, status, stereo, view_window, weights_menu
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import show_message, show_text
from fsgan_nuke.request import PendingRequest
from fsgan_nuke.settings import load_settings

log = logging.getLogger(__name__)


def run_action(action: str) -> None:
    """Runs an action on the current node and shows errors on that node."""
    node = nuke.thisNode()
    try:
        ACTIONS[action](node)
    except FsganError as error:
        status.show_status(node, status.make_error_status(error))
        log.debug("%s of %s", action, node.fullName(), exc_info=error)
    except Exception as error:
        log.exception("%s of %s", action, node.fullName())
        status.show_status(
            node, status.make_error_status(FsganError(f"{action} failed, {type(error).__name__}: {error}"))
        )


def render_frame(node: Any) -> None:
    """Renders the current frame of the node and of the FSGAN nodes upstream of it."""
    node_render.start_render(node, str(int(nuke.frame())))


def render_range(node: Any) -> None:
    """Renders only this node, over its frames."""
    if graph.get_node_class(node) == "FSGAN_Swap":
        node_render.start_render(node)
    else:
        node_render.start_render(node, include_upstream=False)


def render_here(node: Any) -> None:
    """Renders the node and the FSGAN nodes upstream of it, over its frames."""
    node_render.start_render(node)


def cancel(node: Any) -> None:
    """Stops the node's render."""
    if not node_render.cancel_render(node):
        node_render.refresh_status(node)


def reload(node: Any) -> None:
    """Reads the node's frames again and refreshes its status."""
    for render_node in graph.list_swap_render_nodes(node) if graph.get_node_class(node) == "FSGAN_Swap" else [node]:
        node_render.show_result(render_node)
        node_render.refresh_status(render_node)


def analyse(node: Any) -> None:
    """Analyses the clip above the node."""
    node_render.start_analysis(node)


def view_map(node: Any) -> None:
    """Opens the window with the source's views."""
    view_window.open_view_map(node)


def doctor(node: Any = None) -> None:
    """Shows what is installed and what works on this machine, once the worker has answered."""
    weights_menu.forget_answers()

    def on_answer(request: PendingRequest) -> None:
        result = request.result or {}
        problems = [f"PROBLEM: {problem}" for problem in result.get("problems", ())]
        verdict = ["everything works"] if result.get("ok") else problems
        text = str(request.error) if request.error else "\n".join([*verdict, "", *result.get("lines", ())])
        show_text("FSGAN: doctor", text)

    request = get_shared_client().request(protocol.DoctorRequest(), on_end=on_answer)
    if not nuke.GUI:
        request.wait()


def open_report(node: Any) -> None:
    """Opens the report on the last range. A render writes it if the node's `report` is on."""
    renderer = graph.get_render_node(node)
    pages = [
        Path(paths.get_report_folder(renderer, view)) / "summary.html" for view in stereo.list_node_views(renderer)
    ]
    existing = [page for page in pages if page.is_file()]
    for page in existing:
        webbrowser.open(page.as_uri())
    if not existing:
        show_message(
            f"There is no report of {node.name()} yet. Tick Output > write report, then press Range. The "
            f"report is written to {pages[0].parent}."
        )


def open_manual(node: Any = None) -> None:
    """Opens docs/nuke.md in the program that the system uses for such files."""
    webbrowser.open((Path(__file__).resolve().parents[2] / "docs" / "nuke.md").as_uri())


def open_log(node: Any) -> None:
    """Opens the worker's log. Raises InputError if the worker was never started."""
    greeting = get_shared_client().greeting
    path = greeting.log if greeting is not None else ""
    if not path:
        logs = sorted(load_settings().log_folder.glob("worker-*.log"), key=os.path.getmtime)
        path = str(logs[-1]) if logs else ""
    if not path:
        raise InputError("the worker has not been started yet, so there is no log")
    webbrowser.open(Path(path).as_uri())


ACTIONS: Mapping[str, Callable[[Any], None]] = {
    function.__name__: function
    for function in (
        render_frame,
        render_range,
        render_here,
        cancel,
        reload,
        analyse,
        view_map,
        atlas_baking.bake_atlas,
        doctor,
        open_report,
        open_log,
        open_manual,
        exports.to_tracker,
        exports.to_corner_pin,
        exports.to_points,
        exports.to_roto,
        exports.take_edits,
    )
}

__all__ = ["ACTIONS", "run_action"]
