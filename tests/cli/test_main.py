"""The command line as a whole: exit codes, JSON, help, version."""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsgan_core.cli import SAME_INTERRUPT, main
from fsgan_core.cli.arguments import make_stages
from fsgan_core.cli.parser import make_parser
from fsgan_core.contract.errors import InputError, NoFaceError, OutputError, ParameterError
from tests.cli.conftest import SWAP, FakeRender

ROOT = Path(__file__).parents[2]


def commands() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def list_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its commands and actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from list_parsers(child)


@pytest.mark.parametrize("parser", list(list_parsers(make_parser())), ids=lambda parser: parser.prog)
def test_help_lists_each_flag_once(parser: argparse.ArgumentParser) -> None:
    listed = re.findall(r"^  (--?[a-z][-a-z]*)", parser.format_help(), re.MULTILINE)
    flags = [action.option_strings[0] for action in parser._actions if action.option_strings]
    assert sorted(listed) == sorted(flags)


class TestExitCodes:
    def test_done(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake()
        assert main(SWAP) == 0
        out, err = capsys.readouterr()
        assert "2 rendered" in out and "no face in 7" in out and "ACEScg" in out
        assert err == "analysing 9 frames of b\n"

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
        ("arguments", "says"),
        [
            (["swpa"], "invalid choice: 'swpa' (choose from"),
            (["swpa"], "did you mean swap?"),
            (["--versoin"], "--versoin; did you mean --version?"),
            (["swap", "--suorce", "a.mov"], "unrecognized arguments: --suorce; did you mean --source"),
            ([*SWAP, "--frame=1-3"], "unrecognized arguments: --frame=1-3; did you mean --frames"),
            ([*SWAP, "--layers", "al"], "did you mean all?"),
            (["params", "blnd"], "did you mean blend?"),
            (["weights", "lists"], "did you mean list?"),
        ],
    )
    def test_similar_names(self, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert says in capsys.readouterr().err

    def test_nothing_similar(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main([*SWAP, "--zzz"])
        assert "did you mean" not in capsys.readouterr().err

    @pytest.mark.parametrize("flag", ["--frames", "-f"])
    @pytest.mark.parametrize("frames", ["-5--1", "-3", "-5 3", "-2-4x2,7", "1001 1003"])
    def test_negative_frames(self, flag: str, frames: str, fake: Callable[..., FakeRender]) -> None:
        made = fake()
        assert main([*SWAP, flag, frames]) == 0
        assert made.shot is not None and made.shot.frames == frames

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (["--set", "blend.mix=2"], "blend.mix"),
            (["--set", "blend.mix"], "stage.parameter=value"),
            (["--set", "blnd.mix=1"], "did you mean blend.mix"),
            (["--set", "blend.mxi=1"], "did you mean mix"),
            (["--set", "feather=1"], "did you mean mask.feather"),
            (["--set", "blend.engine=poison"], "did you mean poisson"),
            (["--device", "abacus"], "no device 'abacus'"),
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


def test_quiet_prints_only_errors(fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
    fake()
    assert main([*SWAP, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    fake(fails=[(1, "gone")])
    assert main([*SWAP, "--quiet"]) == 1
    assert "gone" in capsys.readouterr().err


class TestHelp:
    @pytest.mark.parametrize("name", commands())
    def test_help_teaches(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_refusals_are_input_errors() -> None:
    with pytest.raises(InputError):
        make_stages(make_parser().parse_args([*SWAP, "--set", "nonsense"]))
    with pytest.raises(ParameterError):
        make_stages(make_parser().parse_args([*SWAP, "--set", "blend.nonsense=1"]))


IMPATIENT = """
import os, signal, sys, time
from fsgan_core.cli import commands, main

def wait(options, presenter):
    try:
        print("begun", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("ending", flush=True)
        time.sleep(60)  # as if threads were waited for
    return 0

commands.run_doctor = wait
sys.exit(main(["doctor"]))
"""


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    """It would tear down the interpreter below threads that are at work: "terminate called", exit code 134."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    for _ in range(2):  # as a wrapper does that passes on what the terminal sends as well
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.stdout.readline() == "ending\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=SAME_INTERRUPT)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    said, errors = process.communicate()
    assert (said, errors) == ("", "")
