"""Imports published weights: recognises each file by its content, converts it to .safetensors, records its digest.

The tensors (their names and shapes fit only one architecture) and the architecture string decide what a file is. Its
name only distinguishes networks with the same layout; three of the published ones share one.
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
# Ends the note of weights whose licence class was set by the user.
GIVEN_LICENCE_NOTE = "Licence class set at import."
FEATURES_PREFIX = "features."
FEATURES_ARCH = "vgg.vgg19_features()"
DETECTOR_PATTERN = re.compile(r"dsfd", re.IGNORECASE)
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Constructor and input channels -> role and landmarks of a network that is not in the catalogue.
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
# Published names contain the crop scale: the pair of numbers after the resolution.
CROP_PATTERN = re.compile(r"_(\d+)_(\d)_(\d)(?:_|$)")


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


def recognise_weights(
    checkpoint: Checkpoint, file: Path, name: str = ""
) -> tuple[WeightsInfo, Mapping[str, torch.Tensor]]:
    """Finds out which weights a checkpoint holds.

    A file with a published name and the published layout counts as the published one. With any other name it keeps that
    name, because somebody may have trained the same network.

    Args:
        checkpoint: The content of the file.
        file: The file; its name decides where the content alone cannot.
        name: What the user says it is, or "".

    Returns:
        The facts, and the tensors under the names of our networks.

    Raises:
        WeightsError: It fits no known network, or is not what `name` says.
    """
    arch, state = _match_architecture(checkpoint, file)
    if checkpoint.metadata.get("role"):
        info = read_weights_info(file)
        return dataclasses.replace(info, name=_check_name(name or info.name, file), arch=arch), state
    family = _find_family(arch)
    known = load_catalogue().get(name or _strip_suffixes(file))
    if known is not None and known.arch and _is_compatible(known, arch, family):
        return dataclasses.replace(known, arch=arch), state
    if known is not None:
        raise WeightsError(
            f"{file}: this is not {known.name}: its network is {arch}; if it is your own, give it another "
            "name with --name"
        )
    return _describe_own_weights(name or _strip_suffixes(file), arch, family, file), state


def _match_architecture(checkpoint: Checkpoint, file: Path) -> tuple[str, Mapping[str, torch.Tensor]]:
    """Finds the architecture that the tensors fit; returns it and the tensors. Raises WeightsError."""
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
        # A VGG with its classifier. Only its own training needs the classifier.
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
        f"{file}: its {len(state)} tensors ({next(iter(state))}, ...) fit no known network, and the file does not "
        "state its architecture"
    )


def _strip_suffixes(file: Path) -> str:
    name = re.sub(r" ?\(\d+\)", "", file.name)  # browsers add " (1)" to a second copy
    while name.lower().endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES)):
        name = name[: name.rindex(".")]
    return name


def _is_same_architecture(one: str, other: str) -> bool:
    from fsgan_core.networks.architectures.build import parse_architecture

    return parse_architecture(one) == parse_architecture(other)


def _find_family(arch: str) -> tuple[str, int] | None:
    """Finds role and landmarks of a network of this kind; None if no stage uses it, or if it is ambiguous."""
    from fsgan_core.networks.architectures.build import parse_architecture

    parsed = parse_architecture(arch)
    channels = parsed.arguments.get("in_nc", parsed.arguments.get("in_channels", 3))
    return NETWORK_FAMILIES.get((parsed.constructor, channels))


def _is_compatible(known: WeightsInfo, arch: str, family: tuple[str, int] | None) -> bool:
    """Whether a network of this architecture can be `known`: the same, or one of its version with other widths."""
    from fsgan_core.networks.architectures.build import parse_architecture

    same_kind = (known.role, known.landmarks) == family and parse_architecture(arch).version == known.version
    return _is_same_architecture(known.arch, arch) or same_kind


def _describe_own_weights(name: str, arch: str, family: tuple[str, int] | None, file: Path) -> WeightsInfo:
    """Describes weights that are not in the catalogue, by their network and their name. Raises WeightsError."""
    _check_name(name, file)
    size, crop = _parse_name_numbers(name if CROP_PATTERN.search(name) else _strip_suffixes(file))
    alike = [info for info in load_catalogue().values() if info.arch and _is_same_architecture(info.arch, arch)]
    fitting = [info for info in alike if crop in (None, info.crop)] or alike
    if len({(info.role, info.landmarks, info.crop) for info in fitting}) > 1:
        raise WeightsError(
            f"{file}: its tensors fit {' and '.join(info.name for info in fitting)}; say which it "
            "is with --name, or rename the file to its published name"
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
            heat_maps=like.heat_maps,
            note=f"Same layout as {like.name}. If it is that one, import it with --name {like.name}",
        )
    if family is None:
        raise WeightsError(f"{file}: no stage uses its network, {arch}")
    return WeightsInfo(
        name, family[0], file.name, arch, family[1], crop or 1.2, resolution=size or 256, note="Not a published file."
    )


def _check_name(name: str, file: Path) -> str:
    """Checks a name that becomes a file name. Raises WeightsError if it could lead to another folder."""
    if not NAME_PATTERN.fullmatch(name):
        raise WeightsError(f"{file}: {name[:100]!r} cannot name weights; give a name with --name")
    return name


def _parse_name_numbers(name: str) -> tuple[int | None, float | None]:
    """Reads resolution and crop scale from a name in the published form; None for what it does not state."""
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
