"""Measures the frames of a report: on every frame what needs no network, and within a limit of time what needs one."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import cv2
import numpy as np

from fsgan_core.clips.inputs import JobInputs
from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.layers import RGB
from fsgan_core.evaluation.frame_metrics import FramePair, compute_metrics
from fsgan_core.evaluation.metrics import MAX_SOURCE_FRAMES
from fsgan_core.evaluation.source_faces import measure_source_descriptors
from fsgan_core.faces.face import Face
from fsgan_core.faces.measure import FaceGauge, FacePlace, MeasuredFace
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.render.scene import JobScenes
from fsgan_core.report.figures import MATTE_AREA, NETWORK_FIGURES, PICTURE_FIGURES
from fsgan_core.report.looks import MIN_CHANGE, FrameLook, LookReader, find_largest_channel, read_face_box
from fsgan_core.runtime.arrays import Descriptor
from fsgan_core.runtime.cache import NotCachedError, get_cache_folder, use_cache_only
from fsgan_core.runtime.events import Event, EventListener, ignore_event

__all__ = ["FaceFigures", "find_tracked_faces", "measure_faces", "measure_looks", "order_frames"]

log = logging.getLogger(__name__)

BUDGET_SHARE = 0.05
"""Share of the render's time that a report may take."""
MIN_BUDGET = 2.0
"""Seconds below which no network is loaded: loading, and MIN_SOURCE_FRAMES, take about as long."""
SECONDS_PER_SOURCE = 0.5
"""Estimated time to measure the first frame."""
SOURCE_SHARE = 0.25
"""Share of the budget that goes to the source."""
MIN_SOURCE_FRAMES = 4
_CROP_SCALE = 3.8  # box sides; side of the part that a face is measured in, as in `fsgan evaluate`


def find_tracked_faces(inputs: JobInputs, scenes: JobScenes, frames: Sequence[int]) -> dict[int, Face]:
    """Finds the target's faces in the shot's track. A clip whose track is neither named nor cached gives none."""
    faces: dict[int, Face] = {}
    available = set(inputs.target.sequence.frames)
    with use_cache_only(), suppress(NotCachedError, FsganError):
        for frame in frames:
            if frame in available and frame in (found := scenes(frame).faces):
                faces[frame] = found[frame]
    return faces


def measure_looks(
    looks: Iterable[FrameLook], faces: Mapping[int, Face], rows: dict[int, dict[str, float]], step: int = 1
) -> Iterator[FrameLook]:
    """Yields the frames as they come, and fills `rows` with the figures that need no network.

    Args:
        looks: In order.
        faces: The target's faces, in plate coordinates.
        rows: Frame -> values by name of PICTURE_FIGURES, and the ratio "sharpness"; filled while the frames pass.
        step: Difference of frame numbers that flicker is measured over.
    """

    def pass_pairs() -> Iterator[FramePair]:
        for look in looks:
            passed.append(look)
            yield _make_pair(look, faces.get(look.number))

    passed: list[FrameLook] = []
    for number, row in compute_metrics(pass_pairs(), (), step):
        look = passed.pop(0)
        rows[number] = {name: row[name] for name in (*PICTURE_FIGURES, "sharpness") if name in row}
        rows[number][MATTE_AREA] = _measure_matte_area(look)
        yield look


def _make_pair(look: FrameLook, face: Face | None) -> FramePair:
    target_face = None
    origin = (0, 0) if look.window is None else (look.window.x, look.window.y)
    if face is not None and look.window is not None:
        mesh = face.get_mesh(look.pixel_aspect) - np.array([*origin, 0.0])
        target_face = MeasuredFace(mesh, face.euler, np.full(128, np.nan), FacePlace(face.box))
    return FramePair(
        look.number,
        look.part_before,
        look.part_after,
        target_face,
        None,
        pixel_aspect=look.pixel_aspect,
        origin=origin,
        matte=look.matte,
    )


def _measure_matte_area(look: FrameLook) -> float:
    if look.face_box is None or look.window is None:
        return math.nan
    area = look.face_box[2] * look.face_box[3]
    if look.matte is not None:
        return float(look.matte.sum()) / area
    changed = find_largest_channel(cv2.absdiff(look.part_before, look.part_after))
    return float(np.count_nonzero(changed > MIN_CHANGE)) / area


@dataclass
class FaceFigures:
    """What networks measured.

    Attributes:
        rows: Frame -> values by name of NETWORK_FIGURES.
        reused: How many frames have their values from the last report.
        source_frames: How many source frames identity was compared with.
        problem: Why nothing could be measured, else "".
    """

    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    reused: int = 0
    source_frames: int = 0
    problem: str = ""


def order_frames(frames: Sequence[int], first: Iterable[int] = ()) -> list[int]:
    """Orders frames so that any beginning of the list is spread over the shot.

    Args:
        frames: Frame numbers in order.
        first: Frames that come before all others.

    >>> order_frames([1, 2, 3, 4, 5], first=[4])
    [4, 1, 5, 3, 2]
    """
    chosen = [frame for frame in first if frame in set(frames)]
    ends = [frames[0], frames[-1]] if frames else []
    spans = [(0, len(frames) - 1)]
    while spans:
        low, high = spans.pop(0)
        if high - low < 2:
            continue
        middle = (low + high) // 2
        ends.append(frames[middle])
        spans += [(low, middle), (middle, high)]
    return list(dict.fromkeys([*chosen, *ends]))


def measure_faces(
    inputs: JobInputs,
    reader: LookReader,
    frames: Sequence[int],
    faces: Mapping[int, Face],
    *,
    known: Mapping[int, Mapping[str, float]],
    budget: float | None,
    on_event: EventListener = ignore_event,
) -> FaceFigures:
    """Measures frames with the mesh network and the face descriptor, until the time is used up.

    Args:
        inputs: The shot.
        reader: Reads target and result.
        frames: Frames in the order of their importance.
        faces: The target's faces where they are known, in plate coordinates.
        known: Frame -> values that hold already: they are not measured again.
        budget: Seconds; None measures all frames.
        on_event: Called with each frame.
    """
    start = time.perf_counter()
    found = FaceFigures({frame: dict(row) for frame, row in known.items()}, len(known))
    wanted = [frame for frame in frames if frame not in found.rows]
    if not wanted or (budget is not None and budget < MIN_BUDGET):
        return found
    try:
        descriptors = _describe_source(inputs, budget, on_event)
        if descriptors is None:
            return found
        found.source_frames = len(descriptors)
        first = time.perf_counter()
        for done, frame in enumerate(wanted):
            now = time.perf_counter()
            cost = (now - first) / done if done else SECONDS_PER_SOURCE
            if budget is not None and now + cost > start + budget:
                break
            found.rows[frame] = _measure_frame(reader, frame, faces.get(frame), descriptors)
            on_event(Event("report", "figures", done + 1, len(wanted), frame))
    except FsganError as error:  # such as a descriptor whose licence the studio does not allow
        log.warning("faces are not measured: %s", error)
        found.problem = str(error)
    return found


def _describe_source(inputs: JobInputs, budget: float | None, on_event: EventListener) -> list[Descriptor] | None:
    """Measures source frames; None if the budget does not allow MIN_SOURCE_FRAMES of them."""

    def describe(most: int) -> list[Descriptor]:
        folder = get_cache_folder() / "measured"
        return measure_source_descriptors(inputs.sources, inputs.config, folder, on_event, most=most)

    if budget is None:
        return describe(MAX_SOURCE_FRAMES)
    start = time.perf_counter()
    describe(1)  # loads the networks, too
    loaded = time.perf_counter()
    describe(2)
    cost = max(1e-3, time.perf_counter() - loaded)  # of one or two frames; what was measured before costs nothing
    most = int(min(MAX_SOURCE_FRAMES, budget * SOURCE_SHARE / cost))
    spare = budget - (loaded - start) - MIN_SOURCE_FRAMES * cost
    return describe(max(MIN_SOURCE_FRAMES, most)) if spare > 0 else None


def _measure_frame(
    reader: LookReader, frame: int, face: Face | None, descriptors: Sequence[Descriptor]
) -> dict[str, float]:
    """The values of NETWORK_FIGURES; NaN where no face was found."""
    before, after = reader.read_plates(frame)
    box = face.box if face is not None else read_face_box(after.metadata)
    window = before.data_window
    if box is not None:
        x, y, width, height = box
        wide, high = round(width * _CROP_SCALE), round(height * _CROP_SCALE)
        window = Window(round(x + width / 2 - wide / 2), round(y + height / 2 - high / 2), wide, high)
        window = window.intersect(before.data_window)
    config = reader.maker.config
    target = config.to_srgb8(_take(before, window), reader.target.space)
    result = config.to_srgb8(_take(after, window), reader.resolve_space(after))
    gauge = FaceGauge(get_cache_folder() / "measured", before.pixel_aspect)
    hint = None if box is None else (box[0] - window.x, box[1] - window.y, box[2], box[3])
    wanted = gauge.follow(target, None, hint)
    seen = gauge.measure_again(result, wanted) if wanted is not None else None
    pair = FramePair(frame, target, result, wanted, seen, pixel_aspect=before.pixel_aspect)
    ((_, row),) = compute_metrics([pair], descriptors)
    return {name: row[name] for name in NETWORK_FIGURES}


def _take(plate: Plate, window: Window) -> np.ndarray:
    inside = plate.crop(window) if plate.data_window != window else plate
    return inside.get(*RGB)
