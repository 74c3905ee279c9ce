"""The multi-scale PatchGAN discriminator of pix2pixHD (Wang et al., arXiv 1711.11585), as used by FSGAN.

Layer names are the published ones. Input is RGB in [-1, 1]. The same network layout runs on the picture and on each
halving of it, and gives one score per patch.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MultiscaleDiscriminator"]

_KERNEL_SIZE = 4
_MAX_WIDENING = 8  # channels grow to at most this many times `ndf`


class MultiscaleDiscriminator(nn.Module):
    """Scores how real each patch of a picture looks, at several scales.

    Input: (n, input_nc, h, w). Output: `num_D` score maps (n, 1, ...), full resolution first; in 0..1 with
    `use_sigmoid`, else unbounded.

    Args:
        input_nc: Input channels.
        ndf: Channels of the first layer.
        n_layers: Layers that halve the size, plus one.
        use_sigmoid: Whether scores are probabilities.
        num_D: Number of scales.
    """

    def __init__(self, input_nc: int, ndf: int, n_layers: int, use_sigmoid: bool, num_D: int) -> None:
        super().__init__()
        self.scale_count = num_D
        for scale in range(num_D):
            self.add_module(f"layer{scale}", _make_patch_network(input_nc, ndf, n_layers, use_sigmoid))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the score maps."""
        return tuple(features[-1] for features in self.compute_features(x))

    def compute_features(self, x: Tensor) -> list[list[Tensor]]:
        """Computes, per scale, the activations after each step; the last entry is the score map.

        One pass serves both the feature matching loss and the GAN loss.
        """
        activations = []
        for scale in range(self.scale_count):
            if scale:
                x = functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            # In the published files the highest number is the finest scale.
            network = self.get_submodule(f"layer{self.scale_count - 1 - scale}")
            activations.append(_collect_activations(network, x))
        return activations


def _collect_activations(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Collects the output of each step: a convolution and the layers after it, up to the next convolution."""
    taken: list[Tensor] = []
    for layer in network.children():
        if isinstance(layer, nn.Conv2d) and taken:
            taken.append(layer(taken[-1]))
        elif isinstance(layer, nn.Conv2d):
            taken.append(layer(x))
        else:
            taken[-1] = layer(taken[-1])
    return taken


def _make_patch_network(input_nc: int, ndf: int, n_layers: int, use_sigmoid: bool) -> nn.Sequential:
    layers: list[nn.Module] = [_make_convolution(input_nc, ndf, 2), nn.LeakyReLU(0.2)]
    nc = ndf
    for step in range(1, n_layers + 1):
        wider = min(ndf * 2**step, ndf * _MAX_WIDENING)
        stride = 2 if step < n_layers else 1
        layers += [_make_convolution(nc, wider, stride), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
        nc = wider
    layers.append(_make_convolution(nc, 1, 1))
    if use_sigmoid:
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def _make_convolution(in_nc: int, out_nc: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(in_nc, out_nc, _KERNEL_SIZE, stride=stride, padding=_KERNEL_SIZE // 2)
