"""The networks for Nuke's own Inference node: TorchScript files and what Nuke needs around them, in one folder.

docs/cattery.md says what the nodes do, which Nuke loads them, and what could not be tried without Nuke.
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
from fsgan_core.networks.architectures.unet import UNet
from fsgan_core.networks.cattery import nuke_files, wrappers
from fsgan_core.networks.weights.catalogue import (
    PICKLED_SUFFIXES,
    WEIGHTS_SUFFIX,
    InstalledWeights,
    find_weights,
    list_present_weights,
    read_weights_info,
)
from fsgan_core.networks.weights.checkpoint import load_network
from fsgan_core.runtime.atomic import write_atomically

__all__ = ["CATTERY_FOLDER", "ExportedNode", "choose_weights", "export_cattery", "wrap_network"]

log = logging.getLogger(__name__)

CATTERY_FOLDER = Path("cattery") / "FSGAN"
EXPORT_ROLES = (*NETWORK_STAGES, "landmarks")


# Role -> the networks that do it, and the channels that they take (reenact: and one for each landmark).
_FITTING_NETWORKS: dict[str, tuple[tuple[type[nn.Module], ...], int]] = {
    "mask": ((UNet,), 3),
    "inpaint": ((MultiScaleResUNet,), 4),
    "blend": ((MultiScaleResUNet,), 7),
    "reenact": ((MultiScaleResUNet, SplitMultiScaleResUNet), 3),
}


@dataclass(frozen=True)
class ExportedNode:
    """One node that was written. weights, sha256, licences: of each network in it."""

    node: str
    file: str
    channels_in: tuple[str, ...]
    channels_out: tuple[str, ...]
    weights: tuple[str, ...]
    sha256: tuple[str, ...]
    licences: tuple[str, ...]


def choose_weights(names: Sequence[str] = (), allow: str = "any") -> dict[str, InstalledWeights]:
    """Role -> weights: those named, or the best on this machine of every role. A reenactment network for 98 landmarks
    takes the landmark network along. Raises WeightsError: nothing there, not for this, not allowed, two of one role."""
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
        find_weights(NETWORK_STAGES[0], "", allow)  # says what to run
        raise WeightsError(f"name weights of one of {', '.join(NETWORK_STAGES)}")
    return chosen


def _find_role(name: str) -> str:
    if "/" in name or "\\" in name or name.endswith((WEIGHTS_SUFFIX, *PICKLED_SUFFIXES)):
        return read_weights_info(Path(name).expanduser()).role if name.endswith(WEIGHTS_SUFFIX) else "reenact"
    return next((weight.role for weight, _ in list_present_weights() if weight.name == name), "reenact")


def export_cattery(folder: Path, chosen: dict[str, InstalledWeights]) -> tuple[ExportedNode, ...]:
    """Writes a node for each of the four roles in `chosen` below `folder`, and what Nuke needs to find them.

    Raises WeightsError: weights that are not what their role says. OutputError: the folder cannot be written.
    """
    place = folder / CATTERY_FOLDER
    done: list[ExportedNode] = []
    nodes: list[nuke_files.CatNode] = []
    for role in NETWORK_STAGES:
        if role not in chosen:
            continue
        node, text, used = _build_node(role, chosen)
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
    return module, nuke_files.with_resolution(text, chosen[role].info.resolution), used


def wrap_network(
    role: str, network: nn.Module, installed: InstalledWeights, landmarker: nn.Module | None = None
) -> nn.Module:
    """The node of a role around its network, which it takes over. Raises WeightsError: not a network for that."""
    name, resolution = installed.info.name, installed.info.resolution
    kinds, channels = _FITTING_NETWORKS[role]
    channels += installed.info.landmarks if role == "reenact" else 0
    if not isinstance(network, kinds) or _count_input_channels(network) != channels:
        raise WeightsError(
            f"weights {name} ({installed.info.arch or type(network).__name__}) are no network for "
            f"{role} that takes {channels} channels"
        )
    if landmarker is not None and not isinstance(landmarker, HRNet):
        raise WeightsError(f"the landmark network beside {name} is no HRNet for 98 landmarks")
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
    return wrappers.PointsReenactNode(headed, resolution, installed.info.landmarks).eval()


def _count_input_channels(network: nn.Module) -> int:
    """Of the picture that a network takes."""
    return next(module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d))


def fuse_batch_norm(network: nn.Module) -> nn.Module:
    """The network with batch norm in the convolutions before it, changed in place; what is left of it is plain layers
    that every torch has."""
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
    """Writes the node as TorchScript: what Nuke's Inference takes, and nothing newer. Raises OutputError."""
    with warnings.catch_warnings(), write_atomically(path) as temporary:
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(node), str(temporary))


def _write_text(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
