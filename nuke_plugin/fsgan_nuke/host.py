"""The host's main thread: who may touch nodes, and how other threads ask for it."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator, TypeVar

import nuke

log = logging.getLogger(__name__)
T = TypeVar("T")


@contextmanager
def use_full_size() -> Iterator[None]:
    """Without proxy mode, in which formats and pictures are smaller. On the main thread."""
    proxy = nuke.root()["proxy"]
    was = bool(proxy.value())
    try:
        if was:
            proxy.setValue(False)
        yield
    finally:
        if was:
            proxy.setValue(True)


def call_on_main(function: Callable[..., T], *arguments: Any) -> T:
    """The function's value, called on the main thread; what it raises is raised here.

    The host's own helper must not be called from the main thread, has nobody to serve it without an interface, and
    swallows exceptions: hence this.
    """
    if not nuke.GUI or threading.current_thread() is threading.main_thread():
        return function(*arguments)
    answer: list[T] = []
    raised: list[BaseException] = []

    def call_function() -> None:
        try:
            answer.append(function(*arguments))
        except BaseException as error:
            raised.append(error)

    nuke.executeInMainThreadWithResult(call_function)  # type: ignore[no-untyped-call]
    if raised:
        raise raised[0]
    if not answer:
        raise RuntimeError("the host did not answer")
    return answer[0]


def call_later(function: Callable[..., Any], *arguments: Any) -> None:
    """Calls on the main thread, soon, and does not wait; at once where there is no interface."""
    if not nuke.GUI or threading.current_thread() is threading.main_thread():
        function(*arguments)
    else:
        nuke.executeInMainThread(function, arguments)


def show_message(text: str) -> None:
    """A message to the artist; to the terminal where there is no interface."""
    if nuke.GUI:
        call_later(nuke.message, text)
    else:
        nuke.tprint(text)


def show_text(title: str, text: str) -> None:
    """A longer text to the artist, in a window of its own that stops nobody; where there is no Qt, as a message."""
    if not nuke.GUI:
        nuke.tprint(text)
        return

    def open_text_window() -> None:
        try:
            from fsgan_nuke import text_window
        except ImportError:
            nuke.message(text)
        else:
            text_window.show_text_window(title, text)

    call_later(open_text_window)
