"""Runs one task of a farm's job, both for `fsgan farm task` and for the process of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsgan_core.clips.shot_file import load_shot
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.protocol import FarmTaskRequest
from fsgan_core.contract.shot import Shot
from fsgan_core.farm import nuke_tasks, shot_tasks
from fsgan_core.farm.bundle import FINETUNED_FILE, REPORT_FOLDER
from fsgan_core.farm.shot_paths import replace_paths
from fsgan_core.farm.template import from_openjd_range
from fsgan_core.networks.weights.search_folders import use_weights_folders
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import (
    CancelCheck,
    Event,
    EventListener,
    RenderResult,
    ignore_event,
    never_cancelled,
    raise_if_cancelled,
)

__all__ = ["run_farm_task"]

WEIGHTS_PREFIX = "weights."  # begins the names of folders of weights: "weights.1", "weights.2"


def run_farm_task(
    request: FarmTaskRequest,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
    warm: WarmCache | None = None,
) -> dict[str, Any]:
    """Runs a task to its end.

    Args:
        request: The task; its paths are absolute.
        on_event: Called with each step, from any thread.
        is_cancelled: Asked often; once it is true the task ends within a step of a frame.
        warm: What this process keeps of earlier tasks.

    Returns:
        The result of the request, as FarmTaskRequest describes it.

    Raises:
        FsganError: What is wrong with the task, its inputs or this machine.
        CancelledError: The task was cancelled.
    """
    task_run = _TaskRun(request, on_event, is_cancelled, warm)
    folders, paths = _split_weights_folders(request.paths)
    with use_weights_folders(folders):
        if request.task in _NODE_TASKS:
            if paths:
                raise InputError(f"--path {', '.join(paths)}: a task of a Nuke script takes paths of weights only")
            return _NODE_TASKS[request.task](task_run)
        if request.task not in _SHOT_TASKS:
            raise InputError(f"there is no task '{request.task}'; there are {', '.join((*_SHOT_TASKS, *_NODE_TASKS))}")
        return _SHOT_TASKS[request.task](task_run, replace_paths(load_shot(request.shot), paths))


def _split_weights_folders(paths: Mapping[str, str]) -> tuple[list[Path], dict[str, str]]:
    """Splits a task's paths into folders of weights, in order, and the others by name."""
    names = sorted(name for name in paths if name.startswith(WEIGHTS_PREFIX))
    return [Path(paths[name]) for name in names], {name: path for name, path in paths.items() if name not in names}


@dataclass(frozen=True)
class _TaskRun:
    request: FarmTaskRequest
    on_event: EventListener
    is_cancelled: CancelCheck
    warm: WarmCache | None

    @property
    def frames(self) -> str:
        return from_openjd_range(self.request.frames)

    @property
    def work_folder(self) -> Path:
        return Path(self.request.work)

    @property
    def device(self) -> str:
        return choose_device(self.request.device)

    def relay_event(self, event: Event) -> None:
        """The listener of work that can be cancelled only between two of its steps."""
        raise_if_cancelled(self.is_cancelled)
        self.on_event(event)


def _analyse_source(task_run: _TaskRun, shot: Shot) -> dict[str, Any]:
    return {"facts": shot_tasks.analyse_source(shot, task_run.request.number, task_run.device, task_run.relay_event)}


def _analyse_target(task_run: _TaskRun, shot: Shot) -> dict[str, Any]:
    return {"facts": shot_tasks.analyse_target(shot, task_run.frames, task_run.device, task_run.relay_event)}


def _finetune(task_run: _TaskRun, shot: Shot) -> dict[str, Any]:
    from fsgan_core.training.finetune import finetune_shot

    network = shot.stages.reenact.network if "reenact.network" in task_run.request.paths else task_run.request.start
    stages = replace(shot.stages, reenact=shot.stages.reenact.replace(network=network))
    output = task_run.work_folder / FINETUNED_FILE
    finetune_shot(
        replace(shot, stages=stages),
        task_run.request.iterations,
        licence=task_run.request.licence,
        output=output,
        device=task_run.device,
        on_event=task_run.relay_event,
    )
    return {"facts": {"command": "finetune", "output": str(output)}}


def _render_chunk(task_run: _TaskRun, shot: Shot) -> dict[str, Any]:
    result = shot_tasks.render_chunk(
        shot,
        task_run.frames,
        task_run.work_folder,
        expect=task_run.request.expect,
        device=task_run.device,
        on_event=task_run.on_event,
        is_cancelled=task_run.is_cancelled,
        warm=task_run.warm,
    )
    return {"renders": [_describe_render("", result)]}


def _report(task_run: _TaskRun, shot: Shot) -> dict[str, Any]:
    from fsgan_core.report.write import write_report

    result = shot_tasks.gather_result(shot, task_run.frames or shot.frames, task_run.work_folder)
    page = write_report(task_run.work_folder / REPORT_FOLDER, shot, result, task_run.relay_event)[0]
    return {"renders": [_describe_render("", result)], "report": str(page)}


def _analyse_nodes(task_run: _TaskRun) -> dict[str, Any]:
    nodes = Path(task_run.request.shot)
    return {
        "facts": nuke_tasks.analyse_nodes(
            nodes, task_run.frames, task_run.work_folder, task_run.device, task_run.relay_event
        )
    }


def _render_nodes(task_run: _TaskRun) -> dict[str, Any]:
    results = nuke_tasks.render_nodes(
        Path(task_run.request.shot),
        task_run.frames,
        task_run.work_folder,
        device=task_run.device,
        on_event=task_run.on_event,
        is_cancelled=task_run.is_cancelled,
        warm=task_run.warm,
    )
    return {"renders": [_describe_render(node, result) for node, result in results]}


def _describe_render(node: str, result: RenderResult) -> dict[str, Any]:
    return {"node": node, "result": result.to_dict()}


_SHOT_TASKS: Mapping[str, Callable[[_TaskRun, Shot], dict[str, Any]]] = {
    "analyse-source": _analyse_source,
    "analyse-target": _analyse_target,
    "finetune": _finetune,
    "render": _render_chunk,
    "report": _report,
}
_NODE_TASKS: Mapping[str, Callable[[_TaskRun], dict[str, Any]]] = {
    "analyse-nodes": _analyse_nodes,
    "render-nodes": _render_nodes,
}
