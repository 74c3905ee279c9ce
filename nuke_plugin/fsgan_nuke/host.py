"""Nuke's main thread: only it may touch nodes; other threads call functions on it through this module."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator, TypeVar

import nuke

from fsgan_core.contract.safe_text import escape_lines, escape_tags

log = logging.getLogger(__name__)
T = TypeVar("T")


# Editions in which Python sees ten nodes of a script: key of nuke.env -> name.
_SMALL_EDITIONS = {"nc": "Nuke Non-commercial", "ple": "Nuke PLE", "indie": "Nuke Indie"}


def get_small_edition() -> str:
    """Returns the name of this Nuke if Python sees only ten nodes of a script in it, else ""."""
    for key, name in _SMALL_EDITIONS.items():
        try:
            if nuke.env[key]:
                return name
        except KeyError:
            continue
    return ""


@contextmanager
def use_full_size() -> Iterator[None]:
    """Turns proxy mode off while the block runs, because it makes formats and pictures smaller. On the main thread."""
    proxy = nuke.root()["proxy"]
    was_on = bool(proxy.value())
    try:
        if was_on:
            proxy.setValue(False)
        yield
    finally:
        if was_on:
            proxy.setValue(True)


@contextmanager
def keep_undo() -> Iterator[None]:
    """Keeps derived state (status, results, menus) out of the undo list and of the script's modified mark.

    On the main thread. An artist's Ctrl+Z must undo what the artist did, not what the plugin shows.
    """
    root = nuke.root()
    was_modified = bool(root.modified())
    nuke.Undo.disable()
    try:
        yield
    finally:
        nuke.Undo.enable()
        if not was_modified:
            root.setModified(False)


@contextmanager
def one_undo_step(name: str) -> Iterator[None]:
    """Makes all changes in the block one step of the undo list. On the main thread."""
    nuke.Undo.begin(name)
    try:
        yield
    finally:
        nuke.Undo.end()


def call_on_main(function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function on the main thread, and returns its value or raises its exception.

    Nuke's own helper must not be called from the main thread, does not work without a GUI, and swallows exceptions.
    """
    if not nuke.GUI or threading.current_thread() is threading.main_thread():
        return function(*arguments)
    returned: list[T] = []
    raised: list[BaseException] = []

    def call_function() -> None:
        try:
            returned.append(function(*arguments))
        except BaseException as error:
            raised.append(error)

    nuke.executeInMainThreadWithResult(call_function)  # type: ignore[no-untyped-call]
    if raised:
        raise raised[0]
    if not returned:
        raise RuntimeError("Nuke's main thread did not answer")
    return returned[0]


def call_later(function: Callable[..., Any], *arguments: Any) -> None:
    """Calls a function on the main thread soon, without waiting; without a GUI, at once."""
    if not nuke.GUI or threading.current_thread() is threading.main_thread():
        function(*arguments)
    else:
        nuke.executeInMainThread(function, arguments)


def show_message(text: str) -> None:
    """Shows a message to the artist; without a GUI, prints it to the terminal.

    From another thread the message is a window that does not block: a modal one opened through Nuke's helper can freeze
    the session.
    """
    if nuke.GUI and threading.current_thread() is threading.main_thread():
        nuke.message(escape_tags(text))
    else:
        show_text("FSGAN", text)


def print_line(text: str) -> None:
    """Prints a message to Nuke's terminal. Text from files cannot begin a line of its own or control the terminal."""
    nuke.tprint(escape_lines(text))


def show_text(title: str, text: str) -> None:
    """Shows a longer text in a window that does not block Nuke; without a GUI or Qt, prints it to the terminal."""
    if not nuke.GUI:
        print_line(text)
        return

    def open_text_window() -> None:
        try:
            from fsgan_nuke import text_window
        except ImportError:
            print_line(text)
        else:
            text_window.show_text_window(title, text)

    call_later(open_text_window)
