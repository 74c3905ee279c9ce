"""A rotated square of a picture: the region that the mesh and hand networks look at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.faces.geometry import apply_affine, invert_affine, sample_crop
from fsgan_core.runtime.arrays import AnyArray, Image8, Matrix, Points, Vector


@dataclass(frozen=True)
class RotatedSquare:
    """A square of a picture with square pixels.

    Attributes:
        centre: (x, y), pixels, the centre of pixel (i, j) at exactly (i, j).
        side: Pixels.
        angle: Radians by which its upper edge is turned clockwise on the screen.
    """

    centre: Vector
    side: float
    angle: float = 0.0

    @classmethod
    def around_points(cls, points: Points, angle: float, scale: float, shift_down: float = 0.0) -> RotatedSquare:
        """Makes the square around points: the box of the turned points, made square by its longer side.

        Args:
            points: (n, 2), pixels.
            angle: Radians, as `angle`.
            scale: Factor of the longer side.
            shift_down: Shift along the square's own downward axis, in heights of the box.

        >>> RotatedSquare.around_points(np.array([[0, 0], [4, 2]]), 0.0, 1.5)
        RotatedSquare(centre=array([2., 1.]), side=6.0, angle=0.0)
        """
        turn = make_turn_matrix(angle)
        upright = np.asarray(points, np.float64) @ turn
        low, high = upright.min(0), upright.max(0)
        middle = (low + high) / 2 + (0.0, shift_down * (high[1] - low[1]))
        return cls(turn @ middle, float(max(*(high - low), 1e-3) * scale), angle)

    def compute_matrix(self, size: int) -> Matrix:
        """Computes the affine map, (2, 3), from the picture's pixels to those of the crop, `size` pixels a side."""
        linear = make_turn_matrix(-self.angle) * (size / self.side)
        return np.column_stack([linear, (size - 1) / 2 - linear @ self.centre])

    def crop(self, picture: Image8, size: int, border: int = cv2.BORDER_REPLICATE) -> AnyArray:
        """Cuts the square out, (size, size, 3), anti-aliased; `border` is OpenCV's mode outside the picture."""
        return sample_crop(picture, self.compute_matrix(size), size, border)

    def to_picture(self, points: Points, size: int) -> Points:
        """Maps points (..., 2) of the crop, edges at 0 and `size`, to pixels of the picture."""
        return apply_affine(invert_affine(self.compute_matrix(size)), points - 0.5)


def make_turn_matrix(angle: float) -> Matrix:
    """Makes the matrix that turns points by `angle` radians, clockwise on the screen."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
