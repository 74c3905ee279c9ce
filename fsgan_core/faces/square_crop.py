"""What the published face networks look at: a square around the face, as it stands in the picture, without rotation.

The detector's box is scaled, made square by its longer side and resized; outside the picture it is black (FSGAN, arXiv
1908.05932). A share 0..1 of the crop is a share of that square, whatever the crop's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from fsgan_core.faces.geometry import Box, sample_crop

if TYPE_CHECKING:
    import torch

# The published detector's box from ours (pose.face_box, 156 mm of the head), in units of our box's side: its longer
# side, and how far its middle lies towards the forehead. SFD and DSFD were trained on WIDER FACE's boxes, forehead to
# chin; measured with MTCNN, which was trained on the same, on 138 pictures of 40 people: 0.91 wide (quartiles 0.04
# apart), 1.23 high (0.11), middle 0.08 up (0.03). So a crop of 1.2 is 230 mm of the head, from 95 mm above the eyes
# down.
DETECTOR_SIDE = 1.23
DETECTOR_SHIFT_UP = 0.08


class RunnableNetwork(Protocol):
    """A network that is ready to run, as networks.inference hands it out."""

    def run(self, x: torch.Tensor) -> Any:
        """float32 (n, channels, height, width) in, the network's answer as a float32 tensor out."""
        ...


@dataclass(frozen=True)
class CropSquare:
    """A square of a picture. centre: (x, y), side: pixels, the centre of pixel (i, j) at exactly (i, j)."""

    centre: np.ndarray
    side: float

    @classmethod
    def from_box(cls, box: Box, scale: float) -> CropSquare:
        """The published detector's box, scaled, of a face in our `box` (x, y, width, height), taken to be upright."""
        x, y, width, height = box
        side = max(width, height)
        middle = np.array([x + width / 2, y + height / 2 - DETECTOR_SHIFT_UP * side])
        return cls(middle, max(DETECTOR_SIDE * scale * side, 1.0))

    def to_picture(self, shares: np.ndarray) -> np.ndarray:
        """Picture points (..., 2) of shares (..., 2), 0..1 from the square's upper left corner."""
        return np.asarray(self.centre + (shares - 0.5) * self.side)

    def to_fractions(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `points`."""
        return np.asarray((points - self.centre) / self.side + 0.5)

    def crop(self, picture: np.ndarray, size: int) -> np.ndarray:
        """uint8 (size, size, RGB) of `picture`, anti-aliased; black outside it."""
        scale = size / self.side
        corner = (size - 1) / 2 - scale * self.centre
        matrix = np.array([[scale, 0.0, corner[0]], [0.0, scale, corner[1]]])
        return sample_crop(picture, matrix, size, border=cv2.BORDER_CONSTANT)


def make_input_tensor(crops: Sequence[np.ndarray], mean: Sequence[float], deviation: Sequence[float]) -> torch.Tensor:
    """float32 (n, 3, size, size): (crop / 255 - mean) / deviation, by channel, of uint8 RGB crops."""
    import torch

    values = np.stack(crops).astype(np.float32) / 255
    values = (values - np.asarray(mean, np.float32)) / np.asarray(deviation, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))
