"""What a fine-tuning run depends on: sources, starting weights, recipe, and the key of all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.clips.finetuned import compute_source_fingerprint
from fsgan_core.clips.inputs import JobInputs, open_inputs
from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.shot import Clip, Stages
from fsgan_core.networks.architectures.build import parse_architecture
from fsgan_core.networks.weights.checkpoint import load_network
from fsgan_core.networks.weights.installed import InstalledWeights, find_best_weights, find_weights
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.training.data.face_crops import ClipFaces, FaceLayout
from fsgan_core.training.recipe import Recipe
from fsgan_core.training.trainer import build_seeded_network

if TYPE_CHECKING:
    from torch import nn

RANDOM_START = "random"
# Part of every key. Raise it when the same settings would give other weights.
METHOD_VERSION = 2


@dataclass(frozen=True)
class TrainingStart:
    """What a run starts from. digest: of the weights' content, or the architecture if they are random."""

    name: str
    digest: str
    arch: str
    layout: FaceLayout
    prewarp: bool
    licence: str
    load_network: Callable[[], nn.Module]


@dataclass(frozen=True)
class FinetuneJob:
    """Everything that a run depends on, and where its previews go."""

    sources: tuple[Clip, ...]
    stages: Stages
    start: TrainingStart
    recipe: Recipe
    licence: str
    device: str
    preview: Path | None = None
    preview_every: int = 100


def list_clips(source: str | Path | Clip | Sequence[str | Path | Clip]) -> tuple[Clip, ...]:
    """List the source clips; a path becomes a clip."""
    sources = [source] if isinstance(source, (str, Path, Clip)) else source
    return tuple(item if isinstance(item, Clip) else Clip(str(item)) for item in sources)


def start_from_random(width: int, resolution: int, seed: int) -> TrainingStart:
    """Start from random weights of a network of this width and resolution."""
    layout = FaceLayout(resolution)
    arch = f"res_unet.MultiScaleResUNet(in_nc={3 + layout.landmarks},out_nc=3,flat_layers=(2,2,2,2),ngf={width})"
    parse_architecture(arch)
    return TrainingStart(
        RANDOM_START, arch, arch, layout, True, LICENCE_CLASSES[0], lambda: build_seeded_network(arch, seed)
    )


def start_from_weights(name: str, allow: str, resolution: int) -> TrainingStart:
    """Start from installed weights. Raises WeightsError if there are none."""
    try:
        installed = find_weights("reenact", name, allow)
    except WeightsError as error:
        raise WeightsError(f"{error}. To start from random weights instead: fsgan finetune --from-scratch") from error
    weights = installed.info
    layout = FaceLayout(resolution or weights.resolution, weights.crop, weights.landmarks or 68)
    return TrainingStart(
        weights.name,
        installed.sha256,
        weights.arch,
        layout,
        weights.prewarp,
        weights.licence,
        lambda: load_network(installed.path),
    )


def find_vggs(job: FinetuneJob) -> dict[str, InstalledWeights]:
    """Return the installed and allowed networks of the perceptual loss, by role."""
    best_weights = {"identity": find_best_weights("identity", job.stages.weights.allow)}
    return {role: weights for role, weights in best_weights.items() if weights is not None}


def open_job_inputs(job: FinetuneJob) -> JobInputs:
    """Open the sources of a job."""
    return open_inputs(job.sources, job.sources[0], job.stages, device=job.device)


def compute_finetune_key(job: FinetuneJob, inputs: JobInputs) -> str:
    """Digest everything that the result depends on, except the machine and the landmarks."""
    vggs = {role: installed.sha256 for role, installed in find_vggs(job).items()}
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


def compute_faces_key(key: str, clips: Sequence[ClipFaces]) -> str:
    """Add the landmarks to the key: an interrupted run may only continue with the same faces."""
    faces = [
        [frame, face.landmarks, list(face.box), face.origin]
        for clip in clips
        for frame, face in sorted(clip.faces.items())
    ]
    return compute_digest(key, faces)
