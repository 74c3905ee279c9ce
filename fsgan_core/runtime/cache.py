"""Work that need not be done twice: digests that name a result, files in the cache folder, and values in memory.

A key is the digest of everything that a result depends on. It is the same on every machine, because it is made from the
contents of files and never from their dates or locations.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import logging
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from cachetools import LRUCache, cached

from fsgan_core.contract.errors import FsganError, OutputError
from fsgan_core.runtime.atomic import make_folder, write_atomically
from fsgan_core.runtime.locks import hold_file_lock
from fsgan_core.runtime.memory import register_cache
from fsgan_core.runtime.syntax import parse_syntax
from fsgan_core.runtime.user_paths import expand_home

__all__ = [
    "ByteLRU",
    "NotCachedError",
    "compute_code_digest",
    "compute_digest",
    "get_cache_folder",
    "is_cache_only",
    "load_or_compute",
    "seal_bytes",
    "unseal_bytes",
    "use_cache_only",
]

log = logging.getLogger(__name__)

CACHE_VARIABLE = "FSGAN_CACHE"
DIGEST_BYTES = 16
SUM_SUFFIX = ".sum"  # of the file that holds the checksum of a cached file
CODE_ROOT = Path(__file__).resolve().parent.parent

_is_cache_only: ContextVar[bool] = ContextVar("is_cache_only", default=False)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def get_cache_folder() -> Path:
    """The folder of the cache: $FSGAN_CACHE, else the user's cache folder. It may not exist.

    The user's own is made here, closed to other users, because it holds measurements and pictures of faces.
    """
    folder = os.environ.get(CACHE_VARIABLE, "")
    if folder:
        return expand_home(folder)
    import platformdirs

    own_folder = Path(platformdirs.user_cache_dir("fsgan", appauthor=False))
    with suppress(OSError):
        own_folder.mkdir(mode=0o700, parents=True)
    return own_folder


def compute_digest(*parts: Any) -> str:
    """Digests plain data, with the same result on every machine.

    Args:
        parts: None, bool, int, float, str, bytes, paths, arrays, dataclasses, and lists and mappings of these. Types
            matter: 1, 1.0, True and "1" have different digests.

    Returns:
        32 hexadecimal digits.

    Raises:
        TypeError: A value is of another type. It would enter the digest by its address in memory.

    >>> compute_digest("blend", {"mix": 1.0})
    'd8f799df5695e7b6cc59f819a5247f4c'
    >>> compute_digest({"a": 1, "b": 2}) == compute_digest({"b": 2, "a": 1})
    True
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
    """Digests Python code of fsgan_core: the code version that enters keys.

    Comments, docstrings and formatting do not count; every change of the syntax tree does.

    Args:
        parts: Packages and files below fsgan_core, such as ("stages", "render/frames.py").

    Returns:
        32 hexadecimal digits.
    """
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        path = CODE_ROOT / part
        for file in [path] if part.endswith(".py") else sorted(path.rglob("*.py")):
            hashed.update(file.relative_to(CODE_ROOT).as_posix().encode() + b"\0" + _digest_code_file(file) + b"\0")
    return hashed.hexdigest()


@functools.cache
def _digest_code_file(path: Path) -> bytes:
    words: list[str] = []
    _list_syntax(parse_syntax(path.read_bytes()), words)
    return hashlib.blake2b("\n".join(words).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def _list_syntax(node: Any, words: list[str]) -> None:
    """Appends a syntax tree as words, without docstrings.

    Unlike `ast.dump`, absent and empty fields are left out, so that a newer Python with more fields gives the same.
    """
    if isinstance(node, ast.AST):
        words.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != [] and name != "ctx":
                words.append(name)
                _list_syntax(value, words)
        words.append(")")
    elif isinstance(node, list):
        words.append("[")
        for item in node:
            if not _is_docstring(item):
                _list_syntax(item, words)
        words.append("]")
    else:
        words.append(repr(node))


def _is_docstring(node: Any) -> bool:
    """Whether a statement is only a text: a docstring, or the description of a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


register_cache(compute_code_digest.cache_clear)
register_cache(_digest_code_file.cache_clear)


class NotCachedError(FsganError):
    """A value is not in the cache, inside `use_cache_only`."""


@contextmanager
def use_cache_only() -> Iterator[None]:
    """Lets `load_or_compute` only load while the block runs, in this thread; it raises NotCachedError otherwise."""
    token = _is_cache_only.set(True)
    try:
        yield
    finally:
        _is_cache_only.reset(token)


def is_cache_only() -> bool:
    """Whether this runs inside `use_cache_only`, where nothing may be computed and no pixels are read."""
    return _is_cache_only.get()


def load_or_compute(
    path: Path, compute: Callable[[], T], save: Callable[[Path, T], None], load: Callable[[Path], T]
) -> T:
    """Loads a file of the cache; if it is missing or broken, computes its value and saves it first.

    A checksum of the whole file is kept beside it, so that a file with a changed byte counts as broken.
    The result always comes from `load`, so that a first run and a later one return the same value. If several processes
    on one machine need the same file, one computes it and the others wait. Processes on different machines may compute
    it twice, which does no harm. If the cache is not writable, log a warning and compute anyway.

    Args:
        path: The file.
        compute: Computes the value.
        save: Writes the value to a path, completely or not at all.
        load: Reads it back. Raises FsganError, OSError or ValueError for a broken file.

    Raises:
        NotCachedError: The file is missing or broken, inside `use_cache_only`.
    """
    found = _try_load(path, load)
    if found is not None:
        return found
    if _is_cache_only.get():
        raise NotCachedError(f"{path} is not in the cache yet")
    with hold_file_lock(path.with_suffix(".lock")):
        found = _try_load(path, load)  # the process that held the lock may have made it
        if found is not None:
            return found
        value = compute()
        try:
            make_folder(path.parent)
            save(path, value)
            _write_sum(path)
            return load(path)
        except OutputError as error:
            log.warning("the result is not kept in the cache: %s", error)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / path.name, value)
        return load(Path(folder) / path.name)


def _try_load(path: Path, load: Callable[[Path], T]) -> T | None:
    """Loads a file if it is there and every byte is as it was written."""
    if not path.is_file():
        return None
    try:
        recorded = _make_sum_path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None  # it is being written, or its writer was killed
    try:
        if _compute_sum(path) != recorded:
            raise ValueError("its content is not what was written")
        return load(path)
    except (FsganError, OSError, ValueError) as error:
        log.warning("the cached file %s cannot be used and is made again: %s", path, error)
        return None


def _make_sum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}{SUM_SUFFIX}")


def _compute_sum(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=DIGEST_BYTES).hexdigest()


def _write_sum(path: Path) -> None:
    with write_atomically(_make_sum_path(path)) as temporary:
        temporary.write_text(f"{_compute_sum(path)}\n", encoding="ascii")


def seal_bytes(content: bytes) -> bytes:
    """Appends a digest to the content of a small file, for `unseal_bytes`."""
    return content + hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def unseal_bytes(sealed: bytes) -> bytes:
    """Removes the digest that `seal_bytes` appended.

    Raises:
        ValueError: A byte is not as it was written.

    >>> unseal_bytes(seal_bytes(b"content"))
    b'content'
    """
    content = sealed[:-DIGEST_BYTES]
    if seal_bytes(content) != sealed:
        raise ValueError("the content is not what was written")
    return content


class _BoundedCache(LRUCache[K, T]):
    """Limited in bytes and in the number of values."""

    def __init__(self, max_bytes: int, measure_size: Callable[[T], int], max_count: int | None) -> None:
        super().__init__(max_bytes, measure_size)
        self._max_count = max_count

    def __setitem__(self, key: K, value: T) -> None:
        super().__setitem__(key, value)
        while self._max_count is not None and len(self) > self._max_count:
            self.popitem()


class ByteLRU(Generic[K, T]):
    """Keeps the most recently used values in memory, up to a number of bytes and of values.

    Safe to use from several threads: while one computes a value, others that need it wait. A value larger than the
    limit is returned but not kept.

    Args:
        limit: Most bytes to keep.
        size: Gives the bytes of a value.
        count: Most values to keep; None is no limit.

    >>> cache = ByteLRU(limit=10, size=len)
    >>> cache.get("a", lambda: "text"), cache.get("a", lambda: "other")
    ('text', 'text')
    >>> cache.used_bytes
    4
    """

    def __init__(self, limit: int, size: Callable[[T], int], count: int | None = None) -> None:
        self._values: _BoundedCache[K, T] = _BoundedCache(limit, size, count)
        self._get = cached(self._values, key=lambda key, make: key, condition=threading.Condition())(
            lambda key, make: make()
        )

    @property
    def used_bytes(self) -> int:
        """Bytes of the values that are kept."""
        return int(self._values.currsize)

    def get(self, key: K, make: Callable[[], T]) -> T:
        """Returns the value of `key`, and makes it if it is not kept.

        Args:
            key: Names the value.
            make: Makes it; must not ask for the same key. What it raises is raised here, and the next caller tries
                again.
        """
        result: T = self._get(key, make)
        return result

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)
