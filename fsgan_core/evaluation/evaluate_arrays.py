"""Measures a swap on pictures in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fsgan_core.contract.errors import FrameRangeError
from fsgan_core.evaluation.frame_metrics import FramePair, compute_metrics
from fsgan_core.evaluation.metric_limits import METRIC_NAMES
from fsgan_core.evaluation.metrics import (
    MAX_SOURCE_FRAMES,
    OUTSIDE_MARGIN,
    compute_face_region,
    count_changed_outside,
    nanmean,
)
from fsgan_core.faces.measure import FaceGauge, MeasuredFace
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Matte
from fsgan_core.runtime.memory import register_cache
from fsgan_core.runtime.sampling import sample_evenly

_MAX_GAUGES = 8  # pixel aspects that measurements are remembered for


@lru_cache(maxsize=_MAX_GAUGES)
def get_shared_gauge(pixel_aspect: float = 1.0) -> FaceGauge:
    """Returns the process's own gauge, which remembers its measurements, for a pixel aspect."""
    return FaceGauge(pixel_aspect=pixel_aspect)


register_cache(get_shared_gauge.cache_clear)


def evaluate_frames(
    source_frames: Sequence[Image8],
    target_frames: Sequence[Image8],
    result_frames: Sequence[Image8],
    mattes: Sequence[Matte] | None = None,
    pixel_aspect: float = 1.0,
    gauge: FaceGauge | None = None,
) -> dict[str, Any]:
    """Measures a swap on pictures in memory. Another result of the same target is measured faster.

    Args:
        source_frames: Frames of the person whose face is wanted; up to 40, evenly spread, are measured.
        target_frames: In order.
        result_frames: The same frames with the new face, of equal size.
        mattes: One for each frame, above 0 where the picture may have changed; None takes the face's hull and a margin.
        pixel_aspect: Width of a pixel over its height, of all frames, the source's too.
        gauge: Measures the faces; None takes the process's own.

    Returns:
        {"frames": {metric: list}, "means": {metric: float}, "lost": indices without a face in the result,
        "target_lost": the same of the target}.

    Raises:
        FrameRangeError: The frames do not match in number or size.
    """
    if len(target_frames) != len(result_frames):
        raise FrameRangeError(
            f"there are {len(target_frames)} target frames and {len(result_frames)} result frames; "
            "give the same frames of both"
        )
    gauge = get_shared_gauge(pixel_aspect) if gauge is None else gauge
    sources: list[Descriptor] = []
    last: MeasuredFace | None = None
    for index in sample_evenly(len(source_frames), MAX_SOURCE_FRAMES):
        face = gauge.follow(source_frames[index], last)
        if face is not None:
            last = face
            sources.append(face.descriptor)

    def measure_pairs() -> Iterator[FramePair]:
        last: MeasuredFace | None = None
        for index, (target, result) in enumerate(zip(target_frames, result_frames, strict=True)):
            if target.shape != result.shape:
                raise FrameRangeError(
                    f"frame {index}: target {target.shape[1::-1]} and result {result.shape[1::-1]} differ in size"
                )
            face = gauge.follow(target, last)
            last = face or last
            result_face = gauge.measure_again(result, face) if face is not None else None
            matte = mattes[index] if mattes is not None else None
            allowed: AnyArray = np.zeros(target.shape[:2]) if matte is None else matte
            if matte is None and face is not None:
                allowed = compute_face_region(face.landmarks, target.shape[:2], OUTSIDE_MARGIN)
            changed = count_changed_outside(result, target, allowed)
            yield FramePair(index, target, result, face, result_face, changed, pixel_aspect, matte=matte)

    lost: list[int] = []
    target_lost: list[int] = []
    rows = list(compute_metrics(_note_lost_faces(measure_pairs(), lost, target_lost), sources))
    table = {name: [row[name] for _, row in rows] for name in (rows[0][1] if rows else METRIC_NAMES)}
    return {
        "frames": table,
        "means": {name: nanmean(values) for name, values in table.items()},
        "lost": lost,
        "target_lost": target_lost,
    }


def _note_lost_faces(frames: Iterable[FramePair], lost: list[int], target_lost: list[int]) -> Iterator[FramePair]:
    """The same frames; notes those without a face as they pass."""
    for frame in frames:
        if frame.target_face is None:
            target_lost.append(frame.number)
        elif frame.result_face is None:
            lost.append(frame.number)
        yield frame
