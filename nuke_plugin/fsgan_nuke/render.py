"""Renders of our nodes: which run, in which order, and what the artist sees meanwhile.

With an interface the work is done in a thread that asks the main thread only for what needs it; without one (a farm's
`nuke -x`) it is done where it is asked for.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any, Optional

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, InputError
from fsgan_nuke import branches, graph, paths, status
from fsgan_nuke.analysis import analysis_of, fill_curves
from fsgan_nuke.client import Request, shared
from fsgan_nuke.host import later, on_main, tell
from fsgan_nuke.jobs import Job, frame_numbers, frames_text, job_of

log = logging.getLogger(__name__)

SHOWN_EVERY = 0.2  # seconds


@dataclass
class Render:
    """One render that was asked for: nodes by full name, in their order. frames: "" for those of each node's knob.
    report: whether nodes that want one get a report."""

    nodes: list[str]
    frames: str
    report: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    request: Optional[Request] = None
    error: Optional[BaseException] = None
    thread: Optional[threading.Thread] = None

    def cancel(self) -> None:
        self.cancelled.set()
        if self.request is not None:
            self.request.cancel()

    def wait(self, timeout: Optional[float] = None) -> None:
        """Raises what the render failed with, or TimeoutError."""
        if self.thread is not None:
            self.thread.join(timeout)
            if self.thread.is_alive():
                raise TimeoutError(f"the render is not done after {timeout:g} s")
        if self.error is not None:
            raise self.error


_running: dict[str, Render] = {}


def start(node: Any, frames: str = "", above: bool = True) -> Render:
    """Renders a node, with `above` every node of ours that it depends on before it. frames: "" for the range of the
    node that is asked for. On the main thread.

    Without an interface it is done when this returns, and raises FsganError where it failed.
    """
    if graph.kind_of(node) == "FSGAN_Analyse":
        raise InputError(f"{node.name()} renders nothing; press Analyse")
    nodes = [one for one in graph.ours_above(node) if above or one.fullName() == node.fullName()]
    if not nodes:
        raise InputError(f"{node.name()} renders nothing; is it disabled?")
    return _begin(Render([str(one.fullName()) for one in nodes], frames or frames_text(graph.renders(node)),
                         report=not frames))


def analyse(node: Any) -> Render:
    """Analyses the clip above an FSGAN_Analyse. As `start`."""
    return _begin(Render([str(node.fullName())], ""))


def _begin(render: Render) -> Render:
    busy = [name for name in render.nodes if name in _running]
    if busy:
        raise InputError(f"{busy[0]} is being rendered already; cancel that first")
    _running.update(dict.fromkeys(render.nodes, render))
    if nuke.GUI:
        render.thread = threading.Thread(target=_work, args=(render,), name="fsgan render", daemon=True)
        render.thread.start()
    else:
        _work(render)
        render.wait()
    return render


def running(node: Any) -> Optional[Render]:
    """The render that the node, or one inside it, takes part in."""
    name = str(node.fullName())
    return next((one for key, one in _running.items() if key == name or key.startswith(name + ".")), None)


def cancel(node: Any) -> bool:
    """Cancels the render that the node takes part in; whether there was one."""
    render = running(node)
    if render is not None:
        render.cancel()
    return render is not None


def cancel_all() -> None:
    """When the script is closed."""
    for render in list(_running.values()):
        render.cancel()


def refresh(node: Any) -> None:
    """Asks which of a node's frames are up to date, and shows it on the node when the answer comes. On the main
    thread; returns at once."""
    if running(node) is not None:
        return
    if graph.kind_of(node) == "FSGAN_Analyse":
        _show(str(node.fullName()), _analysed(node))
        return
    try:
        made = graph.renders(node)
        name = str(made.fullName())
        job = job_of(made)
    except FsganError as error:
        status.show(node, status.from_error(error))
        return

    if not all(_frames_there(clip["path"]) for clip in job.upstream.values()):
        _show(name, status.Status(status.NOTHING, "not rendered, nor is what it needs"))
        return

    def ended(request: Request) -> None:
        shown = status.from_error(request.error) if request.error else status.from_keys(request.result or {})
        later(_show, name, shown)

    message = protocol.Keys(shot=job.shot, stage=job.stage, upstream=job.upstream, frames=str(job.shot["frames"]))
    shared().request(message, on_end=ended)


def _analysed(node: Any) -> status.Status:
    there = os.path.isfile(paths.track_path(node))
    return status.Status(status.UP_TO_DATE if there else status.NOTHING, "analysed" if there else "not analysed")


def _work(render: Render) -> None:
    """The nodes of a render, one after the other."""
    meter = nuke.ProgressTask("FSGAN") if nuke.GUI else None
    name = ""
    try:
        for name in render.nodes:
            if render.cancelled.is_set():
                raise CancelledError("cancelled")
            job = on_main(_prepare, name, render)
            answer = _answered(render, job, meter)
            on_main(_finish, name, job, answer)
    except CancelledError as error:
        error.__traceback__ = None  # it would keep the host's bar alive
        render.error = None if nuke.GUI else error
    except BaseException as error:
        log.debug("%s", name, exc_info=error)
        error.__traceback__ = None
        render.error = error
    finally:
        for one in render.nodes:
            if _running.get(one) is render:
                del _running[one]
        meter = None  # the host's bar goes away with it
    if render.error is not None:
        later(_show, name, status.from_error(render.error))
        if nuke.GUI:
            tell(f"{name}: {render.error}")
    if nuke.GUI:
        later(_refresh_named, [one for one in render.nodes if render.error is None or one != name])


def _prepare(name: str, render: Render) -> Job:
    """On the main thread: what the worker shall do, and what it reads written."""
    node = _node(name)
    job = analysis_of(node) if graph.kind_of(node) == "FSGAN_Analyse" else job_of(node, render.frames)
    if render.report and "report" in node.knobs() and node["report"].value():
        job = replace(job, report=paths.report_folder(job.output))
    _show(name, status.rendering(0, 0, "writing inputs" if job.branches else "starting"))
    write_inputs(node, job)
    return job


def write_inputs(node: Any, job: Job) -> None:
    """What only the host can make. On the main thread; not while the host itself renders."""
    asked = frame_numbers(str(job.shot.get("frames", "")))
    for branch in job.branches:
        wanted = range(int(branch.node.firstFrame()), int(branch.node.lastFrame()) + 1) if branch.whole else asked
        branches.write_branch(node, branch, list(wanted))


def _answered(render: Render, job: Job, meter: Any) -> dict[str, Any]:
    """Off the main thread, where there is an interface: the worker's answer. Raises FsganError."""
    message: protocol.Request
    if job.analysis is not None:
        message = protocol.Analyse(clip=job.shot["target"], output=job.output, stages=job.shot["stages"],
                                   of_target=job.analysis == "target")
    else:
        message = protocol.Render(shot=job.shot, stage=job.stage, upstream=job.upstream,
                                  frames=str(job.shot["frames"]), report=job.report)
    render.request = shared().request(message)
    shown_at, failed = 0.0, []
    for event in render.request.follow():
        if render.cancelled.is_set() or (meter is not None and meter.isCancelled()):
            render.cancel()
        if isinstance(event, protocol.Frame) and event.state == "failed":
            failed.append(f"frame {event.frame}: {event.message}")
        if meter is None and isinstance(event, protocol.Frame):
            nuke.tprint(f"{job.node}: frame {event.frame} {event.state} {event.message}".rstrip())
        elif meter is not None and isinstance(event, protocol.Log) and event.level in ("warning", "error"):
            meter.setMessage(f"{job.node}: {event.message}")
        elif meter is not None and isinstance(event, (protocol.Progress, protocol.Frame)):
            if time.monotonic() - shown_at < SHOWN_EVERY:
                continue
            shown_at = time.monotonic()
            shown = status.rendering(event.done, event.total, getattr(event, "step", ""))
            meter.setMessage(f"{job.node}: {shown.line}")
            meter.setProgress(min(100, int(100 * event.done / event.total)) if event.total else 0)
            later(_show, job.node, shown)
    return {**render.request.wait(), "told": failed}


def _finish(name: str, job: Job, answer: dict[str, Any]) -> None:
    """On the main thread: the node shows what was made. Raises FsganError for frames that failed."""
    node = _node(name)
    if job.analysis is not None:
        fill_curves(node, job.output)
        return
    show_result(node, job.output)
    if answer.get("failed"):
        failed = answer["told"] or [f"frame {one['frame']}: {one['message']}" for one in answer["failed"]]
        raise FsganError(f"{len(answer['failed'])} frames failed; {failed[0]}\n" + "\n".join(failed[1:]))
    _show(name, status.Status(status.UP_TO_DATE, "up to date"))


def show_result(node: Any, output: str) -> None:
    """The node shows the frames that are there."""
    frames = _frames_there(output)
    if not frames:
        return
    for knob, value in (("result", output), ("first", frames[0]), ("last", frames[-1]), ("ready", 1)):
        if node[knob].value() != value:
            node[knob].setValue(value)
    read = graph.inner(node, "Result")
    if read is not None and "reload" in read.knobs():
        read["reload"].execute()


def _frames_there(pattern: str) -> list[int]:
    """Numbers of a pattern's files, ascending."""
    folder, name = os.path.split(pattern)
    before, _, after = name.partition("#")
    after = after.lstrip("#")
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [one[len(before):len(one) - len(after)] for one in names if one.startswith(before) and one.endswith(after)]
    return sorted(int(number) for number in found if number.lstrip("-").isdigit())


def _show(name: str, shown: status.Status) -> None:
    """On a node and, from inside a swap, on the swap; a node that is gone is passed over."""
    node = nuke.toNode(name)
    if node is None:
        return
    status.show(node, shown)
    swap = graph.swap_of(node)
    if swap is not None:
        line = shown.line if node.name() == "Blend" else f"{node.name()}: {shown.line}"
        status.show(swap, status.Status(shown.state, line, shown.more))


def _refresh_named(names: list[str]) -> None:
    for name in names:
        node = nuke.toNode(name)
        if node is not None:
            refresh(node)


def _node(name: str) -> Any:
    """Raises InputError for a node that was deleted or renamed meanwhile."""
    node = nuke.toNode(name)
    if node is None:
        raise InputError(f"{name} is not in the script any more")
    return node
