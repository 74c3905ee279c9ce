"""Presets: ours and a studio's files, in shots and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsgan_core.cli import main
from fsgan_core.clips.presets import describe_preset, list_presets, load_preset
from fsgan_core.clips.shot_file import load_shot, save_shot
from fsgan_core.contract.errors import ParameterError, ShotError
from fsgan_core.contract.shot import Shot, Stages
from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.networks.weights.catalogue import load_catalogue

STUDIO = """\
summary = "close-ups"
extends = "as-published"
[stages.mask]
feather = 0.1
"""


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "studio.toml").write_text(STUDIO)
    monkeypatch.setenv("FSGAN_PRESETS", str(folder))
    return folder


class TestOurs:
    def test_as_published_switches_every_stage(self) -> None:
        stages = Stages().with_preset("as-published")
        assert all(getattr(stages, stage).as_published for stage in (*NETWORK_STAGES, "colour"))
        assert all(getattr(stages, stage).engine == "fsgan" for stage in NETWORK_STAGES)
        assert describe_preset(stages) == "as-published"
        assert not any(getattr(Stages(), stage).as_published for stage in (*NETWORK_STAGES, "colour"))

    def test_version_1_names_its_weights(self) -> None:
        settings = load_preset("as-published-v1").settings
        for stage in NETWORK_STAGES:
            assert settings[f"{stage}.as_published"] is True
            assert load_catalogue()[settings[f"{stage}.network"]].role == stage


class TestStudio:
    def test_found_by_name_and_by_path(self, studio: Path) -> None:
        assert [preset.name for preset in list_presets()] == ["as-published", "as-published-v1", "studio"]
        for name in ("studio", str(studio / "studio.toml")):
            stages = Stages().with_preset(name)
            assert stages.mask.feather == 0.1 and stages.blend.as_published
            assert describe_preset(stages) == "studio"

    def test_what_was_changed_is_told(self, studio: Path) -> None:
        stages = Stages().with_preset("studio").with_settings({"blend.mix": 0.5, "output.layers": "all"})
        assert describe_preset(stages) == "studio, changed: blend.mix"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[stages.mask]\nfether = 1\n", "feather"),
            ("colour = 1\n", "no key 'colour'"),
            ("[stages]\nmask = 1\n", "must hold tables"),
            ("not toml", "cannot be read"),
            ('extends = "studio"\n', "circle"),
            ('extends = "none"\n', "there is no preset 'none'"),
        ],
    )
    def test_faults(self, studio: Path, text: str, message: str) -> None:
        (studio / "studio.toml").write_text(text)
        with pytest.raises(ParameterError, match=message):
            load_preset("studio")

    def test_another_name(self) -> None:
        with pytest.raises(ParameterError, match="did you mean as-published"):
            load_preset("as-publishd")


class TestShot:
    def test_in_a_shot_file(self, tmp_path: Path) -> None:
        path = tmp_path / "shot.toml"
        path.write_text(
            'source = "a.mov"\ntarget = "b.mov"\n[output]\npath = "c.####.exr"\n'
            '[stages]\npreset = "as-published"\n[stages.mask]\nfeather = 0.07\n'
        )
        shot = load_shot(path)
        assert shot.stages.mask.feather == 0.07, "the file's own value, though it is the default"
        assert shot.stages.mask.as_published and shot.stages.colour.as_published
        save_shot(path, shot)
        assert load_shot(path) == shot
        assert "preset" in path.read_text() and "as_published" not in path.read_text()

    def test_not_text(self) -> None:
        with pytest.raises(ShotError, match="must be text"):
            Shot.from_dict({"source": "a", "target": "b", "output": "c", "stages": {"preset": 1}})

    def test_a_file_beside_the_shot(self, tmp_path: Path) -> None:
        (tmp_path / "studio.toml").write_text(STUDIO)
        path = tmp_path / "shot.toml"
        path.write_text('source = "a.mov"\ntarget = "b.mov"\noutput = "c.####.exr"\n[stages]\npreset = "studio.toml"\n')
        shot = load_shot(path)
        assert shot.stages.mask.feather == 0.1 and shot.stages.preset == str(tmp_path / "studio.toml")
        save_shot(path, shot)
        assert load_shot(path) == shot


class TestCommandLine:
    def test_list(self, studio: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", "--presets"]) == 0
        assert "studio: close-ups" in capsys.readouterr().out
        assert main(["params", "mask", "--presets", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert data["studio"]["settings"]["mask.feather"] == 0.1
        assert not any(name.startswith("blend.") for name in data["studio"]["settings"])

    def test_settings_come_after_the_preset(self, tmp_path: Path) -> None:
        from fsgan_core.cli.arguments import make_stages
        from fsgan_core.cli.parser import make_parser

        options = make_parser().parse_args(
            ["mask", "--target", "b.mov", "-o", "c.####.exr", "--preset", "as-published", "--set", "mask.feather=0.2"]
        )
        stages = make_stages(options)
        assert stages.mask.as_published and stages.mask.feather == 0.2
