"""Measures a result against its target and source, from files: `fsgan evaluate`.

Everything is read by this project's own readers, so that target and result are decoded alike (two decoders of one
movie differ by 1 to 3 of 255). Frames are matched by number. A result's metadata says which colour space it is in,
where its face is and, with all layers, which matte was used. For measuring, every picture is converted to 8-bit sRGB
without exposure or tone curve. Whether pixels outside the matte are untouched is tested on the file's own values.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import ClipInput, check_rgb, open_input
from fsgan_core.contract.errors import FrameRangeError, NoFaceError, PlateError
from fsgan_core.contract.layers import MATTE_SOFT, META_COLORSPACE, META_FACE, RGB
from fsgan_core.contract.shot import ClipLike, to_clip, to_clips
from fsgan_core.evaluation.metrics import (
    EXTRA_METRIC_NAMES,
    MAX_SOURCE_FRAMES,
    METRIC_NAMES,
    METRICS,
    OUTSIDE_MARGIN,
    FramePair,
    compute_face_region,
    compute_metrics,
    count_changed_outside,
    nanmean,
)
from fsgan_core.evaluation.verdicts import FAIL, PASS, find_worst_verdict, judge_value
from fsgan_core.faces.geometry import Box
from fsgan_core.faces.measure import MEASURE_VERSION, FaceGauge, MeasuredFace
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.plates.sequence import format_frames, select_frames
from fsgan_core.plates.stream import read_ahead
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Matte, Vector
from fsgan_core.runtime.cache import compute_digest, get_cache_folder
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.sampling import sample_evenly

__all__ = ["Evaluation", "evaluate", "measure_source_descriptors", "measure_source_face"]

log = logging.getLogger(__name__)

SAME_PERSON_DISTANCE = 0.6
"""dlib's own limit for two descriptors of one person; source frames farther from the others are left out."""
_CROP_SCALE = 3.8  # box sides; side of the part of the picture that is converted to sRGB
_MIN_CROP_SCALE = 3.25  # box sides around the face that this part must keep, so that no metric sees its border
_UNCHANGED_SHARE = 1e-3  # of the face's pixels; half floats may move a very saturated one by more than a step of 255
_MOVIE_TOLERANCE = 0.5 / 255.0  # half an 8-bit step: a movie's own rounding
_CONVERTED_TOLERANCE = (2.0**-9, 1e-5)  # share of the value, plus a constant: two steps of half float


@dataclass(frozen=True)
class Evaluation:
    """The measurements of a result.

    Attributes:
        source: Paths of the source clips.
        target: Path of the target.
        result: Path of the result.
        frames: Frame numbers of the target.
        metrics: float64, one value for each frame, by name (METRIC_NAMES and EXTRA_METRIC_NAMES of `metrics`); NaN
            where
            it could not be measured.
        source_faces: How many source frames identity was compared with.
        matte: What decided where "outside" begins.
        exact: The outside was compared on the file's own values.
        lost: Frames with a face in the target and none in the result.
        target_lost: Frames without a face in the target.
        unchanged: Frames whose face equals the target's in every pixel.
        notes: Remarks for people.
        seconds: How long the evaluation took.
        means: Mean of each metric over the frames that have it.
    """

    source: tuple[str, ...]
    target: str
    result: str
    frames: tuple[int, ...]
    metrics: Mapping[str, Vector]
    source_faces: int
    matte: str
    exact: bool
    lost: tuple[int, ...] = ()
    target_lost: tuple[int, ...] = ()
    unchanged: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    means: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "means", {name: nanmean(values) for name, values in self.metrics.items()})

    @property
    def outside_total(self) -> int:
        """Pixels changed outside the matte, over all frames."""
        return int(np.nansum(self.metrics["outside"]))

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict on each mean that has a limit, by name, and on the lost faces ("lost")."""
        found = {metric.name: judge_value(metric, self.means[metric.name]) for metric in METRICS}
        found["outside"] = FAIL if self.outside_total else found["outside"]
        found["lost"] = FAIL if self.lost else PASS
        return {name: verdict for name, verdict in found.items() if verdict}

    @property
    def verdict(self) -> str:
        """The worst of the verdicts."""
        return find_worst_verdict(self.verdicts.values())

    def judge_frame(self, frame: int) -> str:
        """Returns the worst verdict on the figures of a frame; "" if the target shows no face in it."""
        if frame in self.target_lost:
            return ""
        if frame in self.lost:
            return FAIL
        place = self.frames.index(frame)
        return find_worst_verdict(judge_value(metric, float(self.metrics[metric.name][place])) for metric in METRICS)

    def find_worst_frame(self, name: str, *, high: bool = True) -> int | None:
        """Finds the frame with the highest (or lowest) value of a metric; None if no frame has it."""
        values = self.metrics[name]
        if np.isnan(values).all():
            return None
        return self.frames[int(np.nanargmax(values) if high else np.nanargmin(values))]

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data for JSON; a value that could not be measured is None."""
        return {
            "source": list(self.source),
            "target": self.target,
            "result": self.result,
            "frames": list(self.frames),
            "verdict": self.verdict,
            "verdicts": self.verdicts,
            "frame_verdicts": [self.judge_frame(frame) for frame in self.frames],
            "source_faces": self.source_faces,
            "matte": self.matte,
            "exact": self.exact,
            "means": {name: _to_json_number(value) for name, value in self.means.items()},
            "outside_total": self.outside_total,
            "lost": list(self.lost),
            "target_lost": list(self.target_lost),
            "unchanged": list(self.unchanged),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
            "figures": {name: [_to_json_number(value) for value in values] for name, values in self.metrics.items()},
        }


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
            the
            result, else the face's hull and a margin.
        config: OCIO config; None takes the usual one.
        exposure: Stops, on target and result alike, for plates too dark or bright to find a face in.
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
    opened = tuple(open_input(clip, config) for clip in clips)
    pair = _ClipPair(
        open_input(target, config),
        open_input(result, config),
        offset,
        open_input(to_clip(matte), config) if matte is not None else None,
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
    measurer = _PairMeasurer(pair, FaceGauge(folder, aspect), chosen, seconds or {}, on_event)
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


def _match_frames(text: str, pair: _ClipPair) -> tuple[int, ...]:
    target, result = pair.target.sequence, pair.result.sequence
    rendered = {frame - pair.offset for frame in result.frames}
    available = f"the target has {format_frames(target.frames)}, the result {format_frames(result.frames)}"
    hint = "" if pair.offset else "; if the result is numbered differently, give the offset of its numbers"
    if text.strip():
        wanted = select_frames(text, target.frames)
        absent = [frame for frame in wanted if frame not in rendered]
        if absent:
            raise FrameRangeError(
                f"the result {result.clip.path} lacks frames {format_frames(absent)}; {available}{hint}"
            )
        return wanted
    common = tuple(frame for frame in target.frames if frame in rendered)
    if not common:
        raise FrameRangeError(f"target and result have no frame in common: {available}{hint}")
    return common


def _collect_notes(
    pair: _ClipPair, measurer: _PairMeasurer, frames: Sequence[int], unchanged: Sequence[int]
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


HULL_MATTE = "face hull"


@dataclass
class _ClipPair:
    """Target and result, opened, and how their pixels are compared."""

    target: ClipInput
    result: ClipInput
    offset: int
    matte: ClipInput | None
    config: ColourConfig
    exposure: float
    matte_text: str = HULL_MATTE
    is_exact: bool = True
    comparison: str = ""

    def read_frame(self, frame: int) -> tuple[Plate, Plate, Matte | None]:
        """Reads target and result on the target's data window, and the matte if there is one."""
        target = self.target.sequence.read(frame)
        check_rgb(target, str(self.target.sequence.get_frame_path(frame)))
        number = frame + self.offset
        result = self.result.sequence.read(number)
        check_rgb(result, str(self.result.sequence.get_frame_path(number)))
        result = self._align_result(result, target, number)
        matte = None
        if self.matte is not None:
            matte = self._read_matte(self.matte, frame, target.data_window)
            self.matte_text = self.matte.clip.path
        elif MATTE_SOFT in result.channels:
            matte = result.get_matte(MATTE_SOFT)
            self.matte_text = MATTE_SOFT
        return target, result, matte

    def _align_result(self, result: Plate, target: Plate, number: int) -> Plate:
        """The result on the target's data window. Raises PlateError if the pictures differ in size."""
        if self.result.sequence.kind != "exr":  # no windows of its own: it shows the target's display window
            corner = target.display_window
            placed = Window(corner.x, corner.y, result.data_window.width, result.data_window.height)
            result = replace(result, data_window=placed, display_window=placed)
        shown, wanted = result.display_window, target.display_window
        if (shown.width, shown.height) != (wanted.width, wanted.height):
            raise PlateError(
                f"{self.result.sequence.get_frame_path(number)} is {shown.width}x{shown.height}, the target "
                f"{wanted.width}x{wanted.height}; compare pictures of the same size"
            )
        return result if result.data_window == target.data_window else result.crop(target.data_window)

    def _read_matte(self, clip_input: ClipInput, frame: int, window: Window) -> Matte:
        numbers = clip_input.sequence.frames
        plate = clip_input.sequence.read(numbers[0] if len(numbers) == 1 else frame)
        name = "A" if "A" in plate.channels else plate.channels[0]
        return plate.crop(window).get_matte(name)

    def resolve_result_space(self, result: Plate) -> str:
        """Resolves the colour space of a result frame: as asked for, as its metadata says, or by the usual rules."""
        named = result.metadata.get(META_COLORSPACE)
        return self.config.resolve_space(str(named)) if named and not self.result.clip.colorspace else self.result.space

    def crop_to_srgb8(self, plate: Plate, space: str, window: Window) -> Image8:
        """Converts a part of a plate to 8-bit sRGB."""
        rgb = plate.crop(window).get(*RGB)
        if self.exposure and self.config.is_scene_linear(space):
            rgb *= np.float32(2.0**self.exposure)
        return self.config.to_srgb8(rgb, space)

    def count_changed(self, target: Plate, result: Plate, space: str, matte: AnyArray) -> tuple[int, float]:
        """Counts the pixels changed outside the matte; also the largest change in 255ths of the file's 1.0."""
        shown, wanted = result.get(*RGB), target.get(*RGB)
        tolerance: AnyArray | float = 0.0
        if space != self.target.space:
            wanted = self.config.convert(wanted, self.target.space, space)
        if result.formats and all(result.formats[index] == "half" for index in result.find_channels(RGB)):
            with np.errstate(over="ignore"):
                wanted = wanted.astype(np.float16).astype(np.float32)
        if self.result.sequence.kind != "exr":
            self.is_exact, self.comparison = False, "to half a step of 255"
            tolerance = _MOVIE_TOLERANCE
        elif space not in (self.target.space, self.config.scene_linear):
            # The render went through the stages' own space: two conversions instead of one, so the last bits differ.
            self.is_exact, self.comparison = False, "to two steps of half float: the result is in a third colour space"
            share, constant = _CONVERTED_TOLERANCE
            tolerance = np.abs(wanted) * share + constant
        count, largest = count_changed_outside(shown, wanted, matte, tolerance)
        return count, largest * 255.0


class _PairMeasurer:
    """Measures the frames of a pair in order; `lost` and `target_lost` fill up meanwhile."""

    def __init__(
        self,
        pair: _ClipPair,
        gauge: FaceGauge,
        frames: Sequence[int],
        seconds: Mapping[int, float],
        on_event: EventListener,
    ) -> None:
        self.lost: list[int] = []
        self.target_lost: list[int] = []
        self._pair = pair
        self._gauge = gauge
        self._frame_numbers = frames
        self._seconds = seconds
        self._on_event = on_event
        self._last_face: MeasuredFace | None = None  # in plate coordinates
        self._window = Window(0, 0, 0, 0)

    def measure_pairs(self) -> Iterator[FramePair]:
        """Yields each frame, measured."""
        total = len(self._frame_numbers)
        for done, (number, read) in enumerate(
            read_ahead(self._pair.read_frame, self._frame_numbers, workers=1, ahead=2), start=1
        ):
            frame = self._measure_pair(number, *read)
            if frame.target_face is None:
                self.target_lost.append(number)
            elif frame.result_face is None:
                self.lost.append(number)
            self._on_event(Event("evaluate", self._pair.result.name, done, total, number))
            yield frame

    def _measure_pair(self, number: int, target: Plate, result: Plate, matte: AnyArray | None) -> FramePair:
        pair, space = self._pair, self._pair.resolve_result_space(result)
        window, wanted, face = self._find_target_face(target, _read_face_hint(result))
        shown = pair.crop_to_srgb8(result, space, window)
        found = self._gauge.measure_again(shown, face) if face is not None else None
        mix_matte = matte[compute_slices(window, target.data_window)].astype(np.float32) if matte is not None else None
        if matte is None:
            matte = np.zeros(target.pixels.shape[:2], bool)
            if face is not None:
                hull = compute_face_region(face.landmarks, (window.height, window.width), OUTSIDE_MARGIN)
                matte[compute_slices(window, target.data_window)] = hull
        changed = pair.count_changed(target, result, space, matte)
        return FramePair(
            number,
            wanted,
            shown,
            face,
            found,
            changed,
            target.pixel_aspect,
            (window.x, window.y),
            mix_matte,
            self._seconds.get(number + pair.offset, math.nan),
        )

    def _find_target_face(self, target: Plate, hint: Box | None) -> tuple[Window, Image8, MeasuredFace | None]:
        """A window of the plate, its pixels as sRGB, and the target's face in them.

        The window stays where it is while the face is well inside. The whole plate is searched only if the face is not
        in the window.
        """
        pair, gauge, whole = self._pair, self._gauge, target.data_window
        if self._last_face is not None:
            if not self._is_well_inside(self._last_face, whole):
                self._window = _expand_box(gauge.compute_box(self._last_face), _CROP_SCALE).intersect(whole)
            pixels = pair.crop_to_srgb8(target, pair.target.space, self._window)
            face = gauge.follow(
                pixels, _shift_face(self._last_face, self._window, -1), _shift_hint(hint, self._window), search=False
            )
            if face is not None and self._is_well_inside(_shift_face(face, self._window, 1), whole):
                self._last_face = _shift_face(face, self._window, 1)
                return self._window, pixels, face
        pixels = pair.crop_to_srgb8(target, pair.target.space, whole)
        last = _shift_face(self._last_face, whole, -1) if self._last_face is not None else None
        face = gauge.follow(pixels, last, _shift_hint(hint, whole))
        if face is None:
            return whole, pixels, None
        self._last_face = _shift_face(face, whole, 1)
        self._window = _expand_box(gauge.compute_box(self._last_face), _CROP_SCALE).intersect(whole)
        part = np.ascontiguousarray(pixels[compute_slices(self._window, whole)])
        return self._window, part, _shift_face(self._last_face, self._window, -1)

    def _is_well_inside(self, face: MeasuredFace, whole: Window) -> bool:
        return self._window.contains(_expand_box(self._gauge.compute_box(face), _MIN_CROP_SCALE).intersect(whole))


def _expand_box(box: Box, factor: float) -> Window:
    """The window around a box that is larger by `factor`."""
    x, y, width, height = box
    left, top = math.floor(x + width / 2 - factor * width / 2), math.floor(y + height / 2 - factor * height / 2)
    return Window(left, top, math.ceil(factor * width), math.ceil(factor * height))


def _shift_face(face: MeasuredFace, window: Window, sign: int) -> MeasuredFace:
    """The face moved from a window's array to the plate (sign 1) or back (-1)."""
    return face.shift(sign * window.x, sign * window.y)


def _read_face_hint(result: Plate) -> Box | None:
    """Where the result's metadata places its face, in plate coordinates."""
    try:
        x, y, width, height = (float(value) for value in str(result.metadata.get(META_FACE, "")).split())
    except ValueError:
        return None
    return (x, y, width, height) if width > 0 and height > 0 else None


def _shift_hint(hint: Box | None, window: Window) -> Box | None:
    return None if hint is None else (hint[0] - window.x, hint[1] - window.y, hint[2], hint[3])


def measure_source_descriptors(
    sources: Sequence[ClipInput], config: ColourConfig, folder: Path | None, on_event: EventListener = ignore_event
) -> list[Descriptor]:
    """Measures the source's face in up to 40 frames, evenly spread over all clips in turn.

    The largest face of each frame counts, if it is the same person as in most frames. Frames whose measurement is
    cached are not read again.

    Returns:
        dlib's descriptors, (128,) each.
    """
    frames = [(source, frame) for source in sources for frame in source.sequence.frames]
    picked = [frames[index] for index in sample_evenly(len(frames), MAX_SOURCE_FRAMES)]
    found = []
    for done, (source, frame) in enumerate(picked, start=1):
        on_event(Event("evaluate", source.name, done, len(picked), frame))
        face = measure_source_face(source, frame, config, folder)
        if face is not None:
            found.append(face.descriptor)
    if not found:
        return []
    distances = np.linalg.norm(np.array(found)[:, None] - np.array(found)[None], axis=2)
    middle = int(np.median(distances, axis=1).argmin())
    return [one for one, distance in zip(found, distances[middle], strict=True) if distance < SAME_PERSON_DISTANCE]


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


def _to_json_number(value: float) -> float | None:
    """The number rounded; None if it is not finite, which JSON cannot hold."""
    return round(float(value), 6) if math.isfinite(value) else None
