"""A farm session's own process: what it does is what a task does by itself, and it may die at any moment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import fsgan_core
from fsgan_core.farm.bundle import make_bundle, write_bundle
from fsgan_core.farm.session import (
    SESSION_VARIABLE,
    SOCKET_NAME,
    explain_refusal,
    run_in_session,
    select_deciding_variables,
    start_session,
)
from fsgan_core.farm.template import FarmOptions
from tests import faults
from tests.small_shot import Small

pytestmark = pytest.mark.skipif(os.name == "nt", reason="local sockets")


@dataclass
class Session:
    """A session's folder, a job in it, and its process."""

    folder: Path
    job: Path
    work: Path
    told: list[str] = field(default_factory=list)

    def begin(self) -> int:
        self.told.append(self.call("farm", "session", "start", str(self.folder)).stdout)
        found = re.search(r"session process (\d+)", self.told[-1])
        assert found is not None, self.told
        return int(found[1])

    def end(self) -> str:
        return self.call("farm", "session", "stop", str(self.folder)).stdout

    def popen(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = faults.environment(self.work / "cache") | {SESSION_VARIABLE: str(self.folder)} | variables
        return subprocess.Popen(
            [sys.executable, "-m", "fsgan_core.cli", *arguments],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def call(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = self.popen(*arguments, **variables)
        out, error = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)

    def render(self, frames: str) -> tuple[str, ...]:
        return ("farm", "task", "render", str(self.job / "shot.toml"), "--work", str(self.work), "--frames", frames)


@pytest.fixture
def session(small: Small, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    shot = small.shot(tmp_path / "out")
    write_bundle(make_bundle(shot, FarmOptions(work_folder=str(tmp_path / "work"))), tmp_path / "job")
    made = Session(tmp_path_factory.mktemp("s"), tmp_path / "job", tmp_path / "work")
    yield made
    made.end()


@pytest.fixture(scope="module")
def wanted(small: Small, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the frames, rendered at once in this process."""
    from fsgan_core.render.pipeline import render_shot

    folder = tmp_path_factory.mktemp("one")
    render_shot(small.shot(folder))
    return faults.sums(folder)


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.1)
    return False


class TestProcess:
    def test_does_what_a_task_does_until_it_dies(self, session: Session, wanted: dict[str, str]) -> None:
        pid = session.begin()
        assert session.folder.stat().st_mode & 0o777 == 0o700 and session.folder.joinpath(SOCKET_NAME).is_socket()
        wrong = session.call(*session.render("99"))
        assert wrong.returncode == 2 and "openjd_fail: missing frames: 99" in wrong.stderr
        first = session.call(*session.render("1-2"))
        assert first.returncode == 0 and "works by itself" not in wrong.stderr + first.stderr, first.stderr
        assert "openjd_progress: 100.0" in first.stderr and "swap: 2 rendered" in first.stdout
        task = session.popen(*session.render("1-6"))
        assert task.stderr is not None
        for line in task.stderr:
            if re.search(r"frame [3-6] rendered", line):
                os.kill(pid, signal.SIGKILL)
                break
        out, error = task.communicate(timeout=120)
        assert task.returncode == 0 and "has died; this task goes on by itself" in error, error
        assert re.search(r"swap: \d rendered, \d kept", out), "frames that were there stay"
        assert faults.sums(session.job.parent / "out") == wanted
        assert "there was no session process" in session.end()

    def test_ends_with_a_task_that_goes(self, session: Session, wanted: dict[str, str]) -> None:
        """A cancelled or killed task leaves nothing that works on in secret."""
        pid = session.begin()
        task = session.popen(*session.render("1-6"))
        assert task.stderr is not None
        for line in task.stderr:
            if "frame" in line:
                task.terminate()
                break
        task.communicate(timeout=60)
        assert task.returncode == 130 and gone(pid)
        assert set(faults.sums(session.job.parent / "out").items()) <= set(wanted.items())

    def test_ends_with_its_folder(self, session: Session) -> None:
        """As where an engine has cleaned up without ending the environment."""
        pid = session.begin()
        shutil.rmtree(session.folder)
        assert gone(pid)


def test_nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(SESSION_VARIABLE, raising=False)
    assert run_in_session(["farm"]) is None and capsys.readouterr().err == ""
    monkeypatch.setenv(SESSION_VARIABLE, str(tmp_path))
    assert run_in_session(["farm"]) is None and "this task works by itself" in capsys.readouterr().err


def test_a_process_that_does_not_start(tmp_path: Path) -> None:
    assert "each task works by itself" in start_session(tmp_path, (sys.executable, "-c", "raise SystemExit('no')"))
    assert "each task works by itself" in start_session(tmp_path / ("x" * 120))  # too long for a socket
    assert "each task works by itself" in start_session(tmp_path, ("/no/such/program",))


def test_another_environment_is_not_for_it() -> None:
    here = {"FSGAN_CACHE": "a", SESSION_VARIABLE: "b", "OCIO": "c", "PATH": "d", "OMP_NUM_THREADS": "1"}
    assert select_deciding_variables(here) == {"FSGAN_CACHE": "a", "OCIO": "c", "OMP_NUM_THREADS": "1"}
    asked = {"version": fsgan_core.__version__, "environment": {"FSGAN_CACHE": "a", "OCIO": "c"}}
    assert explain_refusal(asked, {"FSGAN_CACHE": "a", "OCIO": "c"}) == ""
    assert (
        explain_refusal(asked, {"FSGAN_CACHE": "b", "OCIO": "c", "MKL_CBWR": "x"})
        == "it has another FSGAN_CACHE, MKL_CBWR"
    )
    assert "version" in explain_refusal({**asked, "version": "0.0"}, {})
