"""Weights that were fine-tuned on a source carry that source's fingerprints; with another source they are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsgan_core.clips.inputs import ClipInput
from fsgan_core.clips.tracks import select_source_frames
from fsgan_core.runtime.cache import compute_digest

__all__ = ["META_FINETUNED_FINGERPRINTS", "META_FINETUNED_ON", "compute_source_fingerprint", "describe_foreign_sources"]

# In the metadata of a weights file.
META_FINETUNED_ON = "finetuned_on"
META_FINETUNED_FINGERPRINTS = "finetuned_on_fingerprints"


def compute_source_fingerprint(source: ClipInput) -> str:
    """Digest of a source clip's content, the same on every machine, wherever the files are. Raises PlateError."""
    frames = select_source_frames(source.sequence.frames)
    return compute_digest("source", list(frames), [source.sequence.compute_fingerprint(frame) for frame in frames])


def describe_foreign_sources(weights: Path, sources: Sequence[ClipInput]) -> str:
    """What a person should know when weights fine-tuned on one source are used with another; "" where all is well.

    Raises WeightsError (unreadable weights), PlateError.
    """
    from fsgan_core.networks.weights.safetensors_header import read_safetensors_header

    said = read_safetensors_header(weights).metadata
    own = said.get(META_FINETUNED_FINGERPRINTS, "").split()
    others = [source.name for source in sources if own and compute_source_fingerprint(source) not in own]
    if not others:
        return ""
    whom = said.get(META_FINETUNED_ON, "another source")
    return (
        f"the reenactment weights {weights.name} were fine-tuned on {whom}, not on {', '.join(others)}: the face "
        "will look like a mixture; fine-tune on this source, or name other weights with reenact.network"
    )
