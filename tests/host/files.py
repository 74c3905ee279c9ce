"""Scripts as files, and what Nuke runs when it starts."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.host.nodes import Node
    from tests.host.session import Host


def start(host: Host, plugin_path: Iterable[Path | str]) -> None:
    """What a starting Nuke does: init.py of every folder, last folder first, then menu.py where there is a GUI.

    plugin_path: as Nuke would search it, first hit first. An exception is kept in host.startup_errors: Nuke reports
    it and may stop there.
    """
    host.plugin_path = [Path(folder) for folder in plugin_path]
    for folder in reversed(list(host.plugin_path)):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        _guarded(host, folder / "init.py")
    if host.gui:
        for folder in reversed(list(host.plugin_path)):
            _guarded(host, folder / "menu.py")


def _guarded(host: Host, file: Path) -> None:
    if not file.is_file():
        return
    try:
        run_plugin_file(host, file)
    except Exception as error:
        host.startup_errors.append((file, error))


def run_plugin_file(host: Host, file: Path) -> None:
    """Runs an init.py or menu.py as Nuke does: as code, with its path in __file__."""
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(file), "nuke": host.module}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), names)


def open_script(host: Host, file: Path) -> None:
    """Another script instead of this one. Raises RuntimeError for what cannot be opened."""
    if not file.is_file():
        raise RuntimeError(f"{file}: no such file")
    host.callbacks.fire("OnScriptClose", host.root)
    host.new_root()
    host.script_file = file.as_posix()
    host.root._knobs["name"]._set_text(host.script_file)
    host.scripts.read(file.read_text(encoding="utf-8"), host.root)
    host.frame = host.root.firstFrame()
    host.view = host.views()[0]
    host.modified = False
    host.callbacks.fire("OnCreate", host.root)
    host.callbacks.fire("OnScriptLoad", host.root)


def save_script(host: Host, file: Path, overwrite: Any = -1) -> None:
    """overwrite -1: asks in the GUI where the file exists; 0 refuses."""
    if not str(file) or str(file) == ".":
        raise RuntimeError("the script has no name")
    if file.exists() and overwrite in (0, False):
        raise RuntimeError(f"{file} exists already")
    if file.exists() and overwrite == -1 and not host.ask("ask", f"overwrite {file}?"):
        return
    host.callbacks.fire("OnScriptSave", host.root)
    host.script_file = file.as_posix()
    host.root._knobs["name"]._set_text(host.script_file)
    file.write_text(host.scripts.script(), encoding="utf-8")
    host.modified = False


def paste(host: Host, text: str) -> Node | None:
    """The nodes of a copied text into the current group."""
    return host.scripts.read(text, host.group, pasted=True)
