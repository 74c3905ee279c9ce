"""Reads each frame of a result once, and gives all that a report shows and measures of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from fsgan_core.clips.inputs import ClipInput, JobInputs, check_rgb
from fsgan_core.contract import layers
from fsgan_core.contract.curve import get_largest_value
from fsgan_core.contract.layers import META_COLORSPACE, META_FACE, RGB
from fsgan_core.faces.geometry import Box
from fsgan_core.plates.colour import ColourConfig
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.plates.region import compute_region
from fsgan_core.plates.stream import read_ahead
from fsgan_core.render.context import NO_FACE
from fsgan_core.render.provenance import read_flags
from fsgan_core.runtime.arrays import AnyArray, Image, Image8, Matte
from fsgan_core.stages.drive import compute_drive_margin

__all__ = [
    "FACE_MARGIN",
    "FrameLook",
    "LookMaker",
    "LookReader",
    "compute_look_margin",
    "find_largest_channel",
    "fit_size",
    "read_face_box",
]

WHOLE_WIDTH = 960
"""Width of a whole picture, at most. The part around the face has the plate's own pixels, whatever this is."""
FACE_MARGIN = 1.9
"""Side of the full-size part, and of the player's view of the face, over that of the face's box."""
MIN_CHANGE = 2
"""Steps of 255 above which a pixel counts as changed; below is rounding."""
READ_THREADS = 2

EMPTY = Window(0, 0, 0, 0)

_CHANGE_MARGIN = 6  # pixels of the plate around what changed
_AREA_EXTRA = 0.1  # of the face's box, added to the region margin: room for rounding
_LAYER_PICTURES = ((layers.LAYER_REENACTED, "reenacted"), (layers.LAYER_COMPLETED, "completed"))
# Colours of the mattes in one picture: face blue, hair green, mouth red, what covers the face yellow.
_MATTE_COLOURS = {
    layers.MATTE_FACE: (0.25, 0.45, 1.0),
    layers.MATTE_HAIR: (0.2, 0.8, 0.3),
    layers.MATTE_MOUTH: (1.0, 0.25, 0.3),
    layers.MATTE_OCCLUSION: (1.0, 0.8, 0.1),
}


@dataclass(frozen=True)
class FrameLook:
    """One frame of target and result, as sRGB.

    Attributes:
        number: Frame number.
        before: The whole target, uint8 RGB, square pixels, at most WHOLE_WIDTH wide.
        after: The whole result, of the same size.
        window: The part that holds the face and every changed pixel, in plate coordinates; None if nothing changed and
            no face is known.
        display: The display window, in plate coordinates.
        pixel_aspect: Width of a pixel over its height.
        part_before: That part of the target at full size, in the plate's own pixels.
        part_after: That part of the result.
        matte: That part of the matte that was mixed with; None if the result does not carry it.
        pictures: Pictures of the stages in that part by name: "reenacted", "completed", "mattes".
        face_box: The face, in plate coordinates, or None.
        metadata: Metadata of the result.
    """

    number: int
    before: Image8
    after: Image8
    window: Window | None
    display: Window
    pixel_aspect: float
    part_before: Image8
    part_after: Image8
    matte: Matte | None = None
    pictures: Mapping[str, Image8] = field(default_factory=dict)
    face_box: Box | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def square(self, part: Image8) -> Image8:
        """Gives a part square pixels."""
        if self.pixel_aspect == 1.0:
            return part
        size = (max(1, round(part.shape[1] * self.pixel_aspect)), part.shape[0])
        return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)

    @property
    def box_in_part(self) -> Box | None:
        """The face's box in the part with square pixels; None if there is no face or no part."""
        if self.face_box is None or self.window is None:
            return None
        x, y, width, height = self.face_box
        return (
            (x - self.window.x) * self.pixel_aspect,
            y - self.window.y,
            width * self.pixel_aspect,
            height,
        )

    def with_metadata(self, metadata: Mapping[str, Any]) -> FrameLook:
        """Copies the look with other metadata."""
        return replace(self, metadata=metadata)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = [self.before, self.after, self.part_before, self.part_after, *self.pictures.values()]
        return sum(array.nbytes for array in arrays) + (0 if self.matte is None else self.matte.nbytes)

    @property
    def relative_window(self) -> tuple[float, float, float, float] | None:
        """The window as x, y, width and height in shares of the display window."""
        if self.window is None:
            return None
        window, display = self.window, self.display
        return (
            (window.x - display.x) / display.width,
            (window.y - display.y) / display.height,
            window.width / display.width,
            window.height / display.height,
        )


@dataclass(frozen=True)
class LookMaker:
    """Makes looks of plates of target and result.

    Attributes:
        config: OCIO config.
        target_space: Colour space of the target.
        margin: Region margin of the render, in shares of the face's box: nothing changed farther from the face.
    """

    config: ColourConfig
    target_space: str
    margin: float

    def make_look(self, frame: int, before: Plate, after: Plate, space: str) -> FrameLook:
        """Makes the look of one frame.

        Args:
            frame: Its number.
            before: The target.
            after: The result; its data window holds `find_area`, or is all that there is.
            space: Colour space of the result.

        Raises:
            ColourError: A colour space is unknown.
        """
        display, aspect = before.display_window, before.pixel_aspect
        size = fit_size(display.width * aspect, display.height, WHOLE_WIDTH)
        whole = self._shrink_to_srgb(before, display, size)
        box = read_face_box(after.metadata)
        nothing = np.zeros((0, 0, 3), np.uint8)
        look = FrameLook(
            frame, whole, whole, None, display, aspect, nothing, nothing, face_box=box, metadata=after.metadata
        )
        area = self.find_area(before, after.metadata)
        if area.empty:
            return look
        part_before = self.config.to_srgb8(_cut_rgb(before, area), self.target_space)
        part_after = self.config.to_srgb8(_cut_rgb(after, area), space)
        window = _choose_window(box, _find_changes(part_before, part_after, area), display)
        if window is None:
            return look
        slices, cut = compute_slices(window, area), after.crop(window)
        return replace(
            look,
            after=_paste_part(whole, part_after, area, window, display),
            window=window,
            part_before=part_before[slices].copy(),
            part_after=part_after[slices].copy(),
            matte=cut.get_matte(layers.MATTE_SOFT).copy() if layers.MATTE_SOFT in cut.channels else None,
            pictures=self._make_pictures(cut, space),
        )

    def find_area(self, before: Plate, metadata: Mapping[str, Any]) -> Window:
        """Finds the area in which pixels may have changed: the region around the face that the stages worked in.

        It has room to move every edge to a whole pixel of the small picture.

        Args:
            before: The target.
            metadata: Of the result.
        """
        box, display = read_face_box(metadata), before.display_window
        if box is None:
            return EMPTY if NO_FACE in read_flags(metadata) else display
        size = fit_size(display.width * before.pixel_aspect, display.height, WHOLE_WIDTH)
        region = compute_region(box, self.margin + _AREA_EXTRA)
        area = _unite([region, _frame_face(box)])
        across, down = math.ceil(display.width / size[0]) + 1, math.ceil(display.height / size[1]) + 1
        grown = Window(area.x - across, area.y - down, area.width + 2 * across, area.height + 2 * down)
        return grown.intersect(display)

    def _shrink_to_srgb(self, plate: Plate, window: Window, size: tuple[int, int]) -> Image8:
        """Shrinks in the file's own (mostly linear) values, so that only few pixels need the colour conversion."""
        rgb = _cut_rgb(plate, window)
        if size != (rgb.shape[1], rgb.shape[0]):
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.float32)
        return self.config.to_srgb8(rgb, self.target_space)

    def _make_pictures(self, cut: Plate, space: str) -> dict[str, Image8]:
        found: dict[str, Image8] = {}
        for layer, name in _LAYER_PICTURES:
            names = layers.list_layer_channels(layer, RGB)
            if all(channel in cut.channels for channel in names):
                found[name] = self.config.to_srgb8(cut.get(*names), space)
        if all(name in cut.channels for name in _MATTE_COLOURS):
            mixed = sum(
                cut.get_matte(name)[..., None] * np.array(colour, np.float32) for name, colour in _MATTE_COLOURS.items()
            )
            found["mattes"] = np.rint(np.clip(mixed, 0, 1) * 255).astype(np.uint8)
        return found


@dataclass(frozen=True)
class LookReader:
    """Reads frames of target and result.

    Attributes:
        target: The clip that was changed.
        result: The clip with the new face.
        maker: Makes looks of their plates.
        take_kept: Gives the look of a frame that is kept in memory; None: it must be read.
    """

    target: ClipInput
    result: ClipInput
    maker: LookMaker
    take_kept: Callable[[int], FrameLook | None] = lambda _: None

    def iterate(self, frames: Sequence[int]) -> Iterator[FrameLook]:
        """Reads frames in order, some of them ahead.

        Raises:
            PlateError: A frame cannot be read.
            ColourError: A colour space is unknown.
        """
        for _, look in read_ahead(self.read, frames, workers=READ_THREADS, ahead=READ_THREADS + 1):
            yield look

    def read(self, frame: int) -> FrameLook:
        """Reads one frame. Raises as `iterate`."""
        kept = self.take_kept(frame)
        if kept is not None:
            return kept
        before, after = self.read_plates(frame)
        return self.maker.make_look(frame, before, after, self.resolve_space(after))

    def read_plates(self, frame: int) -> tuple[Plate, Plate]:
        """Reads the plates of target and result. Raises PlateError."""
        before, after = self.target.sequence.read(frame), self.result.sequence.read(frame)
        check_rgb(before, str(self.target.sequence.get_frame_path(frame)))
        check_rgb(after, str(self.result.sequence.get_frame_path(frame)))
        return before, after

    def resolve_space(self, result: Plate) -> str:
        """Resolves the colour space of a frame of the result: as its metadata says, or by the usual rules."""
        named, config = result.metadata.get(META_COLORSPACE), self.maker.config
        return config.resolve_space(str(named)) if named and not self.result.clip.colorspace else self.result.space


def compute_look_margin(inputs: JobInputs, command: str) -> float:
    """Computes how far from a face, in shares of its box, a job may change pixels; `command` is "swap" or "drive"."""
    margin = get_largest_value(inputs.stages.reenact.margin)
    return max(margin, compute_drive_margin(inputs.stages.drive)) if command == "drive" else margin


def _cut_rgb(plate: Plate, window: Window) -> Image:
    """The RGB of a part of the plate, without a copy of its other channels; black where it has no pixels."""
    inside = window.intersect(plate.data_window)
    if inside.empty:
        return np.zeros((window.height, window.width, 3), np.float32)
    indices = plate.find_channels(RGB)
    held = plate.pixels[compute_slices(inside, plate.data_window)]
    held = np.ascontiguousarray(held[..., :3] if indices == [0, 1, 2] else held[..., indices])
    if inside == window:
        return held
    moved = np.zeros((window.height, window.width, 3), np.float32)
    moved[compute_slices(inside, window)] = held
    return moved


def find_largest_channel(picture: AnyArray) -> AnyArray:
    """Finds each pixel's largest of three components: many times faster than numpy's maximum along a short axis."""
    first, second, third = cv2.split(picture)
    return cv2.max(cv2.max(first, second), third)


def fit_size(width: float, height: float, most: int) -> tuple[int, int]:
    """Computes the size of a picture that is at most `most` wide and not enlarged.

    >>> fit_size(1920, 1080, 1280)
    (1280, 720)
    """
    scale = min(1.0, most / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def read_face_box(metadata: Mapping[str, Any]) -> Box | None:
    """Reads where the face is, in plate coordinates; None if the metadata does not say."""
    try:
        x, y, width, height = (float(part) for part in str(metadata.get(META_FACE, "")).split())
    except ValueError:
        return None
    return (x, y, width, height) if width > 0 and height > 0 else None


def _find_changes(before: Image8, after: Image8, area: Window) -> Window | None:
    """The rectangle of the pixels that changed in an area, in plate coordinates; None if none did."""
    difference = find_largest_channel(cv2.absdiff(before, after)) > MIN_CHANGE
    rows, columns = np.flatnonzero(difference.any(axis=1)), np.flatnonzero(difference.any(axis=0))
    if not len(rows):
        return None
    left, top = int(columns[0]) - _CHANGE_MARGIN, int(rows[0]) - _CHANGE_MARGIN
    right, bottom = int(columns[-1]) + 1 + _CHANGE_MARGIN, int(rows[-1]) + 1 + _CHANGE_MARGIN
    return Window(area.x + left, area.y + top, right - left, bottom - top).intersect(area)


def _choose_window(box: Box | None, changes: Window | None, display: Window) -> Window | None:
    """The rectangle around the face and everything that changed, inside the display window."""
    windows = [changes] if changes is not None else []
    if box is not None:
        windows.append(_frame_face(box))
    if not windows:
        return None
    window = _unite(windows).intersect(display)
    return None if window.empty else window


def _frame_face(box: Box) -> Window:
    x, y, width, height = box
    wide, high = round(width * FACE_MARGIN), round(height * FACE_MARGIN)
    return Window(round(x + width / 2 - wide / 2), round(y + height / 2 - high / 2), wide, high)


def _unite(windows: Sequence[Window]) -> Window:
    left, top = min(one.x for one in windows), min(one.y for one in windows)
    right, bottom = max(one.right for one in windows), max(one.bottom for one in windows)
    return Window(left, top, right - left, bottom - top)


def _paste_part(whole: Image8, part: Image8, area: Window, window: Window, display: Window) -> Image8:
    """The small picture of the whole plate, with what changed in `window`; `part` is the result in `area`."""
    height, width = whole.shape[:2]
    x_scale, y_scale = width / display.width, height / display.height
    # On whole pixels of the small picture, so that nothing moves.
    left, right = _align((window.x - display.x, window.right - display.x), x_scale, width)
    top, bottom = _align((window.y - display.y, window.bottom - display.y), y_scale, height)
    x, end_x = (round(edge / x_scale) + display.x for edge in (left, right))
    y, end_y = (round(edge / y_scale) + display.y for edge in (top, bottom))
    covered = Window(x, y, end_x - x, end_y - y)
    if covered.empty or covered.intersect(area) != covered:
        return whole
    result = whole.copy()
    cv2.resize(
        part[compute_slices(covered, area)],
        (right - left, bottom - top),
        dst=result[top:bottom, left:right],
        interpolation=cv2.INTER_AREA,
    )
    return result


def _align(edges: tuple[int, int], scale: float, most: int) -> tuple[int, int]:
    return max(0, math.floor(edges[0] * scale)), min(most, math.ceil(edges[1] * scale))
