"""Head pose by Hopenet (Ruiz, Chong, Rehg: arXiv 1710.00925): a ResNet-50 with three heads.

Each head has 66 bins of 3 degrees. State-dict names are the published ones. Input is 224 px RGB in [-1, 1]; output is
yaw, pitch and roll in degrees.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Hopenet"]

_BIN_COUNT = 66
_DEGREES_PER_BIN = 3.0
_LOWEST_DEGREES = -99.0
_EXPANSION = 4


class _HopenetBottleneck(nn.Module):
    def __init__(self, in_nc: int, nc: int, stride: int) -> None:
        super().__init__()
        out_nc = nc * _EXPANSION
        self.conv1 = nn.Conv2d(in_nc, nc, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(nc)
        self.conv2 = nn.Conv2d(nc, nc, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(nc)
        self.conv3 = nn.Conv2d(nc, out_nc, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_nc)
        skip: list[nn.Module] = []
        if stride != 1 or in_nc != out_nc:
            skip = [nn.Conv2d(in_nc, out_nc, 1, stride=stride, bias=False), nn.BatchNorm2d(out_nc)]
        self.downsample = nn.Sequential(*skip)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _make_layer(in_nc: int, nc: int, count: int, stride: int) -> nn.Sequential:
    rest = (_HopenetBottleneck(nc * _EXPANSION, nc, 1) for _ in range(count - 1))
    return nn.Sequential(_HopenetBottleneck(in_nc, nc, stride), *rest)


class Hopenet(nn.Module):
    """Estimates head pose.

    Input: (n, 3, h, w), RGB in [-1, 1]; trained on 224 px. Output: (n, 3), yaw, pitch, roll in degrees, -99 to 96.
    """

    def __init__(self) -> None:
        super().__init__()
        self.degrees_per_bin = _DEGREES_PER_BIN
        self.lowest_degrees = _LOWEST_DEGREES
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _make_layer(64, 64, 3, 1)
        self.layer2 = _make_layer(256, 128, 4, 2)
        self.layer3 = _make_layer(512, 256, 6, 2)
        self.layer4 = _make_layer(1024, 512, 3, 2)
        self.fc_yaw = nn.Linear(512 * _EXPANSION, _BIN_COUNT)
        self.fc_pitch = nn.Linear(512 * _EXPANSION, _BIN_COUNT)
        self.fc_roll = nn.Linear(512 * _EXPANSION, _BIN_COUNT)
        self.fc_finetune = nn.Linear(512 * _EXPANSION + 3, 3)  # in the published files, but never run

    def forward(self, x: Tensor) -> Tensor:
        """Computes yaw, pitch and roll."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = x.mean(dim=[2, 3])
        return torch.stack(
            [
                self.compute_degrees(self.fc_yaw(x)),
                self.compute_degrees(self.fc_pitch(x)),
                self.compute_degrees(self.fc_roll(x)),
            ],
            dim=1,
        )

    def compute_degrees(self, logits: Tensor) -> Tensor:
        """Computes the expected angle (n,), in degrees, from the logits of the bins (n, 66)."""
        bins = torch.arange(logits.shape[1], device=logits.device, dtype=logits.dtype)
        return (functional.softmax(logits, dim=1) * bins).sum(dim=1) * self.degrees_per_bin + self.lowest_degrees
