"""The client against workers that misbehave, and against the real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsgan_nuke import client as client_module
from fsgan_nuke import process as process_module
from fsgan_nuke.client import Client
from fsgan_nuke.process import choose_log_file, make_worker_command, make_worker_environment
from fsgan_nuke.request import PendingRequest
from fsgan_nuke.settings import Settings

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, PlateError, WorkerError

FAKE = Path(__file__).with_name("fake_worker.py")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

Make = Callable[..., Client]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Clients of a fake worker; its behaviours, one for each life, the last one for all further lives."""
    made: list[Client] = []

    def client(*behaviours: str, **options: Any) -> Client:
        lives = list(behaviours)

        def command(settings: Settings, log_file: Path) -> list[str]:
            return [sys.executable, str(FAKE), lives.pop(0) if len(lives) > 1 else lives[0]]

        settings = Settings(python=sys.executable, logs=str(tmp_path / "logs"))
        found = Client(lambda: settings, command=command, **options)
        made.append(found)
        return found

    yield client
    for one in made:
        one.close(grace=1.0)


def render(client: Client, **rest: Any) -> PendingRequest:
    return client.request(protocol.RenderRequest(frames="1001-1002"), **rest)


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends in time (a zombie of another parent counts as gone)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


class TestRequests:
    def test_result_and_events_in_order(self, make: Make) -> None:
        heard: list[protocol.ProtocolEvent] = []
        ends: list[PendingRequest] = []
        request = render(make("good"), on_event=heard.append, on_end=ends.append)
        assert request.wait(20)["frames"] == "1001-1002"
        assert [event.frame for event in heard if isinstance(event, protocol.FrameEvent)] == [1001, 1002]
        assert (request.done, request.total, request.frames, request.has_begun) == (2, 2, set(), True)
        assert ends == [request] and request.has_ended

    def test_one_worker_for_all(self, make: Make) -> None:
        client = make("good")
        pids = {request.wait(20)["pid"] for request in [render(client) for _ in range(5)]}
        assert pids == {client.pid}
        assert client.greeting is not None and client.greeting.pid == client.pid

    def test_error_of_its_own_class(self, make: Make) -> None:
        with pytest.raises(PlateError, match="no such plate"):
            make("good").request(protocol.DoctorRequest()).wait(20)

    def test_follow(self, make: Make) -> None:
        """For a caller that waits in its own thread, like a render without an interface."""
        request = render(make("slow start"))
        steps = list(request.follow(interval=0.1))
        assert steps[0] is None, "the caller gets its turn while nothing happens"
        assert [event.frame for event in steps if isinstance(event, protocol.FrameEvent)] == [1001, 1002]
        assert request.has_ended

    def test_failing_callback_does_no_harm(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        def bad(event: protocol.ProtocolEvent) -> None:
            raise RuntimeError("a panel was closed")

        assert render(make("good"), on_event=bad).wait(20)
        assert "a panel was closed" in caplog.text

    def test_wait_has_a_limit(self, make: Make) -> None:
        with pytest.raises(TimeoutError):
            render(make("stuck")).wait(0.2)


class TestStart:
    def test_never_blocks_the_caller(self, make: Make) -> None:
        start = time.monotonic()
        request = render(make("slow start"))
        assert time.monotonic() - start < 0.3 and not request.has_ended
        assert request.wait(20)

    def test_too_slow(self, make: Make) -> None:
        client = make("silent start", "good", start_timeout=0.6)
        with pytest.raises(WorkerError, match=r"not answered within 0\.6 s(.|\n)*waiting for a licence"):
            render(client).wait(20)
        assert render(client).wait(20), "the next request tries again"

    def test_dies_at_once(self, make: Make) -> None:
        with pytest.raises(WorkerError, match=r"does not start \(exit code 1\)(.|\n)*no torch here"):
            render(make("dies at once")).wait(20)

    def test_no_such_python(self, tmp_path: Path) -> None:
        client = Client(lambda: Settings(python=str(tmp_path / "python"), logs=str(tmp_path)))
        with pytest.raises(WorkerError, match=r"does not start: .*python: No such file(.|\n)*install\.py --nuke"):
            render(client).wait(20)
        client.close()

    def test_no_python_known(self, tmp_path: Path) -> None:
        client = Client(lambda: Settings(logs=str(tmp_path)))
        with pytest.raises(WorkerError, match="FSGAN_PYTHON"):
            render(client).wait(20)
        client.close()

    def test_another_protocol(self, make: Make) -> None:
        with pytest.raises(WorkerError, match="protocol 2, the plugin 1"):
            render(make("another protocol")).wait(20)

    def test_refused(self, make: Make) -> None:
        """A worker of another version says so itself."""
        with pytest.raises(WorkerError, match="refuses this plugin: the client speaks protocol 1, I speak 9"):
            render(make("refuses")).wait(20)

    def test_slow_start_is_reported(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client_module, "SLOW_START_SECONDS", 0.1)
        heard: list[protocol.ProtocolEvent] = []
        assert render(make("slow start"), on_event=heard.append).wait(20)
        said = [
            event.message for event in heard if isinstance(event, protocol.ProgressEvent) and event.step == "starting"
        ]
        assert said == ["the worker is slow to start"]


class TestTrouble:
    def test_crash_message_names_the_frame_and_the_log(self, make: Make) -> None:
        client = make("crash", "good")
        with pytest.raises(WorkerError) as caught:
            render(client).wait(20)
        told = str(caught.value)
        assert "SIGSEGV" in told and "of frame 1002;" in told and "1001" not in told
        assert "something terrible happened in a library" in told
        assert client.last_crash == told
        assert render(client).wait(20), "a new worker does the next one"

    def test_waiting_requests_go_to_the_next_worker(self, make: Make) -> None:
        assert render(make("crash after hello", "good")).wait(20)

    def test_waiting_requests_are_not_retried_for_ever(self, make: Make) -> None:
        with pytest.raises(WorkerError, match=r"(died|dies right after its start) \(exit code 7\)"):
            render(make("crash after hello")).wait(20)

    def test_flood(self, make: Make) -> None:
        """200 000 lines; what is kept of them is bounded, and the result comes."""
        request = render(make("flood"))
        assert request.wait(60)
        assert len(list(request.follow())) <= 5000

    def test_garbage(self, make: Make) -> None:
        """Banners, broken bytes, broken JSON, five megabytes without an end of line."""
        assert render(make("garbage")).wait(20)

    def test_full_pipe(self, make: Make) -> None:
        """A worker that never reads: the caller goes on at once, also to the end."""
        client = make("deaf")
        big = protocol.RenderRequest(shot={"text": "x" * 300_000})
        start = time.monotonic()
        requests = [client.request(big) for _ in range(20)]
        assert time.monotonic() - start < 1.0
        time.sleep(0.5)  # by now the pipe is full
        pid = client.pid
        start = time.monotonic()
        client.close(grace=0.2)
        assert time.monotonic() - start < 3.0
        assert all(isinstance(request.error, FsganError) for request in requests)
        assert gone(pid)

    def test_crowd(self, make: Make) -> None:
        client = make("deaf")
        last = [client.request(protocol.PingRequest()) for _ in range(1001)][-1]
        with pytest.raises(WorkerError, match="1000 requests are already waiting"):
            last.wait(1)

    def test_silent_worker_is_reported(self, make: Make) -> None:
        heard: list[protocol.ProtocolEvent] = []
        render(make("stuck", silence_seconds=0.4), on_event=heard.append)
        end = time.monotonic() + 10
        while time.monotonic() < end and not any(isinstance(event, protocol.LogEvent) for event in heard):
            time.sleep(0.05)
        assert any("has not answered for" in event.message for event in heard if isinstance(event, protocol.LogEvent))


class TestCancel:
    def test_running(self, make: Make) -> None:
        client = make("good")
        request = render(client)
        request.wait(20)
        request.cancel()
        assert request.result is not None, "what is done stays done"
        stuck = render(make("stuck", "good", cancel_grace=0.3))
        while not stuck.has_begun:
            time.sleep(0.02)
        stuck.cancel()
        with pytest.raises(CancelledError):
            stuck.wait(10)

    def test_before_it_was_sent(self, make: Make) -> None:
        client = make("slow start")
        request = render(client)
        request.cancel()
        with pytest.raises(CancelledError, match="before it started"):
            request.wait(1)
        assert render(client).wait(20)

    def test_all(self, make: Make) -> None:
        client = make("silent start")
        requests = [render(client) for _ in range(3)]
        client.cancel_all()
        for request in requests:
            with pytest.raises(CancelledError):
                request.wait(1)


class TestEnds:
    def test_close_ends_the_worker(self, make: Make) -> None:
        client = make("good")
        render(client).wait(20)
        pid = client.pid
        client.close()
        assert gone(pid, 2)
        with pytest.raises(WorkerError, match="closed"):
            render(client).wait(1)

    def test_restart_by_hand(self, make: Make) -> None:
        client = make("good")
        first = render(client).wait(20)["pid"]
        client.restart()
        assert gone(first)
        assert render(client).wait(20)["pid"] != first

    def test_nobody_needs_it(self, make: Make) -> None:
        client = make("good", idle_seconds=0.4)
        pid = render(client).wait(20)["pid"]
        assert gone(pid), "ended by itself"
        assert render(client).wait(20)["pid"] != pid

    @pytest.mark.parametrize("how", ["exit", "kill"])
    def test_no_orphan(self, tmp_path: Path, how: str) -> None:
        """A host that ends, and one that is killed while its worker works: the worker goes with it."""
        code = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "nuke_plugin")!r}]
from fsgan_nuke.client import Client
from fsgan_nuke.settings import Settings
from fsgan_core.contract import protocol
client = Client(lambda: Settings(python="x", logs={str(tmp_path)!r}),
                command=lambda settings, log: [sys.executable, {str(FAKE)!r}, "good"])
print(client.request(protocol.RenderRequest()).wait(20)["pid"], flush=True)
if {how!r} == "kill":
    time.sleep(60)
"""
        host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert host.stdout is not None
        with host.stdout:
            pid = int(host.stdout.readline())
        if how == "kill":
            host.kill()
        host.wait(20)
        assert gone(pid)


class TestEnvironment:
    def test_host_variables_do_not_reach_the_worker(self) -> None:
        host = {
            "PATH": "/bin",
            "PYTHONPATH": "/nuke",
            "PYTHONHOME": "/nuke",
            "LD_LIBRARY_PATH": "/nuke",
            "DYLD_INSERT_LIBRARIES": "x",
            "QT_PLUGIN_PATH": "/nuke",
            "TCL_LIBRARY": "/nuke",
            "HOME": "/home/anna",
            "OCIO": "/show/config.ocio",
        }
        settings = Settings(weights="/w", cache="/c", root="/src", environment={"LD_LIBRARY_PATH": "/cuda"})
        found = make_worker_environment(settings, host, platform="linux")
        assert found == {
            "PATH": "/bin",
            "HOME": "/home/anna",
            "OCIO": "/show/config.ocio",
            "FSGAN_WEIGHTS": "/w",
            "FSGAN_CACHE": "/c",
            "PYTHONPATH": "/src",
            "LD_LIBRARY_PATH": "/cuda",
            "PYTHONNOUSERSITE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def test_dlls_of_the_host(self) -> None:
        """In Windows' PATH; os.path is this machine's, so the folders are written its way."""
        found = make_worker_environment(
            Settings(), {"Path": "/Nuke15;/tools;/Nuke15/"}, platform="win32", host="/Nuke15/Nuke15.exe"
        )
        assert found["Path"] == "/tools"

    def test_command(self, tmp_path: Path) -> None:
        command = make_worker_command(Settings(python="/venv/bin/python", device="cuda:1"), tmp_path / "a.log")
        assert command == [
            "/venv/bin/python",
            "-P",
            "-m",
            "fsgan_core.cli",
            "worker",
            "--device",
            "cuda:1",
            "--log",
            str(tmp_path / "a.log"),
        ]

    def test_old_logs_go(self, tmp_path: Path) -> None:
        for number in range(15):
            path = tmp_path / f"worker-{number:02}.log"
            path.write_text("x")
            os.utime(path, (number, number))
        choose_log_file(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"worker-{n:02}.log" for n in range(5, 15)]
        assert process_module.MAX_LOGS == 10


def test_threads_end(make: Make) -> None:
    before = threading.active_count()
    client = make("good")
    render(client).wait(20)
    client.close()
    end = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_signal_of_a_broken_pipe_is_no_harm(make: Make) -> None:
    """As in a host that leaves SIGPIPE at its default."""
    code = f"""
import signal, sys, time
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "nuke_plugin")!r}]
from fsgan_nuke.client import Client
from fsgan_nuke.settings import Settings
from fsgan_core.contract import protocol
client = Client(lambda: Settings(python="x"), command=lambda settings, log: [sys.executable, {str(FAKE)!r}, "deaf"])
first = client.request(protocol.RenderRequest(shot={{"text": "x" * 1_000_000}}))
while not client.greeting: time.sleep(0.05)
time.sleep(0.3)
client.restart()
time.sleep(0.5)
client.close(0.1)
print("alive", first.error)
"""
    environment = {**os.environ, "XDG_CACHE_HOME": os.environ.get("TMPDIR", "/tmp")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0 and "alive" in done.stdout, done.stderr
    assert signal.SIGPIPE.name not in done.stderr
