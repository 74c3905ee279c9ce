"""Text with bounds: what is too deep or too large is refused before it is parsed, and quickly."""

from __future__ import annotations

import json

import pytest

from fsgan_core.contract.plain_data import parse_json, parse_toml
from fsgan_core.contract.safe_text import escape_line, escape_lines, escape_tags
from tests.endless import no_endless_work


class TestJson:
    def test_ordinary_data(self) -> None:
        data = {"a": [1, -2, 3.5, True, None, '[[[{{\\"'], "ä": {"b": 2**62}}
        assert parse_json(json.dumps(data)) == data
        assert parse_json(json.dumps(data).encode()) == data

    def test_brackets_in_strings_do_not_count(self) -> None:
        assert parse_json(json.dumps(["[" * 500])) == ["[" * 500]

    @pytest.mark.parametrize(
        "text",
        ["[" * 100_000, '{"a":' * 100_000, "[" * 65 + "]" * 65, "9" * 5000, "[" + "1" * 21 + "]", b"\xff", "{", ""],
    )
    def test_is_refused_at_once(self, text: str | bytes) -> None:
        with no_endless_work(), pytest.raises(ValueError):
            parse_json(text)


class TestToml:
    def test_ordinary_data(self) -> None:
        text = 'a.b."c.d" = 1 # [[[\n[x]\ny = "p.q.r.s, ./t.####.exr"\nz = [[1, 2], [3]]\n'
        assert parse_toml(text) == {
            "a": {"b": {"c.d": 1}},
            "x": {"y": "p.q.r.s, ./t.####.exr", "z": [[1, 2], [3]]},
        }

    @pytest.mark.parametrize(
        "text",
        ["a." * 100_000 + "b=1", "a = {" + "a." * 99 + "a = 1}", "[" + "'a' . " * 99 + "a]", "a = 1" + "0" * 19, "= 1"],
    )
    def test_is_refused_at_once(self, text: str) -> None:
        with no_endless_work(), pytest.raises(ValueError):
            parse_toml(text)


class TestSafeText:
    def test_what_is_printable_stays(self) -> None:
        text = "Müller 山田 plate.####.exr 100 % <3 & 'x'"
        assert escape_line(text) == escape_lines(text) == escape_tags(text) == text

    def test_what_is_not_is_written_out(self) -> None:
        assert escape_line("a\r\n\x1b[31m\x9b\u2028\udcff") == "a\\r\\n\\x1b[31m\\x9b\\u2028\\xff"
        assert len(escape_line("x" * 10_000)) == 2000

    def test_no_tag_is_left(self) -> None:
        shown = escape_tags("<img src=x onerror=y></b><!-- <?xml a<b a< b")
        assert "<i" not in shown and "</" not in shown and "<!" not in shown and "<?" not in shown
        assert "a< b" in shown
