"""The small reenactment network (ours, not published): it retouches a view that is already warped into place.

The geometric engine has warped the view to the target's landmarks. What remains is small and local (an eyelid, the
lips, a cheek that no view shows) or wide and smooth (light). So the network does not draw the face again: it adds to
the view, and at the start of training it adds nothing. How much of a pixel counts as redrawn follows from the added
detail that is finer than light. Where that is little, the view keeps its own detail at the plate's resolution.

There are no norm layers, so a sample does not depend on its batch and there are no running statistics to go stale.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.architectures.operators import resize_bilinear

__all__ = ["RetouchUNet"]

_LEAKY_SLOPE = 0.2
_MAX_LIGHT_CHANGE = 0.5  # the largest change of light, in the range -1..1
_PICTURE_CHANNELS = 3
_LIGHT_CELLS = 16  # cells across the square; what is coarser than a cell counts as light
_REDRAWN_REACH = 5  # pixels; side of the neighbourhood that counts as redrawn with a redrawn pixel
_REDRAWN_SCALE = 0.1  # added detail, in the range -1..1, at which a pixel counts as redrawn by 1 - 1/e (63 %)


class _ResidualBlock(nn.Module):
    """Two convolutions, added to their input; the second starts at zero."""

    def __init__(self, nc: int) -> None:
        super().__init__()
        self.conv1 = _make_convolution(nc, nc)
        self.conv2 = _make_convolution(nc, nc)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv2(
            functional.leaky_relu(self.conv1(functional.leaky_relu(x, _LEAKY_SLOPE)), _LEAKY_SLOPE)
        )
        return result


class RetouchUNet(nn.Module):
    """A U-Net that retouches a warped view.

    Input: (n, in_nc, h, w), the warped view in [-1, 1], then heat maps in 0..1; h and w multiples of 2 ** levels.
    Output: the retouched view (n, 3, h, w), about [-1, 1], and the redrawn share of each pixel (n, 1, h, w), 0..1.

    Args:
        in_nc: Input channels.
        ngf: Channels at full resolution; they double at each halving.
        levels: Number of halvings. Heat maps enter at half resolution.
        max_nc: Upper bound of the channels.
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
        """Computes the retouched view and the redrawn share."""
        view = x[:, :_PICTURE_CHANNELS]
        height, width = x.shape[2], x.shape[3]
        features = self.entry(view)
        skips = []
        for level, (down, inner) in enumerate(zip(self.down, self.inner, strict=True)):
            skips.append(features)
            features = down(functional.leaky_relu(features, _LEAKY_SLOPE))
            if level == 0:
                features = features + self.maps(functional.avg_pool2d(x[:, _PICTURE_CHANNELS:], 2))
            features = inner(features)
        light = _MAX_LIGHT_CHANGE * torch.tanh(self.light(functional.leaky_relu(features, _LEAKY_SLOPE)))
        for level in range(len(self.up) - 1, -1, -1):
            skip = skips[level]
            below = resize_bilinear(functional.leaky_relu(features, _LEAKY_SLOPE), skip.shape[2], skip.shape[3], False)
            features = self.outer[level](skip + self.up[level](below))
        added = torch.tanh(self.added(functional.leaky_relu(features, _LEAKY_SLOPE)))
        coarse = functional.adaptive_avg_pool2d(added, _LIGHT_CELLS)
        fine = (added - resize_bilinear(coarse, height, width, False)).abs().mean(1, keepdim=True)
        fine = functional.avg_pool2d(fine, _REDRAWN_REACH, 1, _REDRAWN_REACH // 2)
        return view + added + resize_bilinear(light, height, width, False), 1 - torch.exp(-fine / _REDRAWN_SCALE)


def _make_convolution(in_nc: int, out_nc: int, stride: int = 1) -> nn.Conv2d:
    """Makes a 3x3 convolution, initialised so that it keeps the variance of its input.

    Without norm layers, the features of the deepest levels would otherwise start near zero.
    """
    convolution = nn.Conv2d(in_nc, out_nc, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(convolution.weight, _LEAKY_SLOPE)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
