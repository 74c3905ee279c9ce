"""VGG-19 with batch norm (Simonyan, Zisserman: arXiv 1409.1556), for perceptual losses.

Layer names are the published ones. The published classifiers were trained on 256 px crops, RGB in [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["VGG19", "VGG19Features"]

_BLOCK_LAYOUT = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions; each block then halves
_HIDDEN_WIDTH = 4096
_FEATURE_GRID = 8  # side of the last feature map of a 256 px picture


class VGG19Features(nn.Sequential):
    """The convolutions of VGG-19: (n, 3, h, w) to (n, 512, h / 32, w / 32)."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        in_nc = 3
        for nc, count in _BLOCK_LAYOUT:
            for _ in range(count):
                layers += [nn.Conv2d(in_nc, nc, 3, padding=1), nn.BatchNorm2d(nc), nn.ReLU(inplace=True)]
                in_nc = nc
            layers.append(nn.MaxPool2d(2))
        super().__init__(*layers)

    def compute_activations(self, x: Tensor) -> list[Tensor]:
        """Computes the activations after relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1.

        They have 64, 128, 256, 512, 512 channels at 1, 1/2, 1/4, 1/8, 1/16 of the size. Nothing after relu5_1 is
        computed.
        """
        activations: list[Tensor] = []
        first = True
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                first = True
            elif first and isinstance(layer, nn.ReLU):
                activations.append(x)
                first = False
                if len(activations) == len(_BLOCK_LAYOUT):
                    break
        return activations


class VGG19(nn.Module):
    """The classifier: (n, 3, 256, 256) to logits (n, num_classes). A perceptual loss needs only `features`."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = VGG19Features()
        self.classifier = nn.Sequential(
            nn.Linear(_BLOCK_LAYOUT[-1][0] * _FEATURE_GRID * _FEATURE_GRID, _HIDDEN_WIDTH),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(_HIDDEN_WIDTH, _HIDDEN_WIDTH),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(_HIDDEN_WIDTH, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Computes the logits."""
        result: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return result
