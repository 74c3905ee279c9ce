"""The crop that the published face networks see: an upright square around the face.

The detector's box is scaled, made square by its longer side and resized; outside the picture the crop is black (FSGAN,
arXiv 1908.05932). A share 0..1 of the crop is a share of that square, however many pixels the crop has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from fsgan_core.faces.geometry import Box, sample_crop
from fsgan_core.runtime.arrays import AnyArray, Image8, Points, Vector

if TYPE_CHECKING:
    import torch

# From our box (pose.compute_face_box, 156 mm of the head) to the published detector's, in sides of our box: the length
# of its longer side, and how far its middle lies towards the forehead. SFD and DSFD were trained on the boxes of WIDER
# FACE, forehead to chin. Measured with MTCNN, which was trained on the same boxes, on 138 pictures of 40 people: 0.91
# wide (quartiles 0.04 apart), 1.23 high (0.11), middle 0.08 up (0.03). So a crop of 1.2 covers 230 mm of the head,
# beginning 95 mm above the eyes.
DETECTOR_SIDE = 1.23
DETECTOR_SHIFT_UP = 0.08


class RunnableNetwork(Protocol):
    """A network that is ready to run, as `networks.inference` makes it."""

    def run(self, x: torch.Tensor) -> Any:
        """Runs the network on float32 (n, channels, height, width); the answer is a float32 tensor."""
        ...


@dataclass(frozen=True)
class CropSquare:
    """A square of a picture.

    Attributes:
        centre: (x, y), pixels, the centre of pixel (i, j) at exactly (i, j).
        side: Pixels.
    """

    centre: Vector
    side: float

    @classmethod
    def from_box(cls, box: Box, scale: float) -> CropSquare:
        """Makes the published detector's box, times `scale`, from our box of an upright face."""
        x, y, width, height = box
        side = max(width, height)
        middle = np.array([x + width / 2, y + height / 2 - DETECTOR_SHIFT_UP * side])
        return cls(middle, max(DETECTOR_SIDE * scale * side, 1.0))

    def to_picture(self, shares: Points) -> Points:
        """Maps shares (..., 2), 0..1 from the square's upper left corner, to points of the picture."""
        return np.asarray(self.centre + (shares - 0.5) * self.side)

    def crop(self, picture: AnyArray, size: int) -> AnyArray:
        """Cuts the square out, (size, size, channels), anti-aliased; black outside the picture."""
        scale = size / self.side
        corner = (size - 1) / 2 - scale * self.centre
        matrix = np.array([[scale, 0.0, corner[0]], [0.0, scale, corner[1]]])
        return sample_crop(picture, matrix, size, border=cv2.BORDER_CONSTANT)


def make_input_tensor(crops: Sequence[Image8], mean: Sequence[float], deviation: Sequence[float]) -> torch.Tensor:
    """Makes a network's input from crops.

    Args:
        crops: RGB, (size, size, 3), all of one size.
        mean: Per channel, 0..1.
        deviation: Per channel, 0..1.

    Returns:
        float32 (n, 3, size, size): (crop / 255 - mean) / deviation.
    """
    import torch

    values = np.stack(crops).astype(np.float32) / 255
    values = (values - np.asarray(mean, np.float32)) / np.asarray(deviation, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))
