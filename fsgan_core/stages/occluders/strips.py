"""Strips with two crisp edges in an unrolled picture: rims and bridges of glasses.

The shadow of a rim on a cheek, a fold of skin and a brow are soft at one edge at least.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.runtime.arrays import AnyArray, Image, Plane, Points, Vector
from fsgan_core.stages.image_ops import find_largest

BLUR_ALONG = 1.5  # columns over which edges are averaged
EVEN_SIGMA, THICKNESS_SIGMA, ROW_SIGMA = 4.0, 3.0, 2.0  # columns over which strength, thickness and place are
NEARLY = 0.85  # of the strongest: the thickest strip that is so strong is whole
WRAPS = 3  # turns of what closes, of which the middle one counts


@dataclass(frozen=True)
class Strip:
    """A strip along the columns of an unrolled picture.

    Attributes:
        middle: (columns,) the row of its middle line.
        half: (columns,) half its thickness, rows.
        strength: (columns,) how strong it is along itself.
        places: (rows, columns, 2) where the unrolled picture lies in the picture.
        closes: Whether the last column is beside the first one.
    """

    middle: Vector
    half: Vector
    strength: Vector
    places: AnyArray
    closes: bool

    def place(self, side: float = 0.0) -> Points:
        """Where its middle line lies in the picture; with -1 and 1 its edges, (columns, 2)."""
        rows = np.asarray(self.middle + side * self.half, np.float32)[None]
        columns = np.arange(rows.size, dtype=np.float32)[None]
        flat = np.ascontiguousarray(self.places, np.float32)
        return np.asarray(cv2.remap(flat, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])

    def smooth(self, growth: float) -> Strip:
        """The same with edges that are even, and so many rows further out."""
        middle, half = (
            _blur_along(np.asarray(one, np.float32)[None], sigma, self.closes)[0]
            for one, sigma in ((self.middle, ROW_SIGMA), (self.half, THICKNESS_SIGMA))
        )
        return replace(self, middle=middle, half=half + growth)


def measure_strips(unrolled: Image, halves: AnyArray, sigma: float, *, closes: bool, dark: bool = False) -> AnyArray:
    """Measure how surely each place is on the middle line of a strip along the columns: by its weaker edge.

    Args:
        unrolled: (rows, columns, 3) display-like values.
        halves: Half the thickness of the strips to look for, rows.
        sigma: Of the blur with which edges are measured, rows.
        closes: Whether the last column is beside the first one.
        dark: Look for strips only that are darker than what is on both sides.

    Returns:
        (number of halves, rows, columns) change of value per row.
    """
    soft = _blur_along(unrolled, BLUR_ALONG, closes, sigma)
    slope = np.ascontiguousarray(np.gradient(soft, axis=0), np.float32)
    size, strips = slope.shape[1::-1], []
    for half in halves:
        upper, lower = (
            cv2.warpAffine(slope, np.array([[1.0, 0, 0], [0, 1, way * float(half)]]), size) for way in (1, -1)
        )
        ridge = np.minimum(-upper, lower)
        strips.append(find_largest(ridge if dark else np.maximum(ridge, np.minimum(upper, -lower))))
    return np.maximum(strips, np.float32(0))


def fit_strip(strips: AnyArray, path: AnyArray, halves: AnyArray, places: AnyArray, *, closes: bool) -> Strip:
    """Fit the strip along a path: its thickness, which changes slowly, is the largest of nearly the strongest ones.

    Args:
        strips: `measure_strips`.
        path: (columns,) row of its middle.
        halves: As there.
        places: As for `Strip`.
        closes: See there.
    """
    columns, last = np.arange(len(path)), strips.shape[1] - 1
    along = [strips[:, np.clip(path + beside, 0, last), columns] for beside in (-1, 0, 1)]
    even = _blur_along(np.maximum.reduce(along), EVEN_SIGMA, closes)
    nearly = even >= NEARLY * even.max(0)
    thickest = len(even) - 1 - nearly[::-1].argmax(0)
    return Strip(path, np.asarray(halves)[thickest], even.max(0), places, closes)


def _blur_along(picture: AnyArray, sigma: float, closes: bool, sigma_across: float = 1e-6) -> Plane:
    """Blur along the columns, which may close."""
    columns = picture.shape[1]
    turns = np.concatenate([picture] * WRAPS, 1) if closes else picture
    soft = cv2.GaussianBlur(turns, (0, 0), sigmaX=sigma, sigmaY=sigma_across, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft[:, columns : 2 * columns] if closes else soft, np.float32)
