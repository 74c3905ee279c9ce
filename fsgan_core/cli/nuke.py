"""`fsgan nuke ...`: adds the nodes to Nuke, takes them out, or copies the plugin for a whole studio."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

__all__ = ["DESCRIPTION", "add_flags", "run_install"]

DESCRIPTION = """\
Adds the FSGAN nodes to Nuke.

  fsgan nuke install                    # for this user: a few lines at the end of ~/.nuke/init.py
  fsgan nuke install --folder DIR       # in another folder with an init.py
  fsgan nuke copy /studio/nuke/fsgan    # a copy for everybody; put its folder nuke_plugin into NUKE_PATH
  fsgan nuke uninstall

Nuke's own Python needs nothing installed. The plugin starts this fsgan as a process of its own.
"""

FlagAdder = Callable[[argparse.ArgumentParser], None]


def add_flags(parser: argparse.ArgumentParser, add_message_flags: FlagAdder, formatter: Any, epilog: str) -> None:
    """Adds the actions of `fsgan nuke`; `add_message_flags` adds the flags that every command has."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add_action(name: str, text: str, run: Callable[[Namespace, Presenter], int]) -> argparse.ArgumentParser:
        action_parser = actions.add_parser(
            name, help=text, description=text, epilog=epilog, allow_abbrev=False, formatter_class=formatter
        )
        action_parser.set_defaults(run=run, command="nuke")
        return action_parser

    for name, text, run in (
        ("install", "Adds the nodes to Nuke and writes which Python the worker runs in.", run_install),
        ("uninstall", "Takes both out again.", run_uninstall),
    ):
        action = add_action(name, text, run)
        action.add_argument("--folder", metavar="DIR", default="", help="folder of the init.py (default: ~/.nuke)")
        add_message_flags(action)
    copied = add_action("copy", "Copies plugin and gizmos into a folder, for a studio's NUKE_PATH.", run_copy)
    copied.add_argument("destination", metavar="DIR", help="folder to write; an older copy in it is replaced")
    add_message_flags(copied)


def run_install(options: Namespace, presenter: Presenter) -> int:
    """Runs `fsgan nuke install`. Raises as `nuke_install.install_plugin`."""
    from fsgan_core.nuke_install import find_nuke_folder, install_plugin

    lines: list[str] = []
    install_plugin(find_nuke_folder(options.folder), say=lines.append)
    return _present(lines, options, presenter)


def run_uninstall(options: Namespace, presenter: Presenter) -> int:
    """Runs `fsgan nuke uninstall`. Raises as `nuke_install.uninstall_plugin`."""
    from fsgan_core.nuke_install import find_nuke_folder, uninstall_plugin

    lines: list[str] = []
    uninstall_plugin(find_nuke_folder(options.folder), say=lines.append)
    return _present(lines, options, presenter)


def run_copy(options: Namespace, presenter: Presenter) -> int:
    """Runs `fsgan nuke copy`. Raises as `nuke_install.deploy_plugin`."""
    from fsgan_core.nuke_install import deploy_plugin

    plugin = deploy_plugin(Path(options.destination))
    return _present([f"{plugin}: written. Put it into NUKE_PATH."], options, presenter)


def _present(lines: list[str], options: Namespace, presenter: Presenter) -> int:
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, "lines": lines})
    else:
        for line in lines:
            presenter.print_line(line)
    return 0
