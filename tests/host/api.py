"""What a plugin may touch of the stand-in: classes and functions bound to the stubs' names and signatures."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tests.host.stubs import Signature, check_call, load_curve_stubs, load_stubs

if TYPE_CHECKING:
    from tests.host.session import Host

C = TypeVar("C", bound=type)

CLASSES: dict[str, type] = {}
CURVE_CLASSES: dict[str, type] = {}

# Keywords that types-nuke (13.2) has and another version spells otherwise: these arguments go by position.
_BY_POSITION = {"createNode": {"typ", "knobs"}, "allNodes": set(), "Knob.setValueAt": {"val"}, "Knob.setValue": {"val"}}

_hosts: list[Host] = []


def current_host() -> Host:
    """The host that is installed. Raises RuntimeError when a test touches a class without one."""
    if not _hosts:
        raise RuntimeError("no stand-in host is installed: use tests.host.new_host() as a context")
    return _hosts[-1]


def push_host(host: Host) -> None:
    _hosts.append(host)


def pop_host(host: Host) -> None:
    _hosts.remove(host)


def check_thread(what: str) -> None:
    """Nodes and knobs belong to the main thread; a call from another one raises RuntimeError."""
    if _hosts and threading.current_thread() is not _hosts[-1].main_thread:
        raise RuntimeError(
            f"{what} was called from thread {threading.current_thread().name!r}: nodes and knobs may "
            "only be touched from Nuke's main thread (executeInMainThreadWithResult)"
        )


def offered(name: str = "", *, any_thread: bool = False, curves: bool = False) -> Callable[[C], C]:
    """Class decorator: public methods must be in the stubs and are checked against them at every call.

    Names that the stubs have and the class does not raise NotImplementedError when called. any_thread: may be
    called from a thread that is not the main one. curves: a class of nuke.rotopaint.
    """

    def decorate(cls: C) -> C:
        stub = name or cls.__name__
        stubs = load_curve_stubs() if curves else load_stubs()
        if stub not in stubs.classes:
            raise AssertionError(f"types-nuke has no class {stub}")
        known = stubs.members(stub)
        own: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            if base is cls or base.__name__.startswith("_"):  # what private bases share counts as the class's own
                own.update(vars(base))
        for attribute, value in own.items():
            if attribute.startswith("_") or not callable(value):
                continue
            overloads = stubs.method(stub, attribute)
            if overloads is None:
                raise AssertionError(f"types-nuke has no {stub}.{attribute}: the stand-in must not offer it")
            setattr(cls, attribute, _checked(f"{stub}.{attribute}", value, overloads, any_thread))
        for attribute in known:
            if not attribute.startswith("_") and not hasattr(cls, attribute):
                setattr(cls, attribute, _missing(f"{stub}.{attribute}"))
        if not curves:
            cls.__setattr__ = _guard(stub, known)  # type: ignore[method-assign, assignment]
        (CURVE_CLASSES if curves else CLASSES)[stub] = cls
        return cls

    return decorate


def function(name: str, implementation: Callable[..., Any], *, any_thread: bool = False) -> Callable[..., Any]:
    """`implementation` as nuke.NAME, checked against the stubs."""
    stubs = load_stubs()
    target = stubs.aliases.get(name, name)
    if target not in stubs.functions:
        raise AssertionError(f"types-nuke has no function nuke.{name}: the stand-in must not offer it")
    return _checked(f"nuke.{name}", implementation, stubs.functions[target], any_thread, method=False)


def missing_function(name: str) -> Callable[..., Any]:
    return _missing(f"nuke.{name}")


def _checked(
    what: str, implementation: Any, overloads: list[Signature], any_thread: bool, *, method: bool = True
) -> Any:
    kind = type(implementation)
    plain = implementation.__func__ if isinstance(implementation, (staticmethod, classmethod)) else implementation
    skip = 1 if method and kind is not staticmethod else 0
    positional = _BY_POSITION.get(what.removeprefix("nuke."), set())

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not any_thread:
            check_thread(what)
        check_call(what, overloads, args[skip:], kwargs, CLASSES.get)
        for keyword in positional & set(kwargs):
            raise TypeError(
                f"{what}: the argument {keyword!r} has other names in other versions of Nuke; pass it by position"
            )
        try:
            inspect.signature(plain).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{what}: {error} (arguments as the documentation has them: {inspect.signature(plain)})"
            ) from None
        return plain(*args, **kwargs)

    return kind(call) if kind in (staticmethod, classmethod) else call


def _missing(what: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{what} exists in Nuke, and the stand-in does not do it: see docs/stand-in.md")

    return call


def _guard(stub: str, known: set[str]) -> Callable[[Any, str, Any], None]:
    """Nuke's classes are not Python's: a new attribute cannot be set on them."""
    attributes = load_stubs().classes[stub].attributes

    def set_attribute(self: Any, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in attributes:
            raise AttributeError(
                f"{stub} has no attribute {name!r} that can be set" + (" (it is a method)" if name in known else "")
            )
        object.__setattr__(self, name, value)

    return set_attribute
