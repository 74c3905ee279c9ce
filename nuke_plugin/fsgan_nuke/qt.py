"""Nuke's own Qt: PySide6 from Nuke 16 on, PySide2 before.

Imported only when a window is opened. The import raises ImportError if there is neither.
"""

from __future__ import annotations

import importlib
from typing import Any, Sequence

import nuke

QT_MODULES = ("QtCore", "QtGui", "QtWidgets")


def order_bindings(major: int) -> tuple[str, ...]:
    """Returns the bindings in the order to try, for a major version of Nuke."""
    return ("PySide6", "PySide2") if major >= 16 else ("PySide2", "PySide6")


def load_binding(names: Sequence[str]) -> list[Any]:
    """Imports QtCore, QtGui and QtWidgets of the first available binding. Raises ImportError if there is none."""
    for name in names:
        try:
            return [importlib.import_module(f"{name}.{part}") for part in QT_MODULES]
        except ImportError:
            continue
    raise ImportError(f"none of {', '.join(names)} is installed")


QtCore, QtGui, QtWidgets = load_binding(order_bindings(int(nuke.NUKE_VERSION_MAJOR)))


def own_window(window: Any) -> Any:
    """Makes a widget a window that stays above Nuke's main window and closes with it; returns the widget."""
    main_window = QtWidgets.QApplication.activeWindow()
    window.setParent(main_window, QtCore.Qt.Window) if main_window is not None else window.setWindowFlags(
        QtCore.Qt.Window
    )
    window.setAttribute(QtCore.Qt.WA_DeleteOnClose)
    return window
