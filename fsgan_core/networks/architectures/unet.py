"""The segmentation network: a U-Net. Both published variants are this one network under two constructors.

State-dict names are the published ones. Input is RGB in [-1, 1]; output is logits of background, face and hair.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.architectures.operators import resize_bilinear

__all__ = ["UNet", "make_unet"]

_WIDTHS = (64, 128, 256, 512, 1024)


class _ConvolutionPair(nn.Module):
    """Two 3x3 convolutions with bias, each followed by batch norm (if `norm`) and ReLU."""

    def __init__(self, in_nc: int, out_nc: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = _make_convolution(in_nc, out_nc, norm)
        self.conv2 = _make_convolution(out_nc, out_nc, norm)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv2(self.conv1(x))
        return result


class _UpBlock(nn.Module):
    """Doubles the size, brings the result to the skip's channels, and runs both through a convolution pair."""

    def __init__(self, in_nc: int, out_nc: int) -> None:
        super().__init__()
        self.conv = _ConvolutionPair(in_nc, out_nc, norm=False)
        self.conv1d = nn.Conv2d(in_nc, out_nc, 1)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        # The published order is resize, then convolve. A 1x1 convolution and bilinear interpolation commute (the
        # weights of the four neighbours sum to 1), and the convolution costs a quarter at the small size. The results
        # differ in the last bits only.
        up = resize_bilinear(self.conv1d(below), 2 * below.shape[2], 2 * below.shape[3], True)
        result: Tensor = self.conv(torch.cat([skip, up], dim=1))
        return result


class UNet(nn.Module):
    """A U-Net with four halvings.

    Input: (n, in_channels, h, w), h and w multiples of 16. Output: logits (n, num_classes, h, w).

    Args:
        num_classes: Output channels.
        in_channels: Input channels.
        feature_scale: Divides the widths 64, 128, 256, 512, 1024.
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
        """Computes the logits."""
        level1 = self.conv1(x)
        level2 = self.conv2(functional.max_pool2d(level1, 2))
        level3 = self.conv3(functional.max_pool2d(level2, 2))
        level4 = self.conv4(functional.max_pool2d(level3, 2))
        up = self.up_concat4(level4, self.center(functional.max_pool2d(level4, 2)))
        up = self.up_concat3(level3, up)
        up = self.up_concat2(level2, up)
        result: Tensor = self.final(self.up_concat1(level1, up))
        return result


def make_unet(n_classes: int, in_channels: int = 3, feature_scale: int = 4) -> UNet:
    """Makes a UNet with the argument names and defaults of FSGAN v1."""
    return UNet(n_classes, in_channels, feature_scale)


def _make_convolution(in_nc: int, out_nc: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_nc, out_nc, 3, padding=1)]
    if norm:
        layers.append(nn.BatchNorm2d(out_nc))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))
