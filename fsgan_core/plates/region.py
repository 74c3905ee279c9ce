"""The region of a frame: the square that a stage works in, on whole pixels of the plate."""

from __future__ import annotations

import math

from fsgan_core.plates.plate import Window


def compute_region(box: tuple[float, float, float, float], margin: float, pixel_aspect: float = 1.0) -> Window:
    """The square around a face's box (x, y, width, height in plate pixels), larger by `margin` (a share of the box's
    width) on every side. Square on the screen: with a pixel aspect other than 1 it has more rows than columns or
    fewer. It may stick out of the plate. Positions are rounded to 2 pixels so that it moves in whole, even steps.
    """
    x, y, width, height = box
    side = max(width * pixel_aspect, height) * (1 + 2 * margin)
    columns = max(16, 2 * math.ceil(side / pixel_aspect / 2))
    rows = max(16, 2 * math.ceil(side / 2))
    left = 2 * math.floor((x + width / 2 - columns / 2) / 2)
    top = 2 * math.floor((y + height / 2 - rows / 2) / 2)
    return Window(left, top, columns, rows)
