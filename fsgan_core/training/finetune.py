"""Fine-tune the reenactment network on a source: from clips to a weights file that a swap can use."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.clips.finetuned import META_FINETUNED_FINGERPRINTS, META_FINETUNED_ON, compute_source_fingerprint
from fsgan_core.clips.inputs import JobInputs, open_inputs
from fsgan_core.clips.tracks import select_source_frames
from fsgan_core.contract.errors import InputError, WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.shot import Clip, Shot, Stages
from fsgan_core.contract.version import __version__
from fsgan_core.networks.architectures.build import parse_architecture
from fsgan_core.networks.weights.catalogue import (
    InstalledWeights,
    WeightsInfo,
    find_best_weights,
    find_weights,
    make_weights_metadata,
)
from fsgan_core.networks.weights.checkpoint import load_network, write_checkpoint
from fsgan_core.runtime.cache import compute_digest, get_cache_folder
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.runtime.user_paths import expand_home
from fsgan_core.training.data.face_crops import ClipFaces, FaceLayout, FaceSet, collect_faces, load_faces, save_faces
from fsgan_core.training.finetune_loop import FinetunedGenerator, finetune_generator
from fsgan_core.training.losses import prepare_vgg_features
from fsgan_core.training.prepare import make_clip_faces
from fsgan_core.training.recipe import Recipe
from fsgan_core.training.run_state import STATE_FILE
from fsgan_core.training.runs import (
    WEIGHTS_SUFFIX,
    IterationReporter,
    check_weights_path,
    get_run_folder,
    make_file_stem,
    read_result_metadata,
)
from fsgan_core.training.trainer import build_seeded_network
from fsgan_core.training.validation import TrialFigures

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FinetuneResult", "finetune_network", "finetune_shot", "make_default_output"]

log = logging.getLogger(__name__)

RANDOM_START = "random"
RANDOM_RESOLUTION = 256  # pixels, of a network that starts from random weights
DEFAULT_WIDTH = 32  # channels of the first layer (ngf); the published network has 128
# Part of every key. Raise it when the same settings would give other weights.
METHOD_VERSION = 2
KEY_FIELD = "finetune_key"
FACES_FILE = "faces.npz"
MAX_LOSS_ITERATIONS = 50  # iterations that the first and the last loss of a result are means of


@dataclass(frozen=True)
class FinetuneResult:
    """What `finetune_network` did.

    Attributes:
        output: The weights file.
        state: "trained", or "kept" if the file was already the result of this run. Then the fields from `source` on
            are not set.
        licence: Licence class of the weights: the stricter of the footage's and the starting weights'.
        iterations: Iterations of the whole run.
        source: Names of the source clips.
        start: Name of the starting weights, or "random".
        resumed_iterations: Iterations that an earlier process did.
        prewarp: Whether the network is shown views that are already warped.
        resolution: Side of the network's square input, pixels.
        first_loss: Mean loss of the first iterations.
        last_loss: Mean loss of the last iterations.
        held_out_count: Faces that were kept from training.
        view_figures: Error of the view that the network is shown.
        figures_before: Error of the network at the start.
        figures_after: Error of the network at the end.
        seconds: Time of this process.
        device: Where the network was trained.
        precision: "fp32" or "bf16".
    """

    output: Path
    state: str
    licence: str
    iterations: int
    source: str = ""
    start: str = ""
    resumed_iterations: int = 0
    prewarp: bool = False
    resolution: int = 0
    first_loss: float = 0.0
    last_loss: float = 0.0
    held_out_count: int = 0
    view_figures: TrialFigures | None = None
    figures_before: TrialFigures | None = None
    figures_after: TrialFigures | None = None
    seconds: float = 0.0
    device: str = ""
    precision: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON."""
        data: dict[str, Any] = {
            "command": "finetune",
            "output": str(self.output),
            "state": self.state,
            "licence": self.licence,
            "iterations": self.iterations,
        }
        if self.view_figures is None or self.figures_before is None or self.figures_after is None:
            return data
        return data | {
            "source": self.source,
            "start": self.start,
            "resumed": self.resumed_iterations,
            "prewarp": self.prewarp,
            "resolution": self.resolution,
            "loss_first": round(self.first_loss, 5),
            "loss_last": round(self.last_loss, 5),
            "held_out": self.held_out_count,
            "view": self.view_figures.to_dict(),
            "before": self.figures_before.to_dict(),
            "after": self.figures_after.to_dict(),
            "seconds": round(self.seconds, 1),
            "device": self.device,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class _TrainingStart:
    """What a run starts from. digest: of the weights' content, or the architecture if they are random."""

    name: str
    digest: str
    arch: str
    layout: FaceLayout
    prewarp: bool
    licence: str
    load_network: Callable[[], nn.Module]


@dataclass(frozen=True)
class _FinetuneJob:
    """Everything that a run depends on, and where its previews go."""

    sources: tuple[Clip, ...]
    stages: Stages
    start: _TrainingStart
    recipe: Recipe
    licence: str
    device: str
    preview: Path | None = None
    preview_every: int = 100


def finetune_network(
    source: str | Path | Clip | Sequence[str | Path | Clip],
    output: str | Path,
    *,
    network: str = "",
    from_scratch: bool = False,
    width: int = DEFAULT_WIDTH,
    resolution: int = 0,
    iterations: int = 800,
    batch: int = 3,
    rate: float = 1e-4,
    prewarp: bool | None = None,
    precision: str = "auto",
    seed: int = 1,
    stages: Stages | None = None,
    licence: str = "unknown",
    preview: str | Path | None = None,
    preview_every: int = 100,
    device: str = "auto",
    force: bool = False,
    only_resume: bool = False,
    on_event: EventListener = ignore_event,
) -> FinetuneResult:
    """Train the reenactment network on one person, and write the weights.

    A run that was interrupted continues when it is started again with the same arguments. If `output` is already the
    result of this run, it is kept.

    Args:
        source: The clip or clips of the person.
        output: The weights file to write (.safetensors).
        network: Weights to start from, by name or file; "" is the best installed reenactment weights.
        from_scratch: Whether to start from random weights instead.
        width: Width of the network (ngf) if it starts from random weights.
        resolution: Side of the network's square input in pixels, a multiple of 32; 0 is that of the weights.
        iterations: Training steps.
        batch: Pairs of frames in a step.
        rate: Learning rate of Adam.
        prewarp: Whether the network is shown the source frame already warped to the other frame's landmarks; None is
            as the weights were trained, and yes for random ones.
        precision: "auto", "fp32" or "bf16".
        seed: Decides the order of the pairs, and random weights.
        stages: Parameters of the analysis, the colour and the allowed weights; None uses the defaults.
        licence: Licence class of the footage. The weights get the stricter of this and of the starting weights'.
        preview: Folder for preview pictures; None writes none.
        preview_every: Iterations between two previews.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        force: Whether to overwrite `output` and start again.
        only_resume: Whether to refuse to start a new run.
        on_event: Receives the progress.

    Raises:
        InputError: A setting is wrong, `output` is something else, there is nothing to resume, or training diverged.
        NoFaceError: The source shows the face in fewer than two frames.
        WeightsError: There are no weights to start from.
        OutputError: The weights or the run's state cannot be written.
    """
    path = check_weights_path(output)
    if preview_every < 1:
        raise InputError("--preview-every must be at least 1")
    if from_scratch and network:
        raise InputError("--network names weights to start from, --from-scratch uses none: give only one of them")
    stages = stages or Stages()
    if from_scratch:
        start = _start_from_random(width, resolution or RANDOM_RESOLUTION, seed)
    else:
        start = _start_from_weights(network, stages.weights.allow, resolution)
    recipe = Recipe(
        iterations=iterations,
        batch=batch,
        rate=rate,
        prewarp=start.prewarp if prewarp is None else prewarp,
        precision=precision,
        seed=seed,
    )
    job = _FinetuneJob(
        sources=_list_clips(source),
        stages=stages,
        start=start,
        recipe=recipe,
        licence=licence,
        device=choose_device(device),
        preview=None if preview is None else expand_home(preview),
        preview_every=preview_every,
    )
    if from_scratch:
        log.warning("the network starts from random weights: it will learn nothing but this source")
    return _run_job(job, path, _open_job_inputs(job), on_event, force=force, only_resume=only_resume)


def finetune_shot(
    shot: Shot,
    iterations: int = 800,
    *,
    licence: str = "unknown",
    output: str | Path | None = None,
    device: str = "auto",
    on_event: EventListener = ignore_event,
) -> Shot:
    """Fine-tune the reenactment network on the sources of a shot.

    Training starts from `reenact.network` of the shot, or else from the best installed weights.

    Args:
        shot: The shot. Its engine must be able to use the weights.
        iterations: Training steps.
        licence: Licence class of the source's footage.
        output: The weights file; None keeps it in the cache, where the next call finds it.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        on_event: Receives the progress.

    Returns:
        The shot with these weights as `reenact.network`.

    Raises:
        InputError: The shot's engine does not use these weights, or a setting is wrong.
        WeightsError: There are no weights to start from.
        NoFaceError: The source shows the face in fewer than two frames.
        OutputError: The weights or the run's state cannot be written.
    """
    reenact = shot.stages.reenact
    if reenact.engine not in ("auto", "fsgan"):
        raise InputError(f"--finetune trains the network of the engine fsgan, but reenact.engine = {reenact.engine}")
    Recipe(iterations=iterations)  # checks the number before weights are looked for
    start = _start_from_weights(reenact.network, shot.stages.weights.allow, 0)
    recipe = Recipe(iterations=iterations, prewarp={"on": True, "off": False}.get(reenact.prewarp, start.prewarp))
    job = _FinetuneJob(shot.source, shot.stages, start, recipe, licence, choose_device(device))
    inputs = _open_job_inputs(job)
    if output is None:
        name = f"{_make_source_stem(shot.source[0].path)}-{_compute_key(job, inputs)[:16]}{WEIGHTS_SUFFIX}"
        output = get_cache_folder() / "finetuned" / name
    result = _run_job(job, Path(output), inputs, on_event)
    log.info("fine-tuned weights: %s (%s)", result.output, result.state)
    tuned_params = reenact.replace(network=str(output), resolution=start.layout.resolution)
    return replace(shot, stages=replace(shot.stages, reenact=tuned_params))


def make_default_output(source: str) -> str:
    """Return the file name of weights that are fine-tuned on a clip.

    >>> make_default_output("/shows/anna.mov")
    'anna_finetuned.safetensors'
    """
    return f"{_make_source_stem(source)}_finetuned{WEIGHTS_SUFFIX}"


def _list_clips(source: str | Path | Clip | Sequence[str | Path | Clip]) -> tuple[Clip, ...]:
    sources = [source] if isinstance(source, (str, Path, Clip)) else source
    return tuple(item if isinstance(item, Clip) else Clip(str(item)) for item in sources)


def _start_from_random(width: int, resolution: int, seed: int) -> _TrainingStart:
    layout = FaceLayout(resolution)
    arch = f"res_unet.MultiScaleResUNet(in_nc={3 + layout.landmarks},out_nc=3,flat_layers=(2,2,2,2),ngf={width})"
    parse_architecture(arch)
    return _TrainingStart(
        RANDOM_START, arch, arch, layout, True, LICENCE_CLASSES[0], lambda: build_seeded_network(arch, seed)
    )


def _start_from_weights(name: str, allow: str, resolution: int) -> _TrainingStart:
    try:
        installed = find_weights("reenact", name, allow)
    except WeightsError as error:
        raise WeightsError(f"{error}. To start from random weights instead: fsgan finetune --from-scratch") from error
    weights = installed.info
    layout = FaceLayout(resolution or weights.resolution, weights.crop, weights.landmarks or 68)
    return _TrainingStart(
        weights.name,
        installed.sha256,
        weights.arch,
        layout,
        weights.prewarp,
        weights.licence,
        lambda: load_network(installed.path),
    )


def _run_job(
    job: _FinetuneJob,
    output: Path,
    inputs: JobInputs,
    on_event: EventListener,
    *,
    force: bool = False,
    only_resume: bool = False,
) -> FinetuneResult:
    key = _compute_key(job, inputs)
    if output.exists() and not force:
        return _read_kept_result(output, key)
    folder = get_run_folder(output)
    if only_resume and not (folder / STATE_FILE).is_file():
        raise InputError(f"there is no run to continue in {folder}; start it without --resume")
    if force:
        _remove_run_files(folder)
    start = time.perf_counter()
    faces, faces_key = _get_faces(job, inputs, key, folder, on_event)
    vggs = {
        role: prepare_vgg_features(load_network(installed.path), job.device)
        for role, installed in _find_vggs(job).items()
    }
    report_iteration = IterationReporter(on_event, ", ".join(source.name for source in inputs.sources))
    trained = finetune_generator(
        faces,
        job.start.load_network(),
        job.recipe,
        folder=folder,
        key=faces_key,
        vggs=vggs,
        device=job.device,
        preview=job.preview,
        preview_every=job.preview_every,
        on_progress=lambda step: report_iteration(step.done, step.total, step.loss),
    )
    result = _make_result(job, inputs, trained, output, time.perf_counter() - start)
    metadata = _make_metadata(job, inputs, trained, result, key)
    write_checkpoint(output, job.start.arch, trained.generator.state_dict(), metadata)
    _remove_run_files(folder)
    return result


def _get_faces(
    job: _FinetuneJob, inputs: JobInputs, key: str, folder: Path, on_event: EventListener
) -> tuple[FaceSet, str]:
    """Return the faces of the sources, those of an interrupted run if they are the same, and their key."""
    with limit_algebra_threads():
        clips = [
            make_clip_faces(item, select_source_frames(item.sequence.frames), inputs, on_event)
            for item in inputs.sources
        ]
    faces_key = _compute_faces_key(key, clips)
    faces = load_faces(folder / FACES_FILE, faces_key)
    if faces is None:
        subject = ", ".join(clip.name for clip in clips)
        faces = collect_faces(
            clips, job.start.layout, lambda done, total: on_event(Event("collect", subject, done, total))
        )
        save_faces(folder / FACES_FILE, faces, faces_key)
    return faces, faces_key


def _find_vggs(job: _FinetuneJob) -> dict[str, InstalledWeights]:
    """Return the installed and allowed networks of the perceptual loss, by role."""
    best_weights = {"identity": find_best_weights("identity", job.stages.weights.allow)}
    return {role: weights for role, weights in best_weights.items() if weights is not None}


def _open_job_inputs(job: _FinetuneJob) -> JobInputs:
    return open_inputs(job.sources, job.sources[0], job.stages, device=job.device)


def _compute_key(job: _FinetuneJob, inputs: JobInputs) -> str:
    """Digest everything that the result depends on, except the machine and the landmarks."""
    vggs = {role: installed.sha256 for role, installed in _find_vggs(job).items()}
    return compute_digest(
        "finetune",
        METHOD_VERSION,
        [compute_source_fingerprint(source) for source in inputs.sources],
        [source.space for source in inputs.sources],
        [source.clip.person for source in inputs.sources],
        job.start.digest,
        job.start.layout,
        job.recipe.to_dict(),
        vggs,
    )


def _compute_faces_key(key: str, clips: Sequence[ClipFaces]) -> str:
    """Add the landmarks to the key: an interrupted run may only continue with the same faces."""
    faces = [
        [frame, face.landmarks, list(face.box), face.origin]
        for clip in clips
        for frame, face in sorted(clip.faces.items())
    ]
    return compute_digest(key, faces)


def _make_result(
    job: _FinetuneJob, inputs: JobInputs, trained: FinetunedGenerator, output: Path, seconds: float
) -> FinetuneResult:
    losses = trained.losses
    count = max(1, min(MAX_LOSS_ITERATIONS, len(losses) // 10))
    return FinetuneResult(
        output=output,
        state="trained",
        licence=max((job.start.licence, job.licence), key=LICENCE_CLASSES.index),
        iterations=job.recipe.iterations,
        source=", ".join(source.name for source in inputs.sources),
        start=job.start.name,
        resumed_iterations=trained.resumed_iterations,
        prewarp=job.recipe.prewarp,
        resolution=job.start.layout.resolution,
        first_loss=float(losses[:count].mean()),
        last_loss=float(losses[-count:].mean()),
        held_out_count=trained.held_out_count,
        view_figures=trained.view_figures,
        figures_before=trained.figures_before,
        figures_after=trained.figures_after,
        seconds=seconds,
        device=job.device,
        precision=trained.precision,
    )


def _make_metadata(
    job: _FinetuneJob, inputs: JobInputs, trained: FinetunedGenerator, result: FinetuneResult, key: str
) -> dict[str, str]:
    """Make the metadata of the weights file: what all weights have, and how these were trained."""
    layout = job.start.layout
    info = WeightsInfo(
        name=result.output.stem,
        role="reenact",
        arch=job.start.arch,
        landmarks=layout.landmarks,
        crop=layout.crop,
        licence=result.licence,
        note=f"Fine-tuned on {result.source} from {job.start.name} by fsgan {__version__}; for this source.",
        prewarp=job.recipe.prewarp,
        resolution=layout.resolution,
    )
    result_data = result.to_dict()
    return {
        **make_weights_metadata(info),
        META_FINETUNED_ON: result.source,
        META_FINETUNED_FINGERPRINTS: " ".join(compute_source_fingerprint(source) for source in inputs.sources),
        "started_from": job.start.name,
        "started_from_sha256": job.start.digest if job.start.name != RANDOM_START else "",
        "iterations": str(len(trained.losses)),
        "loss": f"{result_data['loss_last']:.5f}",
        "recipe": json.dumps(job.recipe.to_dict()),
        "figures": json.dumps({name: result_data[name] for name in ("view", "before", "after")}),
        "held_out": str(trained.held_out_count),
        KEY_FIELD: key,
    }


def _read_kept_result(output: Path, key: str) -> FinetuneResult:
    metadata: Mapping[str, str] = read_result_metadata(output, KEY_FIELD, key, "source, start or recipe")
    return FinetuneResult(
        output, "kept", metadata.get("licence", "unknown"), iterations=int(metadata.get("iterations", "0"))
    )


def _remove_run_files(folder: Path) -> None:
    """Remove the state of a run, and its folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for name in (STATE_FILE, FACES_FILE):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _make_source_stem(path: str) -> str:
    return make_file_stem(Path(path).stem, "source")
