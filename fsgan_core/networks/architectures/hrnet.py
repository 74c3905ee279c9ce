"""HRNet-W18 for the 98 WFLW face landmarks. State-dict names as published.

Input 256 px RGB, ImageNet-normalised; output one heat map per landmark at a quarter of the size. How maps are read is
in faces.heatmap.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.architectures.operators import resized

__all__ = ["HRNet"]

_LANDMARKS = 98
_STEM = 64
_FIRST = 256  # channels after the first layer
_WIDTHS = (18, 36, 72, 144)  # per branch, each at half the resolution of the one before
_MODULES = (1, 4, 3)  # exchange modules of stages 2, 3, 4
_BLOCKS = 4  # residual blocks per branch and module


def _convolution(in_nc: int, out_nc: int, kernel: int, stride: int, relu: bool) -> nn.Sequential:
    convolution = nn.Conv2d(in_nc, out_nc, kernel, stride=stride, padding=kernel // 2, bias=False)
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out_nc)]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class _Bottleneck(nn.Module):
    def __init__(self, in_nc: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_nc, _STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.conv2 = nn.Conv2d(_STEM, _STEM, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_STEM)
        self.conv3 = nn.Conv2d(_STEM, _FIRST, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(_FIRST)
        widens = in_nc != _FIRST
        self.downsample = _convolution(in_nc, _FIRST, 1, 1, relu=False) if widens else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class _BasicBlock(nn.Module):
    def __init__(self, nc: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(nc, nc, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(nc)
        self.conv2 = nn.Conv2d(nc, nc, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(nc)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + x)


class _Row(nn.ModuleList):
    """All branches summed at the size and with the channels of the branch `target`."""

    def __init__(self, widths: Sequence[int], target: int) -> None:
        super().__init__(_bring(widths, source, target) for source in range(len(widths)))
        self.target = target

    def forward(self, branches: list[Tensor]) -> Tensor:
        own = branches[self.target]
        total = torch.zeros_like(own)
        for source, bring in enumerate(self):
            brought = bring(branches[source])
            if source > self.target:
                brought = resized(brought, own.shape[2], own.shape[3], False)
            total = total + brought
        return functional.relu(total)


class _Exchange(nn.Module):
    """Residual blocks on every branch, then every branch gets the sum of all, brought to its size and channels."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(_BasicBlock(nc) for _ in range(_BLOCKS))) for nc in widths)
        self.fuse_layers = nn.ModuleList(_Row(widths, target) for target in range(len(widths)))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        done: list[Tensor] = []
        for index, branch in enumerate(self.branches):
            done.append(branch(branches[index]))
        fused: list[Tensor] = []
        for row in self.fuse_layers:
            fused.append(row(done))
        return fused


def _bring(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """To a coarser branch by convolutions of stride 2, to a finer one by 1x1 (then interpolation)."""
    if source == target:
        return nn.Identity()
    if source > target:
        return _convolution(widths[source], widths[target], 1, 1, relu=False)
    steps = [_convolution(widths[source], widths[source], 3, 2, relu=True) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, _convolution(widths[source], widths[target], 3, 2, relu=False))


class _Stage(nn.Module):
    """Exchange modules one after the other, under the names 0, 1, ..."""

    def __init__(self, count: int, widths: Sequence[int]) -> None:
        super().__init__()
        for index in range(count):
            self.add_module(str(index), _Exchange(widths))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        for exchange in self.children():
            branches = exchange(branches)
        return branches


def _new_branch(in_nc: int, out_nc: int) -> nn.Sequential:
    """A branch at half the resolution of the coarsest there is."""
    return nn.Sequential(_convolution(in_nc, out_nc, 3, 2, relu=True))


class HRNet(nn.Module):
    """(n, 3, h, w) -> (n, 98, h / 4, w / 4); h and w multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.conv2 = nn.Conv2d(_STEM, _STEM, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_STEM)
        self.layer1 = nn.Sequential(_Bottleneck(_STEM), *(_Bottleneck(_FIRST) for _ in range(_BLOCKS - 1)))
        self.transition1 = nn.ModuleList(
            [_convolution(_FIRST, _WIDTHS[0], 3, 1, relu=True), _new_branch(_FIRST, _WIDTHS[1])]
        )
        self.stage2 = _Stage(_MODULES[0], _WIDTHS[:2])
        self.transition2 = nn.ModuleDict({"2": _new_branch(_WIDTHS[1], _WIDTHS[2])})
        self.stage3 = _Stage(_MODULES[1], _WIDTHS[:3])
        self.transition3 = nn.ModuleDict({"3": _new_branch(_WIDTHS[2], _WIDTHS[3])})
        self.stage4 = _Stage(_MODULES[2], _WIDTHS)
        total = sum(_WIDTHS)
        self.head = nn.Sequential(
            nn.Conv2d(total, total, 1), nn.BatchNorm2d(total), nn.ReLU(inplace=True), nn.Conv2d(total, _LANDMARKS, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer1(functional.relu(self.bn2(self.conv2(x))))
        branches = self.stage2([self.transition1[0](x), self.transition1[1](x)])
        branches = self.stage3([branches[0], branches[1], self.transition2["2"](branches[1])])
        branches = self.stage4([branches[0], branches[1], branches[2], self.transition3["3"](branches[2])])
        finest = branches[0]
        levels = [finest]
        for branch in branches[1:]:
            levels.append(resized(branch, finest.shape[2], finest.shape[3], False))
        return self.head(torch.cat(levels, dim=1))
