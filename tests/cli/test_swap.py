"""`fsgan swap` and `fsgan drive`: how flags become a shot."""

from __future__ import annotations

from collections.abc import Callable

from fsgan_core.cli import main
from fsgan_core.cli.arguments import make_source_clips, make_stages
from fsgan_core.cli.parser import make_parser
from fsgan_core.contract.shot import Clip
from tests.cli.conftest import SWAP, FakeRender


class TestShotFromFlags:
    def test_everything(self, fake: Callable[..., FakeRender]) -> None:
        made = fake()
        main(
            [
                "swap",
                "--source",
                "a.mov",
                "b.jpg",
                "--source",
                "c.jpg",
                "--target",
                "t.####.exr",
                "--output",
                "o.####.exr",
                "--frames",
                "1-9x2",
                "--source-colorspace",
                "sRGB",
                "--target-colorspace",
                "ACEScg",
                "--output-colorspace",
                "ACES2065-1",
                "--set",
                "blend.method=multiband",
                "--set",
                "mask.feather=0.1",
                "--layers",
                "all",
                "--device",
                "cpu",
                "--force",
                "--holdout",
                "h.exr",
                "--holdout-part",
                "matte.roto",
                "--target-track",
                "t.json",
                "--target-part",
                "left",
                "--target-person",
                "1",
            ]
        )
        shot = made.shot
        assert shot is not None and shot.job == "swap" and shot.frames == "1-9x2"
        assert shot.source == (Clip("a.mov", "sRGB"), Clip("b.jpg", "sRGB"), Clip("c.jpg", "sRGB"))
        assert shot.target == Clip("t.####.exr", "ACEScg", "t.json", "left", "1")
        assert (shot.output.path, shot.output.colorspace) == ("o.####.exr", "ACES2065-1")
        assert shot.holdout == Clip("h.exr", part="matte.roto")
        stages = shot.stages
        assert (stages.blend.engine, stages.mask.feather, stages.output.layers) == ("multiband", 0.1, "all")
        assert made.options == {"frames": "", "device": "cpu", "force": True, "quick": False}

    def test_drive_has_its_own_names(self, fake: Callable[..., FakeRender]) -> None:
        made = fake()
        main(["drive", "--plate", "p.exr", "--driver", "d.mov", "--output", "o.exr", "--driver-colorspace", "sRGB"])
        assert made.shot is not None and made.shot.job == "drive"
        assert made.shot.target == Clip("p.exr") and made.shot.source == (Clip("d.mov", "sRGB"),)

    def test_one_space_for_each_source(self) -> None:
        spaces = ["--source-colorspace", "x", "--source-colorspace", "y"]
        options = make_parser().parse_args([*SWAP, "--source", "b", *spaces])
        assert make_source_clips(options) == (Clip("a.mov", "x"), Clip("b", "y"))

    def test_settings_on_top_of_a_shot(self) -> None:
        options = make_parser().parse_args(["render", "shot.toml", "--set", "blend.mix=0.5"])
        base = make_stages(make_parser().parse_args([*SWAP, "--set", "blend.grain=0"]))
        assert (make_stages(options, base).blend.mix, make_stages(options, base).blend.grain) == (0.5, 0.0)
