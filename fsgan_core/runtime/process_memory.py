"""Memory of this process, as the system reports it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["measure_peak_bytes", "measure_resident_bytes"]


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
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
