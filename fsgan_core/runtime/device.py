"""The device that networks run on. Engines without networks always run on the CPU."""

from __future__ import annotations

import re

from fsgan_core.contract.errors import EngineError, InputError

__all__ = ["choose_device", "list_devices"]


def choose_device(name: str = "auto") -> str:
    """Resolves a device name.

    Args:
        name: "auto" (the best available), "cpu", "cuda", "cuda:1", "mps".

    Returns:
        "cpu", "cuda:0", "mps", ...

    Raises:
        InputError: The name is unknown.
        EngineError: This machine does not have the device, or torch does not support it.
    """
    if name == "cpu":
        return name
    if name != "auto" and not re.fullmatch(r"cuda(:\d+)?|mps", str(name)):
        raise InputError(f"there is no device '{name}'; use auto, cpu, cuda, cuda:NUMBER or mps")
    there = list_devices()
    if name == "auto":
        return there[0]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in there:
        raise EngineError(f"the device {name} is not available; torch finds {', '.join(there)}")
    return wanted


def list_devices() -> tuple[str, ...]:
    """Lists the devices that torch can use, best first; only the CPU if torch is not installed."""
    try:
        import torch
    except ImportError:
        return ("cpu",)
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")
