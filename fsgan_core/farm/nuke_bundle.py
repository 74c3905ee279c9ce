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

from fsgan_core.clips.tracks import OVERLAP, WHOLE_CLIP
from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError, InputError, MachineError, PlateError
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.farm.bundle import TRACKS, Bundle, engines_text
from fsgan_core.farm.nuke_script import Node, Script, load_script
from fsgan_core.farm.tasks import analyse_source, analyse_target, rendered
from fsgan_core.farm.template import (
    FarmOptions,
    action,
    checked_value,
    chunk_space,
    environment,
    openjd_range,
    path_parameter,
    session_environment,
    step,
    task_action,
    template,
    usual_parameters,
)
from fsgan_core.plates.sequence import frames_text, open_clip, parse_frames
from fsgan_core.render.engines import Machine, choose_engine
from fsgan_core.render.pipeline import Work
from fsgan_core.render.requests import render_work
from fsgan_core.render.warm_cache import Warm
from fsgan_core.runtime.atomic import atomic_file
from fsgan_core.runtime.cache import digest
from fsgan_core.runtime.events import Event, Listener, RenderResult, ignore
from fsgan_core.stages.drive import drive_stages

__all__ = ["NodeJob", "analyse_nodes", "load_nodes", "make_script_bundle", "render_nodes"]

log = logging.getLogger(__name__)

NODES = "nodes.json"  # in the work folder
NODES_VERSION = 1
EXPECTED = "expected.json"  # in the work folder: engines and weights of each node, as on the machine that analysed
RESULTS_VARIABLE = "FSGAN_RESULTS"  # "rendered": nodes show the files that are there, and ask no worker about them

PREPARE = '''\
# The job's first task: nuke -t prepare.py script=FILE nodes=FILE frames=RANGE writes=NAME,NAME
import sys

from fsgan_nuke import farm

farm.prepare(sys.argv)
'''


# The bundle.


def make_script_bundle(path: Path, options: FarmOptions | None = None, *, frames: str = "",
                       writes: Sequence[str] = (), nuke: str = "nuke") -> Bundle:
    """frames: of all Writes; empty: as each one says. writes: names of those to execute; none: all that are switched
    on. nuke: Nuke on the farm's machines. Raises InputError."""
    options = options or FarmOptions()
    if options.chunk < 1:
        raise InputError("a chunk has at least one frame")
    if options.finetune:
        raise InputError("--finetune is for a shot; fine-tune first, and choose the weights in the nodes")
    path = path.expanduser().absolute()
    script = load_script(path)
    chosen = _chosen(script, writes)
    needed = {write.name: [node for node in script.above(write.name) if node.ours] for write in chosen}
    if not any(needed.values()):
        raise InputError(f"no FSGAN node is above {', '.join(needed)} in {path}")
    ranges = {write.name: parse_frames(frames) if frames else _range(script, write) for write in chosen}
    ours = sorted({frame for name in needed if needed[name] for frame in ranges[name]})
    folder = Path(options.work or path.parent / "fsgan" / path.stem / "farm").expanduser().absolute()
    parameters = usual_parameters(options, options.name or path.stem, checked_value(openjd_range(tuple(ours))),
                                  str(folder))
    parameters |= {
        "NukeScript": (path_parameter("FILE", "IN"), str(path)),
        "Prepare": (path_parameter("FILE", "IN") | {"default": "prepare.py", "description": "Part of this bundle."},
                    None),
        "Nuke": ({"type": "STRING", "default": "nuke", "description": "Nuke on the farm's machines."}, nuke)}
    weights = []
    for number, place in enumerate(options.weights, start=1):
        parameters[f"Weights{number}"] = (path_parameter("DIRECTORY", "IN"), str(Path(place).expanduser().absolute()))
        weights += ["--path", f"weights.{number}=" + "{{Param.Weights" + str(number) + "}}"]
    for number, write in enumerate(chosen, start=1):
        parameters[f"Frames{number}"] = ({"type": "STRING", "description": f"Frames of {write.name}."},
                                         checked_value(openjd_range(ranges[write.name])))
    values = {"parameterValues": [{"name": name, "value": value} for name, (_, value) in parameters.items()
                                  if value is not None]}
    data = template({name: declared for name, (declared, _) in parameters.items()},
                    _steps(chosen, needed, options, weights), [environment()])
    data["jobEnvironments"][0]["variables"][RESULTS_VARIABLE] = "rendered"
    assets = {"assetReferences": {
        "inputs": {"filenames": [str(path), *_read_files(script, path.parent)], "directories": list(options.weights)},
        "outputs": {"directories": [str(path.parent / "fsgan" / path.stem), str(folder)]}, "referencedPaths": []}}
    said = sorted({node.name for nodes in needed.values() for node in nodes})
    notes = (f"nodes: {', '.join(said)}", f"Writes: {', '.join(ranges)}")
    return Bundle(data, values, assets, None, -(-len(ours) // options.chunk), {"prepare.py": PREPARE}, notes)


def _chosen(script: Script, names: Sequence[str]) -> list[Node]:
    found = script.writes()
    if names:
        unknown = sorted(set(names) - {node.name for node in found})
        if unknown:
            raise InputError(f"there is no Write {', '.join(unknown)} that is switched on; there are "
                             f"{', '.join(node.name for node in found) or 'none'}")
        found = [node for node in found if node.name in names]
    if not found:
        raise InputError("the script has no Write at its top that is switched on")
    return found


def _range(script: Script, write: Node) -> tuple[int, ...]:
    first, last = script.frames(write)
    return parse_frames(f"{first}-{max(first, last)}")


def _steps(writes: Sequence[Node], needed: dict[str, list[Node]], options: FarmOptions,
           weights: Sequence[str]) -> list[dict[str, Any]]:
    """weights: where they lie, for a task's command line."""
    nodes = "{{Param.WorkFolder}}/" + NODES
    wanted = ",".join(name for name, above in needed.items() if above)
    made = [
        step("Prepare", action("{{Param.Nuke}}", [
            "-t", "{{Param.Prepare}}", "script={{Param.NukeScript}}", "frames={{Param.Frames}}", f"writes={wanted}",
            f"nodes={nodes}"], options), options, light=True),
        step("Analyse", task_action("analyse-nodes", nodes, options, "--frames", "{{Param.Frames}}", *weights),
             options, after=["Prepare"]),
        step("Nodes", task_action("render-nodes", nodes, options, "--frames", "{{Task.Param.Frames}}", *weights),
             options, after=["Analyse"], space=chunk_space()),
    ]
    if options.session:  # there alone: machines of the Writes need no fsgan
        made[-1]["stepEnvironments"] = [session_environment()]
    before: list[tuple[int, str]] = []
    for number, write in enumerate(writes, start=1):
        order = write.number("render_order") or 1
        after = ["Nodes"] * bool(needed[write.name]) + [name for other, name in before if other < order]
        name = f"Write {write.name}"[:64]
        run = action("{{Param.Nuke}}", ["-X", write.name, "-F", "{{Task.Param.Frames}}", "{{Param.NukeScript}}"],
                     options)
        made.append(step(name, run, options, after=after, space=chunk_space(f"Frames{number}", contiguous=True),
                         light=True))
        before.append((order, name))
    return made


def _read_files(script: Script, folder: Path) -> list[str]:
    """Files behind the Reads whose names stand in the script, as far as they are here."""
    found: list[str] = []
    for node in script.nodes.values():
        name = node.knobs.get("file", "")
        if node.kind != "Read" or not name or "[" in name or "$" in name:
            continue
        try:
            with open_clip(Clip(str(folder / name))) as clip:
                numbers = clip.frames[:1] if clip.kind == "movie" else clip.frames
                found += [str(clip.path_of(number).absolute()) for number in numbers]
        except FsganError as error:
            log.warning("%s: %s", node.name, error)
    return list(dict.fromkeys(found))


# Its tasks.


@dataclass(frozen=True)
class NodeJob:
    """What one node renders: as the protocol's Render has it. shot: the same, as far as it is a shot."""

    node: str
    request: protocol.Render
    shot: Shot


def load_nodes(path: Path) -> list[NodeJob]:
    """What Nuke has written, in the order in which it is to be rendered. Raises InputError and as Shot.from_dict."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != NODES_VERSION:
            raise InputError(f"{path} has version {data['version']}; this program reads {NODES_VERSION}")
        given = [(str(one["node"]), dict(one["shot"]), str(one["stage"]), dict(one["upstream"]))
                 for one in data["nodes"]]
    except FileNotFoundError:
        raise InputError(f"there is no {path}; the job's step Prepare writes it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return [NodeJob(node, protocol.Render(shot=shot, stage=stage, upstream=upstream),
                    Shot.from_dict({**shot, "source": shot.get("source") or "none"}))
            for node, shot, stage, upstream in given]


def with_tracks(job: NodeJob, work: Path) -> NodeJob:
    """The job with files in the work folder where it names none: tracks of its clips, where the source is
    recognised."""
    shot = job.shot
    given = dict(job.request.shot)
    target = shot.target if shot.target.track else replace(shot.target, track=_track(shot, shot.target, True, work))
    sources = tuple(clip if clip.track else replace(clip, track=_track(shot, clip, False, work))
                    for clip in shot.source) if given.get("source") else shot.source
    shot = replace(shot, target=target, source=sources)
    reenact = shot.stages.reenact
    if given.get("source") and shot.job == "swap" and reenact.recognition > 0 and not reenact.recognition_file:
        known = digest(str(target), [str(source) for source in sources], shot.stages.colour.to_dict())
        reenact = reenact.replace(recognition_file=str(work / TRACKS / f"recognition.{known[:16]}.json"))
        shot = replace(shot, stages=replace(shot.stages, reenact=reenact))
    data = shot.to_dict()
    given |= {name: data[name] for name in ("target", "source", "stages") if name in data and
              (name != "source" or given.get("source"))}
    return NodeJob(job.node, replace(job.request, shot=given), shot)


def _track(shot: Shot, clip: Clip, of_target: bool, work: Path) -> str:
    """Nodes that look at the same clip in the same way share its track."""
    known = digest(str(clip), of_target, shot.job if not of_target else "", shot.stages.analyse.to_dict(),
                   shot.stages.colour.to_dict(), shot.stages.weights.to_dict())
    kind = "target" if of_target else "source"
    return str(work / TRACKS / f"{kind}.{known[:16]}.json")


def analyse_nodes(path: Path, frames: str, work: Path, device: str = "cpu",
                  listen: Listener = ignore) -> dict[str, Any]:
    """Writes the track files of all nodes, each clip's once, and what this machine would render them with. Raises
    PlateError and as `write_track`."""
    made: dict[str, Any] = {}
    jobs = load_nodes(path)
    with atomic_file(work / EXPECTED) as temporary:
        temporary.write_text(json.dumps({job.node: expected(job, device) for job in jobs}, indent=1), encoding="utf-8")
    for plain in jobs:
        job = with_tracks(plain, work)
        for number, (before, clip) in enumerate(zip((plain.shot.target, *plain.shot.source),
                                                    (job.shot.target, *job.shot.source), strict=True)):
            if before.track or not clip.track or clip.track in made:
                continue
            if number:
                made[clip.track] = analyse_source(job.shot, number, device, listen)
            else:
                made[clip.track] = analyse_target(job.shot, _looked_at(job.shot, frames), device, listen)
    return {"command": "analyse-nodes", "output": ", ".join(made) or "every clip has its track already",
            "unread": sorted({frame for facts in made.values() for frame in facts["unread"]})}


def expected(job: NodeJob, device: str) -> str:
    """What decides how a node's pixels come out, beside what it is asked for: version, engines, weights."""
    shot = job.shot
    stages = drive_stages(shot.stages) if shot.job == "drive" else shot.stages
    running = [job.request.stage] if job.request.stage else ["drive" if shot.job == "drive" else "reenact", "mask",
                                                             "inpaint", "blend"]
    machine = Machine(device, stages.weights.precision)
    return engines_text({stage: choose_engine(stage, stages, machine) for stage in running})


def _check_expected(jobs: Sequence[NodeJob], work: Path, device: str) -> None:
    """Raises MachineError where this machine is installed otherwise than the one that analysed."""
    try:
        told = dict(json.loads((work / EXPECTED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{work / EXPECTED} cannot be read ({error}); the job's step Analyse writes it") from error
    for job in jobs:
        here = expected(job, device)
        if told.get(job.node) != here:
            raise MachineError(f"{job.node}: this machine would not render the same: it has {here}; the clips were "
                               f"analysed where there is {told.get(job.node)}. Install the same version and weights")


def _looked_at(shot: Shot, frames: str) -> str:
    """Frames of a target that are analysed, as `render.farm.target_frames`."""
    wanted = parse_frames(frames)
    with open_clip(shot.target, shot.stages.output.missing) as clip:
        available = clip.frames
    near = available if len(available) <= WHOLE_CLIP else tuple(
        frame for frame in available if wanted[0] - OVERLAP <= frame <= wanted[-1] + OVERLAP)
    there = set(wanted) if shot.stages.output.missing == "error" else set(wanted) & set(available)
    return frames_text(sorted({*near, *there}), limit=0)


def render_nodes(path: Path, frames: str, work: Path, *, device: str = "cpu", listen: Listener = ignore,
                 warm: Warm | None = None) -> list[tuple[str, RenderResult]]:
    """Frames of every node, in their order, since a node reads what the one before has written; nodes that need a frame
    that failed list it too. Raises PlateError where an analysis is missing, MachineError where this machine is
    installed otherwise; else as Work.run."""
    warm = warm or Warm()
    results = []
    jobs = load_nodes(path)
    _check_expected(jobs, work, device)
    for number, plain in enumerate(jobs):
        job = with_tracks(plain, work)
        absent = [clip.track for clip in (job.shot.target, *job.shot.source)
                  if clip.track and not Path(clip.track).is_file()]
        if absent:
            raise PlateError(f"{job.node}: there is no track {absent[0]}; the job's step Analyse writes it")
        request = job.request

        hear = functools.partial(_heard, listen, number, len(jobs))

        def work_of(some: str, request: protocol.Render = request, hear: Listener = hear) -> Work:
            return render_work(replace(request, frames=some), device, listen=hear, warm=warm)

        results.append((job.node, rendered(job.shot, frames, work_of, hear)))
    return results


def _heard(listen: Listener, number: int, count: int, event: Event) -> None:
    """A node's step as one of all nodes' steps."""
    if event.kind in ("begin", "frame") and event.total:
        event = replace(event, done=number * event.total + event.done, total=count * event.total)
    listen(event)
