"""Functions that remember results.

For what is asked several times about the same face or the same clip (the head's pose, what a mesh hides), or about the
same picture (where its lips end).
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
Owner = TypeVar("Owner")
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


def remember_with(function: Callable[Concatenate[Owner, P], R]) -> Callable[Concatenate[Owner, P], R]:
    """Make a function of a picture keep its results as long as that very picture lives.

    The first argument is an array, or another object that can be referred to weakly. It is told by its identity, so it
    must not be changed; the other arguments are told by their values. Several threads may call the function.

    >>> @remember_with
    ... def add(picture: np.ndarray, value: int) -> np.ndarray:
    ...     print("computed")
    ...     return picture + value
    >>> picture = np.zeros(2)
    >>> (add(picture, 1), add(picture, 1))
    computed
    (array([1., 1.]), array([1., 1.]))
    """
    return _remember_with_owners(function, 1)


def remember_with_both(
    function: Callable[Concatenate[Owner, Owner, P], R],
) -> Callable[Concatenate[Owner, Owner, P], R]:
    """Make a function of two pictures keep its results as long as both live; otherwise as `remember_with`."""
    return _remember_with_owners(function, 2)


def _remember_with_owners(function: Callable[..., R], count: int) -> Callable[..., R]:
    """`function`, which keeps its results as long as all of its first `count` arguments live."""
    results: dict[tuple[int, ...], dict[Any, R]] = {}

    @functools.wraps(function)
    def remembered(*args: Any, **kwargs: Any) -> R:
        owners = tuple(map(id, args[:count]))
        if owners not in results:
            results[owners] = {}
            for owner in args[:count]:
                weakref.finalize(owner, results.pop, owners, None).atexit = False
        own = results[owners]
        key = (*(_make_key(one) for one in (*args[count:], *kwargs.values())), *kwargs)
        if key not in own:
            own[key] = function(*args, **kwargs)
        return own[key]

    return remembered


def _make_key(value: Any) -> Any:
    """Tells a value from others: hashable, by what arrays and dataclasses hold."""
    if dataclasses.is_dataclass(value):
        return (type(value), *(_make_key(getattr(value, part.name)) for part in dataclasses.fields(value)))
    return _freeze(value)


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
