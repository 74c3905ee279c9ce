"""The crop that the published face networks see: an upright square around the face.

The detector's box is scaled, made square by its longer side and resized; outside the picture the crop is black (FSGAN,
arXiv 1908.05932). A share 0..1 of the crop is a share of that square, however many pixels the crop has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.geometry import Box
from fsgan_core.runtime.arrays import AnyArray, Image8

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


def fit_published_square(box: Box, scale: float) -> RotatedSquare:
    """Makes the published detector's box, times `scale`, from our box of an upright face."""
    x, y, width, height = box
    side = max(width, height)
    middle = np.array([x + width / 2, y + height / 2 - DETECTOR_SHIFT_UP * side])
    return RotatedSquare(middle, max(DETECTOR_SIDE * scale * side, 1.0))


def crop_published(picture: AnyArray, square: RotatedSquare, size: int) -> AnyArray:
    """Cuts the square out, (size, size, channels), anti-aliased; black outside the picture."""
    return square.crop(picture, size, cv2.BORDER_CONSTANT)


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

    values = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32, order="C") / 255
    shift, scale = (np.asarray(numbers, np.float32)[:, None, None] for numbers in (mean, deviation))
    return torch.from_numpy((values - shift) / scale)
