"""A Nuke script as a job of a render farm: our nodes' frames by `fsgan`, without a Nuke licence, then its Writes.

The job's first task runs in a Nuke without an interface: only Nuke knows what its nodes are set to. It writes the
inputs that only Nuke can make, and what each of our nodes shall render (NODES), as the worker would be asked for it.
From there on `fsgan` analyses and renders; last, Nuke executes the Writes and finds every frame of our nodes there.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsgan_core.clips.tracks import MAX_WHOLE_CLIP, OVERLAP_FRAMES
from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError, InputError, MachineError, PlateError
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.contract.stage_graph import list_running_stages
from fsgan_core.farm.bundle import TRACKS_FOLDER, FarmBundle, describe_engines
from fsgan_core.farm.nuke_script import NukeScript, ScriptNode, load_script
from fsgan_core.farm.tasks import analyse_source, analyse_target, render_readable_frames
from fsgan_core.farm.template import (
    FarmOptions,
    check_value_length,
    make_action,
    make_chunk_space,
    make_common_parameters,
    make_environment,
    make_path_parameter,
    make_session_environment,
    make_step,
    make_task_action,
    make_template,
    to_openjd_range,
)
from fsgan_core.plates.sequence import format_frames, open_clip, parse_frames
from fsgan_core.render.engines import NetworkRuntime, choose_engine
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.requests import plan_request_job
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.events import Event, EventListener, RenderResult, ignore_event
from fsgan_core.stages.drive import resolve_drive_stages

__all__ = ["FarmNodeJob", "analyse_nodes", "load_node_jobs", "make_script_bundle", "render_nodes"]

log = logging.getLogger(__name__)

NODES_FILE = "nodes.json"  # in the work folder
NODES_VERSION = 1
EXPECTED_FILE = "expected.json"  # in the work folder: engines and weights of each node, as on the machine that analysed
RESULTS_VARIABLE = "FSGAN_RESULTS"  # "rendered": nodes show the files that are there, and ask no worker about them

PREPARE_SCRIPT = """\
# The job's first task: nuke -t prepare.py script=FILE nodes=FILE frames=RANGE writes=NAME,NAME
import sys

from fsgan_nuke import farm

farm.prepare(sys.argv)
"""


# The bundle.


def make_script_bundle(
    path: Path, options: FarmOptions | None = None, *, frames: str = "", writes: Sequence[str] = (), nuke: str = "nuke"
) -> FarmBundle:
    """frames: of all Writes; empty: as each one says. writes: names of those to execute; none: all that are switched
    on. nuke: Nuke on the farm's machines. Raises InputError."""
    options = options or FarmOptions()
    if options.chunk < 1:
        raise InputError("a chunk has at least one frame")
    if options.finetune_iterations:
        raise InputError("--finetune is for a shot; fine-tune first, and choose the weights in the nodes")
    path = path.expanduser().absolute()
    script = load_script(path)
    chosen = _choose_writes(script, writes)
    needed = {write.name: [node for node in script.list_upstream(write.name) if node.is_fsgan] for write in chosen}
    if not any(needed.values()):
        raise InputError(f"no FSGAN node is above {', '.join(needed)} in {path}")
    ranges = {write.name: parse_frames(frames) if frames else _list_write_frames(script, write) for write in chosen}
    ours = sorted({frame for name in needed if needed[name] for frame in ranges[name]})
    folder = Path(options.work_folder or path.parent / "fsgan" / path.stem / "farm").expanduser().absolute()
    parameters = make_common_parameters(
        options, options.name or path.stem, check_value_length(to_openjd_range(tuple(ours))), str(folder)
    )
    parameters |= {
        "NukeScript": (make_path_parameter("FILE", "IN"), str(path)),
        "Prepare": (
            make_path_parameter("FILE", "IN") | {"default": "prepare.py", "description": "Part of this bundle."},
            None,
        ),
        "Nuke": ({"type": "STRING", "default": "nuke", "description": "Nuke on the farm's machines."}, nuke),
    }
    weights = []
    for number, place in enumerate(options.weight_folders, start=1):
        parameters[f"Weights{number}"] = (
            make_path_parameter("DIRECTORY", "IN"),
            str(Path(place).expanduser().absolute()),
        )
        weights += ["--path", f"weights.{number}=" + "{{Param.Weights" + str(number) + "}}"]
    for number, write in enumerate(chosen, start=1):
        parameters[f"Frames{number}"] = (
            {"type": "STRING", "description": f"Frames of {write.name}."},
            check_value_length(to_openjd_range(ranges[write.name])),
        )
    values = {
        "parameterValues": [
            {"name": name, "value": value} for name, (_, value) in parameters.items() if value is not None
        ]
    }
    data = make_template(
        {name: declared for name, (declared, _) in parameters.items()},
        _make_steps(chosen, needed, options, weights),
        [make_environment()],
    )
    data["jobEnvironments"][0]["variables"][RESULTS_VARIABLE] = "rendered"
    assets = {
        "assetReferences": {
            "inputs": {
                "filenames": [str(path), *_list_read_files(script, path.parent)],
                "directories": list(options.weight_folders),
            },
            "outputs": {"directories": [str(path.parent / "fsgan" / path.stem), str(folder)]},
            "referencedPaths": [],
        }
    }
    said = sorted({node.name for nodes in needed.values() for node in nodes})
    notes = (f"nodes: {', '.join(said)}", f"Writes: {', '.join(ranges)}")
    return FarmBundle(data, values, assets, None, -(-len(ours) // options.chunk), {"prepare.py": PREPARE_SCRIPT}, notes)


def _choose_writes(script: NukeScript, names: Sequence[str]) -> list[ScriptNode]:
    found = script.list_writes()
    if names:
        unknown = sorted(set(names) - {node.name for node in found})
        if unknown:
            raise InputError(
                f"there is no Write {', '.join(unknown)} that is switched on; there are "
                f"{', '.join(node.name for node in found) or 'none'}"
            )
        found = [node for node in found if node.name in names]
    if not found:
        raise InputError("the script has no Write at its top that is switched on")
    return found


def _list_write_frames(script: NukeScript, write: ScriptNode) -> tuple[int, ...]:
    first, last = script.find_write_range(write)
    return parse_frames(f"{first}-{max(first, last)}")


def _make_steps(
    writes: Sequence[ScriptNode], needed: dict[str, list[ScriptNode]], options: FarmOptions, weights: Sequence[str]
) -> list[dict[str, Any]]:
    """weights: where they lie, for a task's command line."""
    nodes = "{{Param.WorkFolder}}/" + NODES_FILE
    wanted = ",".join(name for name, above in needed.items() if above)
    made = [
        make_step(
            "Prepare",
            make_action(
                "{{Param.Nuke}}",
                [
                    "-t",
                    "{{Param.Prepare}}",
                    "script={{Param.NukeScript}}",
                    "frames={{Param.Frames}}",
                    f"writes={wanted}",
                    f"nodes={nodes}",
                ],
                options,
            ),
            options,
            light=True,
        ),
        make_step(
            "Analyse",
            make_task_action("analyse-nodes", nodes, options, "--frames", "{{Param.Frames}}", *weights),
            options,
            after=["Prepare"],
        ),
        make_step(
            "Nodes",
            make_task_action("render-nodes", nodes, options, "--frames", "{{Task.Param.Frames}}", *weights),
            options,
            after=["Analyse"],
            space=make_chunk_space(),
        ),
    ]
    if options.has_session:  # there alone: machines of the Writes need no fsgan
        made[-1]["stepEnvironments"] = [make_session_environment()]
    before: list[tuple[int, str]] = []
    for number, write in enumerate(writes, start=1):
        order = write.get_integer("render_order") or 1
        after = ["Nodes"] * bool(needed[write.name]) + [name for other, name in before if other < order]
        name = f"Write {write.name}"[:64]
        run = make_action(
            "{{Param.Nuke}}", ["-X", write.name, "-F", "{{Task.Param.Frames}}", "{{Param.NukeScript}}"], options
        )
        made.append(
            make_step(
                name, run, options, after=after, space=make_chunk_space(f"Frames{number}", contiguous=True), light=True
            )
        )
        before.append((order, name))
    return made


def _list_read_files(script: NukeScript, folder: Path) -> list[str]:
    """Files behind the Reads whose names stand in the script, as far as they are here."""
    found: list[str] = []
    for node in script.nodes.values():
        name = node.knobs.get("file", "")
        if node.node_class != "Read" or not name or "[" in name or "$" in name:
            continue
        try:
            with open_clip(Clip(str(folder / name))) as clip:
                numbers = clip.frames[:1] if clip.kind == "movie" else clip.frames
                found += [str(clip.get_frame_path(number).absolute()) for number in numbers]
        except FsganError as error:
            log.warning("%s: %s", node.name, error)
    return list(dict.fromkeys(found))


# Its tasks.


@dataclass(frozen=True)
class FarmNodeJob:
    """What one node renders: as the protocol's Render has it. shot: the same, as far as it is a shot."""

    node: str
    request: protocol.RenderRequest
    shot: Shot


def load_node_jobs(path: Path) -> list[FarmNodeJob]:
    """What Nuke has written, in the order in which it is to be rendered. Raises InputError and as Shot.from_dict."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != NODES_VERSION:
            raise InputError(f"{path} has version {data['version']}; this program reads {NODES_VERSION}")
        given = [
            (str(one["node"]), dict(one["shot"]), str(one["stage"]), dict(one["upstream"])) for one in data["nodes"]
        ]
    except FileNotFoundError:
        raise InputError(f"there is no {path}; the job's step Prepare writes it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return [
        FarmNodeJob(
            node,
            protocol.RenderRequest(shot=shot, stage=stage, upstream=upstream),
            Shot.from_dict({**shot, "source": shot.get("source") or "none"}),
        )
        for node, shot, stage, upstream in given
    ]


def assign_track_files(job: FarmNodeJob, work: Path) -> FarmNodeJob:
    """The job with files in the work folder where it names none: tracks of its clips, where the source is
    recognised."""
    shot = job.shot
    given = dict(job.request.shot)
    target = (
        shot.target
        if shot.target.track
        else replace(shot.target, track=_make_track_path(shot, shot.target, True, work))
    )
    sources = (
        tuple(
            clip if clip.track else replace(clip, track=_make_track_path(shot, clip, False, work))
            for clip in shot.source
        )
        if given.get("source")
        else shot.source
    )
    shot = replace(shot, target=target, source=sources)
    reenact = shot.stages.reenact
    if given.get("source") and shot.job == "swap" and reenact.recognition > 0 and not reenact.recognition_file:
        known = compute_digest(str(target), [str(source) for source in sources], shot.stages.colour.to_dict())
        reenact = reenact.replace(recognition_file=str(work / TRACKS_FOLDER / f"recognition.{known[:16]}.json"))
        shot = replace(shot, stages=replace(shot.stages, reenact=reenact))
    data = shot.to_dict()
    given |= {
        name: data[name]
        for name in ("target", "source", "stages")
        if name in data and (name != "source" or given.get("source"))
    }
    return FarmNodeJob(job.node, replace(job.request, shot=given), shot)


def _make_track_path(shot: Shot, clip: Clip, of_target: bool, work: Path) -> str:
    """Nodes that look at the same clip in the same way share its track."""
    known = compute_digest(
        str(clip),
        of_target,
        shot.job if not of_target else "",
        shot.stages.analyse.to_dict(),
        shot.stages.colour.to_dict(),
        shot.stages.weights.to_dict(),
    )
    kind = "target" if of_target else "source"
    return str(work / TRACKS_FOLDER / f"{kind}.{known[:16]}.json")


def analyse_nodes(
    path: Path, frames: str, work: Path, device: str = "cpu", on_event: EventListener = ignore_event
) -> dict[str, Any]:
    """Writes the track files of all nodes, each clip's once, and what this machine would render them with. Raises
    PlateError and as `write_track`."""
    made: dict[str, Any] = {}
    jobs = load_node_jobs(path)
    with write_atomically(work / EXPECTED_FILE) as temporary:
        temporary.write_text(
            json.dumps({job.node: describe_node_engines(job, device) for job in jobs}, indent=1), encoding="utf-8"
        )
    for plain in jobs:
        job = assign_track_files(plain, work)
        for number, (before, clip) in enumerate(
            zip((plain.shot.target, *plain.shot.source), (job.shot.target, *job.shot.source), strict=True)
        ):
            if before.track or not clip.track or clip.track in made:
                continue
            if number:
                made[clip.track] = analyse_source(job.shot, number, device, on_event)
            else:
                made[clip.track] = analyse_target(job.shot, _choose_target_frames(job.shot, frames), device, on_event)
    return {
        "command": "analyse-nodes",
        "output": ", ".join(made) or "every clip has its track already",
        "unread": sorted({frame for facts in made.values() for frame in facts["unread"]}),
    }


def describe_node_engines(job: FarmNodeJob, device: str) -> str:
    """What decides how a node's pixels come out, beside what it is asked for: version, engines, weights."""
    shot = job.shot
    stages = resolve_drive_stages(shot.stages) if shot.job == "drive" else shot.stages
    running_stages = (job.request.stage,) if job.request.stage else list_running_stages(shot.job)
    machine = NetworkRuntime(device, stages.weights.precision)
    return describe_engines({stage: choose_engine(stage, stages, machine) for stage in running_stages})


def _check_node_engines(jobs: Sequence[FarmNodeJob], work: Path, device: str) -> None:
    """Raises MachineError where this machine is installed otherwise than the one that analysed."""
    try:
        told = dict(json.loads((work / EXPECTED_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{work / EXPECTED_FILE} cannot be read ({error}); the job's step Analyse writes it"
        ) from error
    for job in jobs:
        here = describe_node_engines(job, device)
        if told.get(job.node) != here:
            raise MachineError(
                f"{job.node}: this machine would not render the same: it has {here}; the clips were "
                f"analysed where there is {told.get(job.node)}. Install the same version and weights"
            )


def _choose_target_frames(shot: Shot, frames: str) -> str:
    """Frames of a target that are analysed, as `render.farm.target_frames`."""
    wanted = parse_frames(frames)
    with open_clip(shot.target, shot.stages.output.missing) as clip:
        available = clip.frames
    near = (
        available
        if len(available) <= MAX_WHOLE_CLIP
        else tuple(frame for frame in available if wanted[0] - OVERLAP_FRAMES <= frame <= wanted[-1] + OVERLAP_FRAMES)
    )
    there = set(wanted) if shot.stages.output.missing == "error" else set(wanted) & set(available)
    return format_frames(sorted({*near, *there}), limit=0)


def render_nodes(
    path: Path,
    frames: str,
    work: Path,
    *,
    device: str = "cpu",
    on_event: EventListener = ignore_event,
    warm: WarmCache | None = None,
) -> list[tuple[str, RenderResult]]:
    """Frames of every node, in their order, since a node reads what the one before has written; nodes that need a frame
    that failed list it too. Raises PlateError where an analysis is missing, MachineError where this machine is
    installed otherwise; else as Work.run."""
    warm = warm or WarmCache()
    results = []
    jobs = load_node_jobs(path)
    _check_node_engines(jobs, work, device)
    for number, plain in enumerate(jobs):
        job = assign_track_files(plain, work)
        absent = [
            clip.track for clip in (job.shot.target, *job.shot.source) if clip.track and not Path(clip.track).is_file()
        ]
        if absent:
            raise PlateError(f"{job.node}: there is no track {absent[0]}; the job's step Analyse writes it")
        request = job.request

        hear = functools.partial(_relay_node_event, on_event, number, len(jobs))

        def plan_node_render(
            some: str, request: protocol.RenderRequest = request, hear: EventListener = hear
        ) -> RenderJob:
            return plan_request_job(replace(request, frames=some), device, on_event=hear, warm=warm)

        results.append((job.node, render_readable_frames(job.shot, frames, plan_node_render, hear)))
    return results


def _relay_node_event(on_event: EventListener, number: int, count: int, event: Event) -> None:
    """A node's step as one of all nodes' steps."""
    if event.kind in ("begin", "frame") and event.total:
        event = replace(event, done=number * event.total + event.done, total=count * event.total)
    on_event(event)
