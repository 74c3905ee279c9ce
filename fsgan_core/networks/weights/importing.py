"""Imports published weights: recognises each file by its content, converts it to .safetensors, records its digest."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import OutputError, WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.networks.weights.catalogue import (
    PICKLED_SUFFIXES,
    WEIGHTS_SUFFIX,
    WeightsInfo,
    load_catalogue,
    make_weights_metadata,
    read_weights_info,
)
from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest, record_digest
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from fsgan_core.networks.weights.search_folders import PATH_VARIABLE, find_user_folder, list_search_folders
from fsgan_core.runtime.atomic import probe_folder

if TYPE_CHECKING:
    import torch

from fsgan_core.networks.weights.recognise import NAME_PATTERN, recognise_weights

__all__ = ["ImportResult", "find_weights_files", "find_writable_folder", "import_weights"]

log = logging.getLogger(__name__)

ORIGIN_KEY = "origin_sha256"
# Ends the note of weights whose licence class was set by the user.
GIVEN_LICENCE_NOTE = "Licence class set at import."
DETECTOR_PATTERN = re.compile(r"dsfd", re.IGNORECASE)


@dataclass(frozen=True)
class ImportResult:
    """What happened to one file.

    Attributes:
        file: The file.
        state: "imported", "kept" (already there), "unused" (known, but not used by any stage) or "refused".
        info: The facts about the weights, if they were recognised.
        path: The .safetensors file.
        sha256: The digest of that file.
        message: The reason, or a remark.
    """

    file: Path
    state: str
    info: WeightsInfo | None = None
    path: Path | None = None
    sha256: str = ""
    message: str = ""


def find_weights_files(place: Path) -> tuple[Path, ...]:
    """Lists files that may hold weights.

    Args:
        place: A file, or a folder that is searched with its subfolders; links to folders are not followed.

    Raises:
        WeightsError: There are none, or the place cannot be read.
    """
    try:
        if not place.is_dir():
            place.stat()
            return (place,)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{place}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    files = [
        Path(folder) / name
        for folder, _, names in os.walk(place)
        for name in names
        if name.lower().endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES)) and not name.startswith(".")
    ]
    if not files:
        raise WeightsError(f"{place}: no file in it ends in {', '.join((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES))}")
    return tuple(sorted(files))


def find_writable_folder() -> Path:
    """Finds the folder that weights are imported into; makes it if it does not exist.

    This is the first writable folder of $FSGAN_WEIGHTS, else the user's folder.

    Raises:
        OutputError: No folder is writable.
    """
    own = find_user_folder()
    is_set = os.environ.get(PATH_VARIABLE, "").strip()
    for folder in list_search_folders() if is_set else ():
        if folder == own:
            break
        new = not folder.exists()
        try:
            probe_folder(folder)
        except OutputError as error:
            log.info("weights are not written to %s: %s", folder, error)
            continue
        if new:
            log.warning("%s from %s did not exist; the folder was made", folder, PATH_VARIABLE)
        return folder
    try:
        probe_folder(own)
    except OutputError as error:
        raise OutputError(f"{error}; set {PATH_VARIABLE} to a writable folder for weights") from error
    return own


def import_weights(file: Path, folder: Path, *, name: str = "", licence: str = "") -> ImportResult:
    """Converts one weights file into a folder. Doing it again changes nothing.

    A file that does not hold known weights gives a result with the state "refused"; it does not raise.

    Args:
        file: A .safetensors file, or a file of torch.save.
        folder: The folder to write to.
        name: Which published weights it holds, or what to call it; "" recognises it.
        licence: The studio's own licence class, one of LICENCE_CLASSES; "" keeps the one set for the same file before,
            or for earlier weights of this name if it is stricter than what the file says of itself.

    Raises:
        WeightsError: `name` or `licence` is invalid.
        OutputError: The folder is not writable.
    """
    if licence and licence not in LICENCE_CLASSES:
        raise WeightsError(f"licence class {licence!r} is none of {', '.join(LICENCE_CLASSES)}")
    if name and not NAME_PATTERN.fullmatch(name):
        raise WeightsError(f"{name!r} cannot name weights: use only letters, digits, dots, dashes and underscores")
    try:
        origin = _find_origin(file)
        existing = _find_existing_import(file, folder, origin, name, licence)
        if existing is not None:
            return existing
        from fsgan_core.networks.weights.checkpoint import read_checkpoint

        if _is_detector(file):
            info = next(info for info in load_catalogue().values() if info.role == "detector")
            return ImportResult(file, "unused", info, message=info.note)
        checkpoint = read_checkpoint(file)
        info, state = recognise_weights(checkpoint, file, name)
    except WeightsError as error:
        return ImportResult(file, "refused", message=str(error))
    licence = licence or _find_given_licence(folder, info, origin)
    if licence:
        note = f"{info.note.removesuffix(GIVEN_LICENCE_NOTE).rstrip()} {GIVEN_LICENCE_NOTE}".strip()
        info = dataclasses.replace(info, licence=licence, note=note)
    return _store_weights(file, folder, origin, info, state)


def _find_given_licence(folder: Path, info: WeightsInfo, origin: str) -> str:
    """Finds the licence class that the user set at an earlier import, whatever the new file says of itself.

    The class that was set for the same file holds, under any name. A class that was set for other weights of this name
    holds only if it is stricter than the new file's own.

    Returns:
        The class; "" if none was set or none holds.
    """
    for_name = ""
    for path in sorted(folder.glob(f"*{WEIGHTS_SUFFIX}")):
        with contextlib.suppress(WeightsError):
            known_origin, known = read_safetensors_header(path).metadata.get(ORIGIN_KEY), read_weights_info(path)
            if not known.note.endswith(GIVEN_LICENCE_NOTE):
                continue
            if known_origin == origin:
                return known.licence
            if known.name == info.name:
                for_name = known.licence
    is_stricter = bool(for_name) and LICENCE_CLASSES.index(for_name) > LICENCE_CLASSES.index(info.licence)
    return for_name if is_stricter else ""


def _store_weights(
    file: Path, folder: Path, origin: str, info: WeightsInfo, state: Mapping[str, torch.Tensor]
) -> ImportResult:
    from fsgan_core.networks.weights.checkpoint import write_checkpoint

    path = folder / f"{info.name}{WEIGHTS_SUFFIX}"
    replaced = _describe_replaced(path, origin, info)
    write_checkpoint(path, info.arch, state, {**make_weights_metadata(info), ORIGIN_KEY: origin})
    digest = record_digest(path)
    message = ""
    if replaced is not None and replaced[0] != digest:
        message = f"{replaced[1]}; its SHA-256 was {replaced[0]}, now it is {digest}"
    return ImportResult(file, "imported", info, path, digest, message)


def _describe_replaced(path: Path, origin: str, info: WeightsInfo) -> tuple[str, str] | None:
    """Reads the recorded digest of the weights at `path`, and describes what replacing them means; None without any."""
    try:
        digest = read_recorded_digest(path) or digest_weights_file(path)
    except WeightsError:
        return None
    try:
        metadata = read_safetensors_header(path).metadata
    except WeightsError:
        return digest, (
            f"{path.name}, which was broken, has been replaced by other weights; if a licence class was set for it, "
            "set it again"
        )
    if metadata.get(ORIGIN_KEY) == origin:
        return digest, f"the metadata of {path.name} has been changed"
    lost = ""
    if metadata.get("note", "").endswith(GIVEN_LICENCE_NOTE):
        before = metadata.get("licence", "")
        fate = "is kept, because it is stricter" if before == info.licence else "does not apply to these"
        lost = f" (their licence class '{before}', set at import, {fate})"
    return digest, f"other weights under the name {path.name.removesuffix(WEIGHTS_SUFFIX)} have been replaced{lost}"


def _find_origin(file: Path) -> str:
    """Computes the digest of the published file; for an imported file, reads the digest of its origin."""
    if file.name.endswith(WEIGHTS_SUFFIX):
        return read_safetensors_header(file).metadata.get(ORIGIN_KEY) or digest_weights_file(file)
    if not file.is_file():
        raise WeightsError(f"{file}: {'a folder' if file.is_dir() else 'not a plain file'}, not a weights file")
    return digest_weights_file(file)


def _find_existing_import(file: Path, folder: Path, origin: str, name: str, licence: str) -> ImportResult | None:
    """Finds the result of an earlier import of the same file, if importing it again would give the same."""
    for path in sorted(folder.glob(f"*{WEIGHTS_SUFFIX}")):
        try:
            metadata = read_safetensors_header(path).metadata
            if metadata.get(ORIGIN_KEY) != origin:
                continue
            info = read_weights_info(path)
            known = load_catalogue().get(info.name)
            if known is not None and info.note.endswith(GIVEN_LICENCE_NOTE):
                known = dataclasses.replace(
                    known, licence=info.licence, note=f"{known.note} {GIVEN_LICENCE_NOTE}".strip()
                )
            same_entry = (
                known is None
                or bool(licence)
                or make_weights_metadata(dataclasses.replace(known, arch=info.arch))
                == {key: text for key, text in metadata.items() if key not in (ORIGIN_KEY, "arch")}
            )
            same_options = name in ("", info.name) and licence in ("", info.licence)
            digest = digest_weights_file(path)
            if same_options and same_entry and digest == read_recorded_digest(path):
                return ImportResult(file, "kept", info, path, digest)
        except WeightsError as error:
            log.info("imported again: %s", error)
    return None


def _is_detector(file: Path) -> bool:
    return bool(DETECTOR_PATTERN.search(file.name))


def import_all_weights(
    place: Path,
    folder: Path,
    *,
    name: str = "",
    licence: str = "",
    on_progress: Callable[[int, int, Path], None] | None = None,
) -> Iterator[ImportResult]:
    """Imports every weights file at a place, one after the other.

    Args:
        place: A file or folder, as in `find_weights_files`.
        folder: The folder to write to.
        name: As in `import_weights`; only for a single file.
        licence: As in `import_weights`.
        on_progress: Called before each file with its index, the number of files, and the file.

    Yields:
        The result of each file.

    Raises:
        WeightsError: There are no files, or a name is given for several.
        OutputError: The folder is not writable.
    """
    files = find_weights_files(place)
    if name and len(files) > 1:
        raise WeightsError(f"{place}: --name is for a single file; there are {len(files)} in it")
    for number, file in enumerate(files):
        if on_progress is not None:
            on_progress(number, len(files), file)
        yield import_weights(file, folder, name=name, licence=licence)
