"""What nobody foresaw, and inputs that mean harm: one line for the person, an exit code, and no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fsgan_core.cli import main
from fsgan_core.cli.present import Presenter
from fsgan_core.contract.errors import InputError
from fsgan_core.runtime.events import Event
from tests.cli.conftest import SWAP, FakeRender
from tests.endless import no_endless_work

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits, links and devices of POSIX")
STILLS = ("--source", "a.png", "--target", "a.png")
FORGED = "a\nopenjd_fail: x\nb\x1b[2J\r\u202e"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run_fsgan(
    *arguments: str, prefix: str = "", suffix: str = "", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """`fsgan` as a shell starts it."""
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "fsgan_core.cli", *arguments))
    return subprocess.run(["bash", "-c", f"{prefix} {words} {suffix}"], capture_output=True, timeout=timeout)


class TestUnforeseen:
    def test_one_line_a_log_and_its_own_exit_code(
        self, fake: Callable[..., FakeRender], cache: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake(raises=KeyError("nobody thought of this"))
        assert main(SWAP) == 4
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "Traceback" not in err
        (log,) = (cache / "faults").iterdir()
        assert f"internal error, KeyError: 'nobody thought of this' (the details are in {log}" in err
        assert os.name == "nt" or log.stat().st_mode & 0o777 == 0o600
        text = log.read_text()
        assert "Traceback" in text and "b.####.exr" in text and "Python 3" in text

    def test_as_json(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake(raises=ZeroDivisionError("x"))
        assert main([*SWAP, "--json"]) == 4
        said = json.loads(capsys.readouterr().out)
        assert (said["exit_code"], said["error"]["kind"]) == (4, "InternalError")

    def test_no_place_for_a_log(
        self, fake: Callable[..., FakeRender], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FSGAN_CACHE", "/dev/null/cache")
        monkeypatch.setattr("tempfile.gettempdir", lambda: "/dev/null/tmp")
        fake(raises=KeyError("x"))
        assert main(SWAP) == 4
        assert "no log could be written" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("error", "code", "says"),
        [
            (OSError(28, "No space left on device"), 3, "No space left"),
            (FileNotFoundError(2, "No such file or directory", "gone.exr"), 2, "gone.exr: No such file"),
            (OSError(40, "Too many levels of symbolic links", "loop"), 2, "loop: Too many levels"),
            (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 3, "enough memory"),
            (RuntimeError("can't start new thread"), 3, "enough memory"),
            (TypeError("open(): incompatible\n  1. arguments"), 4, "TypeError: open(): incompatible (the details"),
            (UnicodeEncodeError("utf-8", "d\udcff", 1, 2, "surrogates not allowed"), 2, r"the name d\xff is not UTF-8"),
            (RecursionError("maximum recursion depth exceeded"), 4, "RecursionError"),
        ],
    )
    def test_errors_of_system_and_libraries(
        self,
        fake: Callable[..., FakeRender],
        capsys: pytest.CaptureFixture[str],
        error: Exception,
        code: int,
        says: str,
    ) -> None:
        fake(raises=error)
        assert main(SWAP) == code
        err = capsys.readouterr().err
        assert says in err and err.count("\n") == 1

    def test_a_thread(self, monkeypatch: pytest.MonkeyPatch, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def run(options: object, presenter: Presenter) -> int:
            thread = threading.Thread(target=lambda: {}["gone"])
            thread.start()
            thread.join()
            return 0

        monkeypatch.setattr("fsgan_core.cli.commands.run_params", run)
        assert main(["params"]) == 0
        err = capsys.readouterr().err
        assert "internal error, KeyError" in err and "Traceback" not in err and list((cache / "faults").iterdir())

    @pytest.mark.parametrize("flag", [(), ("--json",)])
    def test_full_standard_output(self, flag: tuple[str, ...]) -> None:
        done = run_fsgan("params", *flag, suffix="> /dev/full")
        assert (done.returncode, done.stderr) == (3, b"fsgan: No space left on device\n")

    def test_full_standard_error(self) -> None:
        done = run_fsgan("render", "nothing.toml", suffix="2> /dev/full")
        assert (done.returncode, done.stdout) == (2, b"")

    def test_too_little_address_space(self) -> None:
        done = run_fsgan("swap", "--source=a.png", "--target=b.png", "-o", "c.exr", prefix="ulimit -v 900000;")
        assert done.returncode == 3
        assert b"may use only 0.9 GiB of address space" in done.stderr and done.stderr.count(b"\n") == 1

    def test_thread_buffers_are_bounded(self) -> None:
        code = """
from fsgan_core.runtime.threads import bound_thread_memory
bound_thread_memory()
import threading, numpy
from threadpoolctl import threadpool_info
print(threading.stack_size(), [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"])
"""
        environment = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout == f"{8 << 20} [1]\n", done.stderr


class TestHostileInputs:
    """Each ends within seconds, with one line and exit code 2."""

    @staticmethod
    def refuse(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
        with no_endless_work():
            assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert re.search(says, err), err
        assert out == "" and err.count("\n") == 1 and len(err) < 3000 and "Traceback" not in err

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("a = " + "[" * 100_000, "nested too deeply"),
            ("a = " + "{a=" * 50_000, "nested too deeply"),
            ("a." * 100_000 + "b = 1", "more than 64 names"),
            ("[" + "a." * 100_000 + "b]", "more than 64 names"),
            ("a = {" + "a." * 1000 + "b = 1}", "more than 64 names"),
            ("version = " + "9" * 5000, "a number has more than 19 digits"),
            ("version = " + "9" * 50, "a number has more than 19 digits"),
            ("#" * (2 << 20), "larger than 1 MiB"),
        ],
        ids=["brackets", "tables", "dotted key", "dotted head", "dotted inside", "5000 digits", "50 digits", "large"],
    )
    def test_shot(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
        (tmp_path / "shot.toml").write_text(text)
        self.refuse(capsys, ["render", str(tmp_path / "shot.toml")], says)

    @pytest.mark.parametrize(
        ("text", "says"),
        [("[" * 100_000, "nested too deeply"), ('{"a":' * 100_000, "nested too deeply"), ("9" * 5000, "digits")],
        ids=["brackets", "objects", "5000 digits"],
    )
    def test_track(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
        import cv2
        import numpy as np

        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
        (tmp_path / "t.json").write_text(text)
        still = str(tmp_path / "a.png")
        arguments = ["mask", "--target", still, "--target-track", str(tmp_path / "t.json"), "-q"]
        self.refuse(capsys, [*arguments, "-o", str(tmp_path / "m.####.exr")], says)

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (["--frames", "1" * 40], "frame number above 2147483647"),
            (["--frames", "1-2000000000"], "more than 1000000 frames"),
            (["--frames", "1-1000000,2-1000000"], "more than 1000000 frames"),
            (["--output", "%0999999999d.exr"], "more than 10 digits"),
            (["--output", "#" * 200 + ".exr"], "more than 10 digits"),
            (["--output", "~nouser/c.####.exr"], "there is no such user"),
            (["--target", "~nouser/b.####.exr"], "there is no such user"),
            (["--target", "a\0b.exr"], "zero byte"),
            (["--target", "$F99999999999.exr"], "more than 10 digits"),
            (["--set", "analyse.person_index=" + "9" * 5000], "must be a whole number"),
            (["--set", "blend.mix=1e999"], "must be a number"),
        ],
    )
    def test_flags(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        flags: list[str],
        says: str,
    ) -> None:
        import cv2
        import numpy as np

        monkeypatch.chdir(tmp_path)
        cv2.imwrite("a.png", np.zeros((64, 64, 3), np.uint8))
        given = {"--source": "a.png", "--target": "a.png", "--output": "c.####.exr"} | dict([flags])
        self.refuse(capsys, ["swap", *(word for pair in given.items() for word in pair)], says)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["swap", *STILLS, "-o", "."], "the output . is a folder; name a file in it, like swap.####.exr"),
            (["render", "."], ". is a folder; it holds no shot file"),
            (["swap", *STILLS, "-o", "b.png"], "b.png is not an EXR; name it like b.####.exr"),
            (["swap", *STILLS, "-o", "plain/b.exr"], "cannot write into plain: part of the path is a file"),
            (["swap", *STILLS, "-o", "b.png", "--finetune", "5"], "b.png is not an EXR"),
            (["swap", *STILLS, "-o", "o.exr", "--report", "plain"], "--report: cannot write into plain: part of"),
            (["swap", *STILLS, "-o", "o.exr", "--report", "/proc/no"], "--report: cannot write /proc/no"),
            (["swap", *STILLS, "-o", "o.exr", "--save-shot", "plain/a.toml"], "cannot write into plain"),
            (["mask", "--target", "a.png", "-o", "plain/b.exr"], "cannot write into plain"),
            (["analyse", "--target", "a.png", "-o", "plain/b.json"], "cannot write into plain"),
            (["atlas", "--source", "a.png", "-o", "plain/b.exr"], "cannot write into plain"),
            (["views", "--source", "a.png", "-o", "plain/b.png"], "cannot write into plain"),
            (["evaluate", *STILLS, "--result", "a.png", "-o", "plain"], "cannot write into plain"),
        ],
    )
    def test_outputs_that_cannot_be_written(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        says: str,
    ) -> None:
        """It is said before anything is analysed or rendered."""
        import cv2
        import numpy as np

        def analyse(*_: object, **__: object) -> None:
            raise AssertionError("the analysis begins before the output is checked")

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("fsgan_core.clips.tracks.analyse_clip", analyse)
        cv2.imwrite("a.png", np.zeros((64, 64, 3), np.uint8))
        Path("plain").write_text("x")
        self.refuse(capsys, arguments, says)
        assert not Path("o.exr").exists()

    def test_links_in_a_circle(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "loop").symlink_to("loop")
        loop = str(tmp_path / "loop")
        self.refuse(capsys, ["render", loop], "Too many levels of symbolic links")
        self.refuse(
            capsys, ["analyse", "--target", f"{loop}/a.exr", "-o", str(tmp_path / "t.json")], "there is no file"
        )
        self.refuse(capsys, ["farm", "bundle", f"{loop}/a.nk", "-o", str(tmp_path / "job")], "Too many levels")

    def test_a_pipe_that_nobody_writes_to(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        os.mkfifo(tmp_path / "pipe.nk")
        for arguments in (["render"], ["farm", "bundle", "-o", str(tmp_path / "job")]):
            self.refuse(capsys, [*arguments, str(tmp_path / "pipe.nk")], "not a plain file")

    @pytest.mark.parametrize("name", ["a.0001.exr", "a.####.exr", "a.0001.dpx", "a.mov", "a.webp", "a.png"])
    def test_a_pipe_in_place_of_a_picture(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
        """Reading one would wait for ever."""
        os.mkfifo(tmp_path / name.replace("####", "0001"))
        with no_endless_work():
            assert main(["analyse", "--target", str(tmp_path / name), "-o", str(tmp_path / "t.json")]) == 2
        assert "not a plain file" in capsys.readouterr().err
        if "#" not in name:
            self.refuse(capsys, ["inspect", str(tmp_path / name)], "there is no plain file")

    def test_a_folder_whose_name_is_not_utf_8(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = os.fsdecode(os.fsencode(tmp_path) + b"/d\xff")
        Path(folder).mkdir()
        self.refuse(capsys, ["render", f"{folder}/shot.toml"], r"d\\xff/shot\.toml")
        (Path(folder) / "a.png").touch()
        self.refuse(
            capsys, ["analyse", "--source", f"{folder}/a.png", "-o", "t.json"], r"d\\xff.* is not UTF-8; rename"
        )
        still = ["--source", f"{folder}/a.png", "--target", f"{folder}/b.png"]
        self.refuse(capsys, ["swap", *still, "-o", f"{folder}/c.exr"], r"d\\xff")


class TestForgedText:
    """A name with line breaks and escape codes is shown as text."""

    @staticmethod
    def check(text: str) -> None:
        assert not re.search(r"^(openjd_fail|b)", text, re.MULTILINE), text
        assert not re.search("[\x1b\r\u202e]", text), text

    def test_an_error(self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]) -> None:
        fake(raises=InputError(f"there is no {FORGED}"))
        assert main(SWAP) == 2
        self.check(capsys.readouterr().err)

    def test_frames_and_lines_of_a_farm(
        self, fake: Callable[..., FakeRender], capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake(fails=[(2, FORGED)])
        assert main([*SWAP, "--progress", "openjd"]) == 1
        out, err = capsys.readouterr()
        self.check(out)
        lines = [line for line in err.splitlines() if line.startswith("openjd_fail")]
        assert len(lines) == 1 and lines[0].startswith("openjd_fail: 1 frame(s) failed"), "ours, in one line"
        self.check(err.replace(lines[0], ""))

    def test_lines_events_and_tables(self, capsys: pytest.CaptureFixture[str]) -> None:
        from rich.table import Table

        from fsgan_core.cli.progress import FarmProgress

        table = Table(FORGED)
        table.add_row(FORGED)
        with Presenter(farm_progress=FarmProgress("frame"), verbose=1) as presenter:
            presenter.print_line(FORGED)
            presenter.print_table(table)
            presenter.print_problem(FORGED)
            presenter.on_event(Event("analyse", FORGED, 1, 2))
            import logging

            logging.getLogger("fsgan_core.x").warning("%s", FORGED)
        for text in capsys.readouterr():
            self.check(text)
            assert "openjd_fail: x" in text

    def test_arguments(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["render", "a.toml", FORGED])
        self.check(capsys.readouterr().err)
