"""HRNet-W18 for the 98 WFLW face landmarks (Wang et al., arXiv 1908.07919). State-dict names are the published ones.

Input is 256 px RGB, normalised as for ImageNet. Output is one heat map per landmark at a quarter of the size;
`faces.heatmap` reads the maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.architectures.operators import resize_bilinear

__all__ = ["HRNet"]

_LANDMARK_COUNT = 98
_STEM_WIDTH = 64
_FIRST_WIDTH = 256  # channels after the first layer
_BRANCH_WIDTHS = (18, 36, 72, 144)  # per branch, each at half the resolution of the one before
_MODULE_COUNTS = (1, 4, 3)  # exchange modules of stages 2, 3, 4
_BLOCK_COUNT = 4  # residual blocks per branch and module


def _make_convolution(in_nc: int, out_nc: int, kernel: int, stride: int, relu: bool) -> nn.Sequential:
    convolution = nn.Conv2d(in_nc, out_nc, kernel, stride=stride, padding=kernel // 2, bias=False)
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out_nc)]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class _HRNetBottleneck(nn.Module):
    def __init__(self, in_nc: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_nc, _STEM_WIDTH, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH)
        self.conv2 = nn.Conv2d(_STEM_WIDTH, _STEM_WIDTH, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_STEM_WIDTH)
        self.conv3 = nn.Conv2d(_STEM_WIDTH, _FIRST_WIDTH, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(_FIRST_WIDTH)
        widens = in_nc != _FIRST_WIDTH
        self.downsample = _make_convolution(in_nc, _FIRST_WIDTH, 1, 1, relu=False) if widens else nn.Sequential()

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


class _FuseRow(nn.ModuleList):
    """Sums all branches at the size and with the channels of the branch `target`."""

    def __init__(self, widths: Sequence[int], target: int) -> None:
        super().__init__(_make_branch_adapter(widths, source, target) for source in range(len(widths)))
        self.target = target

    def forward(self, branches: list[Tensor]) -> Tensor:
        own = branches[self.target]
        total = torch.zeros_like(own)
        for source, adapter in enumerate(self):
            adapted = adapter(branches[source])
            if source > self.target:
                adapted = resize_bilinear(adapted, own.shape[2], own.shape[3], False)
            total = total + adapted
        return functional.relu(total)


class _ExchangeModule(nn.Module):
    """Runs residual blocks on every branch, then gives every branch the sum of all, at its own size and channels."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(_BasicBlock(nc) for _ in range(_BLOCK_COUNT))) for nc in widths)
        self.fuse_layers = nn.ModuleList(_FuseRow(widths, target) for target in range(len(widths)))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        done: list[Tensor] = []
        for index, branch in enumerate(self.branches):
            done.append(branch(branches[index]))
        fused: list[Tensor] = []
        for row in self.fuse_layers:
            fused.append(row(done))
        return fused


def _make_branch_adapter(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Makes the layers between two branches: stride 2 to a coarser one, 1x1 to a finer one (resized by the caller)."""
    if source == target:
        return nn.Identity()
    if source > target:
        return _make_convolution(widths[source], widths[target], 1, 1, relu=False)
    steps = [_make_convolution(widths[source], widths[source], 3, 2, relu=True) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, _make_convolution(widths[source], widths[target], 3, 2, relu=False))


class _Stage(nn.Module):
    """Exchange modules one after the other, under the names 0, 1, ..."""

    def __init__(self, count: int, widths: Sequence[int]) -> None:
        super().__init__()
        for index in range(count):
            self.add_module(str(index), _ExchangeModule(widths))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        for exchange in self.children():
            branches = exchange(branches)
        return branches


def _make_branch(in_nc: int, out_nc: int) -> nn.Sequential:
    """Makes the entry of a new branch, at half the resolution of the coarsest one."""
    return nn.Sequential(_make_convolution(in_nc, out_nc, 3, 2, relu=True))


class HRNet(nn.Module):
    """Draws a heat map for each of the 98 landmarks.

    Input: (n, 3, h, w), h and w multiples of 32. Output: (n, 98, h / 4, w / 4).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM_WIDTH, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH)
        self.conv2 = nn.Conv2d(_STEM_WIDTH, _STEM_WIDTH, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_STEM_WIDTH)
        self.layer1 = nn.Sequential(
            _HRNetBottleneck(_STEM_WIDTH), *(_HRNetBottleneck(_FIRST_WIDTH) for _ in range(_BLOCK_COUNT - 1))
        )
        self.transition1 = nn.ModuleList(
            [
                _make_convolution(_FIRST_WIDTH, _BRANCH_WIDTHS[0], 3, 1, relu=True),
                _make_branch(_FIRST_WIDTH, _BRANCH_WIDTHS[1]),
            ]
        )
        self.stage2 = _Stage(_MODULE_COUNTS[0], _BRANCH_WIDTHS[:2])
        self.transition2 = nn.ModuleDict({"2": _make_branch(_BRANCH_WIDTHS[1], _BRANCH_WIDTHS[2])})
        self.stage3 = _Stage(_MODULE_COUNTS[1], _BRANCH_WIDTHS[:3])
        self.transition3 = nn.ModuleDict({"3": _make_branch(_BRANCH_WIDTHS[2], _BRANCH_WIDTHS[3])})
        self.stage4 = _Stage(_MODULE_COUNTS[2], _BRANCH_WIDTHS)
        total = sum(_BRANCH_WIDTHS)
        self.head = nn.Sequential(
            nn.Conv2d(total, total, 1),
            nn.BatchNorm2d(total),
            nn.ReLU(inplace=True),
            nn.Conv2d(total, _LANDMARK_COUNT, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Computes the heat maps."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer1(functional.relu(self.bn2(self.conv2(x))))
        branches = self.stage2([self.transition1[0](x), self.transition1[1](x)])
        branches = self.stage3([branches[0], branches[1], self.transition2["2"](branches[1])])
        branches = self.stage4([branches[0], branches[1], branches[2], self.transition3["3"](branches[2])])
        finest = branches[0]
        levels = [finest]
        for branch in branches[1:]:
            levels.append(resize_bilinear(branch, finest.shape[2], finest.shape[3], False))
        result: Tensor = self.head(torch.cat(levels, dim=1))
        return result
