"""What every job's template has: parameters, the environment of a session, steps and their tasks, as plain data for
Open Job Description."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsgan_core.contract.errors import InputError
from fsgan_core.plates.sequence import format_frames

__all__ = [
    "DEFAULT_CHUNK",
    "FarmOptions",
    "check_value_length",
    "from_openjd_range",
    "make_action",
    "make_chunk_space",
    "make_common_parameters",
    "make_environment",
    "make_path_parameter",
    "make_session_environment",
    "make_step",
    "make_task_action",
    "make_template",
    "to_openjd_range",
]

DEFAULT_CHUNK = 10
MAX_VALUE_LENGTH = 1024  # characters of a parameter's value
NOTICE_SECONDS = 30  # seconds between the polite end of a task and its hard one

# What a node may not share or cannot write: caches lie in the session's own folder; the text encoding is named, since
# a farm's service often runs in the C locale.
TASK_VARIABLES = {
    name: "{{Session.WorkingDirectory}}/" + folder
    for name, folder in (
        ("FSGAN_CACHE", "fsgan_cache"),
        ("MPLCONFIGDIR", "matplotlib"),
        ("XDG_CACHE_HOME", "cache"),
        ("NUMBA_CACHE_DIR", "numba"),
    )
} | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}

SESSION_FOLDER = "{{Session.WorkingDirectory}}/fsgan_session"
SESSION_TIMEOUT = 120  # seconds to start or to end its process


# Which arithmetic the libraries choose for a processor; it decides last bits. Where a studio sets one of them so that
# machines of several generations agree, the job sets it too.
ARITHMETIC_VARIABLES = (
    "OPENBLAS_CORETYPE",
    "MKL_CBWR",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "OPENCV_CPU_DISABLE",
)


@dataclass(frozen=True)
class FarmOptions:
    """chunk: frames of a task. minutes: that a task should take; the engine then fits the chunks, 0 is not to.
    finetune: iterations, 0 is none. work: folder of tracks, times and the report; empty: beside the output.
    gpu_memory, memory: GiB, 0 is any. timeout: minutes of a task. weights: folders for FSGAN_WEIGHTS.
    session: a process stays over the tasks of a machine's session.
    """

    chunk: int = DEFAULT_CHUNK
    task_minutes: float = 0.0
    finetune_iterations: int = 0
    finetune_licence: str = "unknown"
    work_folder: str = ""
    name: str = ""
    command: str = "fsgan"
    gpu: bool = False
    gpu_memory: float = 0.0
    cores: int = 0
    memory: float = 0.0
    timeout: float = 240.0
    weight_folders: tuple[str, ...] = ()
    has_session: bool = True


def make_environment() -> dict[str, Any]:
    """Variables of every task."""
    return {"name": "FSGAN", "variables": TASK_VARIABLES | _read_arithmetic_variables()}


def make_session_environment() -> dict[str, Any]:
    """The process that stays over a session's tasks."""

    def make_process_action(what: str) -> dict[str, Any]:
        return {
            "command": "{{Param.Command}}",
            "args": ["farm", "session", what, SESSION_FOLDER],
            "timeout": SESSION_TIMEOUT,
        }

    return {
        "name": "FSGAN process",
        "variables": {"FSGAN_SESSION": SESSION_FOLDER},
        "script": {"actions": {"onEnter": make_process_action("start"), "onExit": make_process_action("stop")}},
    }


def _read_arithmetic_variables() -> dict[str, str]:
    return {
        name: os.environ[name]
        for name in ARITHMETIC_VARIABLES
        if os.environ.get(name, "").isascii() and os.environ.get(name) and "{{" not in os.environ[name]
    }


def make_path_parameter(kind: str, flow: str) -> dict[str, Any]:
    return {"type": "PATH", "objectType": kind, "dataFlow": flow}


def make_template(
    parameters: Mapping[str, Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    environments: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """parameters: declarations by name. environments: of every session."""
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": ["TASK_CHUNKING"],
        "name": "{{Param.JobName}}",
        "parameterDefinitions": [{"name": name, **declared} for name, declared in parameters.items()],
        "jobEnvironments": list(environments),
        "steps": list(steps),
    }


def make_step(
    name: str,
    run: Mapping[str, Any],
    options: FarmOptions,
    *,
    after: Sequence[str] = (),
    space: Mapping[str, Any] | None = None,
    light: bool = False,
) -> dict[str, Any]:
    """run: the action of each task. space: the parameter that tasks differ by. light: without networks."""
    made: dict[str, Any] = {"name": name}
    if after:
        made["dependencies"] = [{"dependsOn": other} for other in after]
    needs = _make_requirements(options, light)
    if needs:
        made["hostRequirements"] = {"amounts": needs}
    if space:
        made["parameterSpace"] = {"taskParameterDefinitions": [dict(space)]}
    return made | {"script": {"actions": {"onRun": dict(run)}}}


def make_task_action(what: str, subject: str, options: FarmOptions, *more: str) -> dict[str, Any]:
    """`fsgan farm task`."""
    return make_action(
        "{{Param.Command}}",
        [
            "farm",
            "task",
            what,
            subject,
            "--work",
            "{{Param.WorkFolder}}",
            "--device",
            "{{Param.Device}}",
            "--progress",
            "openjd",
            *more,
        ],
        options,
    )


def make_action(command: str, arguments: Sequence[str], options: FarmOptions) -> dict[str, Any]:
    made: dict[str, Any] = {
        "command": command,
        "args": list(arguments),
        "cancelation": {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": NOTICE_SECONDS},
    }
    if options.timeout > 0:
        made["timeout"] = max(1, round(options.timeout * 60))
    return made


def make_chunk_space(frames: str = "Frames", *, contiguous: bool = False) -> dict[str, Any]:
    """Tasks by chunks of a parameter's frames."""
    return {
        "name": "Frames",
        "type": "CHUNK[INT]",
        "range": "{{Param." + frames + "}}",
        "chunks": {
            "defaultTaskCount": "{{Param.ChunkSize}}",
            "targetRuntimeSeconds": "{{Param.TaskSeconds}}",
            "rangeConstraint": "CONTIGUOUS" if contiguous else "NONCONTIGUOUS",
        },
    }


def make_common_parameters(
    options: FarmOptions, name: str, frames: str, work_folder: str
) -> dict[str, tuple[dict[str, Any], Any]]:
    """Parameters that every job has, name -> (declaration, value; None is the default)."""
    return {
        "JobName": ({"type": "STRING"}, "".join(letter for letter in name if letter.isprintable())[:128]),
        "Frames": ({"type": "STRING", "description": "Frames to render, like 1-10,12-20:2."}, frames),
        "ChunkSize": (
            {"type": "INT", "minValue": 1, "default": DEFAULT_CHUNK, "description": "Frames of a task."},
            options.chunk,
        ),
        "TaskSeconds": (
            {
                "type": "INT",
                "minValue": 0,
                "default": 0,
                "description": "Seconds that a task should take; 0: as many frames as ChunkSize says.",
            },
            round(options.task_minutes * 60),
        ),
        "Device": (
            {"type": "STRING", "default": "cpu", "description": "cpu, cuda, ...: the same for the whole job."},
            "cuda" if options.gpu else "cpu",
        ),
        "Command": (
            {"type": "STRING", "default": "fsgan", "description": "fsgan on the farm's machines."},
            options.command,
        ),
        "WorkFolder": (
            make_path_parameter("DIRECTORY", "OUT") | {"description": "Tracks, times, report."},
            work_folder,
        ),
    }


def check_value_length(text: str) -> str:
    """Raises InputError for a text that is too long for a parameter."""
    if len(text) > MAX_VALUE_LENGTH:
        raise InputError("the frames are too scattered for one job's parameter; send the shot in several parts")
    return text


def _make_requirements(options: FarmOptions, light: bool) -> list[dict[str, Any]]:
    """light: of a step without networks."""
    wanted = {"amount.worker.vcpu": float(options.cores), "amount.worker.memory": options.memory * 1024}
    if not light:
        wanted |= {
            "amount.worker.gpu": 1.0 if options.gpu else 0.0,
            "amount.worker.gpu.memory": options.gpu_memory * 1024,
        }
    return [{"name": name, "min": int(value)} for name, value in wanted.items() if value > 0]


def to_openjd_range(frames: tuple[int, ...]) -> str:
    """Frame numbers as Open Job Description writes them: "1-9:2,12"."""
    return format_frames(frames, limit=0).replace("x", ":")


def from_openjd_range(text: str) -> str:
    """The other way."""
    return text.replace(":", "x")
