"""Brings the authors' files in: each is recognised by its content, converted to .safetensors, and its digest recorded.

What a file is, its tensors decide (names and shapes fit one architecture alone) and the architecture string that it
carries; its name only tells apart what is built alike, as three of the published ones are.
"""

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
    PATH_VARIABLE,
    PICKLED_SUFFIXES,
    WEIGHTS_SUFFIX,
    WeightsInfo,
    find_user_folder,
    list_search_folders,
    load_catalogue,
    make_weights_metadata,
    read_weights_info,
)
from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest, record_digest
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from fsgan_core.runtime.atomic import probe_folder

if TYPE_CHECKING:
    import torch

    from fsgan_core.networks.weights.checkpoint import Checkpoint

__all__ = ["ImportResult", "find_weights_files", "find_writable_folder", "import_weights", "recognise_weights"]

log = logging.getLogger(__name__)

ORIGIN_KEY = "origin_sha256"
# How the note of weights ends whose licence class somebody gave.
GIVEN_LICENCE_NOTE = "Licence class set at import."
FEATURES_PREFIX = "features."
FEATURES_ARCH = "vgg.vgg19_features()"
DETECTOR_PATTERN = re.compile(r"dsfd", re.IGNORECASE)
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Constructor, channels in -> role and landmarks of a network that is in no list.
NETWORK_FAMILIES: Mapping[tuple[str, int], tuple[str, int]] = {
    ("res_unet.MultiScaleResUNet", 101): ("reenact", 98),
    ("res_unet.MultiScaleResUNet", 71): ("reenact", 68),
    ("res_unet_split.MultiScaleResUNet", 101): ("reenact", 98),
    ("res_unet_split.MultiScaleResUNet", 71): ("reenact", 68),
    ("res_unet.MultiScaleResUNet", 4): ("inpaint", 0),
    ("res_unet.MultiScaleResUNet", 7): ("blend", 0),
    ("simple_unet.UNet", 3): ("mask", 0),
    ("simple_unet_02.UNet", 3): ("mask", 0),
    ("hrnet.hrnet_wlfw", 3): ("landmarks", 98),
    ("hopenet.Hopenet", 3): ("pose", 0),
}
# The crop scale stands in a published name: the number pair after the resolution.
CROP_PATTERN = re.compile(r"_(\d+)_(\d)_(\d)(?:_|$)")


@dataclass(frozen=True)
class ImportResult:
    """What became of one file. state: "imported", "kept" (it was there already), "unused" (known, of no use here),
    "refused". path, sha256: of the .safetensors. message: why, or what else there is to say."""

    file: Path
    state: str
    info: WeightsInfo | None = None
    path: Path | None = None
    sha256: str = ""
    message: str = ""


def find_weights_files(place: Path) -> tuple[Path, ...]:
    """The files that may hold weights: `place` itself, or what lies below it (links to folders are not followed).
    Raises WeightsError when there is nothing."""
    try:
        if not place.is_dir():
            place.stat()
            return (place,)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{place}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    found = [
        Path(folder) / name
        for folder, _, names in os.walk(place)
        for name in names
        if name.lower().endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES)) and not name.startswith(".")
    ]
    if not found:
        raise WeightsError(f"{place}: no file in it ends in {', '.join((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES))}")
    return tuple(sorted(found))


def find_writable_folder() -> Path:
    """Where weights are brought to: the first folder of $FSGAN_WEIGHTS that can be written, else the user's. One that
    is not there is made. Raises OutputError when none can be written."""
    own = find_user_folder()
    given = os.environ.get(PATH_VARIABLE, "").strip()
    for folder in list_search_folders() if given else ():
        if folder == own:
            break
        new = not folder.exists()
        try:
            probe_folder(folder)
        except OutputError as error:
            log.info("weights are not put into %s: %s", folder, error)
            continue
        if new:
            log.warning("%s of %s was not there; the folder has been made", folder, PATH_VARIABLE)
        return folder
    try:
        probe_folder(own)
    except OutputError as error:
        raise OutputError(f"{error}; set {PATH_VARIABLE} to a folder for weights that can be written") from error
    return own


def import_weights(file: Path, folder: Path, *, name: str = "", licence: str = "") -> ImportResult:
    """Converts `file` into `folder`; a file that is no weights, or cannot be told, is "refused" and not raised.

    name: which published weights it is, or what to call it. licence: the studio's own finding, one of LICENCES; ""
    leaves what was given for the same file before. Doing it again changes nothing. Raises OutputError, and
    WeightsError for a wrong `name` or `licence`.
    """
    if licence and licence not in LICENCE_CLASSES:
        raise WeightsError(f"licence class {licence!r} is none of {', '.join(LICENCE_CLASSES)}")
    if name and not NAME_PATTERN.fullmatch(name):
        raise WeightsError(f"{name!r} cannot be a name of weights: letters, digits, dot, dash and underscore alone")
    try:
        origin = _find_origin(file)
        there = _find_existing_import(file, folder, origin, name, licence)
        if there is not None:
            return there
        from fsgan_core.networks.weights.checkpoint import read_checkpoint

        if _is_detector(file):
            info = next(info for info in load_catalogue().values() if info.role == "detector")
            return ImportResult(file, "unused", info, message=info.note)
        checkpoint = read_checkpoint(file)
        info, state = recognise_weights(checkpoint, file, name)
    except WeightsError as error:
        return ImportResult(file, "refused", message=str(error))
    licence = licence or _find_given_licence(folder / f"{info.name}{WEIGHTS_SUFFIX}", origin)
    if licence:
        note = f"{info.note.removesuffix(GIVEN_LICENCE_NOTE).rstrip()} {GIVEN_LICENCE_NOTE}".strip()
        info = dataclasses.replace(info, licence=licence, note=note)
    return _store_weights(file, folder, origin, info, state)


def _find_given_licence(path: Path, origin: str) -> str:
    """The licence class that somebody gave the weights at `path`, where they were made from the same file; else ""."""
    with contextlib.suppress(WeightsError):
        if read_safetensors_header(path).metadata.get(ORIGIN_KEY) == origin:
            info = read_weights_info(path)
            return info.licence if info.note.endswith(GIVEN_LICENCE_NOTE) else ""
    return ""


def _store_weights(
    file: Path, folder: Path, origin: str, info: WeightsInfo, state: Mapping[str, torch.Tensor]
) -> ImportResult:
    from fsgan_core.networks.weights.checkpoint import write_checkpoint

    path = folder / f"{info.name}{WEIGHTS_SUFFIX}"
    before = _describe_replaced(path, origin)
    write_checkpoint(path, info.arch, state, {**make_weights_metadata(info), ORIGIN_KEY: origin})
    digest = record_digest(path)
    message = f"{before[1]}; its SHA-256 was {before[0]}, now it is {digest}" if before and before[0] != digest else ""
    return ImportResult(file, "imported", info, path, digest, message)


def _describe_replaced(path: Path, origin: str) -> tuple[str, str] | None:
    """Digest of the weights that lie at `path`, as recorded, and what it means that others take their place."""
    try:
        digest = read_recorded_digest(path) or digest_weights_file(path)
    except WeightsError:
        return None
    try:
        said = read_safetensors_header(path).metadata
    except WeightsError:
        return digest, (
            f"{path.name}, which was broken, has been replaced by other weights; a licence class that was "
            "given before must be given again"
        )
    if said.get(ORIGIN_KEY) == origin:
        return digest, f"what {path.name} says of itself has been changed"
    lost = ""
    if said.get("note", "").endswith(GIVEN_LICENCE_NOTE):
        lost = f" (their licence class '{said.get('licence', '')}', set at import, was not for these)"
    return digest, f"other weights under the name {path.name.removesuffix(WEIGHTS_SUFFIX)} have been replaced{lost}"


def _find_origin(file: Path) -> str:
    """Digest of the file as published: of one that was brought in before, what it was made from."""
    if file.name.endswith(WEIGHTS_SUFFIX):
        return read_safetensors_header(file).metadata.get(ORIGIN_KEY) or digest_weights_file(file)
    if not file.is_file():
        raise WeightsError(f"{file}: {'a folder' if file.is_dir() else 'not a plain file'}, not a weights file")
    return digest_weights_file(file)


def _find_existing_import(file: Path, folder: Path, origin: str, name: str, licence: str) -> ImportResult | None:
    """What an earlier import made of the same file, where a new one would make the same."""
    for path in sorted(folder.glob(f"*{WEIGHTS_SUFFIX}")):
        try:
            said = read_safetensors_header(path).metadata
            if said.get(ORIGIN_KEY) != origin:
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
                == {key: text for key, text in said.items() if key not in (ORIGIN_KEY, "arch")}
            )
            wanted = name in ("", info.name) and licence in ("", info.licence)
            digest = digest_weights_file(path)
            if wanted and same_entry and digest == read_recorded_digest(path):
                return ImportResult(file, "kept", info, path, digest)
        except WeightsError as error:
            log.info("imported anew: %s", error)
    return None


def _is_detector(file: Path) -> bool:
    return bool(DETECTOR_PATTERN.search(file.name))


def recognise_weights(
    checkpoint: Checkpoint, file: Path, name: str = ""
) -> tuple[WeightsInfo, Mapping[str, torch.Tensor]]:
    """Which weights `checkpoint` holds, and its tensors under the names that our networks have.

    A file under a published name that is of the published kind is taken for the published one. Under any other name it
    keeps that name: somebody may have trained the same network. file: its name decides where content alone cannot.
    name: what the user says that it is. Raises WeightsError.
    """
    arch, state = _match_architecture(checkpoint, file)
    if checkpoint.metadata.get("role"):
        said = read_weights_info(file)
        return dataclasses.replace(said, name=_check_name(name or said.name, file), arch=arch), state
    family = _find_family(arch)
    known = load_catalogue().get(name or _strip_suffixes(file))
    if known is not None and known.arch and _is_compatible(known, arch, family):
        return dataclasses.replace(known, arch=arch), state
    if known is not None:
        raise WeightsError(
            f"{file}: it is not {known.name}: its network is {arch}; if it is your own, give it another "
            "name with --name"
        )
    return _describe_own_weights(name or _strip_suffixes(file), arch, family, file), state


def _match_architecture(checkpoint: Checkpoint, file: Path) -> tuple[str, Mapping[str, torch.Tensor]]:
    """The architecture that the tensors are of, and the tensors. Raises WeightsError."""
    from fsgan_core.networks.architectures.build import build_network, parse_architecture
    from fsgan_core.networks.weights.checkpoint import check_state

    state: Mapping[str, torch.Tensor] = checkpoint.state
    arch = checkpoint.arch
    try:
        if arch:
            parse_architecture(arch)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error
    if any(key.startswith(FEATURES_PREFIX) for key in state):
        # A VGG with its classifier, which only its own training needed.
        arch = FEATURES_ARCH
        state = {
            key.removeprefix(FEATURES_PREFIX): tensor
            for key, tensor in state.items()
            if key.startswith(FEATURES_PREFIX)
        }
    if arch:
        check_state(file, arch, build_network(arch, device="meta").state_dict(), state)
        return arch, state
    for known in dict.fromkeys(info.arch for info in load_catalogue().values() if info.arch):
        try:
            check_state(file, known, build_network(known, device="meta").state_dict(), state)
        except WeightsError:
            continue
        return known, state
    raise WeightsError(
        f"{file}: {len(state)} tensors ({next(iter(state))}, ...) that fit no network that is known, "
        "and the file does not say its architecture"
    )


def _strip_suffixes(file: Path) -> str:
    name = re.sub(r" ?\(\d+\)", "", file.name)  # what browsers add to a second copy
    while name.lower().endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES)):
        name = name[: name.rindex(".")]
    return name


def _is_same_architecture(one: str, other: str) -> bool:
    from fsgan_core.networks.architectures.build import parse_architecture

    return parse_architecture(one) == parse_architecture(other)


def _find_family(arch: str) -> tuple[str, int] | None:
    """Role and landmarks of any network of this kind; None: not one that a swap has use for, or not to be told."""
    from fsgan_core.networks.architectures.build import parse_architecture

    parsed = parse_architecture(arch)
    channels = parsed.arguments.get("in_nc", parsed.arguments.get("in_channels", 3))
    return NETWORK_FAMILIES.get((parsed.constructor, channels))


def _is_compatible(known: WeightsInfo, arch: str, family: tuple[str, int] | None) -> bool:
    """Whether a network of this architecture can be what `known` is: the same, or one of another width."""
    return _is_same_architecture(known.arch, arch) or (known.role, known.landmarks) == family


def _describe_own_weights(name: str, arch: str, family: tuple[str, int] | None, file: Path) -> WeightsInfo:
    """Weights that are in no list: their use by their network, their crop scale by their name. Raises WeightsError."""
    _check_name(name, file)
    size, crop = _parse_name_numbers(name if CROP_PATTERN.search(name) else _strip_suffixes(file))
    alike = [info for info in load_catalogue().values() if info.arch and _is_same_architecture(info.arch, arch)]
    fitting = [info for info in alike if crop in (None, info.crop)] or alike
    if len({(info.role, info.landmarks, info.crop) for info in fitting}) > 1:
        raise WeightsError(
            f"{file}: its tensors fit {' and '.join(info.name for info in fitting)}; say which it "
            "is with --name, or give the file its published name"
        )
    if fitting:
        like = fitting[0]
        return WeightsInfo(
            name,
            like.role,
            file.name,
            arch,
            like.landmarks,
            crop or like.crop,
            resolution=like.resolution,
            note=f"Built like {like.name}. If it is that one, import it with --name {like.name}",
        )
    if family is None:
        raise WeightsError(f"{file}: a network {arch}, which no stage uses")
    return WeightsInfo(
        name, family[0], file.name, arch, family[1], crop or 1.2, resolution=size or 256, note="Not a published file."
    )


def _check_name(name: str, file: Path) -> str:
    """`name`, which becomes a file's. Raises WeightsError when it might lead elsewhere."""
    if not NAME_PATTERN.fullmatch(name):
        raise WeightsError(f"{file}: {name[:100]!r} cannot be a name of weights; give it one with --name")
    return name


def _parse_name_numbers(name: str) -> tuple[int | None, float | None]:
    """Resolution and crop scale, where a name tells them as the published ones do."""
    found = CROP_PATTERN.search(name)
    if found is None or int(found.group(1)) % 32 or not 32 <= int(found.group(1)) <= 4096:
        return None, None
    crop = float(f"{found.group(2)}.{found.group(3)}")
    return int(found.group(1)), crop if 1.0 <= crop <= 4.0 else None


def import_all_weights(
    place: Path,
    folder: Path,
    *,
    name: str = "",
    licence: str = "",
    on_progress: Callable[[int, int, Path], None] | None = None,
) -> Iterator[ImportResult]:
    """`bring_in` for every weights file at `place`. tell: called before each with its number, how many there are, and
    which it is. Raises WeightsError when there are none, or a name is given for several."""
    files = find_weights_files(place)
    if name and len(files) > 1:
        raise WeightsError(f"{place}: --name is for a single file; there are {len(files)} in it")
    for number, file in enumerate(files):
        if on_progress is not None:
            on_progress(number, len(files), file)
        yield import_weights(file, folder, name=name, licence=licence)
