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
from fsgan_nuke.process import Process, new_log_file, worker_command, worker_environment
from fsgan_nuke.request import OnEvent, Request
from fsgan_nuke.settings import Settings

log = logging.getLogger(__name__)

NAME = "fsgan_nuke"
TRIES = 2  # how often a request that had not begun is handed to another worker
MOST_WAITING = 1000
TICK = 0.25
WARN_AFTER = 10.0  # seconds of a start, from which on those who wait are told

Command = Callable[[Settings, Any], List[str]]


class Client:
    """Keeps a worker.

    settings: read anew for every start of a worker, by the function given. command: what starts it, for tests.
    start_timeout: seconds until a worker must answer. silence: seconds without a sign of life after which that is
    told. cancel_grace: seconds for a cancelled request to end, before the worker is killed. idle: seconds without
    requests after which the worker is ended, 0 for never.
    """

    def __init__(self, settings: Callable[[], Settings] = preferences.load, *, name: str = NAME,
                 command: Command = worker_command, start_timeout: float = 180.0, silence: float = 30.0,
                 cancel_grace: float = 30.0, idle: float = 3600.0) -> None:
        self._settings = settings
        self._name = name
        self._command = command
        self._start_timeout = start_timeout
        self._silence = silence
        self._cancel_grace = cancel_grace
        self._idle = idle
        self._lock = threading.Condition()
        self._number = 0
        self._requests: Dict[int, Request] = {}
        self._queue: Deque[Union[Request, Tuple[protocol.Request, Process]]] = deque()
        self._process: Optional[Process] = None
        self._greeting: Optional[protocol.Greeting] = None
        self._refused: Optional[FsganError] = None
        self._heartbeat: Optional[protocol.Heartbeat] = None
        self._silent = False
        self._used = time.monotonic()
        self._closing = False
        self._threads: List[threading.Thread] = []
        self.last_crash = ""
        _clients.add(self)

    # For callers.

    def request(self, message: protocol.Request, on_event: Optional[OnEvent] = None,
                on_end: Optional[Callable[[Request], None]] = None) -> Request:
        """Sends a request; its number is set here. on_event: each event of it. on_end: once, with the request; both in
        threads of the client. Returns at once; a worker that cannot be started is an error of the request."""
        with self._lock:
            self._number += 1
            made = Request(self.cancel, replace(message, id=self._number), on_event, on_end)
            crowded = len(self._requests) >= MOST_WAITING
            closed = self._closing
            if not crowded and not closed:
                self._used = time.monotonic()
                self._requests[made.id] = made
                self._queue.append(made)
                self._begin_threads()
                self._lock.notify_all()
        if closed:
            made.end(WorkerError("the worker is being closed"))
        elif crowded:
            made.end(WorkerError(f"{MOST_WAITING} requests wait for the worker already; it does not do them"))
        return made

    def cancel(self, request: Request) -> None:
        at_once = False
        with self._lock:
            if request.ended or request.cancelling:
                return
            request.cancelling = time.monotonic()
            if request.process is None:
                self._requests.pop(request.id, None)
                at_once = True
            else:
                self._number += 1
                self._queue.append((protocol.Cancel(self._number, target=request.id), request.process))
                self._lock.notify_all()
        if at_once:
            request.end(CancelledError("cancelled before it began"))

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
            self._closing = True
            process, self._process = self._process, None
            pending = list(self._requests.values())
            self._requests.clear()
            self._queue.clear()
            self._lock.notify_all()
        for request in pending:
            request.end(CancelledError("cancelled, since the worker is being closed"))
        if process is not None:
            process.end(grace)
        _clients.discard(self)

    @property
    def pid(self) -> int:
        """Of the worker; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.alive else 0

    @property
    def greeting(self) -> Optional[protocol.Greeting]:
        """What the worker said of itself; None while there is none."""
        return self._greeting

    @property
    def heartbeat(self) -> Optional[protocol.Heartbeat]:
        """The last one."""
        return self._heartbeat

    # The threads.

    def _begin_threads(self) -> None:
        if not self._threads:
            self._threads = [threading.Thread(target=target, name="fsgan worker, " + name, daemon=True)
                             for target, name in ((self._keep, "keeper"), (self._watch, "watch"))]
            for thread in self._threads:
                thread.start()

    def _keep(self) -> None:
        """Sends what waits, and starts a worker where that is needed."""
        if hasattr(signal, "pthread_sigmask"):
            # A host that embeds Python may not ignore the signal of a broken pipe, which would end it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        while True:
            with self._lock:
                while not self._queue and not self._closing:
                    self._lock.wait()
                if self._closing:
                    return
                item = self._queue.popleft()
            if isinstance(item, Request):
                self._send(item)
                continue
            message, process = item
            try:
                process.send(message)
            except (OSError, FsganError):
                log.debug("%s could not be sent", message.name)

    def _send(self, request: Request) -> None:
        if request.ended:
            return
        request.tries += 1
        try:
            process = self._ready()
            with self._lock:
                if request.cancelling or self._closing:
                    return
                ended = self._process is not process
                if not ended:
                    request.process = process
            if ended and request.tries > TRIES:
                raise WorkerError(f"the worker dies at once ({process.ending()}){_log_text(process)}")
            if ended:
                with self._lock:
                    self._queue.appendleft(request)
                return
            process.send(request.message)
        except FsganError as error:
            self._end(request, error)
        except OSError:
            log.debug("the worker ended before %s was sent", request.message.name)  # _ended sees to the request
        except Exception as error:
            log.exception("%s could not be sent", request.message.name)
            self._end(request, WorkerError(f"the worker does not start, {type(error).__name__}: {error}"))

    def _ready(self) -> Process:
        """A worker that has answered. Raises WorkerError."""
        with self._lock:
            process = self._process
        if process is not None and process.alive:
            return process
        settings = self._settings()
        log_file = new_log_file(settings.log_folder)
        with self._lock:
            self._greeting, self._refused, self._heartbeat, self._silent = None, None, None, False
            self._number += 1
            hello = protocol.Hello(self._number, protocol.PROTOCOL, self._name)
        process = Process(self._command(settings, log_file), worker_environment(settings), log_file, self._heard,
                          self._ended)
        with self._lock:
            if self._closing:
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

    def _await_greeting(self, process: Process) -> None:
        """Raises WorkerError, and ends the worker then."""
        begun = time.monotonic()
        told = False
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._greeting is not None or self._refused is not None
                                    or self._process is not process, TICK)
                greeting, refused, gone = self._greeting, self._refused, self._process is not process
            spent = time.monotonic() - begun
            if greeting is not None:
                return
            if refused is not None:
                process.end(1.0)
                raise WorkerError(f"the worker refuses this plugin: {refused}")
            if gone:
                raise WorkerError(f"the worker does not start ({process.ending()}){_log_text(process)}")
            if spent > self._start_timeout:
                process.kill()
                raise WorkerError(f"the worker has not answered within {self._start_timeout:g} s of its start"
                                  f"{_log_text(process)}")
            if spent > WARN_AFTER and not told:
                told = True
                self._tell_all(protocol.Progress(step="starting", message="the worker is slow to start"))

    def _heard(self, process: Process, event: protocol.Event) -> None:
        """In the process's reader thread."""
        if isinstance(event, protocol.Greeting):
            with self._lock:
                if event.protocol == protocol.PROTOCOL:
                    self._greeting = event
                else:
                    self._refused = WorkerError(f"it speaks protocol {event.protocol}, the plugin "
                                                f"{protocol.PROTOCOL}; install the same version of both")
                self._lock.notify_all()
            return
        if isinstance(event, protocol.Heartbeat):
            self._heartbeat = event
        with self._lock:
            request = self._requests.get(event.id)
            if request is None and isinstance(event, protocol.Failure) and self._greeting is None:
                self._refused = _error_of(event)
                self._lock.notify_all()
        if request is None or request.process is not process:
            return
        if isinstance(event, protocol.Result):
            self._end(request, event.data)
        elif isinstance(event, protocol.Pong):
            self._end(request, {})
        elif isinstance(event, protocol.Failure):
            self._end(request, _error_of(event))
        else:
            request.hear(event)

    def _ended(self, process: Process) -> None:
        """In the process's reader thread, when the worker is no more."""
        lost: List[Request] = []
        with self._lock:
            met = [request for request in self._requests.values() if request.process is process]
            if self._process is process:
                self._process = None
            for request in met:
                if request.begun or request.cancelling or request.tries > TRIES:
                    lost.append(request)
                else:
                    request.process = None
                    self._queue.append(request)
            self._lock.notify_all()
            closing = self._closing
        for request in lost:
            if request.cancelling:
                self._end(request, CancelledError("cancelled; the worker did not stop by itself and was ended"))
                continue
            self.last_crash = crash_text(process, request)
            log.error("%s", self.last_crash)
            self._end(request, WorkerError(self.last_crash))
        if not closing:
            log.info("the worker %d has ended: %s", process.pid, process.ending())

    def _end(self, request: Request, outcome: Union[Mapping[str, Any], FsganError]) -> None:
        with self._lock:
            self._requests.pop(request.id, None)
            self._used = time.monotonic()
        request.end(outcome)

    def _tell_all(self, event: protocol.Event) -> None:
        with self._lock:
            pending = list(self._requests.values())
        for request in pending:
            request.hear(event)

    def _watch(self) -> None:
        """Signs of life, cancelled requests that do not end, and a worker that nobody needs."""
        while True:
            with self._lock:
                if self._lock.wait_for(lambda: self._closing, TICK):
                    return
                process, greeted, pending = self._process, self._greeting is not None, list(self._requests.values())
                used = self._used
            if process is None or not greeted:
                continue
            now = time.monotonic()
            self._watch_silence(now - process.heard)
            if any(request.cancelling and now - request.cancelling > self._cancel_grace for request in pending):
                log.warning("a cancelled request has not ended in %g s; the worker is killed", self._cancel_grace)
                process.kill()
            elif self._idle and not pending and now - used > self._idle:
                log.info("nobody needed the worker for %g s; it is ended", self._idle)
                process.end(5.0)

    def _watch_silence(self, seconds: float) -> None:
        silent = seconds > self._silence
        if silent == self._silent:
            return
        self._silent = silent
        text = (f"the worker has given no sign of life for {seconds:.0f} s; it may be stuck (cancel ends it)" if silent
                else "the worker gives signs of life again")
        log.warning("%s", text)
        self._tell_all(protocol.Log(level="warning", message=text))


_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_shared: Optional[Client] = None
_sharing = threading.Lock()


def shared() -> Client:
    """The client of this process."""
    global _shared
    with _sharing:
        if _shared is None or _shared._closing:
            _shared = Client()
        return _shared


def close_all() -> None:
    """When the host ends."""
    for client in list(_clients):
        client.close(grace=2.0)


atexit.register(close_all)


def crash_text(process: Process, request: Request) -> str:
    """What is told of a crash: the frames that were in the making, how it ended, the end of the log."""
    frames = sorted(request.frames)
    where = ""
    if frames:
        numbers = ", ".join(str(frame) for frame in frames)
        where = f" with frame{'s' if len(frames) > 1 else ''} {numbers} in the making"
    return f"the worker died ({process.ending()}) during {request.message.name}{where}{_log_text(process)}"


def _log_text(process: Process) -> str:
    end = process.log_end()
    return f"; its log is {process.log_file}" + (f" and ends:\n{end}" if end else "")


def _error_of(event: protocol.Failure) -> FsganError:
    """The error that the worker told, of its own class."""
    kind = getattr(errors, event.error, FsganError)
    if not (isinstance(kind, type) and issubclass(kind, FsganError)) or kind is errors.FramesFailedError:
        kind = FsganError
    return kind(event.message)
