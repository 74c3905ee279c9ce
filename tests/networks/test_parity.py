"""Every network against what the published implementation gave with the same parameters (float32, CPU).

The cases hold outputs of the published classes called with one tensor, which for a multi-scale generator runs its base
alone at full resolution. Inference runs two levels: those numbers, two_levels.npz, come from the published classes
given the pyramids of the published pipeline.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fsgan_core.faces.landmarkers.heatmap import draw_heat_maps
from fsgan_core.networks.architectures.build import build_network, format_published, identify_version
from fsgan_core.networks.architectures.res_unet import MultiScaleResUNet, SplitMultiScaleResUNet
from fsgan_core.networks.weights.catalogue import load_catalogue
from fsgan_core.stages.neural.fsgan_network import pack_half_maps
from tests.patterns import image, patterned

PARITY = Path(__file__).parents[1] / "data" / "parity"
CASES: dict[str, Any] = json.loads(gzip.decompress((PARITY / "networks.json.gz").read_bytes()))
# Version 1: keys and shapes of the three published sizes, and outputs of small ones for two levels.
VERSION_1: dict[str, Any] = json.loads(gzip.decompress((PARITY / "v1.json.gz").read_bytes()))
TOLERANCE = 1e-4  # of the output's standard deviation
# The deepest of the generators' features see 41 px around a pixel: of a corner of 80 px the outer 39 are as in the
# whole picture, for a tenth of the work.
CORNER, EXACT = 80, 39


def given(outputs: Any) -> tuple[torch.Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def worst(output: torch.Tensor, wanted: np.ndarray, deviation: float) -> float:
    assert output.shape == wanted.shape and output.dtype == torch.float32
    return float((output - torch.from_numpy(wanted)).abs().max()) / deviation


def run(name: str) -> tuple[tuple[torch.Tensor, ...], Any]:
    """The case's network on the case's input, whole, and the case."""
    network = patterned(CASES[name]["arch"])
    if isinstance(network, (MultiScaleResUNet, SplitMultiScaleResUNet)):
        network = network.base
    with torch.inference_mode():
        outputs = given(network(torch.from_numpy(image(tuple(CASES[name]["input_shape"])))))
    return outputs, np.load(PARITY / f"{name}.npz")


class TestNames:
    @pytest.mark.parametrize("name", CASES)
    def test_keys_shapes_and_count(self, name: str) -> None:
        state = build_network(CASES[name]["arch"], device="meta").state_dict()
        assert {key: list(value.shape) for key, value in state.items()} == CASES[name]["state_dict"]
        assert sum(value.numel() for value in state.values()) == CASES[name]["parameters"]


class TestValues:
    @pytest.mark.parametrize(
        "name",
        [
            "base_resunet",
            "small_odd",
            "segmentation_v1",
            "segmentation_v2",
            "landmarks_wflw",
            "pose_hopenet",
            "vgg19_features",
            "discriminator",
        ],
    )
    def test_whole(self, name: str) -> None:
        outputs, case = run(name)
        assert [list(output.shape) for output in outputs] == CASES[name]["outputs"]
        for index, output in enumerate(outputs):
            deviation = float(case[f"out{index}_std"])
            step = int(case[f"out{index}_stride"])
            seen = output[:, :16, ::step, ::step] if output.ndim == 4 else output
            assert worst(seen, case[f"out{index}"], deviation) <= TOLERANCE
            assert abs(float(output.mean()) - float(case[f"out{index}_mean"])) <= TOLERANCE * deviation
            assert abs(float(output.std(correction=0)) / deviation - 1) <= TOLERANCE

    @pytest.mark.parametrize("name", ["reenactment_v2", "inpainting_v2", "blending_v2"])
    def test_corner(self, name: str) -> None:
        base = patterned(CASES[name]["arch"]).base
        case = np.load(PARITY / f"{name}.npz")
        with torch.inference_mode():
            corners = given(base(torch.from_numpy(image(tuple(CASES[name]["input_shape"]))[:, :, :CORNER, :CORNER])))
        assert len(corners) == len(CASES[name]["outputs"])
        for index, corner in enumerate(corners):
            step = int(case[f"out{index}_stride"])
            seen = corner[:, :, :EXACT:step, :EXACT:step]
            wanted = case[f"out{index}"][:, :, : seen.shape[2], : seen.shape[3]]
            assert wanted.shape == (1, 3, 5, 5)
            assert worst(seen, wanted, float(case[f"out{index}_std"])) <= TOLERANCE


class TestVersion1:
    @pytest.mark.parametrize("name", VERSION_1["full"])
    def test_keys_shapes_and_count(self, name: str) -> None:
        """The published string and the names of the tensors give the layout that the catalogue states."""
        case = VERSION_1["full"][name]
        arch = identify_version(case["arch"], case["state_dict"])
        assert arch == load_catalogue()[name].arch
        assert format_published(arch) == case["arch"]
        network = build_network(arch, device="meta")
        assert {key: list(value.shape) for key, value in network.state_dict().items()} == case["state_dict"]
        assert sum(value.numel() for value in network.parameters()) == case["parameters"]

    @pytest.mark.parametrize(("name", "channels"), [("split", 71), ("inpainting", 4), ("blending", 7)])
    def test_values(self, name: str, channels: int) -> None:
        arch = identify_version(VERSION_1["small"][name]["arch"], ["enhancer1.down_block.model.1.weight"])
        network = patterned(arch)
        levels = [torch.from_numpy(image((1, channels, size, size), salt)) for size, salt in ((128, 0), (64, 1))]
        with torch.inference_mode():
            outputs = given(network.enhancer1(levels[0], network.base.compute_features(levels[1])))
        case = np.load(PARITY / "v1.npz")
        assert [key for key in case if key.startswith(name)] == [f"{name}_out{k}" for k in range(len(outputs))]
        for index, output in enumerate(outputs):
            wanted = case[f"{name}_out{index}"]
            assert worst(output, wanted, float(wanted.std())) <= TOLERANCE


class TestTwoLevels:
    def test_one_head_makes_the_published_pyramid(self) -> None:
        wanted = np.load(PARITY / "two_levels.npz")["one_head"]
        network = patterned("res_unet.MultiScaleResUNet(in_nc=7,out_nc=3,flat_layers=(2,1,0,1),ngf=16)")
        with torch.inference_mode():
            output = network(torch.from_numpy(image((2, 7, 64, 96))))
        assert output.shape == (2, 3, 64, 96)
        assert worst(output[:, :, ::4, ::4], wanted, float(wanted.std())) <= TOLERANCE

    def test_two_heads_and_landmark_maps(self) -> None:
        case = np.load(PARITY / "two_levels.npz")
        network = patterned("res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3),flat_layers=(2,0,2,3),ngf=16)")
        picture = torch.from_numpy(image((1, 3, 128, 128)))
        maps = {size: torch.from_numpy(draw_heat_maps(case["points"], size))[None] for size in (128, 64)}
        x = torch.cat([picture, maps[128]], dim=1)
        binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        kernel = torch.outer(binomial, binomial).expand(3, 1, 5, 5)
        small = functional.conv2d(functional.pad(picture, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=3)
        with torch.inference_mode():
            made = network.halve(x)
            exact = network.enhancer1(x, network.base.compute_features(torch.cat([small, maps[64]], dim=1)))
            ours = network(x)
            network.has_half_maps = True
            half = torch.from_numpy(pack_half_maps(maps[64][0].numpy()))[None]
            packed = network(torch.cat([x, half], dim=1))
        torch.testing.assert_close(made[:, :3], small, atol=1e-6, rtol=0)
        assert float((made[:, 3:] - maps[64]).square().mean().sqrt()) < 0.002  # the tip of a cone is blunter
        for name, got, own, drawn in zip(("picture", "segmentation"), exact, ours, packed, strict=True):
            deviation = float(case[name].std())
            assert worst(got[:, :, ::4, ::4], case[name], deviation) <= TOLERANCE
            assert worst(drawn[:, :, ::4, ::4], case[name], deviation) <= TOLERANCE
            assert worst(own[:, :, ::4, ::4], case[name], deviation) <= 0.1


class TestFeatures:
    def test_activations_of_vgg(self) -> None:
        features = patterned("vgg.vgg19_features()")
        x = torch.from_numpy(image((1, 3, 32, 32)))
        with torch.inference_mode():
            taken = features.compute_activations(x)
            to_relu5_1 = torch.nn.Sequential(*list(features)[:43])(x)
        assert [tuple(a.shape[1:]) for a in taken] == [
            (64, 32, 32),
            (128, 16, 16),
            (256, 8, 8),
            (512, 4, 4),
            (512, 2, 2),
        ]
        assert all(float(a.min()) >= 0 for a in taken)
        assert torch.equal(to_relu5_1, taken[-1])

    def test_features_of_the_discriminator(self) -> None:
        network = patterned("discriminators_pix2pix.MultiscaleDiscriminator(ndf=8,use_sigmoid=True,num_D=2)")
        x = torch.from_numpy(image((1, 3, 64, 64)))
        with torch.inference_mode():
            scores = network(x)
            scales = network.compute_features(x)
        assert [[a.shape[1] for a in scale] for scale in scales] == [[8, 16, 32, 64, 1]] * 2
        for score, scale in zip(scores, scales, strict=True):
            assert torch.equal(score, scale[-1]) and float(score.min()) > 0 and float(score.max()) < 1
