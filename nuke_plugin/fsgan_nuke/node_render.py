"""Renders FSGAN nodes: which run, in which order, and what the artist sees meanwhile.

With a GUI a render runs in a thread of its own, which calls the main thread only for what must happen there. Without a
GUI (`nuke -x` on a farm) it runs in the calling thread.
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
from fsgan_nuke import drawing, graph, input_writes, paths, results, status, stereo
from fsgan_nuke.analysis import fill_curves, make_analysis_job
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import call_later, call_on_main, keep_undo, print_line
from fsgan_nuke.node_job import NodeJob, get_frames_text, make_node_job
from fsgan_nuke.request import PendingRequest

log = logging.getLogger(__name__)

SHOW_SECONDS = 0.2  # between two updates of the progress bar
SHOW_FRAME_SECONDS = 1.0  # between two moments in which the node shows its finished frames


@dataclass
class NodeRender:
    """One render, as started by the artist.

    Attributes:
        nodes: The nodes, in the order of rendering. They are held as objects, so that they can be renamed meanwhile.
        frames: Frame range; "" for that of each node's knob.
        views: Each node is rendered in these views.
        report: Whether nodes with `report` on write a report.
        cancel_event: Set when the render is cancelled.
        request: The request at work.
        error: Why the render failed.
        thread: The thread of the render, with a GUI.
    """

    nodes: list[Any]
    frames: str
    views: tuple[str, ...]
    report: bool = False
    cancel_event: threading.Event = field(default_factory=threading.Event)
    request: Optional[PendingRequest] = None
    error: Optional[BaseException] = None
    thread: Optional[threading.Thread] = None

    def cancel(self) -> None:
        """Cancels the render."""
        self.cancel_event.set()
        if self.request is not None:
            self.request.cancel()

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits for the end; raises the render's error, or TimeoutError after `timeout` seconds."""
        if self.thread is not None:
            self.thread.join(timeout)
            if self.thread.is_alive():
                raise TimeoutError(f"the render is not done after {timeout:g} s")
        if self.error is not None:
            raise self.error


_active_renders: list[NodeRender] = []
# By the name of their files, of nodes inside a swap: the swap shows what they say together.
_shown_statuses: dict[str, status.Status] = {}


def start_render(
    node: Any, frames: str = "", include_upstream: bool = True, views: Sequence[str] = (), report: bool = False
) -> NodeRender:
    """Starts the render of a node. On the main thread.

    Without a GUI the render is done when this returns.

    Args:
        node: The node.
        frames: Frame range; "" for that of the node's knob.
        include_upstream: Whether the FSGAN nodes that it depends on are rendered first.
        views: The views to render; all that the node renders if empty.
        report: Whether nodes with `report` on write a report.

    Raises:
        InputError: The node does not render, or is being rendered already.
        FsganError: Without a GUI, the render failed.
    """
    if graph.get_node_class(node) == "FSGAN_Analyse":
        raise InputError(f"{node.name()} renders nothing; press Analyse")
    nodes = [
        render_node
        for render_node in graph.iterate_render_nodes(node)
        if include_upstream or render_node == node or graph.find_owner(render_node) == node
    ]
    if not nodes:
        raise InputError(f"{node.name()} renders nothing; is it disabled?")
    return _begin_render(
        NodeRender(
            nodes,
            frames or get_frames_text(graph.get_render_node(node)),
            tuple(views) or stereo.list_node_views(node),
            report=report,
        )
    )


def start_analysis(node: Any) -> NodeRender:
    """Starts the analysis of the clip above an FSGAN_Analyse; otherwise as `start_render`."""
    return _begin_render(NodeRender([node], "", stereo.list_node_views(node)))


def _begin_render(render: NodeRender) -> NodeRender:
    busy = [node for node in render.nodes if find_active_render(node) is not None]
    if busy:
        raise InputError(f"{busy[0].fullName()} is being rendered already; cancel that render first")
    _active_renders.append(render)
    for node in render.nodes:
        forget_status(node)
    enable_cancel(render.nodes)
    if nuke.GUI:
        render.thread = threading.Thread(target=_run_render, args=(render,), name="fsgan render", daemon=True)
        render.thread.start()
    else:
        _run_render(render)
        render.wait()
    return render


def enable_cancel(nodes: Sequence[Any]) -> None:
    """Enables the button Cancel of nodes (and of swaps around them) that are being rendered, and greys out the others.

    On the main thread.
    """
    existing = [node for node in nodes if graph.exists(node)]
    swaps = {str(swap.fullName()): swap for swap in map(graph.find_swap, existing) if swap is not None}
    with keep_undo():
        for node in [*existing, *swaps.values()]:
            if "cancel" in node.knobs():
                node["cancel"].setEnabled(find_active_render(node) is not None)


def find_active_render(node: Any) -> Optional[NodeRender]:
    """Finds the running render of a node, or of a node inside it."""
    return next(
        (
            active_render
            for active_render in _active_renders
            for active_node in active_render.nodes
            if graph.exists(active_node) and (active_node == node or graph.find_owner(active_node) == node)
        ),
        None,
    )


def cancel_render(node: Any) -> bool:
    """Cancels the running render of a node; returns whether there was one."""
    render = find_active_render(node)
    if render is not None:
        render.cancel()
    return render is not None


def cancel_all_renders() -> None:
    """Cancels all renders; called when the script is closed."""
    for render in list(_active_renders):
        render.cancel()


def refresh_status(node: Any) -> None:
    """Asks the worker which frames of a node are up to date, and shows the answer on the node when it comes.

    On the main thread; returns at once.
    """
    if find_active_render(node) is not None:
        return
    if graph.get_node_class(node) != "FSGAN_Swap" and paths.needs_saved_script(node):
        _show_status(node, status.Status(status.NOT_RENDERED, "not rendered; save the script first"))
        return
    if graph.get_node_class(node) == "FSGAN_Analyse":
        _show_status(node, _get_analysis_status(node))
        return
    try:
        if graph.get_node_class(node) == "FSGAN_Swap":
            for render_node in graph.list_swap_render_nodes(node):
                refresh_status(render_node)
            return
        jobs = [make_node_job(node, view=view) for view in stereo.list_node_views(node)]
    except (FsganError, OSError) as error:
        status.show_status(node, status.make_error_status(error))
        return
    view_statuses: dict[str, status.Status] = {}

    def on_answer(view: str, request: Optional[PendingRequest]) -> None:
        view_statuses[view] = status.make_answer_status(request)
        if len(view_statuses) == len(jobs):
            call_later(
                _show_status, node, status.combine_view_statuses({job.view: view_statuses[job.view] for job in jobs})
            )

    for job in jobs:
        if not all(results.list_frames(clip["path"]) for clip in job.upstream.values()):
            on_answer(job.view, None)
            continue
        message = protocol.KeysRequest(
            shot=job.shot, stage=job.stage, upstream=job.upstream, frames=str(job.shot["frames"])
        )
        get_shared_client().request(message, on_end=functools.partial(on_answer, job.view))


def _get_analysis_status(node: Any) -> status.Status:
    try:
        missing_views = [
            view for view in stereo.list_node_views(node) if not os.path.isfile(paths.get_track_path(node, view))
        ]
    except FsganError as error:
        return status.make_error_status(error)
    if not missing_views:
        return status.Status(status.UP_TO_DATE, "analysed")
    return status.Status(
        status.NOT_RENDERED, "not analysed" + (f": {', '.join(missing_views)}" if stereo.has_several_views() else "")
    )


def _run_render(render: NodeRender) -> None:
    """Renders the nodes of a render, one after the other."""
    meter = nuke.ProgressTask("FSGAN") if nuke.GUI else None
    node = None
    try:
        for node, view in ((node, view) for node in render.nodes for view in render.views):
            if render.cancel_event.is_set():
                raise CancelledError("cancelled")
            job = call_on_main(_prepare_job, node, view, render)
            _write_inputs_in_batches(render, node, job, meter)
            result = _run_job(render, node, job, meter)
            call_on_main(_finish_job, node, job, result)
    except CancelledError as error:
        error.__traceback__ = None  # it would keep Nuke's progress bar open
        render.error = None if nuke.GUI else error
    except BaseException as error:
        log.debug("render", exc_info=error)
        error.__traceback__ = None
        render.error = error
    finally:
        _active_renders.remove(render)
        meter = None  # this closes Nuke's progress bar
    if render.error is not None:
        call_later(_show_status, node, status.make_error_status(render.error))
    call_later(enable_cancel, render.nodes)
    if nuke.GUI:
        call_later(_refresh_nodes, [other for other in render.nodes if render.error is None or other is not node])


def _prepare_job(node: Any, view: str, render: NodeRender) -> NodeJob:
    """Makes the job. On the main thread. Raises InputError if the node was deleted."""
    _check_exists(node)
    job = (
        make_analysis_job(node, view)
        if graph.get_node_class(node) == "FSGAN_Analyse"
        else make_node_job(node, render.frames, view)
    )
    if render.report and "report" in node.knobs() and node["report"].value():
        job = replace(job, report=paths.get_report_folder(node, view))
    _show_status(node, status.make_rendering_status(0, 0, "writing inputs" if job.branches else "starting"))
    return job


def _write_inputs_in_batches(render: NodeRender, node: Any, job: NodeJob, meter: Any) -> None:
    """Writes the inputs that only Nuke can render, a few frames at a time, so that the artist can cancel.

    Not on the main thread with a GUI. Raises CancelledError and OutputError.
    """
    for branch in job.branches:
        frames = call_on_main(input_writes.list_branch_frames, job, branch)
        digests = call_on_main(input_writes.find_frames_to_write, branch, frames)
        for done, (first, last) in enumerate(input_writes.group_batches(digests)):
            if meter is not None and meter.isCancelled():
                render.cancel()
            if render.cancel_event.is_set():
                raise CancelledError("cancelled")
            done_frames = done * input_writes.BATCH_FRAMES
            text = f"writing input '{branch.name}' {min(done_frames, len(digests))}/{len(digests)}"
            if meter is not None:
                meter.setMessage(f"{job.title}: {text}")
                meter.setProgress(min(100, 100 * done_frames // len(digests)))
            call_later(_show_status, node, status.Status(status.RENDERING, text))
            call_on_main(
                input_writes.write_frames, node, branch, {frame: digests[frame] for frame in range(first, last + 1)}
            )


def _run_job(render: NodeRender, node: Any, job: NodeJob, meter: Any) -> dict[str, Any]:
    """Sends the job to the worker, follows it, and returns the answer. Not on the main thread with a GUI.

    Raises FsganError.
    """
    message: protocol.ProtocolRequest
    if job.analysis_side is not None:
        message = protocol.AnalyseRequest(
            clip=job.shot["target"],
            output=job.output,
            stages=job.shot["stages"],
            of_target=job.analysis_side == "target",
        )
    else:
        message = protocol.RenderRequest(
            shot=job.shot, stage=job.stage, upstream=job.upstream, frames=str(job.shot["frames"]), report=job.report
        )
    render.request = get_shared_client().request(message)
    shown_at, frames_shown_at, failed = 0.0, 0.0, []
    for event in render.request.follow():
        if render.cancel_event.is_set() or (meter is not None and meter.isCancelled()):
            render.cancel()
        if isinstance(event, protocol.FrameEvent) and event.state == "failed":
            failed.append(f"frame {event.frame}: {event.message}")
        is_finished = isinstance(event, protocol.FrameEvent) and event.state == "rendered"
        if is_finished and nuke.GUI and time.monotonic() - frames_shown_at > SHOW_FRAME_SECONDS:
            frames_shown_at = time.monotonic()
            call_later(_show_finished_frames, node)
        if meter is None and isinstance(event, protocol.FrameEvent):
            print_line(f"{job.title}: frame {event.frame} {event.state} {event.message}".rstrip())
        elif meter is not None and isinstance(event, protocol.LogEvent) and event.level in ("warning", "error"):
            meter.setMessage(f"{job.title}: {event.message}")
        elif meter is not None and isinstance(event, (protocol.ProgressEvent, protocol.FrameEvent)):
            if time.monotonic() - shown_at < SHOW_SECONDS:
                continue
            shown_at = time.monotonic()
            node_status = status.make_rendering_status(event.done, event.total, getattr(event, "step", ""))
            meter.setMessage(f"{job.title}: {node_status.line}")
            meter.setProgress(min(100, int(100 * event.done / event.total)) if event.total else 0)
            call_later(_show_status, node, node_status)
    return {**render.request.wait(), "failure_texts": failed}


def _show_finished_frames(node: Any) -> None:
    """Shows the frames that are finished while others are still being rendered. On the main thread."""
    if graph.exists(node):
        results.show_result(node)


def _finish_job(node: Any, job: NodeJob, result: dict[str, Any]) -> None:
    """Shows the result on the node. On the main thread. Raises FsganError for failed frames."""
    _check_exists(node)
    if job.analysis_side is not None:
        fill_curves(node, job.view)
        drawing.refresh_drawings(node)
        return
    results.show_result(node)
    if result.get("failed"):
        failure_texts = result["failure_texts"] or [
            f"frame {entry['frame']}: {entry['message']}" for entry in result["failed"]
        ]
        raise FsganError(f"{len(result['failed'])} frames failed; {failure_texts[0]}\n" + "\n".join(failure_texts[1:]))
    _show_status(node, status.Status(status.UP_TO_DATE, "up to date"))


def _show_status(node: Any, node_status: status.Status) -> None:
    """Shows a status on a node and, if it is inside a swap, on the swap. A deleted node is ignored."""
    if node is None or not graph.exists(node):
        return
    status.show_status(node, node_status)
    swap = graph.find_swap(node)
    if swap is not None:
        _shown_statuses[paths.get_files_name(node)] = node_status
        statuses = {
            str(render_node.name()): _shown_statuses.get(paths.get_files_name(render_node))
            for render_node in graph.list_swap_render_nodes(swap)
        }
        known_statuses = {stage: stage_status for stage, stage_status in statuses.items() if stage_status is not None}
        status.show_status(swap, status.combine_stage_statuses(known_statuses))


def forget_status(node: Any) -> None:
    """Forgets the status of a node; called for new nodes."""
    _shown_statuses.pop(paths.get_files_name(node), None)


def _refresh_nodes(nodes: list[Any]) -> None:
    for node in nodes:
        if graph.exists(node):
            refresh_status(node)


def _check_exists(node: Any) -> None:
    """Raises InputError if the node was deleted meanwhile."""
    if not graph.exists(node):
        raise InputError("the node was deleted while it was rendered; its finished frames are kept")
