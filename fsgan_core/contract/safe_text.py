"""Makes text safe to show: names of files, metadata and messages may come from strangers.

A line break could start a line that a farm's engine reads as an order, an escape code could rewrite a terminal, and a
tag could become HTML in a message of the host.
"""

from __future__ import annotations

import re
from typing import Match

MAX_LINE = 2000
"""Characters of a line that is shown; the rest is cut off."""

# Control characters, marks that change the direction of writing, line separators, and halves of characters, which
# stand for bytes of a file name that are not UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# What Qt takes for a tag.
_TAG_START = re.compile(r"<(?=[A-Za-z/!?])")


def escape_line(text: str) -> str:
    r"""Returns the text as one line: what is not printable is written as an escape.

    >>> escape_line("a\nopenjd_fail: b\x1b[2J")
    'a\\nopenjd_fail: b\\x1b[2J'
    """
    line = _UNSAFE.sub(_format_escape, text)
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 3] + "..."


def escape_lines(text: str) -> str:
    r"""Returns the text with its line breaks. Further lines are indented, so none can look like a line of another kind.

    >>> escape_lines("a\nopenjd_fail: b")
    'a\n  openjd_fail: b'
    """
    return "\n  ".join(escape_line(line) for line in text.split("\n"))


def escape_tags(text: str) -> str:
    """Returns the text without tags, for windows that show text as HTML if it looks like HTML.

    >>> escape_tags("a < b, <img>")
    'a < b, ‹img>'
    """
    return _TAG_START.sub("\u2039", text)


def shorten_repr(value: object) -> str:
    """Returns the `repr` of a value for a message, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _format_escape(match: Match[str]) -> str:
    letter = match[0]
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
