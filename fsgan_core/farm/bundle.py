"""Makes a render farm's job from a shot: an Open Job Description bundle, for AWS Deadline Cloud and `openjd`.

Nothing here schedules anything. The bundle's tasks are calls of `fsgan farm task` (see `farm.task_runner`). Every path
that they need is a PATH parameter, so that an engine can map it between machines. No path is part of the template's own
text, where `{{` has a meaning.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fsgan_core.clips.inputs import ClipInput
from fsgan_core.clips.shot_file import format_shot
from fsgan_core.clips.tracks import MAX_WHOLE_CLIP, OVERLAP_FRAMES, select_source_frames
from fsgan_core.contract.consent import check_consent
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import Shot
from fsgan_core.contract.version import __version__
from fsgan_core.farm.job_steps import make_shot_steps
from fsgan_core.farm.shot_paths import collect_paths, replace_paths
from fsgan_core.farm.template import (
    FarmOptions,
    check_value_length,
    make_common_parameters,
    make_environment,
    make_path_parameter,
    make_session_environment,
    make_template,
    to_openjd_range,
)
from fsgan_core.plates.sequence import format_frames
from fsgan_core.render.engines import ResolvedEngine
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.shared_dependencies import KEYED_CODE
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_code_digest
from fsgan_core.runtime.user_paths import expand_home, is_plain_file

__all__ = ["FarmBundle", "describe_job_engines", "make_bundle", "write_bundle"]

log = logging.getLogger(__name__)

TRACKS_FOLDER, SIDECARS_FOLDER, REPORT_FOLDER, FINETUNED_FILE = (
    "tracks",
    "frames",
    "report",
    "finetuned.safetensors",
)  # in the work folder


@dataclass(frozen=True)
class FarmBundle:
    """The files of a job, before they are written.

    Attributes:
        template: Plain data of template.yaml.
        values: Plain data of parameter_values.yaml.
        assets: Plain data of asset_references.yaml.
        shot: The shot that the tasks render, with absolute paths; None for a Nuke script.
        task_count: Number of chunks.
        extra_files: Text of further files, by name.
        notes: Remarks for the person who sends the job.
    """

    template: Mapping[str, Any]
    values: Mapping[str, Any]
    assets: Mapping[str, Any]
    shot: Shot | None
    task_count: int
    extra_files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def summarise(self, folder: Path) -> dict[str, Any]:
        """Summarises the job as plain data for JSON. `folder` is where the bundle is written."""
        return {
            "folder": str(folder),
            "steps": [step["name"] for step in self.template["steps"]],
            "tasks": self.task_count,
            "notes": list(self.notes),
        }


def describe_job_engines(job: RenderJob, *, tuned: bool = False) -> str:
    """Describes what decides the pixels besides the shot: version, engines, weights.

    Tasks compare it, so that a machine with another installation does not render.

    Args:
        job: An opened job.
        tuned: Whether the job itself makes the weights of the reenactment.
    """
    return describe_engines({stage: job.context.engines[stage] for stage in job.plan.running_stages}, tuned=tuned)


def describe_engines(engines: Mapping[str, ResolvedEngine[Any]], *, tuned: bool = False) -> str:
    """Describes version, engines and weights, given the engine of each stage; see `describe_job_engines`."""
    texts = [f"fsgan {__version__} {compute_code_digest(KEYED_CODE)[:12]}"]
    for stage, engine in engines.items():
        weights = "fine-tuned" if tuned and stage == "reenact" else engine.weights_text
        texts.append(f"{stage} {engine.name} {weights}")
    return "; ".join(texts)


# The bundle.


def make_bundle(shot: Shot, options: FarmOptions | None = None) -> FarmBundle:
    """Makes the job of a shot.

    Every clip is opened, so that errors in the shot show up before anything is sent to a farm.

    Args:
        shot: The shot; its paths are made absolute.
        options: How the job is divided, and what its machines need.

    Raises:
        FsganError: As a render of the shot would, or the options do not fit it.
        ConsentError: The studio requires a release, and the shot has none that is valid today.
    """
    options = options or FarmOptions()
    if options.chunk < 1:
        raise InputError("a chunk has at least one frame")
    expired = check_consent(shot.stages.consent)
    shot = _make_paths_absolute(shot)
    work_folder = str(expand_home(options.work_folder or Path(shot.output.path).parent / "fsgan_farm").absolute())
    job = RenderJob(plan_shot_job(shot))
    tuned = options.finetune_iterations > 0
    made_files = _plan_made_files(shot, work_folder)
    start_weights = shot.stages.reenact.network
    pinned = _pin_engines(replace_paths(shot, made_files), job, _find_finetuned_resolution(shot) if tuned else 0)
    if tuned:
        pinned = replace_paths(pinned, {"reenact.network": f"{work_folder}/{FINETUNED_FILE}"})
    expected = describe_job_engines(job, tuned=tuned)
    parameters, arguments = _make_parameters(shot, pinned, job, options, work_folder, expected)
    if tuned:
        arguments["reenact.network"] = "{{Param.WorkFolder}}/" + FINETUNED_FILE
    arguments |= {name: "{{Param.WorkFolder}}" + path.removeprefix(work_folder) for name, path in made_files.items()}
    steps = make_shot_steps(pinned, arguments, made_files, options, start_weights if tuned else "")
    template = make_template(
        {name: declared for name, (declared, _) in parameters.items()},
        steps,
        [make_environment(), *[make_session_environment()] * options.has_session],
    )
    values = {
        "parameterValues": [
            {"name": name, "value": value} for name, (_, value) in parameters.items() if value is not None
        ]
    }
    assets = _make_asset_references(job, pinned, made_files, work_folder, options)
    task_count = -(-len(job.plan.frames) // options.chunk)
    notes = (f"warning: {expired}",) if expired else ()
    return FarmBundle(template, values, assets, pinned, task_count, notes=notes)


def write_bundle(bundle: FarmBundle, folder: Path) -> list[Path]:
    """Writes the files of a bundle and returns their paths.

    Besides Deadline Cloud's three files these are the shot and parameters.json, which holds the values in the form that
    `openjd run -p file://...` takes.

    Raises:
        OutputError: A file cannot be written.
    """
    import yaml

    plain = {parameter["name"]: parameter["value"] for parameter in bundle.values["parameterValues"]}
    texts = dict(bundle.extra_files)
    if bundle.shot is not None:
        texts["shot.toml"] = format_shot(bundle.shot)
    for name, data in (
        ("parameter_values.yaml", bundle.values),
        ("asset_references.yaml", bundle.assets),
        ("template.yaml", bundle.template),
    ):
        texts[name] = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
    texts["parameters.json"] = json.dumps(plain, indent=1) + "\n"
    for name, text in texts.items():
        with write_atomically(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _make_paths_absolute(shot: Shot) -> Shot:
    """Makes all paths absolute, and names the environment's colour config: a farm's machine may have another one."""
    config = shot.stages.colour.config or os.environ.get("OCIO", "")
    if config and config != shot.stages.colour.config:
        shot = replace(shot, stages=replace(shot.stages, colour=shot.stages.colour.replace(config=config)))
    return replace_paths(
        shot, {name: os.path.normpath(expand_home(path).absolute()) for name, path in collect_paths(shot).items()}
    )


def _plan_made_files(shot: Shot, work_folder: str) -> dict[str, str]:
    """Names the missing tracks, which the job makes in TRACKS_FOLDER."""
    made_files = {
        f"source.{number}.track": f"{work_folder}/{TRACKS_FOLDER}/source{number}.json"
        for number, clip in enumerate(shot.source, start=1)
        if not clip.track
    }
    if not shot.target.track:
        made_files["target.track"] = f"{work_folder}/{TRACKS_FOLDER}/target.json"
    return made_files


def _pin_engines(shot: Shot, job: RenderJob, resolution: int) -> Shot:
    """Replaces "auto" by the engines chosen here. resolution: of weights that the job fine-tunes, else 0."""
    stages = shot.stages
    for name in job.plan.running_stages:
        params = getattr(stages, name)
        if getattr(params, "engine", None) == "auto":
            stages = replace(stages, **{name: params.replace(engine=job.context.engines[name].name)})
    if resolution:
        stages = replace(stages, reenact=stages.reenact.replace(engine="fsgan", resolution=resolution))
    return replace(shot, stages=stages, frames=format_frames(job.plan.frames, limit=0))


def _find_finetuned_resolution(shot: Shot) -> int:
    """Raises InputError if the job cannot be fine-tuned, and WeightsError if there are no weights to start from."""
    from fsgan_core.networks.weights.installed import find_weights

    reenact = shot.stages.reenact
    if shot.job != "swap" or reenact.engine not in ("auto", "fsgan"):
        raise InputError(f"--finetune is for a swap with the engine fsgan, not for a {shot.job} with {reenact.engine}")
    return find_weights("reenact", reenact.network, shot.stages.weights.allow).info.resolution


def _make_parameters(
    shot: Shot, pinned: Shot, job: RenderJob, options: FarmOptions, work_folder: str, expected: str
) -> tuple[dict[str, tuple[dict[str, Any], Any]], dict[str, str]]:
    """Makes the job parameters, name -> (declaration, value or None for the default), and the tasks' path arguments."""
    name = options.name or f"fsgan {shot.job} {Path(shot.output.path).stem.split('.')[0]}"
    parameters = make_common_parameters(
        options, name, check_value_length(to_openjd_range(job.plan.frames)), work_folder
    ) | {
        "ShotFile": (
            make_path_parameter("FILE", "IN") | {"default": "shot.toml", "description": "Part of this bundle."},
            None,
        ),
        "TargetFrames": (
            {"type": "STRING", "description": "Frames of the plate that are analysed."},
            check_value_length(to_openjd_range(choose_target_frames(job))),
        ),
        "Expected": (
            {"type": "STRING", "description": "Version, engines and weights; a machine with others refuses."},
            check_value_length(expected),
        ),
        "OutputFolder": (make_path_parameter("DIRECTORY", "OUT"), str(Path(shot.output.path).parent)),
    }
    arguments = {"output": "{{Param.OutputFolder}}"}
    for path_name, path in collect_paths(shot).items():
        if path_name == "output":
            continue
        parameter = "".join(part[:1].upper() + part[1:] for part in path_name.replace("_", ".").split("."))
        parameters[parameter] = (make_path_parameter("FILE", "IN" if is_plain_file(path) else "NONE"), path)
        arguments[path_name] = "{{Param." + parameter + "}}"
    for number, folder in enumerate(options.weight_folders, start=1):
        parameters[f"Weights{number}"] = (
            make_path_parameter("DIRECTORY", "IN"),
            str(expand_home(folder).absolute()),
        )
        arguments[f"weights.{number}"] = "{{Param.Weights" + str(number) + "}}"
    return parameters, arguments


def _make_asset_references(
    job: RenderJob, shot: Shot, made_files: Mapping[str, str], work_folder: str, options: FarmOptions
) -> dict[str, Any]:
    """Lists the files that job attachments carry. On a shared file server they are not used."""
    inputs = job.plan.inputs
    files: list[str] = []
    for item, frames in [(source, None) for source in inputs.sources] + [
        (inputs.target, choose_target_frames(job)),
        (inputs.holdout, None),
    ]:
        if item is not None:
            files += _list_files(item, frames)
    paths = collect_paths(shot)
    files += [path for name, path in paths.items() if name not in made_files and is_plain_file(path)]
    folders = [str(expand_home(folder).absolute()) for folder in options.weight_folders]
    config = paths.get("colour.config")
    if config:
        folders.append(str(Path(config).parent))  # its look-up tables are in the same folder
    return {
        "assetReferences": {
            "inputs": {"filenames": list(dict.fromkeys(files)), "directories": folders},
            "outputs": {"directories": [str(Path(shot.output.path).parent), work_folder]},
            "referencedPaths": [],
        }
    }


def _list_files(clip_input: ClipInput, frames: tuple[int, ...] | None) -> list[str]:
    sequence = clip_input.sequence
    listed_frames = sequence.frames[:1] if sequence.kind == "movie" else frames or sequence.frames
    return [str(sequence.get_frame_path(frame).absolute()) for frame in listed_frames]


def choose_target_frames(job: RenderJob) -> tuple[int, ...]:
    """Chooses the frames of the target that the job analyses.

    These are all frames, as in a render; of a clip longer than MAX_WHOLE_CLIP, those near the rendered ones.
    """
    available = job.plan.inputs.target.sequence.frames
    if len(available) <= MAX_WHOLE_CLIP:
        return available
    first, last = job.plan.frames[0] - OVERLAP_FRAMES, job.plan.frames[-1] + OVERLAP_FRAMES
    return tuple(frame for frame in available if first <= frame <= last)


def choose_analysed_frames(clip_input: ClipInput, job: str) -> tuple[int, ...]:
    """Chooses the frames of a source that are analysed: the same ones as in a render.

    Args:
        clip_input: The source.
        job: The shot's job, "swap" or "drive".
    """
    return clip_input.sequence.frames if job == "drive" else select_source_frames(clip_input.sequence.frames)
