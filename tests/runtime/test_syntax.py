"""Syntax trees from several threads."""

from __future__ import annotations

import ast
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fsgan_core.runtime.syntax import parse_syntax


def test_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, inside, most = ast.parse, threading.Semaphore(1), []

    def watched(source: str, mode: str) -> ast.AST:
        most.append(inside.acquire(blocking=False))
        time.sleep(0.01)
        if most[-1]:
            inside.release()
        return parse(source, mode=mode)

    with monkeypatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setattr(ast, "parse", watched)
        trees = list(pool.map(lambda _: parse_syntax("a = 1"), range(8)))
    assert most == [True] * 8, "nobody else was inside"
    assert len({ast.dump(tree) for tree in trees}) == 1


@pytest.mark.parametrize("text", ["a b", "(", "\0"])
def test_no_python(text: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        parse_syntax(text, "eval")
