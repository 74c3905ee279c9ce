"""Measures the faces of the source, which identity is compared with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fsgan_core.clips.inputs import ClipInput, check_rgb
from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB
from fsgan_core.evaluation.metrics import (
    MAX_SOURCE_FRAMES,
)
from fsgan_core.faces.measure import MEASURE_VERSION, FaceGauge, MeasuredFace
from fsgan_core.plates.colour import ColourConfig
from fsgan_core.runtime.arrays import Descriptor, Vector
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.sampling import sample_evenly

log = logging.getLogger(__name__)

SAME_PERSON_DISTANCE = 0.6
"""dlib's own limit for two descriptors of one person; source frames farther from the others are left out."""


def measure_source_descriptors(
    sources: Sequence[ClipInput],
    config: ColourConfig,
    folder: Path | None,
    on_event: EventListener = ignore_event,
    most: int = MAX_SOURCE_FRAMES,
) -> list[Descriptor]:
    """Measures the source's face in up to `most` frames, evenly spread over all clips in turn.

    The largest face of each frame counts, if it is the same person as in most frames. Frames whose measurement is
    cached are not read again.

    Returns:
        dlib's descriptors, (128,) each.
    """
    frames = [(source, frame) for source in sources for frame in source.sequence.frames]
    chosen = [frames[index] for index in sample_evenly(len(frames), most)]
    descriptors: list[Descriptor] = []
    for done, (source, frame) in enumerate(chosen, start=1):
        on_event(Event("evaluate", source.name, done, len(chosen), frame))
        try:
            face = measure_source_face(source, frame, config, folder)
        except PlateError as error:
            log.info("source frame %d is not measured: %s", frame, error)
            continue
        if face is not None:
            descriptors.append(face.descriptor)
    if not descriptors:
        return []
    distances = np.linalg.norm(np.array(descriptors)[:, None] - np.array(descriptors)[None], axis=2)
    most_typical = int(np.median(distances, axis=1).argmin())
    return [
        descriptor
        for descriptor, distance in zip(descriptors, distances[most_typical], strict=True)
        if distance < SAME_PERSON_DISTANCE
    ]


def measure_source_face(
    source: ClipInput, frame: int, config: ColourConfig, folder: Path | None
) -> MeasuredFace | None:
    """Measures the largest face of a source frame; None if there is none. A cached measurement reads no pixels."""

    def measure() -> Vector:
        plate = source.sequence.read(frame)
        check_rgb(plate, str(source.sequence.get_frame_path(frame)))
        pixels = config.to_srgb8(plate.get(*RGB), source.space)
        face = FaceGauge(None, plate.pixel_aspect).follow(pixels)
        return np.zeros(0) if face is None else face.packed_values

    key = compute_digest(
        "source",
        MEASURE_VERSION,
        source.sequence.compute_fingerprint(frame),
        source.space,
        config.compute_digest(source.space),
    )
    values = FaceGauge(folder).recall_or_measure(key, measure)
    return MeasuredFace.unpack(values) if len(values) else None
