"""Turns errors that nobody foresaw into one line for the person and a log file for us."""

from __future__ import annotations

import contextlib
import errno
import platform
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from fsgan_core.contract.errors import FsganError, InputError, InternalError, MachineError
from fsgan_core.contract.version import __version__

__all__ = ["explain_exception", "print_error", "write_fault_log"]

FAULTS_FOLDER = "faults"  # in the cache folder, or else in the system's folder of temporary files

# Errors of the system that mean a wrong path; all others mean a problem of this machine.
PATH_ERRORS = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EEXIST,
)
# What libraries say if there is no memory, in errors of other kinds than MemoryError.
MEMORY_MESSAGES = ("can't allocate memory", "insufficient memory", "bad_alloc", "out of memory", "start new thread")


def explain_exception(error: BaseException, arguments: Sequence[str]) -> FsganError:
    """Converts any error to one that can be shown.

    Args:
        error: The error.
        arguments: The command's arguments, or what else says what was done, for the log.
    """
    if isinstance(error, FsganError):
        return error
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in MEMORY_MESSAGES):
        return MachineError("this machine does not have enough memory for the job")
    if isinstance(error, OSError) and error.errno is not None:
        subject = f"{error.filename}: " if error.filename is not None else ""
        kind = InputError if error.errno in PATH_ERRORS else MachineError
        return kind(f"{subject}{error.strerror or text}")
    if isinstance(error, UnicodeEncodeError):
        return InputError(f"the name {error.object[:200]} is not UTF-8; rename the file or folder")
    log = write_fault_log(error, arguments)
    where = f"the details are in {log}; please report it with that file" if log else "no log could be written"
    first_line = (text.strip() or "without a message").splitlines()[0]
    return InternalError(f"internal error, {type(error).__name__}: {first_line} ({where})")


def write_fault_log(error: BaseException, arguments: Sequence[str]) -> Path | None:
    """Writes the details of an error to a new file, and returns its path; None if no file can be written."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.log"
    text = "\n".join(
        [
            f"fsgan {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"arguments: {list(arguments)!r}",
            "".join(traceback.format_exception(error)),
        ]
    )
    for folder in (_find_faults_folder(), Path(tempfile.gettempdir()) / "fsgan"):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return path
    return None


def _find_faults_folder() -> Path:
    try:
        from fsgan_core.runtime.cache import get_cache_folder

        return get_cache_folder() / FAULTS_FOLDER
    except Exception:  # whatever broke the command may break this, too
        return Path(tempfile.gettempdir()) / f"fsgan-{FAULTS_FOLDER}"


def print_error(text: str) -> None:
    """Prints an error on standard error, if there still is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # full, closed, or none at all
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
