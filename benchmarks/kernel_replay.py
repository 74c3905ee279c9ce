"""The library kernels of a frame, called again alone: what no code around them can be faster than.

Counted are the calls that a frame makes of OpenCV (blurs, warps, resizing, morphology), of the networks' convolutions,
of powers, exponentials and logarithms, of solved systems, medians and percentiles, each on the arrays of that frame.
Not counted are numpy's sums, products and comparisons, products of matrices, and everything in Python. So it is a bound
for the frame as it is computed now; fewer or smaller calls would lower it.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch.nn.functional as F

NUMPY_KERNELS = ("power", "exp", "log", "median", "percentile")
# That set or ask something, or belong to the reference.
NO_KERNELS = ("setNumThreads", "getNumThreads", "imencode", "imdecode", "seamlessClone", "setUseOptimized")

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class KernelReplay:
    """Notes the kernels that are called while `record` runs, with their arrays, and calls them again."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._inside = threading.local()

    @contextlib.contextmanager
    def record(self) -> Iterator[None]:
        """Notes the calls of all threads. A kernel that another one calls is not noted by itself."""
        with contextlib.ExitStack() as patched:
            for module, name in _list_kernels():
                patched.enter_context(mock.patch.object(module, name, self._note(getattr(module, name))))
            yield
        self.calls = [(kernel, _thaw(args), _thaw(keywords)) for kernel, args, keywords in self.calls]

    def repeat(self) -> None:
        """Calls the kernels again, in their order."""
        with np.errstate(all="ignore"):  # what a kernel wrote into its own argument may be no argument for it
            for kernel, args, keywords in self.calls:
                kernel(*args, **keywords)

    def _note(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **keywords: Any) -> Any:
            if getattr(self._inside, "kernel", False):
                return kernel(*args, **keywords)
            self._inside.kernel = True
            try:
                result = kernel(*args, **keywords)
            finally:
                self._inside.kernel = False
            self.calls.append((kernel, args, keywords))
            return result

        return noted


def _thaw(value: Any) -> Any:
    """Copies of the arrays in a call that were made read-only since: some kernels write into theirs."""
    if isinstance(value, np.ndarray):
        return value if value.flags.writeable else value.copy()
    if isinstance(value, dict):
        return {name: _thaw(one) for name, one in value.items()}
    return type(value)(_thaw(one) for one in value) if type(value) in (list, tuple) else value


def _list_kernels() -> list[tuple[ModuleType, str]]:
    of_opencv = [name for name in dir(cv2) if inspect.isbuiltin(getattr(cv2, name)) and name not in NO_KERNELS]
    return [
        *((cv2, name) for name in of_opencv),
        *((np, name) for name in NUMPY_KERNELS),
        (np.linalg, "solve"),
        (F, "conv2d"),
    ]
