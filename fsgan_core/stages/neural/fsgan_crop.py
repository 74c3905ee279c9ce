"""The published crop: the square around a face that the networks were trained on, and pictures to it and back.

Published: a detector's box (SFD, DSFD), made square by its longer side, times the crop scale of the weights (1.2, or
2.0 for some of v1), resized to the working resolution, not turned, black outside the picture. A crop is placed on the
plate in fractions of a pixel, so it glides with the smoothed box instead of stepping.

Resampling along rows and columns is a pair of sparse matrices: every pixel's sum has one order, so its bits depend only
on its inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from fsgan_core.faces.face import Face
from fsgan_core.faces.square_crop import DETECTOR_SHIFT_UP, DETECTOR_SIDE
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matrix, Matte, Points, Vector
from fsgan_core.stages.warp import sample_picture

LANCZOS_LOBES = 3


@dataclass(frozen=True)
class Crop:
    """A part of a plate, square on the screen, sampled at size x size pixels.

    Coordinates are plate pixels, with the centre of pixel (i, j) at (i, j). A crop starts at its left and upper edge,
    not at the centre of its first pixel.

    Attributes:
        left: Left edge.
        top: Upper edge.
        width: In plate pixels.
        height: In plate pixels.
        size: Pixels along a side.
        turn: Degrees by which the content is rotated clockwise about the middle, as seen on the screen.
        aspect: Width of the plate's pixels over their height.
    """

    left: float
    top: float
    width: float
    height: float
    size: int
    turn: float = 0.0
    aspect: float = 1.0

    @property
    def pixel_height(self) -> float:
        """Height of one of the crop's pixels, in plate rows."""
        return self.height / self.size

    def normalise_points(self, points: Points) -> Points:
        """Convert plate points (..., 2) to the networks' coordinates: 0..1 from the crop's upper left edge."""
        middle = np.array([self.left + self.width / 2, self.top + self.height / 2])
        offset = (np.asarray(points, np.float64) - middle) / (self.width, self.height)
        result: Points = offset @ _make_roll_matrix(self.turn).T + 0.5
        return result

    def denormalise_points(self, shares: AnyArray) -> Points:
        """Convert points (..., 2) from the networks' coordinates to plate points."""
        middle = np.array([self.left + self.width / 2, self.top + self.height / 2])
        return np.asarray(
            (np.asarray(shares, np.float64) - 0.5) @ _make_roll_matrix(-self.turn).T * (self.width, self.height)
            + middle
        )

    def window(self) -> Window:
        """Compute the whole pixels of the plate that the crop is sampled from, a filter's reach around it included."""
        corners = self.denormalise_points(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        reach = KERNEL_REACH * np.maximum(1.0, np.array([self.width, self.height]) / self.size)
        low, high = np.floor(corners.min(0) - reach).astype(int), np.ceil(corners.max(0) + reach).astype(int)
        return Window(int(low[0]), int(low[1]), int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1)


def compute_face_crop(face: Face, scale: float, size: int, pixel_aspect: float = 1.0, turn: float = 0.0) -> Crop:
    """Compute the crop of a face: a detector's box times `scale`.

    The face's box is that of the fitted head, smoothed over the clip. The detector's box is placed in it along the
    head's own axis (`faces.square_crop`).

    Args:
        face: The face.
        scale: Crop scale of the weights.
        size: Pixels along a side of the crop.
        pixel_aspect: Width of the plate's pixels over their height.
        turn: Degrees, as in `Crop`.
    """
    x, y, width, height = face.box
    roll = np.radians(face.euler[2])
    up = DETECTOR_SHIFT_UP * height
    middle = (x + width / 2 + up * np.sin(roll) / pixel_aspect, y + height / 2 - up * np.cos(roll))
    side = DETECTOR_SIDE * scale * height
    across = side / pixel_aspect
    return Crop(middle[0] - across / 2, middle[1] - side / 2, across, side, size, turn, pixel_aspect)


def compute_view_margin(scale: float) -> float:
    """Compute the margin that a view must show around a source's face (`prepare_view`), as a share of its box.

    A crop of that scale, turned by any angle, then lies within the view.
    """
    return float(DETECTOR_SIDE * scale * np.sqrt(0.5) + abs(DETECTOR_SHIFT_UP) - 0.5)


def cut_crop(picture: Image, window: Window, crop: Crop, kernel: str = "lanczos") -> Image:
    """Cut a crop out of a picture; 0 outside the picture.

    Where the crop is coarser than the plate, the kernel is widened to what the crop can hold. A turned crop is sampled
    by `warp.sample_picture`.

    Args:
        picture: (height, width) or (height, width, channels), covers `window`.
        window: Plate coordinates of the picture.
        crop: The crop.
        kernel: "lanczos" (3 lobes), "cubic", or "linear", which never leaves the picture's range.

    Returns:
        (size, size) or (size, size, channels).
    """
    if crop.turn:
        return _cut_turned_crop(picture, window, crop)
    place = (np.arange(crop.size) + 0.5) / crop.size
    across = _build_resampling_matrix(
        crop.left + crop.width * place - window.x, window.width, crop.width / crop.size, kernel, False
    )
    down = _build_resampling_matrix(
        crop.top + crop.height * place - window.y, window.height, crop.height / crop.size, kernel, False
    )
    return _apply_resampling(picture, down, across)


def paste_crop(picture: Image, crop: Crop, window: Window, kernel: str = "lanczos") -> Image:
    """Resample a crop's picture to the plate; beyond the crop its border is continued (`mark_crop_area` tells where).

    Only for crops that are not turned.

    Args:
        picture: (size, size) or (size, size, channels).
        crop: The crop.
        window: The part of the plate to fill.
        kernel: As for `cut_crop`.
    """
    x = (np.arange(window.width) + window.x - crop.left) / crop.width * crop.size - 0.5
    y = (np.arange(window.height) + window.y - crop.top) / crop.height * crop.size - 0.5
    across = _build_resampling_matrix(x, crop.size, crop.size / crop.width, kernel, True)
    down = _build_resampling_matrix(y, crop.size, crop.size / crop.height, kernel, True)
    return _apply_resampling(picture, down, across)


def mark_crop_area(crop: Crop, window: Window) -> Matte:
    """Mark the crop on a window of the plate: 1 inside, its edge anti-aliased."""
    x, y = np.arange(window.width) + window.x, np.arange(window.height) + window.y
    across = np.clip(np.minimum(x - crop.left, crop.left + crop.width - x) + 0.5, 0, 1)
    down = np.clip(np.minimum(y - crop.top, crop.top + crop.height - y) + 0.5, 0, 1)
    result: Matte = (down[:, None] * across[None, :]).astype(np.float32)
    return result


def _make_roll_matrix(degrees: float) -> Matrix:
    """(2, 2) clockwise on the screen: x right, y down."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _cut_turned_crop(picture: Image, window: Window, crop: Crop) -> Image:
    place = (np.arange(crop.size) + 0.5) / crop.size
    mapping = crop.denormalise_points(np.stack(np.meshgrid(place, place), -1)) - (window.x, window.y)
    result = sample_picture(np.asarray(picture, np.float32), mapping.astype(np.float32))
    step = np.array([crop.width, crop.height]) / crop.size
    edge = np.minimum(mapping + 0.5, np.array([window.width, window.height]) - 0.5 - mapping) / np.maximum(step, 1)
    inside = np.clip(edge + 0.5, 0, 1).prod(-1).astype(np.float32)
    return np.asarray(result * (inside if picture.ndim == 2 else inside[..., None]), np.float32)


def _evaluate_lanczos(x: AnyArray) -> AnyArray:
    """Lanczos, three lobes."""
    return np.where(np.abs(x) < LANCZOS_LOBES, np.sinc(x) * np.sinc(x / LANCZOS_LOBES), 0)


def _evaluate_cubic(x: AnyArray) -> AnyArray:
    """Catmull and Rom (1974), which interpolates."""
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))


def _evaluate_linear(x: AnyArray) -> AnyArray:
    result: AnyArray = np.maximum(1 - np.abs(x), 0)
    return result


# Kernel -> function, and its reach in samples.
_KERNELS: dict[str, tuple[Callable[[AnyArray], AnyArray], int]] = {
    "lanczos": (_evaluate_lanczos, LANCZOS_LOBES),
    "cubic": (_evaluate_cubic, 2),
    "linear": (_evaluate_linear, 1),
}
KERNEL_REACH = LANCZOS_LOBES  # of the widest kernel


def _build_resampling_matrix(positions: Vector, length: int, step: float, kernel: str, extend: bool) -> csr_matrix:
    """(positions, length): the weight of each of `length` samples in results at `positions`, `step` samples apart.

    With `extend` the border is continued; otherwise samples beyond it are 0.
    """
    function, reach = _KERNELS[kernel]
    wide = max(1.0, step)
    taps = 2 * int(np.ceil(reach * wide)) + 1
    index = np.floor(positions).astype(int)[:, None] + np.arange(taps)[None] - taps // 2
    weight = function((index - positions[:, None]) / wide)
    weight /= weight.sum(1, keepdims=True)
    if not extend:
        weight[(index < 0) | (index >= length)] = 0
    index = np.clip(index, 0, length - 1)
    rows = np.repeat(np.arange(len(positions)), taps)
    matrix = csr_matrix((weight.ravel().astype(np.float32), (rows, index.ravel())), shape=(len(positions), length))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _apply_resampling(picture: Image, down: csr_matrix, across: csr_matrix) -> Image:
    planes = np.asarray(picture, np.float32).reshape(*picture.shape[:2], -1)
    height, width, count = planes.shape
    rows = (down @ planes.reshape(height, width * count)).reshape(-1, width, count)
    columns = across @ np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(width, -1)
    result = columns.reshape(across.shape[0], -1, count).transpose(1, 0, 2)
    return np.ascontiguousarray(result.reshape(*result.shape[:2], *picture.shape[2:]), np.float32)
