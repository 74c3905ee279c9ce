"""dlib's face descriptor as a torch module, so that it runs without dlib.

The network is dlib's 29-layer ResNet (dlib's example dnn_face_recognition_ex): convolutions, four halvings by blocks
without padding, and shortcuts that are averaged and padded with zeros. dlib's scale and bias after each convolution are
part of the convolution here (networks/weights/dlib_reader.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FaceResNet"]

CHIP_SIDE = 150  # pixels; side of an aligned face picture ("chip")
_MEAN = (122.782, 117.001, 104.298)  # R, G, B in 0..255, from dlib
_BLOCK_LAYOUT = (
    (32, False, 3),
    (64, True, 3),
    (128, True, 2),
    (256, True, 2),
    (256, True, 0),
)  # channels, whether a halving block comes first, number of plain blocks
_FIRST_SIDE = 35  # pixels of the first block's picture


class _DlibBlock(nn.Module):
    """Two convolutions and a shortcut; the smaller of two pictures is padded with zeros at its end, as in dlib."""

    def __init__(self, in_nc: int, nc: int, halves: bool, side: int) -> None:
        super().__init__()
        self._halves = halves
        self._more_channels = nc - in_nc
        self._more_pixels = 1 if halves and side % 2 == 0 else 0  # the convolution sees one pixel less than the mean
        self.first = nn.Conv2d(in_nc, nc, 3, 2 if halves else 1, 0 if halves else 1)
        self.second = nn.Conv2d(nc, nc, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x)))
        if self._halves:
            x = functional.avg_pool2d(x, 2)
        if self._more_pixels:
            y = functional.pad(y, (0, self._more_pixels, 0, self._more_pixels))
        if self._more_channels:
            x = functional.pad(x, (0, 0, 0, 0, 0, self._more_channels))
        return functional.relu(x + y)


class FaceResNet(nn.Module):
    """Describes aligned faces.

    Input: (n, 3, 150, 150), RGB in 0..255, aligned as in `faces.identity`. Output: (n, 128) descriptors.
    """

    cpu_threads = 1  # a chip is too small to be shared between threads
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.stem = nn.Conv2d(3, 32, 7, 2)
        blocks, before, side = [], 32, _FIRST_SIDE
        for channels, halves, count in _BLOCK_LAYOUT:
            if halves:
                blocks.append(_DlibBlock(before, channels, True, side))
                side //= 2
            blocks += [_DlibBlock(channels, channels, False, side) for _ in range(count)]
            before = channels
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(before, 128, bias=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Computes the descriptors."""
        x = functional.relu(self.stem((chips - self.mean) / 256))
        x = self.blocks(functional.max_pool2d(x, 3, 2))
        described: Tensor = self.last(x.mean((2, 3)))
        return described
