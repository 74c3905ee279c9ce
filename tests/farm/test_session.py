"""A farm session's own process: what it does is what a task does by itself, and it may die at any moment."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import fsgan_core
from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.protocol import FarmTaskRequest
from fsgan_core.farm.bundle import make_bundle, write_bundle
from fsgan_core.farm.session import (
    SESSION_VARIABLE,
    SOCKET_NAME,
    explain_refusal,
    run_in_session,
    select_deciding_variables,
    start_session,
    stop_session,
)
from fsgan_core.farm.template import FarmOptions
from fsgan_core.runtime.events import CancelCheck, Event, EventListener, raise_if_cancelled
from fsgan_core.worker.server import Worker
from fsgan_core.worker.transports import SocketTransport
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
    def test_session_runs_tasks_until_it_is_killed(self, session: Session, wanted: dict[str, str]) -> None:
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

    def test_session_ends_when_its_client_disappears(self, session: Session, wanted: dict[str, str]) -> None:
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

    def test_session_ends_when_its_folder_is_deleted(self, session: Session) -> None:
        """As where an engine has cleaned up without ending the environment."""
        pid = session.begin()
        shutil.rmtree(session.folder)
        assert gone(pid)


TASK = FarmTaskRequest(task="render", shot="/no/shot.toml", work="/no/work")


def test_without_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(SESSION_VARIABLE, raising=False)
    assert run_in_session(TASK) is None and capsys.readouterr().err == ""
    monkeypatch.setenv(SESSION_VARIABLE, str(tmp_path))
    assert run_in_session(TASK) is None and "this task works by itself" in capsys.readouterr().err


def test_a_process_that_does_not_start(tmp_path: Path) -> None:
    assert "each task works by itself" in start_session(tmp_path, (sys.executable, "-c", "raise SystemExit('no')"))
    assert "each task works by itself" in start_session(tmp_path / ("x" * 120))  # too long for a socket
    assert "each task works by itself" in start_session(tmp_path, ("/no/such/program",))


def test_another_environment_is_refused() -> None:
    here = {"FSGAN_CACHE": "a", SESSION_VARIABLE: "b", "OCIO": "c", "PATH": "d", "OMP_NUM_THREADS": "1"}
    assert select_deciding_variables(here) == {"FSGAN_CACHE": "a", "OCIO": "c", "OMP_NUM_THREADS": "1"}
    request = replace(TASK, version=fsgan_core.__version__, variables={"FSGAN_CACHE": "a", "OCIO": "c"})
    assert explain_refusal(request, {"FSGAN_CACHE": "a", "OCIO": "c"}) == ""
    assert (
        explain_refusal(request, {"FSGAN_CACHE": "b", "OCIO": "c", "MKL_CBWR": "x"})
        == "it has a different FSGAN_CACHE, MKL_CBWR"
    )
    assert "version" in explain_refusal(replace(request, version="0.0"), {})


@pytest.fixture
def worker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker of this process at a session's socket, whose answer a test may replace."""
    folder = tmp_path_factory.mktemp("s")
    made = Worker(
        SocketTransport(folder / SOCKET_NAME), variables=select_deciding_variables(os.environ), heartbeat=0.05
    )
    send_log = made._send_log

    def send_own_log(record: logging.LogRecord) -> None:
        # The task's log is in this process, too: without this the worker hears and sends again what it sent.
        if record.lineno:
            send_log(record)

    monkeypatch.setattr(made, "_send_log", send_own_log)
    monkeypatch.setenv(SESSION_VARIABLE, str(folder))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    thread.join(10)
    assert not thread.is_alive()


Answer = Callable[[Any, EventListener, CancelCheck], dict[str, Any]]


def answer_with(worker: Worker, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(worker._handler, "answer", answer)


class TestWorker:
    def test_task_events_and_log_arrive(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        steps = (Event("analyse", "plate", 1, 2), Event("frame", "swap", 1, 1, 7, "rendered", 0.5))

        def answer(request: Any, on_event: EventListener, is_cancelled: CancelCheck) -> dict[str, Any]:
            assert (request.task, request.shot, request.version) == ("render", TASK.shot, fsgan_core.__version__)
            for step in steps:
                on_event(step)
            logging.getLogger("fsgan_core.render.pipeline").info("frame %d", 7, extra={"frame": 7})
            return {"renders": []}

        answer_with(worker, monkeypatch, answer)
        heard: list[Event] = []
        with caplog.at_level(logging.INFO, "fsgan_core"):
            assert run_in_session(TASK, heard.append) == {"renders": []}
        assert tuple(heard) == steps
        records = [record for record in caplog.records if record.name == "fsgan_core.render.pipeline"]
        assert all(record.getMessage() == "frame 7" and vars(record)["frame"] == 7 for record in records)
        assert len(records) == 2, "logged by the worker, and again by the task"

    def test_task_errors_keep_their_class(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        def answer(request: Any, on_event: EventListener, is_cancelled: CancelCheck) -> dict[str, Any]:
            raise PlateError("no plate")

        answer_with(worker, monkeypatch, answer)
        with pytest.raises(PlateError, match="no plate"):
            run_in_session(TASK)

    def test_fault_of_the_worker_is_not_blamed_on_the_task(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def answer(request: Any, on_event: EventListener, is_cancelled: CancelCheck) -> dict[str, Any]:
            raise ZeroDivisionError

        answer_with(worker, monkeypatch, answer)
        assert run_in_session(TASK) is None and "goes on by itself" in capsys.readouterr().err

    def test_another_environment_is_refused(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("OCIO", "other.ocio")
        assert run_in_session(TASK) is None
        assert "refuses this task (it has a different OCIO); it works by itself" in capsys.readouterr().err

    def test_client_that_leaves_after_its_task_ends_nothing(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer_with(worker, monkeypatch, lambda request, on_event, is_cancelled: {"facts": {}})
        for _ in range(3):
            assert run_in_session(TASK) == {"facts": {}}

    def test_stop_cancels_what_runs(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def answer(request: Any, on_event: EventListener, is_cancelled: CancelCheck) -> dict[str, Any]:
            on_event(Event("begin", "swap", 0, 1, 1))
            while True:
                raise_if_cancelled(is_cancelled)
                time.sleep(0.01)

        def stop(event: Event) -> None:
            stopping.start()

        answer_with(worker, monkeypatch, answer)
        stopping = threading.Thread(target=stop_session, args=(Path(os.environ[SESSION_VARIABLE]),))
        assert run_in_session(TASK, stop) is None
        assert "this task goes on by itself" in capsys.readouterr().err
        stopping.join(10)


def test_an_idle_worker_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / SOCKET_NAME
    assert Worker(SocketTransport(path), heartbeat=0.05, idle_limit=0.2).run() == 0
    assert not path.exists()


def test_only_its_user_may_open_the_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the folder and the umask allow."""
    path = tmp_path_factory.mktemp("s") / SOCKET_NAME
    before = os.umask(0)
    try:
        transport = SocketTransport(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    transport.close()
    assert not path.exists()
