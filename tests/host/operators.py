"""What Nuke's node classes do to pictures, as far as the gizmos need it: float32, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.host import tcl
from tests.host.evaluate import Context
from tests.host.merges import copy, keymix, merge
from tests.host.picture import Box, Picture, box_of, scaled_format
from tests.host.readwrite import read, write
from tests.host.values import Format

_RGB = ("rgba.red", "rgba.green", "rgba.blue")


def through(context: Context) -> Picture:
    return context.input(0)


def group_input(context: Context) -> Picture:
    outer, _ = context.evaluator.input_of_group(context.node)
    if outer is None:
        return context.nothing()
    return context.evaluator.picture(outer, context.frame, context.view)


def switch(context: Context) -> Picture:
    return context.input(max(0, min(int(context.number("which")), max(context.node.inputs() - 1, 0))))


def frame_hold(context: Context) -> Picture:
    first, step = context.number("firstFrame"), context.number("increment")
    frame = first if step <= 0 else first + math.floor((context.frame - first) / step) * step
    return context.input(0, frame)


def time_offset(context: Context) -> Picture:
    return context.input(0, context.frame - context.number("time_offset"))


def one_view(context: Context) -> Picture:
    return context.input(0, view=context.word("view"))


def join_views(context: Context) -> Picture:
    """One input for each view of the script."""
    return context.input(context.host.views().index(context.view))


def crop(context: Context) -> Picture:
    taken = context.input(0)
    box = Box(*(round(context.number("box", i) * context.scale) for i in range(4)))
    if any(context.number("softness", i) for i in range(2)):
        raise context.fail("the stand-in does not do Crop's softness")
    if context.flag("intersect"):
        box = box.intersect(taken.bbox)
    inside = box.intersect(taken.bbox) if taken.outside == "black" else box
    cropped = taken.moved(
        inside if not inside.empty else Box(box.x, box.y, box.x + 1, box.y + 1),
        outside="black" if context.flag("crop") else "repeat",
    )
    if not context.flag("reformat"):
        return cropped
    moved = Box(cropped.bbox.x - box.x, cropped.bbox.y - box.y, cropped.bbox.r - box.x, cropped.bbox.t - box.y)
    shape = Format(max(1, box.r - box.x), max(1, box.t - box.y), pixelAspect=taken.format.pixelAspect())
    return Picture(cropped.planes, moved, shape, cropped.metadata, cropped.outside)


def black_outside(context: Context) -> Picture:
    taken = context.input(0)
    return Picture(taken.planes, taken.bbox, taken.format, taken.metadata, "black")


def adjust_bbox(context: Context) -> Picture:
    taken = context.input(0)
    x, y = (round(context.number("numpixels", i) * context.scale) for i in range(2))
    box = Box(taken.bbox.x - x, taken.bbox.y - y, taken.bbox.r + x, taken.bbox.t + y)
    return taken.moved(box)


def copy_bbox(context: Context) -> Picture:
    return context.input(0).moved(context.input(1).bbox)


def reformat(context: Context) -> Picture:
    """To a format: without resizing, or by OpenCV's resizing, which is not Nuke's filter."""
    import cv2

    taken = context.input(0)
    if context.word("type") == "to format":
        shape = scaled_format(context.knob("format").value(), context.scale)
    elif context.word("type") == "to box":
        shape = Format(
            round(context.number("box_width") * context.scale), round(context.number("box_height") * context.scale)
        )
    else:
        scale = context.number("scale"), context.number("scale", 1)
        shape = Format(round(taken.format.width() * scale[0]), round(taken.format.height() * scale[1]))
    if any(context.flag(name) for name in ("flip", "flop", "turn")):
        raise context.fail("the stand-in does not flip or turn in a Reformat")
    old, resize = taken.format, context.word("resize")
    sx, sy = shape.width() / old.width(), shape.height() / old.height()
    scales = {
        "none": (1.0, 1.0),
        "width": (sx, sx),
        "height": (sy, sy),
        "fit": (min(sx, sy),) * 2,
        "fill": (max(sx, sy),) * 2,
        "distort": (sx, sy),
    }[resize]
    dx = (shape.width() - old.width() * scales[0]) / 2 if context.flag("center") else 0.0
    dy = (shape.height() - old.height() * scales[1]) / 2 if context.flag("center") else 0.0
    box = Box(
        *(
            math.floor(v + 0.5)
            for v in (
                taken.bbox.x * scales[0] + dx,
                taken.bbox.y * scales[1] + dy,
                taken.bbox.r * scales[0] + dx,
                taken.bbox.t * scales[1] + dy,
            )
        )
    )
    planes = dict(taken.planes)
    if box.shape != taken.bbox.shape:
        height, width = box.shape
        planes = {
            name: cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
            for name, plane in planes.items()
        }
    return Picture(planes, box, shape, taken.metadata, taken.outside)


def constant(context: Context) -> Picture:
    shape = scaled_format(context.knob("format").value(), context.scale)
    names = context.channels("channels")
    colour = [context.number("color", i) for i in range(4)]
    # `rgb` writes the alpha of the colour too: the knob chooses a layer, not single channels.
    names = (*_RGB, "rgba.alpha") if set(names) <= {*_RGB, "rgba.alpha"} else names
    box = box_of(shape)
    planes = {name: np.full(box.shape, colour[min(place, 3)], np.float32) for place, name in enumerate(names)}
    return Picture(planes, box, shape, {}, "repeat")


def checkerboard(context: Context) -> Picture:
    shape = scaled_format(context.knob("format").value(), context.scale)
    box = box_of(shape)
    size = tuple(max(1.0, context.number("boxsize", place) * context.scale) for place in (0, 1))
    y, x = np.mgrid[box.t - 1 : box.y - 1 : -1, box.x : box.r]
    u, v = (
        np.floor((x + 0.5 - shape.width() / 2) / size[0]).astype(int) % 2,
        np.floor((y + 0.5 - shape.height() / 2) / size[1]).astype(int) % 2,
    )
    which = np.where(v == 1, np.where(u == 0, 0, 1), np.where(u == 0, 3, 2))
    planes = {}
    for place, name in enumerate((*_RGB, "rgba.alpha")):
        colours = np.array([context.number(f"color{i}", place) for i in range(4)], np.float32)
        planes[name] = colours[which]
    return Picture(planes, box, shape, {}, "repeat")


def pointwise(
    change: Callable[[Context, np.ndarray, int], np.ndarray], channels: str = "channels"
) -> Callable[[Context], Picture]:
    """A node that changes each pixel of the chosen channels alone, with mix and mask."""

    def operate(context: Context) -> Picture:
        taken = context.input(0)
        planes = dict(taken.planes)
        amount = mask_of(context, taken, 1)
        divide = context.channel("unpremult") if "unpremult" in context.node._knobs else ""
        names = [name for name in context.channels(channels) if name in planes]
        for name in names:
            place = (*_RGB, "rgba.alpha").index(name) if name in (*_RGB, "rgba.alpha") else 0
            before = planes[name]
            value = before
            alpha = planes.get(divide) if divide and name != divide else None
            if alpha is not None:
                value = np.divide(value, alpha, out=np.zeros_like(value), where=alpha != 0)
            value = np.asarray(change(context, value, place), np.float32)
            if alpha is not None:
                value = value * alpha
            planes[name] = blend(before, value, amount)
        return Picture(planes, taken.bbox, taken.format, taken.metadata, taken.outside)

    return operate


def mask_of(context: Context, taken: Picture, pipe: int) -> np.ndarray | float:
    """mix times the mask, over the bbox of `taken`. With the mask pipe connected its channel counts, else one of
    the picture's own."""
    from tests.host.merges import mask_amount

    return mask_amount(context, taken, taken.bbox, pipe)


def blend(before: np.ndarray, after: np.ndarray, amount: np.ndarray | float) -> np.ndarray:
    from tests.host.merges import mixed

    return mixed(before, after, amount)


def _grade(context: Context, value: np.ndarray, place: int) -> np.ndarray:
    low, high = context.number("blackpoint", place), context.number("whitepoint", place)
    lift, gain = context.number("black", place), context.number("white", place)
    slope = context.number("multiply", place) * (gain - lift) / (high - low)
    offset = context.number("add", place) + lift - slope * low
    if context.flag("reverse") or context.number("gamma", place) != 1:
        raise context.fail("the stand-in does only the linear part of Grade")
    value = value * np.float32(slope) + np.float32(offset)
    if context.flag("black_clamp"):
        value = np.maximum(value, 0)
    return np.minimum(value, 1) if context.flag("white_clamp") else value


def _multiply(context: Context, value: np.ndarray, place: int) -> np.ndarray:
    return value * np.float32(context.number("value", place))


def _invert(context: Context, value: np.ndarray, place: int) -> np.ndarray:
    value = 1 - value
    return np.clip(value, 0, 1) if context.flag("clamp") else value


def _clamp(context: Context, value: np.ndarray, place: int) -> np.ndarray:
    if context.flag("minimum_enable"):
        value = np.maximum(value, np.float32(context.number("minimum", place)))
    if context.flag("maximum_enable"):
        value = np.minimum(value, np.float32(context.number("maximum", place)))
    return value


def premult(context: Context) -> Picture:
    return _premultiplied(context, divide=context.flag("invert"))


def unpremult(context: Context) -> Picture:
    return _premultiplied(context, divide=not context.flag("invert"))


def _premultiplied(context: Context, *, divide: bool) -> Picture:
    taken = context.input(0)
    alpha = taken.over(context.channel("alpha"), taken.bbox)
    planes = dict(taken.planes)
    for name in context.channels("channels"):
        if name in planes and name != context.channel("alpha"):
            plane = planes[name]
            planes[name] = np.divide(plane, alpha, out=plane.copy(), where=alpha != 0) if divide else plane * alpha
    return Picture(planes, taken.bbox, taken.format, taken.metadata, taken.outside)


def shuffle(context: Context) -> Picture:
    """`mappings`: a count, then source channel, its noodle (0 in1, 1 in2, -1 none), its place, and the same of where
    it goes."""
    taken = context.input(0)
    words = tcl.split(context.knob("mappings")._text())
    pipes = []
    for number in (1, 2):
        source = tcl.split(context.knob(f"fromInput{number}")._text())
        pipes.append(int(source[0]) if source and source[0].isdigit() else 0)
    planes = dict(taken.planes)
    if not words:
        return taken
    for start in range(1, len(words), 6):
        origin, noodle, _, target = words[start], int(words[start + 1]), words[start + 2], words[start + 3]
        if origin in ("black", "white"):
            planes[target] = np.full(taken.bbox.shape, float(origin == "white"), np.float32)
        else:
            planes[target] = context.input(pipes[noodle]).over(origin, taken.bbox)
    return Picture(planes, taken.bbox, taken.format, taken.metadata, taken.outside)


def remove(context: Context) -> Picture:
    taken = context.input(0)
    named = {name for knob in ("channels", "channels2", "channels3", "channels4") for name in context.channels(knob)}
    if context.channels("channels") and context.knob("channels")._text() == "all":
        named |= set(taken.planes)
    keep = context.word("operation") == "keep"
    planes = {name: plane for name, plane in taken.planes.items() if (name in named) == keep}
    return Picture(planes, taken.bbox, taken.format, taken.metadata, taken.outside)


def add_channels(context: Context) -> Picture:
    taken = context.input(0)
    planes = dict(taken.planes)
    for knob in ("channels", "channels2", "channels3", "channels4"):
        for place, name in enumerate(context.channels(knob)):
            planes.setdefault(name, np.full(taken.bbox.shape, context.number("color", min(place, 3)), np.float32))
    return Picture(planes, taken.bbox, taken.format, taken.metadata, taken.outside)


def dissolve(context: Context) -> Picture:
    which = max(0.0, context.number("which"))
    low = int(which)
    first = context.input(0 if low == 0 else low + (low >= 2))
    if which == low:
        return first
    second = context.input(low + 1 + (low + 1 >= 2))
    box = first.bbox.union(second.bbox)
    share = np.float32(which - low)
    planes = {
        name: first.over(name, box) * (1 - share) + second.over(name, box) * share
        for name in {**first.planes, **second.planes}
    }
    return Picture(planes, box, first.format, first.metadata, first.outside)


def modify_metadata(context: Context) -> Picture:
    taken = context.input(0)
    metadata = dict(taken.metadata)
    for line in tcl.split(context.knob("metadata")._text()):
        action, key, value = tcl.split(line)
        value = context.host.substitute(value, context.knob("metadata"), context.frame)
        if action == "set":
            metadata[key] = value
        elif action == "remove":
            metadata = {name: kept for name, kept in metadata.items() if name != key}
        else:
            raise context.fail(f"metadata is set or removed, not {action!r}")
    return Picture(taken.planes, taken.bbox, taken.format, metadata, taken.outside)


def copy_metadata(context: Context) -> Picture:
    taken, other = context.input(0), context.input(1)
    return Picture(taken.planes, taken.bbox, taken.format, {**taken.metadata, **other.metadata}, taken.outside)


OPERATORS: dict[str, Callable[[Context], Picture]] = {
    "Input": group_input,
    "Output": through,
    "Dot": through,
    "NoOp": through,
    "Viewer": through,
    "FrameRange": through,
    "Switch": switch,
    "FrameHold": frame_hold,
    "TimeOffset": time_offset,
    "OneView": one_view,
    "JoinViews": join_views,
    "Crop": crop,
    "BlackOutside": black_outside,
    "AdjBBox": adjust_bbox,
    "CopyBBox": copy_bbox,
    "Reformat": reformat,
    "Constant": constant,
    "CheckerBoard2": checkerboard,
    "Grade": pointwise(_grade),
    "Multiply": pointwise(_multiply),
    "Invert": pointwise(_invert),
    "Clamp": pointwise(_clamp),
    "Premult": premult,
    "Unpremult": unpremult,
    "Shuffle2": shuffle,
    "Remove": remove,
    "AddChannels": add_channels,
    "Dissolve": dissolve,
    "Merge2": merge,
    "Copy": copy,
    "Keymix": keymix,
    "Read": read,
    "Write": write,
    "ModifyMetaData": modify_metadata,
    "CopyMetaData": copy_metadata,
}
