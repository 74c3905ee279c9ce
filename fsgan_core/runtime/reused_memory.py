"""Plates in memory that was used before.

The system clears each page of new memory when it is first touched. For a 4K plate that takes ten times as long as the
copy itself.
"""

from __future__ import annotations

import sys
import threading

import numpy as np

from fsgan_core.runtime.arrays import Image
from fsgan_core.runtime.memory import register_cache

__all__ = ["MAX_KEPT_BYTES", "copy_into_reused_memory", "take_reused_memory"]

MAX_KEPT_BYTES = 256 << 20
"""Bytes of copies that are kept to be used again, those that somebody still holds counted in."""

_kept: list[Image] = []
_lock = threading.Lock()

register_cache(_kept.clear)


def copy_into_reused_memory(pixels: Image) -> Image:
    """Copies an array, float32, of any shape, as `take_reused_memory`."""
    copied = take_reused_memory(pixels.shape)
    np.copyto(copied, pixels)
    return copied


def take_reused_memory(shape: tuple[int, ...]) -> Image:
    """Makes an array of any content. It is the caller's alone: its memory is used again once nobody holds it or a view.

    It is a new view of the memory, so that what is remembered with an array (`runtime/memo.py`) ends with its user.
    """
    with _lock:
        taken = _take_unheld(shape)
        if taken is None:
            taken = np.empty(shape, np.float32)
            _keep(taken)
        return taken[:]


def _take_unheld(shape: tuple[int, ...]) -> Image | None:
    """Takes a kept array of this shape that nobody holds."""
    for index in range(len(_kept)):
        # A view holds the array that it is of. No name here may, or the array would count as held.
        if _kept[index].shape == shape and _count_holders(_kept, index) == _UNHELD:
            return _kept[index]
    return None


def _keep(array: Image) -> None:
    """Keeps an array as long as there is room; those of other shapes, that nobody holds, make room."""
    for index in reversed(range(len(_kept))):
        if _kept[index].shape != array.shape and _count_holders(_kept, index) == _UNHELD:
            del _kept[index]
    if sum(kept.nbytes for kept in _kept) + array.nbytes <= MAX_KEPT_BYTES:
        _kept.append(array)


def _count_holders(arrays: list[Image], index: int) -> int:
    return sys.getrefcount(arrays[index])


# Versions of Python count in different ways, so an array that only its list holds is asked.
_UNHELD = _count_holders([np.empty(0, np.float32)], 0)
