"""Finds the weights on this machine, and says which of them may be used.

They are .safetensors files in the folders of `list_search_folders`. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.licences import check_licence, is_allowed, resolve_allow
from fsgan_core.networks.weights.catalogue import (
    PICKLED_SUFFIXES,
    ROLES,
    WEIGHTS_SUFFIX,
    WeightsInfo,
    check_choice,
    load_catalogue,
    read_weights_info,
)
from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest
from fsgan_core.networks.weights.search_folders import list_search_folders
from fsgan_core.runtime.memory import register_cache
from fsgan_core.runtime.user_paths import expand_home

__all__ = [
    "InstalledWeights",
    "find_best_weights",
    "find_packaged_weights",
    "find_weights",
    "list_broken_weights",
    "list_installed_weights",
    "list_present_weights",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InstalledWeights:
    """Weights on this machine.

    Attributes:
        info: The facts about them.
        path: The .safetensors file.
        sha256: The digest of that file as it is now.
    """

    info: WeightsInfo
    path: Path
    sha256: str


@dataclass(frozen=True)
class _WeightsFile:
    """A file in the search folders.

    Attributes:
        name: Name of the weights, or of the file if it cannot be read.
        path: The file.
        info: The facts about the weights; if the file cannot be read, those of the same name in the catalogue or in a
            later folder, or None.
        fault: Why the file cannot be read, else "".
    """

    name: str
    path: Path
    info: WeightsInfo | None
    fault: str = ""

    def require_info(self) -> WeightsInfo:
        """Returns the facts. Raises WeightsError if the file cannot be read."""
        if self.fault or self.info is None:
            raise WeightsError(f"{self.fault}; no other weights are used in its place until it is repaired or deleted")
        return self.info


_logged_errors: set[str] = set()  # messages that were logged already
register_cache(_logged_errors.clear)


def list_present_weights(role: str = "") -> tuple[tuple[WeightsInfo, Path], ...]:
    """Lists readable weights in the search folders, best first, without computing digests.

    Of two files with the same name the first found counts. An unreadable file is logged once and left out; it also
    hides later files of its name.

    Args:
        role: One of ROLES, or "" for all.

    Returns:
        The facts and the path of each.
    """
    return tuple(
        (entry.info, entry.path) for entry in _list_weights_files(role) if entry.info is not None and not entry.fault
    )


def list_broken_weights() -> tuple[tuple[Path, str], ...]:
    """Lists the .safetensors files in the search folders that cannot be read as weights, each with the reason."""
    return tuple((path, reason) for path, reason in _scan_search_folders() if isinstance(reason, str))


def _scan_search_folders() -> Iterator[tuple[Path, WeightsInfo | str]]:
    """Iterates over the files of the search folders: the path, and the facts or the reason why it cannot be read."""
    for folder in list_search_folders():
        for path in _iterate_paths(folder):
            try:
                yield path, read_weights_info(path)
            except WeightsError as error:
                if str(error) not in _logged_errors:
                    _logged_errors.add(str(error))
                    log.warning("weights are not listed: %s", error)
                yield path, str(error)


def _list_weights_files(role: str = "") -> list[_WeightsFile]:
    """Lists the first file of each name for `role` ("" for all, unknown ones too), best first.

    A file that cannot be read keeps its place, because on a machine with an intact copy it would be used.
    """
    files: dict[str, _WeightsFile] = {}
    for path, content in _scan_search_folders():
        if isinstance(content, str):
            name = path.name.removesuffix(WEIGHTS_SUFFIX)
            files.setdefault(name, _WeightsFile(name, path, load_catalogue().get(name), content))
            continue
        first = files.setdefault(content.name, _WeightsFile(content.name, path, content))
        if first.info is None:
            files[content.name] = dataclasses.replace(first, info=content)
    order = list(load_catalogue())

    def rank_file(entry: _WeightsFile) -> tuple[bool, int, str]:
        default = entry.info is not None and entry.info.default
        return not default, order.index(entry.name) if entry.name in order else len(order), entry.name

    return sorted(
        (entry for entry in files.values() if role == "" or (entry.info is not None and entry.info.role == role)),
        key=rank_file,
    )


def _iterate_paths(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(folder)
            if entry.name.endswith(WEIGHTS_SUFFIX) and not entry.name.startswith(".")
        )
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("weights folder %s cannot be read: %s", folder, error.strerror or error)
        return
    for name in names:
        yield folder / name


def list_installed_weights(role: str = "") -> tuple[InstalledWeights, ...]:
    """Lists all weights on this machine with their digests, best first. Files with unknown content are left out.

    Args:
        role: One of ROLES, or "" for all.

    Raises:
        WeightsError: A file is damaged.
    """
    return tuple(
        _verify_digest(entry.require_info(), entry.path)
        for entry in _list_weights_files(role)
        if entry.info is not None
    )


def _verify_digest(info: WeightsInfo, path: Path) -> InstalledWeights:
    """Computes the digest. Raises WeightsError if the file is not the one that was imported."""
    digest = digest_weights_file(path)
    recorded = read_recorded_digest(path)
    if recorded and recorded != digest:
        raise WeightsError(
            f"{path}: the file has changed since it was imported (SHA-256 {digest[:12]}..., recorded "
            f"{recorded[:12]}...); import or fetch it again, or delete {path.name}.sha256 if the change "
            "was intended"
        )
    return InstalledWeights(info, path, digest)


def find_best_weights(role: str, allow: str = "any") -> InstalledWeights | None:
    """Finds what "auto" uses: the best weights on this machine that are marked as default and allowed.

    Args:
        role: One of ROLES.
        allow: As in `is_allowed`.

    Returns:
        The weights, or None if there are none.

    Raises:
        WeightsError: That file is damaged; to use others instead would make machines differ silently.
    """
    for entry in _list_weights_files(role):
        info = entry.info
        if info is None or not info.default:
            continue
        if is_allowed(info.licence, allow):
            return _verify_digest(entry.require_info(), entry.path)
        log.info(
            "weights %s are not used: their licence class is %s, and weights.allow is %s",
            info.name,
            info.licence,
            resolve_allow(allow)[0],
        )
    return None


def find_weights(role: str, name: str = "", allow: str = "any") -> InstalledWeights:
    """Finds weights by name.

    Args:
        role: One of ROLES.
        name: Name in the catalogue or of the weights themselves, or the path of a file; "" for the best on this
            machine.
        allow: As in `is_allowed`.

    Raises:
        WeightsError: There are none, they are for another role, damaged or not allowed. The message says what to run.
    """
    check_choice("role", role, ROLES)
    if name and (os.sep in name or "/" in name or name.endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES))):
        return _find_in_file(role, expand_home(name), allow)
    candidates = [entry for entry in _list_weights_files(role if not name else "") if name in ("", entry.name)]
    if not candidates:
        raise WeightsError(_explain_absence(role, name))
    allowed = [entry for entry in candidates if entry.info is None or is_allowed(entry.info.licence, allow)]
    entry = (allowed or candidates)[0]
    return _check_role(role, entry.require_info(), entry.path, allow)


def find_packaged_weights(name: str, allow: str = "any") -> InstalledWeights:
    """Finds a network of face analysis that comes with the package, whatever is in the search folders.

    Args:
        name: Name in the catalogue.
        allow: As in `is_allowed`.

    Raises:
        WeightsError: The file is missing, damaged or not allowed.
    """
    path = Path(__file__).parent / f"{name}{WEIGHTS_SUFFIX}"
    if not path.is_file():
        raise WeightsError(f"{path}: this file of the package is missing; reinstall fsgan")
    info = read_weights_info(path)
    check_licence(info.name, info.licence, str(path), allow)
    return _verify_digest(info, path)


def _find_in_file(role: str, path: Path, allow: str) -> InstalledWeights:
    if not path.exists():
        raise WeightsError(f"weights {path}: no such file; `fsgan weights list` shows what is on this machine")
    if path.name.endswith(PICKLED_SUFFIXES):
        raise WeightsError(
            f"weights {path}: a published file is not used directly; import it once with: fsgan weights import {path}"
        )
    return _check_role(role, read_weights_info(path), path, allow)


def _check_role(role: str, info: WeightsInfo, path: Path, allow: str) -> InstalledWeights:
    if info.role != role:
        raise WeightsError(
            f"{path}: weights {info.name} are for {info.role}, not for {role}; `fsgan weights list` "
            "shows the stage of each"
        )
    check_licence(info.name, info.licence, str(path), allow)
    return _verify_digest(info, path)


def _explain_absence(role: str, name: str) -> str:
    known = [info for info in load_catalogue().values() if info.role == role]
    suggested = load_catalogue().get(name) or next(iter(sorted(known, key=lambda info: not info.default)), None)
    problem = f"weights {name} are not on this machine" if name else f"there are no weights for {role} on this machine"
    commands = "`fsgan weights import FOLDER` (a folder with the published files)"
    if suggested is not None and suggested.source:
        commands += f" or `fsgan weights fetch {suggested.name}`"
    return f"{problem}; get them with {commands}; `fsgan weights list` shows the search folders"
