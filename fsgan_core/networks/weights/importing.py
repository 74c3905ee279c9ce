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
from fsgan_core.networks.weights.catalogue import (
    LICENCES,
    PATH_VARIABLE,
    PICKLED_SUFFIXES,
    SUFFIX,
    Weight,
    catalogue,
    read_weight,
    search_path,
    user_folder,
    weight_metadata,
)
from fsgan_core.networks.weights.digests import file_digest, record_digest, recorded_digest
from fsgan_core.networks.weights.safetensors_header import read_header
from fsgan_core.runtime.atomic import probe_folder

if TYPE_CHECKING:
    import torch

    from fsgan_core.networks.weights.checkpoint import Checkpoint

__all__ = ["Brought", "bring_in", "recognise", "weights_files", "writable_folder"]

log = logging.getLogger(__name__)

ORIGIN = "origin_sha256"
# How the note of weights ends whose licence class somebody gave.
GIVEN = "Licence class set at import."
FEATURES = "features."
FEATURES_ARCH = "vgg.vgg19_features()"
DETECTOR_FILE = re.compile(r"dsfd", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Constructor, channels in -> role and landmarks of a network that is in no list.
FAMILIES: Mapping[tuple[str, int], tuple[str, int]] = {
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
CROP = re.compile(r"_(\d+)_(\d)_(\d)(?:_|$)")


@dataclass(frozen=True)
class Brought:
    """What became of one file. state: "imported", "kept" (it was there already), "unused" (known, of no use here),
    "refused". path, sha256: of the .safetensors. message: why, or what else there is to say."""

    file: Path
    state: str
    weight: Weight | None = None
    path: Path | None = None
    sha256: str = ""
    message: str = ""


def weights_files(place: Path) -> tuple[Path, ...]:
    """The files that may hold weights: `place` itself, or what lies below it (links to folders are not followed).
    Raises WeightsError when there is nothing."""
    try:
        if not place.is_dir():
            place.stat()
            return (place,)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{place}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    found = [Path(folder) / name for folder, _, names in os.walk(place) for name in names
             if name.lower().endswith((SUFFIX, *PICKLED_SUFFIXES)) and not name.startswith(".")]
    if not found:
        raise WeightsError(f"{place}: no file in it ends in {', '.join((SUFFIX, *PICKLED_SUFFIXES))}")
    return tuple(sorted(found))


def writable_folder() -> Path:
    """Where weights are brought to: the first folder of $FSGAN_WEIGHTS that can be written, else the user's. One that
    is not there is made. Raises OutputError when none can be written."""
    own = user_folder()
    given = os.environ.get(PATH_VARIABLE, "").strip()
    for folder in search_path() if given else ():
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


def bring_in(file: Path, folder: Path, *, name: str = "", licence: str = "") -> Brought:
    """Converts `file` into `folder`; a file that is no weights, or cannot be told, is "refused" and not raised.

    name: which published weights it is, or what to call it. licence: the studio's own finding, one of LICENCES; ""
    leaves what was given for the same file before. Doing it again changes nothing. Raises OutputError, and
    WeightsError for a wrong `name` or `licence`.
    """
    if licence and licence not in LICENCES:
        raise WeightsError(f"licence class {licence!r} is none of {', '.join(LICENCES)}")
    if name and not NAME.fullmatch(name):
        raise WeightsError(f"{name!r} cannot be a name of weights: letters, digits, dot, dash and underscore alone")
    try:
        origin = _origin(file)
        there = _there(file, folder, origin, name, licence)
        if there is not None:
            return there
        from fsgan_core.networks.weights.checkpoint import read_checkpoint

        if _is_detector(file):
            weight = next(weight for weight in catalogue().values() if weight.role == "detector")
            return Brought(file, "unused", weight, message=weight.note)
        checkpoint = read_checkpoint(file)
        weight, state = recognise(checkpoint, file, name)
    except WeightsError as error:
        return Brought(file, "refused", message=str(error))
    licence = licence or _given_before(folder / f"{weight.name}{SUFFIX}", origin)
    if licence:
        note = f"{weight.note.removesuffix(GIVEN).rstrip()} {GIVEN}".strip()
        weight = dataclasses.replace(weight, licence=licence, note=note)
    return _store(file, folder, origin, weight, state)


def _given_before(path: Path, origin: str) -> str:
    """The licence class that somebody gave the weights at `path`, where they were made from the same file; else ""."""
    with contextlib.suppress(WeightsError):
        if read_header(path).metadata.get(ORIGIN) == origin:
            weight = read_weight(path)
            return weight.licence if weight.note.endswith(GIVEN) else ""
    return ""


def _store(file: Path, folder: Path, origin: str, weight: Weight, state: Mapping[str, torch.Tensor]) -> Brought:
    from fsgan_core.networks.weights.checkpoint import write_checkpoint

    path = folder / f"{weight.name}{SUFFIX}"
    before = _replaced(path, origin)
    write_checkpoint(path, weight.arch, state, {**weight_metadata(weight), ORIGIN: origin})
    digest = record_digest(path)
    message = f"{before[1]}; its SHA-256 was {before[0]}, now it is {digest}" if before and before[0] != digest else ""
    return Brought(file, "imported", weight, path, digest, message)


def _replaced(path: Path, origin: str) -> tuple[str, str] | None:
    """Digest of the weights that lie at `path`, as recorded, and what it means that others take their place."""
    try:
        digest = recorded_digest(path) or file_digest(path)
    except WeightsError:
        return None
    try:
        said = read_header(path).metadata
    except WeightsError:
        return digest, (f"{path.name}, which was broken, has been replaced by other weights; a licence class that was "
                        "given before must be given again")
    if said.get(ORIGIN) == origin:
        return digest, f"what {path.name} says of itself has been changed"
    lost = ""
    if said.get("note", "").endswith(GIVEN):
        lost = f" (their licence class '{said.get('licence', '')}', set at import, was not for these)"
    return digest, f"other weights under the name {path.name.removesuffix(SUFFIX)} have been replaced{lost}"


def _origin(file: Path) -> str:
    """Digest of the file as published: of one that was brought in before, what it was made from."""
    if file.name.endswith(SUFFIX):
        return read_header(file).metadata.get(ORIGIN) or file_digest(file)
    if not file.is_file():
        raise WeightsError(f"{file}: {'a folder' if file.is_dir() else 'not a plain file'}, not a weights file")
    return file_digest(file)


def _there(file: Path, folder: Path, origin: str, name: str, licence: str) -> Brought | None:
    """What an earlier import made of the same file, where a new one would make the same."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            said = read_header(path).metadata
            if said.get(ORIGIN) != origin:
                continue
            weight = read_weight(path)
            known = catalogue().get(weight.name)
            if known is not None and weight.note.endswith(GIVEN):
                known = dataclasses.replace(known, licence=weight.licence, note=f"{known.note} {GIVEN}".strip())
            same_entry = known is None or bool(licence) or weight_metadata(dataclasses.replace(
                known, arch=weight.arch)) == {key: text for key, text in said.items() if key not in (ORIGIN, "arch")}
            wanted = name in ("", weight.name) and licence in ("", weight.licence)
            digest = file_digest(path)
            if wanted and same_entry and digest == recorded_digest(path):
                return Brought(file, "kept", weight, path, digest)
        except WeightsError as error:
            log.info("imported anew: %s", error)
    return None


def _is_detector(file: Path) -> bool:
    return bool(DETECTOR_FILE.search(file.name))


def recognise(checkpoint: Checkpoint, file: Path, name: str = "") -> tuple[Weight, Mapping[str, torch.Tensor]]:
    """Which weights `checkpoint` holds, and its tensors under the names that our networks have.

    A file under a published name that is of the published kind is taken for the published one. Under any other name it
    keeps that name: somebody may have trained the same network. file: its name decides where content alone cannot.
    name: what the user says that it is. Raises WeightsError.
    """
    arch, state = _fitting(checkpoint, file)
    if checkpoint.metadata.get("role"):
        said = read_weight(file)
        return dataclasses.replace(said, name=_good_name(name or said.name, file), arch=arch), state
    family = _family(arch)
    known = catalogue().get(name or _stem(file))
    if known is not None and known.arch and _plays(known, arch, family):
        return dataclasses.replace(known, arch=arch), state
    if known is not None:
        raise WeightsError(f"{file}: it is not {known.name}: its network is {arch}; if it is your own, give it another "
                           "name with --name")
    return _own(name or _stem(file), arch, family, file), state


def _fitting(checkpoint: Checkpoint, file: Path) -> tuple[str, Mapping[str, torch.Tensor]]:
    """The architecture that the tensors are of, and the tensors. Raises WeightsError."""
    from fsgan_core.networks.architectures.build import build, parse_arch
    from fsgan_core.networks.weights.checkpoint import check_state

    state: Mapping[str, torch.Tensor] = checkpoint.state
    arch = checkpoint.arch
    try:
        if arch:
            parse_arch(arch)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error
    if any(key.startswith(FEATURES) for key in state):
        # A VGG with its classifier, which only its own training needed.
        arch = FEATURES_ARCH
        state = {key.removeprefix(FEATURES): tensor for key, tensor in state.items() if key.startswith(FEATURES)}
    if arch:
        check_state(file, arch, build(arch, device="meta").state_dict(), state)
        return arch, state
    for known in dict.fromkeys(weight.arch for weight in catalogue().values() if weight.arch):
        try:
            check_state(file, known, build(known, device="meta").state_dict(), state)
        except WeightsError:
            continue
        return known, state
    raise WeightsError(f"{file}: {len(state)} tensors ({next(iter(state))}, ...) that fit no network that is known, "
                       "and the file does not say its architecture")


def _stem(file: Path) -> str:
    name = re.sub(r" ?\(\d+\)", "", file.name)  # what browsers add to a second copy
    while name.lower().endswith((SUFFIX, *PICKLED_SUFFIXES)):
        name = name[:name.rindex(".")]
    return name


def _same(one: str, other: str) -> bool:
    from fsgan_core.networks.architectures.build import parse_arch

    return parse_arch(one) == parse_arch(other)


def _family(arch: str) -> tuple[str, int] | None:
    """Role and landmarks of any network of this kind; None: not one that a swap has use for, or not to be told."""
    from fsgan_core.networks.architectures.build import parse_arch

    parsed = parse_arch(arch)
    channels = parsed.arguments.get("in_nc", parsed.arguments.get("in_channels", 3))
    return FAMILIES.get((parsed.constructor, channels))


def _plays(known: Weight, arch: str, family: tuple[str, int] | None) -> bool:
    """Whether a network of this architecture can be what `known` is: the same, or one of another width."""
    return _same(known.arch, arch) or (known.role, known.landmarks) == family


def _own(name: str, arch: str, family: tuple[str, int] | None, file: Path) -> Weight:
    """Weights that are in no list: their use by their network, their crop scale by their name. Raises WeightsError."""
    _good_name(name, file)
    size, crop = _numbers(name if CROP.search(name) else _stem(file))
    alike = [weight for weight in catalogue().values() if weight.arch and _same(weight.arch, arch)]
    fitting = [weight for weight in alike if crop in (None, weight.crop)] or alike
    if len({(weight.role, weight.landmarks, weight.crop) for weight in fitting}) > 1:
        raise WeightsError(f"{file}: its tensors fit {' and '.join(weight.name for weight in fitting)}; say which it "
                           "is with --name, or give the file its published name")
    if fitting:
        like = fitting[0]
        return Weight(name, like.role, file.name, arch, like.landmarks, crop or like.crop, resolution=like.resolution,
                      note=f"Built like {like.name}. If it is that one, import it with --name {like.name}")
    if family is None:
        raise WeightsError(f"{file}: a network {arch}, which no stage uses")
    return Weight(name, family[0], file.name, arch, family[1], crop or 1.2, resolution=size or 256,
                  note="Not a published file.")


def _good_name(name: str, file: Path) -> str:
    """`name`, which becomes a file's. Raises WeightsError when it might lead elsewhere."""
    if not NAME.fullmatch(name):
        raise WeightsError(f"{file}: {name[:100]!r} cannot be a name of weights; give it one with --name")
    return name


def _numbers(name: str) -> tuple[int | None, float | None]:
    """Resolution and crop scale, where a name tells them as the published ones do."""
    found = CROP.search(name)
    if found is None or int(found.group(1)) % 32 or not 32 <= int(found.group(1)) <= 4096:
        return None, None
    crop = float(f"{found.group(2)}.{found.group(3)}")
    return int(found.group(1)), crop if 1.0 <= crop <= 4.0 else None


def bring_in_all(place: Path, folder: Path, *, name: str = "", licence: str = "",
                 tell: Callable[[int, int, Path], None] | None = None) -> Iterator[Brought]:
    """`bring_in` for every weights file at `place`. tell: called before each with its number, how many there are, and
    which it is. Raises WeightsError when there are none, or a name is given for several."""
    files = weights_files(place)
    if name and len(files) > 1:
        raise WeightsError(f"{place}: --name is for a single file; there are {len(files)} in it")
    for number, file in enumerate(files):
        if tell is not None:
            tell(number, len(files), file)
        yield bring_in(file, folder, name=name, licence=licence)
