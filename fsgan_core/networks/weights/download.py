"""Downloads a file whole and verified, and resumes an interrupted download.

Only HTTPS is used, except for addresses of this machine. The data stays beside the final name until its digest is
right.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests

from fsgan_core.contract.errors import MachineError, OutputError, WeightsError
from fsgan_core.networks.weights.deadline import Deadline
from fsgan_core.networks.weights.download_page import DownloadPage
from fsgan_core.networks.weights.partial_file import PartialFile, lock_partial_file
from fsgan_core.networks.weights.pickle_scan import FILE_LIMIT
from fsgan_core.runtime.atomic import explain_os_error, make_folder

__all__ = ["RetryPolicy", "download"]

log = logging.getLogger(__name__)

# Bytes; at most so many are lost when a connection breaks.
BLOCK_SIZE = 1 << 14
MAX_REDIRECTS = 8
# Bytes that an attempt must receive for the count of failed attempts to start again.
PROGRESS_BYTES = 1 << 20
# HTTP status codes after which another attempt may succeed.
RETRY_STATUSES = (408, 425, 429, 500, 502, 503, 504)
RETRY_AFTER_LIMIT = 60.0  # seconds; longer waits that a server asks for are cut to this
DownloadProgress = Callable[[int, int], None]  # called with received and total bytes (0 if unknown)


@dataclass(frozen=True)
class RetryPolicy:
    """How long a download is tried.

    Attributes:
        attempts: Attempts in a row that receive next to nothing.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for data.
        pause: Seconds before the second attempt; doubled for each further one.
        whole_timeout: Seconds for the whole download. What was received by then is kept, and the next call resumes.
    """

    attempts: int = 5
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    pause: float = 1.0
    whole_timeout: float = 7200.0


class _RetryError(Exception):
    """Another attempt may succeed. after: seconds that the server asks to wait."""

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
    """Downloads a file; resumes what an earlier, interrupted attempt left (`path`.part).

    Args:
        url: Where to fetch from.
        path: The file to write.
        sha256: Expected digest; "" accepts any.
        retries: How long to try.
        on_progress: Called with received and total bytes (0 if unknown).

    Returns:
        The SHA-256 of the file.

    Raises:
        WeightsError: The address is not allowed, does not hold a file, or the digest is wrong.
        MachineError: There is no connection.
        OutputError: The disk is full or not writable.
    """
    retries = retries or RetryPolicy()
    _check_address(url, None)
    make_folder(path.parent)
    part = PartialFile(path)
    try:
        try:
            with (
                lock_partial_file(part),
                _open_session(url) as session,
                Deadline(session, retries.whole_timeout) as deadline,
            ):
                _fetch_with_retries(session, url, part, retries, on_progress, deadline)
        finally:
            part.tidy()
        digest = part.compute_digest()
        if sha256 and digest != sha256:
            part.remove()
            raise WeightsError(
                f"{url}: the downloaded file is not the known one (SHA-256 {digest}, should be "
                f"{sha256}); it was deleted. Fetch it once more; if this happens again, the file at "
                "that address was changed: do not use it"
            )
        part.finish()
    except OSError as error:
        raise OutputError(explain_os_error(path, error)) from error
    return digest


@contextmanager
def _open_session(url: str) -> Iterator[requests.Session]:
    with requests.Session() as session:
        # Sizes and ranges must count bytes of the file, not of a compressed form.
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
    """Allows HTTPS, and HTTP to this machine unless another one redirects there. Raises WeightsError.

    before: the address that redirected to `url`, or None.
    """
    try:
        scheme, is_local = urlsplit(url).scheme, _is_loopback(url)
    except ValueError as error:
        raise WeightsError(f"{url}: not an address ({error})") from error
    if is_local and (before is None or _is_loopback(before)) and scheme in ("http", "https"):
        return
    if not is_local and scheme == "https":
        return
    redirected = f" (redirected by {before})" if before else ""
    raise WeightsError(
        f"{url}{redirected}: weights are fetched by https only; fetch the file by hand and import it with: "
        "fsgan weights import FILE"
    )


def _fetch_with_retries(
    session: requests.Session,
    url: str,
    part: PartialFile,
    retries: RetryPolicy,
    on_progress: DownloadProgress,
    deadline: Deadline,
) -> None:
    failures = 0
    while True:
        before = part.count_bytes()
        if deadline.is_over:
            raise MachineError(
                f"{url}: given up after {retries.whole_timeout / 60:.0f} minutes; {_describe_received(part)}"
            )
        try:
            _attempt_fetch(session, url, part, retries, on_progress)
            if not deadline.is_over:  # else the end may be our own cut
                return
        except (
            _RetryError,
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            if deadline.is_over:
                continue
            if isinstance(error, requests.exceptions.SSLError):
                raise WeightsError(
                    f"{url}: the server's certificate is not trusted ({error}); set REQUESTS_CA_BUNDLE to "
                    "the file of your studio's own certificate authority"
                ) from error
            failures = 1 if part.count_bytes() - before >= PROGRESS_BYTES else failures + 1
            if failures >= retries.attempts:
                raise MachineError(
                    f"{url}: given up after {failures} attempts ({_explain_error(error)}); "
                    f"{_describe_received(part)}. Without a network: copy the file to this machine and run: "
                    "fsgan weights import FILE"
                ) from error
            pause = max(retries.pause * 2 ** (failures - 1), getattr(error, "after", 0.0))
            log.info("%s: %s; trying again in %.0f s", url, _explain_error(error), pause)
            time.sleep(pause)
        except requests.RequestException as error:
            if deadline.is_over:
                continue
            raise WeightsError(f"{url}: cannot be fetched ({_explain_error(error)})") from error


def _describe_received(part: PartialFile) -> str:
    if not part.count_bytes():
        return "nothing was received"
    return f"{part.count_bytes()} bytes are kept, and the same command resumes there"


def _explain_error(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "cut off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


def _attempt_fetch(
    session: requests.Session, url: str, part: PartialFile, retries: RetryPolicy, on_progress: DownloadProgress
) -> None:
    facts = part.read_facts()
    received = part.count_bytes() if facts.get("url") == url else 0
    headers = {}
    if received:
        headers["Range"] = f"bytes={received}-"
        if facts.get("validator"):
            headers["If-Range"] = facts["validator"]
    with _request_file(session, url, headers, retries) as answer:
        status = answer.status_code
        if status == 416 and received:
            if _parse_content_range(answer)[1] == received:
                return
            part.clear()
            raise _RetryError("the file changed on the server")
        _check_status(url, answer)
        begin, total = _parse_content_range(answer)
        if status != 206:
            begin, total = 0, _parse_number(answer.headers.get("Content-Length", ""))
        if begin != received or (begin and facts.get("total") and total != facts["total"]):
            # The server holds another file than the one that we have a part of: start again.
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
    """Requests the file: follows redirects, and confirms a page that asks for confirmation."""
    confirmed = False
    address = url
    for _ in range(MAX_REDIRECTS):
        answer = session.get(
            address,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(retries.connect_timeout, retries.read_timeout),
        )
        if answer.is_redirect:
            target = urljoin(address, answer.headers["Location"])
        elif answer.ok and "text/html" in answer.headers.get("Content-Type", ""):
            page = DownloadPage.read(answer.iter_content(BLOCK_SIZE))
            if confirmed or not page.confirmation:
                answer.close()
                raise WeightsError(
                    f"{url}: the address answers with a page{page.format_title()}, not with a file; it may "
                    "require a sign-in, or have reached its limit for today. Get the file with a browser and "
                    "import it with: fsgan weights import FILE"
                )
            target, confirmed = urljoin(address, page.confirmation), True
        else:
            return answer
        answer.close()
        _check_address(target, address)
        address = target
    raise WeightsError(f"{url}: redirected more than {MAX_REDIRECTS} times")


def _check_status(url: str, answer: requests.Response) -> None:
    status = answer.status_code
    if status in RETRY_STATUSES:
        try:
            after = min(float(answer.headers.get("Retry-After", 0)), RETRY_AFTER_LIMIT)
        except ValueError:
            after = 0.0
        raise _RetryError(f"the server answers {status} {answer.reason}", after)
    if status not in (200, 206):
        raise WeightsError(
            f"{url}: the server answers {status} {answer.reason}; the file may have moved. Get it by hand "
            "and import it with: fsgan weights import FILE"
        )


def _parse_content_range(answer: requests.Response) -> tuple[int, int]:
    """Reads first byte and total size from Content-Range ("bytes 5-9/10", "bytes */10"); (0, 0) without it."""
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


def _check_disk_space(part: PartialFile, begin: int, total: int) -> None:
    if total > FILE_LIMIT:
        raise WeightsError(
            f"{part.path.name}: the server announces {total / 2**30:.1f} GiB; no known weights exceed "
            f"{FILE_LIMIT >> 30} GiB"
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
            raise WeightsError(f"{answer.url}: the server sends more than it announced; the data was deleted")
        on_progress(done, total)
    stream.flush()
    if total and done < total:
        raise _RetryError("cut off")
