"""The worker's protocol: what goes out comes in again, and whatever comes in is a message or a ProtocolError."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import ProtocolError
from fsgan_core.contract.protocol import EVENT_TYPES, REQUEST_TYPES, LineSplitter, parse_event, parse_request

MESSAGES = [*REQUEST_TYPES.values(), *EVENT_TYPES.values()]
VALUES: dict[str, Any] = {
    "int": 7,
    "float": 0.25,
    "str": 'käse "\\ \udcff [x] $y\n',
    "bool": True,
    "Mapping[str, Any]": {"path": "a", "deep": {"list": [1, 2.5, None, True]}},
    "Union[int, None]": -3,
    "tuple[int, ...]": (1001, 1002),
    "tuple[str, ...]": ("Write1", "é"),
}


def filled(cls: Any) -> Any:
    """A message with every field away from its default."""
    values = {declared.name: VALUES[str(declared.type)] for declared in fields(cls)}
    return cls(**{**values, **{name: False for name in ("of_target", "pictures") if name in values}})


def parsed(line: bytes, cls: Any) -> Any:
    return parse_request(line) if issubclass(cls, protocol.ProtocolRequest) else parse_event(line)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
class TestEveryMessage:
    def test_comes_back(self, cls: Any) -> None:
        for message in (filled(cls), cls(5)):
            line = message.to_line()
            assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()
            assert parsed(line.strip(), cls) == message

    def test_every_field_is_written_and_is_described(self, cls: Any) -> None:
        data = json.loads(filled(cls).to_line())
        assert set(data) == {cls.kind, *(declared.name for declared in fields(cls))}
        assert cls.__name__ in protocol.__all__ and cls.name

    def test_unknown_fields_are_ignored(self, cls: Any) -> None:
        data = {**cls(5).to_dict(), "invented": {"later": 1}}
        assert parsed(json.dumps(data).encode(), cls) == cls(5)

    def test_wrong_types_are_refused(self, cls: Any) -> None:
        for declared in fields(cls):
            for wrong in ([], "text", 1.5, None, {}, True):
                if _right(wrong, str(declared.type)):
                    continue
                data = {**cls(5).to_dict(), declared.name: wrong}
                with pytest.raises(ProtocolError, match=declared.name):
                    parsed(json.dumps(data).encode(), cls)


def _right(value: Any, kind: str) -> bool:
    return {
        "int": False,
        "float": value == 1.5 and value is not True,
        "str": isinstance(value, str),
        "bool": value is True,
        "Mapping[str, Any]": value == {},
        "Union[int, None]": value is None,
        "tuple[int, ...]": value == [],
        "tuple[str, ...]": value == [],
    }[kind]


def test_a_greeting_always_says_its_protocol() -> None:
    """Its absence is no version."""
    assert (
        json.loads(protocol.HelloRequest(1, protocol.PROTOCOL_VERSION).to_line())["protocol"]
        == protocol.PROTOCOL_VERSION
    )
    assert parse_request(b'{"request":"hello","id":1}').protocol == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "told", "number"),
    [
        (b"garbage", "not JSON", 0),
        (b"\xff\xfe", "not JSON", 0),
        (b"[" * 100_000, "not JSON", 0),
        (b"[1]", "not a JSON object", 0),
        (b"{}", "None is not a known request", 0),
        (b'{"request": "dance", "id": 4}', "'dance' is not a known request of protocol 1; known: hello, render", 4),
        (b'{"request": ["render"], "id": 4}', "is not a known request", 4),
        (b'{"event": "pong", "id": 4}', "is not a known request", 4),
        (b'{"request": "render", "id": 4, "shot": "a.toml"}', "render.shot", 4),
        (b'{"request": "ping", "id": "4"}', "ping.id", 0),
        (b'{"request": "ping", "id": true}', "ping.id", 0),
    ],
)
def test_no_request(line: bytes, told: str, number: int) -> None:
    with pytest.raises(ProtocolError, match="^.*" + told.replace("[", r"\[")) as caught:
        parse_request(line)
    assert caught.value.request_id == number
    assert len(str(caught.value)) < 500


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_is_a_message_or_an_error(line: bytes) -> None:
    for parse in (parse_request, parse_event):
        try:
            assert isinstance(parse(line), protocol.ProtocolMessage)
        except ProtocolError as error:
            assert str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@given(
    st.sampled_from(sorted(REQUEST_TYPES)),
    st.dictionaries(
        st.sampled_from([declared.name for cls in REQUEST_TYPES.values() for declared in fields(cls)]), json_values
    ),
)
def test_any_fields(name: str, values: dict[str, Any]) -> None:
    try:
        message = parse_request(json.dumps({**values, "request": name}).encode())
    except ProtocolError:
        return
    assert parse_request(message.to_line().strip()) == message


class TestLength:
    def test_too_long_a_message(self) -> None:
        with pytest.raises(ProtocolError, match="bytes long"):
            protocol.RenderRequest(1, shot={"text": "x" * protocol.MAX_LINE_BYTES}).to_line()

    @pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
    def test_what_is_no_plain_data(self, value: Any) -> None:
        with pytest.raises(ProtocolError, match="cannot be written as JSON"):
            protocol.ResultEvent(1, {"value": value}).to_line()

    def test_itself_in_itself(self) -> None:
        data: dict[str, Any] = {}
        data["data"] = data
        with pytest.raises(ProtocolError, match="cannot be written as JSON"):
            protocol.ResultEvent(1, data).to_line()


class TestLineSplitter:
    @given(
        st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"").strip()), max_size=8),
        st.lists(st.integers(1, 9), min_size=1, max_size=20),
    )
    def test_however_it_is_cut(self, lines: list[bytes], cuts: list[int]) -> None:
        data, splitter, found = b"".join(line + b"\n" for line in lines), LineSplitter(100), []
        place = turn = 0
        while place < len(data):
            size = cuts[turn % len(cuts)]
            found += list(splitter.feed(data[place : place + size]))
            place, turn = place + size, turn + 1
        assert found == [line for line in lines if line]

    def test_a_long_line_is_told_once_and_left_out(self) -> None:
        splitter = LineSplitter(10)
        found = [
            line
            for part in (b"one\n", b"x" * 8, b"x" * 8, b"x" * 80, b"x\ntwo\n", b"three\r\n")
            for line in splitter.feed(part)
        ]
        assert found == [b"one", None, b"two", b"three"]

    def test_memory_is_bounded(self) -> None:
        splitter = LineSplitter(1000)
        for _ in range(1000):
            assert list(splitter.feed(b"x" * 999)) == []
        assert len(splitter._pending) < 1000
