"""What every message between a worker and its clients has: a number, a name, and a form as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Mapping, Type, TypeVar

from fsgan_core.contract.errors import ProtocolError
from fsgan_core.contract.safe_text import shorten_repr

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 4 << 20  # of a line, including its newline
NO_REQUEST = 0  # number of events that belong to no request

# Type of a field -> its default, if a factory makes it.
_FACTORY_DEFAULTS: Mapping[str, Any] = {"Mapping[str, Any]": {}}

T = TypeVar("T", bound="ProtocolMessage")


@dataclass(frozen=True)
class ProtocolMessage:
    """Base of all messages.

    Attributes:
        kind: "request" or "event".
        name: The name of this message on the wire.
        id: Number of the request; NO_REQUEST if the message belongs to none.
    """

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

    id: int = NO_REQUEST

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data. Fields with their default value are left out, except the number."""
        data: dict[str, Any] = {self.kind: self.name, "id": self.id}
        for declared in fields(self)[1:]:
            value = getattr(self, declared.name)
            if value != _FACTORY_DEFAULTS.get(str(declared.type), declared.default):
                data[declared.name] = value
        return data

    def to_line(self) -> bytes:
        """Encodes as one line.

        Raises:
            ProtocolError: The line is longer than MAX_LINE_BYTES, or a field holds more than plain data.
        """
        try:
            text = json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise ProtocolError(f"{self.name} cannot be written as JSON: {error}") from error
        line = text.encode("ascii") + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise ProtocolError(f"{self.name} is {len(line)} bytes long; {MAX_LINE_BYTES} are allowed")
        return line

    @classmethod
    def from_dict(cls: Type[T], data: Mapping[str, Any]) -> T:
        """Makes the message from plain data; ignores unknown fields. Raises ProtocolError for a wrong type."""
        values: dict[str, Any] = {}
        for declared in fields(cls):
            if declared.name not in data:
                continue
            value = data[declared.name]
            if not matches_type(value, str(declared.type)):
                raise ProtocolError(
                    f"{cls.name}.{declared.name} = {shorten_repr(value)} is not of type {declared.type}"
                )
            values[declared.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)


class ProtocolRequest(ProtocolMessage):
    """Base of messages to the worker."""

    kind = "request"


class ProtocolEvent(ProtocolMessage):
    """Base of messages from the worker."""

    kind = "event"


def matches_type(value: Any, kind: str) -> bool:
    """Whether a value from JSON has the declared type of a field."""
    number = isinstance(value, int) and not isinstance(value, bool)
    if kind == "Union[int, None]":
        return value is None or number
    if kind in ("tuple[int, ...]", "tuple[str, ...]"):
        return isinstance(value, (list, tuple)) and all(matches_type(item, kind[6:9]) for item in value)
    return {
        "int": number,
        "float": number or isinstance(value, float),
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "Mapping[str, Any]": isinstance(value, dict),
    }[kind]
