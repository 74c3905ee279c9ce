"""Measures a result against its target and source, from files: `fsgan evaluate`.

Everything is read by this project's own readers, so that target and result are decoded alike (two decoders of one
movie differ by 1 to 3 of 255). Frames are matched by number. A result's metadata says which colour space it is in,
where its face is and, with all layers, which matte was used. For measuring, every picture is converted to 8-bit sRGB
without exposure or tone curve. Whether pixels outside the matte are untouched is tested on the file's own values.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.errors import FrameRangeError, NoFaceError
from fsgan_core.contract.shot import ClipLike, to_clip, to_clips
from fsgan_core.evaluation.clip_pair import HULL_MATTE, ClipPair
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.evaluation.frame_metrics import compute_metrics
from fsgan_core.evaluation.measure_pair import PairMeasurer
from fsgan_core.evaluation.metric_limits import EXTRA_METRIC_NAMES, METRIC_NAMES
from fsgan_core.evaluation.metrics import (
    OUTSIDE_MARGIN,
)
from fsgan_core.evaluation.source_faces import measure_source_descriptors
from fsgan_core.faces.measure import FaceGauge
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.movies.movie import DEINTERLACE
from fsgan_core.plates.sequence import format_frames, select_frames
from fsgan_core.runtime.cache import get_cache_folder
from fsgan_core.runtime.events import EventListener, ignore_event

__all__ = ["evaluate"]
log = logging.getLogger(__name__)
_UNCHANGED_SHARE = 1e-3  # of the face's pixels; half floats may move a very saturated one by more than a step of 255


def evaluate(
    source: ClipLike | Sequence[ClipLike],
    target: ClipLike,
    result: ClipLike,
    frames: str = "",
    *,
    offset: int = 0,
    matte: ClipLike | None = None,
    config: ColourConfig | None = None,
    exposure: float = 0.0,
    interlaced: str = DEINTERLACE,
    seconds: Mapping[int, float] | None = None,
    cache: Path | None = None,
    keep: bool = True,
    on_event: EventListener = ignore_event,
) -> Evaluation:
    """Measures `result` against `target` and the person in `source`.

    Args:
        source: Clip or clips of the person whose face was wanted.
        target: The clip that was changed.
        result: The clip with the new face.
        frames: Frames of the target, like "1001-1060"; empty takes all that both clips have.
        offset: The result's frame number minus the target's.
        matte: Its alpha or first channel is above 0 where pixels may have changed. None takes the layer matte.soft of
            the result, else the face's hull and a margin.
        config: OCIO config; None takes the usual one.
        exposure: Stops, on target and result alike, for plates too dark or bright to find a face in.
        interlaced: What becomes of interlaced frames of a movie, as in the render: "deinterlace" or "keep".
        seconds: Render time of each frame of the result, by its number (`report.write.read_frame_seconds`).
        cache: Folder for measured faces; None takes the user's.
        keep: False keeps measured faces in memory only.
        on_event: Called with progress.

    Raises:
        FrameRangeError: The clips have no common frames.
        PlateError: A frame is unreadable, or the sizes differ.
        ColourError: A colour space is unknown.
        NoFaceError: No source frame shows a face.
    """
    start = time.perf_counter()
    config = open_config() if config is None else config
    clips, target, result = to_clips(source), to_clip(target), to_clip(result)
    opened = tuple(open_input(clip, config, interlaced=interlaced) for clip in clips)
    pair = ClipPair(
        open_input(target, config, interlaced=interlaced),
        open_input(result, config, interlaced=interlaced),
        offset,
        open_input(to_clip(matte), config, interlaced=interlaced) if matte is not None else None,
        config,
        exposure,
    )
    chosen = _match_frames(frames, pair)
    folder = (cache or get_cache_folder() / "measured") if keep else None
    descriptors = measure_source_descriptors(opened, config, folder, on_event)
    if not descriptors:
        raise NoFaceError(
            f"no face was found in {', '.join(clip.path for clip in clips)}; identity is measured "
            "against the source's face, so name frames that show it"
        )
    aspect = pair.target.sequence.read_header(chosen[0]).pixel_aspect
    measurer = PairMeasurer(pair, FaceGauge(folder, aspect), chosen, seconds or {}, on_event)
    step = min((b - a for a, b in pairwise(chosen)), default=1)
    rows = [row for _, row in compute_metrics(measurer.measure_pairs(), descriptors, step)]
    values = {name: np.array([row[name] for row in rows]) for name in (*METRIC_NAMES, *EXTRA_METRIC_NAMES)}
    unchanged = tuple(frame for frame, row in zip(chosen, rows, strict=True) if row["replaced"] <= _UNCHANGED_SHARE)
    return Evaluation(
        source=tuple(clip.path for clip in clips),
        target=target.path,
        result=result.path,
        frames=chosen,
        metrics=values,
        source_faces=len(descriptors),
        matte=pair.matte_text,
        exact=pair.is_exact,
        lost=tuple(measurer.lost),
        target_lost=tuple(measurer.target_lost),
        unchanged=unchanged,
        notes=tuple(_collect_notes(pair, measurer, chosen, unchanged)),
        seconds=time.perf_counter() - start,
    )


def _match_frames(text: str, pair: ClipPair) -> tuple[int, ...]:
    target, result = pair.target.sequence, pair.result.sequence
    rendered = {frame - pair.offset for frame in result.frames}
    available = f"the target has {format_frames(target.frames)}, the result {format_frames(result.frames)}"
    hint = "" if pair.offset else "; if the result is numbered differently, give the offset of its numbers"
    if text.strip():
        chosen = select_frames(text, target.frames)
        missing = [frame for frame in chosen if frame not in rendered]
        if missing:
            raise FrameRangeError(
                f"the result {result.clip.path} lacks frames {format_frames(missing)}; {available}{hint}"
            )
        return chosen
    common = tuple(frame for frame in target.frames if frame in rendered)
    if not common:
        raise FrameRangeError(f"target and result have no frame in common: {available}{hint}")
    return common


def _collect_notes(
    pair: ClipPair, measurer: PairMeasurer, frames: Sequence[int], unchanged: Sequence[int]
) -> Iterator[str]:
    if len(measurer.target_lost) == len(frames):
        yield (
            "no face was found in any frame of the target: nothing could be compared; is the colour space right? "
            "Exposure brightens a dark plate for measuring"
        )
    if unchanged:
        yield f"{len(unchanged)} frames show the target's own face, pixel for pixel: {format_frames(unchanged)}"
    if pair.matte_text == HULL_MATTE:
        yield (
            "no matte was given and the result has no layer matte.soft: everything beyond the face's hull and "
            f"{OUTSIDE_MARGIN:.0%} around it counts as outside"
        )
    if not pair.is_exact:
        yield f"pixels outside the matte were compared {pair.comparison}"
    if pair.result.sequence.kind == "movie":
        yield "the result is a movie: its compression changes every pixel, and with it sharpness and flicker"
