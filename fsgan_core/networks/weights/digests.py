"""SHA-256 digests of weights files: computed once per state of a file, recorded beside it in sha256sum's format."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import threading
from pathlib import Path

from fsgan_core.contract.errors import OutputError, WeightsError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.cache import get_cache_folder, seal_bytes, unseal_bytes
from fsgan_core.runtime.memory import register_cache

__all__ = ["digest_weights_file", "make_record_path", "read_recorded_digest", "record_digest"]

log = logging.getLogger(__name__)

_RECORD_PATTERN = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_store_lock = threading.Lock()
_known_digests: dict[str, tuple[tuple[int, ...], str]] = {}  # path -> state of the file, digest
register_cache(_known_digests.clear)


def digest_weights_file(path: Path, *, again: bool = False) -> str:
    """Computes the SHA-256 of a file, as hexadecimal text.

    Digests are kept by path, size and dates, in this process and in a small file in the user's cache folder (if that is
    writable).

    Args:
        path: The file.
        again: Whether to read the file even if its digest is known.

    Raises:
        WeightsError: The file cannot be read, or changed while it was read.
    """
    key = str(path.absolute())
    try:
        state = _read_file_state(path)
        if not again:
            kept = _known_digests.get(key) or _read_store().get(key)
            if kept is not None and kept[0] == state:
                _known_digests[key] = kept
                return kept[1]
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if _read_file_state(path) != state:
            raise WeightsError(f"{path}: the file changed while it was read; try again when the copy is done")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    _known_digests[key] = (state, digest)
    _write_store()
    return digest


def _read_file_state(path: Path) -> tuple[int, ...]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _find_store() -> Path:
    return get_cache_folder() / "weights.digests"


def _read_store() -> dict[str, tuple[tuple[int, ...], str]]:
    try:
        entries = parse_json(unseal_bytes(_find_store().read_bytes()).decode())
        return {path: (tuple(state), str(digest)) for path, (state, digest) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_store() -> None:
    """Saves the known digests. If the cache is not writable, every process computes them again."""
    with _store_lock:
        entries = {path: entry for path, entry in {**_read_store(), **_known_digests}.items() if Path(path).exists()}
        text = json.dumps(entries, indent=1)
        try:
            with write_atomically(_find_store()) as temporary:
                temporary.write_bytes(seal_bytes(text.encode()))
        except OutputError as error:
            log.debug("digests are not kept: %s", error)


def make_record_path(path: Path) -> Path:
    """Returns the file that records the digest of `path`: beside it, readable by `sha256sum --check`."""
    return path.with_name(path.name + ".sha256")


def record_digest(path: Path) -> str:
    """Computes the digest of a file and records it beside the file.

    Raises:
        WeightsError: The file cannot be read.
        OutputError: The record cannot be written.
    """
    digest = digest_weights_file(path, again=True)
    with write_atomically(make_record_path(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", "utf-8")
    return digest


def read_recorded_digest(path: Path) -> str:
    """Reads the recorded digest of a file; "" if there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = _RECORD_PATTERN.match(make_record_path(path).read_text("utf-8"))
        if found:
            return found.group(1)
    return ""
