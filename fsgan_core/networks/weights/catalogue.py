"""Which weights there are, which of them are on this machine, and which may be used.

The published files and ours are listed in catalogue.toml. What is on this machine is found in the folders of
`search_path`, as .safetensors that say in their metadata what they are; `fsgan weights import` makes them. Nothing here
needs torch.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.licences import ALLOWED_LICENCES, LICENCE_CLASSES, LICENCE_LIMITS
from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header

__all__ = [
    "AUTO_ROLES",
    "ROLES",
    "InstalledWeights",
    "WeightsInfo",
    "find_best_weights",
    "find_user_folder",
    "find_weights",
    "is_allowed",
    "list_broken_weights",
    "list_installed_weights",
    "list_present_weights",
    "list_search_folders",
    "load_catalogue",
    "make_weights_metadata",
]

log = logging.getLogger(__name__)

ROLES = (*NETWORK_STAGES, "landmarks", "pose", "identity", "attributes", "detector")
# What an analysis and a swap take by themselves; fine-tuning takes "identity".
AUTO_ROLES = (*NETWORK_STAGES, "landmarks")
PATH_VARIABLE = "FSGAN_WEIGHTS"
ALLOW_VARIABLE = "FSGAN_WEIGHTS_ALLOW"
PACKAGED_VARIABLE = "FSGAN_WEIGHTS_PACKAGED"  # 0: as if none came with the package
WEIGHTS_SUFFIX = ".safetensors"
PICKLED_SUFFIXES = (".pth", ".pt", ".tar", ".pkl", ".ckpt", ".bin")


@dataclass(frozen=True)
class WeightsInfo:
    """What is known of a set of weights.

    name: unique. role: one of ROLES. file: the published file's name. arch: its architecture string. landmarks: 0, 68
    or 98 points that it was trained on. crop: side of its square over the face box, 1.2 or 2.0. licence: one of
    LICENCES; note: what is known of it. source: address, "" where it is had otherwise. sha256: of the published file,
    "" where not known. size: bytes, 0 where not known. default: whether it may be taken unasked ("auto"). prewarp:
    whether it was trained on views that the geometric engine had warped. resolution: pixels, of its training.
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

    def __post_init__(self) -> None:
        _check_choice("role", self.role, ROLES)
        _check_choice("licence", self.licence, LICENCE_CLASSES)
        _check_choice("landmarks", self.landmarks, (0, 68, 98))
        if not 1.0 <= self.crop <= 4.0 or not 32 <= self.resolution <= 4096:
            raise WeightsError(f"weights {self.name}: crop {self.crop} or resolution {self.resolution} is out of range")


@dataclass(frozen=True)
class InstalledWeights:
    """Weights on this machine. path: the .safetensors. sha256: the digest of that file, as it is now."""

    info: WeightsInfo
    path: Path
    sha256: str


@dataclass(frozen=True)
class _WeightsFile:
    """A file of the search path. name: its weights' own name, else the file's. fault: why it cannot be read; `info`
    is then what stands under that name in the catalogue or further on in the path, if anything does."""

    name: str
    path: Path
    info: WeightsInfo | None
    fault: str = ""

    def require_info(self) -> WeightsInfo:
        """Raises WeightsError when the file cannot be read."""
        if self.fault or self.info is None:
            raise WeightsError(f"{self.fault}; as long as it lies there, no other weights are used in its place")
        return self.info


_logged_errors: set[str] = set()


def _check_choice(what: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise WeightsError(f"weights: {what} {value!r} is none of {', '.join(map(str, choices))}")


@functools.cache
def load_catalogue() -> Mapping[str, WeightsInfo]:
    """The published weights and ours by name, the better ones of a role first."""
    rows = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text("utf-8"))["weights"]
    return {row["name"]: WeightsInfo(**row) for row in rows}


def find_user_folder() -> Path:
    """Where weights of this user are kept. It need not exist."""
    import platformdirs

    return Path(platformdirs.user_data_dir("fsgan", appauthor=False)) / "weights"


def list_search_folders() -> tuple[Path, ...]:
    """The folders that are looked through, first to last: $FSGAN_WEIGHTS (several are parted as in PATH), the user's
    folder, the package's (not with FSGAN_WEIGHTS_PACKAGED=0). They need not exist."""
    given = [Path(part).expanduser() for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part.strip()]
    packaged = () if os.environ.get(PACKAGED_VARIABLE, "").strip() == "0" else (Path(__file__).parent,)
    return tuple(dict.fromkeys((*given, find_user_folder(), *packaged)))


def list_present_weights(role: str = "") -> tuple[tuple[WeightsInfo, Path], ...]:
    """What lies in the search path for `role` ("" is all), best first; of two with one name the first found. What
    cannot be read is logged, once, and left out, with what it hides."""
    return tuple(
        (entry.info, entry.path) for entry in _list_weights_files(role) if entry.info is not None and not entry.fault
    )


def list_broken_weights() -> tuple[tuple[Path, str], ...]:
    """The .safetensors of the search path that cannot be read as weights, and why."""
    return tuple((path, found) for path, found in _scan_search_folders() if isinstance(found, str))


def _scan_search_folders() -> Iterator[tuple[Path, WeightsInfo | str]]:
    """Every file of the search path, and what it holds or why that cannot be read."""
    for folder in list_search_folders():
        for path in _iterate_paths(folder):
            try:
                yield path, read_weights_info(path)
            except WeightsError as error:
                if str(error) not in _logged_errors:
                    _logged_errors.add(str(error))
                    log.warning("weights left out: %s", error)
                yield path, str(error)


def _list_weights_files(role: str = "") -> list[_WeightsFile]:
    """The first file of each name, for `role` ("" is all, what is unknown among them), best first. A file that cannot
    be read keeps its place: on a machine where it is whole it would be used."""
    found: dict[str, _WeightsFile] = {}
    for path, held in _scan_search_folders():
        if isinstance(held, str):
            name = path.name.removesuffix(WEIGHTS_SUFFIX)
            found.setdefault(name, _WeightsFile(name, path, load_catalogue().get(name), held))
            continue
        before = found.setdefault(held.name, _WeightsFile(held.name, path, held))
        if before.info is None:
            found[held.name] = dataclasses.replace(before, info=held)
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
    """What the .safetensors at `path` says of itself; what it leaves out is taken from the catalogue's entry of its
    name. Raises WeightsError: unreadable, or no weights of ours."""
    header = read_safetensors_header(path)
    said = header.metadata
    name = said.get("name") or path.name.removesuffix(WEIGHTS_SUFFIX)
    known = load_catalogue().get(name)
    facts: dict[str, Any] = {} if known is None else dataclasses.asdict(known)
    try:
        for field in dataclasses.fields(WeightsInfo):
            if field.name in said:
                facts[field.name] = _parse_value(said[field.name], field.default)
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata cannot be read ({error})") from error
    if not facts.get("role") or not facts.get("arch"):
        raise WeightsError(
            f"{path}: the file does not say which weights it holds (role and arch in its metadata); "
            f"bring it in with: fsgan weights import {path}"
        )
    try:
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
    """The metadata of a .safetensors that holds `info` (its size and architecture stand elsewhere in the file)."""
    facts = dataclasses.asdict(info)
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in facts.items()
        if name not in ("size", "arch") and value != ""
    }


def list_installed_weights(role: str = "") -> tuple[InstalledWeights, ...]:
    """All weights on this machine for `role` ("" is all), best first, with their digests. Raises WeightsError when one
    is damaged; a file that is nobody's weights does not count."""
    return tuple(
        _verify_digest(entry.require_info(), entry.path)
        for entry in _list_weights_files(role)
        if entry.info is not None
    )


def _verify_digest(info: WeightsInfo, path: Path) -> InstalledWeights:
    """Raises WeightsError when the file is not the one that was brought in."""
    digest = digest_weights_file(path)
    recorded = read_recorded_digest(path)
    if recorded and recorded != digest:
        raise WeightsError(
            f"{path}: the file has changed since it was imported (SHA-256 {digest[:12]}..., recorded "
            f"{recorded[:12]}...); import or fetch it again, or delete {path.name}.sha256 if the change "
            "was meant"
        )
    return InstalledWeights(info, path, digest)


def resolve_allow(allow: str) -> tuple[str, str]:
    """The stricter of `allow` and the studio's $FSGAN_WEIGHTS_ALLOW, and the name of the setting that it came from.
    Raises WeightsError for a word that is none of ALLOWS."""
    _check_choice("weights.allow", allow, LICENCE_LIMITS)
    studio = os.environ.get(ALLOW_VARIABLE, "").strip()
    if not studio:
        return allow, "weights.allow"
    _check_choice(f"the environment variable {ALLOW_VARIABLE}", studio, LICENCE_LIMITS)
    strictness = LICENCE_LIMITS
    if strictness.index(studio) > strictness.index(allow):
        return studio, f"the environment variable {ALLOW_VARIABLE}"
    return allow, "weights.allow"


def is_allowed(licence: str, allow: str = "any") -> bool:
    """Whether weights of this licence class may be used. Raises WeightsError for an unknown `allow`."""
    return licence in ALLOWED_LICENCES[resolve_allow(allow)[0]]


def _check_allowed(info: WeightsInfo, path: Path, allow: str) -> None:
    level, setting = resolve_allow(allow)
    if info.licence not in ALLOWED_LICENCES[level]:
        raise WeightsError(
            f"{path}: weights {info.name} are of the licence class '{info.licence}', but {setting} = {level} allows only "
            f"{' and '.join(ALLOWED_LICENCES[level])}; name other weights, choose an engine without weights, or loosen "
            f"the setting if you may (`fsgan weights info {info.name}` says what is known of the licence)"
        )


def find_best_weights(role: str, allow: str = "any") -> InstalledWeights | None:
    """What "auto" uses: the best weights on this machine that are meant for it and allowed; None without any.

    Raises WeightsError when that file is damaged: machines must not silently differ.
    """
    for entry in _list_weights_files(role):
        info = entry.info
        if info is None or not info.default:
            continue
        if is_allowed(info.licence, allow):
            return _verify_digest(entry.require_info(), entry.path)
        log.info(
            "weights %s are not used: licence class %s, allowed is %s",
            info.name,
            info.licence,
            resolve_allow(allow)[0],
        )
    return None


def find_weights(role: str, name: str = "", allow: str = "any") -> InstalledWeights:
    """The weights called `name`, or in the file `name`; "" is the best on this machine.

    Raises WeightsError: none there, for another role, damaged, or not allowed. The message says what to run.
    """
    _check_choice("role", role, ROLES)
    if name and (os.sep in name or "/" in name or name.endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES))):
        return _find_in_file(role, Path(name).expanduser(), allow)
    found = [entry for entry in _list_weights_files(role if not name else "") if name in ("", entry.name)]
    if not found:
        raise WeightsError(_explain_absence(role, name))
    allowed = [entry for entry in found if entry.info is None or is_allowed(entry.info.licence, allow)]
    entry = (allowed or found)[0]
    return _check_role(role, entry.require_info(), entry.path, allow)


def _find_in_file(role: str, path: Path, allow: str) -> InstalledWeights:
    if not path.exists():
        raise WeightsError(f"weights {path}: no such file; `fsgan weights list` says what is on this machine")
    if path.name.endswith(PICKLED_SUFFIXES):
        raise WeightsError(
            f"weights {path}: a file as published is not used directly; bring it in once with: fsgan "
            f"weights import {path}"
        )
    return _check_role(role, read_weights_info(path), path, allow)


def _check_role(role: str, info: WeightsInfo, path: Path, allow: str) -> InstalledWeights:
    if info.role != role:
        raise WeightsError(
            f"{path}: weights {info.name} are for {info.role}, not for {role}; `fsgan weights list` "
            "says which are for what"
        )
    _check_allowed(info, path, allow)
    return _verify_digest(info, path)


def _explain_absence(role: str, name: str) -> str:
    known = [info for info in load_catalogue().values() if info.role == role]
    wanted = load_catalogue().get(name) or next(iter(sorted(known, key=lambda info: not info.default)), None)
    what = f"weights {name} are not on this machine" if name else f"there are no weights for {role} on this machine"
    ways = "`fsgan weights import FOLDER` (a folder with the published files)"
    if wanted is not None and wanted.source:
        ways += f" or `fsgan weights fetch {wanted.name}`"
    return f"{what}; get them with {ways}; `fsgan weights list` says where they are looked for"
