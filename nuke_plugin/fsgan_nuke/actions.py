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
from fsgan_nuke import analysis, graph, offers, paths, render, status, tracks, viewwindow
from fsgan_nuke.client import Request, shared
from fsgan_nuke.host import show_text, tell
from fsgan_nuke.settings import load as load_settings

log = logging.getLogger(__name__)


def run(action: str) -> None:
    node = nuke.thisNode()
    try:
        ACTIONS[action](node)
    except FsganError as error:
        status.show(node, status.from_error(error))
        log.debug("%s of %s", action, node.fullName(), exc_info=error)
    except Exception as error:
        log.exception("%s of %s", action, node.fullName())
        status.show(node, status.from_error(FsganError(f"{action} failed, {type(error).__name__}: {error}")))


def render_frame(node: Any) -> None:
    render.start(node, str(int(nuke.frame())))


def render_range(node: Any) -> None:
    """This node alone; what comes before it is taken as it is."""
    if graph.kind_of(node) == "FSGAN_Swap":
        render.start(node)
    else:
        render.start(node, above=False)


def render_here(node: Any) -> None:
    render.start(node)


def cancel(node: Any) -> None:
    if not render.cancel(node):
        render.refresh(node)


def reload(node: Any) -> None:
    for one in [one for one in graph.ours_above(node) if graph.swap_of(one) is not None] or [graph.renders(node)]:
        render.show_result(one, paths.result_pattern(one))
        render.refresh(one)


def analyse(node: Any) -> None:
    render.analyse(node)


def view_map(node: Any) -> None:
    viewwindow.open_map(node)


def doctor(node: Any = None) -> None:
    """Tells what is installed, when the worker has answered."""
    offers.forget()

    def ended(request: Request) -> None:
        found = request.result or {}
        verdict = ["all is well"] if found.get("ok") else [f"PROBLEM: {one}" for one in found.get("problems", ())]
        show_text("FSGAN: doctor", str(request.error) if request.error
                  else "\n".join([*verdict, "", *found.get("lines", ())]))

    request = shared().request(protocol.Doctor(), on_end=ended)
    if not nuke.GUI:
        request.wait()


def open_report(node: Any) -> None:
    """The page on the node's last range, which a render writes where the node's `report` is on."""
    page = Path(paths.report_folder(paths.result_pattern(graph.renders(node)))) / "summary.html"
    if page.is_file():
        webbrowser.open(page.as_uri())
    else:
        tell(f"There is no report of {node.name()} yet. Tick Output > report, then press Range or To here; it is "
             f"written to {page.parent}.")


def open_manual(node: Any = None) -> None:
    webbrowser.open((Path(__file__).resolve().parents[2] / "docs" / "nuke.md").as_uri())


def open_log(node: Any) -> None:
    greeting = shared().greeting
    path = greeting.log if greeting is not None else ""
    if not path:
        logs = sorted(load_settings().log_folder.glob("worker-*.log"), key=os.path.getmtime)
        path = str(logs[-1]) if logs else ""
    if not path:
        raise InputError("the worker was never started; there is no log yet")
    webbrowser.open(Path(path).as_uri())


# Tracks.


def to_tracker(node: Any) -> None:
    _make(node, "Tracker4", tracks.tracker_knobs(analysis.track_of(node)), "FSGAN_Tracker")


def to_corner_pin(node: Any) -> None:
    _make(node, "CornerPin2D", tracks.corner_pin_knobs(analysis.track_of(node)), "FSGAN_CornerPin")


def to_roto(node: Any) -> None:
    """A Roto whose shape is keyed at every frame of the track."""
    import nuke.rotopaint as paint

    outlines = tracks.outlines(analysis.track_of(node))
    made = _make(node, "Roto", {}, "FSGAN_Roto")
    curves = made["curves"]
    shape = paint.Shape(curves, type="bezier")
    shape.name = "face"
    first = outlines[min(outlines)]
    for index in range(len(first)):
        shape.append(paint.ShapeControlPoint(first[index][0], first[index][1]))
        for frame, points in outlines.items():
            shape[index].center.addPositionKey(frame, (points[index][0], points[index][1]))
    curves.rootLayer.append(shape)


def take_edits(node: Any) -> None:
    """Points of the selected Tracker that were moved become overrides in the track file."""
    chosen = [one for one in nuke.selectedNodes() if one.Class() == "Tracker4"]
    if len(chosen) != 1:
        raise InputError("select the one Tracker whose points you have moved, then press this again")
    track = analysis.track_of(node)
    moved = tracks.moved_points(track, tracks.tracker_points(chosen[0]["tracks"].toScript(False)))
    if moved:
        tracks.save_edits(track, moved)
        analysis.fill_curves(node, track.path)
    count = sum(len(points) for points in moved.values())
    status.show(node, status.Status(status.UP_TO_DATE, f"{count} points taken" if count else "no point was moved"))


def _make(node: Any, kind: str, knobs: Mapping[str, str], name: str) -> Any:
    """A node beside ours, in the same group, from the text of its knobs; one step of undo."""
    lines = [f" {knob} {text}" for knob, text in knobs.items()]
    place = [f" xpos {int(node.xpos()) + 120}", f" ypos {int(node.ypos())}"]
    group = graph.owner(node) or nuke.root()
    nuke.Undo.begin(f"FSGAN: {kind}")
    try:
        with group:
            before = {one.name() for one in nuke.allNodes(kind, group)}
            nuke.scriptReadText("\n".join([f"{kind} {{", " inputs 0", *lines, *place, "}", ""]))
            made = next(one for one in nuke.allNodes(kind, group) if one.name() not in before)
            made.setName(name)
    finally:
        nuke.Undo.end()
    return made


ACTIONS: Mapping[str, Callable[[Any], None]] = {function.__name__: function for function in (
    render_frame, render_range, render_here, cancel, reload, analyse, view_map, doctor, open_report, open_log,
    open_manual, to_tracker, to_corner_pin, to_roto, take_edits)}

__all__ = ["ACTIONS", "run"]
