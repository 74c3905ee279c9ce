"""A sheet of a swap at full size: target, source and result in each row, with the figures that do not pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from blind_comparison import crop_square

from fsgan_core.clips.inputs import ClipInput, open_input
from fsgan_core.contract.shot import Clip
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.evaluation.metric_limits import METRICS
from fsgan_core.evaluation.source_faces import measure_source_face
from fsgan_core.evaluation.verdicts import judge_value
from fsgan_core.faces.measure import MeasuredFace
from fsgan_core.plates.colour import ColourConfig
from fsgan_core.report.contact_sheet import draw_text, make_canvas, read_before_after, write_picture
from fsgan_core.runtime.arrays import Image8
from fsgan_core.runtime.cache import get_cache_folder
from fsgan_core.runtime.sampling import sample_evenly

SHOWN_VIEWS = 8
"""Frames of the source from which the one next to the result is chosen."""


def write_look(
    source_clip: Path,
    target_clip: Path,
    found: Evaluation,
    path: Path,
    config: ColourConfig,
    source_frames: Sequence[int],
) -> None:
    """Write a PNG with a row for each of up to eight frames: target, source, result, around the face at full size."""
    target, source = (open_input(Clip(str(clip)), config) for clip in (target_clip, source_clip))
    result = open_input(Clip(found.result), config)
    views = list(measure_views(source_clip, source_frames, config))
    rows = []
    picked = [found.frames[index] for index in sample_evenly(len(found.frames), 8)]
    for look in read_before_after(target, result, picked, config):
        if look.face_box is None:
            continue
        x, y, width, height = look.face_box
        centre, side = (x + width / 2, y + height / 2), max(width, height) * 1.5
        pictures = [crop_square(look.before, centre, side), crop_square(look.after, centre, side)]
        if views:
            yaw = found.metrics["target_yaw"][found.frames.index(look.number)]
            view = min(views, key=lambda one: abs(one[1].euler[0] - yaw) if not math.isnan(yaw) else 0.0)
            pictures.insert(1, crop_view(source, view, config, pictures[0].shape[0]))
        row = np.concatenate(pictures, axis=1)
        band = make_canvas(24, row.shape[1])
        verdicts = {name: value for name, value in _describe_frame(found, look.number).items() if value}
        text = ", ".join(f"{name} {value}" for name, value in verdicts.items())
        draw_text(band, f"{look.number}: {text or 'pass'}", (6, 17), 0.45)
        rows += [band, row]
    if not rows:
        return
    width = max(row.shape[1] for row in rows)
    padded = [np.concatenate([row, make_canvas(row.shape[0], width - row.shape[1])], axis=1) for row in rows]
    write_picture(path, np.concatenate(padded))


def _describe_frame(found: Evaluation, frame: int) -> dict[str, str]:
    """The figures of a frame that do not pass, as text, by label."""
    place = found.frames.index(frame)
    values = {metric: float(found.metrics[metric.name][place]) for metric in METRICS}
    return {
        metric.label: f"{value * metric.scale:.{metric.digits}f} {metric.unit}".strip()
        for metric, value in values.items()
        if judge_value(metric, value) in ("look", "fail")
    }


def measure_views(clip: Path, frames: Sequence[int], config: ColourConfig) -> Iterable[tuple[int, MeasuredFace]]:
    source = open_input(Clip(str(clip)), config)
    available = [frame for frame in frames if frame in set(source.sequence.frames)]
    for index in sample_evenly(len(available), SHOWN_VIEWS):
        face = measure_source_face(source, available[index], config, get_cache_folder() / "measured")
        if face is not None:
            yield available[index], face


def crop_view(source: ClipInput, view: tuple[int, MeasuredFace], config: ColourConfig, side: int) -> Image8:
    """The source's face, as large as the target's."""
    frame, face = view
    look = next(iter(read_before_after(source, source, [frame], config)))
    low, high = face.mesh[:, :2].min(axis=0), face.mesh[:, :2].max(axis=0)
    crop = crop_square(look.before, tuple((low + high) / 2), float((high - low).max()) * 1.4)
    return np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
