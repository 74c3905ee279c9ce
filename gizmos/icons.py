#!/usr/bin/env python3
"""Draws the icons beside the gizmos from shapes: `python3 gizmos/icons.py` (needs Pillow).

Each is drawn on a unit square, large, and scaled down to 24 px and, as `@2x`, to 48. A light face with a dark rim
reads on light and on dark panels alike; what the node does is the one coloured part.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

ICON_FOLDER = Path(__file__).resolve().parent / "icons"
SIZES = {"": 24, "@2x": 48}
DRAWING_SIZE = 480

RIM, SKIN, GREY = (38, 38, 42, 255), (236, 228, 218, 255), (150, 150, 156, 255)
BLUE, RED, GREEN, ORANGE, VIOLET = (
    (62, 132, 226, 255),
    (222, 72, 66, 255),
    (74, 172, 92, 255),
    (238, 150, 40, 255),
    (150, 96, 206, 255),
)

Canvas = ImageDraw.ImageDraw
RgbaColour = tuple[int, int, int, int]


def scale_points(*values: float) -> list[float]:
    """Converts positions on the unit square to pixels of the drawing."""
    return [value * DRAWING_SIZE for value in values]


def draw_head(
    canvas: Canvas,
    x: float = 0.5,
    y: float = 0.5,
    size: float = 0.4,
    fill: RgbaColour | None = SKIN,
    rim: RgbaColour = RIM,
) -> None:
    """A head from the front: an oval with eyes and mouth. fill: None draws the lines alone."""
    wide = 0.8 * size
    canvas.ellipse(
        scale_points(x - wide, y - size, x + wide, y + size), fill=fill, outline=rim, width=round(0.07 * DRAWING_SIZE)
    )
    for side in (-1, 1):
        eye = x + side * 0.36 * size
        canvas.ellipse(scale_points(eye - 0.1 * size, y - 0.26 * size, eye + 0.1 * size, y - 0.06 * size), fill=rim)
    canvas.arc(
        scale_points(x - 0.4 * size, y - 0.1 * size, x + 0.4 * size, y + 0.55 * size),
        25,
        155,
        fill=rim,
        width=round(0.16 * size * DRAWING_SIZE),
    )


def draw_arrow(canvas: Canvas, start: tuple[float, float], end: tuple[float, float], colour: RgbaColour) -> None:
    """A thick arrow."""
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    tip = 0.2
    back = (end[0] - tip * math.cos(angle), end[1] - tip * math.sin(angle))
    canvas.line(scale_points(*start, *back), fill=colour, width=round(0.12 * DRAWING_SIZE))
    sides = [(back[0] + s * 0.16 * math.sin(angle), back[1] - s * 0.16 * math.cos(angle)) for s in (-1, 1)]
    canvas.polygon(scale_points(*end, *sides[0], *sides[1]), fill=colour)


def draw_analyse(canvas: Canvas) -> None:
    """A head in the corners of a frame."""
    draw_head(canvas, size=0.34)
    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        cx, cy, dx, dy = 0.06 + 0.88 * x, 0.06 + 0.88 * y, 0.24 * (1 - 2 * x), 0.24 * (1 - 2 * y)
        canvas.line(
            scale_points(cx + dx, cy, cx, cy, cx, cy + dy), fill=BLUE, width=round(0.11 * DRAWING_SIZE), joint="curve"
        )


def draw_reenact(canvas: Canvas) -> None:
    """A head that takes the pose of another."""
    draw_head(canvas, 0.32, 0.4, 0.32, fill=GREY)
    draw_head(canvas, 0.66, 0.62, 0.34, fill=SKIN)
    draw_arrow(canvas, (0.5, 0.1), (0.94, 0.1), RED)


def draw_mask(canvas: Canvas) -> None:
    """A white matte with a green edge."""
    canvas.rectangle(scale_points(0.02, 0.02, 0.98, 0.98), fill=RIM)
    canvas.ellipse(
        scale_points(0.16, 0.06, 0.84, 0.94), fill=(250, 250, 250, 255), outline=GREEN, width=round(0.09 * DRAWING_SIZE)
    )


def draw_inpaint(canvas: Canvas) -> None:
    """A head with a missing quarter filled."""
    draw_head(canvas, size=0.46)
    canvas.pieslice(
        scale_points(0.46, 0.46, 1.14, 1.14), 180, 270, fill=ORANGE, outline=RIM, width=round(0.05 * DRAWING_SIZE)
    )


def draw_blend(canvas: Canvas) -> None:
    """A head that changes softly into another."""
    draw_head(canvas, size=0.46)
    wide, tall, step = 0.34, 0.42, 1 / DRAWING_SIZE
    for column in range(round(wide * DRAWING_SIZE)):  # the head's right half, softly into another one
        x = column * step
        high, share = tall * math.sqrt(1 - (x / wide) ** 2), min(1.0, 1.6 * x / wide)
        colour = tuple(round(a + share * (b - a)) for a, b in zip(SKIN, VIOLET, strict=True))
        canvas.line(scale_points(0.5 + x, 0.5 - high, 0.5 + x, 0.5 + high), fill=colour, width=2)
    draw_head(canvas, size=0.46, fill=None)


def draw_swap(canvas: Canvas) -> None:
    """Two heads that change places."""
    draw_head(canvas, 0.29, 0.5, 0.33)
    draw_head(canvas, 0.71, 0.5, 0.33, fill=GREY)
    draw_arrow(canvas, (0.24, 0.08), (0.8, 0.08), RED)
    draw_arrow(canvas, (0.76, 0.92), (0.2, 0.92), BLUE)


def draw_drive(canvas: Canvas) -> None:
    """A head whose mouth is pulled."""
    draw_head(canvas, size=0.42)
    draw_arrow(canvas, (0.5, 0.62), (0.98, 0.62), GREEN)
    draw_arrow(canvas, (0.5, 0.62), (0.02, 0.62), GREEN)


def draw_fsgan(canvas: Canvas) -> None:
    """A head with one half replaced."""
    draw_head(canvas, size=0.46)
    canvas.pieslice(
        scale_points(0.13, 0.04, 0.87, 0.96), 90, 270, fill=RED, outline=RIM, width=round(0.07 * DRAWING_SIZE)
    )
    canvas.ellipse(scale_points(0.29, 0.38, 0.38, 0.47), fill=RIM)


ICONS = {
    "FSGAN": draw_fsgan,
    "FSGAN_Analyse": draw_analyse,
    "FSGAN_Reenact": draw_reenact,
    "FSGAN_Mask": draw_mask,
    "FSGAN_Inpaint": draw_inpaint,
    "FSGAN_Blend": draw_blend,
    "FSGAN_Swap": draw_swap,
    "FSGAN_Drive": draw_drive,
}


def draw_icon(name: str, size: int) -> Image.Image:
    """The icon as RGBA, size x size pixels."""
    image = Image.new("RGBA", (DRAWING_SIZE, DRAWING_SIZE), (0, 0, 0, 0))
    ICONS[name](ImageDraw.Draw(image, "RGBA"))
    return image.resize((size, size), Image.Resampling.LANCZOS)


def main() -> None:
    """Draws all icons in all sizes."""
    ICON_FOLDER.mkdir(exist_ok=True)
    for name in ICONS:
        for suffix, size in SIZES.items():
            draw_icon(name, size).save(ICON_FOLDER / f"{name}{suffix}.png", optimize=True)


if __name__ == "__main__":
    main()
