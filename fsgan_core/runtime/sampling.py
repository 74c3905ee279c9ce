"""Picks evenly spread items, such as frames of a clip."""

from __future__ import annotations

__all__ = ["sample_evenly"]


def sample_evenly(count: int, most: int) -> list[int]:
    """Picks up to `most` of the indices 0..count-1, evenly spread.

    Args:
        count: How many items there are; 0 gives an empty list.
        most: How many indices are wanted at most, 1 or more.

    Returns:
        Ascending indices without repeats. The first and the last item are among them when two or more are picked.

    >>> sample_evenly(10, 4)
    [0, 3, 6, 9]
    """
    number = min(most, count)
    if number < 2:
        return [0] * number
    step = (count - 1) / (number - 1)
    return sorted({round(place * step) for place in range(number)})
