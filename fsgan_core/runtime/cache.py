"""What need not be done twice: digests that name a result, finished frames, and values kept in memory.

A key is the digest of everything that a result depends on. It holds between machines: it is made from the
contents of files, never from their dates or places.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
import struct
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from fsgan_core.contract.errors import FsganError, OutputError
from fsgan_core.runtime.atomic import make_folder

__all__ = [
    "ByteLRU",
    "NotCachedError",
    "compute_code_digest",
    "compute_digest",
    "get_cache_folder",
    "load_or_compute",
    "use_cache_only",
]

log = logging.getLogger(__name__)

CACHE_VARIABLE = "FSGAN_CACHE"
DIGEST_BYTES = 16

_is_cache_only: ContextVar[bool] = ContextVar("kept_alone", default=False)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def get_cache_folder() -> Path:
    """The folder for analysed tracks: $FSGAN_CACHE, else the user's cache folder. It need not exist yet."""
    given = os.environ.get(CACHE_VARIABLE, "")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("fsgan", appauthor=False))


def compute_digest(*parts: Any) -> str:
    """Hexadecimal digest of plain data (None, bool, int, float, str, bytes, lists, mappings, dataclasses, arrays,
    paths), equal on every machine. Kinds are told apart: 1, 1.0, True and "1" differ.

    Raises TypeError for anything else, so that nothing enters a key by its address.
    """
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        _feed_value(hashed.update, part)
    return hashed.hexdigest()


def _feed_value(update: Callable[[bytes], None], value: Any) -> None:
    if value is None:
        update(b"N;")
    elif isinstance(value, (bool, np.bool_)):
        update(b"T;" if value else b"F;")
    elif isinstance(value, (int, np.integer)):
        update(b"i%d;" % int(value))
    elif isinstance(value, (float, np.floating)):
        update(b"f" + struct.pack("<d", float(value)))
    elif isinstance(value, (str, Path)):
        text = str(value).encode("utf-8", "surrogateescape")
        update(b"s%d:" % len(text) + text)
    elif isinstance(value, (bytes, bytearray)):
        update(b"b%d:" % len(value) + bytes(value))
    elif isinstance(value, np.ndarray):
        update(b"a" + f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        update(b"d" + type(value).__name__.encode() + b":")
        _feed_value(update, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        update(b"m%d:" % len(value))
        for key in sorted(value, key=lambda key: (type(key).__name__, key)):
            _feed_value(update, key)
            _feed_value(update, value[key])
    elif isinstance(value, (list, tuple)):
        update(b"l%d:" % len(value))
        for item in value:
            _feed_value(update, item)
    else:
        raise TypeError(f"{type(value).__name__} cannot be part of a key")


@functools.cache
def compute_code_digest(parts: tuple[str, ...]) -> str:
    """Digest of the Python files of these packages of fsgan_core, and single files: the code version that enters
    keys."""
    root = Path(__file__).resolve().parent.parent
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        for path in [root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py")):
            hashed.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()


class NotCachedError(FsganError):
    """Something would have to be made that may not be made now."""


@contextmanager
def use_cache_only() -> Iterator[None]:
    """While the block runs, in its thread, `kept_file` makes nothing: NotKeptError."""
    token = _is_cache_only.set(True)
    try:
        yield
    finally:
        _is_cache_only.reset(token)


def load_or_compute(
    path: Path, compute: Callable[[], T], save: Callable[[Path, T], None], load: Callable[[Path], T]
) -> T:
    """`load(path)`; when that file is missing or broken its value is first computed and saved.

    What is returned was always read back from a file, so that a first run and a later one see the same value.
    `save` writes whole or not at all. Of processes on one machine that want the same file, one makes it and the
    others wait; where they cannot know of each other they do the work twice, and neither harms the other. A cache
    folder that cannot be written is said and done without.

    Raises whatever `compute` raises, and NotKeptError inside `kept_alone`.
    """
    found = _try_load(path, load)
    if found is not None:
        return found
    if _is_cache_only.get():
        raise NotCachedError(f"{path} was not made yet")
    with _hold_file_lock(path):
        found = _try_load(path, load)  # made by the process that was waited for
        if found is not None:
            return found
        value = compute()
        try:
            make_folder(path.parent)
            save(path, value)
            return load(path)
        except OutputError as error:
            log.warning("nothing is kept in the cache: %s", error)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / path.name, value)
        return load(Path(folder) / path.name)


def _try_load(path: Path, load: Callable[[Path], T]) -> T | None:
    if not path.is_file():
        return None
    try:
        return load(path)
    except (FsganError, OSError, ValueError) as error:
        log.warning("cached file %s is not usable and is made again: %s", path, error)
        return None


@contextmanager
def _hold_file_lock(path: Path) -> Iterator[None]:
    """Holds a lock beside `path` while the block runs, where the system has such locks; the death of its holder frees
    it. Nothing but saved work hangs on it."""
    try:
        import fcntl

        make_folder(path.parent)
        lock = path.with_suffix(".lock").open("w")
    except (ImportError, OSError, OutputError):
        yield
        return
    with lock:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("waiting for another process that makes %s", path)
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            log.debug("no lock beside %s: %s", path, error)
        yield
        with suppress(OSError):
            Path(lock.name).unlink()


class ByteLRU(Generic[K, T]):
    """Values by key, the ones used last kept, up to a number of bytes and of values. Safe to use from several threads.

    One value that alone is larger than the limit is handed out and not kept. While a value is made, other threads
    that want it wait for it.
    """

    def __init__(self, limit: int, size: Callable[[T], int], count: int | None = None) -> None:
        self._max_bytes = limit
        self._max_count = count
        self._measure_size = size
        self._values: OrderedDict[K, T] = OrderedDict()
        self._used_bytes = 0
        self._lock = threading.Lock()
        self._pending_locks: dict[K, threading.RLock] = {}

    @property
    def used_bytes(self) -> int:
        return self._used_bytes

    def get(self, key: K, make: Callable[[], T]) -> T:
        """The value of `key`, made when it is not held. What `make` raises is raised, and the next one tries again."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            making = self._pending_locks.setdefault(key, threading.RLock())
        with making:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            try:
                value = make()
                with self._lock:
                    self._store(key, value)
            finally:
                with self._lock:
                    self._pending_locks.pop(key, None)
            return value

    def _store(self, key: K, value: T) -> None:
        size = self._measure_size(value)
        if key in self._values or size > self._max_bytes:
            return
        self._values[key] = value
        self._used_bytes += size
        while self._used_bytes > self._max_bytes or (
            self._max_count is not None and len(self._values) > self._max_count
        ):
            _, dropped = self._values.popitem(last=False)
            self._used_bytes -= self._measure_size(dropped)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)
