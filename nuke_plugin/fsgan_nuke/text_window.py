"""A window with text to scroll and copy. It imports Qt; use `fsgan_nuke.host.show_text` to open it."""

from __future__ import annotations

from typing import Any, Dict

from fsgan_nuke.qt import QtGui, QtWidgets, own_window

_open_windows: Dict[str, Any] = {}


def show_text_window(title: str, text: str) -> Any:
    """Shows a text in a window and returns the window. A second text with the same title replaces the first."""
    window = QtWidgets.QWidget()
    window.setWindowTitle(title)
    window.resize(760, 560)
    text_box = QtWidgets.QPlainTextEdit(text)
    text_box.setReadOnly(True)
    text_box.setFont(QtGui.QFontDatabase.systemFont(QtGui.QFontDatabase.FixedFont))
    copy = QtWidgets.QPushButton("Copy")
    copy.clicked.connect(lambda *_: QtWidgets.QApplication.clipboard().setText(text))
    close = QtWidgets.QPushButton("Close")
    close.clicked.connect(lambda *_: window.close())
    row = QtWidgets.QHBoxLayout()
    row.addStretch(1)
    row.addWidget(copy)
    row.addWidget(close)
    layout = QtWidgets.QVBoxLayout(window)
    layout.addWidget(text_box, 1)
    layout.addLayout(row)
    own_window(window)
    old_window = _open_windows.get(title)
    _open_windows[title] = window
    if old_window is not None:
        old_window.close()
    window.show()
    return window
