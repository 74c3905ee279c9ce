"""Reads messages from a stream of bytes: splits it into lines and decodes each."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Union

from fsgan_core.contract.errors import ProtocolError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.protocol.events import EVENT_TYPES
from fsgan_core.contract.protocol.message import (
    MAX_LINE_BYTES,
    NO_REQUEST,
    PROTOCOL_VERSION,
    ProtocolEvent,
    ProtocolMessage,
    ProtocolRequest,
    matches_type,
)
from fsgan_core.contract.protocol.requests import REQUEST_TYPES
from fsgan_core.contract.safe_text import shorten_repr


class LineSplitter:
    """Splits a stream of bytes into lines, with bounded memory.

    Args:
        longest: Most bytes of a line; a longer one is skipped.
    """

    def __init__(self, longest: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = longest
        self._pending = bytearray()
        self._is_skipping = False

    def feed(self, data: bytes) -> Iterator[Union[bytes, None]]:
        """Yields each line that `data` completes, without its end, or None for a line that was too long."""
        parts = data.split(b"\n")
        for number, part in enumerate(parts):
            if not self._is_skipping:
                self._pending += part
                if len(self._pending) >= self._max_line_bytes:
                    self._pending.clear()
                    self._is_skipping = True
            if number == len(parts) - 1:
                return
            line, skipped = bytes(self._pending).strip(), self._is_skipping
            self._pending.clear()
            self._is_skipping = False
            if skipped:
                yield None
            elif line:
                yield line


def parse_request(line: bytes) -> ProtocolRequest:
    """Decodes a request. Raises ProtocolError, with the request's number if that could be read."""
    message = _parse_message(line, "request", REQUEST_TYPES)
    assert isinstance(message, ProtocolRequest)
    return message


def parse_event(line: bytes) -> ProtocolEvent:
    """Decodes an event. Raises ProtocolError for anything else."""
    message = _parse_message(line, "event", EVENT_TYPES)
    assert isinstance(message, ProtocolEvent)
    return message


def _parse_message(line: bytes, kind: str, known: Mapping[str, Any]) -> ProtocolMessage:
    number = NO_REQUEST
    try:
        try:
            data = parse_json(line)
        except ValueError as error:
            raise ProtocolError(f"this line is not JSON: {shorten_repr(line)} ({error})") from None
        if not isinstance(data, dict):
            raise ProtocolError(f"this line is not a JSON object: {shorten_repr(line)}")
        if matches_type(data.get("id"), "int"):
            number = data["id"]
        name = data.get(kind)
        if not isinstance(name, str) or name not in known:
            raise ProtocolError(
                f"{shorten_repr(name)} is not a known {kind} of protocol {PROTOCOL_VERSION}; known: {', '.join(known)}"
            )
        message: ProtocolMessage = known[name].from_dict(data)
        return message
    except ProtocolError as error:
        error.request_id = number
        raise
