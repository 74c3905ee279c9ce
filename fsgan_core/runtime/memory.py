"""One place that empties every module-level cache, so that tests start from a clean state."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["clear_caches", "register_cache"]

_clear_functions: list[Callable[[], object]] = []
_lock = threading.Lock()


def register_cache(clear: Callable[[], object]) -> None:
    """Adds a module-level cache to those that `clear_caches` empties.

    Call it once, at the top level of the module that owns the cache:
    `register_cache(_indexes.clear)` for a dict, `register_cache(load_model.cache_clear)` for a cached function.

    Args:
        clear: Empties the cache; called without arguments.
    """
    with _lock:
        _clear_functions.append(clear)


def clear_caches() -> None:
    """Empties every registered cache. Values are computed or read again when they are next asked for."""
    with _lock:
        functions = tuple(_clear_functions)
    for clear in functions:
        clear()
