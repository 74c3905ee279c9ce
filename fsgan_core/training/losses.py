"""Losses of the generators: the published ones, and a replacement for machines without the VGG networks.

Pictures are (n, 3, height, width) in -1..1. Every loss is computed in float32, whatever arithmetic the networks use. It
is a mean, so that it does not depend on the batch or the size.

Published (FSGAN, arXiv 1908.05932, section 4): L1, the L1 distance of VGG-19 features, and a least-squares GAN
(Mao et al. 2017) with the multi-scale discriminator of pix2pixHD (Wang et al. 2018). Instead of the VGGs, the
replacement has L1 at several scales, multi-scale SSIM (Wang, Simoncelli, Bovik 2003), gradients, and feature matching
in the discriminator (pix2pixHD, equation 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.architectures.vgg import VGG19, VGG19Features

__all__ = [
    "ClassCriterion",
    "Criterion",
    "FeatureExtractor",
    "LossWeights",
    "discriminator_loss",
    "feature_matching_loss",
    "generator_gan_loss",
    "gradient_loss",
    "multi_scale_l1_loss",
    "perceptual_loss",
    "prepare_vgg_features",
    "ssim_loss",
]

FeatureExtractor = Callable[[Tensor], Sequence[Tensor]]

LOSS_SCALES = 3
# Weights of the five scales (Wang, Simoncelli, Bovik 2003); with fewer scales, the first ones, scaled to sum to 1.
SSIM_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for a range of 1
PERCEPTUAL_LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # of relu1_1 to relu5_1, as published


@dataclass(frozen=True)
class LossWeights:
    """The weight of each loss in the sum; 0 switches a loss off.

    Attributes:
        pixel: L1.
        pyramid: L1 at several scales.
        ssim: 1 minus multi-scale SSIM.
        gradient: L1 of the differences between neighbouring pixels.
        features: Feature matching in the discriminator.
        gan: Least-squares GAN.
        redrawn: Share of the pixels that the network redraws, for networks that output it. It makes the network leave
            alone what is already right.
        entropy: Cross entropy of classes.
        perceptual: L1 of VGG-19 features, by role of the VGG ("identity", "attributes").
    """

    pixel: float = 0.0
    pyramid: float = 0.0
    ssim: float = 0.0
    gradient: float = 0.0
    features: float = 0.0
    gan: float = 0.0
    redrawn: float = 0.0
    entropy: float = 0.0
    perceptual: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def make_published_finetuning(cls) -> LossWeights:
        """Return the authors' weights for fine-tuning on a source: 0.1 L1 + identity VGG."""
        return cls(pixel=0.1, perceptual={"identity": 1.0})

    @classmethod
    def make_published(cls, roles: Sequence[str] = ("identity", "attributes")) -> LossWeights:
        """Return the authors' weights for Gr and Gc, with the perceptual loss shared equally by the VGGs of `roles`."""
        return cls(pixel=0.1, gan=0.001, perceptual={role: 1.0 / len(roles) for role in roles})

    @classmethod
    def make_without_vgg(cls) -> LossWeights:
        """Return the weights for machines without a VGG."""
        return cls(pyramid=1.0, ssim=0.5, gradient=1.0, features=0.5, gan=0.02)

    @property
    def is_adversarial(self) -> bool:
        """Whether these losses need a discriminator."""
        return self.gan > 0 or self.features > 0


class Criterion:
    """The weighted losses of a generator.

    Args:
        weights: The weights of the losses.
        vggs: What `prepare_vgg_features` returns, by role.

    Raises:
        ValueError: The VGG of a perceptual loss is missing.
    """

    def __init__(self, weights: LossWeights, vggs: Mapping[str, FeatureExtractor] | None = None) -> None:
        self.weights = weights
        self._vggs = {role: vgg for role, vgg in (vggs or {}).items() if weights.perceptual.get(role, 0) > 0}
        missing_roles = [role for role in weights.perceptual if role not in self._vggs]
        if missing_roles:
            raise ValueError(f"no VGG for {', '.join(missing_roles)}")

    def __call__(
        self,
        output: Tensor,
        target: Tensor,
        output_features: Sequence[Sequence[Tensor]] | None = None,
        target_features: Sequence[Sequence[Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the weighted losses, by name.

        Args:
            output: The generator's pictures.
            target: The target pictures.
            output_features: The discriminator's features for `output`: for each scale a list, whose last element is the
                score. Needed if the weights are adversarial.
            target_features: The discriminator's features for `target`, likewise.
        """
        weights = self.weights
        output, target = output.float(), target.float()
        parts: dict[str, Tensor] = {}
        with torch.autocast(output.device.type, enabled=False):
            for name, function in _PIXEL_LOSSES.items():
                if getattr(weights, name):
                    parts[name] = getattr(weights, name) * function(output, target)
        for role, vgg in self._vggs.items():
            parts[role] = weights.perceptual[role] * perceptual_loss(vgg, output, target)
        if output_features is not None and target_features is not None:
            if weights.features:
                parts["features"] = weights.features * feature_matching_loss(output_features, target_features)
            if weights.gan:
                parts["gan"] = weights.gan * generator_gan_loss([scale[-1] for scale in output_features])
        return parts


class ClassCriterion:
    """The loss of the segmentation network, cross entropy; called like `Criterion`.

    Args:
        weights: The weights of the losses; only `entropy` is used.
    """

    def __init__(self, weights: LossWeights) -> None:
        self.weights = weights

    def __call__(
        self,
        output: Tensor,
        target: Tensor,
        output_features: Sequence[Sequence[Tensor]] | None = None,
        target_features: Sequence[Sequence[Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the weighted loss, by name.

        Args:
            output: Logits, (n, classes, height, width).
            target: Classes, int64 (n, height, width).
            output_features: Not used.
            target_features: Not used.
        """
        return {"entropy": self.weights.entropy * functional.cross_entropy(output.float(), target)}


def multi_scale_l1_loss(output: Tensor, target: Tensor, scales: int = LOSS_SCALES) -> Tensor:
    """Compute the mean of the L1 distances at full size, half, quarter and so on."""
    total = functional.l1_loss(output, target)
    for _ in range(scales - 1):
        output, target = functional.avg_pool2d(output, 2), functional.avg_pool2d(target, 2)
        total = total + functional.l1_loss(output, target)
    return total / scales


def gradient_loss(output: Tensor, target: Tensor, scales: int = 2) -> Tensor:
    """Compute the L1 distance of the differences between neighbouring pixels, horizontal and vertical, over scales."""
    total = output.new_zeros(())
    difference = output - target
    for scale in range(scales):
        if scale:
            difference = functional.avg_pool2d(difference, 2)
        total = total + (difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()) / 2
    return total / scales


def ssim_loss(output: Tensor, target: Tensor, scales: int = LOSS_SCALES) -> Tensor:
    """Compute 1 minus multi-scale SSIM (Wang, Simoncelli, Bovik 2003); 0 for equal pictures.

    Scales at which the picture is smaller than the SSIM window are left out.
    """
    a, b = (output + 1) / 2, (target + 1) / 2
    kernel = _make_gaussian_window(a)
    logs: list[Tensor] = []
    scale_weights: list[float] = []
    for scale in range(scales):
        last = scale == scales - 1 or min(a.shape[-2:]) // 2 < SSIM_WINDOW
        light, structure = _compute_ssim_factors(a, b, kernel)
        value = (light * structure if last else structure).mean((1, 2, 3))
        # Anticorrelated pictures have negative similarity; the power needs a positive one.
        logs.append(value.clamp_min(1e-4).log())
        scale_weights.append(SSIM_SCALE_WEIGHTS[scale])
        if last:
            break
        a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    total = sum(scale_weights)
    weighted_logs = torch.stack([weight / total * log for weight, log in zip(scale_weights, logs, strict=True)])
    return (1 - weighted_logs.sum(0).exp()).mean()


def _make_gaussian_window(like: Tensor) -> Tensor:
    x = torch.arange(SSIM_WINDOW, device=like.device, dtype=torch.float32) - SSIM_WINDOW // 2
    bell = torch.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    bell = bell / bell.sum()
    return (bell[:, None] * bell[None]).expand(like.shape[1], 1, SSIM_WINDOW, SSIM_WINDOW)


def _compute_ssim_factors(a: Tensor, b: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the two factors of SSIM at each pixel: that of means, and that of contrast and structure."""

    def average_window(x: Tensor) -> Tensor:
        return functional.conv2d(x, kernel, groups=x.shape[1])

    mean_a, mean_b = average_window(a), average_window(b)
    var_a = average_window(a * a) - mean_a**2
    var_b = average_window(b * b) - mean_b**2
    covariance = average_window(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    return luminance, (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)


def perceptual_loss(
    vgg: FeatureExtractor, output: Tensor, target: Tensor, layer_weights: Sequence[float] = PERCEPTUAL_LAYER_WEIGHTS
) -> Tensor:
    """Compute the weighted L1 distance of VGG features, without gradients for the target.

    Args:
        vgg: What `prepare_vgg_features` returns.
        output: The generator's pictures.
        target: The target pictures.
        layer_weights: Weights of the layers.
    """
    with torch.no_grad():
        target_features = vgg(target)
    output_features = vgg(output)
    parts = [
        weight * functional.l1_loss(a.float(), b.float())
        for weight, a, b in zip(layer_weights, output_features, target_features, strict=True)
    ]
    return torch.stack(parts).sum()


def feature_matching_loss(
    output_features: Sequence[Sequence[Tensor]], target_features: Sequence[Sequence[Tensor]]
) -> Tensor:
    """Compute the mean L1 distance of the discriminator's features over scales and layers, without the scores."""
    parts = [
        functional.l1_loss(a.float(), b.detach().float())
        for output_scale, target_scale in zip(output_features, target_features, strict=True)
        for a, b in zip(output_scale[:-1], target_scale[:-1], strict=True)
    ]
    return torch.stack(parts).mean()


def generator_gan_loss(scores: Sequence[Tensor]) -> Tensor:
    """Compute the generator's least-squares loss: the scores of its pictures should be 1."""
    return torch.stack([((score.float() - 1) ** 2).mean() for score in scores]).mean()


def discriminator_loss(output_scores: Sequence[Tensor], target_scores: Sequence[Tensor]) -> Tensor:
    """Compute the discriminator's least-squares loss: scores should be 0 for generated and 1 for real pictures."""
    parts = [
        ((a.float() ** 2).mean() + ((b.float() - 1) ** 2).mean()) / 2
        for a, b in zip(output_scores, target_scores, strict=True)
    ]
    return torch.stack(parts).mean()


# The losses that need only the pixels, by their names in LossWeights.
_PIXEL_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pixel": functional.l1_loss,
    "pyramid": multi_scale_l1_loss,
    "ssim": ssim_loss,
    "gradient": gradient_loss,
}


def prepare_vgg_features(network: nn.Module, device: str = "cpu") -> FeatureExtractor:
    """Prepare a VGG-19 for a perceptual loss.

    Args:
        network: The whole VGG-19, or only its convolutions. It is frozen and moved to the device.
        device: The torch device.

    Returns:
        A function that computes relu1_1 to relu5_1.

    Raises:
        WeightsError: The network is not a VGG-19.
    """
    network.eval().requires_grad_(False).to(device)
    layers = network.features if isinstance(network, VGG19) else network
    if not isinstance(layers, VGG19Features):
        raise WeightsError(f"a perceptual loss needs a VGG-19, not {type(network).__name__}")
    return layers.compute_activations
