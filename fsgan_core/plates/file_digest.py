"""Digests of files, so that two files with the same content count as the same input."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections import OrderedDict
from pathlib import Path

from fsgan_core.contract.errors import PlateError
from fsgan_core.runtime.memory import register_cache

# (path, size, time, inode) -> digest, so that a second render in this process does not read all files again.
_digests: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()
_MAX_DIGESTS = 100_000
_digest_lock = threading.Lock()

register_cache(_digests.clear)


def get_content_digest(path: Path) -> str:
    """Gives the digest of a file, cached until its size, time or inode changes. Raises PlateError."""
    try:
        state = path.stat()
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(state.st_mode):
        raise PlateError(f"{path} is not a plain file")
    key = (str(path), state.st_size, state.st_mtime_ns, state.st_ino)
    with _digest_lock:
        known = _digests.get(key)
    if known is None:
        known = compute_file_digest(path)
        with _digest_lock:
            _digests[key] = known
            while len(_digests) > _MAX_DIGESTS:
                _digests.popitem(last=False)
    return known


def compute_file_digest(path: Path) -> str:
    """Computes the BLAKE2b digest of a file, 32 hexadecimal digits. Raises PlateError."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
