"""What the buttons do. Each takes the node that it is on; errors are shown on that node."""

from __future__ import annotations

import logging
import os
import webbrowser
from pathlib import Path
from typing import Any, Callable, Mapping

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError, InputError
from fsgan_nuke import exports, graph, paths, render_queue, status, stereo, view_window, weights_menu
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import show_message, show_text
from fsgan_nuke.request import PendingRequest
from fsgan_nuke.settings import load_settings as load_settings

log = logging.getLogger(__name__)


def run_action(action: str) -> None:
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
    render_queue.start_render(node, str(int(nuke.frame())))


def render_range(node: Any) -> None:
    """This node alone; what comes before it is taken as it is."""
    if graph.get_node_class(node) == "FSGAN_Swap":
        render_queue.start_render(node)
    else:
        render_queue.start_render(node, above=False)


def render_here(node: Any) -> None:
    render_queue.start_render(node)


def cancel(node: Any) -> None:
    if not render_queue.cancel_render(node):
        render_queue.refresh_status(node)


def reload(node: Any) -> None:
    for one in graph.list_swap_render_nodes(node) if graph.get_node_class(node) == "FSGAN_Swap" else [node]:
        render_queue.show_result(one)
        render_queue.refresh_status(one)


def analyse(node: Any) -> None:
    render_queue.start_analysis(node)


def view_map(node: Any) -> None:
    view_window.open_view_map(node)


def doctor(node: Any = None) -> None:
    """Tells what is installed, when the worker has answered."""
    weights_menu.forget_answers()

    def on_answer(request: PendingRequest) -> None:
        found = request.result or {}
        verdict = ["all is well"] if found.get("ok") else [f"PROBLEM: {one}" for one in found.get("problems", ())]
        show_text(
            "FSGAN: doctor", str(request.error) if request.error else "\n".join([*verdict, "", *found.get("lines", ())])
        )

    request = get_shared_client().request(protocol.DoctorRequest(), on_end=on_answer)
    if not nuke.GUI:
        request.wait()


def open_report(node: Any) -> None:
    """The page on the node's last range, which a render writes where the node's `report` is on."""
    made = graph.get_render_node(node)
    pages = [Path(paths.get_report_folder(made, view)) / "summary.html" for view in stereo.list_node_views(made)]
    page = pages[0]
    for there in [page for page in pages if page.is_file()]:
        webbrowser.open(there.as_uri())
    if not any(page.is_file() for page in pages):
        show_message(
            f"There is no report of {node.name()} yet. Tick Output > report, then press Range or To here; it is "
            f"written to {page.parent}."
        )


def open_manual(node: Any = None) -> None:
    webbrowser.open((Path(__file__).resolve().parents[2] / "docs" / "nuke.md").as_uri())


def open_log(node: Any) -> None:
    greeting = get_shared_client().greeting
    path = greeting.log if greeting is not None else ""
    if not path:
        logs = sorted(load_settings().log_folder.glob("worker-*.log"), key=os.path.getmtime)
        path = str(logs[-1]) if logs else ""
    if not path:
        raise InputError("the worker was never started; there is no log yet")
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
