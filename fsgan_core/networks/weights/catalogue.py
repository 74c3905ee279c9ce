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
from fsgan_core.networks.weights.digests import file_digest, recorded_digest
from fsgan_core.networks.weights.safetensors_header import read_header

__all__ = ["ALLOWS", "AUTO_ROLES", "LICENCES", "ROLES", "Installed", "Weight", "best_weights", "broken", "catalogue",
           "find_weights", "installed", "is_allowed", "present", "search_path", "user_folder", "weight_metadata"]

log = logging.getLogger(__name__)

ROLES = ("reenact", "mask", "inpaint", "blend", "landmarks", "pose", "identity", "attributes", "detector")
# What an analysis and a swap take by themselves; fine-tuning takes "identity".
AUTO_ROLES = ("reenact", "mask", "inpaint", "blend", "landmarks")
LICENCES = ("commercial", "non-commercial", "research", "unknown")
# What a setting allows, from the laxest to the strictest.
ALLOWS = {"any": LICENCES, "research": ("commercial", "non-commercial", "research"),
          "non-commercial": ("commercial", "non-commercial"), "commercial": ("commercial",)}
PATH_VARIABLE = "FSGAN_WEIGHTS"
ALLOW_VARIABLE = "FSGAN_WEIGHTS_ALLOW"
PACKAGED_VARIABLE = "FSGAN_WEIGHTS_PACKAGED"  # 0: as if none came with the package
SUFFIX = ".safetensors"
PICKLED_SUFFIXES = (".pth", ".pt", ".tar", ".pkl", ".ckpt", ".bin")


@dataclass(frozen=True)
class Weight:
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
        _one_of("role", self.role, ROLES)
        _one_of("licence", self.licence, LICENCES)
        _one_of("landmarks", self.landmarks, (0, 68, 98))
        if not 1.0 <= self.crop <= 4.0 or not 32 <= self.resolution <= 4096:
            raise WeightsError(f"weights {self.name}: crop {self.crop} or resolution {self.resolution} is out of range")


@dataclass(frozen=True)
class Installed:
    """Weights on this machine. path: the .safetensors. sha256: the digest of that file, as it is now."""

    weight: Weight
    path: Path
    sha256: str


@dataclass(frozen=True)
class _Entry:
    """A file of the search path. name: its weights' own name, else the file's. fault: why it cannot be read; `weight`
    is then what stands under that name in the catalogue or further on in the path, if anything does."""

    name: str
    path: Path
    weight: Weight | None
    fault: str = ""

    def sound(self) -> Weight:
        """Raises WeightsError when the file cannot be read."""
        if self.fault or self.weight is None:
            raise WeightsError(f"{self.fault}; as long as it lies there, no other weights are used in its place")
        return self.weight


_told: set[str] = set()


def _one_of(what: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise WeightsError(f"weights: {what} {value!r} is none of {', '.join(map(str, choices))}")


@functools.cache
def catalogue() -> Mapping[str, Weight]:
    """The published weights and ours by name, the better ones of a role first."""
    rows = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text("utf-8"))["weights"]
    return {row["name"]: Weight(**row) for row in rows}


def user_folder() -> Path:
    """Where weights of this user are kept. It need not exist."""
    import platformdirs

    return Path(platformdirs.user_data_dir("fsgan", appauthor=False)) / "weights"


def search_path() -> tuple[Path, ...]:
    """The folders that are looked through, first to last: $FSGAN_WEIGHTS (several are parted as in PATH), the user's
    folder, the package's (not with FSGAN_WEIGHTS_PACKAGED=0). They need not exist."""
    given = [Path(part).expanduser() for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part.strip()]
    packaged = () if os.environ.get(PACKAGED_VARIABLE, "").strip() == "0" else (Path(__file__).parent,)
    return tuple(dict.fromkeys((*given, user_folder(), *packaged)))


def present(role: str = "") -> tuple[tuple[Weight, Path], ...]:
    """What lies in the search path for `role` ("" is all), best first; of two with one name the first found. What
    cannot be read is logged, once, and left out, with what it hides."""
    return tuple((entry.weight, entry.path) for entry in _entries(role) if entry.weight is not None and not entry.fault)


def broken() -> tuple[tuple[Path, str], ...]:
    """The .safetensors of the search path that cannot be read as weights, and why."""
    return tuple((path, found) for path, found in _looked() if isinstance(found, str))


def _looked() -> Iterator[tuple[Path, Weight | str]]:
    """Every file of the search path, and what it holds or why that cannot be read."""
    for folder in search_path():
        for path in _files(folder):
            try:
                yield path, read_weight(path)
            except WeightsError as error:
                if str(error) not in _told:
                    _told.add(str(error))
                    log.warning("weights left out: %s", error)
                yield path, str(error)


def _entries(role: str = "") -> list[_Entry]:
    """The first file of each name, for `role` ("" is all, what is unknown among them), best first. A file that cannot
    be read keeps its place: on a machine where it is whole it would be used."""
    found: dict[str, _Entry] = {}
    for path, held in _looked():
        if isinstance(held, str):
            name = path.name.removesuffix(SUFFIX)
            found.setdefault(name, _Entry(name, path, catalogue().get(name), held))
            continue
        before = found.setdefault(held.name, _Entry(held.name, path, held))
        if before.weight is None:
            found[held.name] = dataclasses.replace(before, weight=held)
    order = list(catalogue())

    def rank(entry: _Entry) -> tuple[bool, int, str]:
        default = entry.weight is not None and entry.weight.default
        return not default, order.index(entry.name) if entry.name in order else len(order), entry.name

    return sorted((entry for entry in found.values()
                   if role == "" or (entry.weight is not None and entry.weight.role == role)), key=rank)


def _files(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)
                       and not entry.name.startswith("."))
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("weights folder %s cannot be read: %s", folder, error.strerror or error)
        return
    for name in names:
        yield folder / name


def read_weight(path: Path) -> Weight:
    """What the .safetensors at `path` says of itself; what it leaves out is taken from the catalogue's entry of its
    name. Raises WeightsError: unreadable, or no weights of ours."""
    header = read_header(path)
    said = header.metadata
    name = said.get("name") or path.name.removesuffix(SUFFIX)
    known = catalogue().get(name)
    facts: dict[str, Any] = {} if known is None else dataclasses.asdict(known)
    try:
        for field in dataclasses.fields(Weight):
            if field.name in said:
                facts[field.name] = _value(said[field.name], field.default)
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata cannot be read ({error})") from error
    if not facts.get("role") or not facts.get("arch"):
        raise WeightsError(f"{path}: the file does not say which weights it holds (role and arch in its metadata); "
                           f"bring it in with: fsgan weights import {path}")
    try:
        return Weight(**{**facts, "name": name, "size": header.size})
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _value(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    return type(like)(text) if isinstance(like, (int, float)) else text


def weight_metadata(weight: Weight) -> dict[str, str]:
    """The metadata of a .safetensors that holds `weight` (its size and architecture stand elsewhere in the file)."""
    facts = dataclasses.asdict(weight)
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in facts.items()
            if name not in ("size", "arch") and value != ""}


def installed(role: str = "") -> tuple[Installed, ...]:
    """All weights on this machine for `role` ("" is all), best first, with their digests. Raises WeightsError when one
    is damaged; a file that is nobody's weights does not count."""
    return tuple(_with_digest(entry.sound(), entry.path) for entry in _entries(role) if entry.weight is not None)


def _with_digest(weight: Weight, path: Path) -> Installed:
    """Raises WeightsError when the file is not the one that was brought in."""
    digest = file_digest(path)
    recorded = recorded_digest(path)
    if recorded and recorded != digest:
        raise WeightsError(f"{path}: the file has changed since it was imported (SHA-256 {digest[:12]}..., recorded "
                           f"{recorded[:12]}...); import or fetch it again, or delete {path.name}.sha256 if the change "
                           "was meant")
    return Installed(weight, path, digest)


def limit(allow: str) -> tuple[str, str]:
    """The stricter of `allow` and the studio's $FSGAN_WEIGHTS_ALLOW, and the name of the setting that it came from.
    Raises WeightsError for a word that is none of ALLOWS."""
    _one_of("weights.allow", allow, tuple(ALLOWS))
    studio = os.environ.get(ALLOW_VARIABLE, "").strip()
    if not studio:
        return allow, "weights.allow"
    _one_of(f"the environment variable {ALLOW_VARIABLE}", studio, tuple(ALLOWS))
    strictness = list(ALLOWS)
    if strictness.index(studio) > strictness.index(allow):
        return studio, f"the environment variable {ALLOW_VARIABLE}"
    return allow, "weights.allow"


def is_allowed(licence: str, allow: str = "any") -> bool:
    """Whether weights of this licence class may be used. Raises WeightsError for an unknown `allow`."""
    return licence in ALLOWS[limit(allow)[0]]


def _check_allowed(weight: Weight, path: Path, allow: str) -> None:
    level, setting = limit(allow)
    if weight.licence not in ALLOWS[level]:
        raise WeightsError(
            f"{path}: weights {weight.name} are of the licence class '{weight.licence}', and {setting} = {level} "
            f"allows {' and '.join(ALLOWS[level])} alone; name other weights, choose an engine without weights, "
            f"or loosen the setting if you may (`fsgan weights info {weight.name}` says what is known of the licence)")


def best_weights(role: str, allow: str = "any") -> Installed | None:
    """What "auto" uses: the best weights on this machine that are meant for it and allowed; None without any.

    Raises WeightsError when that file is damaged: machines must not silently differ.
    """
    for entry in _entries(role):
        weight = entry.weight
        if weight is None or not weight.default:
            continue
        if is_allowed(weight.licence, allow):
            return _with_digest(entry.sound(), entry.path)
        log.info("weights %s are not used: licence class %s, allowed is %s", weight.name, weight.licence,
                 limit(allow)[0])
    return None


def find_weights(role: str, name: str = "", allow: str = "any") -> Installed:
    """The weights called `name`, or in the file `name`; "" is the best on this machine.

    Raises WeightsError: none there, for another role, damaged, or not allowed. The message says what to run.
    """
    _one_of("role", role, ROLES)
    if name and (os.sep in name or "/" in name or name.endswith((SUFFIX, *PICKLED_SUFFIXES))):
        return _from_file(role, Path(name).expanduser(), allow)
    found = [entry for entry in _entries(role if not name else "") if name in ("", entry.name)]
    if not found:
        raise WeightsError(_absent(role, name))
    allowed = [entry for entry in found if entry.weight is None or is_allowed(entry.weight.licence, allow)]
    entry = (allowed or found)[0]
    return _checked(role, entry.sound(), entry.path, allow)


def _from_file(role: str, path: Path, allow: str) -> Installed:
    if not path.exists():
        raise WeightsError(f"weights {path}: no such file; `fsgan weights list` says what is on this machine")
    if path.name.endswith(PICKLED_SUFFIXES):
        raise WeightsError(f"weights {path}: a file as published is not used directly; bring it in once with: fsgan "
                           f"weights import {path}")
    return _checked(role, read_weight(path), path, allow)


def _checked(role: str, weight: Weight, path: Path, allow: str) -> Installed:
    if weight.role != role:
        raise WeightsError(f"{path}: weights {weight.name} are for {weight.role}, not for {role}; `fsgan weights list` "
                           "says which are for what")
    _check_allowed(weight, path, allow)
    return _with_digest(weight, path)


def _absent(role: str, name: str) -> str:
    known = [weight for weight in catalogue().values() if weight.role == role]
    wanted = catalogue().get(name) or next(iter(sorted(known, key=lambda weight: not weight.default)), None)
    what = f"weights {name} are not on this machine" if name else f"there are no weights for {role} on this machine"
    ways = "`fsgan weights import FOLDER` (a folder with the published files)"
    if wanted is not None and wanted.source:
        ways += f" or `fsgan weights fetch {wanted.name}`"
    return f"{what}; get them with {ways}; `fsgan weights list` says where they are looked for"
