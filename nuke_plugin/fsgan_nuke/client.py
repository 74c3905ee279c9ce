"""The worker, as the nodes see it: requests go out, events and results come back, and nobody waits who need not.

    client = shared()
    request = client.request(protocol.Render(shot=..., frames="1001-1010"), on_event=show)
    ...
    request.cancel()

`request` returns at once, whatever state the worker is in: a thread starts it when it is needed, speaks to it, and
starts it again after a crash. Requests that a crash met in the middle fail with a WorkerError that says which frames
were in the making and how the log ends; those that had not begun go to the next worker. Knows nothing of the host:
callbacks come in threads of the client.
"""

from __future__ import annotations

import atexit
import logging
import signal
import threading
import time
import weakref
from collections import deque
from dataclasses import replace
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Tuple, Union

from fsgan_core.contract import errors, protocol
from fsgan_core.contract.errors import CancelledError, FsganError, WorkerError
from fsgan_nuke import settings as preferences
from fsgan_nuke.process import WorkerProcess, choose_log_file, make_worker_command, make_worker_environment
from fsgan_nuke.request import EventCallback, PendingRequest
from fsgan_nuke.settings import Settings

log = logging.getLogger(__name__)

CLIENT_NAME = "fsgan_nuke"
MAX_TRIES = 2  # how often a request that had not begun is handed to another worker
MAX_WAITING = 1000
TICK_SECONDS = 0.25
SLOW_START_SECONDS = 10.0  # seconds of a start, from which on those who wait are told

WorkerCommand = Callable[[Settings, Any], List[str]]


class Client:
    """Keeps a worker.

    settings: read anew for every start of a worker, by the function given. command: what starts it, for tests.
    start_timeout: seconds until a worker must answer. silence: seconds without a sign of life after which that is
    told. cancel_grace: seconds for a cancelled request to end, before the worker is killed. idle: seconds without
    requests after which the worker is ended, 0 for never.
    """

    def __init__(
        self,
        settings: Callable[[], Settings] = preferences.load_settings,
        *,
        name: str = CLIENT_NAME,
        command: WorkerCommand = make_worker_command,
        start_timeout: float = 180.0,
        silence: float = 30.0,
        cancel_grace: float = 30.0,
        idle: float = 3600.0,
    ) -> None:
        self._settings = settings
        self._name = name
        self._command = command
        self._start_timeout = start_timeout
        self._silence_seconds = silence
        self._cancel_grace = cancel_grace
        self._idle_seconds = idle
        self._lock = threading.Condition()
        self._last_id = 0
        self._requests: Dict[int, PendingRequest] = {}
        self._queue: Deque[Union[PendingRequest, Tuple[protocol.ProtocolRequest, WorkerProcess]]] = deque()
        self._process: Optional[WorkerProcess] = None
        self._greeting: Optional[protocol.HelloEvent] = None
        self._refusal: Optional[FsganError] = None
        self._heartbeat: Optional[protocol.HeartbeatEvent] = None
        self._is_silent = False
        self._last_used = time.monotonic()
        self._is_closing = False
        self._threads: List[threading.Thread] = []
        self.last_crash = ""
        _clients.add(self)

    # For callers.

    def request(
        self,
        message: protocol.ProtocolRequest,
        on_event: Optional[EventCallback] = None,
        on_end: Optional[Callable[[PendingRequest], None]] = None,
    ) -> PendingRequest:
        """Sends a request; its number is set here. on_event: each event of it. on_end: once, with the request; both in
        threads of the client. Returns at once; a worker that cannot be started is an error of the request."""
        with self._lock:
            self._last_id += 1
            made = PendingRequest(self.cancel, replace(message, id=self._last_id), on_event, on_end)
            crowded = len(self._requests) >= MAX_WAITING
            closed = self._is_closing
            if not crowded and not closed:
                self._last_used = time.monotonic()
                self._requests[made.id] = made
                self._queue.append(made)
                self._start_threads()
                self._lock.notify_all()
        if closed:
            made.finish(WorkerError("the worker is being closed"))
        elif crowded:
            made.finish(WorkerError(f"{MAX_WAITING} requests wait for the worker already; it does not do them"))
        return made

    def cancel(self, request: PendingRequest) -> None:
        at_once = False
        with self._lock:
            if request.has_ended or request.cancel_time:
                return
            request.cancel_time = time.monotonic()
            if request.process is None:
                self._requests.pop(request.id, None)
                at_once = True
            else:
                self._last_id += 1
                self._queue.append((protocol.CancelRequest(self._last_id, target=request.id), request.process))
                self._lock.notify_all()
        if at_once:
            request.finish(CancelledError("cancelled before it began"))

    def cancel_all(self) -> None:
        """When a script is closed: nobody waits for the results any more."""
        with self._lock:
            pending = list(self._requests.values())
        for request in pending:
            request.cancel()

    def restart(self) -> None:
        """Ends the worker, whatever it does. The next request starts another one, by the settings as they are then."""
        with self._lock:
            process = self._process
        if process is not None:
            process.kill()

    def close(self, grace: float = 3.0) -> None:
        """Ends the worker for good. Takes up to `grace` seconds and two more."""
        with self._lock:
            self._is_closing = True
            process, self._process = self._process, None
            pending = list(self._requests.values())
            self._requests.clear()
            self._queue.clear()
            self._lock.notify_all()
        for request in pending:
            request.finish(CancelledError("cancelled, since the worker is being closed"))
        if process is not None:
            process.end(grace)
        _clients.discard(self)

    @property
    def pid(self) -> int:
        """Of the worker; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.is_alive else 0

    @property
    def greeting(self) -> Optional[protocol.HelloEvent]:
        """What the worker said of itself; None while there is none."""
        return self._greeting

    @property
    def heartbeat(self) -> Optional[protocol.HeartbeatEvent]:
        """The last one."""
        return self._heartbeat

    # The threads.

    def _start_threads(self) -> None:
        if not self._threads:
            self._threads = [
                threading.Thread(target=target, name="fsgan worker, " + name, daemon=True)
                for target, name in ((self._run_keeper, "keeper"), (self._run_watch, "watch"))
            ]
            for thread in self._threads:
                thread.start()

    def _run_keeper(self) -> None:
        """Sends what waits, and starts a worker where that is needed."""
        if hasattr(signal, "pthread_sigmask"):
            # A host that embeds Python may not ignore the signal of a broken pipe, which would end it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        while True:
            with self._lock:
                while not self._queue and not self._is_closing:
                    self._lock.wait()
                if self._is_closing:
                    return
                item = self._queue.popleft()
            if isinstance(item, PendingRequest):
                self._send_request(item)
                continue
            message, process = item
            try:
                process.send(message)
            except (OSError, FsganError):
                log.debug("%s could not be sent", message.name)

    def _send_request(self, request: PendingRequest) -> None:
        if request.has_ended:
            return
        request.tries += 1
        try:
            process = self._get_ready_process()
            with self._lock:
                if request.cancel_time or self._is_closing:
                    return
                ended = self._process is not process
                if not ended:
                    request.process = process
            if ended and request.tries > MAX_TRIES:
                raise WorkerError(f"the worker dies at once ({process.describe_ending()}){_describe_log(process)}")
            if ended:
                with self._lock:
                    self._queue.appendleft(request)
                return
            process.send(request.message)
        except FsganError as error:
            self._end_request(request, error)
        except OSError:
            log.debug("the worker ended before %s was sent", request.message.name)  # _ended sees to the request
        except Exception as error:
            log.exception("%s could not be sent", request.message.name)
            self._end_request(request, WorkerError(f"the worker does not start, {type(error).__name__}: {error}"))

    def _get_ready_process(self) -> WorkerProcess:
        """A worker that has answered. Raises WorkerError."""
        with self._lock:
            process = self._process
        if process is not None and process.is_alive:
            return process
        settings = self._settings()
        log_file = choose_log_file(settings.log_folder)
        with self._lock:
            self._greeting, self._refusal, self._heartbeat, self._is_silent = None, None, None, False
            self._last_id += 1
            hello = protocol.HelloRequest(self._last_id, protocol.PROTOCOL_VERSION, self._name)
        process = WorkerProcess(
            self._command(settings, log_file),
            make_worker_environment(settings),
            log_file,
            self._on_worker_event,
            self._on_worker_end,
        )
        with self._lock:
            if self._is_closing:
                closing = True
            else:
                closing, self._process = False, process
        if closing:
            process.kill()
            raise CancelledError("cancelled, since the worker is being closed")
        try:
            process.send(hello)
        except OSError:
            log.debug("the worker ended before it was greeted")
        self._await_greeting(process)
        return process

    def _await_greeting(self, process: WorkerProcess) -> None:
        """Raises WorkerError, and ends the worker then."""
        begun = time.monotonic()
        told = False
        while True:
            with self._lock:
                self._lock.wait_for(
                    lambda: self._greeting is not None or self._refusal is not None or self._process is not process,
                    TICK_SECONDS,
                )
                greeting, refused, gone = self._greeting, self._refusal, self._process is not process
            spent = time.monotonic() - begun
            if greeting is not None:
                return
            if refused is not None:
                process.end(1.0)
                raise WorkerError(f"the worker refuses this plugin: {refused}")
            if gone:
                raise WorkerError(f"the worker does not start ({process.describe_ending()}){_describe_log(process)}")
            if spent > self._start_timeout:
                process.kill()
                raise WorkerError(
                    f"the worker has not answered within {self._start_timeout:g} s of its start{_describe_log(process)}"
                )
            if spent > SLOW_START_SECONDS and not told:
                told = True
                self._notify_all(protocol.ProgressEvent(step="starting", message="the worker is slow to start"))

    def _on_worker_event(self, process: WorkerProcess, event: protocol.ProtocolEvent) -> None:
        """In the process's reader thread."""
        if isinstance(event, protocol.HelloEvent):
            with self._lock:
                if event.protocol == protocol.PROTOCOL_VERSION:
                    self._greeting = event
                else:
                    self._refusal = WorkerError(
                        f"it speaks protocol {event.protocol}, the plugin "
                        f"{protocol.PROTOCOL_VERSION}; install the same version of both"
                    )
                self._lock.notify_all()
            return
        if isinstance(event, protocol.HeartbeatEvent):
            self._heartbeat = event
        with self._lock:
            request = self._requests.get(event.id)
            if request is None and isinstance(event, protocol.ErrorEvent) and self._greeting is None:
                self._refusal = _make_error(event)
                self._lock.notify_all()
        if request is None or request.process is not process:
            return
        if isinstance(event, protocol.ResultEvent):
            self._end_request(request, event.data)
        elif isinstance(event, protocol.PongEvent):
            self._end_request(request, {})
        elif isinstance(event, protocol.ErrorEvent):
            self._end_request(request, _make_error(event))
        else:
            request.handle_event(event)

    def _on_worker_end(self, process: WorkerProcess) -> None:
        """In the process's reader thread, when the worker is no more."""
        lost: List[PendingRequest] = []
        with self._lock:
            met = [request for request in self._requests.values() if request.process is process]
            if self._process is process:
                self._process = None
            for request in met:
                if request.has_begun or request.cancel_time or request.tries > MAX_TRIES:
                    lost.append(request)
                else:
                    request.process = None
                    self._queue.append(request)
            self._lock.notify_all()
            closing = self._is_closing
        for request in lost:
            if request.cancel_time:
                self._end_request(request, CancelledError("cancelled; the worker did not stop by itself and was ended"))
                continue
            self.last_crash = describe_crash(process, request)
            log.error("%s", self.last_crash)
            self._end_request(request, WorkerError(self.last_crash))
        if not closing:
            log.info("the worker %d has ended: %s", process.pid, process.describe_ending())

    def _end_request(self, request: PendingRequest, outcome: Union[Mapping[str, Any], FsganError]) -> None:
        with self._lock:
            self._requests.pop(request.id, None)
            self._last_used = time.monotonic()
        request.finish(outcome)

    def _notify_all(self, event: protocol.ProtocolEvent) -> None:
        with self._lock:
            pending = list(self._requests.values())
        for request in pending:
            request.handle_event(event)

    def _run_watch(self) -> None:
        """Signs of life, cancelled requests that do not end, and a worker that nobody needs."""
        while True:
            with self._lock:
                if self._lock.wait_for(lambda: self._is_closing, TICK_SECONDS):
                    return
                process, greeted, pending = self._process, self._greeting is not None, list(self._requests.values())
                used = self._last_used
            if process is None or not greeted:
                continue
            now = time.monotonic()
            self._check_silence(now - process.last_heard)
            if any(request.cancel_time and now - request.cancel_time > self._cancel_grace for request in pending):
                log.warning("a cancelled request has not ended in %g s; the worker is killed", self._cancel_grace)
                process.kill()
            elif self._idle_seconds and not pending and now - used > self._idle_seconds:
                log.info("nobody needed the worker for %g s; it is ended", self._idle_seconds)
                process.end(5.0)

    def _check_silence(self, seconds: float) -> None:
        silent = seconds > self._silence_seconds
        if silent == self._is_silent:
            return
        self._is_silent = silent
        text = (
            f"the worker has given no sign of life for {seconds:.0f} s; it may be stuck (cancel ends it)"
            if silent
            else "the worker gives signs of life again"
        )
        log.warning("%s", text)
        self._notify_all(protocol.LogEvent(level="warning", message=text))


_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_shared_client: Optional[Client] = None
_shared_lock = threading.Lock()


def get_shared_client() -> Client:
    """The client of this process."""
    global _shared_client
    with _shared_lock:
        if _shared_client is None or _shared_client._is_closing:
            _shared_client = Client()
        return _shared_client


def close_all_clients() -> None:
    """When the host ends."""
    for client in list(_clients):
        client.close(grace=2.0)


atexit.register(close_all_clients)


def describe_crash(process: WorkerProcess, request: PendingRequest) -> str:
    """What is told of a crash: the frames that were in the making, how it ended, the end of the log."""
    frames = sorted(request.frames)
    where = ""
    if frames:
        numbers = ", ".join(str(frame) for frame in frames)
        where = f" with frame{'s' if len(frames) > 1 else ''} {numbers} in the making"
    return f"the worker died ({process.describe_ending()}) during {request.message.name}{where}{_describe_log(process)}"


def _describe_log(process: WorkerProcess) -> str:
    end = process.read_log_end()
    return f"; its log is {process.log_file}" + (f" and ends:\n{end}" if end else "")


def _make_error(event: protocol.ErrorEvent) -> FsganError:
    """The error that the worker told, of its own class."""
    kind = getattr(errors, event.error, FsganError)
    if not (isinstance(kind, type) and issubclass(kind, FsganError)) or kind is errors.FramesFailedError:
        kind = FsganError
    return kind(event.message)
