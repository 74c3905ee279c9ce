"""`fsgan farm ...`: make a job bundle for a render farm, run its tasks, estimate what a shot costs."""

from __future__ import annotations

import argparse
import os
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.protocol import FARM_TASKS, FarmTaskRequest
from fsgan_core.runtime.user_paths import expand_home

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.contract.shot import Shot

__all__ = ["DESCRIPTION", "add_flags", "run_bundle", "run_estimate", "run_task"]

DESCRIPTION = """\
Renders a shot on a farm. See docs/farm.md.

  fsgan farm bundle shot.toml -o job --chunk 10
  fsgan farm bundle comp.nk -o job
  fsgan farm estimate shot.toml

bundle: writes a job for Open Job Description. AWS Deadline Cloud takes the folder as it is; other engines can call
`fsgan render shot.toml --frames A-B --progress openjd`.
estimate: renders three frames and estimates the machine-hours of the whole shot.
task, session: the commands that the job runs on the farm's machines.
"""
SESSION_ACTIONS = ("start", "stop", "serve")
PROCESS_START = time.perf_counter()

FlagAdder = Callable[[argparse.ArgumentParser], None]


def add_flags(parser: argparse.ArgumentParser, add_message_flags: FlagAdder, formatter: Any, epilog: str) -> None:
    """Add the actions of `fsgan farm`; `add_message_flags` adds the flags that every command has."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add_action(
        name: str, short: str, run: Callable[..., int], subject: str = "the shot file (TOML)"
    ) -> argparse.ArgumentParser:
        action_parser = actions.add_parser(
            name, help=short, description=short, epilog=epilog, allow_abbrev=False, formatter_class=formatter
        )
        action_parser.add_argument("shot", metavar="SHOT", help=subject)
        action_parser.set_defaults(run=run, command="farm")
        add_message_flags(action_parser)
        return action_parser

    action_parser = add_action(
        "bundle",
        "Writes a job bundle for a shot or for a Nuke script.",
        run_bundle,
        "the shot file (TOML), or a Nuke script (.nk) with FSGAN nodes",
    )
    action_parser.add_argument("--output", "-o", metavar="DIR", required=True, help="folder for the bundle")
    action_parser.add_argument(
        "--frames", "-f", metavar="RANGE", default="", help="frames to render (default: those of the shot)"
    )
    size = action_parser.add_mutually_exclusive_group()
    size.add_argument("--chunk", metavar="N", type=int, default=10, help="frames per task (default: 10)")
    size.add_argument(
        "--minutes",
        metavar="M",
        type=float,
        default=0.0,
        help="minutes that a task should take; the engine adapts the size of the chunks",
    )
    action_parser.add_argument(
        "--finetune",
        metavar="N",
        type=int,
        default=0,
        help="first fine-tune the reenactment network on the source, for N iterations, as a separate step",
    )
    action_parser.add_argument(
        "--finetune-licence",
        choices=LICENCE_CLASSES,
        default="unknown",
        help="licence class of the source's footage",
    )
    action_parser.add_argument(
        "--work",
        metavar="DIR",
        default="",
        help="folder for tracks, times and the report (default: fsgan_farm beside the frames)",
    )
    action_parser.add_argument("--name", metavar="TEXT", default="", help="name of the job")
    action_parser.add_argument(
        "--command",
        metavar="PROGRAM",
        default="fsgan",
        dest="program",
        help="path of fsgan on the farm's machines, if it is not on their PATH",
    )
    action_parser.add_argument(
        "--weights",
        metavar="DIR",
        action="append",
        default=[],
        help="folder of weights that the job needs; may be repeated (default: $FSGAN_WEIGHTS)",
    )
    action_parser.add_argument(
        "--write",
        metavar="NAME",
        action="append",
        default=[],
        help="for a script: a Write node to execute; may be repeated (default: all enabled Write nodes)",
    )
    action_parser.add_argument(
        "--nuke", metavar="PROGRAM", default="nuke", help="for a script: the Nuke program on the farm's machines"
    )
    action_parser.add_argument("--gpu", action="store_true", help="require a machine with a GPU, and use it")
    action_parser.add_argument("--gpu-memory", metavar="GIB", type=float, default=0.0, help="minimum memory of the GPU")
    action_parser.add_argument("--cores", metavar="N", type=int, default=0, help="minimum number of cores")
    action_parser.add_argument("--memory", metavar="GIB", type=float, default=0.0, help="minimum memory of the machine")
    action_parser.add_argument(
        "--no-session",
        action="store_true",
        help="do not share one process between a machine's tasks; each task loads everything itself",
    )
    action_parser.add_argument(
        "--timeout",
        metavar="MINUTES",
        type=float,
        default=240.0,
        help="time limit of a task; 0 is no limit (default: 240)",
    )

    action_parser = add_action(
        "estimate", "Renders three frames and estimates the cost of the whole shot.", run_estimate
    )
    action_parser.add_argument(
        "--frames", "-f", metavar="RANGE", default="", help="frames to render (default: those of the shot)"
    )
    action_parser.add_argument("--chunk", metavar="N", type=int, default=10, help="frames per task (default: 10)")
    action_parser.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        help="where networks run: auto, cpu, cuda, cuda:1, mps (default: auto)",
    )

    action_parser = actions.add_parser(
        "task",
        help="Runs one task of a job.",
        description="Runs one task of a job.",
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=formatter,
    )
    action_parser.add_argument("task", choices=FARM_TASKS, help=", ".join(FARM_TASKS))
    action_parser.add_argument("shot", metavar="SHOT", help="the bundle's shot file, or nodes.json for a Nuke script")
    action_parser.add_argument(
        "--path",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help="path on this machine, by name: source.1, target, output, weights.1, ...",
    )
    action_parser.add_argument("--work", metavar="DIR", required=True, help="folder for tracks, times and the report")
    action_parser.add_argument("--frames", "-f", metavar="RANGE", default="", help="frames, steps as 1-9:2 or 1-9x2")
    action_parser.add_argument("--number", metavar="N", type=int, default=1, help="number of the source to analyse")
    action_parser.add_argument("--iterations", metavar="N", type=int, default=800, help="iterations of fine-tuning")
    action_parser.add_argument(
        "--licence", choices=LICENCE_CLASSES, default="unknown", help="licence class of the source's footage"
    )
    action_parser.add_argument("--start", metavar="NAME", default="", help="weights to start fine-tuning from")
    action_parser.add_argument(
        "--expect",
        metavar="TEXT",
        default="",
        help="version, engines and weights that the job was made with; others fail with exit code 3",
    )
    action_parser.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        help="where networks run: auto, cpu, cuda, cuda:1, mps (default: auto)",
    )
    action_parser.set_defaults(run=run_task, command="farm")
    add_message_flags(action_parser)

    action_parser = actions.add_parser(
        "session",
        help="Controls the process that a session's tasks share.",
        epilog=epilog,
        description="Controls the process that a session's tasks share; see docs/farm.md.",
        allow_abbrev=False,
        formatter_class=formatter,
    )
    action_parser.add_argument(
        "what",
        choices=SESSION_ACTIONS,
        help="start: start it in the background; stop: stop it; serve: run as this process",
    )
    action_parser.add_argument("folder", metavar="DIR", help="folder of the session, on a local disk")
    action_parser.set_defaults(run=run_session, command="farm")
    add_message_flags(action_parser)


def run_bundle(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan farm bundle`."""
    from fsgan_core.farm.bundle import make_bundle, write_bundle
    from fsgan_core.farm.template import FarmOptions
    from fsgan_core.runtime.atomic import check_output_folder

    weights = options.weights or [part for part in os.environ.get("FSGAN_WEIGHTS", "").split(os.pathsep) if part]
    farm = FarmOptions(
        chunk=options.chunk,
        task_minutes=options.minutes,
        finetune_iterations=options.finetune,
        finetune_licence=options.finetune_licence,
        work_folder=options.work,
        name=options.name,
        command=options.program,
        gpu=options.gpu,
        gpu_memory=options.gpu_memory,
        cores=options.cores,
        memory=options.memory,
        timeout=options.timeout,
        weight_folders=tuple(weights),
        has_session=not options.no_session,
    )
    if Path(options.shot).suffix.lower() == ".nk":
        from fsgan_core.farm.nuke_bundle import make_script_bundle

        bundle = make_script_bundle(
            Path(options.shot), farm, frames=options.frames, writes=options.write, nuke=options.nuke
        )
    else:
        bundle = make_bundle(_load_shot(options), farm)
    folder = expand_home(options.output).absolute()
    check_output_folder(folder)
    files = write_bundle(bundle, folder)
    summary = bundle.summarise(folder)
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **summary, "files": [str(path) for path in files]})
        return 0
    presenter.print_line(
        f"bundle: {folder}; {bundle.task_count} chunks of {options.chunk} frames, steps {', '.join(summary['steps'])}"
    )
    for note in bundle.notes:
        presenter.print_line(f"  {note}")
    presenter.print_line(f"  Deadline Cloud: deadline bundle submit {folder}")
    presenter.print_line(
        f"  here:           openjd run {folder / 'template.yaml'} -p file://{folder / 'parameters.json'} "
        f"--step '{summary['steps'][-1]}' --run-dependencies"
    )
    return 0


def run_estimate(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan farm estimate`."""
    from fsgan_core.farm.estimate import estimate_cost
    from fsgan_core.runtime.device import choose_device

    if options.chunk < 1:
        raise InputError("--chunk must be at least 1")
    estimate = estimate_cost(
        _load_shot(options), choose_device(options.device), time.perf_counter() - PROCESS_START, presenter.on_event
    )
    summary = estimate.to_dict(options.chunk)
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **summary})
        return 0
    presenter.print_line(
        f"estimate: {estimate.frames} frames in chunks of {options.chunk}, "
        f"{_format_hours(summary['machine_hours'])} of machine time on machines like this one ({estimate.cores} cores)"
    )
    presenter.print_line(
        f"  analysis {estimate.analysis_seconds:.0f} s once, {estimate.frame_seconds:.2f} s per frame, "
        f"{estimate.start_seconds:.1f} s to start a task, {estimate.peak_bytes / 2**30:.1f} GiB of memory"
    )
    stages = ", ".join(
        f"{stage} {seconds:.2f}" for stage, seconds in estimate.stage_seconds.items() if seconds >= 0.005
    )
    presenter.print_line(f"  seconds per frame and stage (each on one core): {stages}")
    hours = ", ".join(f"{_format_hours(hours)} with {machines}" for machines, hours in summary["wall_hours"].items())
    presenter.print_line(f"  until the last frame: {hours} machine(s)")
    return 0


def _format_hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 2 else f"{hours * 60:.1f} minutes"


def _load_shot(options: Namespace) -> Shot:
    import dataclasses

    from fsgan_core.clips.shot_file import load_shot

    shot = load_shot(options.shot)
    return dataclasses.replace(shot, frames=options.frames) if options.frames else shot


def run_task(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan farm task`, in the session's process if there is one."""
    from fsgan_core.farm.session import run_in_session

    request = _make_task_request(options)
    data = run_in_session(request, presenter.on_event, "debug" if options.verbose > 1 else "info")
    if data is None:
        from fsgan_core.farm.task_runner import run_farm_task

        data = run_farm_task(request, presenter.on_event)
    return _present_task(options, data, presenter)


def _make_task_request(options: Namespace) -> FarmTaskRequest:
    """The request with absolute paths. Raises InputError."""
    paths = {}
    for text in options.path:
        name, equals, path = text.partition("=")
        if not equals:
            raise InputError(f"--path {text}: write it as NAME=PATH")
        paths[name] = _make_absolute(name, path)
    return FarmTaskRequest(
        task=options.task,
        shot=str(Path(options.shot).absolute()),
        work=str(expand_home(options.work).absolute()),
        paths=paths,
        frames=options.frames,
        number=options.number,
        iterations=options.iterations,
        licence=options.licence,
        start=options.start,
        expect=options.expect,
        device=options.device,
    )


def _make_absolute(name: str, path: str) -> str:
    """A path of a task, from this folder; what is no path (a config of OCIO's own, a name of weights) as it is."""
    is_name = name.endswith(".network") and Path(path).suffix not in (".safetensors", ".pth")
    return path if "://" in path or is_name else os.path.join(Path.cwd(), path)  # noqa: PTH118 - keeps "//server"


def _present_task(options: Namespace, data: Mapping[str, Any], presenter: Presenter) -> int:
    """Presents a task's result, as FarmTaskRequest describes it; the exit code."""
    from fsgan_core.runtime.events import RenderResult

    if "facts" in data:
        return _present_analysis(options, data["facts"], presenter)
    code = 0
    for render in data["renders"]:
        if render["node"] and not options.json:
            presenter.print_line(f"{render['node']}:")
        code = max(code, presenter.show_result(RenderResult.from_dict(render["result"])))
    if "report" in data and not options.json:
        presenter.print_line(f"report: {data['report']}")
    return code


def _present_analysis(options: Namespace, summary: Mapping[str, Any], presenter: Presenter) -> int:
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **summary})
        return 0
    presenter.print_line(f"{options.task}: {summary['output']}")
    if summary.get("unread"):
        presenter.print_line(f"  frames that could not be read, and will be listed as failed: {summary['unread']}")
    return 0


def run_session(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan farm session`. Start and stop always succeed: a job also works without a session."""
    from fsgan_core.cli.worker import serve_session
    from fsgan_core.farm.session import start_session, stop_session

    folder = expand_home(options.folder).absolute()
    if options.what == "serve":
        return serve_session(folder)
    presenter.print_line(start_session(folder) if options.what == "start" else stop_session(folder))
    return 0
