"""One process at a time: a lock file that frees itself when its holder dies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fsgan_core.contract.errors import OutputError
from fsgan_core.runtime.atomic import make_folder

__all__ = ["FileLockedError", "hold_file_lock"]

log = logging.getLogger(__name__)


class FileLockedError(Exception):
    """Another process or thread holds the lock."""


@contextmanager
def hold_file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a lock while the block runs, against other processes on this machine and other threads of this one.

    Where the folder is not writable or the file system has no locks, the block runs without one; so use it only to
    save work, never to protect data. The lock file is removed at the end.

    Args:
        path: The lock file, used for nothing else. Its folder is made if necessary.
        wait: Wait for another holder. The same thread must not take a lock twice.

    Raises:
        FileLockedError: `wait` is False and the lock is held elsewhere.
    """
    import filelock

    # A soft lock would be a marker file that stays when its holder is killed.
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        make_folder(path.parent)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            if not wait:
                raise FileLockedError(f"{path} is held by another process") from error
            log.info("waiting for another process that holds %s", path)
            lock.acquire()
    except (OSError, OutputError) as error:
        log.debug("continuing without the lock %s: %s", path, error)
        yield
        return
    try:
        yield
    finally:
        # Remove the file while it is locked: whoever waits then sees that its file is gone, and makes a new one.
        with suppress(OSError):
            path.unlink()
        with suppress(OSError):
            lock.release()
