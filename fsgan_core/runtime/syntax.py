"""Python's syntax trees, from several threads."""

from __future__ import annotations

import ast
import threading

__all__ = ["parse_syntax"]

_lock = threading.Lock()


def parse_syntax(source: str | bytes, mode: str = "exec") -> ast.AST:
    """Parses Python source; nothing is run.

    CPython counts the depth of a tree in one place for all threads, and raises SystemError ("AST constructor recursion
    depth mismatch") when two threads parse at once. So one waits for the other.

    Args:
        source: The text.
        mode: "exec" for a module, "eval" for an expression.

    Raises:
        SyntaxError: The text is not Python.
        ValueError: The text holds null bytes.
    """
    with _lock:
        return ast.parse(source, mode=mode)
