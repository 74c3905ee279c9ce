"""Paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path

from fsgan_core.contract.errors import InputError

__all__ = ["check_encoding", "expand_home", "is_plain_file", "resolve_links"]


def expand_home(path: Path | str) -> Path:
    """Replaces "~" and "~name" at the start of a path by the user's home folder.

    Raises:
        InputError: There is no such user, or the path has a character that no path can have.
    """
    if "\0" in os.fspath(path):
        raise InputError(f"the path {path!r} has a zero byte")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no such user; write ./{path} if it is a file's name") from error


def check_encoding(path: Path | str) -> None:
    """Checks that a path is UTF-8, as the libraries that read and write pictures require.

    Raises:
        InputError: It is not.
    """
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"the name {path} is not UTF-8; rename the file or folder") from error


def is_plain_file(path: Path | str) -> bool:
    """Says whether there is a plain file, or a link to one. `Path.is_file` raises an error for a name that is too long.

    >>> is_plain_file("a" * 5000)
    False
    """
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def resolve_links(path: Path) -> Path:
    """Follows symbolic links; where they lead in a circle, returns the absolute path.

    `Path.resolve` raises an error for such a circle, also if nothing is to be read there.
    """
    try:
        return path.resolve()
    except (RuntimeError, OSError):
        return path.absolute()
