"""The region of a frame: the square of whole plate pixels in which a stage works."""

from __future__ import annotations

import math

from fsgan_core.plates.plate import Window


def compute_region(box: tuple[float, float, float, float], margin: float, pixel_aspect: float = 1.0) -> Window:
    """Computes the square around a face's box.

    Args:
        box: x, y, width and height in plate pixels.
        margin: Added on every side, as a fraction of the box's size.
        pixel_aspect: Width of a pixel divided by its height. The region is square on the screen, so with non-square
            pixels it has more rows than columns, or fewer.

    Returns:
        A window with even position and size, so that it moves in steps of 2 pixels. It may extend beyond the plate.

    >>> compute_region((100.0, 100.0, 50.0, 60.0), margin=0.5)
    Window(x=64, y=70, width=120, height=120)
    """
    x, y, width, height = box
    side = max(width * pixel_aspect, height) * (1 + 2 * margin)
    columns = max(16, 2 * math.ceil(side / pixel_aspect / 2))
    rows = max(16, 2 * math.ceil(side / 2))
    left = 2 * math.floor((x + width / 2 - columns / 2) / 2)
    top = 2 * math.floor((y + height / 2 - rows / 2) / 2)
    return Window(left, top, columns, rows)
