"""Fetches published weights and imports them.

Nothing is fetched unless a person asks for it (`fsgan weights fetch`); a render never does.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.weights.catalogue import WEIGHTS_SUFFIX, WeightsInfo
from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest
from fsgan_core.networks.weights.download import DownloadProgress, RetryPolicy, download
from fsgan_core.networks.weights.importing import ORIGIN_KEY, ImportResult, import_weights
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header

__all__ = ["fetch_weights"]


def fetch_weights(
    info: WeightsInfo,
    folder: Path,
    *,
    url: str = "",
    licence: str = "",
    retries: RetryPolicy | None = None,
    on_progress: DownloadProgress = lambda done, total: None,
) -> ImportResult:
    """Fetches published weights and imports them into a folder. If intact weights are there already, nothing is done.

    The file must match the catalogue's digest or, if it has none, the digest of the first download.

    Args:
        info: The weights, from the catalogue.
        folder: The folder to import into.
        url: Where to fetch from, instead of the catalogue's address.
        licence: The studio's own licence class, one of LICENCE_CLASSES; "" keeps the known one.
        retries: How long to try.
        on_progress: Called with received and total bytes (0 if unknown).

    Raises:
        WeightsError: No address is known, or the file is wrong or damaged.
        MachineError: There is no connection.
        OutputError: The disk is full or not writable.
    """
    source = url or info.source
    if not source:
        raise WeightsError(
            f"{info.name}: its address is not known; get {info.file or 'the file'} by hand and "
            "import it with: fsgan weights import FILE"
        )
    if not info.arch:
        raise WeightsError(f"{info.name}: {info.note}")
    path = folder / f"{info.name}{WEIGHTS_SUFFIX}"
    earlier = ""
    with suppress(WeightsError):  # a damaged file is fetched again
        digest = digest_weights_file(path, again=True)
        if digest == read_recorded_digest(path) and not licence:
            return ImportResult(path, "kept", info, path, digest, f"{path} is already there and intact")
        earlier = read_safetensors_header(path).metadata.get(ORIGIN_KEY, "")
    # In a hidden folder, so that no search for weights finds it.
    raw = folder / ".fetched" / (info.file or info.name)
    try:
        digest = download(source, raw, sha256=info.sha256 or earlier, retries=retries, on_progress=on_progress)
        try:
            result = import_weights(raw, folder, name=info.name, licence=licence)
        finally:
            raw.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # not empty if a partial file is left to resume
            raw.parent.rmdir()
    if result.state == "refused":
        raise WeightsError(f"{source}: {result.message}")
    check = "as expected" if info.sha256 or earlier else "recorded at this first download; no digest is published"
    message = f"SHA-256 of the published file: {digest} ({check})"
    return replace(result, message=f"{message}; {result.message}" if result.message else message)
