"""`fsgan finetune` and `fsgan swap --finetune`: what a person types, and the weights that come of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from fsgan_core.cli import main
from fsgan_core.cli.parser import make_parser
from fsgan_core.clips.finetuned import describe_foreign_sources
from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.networks.weights.checkpoint import load_network, read_checkpoint, write_checkpoint
from fsgan_core.networks.weights.installed import find_weights
from fsgan_core.plates.colour import open_config
from fsgan_core.render import pipeline
from fsgan_core.runtime.events import Event, RenderResult
from fsgan_core.training.finetune import finetune_network
from fsgan_core.training.finetune_result import FinetuneResult
from fsgan_core.training.trainer import build_seeded_network
from tests.training.conftest import FRAMES, one_thread, quick, stills

__all__ = ["one_thread", "quick", "stills"]  # fixtures

ARCH = "res_unet.MultiScaleResUNet(in_nc=71,out_nc=3,flat_layers=(1,1),ngf=4)"
QUICK = ["--iterations", "2", "--batch", "1", "--preview", "none", "--precision", "fp32", "--device", "cpu"]
SCRATCH = ["--from-scratch", "--ngf", "4", "--resolution", "64", *QUICK]


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only weights folder is an empty one; the cache is empty too."""
    folder = tmp_path / "weights"
    monkeypatch.setattr("fsgan_core.networks.weights.installed.list_search_folders", lambda: (folder,))
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OCIO", raising=False)
    return folder


def source(stills: Path) -> list[str]:
    return ["--source", str(stills / "source.####.png"), "--source-track", str(stills / "source.json")]


def weights_file(path: Path, **facts: str) -> Path:
    metadata = {"role": "reenact", "landmarks": "68", "crop": "1.2", "resolution": "64", **facts}
    write_checkpoint(path, ARCH, build_seeded_network(ARCH, 3).state_dict(), metadata)
    return path


class TestFinetune:
    def test_from_scratch(self, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        output = tmp_path / "anna.safetensors"
        command = ["finetune", *source(stills), *SCRATCH, "-o", str(output), "--licence", "commercial"]
        assert main([*command, "--json"]) == 0
        said = capsys.readouterr()
        found = json.loads(said.out)
        assert found["ok"] and found["state"] == "trained" and found["start"] == "random" and found["prewarp"]
        assert found["licence"] == "commercial" and found["after"]["l1"] > 0 and found["iterations"] == 2
        events = [json.loads(line) for line in said.err.splitlines()]
        assert "random weights" in " ".join(event.get("message", "") for event in events)
        last = [event for event in events if event["event"] == "train"][-1]
        assert (last["done"], last["total"]) == (2, 2) and last["message"].startswith("loss ")
        assert sum(event["event"] == "collect" for event in events) == FRAMES

        weight = find_weights("reenact", str(output), "commercial").info
        assert (weight.name, weight.landmarks, weight.crop, weight.resolution) == ("anna", 68, 1.2, 64)
        assert weight.prewarp and not weight.default and "ngf=4" in weight.arch
        said = read_checkpoint(output).metadata
        assert said["finetuned_on"] == "source" and said["iterations"] == "2" and float(said["loss"]) > 0
        assert not load_network(output).training
        assert not output.with_name("anna.safetensors.run").exists(), "the run's state goes when it is done"

        assert main(command) == 0
        assert "kept" in capsys.readouterr().out
        assert main([*command, "--rate", "0.01"]) == 2
        assert "--force" in capsys.readouterr().err
        assert main([*command, "--rate", "0.01", "--force"]) == 0
        assert "2 iterations on source from random" in capsys.readouterr().out

    def test_from_weights(self, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Layout and prewarp are the start's; the licence is the stricter one."""
        start = weights_file(tmp_path / "start.safetensors", licence="research", prewarp="false", crop="2.0")
        output = tmp_path / "fine.safetensors"
        assert (
            main(
                [
                    "finetune",
                    *source(stills),
                    *QUICK,
                    "--network",
                    str(start),
                    "-o",
                    str(output),
                    "--licence",
                    "commercial",
                ]
            )
            == 0
        )
        weight = find_weights("reenact", str(output)).info
        assert (weight.licence, weight.crop, weight.prewarp, weight.arch) == ("research", 2.0, False, ARCH)
        assert "research" in capsys.readouterr().out
        assert (
            main(
                [
                    "finetune",
                    *source(stills),
                    *QUICK,
                    "--network",
                    str(start),
                    "-o",
                    str(tmp_path / "p.safetensors"),
                    "--prewarp",
                    "--set",
                    "weights.allow=commercial",
                ]
            )
            == 2
        )
        assert "weights.allow" in capsys.readouterr().err

    def test_no_weights_to_start_from(self, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["finetune", *source(stills), *QUICK, "-o", str(tmp_path / "a.safetensors")]) == 2
        said = capsys.readouterr().err
        assert "fsgan weights" in said and "fsgan finetune --from-scratch" in said and "Traceback" not in said

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (["--resume"], "no run to continue"),
            (["--network", "some"], "one of them"),
            (["--iterations", "0"], "iterations = 0"),
            (["--resolution", "100"], "multiple of 32"),
            (["--ngf", "0"], "ngf"),
            (["--preview-every", "0"], "--preview-every"),
            (["-o", "a.pth"], ".safetensors"),
        ],
    )
    def test_wrong_flags(
        self, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
    ) -> None:
        assert main(["finetune", *source(stills), *SCRATCH, "-o", str(tmp_path / "a.safetensors"), *flags]) == 2
        assert says in capsys.readouterr().err

    def test_something_else_is_not_written_over(
        self, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "precious.safetensors"
        output.write_bytes(b"not ours")
        assert main(["finetune", *source(stills), *SCRATCH, "-o", str(output)]) == 2
        assert "--force" in capsys.readouterr().err and output.read_bytes() == b"not ours"

    def test_a_single_still(self, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        one = ["--source", str(stills / "source.0001.png")]
        assert main(["finetune", *one, *SCRATCH, "-o", str(tmp_path / "a.safetensors")]) == 2
        assert "at least two frames" in capsys.readouterr().err


class FakeRender:
    """Stands for render_shot: keeps the shot."""

    def __init__(self) -> None:
        self.shots: list[Shot] = []

    def __call__(self, shot: Shot, **options: Any) -> RenderResult:
        self.shots.append(shot)
        return RenderResult("swap", shot.output.path, "ACEScg", (), {}, {})


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> FakeRender:
    made = FakeRender()
    monkeypatch.setattr(pipeline, "render_shot", made)
    return made


class TestSwap:
    def test_fine_tunes_once(
        self, stills: Path, tmp_path: Path, render: FakeRender, capsys: pytest.CaptureFixture[str]
    ) -> None:
        start = weights_file(tmp_path / "start.safetensors", prewarp="true")
        command = [
            "swap",
            *source(stills),
            "--target",
            str(stills / "source.####.png"),
            "-o",
            str(tmp_path / "s.exr"),
            "--finetune",
            "1",
            "--set",
            f"reenact.network={start}",
            "--device",
            "cpu",
        ]
        assert main(command) == 0
        chosen = render.shots[0].stages.reenact
        made = Path(chosen.network)
        assert made.parent == tmp_path / "cache" / "finetuned" and chosen.resolution == 64
        assert find_weights("reenact", chosen.network).info.prewarp
        written = made.stat().st_mtime_ns
        assert main(command) == 0
        assert render.shots[1] == render.shots[0] and made.stat().st_mtime_ns == written
        assert main([*command, "--finetune", "2"]) == 0
        assert render.shots[2].stages.reenact.network != chosen.network

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (["--set", "reenact.engine=warp"], "reenact.engine"),
            ([], "--from-scratch"),
            (["--finetune", "-1"], "iterations"),
        ],
    )
    def test_refused(
        self,
        stills: Path,
        tmp_path: Path,
        render: FakeRender,
        capsys: pytest.CaptureFixture[str],
        flags: list[str],
        says: str,
    ) -> None:
        assert (
            main(
                [
                    "swap",
                    *source(stills),
                    "--target",
                    str(stills / "source.####.png"),
                    "-o",
                    str(tmp_path / "s.exr"),
                    "--finetune",
                    "1",
                    *flags,
                ]
            )
            == 2
        )
        assert says in capsys.readouterr().err and not render.shots

    def test_usually_nothing_is_trained(self) -> None:
        options = make_parser().parse_args(["swap", "--source", "a", "--target", "b", "-o", "c"])
        assert options.finetune == 0 and ReenactParams().network == ""


class TestForeignSources:
    def sources(self, *paths: Path) -> list[Any]:
        return [open_input(Clip(str(path)), open_config("ocio://default")) for path in paths]

    def test_weights_of_another_source_are_reported(self, stills: Path, tmp_path: Path) -> None:
        output = tmp_path / "anna.safetensors"
        assert main(["finetune", *source(stills), *SCRATCH, "-o", str(output), "-q"]) == 0
        moved = tmp_path / "elsewhere"
        moved.mkdir()
        for path in stills.glob("*.png"):
            (moved / path.name).write_bytes(path.read_bytes())
        assert describe_foreign_sources(output, self.sources(moved / "source.####.png")) == "", (
            "the same clip in another place"
        )
        other = describe_foreign_sources(output, self.sources(stills / "source.0002.png"))
        assert "anna.safetensors" in other and "fine-tuned on source" in other and "fine-tune on this source" in other

    def test_ordinary_weights_are_not_reported(self, stills: Path, tmp_path: Path) -> None:
        plain = weights_file(tmp_path / "plain.safetensors")
        assert describe_foreign_sources(plain, self.sources(stills / "source.0002.png")) == ""


def test_flags_become_arguments(monkeypatch: pytest.MonkeyPatch, stills: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def train(source: Sequence[Clip], output: Path, **options: Any) -> FinetuneResult:
        seen.update(source=source, output=output, **options)
        return FinetuneResult(output, "kept", "unknown", 800)

    monkeypatch.setattr("fsgan_core.training.finetune.finetune_network", train)
    output = tmp_path / "x.safetensors"
    flags = ["--from-scratch", "--no-prewarp", "--seed", "7", "--rate", "0.002", "--batch", "5", "--force"]
    assert main(["finetune", *source(stills), *flags, "-o", str(output), "-q"]) == 0
    assert seen["source"][0].path == str(stills / "source.####.png") and seen["output"] == output
    expected = {"seed": 7, "rate": 0.002, "batch": 5, "prewarp": False, "iterations": 800, "width": 32, "resolution": 0}
    assert {name: seen[name] for name in expected} == expected
    assert seen["from_scratch"] and seen["force"] and not seen["only_resume"]
    assert seen["preview"] == tmp_path / "x_preview"


def test_from_python(stills: Path, tmp_path: Path) -> None:
    """The same fine-tuning without a command line."""
    events: list[Event] = []
    source = Clip(str(stills / "source.####.png"), track=str(stills / "source.json"))
    result = finetune_network(
        source,
        tmp_path / "anna.safetensors",
        from_scratch=True,
        width=4,
        resolution=64,
        iterations=1,
        batch=1,
        precision="fp32",
        device="cpu",
        on_event=events.append,
    )
    assert (result.state, result.iterations, result.start, result.source) == ("trained", 1, "random", "source")
    assert result.figures_after is not None and result.figures_after.l1 > 0
    assert {event.kind for event in events} == {"collect", "train"}
