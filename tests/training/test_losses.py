"""Losses: compared with values computed by hand or by another library, and which inputs get gradients."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fsgan_core.contract.errors import WeightsError  # noqa: E402
from fsgan_core.networks.architectures.vgg import VGG19Features  # noqa: E402
from fsgan_core.training.losses import (  # noqa: E402
    PERCEPTUAL_LAYER_WEIGHTS,
    Criterion,
    LossWeights,
    discriminator_loss,
    feature_matching_loss,
    generator_gan_loss,
    gradient_loss,
    multi_scale_l1_loss,
    perceptual_loss,
    prepare_vgg_features,
    ssim_loss,
)


def pictures(size: int = 32, count: int = 2, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).random((count, 3, size, size), np.float32)
    return torch.from_numpy(2 * values - 1)


class TestOnPixels:
    @pytest.mark.parametrize("loss", [multi_scale_l1_loss, gradient_loss, ssim_loss])
    def test_equal_pictures(self, loss) -> None:  # type: ignore[no-untyped-def]
        assert float(loss(pictures(), pictures())) == pytest.approx(0, abs=1e-6)

    def test_an_offset_costs_the_same_at_every_scale(self) -> None:
        assert float(multi_scale_l1_loss(pictures() + 0.25, pictures())) == pytest.approx(0.25, abs=1e-6)

    def test_noise_costs_less_at_coarse_scales(self) -> None:
        made, wanted = pictures(seed=1), pictures(seed=2)
        assert float(multi_scale_l1_loss(made, wanted, 3)) < float(multi_scale_l1_loss(made, wanted, 1))

    def test_gradients_do_not_see_an_offset(self) -> None:
        assert float(gradient_loss(pictures() + 0.25, pictures())) == pytest.approx(0, abs=1e-6)

    def test_gradients_see_a_step(self) -> None:
        step = torch.zeros(1, 3, 8, 8)
        step[..., 4:] = 1.0
        # One of seven differences across is 1, none down; at half size one of three.
        assert float(gradient_loss(step, torch.zeros(1, 3, 8, 8))) == pytest.approx((1 / 7 / 2 + 1 / 3 / 2) / 2)

    def test_ssim_equals_the_published_definition(self) -> None:
        metrics = pytest.importorskip("skimage.metrics")
        made, wanted = pictures(count=1, seed=1), pictures(count=1, seed=2)
        made = 0.7 * wanted + 0.3 * made
        usual = metrics.structural_similarity(
            ((made[0] + 1) / 2).numpy(),
            ((wanted[0] + 1) / 2).numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert float(ssim_loss(made, wanted, scales=1)) == pytest.approx(1 - usual, abs=2e-4)

    def test_ssim_of_opposites_has_a_finite_slope(self) -> None:
        made = pictures().requires_grad_()
        loss = ssim_loss(made, -made.detach())
        loss.backward()
        assert 0.9 < loss.item() <= 1.0 and bool(torch.isfinite(made.grad).all())

    def test_small_pictures_end_the_scales(self) -> None:
        assert 0 < float(ssim_loss(pictures(16, seed=1), pictures(16, seed=2))) <= 1


class TestPerceptual:
    def vgg(self) -> VGG19Features:
        torch.manual_seed(0)
        return VGG19Features()

    def test_weighted_distance_of_five_layers(self) -> None:
        network = self.vgg()
        vgg = prepare_vgg_features(network)
        made, wanted = pictures(seed=1), pictures(seed=2)
        parts, x, y = [], made, wanted
        with torch.no_grad():
            for place, layer in enumerate(network):
                x, y = layer(x), layer(y)
                if place in (2, 9, 16, 29, 42):  # relu1_1 to relu5_1
                    parts.append(float((x - y).abs().mean()))
        expected = float(np.dot(PERCEPTUAL_LAYER_WEIGHTS, parts))
        assert float(perceptual_loss(vgg, made, wanted)) == pytest.approx(expected, rel=1e-4)
        assert PERCEPTUAL_LAYER_WEIGHTS == (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)

    def test_only_generated_pictures_get_gradients(self) -> None:
        network = self.vgg()
        made, wanted = pictures(seed=1).requires_grad_(), pictures(seed=2).requires_grad_()
        perceptual_loss(prepare_vgg_features(network), made, wanted).backward()
        assert float(made.grad.abs().sum()) > 0 and wanted.grad is None
        assert all(parameter.grad is None for parameter in network.parameters()) and not network.training

    def test_another_network_is_refused(self) -> None:
        with pytest.raises(WeightsError, match="VGG-19"):
            prepare_vgg_features(nn.Conv2d(3, 3, 1))


class TestAdversarial:
    def test_least_squares(self) -> None:
        good, bad = [torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)], [torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 2, 2)]
        assert float(generator_gan_loss(good)) == 0 and float(generator_gan_loss(bad)) == 1
        assert float(discriminator_loss(bad, good)) == 0 and float(discriminator_loss(good, bad)) == 1

    def test_scores_are_not_compared_as_features(self) -> None:
        a = [[torch.zeros(1, 2), torch.zeros(1, 1)]]
        b = [[torch.full((1, 2), 0.5), torch.full((1, 1), 9.0)]]
        assert float(feature_matching_loss(a, b)) == 0.5


class TestCriterion:
    def test_parts_by_name(self) -> None:
        made, wanted = pictures(seed=1), pictures(seed=2)
        judged = [[pictures(seed=3), torch.zeros(1, 1)]]
        real = [[pictures(seed=4), torch.ones(1, 1)]]
        parts = Criterion(LossWeights.make_without_vgg())(made, wanted, judged, real)
        assert set(parts) == {"pyramid", "ssim", "gradient", "features", "gan"}
        assert float(parts["gan"]) == pytest.approx(LossWeights.make_without_vgg().gan)
        assert float(parts["pyramid"]) == pytest.approx(float(multi_scale_l1_loss(made, wanted)))

    def test_published(self) -> None:
        weights = LossWeights.make_published_finetuning()
        assert weights.pixel == 0.1 and weights.perceptual == {"identity": 1.0} and not weights.is_adversarial
        assert LossWeights.make_published().perceptual == {"identity": 0.5, "attributes": 0.5}
        criterion = Criterion(weights, {"identity": lambda x: [x] * 5})
        parts = criterion(pictures() + 0.5, pictures())
        assert float(parts["pixel"]) == pytest.approx(0.05)
        assert float(parts["identity"]) == pytest.approx(0.5 * sum(PERCEPTUAL_LAYER_WEIGHTS))

    def test_missing_vgg(self) -> None:
        with pytest.raises(ValueError, match="identity"):
            Criterion(LossWeights.make_published_finetuning())

    def test_pixels_are_compared_in_float32(self) -> None:
        made, wanted = pictures(seed=1), pictures(seed=2)
        plain = Criterion(LossWeights(ssim=1.0))(made, wanted)["ssim"]
        with torch.autocast("cpu", torch.bfloat16):
            mixed = Criterion(LossWeights(ssim=1.0))(made, wanted)["ssim"]
        assert mixed.dtype == torch.float32 and float(mixed) == float(plain)
