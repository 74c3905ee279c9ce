"""A run in the middle: everything that it goes on from, in one safetensors file, written whole or not at all.

Tensors alone are kept (weights, Adam's moments, random states, the losses so far) and a few words as metadata;
nothing in the file is code. A run that goes on from it does the same arithmetic in the same order as one that was never
stopped, so that on one machine's CPU both end with the same bits.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fsgan_core.contract.plain_data import parse_json
from fsgan_core.runtime.atomic import write_atomically

__all__ = ["STATE_FILE", "TrainingState", "capture_tensors", "load_state", "restore_tensors", "save_state"]

log = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"
STATE_FORMAT = "fsgan-training-1"


@dataclass(frozen=True)
class TrainingState:
    """The state of a run.

    Attributes:
        step: Iterations done.
        losses: Loss of the generator at each iteration, float64 (step,).
        tensors: What `capture_tensors` returned.
        facts: Further data of the run, for JSON.
    """

    step: int
    losses: Tensor
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def capture_tensors(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Copy weights, optimizer moments and random states to the CPU."""
    tensors = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = _copy_to_cpu(value)
    for name, optimizer in optimizers.items():
        for number, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer/{name}/{number}/{key}"] = _copy_to_cpu(torch.as_tensor(value))
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"random/cuda{number}"] = state
    return tensors


def restore_tensors(
    tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> None:
    """Restore what `capture_tensors` returned, in place and in the original memory order.

    Raises:
        KeyError: A tensor is missing.
        RuntimeError: The tensors belong to other networks.
    """
    for name, module in modules.items():
        prefix = f"module/{name}/"
        module.load_state_dict({key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)})
    for name, optimizer in optimizers.items():
        _restore_optimizer(optimizer, f"optimizer/{name}/", tensors)
    torch.set_rng_state(tensors["random/cpu"])
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            if f"random/cuda{number}" in tensors:
                torch.cuda.set_rng_state(tensors[f"random/cuda{number}"], number)


def _restore_optimizer(optimizer: torch.optim.Optimizer, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        if not key.startswith(prefix):
            continue
        number, name = key[len(prefix) :].split("/")
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:
            # In another memory order, sums over the same numbers may round differently.
            optimizer.state[parameter][name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        else:
            optimizer.state[parameter][name] = value.clone()


def save_state(path: Path, progress: TrainingState, key: str) -> None:
    """Write the state of a run under a key.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.torch import save

    tensors = {**progress.tensors, "losses": progress.losses}
    head = {"format": STATE_FORMAT, "key": key, "step": str(progress.step), "facts": json.dumps(dict(progress.facts))}
    data = save({name: value.contiguous() for name, value in tensors.items()}, metadata=head)
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)


def load_state(path: Path, key: str) -> TrainingState | None:
    """Load the state that `save_state` wrote; None if the file is missing, broken or has another key."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            head = file.metadata() or {}
            if head.get("format") != STATE_FORMAT or head.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return TrainingState(int(head["step"]), tensors.pop("losses"), tensors, parse_json(head["facts"]))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        log.warning("%s is not usable; the run starts again: %s", path, error)
        return None


def _copy_to_cpu(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True).contiguous()
