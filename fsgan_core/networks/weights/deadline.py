"""A limit for a whole download.

A server that sends one byte a minute meets every time limit of the single steps (connection, headers, blocks). So the
connections themselves are cut when the time is over.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["Deadline"]


class Deadline:
    """Cuts a session's connections after some seconds. Use it as a context.

    Args:
        session: The session whose connections are cut.
        seconds: The limit.
    """

    def __init__(self, session: requests.Session, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        adapter = _WatchedAdapter(self)
        session.mount("https://", adapter)
        session.mount("http://", adapter)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end

    def watch(self, connection: socket.socket) -> None:
        """Adds a connection to those that are cut."""
        # A duplicate, because encryption takes the connection over from the first object.
        with self._lock:
            self._sockets.append(connection.dup())
        if self.is_over:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            for connection in self._sockets:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()


class _WatchedAdapter(HTTPAdapter):
    """Opens connections that a deadline watches."""

    def __init__(self, deadline: Deadline) -> None:
        class PlainConnection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                opened = super()._new_conn()
                deadline.watch(opened)
                return opened

        class EncryptedConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                opened = super()._new_conn()
                deadline.watch(opened)
                return opened

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = PlainConnection

        class EncryptedPool(HTTPSConnectionPool):
            ConnectionCls = EncryptedConnection

        self._pools = {"http": PlainPool, "https": EncryptedPool}
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Makes the manager of direct connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """Makes the manager of connections through a proxy."""
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager
