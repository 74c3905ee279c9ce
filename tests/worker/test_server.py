"""The worker: with stand-in jobs over pipes, as a process of its own, and at real work through the plugin's client."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fsgan_nuke.client import Client
from fsgan_nuke.settings import Settings

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, ConsentError, PlateError, WorkerError
from fsgan_core.contract.shot import Shot
from fsgan_core.render.pipeline import render_shot
from fsgan_core.runtime.events import CancelCheck, Event, EventListener, raise_if_cancelled
from fsgan_core.worker import server as worker_module
from fsgan_core.worker.server import Worker
from fsgan_core.worker.transports import PipeTransport
from tests.small_shot import Small

ROOT = Path(__file__).parents[2]
Answer = Callable[[Any, EventListener, CancelCheck], dict[str, Any]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and signals of POSIX")


class Talk:
    """A worker in a thread, and both ends of its pipes."""

    def __init__(self, answer: Answer, **options: Any) -> None:
        source, self._to = os.pipe()
        self._from, sink = os.pipe()
        transport = PipeTransport(source, sink, options.pop("parent", 0))
        self.worker = Worker(transport, heartbeat=options.pop("heartbeat", 60.0), **options)
        self.worker._handler = _Jobs(answer)  # type: ignore[assignment]
        self._thread = threading.Thread(target=self.worker.run, daemon=True)
        self._thread.start()
        self._splitter = protocol.LineSplitter()
        self._heard: list[protocol.ProtocolEvent] = []
        self.open = True

    def say(self, *requests: protocol.ProtocolRequest | bytes) -> None:
        for request in requests:
            os.write(self._to, request + b"\n" if isinstance(request, bytes) else request.to_line())

    def hello(self) -> Talk:
        self.say(protocol.HelloRequest(1, protocol.PROTOCOL_VERSION, "test"))
        assert self.until(protocol.HelloEvent, 1).protocol == protocol.PROTOCOL_VERSION
        return self

    def events(self) -> Iterator[protocol.ProtocolEvent]:
        """As they come."""
        while True:
            while self._heard:
                yield self._heard.pop(0)
            assert select.select([self._from], [], [], 30)[0], "the worker says nothing"
            data = os.read(self._from, 1 << 16)
            if not data:
                return
            self._heard += [protocol.parse_event(line) for line in self._splitter.feed(data) if line is not None]

    def until(self, kind: Any, number: int | None = None) -> Any:
        """The next event of a kind; those before it are passed over."""
        return next(event for event in self.events() if isinstance(event, kind) and number in (None, event.id))

    def leave(self, seconds: float = 10.0) -> bool:
        """Closes the worker's input; whether it ends."""
        if self.open:
            os.close(self._to)
            self.open = False
        self._thread.join(seconds)
        return not self._thread.is_alive()


class _Jobs:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.forgot = 0

    def release_memory(self) -> None:
        self.forgot += 1


@pytest.fixture
def talk() -> Iterator[Callable[..., Talk]]:
    made: list[Talk] = []

    def start(answer: Answer = lambda request, listen, cancelled: {"id": request.id}, **options: Any) -> Talk:
        made.append(Talk(answer, **options))
        return made[-1]

    yield start
    for one in made:
        assert one.leave()


def patient(request: Any, listen: EventListener, cancelled: CancelCheck) -> dict[str, Any]:
    """A render that lasts until it is cancelled; questions are answered at once."""
    if isinstance(request, protocol.RenderRequest):
        listen(Event("begin", "swap", 0, 9, 1001))
        while True:
            raise_if_cancelled(cancelled)
            time.sleep(0.01)
    return {"id": request.id}


class TestTalk:
    def test_hello_first(self, talk: Callable[..., Talk]) -> None:
        one = talk()
        one.say(protocol.RenderRequest(5))
        refused = one.until(protocol.ErrorEvent, 5)
        assert (refused.error, refused.exit_code) == ("ProtocolError", 2) and "hello" in refused.message
        one.hello().say(protocol.RenderRequest(6))
        assert one.until(protocol.ResultEvent, 6).data == {"id": 6}

    def test_another_protocol(self, talk: Callable[..., Talk]) -> None:
        one = talk()
        one.say(protocol.HelloRequest(1, protocol.PROTOCOL_VERSION + 1))
        assert "install the same version of both" in one.until(protocol.ErrorEvent, 1).message

    def test_greeting_says_who_it_is(self, talk: Callable[..., Talk]) -> None:
        one = talk(device="cpu", log_file="a.log")
        one.say(protocol.HelloRequest(1, protocol.PROTOCOL_VERSION))
        greeting = one.until(protocol.HelloEvent)
        assert (greeting.pid, greeting.executable) == (os.getpid(), sys.executable)
        assert (greeting.device, greeting.log) == ("cpu", "a.log") and greeting.version

    def test_garbage_is_answered_and_survived(self, talk: Callable[..., Talk]) -> None:
        one = talk().hello()
        one.say(b"nonsense", b'{"request": "dance", "id": 8}', b"\xff" * 10)
        assert [one.until(protocol.ErrorEvent).id for _ in range(3)] == [0, 8, 0]
        one.say(protocol.PingRequest(9))
        assert one.until(protocol.PongEvent).id == 9

    def test_too_long_a_line(self, talk: Callable[..., Talk]) -> None:
        one = talk().hello()
        writing = threading.Thread(target=one.say, args=(b"x" * (protocol.MAX_LINE_BYTES + 1), protocol.PingRequest(2)))
        writing.start()
        assert "longer than" in one.until(protocol.ErrorEvent).message
        assert one.until(protocol.PongEvent, 2)
        writing.join()

    def test_request_number_is_used_once(self, talk: Callable[..., Talk]) -> None:
        one = talk(patient).hello()
        one.say(protocol.RenderRequest(2), protocol.KeysRequest(2), protocol.KeysRequest(0))
        assert "taken" in one.until(protocol.ErrorEvent).message
        assert "taken or none" in one.until(protocol.ErrorEvent).message


class TestQueues:
    def test_one_render_at_a_time_in_order(self, talk: Callable[..., Talk]) -> None:
        running, most = [0], [0]

        def answer(request: Any, listen: EventListener, cancelled: CancelCheck) -> dict[str, Any]:
            running[0] += 1
            most[0] = max(most[0], running[0])
            time.sleep(0.02)
            running[0] -= 1
            return {}

        one = talk(answer).hello()
        one.say(*(protocol.RenderRequest(number) for number in range(2, 8)))
        assert [one.until(protocol.ResultEvent).id for _ in range(6)] == [2, 3, 4, 5, 6, 7]
        assert most == [1]

    def test_questions_do_not_wait_for_renders(self, talk: Callable[..., Talk]) -> None:
        one = talk(patient).hello()
        one.say(
            protocol.RenderRequest(2),
            protocol.RenderRequest(3),
            protocol.KeysRequest(4),
            protocol.PingRequest(5),
            protocol.DoctorRequest(6),
        )
        ended = {one.until((protocol.ResultEvent, protocol.PongEvent)).id for _ in range(3)}
        assert ended == {4, 5, 6}

    def test_events_of_a_render(self, talk: Callable[..., Talk]) -> None:
        def answer(request: Any, listen: EventListener, cancelled: CancelCheck) -> dict[str, Any]:
            listen(Event("analyse", "plate", 1, 2))
            listen(Event("begin", "swap", 0, 1, 7))
            listen(Event("frame", "swap", 1, 1, 7, "rendered", 0.5))
            return {"ok": True}

        one = talk(answer).hello()
        one.say(protocol.RenderRequest(2, shot={"output": {"path": "/out/a.####.exr"}}))
        heard = [next(event for event in one.events() if not isinstance(event, protocol.LogEvent)) for _ in range(5)]
        assert heard == [
            protocol.ProgressEvent(2, step="start", subject="render"),
            protocol.ProgressEvent(2, step="analyse", subject="plate", done=1, total=2),
            protocol.ProgressEvent(2, step="begin", subject="swap", total=1, frame=7),
            protocol.FrameEvent(2, 7, "rendered", "/out/a.0007.exr", 1, 1, 0.5, subject="swap"),
            protocol.ResultEvent(2, {"ok": True}),
        ]


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "kind", "code"),
        [
            (PlateError("no such plate"), "PlateError", 2),
            (MemoryError(), "MachineError", 3),
            (ZeroDivisionError("division"), "InternalError", 4),
        ],
    )
    def test_never_end_the_worker(self, talk: Callable[..., Talk], error: Exception, kind: str, code: int) -> None:
        def answer(request: Any, listen: EventListener, cancelled: CancelCheck) -> dict[str, Any]:
            if request.id == 2:
                raise error
            return {}

        one = talk(answer).hello()
        one.say(protocol.RenderRequest(2), protocol.RenderRequest(3))
        failure = one.until(protocol.ErrorEvent)
        assert (failure.id, failure.error, failure.exit_code) == (2, kind, code)
        assert str(error) in failure.message and "Traceback" not in failure.message
        assert one.until(protocol.ResultEvent).id == 3
        assert one.worker._handler.forgot == (kind == "MachineError")  # type: ignore[attr-defined]

    def test_answer_that_is_not_json(self, talk: Callable[..., Talk]) -> None:
        one = talk(lambda request, listen, cancelled: {"value": float("nan")}).hello()
        one.say(protocol.RenderRequest(2))
        assert one.until(protocol.ErrorEvent, 2).error == "InternalError"
        one.say(protocol.PingRequest(3))
        assert one.until(protocol.PongEvent, 3)


class TestCancel:
    def test_running_and_waiting(self, talk: Callable[..., Talk]) -> None:
        one = talk(patient).hello()
        one.say(protocol.RenderRequest(2), protocol.RenderRequest(3))
        one.until(protocol.ProgressEvent, 2)
        one.say(protocol.CancelRequest(4, target=3), protocol.CancelRequest(5, target=2))
        failures = [one.until(protocol.ErrorEvent) for _ in range(2)]
        assert {(failure.id, failure.error, failure.exit_code) for failure in failures} == {
            (2, "CancelledError", 130),
            (3, "CancelledError", 130),
        }

    def test_nothing_to_cancel(self, talk: Callable[..., Talk]) -> None:
        one = talk().hello()
        one.say(protocol.CancelRequest(4, target=99))
        assert one.until(protocol.ResultEvent, 4).data == {"found": False}


class TestHeart:
    def test_heartbeat_names_the_running_work(self, talk: Callable[..., Talk]) -> None:
        one = talk(patient, heartbeat=0.05).hello()
        assert one.until(protocol.HeartbeatEvent).busy == protocol.NO_REQUEST
        one.say(protocol.RenderRequest(2), protocol.RenderRequest(3))
        beat = next(
            event
            for event in one.events()
            if isinstance(event, protocol.HeartbeatEvent) and event.waiting and event.frames
        )
        assert (beat.busy, beat.frames, beat.waiting) == (2, (1001,), 1)
        assert beat.memory > 10 << 20 or not Path("/proc/self/statm").exists()

    def test_gives_memory_back_when_idle(self, talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker_module, "RELEASE_SECONDS", 0.1)
        one = talk(heartbeat=0.05).hello()
        for _ in range(8):
            one.until(protocol.HeartbeatEvent)
        assert one.worker._handler.forgot > 0  # type: ignore[attr-defined]


class TestEnd:
    def test_ends_when_the_client_disappears(self, talk: Callable[..., Talk]) -> None:
        one = talk(patient).hello()
        one.say(protocol.RenderRequest(2), protocol.RenderRequest(3))
        one.until(protocol.ProgressEvent, 2)
        assert one.leave(5)

    def test_ends_on_request(self, talk: Callable[..., Talk]) -> None:
        one = talk(patient).hello()
        one.say(protocol.RenderRequest(2), protocol.QuitRequest(3))
        assert one.until(protocol.ResultEvent, 3)
        one._thread.join(5)
        assert not one._thread.is_alive()

    def test_ends_when_its_parent_changes(self, talk: Callable[..., Talk]) -> None:
        """As after its death, where something else keeps our end of the pipe open."""
        one = talk(patient, parent=os.getppid() + 1, heartbeat=0.05)
        one._thread.join(5)
        assert not one._thread.is_alive()

    def test_client_that_does_not_read(self, talk: Callable[..., Talk]) -> None:
        """The work goes on; afterwards the results are there, and not every step."""
        done = threading.Event()

        def answer(request: Any, listen: EventListener, cancelled: CancelCheck) -> dict[str, Any]:
            for step in range(20_000):
                listen(Event("analyse", "a clip with a rather long name", step, 20_000))
            listen(Event("frame", "swap", 1, 1, 7, "rendered"))
            done.set()
            return {"ok": True}

        one = talk(answer).hello()
        one.say(protocol.RenderRequest(2))
        assert done.wait(20)
        steps, frames = 0, 0
        for event in one.events():
            steps += isinstance(event, protocol.ProgressEvent)
            frames += isinstance(event, protocol.FrameEvent)
            if isinstance(event, protocol.ResultEvent) and event.id == 2:
                break
        assert frames == 1 and steps < 20_000


def process(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    """`fsgan worker` with some code run before it."""
    program = f"import sys\n{code}\nfrom fsgan_core.cli import main\nsys.exit(main(['worker', *sys.argv[1:]]))"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )


NOISY = """
import os
from fsgan_core.worker.handlers import RequestHandler
def answer(self, request, listen, cancelled):
    print("a library says hello")
    sys.stdout.flush()
    os.write(1, b"so does one in C\\n")
    os.system("echo and a child")
    return {"input": sys.stdin.read()}
RequestHandler.answer = answer
"""


class TestProcess:
    def test_standard_output_carries_only_the_protocol(self, tmp_path: Path) -> None:
        log = tmp_path / "logs" / "worker.log"
        with process(NOISY, "--log", str(log)) as one:
            assert one.stdin is not None and one.stdout is not None and one.stderr is not None
            one.stdin.write(
                protocol.HelloRequest(1, protocol.PROTOCOL_VERSION).to_line() + protocol.RenderRequest(2).to_line()
            )
            one.stdin.flush()
            lines = []
            while not lines or lines[-1].get("event") != "result":
                lines.append(json.loads(one.stdout.readline()))
            assert lines[-1]["data"] == {"input": ""}, "a library that reads standard input reads nothing"
            one.stdin.close()
            assert one.wait(20) == 0 and one.stderr.read() == b""
        text = log.read_text()
        assert all(said in text for said in ("a library says hello", "so does one in C", "and a child", "INFO"))

    def test_log_is_bounded(self, tmp_path: Path) -> None:
        from fsgan_core.cli.worker import _redirect_standard_error

        log = tmp_path / "worker.log"
        code = f"""
import os
from fsgan_core.cli import worker
worker.MAX_LOG_BYTES = 1000
bounded = worker._redirect_standard_error({str(log)!r})
for number in range(300):
    os.write(2, b"line %03d\\n" % number)
    bounded()
"""
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        assert log.stat().st_size <= 1010 and log.read_text().endswith("line 299\n")
        assert (tmp_path / "worker.log.1").stat().st_size <= 1010
        assert _redirect_standard_error("") is not None

    def test_a_log_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with process("", "--log", str(tmp_path / "file" / "a.log")) as one:
            assert one.stderr is not None
            assert b"cannot be written" in one.stderr.read()
            one.communicate()
        assert one.returncode == 3

    def test_dies_with_a_parent_that_is_killed(self, tmp_path: Path) -> None:
        """Even while another process keeps the pipe to its input open."""
        code = f"""
import os, subprocess, sys, time
reading, writing = os.pipe()
os.set_inheritable(writing, True)
holder = subprocess.Popen(["sleep", "60"], close_fds=False)
worker = subprocess.Popen([sys.executable, "-m", "fsgan_core.cli", "worker"], stdin=reading, stdout=subprocess.PIPE,
                          cwd={str(ROOT)!r})
os.write(writing, {protocol.HelloRequest(1, protocol.PROTOCOL_VERSION).to_line()!r})
worker.stdout.readline()
print(worker.pid, holder.pid, flush=True)
time.sleep(60)
"""
        parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        with parent.stdout:
            pid, holder = map(int, parent.stdout.readline().split())
        parent.kill()
        parent.wait(10)
        try:
            assert _gone(pid)
        finally:
            os.kill(holder, signal.SIGKILL)


def _gone(pid: int, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Client]:
    settings = Settings(
        python=sys.executable, root=str(ROOT), cache=str(cache), device="cpu", logs=str(tmp_path_factory.mktemp("logs"))
    )
    client = Client(lambda: settings)
    yield client
    client.close()


def plain(shot: Shot) -> Mapping[str, Any]:
    return shot.to_dict()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
class TestRealWork:
    """One real worker for all of these, spoken to by the plugin's client."""

    def test_a_shot(self, client: Client, small: Small, tmp_path: Path) -> None:
        """Bit for bit what the command line renders, twice over as stages with files between them."""
        heard: list[protocol.ProtocolEvent] = []
        shot = small.shot(tmp_path / "worker", "1-2")
        data = client.request(protocol.RenderRequest(shot=plain(shot)), heard.append).wait(120)
        assert data["counts"]["rendered"] == 2 and data["engines"]["reenact"] == "mesh"
        frames = [event for event in heard if isinstance(event, protocol.FrameEvent)]
        assert {event.frame for event in frames} == {1, 2} and all(Path(event.path).is_file() for event in frames)
        render_shot(small.shot(tmp_path / "here", "1-2"))
        for number in (1, 2):
            name = f"swap.{number:04d}.exr"
            assert (tmp_path / "worker" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()

    def test_a_node_without_a_release_is_refused(
        self, small: Small, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a studio that requires one, whole shots and single stages alike; the node shows why."""
        monkeypatch.setenv("FSGAN_REQUIRE_CONSENT", "1")
        settings = Settings(
            python=sys.executable, root=str(ROOT), cache=str(cache), device="cpu", logs=str(tmp_path / "logs")
        )
        client = Client(lambda: settings)
        try:
            for stage in ("", "mask", "reenact"):
                request = protocol.RenderRequest(shot=plain(small.shot(tmp_path / "out", "1")), stage=stage)
                with pytest.raises(ConsentError, match="FSGAN_REQUIRE_CONSENT=1"):
                    client.request(request).wait(120)
            assert not (tmp_path / "out").exists(), "nothing was written"
            named = small.shot(tmp_path / "out", "1", consent__reference="R-17")
            assert client.request(protocol.RenderRequest(shot=plain(named))).wait(120)["counts"]["rendered"] == 1
        finally:
            client.close()

    def test_status_and_what_is_stale(self, client: Client, small: Small, tmp_path: Path) -> None:
        client.request(protocol.RenderRequest(shot=plain(small.shot(tmp_path, "1-2")))).wait(120)
        changed = plain(small.shot(tmp_path, "1-3", blend__mix="0.5"))
        answer = client.request(protocol.KeysRequest(shot=changed)).wait(60)
        assert (answer["done"], answer["stale"], answer["missing"], answer["total"]) == ("", "1-2", "3", 3)
        assert answer["changed"] == [{"frames": "1-2", "parts": ["blend.mix"], "text": "blend.mix"}]
        client.request(protocol.RenderRequest(shot=changed, frames="2-3")).wait(120)
        answer = client.request(protocol.KeysRequest(shot=changed)).wait(60)
        assert (answer["done"], answer["stale"], answer["missing"]) == ("2-3", "1", "")

    def test_a_stage_without_a_source(self, client: Client, small: Small, tmp_path: Path) -> None:
        shot = {**plain(small.shot(tmp_path, "2"))}
        del shot["source"]
        data = client.request(protocol.RenderRequest(shot=shot, stage="mask")).wait(120)
        assert data["command"] == "mask" and data["counts"]["rendered"] == 1

    def test_questions(self, client: Client, small: Small, tmp_path: Path) -> None:
        found = client.request(protocol.DescribeRequest()).wait(60)
        assert found["engines"]["reenact"]["mesh"] == "" and "cpu" in found["devices"]
        assert {"name", "role", "licence", "installed"} <= set(found["weights"][0])
        assert any("fsgan" in line for line in client.request(protocol.DoctorRequest()).wait(60)["lines"])
        facts = client.request(
            protocol.AnalyseRequest(clip={"path": small.plate}, output=str(tmp_path / "track.json"), frames="1-2")
        ).wait(60)
        assert facts["frames"] == 2 and (tmp_path / "track.json").is_file()

    def test_views(self, client: Client, small: Small, tmp_path: Path) -> None:
        """With the pictures as files; without a target the views alone."""
        shot = plain(small.shot(tmp_path, "1-2"))
        found = client.request(protocol.ViewsRequest(shot=shot)).wait(60)
        assert found["target"] == 2 and [view["name"] for view in found["views"]] == ["1"]
        assert Path(found["views"][0]["picture"]).is_file()
        alone = {name: shot[name] for name in ("source", "stages") if name in shot}
        assert client.request(protocol.ViewsRequest(shot=alone, pictures=False)).wait(60)["target"] == 0

    def test_errors_come_as_they_are(self, client: Client, small: Small, tmp_path: Path) -> None:
        shot = {**plain(small.shot(tmp_path)), "target": str(tmp_path / "none.####.exr")}
        with pytest.raises(PlateError, match=r"none\.####\.exr"):
            client.request(protocol.RenderRequest(shot=shot)).wait(60)

    def test_cancelled_render_can_be_resumed(self, client: Client, small: Small, tmp_path: Path) -> None:
        shot = plain(small.shot(tmp_path, "1-6", mask__smooth="0"))
        request = client.request(protocol.RenderRequest(shot=shot))
        for event in request.follow():
            if isinstance(event, protocol.FrameEvent):
                break
        request.cancel()
        with pytest.raises(CancelledError):
            request.wait(30)
        there = {path.name for path in tmp_path.iterdir()}
        assert 1 <= len(there) < 6 and all(name.endswith(".exr") for name in there)
        counts = client.request(protocol.RenderRequest(shot=shot)).wait(120)["counts"]
        assert counts["kept"] == len(there) and counts["rendered"] == 6 - len(there)

    def test_killed_in_the_middle(self, client: Client, small: Small, tmp_path: Path) -> None:
        shot = plain(small.shot(tmp_path / "a", "1-6", mask__smooth="1"))
        request = client.request(protocol.RenderRequest(shot=shot))
        for event in request.follow():
            if isinstance(event, protocol.FrameEvent):
                os.kill(client.pid, signal.SIGKILL)
                break
        with pytest.raises(WorkerError, match=r"died \(killed by SIGKILL\) during render of frames? \d"):
            request.wait(30)
        assert client.request(protocol.RenderRequest(shot=shot)).wait(120)["counts"]["failed"] == 0
        render_shot(small.shot(tmp_path / "b", "1-6", mask__smooth="1"))
        assert {path.name: path.read_bytes() for path in (tmp_path / "a").glob("swap.*.exr")} == {
            path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()
        }
