"""Train a network on prepared faces of many people: from a folder of faces to a weights file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fsgan_core.contract.errors import InputError, WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.version import __version__
from fsgan_core.networks.architectures.build import parse_architecture
from fsgan_core.networks.weights.catalogue import WeightsInfo, make_weights_metadata
from fsgan_core.networks.weights.checkpoint import load_network, write_checkpoint
from fsgan_core.networks.weights.installed import find_best_weights, find_weights
from fsgan_core.runtime.arrays import Flags
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import EventListener, ignore_event
from fsgan_core.runtime.user_paths import expand_home
from fsgan_core.training.data.dataset import FaceDataset, choose_held_out_people, load_dataset
from fsgan_core.training.losses import FeatureExtractor, prepare_vgg_features
from fsgan_core.training.parallel import World, join_world, leave_world
from fsgan_core.training.plan import TrainingPlan, get_preset_path, load_plan
from fsgan_core.training.run_state import STATE_FILE, load_state
from fsgan_core.training.runs import IterationReporter, check_weights_path, get_run_folder, read_result_metadata
from fsgan_core.training.tensorboard import TensorBoardWriter, open_tensorboard
from fsgan_core.training.train_loop import TrainedGenerator, Validation, train_generator
from fsgan_core.training.trainer import build_seeded_network

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TrainingResult", "train_network"]

# Part of every key. Raise it when the same plan would give other weights.
METHOD_VERSION = 2
KEY_FIELD = "train_key"


@dataclass(frozen=True)
class TrainingResult:
    """What `train_network` did.

    Attributes:
        network: "reenact", "mask", "inpaint" or "blend".
        output: The weights file.
        state: "trained", or "kept" if the file was already the result of this run. Then the fields from `start` on are
            not set.
        licence: Licence class of the weights: the strictest of the footage's and the starting weights'.
        iterations: Iterations done so far.
        planned_iterations: Iterations of the whole plan.
        start: The starting weights, or "random".
        resumed_iterations: Iterations that earlier processes did.
        faces: Faces in training.
        people: People in training.
        held_out: Names of the people who are held out for validation.
        validations: All validations, the first of them before training.
        best: The validation of the weights in `output`.
        seconds: Training time of all processes that the run has had.
        device: Where the network was trained.
        precision: "fp32" or "bf16".
        is_first_process: Whether this process wrote the files; of several that train together only one does.
    """

    network: str
    output: Path
    state: str
    licence: str
    iterations: int
    planned_iterations: int
    start: str = ""
    resumed_iterations: int = 0
    faces: int = 0
    people: int = 0
    held_out: tuple[str, ...] = ()
    validations: tuple[Validation, ...] = ()
    best: Validation | None = None
    seconds: float = 0.0
    device: str = ""
    precision: str = ""
    is_first_process: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON."""
        data: dict[str, Any] = {
            "command": "train",
            "network": self.network,
            "output": str(self.output),
            "state": self.state,
            "licence": self.licence,
            "iterations": self.iterations,
            "planned": self.planned_iterations,
        }
        if self.best is None:
            return data
        return data | {
            "start": self.start,
            "resumed": self.resumed_iterations,
            "faces": self.faces,
            "people": self.people,
            "held_out": list(self.held_out),
            "checks": [validation.to_dict() for validation in self.validations],
            "best": self.best.to_dict(),
            "seconds": round(self.seconds, 1),
            "device": self.device,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class _TrainingJob:
    """Everything that a run depends on.

    Attributes:
        plan: The plan.
        dataset: The prepared faces.
        start: Weights to start from; "" is random weights.
        allow: Licence classes allowed for the starting weights and the networks of the perceptual loss.
        device: The torch device.
        time_limit: In seconds; 0 is no limit.
        workers: Processes that make batches; 0 uses a thread.
    """

    plan: TrainingPlan
    dataset: FaceDataset
    start: str
    allow: str
    device: str
    time_limit: float
    workers: int


def train_network(
    network: str,
    data: str | Path | FaceDataset,
    output: str | Path,
    *,
    preset: str = "small",
    plan: str | Path | TrainingPlan | None = None,
    changes: Mapping[str, str] | None = None,
    start: str = "",
    allow: str = "any",
    time_limit: float = 0.0,
    workers: int = 0,
    half: bool = False,
    curves: bool = True,
    device: str = "auto",
    force: bool = False,
    only_resume: bool = False,
    on_event: EventListener = ignore_event,
) -> TrainingResult:
    """Train one of the networks, and write the weights that measured best on people it has never seen.

    A run that was interrupted continues when it is started again with the same arguments. If `output` is already the
    result of this run, it is kept. Processes that `torchrun` started train together.

    Args:
        network: "reenact", "mask", "inpaint" or "blend".
        data: Prepared faces, or their folder (see `prepare_faces`).
        output: The weights file to write (.safetensors). Other files of the run are in the folder `output`.run.
        preset: "small" or "published", the plans that come with the package.
        plan: A plan, or the TOML file of one, in place of a preset.
        changes: Changes to the plan's file: TOML values by name, such as {"phases.batch": "16"}.
        start: Weights to start from, by name or file; "" is random weights.
        allow: Licence classes of weights that may be used: "any", "research", "non-commercial", "commercial".
        time_limit: Seconds after which training stops, with everything written; 0 is no limit.
        workers: Processes that make the batches; 0 is a thread of this process.
        half: Whether to write the weights as float16.
        curves: Whether to write curves for TensorBoard.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        force: Whether to overwrite `output` and start again.
        only_resume: Whether to refuse to start a new run.
        on_event: Receives the progress.

    Raises:
        InputError: The plan or the data is wrong, `output` is something else, there is nothing to resume, or training
            diverged.
        WeightsError: The starting weights are not there, not allowed, or of another architecture.
        MachineError: The device has not enough memory, or the other processes cannot be reached.
        OutputError: The weights or the run's state cannot be written.
    """
    path = check_weights_path(output)
    if not isinstance(plan, TrainingPlan):
        plan = load_plan(expand_home(plan) if plan else get_preset_path(network, preset), network, changes)
    device = choose_device(device)
    world = join_world(device)
    try:
        dataset = data if isinstance(data, FaceDataset) else load_dataset(expand_home(data))
        job = _TrainingJob(plan, dataset, start, allow, world.device or device, time_limit, max(0, workers))
        return _run_job(job, path, world, on_event, force=force, only_resume=only_resume, half=half, curves=curves)
    finally:
        leave_world()


def _run_job(
    job: _TrainingJob,
    output: Path,
    world: World,
    on_event: EventListener,
    *,
    force: bool,
    only_resume: bool,
    half: bool,
    curves: bool,
) -> TrainingResult:
    plan, dataset = job.plan, job.dataset
    _check_layout(plan, dataset)
    named_people, validation_share = (
        (plan.validation, 0.0) if isinstance(plan.validation, tuple) else ((), plan.validation)
    )
    held_out_people = choose_held_out_people(dataset, named_people, validation_share, plan.seed)
    is_held_out: Flags = np.isin(dataset.people, held_out_people)
    generator, start, start_licence = _make_generator(job)
    vggs, vgg_digests = _load_vggs(job)
    key = compute_digest("train", METHOD_VERSION, dataset.key, plan.to_dict(), start, vgg_digests)
    folder = get_run_folder(output)
    if output.exists() and not force:
        kept_result = _read_kept_result(output, key, world)
        if kept_result.iterations >= kept_result.planned_iterations:
            return kept_result
    if only_resume and not (folder / STATE_FILE).is_file():
        raise InputError(f"there is no run to continue in {folder}; start it without --resume")
    if force and world.is_first:
        with contextlib.suppress(OSError):
            (folder / STATE_FILE).unlink()
    curve_writer = _open_curves(folder, key) if curves and world.is_first else None
    subject = f"{plan.network}, {len(held_out_people)} of {len(set(dataset.people))} people held out"
    trained = train_generator(
        dataset.faces,
        dataset.people,
        is_held_out,
        generator,
        plan,
        folder=folder,
        key=key,
        vggs=vggs,
        device=job.device,
        world=world,
        curve_writer=curve_writer,
        on_progress=IterationReporter(on_event, subject),
        time_limit=job.time_limit,
        workers=job.workers,
    )
    if curve_writer is not None:
        curve_writer.close()
    result = _make_result(job, trained, held_out_people, int((~is_held_out).sum()), output, start_licence, world)
    if world.is_first:
        _write_results(job, trained, result, key, half)
    return result


def _check_layout(plan: TrainingPlan, dataset: FaceDataset) -> None:
    layout = dataset.faces.layout
    if layout.landmarks != plan.landmarks and plan.network == "reenact":
        raise InputError(
            f"the plan is for {plan.landmarks} landmarks, but the faces were prepared with {layout.landmarks}; "
            f"prepare them with --landmarks {plan.landmarks}"
        )
    if layout.crop != plan.crop:
        raise InputError(
            f"the plan is for a crop of {plan.crop:g}, but the faces were prepared with {layout.crop:g}; "
            f"prepare them with --crop {plan.crop:g}"
        )


def _make_generator(job: _TrainingJob) -> tuple[nn.Module, str, str]:
    """Return the network to train, the digest of its weights (for random ones, the architecture) and their licence."""
    arch = str(parse_architecture(job.plan.arch))
    if not job.start:
        return build_seeded_network(arch, job.plan.seed), arch, LICENCE_CLASSES[0]
    installed = find_weights(job.plan.network, job.start, job.allow)
    if str(parse_architecture(installed.info.arch)) != arch:
        raise WeightsError(
            f"the weights {installed.info.name} have another architecture ({installed.info.arch}) than the plan; "
            f"change the plan's: --change 'arch=\"{installed.info.arch}\"'"
        )
    return load_network(installed.path), installed.sha256, installed.info.licence


def _load_vggs(job: _TrainingJob) -> tuple[dict[str, FeatureExtractor], dict[str, str]]:
    """Return the networks of the perceptual losses and their digests, by role; none unless all are installed."""
    best_weights = {role: find_best_weights(role, job.allow) for role in job.plan.losses.perceptual}
    installed = {role: weights for role, weights in best_weights.items() if weights is not None}
    if len(installed) < len(best_weights):
        return {}, {}
    return (
        {role: prepare_vgg_features(load_network(weights.path), job.device) for role, weights in installed.items()},
        {role: weights.sha256 for role, weights in installed.items()},
    )


def _open_curves(folder: Path, key: str) -> TensorBoardWriter | None:
    state = load_state(folder / STATE_FILE, key)
    return open_tensorboard(folder / "curves", state.step if state is not None else 0)


def _make_result(
    job: _TrainingJob,
    trained: TrainedGenerator,
    held_out_people: tuple[str, ...],
    face_count: int,
    output: Path,
    start_licence: str,
    world: World,
) -> TrainingResult:
    clips = [clip for clip in job.dataset.clips if clip.person not in held_out_people]
    return TrainingResult(
        network=job.plan.network,
        output=output,
        state="trained",
        licence=max((start_licence, *(clip.licence for clip in clips)), key=LICENCE_CLASSES.index),
        iterations=len(trained.losses),
        planned_iterations=sum(phase.count_iterations(face_count) for phase in job.plan.phases),
        start=job.start or "random",
        resumed_iterations=trained.resumed_iterations,
        faces=face_count,
        people=len({clip.person for clip in clips}),
        held_out=held_out_people,
        validations=trained.validations,
        best=trained.best_validation,
        seconds=trained.seconds,
        device=job.device,
        precision=trained.precision,
        is_first_process=world.is_first,
    )


def _write_results(job: _TrainingJob, trained: TrainedGenerator, result: TrainingResult, key: str, half: bool) -> None:
    """Write the best weights to the output, and the last weights and the run's figures to its folder."""
    plan, folder = job.plan, get_run_folder(result.output)
    info = WeightsInfo(
        name=result.output.stem,
        role=plan.network,
        arch=plan.arch,
        landmarks=plan.landmarks,
        crop=plan.crop,
        licence=result.licence,
        note=(
            f"Trained by fsgan {__version__} on {result.faces} faces of {result.people} people, "
            f"{result.iterations} iterations."
        ),
        prewarp=plan.prewarp,
        resolution=plan.phases[-1].resolution,
    )
    metadata = {
        **make_weights_metadata(info),
        "plan": json.dumps(plan.to_dict()),
        "start": result.start,
        "iterations": str(result.iterations),
        "planned": str(result.planned_iterations),
        KEY_FIELD: key,
    }
    for path, state, validation in (
        (result.output, trained.best, trained.best_validation),
        (folder / "last.safetensors", trained.last, trained.validations[-1]),
    ):
        tensors = {name: value.half() if half and value.is_floating_point() else value for name, value in state.items()}
        write_checkpoint(path, plan.arch, tensors, {**metadata, "validation": json.dumps(validation.to_dict())})
    figures = {**result.to_dict(), "losses": [round(loss, 6) for loss in trained.losses]}
    with write_atomically(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(figures), "utf-8")


def _read_kept_result(output: Path, key: str, world: World) -> TrainingResult:
    metadata = read_result_metadata(output, KEY_FIELD, key, "faces, start or plan")
    return TrainingResult(
        network=metadata["role"],
        output=output,
        state="kept",
        licence=metadata.get("licence", "unknown"),
        iterations=int(metadata["iterations"]),
        planned_iterations=int(metadata["planned"]),
        is_first_process=world.is_first,
    )
