"""The generators: a residual U-Net, and one at half resolution with a local enhancer at full resolution.

Layout and state-dict names are the published ones (FSGAN, arXiv 1908.05932, and FSGANv2, arXiv 2202.12972): reflection
padding, convolutions without bias before batch norm, skips by addition. Pictures in and out are RGB in [-1, 1]. Every
forward of a generator takes one tensor, is typed for torch.jit.script, and works on any device and dtype.

The two published versions differ in the enhancer. That of version 2 works at full resolution. That of version 1 goes
down to half resolution, adds the features of the U-Net there, and comes up again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.architectures.operators import resize_bilinear

__all__ = ["MultiScaleResUNet", "ResUNet", "SplitMultiScaleResUNet"]

_HEAD_KERNEL = 7
# The smaller landmark convention. A network with at least so many channels beside the picture takes landmark maps.
_LANDMARK_COUNT = 68


def _make_convolution_layers(in_nc: int, out_nc: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Makes reflection padding, a convolution without bias and batch norm; the caller adds the activation."""
    return [
        nn.ReflectionPad2d(kernel // 2),
        nn.Conv2d(in_nc, out_nc, kernel, stride=stride, bias=False),
        nn.BatchNorm2d(out_nc),
    ]


def _make_entry(in_nc: int, out_nc: int) -> nn.Sequential:
    return nn.Sequential(*_make_convolution_layers(in_nc, out_nc, _HEAD_KERNEL), nn.ReLU(inplace=True))


def _make_head(in_nc: int, out_nc: int) -> nn.Sequential:
    """Makes the layers from features to a picture in [-1, 1]."""
    convolution = nn.Conv2d(in_nc, out_nc, _HEAD_KERNEL, bias=False)
    return nn.Sequential(nn.ReflectionPad2d(_HEAD_KERNEL // 2), convolution, nn.Tanh())


class ResidualBlock(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, nc: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *_make_convolution_layers(nc, nc, 3), nn.ReLU(inplace=True), *_make_convolution_layers(nc, nc, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, nc, h, w) to the same shape."""
        return functional.relu(x + self.model(x))


class FlatBlock(nn.Module):
    """`count` residual blocks; with 0 the features pass unchanged."""

    def __init__(self, nc: int, count: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(ResidualBlock(nc) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, nc, h, w) to the same shape."""
        result: Tensor = self.model(x)
        return result


class DownBlock(nn.Module):
    """Halves the size: two convolutions, the first of stride 2."""

    def __init__(self, in_nc: int, out_nc: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *_make_convolution_layers(in_nc, out_nc, 3, stride=2),
            nn.ReLU(inplace=True),
            *_make_convolution_layers(out_nc, out_nc, 3),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_nc, h, w) to (n, out_nc, h / 2, w / 2)."""
        result: Tensor = self.model(x)
        return result


class UpBlock(nn.Module):
    """Doubles the size: bilinear resizing, then one convolution."""

    def __init__(self, in_nc: int, out_nc: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*_make_convolution_layers(in_nc, out_nc, 3), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_nc, h, w) to (n, out_nc, 2h, 2w)."""
        result: Tensor = self.model(resize_bilinear(x, 2 * x.shape[2], 2 * x.shape[3], False))
        return result


class InnermostLevel(nn.Module):
    """The bottom of the U: residual blocks."""

    def __init__(self, nc: int, count: int) -> None:
        super().__init__()
        self.flat_block = FlatBlock(nc, count)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, nc, h, w) to the same shape."""
        result: Tensor = self.flat_block(x)
        return result


class Level(nn.Module):
    """One level of the U: down, the levels below, up, add the skip, residual blocks."""

    def __init__(self, nc: int, inner_nc: int, submodule: nn.Module, count: int) -> None:
        super().__init__()
        self.submodule = submodule
        self.down_block = DownBlock(nc, inner_nc)
        self.up_block = UpBlock(inner_nc, nc)
        self.flat_block = FlatBlock(nc, count)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, nc, h, w) to the same shape."""
        result: Tensor = self.flat_block(x + self.up_block(self.submodule(self.down_block(x))))
        return result


class _ResUNetTrunk(nn.Module):
    """The entry and the U of a residual U-Net; the subclasses add the heads under their published names."""

    def __init__(self, in_nc: int, max_nc: int, ngf: int, flat_layers: Sequence[int]) -> None:
        super().__init__()
        widths = [min(ngf * 2**depth, max_nc) for depth in range(len(flat_layers))]
        self.in_conv = _make_entry(in_nc, widths[0])
        inner: nn.Module = InnermostLevel(widths[-1], flat_layers[-1])
        for depth in reversed(range(len(flat_layers) - 1)):
            inner = Level(widths[depth], widths[depth + 1], inner, flat_layers[depth])
        self.inner = inner
        self.out_channels = widths[0]

    def compute_features(self, x: Tensor) -> Tensor:
        """Maps (n, in_nc, h, w) to features (n, ngf, h, w)."""
        result: Tensor = self.inner(self.in_conv(x))
        return result


class ResUNet(_ResUNetTrunk):
    """A residual U-Net with one head.

    Input: (n, in_nc, h, w), h and w multiples of 2 ** (levels - 1). Output: (n, out_nc, h, w) in [-1, 1].

    Args:
        in_nc: Input channels.
        out_nc: Output channels.
        max_nc: Upper bound of the channels, which double at each level.
        ngf: Channels of the outermost level.
        flat_layers: Residual blocks per level, outermost first; its length is the number of levels.
    """

    def __init__(self, in_nc: int, out_nc: int, max_nc: int, ngf: int, flat_layers: Sequence[int]) -> None:
        super().__init__(in_nc, max_nc, ngf, flat_layers)
        self.out_conv = _make_head(self.out_channels, out_nc)

    def forward(self, x: Tensor) -> Tensor:
        """Computes the picture."""
        result: Tensor = self.out_conv(self.compute_features(x))
        return result


class _SplitResUNet(_ResUNetTrunk):
    def __init__(self, in_nc: int, out_nc: Sequence[int], max_nc: int, ngf: int, flat_layers: Sequence[int]) -> None:
        super().__init__(in_nc, max_nc, ngf, flat_layers)
        self.out_conv1 = _make_head(self.out_channels, out_nc[0])
        self.out_conv2 = _make_head(self.out_channels, out_nc[1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.compute_features(x)
        return self.out_conv1(features), self.out_conv2(features)


class _EnhancerTrunk(nn.Module):
    """Full resolution: its own entry plus the upsampled features of half resolution, then residual blocks."""

    def __init__(self, in_nc: int, ngf: int, inner_nc: int, count: int) -> None:
        super().__init__()
        self.in_conv = _make_entry(in_nc, ngf)
        self.up_block = UpBlock(inner_nc, ngf)
        self.flat_block = FlatBlock(ngf, count)

    def compute_features(self, x: Tensor, below: Tensor) -> Tensor:
        """Maps the input (n, in_nc, h, w) and the trunk's features (n, c, h / 2, w / 2) to features (n, ngf, h, w)."""
        result: Tensor = self.flat_block(self.in_conv(x) + self.up_block(below))
        return result


class Enhancer(_EnhancerTrunk):
    """The local enhancer with one head."""

    def __init__(self, in_nc: int, out_nc: int, ngf: int, inner_nc: int, count: int) -> None:
        super().__init__(in_nc, ngf, inner_nc, count)
        self.out_conv = _make_head(ngf, out_nc)

    def forward(self, x: Tensor, below: Tensor) -> Tensor:
        """Computes the picture from the input and the features of half resolution."""
        result: Tensor = self.out_conv(self.compute_features(x, below))
        return result


class _SplitEnhancer(_EnhancerTrunk):
    def __init__(self, in_nc: int, out_nc: Sequence[int], ngf: int, inner_nc: int, count: int) -> None:
        super().__init__(in_nc, ngf, inner_nc, count)
        self.out_conv1 = _make_head(ngf, out_nc[0])
        self.out_conv2 = _make_head(ngf, out_nc[1])

    def forward(self, x: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        features = self.compute_features(x, below)
        return self.out_conv1(features), self.out_conv2(features)


class _EnhancerV1Trunk(nn.Module):
    """The enhancer's layers in version 1: its residual blocks work at half resolution, like the trunk's features."""

    def __init__(self, in_nc: int, ngf: int, count: int) -> None:
        super().__init__()
        self.in_conv = _make_entry(in_nc, ngf)
        self.down_block = DownBlock(ngf, 2 * ngf)
        self.flat_block = FlatBlock(2 * ngf, count)
        self.up_block = UpBlock(2 * ngf, ngf)

    def compute_features(self, x: Tensor, below: Tensor) -> Tensor:
        """Maps the input (n, in_nc, h, w) and features (n, 2 ngf, h / 2, w / 2) to features (n, ngf, h, w)."""
        result: Tensor = self.up_block(self.flat_block(self.down_block(self.in_conv(x)) + below))
        return result


class EnhancerV1(_EnhancerV1Trunk):
    """The local enhancer of version 1 with one head."""

    def __init__(self, in_nc: int, out_nc: int, ngf: int, count: int) -> None:
        super().__init__(in_nc, ngf, count)
        self.out_conv = _make_head(ngf, out_nc)

    def forward(self, x: Tensor, below: Tensor) -> Tensor:
        """Computes the picture from the input and the features of half resolution."""
        result: Tensor = self.out_conv(self.compute_features(x, below))
        return result


class _SplitEnhancerV1(_EnhancerV1Trunk):
    def __init__(self, in_nc: int, out_nc: Sequence[int], ngf: int, count: int) -> None:
        super().__init__(in_nc, ngf, count)
        self.out_conv1 = _make_head(ngf, out_nc[0])
        self.out_conv2 = _make_head(ngf, out_nc[1])

    def forward(self, x: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        features = self.compute_features(x, below)
        return self.out_conv1(features), self.out_conv2(features)


def _halve(x: Tensor) -> Tensor:
    """Computes the next pyramid level of pictures and mattes: the mean of 3 x 3 pixels at every second pixel."""
    return functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def _halve_picture(x: Tensor) -> Tensor:
    """Computes the next pyramid level of a picture: filtered with 1 4 6 4 1 at every second pixel."""
    picture = functional.pad(x, [2, 2, 2, 2], mode="reflect")
    # Four means of 2 pixels make the kernel 1 4 6 4 1, without a kernel tensor that must follow device and dtype.
    for _ in range(3):
        picture = functional.avg_pool2d(picture, 2, stride=1)
    return functional.avg_pool2d(picture, 2)


class _PyramidNetwork(nn.Module):
    """A network that makes the second level of its input pyramid itself.

    Attributes:
        takes_maps: Whether the channels beside the picture are landmark maps. Then the published pipeline draws them
            again for pixels twice as large. The mean of 2 x 2 pixels is nearly the same.
        has_half_maps: Whether the input ends with further channels that hold the maps of half size, as they were drawn.
            `torch.pixel_shuffle` packs four of them into one channel of full size; missing ones are 0.
    """

    def __init__(self, in_nc: int) -> None:
        super().__init__()
        self.in_nc = in_nc
        self.takes_maps = in_nc >= 3 + _LANDMARK_COUNT
        self.has_half_maps = False

    def first_level(self, x: Tensor) -> Tensor:
        """Returns the input at full size, without the maps of half size."""
        return x[:, : self.in_nc] if self.has_half_maps else x

    def halve(self, x: Tensor) -> Tensor:
        """Computes the next pyramid level, as the published pipeline does for the network's kind of input."""
        if not self.takes_maps:
            return _halve(x)
        if self.has_half_maps:
            maps = functional.pixel_unshuffle(x[:, self.in_nc :], 2)[:, : self.in_nc - 3]
        else:
            maps = functional.avg_pool2d(x[:, 3:], 2)
        return torch.cat([_halve_picture(x[:, :3]), maps], dim=1)


class MultiScaleResUNet(_PyramidNetwork):
    """A residual U-Net at half resolution with an enhancer at full resolution.

    Input: (n, in_nc, h, w), h and w multiples of 2 ** levels (8 in the published networks). Output: (n, out_nc, h, w)
    in [-1, 1].

    The pyramid of two levels is made here, as in the published pipeline. The head of `base` is in the published files
    but is not run: only its features are used. (If the published class gets a single tensor, it runs only `base`, at
    full resolution. Nothing in its pipeline does that, but the parity cases do.)

    Args:
        in_nc: Input channels.
        out_nc: Output channels.
        max_nc: Upper bound of the channels.
        ngf: Channels of the enhancer; those of `base` start at twice as many.
        flat_layers: Residual blocks of the enhancer, then of each level of `base`.
        version: 1 or 2, the published version whose enhancer it has.
    """

    def __init__(
        self, in_nc: int, out_nc: int, max_nc: int, ngf: int, flat_layers: Sequence[int], version: int = 2
    ) -> None:
        super().__init__(in_nc)
        self.base = ResUNet(in_nc, out_nc, max_nc, 2 * ngf, flat_layers[1:])
        self.enhancer1: nn.Module = (
            EnhancerV1(in_nc, out_nc, ngf, flat_layers[0])
            if version == 1
            else Enhancer(in_nc, out_nc, ngf, self.base.out_channels, flat_layers[0])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Computes the picture."""
        result: Tensor = self.enhancer1(self.first_level(x), self.base.compute_features(self.halve(x)))
        return result


class SplitMultiScaleResUNet(_PyramidNetwork):
    """A MultiScaleResUNet with two heads, a picture and a segmentation, as in the reenactment network of FSGAN v1.

    Input: (n, in_nc, h, w). Output: (n, out_nc[0], h, w) and (n, out_nc[1], h, w), both in [-1, 1].
    """

    def __init__(
        self, in_nc: int, out_nc: Sequence[int], max_nc: int, ngf: int, flat_layers: Sequence[int], version: int = 2
    ) -> None:
        super().__init__(in_nc)
        self.base = _SplitResUNet(in_nc, out_nc, max_nc, 2 * ngf, flat_layers[1:])
        self.enhancer1: nn.Module = (
            _SplitEnhancerV1(in_nc, out_nc, ngf, flat_layers[0])
            if version == 1
            else _SplitEnhancer(in_nc, out_nc, ngf, self.base.out_channels, flat_layers[0])
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the picture and the scores of the segmentation."""
        result: tuple[Tensor, Tensor] = self.enhancer1(self.first_level(x), self.base.compute_features(self.halve(x)))
        return result
