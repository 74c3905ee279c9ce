"""Weights that were fine-tuned on a source carry that source's fingerprints; with another source they are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsgan_core.clips.inputs import Input
from fsgan_core.clips.tracks import source_frames
from fsgan_core.runtime.cache import digest

__all__ = ["META_FINGERPRINTS", "META_SOURCES", "foreign_sources", "source_fingerprint"]

# In the metadata of a weights file.
META_SOURCES = "finetuned_on"
META_FINGERPRINTS = "finetuned_on_fingerprints"


def source_fingerprint(source: Input) -> str:
    """Digest of a source clip's content, the same on every machine, wherever the files are. Raises PlateError."""
    frames = source_frames(source.sequence.frames)
    return digest("source", list(frames), [source.sequence.fingerprint(frame) for frame in frames])


def foreign_sources(weights: Path, sources: Sequence[Input]) -> str:
    """What a person should know when weights fine-tuned on one source are used with another; "" where all is well.

    Raises WeightsError (unreadable weights), PlateError.
    """
    from fsgan_core.networks.weights.safetensors_header import read_header

    said = read_header(weights).metadata
    own = said.get(META_FINGERPRINTS, "").split()
    others = [source.name for source in sources if own and source_fingerprint(source) not in own]
    if not others:
        return ""
    whom = said.get(META_SOURCES, "another source")
    return (f"the reenactment weights {weights.name} were fine-tuned on {whom}, not on {', '.join(others)}: the face "
            "will look like a mixture; fine-tune on this source, or name other weights with reenact.network")
