"""Architecture strings: what is understood, what is refused, and that nothing of a string runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks import Architecture, parse_architecture
from fsgan_core.networks.architectures.build import build_network

GENERATOR = "res_unet.MultiScaleResUNet(in_nc=101,out_nc=3,flat_layers=(2,2,2,2),ngf=128)"


class TestParse:
    def test_published(self) -> None:
        arch = parse_architecture(GENERATOR)
        assert arch.constructor == "res_unet.MultiScaleResUNet"
        assert arch.arguments == {
            "in_nc": 101,
            "out_nc": 3,
            "max_nc": 1024,
            "ngf": 128,
            "flat_layers": (2, 2, 2, 2),
            "use_dropout": False,
            "n_local_enhancers": 1,
            "version": 2,
        }

    @pytest.mark.parametrize(
        "text",
        [
            f"fsgan.models.{GENERATOR}",
            f"models.{GENERATOR}",
            f"  {GENERATOR}\n",
            GENERATOR.replace("(2,2,2,2)", "[2, 2, 2, 2]"),
        ],
    )
    def test_same_by_another_spelling(self, text: str) -> None:
        assert parse_architecture(text) == parse_architecture(GENERATOR)

    def test_without_brackets(self) -> None:
        assert parse_architecture("discriminators_pix2pix.MultiscaleDiscriminator").arguments["num_D"] == 3
        assert parse_architecture("hrnet.hrnet_wlfw") == parse_architecture("hrnet.hrnet_wlfw()")

    def test_published_defaults(self) -> None:
        assert parse_architecture("simple_unet.UNet()").arguments["n_classes"] == 21
        assert parse_architecture("simple_unet.UNet()").arguments["feature_scale"] == 4
        assert parse_architecture("simple_unet_02.UNet()").arguments["feature_scale"] == 1
        assert parse_architecture("res_unet.ResUNet()").arguments["flat_layers"] == (0, 0, 0, 3)

    @pytest.mark.parametrize(
        "text",
        [
            GENERATOR,
            "hopenet.Hopenet()",
            "res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3),flat_layers=(2,0,2,3),ngf=64)",
            "vgg.vgg19(num_classes=8631)",
            "res_unet.ResUNet(flat_layers=(2,))",
        ],
    )
    def test_written_back(self, text: str) -> None:
        assert parse_architecture(str(parse_architecture(text))) == parse_architecture(text)

    def test_training_leftovers_change_nothing(self) -> None:
        assert (
            parse_architecture("vgg.vgg19(num_classes=28,pretrained=True,verifcation=False)").arguments["num_classes"]
            == 28
        )


class TestRefusals:
    @pytest.mark.parametrize(
        "text",
        [
            "__import__('os').system('true')",
            "().__class__.__bases__[0].__subclasses__()",
            "res_unet.MultiScaleResUNet(in_nc=__import__('os').getpid())",
            "res_unet.MultiScaleResUNet(in_nc=len('abc'))",
            "res_unet.MultiScaleResUNet(in_nc=os.O_RDONLY)",
            "res_unet.MultiScaleResUNet(in_nc=3 if True else 4)",
            "res_unet.MultiScaleResUNet(in_nc=1+2)",
            "res_unet.MultiScaleResUNet(in_nc=-3)",
            "res_unet.MultiScaleResUNet(in_nc=(lambda: 3)())",
            "res_unet.MultiScaleResUNet(in_nc=(x := 3))",
            "res_unet.MultiScaleResUNet(in_nc=3)()",
            "res_unet.MultiScaleResUNet(in_nc=3).forward",
            "res_unet.MultiScaleResUNet(**{'in_nc': 3})",
            "res_unet.MultiScaleResUNet(*[3])",
            "res_unet.MultiScaleResUNet(3)",
            "res_unet.MultiScaleResUNet(in_nc=3,in_nc=4)",
            "res_unet.MultiScaleResUNet(flat_layers=[i for i in (1, 2)])",
            "res_unet.MultiScaleResUNet(flat_layers=(1, (2, 3)))",
            "res_unet['MultiScaleResUNet'](in_nc=3)",
            "res_unet().MultiScaleResUNet(in_nc=3)",
            "import os",
            "in_nc = 3",
            "res_unet.MultiScaleResUNet(in_nc=3); import os",
            "",
            "MultiScaleResUNet(in_nc=3)",
            "a\0b",
            "(" * 900,
            "res_unet.MultiScaleResUNet(in_nc=" + "9" * 900 + ")",
            "res_unet.MultiScaleResUNet(" + " " * 2000 + ")",
        ],
    )
    def test_not_a_plain_call(self, text: str) -> None:
        with pytest.raises(WeightsError):
            parse_architecture(text)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("os.system()", "os.system is not known"),
            ("builtins.eval", "builtins.eval is not known"),
            ("res_unet.Sequential()", "is not known"),
            ("torch.nn.Linear(in_features=3)", "nn.Linear is not known"),
            ("res_unet.MultiScaleResUNet(norm_layer=3)", "no argument norm_layer"),
            ("hopenet.Hopenet(num_bins=66)", "no argument num_bins"),
            ("res_unet.MultiScaleResUNet(in_nc=True)", "in_nc must be a whole number"),
            ("res_unet.MultiScaleResUNet(in_nc=3.0)", "in_nc must be a whole number"),
            ("res_unet.MultiScaleResUNet(in_nc='3')", "in_nc must be a whole number"),
            ("res_unet.MultiScaleResUNet(in_nc=1000000)", "in_nc must be"),
            ("res_unet.MultiScaleResUNet(in_nc=0)", "in_nc must be"),
            ("res_unet.MultiScaleResUNet(ngf=100000)", "ngf must be"),
            ("res_unet.MultiScaleResUNet(flat_layers=3)", "flat_layers must be"),
            ("res_unet.MultiScaleResUNet(flat_layers=(2,))", "flat_layers must be"),
            ("res_unet.MultiScaleResUNet(flat_layers=(2,2,2,99))", "flat_layers must be"),
            ("res_unet.MultiScaleResUNet(flat_layers=(2,2,2,2,2,2,2,2,2))", "flat_layers must be"),
            ("res_unet.MultiScaleResUNet(use_dropout=True)", "use_dropout must be False"),
            ("res_unet.MultiScaleResUNet(use_dropout=0)", "use_dropout must be False"),
            ("res_unet.MultiScaleResUNet(n_local_enhancers=2)", "n_local_enhancers must be 1"),
            ("res_unet.MultiScaleResUNet(out_nc=(3,3))", "out_nc must be"),
            ("res_unet_split.MultiScaleResUNet(out_nc=3)", "out_nc must be"),
            ("vgg.vgg19(batch_norm=False)", "batch_norm must be True"),
        ],
    )
    def test_not_in_the_table(self, text: str, says: str) -> None:
        with pytest.raises(WeightsError, match=says):
            parse_architecture(text)

    def test_not_a_string(self) -> None:
        with pytest.raises(WeightsError):
            parse_architecture(None)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "text",
        [
            "res_unet.MultiScaleResUNet(in_nc=512,out_nc=512,ngf=512,max_nc=4096,flat_layers=(16,16,16,16,16,16,16,16))",
            "vgg.vgg19(num_classes=100000)",
        ],
    )
    def test_a_monster_is_refused_before_it_takes_memory(self, text: str) -> None:
        with pytest.raises(WeightsError, match="million parameters"):
            build_network(text)


class TestBuild:
    def test_storage(self) -> None:
        assert all(value.is_meta for value in build_network(GENERATOR, device="meta").state_dict().values())
        network = build_network("res_unet.ResUNet(ngf=4,flat_layers=(0,1))")
        assert not any(value.is_meta for value in network.state_dict().values()) and network.training

    def test_vgg_with_its_classifier(self) -> None:
        state = build_network("vgg.vgg19(num_classes=28)", "meta").state_dict()
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        alone = build_network("vgg.vgg19_features", "meta").state_dict()
        assert {key.removeprefix("features.") for key in shapes if key.startswith("features.")} == set(alone)
        assert shapes["classifier.0.weight"] == (4096, 512 * 8 * 8) and shapes["classifier.6.bias"] == (28,)

    def test_from_what_was_parsed(self) -> None:
        arch = parse_architecture("simple_unet_02.UNet(num_classes=3,feature_scale=16)")
        assert isinstance(arch, Architecture)
        network = build_network(arch).eval()
        with torch.inference_mode():
            assert network(torch.zeros(2, 3, 32, 48)).shape == (2, 3, 32, 48)

    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # Nuke's node takes nothing else
    @pytest.mark.parametrize(
        ("text", "channels", "size"),
        [
            ("res_unet.MultiScaleResUNet(in_nc=7,ngf=4,flat_layers=(0,1,1))", 7, 32),
            ("res_unet.ResUNet(in_nc=4,ngf=4,flat_layers=(0,1,1))", 4, 32),
            ("res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3),ngf=4,flat_layers=(0,1,1))", 71, 32),
            ("simple_unet.UNet(n_classes=3,feature_scale=16)", 3, 32),
        ],
    )
    def test_scripts(self, text: str, channels: int, size: int) -> None:
        network = build_network(text).eval()
        x = torch.rand(1, channels, size, size)
        with torch.inference_mode():
            eager, scripted = network(x), torch.jit.script(network)(x)
        assert isinstance(scripted, type(eager))
        torch.testing.assert_close(scripted, eager)


def test_parsing_imports_no_torch() -> None:
    code = (
        f"import sys; from fsgan_core.networks import parse_architecture; parse_architecture({GENERATOR!r}); "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
