"""The command line without pixels: flags, help, exit codes, what is said where."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fsgan_core.cli import main
from fsgan_core.cli.arguments import make_source_clips, make_stages
from fsgan_core.cli.parser import make_parser
from fsgan_core.cli.reference import PAGE_COMMAND, build_parameter_page
from fsgan_core.contract.errors import InputError, NoFaceError, OutputError, ParameterError
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.render import pipeline
from fsgan_core.runtime.events import Event, FrameReport, RenderResult

ROOT = Path(__file__).parents[2]
SWAP = ["swap", "--source", "a.mov", "--target", "b.####.exr", "--output", "out/c.####.exr"]


def commands() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


class FakeRender:
    """Stands for render_shot: keeps what it was asked for, says two frames, returns or raises what it was told to."""

    def __init__(self, *, fails: Sequence[tuple[int, str]] = (), raises: BaseException | None = None) -> None:
        self.fails = dict(fails)
        self.raises = raises
        self.shot: Shot | None = None
        self.options: dict[str, Any] = {}

    def __call__(
        self, shot: Shot, *, frames: str, device: str, force: bool, on_event: Callable[[Event], None]
    ) -> RenderResult:
        self.shot = shot
        self.options = {"frames": frames, "device": device, "force": force}
        if self.raises is not None:
            raise self.raises
        on_event(Event("analyse", "b", 3, 9))
        reports = []
        for frame in (1, 2):
            state = "failed" if frame in self.fails else "rendered"
            on_event(Event("frame", "swap", frame, 2, frame, state, 0.5, self.fails.get(frame, "")))
            reports.append(FrameReport(frame, state, f"out/{frame}.exr", {"blend": 0.5}, (), self.fails.get(frame, "")))
        return RenderResult(
            "swap",
            shot.output.path,
            "ACEScg",
            tuple(reports),
            {"blend": 1.0, "total": 1.5},
            {"blend": "poisson"},
            notes=("no face in 7",),
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRender]:
    def install(**told: Any) -> FakeRender:
        made = FakeRender(**told)
        monkeypatch.setattr(pipeline, "render_shot", made)
        return made

    return install


class TestExitCodes:
    def test_done(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake()
        assert main(SWAP) == 0
        out, err = capsys.readouterr()
        assert "2 rendered" in out and "no face in 7" in out and "ACEScg" in out
        assert err == "", "nothing is said on standard error that is no terminal"

    def test_failed_frames(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake(fails=[(2, "truncated")])
        assert main(SWAP) == 1
        out, err = capsys.readouterr()
        assert "1 failed" in out and "frame 2: truncated" in err

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (NoFaceError("no face was found in a.mov"), 2),
            (OutputError("the disk is full"), 3),
            (MemoryError(), 3),
            (KeyboardInterrupt(), 130),
        ],
    )
    def test_raised(
        self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str], error: BaseException, code: int
    ) -> None:
        fake(raises=error)
        assert main(SWAP) == code
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("fsgan: ") and "Traceback" not in err
        assert not str(error) or str(error) in err

    @pytest.mark.parametrize("arguments", [[], ["dance"], ["swap"], [*SWAP, "--nothing"], [*SWAP, "--fram", "1"]])
    def test_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage" in capsys.readouterr().err.lower()

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (["--set", "blend.mix=2"], "blend.mix"),
            (["--set", "blend.mix"], "stage.parameter=value"),
            (["--set", "blnd.mix=1"], "did you mean blend.mix"),
            (["--device", "abacus"], "--device abacus"),
            (["--source-colorspace", "a", "--source-colorspace", "b"], "2 times for 1 sources"),
            (["--source-track", "a", "--source", "second.mov"], "1 times for 2 sources"),
        ],
    )
    def test_bad_values(
        self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str], flags: list[str], says: str
    ) -> None:
        fake()
        assert main([*SWAP, *flags]) == 2
        assert says in capsys.readouterr().err


class TestJson:
    def test_result_alone_on_standard_output(
        self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake()
        assert main([*SWAP, "--json"]) == 0
        out, err = capsys.readouterr()
        result = json.loads(out)
        assert result["ok"] is True and result["exit_code"] == 0 and result["counts"]["rendered"] == 2
        assert result["seconds"]["total"] == 1.5 and result["frames"][0]["frame"] == 1
        events = [json.loads(line) for line in err.splitlines()]
        assert [event["event"] for event in events] == ["analyse", "frame", "frame"]
        assert events[1]["state"] == "rendered" and events[1]["done"] == 1 and events[1]["total"] == 2

    def test_failed_frames(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake(fails=[(1, "gone")])
        assert main([*SWAP, "--json"]) == 1
        result = json.loads(capsys.readouterr().out)
        assert result["ok"] is False and result["failed"] == [{"frame": 1, "message": "gone"}]

    def test_error(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake(raises=NoFaceError("nobody"))
        assert main([*SWAP, "--json"]) == 2
        result = json.loads(capsys.readouterr().out)
        assert result == {"ok": False, "exit_code": 2, "error": {"kind": "NoFaceError", "message": "nobody"}}

    def test_interrupted(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake(raises=KeyboardInterrupt())
        assert main([*SWAP, "--json"]) == 130
        assert json.loads(capsys.readouterr().out)["exit_code"] == 130


def test_quiet_says_errors_alone(fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
    fake()
    assert main([*SWAP, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    fake(fails=[(1, "gone")])
    assert main([*SWAP, "--quiet"]) == 1
    assert "gone" in capsys.readouterr().err


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
        assert made.options == {"frames": "", "device": "cpu", "force": True}

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


class TestShotFile:
    def test_saved_and_rendered(
        self,
        fake: Callable[..., FakeRender],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        first = fake()
        assert main([*SWAP, "--frames", "1-20", "--set", "blend.mix=0.5", "--save-shot", "shot.toml"]) == 0
        second = fake()
        assert main(["render", "shot.toml", "--frames", "3-4", "--set", "blend.grain=0", "--output", "x.####.exr"]) == 0
        assert first.shot is not None and second.shot is not None
        assert second.options["frames"] == "3-4" and second.shot.frames == "1-20"
        assert second.shot.output.path == "x.####.exr"
        assert second.shot.target.path == str(tmp_path / "b.####.exr")
        assert (second.shot.stages.blend.mix, second.shot.stages.blend.grain) == (0.5, 0.0)

    def test_no_such_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["render", str(tmp_path / "none.toml")]) == 2
        assert "none.toml" in capsys.readouterr().err


class TestHelp:
    @pytest.mark.parametrize("name", commands())
    def test_teaches(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        out = capsys.readouterr().out
        assert caught.value.code == 0
        assert "exit codes:" in out
        assert f"fsgan {name}" in out.split("Options:")[0], "an example or the usage"

    def test_names_that_other_tools_rely_on(self) -> None:
        def flags(name: str) -> set[str]:
            return {flag for action in commands()[name]._actions for flag in action.option_strings}

        agreed = {
            "--source",
            "--target",
            "--output",
            "--frames",
            "--source-colorspace",
            "--target-colorspace",
            "--output-colorspace",
            "--set",
            "--json",
            "--device",
        }
        assert agreed | {"--layers", "--save-shot", "--report", "--holdout", "-v", "-q"} <= flags("swap")
        assert {"--plate", "--driver", "--output", "--frames"} <= flags("drive")
        assert {"--source", "--target", "--result", "--json"} <= flags("evaluate")
        assert {
            "swap",
            "drive",
            "render",
            "analyse",
            "reenact",
            "mask",
            "inpaint",
            "blend",
            "evaluate",
            "doctor",
            "params",
        } <= set(commands())

    def test_every_flag_is_in_the_manual(self) -> None:
        manual = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        for name, parser in commands().items():
            assert f"fsgan {name}" in manual
            for action in parser._actions:
                for flag in action.option_strings:
                    plain = re.sub(r"^--driver", "--source", re.sub(r"^--plate", "--target", flag))
                    shown = any(re.search(rf"(?<![\w-]){name}(?![\w-])", manual) for name in (flag, plain))
                    assert shown, f"{flag} of {name} is not in docs/cli.md"

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["--version"])
        assert re.search(r"fsgan \d+\.\d+", capsys.readouterr().out)


class TestParams:
    def test_page_is_fresh(self) -> None:
        page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
        assert page == build_parameter_page(STAGE_PARAMS), f"docs/parameters.md is stale; run: {PAGE_COMMAND}"

    def test_markdown_is_the_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", "--markdown"]) == 0
        assert capsys.readouterr().out == build_parameter_page(STAGE_PARAMS)

    def test_one_stage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", "blend"]) == 0
        out = capsys.readouterr().out
        assert "blend.mix = 1" in out and "mask.feather" not in out

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert set(data) == set(STAGE_PARAMS)
        assert data["blend"]["mix"] == {
            "kind": "float",
            "default": 1.0,
            "label": "mix",
            "minimum": 0.0,
            "maximum": 1.0,
            "help": data["blend"]["mix"]["help"],
        }


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 3)
    assert found["colour"]["scene_linear"] and "cpu" in found["devices"]["list"]
    assert found["engines"]["blend"]["poisson"] == ""
    assert main(["doctor"]) == code
    assert "engines" in capsys.readouterr().out


def test_refusals_are_input_errors() -> None:
    with pytest.raises(InputError):
        make_stages(make_parser().parse_args([*SWAP, "--set", "nonsense"]))
    with pytest.raises(ParameterError):
        make_stages(make_parser().parse_args([*SWAP, "--set", "blend.nonsense=1"]))
