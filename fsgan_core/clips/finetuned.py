"""Weights that were fine-tuned on a source: which source it was, and a warning if they are used with another one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsgan_core.clips.inputs import ClipInput
from fsgan_core.clips.tracks import select_source_frames
from fsgan_core.runtime.cache import compute_digest

__all__ = ["META_FINETUNED_FINGERPRINTS", "META_FINETUNED_ON", "compute_source_fingerprint", "describe_foreign_sources"]

META_FINETUNED_ON = "finetuned_on"
"""Key in the metadata of a weights file: the source's name, for people."""
META_FINETUNED_FINGERPRINTS = "finetuned_on_fingerprints"
"""Key in the metadata of a weights file: fingerprints of the source clips, separated by spaces."""


def compute_source_fingerprint(source: ClipInput) -> str:
    """Computes a digest of a source clip's content, the same on every machine, wherever the files are.

    Raises:
        PlateError: A file cannot be read.
    """
    frames = select_source_frames(source.sequence.frames)
    return compute_digest("source", list(frames), [source.sequence.compute_fingerprint(frame) for frame in frames])


def describe_foreign_sources(weights: Path, sources: Sequence[ClipInput]) -> str:
    """Describes what is wrong if weights fine-tuned on one source are used with others; "" if nothing is.

    Raises:
        WeightsError: The weights cannot be read.
        PlateError: A source cannot be read.
    """
    from fsgan_core.networks.weights.safetensors_header import read_safetensors_header

    metadata = read_safetensors_header(weights).metadata
    trained_fingerprints = metadata.get(META_FINETUNED_FINGERPRINTS, "").split()
    foreign_sources = [
        source.name
        for source in sources
        if trained_fingerprints and compute_source_fingerprint(source) not in trained_fingerprints
    ]
    if not foreign_sources:
        return ""
    trained_on = metadata.get(META_FINETUNED_ON, "another source")
    return (
        f"the reenactment weights {weights.name} were fine-tuned on {trained_on}, "
        f"not on {', '.join(foreign_sources)}: the face will look like a mixture; "
        "fine-tune on this source, or name other weights with reenact.network"
    )
