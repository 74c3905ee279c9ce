"""Lists the known weights, finds those on this machine, and says which of them may be used.

The published files and ours are listed in catalogue.toml. Weights on this machine are .safetensors files in the folders
of `list_search_folders`; their metadata says what they are, and `fsgan weights import` makes them. Nothing here needs
torch.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES, check_licence, is_allowed, resolve_allow
from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.networks.architectures.build import parse_architecture
from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from fsgan_core.runtime.memory import register_cache
from fsgan_core.runtime.user_paths import expand_home

__all__ = [
    "AUTO_ROLES",
    "HEAT_MAPS",
    "ROLES",
    "InstalledWeights",
    "WeightsInfo",
    "find_best_weights",
    "find_packaged_weights",
    "find_user_folder",
    "find_weights",
    "list_broken_weights",
    "list_installed_weights",
    "list_present_weights",
    "list_search_folders",
    "load_catalogue",
    "make_weights_metadata",
]

log = logging.getLogger(__name__)

ROLES = (
    *NETWORK_STAGES,
    "landmarks",
    "pose",
    "identity",
    "attributes",
    "detector",
    "mesh",
    "palm",
    "hand",
    "descriptor",
)
# Roles that an analysis and a swap choose weights for without being asked; fine-tuning does so for "identity".
AUTO_ROLES = (*NETWORK_STAGES, "landmarks")
# Published ways to draw landmark maps: `faces.landmarkers.heatmap`.
HEAT_MAPS = ("cone", "patch", "blur")
PATH_VARIABLE = "FSGAN_WEIGHTS"  # folders of weights, separated as in PATH
PACKAGED_VARIABLE = "FSGAN_WEIGHTS_PACKAGED"  # 0: ignore the weights that come with the package
WEIGHTS_SUFFIX = ".safetensors"
PICKLED_SUFFIXES = (".pth", ".pt", ".tar", ".pkl", ".ckpt", ".bin")


@dataclass(frozen=True)
class WeightsInfo:
    """The facts about a set of weights.

    Attributes:
        name: Unique name.
        role: What the network does, one of ROLES.
        file: Name of the published file.
        arch: Architecture string.
        landmarks: Number of landmarks that the network takes or finds: 0, 68 or 98.
        crop: Side of the network's square, in sizes of the face box; 1.2 or 2.0 in the published weights.
        licence: One of LICENCE_CLASSES.
        note: What is known about the licence and the training.
        source: Address of the published file, "" if it is not fetched.
        sha256: Digest of the published file, "" if unknown.
        size: Bytes, 0 if unknown.
        default: Whether `engine=auto` may choose it.
        prewarp: Whether it was trained on views that the geometric engine had warped.
        resolution: Side of the training pictures, in pixels.
        heat_maps: How its landmark maps are drawn, one of HEAT_MAPS.
    """

    name: str
    role: str
    file: str = ""
    arch: str = ""
    landmarks: int = 0
    crop: float = 1.2
    licence: str = "unknown"
    note: str = ""
    source: str = ""
    sha256: str = ""
    size: int = 0
    default: bool = False
    prewarp: bool = False
    resolution: int = 256
    heat_maps: str = "cone"

    @property
    def version(self) -> int:
        """The published version that the network belongs to: 1 for generators of FSGAN v1, else 2."""
        return parse_architecture(self.arch).version if self.arch else 2

    def __post_init__(self) -> None:
        _check_choice("heat_maps", self.heat_maps, HEAT_MAPS)
        _check_choice("role", self.role, ROLES)
        _check_choice("licence", self.licence, LICENCE_CLASSES)
        _check_choice("landmarks", self.landmarks, (0, 68, 98))
        if not 1.0 <= self.crop <= 4.0 or not 32 <= self.resolution <= 4096:
            raise WeightsError(f"weights {self.name}: crop {self.crop} or resolution {self.resolution} is out of range")


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
_task_folders: list[Path] = []  # of use_weights_folders


def _check_choice(what: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise WeightsError(f"weights: {what} {value!r} is none of {', '.join(map(str, choices))}")


@functools.cache
def load_catalogue() -> Mapping[str, WeightsInfo]:
    """Reads the catalogue: the published weights and ours by name; within a role the best first."""
    rows = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text("utf-8"))["weights"]
    return {row["name"]: WeightsInfo(**row) for row in rows}


register_cache(load_catalogue.cache_clear)


def find_user_folder() -> Path:
    """Returns this user's folder for weights. It need not exist."""
    import platformdirs

    return Path(platformdirs.user_data_dir("fsgan", appauthor=False)) / "weights"


@contextmanager
def use_weights_folders(folders: Sequence[Path]) -> Iterator[None]:
    """Searches these folders in place of $FSGAN_WEIGHTS while the block runs, in the whole process; none: no change."""
    before = list(_task_folders)
    _task_folders[:] = folders or before
    try:
        yield
    finally:
        _task_folders[:] = before


def list_search_folders() -> tuple[Path, ...]:
    """Lists the folders that are searched for weights, first to last. They need not exist.

    These are the folders of `use_weights_folders` or else $FSGAN_WEIGHTS (several are separated as in PATH), the user's
    folder, and the package's own unless FSGAN_WEIGHTS_PACKAGED is 0.
    """
    given = tuple(_task_folders) or tuple(
        expand_home(part) for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part.strip()
    )
    packaged = () if os.environ.get(PACKAGED_VARIABLE, "").strip() == "0" else (Path(__file__).parent,)
    return tuple(dict.fromkeys((*given, find_user_folder(), *packaged)))


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
    found: dict[str, _WeightsFile] = {}
    for path, content in _scan_search_folders():
        if isinstance(content, str):
            name = path.name.removesuffix(WEIGHTS_SUFFIX)
            found.setdefault(name, _WeightsFile(name, path, load_catalogue().get(name), content))
            continue
        first = found.setdefault(content.name, _WeightsFile(content.name, path, content))
        if first.info is None:
            found[content.name] = dataclasses.replace(first, info=content)
    order = list(load_catalogue())

    def rank_file(entry: _WeightsFile) -> tuple[bool, int, str]:
        default = entry.info is not None and entry.info.default
        return not default, order.index(entry.name) if entry.name in order else len(order), entry.name

    return sorted(
        (entry for entry in found.values() if role == "" or (entry.info is not None and entry.info.role == role)),
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


def read_weights_info(path: Path) -> WeightsInfo:
    """Reads the facts about weights from the metadata of a .safetensors file.

    Facts that the file does not state come from the catalogue's entry of the same name.

    Raises:
        WeightsError: The file cannot be read, or its metadata does not say which weights it holds.
    """
    header = read_safetensors_header(path)
    metadata = header.metadata
    name = metadata.get("name") or path.name.removesuffix(WEIGHTS_SUFFIX)
    known = load_catalogue().get(name)
    facts: dict[str, Any] = {} if known is None else dataclasses.asdict(known)
    try:
        for field in dataclasses.fields(WeightsInfo):
            if field.name in metadata:
                facts[field.name] = _parse_value(metadata[field.name], field.default)
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata cannot be read ({error})") from error
    if not facts.get("role") or not facts.get("arch"):
        raise WeightsError(
            f"{path}: the file does not say which weights it holds (role and arch in its metadata); "
            f"import it with: fsgan weights import {path}"
        )
    try:
        parse_architecture(facts["arch"])
        return WeightsInfo(**{**facts, "name": name, "size": header.size})
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _parse_value(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    return type(like)(text) if isinstance(like, (int, float)) else text


def make_weights_metadata(info: WeightsInfo) -> dict[str, str]:
    """Makes the metadata of a .safetensors file that holds these weights, without size and architecture string.

    The usual heat maps are not stated, so files that were imported before there were others keep their digests.
    """
    facts = dataclasses.asdict(info)
    if info.heat_maps == HEAT_MAPS[0]:
        del facts["heat_maps"]
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in facts.items()
        if name not in ("size", "arch") and value != ""
    }


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
    _check_choice("role", role, ROLES)
    if name and (os.sep in name or "/" in name or name.endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES))):
        return _find_in_file(role, expand_home(name), allow)
    found = [entry for entry in _list_weights_files(role if not name else "") if name in ("", entry.name)]
    if not found:
        raise WeightsError(_explain_absence(role, name))
    allowed = [entry for entry in found if entry.info is None or is_allowed(entry.info.licence, allow)]
    entry = (allowed or found)[0]
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
