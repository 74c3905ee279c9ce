"""The small reenactment network, ours and not published: it retouches a view that is in place already.

The geometric engine has brought the view to the target's landmarks. What is left to do is little and local (a lid, the
lips, a cheek that no view shows) or wide and smooth (light). So the network does not draw the face anew: it adds to the
view, and nothing at first. How much it has redrawn follows from what it has added that is finer than light; where that
is little, the view's own detail stands, to the plate's own resolution.

No norm layers: a sample is never judged by its batch, and there are no running statistics to be out of date.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.architectures.operators import resize_bilinear

__all__ = ["RetouchUNet"]

_LEAKY_SLOPE = 0.2
_MAX_LIGHT_CHANGE = 0.5  # of the range -1..1: how far light may be changed
_PICTURE_CHANNELS = 3
_LIGHT_CELLS = 16  # across the face's square: what is coarser is light
_REDRAWN_REACH = 5  # pixels: around what was redrawn detail gives way too
_REDRAWN_SCALE = 0.1  # of the range -1..1: so much added, two thirds of a pixel count as redrawn


class _ResidualBlock(nn.Module):
    """Two convolutions beside the way straight through; the second begins at zero."""

    def __init__(self, nc: int) -> None:
        super().__init__()
        self.conv1 = _make_convolution(nc, nc)
        self.conv2 = _make_convolution(nc, nc)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(functional.leaky_relu(self.conv1(functional.leaky_relu(x, _LEAKY_SLOPE)), _LEAKY_SLOPE))


class RetouchUNet(nn.Module):
    """(n, in_nc, h, w), the warped view in [-1, 1] and heat maps in 0..1 -> the retouched view (n, 3, h, w), about
    [-1, 1], and the share of each pixel that was redrawn (n, 1, h, w), 0..1; h and w multiples of 2 ** levels.

    Channels double from `ngf` at each of `levels` halvings and stop at `max_nc`. Heat maps enter at half resolution.
    """

    def __init__(self, in_nc: int, ngf: int = 16, levels: int = 4, max_nc: int = 128) -> None:
        super().__init__()
        widths = [min(ngf * 2**level, max_nc) for level in range(levels + 1)]
        self.entry = _make_convolution(_PICTURE_CHANNELS, widths[0])
        self.maps = _make_convolution(in_nc - _PICTURE_CHANNELS, widths[1])
        self.down = nn.ModuleList(_make_convolution(a, b, 2) for a, b in pairwise(widths))
        self.inner = nn.ModuleList(_ResidualBlock(width) for width in widths[1:])
        self.up = nn.ModuleList(_make_convolution(b, a) for a, b in pairwise(widths))
        self.outer = nn.ModuleList(_ResidualBlock(width) for width in widths[:-1])
        self.light = _make_convolution(widths[-1], _PICTURE_CHANNELS)
        self.added = _make_convolution(widths[0], _PICTURE_CHANNELS)
        for head in (self.light, self.added):
            nn.init.zeros_(head.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        view = x[:, :_PICTURE_CHANNELS]
        height, width = x.shape[2], x.shape[3]
        features = self.entry(view)
        kept = []
        for level, (down, inner) in enumerate(zip(self.down, self.inner, strict=True)):
            kept.append(features)
            features = down(functional.leaky_relu(features, _LEAKY_SLOPE))
            if level == 0:
                features = features + self.maps(functional.avg_pool2d(x[:, _PICTURE_CHANNELS:], 2))
            features = inner(features)
        light = _MAX_LIGHT_CHANGE * torch.tanh(self.light(functional.leaky_relu(features, _LEAKY_SLOPE)))
        for level in range(len(self.up) - 1, -1, -1):
            skip = kept[level]
            below = resize_bilinear(functional.leaky_relu(features, _LEAKY_SLOPE), skip.shape[2], skip.shape[3], False)
            features = self.outer[level](skip + self.up[level](below))
        added = torch.tanh(self.added(functional.leaky_relu(features, _LEAKY_SLOPE)))
        coarse = functional.adaptive_avg_pool2d(added, _LIGHT_CELLS)
        fine = (added - resize_bilinear(coarse, height, width, False)).abs().mean(1, keepdim=True)
        fine = functional.avg_pool2d(fine, _REDRAWN_REACH, 1, _REDRAWN_REACH // 2)
        return view + added + resize_bilinear(light, height, width, False), 1 - torch.exp(-fine / _REDRAWN_SCALE)


def _make_convolution(in_nc: int, out_nc: int, stride: int = 1) -> nn.Conv2d:
    """Without norm layers the deepest levels would begin at next to nothing, were each not to keep its input's size."""
    made = nn.Conv2d(in_nc, out_nc, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(made.weight, _LEAKY_SLOPE)
    assert made.bias is not None
    nn.init.zeros_(made.bias)
    return made
