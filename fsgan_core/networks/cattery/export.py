"""Exports the networks for Nuke's own Inference node: TorchScript files and the Nuke files around them, in one folder.

docs/cattery.md describes the nodes, the Nuke versions that load them, and what could not be tested without Nuke.
"""

from __future__ import annotations

import itertools
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.networks.architectures.hrnet import HRNet
from fsgan_core.networks.architectures.res_unet import MultiScaleResUNet, SplitMultiScaleResUNet
from fsgan_core.networks.architectures.retouch import RetouchUNet
from fsgan_core.networks.architectures.unet import UNet
from fsgan_core.networks.cattery import nuke_files, wrappers
from fsgan_core.networks.weights.catalogue import PICKLED_SUFFIXES, WEIGHTS_SUFFIX, read_weights_info
from fsgan_core.networks.weights.checkpoint import load_network
from fsgan_core.networks.weights.installed import InstalledWeights, find_weights, list_present_weights
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.user_paths import expand_home

__all__ = ["CATTERY_FOLDER", "ExportedNode", "choose_weights", "export_cattery", "wrap_network"]

log = logging.getLogger(__name__)

CATTERY_FOLDER = Path("cattery") / "FSGAN"
EXPORT_ROLES = (*NETWORK_STAGES, "landmarks")


# Role -> the network classes for it, and their input channels (reenact: plus one for each landmark).
_FITTING_NETWORKS: dict[str, tuple[tuple[type[nn.Module], ...], int]] = {
    "mask": ((UNet,), 3),
    "inpaint": ((MultiScaleResUNet,), 4),
    "blend": ((MultiScaleResUNet,), 7),
    "reenact": ((MultiScaleResUNet, SplitMultiScaleResUNet), 3),
}


@dataclass(frozen=True)
class ExportedNode:
    """One exported node.

    Attributes:
        node: Name of the node.
        file: Name of the TorchScript file.
        channels_in: Nuke channels that the model takes.
        channels_out: Nuke channels that the model gives.
        weights: Name of each network's weights.
        sha256: Digest of each network's weights.
        licences: Licence class of each network's weights.
    """

    node: str
    file: str
    channels_in: tuple[str, ...]
    channels_out: tuple[str, ...]
    weights: tuple[str, ...]
    sha256: tuple[str, ...]
    licences: tuple[str, ...]


def choose_weights(names: Sequence[str] = (), allow: str = "any") -> dict[str, InstalledWeights]:
    """Chooses the weights to export.

    The landmark network is added, if it is installed: a reenactment network for 98 landmarks uses it.

    Args:
        names: Names of weights; if empty, the best on this machine of every role.
        allow: As in `contract.licences.is_allowed`.

    Returns:
        The weights by role.

    Raises:
        WeightsError: There are none, they are for another role, not allowed, or two have the same role.
    """
    chosen: dict[str, InstalledWeights] = {}
    for name in names:
        role = _find_role(name)
        if role not in EXPORT_ROLES:
            raise WeightsError(f"weights {name} are for {role}; nodes are made for {', '.join(NETWORK_STAGES)}")
        if role in chosen:
            raise WeightsError(f"weights {chosen[role].info.name} and {name} are both for {role}; name one of them")
        chosen[role] = find_weights(role, name, allow)
    wanted = EXPORT_ROLES if not names else ("landmarks",) if "reenact" in chosen else ()
    for role in wanted:
        if role not in chosen and list_present_weights(role):
            chosen[role] = find_weights(role, "", allow)
    if not any(role in chosen for role in NETWORK_STAGES):
        find_weights(NETWORK_STAGES[0], "", allow)  # its message says how to get weights
        raise WeightsError(f"name weights of one of {', '.join(NETWORK_STAGES)}")
    return chosen


def _find_role(name: str) -> str:
    if "/" in name or "\\" in name or name.endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES)):
        return read_weights_info(expand_home(name)).role if name.endswith(WEIGHTS_SUFFIX) else "reenact"
    return next((weight.role for weight, _ in list_present_weights() if weight.name == name), "reenact")


def export_cattery(
    folder: Path, chosen: dict[str, InstalledWeights], *, skips_misfits: bool = False
) -> tuple[ExportedNode, ...]:
    """Writes a node for each role in `chosen` into a folder, and the files that Nuke needs to find them.

    Args:
        folder: The folder; it is made.
        chosen: The weights by role, from `choose_weights`.
        skips_misfits: Whether a network that cannot be a node is left out with a warning. It is an error otherwise,
            and if no network is left.

    Returns:
        The exported nodes.

    Raises:
        WeightsError: A network cannot be a node.
        OutputError: The folder is not writable.
    """
    place = folder / CATTERY_FOLDER
    done: list[ExportedNode] = []
    nodes: list[nuke_files.CatNode] = []
    misfits: list[WeightsError] = []
    for role in NETWORK_STAGES:
        if role not in chosen:
            continue
        try:
            node, text, used = _build_node(role, chosen)
        except WeightsError as error:
            if not skips_misfits:
                raise
            misfits.append(error)
            continue
        path = place / f"{text.name}.pt"
        save_torchscript(node, path)
        _write_text(place / f"{text.name}.gizmo", nuke_files.make_gizmo(text))
        nodes.append(text)
        done.append(
            ExportedNode(
                text.name,
                path.name,
                text.channels_in,
                nuke_files.RGBA,
                tuple(one.info.name for one in used),
                tuple(one.sha256 for one in used),
                tuple(one.info.licence for one in used),
            )
        )
        log.info("%s: %s", text.name, ", ".join(one.info.name for one in used))
    if misfits and not done:
        raise misfits[0]
    for misfit in misfits:
        log.warning("skipped: %s", misfit)
    _write_text(place / "create_cats.nk", nuke_files.make_creator_script(nodes))
    _write_text(place / "cat.json", nuke_files.make_cat_json(nodes))
    _write_text(
        place / "weights.json",
        json.dumps({"torch": torch.__version__, "nodes": [asdict(one) for one in done]}, indent=2) + "\n",
    )
    _write_text(folder / "init.py", nuke_files.make_init_py())
    return tuple(done)


def _build_node(
    role: str, chosen: dict[str, InstalledWeights]
) -> tuple[nn.Module, nuke_files.CatNode, list[InstalledWeights]]:
    landmarker = chosen.get("landmarks") if role == "reenact" and chosen[role].info.landmarks == 98 else None
    module = wrap_network(
        role, load_network(chosen[role].path), chosen[role], load_network(landmarker.path) if landmarker else None
    )
    if role == "reenact":
        text = nuke_files.REENACT_NODE if landmarker else nuke_files.REENACT_POINTS_NODE
    else:
        text = {"mask": nuke_files.MASK_NODE, "inpaint": nuke_files.INPAINT_NODE, "blend": nuke_files.BLEND_NODE}[role]
    used = [chosen[role], *([landmarker] if landmarker else [])]
    return module, nuke_files.replace_resolution(text, chosen[role].info.resolution), used


def wrap_network(
    role: str, network: nn.Module, installed: InstalledWeights, landmarker: nn.Module | None = None
) -> nn.Module:
    """Wraps a network in the node of its role.

    Args:
        role: One of NODE_ROLES.
        network: The network; do not use it afterwards, because its layers are fused in place.
        installed: Its weights.
        landmarker: The landmark network, for a reenactment node that finds the landmarks itself.

    Raises:
        WeightsError: The network is not one for this role.
    """
    name, resolution = installed.info.name, installed.info.resolution
    if isinstance(network, RetouchUNet):
        raise WeightsError(f"weights {name} retouch a view that is already warped; no node of Nuke's makes such a view")
    kinds, channels = _FITTING_NETWORKS[role]
    channels += installed.info.landmarks if role == "reenact" else 0
    if not isinstance(network, kinds) or _count_input_channels(network) != channels:
        raise WeightsError(
            f"weights {name} ({installed.info.arch or type(network).__name__}) are not a network for "
            f"{role} that takes {channels} channels"
        )
    if landmarker is not None and not isinstance(landmarker, HRNet):
        raise WeightsError(f"the landmark network for {name} is not an HRNet for 98 landmarks")
    network = fuse_batch_norm(network)
    if role == "mask":
        return wrappers.MaskNode(network, resolution).eval()
    if role == "inpaint":
        return wrappers.InpaintNode(network, resolution).eval()
    if role == "blend":
        return wrappers.BlendNode(network, resolution).eval()
    headed = (
        wrappers.SegmentingGenerator(network)
        if isinstance(network, SplitMultiScaleResUNet)
        else wrappers.PlainGenerator(network)
    )
    if landmarker is not None:
        return wrappers.PictureReenactNode(headed, resolution, fuse_batch_norm(landmarker)).eval()
    return wrappers.PointsReenactNode(headed, resolution, installed.info.landmarks, installed.info.heat_maps).eval()


def _count_input_channels(network: nn.Module) -> int:
    """Counts the input channels of a network."""
    return next(module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d))


def fuse_batch_norm(network: nn.Module) -> nn.Module:
    """Fuses batch norm into the convolutions before it, in place. The remaining layers exist in every torch.

    Returns:
        The same network, in evaluation mode and without gradients.
    """
    for module in network.eval().modules():
        if not isinstance(module, nn.Sequential):
            continue
        layers = list(module.named_children())
        for (name, before), (norm_name, after) in itertools.pairwise(layers):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(before, after))
                setattr(module, norm_name, nn.Identity())
    return network.requires_grad_(False)


def save_torchscript(node: nn.Module, path: Path) -> None:
    """Writes a node as TorchScript, the format of Nuke's Inference node.

    Raises:
        OutputError: The file cannot be written.
    """
    with warnings.catch_warnings(), write_atomically(path) as temporary:
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(node), str(temporary))


def _write_text(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
