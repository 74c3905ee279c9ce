"""Memory of this process, as the system reports and limits it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fsgan_core.contract.errors import MachineError

__all__ = ["check_address_space", "measure_peak_bytes", "measure_resident_bytes"]

# Bytes of address space that libraries, models and one small frame take. With less, a library may fail to load, and
# OpenBLAS tries for ever to get its buffers.
MIN_ADDRESS_BYTES = 3 << 30


def check_address_space() -> None:
    """Checks that the process may use enough address space (`ulimit -v`, or a limit that a farm sets).

    Raises:
        MachineError: The limit is too low.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < MIN_ADDRESS_BYTES:
        raise MachineError(
            f"this process may use only {limit / 2**30:.1f} GiB of address space, and at least "
            f"{MIN_ADDRESS_BYTES / 2**30:.0f} GiB are needed; raise the limit (ulimit -v) or use another machine"
        )


def measure_resident_bytes() -> int:
    """Returns the memory that this process holds now, in bytes; 0 where the system does not report it in a file."""
    try:
        with Path("/proc/self/statm").open(encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def measure_peak_bytes() -> int:
    """Returns the most memory that this process has held, in bytes; 0 where the system does not report it."""
    try:
        # On Linux, getrusage also counts what the process that started this one held when it did.
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
