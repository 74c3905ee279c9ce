"""Renders of our nodes: which run, in which order, and what the artist sees meanwhile.

With an interface the work is done in a thread that asks the main thread only for what needs it; without one (a farm's
`nuke -x`) it is done where it is asked for.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any, Optional, Sequence

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, InputError
from fsgan_nuke import graph, input_writes, paths, status, stereo
from fsgan_nuke.analysis import analysis_of, fill_curves
from fsgan_nuke.client import shared
from fsgan_nuke.host import later, on_main, tell
from fsgan_nuke.node_job import Job, frame_numbers, frames_text, job_of
from fsgan_nuke.request import Request

log = logging.getLogger(__name__)

SHOWN_EVERY = 0.2  # seconds


@dataclass
class Render:
    """One render that was asked for: nodes by full name, in their order, each in all of the views. frames: "" for those
    of each node's knob. report: whether nodes that want one get a report."""

    nodes: list[str]
    frames: str
    views: tuple[str, ...]
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
_shown: dict[str, status.Status] = {}  # by full name, of nodes inside a swap: the swap shows what they say together


def start(node: Any, frames: str = "", above: bool = True, only: Sequence[str] = ()) -> Render:
    """Renders a node, with `above` every node of ours that it depends on before it. frames: "" for the range of the
    node that is asked for. only: these views, else those that the node renders. On the main thread.

    Without an interface it is done when this returns, and raises FsganError where it failed.
    """
    if graph.kind_of(node) == "FSGAN_Analyse":
        raise InputError(f"{node.name()} renders nothing; press Analyse")
    nodes = [one for one in graph.ours_above(node) if above or one.fullName() == node.fullName()]
    if not nodes:
        raise InputError(f"{node.name()} renders nothing; is it disabled?")
    return _begin(Render([str(one.fullName()) for one in nodes], frames or frames_text(graph.renders(node)),
                         tuple(only) or stereo.of(node), report=not frames))


def analyse(node: Any) -> Render:
    """Analyses the clip above an FSGAN_Analyse. As `start`."""
    return _begin(Render([str(node.fullName())], "", stereo.of(node)))


def _begin(render: Render) -> Render:
    busy = [name for name in render.nodes if name in _running]
    if busy:
        raise InputError(f"{busy[0]} is being rendered already; cancel that first")
    _running.update(dict.fromkeys(render.nodes, render))
    for name in render.nodes:
        _shown.pop(name, None)
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
        if graph.kind_of(node) == "FSGAN_Swap":
            for one in graph.inside(node):
                refresh(one)
            return
        name = str(node.fullName())
        jobs = [job_of(node, view=view) for view in stereo.of(node)]
    except (FsganError, OSError) as error:
        status.show(node, status.from_error(error))
        return
    found: dict[str, status.Status] = {}

    def answered(view: str, request: Optional[Request]) -> None:
        found[view] = _told(request)
        if len(found) == len(jobs):
            later(_show, name, status.of_views({job.view: found[job.view] for job in jobs}))

    for job in jobs:
        if not all(_frames_there(clip["path"]) for clip in job.upstream.values()):
            answered(job.view, None)
            continue
        message = protocol.Keys(shot=job.shot, stage=job.stage, upstream=job.upstream, frames=str(job.shot["frames"]))
        shared().request(message, on_end=functools.partial(answered, job.view))


def _told(request: Optional[Request]) -> status.Status:
    """What the worker says of a node; None where there was nothing to ask about."""
    if request is None:
        return status.Status(status.NOTHING, "not rendered, nor is what it needs")
    return status.from_error(request.error) if request.error else status.from_keys(request.result or {})


def _analysed(node: Any) -> status.Status:
    try:
        lacking = [view for view in stereo.of(node) if not os.path.isfile(paths.track_path(node, view))]
    except FsganError as error:
        return status.from_error(error)
    if not lacking:
        return status.Status(status.UP_TO_DATE, "analysed")
    return status.Status(status.NOTHING, "not analysed" + (f": {', '.join(lacking)}" if stereo.several() else ""))


def _work(render: Render) -> None:
    """The nodes of a render, one after the other."""
    meter = nuke.ProgressTask("FSGAN") if nuke.GUI else None
    name = ""
    try:
        for name, view in ((name, view) for name in render.nodes for view in render.views):
            if render.cancelled.is_set():
                raise CancelledError("cancelled")
            job = on_main(_prepare, name, view, render)
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


def _prepare(name: str, view: str, render: Render) -> Job:
    """On the main thread: what the worker shall do, and what it reads written."""
    node = _node(name)
    job = analysis_of(node, view) if graph.kind_of(node) == "FSGAN_Analyse" else job_of(node, render.frames, view)
    if render.report and "report" in node.knobs() and node["report"].value():
        job = replace(job, report=paths.report_folder(node, view))
    _show(name, status.rendering(0, 0, "writing inputs" if job.branches else "starting"))
    write_inputs(node, job)
    return job


def write_inputs(node: Any, job: Job) -> None:
    """What only the host can make. On the main thread; not while the host itself renders."""
    asked = frame_numbers(str(job.shot.get("frames", "")))
    for branch in job.branches:
        wanted = range(int(branch.node.firstFrame()), int(branch.node.lastFrame()) + 1) if branch.whole else asked
        input_writes.write_branch(node, branch, list(wanted))


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
            nuke.tprint(f"{job.title}: frame {event.frame} {event.state} {event.message}".rstrip())
        elif meter is not None and isinstance(event, protocol.Log) and event.level in ("warning", "error"):
            meter.setMessage(f"{job.title}: {event.message}")
        elif meter is not None and isinstance(event, (protocol.Progress, protocol.Frame)):
            if time.monotonic() - shown_at < SHOWN_EVERY:
                continue
            shown_at = time.monotonic()
            shown = status.rendering(event.done, event.total, getattr(event, "step", ""))
            meter.setMessage(f"{job.title}: {shown.line}")
            meter.setProgress(min(100, int(100 * event.done / event.total)) if event.total else 0)
            later(_show, job.node, shown)
    return {**render.request.wait(), "told": failed}


def _finish(name: str, job: Job, answer: dict[str, Any]) -> None:
    """On the main thread: the node shows what was made. Raises FsganError for frames that failed."""
    node = _node(name)
    if job.analysis is not None:
        fill_curves(node, job.view)
        return
    show_result(node)
    if answer.get("failed"):
        failed = answer["told"] or [f"frame {one['frame']}: {one['message']}" for one in answer["failed"]]
        raise FsganError(f"{len(answer['failed'])} frames failed; {failed[0]}\n" + "\n".join(failed[1:]))
    _show(name, status.Status(status.UP_TO_DATE, "up to date"))


def show_result(node: Any) -> None:
    """The node shows the frames that are there, of any view."""
    output = paths.result_pattern(node)
    frames = sorted({frame for view in stereo.names() for frame in _frames_there(stereo.filled(output, view))})
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
        _shown[name] = shown
        found = {str(one.name()): _shown.get(str(one.fullName())) for one in graph.inside(swap)}
        status.show(swap, status.of_stages({stage: said for stage, said in found.items() if said is not None}))


def forget(node: Any) -> None:
    """Nothing is known of a node that is new."""
    _shown.pop(str(node.fullName()), None)


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
