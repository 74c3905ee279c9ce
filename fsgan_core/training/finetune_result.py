"""What a fine-tuning run did, as plain data and as metadata of the weights file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.clips.finetuned import META_FINETUNED_FINGERPRINTS, META_FINETUNED_ON, compute_source_fingerprint
from fsgan_core.clips.inputs import JobInputs
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.contract.version import __version__
from fsgan_core.networks.weights.catalogue import (
    WeightsInfo,
    make_weights_metadata,
)
from fsgan_core.training.finetune_job import RANDOM_START, FinetuneJob
from fsgan_core.training.finetune_loop import FinetunedGenerator
from fsgan_core.training.runs import (
    read_result_metadata,
)
from fsgan_core.training.validation import TrialFigures

KEY_FIELD = "finetune_key"
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


def make_finetune_result(
    job: FinetuneJob, inputs: JobInputs, trained: FinetunedGenerator, output: Path, seconds: float
) -> FinetuneResult:
    """Make the result of a run that has just been trained."""
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


def make_finetune_metadata(
    job: FinetuneJob, inputs: JobInputs, trained: FinetunedGenerator, result: FinetuneResult, key: str
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


def read_kept_result(output: Path, key: str) -> FinetuneResult:
    """Read the result of an earlier run from its weights file. Raises InputError if another run wrote it."""
    metadata: Mapping[str, str] = read_result_metadata(output, KEY_FIELD, key, "source, start or recipe")
    return FinetuneResult(
        output, "kept", metadata.get("licence", "unknown"), iterations=int(metadata.get("iterations", "0"))
    )
