"""The multi-scale PatchGAN discriminator (pix2pixHD, as FSGAN takes it). Layer names as published.

Input RGB in [-1, 1], the whole picture and its halvings; each scale gives a map of scores, one per patch.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MultiscaleDiscriminator"]

_KERNEL_SIZE = 4
_MAX_WIDENING = 8


class MultiscaleDiscriminator(nn.Module):
    """(n, input_nc, h, w) -> `num_D` score maps (n, 1, ...), the full picture's first; 0..1 where `use_sigmoid`."""

    def __init__(self, input_nc: int, ndf: int, n_layers: int, use_sigmoid: bool, num_D: int) -> None:
        super().__init__()
        self.scale_count = num_D
        for scale in range(num_D):
            self.add_module(f"layer{scale}", _make_patch_network(input_nc, ndf, n_layers, use_sigmoid))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(features[-1] for features in self.compute_features(x))

    def compute_features(self, x: Tensor) -> list[list[Tensor]]:
        """Per scale the activations after each step, last the scores: for feature matching and the GAN loss at once."""
        found = []
        for scale in range(self.scale_count):
            if scale:
                x = functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            # As published the highest number is the finest scale.
            network = self.get_submodule(f"layer{self.scale_count - 1 - scale}")
            found.append(_collect_activations(network, x))
        return found


def _collect_activations(network: nn.Module, x: Tensor) -> list[Tensor]:
    """The output of each step: a convolution with all that follows before the next one."""
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
