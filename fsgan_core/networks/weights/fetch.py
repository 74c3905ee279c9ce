"""A file from an address, whole and verified: goes on where it was cut off, and never trusts what it is given.

Nothing is fetched unless a person asks for it (`fsgan weights fetch`); a render never does. HTTPS alone, but for this
very machine. What arrives is kept beside the final name until its digest is right.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests

from fsgan_core.contract.errors import MachineError, OutputError, WeightsError
from fsgan_core.networks.weights.catalogue import WEIGHTS_SUFFIX, WeightsInfo
from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest
from fsgan_core.networks.weights.download_page import DownloadPage
from fsgan_core.networks.weights.importing import ORIGIN_KEY, ImportResult, import_weights
from fsgan_core.networks.weights.pickle_scan import FILE_LIMIT
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from fsgan_core.runtime.atomic import explain_os_error, make_folder
from fsgan_core.runtime.locks import FileLockedError, hold_file_lock

__all__ = ["RetryPolicy", "download", "fetch_weights"]

log = logging.getLogger(__name__)

# So much at most is lost where a connection breaks.
BLOCK_SIZE = 1 << 14
MAX_REDIRECTS = 8
# Bytes that an attempt must bring for the patience to begin anew.
PROGRESS_BYTES = 1 << 20
# What a server says when it is worth asking again.
RETRY_STATUSES = (408, 425, 429, 500, 502, 503, 504)
RETRY_AFTER_LIMIT = 60.0

DownloadProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class RetryPolicy:
    """attempts: in a row that bring next to nothing. connect, read: seconds until a silent server is given up. pause:
    seconds before the second attempt, doubled for each further one."""

    attempts: int = 5
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    pause: float = 1.0


class _RetryError(Exception):
    """Worth another attempt. after: seconds that the server asked to be left alone."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


def download(
    url: str,
    path: Path,
    *,
    sha256: str = "",
    retries: RetryPolicy | None = None,
    on_progress: DownloadProgress = lambda done, total: None,
) -> str:
    """Fetches `url` to `path`; the SHA-256 of what arrived.

    sha256: what it must be; "" takes whatever arrives. tell: called with bytes that are here and in all (0: not known).
    What an earlier, broken attempt left (`path`.part) is gone on with. Raises WeightsError (wrong address, not a file,
    wrong digest), MachineError (no connection) and OutputError (disk).
    """
    retries = retries or RetryPolicy()
    _check_address(url, None)
    make_folder(path.parent)
    part = _PartialFile(path)
    try:
        try:
            with _lock_part(part), _open_session(url) as session:
                _fetch_with_retries(session, url, part, retries, on_progress)
        finally:
            part.tidy()
        digest = part.compute_digest()
        if sha256 and digest != sha256:
            part.remove()
            raise WeightsError(
                f"{url}: what arrived is not the file that is known (SHA-256 {digest}, should be "
                f"{sha256}); it was thrown away. Fetch it once more; if it happens again, the file at "
                "that address was changed: do not use it"
            )
        part.finish()
    except OSError as error:
        raise OutputError(explain_os_error(path, error)) from error
    return digest


def fetch_weights(
    info: WeightsInfo,
    folder: Path,
    *,
    url: str = "",
    licence: str = "",
    retries: RetryPolicy | None = None,
    on_progress: DownloadProgress = lambda done, total: None,
) -> ImportResult:
    """Fetches published weights and brings them into `folder`; nothing is done where they are there and sound.

    url: fetch from there in place of the catalogue's address. What arrives must be what the catalogue knows or, where
    it knows no sum, what came the first time. Raises WeightsError, MachineError, OutputError.
    """
    source = url or info.source
    if not source:
        raise WeightsError(
            f"{info.name}: no address of it is known; get {info.file or 'the file'} by hand and "
            "bring it in with: fsgan weights import FILE"
        )
    if not info.arch:
        raise WeightsError(f"{info.name}: {info.note}")
    there = folder / f"{info.name}{WEIGHTS_SUFFIX}"
    before = ""
    with suppress(WeightsError):  # what is broken is fetched anew
        digest = digest_weights_file(there, again=True)
        if digest == read_recorded_digest(there) and not licence:
            return ImportResult(there, "kept", info, there, digest, f"{there} is there and sound")
        before = read_safetensors_header(there).metadata.get(ORIGIN_KEY, "")
    # Out of the way of what looks for weights.
    raw = folder / ".fetched" / (info.file or info.name)
    try:
        arrived = download(source, raw, sha256=info.sha256 or before, retries=retries, on_progress=on_progress)
        try:
            brought = import_weights(raw, folder, name=info.name, licence=licence)
        finally:
            raw.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # what can be gone on with keeps it
            raw.parent.rmdir()
    if brought.state == "refused":
        raise WeightsError(f"{source}: {brought.message}")
    known = "as known" if info.sha256 or before else "recorded at this first use, no sum is published"
    said = f"SHA-256 of the published file: {arrived} ({known})"
    return replace(brought, message=f"{said}; {brought.message}" if brought.message else said)


@dataclass
class _PartialFile:
    """What has arrived so far, and a note of where it is from."""

    path: Path
    file: Path = field(init=False)
    note: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.path.with_name(self.path.name + ".part")
        self.note = self.path.with_name(self.path.name + ".part.json")

    def count_bytes(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    def read_facts(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads(self.note.read_text("utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    def write_facts(self, facts: dict[str, Any]) -> None:
        self.note.write_text(json.dumps(facts), "utf-8")

    def compute_digest(self) -> str:
        with self.file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def clear(self) -> None:
        os.truncate(self.file, 0)

    def tidy(self) -> None:
        """Nothing stays of an attempt that brought nothing."""
        if not self.count_bytes():
            self.remove()

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self) -> None:
        with self.file.open("rb") as stream:
            os.fsync(stream.fileno())
        self.file.replace(self.path)
        self.note.unlink(missing_ok=True)


@contextmanager
def _lock_part(part: _PartialFile) -> Iterator[None]:
    """Lets one process of a machine write a part. Raises WeightsError if another one does."""
    try:
        with hold_file_lock(part.file.with_name(part.file.name + ".lock"), wait=False):
            yield
    except FileLockedError as error:
        raise WeightsError(f"{part.path.name} is being fetched by another process already") from error


@contextmanager
def _open_session(url: str) -> Iterator[requests.Session]:
    with requests.Session() as session:
        # Sizes and ranges are of the file itself, not of a compressed form.
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": "fsgan"})
        session.trust_env = not _is_loopback(url)
        yield session


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_address(url: str, before: str | None) -> None:
    """HTTPS; this machine itself may be asked by HTTP, but nobody may send us there. Raises WeightsError."""
    try:
        scheme, here = urlsplit(url).scheme, _is_loopback(url)
    except ValueError as error:
        raise WeightsError(f"{url}: not an address ({error})") from error
    if here and (before is None or _is_loopback(before)) and scheme in ("http", "https"):
        return
    if not here and scheme == "https":
        return
    came = f" (sent there by {before})" if before else ""
    raise WeightsError(
        f"{url}{came}: weights are fetched by https alone; fetch the file by hand and bring it in with: "
        "fsgan weights import FILE"
    )


def _fetch_with_retries(
    session: requests.Session, url: str, part: _PartialFile, retries: RetryPolicy, on_progress: DownloadProgress
) -> None:
    failures = 0
    while True:
        before = part.count_bytes()
        try:
            _attempt_fetch(session, url, part, retries, on_progress)
            return
        except (
            _RetryError,
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            if isinstance(error, requests.exceptions.SSLError):
                raise WeightsError(
                    f"{url}: the server's certificate is not trusted ({error}); a studio's own "
                    "authority is named by REQUESTS_CA_BUNDLE"
                ) from error
            failures = 1 if part.count_bytes() - before >= PROGRESS_BYTES else failures + 1
            if failures >= retries.attempts:
                kept = (
                    f"{part.count_bytes()} bytes are kept, the same command goes on from there"
                    if part.count_bytes()
                    else ("nothing has arrived")
                )
                raise MachineError(
                    f"{url}: given up after {failures} attempts ({_explain_error(error)}); {kept}. Without a "
                    "network: copy the file here and run: fsgan weights import FILE"
                ) from error
            pause = max(retries.pause * 2 ** (failures - 1), getattr(error, "after", 0.0))
            log.info("%s: %s; once more in %.0f s", url, _explain_error(error), pause)
            time.sleep(pause)
        except requests.RequestException as error:
            raise WeightsError(f"{url}: cannot be fetched ({_explain_error(error)})") from error


def _explain_error(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "cut off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


def _attempt_fetch(
    session: requests.Session, url: str, part: _PartialFile, retries: RetryPolicy, on_progress: DownloadProgress
) -> None:
    facts = part.read_facts()
    have = part.count_bytes() if facts.get("url") == url else 0
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if facts.get("validator"):
            headers["If-Range"] = facts["validator"]
    with _request_file(session, url, headers, retries) as answer:
        status = answer.status_code
        if status == 416 and have:
            if _parse_content_range(answer)[1] == have:
                return
            part.clear()
            raise _RetryError("the file changed on the server")
        _check_status(url, answer)
        begin, total = _parse_content_range(answer)
        if status != 206:
            begin, total = 0, _parse_number(answer.headers.get("Content-Length", ""))
        if begin != have or (begin and facts.get("total") and total != facts["total"]):
            # It is not what we have the beginning of: from the start.
            begin = 0
            if status == 206:
                part.clear()
                raise _RetryError("the file changed on the server")
        _check_disk_space(part, begin, total)
        part.write_facts({"url": url, "total": total, "validator": _read_validator(answer)})
        with part.file.open("r+b" if begin else "wb") as stream:
            stream.seek(begin)
            _receive_body(answer, stream, begin, total, on_progress)


def _request_file(
    session: requests.Session, url: str, headers: dict[str, str], retries: RetryPolicy
) -> requests.Response:
    """The answer that holds the file: redirects are followed, and a page that asks for confirmation is confirmed."""
    confirmed = False
    at = url
    for _ in range(MAX_REDIRECTS):
        answer = session.get(
            at,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(retries.connect_timeout, retries.read_timeout),
        )
        if answer.is_redirect:
            target = urljoin(at, answer.headers["Location"])
        elif answer.ok and "text/html" in answer.headers.get("Content-Type", ""):
            page = DownloadPage.read(answer.iter_content(BLOCK_SIZE))
            if confirmed or not page.confirmation:
                answer.close()
                raise WeightsError(
                    f"{url}: the address answers with a page{page.format_title()}, not with a file; it may "
                    "want a sign-in, or too many have asked today. Get the file with a browser and "
                    "bring it in with: fsgan weights import FILE"
                )
            target, confirmed = urljoin(at, page.confirmation), True
        else:
            return answer
        answer.close()
        _check_address(target, at)
        at = target
    raise WeightsError(f"{url}: redirected more than {MAX_REDIRECTS} times")


def _check_status(url: str, answer: requests.Response) -> None:
    status = answer.status_code
    if status in RETRY_STATUSES:
        try:
            after = min(float(answer.headers.get("Retry-After", 0)), RETRY_AFTER_LIMIT)
        except ValueError:
            after = 0.0
        raise _RetryError(f"the server says {status} {answer.reason}", after)
    if status not in (200, 206):
        raise WeightsError(
            f"{url}: the server says {status} {answer.reason}; the file may have moved. Get it by hand "
            "and bring it in with: fsgan weights import FILE"
        )


def _parse_content_range(answer: requests.Response) -> tuple[int, int]:
    """First byte and size of the whole, from Content-Range ("bytes 5-9/10", "bytes */10"); (0, 0) where not said."""
    kind, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if kind != "bytes":
        return 0, 0
    return _parse_number(first), _parse_number(total)


def _parse_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _read_validator(answer: requests.Response) -> str:
    tag = str(answer.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _check_disk_space(part: _PartialFile, begin: int, total: int) -> None:
    if total > FILE_LIMIT:
        raise WeightsError(
            f"{part.path.name}: the server announces {total / 2**30:.1f} GiB; no weights that are known "
            f"have more than {FILE_LIMIT >> 30} GiB"
        )
    if total - begin > shutil.disk_usage(part.path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _receive_body(
    answer: requests.Response, stream: IO[bytes], begin: int, total: int, on_progress: DownloadProgress
) -> None:
    done = begin
    for block in answer.iter_content(BLOCK_SIZE):
        stream.write(block)
        done += len(block)
        if done > (total or FILE_LIMIT):
            stream.truncate(begin)
            raise WeightsError(f"{answer.url}: more arrives than was announced; nothing of it is kept")
        on_progress(done, total)
    stream.flush()
    if total and done < total:
        raise _RetryError("cut off")
