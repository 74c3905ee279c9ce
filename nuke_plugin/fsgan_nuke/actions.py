"""The actions of the buttons. Each takes the node of its button; errors are shown on that node.

Saved scripts call the actions by name, so a function here keeps its name.
"""

from __future__ import annotations

import functools
import logging
import os
import webbrowser
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError, InputError, OutputError
from fsgan_nuke import (
    atlas_baking,
    defaults,
    drawing,
    exports,
    graph,
    manual,
    node_render,
    paths,
    results,
    status,
    stereo,
    view_window,
    weights_menu,
)
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.frame_choice import (
    ALONE_KNOB,
    CHOICE_KNOB,
    CURRENT_FRAME,
    CUSTOM,
    INPUT_RANGE,
    RANGE,
    choose_frames,
    format_frames,
)
from fsgan_nuke.host import get_small_edition, keep_undo, show_message, show_text
from fsgan_nuke.node_job import get_frames_text, get_input_range, parse_frame_numbers
from fsgan_nuke.request import PendingRequest
from fsgan_nuke.settings import load_settings

log = logging.getLogger(__name__)


def run_action(action: str) -> None:
    """Runs an action on the current node and shows errors on that node."""
    node = nuke.thisNode()
    try:
        # Inside a gizmo's button the current group is the gizmo; the artist works in the group that holds it.
        with graph.find_owner(node) or nuke.root():
            ACTIONS[action](node)
    except FsganError as error:
        status.show_status(node, status.make_error_status(error))
        log.debug("%s of %s", action, node.fullName(), exc_info=error)
    except Exception as error:
        log.exception("%s of %s", action, node.fullName())
        status.show_status(
            node, status.make_error_status(FsganError(f"{action} failed, {type(error).__name__}: {error}"))
        )


def render(node: Any) -> None:
    """Renders the frames that the node's menu names.

    Raises:
        InputError: The menu's choice has no frames here.
    """
    choice = str(node[CHOICE_KNOB].value())
    alone = bool(node[ALONE_KNOB].value())
    if choice == RANGE:
        node_render.start_render(node, include_upstream=not alone, report=True)
        return
    renderer = graph.get_render_node(node)
    if choice == CURRENT_FRAME:
        frames = str(int(nuke.frame()))
    elif choice == INPUT_RANGE:
        frames = get_input_range(renderer)
    elif choice == CUSTOM:
        frames = _ask_frames(renderer)
        if not frames:
            return
    else:
        whole_range = parse_frame_numbers(get_frames_text(renderer))
        frames = format_frames(choose_frames(choice, whole_range, int(nuke.frame())))
        if not frames:
            raise InputError(f"{node.name()}: the range ends before frame {int(nuke.frame())}")
    node_render.start_render(node, frames, include_upstream=not alone, report=choice == INPUT_RANGE)


def _ask_frames(node: Any) -> str:
    """Asks for a frame range; "" if the artist cancels."""
    if not nuke.GUI:
        raise InputError("'custom...' asks for frames, which needs a session with a GUI")
    answer = nuke.getFramesAndViews("FSGAN: frames to render", get_frames_text(node))
    if not answer:
        return ""
    return format_frames(parse_frame_numbers(str(answer[0])))


def cancel(node: Any) -> None:
    """Stops the node's render."""
    if not node_render.cancel_render(node):
        node_render.refresh_status(node)


def reload(node: Any) -> None:
    """Reads the node's frames again and refreshes its status."""
    for render_node in graph.list_swap_render_nodes(node) if graph.get_node_class(node) == "FSGAN_Swap" else [node]:
        if not paths.needs_saved_script(render_node):
            results.show_result(render_node)
        node_render.refresh_status(render_node)
    show_files_size(node)


def clear_files(node: Any) -> None:
    """Deletes the files of a node (of a swap: of each stage) after a question, and shows what is left.

    Raises:
        InputError: The node is being rendered, or the script was never saved.
        OutputError: A file cannot be deleted.
    """
    if node_render.find_active_render(node) is not None:
        raise InputError(f"{node.name()} is being rendered; cancel that render first")
    owners = graph.list_inner_nodes(node)
    count, size = _measure_all(owners)
    if count and nuke.GUI and not nuke.ask(f"Delete {count} files ({_format_size(size)}) of {node.name()}?"):
        return
    for owner in owners:
        try:
            paths.delete_files(owner)
        except OSError as error:
            raise OutputError(f"{error.filename or paths.get_node_folder(owner)}: {error.strerror}") from error
        if "result" in owner.knobs() and not paths.read_named_path(owner, paths.OUTPUT_KNOB):
            results.clear_result(owner)
        node_render.refresh_status(owner)
    show_files_size(node)


def show_files_size(node: Any) -> None:
    """Shows how many files a node has and their size."""
    try:
        count, size = _measure_all(graph.list_inner_nodes(node))
        text = f"{count} files, {_format_size(size)}"
    except FsganError as error:
        text = status.clean_text(str(error))
    with keep_undo():
        node["files_size"].setValue(text)


def _measure_all(nodes: Sequence[Any]) -> tuple[int, int]:
    measured = [paths.measure_files(node) for node in nodes]
    return sum(count for count, _ in measured), sum(size for _, size in measured)


def _format_size(size: int) -> str:
    """Formats a number of bytes.

    >>> _format_size(1_500_000)
    '1.5 MB'
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


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
        edition = get_small_edition()
        limits = (
            [f"{edition}: Python sees ten nodes of a script; docs/nuke.md says what does not work"] if edition else []
        )
        lines = [*verdict, *limits, "", *result.get("lines", ())]
        text = str(request.error) if request.error else "\n".join(lines)
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
            f"There is no report of {node.name()} yet. Tick Output > write report, then render the range. The "
            f"report is written to {pages[0].parent}."
        )


def open_manual(node: Any = None) -> None:
    """Opens the manual in the browser.

    Raises:
        InputError: The plugin was copied without its docs.
        OutputError: The pages cannot be written.
    """
    try:
        webbrowser.open(manual.write_manual().as_uri())
    except FsganError as error:
        if node is not None:
            raise
        show_message(str(error))  # from the menu there is no node to show it on


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


RESET_STAGES = ("analyse", "reenact", "mask", "inpaint", "blend", "drive")  # each has a tab with a button reset_STAGE

ACTIONS: Mapping[str, Callable[[Any], None]] = {
    **{f"reset_{stage}": functools.partial(defaults.reset_stage, stage=stage) for stage in RESET_STAGES},
    **{
        function.__name__: function
        for function in (
            render,
            cancel,
            reload,
            clear_files,
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
            exports.read_layers,
            drawing.previous_doubtful,
            drawing.next_doubtful,
        )
    },
}

__all__ = ["ACTIONS", "run_action"]
