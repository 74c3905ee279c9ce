"""The registry of module-level caches."""

from __future__ import annotations

import functools

import pytest

from fsgan_core.runtime import memory


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_clear_functions", [])


def test_clears_dicts_and_cached_functions() -> None:
    values = {"a": 1}
    calls = []

    @functools.cache
    def load(name: str) -> str:
        calls.append(name)
        return name

    memory.register_cache(values.clear)
    memory.register_cache(load.cache_clear)
    load("x")
    load("x")
    memory.clear_caches()
    load("x")
    assert values == {}
    assert calls == ["x", "x"]


def test_nothing_registered() -> None:
    memory.clear_caches()
