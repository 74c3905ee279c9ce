"""Adds the nodes to Nuke, or removes them."""

from __future__ import annotations

import argparse
import importlib
import sys
import types

from install_steps.checkout import ROOT, CheckoutPaths, InstallError, print_line


def import_nuke_install() -> types.ModuleType:
    """Imports the project's module for Nuke from this checkout; it needs the standard library only."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("fsgan_core.nuke_install")


def change_nuke(options: argparse.Namespace, places: CheckoutPaths) -> None:
    """Adds the nodes to Nuke, or removes them. `fsgan nuke` does the same for an installed wheel."""
    nuke_install = import_nuke_install()
    from fsgan_core.contract.errors import FsganError

    folder, plugin = nuke_install.find_nuke_folder(options.nuke or ""), places.root / "nuke_plugin"
    try:
        if options.uninstall:
            nuke_install.uninstall_plugin(folder, plugin=plugin, say=print_line)
        else:
            nuke_install.install_plugin(
                folder, plugin=plugin, python=places.python, root=str(places.root), say=print_line
            )
    except FsganError as error:
        raise InstallError(error.exit_code, str(error)) from error


def list_uninstall_steps(options: argparse.Namespace, places: CheckoutPaths) -> list[str]:
    """Lists what --uninstall would do."""
    nuke_install = import_nuke_install()
    folder, plugin = nuke_install.find_nuke_folder(options.nuke or ""), places.root / "nuke_plugin"
    preferences = nuke_install.find_settings_file(plugin)
    steps = [
        f"take the nodes out of {places.shorten_path(folder / 'init.py')}, if they are in it",
        f"take the worker's Python out of the preferences, {places.shorten_path(preferences)}",
    ]
    copied = nuke_install.find_plugin_copies()
    if copied.is_dir():
        steps.append(f"remove {places.shorten_path(copied)}")
    return steps
