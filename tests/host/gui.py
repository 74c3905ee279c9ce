"""What only a Nuke with an interface has: menus, toolbars, questions, progress bars, undo."""

# Nuke's classes narrow what their bases take; so do these.
# mypy: disable-error-code="override"

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.host.api import current_host, offered


@offered()
class MenuItem:
    """An entry of a menu. Its command is a callable, Python text, or nothing: then the node of its name is made."""

    def __init__(self, name: str, command: Any, icon: str = "", tooltip: str = "", shortcut: str = "") -> None:
        self._name, self._command, self._icon, self._tip, self._keys = name, command, icon, tooltip, shortcut
        self._on, self._shown = True, True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    def name(self) -> str:
        return self._name

    def icon(self) -> str:
        return self._icon

    def script(self) -> str:
        return self._command if isinstance(self._command, str) else ""

    def shortcut(self) -> str:
        return self._keys

    def setShortcut(self, keySequence: str) -> None:
        self._keys = keySequence

    def setIcon(self, icon: str) -> None:
        self._icon = icon

    def setScript(self, script: str) -> None:
        self._command = script

    def setEnabled(self, enabled: bool, recursive: bool = False) -> None:
        self._on = bool(enabled)

    def setVisible(self, visible: bool) -> None:
        self._shown = bool(visible)

    def invoke(self) -> None:
        """As if a person chose it: one undo step, and nodes count as made by a person."""
        if not self._on:
            raise RuntimeError(f"menu item {self._name} is disabled")
        host = current_host()
        host.require_gui("a menu")
        with host.undo_step(self._name):
            if callable(self._command):
                self._command()
            elif self._command:
                host.run_python(self._command, None, None, f"menu item {self._name}")
            else:
                host.module.createNode(self._name)


class _MenuMethods:
    """What Menu, MenuBar and ToolBar share."""

    _entries: list[Any]
    _name: str

    def addCommand(
        self,
        name: str,
        command: Any = None,
        shortcut: str | None = None,
        icon: str | None = None,
        tooltip: str | None = None,
        index: int | None = None,
        readonly: bool | None = None,
        node: bool | None = None,
        shortcutContext: int | None = None,
        tag: Any = None,
    ) -> MenuItem:
        if command is not None and not callable(command) and not isinstance(command, str):
            raise TypeError(f"the command of {name!r} is a text or callable, not {type(command).__name__}")
        if shortcutContext not in (None, 0, 1, 2):
            raise ValueError("shortcutContext is 0 (window), 1 (application) or 2 (node graph)")
        menu, last = self._descend(name)
        if isinstance(command, str):
            compile(command, f"<menu item {name}>", "exec")
        item = MenuItem(last, command, icon or "", tooltip or "", shortcut or "")
        menu._entries = [entry for entry in menu._entries if entry is None or entry._name != last]
        menu._insert(item, index)
        return item

    def addMenu(self, name: str, icon: str = "", tooltip: str = "", index: int = -1, **rest: Any) -> Menu:
        menu, last = self._descend(name)
        found = next((entry for entry in menu._entries if isinstance(entry, Menu) and entry._name == last), None)
        if found is None:
            found = Menu(last, icon, tooltip)
            menu._insert(found, index)
        return found

    def addSeparator(self, index: int = -1) -> None:
        self._insert(None, index)

    def _insert(self, item: Any, index: int | None) -> None:
        self._entries.insert(len(self._entries) if index in (None, -1) else int(index or 0), item)

    def _descend(self, name: str) -> tuple[Any, str]:
        *path, last = re.split(r"(?<!\\)/", name)
        menu: Any = self
        for step in path:
            menu = menu.addMenu(step)
        return menu, last.replace("\\/", "/")

    def findItem(self, name: str) -> Any:
        here: Any = self
        for step in name.split("/"):
            here = next(
                (entry for entry in getattr(here, "_entries", []) if entry is not None and entry._name == step), None
            )
            if here is None:
                return None
        return here

    def menu(self, name: str) -> Any:
        found = self.findItem(name)
        return found if isinstance(found, Menu) else None

    def items(self) -> list[Any]:
        return [entry for entry in self._entries if entry is not None]

    def removeItem(self, name: str) -> None:
        self._entries = [entry for entry in self._entries if entry is None or entry._name != name]

    def clearMenu(self) -> None:
        self._entries.clear()

    def name(self) -> str:
        return self._name


@offered()
class Menu(_MenuMethods, MenuItem):
    def __init__(self, name: str, icon: str = "", tooltip: str = "") -> None:
        MenuItem.__init__(self, name, None, icon, tooltip)
        self._entries: list[Any] = []


@offered()
class MenuBar(_MenuMethods):
    def __init__(self, name: str) -> None:
        self._name = name
        self._entries: list[Any] = []


@offered()
class ToolBar(_MenuMethods):
    def __init__(self, name: str) -> None:
        self._name = name
        self._entries: list[Any] = []


@offered(any_thread=True)
class ProgressTask:
    """A bar in the task panel. A test sees all of them in host.progress, and cancels by host.cancel_tasks."""

    def __init__(self, title: str = "") -> None:
        if not isinstance(title, str):
            raise TypeError(f"the title of a ProgressTask is a text, not {type(title).__name__}")
        self._title = title
        self._messages: list[str] = []
        self._values: list[int] = []
        self._record = {"title": title, "messages": self._messages, "values": self._values, "open": True}
        self._host = current_host()
        self._host.progress.append(self._record)

    def setMessage(self, s: str) -> None:
        if not isinstance(s, str):
            raise TypeError(f"setMessage takes a text, not {type(s).__name__}")
        self._messages.append(s)

    def setProgress(self, i: int) -> None:
        if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i <= 100:
            raise TypeError(f"setProgress takes a whole number from 0 to 100, not {i!r}")
        self._values.append(i)

    def isCancelled(self) -> bool:
        return self._host.gui and self._host.cancel_tasks

    def __del__(self) -> None:
        # The bar goes when the object does.
        record = getattr(self, "_record", None)
        if record is not None:
            record["open"] = False


@offered()
class Undo:
    """A step of undo: `with nuke.Undo():`, or begin and end. Steps are counted, not undone."""

    def __enter__(self) -> Undo:
        current_host().undo_begin("")
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        current_host().undo_end()

    @staticmethod
    def begin(name: str = "") -> None:
        current_host().undo_begin(name)

    @staticmethod
    def end() -> None:
        current_host().undo_end()

    @staticmethod
    def cancel() -> None:
        current_host().undo_end(cancelled=True)

    @staticmethod
    def name(text: str) -> None:
        current_host().undo_name(text)

    @staticmethod
    def disable() -> None:
        current_host().undo_disabled += 1

    @staticmethod
    def enable() -> None:
        current_host().undo_disabled -= 1

    @staticmethod
    def disabled() -> bool:
        return current_host().undo_disabled > 0


@offered()
class Panel:
    """A dialog of named fields. show() takes its answer from host.answers: None for Cancel, or the fields that the
    person changes, by name."""

    def __init__(self, title: str = "") -> None:
        self._title, self._fields = title, {}  # type: ignore[var-annotated]

    def addFilenameSearch(self, name: str, value: str) -> bool:
        self._fields[name] = value
        return True

    def addSingleLineInput(self, name: str, value: str) -> bool:
        self._fields[name] = value
        return True

    def addEnumerationPulldown(self, name: str, items: str) -> bool:
        self._fields[name] = items.split()[0]
        return True

    def show(self) -> bool:
        given = current_host().ask("Panel", self._title)
        if given is None:
            return False
        unknown = set(given) - set(self._fields)
        if unknown:
            raise AssertionError(f"the panel {self._title!r} has no {', '.join(sorted(unknown))}")
        self._fields.update(given)
        return True

    def value(self, name: str) -> Any:
        return self._fields.get(name)


Answer = Callable[[str, str], Any]
