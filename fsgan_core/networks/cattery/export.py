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
from fsgan_core.networks.architectures.hrnet import HRNet
from fsgan_core.networks.architectures.res_unet import MultiScaleResUNet, SplitMultiScaleResUNet
from fsgan_core.networks.architectures.unet import UNet
from fsgan_core.networks.cattery import nuke_files, wrappers
from fsgan_core.networks.weights.catalogue import (
    PICKLED_SUFFIXES,
    SUFFIX,
    Installed,
    find_weights,
    present,
    read_weight,
)
from fsgan_core.networks.weights.checkpoint import load_network
from fsgan_core.runtime.atomic import atomic_file

__all__ = ["FOLDER", "Exported", "choose", "export_cattery", "node_of"]

log = logging.getLogger(__name__)

FOLDER = Path("cattery") / "FSGAN"
STAGES = ("mask", "inpaint", "blend", "reenact")
ROLES = (*STAGES, "landmarks")


# Role -> the networks that do it, and the channels that they take (reenact: and one for each landmark).
_FITTING: dict[str, tuple[tuple[type[nn.Module], ...], int]] = {
    "mask": ((UNet,), 3),
    "inpaint": ((MultiScaleResUNet,), 4),
    "blend": ((MultiScaleResUNet,), 7),
    "reenact": ((MultiScaleResUNet, SplitMultiScaleResUNet), 3),
}


@dataclass(frozen=True)
class Exported:
    """One node that was written. weights, sha256, licences: of each network in it."""

    node: str
    file: str
    channels_in: tuple[str, ...]
    channels_out: tuple[str, ...]
    weights: tuple[str, ...]
    sha256: tuple[str, ...]
    licences: tuple[str, ...]


def choose(names: Sequence[str] = (), allow: str = "any") -> dict[str, Installed]:
    """Role -> weights: those named, or the best on this machine of every role. A reenactment network for 98 landmarks
    takes the landmark network along. Raises WeightsError: nothing there, not for this, not allowed, two of one role."""
    chosen: dict[str, Installed] = {}
    for name in names:
        role = _role_of(name)
        if role not in ROLES:
            raise WeightsError(f"weights {name} are for {role}; nodes are made for {', '.join(STAGES)}")
        if role in chosen:
            raise WeightsError(f"weights {chosen[role].weight.name} and {name} are both for {role}; name one of them")
        chosen[role] = find_weights(role, name, allow)
    wanted = ROLES if not names else ("landmarks",) if "reenact" in chosen else ()
    for role in wanted:
        if role not in chosen and present(role):
            chosen[role] = find_weights(role, "", allow)
    if not any(role in chosen for role in STAGES):
        find_weights(STAGES[-1], "", allow)  # says what to run
        raise WeightsError(f"name weights of one of {', '.join(STAGES)}")
    return chosen


def _role_of(name: str) -> str:
    if "/" in name or "\\" in name or name.endswith((SUFFIX, *PICKLED_SUFFIXES)):
        return read_weight(Path(name).expanduser()).role if name.endswith(SUFFIX) else "reenact"
    return next((weight.role for weight, _ in present() if weight.name == name), "reenact")


def export_cattery(folder: Path, chosen: dict[str, Installed]) -> tuple[Exported, ...]:
    """Writes a node for each of the four roles in `chosen` below `folder`, and what Nuke needs to find them.

    Raises WeightsError: weights that are not what their role says. OutputError: the folder cannot be written.
    """
    place = folder / FOLDER
    done: list[Exported] = []
    nodes: list[nuke_files.CatNode] = []
    for role in STAGES:
        if role not in chosen:
            continue
        node, text, used = _made(role, chosen)
        path = place / f"{text.name}.pt"
        save_script(node, path)
        _write(place / f"{text.name}.gizmo", nuke_files.gizmo(text))
        nodes.append(text)
        done.append(Exported(text.name, path.name, text.channels_in, nuke_files.RGBA,
                             tuple(one.weight.name for one in used), tuple(one.sha256 for one in used),
                             tuple(one.weight.licence for one in used)))
        log.info("%s: %s", text.name, ", ".join(one.weight.name for one in used))
    _write(place / "create_cats.nk", nuke_files.creator_script(nodes))
    _write(place / "cat.json", nuke_files.cat_json(nodes))
    _write(place / "weights.json", json.dumps({"torch": torch.__version__, "nodes": [asdict(one) for one in done]},
                                              indent=2) + "\n")
    _write(folder / "init.py", nuke_files.init_py())
    return tuple(done)


def _made(role: str, chosen: dict[str, Installed]) -> tuple[nn.Module, nuke_files.CatNode, list[Installed]]:
    landmarker = chosen.get("landmarks") if role == "reenact" and chosen[role].weight.landmarks == 98 else None
    module = node_of(role, load_network(chosen[role].path), chosen[role],
                     load_network(landmarker.path) if landmarker else None)
    if role == "reenact":
        text = nuke_files.REENACT if landmarker else nuke_files.REENACT_POINTS
    else:
        text = {"mask": nuke_files.MASK, "inpaint": nuke_files.INPAINT, "blend": nuke_files.BLEND}[role]
    used = [chosen[role], *([landmarker] if landmarker else [])]
    return module, nuke_files.trained_at(text, chosen[role].weight.resolution), used


def node_of(role: str, network: nn.Module, installed: Installed, landmarker: nn.Module | None = None) -> nn.Module:
    """The node of a role around its network, which it takes over. Raises WeightsError: not a network for that."""
    name, resolution = installed.weight.name, installed.weight.resolution
    kinds, channels = _FITTING[role]
    channels += installed.weight.landmarks if role == "reenact" else 0
    if not isinstance(network, kinds) or _channels(network) != channels:
        raise WeightsError(f"weights {name} ({installed.weight.arch or type(network).__name__}) are no network for "
                           f"{role} that takes {channels} channels")
    if landmarker is not None and not isinstance(landmarker, HRNet):
        raise WeightsError(f"the landmark network beside {name} is no HRNet for 98 landmarks")
    network = fused(network)
    if role == "mask":
        return wrappers.Mask(network, resolution).eval()
    if role == "inpaint":
        return wrappers.Inpaint(network, resolution).eval()
    if role == "blend":
        return wrappers.Blend(network, resolution).eval()
    headed = (wrappers.FacePicture(network) if isinstance(network, SplitMultiScaleResUNet)
              else wrappers.PlainPicture(network))
    if landmarker is not None:
        return wrappers.ReenactByPicture(headed, resolution, fused(landmarker)).eval()
    return wrappers.ReenactByPoints(headed, resolution, installed.weight.landmarks).eval()


def _channels(network: nn.Module) -> int:
    """Of the picture that a network takes."""
    return next(module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d))


def fused(network: nn.Module) -> nn.Module:
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


def save_script(node: nn.Module, path: Path) -> None:
    """Writes the node as TorchScript: what Nuke's Inference takes, and nothing newer. Raises OutputError."""
    with warnings.catch_warnings(), atomic_file(path) as temporary:
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(node), str(temporary))


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
