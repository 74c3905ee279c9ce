"""`fsgan finetune`, and the fine-tuning that `fsgan swap --finetune` does first."""

from __future__ import annotations

import argparse
import contextlib
import logging
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.cli.arguments import make_source_clips, make_stages
from fsgan_core.cli.trained import IterationReporter, read_kept_metadata
from fsgan_core.contract.errors import InputError, WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.shot import Clip, Shot, Stages

if TYPE_CHECKING:
    from torch import nn

    from fsgan_core.cli.present import Presenter
    from fsgan_core.clips.inputs import JobInputs
    from fsgan_core.runtime.events import EventListener
    from fsgan_core.training.data.face_crops import ClipFaces, FaceLayout
    from fsgan_core.training.finetune_loop import FinetunedGenerator
    from fsgan_core.training.recipe import Recipe

__all__ = ["DESCRIPTION", "add_flags", "add_swap_flags", "finetune_shot", "run_finetune"]

log = logging.getLogger(__name__)

DESCRIPTION = """\
Teaches the reenactment network one person: pairs of frames of the source clip, the one shown with the
landmarks of the other, the other wanted. Starts from installed weights, or from random ones.

  fsgan finetune --source anna.mov -o anna.safetensors
  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr \\
             --set reenact.network=anna.safetensors

A run that was killed goes on when it is started again. See docs/finetune.md.
"""

RANDOM_START = "random"
# Part of every key: to be raised when the same settings would give other weights.
METHOD_VERSION = 2


@dataclass(frozen=True)
class TrainingStart:
    """What a run starts from. name, digest: of the weights, or "random" and the architecture. network: makes it."""

    name: str
    digest: str
    arch: str
    layout: FaceLayout
    prewarp: bool
    licence: str
    make_network: Callable[[], nn.Module]


@dataclass(frozen=True)
class FinetuneJob:
    """A run, as asked for. licence: class of the footage. preview: folder, or None."""

    sources: tuple[Clip, ...]
    stages: Stages
    start: TrainingStart
    recipe: Recipe
    licence: str = "unknown"
    preview: Path | None = None
    preview_every: int = 100
    device: str = "cpu"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that are this command's own; those of the source, of work and of talk are shared."""
    group = parser.add_argument_group("start")
    group.add_argument(
        "--network",
        metavar="NAME",
        default="",
        help="weights to start from: a name from `fsgan weights list`, or a file; empty: the best "
        "reenactment weights installed",
    )
    group.add_argument("--from-scratch", action="store_true", help="start from random weights")
    group.add_argument(
        "--ngf",
        metavar="N",
        type=int,
        default=32,
        help="width of the network, with --from-scratch (published: 128; default: 32)",
    )
    group.add_argument(
        "--resolution",
        metavar="PIXELS",
        type=int,
        default=0,
        help="side of the square that the network sees, a multiple of 32; default: that of the weights, "
        "256 with --from-scratch",
    )
    group = parser.add_argument_group("recipe")
    group.add_argument("--iterations", metavar="N", type=int, default=800, help="default: 800, the authors'")
    group.add_argument("--batch", metavar="N", type=int, default=3, help="pairs in an iteration (default: 3)")
    group.add_argument("--rate", metavar="R", type=float, default=1e-4, help="learning rate (default: 0.0001)")
    group.add_argument(
        "--prewarp",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show the network the source frame already warped to the other frame's landmarks; default: "
        "as the weights were trained, on with --from-scratch",
    )
    group.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto: bf16 where the machine computes it itself",
    )
    group.add_argument("--seed", metavar="N", type=int, default=1, help="of the order of pairs and of random weights")
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        default="",
        help="the weights to write (.safetensors); empty: named after the source, in this folder",
    )
    group.add_argument(
        "--licence",
        choices=LICENCE_CLASSES,
        default="unknown",
        help="class under which the footage may be used; the weights get the stricter of this and of "
        "what they started from",
    )
    group.add_argument(
        "--preview",
        metavar="DIR",
        default=None,
        help="folder for strips of pictures to look at; default: beside the output; none: no strips",
    )
    group.add_argument("--preview-every", metavar="N", type=int, default=100, help="iterations between them")
    group.add_argument(
        "--resume",
        action="store_true",
        help="only go on with a run that was begun (without it: go on if there is one, else begin)",
    )


def add_swap_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fine-tuning")
    group.add_argument(
        "--finetune",
        metavar="N",
        type=int,
        default=0,
        help="first teach the reenactment network this source, N iterations (800 is the authors'); the "
        "weights are kept in the cache",
    )
    group.add_argument(
        "--finetune-licence",
        choices=LICENCE_CLASSES,
        default="unknown",
        help="class under which the source's footage may be used",
    )


def run_finetune(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.runtime.device import choose_device
    from fsgan_core.training.recipe import Recipe

    stages = make_stages(options)
    sources = make_source_clips(options)
    output = Path(options.output or f"{_make_file_stem(sources[0].path)}_finetuned.safetensors").expanduser()
    if output.suffix != ".safetensors":
        raise InputError(f"the weights {output} must be called .safetensors")
    if options.preview_every < 1:
        raise InputError("--preview-every must be at least 1")
    start = _choose_start(options, stages)
    prewarp = start.prewarp if options.prewarp is None else options.prewarp
    recipe = Recipe(
        iterations=options.iterations,
        batch=options.batch,
        rate=options.rate,
        prewarp=prewarp,
        precision=options.precision,
        seed=options.seed,
    )
    preview = Path(options.preview) if options.preview else output.with_name(f"{output.stem}_preview")
    job = FinetuneJob(
        sources,
        stages,
        start,
        recipe,
        options.licence,
        None if options.preview == "none" else preview,
        options.preview_every,
        choose_device(options.device),
    )
    if start.name == RANDOM_START:
        log.warning("the network starts from random weights: it will know nothing but this source")
    facts = run_finetune_job(job, output, presenter.on_event, force=options.force, only_resume=options.resume)
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **facts})
    else:
        for line in describe_result(facts):
            presenter.print_line(line)
    return 0


def describe_result(facts: Mapping[str, Any]) -> list[str]:
    """The result for people."""
    if facts["state"] == "kept":
        return [f"finetune: {facts['output']} is already the result of this; kept"]
    lines = [
        f"finetune: {facts['iterations']} iterations on {facts['source']} from {facts['start']}; {facts['output']}",
        f"  loss {facts['loss_first']:.4f} -> {facts['loss_last']:.4f}; {facts['seconds']:.0f} s on "
        f"{facts['device']} in {facts['precision']}; licence class {facts['licence']}",
    ]
    where = f"{facts['held_out']} held-out frames" if facts["held_out"] else "training frames (too few to hold any out)"
    shown = "the warped view" if facts["prewarp"] else "the view"
    for name, what in (("view", shown), ("before", "network before"), ("after", "network after")):
        identity = facts[name]["identity"]
        lines.append(
            f"  {what}, on {where}: L1 {facts[name]['l1']:.4f}, PSNR {facts[name]['psnr']:.2f} dB"
            + ("" if identity is None else f", identity distance {identity:.3f}")
        )
    return lines


def finetune_shot(
    shot: Shot, iterations: int, licence: str, device: str, on_event: EventListener, output: Path | None = None
) -> Shot:
    """The shot with weights fine-tuned on its sources: those of the cache, or made now. output: the file of the
    weights, in place of one in the cache.

    The start is reenact.network, else the best weights installed. Raises InputError (the engine does not use them),
    WeightsError (nothing to start from), and what training raises.
    """
    from fsgan_core.runtime.cache import get_cache_folder
    from fsgan_core.training.recipe import Recipe

    reenact = shot.stages.reenact
    if reenact.engine not in ("auto", "fsgan"):
        raise InputError(f"--finetune trains the engine fsgan, and reenact.engine = {reenact.engine}")
    recipe = Recipe(iterations=iterations)
    start = _start_from_weights(reenact.network, shot.stages, 0)
    recipe = replace(recipe, prewarp={"on": True, "off": False}.get(reenact.prewarp, start.prewarp))
    job = FinetuneJob(shot.source, shot.stages, start, recipe, licence, device=device)
    inputs = _open_job_inputs(job)
    name = f"{_make_file_stem(shot.source[0].path)}-{_compute_key(job, inputs)[:16]}.safetensors"
    output = output or get_cache_folder() / "finetuned" / name
    facts = run_finetune_job(job, output, on_event, inputs=inputs)
    log.info("fine-tuned weights: %s (%s)", output, facts["state"])
    chosen = reenact.replace(network=str(output), resolution=start.layout.resolution)
    return replace(shot, stages=replace(shot.stages, reenact=chosen))


def run_finetune_job(
    job: FinetuneJob,
    output: Path,
    on_event: EventListener,
    *,
    force: bool = False,
    only_resume: bool = False,
    inputs: JobInputs | None = None,
) -> dict[str, Any]:
    """Does the job, unless `output` is its result already; the facts, as plain data for JSON.

    Raises InputError (something else lies at `output`; nothing to resume), NoFaceError, WeightsError, OutputError.
    """
    from fsgan_core.networks.weights.checkpoint import write_checkpoint
    from fsgan_core.runtime.events import Event
    from fsgan_core.training.data.face_crops import collect_faces, load_faces, save_faces
    from fsgan_core.training.finetune_loop import STATE_FILE, finetune_generator
    from fsgan_core.training.losses import prepare_vgg_features

    inputs = inputs or _open_job_inputs(job)
    key = _compute_key(job, inputs)
    if output.exists() and not force:
        return _read_kept_facts(output, key)
    work = output.with_name(f"{output.name}.run")
    if only_resume and not (work / STATE_FILE).is_file():
        raise InputError(f"there is no run to go on with at {work}; start it without --resume")
    if force:
        _remove_run_files(work)
    start = time.perf_counter()
    clips = _track_clip_faces(inputs, on_event)
    faces_key = _compute_faces_key(key, clips)
    faces = load_faces(work / FACES_FILE, faces_key)
    if faces is None:
        subject = ", ".join(clip.name for clip in clips)
        faces = collect_faces(
            clips, job.start.layout, lambda done, total: on_event(Event("collect", subject, done, total))
        )
        save_faces(work / FACES_FILE, faces, faces_key)
    from fsgan_core.networks.weights.checkpoint import load_network

    vggs = {role: prepare_vgg_features(load_network(found.path), job.device) for role, found in _find_vggs(job).items()}
    network = job.start.make_network()
    told = IterationReporter(on_event, ", ".join(source.name for source in inputs.sources))
    outcome = finetune_generator(
        faces,
        network,
        job.recipe,
        folder=work,
        key=faces_key,
        vggs=vggs,
        device=job.device,
        preview=job.preview,
        preview_every=job.preview_every,
        on_progress=lambda step: told(step.done, step.total, step.loss),
    )
    facts = _collect_facts(job, inputs, outcome, output, time.perf_counter() - start)
    metadata = _make_metadata(job, inputs, outcome, facts, key, output)
    write_checkpoint(output, job.start.arch, outcome.generator.state_dict(), metadata)
    _remove_run_files(work)
    return facts


FACES_FILE = "faces.npz"


def _choose_start(options: Namespace, stages: Stages) -> TrainingStart:
    if options.from_scratch and options.network:
        raise InputError("--network names weights to start from, --from-scratch is without any: give one of them")
    if options.from_scratch:
        return _start_from_random(options.ngf, options.resolution or 256, options.seed)
    return _start_from_weights(options.network, stages, options.resolution)


def _start_from_random(ngf: int, resolution: int, seed: int) -> TrainingStart:
    from fsgan_core.networks import parse_architecture
    from fsgan_core.training.data.face_crops import FaceLayout
    from fsgan_core.training.trainer import build_seeded_network

    layout = FaceLayout(resolution)
    arch = f"res_unet.MultiScaleResUNet(in_nc={3 + layout.landmarks},out_nc=3,flat_layers=(2,2,2,2),ngf={ngf})"
    parse_architecture(arch)
    return TrainingStart(
        RANDOM_START, arch, arch, layout, True, LICENCE_CLASSES[0], lambda: build_seeded_network(arch, seed)
    )


def _start_from_weights(name: str, stages: Stages, resolution: int) -> TrainingStart:
    from fsgan_core.networks.weights.catalogue import find_weights
    from fsgan_core.training.data.face_crops import FaceLayout

    try:
        found = find_weights("reenact", name, stages.weights.allow)
    except WeightsError as error:
        raise WeightsError(f"{error}. To start from random weights instead: fsgan finetune --from-scratch") from error
    weight = found.info
    layout = FaceLayout(resolution or weight.resolution, weight.crop, weight.landmarks or 68)

    def load_start_network() -> nn.Module:
        from fsgan_core.networks.weights.checkpoint import load_network

        return load_network(found.path)

    return TrainingStart(
        weight.name, found.sha256, weight.arch, layout, weight.prewarp, weight.licence, load_start_network
    )


def _find_vggs(job: FinetuneJob) -> dict[str, Any]:
    """Installed and allowed VGGs for the perceptual loss, by role."""
    from fsgan_core.networks.weights.catalogue import find_best_weights

    found = {"identity": find_best_weights("identity", job.stages.weights.allow)}
    return {role: weights for role, weights in found.items() if weights is not None}


def _open_job_inputs(job: FinetuneJob) -> JobInputs:
    from fsgan_core.clips.inputs import open_inputs

    return open_inputs(job.sources, job.sources[0], job.stages, device=job.device)


def _compute_key(job: FinetuneJob, inputs: JobInputs) -> str:
    """Of all that the result depends on, but the machine and the landmarks."""
    from fsgan_core.clips.finetuned import compute_source_fingerprint
    from fsgan_core.runtime.cache import compute_digest

    judges = {role: found.sha256 for role, found in _find_vggs(job).items()}
    return compute_digest(
        "finetune",
        METHOD_VERSION,
        [compute_source_fingerprint(source) for source in inputs.sources],
        [source.space for source in inputs.sources],
        [source.clip.person for source in inputs.sources],
        job.start.digest,
        job.start.layout,
        job.recipe.to_dict(),
        judges,
    )


def _compute_faces_key(key: str, clips: Sequence[ClipFaces]) -> str:
    """Of a run in the middle: also the faces themselves must be the same ones."""
    from fsgan_core.runtime.cache import compute_digest

    faces = [
        [frame, face.landmarks, list(face.box), face.origin]
        for clip in clips
        for frame, face in sorted(clip.faces.items())
    ]
    return compute_digest(key, faces)


def _track_clip_faces(inputs: JobInputs, on_event: EventListener) -> list[ClipFaces]:
    """The person of each source, analysed where the cache does not know it. Raises NoFaceError, ..."""
    from fsgan_core.clips.inputs import check_rgb
    from fsgan_core.clips.tracks import choose_person, get_clip_track, select_source_frames
    from fsgan_core.runtime.threads import limit_algebra_threads
    from fsgan_core.training.data.face_crops import ClipFaces

    def make_reader(item: Any) -> Callable[[int], Any]:
        def read_plate(frame: int) -> Any:
            plate = item.sequence.read(frame)
            check_rgb(plate, str(item.sequence.get_frame_path(frame)))
            return plate

        return read_plate

    found = []
    with limit_algebra_threads():
        for item in inputs.sources:
            track = get_clip_track(item, select_source_frames(item.sequence.frames), inputs, on_event, of_target=False)
            person = choose_person(item, track, inputs, of_target=False)
            codec = inputs.config.make_codec(item.space, track.exposure)
            found.append(ClipFaces(item.name, make_reader(item), person.faces, codec, track.pixel_aspect))
    return found


def _collect_facts(
    job: FinetuneJob, inputs: JobInputs, outcome: FinetunedGenerator, output: Path, seconds: float
) -> dict[str, Any]:
    losses = outcome.losses
    some = max(1, min(50, len(losses) // 10))
    licence = max((job.start.licence, job.licence), key=LICENCE_CLASSES.index)
    return {
        "command": "finetune",
        "output": str(output),
        "state": "trained",
        "source": ", ".join(source.name for source in inputs.sources),
        "start": job.start.name,
        "iterations": job.recipe.iterations,
        "resumed": outcome.resumed_iterations,
        "prewarp": job.recipe.prewarp,
        "resolution": job.start.layout.resolution,
        "loss_first": round(float(losses[:some].mean()), 5),
        "loss_last": round(float(losses[-some:].mean()), 5),
        "held_out": outcome.held_out_count,
        "view": outcome.view_figures.to_dict(),
        "before": outcome.figures_before.to_dict(),
        "after": outcome.figures_after.to_dict(),
        "seconds": round(seconds, 1),
        "device": job.device,
        "precision": outcome.precision,
        "licence": licence,
    }


def _make_metadata(
    job: FinetuneJob, inputs: JobInputs, outcome: FinetunedGenerator, facts: Mapping[str, Any], key: str, output: Path
) -> dict[str, str]:
    """What the weights say of themselves: as any weights do, and how they came to be."""
    import json

    from fsgan_core.clips.finetuned import META_FINETUNED_FINGERPRINTS, META_FINETUNED_ON, compute_source_fingerprint
    from fsgan_core.contract.version import __version__
    from fsgan_core.networks.weights.catalogue import WeightsInfo, make_weights_metadata

    layout = job.start.layout
    note = f"Fine-tuned on {facts['source']} from {job.start.name} by fsgan {__version__}; for this source."
    weight = WeightsInfo(
        name=output.stem,
        role="reenact",
        arch=job.start.arch,
        landmarks=layout.landmarks,
        crop=layout.crop,
        licence=facts["licence"],
        note=note,
        prewarp=job.recipe.prewarp,
        resolution=layout.resolution,
    )
    figures = {name: facts[name] for name in ("view", "before", "after")}
    return {
        **make_weights_metadata(weight),
        META_FINETUNED_ON: facts["source"],
        META_FINETUNED_FINGERPRINTS: " ".join(compute_source_fingerprint(source) for source in inputs.sources),
        "started_from": job.start.name,
        "started_from_sha256": job.start.digest if job.start.name != RANDOM_START else "",
        "iterations": str(len(outcome.losses)),
        "loss": f"{facts['loss_last']:.5f}",
        "recipe": json.dumps(job.recipe.to_dict()),
        "figures": json.dumps(figures),
        "held_out": str(outcome.held_out_count),
        KEY_FIELD: key,
    }


KEY_FIELD = "finetune_key"


def _read_kept_facts(output: Path, key: str) -> dict[str, Any]:
    """The facts of a result that is there. Raises InputError when it is something else."""
    said = read_kept_metadata(output, KEY_FIELD, key, "source, start or recipe")
    return {
        "command": "finetune",
        "output": str(output),
        "state": "kept",
        "licence": said.get("licence", "unknown"),
        "iterations": int(said.get("iterations", "0")),
    }


def _remove_run_files(work: Path) -> None:
    """The files of a run; the folder only where nothing else is in it."""
    from fsgan_core.training.finetune_loop import STATE_FILE

    with contextlib.suppress(OSError):
        for name in (STATE_FILE, FACES_FILE):
            (work / name).unlink(missing_ok=True)
        work.rmdir()


def _make_file_stem(path: str) -> str:
    """A clip's path as a file's stem."""
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in Path(path).stem).strip("_")
    return kept or "source"
