"""What the host calls: frames that a Write needs on a farm, a panel that is opened or changed, the end of a script."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import nuke

from fsgan_core.contract.errors import FsganError
from fsgan_nuke import analysis, graph, input_writes, paths, render_queue, stereo, view_window, weights_menu
from fsgan_nuke.client import close_all
from fsgan_nuke.farm import results_are_rendered
from fsgan_nuke.host import later
from fsgan_nuke.knobs import counting
from fsgan_nuke.node_job import job_of

QUIET = 0.6  # seconds without a change, after which a node's status is asked for
NOT_PARAMETERS = ("status", "status_line", "about", "result", "ready", "first", "last", "xpos", "ypos", "selected",
                  "name")

_unwritten: dict[str, str] = {}  # node -> why its inputs could not be written when the script was loaded
_changed: dict[str, float] = {}
_seen: dict[str, str] = {}  # swap -> what the knobs behind its links were
_waiting: list[threading.Timer] = []


def install() -> None:
    """Once, at the host's start."""
    for kind in graph.OURS:
        nuke.addOnCreate(created, nodeClass=kind)
    nuke.addOnScriptLoad(loaded)
    nuke.addBeforeRender(before_render)
    nuke.addBeforeFrameRender(before_frame)
    nuke.addOnScriptClose(closed)
    if nuke.GUI:
        for kind in graph.OURS:
            nuke.addKnobChanged(knob_changed, nodeClass=kind)
        nuke.addUpdateUI(update_ui, nodeClass="FSGAN_Swap")


def created() -> None:
    """A node is new, loaded or pasted. Frames that it says it shows and that are another node's (it is a copy, or came
    from the script of another shot) are not shown. Nothing is begun here."""
    node = nuke.thisNode()
    for one in graph.inside_or_self(node):
        render_queue.forget(one)
        shown = str(one["result"].value() or "") if "result" in one.knobs() else ""
        if shown and not paths.may_show(one, shown):
            one["result"].setValue("")
            one["ready"].setValue(0)


# A farm's render.


def loaded() -> None:
    """Without an interface: inputs that only the host can make are written now, since it cannot render them while it
    renders. What goes wrong is told by the Write that needs them."""
    if nuke.GUI or results_are_rendered():
        return
    _unwritten.clear()
    writes = [one for one in nuke.allNodes("Write", nuke.root()) if not one["disable"].value()]
    wanted = {(one.fullName(), view): one for write in writes for one in graph.ours_above(write)
              for view in stereo.written_by(write)}
    for (name, view), node in wanted.items():
        try:
            render_queue.write_inputs(node, job_of(node, view=view))
        except FsganError as error:
            _unwritten[str(name)] = str(error)


def before_render() -> None:
    """Without an interface: the nodes above a Write show the files that its frames will be made into."""
    if nuke.GUI:
        return
    root = nuke.root()
    for node in graph.ours_above(nuke.thisNode()):
        try:
            pattern = paths.result_pattern(node)
        except FsganError as error:
            raise RuntimeError(f"{node.fullName()}: {error}") from error
        for knob, value in (("result", pattern), ("first", min(int(node["first"].value()), int(root.firstFrame()))),
                            ("last", max(int(node["last"].value()), int(root.lastFrame()))), ("ready", 1),
                            ("missing_results", "error")):
            node[knob].setValue(value)


def before_frame() -> None:
    """Without an interface: renders what the frame about to be written needs and has not; in a job of `fsgan farm`,
    what is there was rendered by the step before. A failure ends the host's render with the message. With an interface
    nothing is rendered behind the artist's back."""
    if nuke.GUI:
        return
    for view in stereo.written_by(nuke.thisNode()):
        for node in graph.ours_above(nuke.thisNode()):
            make_frame(node, int(nuke.frame()), view)


def make_frame(node: Any, frame: int, view: str) -> None:
    """Raises RuntimeError, as the host expects it of a render."""
    name = str(node.fullName())
    try:
        if results_are_rendered() and os.path.isfile(input_writes.at_frame(paths.result_pattern(node), frame)):
            return
        if name in _unwritten:
            raise FsganError(_unwritten[name])
        job = job_of(node, str(frame), view)
        lacking = [branch for branch in job.branches if input_writes.to_write(branch, [frame])]
        if lacking:
            raise FsganError(f"the input '{lacking[0].name}' is not written for this frame; press Render on the node "
                             "in a session with an interface, or call fsgan_nuke.callbacks.loaded() before the render")
        render_queue.start(node, str(frame), above=False, only=(view,))
    except FsganError as error:
        raise RuntimeError(f"{name}, frame {frame}: {error}") from error


# A panel.


def knob_changed() -> None:
    """Only while a panel is open: the status is asked for when the artist has stopped changing things."""
    knob = nuke.thisKnob().name()
    if knob in NOT_PARAMETERS or knob.endswith(weights_menu.NOTE):
        return
    node = nuke.thisNode()
    weights_menu.take(node, knob)
    _touched(node)


def update_ui() -> None:
    """Of a swap: its knobs are links, and a change of what is behind them need not be told as a change of the swap."""
    node = nuke.thisNode()
    if not node.shown():
        return
    name, now = str(node.fullName()), _values(node)
    before, _seen[name] = _seen.get(name), now
    if before is not None and before != now:
        _touched(node)


def _values(node: Any) -> str:
    return repr([graph.behind(knob).value() for name, knob in node.knobs().items()
                 if knob.Class() == "Link_Knob" and name.rpartition("_")[2] not in NOT_PARAMETERS])


def _touched(node: Any) -> None:
    grey_out(node)
    _changed[str(node.fullName())] = time.monotonic()
    if not _waiting:
        _wait(QUIET)


def grey_out(node: Any) -> None:
    """What does not count as the other knobs stand cannot be changed."""
    for stage, prefix in graph.stages_of(node):
        for name, counts in counting(stage, lambda name: graph.behind(node[name]).value(),
                                     lambda name: name in node.knobs(), prefix).items():
            if bool(node[name].enabled()) != counts:
                node[name].setEnabled(counts)


def _wait(seconds: float) -> None:
    timer = threading.Timer(seconds, _quiet)
    timer.daemon = True
    _waiting.append(timer)
    timer.start()


def _quiet() -> None:
    """In the timer's thread."""
    _waiting.clear()
    last = max(_changed.values(), default=0.0)
    rest = QUIET - (time.monotonic() - last)
    if rest > 0.01:
        _wait(rest)
    else:
        later(_refresh_changed)


def _refresh_changed() -> None:
    names = list(_changed)
    _changed.clear()
    for name in names:
        node = nuke.toNode(name)
        if node is None:
            continue
        render_queue.refresh(node)
        weights_menu.refresh(node)
        if graph.kind_of(node) == "FSGAN_Analyse":
            for one in analysis.below(node):
                render_queue.refresh(one)


def closed() -> None:
    """A script is closed: nobody waits for its renders any more."""
    render_queue.cancel_all()
    view_window.close_all()
    if not nuke.GUI:
        close_all()
