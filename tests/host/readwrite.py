"""Read and Write: sequences of files in and out of the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.host.evaluate import Context, Evaluator
from tests.host.nodes import Node
from tests.host.picture import Picture, black, box_of, read_picture, scaled, scaled_format, write_exr

_COMPRESSIONS = {
    "none": "none",
    "Zip (1 scanline)": "zips",
    "Zip (16 scanlines)": "zip",
    "PIZ Wavelet (32 scanlines)": "piz",
    "RLE": "rle",
    "B44": "b44",
    "B44A": "b44a",
    "DWAA": "dwaa",
    "DWAB": "dwab",
}


def read(context: Context) -> Picture:
    """The file of this frame, by frame_mode, first, last, before and after; on_error where it is missing."""
    frame = _file_frame(context)
    first, last = int(context.number("first")), int(context.number("last"))
    if not first <= frame <= last:
        policy = context.word("before" if frame < first else "after")
        if policy == "black":
            return black(scaled_format(_format(context), context.scale))
        frame = _outside(policy, frame, first, last)
    path = context.knob("file").evaluate(frame, context.view)
    if not path:
        raise context.fail("no file is set")
    try:
        taken = read_picture(Path(path), prefix=not _noprefix(context), view=context.view)
    except OSError as error:
        return _missing(context, frame, first, last, f"{path}: {error.strerror or error}")
    return _decoded(context, taken, Path(path))


def _file_frame(context: Context) -> int:
    mode, text = context.word("frame_mode"), context.knob("frame")._text().strip()
    if mode == "expression":
        return round(context.host.expression(text, context.knob("frame"), context.frame) if text else context.frame)
    amount = int(text or 0)
    if mode == "start at":
        return round(context.frame) - amount + int(context.number("first"))
    return round(context.frame) + amount


def _outside(policy: str, frame: int, first: int, last: int) -> int:
    count = last - first + 1
    if policy == "loop":
        return first + (frame - first) % count
    if policy == "bounce" and count > 1:
        place = (frame - first) % (2 * (count - 1))
        return first + (place if place < count else 2 * (count - 1) - place)
    return min(max(frame, first), last)


def _format(context: Context) -> Any:
    return context.host.format(context.knob("format")._text(), context.node)


def _missing(context: Context, frame: int, first: int, last: int, why: str) -> Picture:
    policy = context.word("on_error")
    shape = scaled_format(_format(context), context.scale)
    if policy == "black":
        return black(shape)
    if policy == "checkerboard":
        box = box_of(shape)
        y, x = np.mgrid[0 : box.t, 0 : box.r]
        board = ((x // 16 + y // 16) % 2).astype(np.float32)
        return Picture({f"rgba.{name}": board for name in ("red", "green", "blue")}, box, shape, {}, "repeat")
    if policy == "nearest frame":
        for distance in range(1, last - first + 1):
            for near in (frame - distance, frame + distance):
                path = context.knob("file").evaluate(near, context.view) if first <= near <= last else None
                if path and Path(path).is_file():
                    return _decoded(context, read_picture(Path(path)), Path(path))
    raise context.fail(f"{why} (frame {frame})")


def _noprefix(context: Context) -> bool:
    return "noprefix" in context.node._knobs and context.flag("noprefix")


def _decoded(context: Context, taken: Picture, path: Path) -> Picture:
    """To scene-linear, as far as the stand-in can: float files and raw as they are, 8 and 16 bit by sRGB."""
    space = context.word("colorspace")
    bits = taken.metadata.get("input/bitsperchannel", "")
    linear = space in ("linear", "scene_linear") or (space == "default" and path.suffix.lower() in (".exr", ".hdr"))
    if context.flag("raw") or linear:
        planes = dict(taken.planes)
    elif space in ("sRGB", "default") and bits in ("8-bit", "16-bit"):
        planes = {name: plane if name.endswith(".alpha") else _from_srgb(plane) for name, plane in taken.planes.items()}
    else:
        raise context.fail(f"the stand-in knows no colorspace {space!r} for {path.name}")
    if context.flag("auto_alpha") and "rgba.alpha" not in planes:
        planes["rgba.alpha"] = np.ones(taken.bbox.shape, np.float32)
    for name in planes:
        layer = name.rpartition(".")[0]
        context.host.channels.define(layer, [name])
    whole = Picture(planes, taken.bbox, taken.format, {**taken.metadata, "input/frame": context.frame}, taken.outside)
    return scaled(whole, context.scale)


def _from_srgb(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((np.maximum(value, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def write(context: Context) -> Picture:
    """In the graph a Write hands its input on; with `reading` on, its file."""
    if not context.flag("reading"):
        return context.input(0)
    path = context.knob("file").evaluate(context.frame, context.view)
    try:
        return read_picture(Path(path or ""))
    except OSError as error:
        policy = context.word("on_error")
        if policy == "read input":
            return context.input(0)
        if policy == "black":
            return black(context.host.format("", None))
        raise context.fail(f"{path}: {error.strerror or error}") from None


def write_frame(evaluator: Evaluator, node: Node, frame: float, view: str) -> Path:
    """Renders one frame of a Write into its file. Raises EvaluationError."""
    context = Context(evaluator, node, frame, view)
    if not context.has(0):
        raise context.fail("nothing is connected to this Write")
    taken = context.input(0)
    name = context.knob("file").evaluate(frame, view)
    if not name:
        raise context.fail("no file is set")
    path = Path(name)
    kind = context.word("file_type").strip() or path.suffix.lstrip(".").lower()
    if kind != "exr":
        raise context.fail(f"the stand-in writes EXR only, not {kind or 'a file without a type'}")
    if not context.flag("raw") and context.word("colorspace") not in ("default", "linear", "scene_linear"):
        raise context.fail(f"the stand-in does not write the colorspace {context.word('colorspace')!r}")
    if not path.parent.is_dir():
        if not context.flag("create_directories"):
            raise context.fail(f"{path.parent} does not exist (create_directories is off)")
        path.parent.mkdir(parents=True, exist_ok=True)
    chosen = context.knob("channels")._text()
    names = tuple(taken.planes) if chosen == "all" else context.channels("channels")
    try:
        write_exr(
            path,
            taken,
            _sorted(names),
            half=_exr(context, "datatype", "16 bit half") != "32 bit float",
            compression=_COMPRESSIONS[_exr(context, "compression", "Zip (1 scanline)")],
            attributes=_attributes(context, taken),
        )
    except OSError as error:
        raise context.fail(str(error)) from None
    return path


def _exr(context: Context, name: str, default: str) -> str:
    """A knob that exists only once file_type was set."""
    return context.word(name) if name in context.node._knobs else default


def _attributes(context: Context, taken: Picture) -> dict[str, Any]:
    choice = _exr(context, "metadata", "default metadata")
    bare = "noprefix" in context.node._knobs and context.flag("noprefix")
    found: dict[str, Any] = {}
    for key, value in taken.metadata.items():
        if key.startswith("exr/") and choice != "no metadata" and choice != "default metadata":
            found[key.removeprefix("exr/")] = value
        elif key.startswith("input/"):
            if choice == "all metadata":
                found[key] = value
        elif choice.startswith("all metadata") and not key.startswith("exr/"):
            found[key if bare else f"nuke/{key}"] = value
    return {key: value for key, value in found.items() if key not in ("dataWindow", "displayWindow")}


def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    first = ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")
    return tuple([name for name in first if name in names] + sorted(set(names) - set(first)))
