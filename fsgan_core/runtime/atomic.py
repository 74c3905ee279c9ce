"""Writes a file completely or not at all: under a temporary name beside the final one, synced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fsgan_core.contract.errors import OutputError

_temporary_numbers = itertools.count()


@contextlib.contextmanager
def write_atomically(path: Path | str) -> Iterator[Path]:
    """Gives a temporary path to write to; the file gets its final name when the block ends without an error.

    The folder is made if necessary. After an error the temporary file is removed and the file that was at `path` before
    is unchanged.

    Args:
        path: The final file.

    Raises:
        OutputError: The disk is full or read-only, or the path is not possible.
    """
    path = Path(path)
    make_folder(path.parent)
    _remove_abandoned_files(path)
    temporary = path.parent / f".{path.name}.{_get_host_name()}.{os.getpid()}.{next(_temporary_numbers)}.tmp"
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        temporary.touch()
        yield temporary
        _sync_to_disk(temporary)
        temporary.replace(path)
        _sync_to_disk(path.parent)
    except OSError as error:
        raise OutputError(explain_os_error(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Makes `folder` and its parents if necessary. Raises OutputError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"cannot write into {folder}: part of the path is a file, not a folder") from error
    except OSError as error:
        raise OutputError(explain_os_error(folder, error)) from error


def explain_os_error(path: Path, error: OSError) -> str:
    """Describes why `path` could not be written, and what to do."""
    reasons = {
        errno.ENOSPC: "the disk is full; free some space or write elsewhere",
        errno.EDQUOT: "your disk quota is used up; free some space or write elsewhere",
        errno.EROFS: "the disk is read-only; write elsewhere",
        errno.EACCES: "no permission; change the folder's permissions or write elsewhere",
        errno.EPERM: "no permission; change the folder's permissions or write elsewhere",
        errno.ENAMETOOLONG: "the name is too long",
    }
    return f"cannot write {path}: {reasons.get(error.errno or 0, error.strerror or str(error))}"


def _sync_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync folders; a full disk must still raise.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _remove_abandoned_files(path: Path) -> None:
    """Removes temporary files of `path` that a killed process of this machine left behind."""
    pattern = re.compile(re.escape(f".{path.name}.{_get_host_name()}.") + r"(\d+)\.\d+(\.raw)?\.tmp")
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            found = pattern.fullmatch(entry.name)
            if found and not _is_process_alive(int(found.group(1))):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _is_process_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _get_host_name() -> str:
    return re.sub(r"\W+", "-", socket.gethostname())[:40] or "host"


def probe_folder(folder: Path) -> None:
    """Checks that files can be written into `folder`, and makes it if necessary. Raises OutputError if not."""
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise OutputError(explain_os_error(folder, error)) from error
