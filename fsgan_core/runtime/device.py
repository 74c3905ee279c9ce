"""Which device networks run on. Engines without networks always run on the CPU."""

from __future__ import annotations

import re

from fsgan_core.contract.errors import EngineError, InputError

__all__ = ["choose_device", "list_devices"]


def choose_device(name: str = "auto") -> str:
    """Resolves a device name ("auto" is the best that is there) to "cpu", "cuda:0", "mps", ...

    Raises InputError (no such name) or EngineError (not on this machine, or torch lacks it).
    """
    if name == "cpu":
        return name
    if name != "auto" and not re.fullmatch(r"cuda(:\d+)?|mps", name):
        raise InputError(f"--device {name} is not known; it is auto, cpu, cuda, cuda:NUMBER or mps")
    there = list_devices()
    if name == "auto":
        return there[0]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in there:
        raise EngineError(f"the device {name} is not there; torch sees {', '.join(there)}")
    return wanted


def list_devices() -> tuple[str, ...]:
    """Devices that torch can use, best first; only the CPU where torch is not installed."""
    try:
        import torch
    except ImportError:
        return ("cpu",)
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")
