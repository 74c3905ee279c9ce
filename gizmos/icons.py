#!/usr/bin/env python3
"""Draws the icons beside the gizmos from shapes: `python3 gizmos/icons.py` (needs Pillow).

Each is drawn on a unit square, large, and scaled down to 24 px and, as `@2x`, to 48. A light face with a dark rim
reads on light and on dark panels alike; what the node does is the one coloured part.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parent / "icons"
SIZES = {"": 24, "@2x": 48}
DRAWN = 480

RIM, SKIN, GREY = (38, 38, 42, 255), (236, 228, 218, 255), (150, 150, 156, 255)
BLUE, RED, GREEN, ORANGE, VIOLET = ((62, 132, 226, 255), (222, 72, 66, 255), (74, 172, 92, 255), (238, 150, 40, 255),
                                    (150, 96, 206, 255))

Canvas = ImageDraw.ImageDraw
Colour = tuple[int, int, int, int]


def at(*values: float) -> list[float]:
    return [value * DRAWN for value in values]


def head(canvas: Canvas, x: float = 0.5, y: float = 0.5, size: float = 0.4, fill: Colour | None = SKIN,
         rim: Colour = RIM) -> None:
    """A head from the front: an oval with eyes and mouth. fill: None draws the lines alone."""
    wide = 0.8 * size
    canvas.ellipse(at(x - wide, y - size, x + wide, y + size), fill=fill, outline=rim, width=round(0.07 * DRAWN))
    for side in (-1, 1):
        eye = x + side * 0.36 * size
        canvas.ellipse(at(eye - 0.1 * size, y - 0.26 * size, eye + 0.1 * size, y - 0.06 * size), fill=rim)
    canvas.arc(at(x - 0.4 * size, y - 0.1 * size, x + 0.4 * size, y + 0.55 * size), 25, 155, fill=rim,
               width=round(0.16 * size * DRAWN))


def arrow(canvas: Canvas, start: tuple[float, float], end: tuple[float, float], colour: Colour) -> None:
    """A thick arrow."""
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    tip = 0.2
    back = (end[0] - tip * math.cos(angle), end[1] - tip * math.sin(angle))
    canvas.line(at(*start, *back), fill=colour, width=round(0.12 * DRAWN))
    sides = [(back[0] + s * 0.16 * math.sin(angle), back[1] - s * 0.16 * math.cos(angle)) for s in (-1, 1)]
    canvas.polygon(at(*end, *sides[0], *sides[1]), fill=colour)


def analyse(canvas: Canvas) -> None:
    head(canvas, size=0.34)
    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        cx, cy, dx, dy = 0.06 + 0.88 * x, 0.06 + 0.88 * y, 0.24 * (1 - 2 * x), 0.24 * (1 - 2 * y)
        canvas.line(at(cx + dx, cy, cx, cy, cx, cy + dy), fill=BLUE, width=round(0.11 * DRAWN), joint="curve")


def reenact(canvas: Canvas) -> None:
    head(canvas, 0.32, 0.4, 0.32, fill=GREY)
    head(canvas, 0.66, 0.62, 0.34, fill=SKIN)
    arrow(canvas, (0.5, 0.1), (0.94, 0.1), RED)


def mask(canvas: Canvas) -> None:
    canvas.rectangle(at(0.02, 0.02, 0.98, 0.98), fill=RIM)
    canvas.ellipse(at(0.16, 0.06, 0.84, 0.94), fill=(250, 250, 250, 255), outline=GREEN, width=round(0.09 * DRAWN))


def inpaint(canvas: Canvas) -> None:
    head(canvas, size=0.46)
    canvas.pieslice(at(0.46, 0.46, 1.14, 1.14), 180, 270, fill=ORANGE, outline=RIM, width=round(0.05 * DRAWN))


def blend(canvas: Canvas) -> None:
    head(canvas, size=0.46)
    wide, tall, step = 0.34, 0.42, 1 / DRAWN
    for column in range(round(wide * DRAWN)):  # the head's right half, softly into another one
        x = column * step
        high, share = tall * math.sqrt(1 - (x / wide) ** 2), min(1.0, 1.6 * x / wide)
        colour = tuple(round(a + share * (b - a)) for a, b in zip(SKIN, VIOLET, strict=True))
        canvas.line(at(0.5 + x, 0.5 - high, 0.5 + x, 0.5 + high), fill=colour, width=2)
    head(canvas, size=0.46, fill=None)


def swap(canvas: Canvas) -> None:
    head(canvas, 0.29, 0.5, 0.33)
    head(canvas, 0.71, 0.5, 0.33, fill=GREY)
    arrow(canvas, (0.24, 0.08), (0.8, 0.08), RED)
    arrow(canvas, (0.76, 0.92), (0.2, 0.92), BLUE)


def drive(canvas: Canvas) -> None:
    head(canvas, size=0.42)
    arrow(canvas, (0.5, 0.62), (0.98, 0.62), GREEN)
    arrow(canvas, (0.5, 0.62), (0.02, 0.62), GREEN)


def fsgan(canvas: Canvas) -> None:
    head(canvas, size=0.46)
    canvas.pieslice(at(0.13, 0.04, 0.87, 0.96), 90, 270, fill=RED, outline=RIM, width=round(0.07 * DRAWN))
    canvas.ellipse(at(0.29, 0.38, 0.38, 0.47), fill=RIM)


ICONS = {"FSGAN": fsgan, "FSGAN_Analyse": analyse, "FSGAN_Reenact": reenact, "FSGAN_Mask": mask,
         "FSGAN_Inpaint": inpaint, "FSGAN_Blend": blend, "FSGAN_Swap": swap, "FSGAN_Drive": drive}


def drawn(name: str, size: int) -> Image.Image:
    """The icon as RGBA, size x size pixels."""
    image = Image.new("RGBA", (DRAWN, DRAWN), (0, 0, 0, 0))
    ICONS[name](ImageDraw.Draw(image, "RGBA"))
    return image.resize((size, size), Image.Resampling.LANCZOS)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in ICONS:
        for suffix, size in SIZES.items():
            drawn(name, size).save(FOLDER / f"{name}{suffix}.png", optimize=True)


if __name__ == "__main__":
    main()
