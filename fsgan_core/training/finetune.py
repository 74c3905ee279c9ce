"""Fine-tune the reenactment network on a source: from clips to a weights file that a swap can use."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fsgan_core.clips.inputs import JobInputs
from fsgan_core.clips.tracks import select_source_frames
from fsgan_core.contract.consent import check_consent, describe_consent
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import Clip, Shot, Stages
from fsgan_core.networks.weights.checkpoint import load_network, write_checkpoint
from fsgan_core.runtime.cache import get_cache_folder
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.runtime.user_paths import expand_home
from fsgan_core.training.data.face_crops import FaceSet, collect_faces, load_faces, save_faces
from fsgan_core.training.finetune_job import (
    FinetuneJob,
    compute_faces_key,
    compute_finetune_key,
    find_vggs,
    list_clips,
    open_job_inputs,
    start_from_random,
    start_from_weights,
)
from fsgan_core.training.finetune_loop import finetune_generator
from fsgan_core.training.finetune_result import (
    FinetuneResult,
    make_finetune_metadata,
    make_finetune_result,
    read_kept_result,
)
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
)

__all__ = ["finetune_network", "finetune_shot", "make_default_output"]
log = logging.getLogger(__name__)
RANDOM_RESOLUTION = 256  # pixels, of a network that starts from random weights
DEFAULT_WIDTH = 32  # channels of the first layer (ngf); the published network has 128
FACES_FILE = "faces.npz"


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
        ConsentError: The studio requires the person's release, and there is none that is valid today.
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
    _check_release(stages)
    if from_scratch:
        start = start_from_random(width, resolution or RANDOM_RESOLUTION, seed)
    else:
        start = start_from_weights(network, stages.weights.allow, resolution)
    recipe = Recipe(
        iterations=iterations,
        batch=batch,
        rate=rate,
        prewarp=start.prewarp if prewarp is None else prewarp,
        precision=precision,
        seed=seed,
    )
    job = FinetuneJob(
        sources=list_clips(source),
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
    return _run_job(job, path, open_job_inputs(job), on_event, force=force, only_resume=only_resume)


def _check_release(stages: Stages) -> None:
    """Learning a person's face needs the release, too."""
    expired = check_consent(stages.consent)
    if expired:
        log.warning("%s", expired)


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
        ConsentError: The studio requires the person's release, and there is none that is valid today.
        InputError: The shot's engine does not use these weights, or a setting is wrong.
        WeightsError: There are no weights to start from.
        NoFaceError: The source shows the face in fewer than two frames.
        OutputError: The weights or the run's state cannot be written.
    """
    reenact = shot.stages.reenact
    if reenact.engine not in ("auto", "fsgan"):
        raise InputError(f"--finetune trains the network of the engine fsgan, but reenact.engine = {reenact.engine}")
    _check_release(shot.stages)
    Recipe(iterations=iterations)  # checks the number before weights are looked for
    start = start_from_weights(reenact.network, shot.stages.weights.allow, 0)
    recipe = Recipe(iterations=iterations, prewarp={"on": True, "off": False}.get(reenact.prewarp, start.prewarp))
    job = FinetuneJob(shot.source, shot.stages, start, recipe, licence, choose_device(device))
    inputs = open_job_inputs(job)
    if output is None:
        name = f"{_make_source_stem(shot.source[0].path)}-{compute_finetune_key(job, inputs)[:16]}{WEIGHTS_SUFFIX}"
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


def _run_job(
    job: FinetuneJob,
    output: Path,
    inputs: JobInputs,
    on_event: EventListener,
    *,
    force: bool = False,
    only_resume: bool = False,
) -> FinetuneResult:
    key = compute_finetune_key(job, inputs)
    if output.exists() and not force:
        return read_kept_result(output, key)
    folder = get_run_folder(output)
    if only_resume and not (folder / STATE_FILE).is_file():
        raise InputError(f"there is no run to continue in {folder}; start it without --resume")
    if force:
        _remove_run_files(folder)
    start = time.perf_counter()
    faces, faces_key = _get_faces(job, inputs, key, folder, on_event)
    vggs = {
        role: prepare_vgg_features(load_network(installed.path), job.device)
        for role, installed in find_vggs(job).items()
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
        consent=describe_consent(job.stages.consent),
        on_progress=lambda step: report_iteration(step.done, step.total, step.loss),
    )
    result = make_finetune_result(job, inputs, trained, output, time.perf_counter() - start)
    metadata = make_finetune_metadata(job, inputs, trained, result, key)
    write_checkpoint(output, job.start.arch, trained.generator.state_dict(), metadata)
    _remove_run_files(folder)
    return result


def _get_faces(
    job: FinetuneJob, inputs: JobInputs, key: str, folder: Path, on_event: EventListener
) -> tuple[FaceSet, str]:
    """Return the faces of the sources, those of an interrupted run if they are the same, and their key."""
    with limit_algebra_threads():
        clips = [
            make_clip_faces(item, select_source_frames(item.sequence.frames), inputs, on_event)
            for item in inputs.sources
        ]
    faces_key = compute_faces_key(key, clips)
    faces = load_faces(folder / FACES_FILE, faces_key)
    if faces is None:
        subject = ", ".join(clip.name for clip in clips)
        faces = collect_faces(
            clips, job.start.layout, lambda done, total: on_event(Event("collect", subject, done, total))
        )
        save_faces(folder / FACES_FILE, faces, faces_key)
    return faces, faces_key


def _remove_run_files(folder: Path) -> None:
    """Remove the state of a run, and its folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for name in (STATE_FILE, FACES_FILE):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _make_source_stem(path: str) -> str:
    return make_file_stem(Path(path).stem, "source")
