"""A process that keeps models and clips in memory and serves the requests of its clients.

The protocol is `contract.protocol`; a transport accepts the clients. One thread accepts clients. One thread per client
reads its requests and answers the short ones immediately. The others wait in two queues, each of which runs one request
at a time: renders and analyses in the calling thread, questions in another thread. Each client has an outbox that
writes its events, so that nothing waits for a client that does not read. One more thread sends heartbeats, and ends the
worker when it is not needed or cannot be reached any more.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError, MachineError, ProtocolError
from fsgan_core.contract.protocol import NO_REQUEST
from fsgan_core.contract.version import __version__
from fsgan_core.runtime.process_memory import measure_resident_bytes
from fsgan_core.worker.client import QueuedRequest, WorkerClient
from fsgan_core.worker.handlers import RequestHandler
from fsgan_core.worker.transports import Transport

__all__ = ["Worker"]

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
RELEASE_SECONDS = 600.0  # without a render, after which the memory of pixels is released
GRACE_SECONDS = 20.0  # for a cancelled request to stop after its client has gone

_RequestQueue = queue.SimpleQueue["QueuedRequest | None"]


class Worker:
    """Serves the clients of a transport until no more can come, or one sends `quit`.

    Args:
        transport: Where clients come from.
        device: Device of requests that name none.
        variables: The environment variables that can change pixels, as they were before any library changed them. A
            farm's task with other values is refused.
        log_file: Sent to clients with the greeting.
        heartbeat: Seconds between two heartbeats.
        idle_limit: Seconds without a request after which the worker ends; 0: never.
        on_beat: Called at every heartbeat.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        device: str = "auto",
        variables: Mapping[str, str] | None = None,
        log_file: str = "",
        heartbeat: float = HEARTBEAT_SECONDS,
        idle_limit: float = 0.0,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._device = device
        self._log_file = log_file
        self._heartbeat_seconds = heartbeat
        self._idle_limit = idle_limit
        self._on_beat = on_beat
        self._handler = RequestHandler(device, variables or {})
        self._main_queue: _RequestQueue = queue.SimpleQueue()
        self._question_queue: _RequestQueue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._clients: list[WorkerClient] = []
        self._running_request: QueuedRequest | None = None  # of the main queue
        self._ended = threading.Event()
        self._last_active = time.monotonic()
        self._main_thread = threading.main_thread()

    def run(self) -> int:
        """Serves clients until the end. Renders run in the calling thread.

        Returns:
            The exit code, 0.
        """
        self._main_thread = threading.current_thread()
        threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (
                ("clients", self._accept_clients),
                ("heart", self._send_heartbeats),
                ("questions", lambda: self._run_queue(self._question_queue)),
            )
        ]
        with _forward_log(self._send_log):
            for thread in threads:
                thread.start()
            try:
                self._run_queue(self._main_queue)
            finally:
                self._shut_down()
                self._transport.close()
        for client in self._list_clients():
            client.close()
        return 0

    # Clients and what they ask for.

    def _accept_clients(self) -> None:
        while (connection := self._transport.accept()) is not None:
            client = WorkerClient(connection)
            client.start()
            with self._lock:
                self._clients.append(client)
            threading.Thread(target=self._serve_client, args=(client,), name="client", daemon=True).start()

    def _serve_client(self, client: WorkerClient) -> None:
        for line in client.read_lines():
            self._handle_line(client, line)
        with self._lock:
            is_waiting = bool(client.requests)
        if self._transport.ends_with_client or is_waiting:
            log.info("the client has gone%s", " while its request was running" if is_waiting else "")
            self._force_shut_down()
        elif not self._ended.is_set():
            with self._lock:
                self._clients.remove(client)
            client.close()

    def _list_clients(self) -> list[WorkerClient]:
        with self._lock:
            return list(self._clients)

    def _handle_line(self, client: WorkerClient, line: bytes | None) -> None:
        try:
            if line is None:
                raise ProtocolError(f"a line was longer than {protocol.MAX_LINE_BYTES} bytes")
            self._handle_request(client, protocol.parse_request(line))
        except ProtocolError as error:
            client.send_failure(error.request_id, error)

    def _handle_request(self, client: WorkerClient, request: protocol.ProtocolRequest) -> None:
        """Raises ProtocolError."""
        if isinstance(request, protocol.HelloRequest):
            self._greet(client, request)
        elif isinstance(request, protocol.QuitRequest):
            client.send(protocol.ResultEvent(request.id))
            self._shut_down()
        elif not client.is_greeted:
            raise _attach_request(request, "say hello first")
        elif isinstance(request, protocol.PingRequest):
            client.send(protocol.PongEvent(request.id))
        elif isinstance(request, protocol.CancelRequest):
            client.send(protocol.ResultEvent(request.id, {"found": self._cancel(client, request.target)}))
        else:
            self._enqueue(client, request)

    def _greet(self, client: WorkerClient, request: protocol.HelloRequest) -> None:
        if request.protocol != protocol.PROTOCOL_VERSION:
            raise _attach_request(
                request,
                f"the client speaks protocol {request.protocol}, this worker (fsgan {__version__}) "
                f"{protocol.PROTOCOL_VERSION}; install the same version of both",
            )
        client.log_level = getattr(logging, request.log_level.upper(), logging.INFO)
        client.is_greeted = True
        logger = logging.getLogger("fsgan_core")
        logger.setLevel(min(logger.level, client.log_level))
        log.debug("client: %s", request.client or "without a name")
        client.send(
            protocol.HelloEvent(
                request.id,
                protocol.PROTOCOL_VERSION,
                __version__,
                os.getpid(),
                sys.executable,
                self._device,
                self._log_file,
            )
        )

    def _enqueue(self, client: WorkerClient, request: protocol.ProtocolRequest) -> None:
        pending = QueuedRequest(client, request)
        with self._lock:
            if request.id == NO_REQUEST or request.id in client.requests:
                raise _attach_request(request, f"{request.name}: the number {request.id} is taken or none")
            client.requests[request.id] = pending
        is_long = isinstance(request, protocol.QUEUED_REQUESTS)
        (self._main_queue if is_long else self._question_queue).put(pending)

    def _cancel(self, client: WorkerClient, number: int) -> bool:
        with self._lock:
            pending = client.requests.get(number)
        if pending is None:
            return False
        pending.cancelled.set()
        return True

    # What is done.

    def _run_queue(self, requests: _RequestQueue) -> None:
        while (pending := requests.get()) is not None:
            if requests is self._main_queue:
                self._running_request = pending
            self._last_active = time.monotonic()
            try:
                self._execute(pending)
            finally:
                self._last_active = time.monotonic()
                if requests is self._main_queue:
                    self._running_request = None

    def _execute(self, pending: QueuedRequest) -> None:
        """Runs one request to its end. Errors are sent to the client and never end the worker."""
        request, client = pending.request, pending.client
        pending.start_time = time.monotonic()
        try:
            if pending.cancelled.is_set():
                raise CancelledError("cancelled before it began")
            client.send(protocol.ProgressEvent(request.id, step=protocol.START_STEP, subject=request.name))
            data = self._handler.answer(request, pending.send_step, pending.cancelled.is_set)
            self._finish(pending, data)
        except FsganError as error:
            self._finish(pending, error)
        except MemoryError:
            self._handler.release_memory()
            self._finish(pending, MachineError("this machine has not enough memory for the job"))
        except Exception as error:
            log.exception("request %d, %s", request.id, request.name)
            self._finish(pending, error)

    def _finish(self, pending: QueuedRequest, outcome: Mapping[str, object] | Exception) -> None:
        """Sends the last event of a request. The request is removed first: the client may leave right after it."""
        with self._lock:
            pending.client.requests.pop(pending.request.id, None)
        if isinstance(outcome, Exception):
            pending.client.send_failure(pending.request.id, outcome)
        else:
            pending.client.send(protocol.ResultEvent(pending.request.id, outcome))

    def _send_log(self, record: logging.LogRecord) -> None:
        """Sends a log record to the client whose request is running, or to all clients if none is."""
        running = self._running_request
        for client in self._list_clients() if running is None else [running.client]:
            if client.is_greeted:
                client.send_log(record)

    # The end.

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(self._heartbeat_seconds):
            loss = self._transport.explain_loss()
            if loss:
                log.info("%s", loss)
                for client in self._list_clients():
                    client.abandon()
                self._force_shut_down()
                return
            running, memory = self._running_request, measure_resident_bytes()
            for client in self._list_clients():
                client.send_heartbeat(running, memory)
            idle_seconds = time.monotonic() - self._last_active if running is None else 0.0
            if self._idle_limit and idle_seconds > self._idle_limit:
                log.info("no request for %g s", self._idle_limit)
                self._shut_down()
                return
            if idle_seconds > RELEASE_SECONDS:
                self._handler.release_memory()
            self._on_beat()

    def _shut_down(self) -> None:
        """Cancels all running and waiting requests, and lets the queues run empty."""
        self._ended.set()
        with self._lock:
            unfinished = [pending for client in self._clients for pending in client.requests.values()]
        for pending in unfinished:
            pending.cancelled.set()
        self._main_queue.put(None)
        self._question_queue.put(None)

    def _force_shut_down(self) -> None:
        """Shuts down when no client can send requests any more; ends the process if a request does not stop in time.

        Events are still sent, to a client that has closed only its end of the one pipe.
        """
        self._shut_down()
        self._main_thread.join(GRACE_SECONDS)
        with self._lock:
            is_waiting = any(client.requests for client in self._clients)
        if self._main_thread.is_alive() and is_waiting:
            log.warning("not stopped within %g s; the process ends itself", GRACE_SECONDS)
            logging.shutdown()
            os._exit(0)


def _attach_request(request: protocol.ProtocolRequest, message: str) -> ProtocolError:
    error = ProtocolError(message)
    error.request_id = request.id
    return error


@contextmanager
def _forward_log(send: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Sends the log of fsgan_core to clients, too, from level "info" at least."""
    handler = _LogHandler(send)
    logger = logging.getLogger("fsgan_core")
    level = logger.level
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _LogHandler(logging.Handler):
    def __init__(self, send: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(record)
