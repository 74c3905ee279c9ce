"""Connects clients to a worker: by a pair of pipes (Nuke), or by a local socket (a farm's session)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from fsgan_core.contract.errors import MachineError

__all__ = ["Connection", "PipeTransport", "SocketTransport", "Transport"]

MAX_WAITING_CLIENTS = 8


class Connection:
    """The descriptors of one client: `source` to read requests from, `sink` to write events to."""

    def __init__(self, source: int, sink: int, socket_: socket.socket | None = None) -> None:
        self.source = source
        self.sink = sink
        self._socket = socket_

    def shut_down(self) -> None:
        """Ends reading and writing. Pipes belong to the process and stay as they are."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes what `shut_down` has ended."""
        if self._socket is not None:
            self._socket.close()


class Transport(Protocol):
    """Accepts a worker's clients."""

    ends_with_client: bool
    """Whether the worker ends when a client leaves, even if no request of it is unfinished."""

    def accept(self) -> Connection | None:
        """Waits for the next client; returns None if there will be no other."""

    def explain_loss(self) -> str:
        """Explains why no client can reach the worker any more; empty if one can."""

    def close(self) -> None:
        """Makes `accept` return. Called once, when the worker ends."""


class PipeTransport:
    """Connects one client by two descriptors.

    Args:
        source: Descriptor of the requests.
        sink: Descriptor of the events.
        parent: Process id of the parent; the worker ends when it has another parent. 0: the parent is not checked.
    """

    ends_with_client = True

    def __init__(self, source: int, sink: int, parent: int = 0) -> None:
        self._connection: Connection | None = Connection(source, sink)
        self._parent_id = parent

    def accept(self) -> Connection | None:
        """Returns the one client, then None."""
        connection, self._connection = self._connection, None
        return connection

    def explain_loss(self) -> str:
        """Says so when the parent process has gone."""
        if self._parent_id and os.getppid() != self._parent_id:
            return f"the parent process {self._parent_id} has gone"
        return ""

    def close(self) -> None:
        """Does nothing: the pipes belong to the process."""


class SocketTransport:
    """Connects clients by a local socket: a file that only this user can open. There is no port.

    Args:
        path: The socket's file; its folder must exist.

    Raises:
        MachineError: The socket cannot be made.
    """

    ends_with_client = False

    def __init__(self, path: Path) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise MachineError("this system has no local sockets for Python")
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(str(path))
            path.chmod(0o600)  # whatever the folder's mode; nobody can connect before listen()
            self._socket.listen(MAX_WAITING_CLIENTS)
            self._inode = path.stat().st_ino
        except OSError as error:
            self._socket.close()
            raise MachineError(f"cannot make a socket in {path.parent}: {error}") from error

    def accept(self) -> Connection | None:
        """Waits for the next client; None once the transport is closed."""
        try:
            client, _ = self._socket.accept()
        except OSError:
            return None
        return Connection(client.fileno(), client.fileno(), client)

    def explain_loss(self) -> str:
        """Says so when the socket's file is gone or is another worker's."""
        try:
            is_ours = self._path.stat().st_ino == self._inode
        except OSError:
            is_ours = False
        return "" if is_ours else f"{self._path} is gone"

    def close(self) -> None:
        """Removes the socket's file and makes `accept` return."""
        if not self.explain_loss():
            self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
