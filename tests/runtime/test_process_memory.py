"""The memory of this process, not of the one that started it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fsgan_core.runtime.process_memory import measure_peak_bytes

HELD_BYTES = 256 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it in a file")
def test_peak_is_that_of_this_process() -> None:
    held = bytearray(HELD_BYTES)
    script = "from fsgan_core.runtime.process_memory import measure_peak_bytes; print(measure_peak_bytes())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert len(held) < measure_peak_bytes()
    assert 0 < int(done.stdout) < HELD_BYTES
