"""Reads JSON and TOML that a stranger may have written: bounds first, then the parser.

Whatever is wrong with the text, a ValueError says it. Without bounds, a file of 100 kB can exhaust the parser's stack,
and one integer of a million digits takes minutes.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from itertools import accumulate
from typing import Any, Mapping, Union

MAX_DEPTH = 64
"""Levels of brackets in a text, and of names in a dotted TOML key."""
MAX_DIGITS = 19
"""Digits of an integer: those of 64 bits."""
MAX_TOML_CHARACTERS = 1 << 20
"""Characters of a TOML text; shots and training plans have some thousand."""

_BRACKET_STEPS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
# What may hold brackets without meaning: strings and comments.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL)
_LONG_INTEGER = re.compile(rf"(?<![\w.])\d[\d_]{{{MAX_DIGITS},}}(?![\w.])")
_NAME = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*"""
_LONG_KEY = re.compile(rf"(?:^|[{{\[,])[ \t]*(?:{_NAME}\.[ \t]*){{{MAX_DEPTH}}}", re.MULTILINE)


def parse_json(text: Union[str, bytes]) -> Any:
    """Parses JSON.

    Raises:
        ValueError: The text is not JSON, nested too deeply, or has an integer of more than 64 bits.

    >>> parse_json('{"frames": [1, 2]}')
    {'frames': [1, 2]}
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    _check_depth(text)
    try:
        return json.loads(text, parse_int=_parse_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> Mapping[str, Any]:
    """Parses TOML; needs Python 3.11.

    Raises:
        ValueError: The text is not TOML, too long, nested too deeply, or has an integer of more than 64 bits.
    """
    if len(text) > MAX_TOML_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, more than {MAX_TOML_CHARACTERS}")
    _check_depth(text)
    if _LONG_KEY.search(text):
        raise ValueError(f"a key has more than {MAX_DEPTH} names")
    if _LONG_INTEGER.search(_QUOTED.sub("", text)):
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    try:
        data: Mapping[str, Any] = import_module("tomllib").loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_integers(data)
    return data


def check_count(count: int, most: int, things: str) -> None:
    """Raises ValueError if there are more than `most` things."""
    if count > most:
        raise ValueError(f"{count} {things} are more than the {most} that this program reads")


def _check_depth(text: str) -> None:
    if _measure_depth(text) > MAX_DEPTH and _measure_depth(_QUOTED.sub("", text)) > MAX_DEPTH:
        raise ValueError(f"it is nested too deeply, more than {MAX_DEPTH} levels")


def _measure_depth(text: str) -> int:
    brackets = text.encode("utf-8", "surrogatepass").translate(None, _NO_BRACKETS)
    return max(accumulate(map(_BRACKET_STEPS.__getitem__, brackets)), default=0)


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS + 1:
        raise ValueError(f"the number {digits[:MAX_DIGITS]}... has more than {MAX_DIGITS} digits")
    return int(digits)


def _check_integers(value: Any) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            _check_integers(item)
    elif isinstance(value, list):
        for item in value:
            _check_integers(item)
    elif isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
