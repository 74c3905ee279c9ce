"""Builds the parts of a job template: parameters, environments, steps and their tasks.

All of it is plain data in the form of Open Job Description.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsgan_core.contract.errors import InputError
from fsgan_core.plates.sequence import format_frames

__all__ = [
    "DEFAULT_CHUNK",
    "FarmOptions",
    "check_literal",
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
NOTICE_SECONDS = 30  # seconds between asking a task to end and killing it

# Caches that machines must not share, or could not write, go to the session's own folder. The text encoding is set
# because a farm's service often runs in the C locale.
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
SESSION_TIMEOUT = 120  # seconds to start or end the session's process


_EXPRESSION = re.compile(r"\{\{([A-Za-z0-9_.]+)\}\}")
_OTHER_EXPRESSIONS = ("Session.WorkingDirectory", "Task.Param.Frames", "Task.Param.Source")

# These variables choose the arithmetic of libraries for a kind of processor, which decides the last bits. If a studio
# sets one, so that machines of several generations agree, the job sets it, too.
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
    """How a job is divided, and what its machines need.

    Attributes:
        chunk: Frames per task.
        task_minutes: Minutes that a task should take; the engine then adapts the chunks. 0: chunks stay as they are.
        finetune_iterations: Iterations of fine-tuning; 0: none.
        finetune_licence: Class of licence of the fine-tuned weights.
        work_folder: Folder of tracks, times and the report; empty: beside the output.
        name: Name of the job; empty: made from the shot.
        command: How the farm's machines call `fsgan`.
        gpu: Whether the tasks run on a GPU.
        gpu_memory: GiB of GPU memory that a machine needs; 0: any.
        cores: Processor cores that a machine needs; 0: any.
        memory: GiB of memory that a machine needs; 0: any.
        timeout: Minutes after which a task is ended; 0: never.
        weight_folders: Folders of weights, searched as those in FSGAN_WEIGHTS.
        has_session: Whether a process stays in memory between the tasks of a machine's session.
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
    """Makes the environment with the variables of every task."""
    return {"name": "FSGAN", "variables": TASK_VARIABLES | _read_arithmetic_variables()}


def make_session_environment() -> dict[str, Any]:
    """Makes the environment that starts the session's process and stops it at the end."""

    def make_process_action(verb: str) -> dict[str, Any]:
        return {
            "command": "{{Param.Command}}",
            "args": ["farm", "session", verb, SESSION_FOLDER],
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
    """Makes the declaration of a path. kind: "FILE" or "DIRECTORY". flow: "IN", "OUT" or "NONE"."""
    return {"type": "PATH", "objectType": kind, "dataFlow": flow}


def make_template(
    parameters: Mapping[str, Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    environments: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Makes a job template.

    Args:
        parameters: Declarations by name.
        steps: The steps, in order.
        environments: Environments of every session.

    Raises:
        InputError: A name that came from outside has "{{", which begins an expression and cannot be escaped.
    """
    _check_expressions([steps, environments], parameters)
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": ["TASK_CHUNKING"],
        "name": "{{Param.JobName}}",
        "parameterDefinitions": [{"name": name, **declared} for name, declared in parameters.items()],
        "jobEnvironments": list(environments),
        "steps": list(steps),
    }


def _check_expressions(value: Any, parameters: Mapping[str, Any]) -> None:
    """Raises InputError if a text has "{{" that does not begin an expression of ours."""
    if isinstance(value, str):
        names = _EXPRESSION.findall(value)
        known = all(name.partition("Param.")[2] in parameters or name in _OTHER_EXPRESSIONS for name in names)
        if not known:
            raise InputError(f"'{value}' is not an expression of this job")
        check_literal(_EXPRESSION.sub("", value))
    elif isinstance(value, Mapping):
        for item in value.values():
            _check_expressions(item, parameters)
    elif isinstance(value, Sequence):
        for item in value:
            _check_expressions(item, parameters)


def check_literal(text: str) -> str:
    """Returns a text from outside that becomes part of a template.

    Raises:
        InputError: It has "{{", which begins an expression and cannot be escaped.
    """
    if "{{" in text:
        raise InputError(f"'{text}' has '{{{{', which has a meaning in a job; rename what has this name")
    return text


def make_step(
    name: str,
    action: Mapping[str, Any],
    options: FarmOptions,
    *,
    earlier_steps: Sequence[str] = (),
    space: Mapping[str, Any] | None = None,
    light: bool = False,
) -> dict[str, Any]:
    """Makes a step.

    Args:
        name: Name of the step.
        action: The action of each task.
        options: What the machines need.
        earlier_steps: Names of the steps that must end first.
        space: The parameter that distinguishes the tasks; None: there is one task.
        light: Whether the step runs without networks, and so without a GPU.
    """
    step: dict[str, Any] = {"name": name}
    if earlier_steps:
        step["dependencies"] = [{"dependsOn": earlier_step} for earlier_step in earlier_steps]
    needs = _make_requirements(options, light)
    if needs:
        step["hostRequirements"] = {"amounts": needs}
    if space:
        step["parameterSpace"] = {"taskParameterDefinitions": [dict(space)]}
    return step | {"script": {"actions": {"onRun": dict(action)}}}


def make_task_action(task: str, subject: str, options: FarmOptions, *more: str) -> dict[str, Any]:
    """Makes the action that calls `fsgan farm task`.

    Args:
        task: Name of the task, such as "render".
        subject: The shot file, or the file of a Nuke script's nodes.
        options: Gives the time limit.
        *more: Further arguments.
    """
    return make_action(
        "{{Param.Command}}",
        [
            "farm",
            "task",
            task,
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
    """Makes an action that runs a command, with the time limit of `options`."""
    action: dict[str, Any] = {
        "command": command,
        "args": list(arguments),
        "cancelation": {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": NOTICE_SECONDS},
    }
    if options.timeout > 0:
        action["timeout"] = max(1, round(options.timeout * 60))
    return action


def make_chunk_space(frames: str = "Frames", *, contiguous: bool = False) -> dict[str, Any]:
    """Makes the task parameter that divides the frames of the job parameter `frames` into chunks."""
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
    """Makes the parameters that every job has: name -> (declaration, value or None for the default)."""
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
    """Returns the text, if it is short enough for a parameter's value.

    Raises:
        InputError: It is too long.
    """
    if len(text) > MAX_VALUE_LENGTH:
        raise InputError("the frames are too scattered for one job's parameter; send the shot in several parts")
    return text


def _make_requirements(options: FarmOptions, light: bool) -> list[dict[str, Any]]:
    """Makes the host requirements. light: of a step without networks."""
    amounts = {"amount.worker.vcpu": float(options.cores), "amount.worker.memory": options.memory * 1024}
    if not light:
        amounts |= {
            "amount.worker.gpu": 1.0 if options.gpu else 0.0,
            "amount.worker.gpu.memory": options.gpu_memory * 1024,
        }
    return [{"name": name, "min": int(value)} for name, value in amounts.items() if value > 0]


def to_openjd_range(frames: tuple[int, ...]) -> str:
    """Formats frame numbers as Open Job Description writes them.

    >>> to_openjd_range((1, 3, 5, 7, 12))
    '1-7:2,12'
    """
    return format_frames(frames, limit=0).replace("x", ":")


def from_openjd_range(text: str) -> str:
    """Converts a range of Open Job Description to a frame range.

    >>> from_openjd_range("1-7:2,12")
    '1-7x2,12'
    """
    return text.replace(":", "x")
