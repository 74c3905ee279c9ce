"""The parser of arguments, with hints for mistyped names."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, NoReturn

from fsgan_core.contract.safe_text import escape_lines

__all__ = ["ArgumentParser", "suggest_similar"]


class ArgumentParser(argparse.ArgumentParser):
    """Suggests similar names for wrong options and choices, and takes negative frame ranges as values.

    Its messages quote arguments, which may be names of files; see `safe_text`. Its subparsers are of this class.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Without this, "--frames -5--1" is an error: argparse takes -5--1 for an option.
        self._negative_number_matcher = re.compile(r"-\d[-\d,xy:\s]*$")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as argparse does; a mistyped option ends the program with a hint."""
        words = sys.argv[1:] if args is None else list(args)
        # First, because argparse would only say that a required option is missing.
        for word in self._list_own_words(words):
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in word and name not in self._option_string_actions:
                hint = suggest_similar(name, list(self._option_string_actions))
                if hint:
                    self.error(f"unrecognized arguments: {word}{hint}")
        return super().parse_known_args(words, namespace)

    def _list_own_words(self, words: list[str]) -> Iterator[str]:
        """Lists the words that this parser reads, up to a command of its own or to `--`."""
        return takewhile(lambda word: word != "--" and (self._subparsers is None or word.startswith("-")), words)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += suggest_similar(str(value), [str(choice) for choice in action.choices or ()])
            raise

    def error(self, message: str) -> NoReturn:
        """Prints the message with control characters escaped, and ends the program."""
        super().error(escape_lines(message))


def suggest_similar(name: str, known: Sequence[str]) -> str:
    """Suggests "; did you mean ...?"; empty if nothing is similar.

    >>> suggest_similar("--fram", ["--frames", "--device"])
    '; did you mean --frames?'
    """
    near = get_close_matches(name, known, n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""
