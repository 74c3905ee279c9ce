"""The host's own Qt: PySide6 from Nuke 16 on, PySide2 before. Imported only where a window is opened; raises
ImportError where there is neither."""

from __future__ import annotations

import importlib
from typing import Any, Sequence

import nuke

PARTS = ("QtCore", "QtGui", "QtWidgets")


def bindings(major: int) -> tuple[str, ...]:
    """In which order they are looked for in a version of the host."""
    return ("PySide6", "PySide2") if major >= 16 else ("PySide2", "PySide6")


def load(names: Sequence[str]) -> list[Any]:
    """QtCore, QtGui and QtWidgets of the first binding that is there. Raises ImportError."""
    for name in names:
        try:
            return [importlib.import_module(f"{name}.{part}") for part in PARTS]
        except ImportError:
            continue
    raise ImportError(f"none of {', '.join(names)} is there")


QtCore, QtGui, QtWidgets = load(bindings(int(nuke.NUKE_VERSION_MAJOR)))


def own(window: Any) -> Any:
    """Makes a widget a window that stays above the host's and goes with it; the widget."""
    above = QtWidgets.QApplication.activeWindow()
    window.setParent(above, QtCore.Qt.Window) if above is not None else window.setWindowFlags(QtCore.Qt.Window)
    window.setAttribute(QtCore.Qt.WA_DeleteOnClose)
    return window
