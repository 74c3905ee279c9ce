"""Syntax trees from several threads."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fsgan_core.runtime import cache
from fsgan_core.runtime.syntax import parse_syntax


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def parse_deep(source: bytes, depth: int) -> ast.AST:
    """Parses below so many calls: the fault needs threads whose stacks differ in depth."""
    return parse_deep(source, depth - 1) if depth else parse_syntax(source)


@pytest.mark.usefixtures("eager_threads")
def test_threads_of_different_depth() -> None:
    """ast.parse by itself may raise SystemError here, as it did in renders under coverage."""
    source = Path(cache.__file__).read_bytes()
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(lambda number: parse_deep(source, number % 40), range(80)))
    assert len({ast.dump(tree) for tree in trees[:8]}) == 1


@pytest.mark.parametrize("text", ["a b", "(", "\0"])
def test_no_python(text: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        parse_syntax(text, "eval")
