"""Functions of arrays that remember their last results.

For what is asked several times about the same face or the same clip: the head's pose, what a mesh hides.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def remember_results(size: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function keep its last results, found by the values of its arguments.

    The function must depend on nothing else, and must take arrays and hashable values. The array that it returns, or
    the arrays in the dataclass that it returns, are made read-only, because every caller gets the same ones. Several
    threads may call it.

    Args:
        size: How many results are kept.

    >>> @remember_results(10)
    ... def add(points: np.ndarray) -> np.ndarray:
    ...     print("computed")
    ...     return points + 1
    >>> (add(np.zeros(2)), add(np.zeros(2)))
    computed
    (array([1., 1.]), array([1., 1.]))
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.lru_cache(size)
        def compute(frozen: tuple[Any, ...], names: tuple[str, ...]) -> R:
            values = [_thaw(one) for one in frozen]
            count = len(values) - len(names)
            result: R = function(*values[:count], **dict(zip(names, values[count:], strict=True)))
            for part in vars(result).values() if dataclasses.is_dataclass(result) else (result,):
                if isinstance(part, np.ndarray):
                    part.setflags(write=False)
            return result

        @functools.wraps(function)
        def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
            return compute(tuple(_freeze(one) for one in (*args, *kwargs.values())), tuple(kwargs))

        return remembered

    return decorate


def _freeze(value: Any) -> Any:
    """A hashable stand-in for an array; anything else as it is."""
    if isinstance(value, np.ndarray):
        return _FrozenArray((value.shape, value.dtype.str, value.tobytes()))
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, _FrozenArray):
        shape, dtype, data = value
        return np.frombuffer(data, dtype).reshape(shape)
    return value


class _FrozenArray(tuple[Any, ...]):
    """Shape, dtype and bytes of an array."""
