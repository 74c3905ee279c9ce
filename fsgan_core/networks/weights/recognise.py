"""Finds out which weights a file holds.

The tensors (their names and shapes fit only one architecture) and the architecture string decide. The name of the file
only distinguishes networks with the same layout; three of the published ones share one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.weights.catalogue import (
    PICKLED_SUFFIXES,
    WEIGHTS_SUFFIX,
    WeightsInfo,
    load_catalogue,
    read_weights_info,
)

if TYPE_CHECKING:
    import torch

    from fsgan_core.networks.weights.checkpoint import Checkpoint

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FEATURES_PREFIX = "features."
FEATURES_ARCH = "vgg.vgg19_features()"
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
    match = CROP_PATTERN.search(name)
    if match is None or int(match.group(1)) % 32 or not 32 <= int(match.group(1)) <= 4096:
        return None, None
    crop = float(f"{match.group(2)}.{match.group(3)}")
    return int(match.group(1)), crop if 1.0 <= crop <= 4.0 else None
