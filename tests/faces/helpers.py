"""Clips in memory for the tests of face analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from fsgan_core.contract.shot import Clip
from fsgan_core.faces.pose import FACE_MODEL, HeadPose, make_rotation
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.stated_colour import NOTHING_STATED, StatedColour


class Pictures:
    """A clip made of arrays: what analysis needs of a plates.Sequence."""

    def __init__(
        self, plates: Mapping[int, Plate], path: str = "clip.mov", kind: str = "movie", colorspace: str = ""
    ) -> None:
        self.clip = Clip(path, colorspace)
        self.kind = kind
        self.frames = tuple(sorted(plates))
        self._plates = dict(plates)

    def read(self, frame: int) -> Plate:
        return self._plates[frame]

    def read_stated_colour(self) -> StatedColour:
        return NOTHING_STATED


def plate(
    picture: np.ndarray, *, gain: float = 1.0, origin: tuple[int, int] = (0, 0), pixel_aspect: float = 1.0
) -> Plate:
    """A plate of a uint8 RGB picture, values 0..gain."""
    height, width = picture.shape[:2]
    window = Window(*origin, width, height)
    return Plate(picture.astype(np.float32) / 255 * gain, ("R", "G", "B"), window, window, pixel_aspect)


def movie(pictures: Sequence[np.ndarray], first: int = 1) -> Pictures:
    return Pictures({first + i: plate(picture) for i, picture in enumerate(pictures)})


def shifted(picture: np.ndarray, x: float, y: float, size: tuple[int, int] | None = None) -> np.ndarray:
    """The picture moved by a fraction of pixels, to the right and down; size (width, height) of the result."""
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    return cv2.warpAffine(
        picture,
        matrix,
        size or (picture.shape[1], picture.shape[0]),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def head(
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    *,
    scale: float = 2.0,
    at: tuple[float, float] = (300.0, 200.0),
) -> np.ndarray:
    """Landmarks (68, 2) of the generic face in that pose."""
    return HeadPose(make_rotation(yaw, pitch, roll), np.array(at), scale, 1000.0, 0.0).project(FACE_MODEL)
