"""What a generator is judged by: the published losses where the networks that they need are installed, and ours where
they are not.

Pictures are (n, 3, h, w) in [-1, 1]. Every loss is computed in float32, whatever arithmetic the networks use, and is a
mean, so that it does not depend on the batch or the size.

Published (FSGAN, arXiv 1908.05932, section 4): L1, the L1 distance of VGG-19 features, and a least-squares GAN
(Mao et al. 2017) with the multi-scale discriminator of pix2pixHD (Wang et al. 2018). Ours has, in place of the VGGs:
L1 at several scales, multi-scale SSIM (Wang, Simoncelli, Bovik 2003), gradients, and feature matching in the
discriminator (pix2pixHD, equation 4).
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
# Weights of the five scales by Wang, Simoncelli, Bovik (2003); fewer scales use the first ones, made to sum to 1.
SSIM_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for a range of 1
PERCEPTUAL_LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # of relu1_1 to relu5_1, as published


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts. perceptual: by role of the VGG ("identity", "attributes"). redrawn: of a network that
    says which share of a pixel it has redrawn, that share, so that it lets stand what is right already. entropy: cross
    entropy of classes."""

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
        """The authors' for fine-tuning on a source: 0.1 L1 + identity VGG."""
        return cls(pixel=0.1, perceptual={"identity": 1.0})

    @classmethod
    def make_published(cls, roles: Sequence[str] = ("identity", "attributes")) -> LossWeights:
        """The authors' for Gr and Gc, with the VGGs of `roles`: half each, or one alone in full."""
        return cls(pixel=0.1, gan=0.001, perceptual={role: 1.0 / len(roles) for role in roles})

    @classmethod
    def make_without_vgg(cls) -> LossWeights:
        """Where no VGG is installed."""
        return cls(pyramid=1.0, ssim=0.5, gradient=1.0, features=0.5, gan=0.02)

    @property
    def is_adversarial(self) -> bool:
        """Whether a discriminator is needed."""
        return self.gan > 0 or self.features > 0


class Criterion:
    """The sum that a generator is to make small. vggs: `vgg_features` by role."""

    def __init__(self, weights: LossWeights, vggs: Mapping[str, FeatureExtractor] | None = None) -> None:
        self.weights = weights
        self._vggs = {role: vgg for role, vgg in (vggs or {}).items() if weights.perceptual.get(role, 0) > 0}
        lacking = [role for role in weights.perceptual if role not in self._vggs]
        if lacking:
            raise ValueError(f"no VGG for {', '.join(lacking)}")

    def __call__(
        self,
        made: Tensor,
        wanted: Tensor,
        judged: Sequence[Sequence[Tensor]] | None = None,
        real: Sequence[Sequence[Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Parts of the sum, weighted, by name. judged, real: what the discriminator's scales answer for `made` and for
        `wanted`, each a list of features whose last is the verdict; needed where the weights are adversarial."""
        weights = self.weights
        made, wanted = made.float(), wanted.float()
        parts: dict[str, Tensor] = {}
        with torch.autocast(made.device.type, enabled=False):
            for name, function in _PIXEL_LOSSES.items():
                if getattr(weights, name):
                    parts[name] = getattr(weights, name) * function(made, wanted)
        for role, vgg in self._vggs.items():
            parts[role] = weights.perceptual[role] * perceptual_loss(vgg, made, wanted)
        if judged is not None and real is not None:
            if weights.features:
                parts["features"] = weights.features * feature_matching_loss(judged, real)
            if weights.gan:
                parts["gan"] = weights.gan * generator_gan_loss([scale[-1] for scale in judged])
        return parts


class ClassCriterion:
    """Cross entropy of classes, as the segmentation network has it; takes what `Criterion` takes."""

    def __init__(self, weights: LossWeights) -> None:
        self.weights = weights

    def __call__(
        self,
        made: Tensor,
        wanted: Tensor,
        judged: Sequence[Sequence[Tensor]] | None = None,
        real: Sequence[Sequence[Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """made: (n, classes, h, w) logits. wanted: int64 (n, h, w)."""
        return {"entropy": self.weights.entropy * functional.cross_entropy(made.float(), wanted)}


def multi_scale_l1_loss(made: Tensor, wanted: Tensor, scales: int = LOSS_SCALES) -> Tensor:
    """Mean of the L1 distances at full size, half, quarter, ..."""
    total = functional.l1_loss(made, wanted)
    for _ in range(scales - 1):
        made, wanted = functional.avg_pool2d(made, 2), functional.avg_pool2d(wanted, 2)
        total = total + functional.l1_loss(made, wanted)
    return total / scales


def gradient_loss(made: Tensor, wanted: Tensor, scales: int = 2) -> Tensor:
    """Mean L1 distance of differences between neighbouring pixels, across and down, at full and half size."""
    total = made.new_zeros(())
    difference = made - wanted
    for scale in range(scales):
        if scale:
            difference = functional.avg_pool2d(difference, 2)
        total = total + (difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()) / 2
    return total / scales


def ssim_loss(made: Tensor, wanted: Tensor, scales: int = LOSS_SCALES) -> Tensor:
    """1 - multi-scale SSIM of pictures in [-1, 1]; 0 where they are equal. Sizes below the window at a scale end it
    there."""
    a, b = (made + 1) / 2, (wanted + 1) / 2
    kernel = _make_gaussian_window(a)
    logs: list[Tensor] = []
    shares: list[float] = []
    for scale in range(scales):
        last = scale == scales - 1 or min(a.shape[-2:]) // 2 < SSIM_WINDOW
        light, structure = _compute_ssim(a, b, kernel)
        value = (light * structure if last else structure).mean((1, 2, 3))
        # Anticorrelated pictures have negative similarity; the power needs a positive one.
        logs.append(value.clamp_min(1e-4).log())
        shares.append(SSIM_SCALE_WEIGHTS[scale])
        if last:
            break
        a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    total = sum(shares)
    weighted = torch.stack([share / total * log for share, log in zip(shares, logs, strict=True)])
    return (1 - weighted.sum(0).exp()).mean()


def _make_gaussian_window(like: Tensor) -> Tensor:
    x = torch.arange(SSIM_WINDOW, device=like.device, dtype=torch.float32) - SSIM_WINDOW // 2
    bell = torch.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    bell = bell / bell.sum()
    return (bell[:, None] * bell[None]).expand(like.shape[1], 1, SSIM_WINDOW, SSIM_WINDOW)


def _compute_ssim(a: Tensor, b: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM per pixel: of means, and of contrast and structure."""

    def average_window(x: Tensor) -> Tensor:
        return functional.conv2d(x, kernel, groups=x.shape[1])

    mean_a, mean_b = average_window(a), average_window(b)
    var_a = average_window(a * a) - mean_a**2
    var_b = average_window(b * b) - mean_b**2
    both = average_window(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    return light, (2 * both + SSIM_C2) / (var_a + var_b + SSIM_C2)


def perceptual_loss(
    vgg: FeatureExtractor, made: Tensor, wanted: Tensor, shares: Sequence[float] = PERCEPTUAL_LAYER_WEIGHTS
) -> Tensor:
    """Weighted L1 distance of a VGG's features; nothing flows back into what is wanted."""
    with torch.no_grad():
        goal = vgg(wanted)
    found = vgg(made)
    parts = [share * functional.l1_loss(a.float(), b.float()) for share, a, b in zip(shares, found, goal, strict=True)]
    return torch.stack(parts).sum()


def feature_matching_loss(judged: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean L1 distance of the discriminator's features, verdicts left out, over its scales and layers."""
    parts = [
        functional.l1_loss(a.float(), b.detach().float())
        for scale, goal in zip(judged, real, strict=True)
        for a, b in zip(scale[:-1], goal[:-1], strict=True)
    ]
    return torch.stack(parts).mean()


def generator_gan_loss(verdicts: Sequence[Tensor]) -> Tensor:
    """Least squares: verdicts on what was made should be 1."""
    return torch.stack([((verdict.float() - 1) ** 2).mean() for verdict in verdicts]).mean()


def discriminator_loss(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Least squares: verdicts on what was made should be 0, on what is real 1."""
    parts = [((a.float() ** 2).mean() + ((b.float() - 1) ** 2).mean()) / 2 for a, b in zip(made, real, strict=True)]
    return torch.stack(parts).mean()


# The parts that look at pixels alone, by their names in LossWeights.
_PIXEL_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pixel": functional.l1_loss,
    "pyramid": multi_scale_l1_loss,
    "ssim": ssim_loss,
    "gradient": gradient_loss,
}


def prepare_vgg_features(network: nn.Module, device: str = "cpu") -> FeatureExtractor:
    """relu1_1 to relu5_1 of a VGG-19 (whole, or its convolutions alone), which judges and is not trained. Raises
    WeightsError for another network."""
    network.eval().requires_grad_(False).to(device)
    layers = network.features if isinstance(network, VGG19) else network
    if not isinstance(layers, VGG19Features):
        raise WeightsError(f"a perceptual loss takes a VGG-19, not {type(network).__name__}")
    return layers.compute_activations
