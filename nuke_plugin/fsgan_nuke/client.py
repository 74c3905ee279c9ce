"""Talks to the worker process: sends requests, and receives events and results.

    client = get_shared_client()
    request = client.request(protocol.RenderRequest(shot=..., frames="1001-1010"), on_event=show)
    ...
    request.cancel()

`request` returns at once, whatever state the worker is in. A thread starts the worker when it is needed, talks to it,
and starts it again after a crash. A request that was running during a crash fails with a WorkerError that names the
frames being rendered and quotes the end of the log; a request that had not started goes to the next worker. This module
does not import nuke. Callbacks are called in threads of the client.
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

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, WorkerError
from fsgan_nuke import settings as preferences
from fsgan_nuke.process import WorkerProcess, choose_log_file, make_worker_command, make_worker_environment
from fsgan_nuke.request import EventCallback, PendingRequest
from fsgan_nuke.settings import Settings

log = logging.getLogger(__name__)

CLIENT_NAME = "fsgan_nuke"
MAX_TRIES = 2  # how often a request that had not started goes to another worker
MAX_WAITING = 1000  # requests
TICK_SECONDS = 0.25
SLOW_START_SECONDS = 10.0  # after so long, waiting requests get a message that the worker is slow

WorkerCommand = Callable[[Settings, Any], List[str]]


class Client:
    """Keeps one worker process running and sends requests to it.

    Args:
        load_settings: Called before every start of a worker.
        name: Name of the client, for the worker's log.
        command: Makes the worker's command line.
        start_timeout: Seconds until a new worker must answer.
        silence_seconds: Seconds without a message from the worker, after which the requests get a warning.
        cancel_grace: Seconds for a cancelled request to end, before the worker is killed.
        idle_seconds: Seconds without requests, after which the worker is ended; 0 for never.

    Attributes:
        last_crash: Message of the worker's last crash, "" if there was none.
    """

    def __init__(
        self,
        load_settings: Callable[[], Settings] = preferences.load_settings,
        *,
        name: str = CLIENT_NAME,
        command: WorkerCommand = make_worker_command,
        start_timeout: float = 180.0,
        silence_seconds: float = 30.0,
        cancel_grace: float = 30.0,
        idle_seconds: float = 3600.0,
    ) -> None:
        self._load_settings = load_settings
        self._name = name
        self._command = command
        self._start_timeout = start_timeout
        self._silence_seconds = silence_seconds
        self._cancel_grace = cancel_grace
        self._idle_seconds = idle_seconds
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

    def request(
        self,
        message: protocol.ProtocolRequest,
        on_event: Optional[EventCallback] = None,
        on_end: Optional[Callable[[PendingRequest], None]] = None,
    ) -> PendingRequest:
        """Sends a request and returns at once. If the worker cannot be started, the request ends with that error.

        Args:
            message: The request; its number is set here.
            on_event: Called with each event of the request, in a thread of the client.
            on_end: Called once with the request when it has ended, in a thread of the client.
        """
        with self._lock:
            self._last_id += 1
            request = PendingRequest(self.cancel, replace(message, id=self._last_id), on_event, on_end)
            is_full = len(self._requests) >= MAX_WAITING
            is_closed = self._is_closing
            if not is_full and not is_closed:
                self._last_used = time.monotonic()
                self._requests[request.id] = request
                self._queue.append(request)
                self._start_threads()
                self._lock.notify_all()
        if is_closed:
            request.finish(WorkerError("the worker is being closed"))
        elif is_full:
            request.finish(WorkerError(f"{MAX_WAITING} requests are already waiting for the worker"))
        return request

    def cancel(self, request: PendingRequest) -> None:
        """Asks the worker to stop a request; a request that has not been sent ends at once."""
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
            request.finish(CancelledError("cancelled before it started"))

    def cancel_all(self) -> None:
        """Cancels all requests."""
        with self._lock:
            pending = list(self._requests.values())
        for request in pending:
            request.cancel()

    def restart(self) -> None:
        """Kills the worker. The next request starts a new one with the settings of that moment."""
        with self._lock:
            process = self._process
        if process is not None:
            process.kill()

    def close(self, grace: float = 3.0) -> None:
        """Ends the worker for good.

        Args:
            grace: Seconds for the worker to end by itself; killing it may take two more.
        """
        with self._lock:
            self._is_closing = True
            process, self._process = self._process, None
            pending = list(self._requests.values())
            self._requests.clear()
            self._queue.clear()
            self._lock.notify_all()
        for request in pending:
            request.finish(CancelledError("cancelled, because the worker is being closed"))
        if process is not None:
            process.end(grace)
        _clients.discard(self)

    @property
    def pid(self) -> int:
        """The worker's process number; 0 if there is no worker."""
        process = self._process
        return process.pid if process is not None and process.is_alive else 0

    @property
    def greeting(self) -> Optional[protocol.HelloEvent]:
        """The worker's first answer; None before that."""
        return self._greeting

    @property
    def heartbeat(self) -> Optional[protocol.HeartbeatEvent]:
        """The worker's latest heartbeat; None before the first."""
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
        """Sends queued requests, and starts a worker if needed."""
        if hasattr(signal, "pthread_sigmask"):
            # An application that embeds Python may not ignore SIGPIPE, which would then end the application.
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
                has_ended = self._process is not process
                if not has_ended:
                    request.process = process
            if has_ended and request.tries > MAX_TRIES:
                raise WorkerError(
                    f"the worker dies right after its start ({process.describe_ending()}){_describe_log_end(process)}"
                )
            if has_ended:
                with self._lock:
                    self._queue.appendleft(request)
                return
            process.send(request.message)
        except FsganError as error:
            self._end_request(request, error)
        except OSError:
            # _on_worker_end handles the request.
            log.debug("the worker ended before %s was sent", request.message.name)
        except Exception as error:
            log.exception("%s could not be sent", request.message.name)
            self._end_request(request, WorkerError(f"the worker does not start, {type(error).__name__}: {error}"))

    def _get_ready_process(self) -> WorkerProcess:
        """Returns a worker that has answered; starts one if needed. Raises WorkerError."""
        with self._lock:
            process = self._process
        if process is not None and process.is_alive:
            return process
        settings = self._load_settings()
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
            is_closing = self._is_closing
            if not is_closing:
                self._process = process
        if is_closing:
            process.kill()
            raise CancelledError("cancelled, because the worker is being closed")
        try:
            process.send(hello)
        except OSError:
            log.debug("the worker ended before the first message")
        self._await_greeting(process)
        return process

    def _await_greeting(self, process: WorkerProcess) -> None:
        """Waits for the worker's first answer. If none comes, ends the worker and raises WorkerError."""
        start = time.monotonic()
        is_reported = False
        while True:
            with self._lock:
                self._lock.wait_for(
                    lambda: self._greeting is not None or self._refusal is not None or self._process is not process,
                    TICK_SECONDS,
                )
                greeting, refusal, has_ended = self._greeting, self._refusal, self._process is not process
            waited_seconds = time.monotonic() - start
            if greeting is not None:
                return
            if refusal is not None:
                process.end(1.0)
                raise WorkerError(f"the worker refuses this plugin: {refusal}")
            if has_ended:
                raise WorkerError(
                    f"the worker does not start ({process.describe_ending()}){_describe_log_end(process)}"
                )
            if waited_seconds > self._start_timeout:
                process.kill()
                raise WorkerError(
                    f"the worker has not answered within {self._start_timeout:g} s of its start"
                    f"{_describe_log_end(process)}"
                )
            if waited_seconds > SLOW_START_SECONDS and not is_reported:
                is_reported = True
                self._notify_all(protocol.ProgressEvent(step="starting", message="the worker is slow to start"))

    def _on_worker_event(self, process: WorkerProcess, event: protocol.ProtocolEvent) -> None:
        """Handles an event; called in the process's reader thread."""
        if isinstance(event, protocol.HelloEvent):
            with self._lock:
                if event.protocol == protocol.PROTOCOL_VERSION:
                    self._greeting = event
                else:
                    self._refusal = WorkerError(
                        f"the worker speaks protocol {event.protocol}, the plugin {protocol.PROTOCOL_VERSION}; "
                        "install the same version of both"
                    )
                self._lock.notify_all()
            return
        if isinstance(event, protocol.HeartbeatEvent):
            self._heartbeat = event
        with self._lock:
            request = self._requests.get(event.id)
            if request is None and isinstance(event, protocol.ErrorEvent) and self._greeting is None:
                self._refusal = event.make_error()
                self._lock.notify_all()
        if request is None or request.process is not process:
            return
        if isinstance(event, protocol.ResultEvent):
            self._end_request(request, event.data)
        elif isinstance(event, protocol.PongEvent):
            self._end_request(request, {})
        elif isinstance(event, protocol.ErrorEvent):
            self._end_request(request, event.make_error())
        else:
            request.handle_event(event)

    def _on_worker_end(self, process: WorkerProcess) -> None:
        """Ends or requeues the requests of a worker that has ended; called in the process's reader thread."""
        lost: List[PendingRequest] = []
        with self._lock:
            affected = [request for request in self._requests.values() if request.process is process]
            if self._process is process:
                self._process = None
            for request in affected:
                if request.has_begun or request.cancel_time or request.tries > MAX_TRIES:
                    lost.append(request)
                else:
                    request.process = None
                    self._queue.append(request)
            self._lock.notify_all()
            is_closing = self._is_closing
        for request in lost:
            if request.cancel_time:
                self._end_request(request, CancelledError("cancelled; the worker did not stop and was killed"))
                continue
            self.last_crash = describe_crash(process, request)
            log.error("%s", self.last_crash)
            self._end_request(request, WorkerError(self.last_crash))
        if not is_closing:
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
        """Watches for a silent worker, for cancelled requests that do not end, and for a worker that is not used."""
        while True:
            with self._lock:
                if self._lock.wait_for(lambda: self._is_closing, TICK_SECONDS):
                    return
                process, greeted, pending = self._process, self._greeting is not None, list(self._requests.values())
                last_used = self._last_used
            if process is None or not greeted:
                continue
            now = time.monotonic()
            self._check_silence(now - process.last_heard)
            if any(request.cancel_time and now - request.cancel_time > self._cancel_grace for request in pending):
                log.warning("a cancelled request has not ended in %g s; the worker is killed", self._cancel_grace)
                process.kill()
            elif self._idle_seconds and not pending and now - last_used > self._idle_seconds:
                log.info("the worker was not used for %g s and is ended", self._idle_seconds)
                process.end(5.0)

    def _check_silence(self, seconds: float) -> None:
        is_silent = seconds > self._silence_seconds
        if is_silent == self._is_silent:
            return
        self._is_silent = is_silent
        text = (
            f"the worker has not answered for {seconds:.0f} s; it may be stuck (press Cancel to end it)"
            if is_silent
            else "the worker answers again"
        )
        log.warning("%s", text)
        self._notify_all(protocol.LogEvent(level="warning", message=text))


_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_shared_client: Optional[Client] = None
_shared_lock = threading.Lock()


def get_shared_client() -> Client:
    """Returns the client of this process; makes it at the first call."""
    global _shared_client
    with _shared_lock:
        if _shared_client is None or _shared_client._is_closing:
            _shared_client = Client()
        return _shared_client


def close_all_clients() -> None:
    """Ends all workers; called when Nuke ends."""
    for client in list(_clients):
        client.close(grace=2.0)


atexit.register(close_all_clients)


def describe_crash(process: WorkerProcess, request: PendingRequest) -> str:
    """Describes a crash: how the worker ended, the frames that were being rendered, and the end of its log."""
    numbers = ", ".join(str(frame) for frame in sorted(request.frames))
    frames_text = f" of frame{'s' if len(request.frames) > 1 else ''} {numbers}" if numbers else ""
    ending = process.describe_ending()
    return f"the worker died ({ending}) during {request.message.name}{frames_text}{_describe_log_end(process)}"


def _describe_log_end(process: WorkerProcess) -> str:
    end = process.read_log_end()
    return f"; its log is {process.log_file}" + (f" and ends:\n{end}" if end else "")
