"""Reads text files that a stranger may have made."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["MAX_TEXT_BYTES", "read_text_file"]

MAX_TEXT_BYTES = 1 << 30  # the track of a long clip has some hundred MB


def read_text_file(path: Path, max_bytes: int = MAX_TEXT_BYTES, errors: str = "strict") -> str:
    """Reads a UTF-8 file, if it is a plain file (a pipe or a device could keep us waiting) and not too large.

    Raises:
        OSError: The file is missing or not readable, no plain file, or larger than `max_bytes`.
        UnicodeDecodeError: It is not UTF-8, and `errors` is "strict".
    """
    # Opened without waiting, because opening a pipe blocks until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as stream:  # noqa: PTH123 - a descriptor
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file", str(path))
        if facts.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"it is larger than {max_bytes >> 20} MiB", str(path))
        return stream.read(max_bytes + 1).decode("utf-8", errors)
