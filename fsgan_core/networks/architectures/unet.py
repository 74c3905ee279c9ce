"""The segmentation network: a U-Net; both published variants are this one network under two constructors.

State-dict names as published. Input RGB in [-1, 1], output logits of background, face, hair.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.architectures.operators import resize_bilinear

__all__ = ["UNet", "make_unet"]

_WIDTHS = (64, 128, 256, 512, 1024)


class _ConvolutionPair(nn.Module):
    """Two 3x3 convolutions with bias, each followed by batch norm where `norm`, and ReLU."""

    def __init__(self, in_nc: int, out_nc: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = _make_convolution(in_nc, out_nc, norm)
        self.conv2 = _make_convolution(out_nc, out_nc, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class _UpBlock(nn.Module):
    """Bilinear x2, a 1x1 convolution to the skip's channels, the two side by side through a convolution pair."""

    def __init__(self, in_nc: int, out_nc: int) -> None:
        super().__init__()
        self.conv = _ConvolutionPair(in_nc, out_nc, norm=False)
        self.conv1d = nn.Conv2d(in_nc, out_nc, 1)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        # The 1x1 convolution and the bilinear interpolation commute (the weights of the four neighbours sum to 1):
        # a quarter of the work is done at the small size, to within the last bits.
        up = resize_bilinear(self.conv1d(below), 2 * below.shape[2], 2 * below.shape[3], True)
        return self.conv(torch.cat([skip, up], dim=1))


class UNet(nn.Module):
    """(n, in_channels, h, w) -> (n, num_classes, h, w) logits; h and w multiples of 16.

    feature_scale divides the widths 64, 128, 256, 512, 1024.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, feature_scale: int = 1) -> None:
        super().__init__()
        a, b, c, d, e = (width // feature_scale for width in _WIDTHS)
        self.conv1 = _ConvolutionPair(in_channels, a, norm=True)
        self.conv2 = _ConvolutionPair(a, b, norm=True)
        self.conv3 = _ConvolutionPair(b, c, norm=True)
        self.conv4 = _ConvolutionPair(c, d, norm=True)
        self.center = _ConvolutionPair(d, e, norm=True)
        self.up_concat4 = _UpBlock(e, d)
        self.up_concat3 = _UpBlock(d, c)
        self.up_concat2 = _UpBlock(c, b)
        self.up_concat1 = _UpBlock(b, a)
        self.final = nn.Conv2d(a, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        level1 = self.conv1(x)
        level2 = self.conv2(functional.max_pool2d(level1, 2))
        level3 = self.conv3(functional.max_pool2d(level2, 2))
        level4 = self.conv4(functional.max_pool2d(level3, 2))
        up = self.up_concat4(level4, self.center(functional.max_pool2d(level4, 2)))
        up = self.up_concat3(level3, up)
        up = self.up_concat2(level2, up)
        return self.final(self.up_concat1(level1, up))


def make_unet(n_classes: int, in_channels: int = 3, feature_scale: int = 4) -> UNet:
    """UNet under the first version's argument name."""
    return UNet(n_classes, in_channels, feature_scale)


def _make_convolution(in_nc: int, out_nc: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_nc, out_nc, 3, padding=1)]
    if norm:
        layers.append(nn.BatchNorm2d(out_nc))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))
