"""Reads the frames of target and result, converts them for measuring, and compares the file's own pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fsgan_core.clips.inputs import ClipInput, check_rgb
from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import MATTE_SOFT, META_COLORSPACE, RGB
from fsgan_core.evaluation.metrics import (
    count_changed_outside,
)
from fsgan_core.plates.colour import ColourConfig
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import AnyArray, Image8, Matte

_MOVIE_TOLERANCE = 0.5 / 255.0  # half an 8-bit step: a movie's own rounding
_CONVERTED_TOLERANCE = (2.0**-9, 1e-5)  # share of the value, plus a constant: two steps of half float
HULL_MATTE = "face hull"


@dataclass
class ClipPair:
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
        shown, expected = result.display_window, target.display_window
        if (shown.width, shown.height) != (expected.width, expected.height):
            raise PlateError(
                f"{self.result.sequence.get_frame_path(number)} is {shown.width}x{shown.height}, the target "
                f"{expected.width}x{expected.height}; compare pictures of the same size"
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
        result_rgb, target_rgb = result.get(*RGB), target.get(*RGB)
        tolerance: AnyArray | float = 0.0
        if space != self.target.space:
            target_rgb = self.config.convert(target_rgb, self.target.space, space)
        if result.formats and all(result.formats[index] == "half" for index in result.find_channels(RGB)):
            with np.errstate(over="ignore"):
                target_rgb = target_rgb.astype(np.float16).astype(np.float32)
        if self.result.sequence.kind != "exr":
            self.is_exact, self.comparison = False, "to half a step of 255"
            tolerance = _MOVIE_TOLERANCE
        elif space not in (self.target.space, self.config.scene_linear):
            # The render went through the stages' own space: two conversions instead of one, so the last bits differ.
            self.is_exact, self.comparison = False, "to two steps of half float: the result is in a third colour space"
            share, constant = _CONVERTED_TOLERANCE
            tolerance = np.abs(target_rgb) * share + constant
        count, largest = count_changed_outside(result_rgb, target_rgb, matte, tolerance)
        return count, largest * 255.0
