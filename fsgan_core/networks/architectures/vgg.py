"""VGG-19 with batch norm: the features of the perceptual losses. Layer names as published.

The published classifiers were trained on 256 px crops, RGB in [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["VGG19", "VGG19Features"]

_BLOCK_LAYOUT = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions; a halving after each
_HIDDEN_WIDTH = 4096
_FEATURE_GRID = 8  # the last features of a 256 px picture are 8 x 8


class VGG19Features(nn.Sequential):
    """(n, 3, h, w) -> (n, 512, h / 32, w / 32)."""

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
        """What stands after relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1: 64, 128, 256, 512, 512 channels at
        1, 1/2, 1/4, 1/8, 1/16 of the size. Nothing after relu5_1 is computed."""
        taken: list[Tensor] = []
        first = True
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                first = True
            elif first and isinstance(layer, nn.ReLU):
                taken.append(x)
                first = False
                if len(taken) == len(_BLOCK_LAYOUT):
                    break
        return taken


class VGG19(nn.Module):
    """(n, 3, 256, 256) -> (n, num_classes) logits. A perceptual loss needs `features` alone."""

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
        return self.classifier(torch.flatten(self.features(x), 1))
