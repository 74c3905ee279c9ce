"""Reads weights files without running anything in them, writes .safetensors, and builds networks from them.

Two formats are read and told apart by their content: .safetensors, and the files of torch.save (.pth, .pth.tar, .pkl;
zip archives and the older stream). The latter are first checked (`pickle_scan`) and then loaded with weights_only=True.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.architectures.build import format_published, identify_version
from fsgan_core.networks.weights.file_check import is_safetensors
from fsgan_core.networks.weights.pickle_scan import LEFTOVER_NAMES, Leftover, check_pickled
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from fsgan_core.runtime.atomic import write_atomically

__all__ = ["Checkpoint", "check_state", "export_checkpoint", "load_network", "read_checkpoint", "write_checkpoint"]

ARCH_KEY = "arch"
STATE_KEY = "state_dict"
PARALLEL_PREFIX = "module."
# The types that weights may have, and their names in .safetensors files.
DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
}
MAX_EXAMPLES = 3  # tensor names that a message lists

_stand_ins_lock = threading.Lock()


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file.

    Attributes:
        arch: Architecture string, completed by `build.identify_version`; "" if the file has none.
        state: Tensors by name, on the CPU; all values are finite.
        metadata: The file's other metadata.
        path: The file, for messages.
    """

    arch: str
    state: dict[str, torch.Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    path: Path | None = None


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Reads the weights in a file. Nothing in the file is executed.

    Args:
        path: A .safetensors file, or a file of torch.save.

    Raises:
        WeightsError: The file cannot be read, is damaged, or holds anything but weights.
    """
    path = Path(path)
    return _read_safetensors(path) if is_safetensors(path) else _read_pickled(path)


def _read_safetensors(path: Path) -> Checkpoint:
    metadata = read_safetensors_header(path).metadata
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, MemoryError) as error:
        raise WeightsError(f"{path}: broken or cut off ({error}); copy, import or fetch it again") from error
    _check_tensors(path, state)
    return Checkpoint(_complete_arch(path, metadata.pop(ARCH_KEY, ""), state), state, metadata, path)


def _read_pickled(path: Path) -> Checkpoint:
    # torch's list of allowed names is global, so two threads must not change it at once.
    with path.open("rb") as stream, _stand_ins_lock:
        check_pickled(path, stream)
        size = path.stat().st_size
        try:
            with torch.serialization.safe_globals([(Leftover, name) for name in LEFTOVER_NAMES]):
                loaded = torch.load(stream, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch raises nearly anything for a malformed file.
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise WeightsError(f"{path}: torch cannot load it as plain weights ({reason})") from error
    arch, state = _split_checkpoint(path, loaded)
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
        raise WeightsError(f"{path}: its tensors declare more numbers than the file holds")
    _check_tensors(path, state)
    return Checkpoint(_complete_arch(path, arch, state), state, {}, path)


def _complete_arch(path: Path, arch: str, state: Mapping[str, torch.Tensor]) -> str:
    try:
        return identify_version(arch, state) if arch else ""
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _split_checkpoint(path: Path, loaded: Any) -> tuple[str, dict[str, torch.Tensor]]:
    """Splits the content of a published file, a dict with both or only tensors, into architecture and tensors."""
    arch, state = "", loaded
    if isinstance(loaded, Mapping) and isinstance(loaded.get(STATE_KEY), Mapping):
        state = loaded[STATE_KEY]
        arch = loaded.get(ARCH_KEY, "")
        if not isinstance(arch, str):
            raise WeightsError(f"{path}: its '{ARCH_KEY}' is not text but {type(arch).__name__}")
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{path}: not a checkpoint: it holds {type(state).__name__}, not tensors by name")
    if all(isinstance(name, str) and name.startswith(PARALLEL_PREFIX) for name in state):
        state = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state.items()}
    foreign = next(
        (name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, torch.Tensor)),
        None,
    )
    if foreign is not None:
        raise WeightsError(f"{path}: not a checkpoint: its entry {foreign!r} is not a tensor")
    return arch, {name: tensor.detach() for name, tensor in state.items()}


def _check_tensors(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    if not state:
        raise WeightsError(f"{path}: it holds no tensors")
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.dtype not in DTYPE_NAMES or tensor.device.type != "cpu":
            raise WeightsError(
                f"{path}: tensor {name} is {tensor.dtype}, {tensor.layout}, {tensor.device}; "
                "weights are plain floating-point tensors"
            )
        # One number that is not finite makes the sum not finite, and finite float32 cannot overflow a double.
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.float64)):
            raise WeightsError(
                f"{path}: tensor {name} holds infinity or NaN; the training had diverged, or the file is damaged"
            )


def write_checkpoint(
    path: Path | str, arch: str, state: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes tensors as a .safetensors file, whole or not at all.

    The same content gives the same bytes on every machine, so that frames rendered with the weights get the same keys.
    (safetensors' own writer shuffles the metadata.)

    Args:
        path: The file to write.
        arch: Architecture string, stored in the metadata.
        state: Tensors by name, in a type of DTYPE_NAMES.
        metadata: Further metadata.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    facts = {**(metadata or {}), ARCH_KEY: arch}
    header: dict[str, Any] = {"__metadata__": {name: facts[name] for name in sorted(facts)}}
    # Wider numbers first, so that each tensor starts at a multiple of its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in order:
        begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": DTYPE_NAMES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            stream.write(tensors[name].reshape(-1).view(torch.uint8).numpy().data)


def export_checkpoint(source: Path | str, path: Path) -> None:
    """Converts a weights file for other programs.

    Args:
        source: A file that `read_checkpoint` reads.
        path: The file to write: .safetensors, or .pth, .pt or .tar in the published form (a dict with `arch` and
            `state_dict`).

    Raises:
        WeightsError: The source cannot be read, or the suffix is another one.
        OutputError: The file cannot be written.
    """
    checkpoint = read_checkpoint(source)
    if path.suffix == ".safetensors":
        write_checkpoint(path, checkpoint.arch, checkpoint.state, checkpoint.metadata)
    elif path.suffix in (".pth", ".pt", ".tar"):
        with write_atomically(path) as temporary:
            torch.save({ARCH_KEY: format_published(checkpoint.arch), STATE_KEY: checkpoint.state}, temporary)
    else:
        raise WeightsError(f"{path}: weights are written as .safetensors or as .pth")


def load_network(source: Checkpoint | Path | str) -> torch.nn.Module:
    """Builds the network of a weights file: float32 on the CPU, in evaluation mode, without gradients.

    Args:
        source: A checkpoint, or a file that `read_checkpoint` reads.

    Raises:
        WeightsError: The file cannot be read, or its tensors do not match its architecture in name and shape.
    """
    from fsgan_core.networks.architectures.build import build_network

    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    where = checkpoint.path or "weights"
    if not checkpoint.arch:
        raise WeightsError(
            f"{where}: the file does not state its architecture; import it with: fsgan weights import {where}"
        )
    try:
        # On "meta" nothing is allocated and no random numbers are drawn for weights that are replaced at once.
        network = build_network(checkpoint.arch, device="meta")
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from error
    check_state(where, checkpoint.arch, network.state_dict(), checkpoint.state)
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in checkpoint.state.items()
    }
    try:
        network.load_state_dict(state, strict=True, assign=True)
        if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            # The network computes constants when it is built; they need real storage.
            network = build_network(checkpoint.arch)
            network.load_state_dict(state, strict=True)
    except (RuntimeError, MemoryError) as error:
        raise WeightsError(f"{where}: {error}") from error
    return network.eval().requires_grad_(False)


def check_state(
    where: Path | str, arch: str, expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> None:
    """Checks that tensors have the names and shapes of an architecture.

    Args:
        where: The file, for the message.
        arch: Architecture string, for the message.
        expected: Tensors of the architecture by name; only their shapes count.
        found: Tensors of the file by name.

    Raises:
        WeightsError: Tensors are missing, unknown or of a wrong shape.
    """
    missing = [name for name in expected if name not in found and not name.endswith("num_batches_tracked")]
    extra = [name for name in found if name not in expected]
    wrong = [
        f"{name} {list(found[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:MAX_EXAMPLES])}{', ...' if len(names) > MAX_EXAMPLES else ''})"
        for what, names in (("missing", missing), ("too many", extra), ("of a wrong shape", wrong))
        if names
    ]
    if problems:
        raise WeightsError(f"{where}: its tensors are not those of {arch}: {'; '.join(problems)}")
