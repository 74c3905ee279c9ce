"""SHA-256 of weights files: computed once per state of a file, recorded beside it in the form of sha256sum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
from pathlib import Path

from fsgan_core.contract.errors import OutputError, WeightsError
from fsgan_core.runtime.atomic import atomic_file

__all__ = ["file_digest", "record_digest", "record_path", "recorded_digest"]

log = logging.getLogger(__name__)

_RECORD = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_lock = threading.Lock()
_known: dict[str, tuple[tuple[int, ...], str]] = {}


def file_digest(path: Path, *, again: bool = False) -> str:
    """Hexadecimal SHA-256 of the file at `path`.

    What was computed is kept by path, size and dates, in this process and (where it can be written) in a small file in
    the user's cache folder. again: reads the file whatever is kept. Raises WeightsError when it cannot be read.
    """
    key = str(path.absolute())
    try:
        state = _state(path)
        if not again:
            kept = _known.get(key) or _kept().get(key)
            if kept is not None and kept[0] == state:
                _known[key] = kept
                return kept[1]
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if _state(path) != state:
            raise WeightsError(f"{path}: the file changed while it was read; try again when the copy is done")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    _known[key] = (state, digest)
    _keep()
    return digest


def _state(path: Path) -> tuple[int, ...]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _store() -> Path:
    given = os.environ.get("FSGAN_CACHE", "")
    if given:
        return Path(given).expanduser() / "weights.json"
    import platformdirs

    return Path(platformdirs.user_cache_dir("fsgan", appauthor=False)) / "weights.json"


def _kept() -> dict[str, tuple[tuple[int, ...], str]]:
    try:
        found = json.loads(_store().read_text("utf-8"))
        return {path: (tuple(state), str(digest)) for path, (state, digest) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep() -> None:
    """Nothing hangs on it: without a cache that can be written every process computes anew."""
    with _lock:
        kept = {path: entry for path, entry in {**_kept(), **_known}.items() if Path(path).exists()}
        text = json.dumps(kept, indent=1)
        try:
            with atomic_file(_store()) as temporary:
                temporary.write_text(text, "utf-8")
        except OutputError as error:
            log.debug("digests are not kept: %s", error)


def record_path(path: Path) -> Path:
    """Where the digest of `path` is recorded: beside it, readable by `sha256sum --check`."""
    return path.with_name(path.name + ".sha256")


def record_digest(path: Path) -> str:
    """Writes down what `path` is now; the digest. Raises OutputError."""
    digest = file_digest(path, again=True)
    with atomic_file(record_path(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", "utf-8")
    return digest


def recorded_digest(path: Path) -> str:
    """What was written down for `path`, "" without that."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = _RECORD.match(record_path(path).read_text("utf-8"))
        if found:
            return found.group(1)
    return ""
