"""Measures the faces of each frame of target and result, in a window that follows the target's face."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fsgan_core.contract.layers import META_FACE
from fsgan_core.evaluation.clip_pair import ClipPair
from fsgan_core.evaluation.frame_metrics import FramePair
from fsgan_core.evaluation.metrics import (
    OUTSIDE_MARGIN,
    compute_face_region,
)
from fsgan_core.faces.geometry import Box
from fsgan_core.faces.measure import FaceGauge, MeasuredFace
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.plates.stream import read_ahead
from fsgan_core.runtime.arrays import AnyArray, Image8
from fsgan_core.runtime.events import Event, EventListener

_CROP_SCALE = 3.8  # box sides; side of the part of the picture that is converted to sRGB
_MIN_CROP_SCALE = 3.25  # box sides around the face that this part must keep, so that no metric sees its border


class PairMeasurer:
    """Measures the frames of a pair in order; `lost` and `target_lost` fill up meanwhile."""

    def __init__(
        self,
        pair: ClipPair,
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
        window, target_pixels, face = self._find_target_face(target, _read_face_hint(result))
        result_pixels = pair.crop_to_srgb8(result, space, window)
        result_face = self._gauge.measure_again(result_pixels, face) if face is not None else None
        mix_matte = matte[compute_slices(window, target.data_window)].astype(np.float32) if matte is not None else None
        if matte is None:
            matte = np.zeros(target.pixels.shape[:2], bool)
            if face is not None:
                hull = compute_face_region(face.landmarks, (window.height, window.width), OUTSIDE_MARGIN)
                matte[compute_slices(window, target.data_window)] = hull
        changed = pair.count_changed(target, result, space, matte)
        return FramePair(
            number,
            target_pixels,
            result_pixels,
            face,
            result_face,
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
