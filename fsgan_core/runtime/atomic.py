"""Writes a file completely or not at all: under a temporary name beside the final one, synced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fsgan_core.contract.errors import InputError, OutputError

# Seconds without a change after which a temporary file of another machine counts as left behind.
ABANDONED_SECONDS = 24 * 3600


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
    temporary = name_temporary_file(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        temporary.touch(exist_ok=False)
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


def name_temporary_file(path: Path) -> Path:
    """Names a temporary file beside `path`, unlike that of any other process on any machine.

    The name holds who writes (`_describe_process_space`, process number), so that a file of a killed process is known.
    """
    space, token = _describe_process_space(), secrets.token_hex(8)
    return path.with_name(f".{path.name}.{space}.{os.getpid()}.{token}.tmp")


def _remove_abandoned_files(path: Path) -> None:
    """Removes temporary files of `path` that a killed process left behind.

    Whether a process lives is known only for those that share their numbers with this one. Files of other machines and
    containers are removed once nothing has been written to them for a day.
    """
    pattern = re.compile(re.escape(f".{path.name}.") + r"([0-9a-f]{12})\.(\d{1,10})\.[0-9a-f]{16}(\.raw)?\.tmp")
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            found = pattern.fullmatch(entry.name)
            if found is None:
                continue
            with contextlib.suppress(OSError):
                if found[1] == _describe_process_space():
                    is_abandoned = not _is_process_alive(int(found[2]))
                else:
                    is_abandoned = time.time() - entry.stat().st_mtime > ABANDONED_SECONDS
                if is_abandoned:
                    Path(entry.path).unlink()


def _is_process_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@functools.cache
def _describe_process_space() -> str:
    """Digests where process numbers are unique: machine, start of the machine, and container (PID namespace)."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - not a path
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def check_output_folder(folder: Path) -> None:
    """Checks a folder that the user named for a result, before the work begins, and makes it if necessary.

    Raises:
        InputError: Part of the path is a file.
        OutputError: The folder is not writable.
    """
    try:
        probe_folder(folder)
    except OutputError as error:
        if isinstance(error.__cause__, (FileExistsError, NotADirectoryError)):
            raise InputError(str(error)) from error
        raise


def probe_folder(folder: Path) -> None:
    """Checks that files can be written into `folder`, and makes it if necessary. Raises OutputError if not."""
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise OutputError(explain_os_error(folder, error)) from error
